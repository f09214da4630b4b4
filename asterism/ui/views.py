"""What the page is shown of a stored run, as plain JSON. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage
from langgraph.types import StateSnapshot

from asterism.core.decision import RunPlan, VisitNext, load_decision, work_of
from asterism.ledger import Usage, lines_of
from asterism.nodes.routing import SUPERVISOR
from asterism.nodes.view import facts_of
from asterism.people import PendingRequest
from asterism.plain import as_dict

MESSAGES_SHOWN = 200
"""How many of the latest messages the page gets."""
KINDS = ("report", "decision", "question", "answer", "withdrawn")
_LABELS = {
    "__start__": "Request",
    "supervisor": "The supervisor decides",
    "human": "The supervisor asks you",
    "dispatch": "The supervisor sends a plan to work",
    "undo": "Work is taken back",
    "finish": "The supervisor ends the work",
}


def run_view(values: Mapping[str, Any], participants: Mapping[str, str]) -> dict[str, Any]:
    """Show the state of a run: what was asked, said, reported and spent.

    Args:
        values: Its state.
        participants: Who takes part: id and description.
    """
    messages: list[BaseMessage] = list(values.get("messages") or ())
    decision = load_decision(values.get("decision"))
    visit = decision if isinstance(decision, VisitNext) else None
    return {
        "status": values.get("status"),
        "reason": values.get("reason"),
        "request": next(iter(values.get("brief") or ()), ""),
        "iterations": values.get("iterations") or 0,
        "decision": work_of(visit) or {"next_agent": None, "instruction": None},
        "tasks": decision.tasks if isinstance(decision, RunPlan) else [],
        "usage": _usage(Usage.of(lines_of(values))),
        "participants": [_participant(name, participants[name], values) for name in participants],
        "earlier": max(0, len(messages) - MESSAGES_SHOWN),
        "messages": [said(message) for message in messages[-MESSAGES_SHOWN:]],
        "reports": [_report(report) for report in values.get("reports") or ()],
    }


def said(message: BaseMessage) -> dict[str, Any]:
    """Show a message: who said what, and of what kind it is."""
    facts = facts_of(message)
    return {
        "id": message.id,
        "type": message.type,
        "name": message.name or ("you" if message.type == "human" else "supervisor"),
        "kind": next((kind for kind in KINDS if kind in facts), message.type),
        "text": message.text,
        "calls": [
            {"name": call["name"], "args": call["args"]}
            for call in getattr(message, "tool_calls", ())
        ],
    }


def asked(request: PendingRequest) -> dict[str, Any]:
    """Show an open request; of an approval, also the calls that it is about."""
    calls = as_dict(request.value).get("action_requests") or ()
    found = [{"name": call.get("name"), "args": call.get("args")} for call in map(as_dict, calls)]
    return {**request.as_json(), "calls": found}


def step(snapshot: StateSnapshot, *, branch: bool) -> dict[str, Any]:
    """Show a checkpoint as one step of the history.

    Args:
        snapshot: The state of then.
        branch: Whether the thread as it is now has come by here.
    """
    metadata: Mapping[str, Any] = snapshot.metadata or {}
    return {
        "checkpoint": as_dict(snapshot.config.get("configurable")).get("checkpoint_id"),
        "at": snapshot.created_at,
        "label": _label(snapshot),
        "edited": metadata.get("source") == "update",
        "branch": branch,
        "forks": bool(snapshot.values.get("brief")),
    }


def _label(snapshot: StateSnapshot) -> str:
    values = as_dict(snapshot.values)
    ahead = snapshot.next[0] if snapshot.next else ""
    if not ahead:
        return f"The end: {values['status']}" if values.get("status") else "The end"
    reports = values.get("reports") or ()
    if ahead == SUPERVISOR and reports and values.get("decision"):
        return f"{reports[-1]['participant']} has reported"
    if ahead in _LABELS:
        return _LABELS[ahead]
    names = ", ".join(dict.fromkeys(snapshot.next))
    return f"The supervisor sends {names}" if "iterations" in values else names


def _participant(name: str, description: str, values: Mapping[str, Any]) -> dict[str, Any]:
    reports = [r for r in values.get("reports") or () if r["participant"] == name]
    lines = [entry for report in reports for entry in report.get("usage") or ()]
    return {
        "id": name,
        "description": description,
        "visits": len(reports),
        "status": reports[-1]["status"] if reports else None,
        "usage": _usage(Usage.of(lines)),
    }


def _report(report: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("id", "participant", "round", "status", "text", "attempts", "task", "error")
    shown = {key: report[key] for key in kept if key in report}
    files: Sequence[Mapping[str, str]] = report.get("files") or ()
    usage = _usage(Usage.of(report.get("usage") or ()))
    return {**shown, "usage": usage, "files": [dict(file) for file in files]}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "calls": usage.calls,
        "tokens": usage.tokens,
        "estimated_tokens": usage.estimated_tokens,
        "cache_hit_rate": round(usage.cache_hit_rate, 4),
        "seconds": round(usage.seconds, 3),
        "cost_usd": str(usage.cost_usd),
        "unknown": sorted(usage.unknown),
    }
