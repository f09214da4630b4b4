"""The page that Prometheus reads the metrics from."""

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, start_http_server


class Endpoint:
    """Serves the metrics of a meter provider of its own over HTTP.

    Raises:
        OSError: The port is taken.
    """

    def __init__(self, host: str, port: int) -> None:
        registry = CollectorRegistry()
        self._server, self._thread = start_http_server(port, host, registry)
        self.provider = MeterProvider([PrometheusMetricReader(registry=registry)])
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_port}/metrics"

    def close(self) -> None:
        """Stop to serve."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self.provider.shutdown()
