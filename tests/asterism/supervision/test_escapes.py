"""What no library catches ends one child alone: SystemExit, KeyboardInterrupt and the like."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from asterism import Participant, SupervisorWorkflowBuilder
from asterism.errors import ChildFailedError
from asterism.storage.open import open_checkpointer
from asterism.supervision import AgentQuota, AgentSupervisor, ChildStatus, SupervisorConfig
from tests.asterism.supervision.helpers import Log, chain, does, until
from tests.teams import follow

GO: dict[str, Any] = {"done": []}
ONCE = AgentQuota(max_retries=0)


class Abort(BaseException):
    """What derives from no exception."""


class UnreadableError(Exception):
    """An error whose message cannot be read."""

    def __str__(self) -> str:
        raise RuntimeError("no")


ERRORS: list[Any] = [
    pytest.param(lambda: SystemExit(3), "SystemExit: 3", id="exit"),
    pytest.param(KeyboardInterrupt, "KeyboardInterrupt", id="keyboard"),
    pytest.param(lambda: Abort("stop"), "Abort: stop", id="base"),
    pytest.param(lambda: BaseExceptionGroup("all", [Abort()]), "BaseExceptionGroup", id="group"),
    pytest.param(lambda: BaseExceptionGroup("all", [SystemExit()]), "BaseExceptionG", id="exits"),
    pytest.param(GeneratorExit, "GeneratorExit", id="generator"),
    pytest.param(UnreadableError, "UnreadableError: (its message cannot be read)", id="unreadable"),
]
Make = Callable[[], BaseException]


def sync_node(make: Make) -> Any:
    def node(state: Log) -> Log:
        raise make()

    return node


def async_node(make: Make) -> Any:
    async def node(state: Log) -> Log:
        await asyncio.sleep(0)
        raise make()

    return node


def inner_task(make: Make) -> Any:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise make()

    async def node(state: Log) -> Log:
        await asyncio.gather(fail(), asyncio.sleep(0))
        return {"done": []}

    return node


def in_thread(make: Make) -> Any:
    def fail() -> None:
        raise make()

    async def node(state: Log) -> Log:
        await asyncio.to_thread(fail)
        return {"done": []}

    return node


@pytest.mark.parametrize("isolation", ["task", "thread"])
@pytest.mark.parametrize("node", [sync_node, async_node, inner_task, in_thread])
@pytest.mark.parametrize(("make", "said"), ERRORS)
async def test_it_ends_the_child_that_raises_it_and_no_other(
    make: Make, said: str, node: Callable[[Make], Any], isolation: Any
) -> None:
    gate = asyncio.Event()

    async def waits(state: Log) -> Log:
        if isolation == "task":
            await gate.wait()
        return {"done": ["waited"]}

    async with AgentSupervisor(SupervisorConfig(isolation=isolation)) as parent:
        other = await parent.spawn("other", GO, chain(waits, does("b")))
        child = await parent.spawn("bad", GO, chain(does("a"), node(make)), quotas=ONCE)
        with pytest.raises(ChildFailedError, match="was restarted 0 times"):
            await asyncio.wait_for(parent.await_child(child), 30)
        assert parent.status(child) is ChildStatus.FAILED
        assert said in parent.child(child).reason
        gate.set()
        assert (await parent.await_child(other))["done"] == ["waited", "b"]


@pytest.mark.parametrize(("make", "said"), ERRORS)
async def test_it_is_restarted_like_after_any_failure(make: Make, said: str) -> None:
    tries = list[int]()

    async def node(state: Log) -> Log:
        tries.append(1)
        if len(tries) < 3:
            raise make()
        return {"done": ["b"]}

    quota = AgentQuota(max_retries=2, retry_delay=0, cooldown_period=0)
    async with AgentSupervisor() as parent:
        child = await parent.spawn("bad", GO, chain(does("a"), node), quotas=quota)
        assert (await parent.await_child(child))["done"] == ["a", "b"]


@pytest.mark.parametrize(("make", "said"), ERRORS)
async def test_a_participant_of_a_workflow_takes_nobody_along(make: Make, said: str) -> None:
    def work(messages: Any) -> str:
        raise make()

    with open_checkpointer("memory:") as saver:
        workflow = (
            SupervisorWorkflowBuilder("Team", finish="forward")
            .participants(clerk=Participant(runs=work, description="Works."))
            .with_manager(follow(["clerk"]))
            .build(checkpointer=saver)
        )
        async with AgentSupervisor() as parent:
            child = await parent.spawn("bad", "Go", workflow, quotas=ONCE)
            await until(lambda: parent.status(child) not in (ChildStatus.PENDING, "running"))
            fine = await parent.spawn("fine", GO, chain(does("a")))
            assert (await parent.await_child(fine))["done"] == ["a"]


async def test_cancellation_still_ends_the_supervisor_and_its_children() -> None:
    begun = asyncio.Event()

    async def waits(state: Log) -> Log:
        begun.set()
        await asyncio.Event().wait()
        return {"done": []}

    async def supervise() -> None:
        async with AgentSupervisor() as parent:
            child = await parent.spawn("waits", GO, chain(waits))
            await parent.await_child(child)

    running = asyncio.create_task(supervise())
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 30)
