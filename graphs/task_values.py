"""What came of a run, as plain values: for programs that hand it on. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from asterism.core.decision import RunPlan, VisitNext, load_decision
from asterism.core.interrupts import PendingRequest
from asterism.core.state import Report
from asterism.core.values import as_dict, as_list
from asterism.errors import (
    ConfigurationError,
    InvalidRequestError,
    TaskFailedError,
    WorkflowBuildError,
)
from asterism.limits.failure_policies import can_pass, is_api_error
from asterism.nodes.request import failure_texts
from asterism.nodes.routing import SUPERVISOR


def task_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Put the state of a workflow into plain values.

    Args:
        values: The state, and under `pending` its open requests.
    """
    pending: Sequence[PendingRequest] = values.get("pending") or ()
    structured = values.get("structured_response")
    content: Any = values["messages"][-1].text
    if pending:
        content = pending[0].prompt
    elif structured is not None:
        content = structured.model_dump(mode="json") if _is_model(structured) else structured
    reports: Sequence[Report] = values.get("reports") or ()
    return {
        "content": content,
        "status": values["status"],
        "reason": values.get("reason"),
        "metadata": {
            "iterations": values.get("iterations"),
            "agents": list(dict.fromkeys(report["participant"] for report in reports)),
            "failed": {
                report["participant"]: report.get("error", report["status"])
                for report in reports
                if report["status"] != "ok"
            },
        },
        "pending": [
            {
                "id": request.id,
                "participant": request.participant,
                "prompt": request.prompt,
                "schema": request.schema,
            }
            for request in pending
        ],
    }


def failure_of(values: Mapping[str, Any]) -> str | None:
    """Say why a run came to no result, or return None.

    It failed where it says so, and where everybody who was sent to work has failed.
    """
    if values.get("status") == "failed":
        return str(values.get("reason") or "it failed")
    reports: Sequence[Report] = values.get("reports") or ()
    if values.get("pending") or not reports or any(r["status"] == "ok" for r in reports):
        return None
    return failure_texts(reports)


MISTAKES = (
    AttributeError,
    ImportError,
    ModuleNotFoundError,
    NameError,
    NotImplementedError,
    SyntaxError,
    TypeError,
)
"""Errors of whoever wrote the code: another attempt makes them again."""


def is_worth_retrying(error: Exception) -> bool:
    """Whether another attempt may succeed after an error."""
    refused = (ConfigurationError, InvalidRequestError, WorkflowBuildError)
    if isinstance(error, (*refused, *MISTAKES)):
        return False
    if isinstance(error, TaskFailedError) and error.decision == "not_retried":
        return False
    return can_pass(error) or not is_api_error(error)


def is_mistake(values: Mapping[str, Any]) -> bool:
    """Whether a run came to nothing because of a mistake in somebody's code alone."""
    names = {kind.__name__ for kind in MISTAKES}
    reports: Sequence[Report] = values.get("reports") or ()
    failed = [report.get("error", "").partition(":")[0] for report in reports]
    return bool(failed) and names.issuperset(failed)


def iter_interactions(update: object) -> Iterator[tuple[str, str, str]]:
    """Yield who says what to whom in an update of a run: sender, recipient, words."""
    for node, change in as_dict(update).items():
        found = as_dict(change)
        match load_decision(found.get("decision")) if node == SUPERVISOR else None:
            case VisitNext(next_agent=name, instruction=instruction):
                yield SUPERVISOR, name, instruction or ""
            case RunPlan(tasks=tasks):
                for task in tasks:
                    yield SUPERVISOR, task["agent_id"], task["task_description"]
            case _:
                pass
        reports = as_list(found.get("reports"))
        for report in filter(None, map(as_dict, reports)):  # no report: an Overwrite, or None
            yield report["participant"], SUPERVISOR, report["text"] or report.get("error", "")


def _is_model(value: object) -> bool:
    return isinstance(value, BaseModel)
