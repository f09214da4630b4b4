"""Databases by URL, opened with a serializer that runs no code; files are private."""

import atexit
import os
import re
import time
from collections.abc import AsyncGenerator, Generator, Iterable, Sequence
from contextlib import (
    AbstractContextManager,
    ExitStack,
    asynccontextmanager,
    closing,
    contextmanager,
)
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from langchain_core.embeddings import Embeddings
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.base import BaseStore

from asterism.core.values import redact
from asterism.errors import StorageError
from asterism.storage.serializers import serializer

if TYPE_CHECKING:
    from asterism.storage.sqlite import GroupCommitSaver
    from asterism.storage.transactions import Transactions

T = TypeVar("T")

MEMORY = "memory:"
"""The URL of a database that is gone with the process."""

SETUP_POLL = 0.01
"""Seconds between two looks at whether another process has made the tables."""

_FILE = "sqlite:///"
_ALLOWED = (
    "sqlite:///path/to/file.db, a path such as ./file.db, postgresql://user:password@host/name, "
    "or memory:"
)
_A_PATH = re.compile(r"(?=.*\w)[^:]*[./\\][^:]*|[A-Za-z]:[/\\].*")
"""A file: it has a folder or an ending, and no scheme."""
_POSTGRES = ("postgresql", "postgres")


@contextmanager
def open_checkpointer(
    url: str,
    *,
    key: bytes | Sequence[bytes] | None = None,
    allowed_types: Iterable[type] = (),
) -> Generator[BaseCheckpointSaver[str]]:
    """Open the database of checkpoints at `url`, for sync and async runs.

    Args:
        url: `sqlite:///path` (a relative path) or `sqlite:////path` (an absolute one), the path
            alone as in `threads.db`, `memory:`, or `postgresql://user:password@host:5432/name`,
            prepared with `migrate`.
        key: 16, 24 or 32 bytes that the values are encrypted with. Thread ids, times and what
            runs are labelled with stay readable. Several: the first encrypts, all decrypt.
        allowed_types: Types of objects that are stored, besides those that the state schemas of
            participants name: pydantic models, dataclasses, enums.

    Raises:
        StorageError: The URL means nothing here, or the database cannot be opened.
        ConfigurationError: The key cannot be used.
    """
    serde = serializer(key, allowed_types)
    if is_postgres(url):
        from asterism.storage.postgres.connection import Address

        Address(url)  # says which package is missing
        from asterism.storage.postgres.saver import open_saver

        with open_saver(url, serde=serde) as opened:
            yield opened
        return
    path = sqlite_path(url)
    if path is None:
        yield InMemorySaver(serde=serde)
        return
    try:
        make_private(path)
        saver = _open_file(path, str(path), serde)
    except StorageError as error:
        if not _is_archive(path, error):
            raise
        # what is in a log beside the file is read as well, where sqlite can read it
        saver = _open_archive(path, serde, fixed=not path.with_name(f"{path.name}-wal").exists())
    with closing(saver.conn), closing(saver):
        yield saver


@contextmanager
def open_archive(
    url: str, *, key: bytes | Sequence[bytes] | None = None
) -> Generator[BaseCheckpointSaver[str]]:
    """Open the database of checkpoints at `url` to read it: a file is neither made nor written.

    Raises:
        StorageError: The URL means nothing here, or there is no such database.
    """
    path = None if is_postgres(url) else sqlite_path(url)
    if path is None:
        with open_checkpointer(url, key=key) as saver:
            yield saver
        return
    if not path.is_file():
        raise StorageError(f"There is no database {str(path)!r}.")
    file = _open_archive(path, serializer(key))
    with closing(file.conn), closing(file):
        yield file


def _open_archive(path: Path, serde: Any, *, fixed: bool = False) -> "GroupCommitSaver":
    how = "mode=ro&immutable=1" if fixed else "mode=ro"
    return _open_file(path, f"file:{quote(str(path.absolute()))}?{how}", serde, archive=True)


def _open_file(
    path: Path, address: str, serde: Any, *, archive: bool = False
) -> "GroupCommitSaver":
    import sqlite3

    from asterism.storage.sqlite import GroupCommitSaver

    connection = sqlite3.connect(address, check_same_thread=False, uri=archive)
    try:
        saver = GroupCommitSaver(connection, serde=serde, path=path, archive=archive)
        saver.setup()
    except BaseException:
        connection.close()
        raise
    return saver


def keep_open(opening: AbstractContextManager[T]) -> T:
    """Open a database for as long as the process lives: `keep_open(open_checkpointer(url))`."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(opening)


def _is_archive(path: Path, error: StorageError) -> bool:
    """Whether a file is there that can only be read: it is read-only, or its disk is full."""
    said = str(error).lower()
    words = ("readonly", "read-only", "permission denied", "full", "unable to open", "disk i/o")
    return path.is_file() and path.stat().st_size > 0 and any(word in said for word in words)


@asynccontextmanager
async def aopen_checkpointer(
    url: str,
    *,
    key: bytes | Sequence[bytes] | None = None,
    allowed_types: Iterable[type] = (),
) -> AsyncGenerator[BaseCheckpointSaver[str]]:
    """Open the database of checkpoints at `url`; see `open_checkpointer`."""
    with open_checkpointer(url, key=key, allowed_types=allowed_types) as saver:
        yield saver


def open_transactions(url: str) -> "Transactions":
    """Open what is kept beside the threads of the database at `url`; see `open_checkpointer`."""
    from asterism.storage.transactions import Transactions

    if is_postgres(url):
        from asterism.storage.postgres.connection import Address

        return Transactions(address=Address(url))
    return Transactions(sqlite_path(url))


@contextmanager
def open_store(url: str, *, embeddings: Embeddings | None = None) -> Generator[BaseStore]:
    """Open the long-term store at `url`, for sync and async runs: `build(store=...)` takes it.

    Args:
        url: As for `open_checkpointer`; both may use one file.
        embeddings: What `search(query=...)` ranks by. None: it ranks by words, which needs
            no model; `store.ranking` says which.

    Raises:
        StorageError: The URL means nothing here, or the file cannot be opened.
    """
    if is_postgres(url):
        from asterism.storage.postgres.connection import Address

        Address(url)  # says which package is missing
        from asterism.storage.postgres.store import open_search_store

        with open_search_store(url, embeddings=embeddings) as opened:
            yield opened
        return
    path = sqlite_path(url)
    import sqlite3

    from asterism.storage.sqlite import faults
    from asterism.storage.sqlite.store import SearchStore

    if path is not None:
        make_private(path)
    with faults(path):
        connection = sqlite3.connect(
            path or ":memory:", check_same_thread=False, isolation_level=None
        )
    with closing(connection):
        store = SearchStore(connection, embeddings=embeddings, path=path)
        while (release := store.take_lease("setup")) is None:  # the tables are made by one alone
            time.sleep(SETUP_POLL)
        try:
            store.setup()
        finally:
            release()
        yield store


@asynccontextmanager
async def aopen_store(
    url: str, *, embeddings: Embeddings | None = None
) -> AsyncGenerator[BaseStore]:
    """Open the long-term store at `url`; see `open_store`."""
    with open_store(url, embeddings=embeddings) as store:
        yield store


def migrate(url: str) -> None:
    """Prepare the database at `url`, or bring it up to date; once, before it is used.

    Only Postgres needs it. It may be repeated, also by several processes at once.

    Raises:
        StorageError: The URL means nothing here, or the database cannot be used.
    """
    if is_postgres(url):
        from asterism.storage.postgres.connection import Address
        from asterism.storage.postgres.schema import migrate_schema as prepare

        prepare(Address(url))
        return
    with open_checkpointer(url):
        pass


def is_postgres(url: str) -> bool:
    """Whether a URL names a Postgres database."""
    return url.partition("://")[0] in _POSTGRES


def sqlite_path(url: str) -> Path | None:
    """Return the file that a URL names, or None for `memory:`, which sqlite calls `:memory:`."""
    if url.startswith(MEMORY) or url in (f":{MEMORY}", f"{_FILE}:{MEMORY}"):
        return None
    path = url.removeprefix(_FILE)  # verbatim: the name of a file may hold # or ?
    if (path == url and not _A_PATH.fullmatch(path)) or not path.strip("/"):
        raise StorageError(f"The database {redact(url)!r} cannot be opened; allowed: {_ALLOWED}.")
    return Path(path).expanduser()


def make_private(path: Path) -> None:
    """Create the file for its owner alone: what people told the workflow stands in it."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except (OSError, ValueError) as error:  # a null character is a ValueError
        raise StorageError(
            f"The database {str(path)!r} cannot be opened: {error}. Give a file in a folder that "
            "you may write to, or memory: to store nothing."
        ) from error
