"""Edits of a stored run: a decision in an update is followed, wherever it comes from."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.types import Command, StateSnapshot, StateUpdate
from pydantic import TypeAdapter, ValidationError

from asterism.decisions import read_decision
from asterism.errors import BadDecisionError, BudgetExceededError
from asterism.idempotency import HANDOFF
from asterism.messages import clean
from asterism.nodes.deciding import as_task, plain_decision
from asterism.nodes.engine import lender
from asterism.nodes.routing import BEGIN, SUPERVISOR, route
from asterism.plain import as_dict
from asterism.state import Decision, Status


def prepared(
    config: RunnableConfig,
    supersteps: Sequence[Sequence[StateUpdate]],
    snapshot: StateSnapshot,
    names: Sequence[str],
    nodes: Collection[str],
) -> tuple[RunnableConfig, Sequence[Sequence[StateUpdate]]]:
    """Prepare the arguments of `bulk_update_state`.

    Args:
        config: Where the edit is made: the workflow's own state, or that of a participant.
        supersteps: The edit.
        snapshot: The state that it finds.
        names: Who takes part in the workflow.
        nodes: The nodes of the workflow.
    """
    if lender(config) is None and (config.get("configurable") or {}).get("checkpoint_ns"):
        # A checkpoint of a participant carries the visit in which it was made, to go on there.
        visit = as_dict(snapshot.metadata).get(HANDOFF)
        facts = {} if visit is None else {HANDOFF: visit}
        return {**config, "metadata": {**(config.get("metadata") or {}), **facts}}, supersteps
    where = (snapshot, names, nodes)
    steps = [[routed(update, *where) for update in step] for step in supersteps]
    return config, steps


def routed(
    update: StateUpdate,
    snapshot: StateSnapshot,
    names: Sequence[str],
    nodes: Collection[str],
) -> StateUpdate:
    """Add where a decision leads to an update that comes from the supervisor.

    The supervisor's own node says where it goes; an update that takes its place has to say
    it too, or the run would end without a word. An update without a node takes the
    supervisor's place when it changes the decision or when one is being followed. A decision
    that is not changed stays as it is stored.
    """
    values = update.values
    if not isinstance(values, dict):
        return update
    before = as_dict(snapshot.values)
    stored = as_dict(before.get("decision"))
    changes = "decision" in values and values["decision"] != before.get("decision")
    followed = any(name not in (BEGIN, SUPERVISOR) for name in snapshot.next)
    if update.as_node is None and (changes or followed):
        update = update._replace(as_node=SUPERVISOR)
    if update.as_node != SUPERVISOR:
        return update
    after = {**before, **values}
    if changes and after.get("decision"):
        decision = as_task(edited(after["decision"], names, stored), nodes)
        after["decision"] = _identified(decision, stored)
        values = {**values, "decision": after["decision"]}
    command: Command[Any] = Command(update=values, goto=route(after, names))
    return update._replace(values=cast(Any, command))


_EDITABLE = frozenset(Decision.__annotations__)
_COMMON = {"next_agent", "user_input_needed", "user_prompt", "instruction", "handoff_id"}
_WORK = {"tasks", "inputs", "follow"}
_FINISH = {"answer", "fields", "told", "end"}


def edited(
    decision: Mapping[str, Any], names: Sequence[str], stored: Mapping[str, Any] | None = None
) -> Decision:
    """Read an edited decision; what the edit leaves out gets its default.

    What kind of decision it is follows from its fields; those that another kind has are left out.

    Args:
        decision: The edit.
        names: Who takes part.
        stored: The decision that is edited.

    Raises:
        BadDecisionError: It names nobody who takes part, or has a field that there is not, or
            one with a value that cannot be used.
    """
    if decision == stored:
        return cast(Decision, decision)
    decision = clean(dict(decision))
    if unknown := sorted(map(str, decision.keys() - _EDITABLE)):
        raise BadDecisionError(
            f"The edited decision has {', '.join(map(repr, unknown))}, which a decision has not. "
            f"Allowed: {', '.join(sorted(_EDITABLE))}."
        )
    checked = plain_decision(read_decision({"next_agent": None, **decision}, names))
    kept = {key: decision[key] for key in _fields_of(decision) if key in decision}
    whole = cast(Decision, {**kept, **checked})
    if then := whole.get("then"):
        before = as_dict(as_dict(stored).get("then"))
        whole["then"] = dict(edited(cast(Mapping[str, Any], then), names, before))
    _check_values(whole)
    return whole


def _fields_of(decision: Mapping[str, Any]) -> set[str]:
    """Return the fields that a decision of its kind has."""
    if decision.get("user_input_needed"):
        return _COMMON | ({"budget", "then"} if decision.get("budget") else set())
    if decision.get("undo"):
        return _COMMON | {"undo", "then"}
    if decision.get("tasks") or decision.get("next_agent"):
        return _COMMON | _WORK
    return _COMMON | _FINISH | ({"follow"} if decision.get("follow") == "now" else set())


def _check_values(decision: Decision) -> None:
    """Check the types of all fields, and that a budget can be raised.

    Raises:
        BadDecisionError: One cannot be used.
    """
    try:
        TypeAdapter(Decision).validate_python(decision)
        if budget := decision.get("budget"):
            BudgetExceededError(**budget)
        if end := decision.get("end"):
            TypeAdapter(Status).validate_python(end.get("status"))
    except (ValidationError, TypeError) as error:
        said = str(error).partition("For further information")[0]
        raise BadDecisionError(f"The edited decision cannot be used: {said.strip()}") from error


def _identified(decision: Decision, followed: Mapping[str, Any]) -> Decision:
    """Name the handoff of an edited decision.

    An edit of the decision that is being followed keeps its name, so that work under way is
    gone on with. Any other is a new handoff, also one that was taken before on this thread: a
    participant and the history would take its visit for the earlier one.
    """
    if (given := decision.get("handoff_id")) and given == followed.get("handoff_id"):
        return decision
    return {**decision, "handoff_id": uuid.uuid4().hex}
