"""A suite that any participant can be run through before it joins a team."""

import asyncio
import copy
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any, cast

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from asterism.core.agent_spec import ModelLike
from asterism.core.continuation import aproceed
from asterism.core.interrupts import aresume, pending_requests
from asterism.core.messages import history_fault, media_in_request
from asterism.core.run_types import WorkflowInput
from asterism.core.supervisor_decision import SupervisorDecision
from asterism.core.sync_async import run_coroutine
from asterism.core.values import as_dict
from asterism.graphs.builder import SupervisorWorkflowBuilder
from asterism.graphs.workflow import Workflow
from asterism.nodes.participant_spec import Participant
from asterism.nodes.report import json_text
from asterism.nodes.view import SupervisorView
from asterism.storage.serializers import serializer

SUBJECT, SIBLING = "subject", "sibling"
ROUNDS = 20
"""How often a participant may ask in one run of the suite."""
_PICTURE: dict[str, Any] = {
    "type": "image",
    "mime_type": "image/png",
    "base64": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJ"
    "RU5ErkJggg==",
}
_SECRET = "only the sibling says this"


@dataclass
class ConformanceReport:
    """What came of the checks."""

    passed: list[str] = field(default_factory=list[str])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    """The checks that failed, each with what was found."""
    not_exercised: list[str] = field(default_factory=list[str])
    """Checks that this participant gave no occasion for."""


class _Stop(Exception):  # noqa: N818 - it is thrown into the participant, not raised by us
    """Breaks a participant's turn."""


class _Steps(BaseCallbackHandler):
    """Notes the steps that begin inside the participant, and acts before one of them."""

    raise_error = True
    run_inline = True

    def __init__(self, act: Callable[[], None] = lambda: None, before: int = 0) -> None:
        self._act, self._before = act, before
        self.begun: list[tuple[str, int]] = []
        """The nodes of its graph, each with the number of the step."""

    def on_chain_start(
        self, serialized: Any, inputs: Any, *, metadata: Any = None, **kwargs: Any
    ) -> None:
        """Note a step of the participant's own graph."""
        facts = as_dict(metadata)
        place = str(facts.get("langgraph_checkpoint_ns") or "").split("|")
        if facts.get("participant") != SUBJECT or len(place) != 2:
            return
        step = (str(facts.get("langgraph_node")), int(facts.get("langgraph_step") or 0))
        if step not in self.begun:
            self.begun.append(step)
            if len({number for _, number in self.begun}) == self._before:
                self._act()


class _Suite:
    """Builds stars around the participant and drives them."""

    def __init__(
        self, participant: Any, model: ModelLike | None, request: str, answers: Sequence[Any]
    ) -> None:
        self._participant = participant
        self._model = model
        self._text = request
        self._request: WorkflowInput = {"messages": [HumanMessage(request)]}
        self._answers = answers
        self.exercised: set[str] = set()

    def star(self, *route: str, saver: InMemorySaver | None = None) -> Workflow:
        """A star of the participant and a sibling, routed as given; its saver is a strict one."""

        def follow(view: SupervisorView) -> SupervisorDecision:
            place = view.iterations
            name = route[place] if place < len(route) else None
            return SupervisorDecision(next_agent=name, instruction=name and f"Part {place + 1}")

        given = self._participant
        if not isinstance(given, Participant):
            given = Participant(runs=given, description="The participant.")

        def tell(messages: list[AnyMessage]) -> str:
            return _SECRET

        sibling = Participant(runs=tell, description="The sibling.")
        return (
            SupervisorWorkflowBuilder("Conformance", finish="forward", model=self._model)
            .participants(**{SUBJECT: given, SIBLING: sibling})
            .with_manager(follow)
            .build(checkpointer=saver or InMemorySaver(serde=serializer()))
        )

    async def run(self, workflow: Workflow, thread: RunnableConfig, **options: Any) -> Any:
        """Make a request and answer what is asked."""
        result = await workflow.ainvoke(self._request, thread, **options)
        return await self.answer_all(workflow, thread, result)

    async def answer_all(self, workflow: Workflow, thread: RunnableConfig, result: Any) -> Any:
        """Answer open requests until there are none."""
        for answer in islice(cycle(self._answers), ROUNDS):
            if not (asked := pending_requests(workflow, thread)):
                return result
            self.exercised.add("interrupts")
            assert all(request.path.startswith(SUBJECT) for request in asked), (
                f"a request is attributed to {asked[0].path!r}"
            )
            result = await aresume(workflow, thread, {request.id: answer for request in asked})
        assert not pending_requests(workflow, thread), (
            f"it asks {pending_requests(workflow, thread)[0].prompt!r}; give answers=[...]"
        )
        return result

    # ---- the checks

    async def check_answers(self) -> None:
        """A visit gives a text, in async."""
        _check_ok(await self.run(self.star(SUBJECT), _thread()), 1)

    async def check_answers_in_sync(self) -> None:
        """A visit gives a text, in sync."""
        workflow, thread = self.star(SUBJECT), _thread()
        result = await _in_sync(workflow, self._request, thread)
        _check_ok(await self.answer_all(workflow, thread, result), 1)

    async def check_sync_again(self) -> None:
        """Its later visits in sync work as the first: its clients live in one event loop."""
        workflow, thread = self.star(SUBJECT, SUBJECT), _thread()
        result = await _in_sync(workflow, self._request, thread)
        _check_ok(await self.answer_all(workflow, thread, result), 2)

    async def check_steps(self) -> None:
        """A turn whose process dies after its first step goes on at the second."""
        saver, left = InMemorySaver(serde=serializer()), InMemorySaver(serde=serializer())

        def die() -> None:
            for name in ("storage", "writes", "blobs"):  # what a process that dies leaves
                getattr(left, name).update(copy.deepcopy(getattr(saver, name)))
            raise _Stop("the end of the process")

        workflow, thread, before = self.star(SUBJECT, saver=saver), _thread(), _Steps(die, before=2)
        await workflow.ainvoke(self._request, {**thread, "callbacks": [before]})
        if not left.storage:
            return
        self.exercised.add("steps")
        workflow, after = self.star(SUBJECT, saver=left), _Steps()
        result = await aproceed(workflow, {**thread, "callbacks": [after]})
        _check_ok(await self.answer_all(workflow, thread, result), 1)
        first = before.begun[0]
        assert first not in after.begun, f"the step {first[0]!r} was finished, and ran again"

    async def check_memory(self) -> None:
        """Its visits and requests on a thread are remembered."""
        workflow, thread = self.star(SUBJECT, SUBJECT), _thread()
        _check_ok(await self.run(workflow, thread), 2)
        _check_ok(await self.run(workflow, thread), 2)
        _check_visits(workflow, thread, 4)

    async def check_isolation(self) -> None:
        """Nothing of a sibling or of another thread reaches it."""
        workflow, thread = self.star(SIBLING, SUBJECT, SIBLING, SUBJECT), _thread()
        await self.run(workflow, thread)
        texts = [message.text for message in _memory(workflow, thread)]
        assert not any(_SECRET in text for text in texts), "it saw what a sibling said"
        assert not _memory(workflow, _thread()), "a new thread does not begin empty"

    async def check_state_keys(self) -> None:
        """The workflow gets one labelled message a visit, and nothing else."""
        plain, workflow = self.star(SIBLING), self.star(SUBJECT)
        result = await self.run(workflow, _thread())
        expected = await self.run(plain, _thread())
        assert set(result) == set(expected), f"it adds state keys: {set(result) ^ set(expected)}"
        speakers = [message.name for message in result["messages"]]
        assert speakers == [None, "supervisor", SUBJECT, "supervisor"], f"speakers: {speakers}"

    async def check_resume(self) -> None:
        """A turn that was asked for is run, after a stop right before it."""
        workflow, thread = self.star(SUBJECT, SUBJECT), _thread()
        await workflow.ainvoke(self._request, thread, interrupt_before=[SUBJECT])
        await workflow.ainvoke(None, thread, interrupt_before=[SUBJECT])
        result = await self.answer_all(workflow, thread, None)
        if workflow.get_state(thread).next:
            result = await workflow.ainvoke(None, thread)
            result = await self.answer_all(workflow, thread, result)
        _check_ok(result, 2)
        _check_visits(workflow, thread, 2)

    async def check_failure(self) -> None:
        """A turn that breaks is a report, and the next one works."""
        workflow, thread = self.star(SUBJECT, SUBJECT), _thread()

        def fail() -> None:
            raise _Stop("broken on purpose")

        result = await self.run(workflow, {**thread, "callbacks": [_Steps(fail, before=1)]})
        kinds = [report["status"] for report in result["reports"]]
        assert kinds == ["failed", "ok"], f"the reports are {kinds}"
        assert "_Stop: broken on purpose" in result["reports"][0].get("error", "")
        assert (fault := history_fault(_memory(workflow, thread))) is None, fault

    async def check_answer_forms(self) -> None:
        """A structured answer, or the result of a tool that ends the turn, is the report."""
        workflow, thread = self.star(SUBJECT), _thread()
        result = await self.run(workflow, thread)
        values, text = _state(workflow, thread), result["reports"][0]["text"]
        messages = _memory(workflow, thread)
        structured = values.get("structured_response")
        if "reports" not in values and structured is not None:
            self.exercised.add("structured_answers")
            assert text == json_text(structured), f"its structured answer is reported as {text!r}"
        elif messages and isinstance(messages[-1], ToolMessage):
            self.exercised.add("direct_returns")
            assert messages[-1].text in text, f"the result of its tool is reported as {text!r}"

    async def check_empty_answers(self) -> None:
        """A visit works after one that has left an empty answer in the history."""
        workflow, thread = self.star(SUBJECT), _thread()
        await self.run(workflow, thread)
        answers = [m for m in _memory(workflow, thread) if isinstance(m, AIMessage)]
        if answers and not answers[-1].tool_calls:
            place: RunnableConfig = {"configurable": _place(thread)}
            empty = answers[-1].model_copy(update={"content": ""})
            await workflow.aupdate_state(place, {"messages": [empty]})
            _check_ok(await self.run(workflow, thread), 1)
            _check_visits(workflow, thread, 2)

    async def check_pictures(self) -> None:
        """A picture in the request reaches it, or its report names what cannot cross."""
        workflow, thread = self.star(SUBJECT), _thread()
        content: list[str | dict[str, Any]] = [{"type": "text", "text": self._text}, _PICTURE]
        asked: WorkflowInput = {"messages": [HumanMessage(content)]}
        result = await self.answer_all(workflow, thread, await workflow.ainvoke(asked, thread))
        [report] = result["reports"]
        if report["status"] != "ok":
            assert "image" in report.get("error", ""), "its report does not name the picture"
            return
        requests = [m for m in _memory(workflow, thread) if isinstance(m, HumanMessage)]
        assert any(_PICTURE in media_in_request([m]) for m in requests), "it never got the picture"

    async def check_cancellation(self) -> None:
        """A turn that is cancelled runs again when the run goes on."""
        workflow, thread = self.star(SUBJECT), _thread()
        tasks: list[asyncio.Task[Any]] = []

        def cancel() -> None:
            tasks[0].cancel()

        handlers: list[BaseCallbackHandler] = [_Steps(cancel, before=1)]
        config: RunnableConfig = {**thread, "callbacks": handlers}
        tasks.append(asyncio.create_task(workflow.ainvoke(self._request, config)))
        try:
            await tasks[0]
        except asyncio.CancelledError:
            result = await aproceed(workflow, thread)
            _check_ok(await self.answer_all(workflow, thread, result), 1)
            _check_visits(workflow, thread, 1)


_CHECKS = [name for name in vars(_Suite) if name.startswith("check_")]
_OCCASIONS = ("steps", "interrupts", "structured_answers", "direct_returns")
"""What some participants give occasion for, and others do not."""


async def acheck_participant(
    participant: Any,
    *,
    model: ModelLike | None = None,
    request: str = "Please do your part.",
    answers: Sequence[Any] = (),
) -> ConformanceReport:
    """Run a participant through every check; see `check_participant`."""
    suite = _Suite(participant, model, request, answers)
    report = ConformanceReport()
    for check in _CHECKS:
        name = check.removeprefix("check_")
        try:
            await getattr(suite, check)()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            report.failed[name] = f"{type(error).__name__}: {error}"
        else:
            report.passed += () if name in _OCCASIONS else (name,)
    for name in _OCCASIONS:
        if name not in report.failed:
            (report.passed if name in suite.exercised else report.not_exercised).append(name)
    if report.failed:
        found = "\n".join(f"  {name}: {fault}" for name, fault in report.failed.items())
        raise AssertionError(f"The participant fails {len(report.failed)} checks:\n{found}")
    return report


def check_participant(
    participant: Any,
    *,
    model: ModelLike | None = None,
    request: str = "Please do your part.",
    answers: Sequence[Any] = (),
) -> ConformanceReport:
    """Run a participant through every check, and fail like a test.

    What is checked: it answers, in sync and async, and again in sync with the same clients;
    remembers its visits; sees neither siblings nor other threads; adds nothing to the
    workflow's state; runs each turn that is asked for, also after a stop; breaks into a report
    and works again; survives a cancellation; repeats no finished step after a crash; keeps
    nothing in its state that would come back as something else; keeps a valid history; is
    reported by its structured answer, or the result of the tool that ended its turn; works
    after an empty answer; gets the pictures of a request, or says that it cannot; and, where it
    asks people, does so under its name.

    Args:
        participant: Anything that a builder takes. It is visited some 20 times, so a
            scripted model needs replies for that; a reply may be a function.
        model: The model of a `Participant` that has none.
        request: What it is asked for.
        answers: What people answer when it asks, one after the other, from the start again
            when they run out.

    Returns:
        What passed and what was not exercised.

    Raises:
        AssertionError: Every check that failed, with what was found.
    """
    return run_coroutine(
        acheck_participant(participant, model=model, request=request, answers=answers)
    )


async def _in_sync(workflow: Workflow, request: Any, thread: RunnableConfig) -> Any:
    """Run a workflow in sync, in a thread whose context is its own."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(None, workflow.invoke, request, thread)


def _thread() -> RunnableConfig:
    return {"configurable": {"thread_id": uuid.uuid4().hex}}


def _memory(workflow: Workflow, thread: RunnableConfig) -> list[BaseMessage]:
    return cast(list[BaseMessage], _state(workflow, thread).get("messages", []))


def _state(workflow: Workflow, thread: RunnableConfig) -> dict[str, Any]:
    return as_dict(workflow.get_state({"configurable": _place(thread)}).values)


def _place(thread: RunnableConfig) -> dict[str, Any]:
    """Return where the participant's own state is stored."""
    return {**(thread.get("configurable") or {}), "checkpoint_ns": SUBJECT}


def _check_ok(result: Any, visits: int) -> None:
    reports = result["reports"]
    faults = [
        report.get("error", report["status"]) for report in reports if report["status"] != "ok"
    ]
    assert not faults, f"a visit ends as {faults[0]}"
    assert len(reports) == visits, f"{len(reports)} reports of {visits} visits"


def _check_visits(workflow: Workflow, thread: RunnableConfig, visits: int) -> None:
    """Check that the history holds each visit's request, once."""
    memory = _memory(workflow, thread)
    requests = [m.id for m in memory if isinstance(m, HumanMessage)]
    assert len(requests) == len(set(requests)) == visits, (
        f"its history holds {len(requests)} requests of {visits} visits"
    )
    assert (fault := history_fault(memory)) is None, fault
