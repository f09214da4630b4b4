"""Telemetry: OpenTelemetry where the user turns it on, spans and times of one's own."""

from asterism.observability.telemetry.instrument import TelemetryHandle, instrument
from asterism.observability.telemetry.metrics_collector import Metric, MetricsCollector
from asterism.observability.telemetry.tracer import Tracer

__all__ = ["Metric", "MetricsCollector", "TelemetryHandle", "Tracer", "instrument"]
