"""Telemetry that is taken in by the test itself."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    HistogramDataPoint,
    InMemoryMetricReader,
    NumberDataPoint,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from asterism import EventBus, instrument

Tree = dict[str, "Tree"]
"""Names of spans, each with the tree of those below it; an error has a `!` before its name."""


@dataclass
class Taken:
    """What a test has been told by telemetry."""

    bus: EventBus
    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader
    spans: list[ReadableSpan] = field(default_factory=list[ReadableSpan])

    def tree(self) -> Tree:
        """The spans as a tree; siblings of one name are numbered."""
        self.spans = list(self.exporter.get_finished_spans())
        known = {span.context.span_id for span in self.spans}
        for span in self.spans:
            assert span.parent is None or span.parent.span_id in known, f"{span.name} is an orphan"
        return self._below(None)

    def _below(self, parent: int | None) -> Tree:
        found: Tree = {}
        for span in sorted(self.spans, key=lambda span: span.start_time or 0):
            if (span.parent.span_id if span.parent else None) != parent:
                continue
            name = f"{'' if span.status.is_unset else '!'}{span.name}"
            count = sum(other.split(" #")[0] == name for other in found)
            found[f"{name} #{count + 1}" if count else name] = self._below(span.context.span_id)
        return found

    def metrics(self) -> dict[str, list[tuple[dict[str, Any], float]]]:
        """The metrics by name: attributes, and the sum, the state, or the count of values."""
        data = self.reader.get_metrics_data()
        found: dict[str, list[tuple[dict[str, Any], float]]] = {}
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    found[metric.name] = [
                        (dict(point.attributes or {}), _value(point))
                        for point in metric.data.data_points
                    ]
        return found


def _value(point: Any) -> float:
    if isinstance(point, HistogramDataPoint):
        return point.count
    assert isinstance(point, NumberDataPoint)
    return point.value


@pytest.fixture
def taken() -> Iterator[Taken]:
    """Telemetry is on for the test, and goes nowhere else."""
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider([reader])
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    bus = EventBus()
    with instrument(bus, tracer_provider=tracers, meter_provider=meters):
        yield Taken(bus, exporter, reader)
    tracers.shutdown()
    meters.shutdown()
