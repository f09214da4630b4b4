"""Spans of one's own around runs; an endpoint that takes no OTLP is refused."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from asterism import SupervisorWorkflowBuilder
from asterism.errors import ConfigurationError
from asterism.observability import Tracer


def test_a_run_within_a_span_is_part_of_it() -> None:
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = Tracer(tracer_provider=provider)
    tracer.instrument()
    try:
        team = SupervisorWorkflowBuilder("Trip", finish="forward").participants(
            venue=lambda messages: "the hall"
        )
        with pytest.warns(UserWarning, match="no description"):
            workflow = team.with_strategy("sequential").build()
        with tracer.span("complex_task", size=3) as span:
            workflow.invoke({"messages": [("user", "Go")]})
    finally:
        tracer.close()
    spans = {one.name: one for one in kept.get_finished_spans()}
    assert dict(spans["complex_task"].attributes or {}) == {"size": 3}
    inside = [one for one in spans.values() if one.parent and one.name != "complex_task"]
    assert inside
    assert {one.context.trace_id for one in spans.values()} == {span.get_span_context().trace_id}


def test_a_service_has_a_name_and_an_endpoint() -> None:
    tracer = Tracer(service_name="trips", endpoint="http://127.0.0.1:9/v1/traces")
    assert tracer.provider.resource.attributes["service.name"] == "trips"
    tracer.close()


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ("http://jaeger:14268/api/traces", "Jaeger takes that at http://jaeger:4318/v1/traces"),
        ("jaeger:4318", "allowed: a URL such as http://localhost:4318/v1/traces"),
    ],
)
def test_an_endpoint_that_takes_no_otlp_is_refused(endpoint: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Tracer(service_name="trips", endpoint=endpoint)
    with pytest.raises(ConfigurationError, match="not both"):
        Tracer(endpoint=endpoint, tracer_provider=TracerProvider())
