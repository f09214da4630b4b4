"""Turning telemetry on and off."""

from contextlib import ExitStack
from typing import TYPE_CHECKING

from asterism.errors import ConfigurationError
from asterism.events import EventBus

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider


class TelemetryHandle(ExitStack):
    """What `instrument` has turned on; `close`, or the end of a `with` block, turns it off.

    The providers that were given stay open.
    """

    url: str | None = None
    """Where Prometheus finds the metrics, if that was asked for."""


def instrument(
    bus: EventBus | None = None,
    *,
    tracer_provider: "TracerProvider | None" = None,
    meter_provider: "MeterProvider | None" = None,
    prometheus_port: int | None = None,
    prometheus_host: str = "127.0.0.1",
) -> TelemetryHandle:
    """Turn on spans and metrics of all workflows in this process, by OpenTelemetry.

    Spans, and the metrics of models, tools and agents, come from OpenTelemetry's own
    instrumentation of LangChain. What the bus tells becomes metrics besides: decisions, waits
    for people, retries, circuits and budgets. Prompts and answers are in none of it, unless
    `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` says so before this is called.

    Args:
        bus: The event bus of the workflows, for the metrics of what it tells.
        tracer_provider: Takes the spans. None: the global one of OpenTelemetry.
        meter_provider: Takes the metrics. None: the global one, or, where a port is given,
            one of its own that Prometheus reads from.
        prometheus_port: Where Prometheus may ask for the metrics; 0 takes any free port. None:
            nothing is opened.
        prometheus_host: The address for that; by default only this machine can ask.

    Returns:
        What was turned on. Keep it for `close` and `url`.

    Raises:
        ConfigurationError: A package is missing, or both a provider and a port are given.
        OSError: The port is taken.
    """
    if prometheus_port is not None and meter_provider is not None:
        raise ConfigurationError(
            "prometheus_port reads from a meter provider of its own, so meter_provider cannot be "
            "given with it; leave one out, or give your provider a PrometheusMetricReader"
        )
    try:
        from asterism.observability.telemetry.metrics import Instruments
        from asterism.observability.telemetry.spans import instrument_langchain

        handle = TelemetryHandle()
        if prometheus_port is not None:
            from asterism.observability.telemetry.prometheus import Endpoint

            endpoint = Endpoint(prometheus_host, prometheus_port)
            handle.callback(endpoint.close)
            handle.url, meter_provider = endpoint.url, endpoint.provider
    except ImportError as error:
        raise ConfigurationError(
            f"Telemetry needs a package ({error.name}): pip install 'asterism-agents[otel]'."
        ) from error
    if instrumentor := instrument_langchain(tracer_provider, meter_provider):
        handle.callback(instrumentor.uninstrument)
    if bus is not None:
        instruments = Instruments(meter_provider)
        handle.callback(bus.off, instruments)
        bus.on(None, instruments)
    return handle
