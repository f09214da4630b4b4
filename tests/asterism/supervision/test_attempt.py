"""Runs are cancelled once, so that they can clear up."""

import asyncio
from contextvars import copy_context
from typing import Any

import pytest

from asterism.supervision.child_threads import in_task, in_thread

PATIENCE = 10


@pytest.mark.parametrize("start", [in_task, in_thread])
@pytest.mark.parametrize("between", [0, 1, 2, 3])
async def test_cancelling_again_does_not_break_off_what_clears_up(start: Any, between: int) -> None:
    """As LangGraph's engine does it: what clears up is a task, which has not begun at first."""
    begun, cleared = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    async def clear() -> None:
        await asyncio.sleep(0)
        loop.call_soon_threadsafe(cleared.set)

    async def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            await asyncio.create_task(clear())

    drive = start(work(), copy_context(), "child")
    await asyncio.wait_for(begun.wait(), PATIENCE)
    drive.cancel()
    for _ in range(between):
        await asyncio.sleep(0)
    drive.cancel()
    await asyncio.wait_for(cleared.wait(), PATIENCE)
    await asyncio.gather(drive.done, return_exceptions=True)
