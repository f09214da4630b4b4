"""Coroutines that sync code runs: in one event loop, whatever becomes of them."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig

from asterism import Participant, SupervisorWorkflowBuilder, open_checkpointer
from asterism.core import sync_async as effects
from asterism.core.run_types import WorkflowInput
from asterism.core.sync_async import run_coroutine
from tests.plans import plan, task
from tests.teams import follow, said

REQUEST: WorkflowInput = {"messages": [("user", "Fetch")]}


class Client:
    """A client whose connection belongs to the loop that it was first used in."""

    def __init__(self) -> None:
        self.loop: Any = None

    async def get(self, messages: Any = None) -> str:
        here = asyncio.get_running_loop()
        self.loop = self.loop or here
        return "200 OK" if self.loop is here else "attached to a different loop"


async def loop_here() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


@pytest.fixture
def fresh() -> Iterator[None]:
    """Loops of its own, for a test that blocks one."""
    before = dict(effects._loops)
    effects._loops.clear()
    yield
    effects._loops.clear()
    effects._loops.update(before)


ROUTES = {
    "visits": follow(["web", "web"]),
    "tasks": plan(task("a", "web"), task("b", "other"), task("c", "web", "a")),
}


@pytest.mark.parametrize("decide", ROUTES.values(), ids=ROUTES)
@pytest.mark.parametrize("depth", [0, 1])
def test_a_client_works_at_every_visit_of_sync_runs(
    decide: Any, depth: int, thread: RunnableConfig
) -> None:
    client = Client()

    def build(saver: Any, depth: int) -> Any:
        inside = {"web": client.get, "other": client.get}
        members: dict[str, Any] = inside
        if depth:
            members = {name: build(None, depth - 1) for name in inside}
        return (
            SupervisorWorkflowBuilder("Web", finish="forward")
            .participants(**{k: Participant(runs=m, description=k) for k, m in members.items()})
            .with_manager(decide)
            .build(checkpointer=saver)
        )

    with open_checkpointer("memory:") as saver:
        workflow = build(saver, depth)
        for _ in range(2):
            assert set(said(workflow.invoke(REQUEST, thread))) == {"200 OK"}


async def test_sync_code_in_an_event_loop_uses_the_shared_loop() -> None:
    shared = await asyncio.to_thread(run_coroutine, loop_here())
    assert run_coroutine(loop_here()) is shared
    assert shared is not asyncio.get_running_loop()


def test_sync_code_in_a_coroutine_of_the_shared_loop_does_not_wait_for_itself() -> None:
    async def nested() -> Any:
        with ThreadPoolExecutor(1) as pool:  # as the visits of a workflow called in here
            further = pool.submit(copy_context().run, run_coroutine, loop_here()).result(20)
        return asyncio.get_running_loop(), run_coroutine(loop_here()), further

    here, below, further = run_coroutine(nested())
    assert below is further is not here
    assert run_coroutine(loop_here()) is here


@pytest.mark.usefixtures("fresh")
def test_a_loop_that_something_blocks_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks, release = threading.Event(), threading.Event()

    async def block() -> asyncio.AbstractEventLoop:
        blocks.set()
        release.wait(20)
        return asyncio.get_running_loop()

    with ThreadPoolExecutor(1) as pool:
        blocked = pool.submit(run_coroutine, block())
        assert blocks.wait(20)
        monkeypatch.setattr(effects, "BLOCKED", 0.1)
        runs: list[str] = []

        async def run() -> asyncio.AbstractEventLoop:
            runs.append("once")
            return asyncio.get_running_loop()

        loop = run_coroutine(run())
        release.set()
        assert blocked.result(20) is not loop
    assert runs == ["once"]


def test_a_signal_in_the_main_thread_ends_the_wait_and_the_coroutine() -> None:
    ended = threading.Event()
    main = threading.main_thread().ident
    assert main is not None

    class Alarm(Exception):  # noqa: N818
        pass

    def ring(number: int, frame: Any) -> None:
        raise Alarm

    async def hang() -> None:
        signal.pthread_kill(main, signal.SIGUSR1)
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    before = signal.signal(signal.SIGUSR1, ring)
    try:
        with pytest.raises(Alarm):
            run_coroutine(hang())
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert ended.is_set()


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, asyncio.CancelledError, OSError])
def test_an_error_of_any_kind_reaches_the_caller_and_leaves_the_loop(
    error: type[BaseException],
) -> None:
    async def fail() -> None:
        raise error

    loop = run_coroutine(loop_here())
    with pytest.raises(error):
        run_coroutine(fail())
    assert run_coroutine(loop_here()) is loop


def test_a_coroutine_sees_the_context_of_its_caller() -> None:
    word: ContextVar[str] = ContextVar("word", default="none")

    async def read() -> str:
        return word.get()

    word.set("mine")
    assert run_coroutine(read()) == "mine"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_forked_process_has_a_loop_of_its_own() -> None:
    run_coroutine(loop_here())
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if run_coroutine(loop_here()).is_running() else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
