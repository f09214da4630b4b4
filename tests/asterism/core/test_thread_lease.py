"""One caller at a time drives a thread."""

import asyncio
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver

from asterism import Participant, SupervisorWorkflowBuilder, open_checkpointer
from asterism.core.run_types import WorkflowInput
from asterism.core.thread_lease import take_file_lease, take_lease
from asterism.errors import ThreadBusyError
from tests.processes import Process
from tests.teams import Turns, follow, said, star

REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}
Saver = BaseCheckpointSaver[str]


def test_a_lease_is_had_once_and_given_back(saver: Saver) -> None:
    release = take_lease(saver, "1")
    assert release is not None
    assert take_lease(saver, "1") is None
    other = take_lease(saver, "2")
    assert other is not None
    other()
    release()
    again = take_lease(saver, "1")
    assert again is not None
    again()


@pytest.mark.parametrize("thread", ["../../evil", "/etc/passwd", "a\\b", "x" * 255, "..", "ü"])
def test_no_thread_id_leaves_the_folder_and_no_file_stays(thread: str, tmp_path: Path) -> None:
    folder = tmp_path / "locks"
    release = take_file_lease(folder, thread)
    assert release is not None
    (file,) = folder.iterdir()
    assert file.suffix == ".lock" and file.stat().st_mode & 0o777 == 0o600
    release()
    assert list(folder.iterdir()) == []
    assert list(tmp_path.iterdir()) == [folder]


def test_a_lease_is_never_had_twice(tmp_path: Path) -> None:
    """Many threads take and give back one lease, whose file comes and goes."""
    inside, worst, rounds = [0], [0], [0]
    guard = threading.Lock()
    until = time.monotonic() + 120

    def work() -> None:
        had = 0
        while had < 40 and time.monotonic() < until:
            if release := take_file_lease(tmp_path, "t"):
                had += 1
                with guard:
                    inside[0] += 1
                    worst[0] = max(worst[0], inside[0])
                    rounds[0] += 1
                with guard:
                    inside[0] -= 1
                release()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (worst, rounds) == ([1], [320])


def held(saver: Any, **options: Any) -> tuple[Any, threading.Event, threading.Event]:
    """A workflow whose participant waits until it is let go."""
    begun, go = threading.Event(), threading.Event()

    def wait(messages: Any) -> str:
        begun.set()
        assert go.wait(60)
        return f"visit {len(messages)}"

    builder = SupervisorWorkflowBuilder("Held", finish="forward", **options)
    builder.participants(p=Participant(runs=wait, description="Waits."))
    return builder.with_manager(follow(["p"])).build(checkpointer=saver), begun, go


def test_the_second_caller_is_refused_at_once(saver: Saver, thread: RunnableConfig) -> None:
    workflow, begun, go = held(saver, on_busy="refuse")
    results: list[Any] = []
    first = threading.Thread(target=lambda: results.append(workflow.invoke(REQUEST, thread)))
    first.start()
    assert begun.wait(60)
    with pytest.raises(ThreadBusyError, match="driven by somebody else"):
        workflow.invoke(REQUEST, thread)
    with pytest.raises(ThreadBusyError):
        workflow.update_state(thread, {"decision": {"next_agent": None}})
    other: RunnableConfig = {"configurable": {"thread_id": "another"}}
    go.set()
    assert workflow.invoke(REQUEST, other)["status"] == "completed"
    first.join()
    assert said(results[0]) == ["visit 1"]
    assert said(workflow.invoke(REQUEST, thread)) == ["visit 3"]


def test_the_second_caller_can_wait(saver: Saver, thread: RunnableConfig) -> None:
    workflow, begun, go = held(saver, thread_wait=60)
    results: list[Any] = []
    calls = [
        threading.Thread(target=lambda: results.append(said(workflow.invoke(REQUEST, thread))))
        for _ in range(2)
    ]
    calls[0].start()
    assert begun.wait(60)
    calls[1].start()
    go.set()
    for call in calls:
        call.join()
    assert results == [["visit 1"], ["visit 3"]]


async def test_in_async_too_and_an_abandoned_stream_gives_the_thread_back(
    thread: RunnableConfig,
) -> None:
    builder = star(Turns(), ["venue", "food"], on_busy="refuse")
    workflow = builder.build(checkpointer=InMemorySaver())
    stream = workflow.astream(REQUEST, thread)
    await anext(aiter(stream))
    with pytest.raises(ThreadBusyError):
        await workflow.ainvoke(REQUEST, thread)
    await stream.aclose()  # type: ignore[attr-defined]  # it is a generator
    assert (await workflow.ainvoke(REQUEST, thread))["status"] == "completed"


async def test_many_at_once_make_one_history(saver: Saver, thread: RunnableConfig) -> None:
    turns = Turns()
    workflow = star(turns, ["venue"], thread_wait=60).build(checkpointer=saver)
    results = await asyncio.gather(*(workflow.ainvoke(REQUEST, thread) for _ in range(8)))
    assert sorted(said(result)[0] for result in results) == [f"venue {n}" for n in range(1, 9)]
    messages = workflow.get_state(thread).values["messages"]
    assert [m.type for m in messages] == ["human", "ai", "ai", "ai"] * 8


HOLDER = """
import sys, time
from asterism import open_checkpointer
from asterism.core.thread_lease import take_lease
with open_checkpointer(sys.argv[1]) as saver:
    assert take_lease(saver, "t") is not None
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_another_process_is_kept_off_and_a_lease_dies_with_its_holder(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    postgres = kind == "postgres"
    url = request.getfixturevalue(kind) if postgres else f"sqlite:///{tmp_path / 'threads.db'}"
    holder = Process(HOLDER, url)
    holder.said("held\n")
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    with open_checkpointer(url) as saver:
        workflow = star(Turns(), ["venue"], on_busy="refuse").build(checkpointer=saver)
        with pytest.raises(ThreadBusyError):
            workflow.invoke(REQUEST, config)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        patient = star(Turns(), ["venue"], thread_wait=60).build(checkpointer=saver)
        assert patient.invoke(REQUEST, config)["status"] == "completed"
