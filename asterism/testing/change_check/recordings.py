"""Past threads, made again step by step; and threads that are kept as tests.

Tests: tests/asterism/testing/change_check/test_recordings.py.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from pydantic import BaseModel, ValidationError

from asterism.core.checkpoints import checkpoint_key, id_of, lineage, namespace_of
from asterism.core.values import describe_error, plain_facts, redact_values
from asterism.errors import AsterismError, ConfigurationError
from asterism.graphs.workflow import Workflow
from asterism.observability.checkpoint_steps import source_of
from asterism.storage.open import open_checkpointer
from asterism.storage.retention import export_thread, import_thread
from asterism.testing.change_check.dry_run import NextStep, copy_thread, dry_workflow, next_steps
from asterism.testing.change_check.report import PastStep, StepChange, compare_steps

SUFFIX = ".thread.json"
"""How the name of a recording ends."""


class Recording(BaseModel):
    """A thread as a test: what is stored of it, and what each of its steps sent to models."""

    version: Literal[1] = 1
    graph: str
    """The graph, as `module:attribute`."""
    model: str | None = None
    """The model that it is built with. None: its own."""
    thread: dict[str, Any]
    """What `export_thread` returned, without secrets."""
    steps: dict[str, list[dict[str, Any]]] = {}
    """By checkpoint, the fields of each `NextStep`."""


def record_thread(
    workflow: Workflow[Any],
    saver: BaseCheckpointSaver[Any],
    thread: str,
    *,
    graph: str,
    model: str | None = None,
) -> Recording:
    """Make a test of a thread. No model is called, and no code of the user runs.

    Args:
        workflow: The team, as it is now.
        saver: The database.
        thread: The thread.
        graph: The name of the team.
        model: The model that it was built with, where that was chosen.
    """
    data = redact_values(export_thread(saver, thread))
    recording = Recording(graph=graph, model=model, thread=data)
    recording.steps = {
        place: [plain_facts(asdict(step)) for step in steps]
        for place, steps in _all_steps(workflow, recording)
    }
    return recording


def replay_thread(workflow: Workflow[Any], recording: Recording) -> list[StepChange]:
    """Return what differs in the first step of a recorded thread that is another one now."""
    for place, steps in _all_steps(workflow, recording):
        before = [NextStep(**step) for step in recording.steps.get(place, ())]
        if changes := compare_steps(before, [NextStep(**plain_facts(asdict(s))) for s in steps]):
            return changes
    return []


def read_recording(path: Path) -> Recording:
    """Read a recording.

    Raises:
        ConfigurationError: The file is none.
    """
    try:
        return Recording.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ConfigurationError(
            f"{str(path)!r} cannot be read as a recording: {error}. Record the thread anew: "
            "asterism record THREAD --to FOLDER"
        ) from error


def _all_steps(
    workflow: Workflow[Any], recording: Recording
) -> Iterator[tuple[str, list[NextStep]]]:
    """Yield each step of the latest request of a recorded thread, by its checkpoint."""
    with (
        tempfile.TemporaryDirectory() as folder,
        open_checkpointer(f"sqlite:///{folder}/thread.db") as saver,
    ):
        thread = import_thread(saver, recording.thread)
        items = [*saver.list(checkpoint_key(thread))]
        for item in _past(items):
            yield id_of(item), _steps_at(workflow, saver, items, thread, id_of(item))


def _past(items: Sequence[CheckpointTuple]) -> list[CheckpointTuple]:
    """Return the checkpoints of the latest request that another one followed, the oldest first."""
    star = [item for item in items if not namespace_of(item)]
    line = lineage(star, max(star, key=id_of))
    begun = max((n for n, item in enumerate(line) if source_of(item) == "input"), default=0)
    return line[begun + 1 : -1]


def replay_steps(
    workflow: Workflow[Any],
    old: Workflow[Any] | None,
    saver: BaseCheckpointSaver[Any],
    items: Sequence[CheckpointTuple],
    thread: str,
) -> list[PastStep]:
    """Make each step of the latest request of a thread again, from what was stored before it.

    Args:
        workflow: The new workflow.
        old: The old one. None: told is what fails or ends too early.
        saver: The database.
        items: The checkpoints of the thread, the latest first.
        thread: The thread.
    """
    found: list[PastStep] = []
    past = _past(items)
    for number, item in enumerate(past, 1):
        now = _steps_at(workflow, saver, items, thread, id_of(item))
        if old is not None:
            before = _steps_at(old, saver, items, thread, id_of(item))
            changes, stops = compare_steps(before, now), list[NextStep]()
        else:
            is_last = item is past[-1]
            changes = []
            stops = [s for s in now if s.kind == "fails" or (s.kind == "ends" and not is_last)]
        if changes or stops:
            what = "; ".join(step.what for step in (stops or now))
            found.append(PastStep(thread=thread, step=number, what=what, changes=tuple(changes)))
    return found


def _steps_at(
    workflow: Workflow[Any],
    saver: BaseCheckpointSaver[Any],
    items: Sequence[CheckpointTuple],
    thread: str,
    checkpoint: str,
) -> list[NextStep]:
    dry = dry_workflow(workflow, copy_thread(saver, items, thread))
    config = checkpoint_key(thread, checkpoint=checkpoint)
    try:
        snapshot = dry.get_state(config)
    except (AsterismError, ValidationError) as error:
        said = describe_error(error)
        return [NextStep(kind="fails", place="supervisor", what=said, fault=said)]
    return next_steps(dry, thread, snapshot, checkpoint)
