"""Telemetry: spans and metrics by OpenTelemetry, where the user turns them on."""

from asterism.telemetry.turning_on import Telemetry, instrument

__all__ = ["Telemetry", "instrument"]
