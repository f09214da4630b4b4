"""Functions are measured, with percentiles and without a server; a push gateway may be down."""

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from asterism.errors import ConfigurationError
from asterism.observability import MetricsCollector, analyze_traces
from asterism.observability.trace import percentile


@pytest.mark.parametrize(
    ("percent", "value"), [(0, 1.0), (50, 2.5), (95, 3.85), (100, 4.0)], ids=str
)
def test_a_percentile_lies_between_two_values(percent: float, value: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], percent) == pytest.approx(value)
    assert percentile([7.0], percent) == 7.0
    assert percentile([], percent) is None


@pytest.mark.parametrize("percent", [-1, 101, True, float("nan")])
def test_what_is_no_percentile_is_refused(percent: float) -> None:
    with pytest.raises(ValueError, match="percent is"):
        percentile([1.0], percent)


def test_sync_async_and_failed_calls_are_measured() -> None:
    metrics = MetricsCollector()

    @metrics.track("task_duration")
    def run(task: str) -> str:
        return task.upper()

    @metrics.track("task_duration")
    async def arun(task: str) -> str:
        return task

    @metrics.track("failures")
    def fail() -> None:
        raise ValueError("no")

    assert metrics.get_metric("task_duration").percentile(95) is None
    assert (run("a"), asyncio.run(arun("b")), run.__name__) == ("A", "b", "run")
    with pytest.raises(ValueError, match="no"):
        fail()
    found = metrics.get_metric("task_duration")
    assert (found.count, len(found.values), metrics.get_metric("failures").count) == (2, 2, 1)
    assert found.mean is not None and 0 <= (found.percentile(95) or -1) < 60


def test_the_oldest_values_go_first() -> None:
    metrics = MetricsCollector(kept=2)
    for value in (1, 2, 3):
        metrics.record("size", value)
    found = metrics.get_metric("size")
    assert (found.values, found.count, found.sum) == ([2, 3], 3, 6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"backend": "graphite"}, "backend is 'graphite'; allowed: 'memory', 'prometheus'"),
        ({"push_gateway": "http://127.0.0.1:9"}, "a push_gateway needs backend='prometheus'"),
        ({"kept": 0}, "kept is 0"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        MetricsCollector(**options)


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(LookupError, match="there is no metric 'x'; there are: none yet"):
        MetricsCollector().get_metric("x")
    with pytest.raises(ConfigurationError, match="there is no push gateway"):
        MetricsCollector().push()


def test_a_push_gateway_is_sent_count_and_sum() -> None:
    sent: list[tuple[str, str]] = []
    arrived = threading.Event()

    class Gateway(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            size = int(self.headers["content-length"])
            sent.append((self.path, self.rfile.read(size).decode()))
            self.send_response(202)
            self.end_headers()
            arrived.set()

        def log_message(self, *args: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Gateway)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        metrics = MetricsCollector(backend="prometheus", push_gateway=url)
        metrics.track("task-duration")(len)("four")
        assert arrived.wait(30)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    path, body = sent[0]
    assert path == "/metrics/job/asterism"
    assert "task_duration_count 1.0" in body and "task_duration_sum" in body


def test_a_push_gateway_that_is_down_harms_no_call(caplog: pytest.LogCaptureFixture) -> None:
    metrics = MetricsCollector(backend="prometheus", push_gateway="http://127.0.0.1:9")
    assert metrics.track("size")(len)("four") == 4
    assert metrics._next is not None
    metrics._next.result(30)
    assert "the push gateway http://127.0.0.1:9 could not be reached" in caplog.text


def test_traces_have_percentiles_of_their_durations() -> None:
    traces = [
        {"status": "completed", "end_time": "x", "duration": seconds} for seconds in (3.0, 1.0)
    ]
    found = analyze_traces([*traces, {"status": "running", "end_time": None}])
    assert (found.percentile(50), found.durations) == (2.0, (1.0, 3.0))
    assert analyze_traces([]).percentile(95) is None
