"""Operations: the queue where there is one, and a sentence where there is none."""

import asyncio
from pathlib import Path

from starlette.testclient import TestClient

from asterism.apps.ui.app import create_app
from asterism.apps.workers.queue import enqueue
from tests.asterism.apps.ui.test_app import BASE


def test_a_file_has_no_queue(tmp_path: Path) -> None:
    with TestClient(create_app(db=str(tmp_path / "threads.db")), base_url=BASE) as client:
        found = client.get("/api/operations").json()
        assert list(found) == ["said"] and "Postgres" in found["said"]
        body = {"thread": "t", "action": "kill"}
        refused = client.post("/api/operations", json=body, headers={"origin": BASE})
        assert refused.status_code == 400
        assert client.post("/api/operations", json=body).status_code == 403  # no origin


def test_what_waits_is_shown_paused_and_killed(postgres: str) -> None:
    queued = asyncio.run(enqueue(postgres, "event_planning", "Plan", priority=5))
    with TestClient(create_app(db=postgres), base_url=BASE) as client:

        def steer(action: str, thread: str = queued.thread) -> int:
            body = {"thread": thread, "action": action}
            return client.post("/api/operations", json=body, headers={"origin": BASE}).status_code

        found = client.get("/api/operations").json()
        (job,) = found["waiting"]
        assert (job["thread"], job["priority"]) == (queued.thread, 5)
        assert (found["workers"], found["questions"], found["children"]) == ([], 0, [])
        assert steer("pause") == 202
        found = client.get("/api/operations").json()
        assert found["waiting"] == []
        assert found["paused"][0]["why"] == "it was told to pause"
        assert steer("resume") == 202
        assert steer("kill") == 202
        (killed,) = client.get("/api/operations").json()["paused"]  # until a worker takes it away
        assert killed["why"] == "it was told to stop"
        assert steer("kill", "nobody") == 400
        assert steer("burn") == 400
