"""A LangGraph store in Postgres whose searches are ranked: by meaning, or by words."""

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from langchain_core.embeddings import Embeddings
from langgraph.store.base import Op, Result
from langgraph.store.postgres import PostgresStore
from psycopg_pool import ConnectionPool

from asterism.core.thread_lease import Release, take_process_lease
from asterism.storage.postgres.connection import Address, settings
from asterism.storage.postgres.lease_connections import retry_until_connected
from asterism.storage.postgres.schema import check
from asterism.storage.ranked_store import Ranked, RankedStore, Vector

CONNECTIONS = 4
"""How many connections of a process read and write; as many more hold leases."""

_TEXTS = """FROM store_texts t
WHERE (%(at)s = '' OR t.prefix = %(at)s OR starts_with(t.prefix, %(at)s || '.'))"""
# BM25 but for how often a word is said in one text
_BY_WORDS = f"""
WITH every AS (
    SELECT count(*) AS many, greatest(avg(length(t.words)), 1) AS usual {_TEXTS}
), hits AS (
    SELECT t.prefix, t.key, length(t.words) AS size, word.lexeme
    FROM (SELECT lexeme FROM unnest(to_tsvector('english', %(query)s))) AS word
    JOIN LATERAL (SELECT * {_TEXTS} AND t.words @@ quote_literal(word.lexeme)::tsquery) t ON true
), weights AS (
    SELECT lexeme, ln(1 + (max(many) - count(*) + 0.5) / (count(*) + 0.5)) AS weight
    FROM hits, every GROUP BY lexeme
)
SELECT prefix, key, sum(weight * 2.2 / (1.3 + 0.9 * size / usual))::float AS score
FROM hits JOIN weights USING (lexeme), every
GROUP BY prefix, key ORDER BY score DESC, key LIMIT %(most)s
"""
_MISSING = f"""
SELECT t.prefix, t.key, t.text {_TEXTS}
AND t.text <> '' AND (t.model IS DISTINCT FROM %(model)s OR t.vector IS NULL)
"""
_EMBED = """
UPDATE store_texts SET model = %s, vector = %s::real[]
WHERE prefix = %s AND key = %s AND text = %s
"""
_PLAINLY = "(SELECT sum(a * b) FROM unnest(t.vector, %(wanted)s::real[]) AS part (a, b))"
_BY_EXTENSION = "(1 - (t.vector::vector <=> (%(wanted)s::real[])::vector))"
_NEAREST = f"""
SELECT t.prefix, t.key, {{closeness}}::float AS score {_TEXTS} AND t.model = %(model)s
ORDER BY score DESC, t.key LIMIT %(most)s
"""


class PostgresSearchStore(RankedStore, PostgresStore):
    """LangGraph's `PostgresStore`, same table, for sync and async, with searches that rank.

    By meaning: a cosine over stored vectors, by pgvector where the database has it. By words:
    full text search with English stems. All texts of an item are searched; `put(index=False)`
    keeps it out. A database that restarts is waited for.
    """

    def __init__(self, address: Address, *, embeddings: Embeddings | None = None) -> None:
        def pool() -> ConnectionPool[Any]:
            return ConnectionPool(
                address.conninfo, kwargs=settings(), min_size=0, max_size=CONNECTIONS, open=True
            )

        self._pool = pool()
        super().__init__(self._pool)
        self.address, self.meaning = address, embeddings
        self._leases = pool()
        self._closeness = _PLAINLY

    def close(self) -> None:
        """Give all connections back."""
        for pool in (self._pool, self._leases):
            pool.close()

    def use_extension(self) -> None:
        """Compare vectors by pgvector, where the database has it."""
        if self._rows("SELECT 1 AS there FROM pg_extension WHERE extname = 'vector'"):
            self._closeness = _BY_EXTENSION

    def take_lease(self, name: str) -> Release | None:
        """Take a lease by its name, against other processes too."""
        within = take_process_lease(self, name)
        if within is None:
            return None
        try:
            return self._lock(f"store {name}", within)
        except BaseException:
            within()
            raise

    def _lock(self, name: str, within: Release) -> Release | None:
        with self.address.faults():
            connection = retry_until_connected(self._leases.getconn)
            try:
                lock = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0)) AS had"
                had = connection.execute(lock, (name,)).fetchone()["had"]
            except BaseException:
                self._leases.putconn(connection)
                raise

        def release() -> None:
            with suppress(Exception):  # a session that is lost has given it back
                connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (name,))
            self._leases.putconn(connection)
            within()

        if had:
            return release
        self._leases.putconn(connection)
        within()
        return None

    def scrub(self) -> None:
        """Let the room of what was deleted be used again, and so written over."""
        for table in ("store", "store_texts"):
            self._rows(f"VACUUM {table}")

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Make the reads, then the writes."""
        with self.address.faults():
            return super().batch(ops)

    def _plain(self, ops: Sequence[Op]) -> list[Result]:
        return retry_until_connected(partial(PostgresStore.batch, self, ops))

    def _leave_out(self, places: Sequence[tuple[str, str]]) -> None:
        self._each("DELETE FROM store_texts WHERE prefix = %s AND key = %s", places)

    def _by_words(self, at: str, words: Sequence[str], most: int) -> Ranked:
        return self._rank(_BY_WORDS, at=at, query=" ".join(words), most=most)

    def _missing(self, at: str, model: str) -> Sequence[tuple[Any, str]]:
        rows = self._rows(_MISSING, at=at, model=model)
        return [((row["prefix"], row["key"]), row["text"]) for row in rows]

    def _embed(self, model: str, rows: Sequence[tuple[Any, str, Vector]]) -> None:
        given = [(model, list(vector), *place, text) for place, text, vector in rows]
        self._each(_EMBED, given)

    def _nearest(self, at: str, model: str, wanted: Vector, most: int) -> Ranked:
        query = _NEAREST.format(closeness=self._closeness)
        return self._rank(query, at=at, model=model, wanted=list(wanted), most=most)

    def _rank(self, statement: str, **values: Any) -> Ranked:
        rows = self._rows(statement, **values)
        return [(row["prefix"], row["key"], row["score"]) for row in rows]

    def _rows(self, statement: str, **values: Any) -> list[Any]:
        def work() -> list[Any]:
            with self._pool.connection() as connection:
                cursor = connection.execute(statement, values or None)
                return cursor.fetchall() if cursor.description else []

        with self.address.faults():
            return retry_until_connected(work)

    def _each(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        def work() -> None:
            with self._pool.connection() as connection, connection.transaction():
                connection.cursor().executemany(statement, rows)

        with self.address.faults():
            retry_until_connected(work)


@contextmanager
def open_search_store(
    url: str, *, embeddings: Embeddings | None = None
) -> Generator[PostgresSearchStore]:
    """Open a store on a database that was migrated.

    Raises:
        StorageError: The database cannot be used, or was not migrated.
    """
    address = Address(url)
    with address.faults(), address.connect() as connection:  # at once: a pool would wait
        check(connection, address)
    store = PostgresSearchStore(address, embeddings=embeddings)
    try:
        store.use_extension()
        yield store
    finally:
        store.close()
