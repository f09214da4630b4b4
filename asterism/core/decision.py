"""The decision that a workflow follows: the one reader and the one writer of its stored form.

Open it to add a kind of decision or a field. Tests: tests/asterism/core/test_decision.py.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, ClassVar, Literal, cast

from pydantic import BaseModel, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from asterism.core.messages import clean
from asterism.core.state import Status
from asterism.core.supervisor_decision import AnswerDecision, SupervisorDecision, read_decision
from asterism.core.values import as_dict, redact
from asterism.errors import BadDecisionError, BudgetExceededError


@dataclass(frozen=True, kw_only=True)
class _Identified:
    """The field that decisions of all kinds have."""

    handoff_id: str | None = None
    """The id of the visit, the plan or the question that the decision asks for."""


@dataclass(frozen=True, kw_only=True)
class VisitNext(_Identified):
    """A decision that one participant works next."""

    kind: ClassVar = "visit"
    next_agent: str
    instruction: str | None = None
    resumes: bool = False
    """Whether an exceeded budget had stopped the visit."""
    inputs: dict[str, dict[str, Any]] | None = None
    """What the participant is sent besides the state, by its name, where it has a grant."""


@dataclass(frozen=True, kw_only=True)
class RunPlan(_Identified):
    """A decision that several tasks are done."""

    kind: ClassVar = "plan"
    tasks: list[dict[str, Any]]
    """The tasks, each with the fields of `SubAgentTask` that are not at their default."""
    resumes: bool = False
    """Whether an exceeded budget had stopped the plan."""
    inputs: dict[str, dict[str, Any]] | None = None
    """What participants with a grant are sent besides the state, by task."""


@dataclass(frozen=True, kw_only=True)
class AskUser(_Identified):
    """A decision that a person is asked."""

    kind: ClassVar = "ask"
    user_prompt: str


@dataclass(frozen=True, kw_only=True)
class RaiseLimit(_Identified):
    """A decision that a person is asked to raise the limit of an exceeded budget."""

    kind: ClassVar = "raise_limit"
    user_prompt: str
    budget: dict[str, Any]
    """The facts of the `BudgetExceededError`."""
    then: "Decision | None" = None
    """The decision that the budget stopped; it is followed on with the new limit."""


@dataclass(frozen=True, kw_only=True)
class ContinueStopped(_Identified):
    """A decision that what an exceeded budget stopped is continued."""

    kind: ClassVar = "continue"
    then: "Decision | None" = None
    """The decision that was stopped. None: the supervisor decides anew."""


@dataclass(frozen=True, kw_only=True)
class UndoWork(_Identified):
    """A decision that what was done for the request is undone."""

    kind: ClassVar = "undo"
    then: "Decision | None" = None
    """The decision that is followed after that. None: the supervisor decides."""


@dataclass(frozen=True, kw_only=True)
class FinishRun(_Identified):
    """A decision that the run ends."""

    kind: ClassVar = "finish"
    status: Status | None = None
    """The status of the run. None: as the reports say."""
    reason: str | None = None
    answer: str | None = None
    """The answer to the user, where the decider has written it already."""
    fields: dict[str, Any] | None = None
    """The answer as plain values, for `structured_response`."""
    recorded: bool = False
    """Whether the answer stands in the history already."""


Decision = VisitNext | RunPlan | AskUser | RaiseLimit | ContinueStopped | UndoWork | FinishRun

_CLASSES: dict[str, type[Any]] = {
    kind.kind: kind
    for kind in (VisitNext, RunPlan, AskUser, RaiseLimit, ContinueStopped, UndoWork, FinishRun)
}
_FIELDS: dict[type[Any], dict[str, Any]] = {
    kind: {f.name: None if f.default is MISSING else f.default for f in fields(kind)}
    for kind in _CLASSES.values()
}
"""The fields of each kind, with their defaults."""


class _Older(TypedDict, total=False):
    """The fields of a decision without a kind that have other names now."""

    follow: Literal["now", "done"]
    undo: bool
    told: bool
    end: dict[str, str]


_KNOWN = {"kind", "user_input_needed"}.union(_Older.__annotations__, *_FIELDS.values())
_DECIDING = ("user_input_needed", "budget", "tasks", "next_agent")
"""The fields that tell the kind of a decision that does not name it."""


def load_decision(stored: Mapping[str, Any] | None) -> Decision | None:
    """Read a stored decision of this version or of an older one; an empty one is none.

    Raises:
        BadDecisionError: It has a kind that this version does not know.
    """
    if not stored:
        return None
    if not stored.get("kind"):
        stored = _rename(stored)
        stored = _tell_kind(stored)
    kind = _class_of(stored["kind"])
    values = {name: stored.get(name, default) for name, default in _FIELDS[kind].items()}
    if "then" in values:
        values["then"] = load_decision(values["then"])
    loaded: Decision = kind(**values)
    return loaded


def dump_decision(decision: Decision) -> dict[str, Any]:
    """Write a decision as plain JSON: its kind, the four keys of the first version, its fields."""
    stored: dict[str, Any] = {
        "kind": decision.kind,
        "next_agent": None,
        "user_input_needed": isinstance(decision, AskUser | RaiseLimit),
        "user_prompt": None,
        "instruction": None,
    }
    for name, default in _FIELDS[type(decision)].items():
        if (value := getattr(decision, name)) != default:
            stored[name] = dump_decision(value) if name == "then" else value
    return stored


def decision_from_model(said: SupervisorDecision) -> Decision:
    """Turn what a decider said into the decision that is followed."""
    if said.user_input_needed:
        return AskUser(user_prompt=said.user_prompt or "")
    if said.tasks:
        return RunPlan(
            tasks=[task.model_dump(mode="json", exclude_defaults=True) for task in said.tasks]
        )
    if said.next_agent is not None:
        return VisitNext(next_agent=said.next_agent, instruction=said.instruction)
    if not isinstance(said, AnswerDecision):
        return FinishRun()
    if said.failure:
        return finish_early("failed", said.failure)
    return FinishRun(answer=said.answer, fields=said.fields) if said.answer else FinishRun()


def finish_early(status: Literal["limit", "failed", "stalled"], reason: str) -> FinishRun:
    """Decide that the run ends for another cause than being complete."""
    return FinishRun(status=status, reason=redact(reason))


def decide_at_limit(budget: Mapping[str, Any], stopped: Decision | None) -> Decision:
    """Decide what follows when a budget is used up: a question to raise its limit, or the end.

    Args:
        budget: The facts of the `BudgetExceededError`.
        stopped: The decision that is continued when the limit is raised.
    """
    said = str(BudgetExceededError(**budget))
    if not budget["asks"]:
        return finish_early("limit", said)
    prompt = f"{said[0].upper()}{said[1:]}. What is the new limit? Say a number, or stop."
    return RaiseLimit(user_prompt=prompt, budget=dict(budget), then=stopped)


def resume_stopped(decision: ContinueStopped) -> Decision | None:
    """Return the decision that goes on, with a note of it where it asks for work."""
    then = decision.then
    return replace(then, resumes=True) if isinstance(then, VisitNext | RunPlan) else then


def visit_as_plan(decision: Decision, nodes: Collection[str]) -> Decision:
    """Turn a visit to a participant without a node, which a model created, into a plan."""
    if not isinstance(decision, VisitNext) or decision.next_agent in nodes:
        return decision
    name = decision.next_agent
    words = decision.instruction or "Do your part."
    return RunPlan(
        tasks=[{"task_id": name, "agent_id": name, "task_description": words}],
        resumes=decision.resumes,
        inputs=decision.inputs,
        handoff_id=decision.handoff_id,
    )


def work_of(decision: Decision | None) -> dict[str, Any] | None:
    """Return the work that a decision asks for, as the history records it, or None."""
    match decision:
        case RunPlan(tasks=tasks):
            return {"tasks": tasks}
        case VisitNext(next_agent=name, instruction=instruction):
            return {"next_agent": name, "instruction": instruction}
        case _:
            return None


def apply_edit(
    edit: Mapping[str, Any], stored: Mapping[str, Any] | None, names: Sequence[str]
) -> Decision:
    """Read an edit of a stored decision; what the edit leaves out gets its default.

    A kind that differs from the stored one holds. Otherwise the fields tell the kind, unless
    none of those that do so is changed. Fields that other kinds have are left out.

    Args:
        edit: The decision as it is to be, as plain JSON.
        stored: The decision that is followed. An edit that carries its `handoff_id` is the
            same handoff; any other is a new one, because a participant and the history would
            take its visit for the earlier one.
        names: Who takes part.

    Raises:
        BadDecisionError: It names nobody who takes part, has a field that there is not, lacks
            one that its kind needs, or has one with a value that cannot be used.
    """
    before = load_decision(stored)
    if before is not None and edit == stored:
        return before
    old = {} if before is None else {**dump_decision(before), **(stored or {})}
    given = _read_fields(edit)
    kind = _kept_kind(given, old)
    if kind is not None:
        given = {name: given[name] for name in _FIELDS[_class_of(kind)] if name in given}
        given["user_input_needed"] = kind in (AskUser.kind, RaiseLimit.kind)
    said = decision_from_model(read_decision({"next_agent": None, **given}, names))
    given.pop("tasks", None)  # a plan that was read has its own
    whole: dict[str, Any] = {**given, **dump_decision(said)}
    whole = _tell_kind(whole) if kind is None else {**whole, "kind": kind}
    if (then := whole.get("then")) is not None:
        whole["then"] = apply_edit(then, old.get("then"), names)
    if not whole.get("handoff_id") or whole["handoff_id"] != old.get("handoff_id"):
        whole["handoff_id"] = uuid.uuid4().hex
    edited: Decision = _check(_class_of(whole["kind"]), whole)
    return edited


def _read_fields(edit: object) -> dict[str, Any]:
    """Read the fields of an edit, with their names of today."""
    if not isinstance(edit, Mapping | BaseModel):
        raise BadDecisionError(
            f"The edited decision is {edit!r:.100}. Allowed: an object of fields."
        )
    given: dict[str, Any] = clean(dict(cast(Mapping[str, Any], edit)))
    given = _rename(given | _check(_Older, given))
    if unknown := sorted(map(str, given.keys() - _KNOWN)):
        raise BadDecisionError(
            f"The edited decision has {', '.join(map(repr, unknown))}, which a decision has not. "
            f"Allowed: {', '.join(sorted(_KNOWN))}."
        )
    return given


def _class_of(kind: object) -> type[Any]:
    if not isinstance(kind, str) or kind not in _CLASSES:
        raise BadDecisionError(
            f"The kind of the decision is {kind!r:.100}. Allowed: {', '.join(_CLASSES)}."
        )
    return _CLASSES[kind]


def _kept_kind(edit: Mapping[str, Any], old: Mapping[str, Any]) -> str | None:
    """Return the kind that an edit names, unless it is the old one and the fields say another."""
    kind = edit.get("kind")
    if kind is None:
        return None
    _class_of(kind)
    changed = any((edit[k] or None) != (old.get(k) or None) for k in _DECIDING if k in edit)
    changed = changed or edit.get("follow") is not None or edit.get("undo") is not None
    return None if kind == old.get("kind") and changed else str(kind)


def _rename(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Give the fields of an older version their names of today."""
    renamed = {name: value for name, value in stored.items() if name not in ("told", "end")}
    renamed |= as_dict(stored.get("end"))
    if stored.get("told"):
        renamed["recorded"] = True
    if stored.get("follow") == "done":
        renamed["resumes"] = True
    return renamed


def _tell_kind(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Add the kind that the fields of a decision tell; the first that fits holds."""
    if stored.get("user_input_needed"):
        kind = RaiseLimit.kind if stored.get("budget") else AskUser.kind
    elif stored.get("follow") == "now":
        rest = {name: stored[name] for name in stored if name not in ("kind", "follow")}
        return {"kind": ContinueStopped.kind, "then": rest}
    elif stored.get("undo"):
        kind = UndoWork.kind
    elif stored.get("tasks"):
        kind = RunPlan.kind
    else:
        kind = FinishRun.kind if stored.get("next_agent") is None else VisitNext.kind
    return {**stored, "kind": kind}


def _check(kind: Any, values: Mapping[str, Any]) -> Any:
    """Check the types of the fields of a class; None and an empty list are left out."""
    names: Collection[str] = _FIELDS.get(kind) or kind.__annotations__
    present = {name: values[name] for name in names if values.get(name) not in (None, [])}
    try:
        if kind is RaiseLimit and isinstance(present.get("budget"), dict):
            BudgetExceededError(**present["budget"])
        return TypeAdapter(kind).validate_python(present)
    except TypeError as error:
        raise BadDecisionError(f"The edited decision's budget is wrong: {error}") from error
    except ValidationError as error:
        said = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
        )
        raise BadDecisionError(f"The edited decision cannot be used: {said}.") from error
