"""Leases of threads, one caller at a time, and write fences for attempts that were abandoned."""

import asyncio
import hashlib
import os
import threading
import time
from collections.abc import Callable
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

from asterism.core.sync_async import Call, Steps
from asterism.errors import AbandonedError, ThreadBusyError

S = TypeVar("S")

CLOSING_SECONDS = 1.0
"""Seconds that a thread is waited for in any case: a stream that somebody has left is closed by the
event loop a moment later, and notes in the database that its run was cancelled."""
LEASE_POLL = 0.02
"""Seconds between two looks, or more, at a thread that is driven: a stream that was left in its
middle gives it back a moment later."""

Release = Callable[[], None]
"""Gives a lease back."""


@runtime_checkable
class Leasing(Protocol):
    """A saver that knows how to keep other processes off a thread."""

    def take_lease(self, thread_id: str) -> Release | None:
        """Take the lease of a thread, or return None where somebody has it."""
        ...


@runtime_checkable
class AsyncLeasing(Protocol):
    """A saver whose leases take a while."""

    async def atake_lease(self, thread_id: str) -> Release | None:
        """Take the lease of a thread without holding up the event loop."""
        ...


_held: set[tuple[int, str]] = set()
_guard = threading.Lock()


def take_lease(saver: Any, thread_id: str) -> Release | None:
    """Take the lease of a thread, or return None where somebody drives it.

    A lease dies with its holder: the kernel frees it when a process ends.
    """
    if isinstance(saver, Leasing):
        return saver.take_lease(thread_id)
    return take_process_lease(saver, thread_id)


async def atake_lease(saver: Any, thread_id: str) -> Release | None:
    """Take the lease of a thread; see `take_lease`."""
    if isinstance(saver, AsyncLeasing):
        return await saver.atake_lease(thread_id)
    return take_lease(saver, thread_id)


def wait_for_lease(saver: Any, thread_id: str, wait: float) -> Steps[Release]:
    """Take the lease of a thread; wait for it for some seconds.

    Raises:
        ThreadBusyError: Somebody else has it all the time.
    """
    until = time.monotonic() + max(wait, CLOSING_SECONDS)
    while (release := (yield Call(take_lease, atake_lease, (saver, thread_id)))) is None:
        if time.monotonic() >= until:
            raise ThreadBusyError(
                f"The thread {thread_id!r} is being driven by somebody else. Try again when that "
                "run is over, or build with thread_wait=SECONDS to wait for it."
            )
        yield Call(time.sleep, asyncio.sleep, (LEASE_POLL,))
    return cast(Release, release)


def take_process_lease(owner: object, thread_id: str) -> Release | None:
    """Take the lease of a thread of `owner` within this process."""
    key = (id(owner), thread_id)
    with _guard:
        if key in _held:
            return None
        _held.add(key)

    def release() -> None:
        with _guard:
            _held.discard(key)

    return release


def with_process_leases(saver: S) -> S:
    """Return a copy of a saver whose leases hold within this process.

    It is for runs of whoever holds the lease of their thread against other processes.
    """
    inner: Any = copy(saver)
    if not isinstance(saver, Leasing):  # a saver in memory: its leases are told apart by the object
        return cast(S, inner)

    async def atake(thread_id: str) -> Release | None:
        return take_process_lease(inner, thread_id)

    inner.take_lease = partial(take_process_lease, inner)
    inner.atake_lease = atake
    return cast(S, inner)


def take_file_lease(folder: Path, thread_id: str) -> Release | None:
    """Take the lease of a thread as a lock on a file of its own.

    The file is named by a hash, so no thread id can leave the folder, and removed with the
    lease: whoever opened it before that notices that it is not the file any more.
    """
    try:
        import fcntl
    except ImportError:  # Windows: threads are guarded within the process only
        return take_process_lease(take_file_lease, f"{folder}/{thread_id}")
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{hashlib.sha256(thread_id.encode()).hexdigest()[:32]}.lock"
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return None
        if _is_file(path, file):
            break
        os.close(file)

    def release() -> None:
        path.unlink(missing_ok=True)
        os.close(file)

    return release


def _is_file(path: Path, file: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(file).st_ino
    except FileNotFoundError:
        return False


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
