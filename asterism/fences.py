"""A fence: keeps an attempt that was given up from storing anything, and from its thread."""

import threading
from collections.abc import Callable
from copy import copy
from functools import partial
from typing import Any

from asterism.errors import AbandonedError
from asterism.leases import Release, atake_lease, take_lease


class WriteFence:
    """Lets writes through until it is closed."""

    def __init__(self) -> None:
        self._closed = False
        self._lock = threading.Condition()
        self._writing = 0
        self._leases: list[Release] = []

    def close(self) -> None:
        """Let nothing through any more, and give back the leases that were taken here."""
        with self._lock:
            self._closed = True
            leases, self._leases = self._leases, []
        for release in leases:
            release()

    def busy(self) -> bool:
        """Whether a write that was let through is under way."""
        return self._writing > 0

    def wait_for_writes(self) -> None:
        """Wait in this thread until no write is under way any more."""
        with self._lock:
            self._lock.wait_for(lambda: self._writing == 0)

    def saver(self, saver: Any) -> Any:
        """Return a copy of a saver that shares its store and writes through the fence."""
        behind = copy(saver)
        behind.put = partial(self._write, saver.put)
        behind.put_writes = partial(self._write, saver.put_writes)
        behind.aput = partial(self._awrite, saver.aput)
        behind.aput_writes = partial(self._awrite, saver.aput_writes)
        behind.take_lease = partial(self._take_lease, saver)
        behind.atake_lease = partial(self._atake_lease, saver)
        return behind

    def _enter(self) -> None:
        with self._lock:
            if self._closed:
                raise AbandonedError("the attempt was given up, so it cannot store anything")
            self._writing += 1

    def _leave(self) -> None:
        with self._lock:
            self._writing -= 1
            self._lock.notify_all()

    def _write(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._enter()
        try:
            return method(*args, **kwargs)
        finally:
            self._leave()

    async def _awrite(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._enter()
        try:
            return await method(*args, **kwargs)
        finally:
            self._leave()

    def _take_lease(self, saver: Any, thread_id: str) -> Release | None:
        """Take a lease of the saver itself, so that it is one and the same everywhere."""
        return self._keep_lease(None if self._closed else take_lease(saver, thread_id))

    async def _atake_lease(self, saver: Any, thread_id: str) -> Release | None:
        return self._keep_lease(None if self._closed else await atake_lease(saver, thread_id))

    def _keep_lease(self, lease: Release | None) -> Release | None:
        """Keep a lease, to give it back when the fence is closed."""
        if lease is None:
            return None

        def release() -> None:
            with self._lock:
                held = release in self._leases
                self._leases = [kept for kept in self._leases if kept is not release]
            if held:
                lease()

        with self._lock:
            if not self._closed:
                self._leases.append(release)
                return release
        lease()  # it was closed in between
        return None
