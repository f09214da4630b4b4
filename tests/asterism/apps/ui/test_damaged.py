"""The page on damaged rows: an error that names the thread, never a fault of the server."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from asterism.apps.ui.app import create_app
from tests.asterism.apps.ui.teams import HERE
from tests.damage import PACKED

GRAPH = f"{HERE}:bank"
BASE = "http://localhost:8000"
JSON = (b"[1]", b"{}", b'{"step": "x", "source": 7, "parents": 3, "run_id": []}')
DAMAGES: dict[tuple[str, str], tuple[Any, ...]] = {
    ("checkpoints", "checkpoint"): (None, b"\xff\xfe\x00", *PACKED.values()),
    ("checkpoints", "metadata"): (None, b"\xff", b'{"graph": 7, "step": 1}', *JSON),
    ("checkpoints", "type"): (None, "x"),
    ("checkpoints", "checkpoint_id"): (None, "x"),
    ("checkpoints", "parent_checkpoint_id"): ("x", 7),
    ("writes", "value"): (b"\xff\xfe\x00", *PACKED.values()),
    ("writes", "channel"): ("x", 7),
    ("writes", "type"): (None, "x"),
    ("writes", "task_id"): ("x", 7),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a database with a thread that waits for an answer."""
    path = tmp_path_factory.mktemp("whole") / "a.db"
    with TestClient(create_app(db=str(path), graphs=[GRAPH]), base_url=BASE) as client:
        asked = {"graph": GRAPH, "request": "Do it"}
        client.post("/api/run", json=asked, headers={"origin": BASE})
        shown = client.get("/api/threads").json()["runs"]
        while not client.get("/api/thread", params={"thread": shown[0]["thread"]}).json()[
            "questions"
        ]:
            pass
    with closing(sqlite3.connect(path)) as connection:
        for table in ("checkpoints", "writes"):
            connection.execute(f"UPDATE {table} SET thread_id = 'bad'")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.read_bytes()


def calls(client: TestClient) -> Iterator[tuple[str, Any]]:
    """Everything that the page asks of a thread."""
    for path in ("thread", "history", "memory", "events", "visits", "state"):
        query = {"thread": "bad", "participant": "bank"}
        yield path, client.get(f"/api/{path}", params=query)
    query = {"thread": "bad", "before": "9", "a": "x", "b": "y"}
    yield "messages", client.get("/api/messages", params=query)
    yield "compare", client.get("/api/compare", params=query)
    query = {"thread": "bad", "checkpoint": "x"}
    yield "thread at a checkpoint", client.get("/api/thread", params=query)
    bodies: dict[str, Any] = {
        "answer": {"answers": {"f" * 32: "yes"}},
        "fork": {"checkpoint": "x", "decision": {"next_agent": None}},
        "proceed": {},
        "retry": {"checkpoint": "x"},
        "run": {"request": "Again"},
    }
    for path, body in bodies.items():
        sent = {"thread": "bad", **body}
        yield path, client.post(f"/api/{path}", json=sent, headers={"origin": BASE})


@pytest.mark.parametrize(("table", "column"), DAMAGES)
def test_the_page_on_a_damaged_row_has_an_error_of_ours(
    table: str, column: str, whole: bytes, tmp_path: Path
) -> None:
    path, wrong = tmp_path / "a.db", list[str]()
    for value in DAMAGES[table, column]:
        path.write_bytes(whole)
        with closing(sqlite3.connect(path)) as connection, connection:
            try:
                change = f"UPDATE OR REPLACE {table} SET {column} = ?"
                connection.execute(change, (value,))
            except sqlite3.IntegrityError:
                continue
        app = create_app(db=str(path), graphs=[GRAPH], stream_seconds=0)
        with TestClient(app, base_url=BASE, raise_server_exceptions=False) as client:
            rows = client.get("/api/threads")
            assert rows.status_code == 200, rows.text
            for name, response in calls(client):
                if response.status_code in (500, 503) and "'bad'" not in response.text:
                    wrong.append(f"{value!r:.60}: {name}: {response.status_code} {response.text}")
    assert not wrong, "\n".join(wrong)
