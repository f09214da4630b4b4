"""A server of the test's own that takes data sets, runs and feedback in as LangSmith does."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from tests.asterism.observability.telemetry.serving import Silent, serving

INFO = {
    "batch_ingest_config": {
        "use_multipart_endpoint": False,
        "scale_up_qsize_trigger": 1000,
        "scale_up_nthreads_limit": 1,
        "size_limit": 100,
        "size_limit_bytes": 20_000_000,
    }
}
TIME = "2026-01-01T00:00:00+00:00"


class Stored:
    """What was sent."""

    def __init__(self) -> None:
        self.datasets: dict[str, dict[str, Any]] = {}
        self.examples: list[dict[str, Any]] = []
        self.sessions: list[dict[str, Any]] = []
        self.runs: dict[str, dict[str, Any]] = {}
        self.feedback: list[dict[str, Any]] = []

    def get(self, path: str, query: dict[str, list[str]]) -> Any:
        if path == "/info":
            return INFO
        if path == "/datasets":
            name = query.get("name", [""])[0]
            return [self.datasets[name]] if name in self.datasets else []
        if path.endswith("/versions"):
            return [{"as_of": TIME}]
        if path == "/examples":
            return [] if int(query.get("offset", ["0"])[0]) else self.examples
        if path == "/sessions":
            return [{"id": str(uuid4()), "name": "default", "tenant_id": str(uuid4())} | _NEW]
        return []

    def post(self, path: str, body: Any) -> Any:
        if path == "/datasets":
            self.datasets[body["name"]] = {**body, "id": str(uuid4()), "created_at": TIME}
            return self.datasets[body["name"]]
        if path == "/examples/bulk":
            self.examples += [{**one, "created_at": TIME} for one in body]
            return body
        if path.startswith("/sessions/"):  # the experiment has ended
            return self.sessions[-1]
        if path == "/sessions":
            self.sessions.append({**body, "id": str(uuid4()), "tenant_id": str(uuid4())})
            return self.sessions[-1]
        if path == "/feedback":
            self.feedback.append(body)
        elif path.startswith("/runs"):
            for run in [*body.get("post", ()), *body.get("patch", ())] or [body]:
                known = self.runs.setdefault(run["id"], {})
                known.update({key: value for key, value in run.items() if value is not None})
        return {}


_NEW = {"start_time": TIME, "reference_dataset_id": None}


@contextmanager
def langsmith() -> Iterator[tuple[str, Stored]]:
    """Serve on this machine; yields the address and what was sent."""
    stored = Stored()

    class Take(Silent, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            self._say(stored.get(parts.path, parse_qs(parts.query)))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            self._say(stored.post(urlsplit(self.path).path, json.loads(body)))

        def do_PATCH(self) -> None:
            self.do_POST()

        def _say(self, what: Any) -> None:
            body = json.dumps(what).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serving(Take) as url:
        yield url, stored
