"""What a stored thread names that a workflow does not have, or has in another form.

Nothing is run for it: checkpoints are compared with the workflow.
Tests: tests/asterism/apps/test_change_check.py.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from langgraph.channels import BinaryOperatorAggregate, LastValue
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.types import Interrupt, StateSnapshot
from pydantic import TypeAdapter, ValidationError

from asterism.core.checkpoints import id_of, namespace_of
from asterism.core.decision import VisitNext, load_decision
from asterism.core.interrupts import open_requests, request_prompt
from asterism.core.values import as_dict, as_list, shorten
from asterism.graphs.request_checks import running_participants, unfinished_tasks
from asterism.graphs.workflow import Workflow
from asterism.nodes.engine_keys import nodes_sent_to
from asterism.observability.checkpoint_steps import interrupts_in
from asterism.testing.change_check.dry_run import graph_at

FaultKind = Literal["participant", "node", "key", "tool", "question", "answer", "error"]
"""What it is that does not fit."""
_OWN = ("branch:", "__", "join:", "start:")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing of a stored thread that new code cannot go on with."""

    kind: FaultKind
    where: str
    """The participant, or `"supervisor"`."""
    text: str
    way_out: str


def find_faults(
    workflow: Workflow[Any], items: Sequence[CheckpointTuple], snapshot: StateSnapshot
) -> list[Fault]:
    """Find what a thread names that a workflow does not have.

    Args:
        workflow: The workflow.
        items: The checkpoints of the thread.
        snapshot: How the workflow reads it, with its subgraphs.
    """
    heads: dict[str, CheckpointTuple] = {}
    for item in items:
        known = heads.get(namespace_of(item))
        if known is None or id_of(item) > id_of(known):
            heads[namespace_of(item)] = item
    gone = _lost_participants(workflow, snapshot)
    faults = [_participant_fault(workflow, name, what) for name, what in gone.items()]
    active = {task.name for task in snapshot.tasks} | running_participants(snapshot)
    for place, head in sorted(heads.items()):
        names = [part for part in place.split("|") if part]
        graph = graph_at(workflow, names, as_dict(snapshot.values))
        where = "/".join(names) or "supervisor"
        if graph is None:
            continue
        faults += _key_faults(graph, head, where)
        if not names or names[0] in active:
            for node in nodes_sent_to(head.checkpoint["channel_values"]):
                faults += _node_faults(graph, node, where, gone)
    if not faults and "" in heads:
        faults += _question_faults(heads[""], snapshot)
    return faults


def _lost_participants(workflow: Workflow[Any], snapshot: StateSnapshot) -> dict[str, str]:
    """Return whom the thread sends to work and who takes no part, each with what it has to do."""
    values = as_dict(snapshot.values)
    live = workflow.facts.team.live(values)
    decision = load_decision(values.get("decision"))
    lost: dict[str, str] = {}
    if values.get("status") == "running" and isinstance(decision, VisitNext):
        reports = as_list(values.get("reports"))
        is_due = not any(report.get("round") == values.get("iterations") for report in reports)
        if decision.next_agent not in live and is_due:
            lost[decision.next_agent] = "the decision that is followed sends it to work"
    for task, agent in unfinished_tasks(snapshot).items():
        if agent not in live:
            lost[agent] = f"the task {task!r} of the plan is its"
    return lost


def _participant_fault(workflow: Workflow[Any], name: str, what: str) -> Fault:
    listed = ", ".join(workflow.facts.participants)
    return Fault(
        kind="participant",
        where=name,
        text=f"{name!r} takes no part, and {what}; the team has {listed}",
        way_out=f"say who takes over: workflow.rename(config, {{{name!r}: ...}}), or "
        f"migrations={{...: Migration(rename={{{name!r}: ...}})}}",
    )


def _node_faults(graph: Any, node: str, where: str, gone: Mapping[str, str]) -> Iterator[Fault]:
    if node not in graph.nodes and node not in gone:
        nodes = ", ".join(name for name in graph.nodes if not name.startswith("__"))
        yield Fault(
            kind="node",
            where=where,
            text=f"it rests in the node {node!r}, which is gone; there are {nodes}. Its turn would "
            "end there without a word",
            way_out=f"keep a node {node!r} until no thread rests in it",
        )


def _key_faults(graph: Any, head: CheckpointTuple, where: str) -> Iterator[Fault]:
    values: Mapping[str, Any] = head.checkpoint["channel_values"]
    for key, value in values.items():
        if key.startswith(_OWN):
            continue
        channel = graph.channels.get(key)
        if channel is None:
            yield Fault(
                kind="key",
                where=where,
                text=f"the key {key!r} of its state is gone; it holds {shorten(repr(value), 80)}",
                way_out="keep the key, or move what it holds: migrations={...: "
                "Migration(change=...)}",
            )
        elif isinstance(channel, LastValue | BinaryOperatorAggregate) and where != "supervisor":
            said = _type_fault(cast(Any, channel).ValueType, value)
            if said is not None:
                yield Fault(
                    kind="key",
                    where=where,
                    text=f"the key {key!r} of its state holds {shorten(repr(value), 80)}, which "
                    f"does not fit any more: {said}",
                    way_out="change what is stored: migrations={...: Migration(change=...)}",
                )


def _type_fault(kind: Any, value: object) -> str | None:
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(kind)
    except Exception:  # noqa: BLE001 - a type that pydantic does not know is not looked at
        return None
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        return str(error.errors()[0]["msg"])
    except Exception:  # noqa: BLE001 - a validator of the user's that wants more than a value
        return None
    return None


def _question_faults(head: CheckpointTuple, snapshot: StateSnapshot) -> Iterator[Fault]:
    """Yield the questions that are open and that the workflow does not ask any more."""
    known = {request.id for request in open_requests(snapshot)}
    for asked, _, is_open in interrupts_in(head):
        if is_open and isinstance(cast(object, asked), Interrupt) and asked.id not in known:
            yield Fault(
                kind="question",
                where="supervisor",
                text=f"nobody waits any more for the answer to "
                f"{shorten(request_prompt(asked.value), 100)!r}",
                way_out="keep who asked it until it is answered",
            )
