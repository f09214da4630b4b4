"""`check`: every thread of a database with new code, before that is deployed.

Tests: tests/asterism/apps/test_change_check.py.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.types import StateSnapshot
from pydantic import ValidationError

from asterism.apps.stored_threads import latest_threads
from asterism.core.checkpoints import (
    checkpoint_key,
    list_checkpoints,
)
from asterism.core.interrupts import open_requests
from asterism.core.sync_async import Call, Steps, arun_steps, run_steps
from asterism.core.values import as_dict, describe_error
from asterism.errors import AsterismError, ConfigurationError, StorageError
from asterism.graphs.migrations import migrate_thread
from asterism.graphs.workflow import Workflow
from asterism.testing.change_check.dry_run import (
    NextStep,
    copy_thread,
    dry_workflow,
    next_steps,
)
from asterism.testing.change_check.faults import Fault, find_faults
from asterism.testing.change_check.recordings import replay_steps
from asterism.testing.change_check.report import (
    CheckReport,
    PastStep,
    ThreadCheck,
    Verdict,
    compare_steps,
)

Baseline = Workflow[Any] | Mapping[str, Any]
"""What threads did before: the old workflow, or the JSON of a report that was made with it."""
PAST = 5
"""How many threads that are over are replayed."""


def check(
    workflow: Workflow[Any],
    saver: BaseCheckpointSaver[Any],
    *,
    baseline: Baseline | None = None,
    threads: Sequence[str] | None = None,
    limit: int = 10_000,
    past: int = PAST,
    graph: str | None = None,
) -> CheckReport:
    """Find what a workflow would do with the threads of a database.

    The next step of each thread that runs or waits is made in a copy, up to the first call of a
    model and the first code of yours. No model is called, none of your functions, tools and
    nodes runs, and nothing is written. A `change` of a `Migration` is tried on the copy.

    Args:
        workflow: The new workflow; its own checkpointer is not used.
        saver: The database.
        baseline: The workflow as it was, or the JSON of a report that was made with it. Prompts
            are compared with those; without it, a thread is compared with what it says that its
            request began with.
        threads: The threads. None: all, the latest first.
        limit: How many threads, at most.
        past: How many threads that are over are replayed, step by step.
        graph: Threads that are labelled with another graph are left out.
    """
    options = (baseline, threads, limit, past, graph)
    return run_steps(_check(workflow, saver, *options))


async def acheck(
    workflow: Workflow[Any],
    saver: BaseCheckpointSaver[Any],
    *,
    baseline: Baseline | None = None,
    threads: Sequence[str] | None = None,
    limit: int = 10_000,
    past: int = PAST,
    graph: str | None = None,
) -> CheckReport:
    """Find what a workflow would do with the threads of a database; see `check`."""
    options = (baseline, threads, limit, past, graph)
    return await arun_steps(_check(workflow, saver, *options))


def read_baseline(path: Path) -> Mapping[str, Any]:
    """Read the JSON of a report.

    Raises:
        ConfigurationError: It is none.
    """
    try:
        found = as_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"The report {str(path)!r} cannot be read: {error}") from error
    if not isinstance(found.get("threads"), list):
        raise ConfigurationError(
            f"{str(path)!r} is no report; write one with the old code: asterism check ... --json"
        )
    return found


def _check(
    workflow: Workflow[Any],
    saver: BaseCheckpointSaver[Any],
    baseline: Baseline | None,
    threads: Sequence[str] | None,
    limit: int,
    past: int,
    graph: str | None,
) -> Steps[CheckReport]:
    if threads is None:
        listing = partial(latest_threads, saver, limit)
        threads = yield Call(listing, partial(asyncio.to_thread, listing))
    checked: list[ThreadCheck] = []
    replayed: list[PastStep] = []
    for thread in (threads or ())[:limit]:
        place = checkpoint_key(thread, "")
        head: CheckpointTuple | None = None
        try:
            head = yield Call(saver.get_tuple, saver.aget_tuple, (place,))
            if head is None or not _is_of(head, graph):
                continue
            items: list[CheckpointTuple] = yield list_checkpoints(saver, checkpoint_key(thread))
        except StorageError as error:
            checked.append(_broken(thread, "damaged", str(error)))
            continue
        look = partial(_look, workflow, baseline, saver, items, thread, past > 0)
        found, steps = yield Call(look, partial(asyncio.to_thread, look))
        past -= found.is_past
        checked.append(found)
        replayed += steps
    return CheckReport(name=workflow.name, threads=tuple(checked), past=tuple(replayed))


def _is_of(head: CheckpointTuple, graph: str | None) -> bool:
    """Whether a checkpoint is of a workflow, and of the graph that is checked."""
    label = as_dict(head.metadata).get("graph")
    other = graph is not None and label is not None and label != graph
    return "iterations" in head.checkpoint["channel_versions"] and not other


def _broken(thread: str, state: str, said: str) -> ThreadCheck:
    fault = Fault(kind="error", where="supervisor", text=said, way_out="")
    return ThreadCheck(thread=thread, state=state, verdict="breaks", faults=(fault,))


def _look(
    workflow: Workflow[Any],
    baseline: Baseline | None,
    saver: BaseCheckpointSaver[Any],
    items: Sequence[CheckpointTuple],
    thread: str,
    replays: bool,
) -> tuple[ThreadCheck, list[PastStep]]:
    """Try one thread, and replay it where it is over and that is wanted."""
    copy = copy_thread(saver, items, thread)
    new = dry_workflow(workflow, copy)
    config = checkpoint_key(thread)
    try:
        run_steps(migrate_thread(new, config))
        snapshot = new.get_state(config, subgraphs=True)
        items = [*copy.list(config)]
        faults = find_faults(new, items, snapshot)
    except ValidationError as error:
        said = f"the stored answer does not fit: {describe_error(error)}"
        fault = Fault(kind="answer", where="supervisor", text=said, way_out=_NEW_FIELDS)
        return ThreadCheck(thread=thread, state="?", verdict="breaks", faults=(fault,)), []
    except Exception as error:  # noqa: BLE001 - it is what the check is to tell
        return _broken(thread, "?", describe_error(error)), []
    state = _state_of(snapshot)
    if state not in ("waiting", "running"):
        old = baseline if isinstance(baseline, Workflow) else None
        past = replay_steps(workflow, old, saver, items, thread) if replays else []
        return ThreadCheck(thread=thread, state=state, verdict="over"), past
    steps = next_steps(new, thread, snapshot)
    faults += [
        Fault(
            kind="tool" if step.kind == "code" else "error",
            where=step.place,
            text=step.fault,
            way_out=step.way_out,
        )
        for step in steps
        if step.fault and not (step.kind == "fails" and faults)
    ]
    before = _steps_before(baseline, saver, items, thread)
    changes = compare_steps(before, steps) if before is not None else ()
    unknown = ""
    verdict: Verdict = "breaks" if faults else "changed" if changes else "unchanged"
    if before is None and not faults:
        unknown = _changed_parts(workflow, snapshot, steps)
        verdict = "changed" if unknown else "unchanged"
    return ThreadCheck(
        thread=thread,
        state=state,
        verdict=verdict,
        steps=tuple(steps),
        faults=tuple(faults),
        changes=tuple(changes),
        note=unknown,
    ), []


_NEW_FIELDS = "give new fields a default, and keep old ones that are stored"


def _state_of(snapshot: StateSnapshot) -> str:
    if open_requests(snapshot):
        return "waiting"
    values = as_dict(snapshot.values)
    unfinished = snapshot.next or snapshot.tasks or values.get("status") == "running"
    return "running" if unfinished else str(values.get("status"))


def _steps_before(
    baseline: Baseline | None,
    saver: BaseCheckpointSaver[Any],
    items: Sequence[CheckpointTuple],
    thread: str,
) -> list[NextStep] | None:
    """Return what a thread would have done with the old code, where that is known."""
    if baseline is None:
        return None
    if not isinstance(baseline, Workflow):
        rows = [row for row in baseline["threads"] if row["thread"] == thread]
        return [NextStep(**step) for row in rows for step in row["steps"]] if rows else None
    old = dry_workflow(baseline, copy_thread(saver, items, thread))
    try:
        snapshot = old.get_state(checkpoint_key(thread), subgraphs=True)
    except (AsterismError, ValidationError) as error:
        said = describe_error(error)
        return [NextStep(kind="fails", place="supervisor", what=said)]
    return next_steps(old, thread, snapshot)


def _changed_parts(
    workflow: Workflow[Any], snapshot: StateSnapshot, steps: Sequence[NextStep]
) -> str:
    """Say whose prompt or tools are not those that the request began with, of who asks a model."""
    asking = {step.place.partition("/")[0] for step in steps if step.kind == "model"}
    parts = {"supervisor" if name == "finish" else name for name in asking}
    stored = as_dict(as_dict(snapshot.values).get("made_of"))
    if not parts:
        return ""
    if not stored:
        return "what its prompts were is not stored; compare with --baseline"
    now = workflow.facts.made_of()
    differing = sorted(name for name in parts if stored.get(name) != now.get(name))
    if not differing:
        return ""
    return f"the prompt, tools or model of {', '.join(differing)} are not those it began with"
