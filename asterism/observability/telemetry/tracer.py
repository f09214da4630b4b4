"""`Tracer`: spans of one's own around runs, sent where OpenTelemetry's go.

Open it to change where spans are exported to.
Tests: tests/asterism/observability/telemetry/test_tracer.py.
"""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from asterism.errors import ConfigurationError
from asterism.observability.telemetry.instrument import TelemetryHandle, instrument

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider


class Tracer:
    """Opens spans; runs within one are part of it once `instrument` is called.

    Example:
        ```python
        tracer = Tracer(service_name="trips", endpoint="http://localhost:4318/v1/traces")
        tracer.instrument()
        with tracer.span("complex_task"):
            workflow.invoke(request)
        ```

    Args:
        service_name: What the process is called in traces.
        endpoint: The URL that takes spans by OTLP over HTTP. None: the spans go to the provider
            that is given, or to the global one of OpenTelemetry.
        tracer_provider: Takes the spans instead; it has a name and exporters of its own.

    Raises:
        ConfigurationError: A package is missing, or the endpoint takes no OTLP.
    """

    def __init__(
        self,
        service_name: str = "asterism",
        endpoint: str | None = None,
        *,
        tracer_provider: "TracerProvider | None" = None,
    ) -> None:
        if endpoint is not None and tracer_provider is not None:
            raise ConfigurationError("give an endpoint or a tracer_provider, not both")
        self.service_name, self.endpoint = service_name, endpoint
        self._handle: TelemetryHandle | None = None
        try:
            from opentelemetry import trace

            self.provider: Any = tracer_provider or trace.get_tracer_provider()
            """The provider of the spans."""
            if endpoint is not None:
                self.provider = _create_provider(service_name, _check_endpoint(endpoint))
        except ImportError as error:
            raise ConfigurationError(
                f"A Tracer needs a package ({error.name}): pip install 'asterism-agents[otel]' "
                "opentelemetry-exporter-otlp-proto-http."
            ) from error
        self._tracer = self.provider.get_tracer("asterism")

    def span(self, name: str, **attributes: Any) -> "AbstractContextManager[Span]":
        """Open a span for a `with` block; an error in it is recorded and goes on.

        Args:
            name: Its name.
            **attributes: What else it says.
        """
        opened: AbstractContextManager[Span] = self._tracer.start_as_current_span(
            name, attributes=attributes
        )
        return opened

    def instrument(self) -> None:
        """Turn on the spans of all workflows in this process, if nobody has; see `instrument`."""
        if self._handle is None:
            self._handle = instrument(tracer_provider=self.provider)

    def close(self) -> None:
        """Send what is left, and turn off what `instrument` has turned on."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None
        if self.endpoint is not None:
            self.provider.shutdown()


def _check_endpoint(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigurationError(
            f"endpoint is {endpoint!r}; allowed: a URL such as http://localhost:4318/v1/traces"
        )
    if parts.path.rstrip("/") == "/api/traces":
        raise ConfigurationError(
            f"endpoint is {endpoint!r}, which takes Jaeger's own format; OpenTelemetry sends OTLP. "
            f"Jaeger takes that at {parts.scheme}://{parts.hostname}:4318/v1/traces. "
            "docs/names.md has more."
        )
    return endpoint


def _create_provider(service_name: str, endpoint: str) -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": service_name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    return provider
