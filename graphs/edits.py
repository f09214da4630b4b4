"""Edits of a stored run: a decision in an update is followed, wherever it comes from."""

from collections.abc import Collection, Sequence
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.types import Command, StateSnapshot, StateUpdate

from asterism.core.decision import apply_edit, dump_decision, visit_as_plan
from asterism.idempotency import HANDOFF
from asterism.nodes.engine import lender
from asterism.nodes.routing import BEGIN, SUPERVISOR, route
from asterism.plain import as_dict


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
    stored = before.get("decision")
    changes = "decision" in values and values["decision"] != stored
    followed = any(name not in (BEGIN, SUPERVISOR) for name in snapshot.next)
    if update.as_node is None and (changes or followed):
        update = update._replace(as_node=SUPERVISOR)
    if update.as_node != SUPERVISOR:
        return update
    if changes and values["decision"]:
        decision = visit_as_plan(apply_edit(values["decision"], stored, names), nodes)
        values = {**values, "decision": dump_decision(decision)}
    elif "decision" in values and not changes:
        values = {**values, "decision": stored}  # byte for byte, in whatever order it came
    goto = route({**before, **values}, names)
    command: Command[Any] = Command(update=values, goto=goto)
    return update._replace(values=cast(Any, command))
