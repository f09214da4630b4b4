"""The node of a participant: it makes the visit that the supervisor's decision asks for.

What is recalled for a visit, beside the request.

A visit: one focused request to a participant in, one report out.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any, cast

from langchain_core.messages import HumanMessage, RemoveMessage
from langchain_core.runnables import RunnableConfig
from langgraph.errors import (
    GraphBubbleUp,
    GraphInterrupt,
    GraphRecursionError,
    ParentCommand,
    is_invalid_resume,
)
from langgraph.graph import END
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Command, Send

from asterism.core.continuation import CALLS, HANDOFF, counter
from asterism.core.messages import with_media
from asterism.core.state import Report, VisitRequest
from asterism.core.sync_async import Call, Steps, StepsNode, run_coroutine, without_exit
from asterism.core.usage import lines_of
from asterism.core.values import as_dict, describe_error, log_failure, traceback_of
from asterism.errors import (
    AbandonedError,
    BudgetExceededError,
    CircuitOpenError,
    RemoteFailedError,
)
from asterism.events import WorkflowEventType, emit, has_event_bus
from asterism.limits.budgets import BudgetScope, task_scope
from asterism.limits.failure_policies import ENDLESS, failure_kind
from asterism.limits.usage_callbacks import UsageMeter
from asterism.memories.long_term import LongTermMemory
from asterism.memories.namespaces import user_of
from asterism.memories.recall_tools import recollections_text
from asterism.nodes.engine_keys import (
    answers_others,
    at_breakpoint,
    has_saver,
    is_resuming,
    keys_of_earlier_turns,
    new_turn_config,
    participant_place,
    resume_turn_config,
    stored_answers,
    without_replay,
)
from asterism.nodes.middleware import limit_text
from asterism.nodes.participant_runtime import ParticipantRuntime, collect_output, invoke_options
from asterism.nodes.policies import (
    AttemptContext,
    AttemptCounter,
    AttemptFunction,
    apply_compensation,
    apply_policies,
)
from asterism.nodes.report import (
    failure_report,
    found_in,
    last_answer_in,
    new_messages,
    report_from_state,
    report_message,
    visit_metadata,
)
from asterism.nodes.routing import visit_in
from asterism.nodes.run_context import meter_of, participant_path, visit_span_config, workflow_path
from asterism.prompts import render


def add_memories(
    visit: VisitRequest, memory: LongTermMemory | None, config: RunnableConfig
) -> Steps[str]:
    """Write what a participant is sent: the request, and what a memory holds that fits it."""
    request = visit["request"]
    if memory is None:
        return request
    user = user_of(config) if memory.per_user else None
    found = yield from memory.recalling(request, user, visit["participant"])
    return (
        render("recalled", request=request, memories=recollections_text(found))
        if found
        else request
    )


_log = logging.getLogger(__name__)

Visiting = Steps[Report]
"""A visit under way. It has a name because functions made for each visit are annotated with it."""

Visitor = Callable[[VisitRequest, AttemptContext], Visiting]
"""Makes visits to one participant."""


def create_visitor(member: ParticipantRuntime) -> Visitor:
    """Create what makes visits to a participant: its turns, in the fold of its policies.

    The participant sees its own history and the request, nothing else; the workflow gets one
    labelled text, nothing else. A failure becomes a report, so siblings and the run go on.
    """

    def visiting(visit: VisitRequest, this: AttemptContext) -> Visiting:
        def attempt(this: AttemptContext) -> Visiting:
            meter.put_back(this.attempts.lines)  # of a workflow that begins anew
            this.attempts.lines.clear()
            this.attempts.taken += 1
            this.attempts.state = {}
            values = yield from _turn(member, visit, this)
            report = report_from_state(visit, values)
            report["attempts"] = this.attempts.taken
            if member.grant is not None:
                this.turn.update(values, messages=new_messages(visit, values))
            return report

        path, above = participant_path(this.config, member.name), workflow_path(this.config)
        meter = meter_of(this.config)
        own = _scopes(member, path, visit.get("task"), above)
        for scope in own:
            meter.gate.add(scope)
        if member.is_workflow and not has_saver(this.config):
            meter.note_taken(path, this.attempts.lines)
        what = {"path": path, "handoff": visit["id"], "task": visit.get("task")}
        told = has_event_bus(this.config)
        if told:
            begun = visit["request"] or None
            emit(this.config, WorkflowEventType.TASK_STARTED, request=begun, **what)
        failure: Exception | None = None
        try:
            turns: AttemptFunction = apply_policies(member.policies, attempt, member.service)
            this.about.update(what)
            report = yield from turns(this)
        except ParentCommand as sent:
            report = yield from _handover_report(member, visit, this, cast(Any, sent.args[0]))
        except GraphInterrupt as stop:
            if not stop.args[0]:  # a breakpoint of its own graph asks nothing by itself
                raise at_breakpoint(this.config, member.name) from None
            for request in stop.args[0]:
                prompt = as_dict(request.value).get("prompt")
                emit(
                    this.config, WorkflowEventType.ASKED, request=request.id, prompt=prompt, **what
                )
            raise
        except (GraphBubbleUp, AbandonedError):
            raise
        except CircuitOpenError as error:
            yield from _still_asks(member, visit, this.config)
            report = failure_report(visit, "circuit_open", describe_error(error), attempts=0)
        except Exception as error:
            if is_invalid_resume(error):
                raise  # a person's answer was refused; the question is still open
            if isinstance(error, BudgetExceededError) and error.asks:
                raise
            left = yield from _state_left(member, visit, this)
            if isinstance(error, BudgetExceededError):
                error.found = _said(visit, left, error)
                if error.scope not in [scope.name for scope in own]:
                    if error.owner != above:
                        meter.put_back(lines_of(left) or this.attempts.lines)
                        raise  # it is for a workflow further up to see to
                    this.attempts.breach = error.facts()
            failure = error
            meter.put_back(lines_of(left) or this.attempts.lines)
            report = failure_report(
                visit,
                failure_kind(error),
                _why(member, error, this.config),
                text=_said(visit, left, error),
                attempts=max(1, this.attempts.taken),
            )
            report["traceback"] = traceback_of(error)
        finally:
            meter.over(path)
        if lines := [*meter.take(path), *report.get("usage", ())]:
            report["usage"] = lines
        if report["status"] != "ok" and report.get("kind") != "budget_exceeded":
            words = "the visit of %s failed in attempt %d: %s"
            said = report.get("error") or ""
            log_failure(_log, words, path, report["attempts"], said, error=failure)
        report = apply_compensation(report, member.policies)
        if told:
            _tell_end(this.config, report, what)
        return report

    return visiting


def _tell_end(config: RunnableConfig, report: Report, what: Mapping[str, Any]) -> None:
    """Tell the event bus what a visit came to."""
    over = WorkflowEventType.TASK_COMPLETED
    if report["status"] != "ok":
        over = WorkflowEventType.TASK_FAILED
    end = {
        "status": report["status"],
        "kind": report.get("kind"),
        "attempts": report["attempts"],
        "text": report["text"] or None,
        "error": report.get("error"),
    }
    emit(config, over, **end, **what)


def _scopes(
    member: ParticipantRuntime, path: str, task: str | None, owner: str
) -> list[BudgetScope]:
    """Return the budgets that hold for a visit."""
    found: list[BudgetScope] = []
    if member.budget is not None:
        found.append(BudgetScope(name=path, owner=owner, budget=member.budget))
    if member.task_budget is not None and task is not None:
        found.append(
            BudgetScope(name=task_scope(path, task), owner=owner, budget=member.task_budget)
        )
    return found


def _turn(
    member: ParticipantRuntime, visit: VisitRequest, this: AttemptContext
) -> Steps[Mapping[str, Any]]:
    """Run one turn: begin it, continue it, or take it as it is when it was finished before."""
    again = this.attempts.taken > 1
    inner: RunnableConfig = {
        **cast(
            RunnableConfig,
            visit_span_config(this.config, member.name, member.description, visit.get("task")),
        ),
        "configurable": {**this.overrides, **without_replay(this.config), CALLS: counter()},
        "metadata": {
            "participant": visit["participant"],
            "participant_path": participant_path(this.config, visit["participant"]),
            **visit_metadata(visit),
            **({"task": visit["task"]} if "task" in visit else {}),
        },
    }
    if again:
        inner["configurable"] = {
            **participant_place(this.config, visit["participant"]),
            **(inner.get("configurable") or {}),
            **new_turn_config(),
        }
    if (limit := member.step_limit(this.config)) is not None:
        inner["recursion_limit"] = limit
    forced = again or this.resumes
    known = False
    if (forced and has_saver(this.config)) or is_resuming(this.config):
        last = yield from _last(member, visit, this.config)
        stored: Mapping[str, Any] = last.metadata or {}
        same = stored.get(HANDOFF) == visit["id"]
        if same and not again:  # an earlier attempt is counted already
            _recall(meter_of(this.config), member, visit, last.values, this.config)
        if same and answers_others(this.config, last):
            raise GraphInterrupt(last.interrupts)
        if same and not last.tasks and stored.get("source") == "loop":
            return (yield from _of_this_turn(member, visit, last.values, this.config))
        turn = resume_turn_config() if same and forced else {} if same else new_turn_config()
        if same and again:
            turn |= yield from stored_answers(this.config, visit["participant"], last)
        known = not same and visit["id"] in _ids(last.values)
        inner["configurable"] = {**(inner.get("configurable") or {}), **turn}
    before = [RemoveMessage(REMOVE_ALL_MESSAGES)] if member.forgets else []
    if known:
        before.append(RemoveMessage(visit["id"]))  # else it would stay at its old place
    if "given" in visit:
        request = {**visit["given"], "messages": [*before, *visit["given"]["messages"]]}
    else:
        text = yield from add_memories(visit, member.recalls, this.config)
        content = with_media(text, visit.get("media"))
        request = {"messages": [*before, HumanMessage(content, id=visit["id"])]}
    values = yield from _run_graph(member, request, inner, this)
    return (yield from _of_this_turn(member, visit, values, this.config))


def _run_graph(
    member: ParticipantRuntime, request: dict[str, Any], inner: RunnableConfig, this: AttemptContext
) -> Steps[Mapping[str, Any]]:
    """Run a participant's graph to its end, and return its state.

    Where nothing is stored, the state is kept step by step, for what was said before a failure.
    """
    runner: Any = member.graph
    kwargs: dict[str, Any] = {}
    asked = kwargs
    ways: tuple[Any, Any]
    if not has_saver(this.config) and member.collects_leanly:
        ways = _keeping_state(runner, this.attempts)
    else:
        ways = runner.invoke, runner.ainvoke
        stored_once = not member.stores_steps and has_saver(this.config)
        kwargs = {"durability": "exit"} if stored_once else {}
        asked = invoke_options(kwargs) if member.collects_leanly else kwargs
    if member.needs_async:
        asynchronous = ways[1]

        def in_loop(*args: Any, **named: Any) -> Any:
            return run_coroutine(asynchronous(*args, **named))

        ways = in_loop, asynchronous
    found = yield Call(without_exit(ways[0]), ways[1], (request, inner), asked)
    return cast(
        Mapping[str, Any], collect_output(found, kwargs) or {}
    )  # None: no output was written


def _keeping_state(runner: Any, attempts: AttemptCounter) -> tuple[Any, Any]:
    """Make callers of a graph that keep the state which each of its steps leaves."""

    def invoke(*args: Any) -> Any:
        for state in runner.stream(*args, stream_mode="values"):
            attempts.state = state
        return attempts.state

    async def ainvoke(*args: Any) -> Any:
        async for state in runner.astream(*args, stream_mode="values"):
            attempts.state = state
        return attempts.state

    return invoke, ainvoke


def _of_this_turn(
    member: ParticipantRuntime,
    visit: VisitRequest,
    values: Mapping[str, Any],
    config: RunnableConfig,
) -> Steps[Mapping[str, Any]]:
    """Leave out of a participant's state the answers that an earlier turn has left in it."""
    keys = {key for key in member.answer_keys if values.get(key) is not None}
    if keys and has_saver(config):
        old = yield from keys_of_earlier_turns(config, visit["participant"], keys)
        values = {key: value for key, value in values.items() if key not in old}
    if member.has_messages:
        return values
    return {key: values[key] for key in member.answer_keys if key in values}


def _ids(values: Mapping[str, Any]) -> set[Any]:
    """Return the ids of the messages in a participant's state."""
    return {getattr(message, "id", None) for message in values.get("messages") or ()}


def _handover_report(
    member: ParticipantRuntime, visit: VisitRequest, this: AttemptContext, sent: Command[Any]
) -> Steps[Report]:
    """Report that a participant wanted to hand over by a command to its parent graph.

    The results of other tools of the same message are kept in its history.
    """
    goto: Any = sent.goto
    targets: list[Any] = [goto] if isinstance(goto, str | Send) else list(goto or ())
    names = ", ".join(t.node if isinstance(t, Send) else str(t) for t in targets)
    error = "it sent a command to its parent graph" + (
        f", to go to {names}. A participant cannot hand over by itself: let the supervisor "
        "decide, or make the team with asterism.compat.langgraph_supervisor"
        if names
        else ""
    )
    text = _said(visit, (yield from _state_left(member, visit, this)))
    if has_saver(this.config):
        graph = member.graph
        place = {"configurable": participant_place(this.config, visit["participant"])}
        yield Call(graph.update_state, graph.aupdate_state, (place, None, END))
    return failure_report(visit, "agent_failed", error, text=text, attempts=this.attempts.taken)


def _still_asks(
    member: ParticipantRuntime, visit: VisitRequest, config: RunnableConfig
) -> Steps[None]:
    """Leave a question open that cannot be gone on with at the moment."""
    if has_saver(config):
        last = yield from _last(member, visit, config)
        if last.interrupts and (last.metadata or {}).get(HANDOFF) == visit["id"]:
            raise GraphInterrupt(last.interrupts)


def _recall(
    meter: UsageMeter,
    member: ParticipantRuntime,
    visit: VisitRequest,
    values: Any,
    config: RunnableConfig,
) -> None:
    """Count what an earlier process has spent on this visit."""
    if member.is_workflow:
        meter.gate.restore(values)  # a workflow keeps the ledger itself
        return
    meter.recall(
        participant_path(config, member.name), visit.get("task"), new_messages(visit, values)
    )


def _state_left(
    member: ParticipantRuntime, visit: VisitRequest, this: AttemptContext
) -> Steps[Mapping[str, Any]]:
    """Return the state that a participant had come to when it failed."""
    if not has_saver(this.config):
        return this.attempts.state
    last = yield from _last(member, visit, this.config)
    return last.values if (last.metadata or {}).get(HANDOFF) == visit["id"] else {}


def _said(visit: VisitRequest, values: Mapping[str, Any], error: Exception | None = None) -> str:
    """Return what a participant had said when it failed, given the state that it left."""
    if isinstance(error, RemoteFailedError) and error.said:
        return error.said
    if isinstance(error, BudgetExceededError) and error.found:
        return error.found
    read = found_in if isinstance(error, (BudgetExceededError, *ENDLESS)) else last_answer_in
    try:
        return read(visit, values)
    except (TypeError, ValueError):  # what stands under `messages` may be the very fault
        return ""


def _why(member: ParticipantRuntime, error: Exception, config: RunnableConfig) -> str:
    """Say why a visit failed; of a limit of steps, how to raise it."""
    if isinstance(error, GraphRecursionError) and member.step_limit(config) is not None:
        return limit_text(member.max_steps)
    return describe_error(error)


def _last(member: ParticipantRuntime, visit: VisitRequest, config: RunnableConfig) -> Steps[Any]:
    """Read what the participant stored last."""
    place = {"configurable": participant_place(config, visit["participant"])}
    graph = member.graph
    return (yield Call(graph.get_state, graph.aget_state, (place,)))


def create_participant_node(member: ParticipantRuntime) -> StepsNode:
    """Create the node that visits a participant."""
    visitor = create_visitor(member)

    def visit(state: Any, config: RunnableConfig) -> Steps[dict[str, Any]]:
        # A thread of an older version may wait for a visit that it was sent.
        sent = member.grant is None and "participant" in state
        visit = cast(VisitRequest, state) if sent else visit_in(state, member.name)
        given: dict[str, Any] = {}
        if member.grant is not None:
            given = visit["given"] = member.grant.state_input(member.name, visit["id"], state)
        this = AttemptContext(config=config, resumes=visit.get("resumes", False))
        try:
            report = yield from visitor(visit, this)
        except BudgetExceededError as error:
            if error.owner != workflow_path(config):
                raise
            return {"breach": error.facts()}
        update: dict[str, Any] = {"reports": [report]}
        if this.attempts.breach is not None:
            update["breach"] = this.attempts.breach
        if member.grant is None:
            return {**update, "messages": [report_message(report)]}
        return {**update, **member.grant.state_update(report, this.turn, given)}

    return StepsNode(visit, name=member.name, graphs=(member.graph,))
