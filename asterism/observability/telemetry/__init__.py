"""Telemetry: spans and metrics by OpenTelemetry, where the user turns them on."""

from asterism.observability.telemetry.instrument import TelemetryHandle, instrument

__all__ = ["TelemetryHandle", "instrument"]
