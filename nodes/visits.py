"""A visit: one focused request to a participant in, one report out."""

from collections.abc import Callable, Mapping
from typing import Any, cast

from langchain_core.messages import HumanMessage, RemoveMessage
from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphBubbleUp, GraphInterrupt, ParentCommand, is_invalid_resume
from langgraph.graph.message import REMOVE_ALL_MESSAGES

from asterism.budgets import Scope, task_scope
from asterism.effects import Call, Steps, without_exit
from asterism.errors import (
    AbandonedError,
    BudgetExceededError,
    CircuitOpenError,
    RemoteFailedError,
)
from asterism.events import WorkflowEventType, is_told, tell
from asterism.idempotency import CALLS, HANDOFF, counter
from asterism.nodes.context import meter_of, path_of, workflow_path
from asterism.nodes.engine import (
    at_breakpoint,
    detached,
    goes_on,
    has_saver,
    is_resuming,
    new_turn,
    open_answers,
    unreplayed,
)
from asterism.nodes.members import Member
from asterism.nodes.outputs import as_asked, lean
from asterism.nodes.policies import Attempt, Try, compensated, folded
from asterism.nodes.recalling import with_recalled
from asterism.nodes.reports import failed_report, new_messages, read_report, said_in, visit_marks
from asterism.nodes.spans import traced_visit
from asterism.plain import as_dict
from asterism.redaction import describe_error
from asterism.resilience import failure_kind
from asterism.state import Report, Visit
from asterism.usage import Meter

Visiting = Steps[Report]
"""A visit under way. It has a name because functions made for each visit are annotated with it."""

Visitor = Callable[[Visit, Try], Visiting]
"""Makes visits to one participant."""


def create_visitor(member: Member) -> Visitor:
    """Create what makes visits to a participant: its turns, in the fold of its policies.

    The participant sees its own history and the request, nothing else; the workflow gets one
    labelled text, nothing else. A failure becomes a report, so siblings and the run go on.
    """

    def visiting(visit: Visit, this: Try) -> Visiting:
        def attempt(this: Try) -> Visiting:
            this.attempts.taken += 1
            values = yield from _turn(member, visit, this)
            report = read_report(visit, values)
            report["attempts"] = this.attempts.taken
            if member.grant is not None:
                this.turn.update(values, messages=new_messages(visit, values))
            return report

        path, above = path_of(this.config, member.name), workflow_path(this.config)
        meter = meter_of(this.config)
        own = _scopes(member, path, visit.get("task"), above)
        for scope in own:
            meter.gate.add(scope)
        what = {"path": path, "handoff": visit["id"], "task": visit.get("task")}
        told = is_told(this.config)
        if told:
            begun = visit["request"] or None
            tell(this.config, WorkflowEventType.TASK_STARTED, request=begun, **what)
        try:
            turns: Attempt = folded(member.policies, attempt, member.service)
            this.about.update(what)
            report = yield from turns(this)
        except ParentCommand:
            said = "it sent a command to its parent graph"
            report = failed_report(visit, "agent_failed", said, attempts=this.attempts.taken)
        except GraphInterrupt as stop:
            if not stop.args[0]:  # a breakpoint of its own graph asks nothing by itself
                raise at_breakpoint(this.config, member.name) from None
            for request in stop.args[0]:
                prompt = as_dict(request.value).get("prompt")
                tell(
                    this.config, WorkflowEventType.ASKED, request=request.id, prompt=prompt, **what
                )
            raise
        except (GraphBubbleUp, AbandonedError):
            raise
        except CircuitOpenError as error:
            yield from _still_asks(member, visit, this.config)
            report = failed_report(visit, "circuit_open", describe_error(error), attempts=0)
        except Exception as error:
            if is_invalid_resume(error):
                raise  # a person's answer was refused; the question is still open
            if isinstance(error, BudgetExceededError) and (
                error.asks or error.scope not in [scope.name for scope in own]
            ):
                raise  # it is for the workflow to see to
            report = failed_report(
                visit,
                failure_kind(error),
                describe_error(error),
                text=(yield from _said(member, visit, this.config, error)),
                attempts=max(1, this.attempts.taken),
            )
        finally:
            meter.over(path)
        if lines := [*meter.take(path), *report.get("usage", ())]:
            report["usage"] = lines
        report = compensated(report, member.policies)
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
    tell(config, over, **end, **what)


def _scopes(member: Member, path: str, task: str | None, owner: str) -> list[Scope]:
    """Return the budgets that hold for a visit."""
    found: list[Scope] = []
    if member.budget is not None:
        found.append(Scope(name=path, owner=owner, budget=member.budget))
    if member.task_budget is not None and task is not None:
        found.append(Scope(name=task_scope(path, task), owner=owner, budget=member.task_budget))
    return found


def _turn(member: Member, visit: Visit, this: Try) -> Steps[Mapping[str, Any]]:
    """Run one turn: begin it, continue it, or take it as it is when it was finished before."""
    graph, again = member.graph, this.attempts.taken > 1
    inner: RunnableConfig = {
        **cast(
            RunnableConfig,
            traced_visit(this.config, member.name, member.description, visit.get("task")),
        ),
        "configurable": {**this.overrides, **unreplayed(this.config), CALLS: counter()},
        "metadata": {
            "participant": visit["participant"],
            "participant_path": path_of(this.config, visit["participant"]),
            **visit_marks(visit),
            **({"task": visit["task"]} if "task" in visit else {}),
        },
    }
    if again:
        inner["configurable"] = {
            **detached(this.config, visit["participant"]),
            **(inner.get("configurable") or {}),
            **new_turn(),
        }
    forced = again or this.resumes
    known = False
    if (forced and has_saver(this.config)) or is_resuming(this.config):
        last = yield from _last(member, visit, this.config)
        stored: Mapping[str, Any] = last.metadata or {}
        same = stored.get(HANDOFF) == visit["id"]
        if same:
            _recall(meter_of(this.config), member, visit, last.values, this.config)
        if same and not last.tasks and stored.get("source") == "loop":
            return cast(Mapping[str, Any], last.values)
        turn = goes_on() if same and forced else {} if same else new_turn()
        if same and again:
            turn |= yield from open_answers(this.config, visit["participant"], last)
        known = not same and any(m.id == visit["id"] for m in last.values.get("messages") or ())
        inner["configurable"] = {**(inner.get("configurable") or {}), **turn}
    before = [RemoveMessage(REMOVE_ALL_MESSAGES)] if member.forgets else []
    if known:
        before.append(RemoveMessage(visit["id"]))  # else it would stay at its old place
    if "given" in visit:
        request = {**visit["given"], "messages": [*before, *visit["given"]["messages"]]}
    else:
        text = yield from with_recalled(visit, member.recalls, this.config)
        request = {"messages": [*before, HumanMessage(text, id=visit["id"])]}
    stored_once = member.durability and has_saver(this.config)
    kwargs = {"durability": member.durability} if stored_once else {}
    runner: Any = graph
    asked = lean(kwargs) if member.collects_leanly else kwargs
    found = yield Call(without_exit(runner.invoke), runner.ainvoke, (request, inner), asked)
    return cast(Mapping[str, Any], as_asked(found, kwargs))


def _still_asks(member: Member, visit: Visit, config: RunnableConfig) -> Steps[None]:
    """Leave a question open that cannot be gone on with at the moment."""
    if has_saver(config):
        last = yield from _last(member, visit, config)
        if last.interrupts and (last.metadata or {}).get(HANDOFF) == visit["id"]:
            raise GraphInterrupt(last.interrupts)


def _recall(
    meter: Meter, member: Member, visit: Visit, values: Any, config: RunnableConfig
) -> None:
    """Count what an earlier process has spent on this visit."""
    if member.durability is None:
        meter.gate.restore(values)  # a workflow keeps the ledger itself
        return
    meter.recall(path_of(config, member.name), visit.get("task"), new_messages(visit, values))


def _said(member: Member, visit: Visit, config: RunnableConfig, error: Exception) -> Steps[str]:
    """Return what a participant had said of its answer when it failed."""
    if isinstance(error, RemoteFailedError) and error.said:
        return error.said
    if not has_saver(config):
        return ""
    last = yield from _last(member, visit, config)
    if ((last.metadata or {}).get(HANDOFF)) != visit["id"]:
        return ""
    return said_in(visit, last.values)


def _last(member: Member, visit: Visit, config: RunnableConfig) -> Steps[Any]:
    """Read what the participant stored last."""
    place = {"configurable": detached(config, visit["participant"])}
    graph = member.graph
    return (yield Call(graph.get_state, graph.aget_state, (place,)))
