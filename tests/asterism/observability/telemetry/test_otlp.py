"""The wire: a receiver on this machine takes in what the standard exporters send."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from asterism import EventBus, instrument
from tests.asterism.observability.telemetry.serving import Silent, serving
from tests.asterism.observability.telemetry.teams import REQUEST, caterer, fail, team
from tests.plans import plan, task


@contextmanager
def receiver() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """A collector: its address, and the path and body of every request that it got."""
    got: list[tuple[str, bytes]] = []

    class Receive(Silent, BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            packed = self.headers.get("Content-Encoding") == "gzip"
            got.append((self.path, gzip.decompress(body) if packed else body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with serving(Receive) as url:
        yield url, got


def test_a_collector_gets_the_tree_and_the_metrics_and_no_prompts() -> None:
    bus = EventBus()
    with receiver() as (url, got):
        tracers = TracerProvider(shutdown_on_exit=False)
        tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces")))
        exporter = OTLPMetricExporter(f"{url}/v1/metrics")
        meters = MeterProvider([PeriodicExportingMetricReader(exporter)], shutdown_on_exit=False)
        with instrument(bus, tracer_provider=tracers, meter_provider=meters):
            tasks = plan(task("a", "cook"), task("b", "bad", "a"))
            team(tasks, bus, cook=caterer(), bad=fail).invoke(REQUEST)
        tracers.shutdown()
        meters.shutdown()
    assert b"mulberry" not in b"".join(body for _, body in got)
    spans = [
        span
        for path, body in got
        if path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    names = {span.span_id: span.name for span in spans}
    assert sorted((span.name, names.get(span.parent_span_id)) for span in spans if span) == [
        ("chat scripted", "invoke_agent cook"),
        ("chat scripted", "invoke_agent cook"),
        ("execute_tool price", "invoke_agent cook"),
        ("invoke_agent bad", "invoke_workflow Party"),
        ("invoke_agent cook", "invoke_workflow Party"),
        ("invoke_workflow Party", None),
    ]
    assert {span.name for span in spans if span.status.code == 2} == {"invoke_agent bad"}
    metrics = {
        metric.name
        for path, body in got
        if path == "/v1/metrics"
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert {"gen_ai.invoke_agent.duration", "asterism.decisions"} <= metrics
