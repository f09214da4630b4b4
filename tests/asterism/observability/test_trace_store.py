"""Traces in a file: read back after a restart, and nobody harmed where it cannot be written."""

import asyncio
import logging
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from asterism import SupervisorTrace
from asterism.errors import StorageError
from asterism.events import WorkflowEventType
from asterism.observability import trace_store as files

RUN = WorkflowEventType


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'new' / 'traces.db'}"


def path_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def record(trace: SupervisorTrace, name: str = "t") -> None:
    trace.start_trace(name, name="Shop")
    trace.trace_decision(name, "go")
    trace.end_trace(name)


def test_traces_are_read_back_after_a_restart(url: str) -> None:
    with SupervisorTrace(url) as trace:
        record(trace, "a")
        record(trace, "b")
        before = trace.get_all_traces()
    with SupervisorTrace(url) as trace:
        assert trace.get_all_traces() == before
        assert [found.id for found in before] == ["a", "b"]
        assert trace.get_trace("a") == before[0]
        assert trace.get_trace("nobody") is None
        assert trace.get_trace_metrics().success_rate == 1.0
        trace.clear_traces()
    with SupervisorTrace(url) as trace:
        assert trace.get_all_traces() == []


def test_a_run_goes_on_in_another_process_with_the_same_trace(url: str) -> None:
    with SupervisorTrace(url) as trace:
        trace.bus.emit(RUN.RUN_STARTED, "thread", {"resumed": False}, run="first")
        trace.bus.emit(RUN.RUN_ENDED, "thread", {"status": "waiting"}, run="first")
    with SupervisorTrace(url) as trace:
        trace.bus.emit(RUN.RUN_STARTED, "thread", {"resumed": True}, run="second")
        trace.bus.emit(RUN.ROUTED, "thread", {"next_agent": "p"}, run="second")
        trace.bus.emit(RUN.RUN_ENDED, "thread", {"status": "completed"}, run="second")
        trace.bus.emit(RUN.RUN_STARTED, "thread", {"resumed": False}, run="third")
        found = trace.get_all_traces()
    assert [(one.id, one.status, len(one.events)) for one in found] == [
        ("first", "completed", 5),
        ("third", "running", 1),
    ]


def test_a_program_that_just_ends_has_written_everything(url: str) -> None:
    code = (
        "from asterism import SupervisorTrace\n"
        f"trace = SupervisorTrace({url!r})\n"
        "for number in range(50): trace.trace_decision('t', str(number))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    with SupervisorTrace(url) as trace:
        found = trace.get_trace("t")
    assert found and [d.decision for d in found.decisions] == [str(n) for n in range(50)]


def test_the_file_is_for_its_owner_alone(url: str) -> None:
    with SupervisorTrace(url) as trace:
        record(trace)
        trace.get_all_traces()
        folder = path_of(url).parent
        assert {path.name for path in folder.iterdir()} >= {"traces.db", "traces.db-wal"}
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_two_recorders_share_a_file(url: str) -> None:
    with SupervisorTrace(url) as first, SupervisorTrace(url) as second:
        for number in range(20):
            record(first, f"a{number}")
            record(second, f"b{number}")
        assert len(first.get_all_traces()) >= 20
        assert len(second.get_all_traces()) == len(first.get_all_traces()) == 40
        assert (first.fault(), second.fault()) == (None, None)


async def test_recording_does_not_touch_the_file_in_the_event_loop(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[str] = set()
    connect = files._connect  # pyright: ignore[reportPrivateUsage] - the one door to the file

    def watched(path: Path) -> sqlite3.Connection:
        threads.add(threading.current_thread().name)
        return connect(path)

    monkeypatch.setattr(files, "_connect", watched)
    trace = SupervisorTrace(url)
    record(trace)
    found = await asyncio.to_thread(trace.get_all_traces)
    await asyncio.to_thread(trace.close)
    assert [one.status for one in found] == ["completed"]
    assert [name.startswith("traces") for name in threads] == [True]


# ---- faults


def test_a_file_that_cannot_be_made_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot be opened"):
        SupervisorTrace(f"sqlite:///{tmp_path / 'file' / 'traces.db'}")


def test_a_file_that_is_no_database_harms_no_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "x.db").write_text("this is no database " * 100)
    trace = SupervisorTrace(f"sqlite:///{tmp_path / 'x.db'}")
    record(trace)
    with pytest.raises(StorageError, match="cannot be used: file is not a database"):
        trace.get_all_traces()
    record(trace)
    trace.close()
    assert "file is not a database" in (trace.fault() or "")
    assert len([r for r in caplog.records if r.levelno == logging.ERROR]) == 1
    assert (tmp_path / "x.db").read_text() == "this is no database " * 100


def test_what_waits_for_a_locked_file_is_written_later(
    url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.01)
    with SupervisorTrace(url) as trace:
        record(trace, "a")
        trace.get_all_traces()
        with closing(sqlite3.connect(path_of(url), isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            for name in "bcd":
                record(trace, name)
                assert trace.get_trace("a")  # it is tried again, and what is there can be read
            assert "locked" in (trace.fault() or "")
            other.execute("ROLLBACK")
        assert [found.id for found in trace.get_all_traces()] == ["a", "b", "c", "d"]
        assert trace.fault() is None
    assert len([r for r in caplog.records if r.levelno == logging.ERROR]) == 1


def test_a_full_disk_harms_no_run(
    url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sqlite is told that the file may not grow, which it reports as a full disk."""
    monkeypatch.setattr(files, "BACKLOG", 50)
    connect = files._connect  # pyright: ignore[reportPrivateUsage] - the one door to the file

    def full(path: Path) -> sqlite3.Connection:
        found = connect(path)
        found.execute("PRAGMA max_page_count=9")
        return found

    monkeypatch.setattr(files, "_connect", full)
    with SupervisorTrace(url) as trace:
        for number in range(100):
            trace.trace_agent_interaction(f"t{number}", "a", "b", "x" * 200)
            trace.trace_agent_interaction(f"t{number}", "b", "a", "y" * 200)
            trace.get_trace("t0")
        assert "database or disk is full" in (trace.fault() or "")
        assert "events are lost" in (trace.fault() or "")
    assert len([r for r in caplog.records if r.levelno == logging.ERROR]) == 1


def test_a_closed_recorder_harms_nobody(url: str, caplog: pytest.LogCaptureFixture) -> None:
    trace = SupervisorTrace(url)
    record(trace)
    trace.close()
    trace.close()
    record(trace, "late")
    with pytest.raises(StorageError, match="cannot be used"):
        trace.get_all_traces()
    with SupervisorTrace(url) as again:
        assert [found.id for found in again.get_all_traces()] == ["t"]
