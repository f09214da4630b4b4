"""Telemetry: spans and metrics by OpenTelemetry where the user turns it on, and tracked functions."""

from asterism.observability.telemetry.instrument import TelemetryHandle, instrument
from asterism.observability.telemetry.metrics_collector import Metric, MetricsCollector
from asterism.observability.telemetry.tracer import Tracer

__all__ = ["Metric", "MetricsCollector", "TelemetryHandle", "Tracer", "instrument"]
