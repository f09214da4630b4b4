"""A tester of one participant: visited as a workflow would, and asked what it did."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self, cast

from langchain_core.messages import AIMessage, BaseMessage

from asterism.core.agent_spec import Agent, ModelLike
from asterism.core.interrupts import PendingRequest
from asterism.core.state import Report
from asterism.core.supervisor_decision import SupervisorDecision
from asterism.core.values import as_dict
from asterism.graphs.builder import SupervisorWorkflowBuilder
from asterism.nodes.participant_spec import Participant, describe
from asterism.nodes.team import AgentCreationRules, participant_of
from asterism.nodes.view import SupervisorView
from asterism.testing.orchestrator_tester import OrchestratorTester
from asterism.testing.scripted_model import ScriptedChatModel


class AgentTester:
    """Runs one participant by a script, as a workflow would: visits, memory, questions.

    Example:
        ```python
        def test_trains() -> None:
            script = [ScriptedReply(tool_calls=[("price", {"city": "Rome"})]), "It is $120."]
            tester = AgentTester(Participant(tools=[price]), script)
            tester.ask("Tickets to Rome")
            tester.assert_called("price", city="Rome").assert_said("$120")
        ```

    Args:
        participant: Anything that a builder takes.
        script: What the model of a participant replies that has none of its own.
        model: The model instead of a script, as that of a cassette.
    """

    NAME = "agent"

    def __init__(
        self, participant: Any, script: Sequence[Any] = (), *, model: ModelLike | None = None
    ) -> None:
        self.scripted = ScriptedChatModel(script=script)
        """The model of the script."""

        def visit_once(view: SupervisorView) -> SupervisorDecision:
            return SupervisorDecision(next_agent=None if view.reports else self.NAME)

        if isinstance(participant, Agent):
            participant = participant_of(participant, AgentCreationRules(tools={}, model=None))
        elif not isinstance(participant, Participant):
            participant = Participant(runs=participant)
        participant = replace(participant, description=describe(participant) or "It is tested.")
        given: ModelLike = self.scripted if model is None else model
        star = SupervisorWorkflowBuilder("Test", finish="forward", model=given)
        star = star.participants(**{self.NAME: participant}).with_manager(visit_once)
        self.team = OrchestratorTester(star)
        """The workflow around it."""

    def ask(self, request: str) -> Report | None:
        """Visit the participant; the next visit goes on from there.

        Returns:
            Its report. None: it waits for a person; see `pending`.

        Raises:
            AssertionError: It failed, or asked for more replies than its script has.
        """
        return self._report(self.team.run(request))

    def test_response(self, request: str) -> str:
        """Visit the participant, and return the text of its report; see `ask`.

        Raises:
            AssertionError: It failed, or it waits for a person.
        """
        report = self.ask(request)
        if report is None:
            raise AssertionError("The participant waits for a person; see `pending` and `answer`.")
        return report["text"]

    async def aask(self, request: str) -> Report | None:
        """Visit the participant; see `ask`."""
        return self._report(await self.team.arun(request))

    def answer(self, answers: Any) -> Report | None:
        """Answer what it asks a person, and go on; as `asterism.resume`."""
        return self._report(self.team.answer(answers))

    async def aanswer(self, answers: Any) -> Report | None:
        """Answer what it asks a person, and go on; as `asterism.aresume`."""
        return self._report(await self.team.aanswer(answers))

    @property
    def pending(self) -> list[PendingRequest]:
        """What it asks people."""
        return self.team.pending

    @property
    def messages(self) -> list[BaseMessage]:
        """Its own history."""
        place = {**(self.team.thread.get("configurable") or {}), "checkpoint_ns": self.NAME}
        values = as_dict(self.team.graph.get_state({"configurable": place}).values)
        return cast(list[BaseMessage], values.get("messages") or [])

    @property
    def tool_calls(self) -> list[tuple[str, dict[str, Any]]]:
        """The tools that it has called, with the arguments, in order."""
        answers = [message for message in self.messages if isinstance(message, AIMessage)]
        return [(call["name"], call["args"]) for message in answers for call in message.tool_calls]

    def assert_called(self, tool: str, **args: Any) -> Self:
        """Check that it has called a tool, with at least these arguments."""
        found = [given for name, given in self.tool_calls if name == tool]
        if not any(args.items() <= given.items() for given in found):
            raise AssertionError(f"{tool} was not called with {args}; calls: {self.tool_calls}")
        return self

    def assert_said(self, *parts: str) -> Self:
        """Check that its latest report holds each of these texts."""
        said = self.team.result["reports"][-1]["text"]
        for part in parts:
            if part not in said:
                raise AssertionError(f"{part!r} is not in the report {said!r}")
        return self

    def assert_finished(self) -> Self:
        """Check that every reply of the script was asked for, and none too many."""
        self.scripted.assert_finished()
        return self

    def _report(self, result: Mapping[str, Any]) -> Report | None:
        if len(self.scripted.calls) > len(self.scripted.script):
            self.scripted.assert_finished()
        if result["status"] == "waiting":
            return None
        report = cast(Report, result["reports"][-1])
        if report["status"] != "ok":
            raise AssertionError(f"the visit ended as {report['status']}: {report.get('error')}")
        return report
