"""A tester of teams: driven by scripts, and asked what it did."""

import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Self, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from asterism.core.continuation import Graph, is_graph
from asterism.core.interrupts import PendingRequest, aresume, pending_requests, resume
from asterism.core.sync_async import Call, Steps, arun_steps, run_steps
from asterism.core.usage import Usage, lines_of
from asterism.core.values import as_list
from asterism.events import BUS
from asterism.graphs.builder import SupervisorWorkflowBuilder
from asterism.graphs.workflow import Workflow
from asterism.moved import hint_foreign_names
from asterism.observability import SupervisorTrace, Trace
from asterism.testing.scripted_model import ScriptedCall
from asterism.testing.team_model import TeamChatModel

Scripts = Mapping[str, Sequence[Any]]
"""The replies of each model call, in order: by participant, and of `"supervisor"`."""


@hint_foreign_names(
    "give it team and scripts; asterism.compat.massgen.OrchestratorTester takes them",
    *("agents", "mock_responses"),
)
class OrchestratorTester:
    """Runs a team by scripts, and checks where its requests went and what they took.

    Example:
        ```python
        def test_my_team() -> None:
            tester = OrchestratorTester(build_trip, {"supervisor": ["trains", None, "It is $240."],
                                                     "trains": ["$240 for two."]})
            tester.run("Tickets to Vienna for two")
            tester.assert_route("trains").assert_answer("$240").assert_within(calls=4)
        ```

    Args:
        team: A function that takes a chat model and returns the team: a
            `SupervisorWorkflowBuilder`, a workflow, or an `AgentOrchestrator`. Give the model to
            whomever the scripts are for. Or a team that is ready, with models of its own.
        scripts: What the model replies to each; see `TeamChatModel`. Tools run for real.
    """

    def __init__(
        self, team: Callable[[BaseChatModel], Any] | Any, scripts: Scripts | None = None
    ) -> None:
        self.model = TeamChatModel(scripts=scripts or {})
        """The model that the scripts are replies of."""
        made = team(self.model) if callable(team) and not is_graph(team) else team
        self.graph = _graph(made)
        """The team's workflow."""
        self.thread: RunnableConfig = {"configurable": {"thread_id": uuid.uuid4().hex}}
        """The thread of the conversation."""
        self.result: dict[str, Any] = {}
        """What the latest run returned."""
        own = self.graph.facts.events if isinstance(self.graph, Workflow) else None
        self._traces = SupervisorTrace(level="detailed", bus=own)

    # ---- running

    def run(self, request: str | Sequence[Any]) -> dict[str, Any]:
        """Make a request: a text or messages. The next one goes on with the conversation.

        Raises:
            UnexpectedModelCallError: Somebody asked for more replies than its script has.
        """
        return run_steps(self._run(request))

    async def arun(self, request: str | Sequence[Any]) -> dict[str, Any]:
        """Make a request; see `run`."""
        return await arun_steps(self._run(request))

    def answer(self, answers: Any) -> dict[str, Any]:
        """Answer what people are asked, and go on; as `asterism.resume`."""
        return run_steps(self._answer(answers))

    async def aanswer(self, answers: Any) -> dict[str, Any]:
        """Answer what people are asked, and go on; as `asterism.aresume`."""
        return await arun_steps(self._answer(answers))

    def _run(self, request: str | Sequence[Any]) -> Steps[dict[str, Any]]:
        given = [("user", request)] if isinstance(request, str) else as_list(request)
        graph: Any = self.graph
        args = ({"messages": given}, self._config())
        return self._keep_result((yield Call(graph.invoke, graph.ainvoke, args)))

    def _answer(self, answers: Any) -> Steps[dict[str, Any]]:
        return self._keep_result(
            (yield Call(resume, aresume, (self.graph, self._config(), answers)))
        )

    def _config(self) -> RunnableConfig:
        place = {**(self.thread.get("configurable") or {}), BUS: self._traces.bus}
        return {"configurable": place}

    def _keep_result(self, result: Any) -> dict[str, Any]:
        self.result = result
        self.model.check()
        return self.result

    # ---- what happened

    @property
    def pending(self) -> list[PendingRequest]:
        """What people are asked."""
        return pending_requests(self.graph, self.thread)

    @property
    def trace(self) -> Trace:
        """The trace of the latest run."""
        found = self._traces.get_trace(str((self.thread.get("configurable") or {})["thread_id"]))
        if found is None:
            raise AssertionError("nothing was run yet; call run(request) first")
        return found

    @property
    def route(self) -> list[str]:
        """Where the supervisor sent the request, in order; of a plan, its tasks: `"menu, venue"`.

        Decisions of a workflow inside are not part of it.
        """
        return [d.decision for d in self.trace.decisions if d.by == "supervisor"]

    @property
    def usage(self) -> Usage:
        """What the calls of the latest run took."""
        return Usage.of(lines_of(self.result))

    def calls(self, speaker: str) -> list[ScriptedCall]:
        """Return the calls of somebody with a script: each with its prompt and its tools."""
        return self.model.calls(speaker)

    # ---- checks; each returns the tester, so that they can be chained

    def assert_route(self, *expected: str) -> Self:
        """Check whom the supervisor sent to work, in order."""
        if self.route != list(expected):
            raise AssertionError(f"the route was {self.route}, not {list(expected)}")
        return self

    def assert_interactions(self, *expected: tuple[str, str]) -> Self:
        """Check who sent something to whom, and how often; the order does not matter.

        Args:
            *expected: A sender and a recipient each, by path; people are `"user"`.
        """
        found = Counter((sent.sender, sent.recipient) for sent in self.trace.interactions)
        wanted = Counter(expected)
        if found != wanted:
            raise AssertionError(
                f"missing interactions: {sorted((wanted - found).elements())}; "
                f"unexpected ones: {sorted((found - wanted).elements())}"
            )
        return self

    def assert_status(self, status: str) -> Self:
        """Check how the latest run ended."""
        if self.result.get("status") != status:
            raise AssertionError(
                f"the run ended as {self.result.get('status')!r}, not {status!r}; the reason is "
                f"{self.result.get('reason')!r}"
            )
        return self

    def assert_answer(self, *parts: str) -> Self:
        """Check that the latest run is complete, and that its answer holds each of these texts."""
        self.assert_status("completed")
        messages: list[BaseMessage] = self.result["messages"]
        for part in parts:
            if part not in messages[-1].text:
                raise AssertionError(f"{part!r} is not in the answer {messages[-1].text!r}")
        return self

    def assert_within(
        self,
        *,
        calls: int | None = None,
        tokens: int | None = None,
        cost_usd: Decimal | float | None = None,
        iterations: int | None = None,
    ) -> Self:
        """Check what the latest run took.

        Args:
            calls: The most model calls.
            tokens: The most tokens, read and written.
            cost_usd: The most US dollars; a model without a known price fails the check.
            iterations: The most decisions.
        """
        used = self.usage
        if cost_usd is not None and used.unknown:
            names = ", ".join(sorted(used.unknown))
            raise AssertionError(f"the cost is not known: there is no price of {names}")
        most: dict[str, tuple[Decimal | int, Decimal | float | None]] = {
            "calls": (used.calls, calls),
            "tokens": (used.tokens, tokens),
            "US dollars": (used.cost_usd, cost_usd),
            "iterations": (self.result.get("iterations") or 0, iterations),
        }
        over = [
            f"{took} {what}, at most {limit}"
            for what, (took, limit) in most.items()
            if limit is not None and took > Decimal(str(limit))
        ]
        if over:
            raise AssertionError(f"the run took {'; '.join(over)}")
        return self

    def assert_finished(self) -> Self:
        """Check that every reply of every script was asked for, and none too many."""
        self.model.assert_finished()
        return self


def _graph(team: Any) -> Graph:
    """Return the workflow of a team, with somewhere to store its thread."""
    if isinstance(team, SupervisorWorkflowBuilder):
        return cast(Graph, team.build(checkpointer=InMemorySaver()))
    graph = getattr(team, "graph", team)  # of an orchestrator
    if not is_graph(graph):
        raise TypeError(
            f"the team is a {type(team).__name__}; allowed: a SupervisorWorkflowBuilder, a "
            "workflow, an AgentOrchestrator, or a function of a chat model that returns one"
        )
    return graph if graph.checkpointer else graph.copy({"checkpointer": InMemorySaver()})
