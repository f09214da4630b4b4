"""Times of functions, as they are in the core."""

from asterism.observability import MetricsCollector

__all__ = ["MetricsCollector"]
