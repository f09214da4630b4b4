"""Crashes at random moments: nothing finished is lost, skipped or repeated.

`make torture` kills 300 times; here, some 15 times. Every step boundary is in
`graphs/test_turns.py`.
"""

import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from asterism import Participant, SupervisorWorkflowBuilder, open_checkpointer, proceed
from asterism.core.run_types import WorkflowInput
from tests.crashing import THREAD, story
from tests.databases import Server
from tests.payments import EXPECTED, FORMS, run, supervise
from tests.plans import plan, task
from tests.processes import forks
from tests.steered import Story as Steered
from tests.steered import WorkerStory

PLAN_REQUEST: WorkflowInput = {"messages": [("user", "Go")]}
KILLS = int(os.environ.get("ASTERISM_KILLS", "15"))

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")


@pytest.mark.parametrize(("kind", "share"), [("sqlite", 2 / 3), ("postgres", 1 / 3)])
def test_nothing_finished_is_lost_or_repeated(
    kind: str, share: float, server: Server, tmp_path: Path
) -> None:
    kills, seed, turns, steps, again = 0, 0, 0, 0, 0
    while kills < KILLS * share:
        url = server.create() if kind == "postgres" else None
        told = story(tmp_path / str(seed), seed, url=url)
        assert told.lost == [], f"seed {seed}"
        assert told.repeated == [], f"seed {seed}"
        kills += told.kills
        turns += len(told.finished)
        steps += told.inner
        again += sum(count - 1 for count in told.effects().values())
        seed += 1
        if url is not None:
            server.drop(url)
    said = (
        f"{kind}: {kills} kills on {seed} threads, {turns} turns, {steps} steps of agents: none "
        f"lost, none repeated; {again} effects that were under way ran again"
    )
    logging.getLogger(__name__).warning(said)


MESSAGES = int(os.environ.get("ASTERISM_MESSAGES", "12"))


@pytest.mark.parametrize(
    ("kind", "drivers"), [("sqlite", 1), ("sqlite", 2), ("postgres", 2), ("workers", 2)]
)
def test_each_steering_message_is_seen_once_by_whom_it_is_for(
    kind: str, drivers: int, server: Server, tmp_path: Path
) -> None:
    is_postgres = kind in ("postgres", "workers")
    url = server.create() if is_postgres else f"sqlite:///{tmp_path / 'threads.db'}"
    steered = Steered(tmp_path, url, drivers)
    if kind == "workers":
        steered = WorkerStory(tmp_path, url, drivers, share=0.15)
    steered.run(MESSAGES, seed=drivers)
    assert [*steered.faults()] == []
    prompts = len((tmp_path / "log").read_text().splitlines())
    logging.getLogger(__name__).warning(
        f"{kind}, {drivers} processes: {len(steered.sent)} messages, {steered.kills} kills, "
        f"{prompts} prompts: each message seen once, none lost"
    )
    if is_postgres:
        server.drop(url)


def killed_in_a_plan(folder: Path) -> None:
    """Follow a plan of four tasks: one fails, and one kills the process the first time."""
    with open_checkpointer(f"sqlite:///{folder / 'threads.db'}") as saver:
        workflow = build_plan(folder, saver)
        if workflow.get_state(THREAD).values:
            proceed(workflow, THREAD)
        else:
            workflow.invoke(PLAN_REQUEST, THREAD)


def build_plan(folder: Path, saver: Any) -> Any:
    def noted(name: str) -> Participant:
        def work(messages: Any) -> str:
            with (folder / "log").open("a") as log:
                log.write(f"{name}\n")
            return f"{name} is done"

        return Participant(runs=work, description="Works.")

    def fails(messages: Any) -> str:
        raise RuntimeError("out of order")

    def kills(messages: Any) -> str:
        while (folder / "log").exists() and (folder / "log").read_text().count("\n") < 2:
            time.sleep(0.01)
        time.sleep(0.2)  # the others' reports are stored by now
        if not (folder / "killed").exists():
            (folder / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return "went on"

    return (
        SupervisorWorkflowBuilder("Four", finish="forward")
        .participants(
            one=noted("one"),
            two=noted("two"),
            bad=Participant(runs=fails, description="Fails."),
            kill=Participant(runs=kills, description="Kills."),
        )
        .with_manager(plan(task("a", "one"), task("b", "bad"), task("c", "two"), task("d", "kill")))
        .build(checkpointer=saver)
    )


def test_one_failing_branch_of_four_is_one_failure_after_a_kill(tmp_path: Path) -> None:
    for code in (-signal.SIGKILL, 0):
        process = forks.Process(target=killed_in_a_plan, args=(tmp_path,))
        process.start()
        process.join(60)
        assert process.exitcode == code
    with open_checkpointer(f"sqlite:///{tmp_path / 'threads.db'}") as saver:
        values = build_plan(tmp_path, saver).get_state(THREAD).values
    assert values["status"] == "completed"
    assert {r["task"]: (r["status"], r["text"]) for r in values["reports"]} == {
        "a": ("ok", "one is done"),
        "b": ("failed", ""),
        "c": ("ok", "two is done"),
        "d": ("ok", "went on"),
    }
    assert sorted((tmp_path / "log").read_text().split()) == ["one", "two"]


@pytest.mark.parametrize(
    ("form", "way"),
    [(form, "sync") for form in (*FORMS, "task", "orchestrator")]
    + [(form, "async") for form in ("agent", "workflow", "task")],
)
def test_a_crash_within_a_turn_goes_on_at_the_step_that_was_open(
    form: str, way: str, lasting: str, tmp_path: Path
) -> None:
    _die_and_go_on(tmp_path, run, (lasting, tmp_path, form, way))


def test_a_child_goes_on_at_the_step_that_was_open(lasting: str, tmp_path: Path) -> None:
    _die_and_go_on(tmp_path, supervise, (lasting, tmp_path))


def _die_and_go_on(folder: Path, work: Any, arguments: tuple[Any, ...]) -> None:
    for code in (9, 0):
        process = forks.Process(target=work, args=arguments)
        process.start()
        process.join(60)
        assert process.exitcode == code
    *noted, last = (folder / "log").read_text().splitlines()
    assert (sorted(noted), last) == (EXPECTED, "completed")
