"""A batch that is interrupted, cancelled or killed goes on where it was, and repeats nothing."""

import asyncio
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.runtime import RunControl

from asterism import Participant, SupervisorWorkflowBuilder
from asterism.core.continuation import is_unfinished
from asterism.programs.batch import abatch_process, batch_process
from asterism.programs.batch import batch as processing
from asterism.storage.open import open_checkpointer
from tests.graphs.test_batch import Saver, stop_at, tasks, told, working
from tests.processes import forks
from tests.teams import follow, said

STRIDE = 1 if "ASTERISM_KILLS" in os.environ else 7
"""How many writes lie between two kills; `make torture` kills at each of them."""


def test_an_interrupt_stops_the_batch_at_the_next_steps(
    saver: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    visits: Counter[str] = Counter()
    stopped = threading.Event()

    class Control(RunControl):
        def request_drain(self, reason: str = "") -> None:
            super().request_drain(reason)
            stopped.set()

    def work(request: str) -> str:
        visits[request] += 1
        assert request == "task 0" or stopped.wait(60)
        return "done"

    def stop() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(processing, "RunControl", Control)
    workflow = working(work, saver, ["p"] * 3)
    options: dict[str, Any] = {"batch_id": "b", "max_concurrent": 2}
    with pytest.raises(KeyboardInterrupt):
        batch_process(workflow, tasks(9), on_progress=stop_at(1, stop), **options)
    assert visits == {"task 0": 3, "task 1": 1}, "it stopped after the visit that was under way"
    outcomes = batch_process(workflow, tasks(9), **options)
    assert told(outcomes) == [("completed", True)] + [("completed", False)] * 8
    assert visits == dict.fromkeys(tasks(9), 3), "each visit was made once"


def test_an_interrupt_in_a_task_stops_the_batch() -> None:
    def work(request: str) -> str:
        if request == "task 1":
            raise KeyboardInterrupt
        return "done"

    with pytest.raises(KeyboardInterrupt):
        batch_process(working(work, InMemorySaver()), tasks(3), batch_id="b", max_concurrent=1)


async def test_a_cancelled_batch_cancels_what_runs_and_can_go_on(saver: Saver) -> None:
    running: list[str] = []

    async def work(messages: list[Any]) -> str:
        request = messages[-1].text.splitlines()[0]
        running.append(request)
        try:
            if request != "task 0" and not mended:
                await asyncio.Event().wait()
            return "done"
        finally:
            running.remove(request)

    mended: list[bool] = []
    builder = SupervisorWorkflowBuilder("Batch", finish="forward")
    builder.participants(p=Participant(runs=work, description="Works."))
    workflow = builder.with_manager(follow(["p"])).build(checkpointer=saver)
    task = asyncio.current_task()
    assert task is not None

    def stop() -> None:
        task.cancel()

    look = stop_at(1, stop)
    with pytest.raises(asyncio.CancelledError):
        await abatch_process(workflow, tasks(20), batch_id="b", max_concurrent=3, on_progress=look)
    task.uncancel()
    assert running == []
    mended.append(True)
    outcomes = await abatch_process(workflow, tasks(20), batch_id="b")
    assert told(outcomes) == [("completed", True)] + [("completed", False)] * 19


def effects(log: Path) -> Counter[str]:
    return Counter(log.read_text().splitlines() if log.exists() else [])


def logging_team(saver: Any, log: Path, pause: float = 0.0) -> Any:
    """A workflow of two visits, each with an effect that is noted in a log."""

    def work(messages: list[Any]) -> str:
        visit = f"{messages[-1].text.splitlines()[0]} {len(messages)}"
        time.sleep(pause)
        file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, f"{visit}\n".encode())
        os.close(file)
        return visit

    builder = SupervisorWorkflowBuilder("Killed", finish="forward")
    builder.participants(p=Participant(runs=work, description="Works."))
    return builder.with_manager(follow(["p", "p"])).build(checkpointer=saver)


def drive(path: Path, log: Path, count: int, concurrent: int, deadly_write: int) -> None:
    """Process a batch; the process dies right after its n-th write to the database."""
    with open_checkpointer(f"sqlite:///{path}") as saver:
        left = [deadly_write]

        def deadly(method: Callable[..., Any]) -> Callable[..., Any]:
            def write(*args: Any, **kwargs: Any) -> Any:
                result = method(*args, **kwargs)
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return result

            return write

        saver.put = deadly(saver.put)  # type: ignore[method-assign]  # a fault injected
        saver.put_writes = deadly(saver.put_writes)  # type: ignore[method-assign]  # the same
        pause = 0.001 if concurrent > 1 else 0
        team = logging_team(saver, log, pause)
        batch_process(team, tasks(count), batch_id="b", max_concurrent=concurrent)


def killed(folder: Path, count: int, concurrent: int, deadly_write: int) -> tuple[Path, Path, bool]:
    """Run a batch in a process that is killed; say where its files are and whether it was."""
    path, log = folder / f"{deadly_write}.db", folder / f"{deadly_write}.log"
    arguments = (path, log, count, concurrent, deadly_write)
    child = forks.Process(target=drive, args=arguments)
    child.start()
    child.join(60)
    assert child.exitcode in (0, -signal.SIGKILL)
    return path, log, child.exitcode != 0


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_after_a_kill_only_what_is_unfinished_runs(tmp_path: Path) -> None:
    path, log, died = killed(tmp_path, 40, 5, 250)
    assert died
    before = effects(log)
    assert 0 < len(before) < 80
    with open_checkpointer(f"sqlite:///{path}") as saver:
        team = logging_team(saver, log)
        threads: list[RunnableConfig] = [
            {"configurable": {"thread_id": f"b/{index}"}} for index in range(40)
        ]
        stored = [team.get_state(thread) for thread in threads]
        done = [i for i, found in enumerate(stored) if found.metadata and not is_unfinished(found)]
        outcomes = batch_process(team, tasks(40), batch_id="b", max_concurrent=5)
    assert done, "some had finished"
    assert [outcome.index for outcome in outcomes if outcome.reused] == done
    assert {outcome.status for outcome in outcomes} == {"completed"}
    for index, outcome in enumerate(outcomes):
        assert said(outcome.values) == [f"task {index} 1", f"task {index} 3"]
    counted = effects(log)
    assert set(counted) == {f"task {index} {turn}" for index in range(40) for turn in (1, 3)}
    again = counted - Counter(set(counted))
    assert again.total() <= 5, "only what was under way runs again"
    assert not any(again[f"task {index} {turn}"] for index in done for turn in (1, 3))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_batch_goes_on_wherever_it_was_killed(tmp_path: Path) -> None:
    for deadly_write in range(1, 60, STRIDE):
        path, log, died = killed(tmp_path, 2, 1, deadly_write)
        with open_checkpointer(f"sqlite:///{path}") as saver:
            outcomes = batch_process(logging_team(saver, log), tasks(2), batch_id="b")
        for index, outcome in enumerate(outcomes):
            assert outcome.error is None, deadly_write
            assert said(outcome.values) == [f"task {index} 1", f"task {index} 3"], deadly_write
            humans = [m.text for m in outcome.values["messages"] if m.type == "human"]
            assert humans == [f"task {index}"], deadly_write
        counted = effects(log)
        assert len(counted) == 4 and sum(counted.values()) <= 5, (deadly_write, counted)
        if not died:
            assert deadly_write > 20
            assert told(outcomes) == [("completed", True)] * 2
            return
    raise AssertionError("the batch never came to its end")
