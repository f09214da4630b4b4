"""Telemetry: spans and metrics by OpenTelemetry, where the user turns them on."""

from asterism.telemetry.turning_on import TelemetryHandle, instrument

__all__ = ["TelemetryHandle", "instrument"]
