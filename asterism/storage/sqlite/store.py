"""A LangGraph store in sqlite whose searches are ranked: by meaning, or by words."""

import heapq
import sqlite3
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from langchain_core.embeddings import Embeddings
from langgraph.store.base import Op, Result
from langgraph.store.sqlite import SqliteStore

from asterism.core.thread_lease import Release, take_file_lease, take_process_lease
from asterism.storage.ranked_store import Ranked, RankedStore, Vector, cosine_similarity
from asterism.storage.sqlite import faults, prepare

T = TypeVar("T")

FORMAT = 1
"""The version of what is stored; it grows when an older version could not read it."""

LOCK_WAIT = 10.0
"""Seconds after which a write is given up, because others write all the time."""
LOCK_POLL = 0.005
"""Seconds between two tries."""

_TEXT = "(SELECT group_concat(atom, char(10)) FROM json_tree({value}) WHERE type = 'text')"
_INDEX = """
INSERT INTO store_texts (prefix, key, text)
SELECT {row}.prefix, {row}.key, coalesce({text}, '') {source}
WHERE true ON CONFLICT (prefix, key) DO UPDATE SET
vector = CASE WHEN text = excluded.text THEN vector END, text = excluded.text;
""".replace("{text}", _TEXT.replace("{value}", "CAST({row}.value AS TEXT)"))
_NEW = _INDEX.format(row="new", source="")

# The index follows the tables by triggers: it is right in every transaction, also in those of
# a process that knows nothing of it, and nothing stays in it that was deleted.
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS store_texts (
    id INTEGER PRIMARY KEY, prefix TEXT NOT NULL, key TEXT NOT NULL, text TEXT NOT NULL,
    model TEXT, vector BLOB, UNIQUE (prefix, key)
);
CREATE VIRTUAL TABLE IF NOT EXISTS store_words USING fts5(
    text, content='store_texts', content_rowid='id', tokenize='porter unicode61'
);
CREATE TRIGGER IF NOT EXISTS store_texts_new AFTER INSERT ON store_texts BEGIN
    INSERT INTO store_words (rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER IF NOT EXISTS store_texts_gone AFTER DELETE ON store_texts BEGIN
    INSERT INTO store_words (store_words, rowid, text) VALUES ('delete', old.id, old.text);
END;
CREATE TRIGGER IF NOT EXISTS store_texts_changed AFTER UPDATE OF text ON store_texts BEGIN
    INSERT INTO store_words (store_words, rowid, text) VALUES ('delete', old.id, old.text);
    INSERT INTO store_words (rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER IF NOT EXISTS store_new AFTER INSERT ON store BEGIN {_NEW} END;
CREATE TRIGGER IF NOT EXISTS store_changed AFTER UPDATE OF value ON store BEGIN {_NEW} END;
CREATE TRIGGER IF NOT EXISTS store_gone AFTER DELETE ON store BEGIN
    DELETE FROM store_texts WHERE prefix = old.prefix AND key = old.key;
END;
"""
_INDEX_THERE = "SELECT 1 FROM sqlite_master WHERE name = 'store_texts'"
_INDEX_ALL = _INDEX.format(row="store", source="FROM store")
_BELOW = "(:at = '' OR t.prefix = :at OR substr(t.prefix, 1, length(:at) + 1) = :at || '.')"
_BY_WORDS = f"""
SELECT t.prefix, t.key, -bm25(store_words) FROM store_words
JOIN store_texts t ON t.id = store_words.rowid
WHERE store_words MATCH :query AND {_BELOW} ORDER BY bm25(store_words), t.id LIMIT :most
"""
_MISSING = f"""
SELECT t.id, t.text FROM store_texts t
WHERE {_BELOW} AND t.text != '' AND (t.model IS NOT :model OR t.vector IS NULL)
"""
_EMBEDDED = (
    f"SELECT t.prefix, t.key, t.vector FROM store_texts t WHERE {_BELOW} AND t.model = :model"
)

_EMBED = "UPDATE store_texts SET model = ?, vector = ? WHERE id = ? AND text = ?"


class SearchStore(RankedStore, SqliteStore):
    """LangGraph's `SqliteStore`, same tables, for sync and async, with searches that rank.

    `search(query=...)` ranks by meaning where there are embeddings, with a plain cosine over
    stored vectors, and else by words: FTS5 with stems and BM25. `ranking` says which. All
    texts of an item are searched; `put(index=False)` keeps it out.

    Args:
        connection: A connection in autocommit mode that other threads may use.
        embeddings: What texts mean. A text is embedded when it is first searched.
        path: The file of the database, for its leases.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        embeddings: Embeddings | None = None,
        path: Path | None = None,
    ) -> None:
        super().__init__(connection)
        self.path = path
        self.meaning = embeddings

    def setup(self) -> None:
        """Make the tables where they are missing.

        Raises:
            StorageError: The file cannot be used, or a newer version wrote it.
        """
        if self.is_setup:
            return
        with faults(self.path):
            _retry_while_locked(self._prepare)
            _retry_while_locked(super().setup)
            with self.lock:
                there = self.conn.execute(_INDEX_THERE).fetchone()
                self.conn.executescript(_SCHEMA)
                if not there:
                    _retry_while_locked(lambda: self.conn.execute(_INDEX_ALL))

    def _prepare(self) -> None:
        prepare(self.conn, self.path, "store format", FORMAT)
        self.conn.execute("PRAGMA secure_delete=ON")

    def take_lease(self, name: str) -> Release | None:
        """Take a lease by its name, against other processes too."""
        if self.path is None:
            return take_process_lease(self, name)
        return take_file_lease(self.path.with_name(f"{self.path.name}.locks"), f"store {name}")

    def scrub(self) -> None:
        """Take what was deleted out of the file as well: the index keeps words for a while."""
        with faults(self.path), self.lock:
            self.conn.execute("INSERT INTO store_words (store_words) VALUES ('optimize')")
            self.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Make the reads, then the writes in one transaction."""
        with faults(self.path):
            self.setup()
            return super().batch(ops)

    def _plain(self, ops: Sequence[Op]) -> list[Result]:
        return _retry_while_locked(lambda: SqliteStore.batch(self, ops))

    def _leave_out(self, places: Sequence[tuple[str, str]]) -> None:
        with self.lock:
            for place in places:
                self.conn.execute("DELETE FROM store_texts WHERE prefix = ? AND key = ?", place)

    def _by_words(self, at: str, words: Sequence[str], most: int) -> Ranked:
        asked = " OR ".join(f'"{word}"' for word in words)
        return self._rows(_BY_WORDS, at=at, query=asked, most=most)

    def _missing(self, at: str, model: str) -> Sequence[tuple[Any, str]]:
        return self._rows(_MISSING, at=at, model=model)

    def _embed(self, model: str, rows: Sequence[tuple[Any, str, Vector]]) -> None:
        given = [(model, array("f", vector).tobytes(), row, text) for row, text, vector in rows]
        with self.lock:
            self.conn.execute("BEGIN IMMEDIATE")
            try:
                self.conn.executemany(_EMBED, given)
            finally:
                self.conn.execute("COMMIT")

    def _nearest(self, at: str, model: str, wanted: Vector, most: int) -> Ranked:
        near = (
            (prefix, key, cosine_similarity(wanted, vector))
            for prefix, key, vector in self._rows(_EMBEDDED, at=at, model=model)
        )
        return heapq.nlargest(most, near, key=lambda row: row[2])

    def _rows(self, statement: str, **values: Any) -> list[Any]:
        with self.lock:
            return self.conn.execute(statement, values).fetchall()


def _retry_while_locked(work: Callable[[], T]) -> T:
    """Do work that may be done twice, again while sqlite says at once that others write.

    It does so in spite of its time-out where a transaction has read before it writes.
    """
    until = time.monotonic() + LOCK_WAIT
    while True:
        try:
            return work()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= until:
                raise
            time.sleep(LOCK_POLL)
