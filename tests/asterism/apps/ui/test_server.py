"""`asterism ui`: the server on this machine, its beginning and its end."""

import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from asterism.apps.cli.app import app
from asterism.offline import OfflineChatModel
from tests.asterism.apps.ui.test_app import PARTY
from tests.processes import CLI, Process


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Process, str]]:
    given = ("--no-token", "--port", "0", "--db", tmp_path / "threads.db", "--pace", "0.05")
    running = Process(CLI, "ui", *given)
    try:
        found = re.search(r"http://localhost:\d+", running.said("http://localhost:"))
        assert found
        yield running, found[0]
    finally:
        running.kill()
        running.wait()


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGTERM to one process")
@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_although_somebody_watches_and_the_run_goes_on_later(
    way: signal.Signals, server: tuple[Process, str], tmp_path: Path
) -> None:
    running, address = server
    port = int(address.rsplit(":", 1)[1])
    with httpx.Client(base_url=address, timeout=60) as page:
        body = {"graph": "event_planning", "request": PARTY}
        begun = page.post("/api/run", json=body, headers={"origin": address})
        thread = begun.json()["thread"]
        with page.stream("GET", "/api/events", params={"thread": thread}) as stream:
            lines = stream.iter_lines()
            assert next(line for line in lines if line.startswith("data: "))
            running.send_signal(way)
            for _ in lines:
                pass  # the stream ends by itself
        assert running.wait(timeout=30) in (130, -way)
    with socket.socket() as tried:
        assert tried.connect_ex(("127.0.0.1", port)) != 0
    done = CliRunner().invoke(app, ["resume", thread, "--db", str(tmp_path / "threads.db")])
    assert done.exit_code == 0 or "nothing unfinished" in done.stderr


def test_it_listens_on_this_machine_alone(server: tuple[Process, str]) -> None:
    port = int(server[1].rsplit(":", 1)[1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; tells the address of this machine
        outside = probe.getsockname()[0]
    if outside.startswith("127."):
        pytest.skip("this machine has no other address")
    with socket.socket() as tried:
        tried.settimeout(5)
        assert tried.connect_ex((outside, port)) != 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--graph", "no.such:thing"], "cannot be opened", id="unknown graph"),
        pytest.param(["--db", "mysql://x"], "allowed: sqlite", id="database"),
        pytest.param(["--graph", "tests.asterism.apps.ui.teams:HERE"], "is a str", id="no graph"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_told_before_the_server_starts(
    arguments: list[str], words: str, tmp_path: Path
) -> None:
    given = arguments if "--db" in arguments else [*arguments, "--db", str(tmp_path / "t.db")]
    result = CliRunner().invoke(app, ["ui", "--port", "0", *given])
    assert (result.exit_code, words in result.stderr) == (1, True), result.stderr


def test_a_port_that_is_taken_is_named_with_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(app, ["ui", "--port", port, "--db", ":memory:"])
    assert result.exit_code == 1
    assert f"The port {port} cannot be opened" in result.stderr and "--port" in result.stderr


def test_without_its_packages_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("asterism.apps.ui")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "starlette.applications", None)
    result = CliRunner().invoke(app, ["ui", "--port", "0", "--db", ":memory:"])
    assert result.exit_code == 1
    assert "pip install 'asterism-agents[ui]'" in result.stderr


def test_the_offline_model_takes_its_time_where_it_is_asked_to() -> None:
    waited: list[float] = []
    model = OfflineChatModel(pace=2.0, sleep=waited.append)
    said = model.invoke("Hello")
    assert waited == [2.0]
    assert "".join(chunk.text for chunk in model.stream("Hello")) == said.text
    assert sum(waited) == pytest.approx(4.0)

    before = len(waited)
    OfflineChatModel(sleep=waited.append).invoke("Hello")
    assert len(waited) == before
