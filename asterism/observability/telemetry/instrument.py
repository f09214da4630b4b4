"""Turning telemetry on and off."""

from typing import TYPE_CHECKING, Any, Self

from asterism.errors import ConfigurationError
from asterism.events import EventBus

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from asterism.observability.telemetry.metrics import Instruments
    from asterism.observability.telemetry.prometheus import Endpoint


class TelemetryHandle:
    """What `instrument` has turned on; `close`, or the end of a `with` block, turns it off."""

    def __init__(
        self,
        *,
        endpoint: "Endpoint | None",
        bus: EventBus | None,
        instruments: "Instruments | None",
        instrumentor: Any,
    ) -> None:
        self._endpoint = endpoint
        self._bus = bus
        self._instruments = instruments
        self._instrumentor = instrumentor

    @property
    def url(self) -> str | None:
        """Where Prometheus finds the metrics, if that was asked for."""
        return None if self._endpoint is None else self._endpoint.url

    def close(self) -> None:
        """Turn off what was turned on; the providers that were given stay open."""
        if self._bus is not None and self._instruments is not None:
            self._bus.off(self._instruments)
        if self._instrumentor is not None:
            self._instrumentor.uninstrument()
        if self._endpoint is not None:
            self._endpoint.close()
        self._bus = self._instrumentor = self._endpoint = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


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

        endpoint = None
        if prometheus_port is not None:
            from asterism.observability.telemetry.prometheus import Endpoint

            endpoint = Endpoint(prometheus_host, prometheus_port)
            meter_provider = endpoint.provider
    except ImportError as error:
        raise ConfigurationError(
            f"Telemetry needs a package ({error.name}): pip install 'asterism-agents[otel]'."
        ) from error
    instruments = None
    if bus is not None:
        instruments = Instruments(meter_provider)
        bus.on(None, instruments)
    instrumentor = instrument_langchain(tracer_provider, meter_provider)
    return TelemetryHandle(
        endpoint=endpoint, bus=bus, instruments=instruments, instrumentor=instrumentor
    )
