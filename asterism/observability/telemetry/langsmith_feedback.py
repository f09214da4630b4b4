"""Feedback at LangSmith: what people answer, recorded with the run that took the answer.

Tests: tests/asterism/observability/telemetry/test_langsmith_feedback.py.
"""

from collections.abc import Callable
from functools import cache
from uuid import UUID

from langsmith import Client
from langsmith.utils import get_tracer_project

from asterism.events import Event, EventBus, WorkflowEvent, WorkflowEventType


def record_answers(
    bus: EventBus, *, client: Client | None = None, project: str | None = None, key: str = "answer"
) -> Callable[[Event], None]:
    """Record the answers of people as feedback to the traces of the runs that they resume.

    Answers are recorded as events tell them: a text, cut where it is long; of an approval, only
    that there was one. A failure to record harms no run; see `EventBus.failures`.

    Args:
        bus: The event bus of the workflows.
        client: The client of LangSmith. None: one of the environment's settings.
        project: The project of the traces. None: that of the environment's settings.
        key: The name of the feedback.

    Returns:
        The handler; `bus.off(handler)` ends it.
    """
    sender = client or Client()

    @cache
    def project_id() -> UUID:
        found: UUID = sender.read_project(project_name=project or get_tracer_project()).id
        return found

    def record(event: Event) -> None:
        if isinstance(event, WorkflowEvent):
            sender.create_feedback(
                key=key,
                trace_id=event.run,
                session_id=project_id(),
                value=event.facts.get("answer"),
                source_info={"request": event.facts.get("request"), "thread": event.source},
            )

    return bus.on(WorkflowEventType.ANSWERED, record)
