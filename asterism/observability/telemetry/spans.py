"""Spans: OpenTelemetry's instrumentation of LangChain, told what an interrupt is.

It takes every exception for an error: an interrupt, by which a graph waits for a person, and a
drain, too. And it writes the message of an exception into the span, where a prompt or an answer
may be quoted. Both are put right here, at the four methods that it is told of errors by.
"""

from typing import Any

from langgraph.errors import GraphBubbleUp
from opentelemetry.instrumentation.genai.langchain import LangChainInstrumentor
from opentelemetry.instrumentation.genai.langchain.callback_handler import (
    OpenTelemetryLangChainCallbackHandler as Handler,
)
from opentelemetry.instrumentation.utils import unwrap
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider
from opentelemetry.util.genai.types import ContentCapturingMode, Error
from opentelemetry.util.genai.utils import fq_exception_type, get_content_capturing_mode
from wrapt import wrap_function_wrapper

_METHODS = ("on_chain_error", "on_llm_error", "on_tool_error", "on_retriever_error")
_IN_SPANS = (ContentCapturingMode.SPAN_ONLY, ContentCapturingMode.SPAN_AND_EVENT)


def _instrumentor() -> Any:
    create: Any = LangChainInstrumentor  # its constructor has no types; there is only one of it
    return create()


class Instrumentor:
    """Turns the instrumentation of LangChain on, and off again."""

    def __init__(self, tracers: TracerProvider | None, meters: MeterProvider | None) -> None:
        self._instrumentor = _instrumentor()
        self._quotes = get_content_capturing_mode() in _IN_SPANS
        for method in _METHODS:
            wrap_function_wrapper(Handler, method, self._on_error)
        self._instrumentor.instrument(tracer_provider=tracers, meter_provider=meters)

    def uninstrument(self) -> None:
        """Turn it off."""
        self._instrumentor.uninstrument()
        for method in _METHODS:
            unwrap(Handler, method)

    def _on_error(self, told: Any, handler: Handler, args: tuple[Any, ...], facts: Any) -> Any:
        error, *rest = args
        if not isinstance(error, BaseException):
            return told(*args, **facts)
        ends: dict[str, Any] = {
            "on_chain_error": handler.on_chain_end,
            "on_tool_error": handler.on_tool_end,
        }
        if isinstance(error, GraphBubbleUp) and told.__name__ in ends:
            return ends[told.__name__]({}, run_id=facts["run_id"])
        if not self._quotes:
            error = Error(message=None, type=fq_exception_type(error))
        return told(error, *rest, **facts)


def instrument_langchain(
    tracers: TracerProvider | None, meters: MeterProvider | None
) -> Instrumentor | None:
    """Turn the instrumentation on, unless somebody has done so already."""
    if _instrumentor().is_instrumented_by_opentelemetry:
        return None
    return Instrumentor(tracers, meters)
