"""Asterism: a supervisor workflow toolkit on LangGraph."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not Path(__file__).with_name("graphs").is_dir():  # a checkout whose links were stripped
    __path__.append(str(Path(__file__).parents[1]))

if TYPE_CHECKING:
    from asterism.decisions import HumanFeedbackRequest, SupervisorDecision
    from asterism.errors import AsterismError
    from asterism.graphs.builder import SupervisorWorkflowBuilder
    from asterism.graphs.workflow import Workflow
    from asterism.idempotency import idempotency_key
    from asterism.messages import convert_tool_content_to_text
    from asterism.nodes.deciders import create_supervisor_agent
    from asterism.nodes.kinds import Participant
    from asterism.nodes.view import SupervisorView
    from asterism.people import PendingRequest, apending_requests, aresume, pending_requests, resume
    from asterism.runs import aproceed, proceed
    from asterism.storage import aopen_checkpointer, open_checkpointer

__all__ = [
    "AsterismError",
    "HumanFeedbackRequest",
    "Participant",
    "PendingRequest",
    "SupervisorDecision",
    "SupervisorView",
    "SupervisorWorkflowBuilder",
    "Workflow",
    "aopen_checkpointer",
    "apending_requests",
    "aproceed",
    "aresume",
    "convert_tool_content_to_text",
    "create_supervisor_agent",
    "idempotency_key",
    "open_checkpointer",
    "pending_requests",
    "proceed",
    "resume",
]

_HOMES = {
    "AsterismError": "errors",
    "HumanFeedbackRequest": "decisions",
    "Participant": "nodes.kinds",
    "PendingRequest": "people",
    "SupervisorDecision": "decisions",
    "SupervisorView": "nodes.view",
    "SupervisorWorkflowBuilder": "graphs.builder",
    "Workflow": "graphs.workflow",
    "aopen_checkpointer": "storage",
    "apending_requests": "people",
    "aproceed": "runs",
    "aresume": "people",
    "convert_tool_content_to_text": "messages",
    "create_supervisor_agent": "nodes.deciders",
    "idempotency_key": "idempotency",
    "open_checkpointer": "storage",
    "pending_requests": "people",
    "proceed": "runs",
    "resume": "people",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import asterism` stays cheap."""
    if name not in _HOMES:
        raise AttributeError(f"module 'asterism' has no attribute {name!r}")
    value = getattr(import_module(f"asterism.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
