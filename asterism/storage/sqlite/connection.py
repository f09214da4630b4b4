"""Sqlite files: how they are set up, what their format is, what may be wrong with them."""

import sqlite3
from pathlib import Path
from types import TracebackType

from asterism.errors import StorageError

_PRAGMAS = (
    # a checkpoint is about 1 KB, a report often more: smaller pages stay a third empty
    "page_size=16384",
    "auto_vacuum=INCREMENTAL",
    "journal_mode=WAL",
    "synchronous=NORMAL",
)
"""A new file has pages that hold some ten checkpoints or reports, and gives free ones back bit by
bit; readers do not block writers; a loss of power, not a crash, may lose the last commits."""

_WAYS_OUT = {
    "locked": "Another process writes to it; try again.",
    "readonly": "Make the file and its folder writable, or copy it to where they are.",
    "disk I/O": "Make room on the disk, or mend it, then go on with proceed().",
    "full": "Make room on the disk, then go on with proceed().",
    "malformed": "Restore it from a copy; sqlite3 FILE .recover saves what can be saved.",
    "not a database": "Name another file.",
    "unable to open": "Check that the file and its folder exist and may be read.",
    "closed": "Keep open_checkpointer() open for as long as the workflow runs.",
}


class faults:  # noqa: N801 - it is used like a function, and a generator takes far longer
    """Say what is wrong with a database file, and what can be done."""

    def __init__(self, path: Path | None, kind: type[Exception] = sqlite3.Error) -> None:
        self._path = path
        self._kind = kind

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not isinstance(error, self._kind):
            return
        said = str(error).rstrip(".")
        way = next((way for words, way in _WAYS_OUT.items() if words in said), "")
        raise StorageError(
            f"The database {str(self._path or ':memory:')!r} cannot be used: {said}. "
            f"What is stored is not changed. {way}".strip()
        ) from error


def prepare(connection: sqlite3.Connection, path: Path | None, kind: str, newest: int) -> None:
    """Set up a connection, and check that this version can read what is stored.

    Args:
        connection: To the database.
        path: Its file.
        kind: Whose format it is.
        newest: The newest format that this version reads; a new database gets it.

    Raises:
        StorageError: A newer version wrote it.
    """
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS asterism (key TEXT PRIMARY KEY, value TEXT NOT NULL)"
    )
    connection.execute("INSERT OR IGNORE INTO asterism VALUES (?, ?)", (kind, str(newest)))
    connection.commit()
    check_format(connection, path, kind, newest)


def check_format(connection: sqlite3.Connection, path: Path | None, kind: str, newest: int) -> None:
    """Check that this version can read what is stored; see `prepare`."""
    row = connection.execute("SELECT value FROM asterism WHERE key = ?", (kind,)).fetchone()
    found = row[0] if row else None
    if not str(found).isdigit():
        raise StorageError(
            f"The database {str(path)!r} has the {kind} {found!r:.80}, which is no number. The "
            "table asterism is damaged; restore the file from a copy."
        )
    if int(str(found)) > newest:
        raise StorageError(
            f"The database {str(path)!r} has the {kind} {found}; this version of "
            f"Asterism reads up to {newest}. Install a newer version."
        )
