"""Edits of a stored run: a decision in an update is followed, wherever it comes from."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.types import Command, StateSnapshot, StateUpdate

from asterism.decisions import read_decision
from asterism.idempotency import HANDOFF
from asterism.nodes.deciding import as_task, plain_decision
from asterism.nodes.engine import lender
from asterism.nodes.routing import BEGIN, SUPERVISOR, route
from asterism.plain import as_dict
from asterism.state import Decision


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
    supervisor's place when it holds a decision or when one is being followed.
    """
    values = update.values
    if not isinstance(values, dict):
        return update
    followed = any(name not in (BEGIN, SUPERVISOR) for name in snapshot.next)
    if update.as_node is None and ("decision" in values or followed):
        update = update._replace(as_node=SUPERVISOR)
    if update.as_node != SUPERVISOR:
        return update
    before = as_dict(snapshot.values)
    after = {**before, **values}
    if after.get("decision"):
        decision = as_task(edited(after["decision"], names), nodes)
        after["decision"] = _identified(decision, as_dict(before.get("decision")))
        values = {**values, "decision": after["decision"]}
    command: Command[Any] = Command(update=values, goto=route(after, names))
    return update._replace(values=cast(Any, command))


def edited(decision: Mapping[str, Any], names: Sequence[str]) -> Decision:
    """Read an edited decision; what the edit leaves out gets its default.

    Raises:
        BadDecisionError: It names nobody who takes part.
    """
    checked = plain_decision(read_decision({"next_agent": None, **decision}, names))
    kept = {key: decision[key] for key in ("handoff_id", "end", "undo") if key in decision}
    return cast(Decision, {**checked, **kept})


def _identified(decision: Decision, followed: Mapping[str, Any]) -> Decision:
    """Name the handoff of an edited decision.

    An edit of the decision that is being followed keeps its name, so that work under way is
    gone on with. Any other is a new handoff, also one that was taken before on this thread: a
    participant and the history would take its visit for the earlier one.
    """
    if (given := decision.get("handoff_id")) and given == followed.get("handoff_id"):
        return decision
    return {**decision, "handoff_id": uuid.uuid4().hex}
