"""Work that is under way, by name: each once, and all of it can be waited for."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

from asterism.errors import AgentTimeoutError, InvalidRequestError, ProgramStateError

T = TypeVar("T")


class InflightTasks(Generic[T]):
    """Runs pieces of work as tasks of the event loop, so that a shutdown can wait for them."""

    def __init__(self) -> None:
        self._work: dict[str, asyncio.Task[T]] = {}

    async def do(self, name: str, work: Coroutine[Any, Any, T]) -> T:
        """Do a piece of work and return its result.

        Raises:
            InvalidRequestError: There is work of that name already.
            ProgramStateError: A shutdown has stopped it.
        """
        if name in self._work:
            work.close()
            raise InvalidRequestError(
                f"The task {name!r} is worked on already; wait for it, or give another id."
            )
        mine = self._work[name] = asyncio.create_task(work)
        mine.add_done_callback(lambda _: self._work.pop(name, None))
        try:
            return await mine
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if caller is None or not caller.cancelling():
                raise ProgramStateError(
                    f"The task {name!r} was stopped with its program; give it again to go on."
                ) from None
            raise  # awaiting a task hands the caller's cancellation on to it

    async def over(self, grace: float | None) -> None:
        """Wait until all work is over, and cancel what takes longer than `grace` seconds."""
        if not self._work:
            return
        _, late = await asyncio.wait(list(self._work.values()), timeout=grace)
        for work in late:
            work.cancel()
        await asyncio.gather(*late, return_exceptions=True)


async def run_with_retries(
    attempt: Callable[[], Awaitable[T]],
    *,
    limit: float | None,
    failed: Callable[[Exception, int], Awaitable[None]],
) -> tuple[int, T]:
    """Try until an attempt succeeds; return its number, from 1, and its result.

    Args:
        attempt: Makes one.
        limit: Seconds that one may take. None: no limit.
        failed: Is told of each failure; it returns to let another attempt be made, or raises.
    """
    number = 0
    while True:
        number += 1
        watch = asyncio.timeout(limit)
        try:
            async with watch:
                return number, await attempt()
        except Exception as error:  # noqa: BLE001 - whoever is told of it raises it again
            late = isinstance(error, TimeoutError) and watch.expired()
            said = f"there was no result within {limit} seconds"
            await failed(AgentTimeoutError(said) if late else error, number)
