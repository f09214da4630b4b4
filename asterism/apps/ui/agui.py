"""AG-UI: runs as the events that CopilotKit, assistant-ui and other chat clients read.

Needs `ag-ui-protocol`: pip install 'asterism-agents[agui]'.
Tests: tests/asterism/apps/ui/test_agui.py.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence
from typing import Any, cast

from ag_ui.core import events, types
from ag_ui.core.events import BaseEvent, ToolCallStartEvent
from ag_ui.encoder import EventEncoder
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import StateSnapshot
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from asterism.apps.stored_threads import config_of
from asterism.apps.ui.responses import answer, on_error, read_body
from asterism.apps.ui.run_manager import Run, RunManager, StartRun
from asterism.core.continuation import HANDOFF, Graph, areopen, is_unfinished
from asterism.core.interrupts import APPROVAL, PendingRequest, answer_command, open_requests
from asterism.core.usage import Usage, lines_of
from asterism.core.values import as_dict, as_list
from asterism.errors import AsterismError, ConfigurationError, InvalidRequestError
from asterism.graphs.request_checks import check_thread
from asterism.nodes.routing import FINISH, SUPERVISOR
from asterism.nodes.view import message_facts

PROTOCOL = "1.0"
"""The version of AG-UI that is spoken."""
ENDED_EARLY = ("failed", "limit", "stalled")


def create_agui_routes(
    teams: Mapping[str, Any], *, checkpointer: BaseCheckpointSaver[Any]
) -> list[Route]:
    """Create `POST /agui/{team}` and `GET /agui/info` for an app of yours, without the page.

    Who may call them is for that app to decide.

    Args:
        teams: Workflows and builders, by the names that clients call them by.
        checkpointer: Where threads are stored.
    """
    manager = RunManager(checkpointer, [*teams], teams=teams)

    async def answer_call(request: Request) -> Response:
        try:
            return await handle(request, manager)
        except (AsterismError, ValueError) as error:
            return await on_error(request, error)

    return [
        Route("/agui/info", answer_call, methods=["GET"]),
        Route("/agui/{graph:path}", answer_call, methods=["POST"]),
    ]


async def handle(request: Request, manager: RunManager) -> Response:
    """Answer a call: a list of the teams, or a run as a stream of events."""
    name = request.path_params.get("graph")
    if name is None:
        found = [(name, await manager.graph(name, manager.model)) for name in manager.graphs]
        return answer({"protocolVersion": PROTOCOL, "agents": [_describe(*one) for one in found]})
    given = await read_body(request, types.RunAgentInput)
    queue: asyncio.Queue[Part | None] = asyncio.Queue()
    run = await _start(manager, name, given, queue)
    stream = _stream(manager, run, given, queue)
    return StreamingResponse(stream, media_type=EventEncoder().get_content_type())


Part = tuple[tuple[str, ...], str, Any]
"""A part of a stream: where it happened, its mode, what happened."""


async def _start(
    manager: RunManager, name: str, given: types.RunAgentInput, queue: "asyncio.Queue[Part | None]"
) -> Run:
    """Begin the run that a client asks for: a request, answers, or the rest of a run."""
    place: Any = {"configurable": {"thread_id": given.thread_id, "checkpoint_ns": ""}}
    check_thread(place)
    if await manager.saver.aget_tuple(place) is None:
        graph = await manager.graph(name, manager.model)
        config = config_of(given.thread_id, name, manager.model)
    else:
        graph, config = await manager.of(given.thread_id)
        if as_dict(config.get("metadata"))["graph"] != name:
            raise ConfigurationError(
                f"The thread {given.thread_id!r} belongs to another team than {name!r}."
            )

    async def ready() -> StartRun:
        state = await graph.aget_state(config, subgraphs=True)
        if given.resume:
            pending = open_requests(state)
            return config, answer_command(pending, _answers(given.resume, pending))
        known = {message.id for message in as_dict(state.values).get("messages") or ()}
        if asked := [message for message in _requests(given) if message["id"] not in known]:
            return config, {"messages": asked}
        await areopen(graph, config)
        return config, None

    def observe(path: tuple[str, ...], mode: str, part: Any) -> None:
        queue.put_nowait((path, mode, part))

    run = await manager.start(graph, config, ready, observe=observe)
    if run.task:
        run.task.add_done_callback(lambda _: queue.put_nowait(None))
    return run


def _requests(given: types.RunAgentInput) -> list[dict[str, Any]]:
    """Return what the user has said last; everything before it is on the thread already."""
    found: list[dict[str, Any]] = []
    for message in reversed(given.messages):
        if not isinstance(message, types.UserMessage):
            break
        parts = message.content if isinstance(message.content, list) else [message.content]
        texts = [part if isinstance(part, str) else getattr(part, "text", None) for part in parts]
        if None in texts:
            raise InvalidRequestError("Only texts are read here; allowed: content of type text.")
        text = "\n".join(map(str, texts))
        found.insert(0, {"role": "user", "content": text, "id": message.id})
    return found


def _answers(
    entries: Sequence[types.ResumeEntry], pending: Sequence[PendingRequest]
) -> dict[str, Any]:
    """Return the answers by request; a call that was cancelled is rejected."""
    approvals = {request.id for request in pending if _reason(request) == APPROVAL}
    cancelled = {entry.interrupt_id for entry in entries if entry.status == "cancelled"}
    return {
        entry.interrupt_id: {"type": "reject"}
        if entry.interrupt_id in cancelled & approvals
        else entry.payload
        for entry in entries
    }


async def _stream(
    manager: RunManager, run: Run, given: types.RunAgentInput, queue: "asyncio.Queue[Part | None]"
) -> AsyncGenerator[str]:
    """Yield the events of a run. A client that goes away stops it after its step."""
    encode, told = EventEncoder().encode, Events()
    try:
        yield encode(
            events.RunStartedEvent(
                thread_id=given.thread_id, run_id=given.run_id, protocol_version=PROTOCOL
            )
        )
        while (part := await queue.get()) is not None:
            for event in told.read(*part):
                yield encode(event)
        if failure := manager.failures.get(run.thread):
            yield encode(events.RunErrorEvent(message=failure, code="failed"))
            return
        state = await run.graph.aget_state(run.config, subgraphs=True)
        for event in told.end(state, given):
            yield encode(event)
    finally:
        if manager.run(run.thread) is run:
            manager.stop(run.thread)


class Events:
    """Turns the parts of a stream into events, so that everything that begins also ends."""

    def __init__(self) -> None:
        self._visits: dict[str, str] = {}
        """The visits that are open, by their ids: where they happen. The latest comes last."""
        self._seen: set[str] = set()
        self._steps: dict[str, tuple[str, str | None]] = {}
        self._texts: dict[str, str | None] = {}
        """The messages that are being written, and the visits that write them."""
        self._calls: dict[str, tuple[str, str | None]] = {}
        """The calls that are being written: the message and the visit."""
        self._said = ""
        """What was said last outside of visits."""

    def read(self, path: Sequence[str], mode: str, part: Any) -> Iterator[BaseEvent]:
        """Yield the events of one part of a stream."""
        if mode == "messages":
            yield from self._message(*part)
        elif mode == "tasks":
            yield from self._task(path, part)

    def end(self, state: StateSnapshot, given: types.RunAgentInput) -> Iterator[BaseEvent]:
        """Yield the last events: the answer, what the run took, and how it ended."""
        pending, values = open_requests(state), as_dict(state.values)
        yield from self._close_writing()
        for step, visit in self._steps.values():
            yield events.StepFinishedEvent(step_name=step, subagent_run_id=visit)
        interrupts = [_interrupt(request, self._visits) for request in pending]
        for visit in [*reversed(self._visits)]:
            own = [one.id for one in interrupts if one.subagent_run_id == visit]
            yield _suspend(visit, own) if pending else _stop(visit)
        last: Any = next(iter(reversed(values.get("messages") or ())), None)
        status = str(values.get("status") or "completed")
        if isinstance(last, AIMessage) and not pending and last.text not in ("", self._said):
            yield from self._whole(str(last.id), last.text, None)
        usage = Usage.of(lines_of(values))
        yield events.CustomEvent(name="usage", value=_usage(usage))
        if status in ENDED_EARLY and not pending:
            yield events.RunErrorEvent(message=str(values.get("reason") or status), code=status)
            return
        outcome: events.RunFinishedOutcome = events.RunFinishedSuccessOutcome()
        if pending:
            outcome = events.RunFinishedInterruptOutcome(interrupts=interrupts)
        elif is_unfinished(state):
            outcome = events.RunFinishedCancelledOutcome()
        tokens = events.TokenUsage(
            input_tokens=usage.input_tokens, output_tokens=usage.output_tokens
        )
        yield events.RunFinishedEvent(
            thread_id=given.thread_id, run_id=given.run_id, outcome=outcome, usage=[tokens]
        )

    # ---- visits and steps

    def _task(self, path: Sequence[str], task: Mapping[str, Any]) -> Iterator[BaseEvent]:
        visit = yield from self._visit(as_dict(task.get("metadata")))
        name, over = str(task["name"]), "result" in task
        if not over and name in (SUPERVISOR, FINISH) and (not path or visit):
            step = "/".join([*(part.split(":")[0] for part in path), name])
            if (step, visit) not in self._steps.values():
                self._steps[task["id"]] = step, visit
                yield events.StepStartedEvent(step_name=step, subagent_run_id=visit)
        elif over and task["id"] in self._steps:
            step, visit = self._steps.pop(task["id"])
            yield events.StepFinishedEvent(step_name=step, subagent_run_id=visit)
        for report in as_list(as_dict(task.get("result")).get("reports") or []):
            yield from self._report(as_dict(report), path)

    def _visit(self, facts: Mapping[str, Any]) -> Generator[BaseEvent, None, str | None]:
        """Begin the visit that something belongs to; returns its id."""
        visit, path = facts.get(HANDOFF), str(facts.get("participant_path") or "")
        if not visit:
            return None
        if visit not in self._seen:
            self._seen.add(visit)
            teams = [one for one, place in self._visits.items() if path.startswith(f"{place}/")]
            above = max(teams, key=lambda one: len(self._visits[one]), default=None)
            self._visits[visit] = path
            yield events.SubagentStartedEvent(
                subagent_run_id=visit,
                name=path.split("/")[-1],
                parent_subagent_run_id=above,
            )
        return visit if visit in self._visits else None

    def _report(self, report: Mapping[str, Any], path: Sequence[str]) -> Iterator[BaseEvent]:
        """End a visit with its report; one that ran without a step of its own begins here."""
        visit = str(report.get("id") or "")
        place = "/".join([*(part.split(":")[0] for part in path), str(report.get("participant"))])
        yield from self._visit({HANDOFF: visit, "participant_path": place})
        if self._visits.pop(visit, None) is None:
            return
        yield from self._close_writing(visit)
        status, text = str(report.get("status")), str(report.get("text") or "")
        if status == "ok":
            yield events.SubagentFinishedEvent(subagent_run_id=visit, result=text)
        else:
            said = str(report.get("error") or text or status)
            yield events.SubagentErrorEvent(subagent_run_id=visit, message=said, code=status)

    # ---- messages and calls

    def _message(self, message: BaseMessage, facts: Mapping[str, Any]) -> Iterator[BaseEvent]:
        visit = yield from self._visit(facts)
        if facts.get("langgraph_node") == SUPERVISOR or "report" in message_facts(message):
            return
        if isinstance(message, ToolMessage):
            yield events.ToolCallResultEvent(
                message_id=str(message.id),
                tool_call_id=message.tool_call_id,
                content=message.text,
                subagent_run_id=visit,
            )
        elif isinstance(message, AIMessageChunk):
            yield from self._chunk(message, visit)
        elif isinstance(message, AIMessage):
            if message.text:
                yield from self._whole(str(message.id), message.text, visit)
            for call in message.tool_calls:
                args = json.dumps(call["args"], default=str)
                yield from self._call(str(call["id"]), call["name"], args, str(message.id), visit)
            yield from self._close_writing(visit)

    def _chunk(self, chunk: AIMessageChunk, visit: str | None) -> Iterator[BaseEvent]:
        name = str(chunk.id)
        if chunk.text:
            if name not in self._texts:
                yield from self._open_text(name, visit)
            self._said += "" if visit else chunk.text
            yield events.TextMessageContentEvent(
                message_id=name, delta=chunk.text, subagent_run_id=visit
            )
        for piece in chunk.tool_call_chunks:
            written = [call for call, place in self._calls.items() if place == (name, visit)]
            call = str(piece.get("id") or (written[-1] if written else ""))
            yield from self._call(call, piece.get("name"), piece.get("args") or "", name, visit)
        if chunk.chunk_position == "last":
            yield from self._close_writing(visit)

    def _open_text(self, name: str, visit: str | None) -> Iterator[BaseEvent]:
        self._texts[name] = visit
        self._said = self._said if visit else ""
        yield events.TextMessageStartEvent(message_id=name, role="assistant", subagent_run_id=visit)

    def _whole(self, name: str, text: str, visit: str | None) -> Iterator[BaseEvent]:
        yield from self._open_text(name, visit)
        self._said = self._said if visit else text
        yield events.TextMessageContentEvent(message_id=name, delta=text, subagent_run_id=visit)
        del self._texts[name]
        yield events.TextMessageEndEvent(message_id=name, subagent_run_id=visit)

    def _call(
        self, call: str, name: str | None, args: str, message: str, visit: str | None
    ) -> Iterator[BaseEvent]:
        if name and call and call not in self._calls:
            self._calls[call] = (message, visit)
            yield ToolCallStartEvent(tool_call_id=call, tool_call_name=name, subagent_run_id=visit)
        if args and call in self._calls:
            yield events.ToolCallArgsEvent(tool_call_id=call, delta=args, subagent_run_id=visit)

    def _close_writing(self, *visits: str | None) -> Iterator[BaseEvent]:
        """End the messages and calls that are being written: of some visits, or of all."""
        for call, (_, visit) in [*self._calls.items()]:
            if not visits or visit in visits:
                del self._calls[call]
                yield events.ToolCallEndEvent(tool_call_id=call, subagent_run_id=visit)
        for name, visit in [*self._texts.items()]:
            if not visits or visit in visits:
                del self._texts[name]
                yield events.TextMessageEndEvent(message_id=name, subagent_run_id=visit)


def _interrupt(request: PendingRequest, visits: Mapping[str, str]) -> types.Interrupt:
    """Show an open request; a client may build a form from its schema."""
    visit = next((visit for visit, path in visits.items() if path == request.path), None)
    value = as_dict(request.value)
    return types.Interrupt(
        id=request.id,
        reason=_reason(request),
        message=str(value.get("description") or request.prompt),
        tool_call_id=value.get("tool_call_id"),
        response_schema=request.schema,
        subagent_run_id=visit,
        metadata={"participant": request.participant, "path": request.path},
    )


def _reason(request: PendingRequest) -> str:
    """Say what is asked for; a call that is asked about alone is an approval, too."""
    alone = as_dict(request.value).get("type") == APPROVAL
    return APPROVAL if alone else request.request_type


def _suspend(visit: str, interrupts: list[str]) -> BaseEvent:
    outcome = events.SubagentFinishedSuspendedOutcome(interrupt_ids=interrupts)
    return events.SubagentFinishedEvent(subagent_run_id=visit, outcome=outcome)


def _stop(visit: str) -> BaseEvent:
    return events.SubagentErrorEvent(subagent_run_id=visit, message="stopped", code="cancelled")


def _usage(usage: Usage) -> dict[str, Any]:
    unknown = sorted(usage.unknown)
    cost = None if unknown else str(usage.cost_usd)
    return {"calls": usage.calls, "tokens": usage.tokens, "cost_usd": cost, "unknown": unknown}


def _describe(name: str, graph: Graph) -> dict[str, Any]:
    facts: Any = getattr(graph, "facts", None)
    members = dict(cast(Mapping[str, Any], facts.participants)) if facts else {}
    return {
        "name": name,
        "description": str(getattr(graph, "description", None) or ""),
        "subagents": [*members],
    }


__all__: Sequence[str] = ("create_agui_routes",)
