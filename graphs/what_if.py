"""What-if runs: change one thing of a past run, and run again only what follows.

Tests: tests/graphs/test_what_if.py.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple

from asterism.core.checkpoints import (
    Saver,
    checkpoint_key,
    copies_in,
    copy_checkpoint,
    id_of,
    lineage,
    list_checkpoints,
    namespace_of,
    on_branch,
)
from asterism.core.continuation import ThreadLike, thread_config
from asterism.core.decision import (
    Decision,
    RunPlan,
    VisitNext,
    apply_edit,
    decision_from_model,
    dump_decision,
    load_decision,
)
from asterism.core.supervisor_decision import SupervisorDecision
from asterism.core.sync_async import Call, Steps, arun_steps, run_steps
from asterism.core.thread_lease import take_lease
from asterism.errors import ThreadBusyError, WhatIfError
from asterism.graphs.request_checks import check_thread
from asterism.graphs.workflow import Workflow
from asterism.nodes.routing import SUPERVISOR
from asterism.nodes.supervisor import decision_update
from asterism.observability import (
    Difference,
    RequestRecord,
    RoundRecord,
    RunRecord,
    VisitRecord,
    compare_runs,
    saver_of,
)
from asterism.observability.checkpoint_steps import decision_in
from asterism.observability.from_checkpoints import record_of


@dataclass(frozen=True, kw_only=True)
class ReplayResult:
    """What came of a changed run."""

    result: Any
    """What `invoke` returned."""
    config: RunnableConfig
    """The thread that it ran on."""
    before: RunRecord
    """The run as it was."""
    after: RunRecord
    """The run as it would have been."""
    difference: Difference


@dataclass(frozen=True, kw_only=True)
class _ForkedRun:
    """Where a run is changed."""

    checkpoint: str
    """The last checkpoint that stays as it was."""
    kept: Mapping[str, str]
    """Namespaces of visits that ran beside what is changed, each with where they ended."""


def what_if(
    graph: Workflow,
    config: ThreadLike,
    *,
    decision: SupervisorDecision | Mapping[str, Any] | None = None,
    round: int | None = None,
    participant: str | None = None,
    instead: Any = None,
    request: int | None = None,
    thread: str | None = None,
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
) -> ReplayResult:
    """Change one decision or one participant of a past run, and run what follows.

    The run is copied to a new thread up to the change, with what the participants remembered
    then; the old thread stays as it is. Nothing before the change runs again, and nothing of a
    plan that ran beside it and came to its end.

    Args:
        graph: The workflow.
        config: The thread of the past run.
        decision: What the supervisor decides in `round` rather than what it decided.
        round: Which decision of the request, from 1. With `participant`: the first in which
            its change counts.
        participant: Who is another one, from its first visit on.
        instead: What takes its place: anything that may be a participant. None: `graph` itself
            was built with it.
        request: Which request of the thread, from 1. None: the latest.
        thread: The new thread. None: the old one's name with something after it.
        new_id: Makes the names of threads and of decisions in the history.

    Raises:
        WhatIfError: There is no such round, request or visit, the decision is the one that was
            taken, or the new thread is in use.
        BadDecisionError: The decision is not allowed.
        ThreadBusyError: Somebody drives the thread.
        UnknownThreadError: Nothing is stored on it.
    """
    change = (decision, round, participant, instead, request, thread, new_id)
    return run_steps(_what_if(graph, thread_config(config), *change))


async def awhat_if(
    graph: Workflow,
    config: ThreadLike,
    *,
    decision: SupervisorDecision | Mapping[str, Any] | None = None,
    round: int | None = None,
    participant: str | None = None,
    instead: Any = None,
    request: int | None = None,
    thread: str | None = None,
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
) -> ReplayResult:
    """Change one decision or one participant of a past run; see `what_if`."""
    change = (decision, round, participant, instead, request, thread, new_id)
    return await arun_steps(_what_if(graph, thread_config(config), *change))


def _what_if(
    graph: Workflow,
    config: RunnableConfig,
    decision: SupervisorDecision | Mapping[str, Any] | None,
    round: int | None,
    participant: str | None,
    instead: Any,
    request: int | None,
    thread: str | None,
    new_id: Callable[[], str],
) -> Steps[ReplayResult]:
    if (decision is None) == (participant is None):
        raise WhatIfError("Change one thing: give a decision (and its round), or a participant.")
    saver, old = saver_of(graph), check_thread(config)
    target = thread or f"{old[:220]}-what-if-{new_id()[:8]}"
    forked = _config_at(config, target)
    check_thread(forked)
    release = take_lease(saver, old)
    if release is None:
        raise ThreadBusyError(f"The thread {old!r} is being driven; try again when it rests.")
    try:
        items: list[CheckpointTuple] = yield list_checkpoints(saver, checkpoint_key(old))
        before = record_of(items, thread=old, name=graph.name or "")
        asked = _request(before, request)
        update: dict[str, Any] | None = None
        if decision is not None:
            fork, update = _find_decision(graph, items, asked, decision, round, new_id)
        else:
            graph = (
                graph if instead is None else _replace_participant(graph, str(participant), instead)
            )
            visit = _find_first_visit(graph, asked, str(participant), round or 1)
            fork = replace(visit, checkpoint=_begin_of(items, visit.checkpoint))
        yield from _copy(saver, items, fork, target)
    finally:
        release()
    if update is not None:
        how = {"as_node": SUPERVISOR}
        yield Call(graph.update_state, graph.aupdate_state, (forked, update), how)
    result = yield Call(graph.invoke, graph.ainvoke, (None, forked))
    made: list[CheckpointTuple] = yield list_checkpoints(saver, checkpoint_key(target))
    after = record_of(made, thread=target, name=graph.name or "")
    return ReplayResult(
        result=result,
        config=forked,
        before=before,
        after=after,
        difference=compare_runs(before, after),
    )


def _replace_participant(graph: Workflow, name: str, instead: Any) -> Workflow:
    """Build a workflow with another participant under a name."""
    if graph.facts.remade is None or name not in graph.facts.participants:
        raise WhatIfError(
            f"The participant {name!r} cannot be replaced in {graph.name!r}, which has "
            f"{', '.join(graph.facts.participants) or 'nobody'} from the beginning. Build a "
            "workflow with the new one, on the same checkpointer, and give that."
        )
    remade: Workflow = graph.facts.remade(name, instead)
    return remade


def _request(run: RunRecord, number: int | None) -> RequestRecord:
    count = len(run.requests)
    if number is not None and not 1 <= number <= count:
        raise WhatIfError(
            f"The thread {run.thread!r} has no request {number}; it has {count}, from 1 on."
        )
    return run.requests[(number or count) - 1]


def _find_decision(
    graph: Workflow,
    items: Sequence[CheckpointTuple],
    asked: RequestRecord,
    decision: SupervisorDecision | Mapping[str, Any],
    number: int | None,
    new_id: Callable[[], str],
) -> tuple[_ForkedRun, dict[str, Any]]:
    """Return where a decision was taken, and the update that takes another one."""
    count = len(asked.rounds)
    if number is None or not 1 <= number <= count:
        raise WhatIfError(f"There is no round {number}; the request has {count}, from 1 on.")
    taken = asked.rounds[number - 1]
    point = next(item for item in items if id_of(item) == taken.checkpoint)
    values = point.checkpoint["channel_values"]
    if isinstance(decision, SupervisorDecision):
        decision = dump_decision(decision_from_model(decision))
    new = apply_edit(decision, None, tuple(graph.facts.team.live(values)))
    if _meaning(new) == _meaning(_following(items, taken)):
        raise WhatIfError(f"Nothing changes: that is what was decided in round {number}.")
    new = replace(new, handoff_id=new_id())
    update = decision_update(new, (values.get("iterations") or 0) + 1)
    return _ForkedRun(checkpoint=taken.checkpoint, kept={}), update


def _following(items: Sequence[CheckpointTuple], taken: RoundRecord) -> Decision | None:
    """Return a decision as it was stored."""
    stored = (i for i in items if not namespace_of(i) and i.checkpoint["ts"] == taken.decided)
    return load_decision(next(map(decision_in, stored), None))


def _meaning(decision: Decision | None) -> Decision | None:
    """Return a decision without what says nothing about what was decided."""
    if isinstance(decision, VisitNext):
        decision = replace(decision, resumes=False, instruction=decision.instruction or None)
    elif isinstance(decision, RunPlan):
        decision = replace(decision, resumes=False)
    return decision and replace(decision, handoff_id=None)


def _find_first_visit(graph: Workflow, asked: RequestRecord, name: str, number: int) -> _ForkedRun:
    """Return where the first visit to a participant began."""
    if name not in graph.facts.participants:
        listed = ", ".join(graph.facts.participants)
        raise WhatIfError(f"The workflow has no participant {name!r}; it has {listed}.")
    for decided in asked.rounds[number - 1 :]:
        for visit in sorted(decided.visits, key=lambda visit: visit.checkpoint):
            if visit.participant == name and visit.checkpoint:
                return _ForkedRun(checkpoint=visit.checkpoint, kept=dict(_beside(decided, visit)))
    raise WhatIfError(f"{name!r} made no visit from round {number} of the request on.")


def _begin_of(items: Sequence[CheckpointTuple], checkpoint: str) -> str:
    """Return the checkpoint where a visit began that was stopped, as by a budget, and resumed."""
    star = (item for item in items if not namespace_of(item))
    known = {id_of(item): load_decision(decision_in(item)) for item in star}
    resumed = known.get(checkpoint)
    if not isinstance(resumed, VisitNext) or not resumed.resumes:
        return checkpoint
    begun = replace(resumed, resumes=False)
    return min((id for id, decision in known.items() if decision == begun), default=checkpoint)


def _beside(decided: RoundRecord, changed: VisitRecord) -> Iterator[tuple[str, str]]:
    """Yield who else was at work when a visit began and came to an end."""
    for visit in decided.visits:
        other = visit.participant != changed.participant
        begun = visit.checkpoint and visit.checkpoint <= changed.checkpoint
        after = visit.ended is not None and changed.began is not None
        if other and begun and after and str(visit.ended) > str(changed.began):
            yield visit.participant, str(visit.ended)


def _copy(
    saver: Saver, items: Sequence[CheckpointTuple], fork: _ForkedRun, thread: str
) -> Steps[None]:
    """Copy a thread up to a fork: the workflow, and what participants remembered then."""
    if (yield Call(saver.get_tuple, saver.aget_tuple, (checkpoint_key(thread, ""),))) is not None:
        raise WhatIfError(f"The thread {thread!r} is in use; name another one.")
    star = [item for item in items if not namespace_of(item)]
    head = next(item for item in star if id_of(item) == fork.checkpoint)
    trunk = lineage(star, head)
    lines: dict[str, list[CheckpointTuple]] = {"": trunk}
    for namespace in {namespace_of(item) for item in items} - {""}:
        own = [item for item in items if namespace_of(item) == namespace]
        until = fork.kept.get(namespace.split("|")[0])
        reached = on_branch(own, star, trunk)
        ended = [item for item in own if until and item.checkpoint["ts"] <= until]
        reached += [item for item in ended if not copies_in(item)]
        if reached:
            lines[namespace] = lineage(own, max(reached, key=id_of))
    for namespace, line in lines.items():
        for item in line:
            yield from copy_checkpoint(saver, item, thread, namespace, writes=item is not line[-1])


def _config_at(config: RunnableConfig, thread: str) -> RunnableConfig:
    """Return a config with another thread, at its latest checkpoint."""
    configurable = {
        key: value
        for key, value in (config.get("configurable") or {}).items()
        if not key.startswith("checkpoint_")
    }
    return {**config, "configurable": {**configurable, "thread_id": thread}}
