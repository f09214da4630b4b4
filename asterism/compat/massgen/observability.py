"""Spans around runs, as they are in the core."""

from asterism.observability import Tracer

__all__ = ["Tracer"]
