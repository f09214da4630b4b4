"""The tables: made by `asterism migrate`, checked whenever a database is opened."""

import time
from contextlib import suppress
from typing import Any

from asterism.errors import StorageError
from asterism.storage.postgres.connection import Address
from asterism.storage.transactions import SCHEMA as OTHER_TABLES

FORMAT = 1
"""The version of what is stored; it grows when an older version could not read it."""

_LOCK = 0x617374657269736D
"""The advisory lock of whoever migrates: `asterism` in ASCII."""

_STEPS = (
    "CREATE TABLE IF NOT EXISTS asterism (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE IF NOT EXISTS asterism_leases (
        thread_id TEXT PRIMARY KEY,
        number BIGINT NOT NULL,
        seconds DOUBLE PRECISION NOT NULL,
        since TIMESTAMPTZ NOT NULL DEFAULT now()
    )""",
    # the latest threads, the questions that wait for people, and what children have used are
    # found without a full scan
    """CREATE INDEX CONCURRENTLY IF NOT EXISTS asterism_checkpoint_id
        ON checkpoints (checkpoint_id)""",
    """CREATE INDEX CONCURRENTLY IF NOT EXISTS asterism_questions
        ON checkpoint_writes (thread_id, checkpoint_id) WHERE channel = '__interrupt__'""",
    """CREATE INDEX CONCURRENTLY IF NOT EXISTS asterism_children
        ON checkpoints (thread_id) WHERE checkpoint_ns = 'asterism:child'""",
    # the texts of the long-term store, kept right by the database itself
    """CREATE TABLE IF NOT EXISTS store_texts (
        prefix TEXT NOT NULL, key TEXT NOT NULL, text TEXT NOT NULL, model TEXT, vector REAL[],
        words TSVECTOR GENERATED ALWAYS AS (to_tsvector('english', left(text, 100000))) STORED,
        PRIMARY KEY (prefix, key),
        FOREIGN KEY (prefix, key) REFERENCES store (prefix, key) ON DELETE CASCADE
    )""",
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS store_texts_words ON store_texts USING gin (words)",
    r"""CREATE OR REPLACE FUNCTION asterism_store_text() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO store_texts (prefix, key, text) SELECT NEW.prefix, NEW.key, coalesce(
            string_agg(part #>> '{}', E'\n'), '')
        FROM jsonb_path_query(NEW.value, 'strict $.**') AS part
        WHERE jsonb_typeof(part) = 'string'
        ON CONFLICT (prefix, key) DO UPDATE SET text = excluded.text,
            vector = CASE WHEN store_texts.text = excluded.text THEN store_texts.vector END;
        RETURN NULL;
    END $$""",
    """CREATE OR REPLACE TRIGGER asterism_store_text AFTER INSERT OR UPDATE OF value ON store
        FOR EACH ROW EXECUTE FUNCTION asterism_store_text()""",
    # what was there before is written once, for the trigger
    """WITH first AS (
        INSERT INTO asterism VALUES ('texts', '1') ON CONFLICT (key) DO NOTHING RETURNING key
    ) UPDATE store SET value = value FROM first""",
    *OTHER_TABLES,
    """CREATE TABLE IF NOT EXISTS asterism_steering (
        number BIGINT GENERATED ALWAYS AS IDENTITY,
        thread_id TEXT NOT NULL,
        id TEXT NOT NULL,
        kind TEXT NOT NULL,
        value BYTEA NOT NULL,
        PRIMARY KEY (thread_id, id)
    )""",
    f"INSERT INTO asterism VALUES ('format', '{FORMAT}') ON CONFLICT (key) DO NOTHING",
)
"""Each may be repeated."""

_QUEUE_KEYS = """
CREATE UNIQUE INDEX IF NOT EXISTS asterism_queue_key ON procrastinate_jobs ((args ->> 'key'))
WHERE task_name = 'asterism.go_on'
"""
"""What has been queued under a key is not queued again."""


def migrate_schema(address: Address) -> None:
    """Make the tables or bring them up to date; may be repeated, also at once.

    Raises:
        StorageError: The database cannot be used, or a newer version wrote it.
    """
    with address.faults(), address.connect() as connection:
        # no waiting lock: the session that waits would hold up the indexes of the one that has it
        while not _one(connection, "SELECT pg_try_advisory_lock(%s)", (_LOCK,)):
            time.sleep(0.05)
        if _one(connection, "SELECT to_regclass('asterism')") is not None:
            _check_format(connection, address)
        from langgraph.checkpoint.postgres import PostgresSaver
        from langgraph.store.postgres import PostgresStore
        from psycopg import Error

        PostgresSaver(connection).setup()
        PostgresStore(connection).setup()
        for step in _STEPS:
            connection.execute(step)
        with suppress(Error):  # it is not there, or not allowed: vectors are compared without it
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        _migrate_queue(connection)


def check(connection: Any, address: Address) -> None:
    """Check that a database was migrated, and can be read.

    Raises:
        StorageError: It was not, or a newer version wrote it.
    """
    last = _one(connection, "SELECT to_regclass('asterism_steering')")
    if last is None or not _is_current(connection):
        raise StorageError(
            f"The database {address.shown!r} is not prepared for this version. Run once: "
            "asterism migrate --db URL"
        )
    _check_format(connection, address)


def has_queue(connection: Any) -> bool:
    """Whether a database has the tables of the queue."""
    return _one(connection, "SELECT to_regclass('procrastinate_jobs')") is not None


def _is_current(connection: Any) -> bool:
    from langgraph.checkpoint.postgres import PostgresSaver

    found = _one(connection, "SELECT max(v) FROM checkpoint_migrations")
    return found is not None and found >= len(PostgresSaver.MIGRATIONS) - 1


def _check_format(connection: Any, address: Address) -> None:
    found = _one(connection, "SELECT value FROM asterism WHERE key = 'format'")
    if found is not None and not str(found).isdigit():
        raise StorageError(
            f"The database {address.shown!r} has the format {found!r:.80}, which is no number. The "
            "table asterism is damaged; restore the database from a copy."
        )
    if found is not None and int(found) > FORMAT:
        raise StorageError(
            f"The database {address.shown!r} has the format {found}; this version of Asterism "
            f"reads up to {FORMAT}. Install a newer version."
        )


def _migrate_queue(connection: Any) -> None:
    """Make the queue's tables, where its package is there; later versions bring changes."""
    try:
        from procrastinate.schema import SchemaManager, migrations_path
    except ImportError:
        return
    names = sorted(path.name for path in migrations_path.glob("*.sql"))
    if not has_queue(connection):
        connection.execute(SchemaManager.get_schema(), prepare=False)
        new: list[str] = []
    else:
        done = _one(connection, "SELECT value FROM asterism WHERE key = 'queue'") or ""
        new = [name for name in names if name > done]
    for name in new:
        connection.execute((migrations_path / name).read_text(encoding="utf-8"), prepare=False)
    connection.execute(_QUEUE_KEYS)
    connection.execute(
        "INSERT INTO asterism VALUES ('queue', %s) "
        "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (names[-1],),
    )


def _one(connection: Any, query: str, values: tuple[Any, ...] = ()) -> Any:
    row = connection.execute(query, values).fetchone()
    return next(iter(row.values())) if row else None
