"""Routing: the node that a decision leads to, and the visit that it asks for. Pure functions.

Tests: tests/nodes/test_routing.py.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile
from typing import Any

from langchain_core.messages import BaseMessage

from asterism.core.decision import (
    AskUser,
    ContinueStopped,
    FinishRun,
    RaiseLimit,
    RunPlan,
    UndoWork,
    VisitNext,
    load_decision,
)
from asterism.core.history_cache import look_at
from asterism.core.messages import media_in_request
from asterism.core.plan import SubAgentTask
from asterism.core.state import Report, VisitRequest
from asterism.errors import RoutingError
from asterism.nodes.view import message_facts
from asterism.prompts import render

BEGIN, SUPERVISOR, DISPATCH = "begin", "supervisor", "dispatch"
HUMAN, UNDO, FINISH = "human", "undo", "finish"


def route(state: Mapping[str, Any], participants: Collection[str]) -> str:
    """Follow the decision in `state`.

    Args:
        state: The workflow's state; `decision` is read.
        participants: The ids of the live participants.

    Returns:
        The name of the next node. A participant's node reads in the state what it is to do, so a
        request is stored once.

    Raises:
        RoutingError: The decision names nobody who could work. An edited decision gets here
            unchecked, and the engine would end the run without a word.
    """
    match load_decision(state.get("decision")):
        case AskUser() | RaiseLimit():
            return HUMAN
        case ContinueStopped():
            return SUPERVISOR
        case UndoWork():
            return UNDO
        case RunPlan():
            return DISPATCH
        case VisitNext(next_agent=name):
            pass
        case FinishRun() | None:
            return FINISH
    if name not in participants:
        raise RoutingError(
            f"The decision sends {name!r} to work, which is not a participant. "
            f"Allowed: {', '.join(participants)}, or None to finish.",
            said=[str(name)],
        )
    return name


def visit_in(state: Mapping[str, Any], name: str) -> VisitRequest:
    """Return the visit that the decision in `state` asks for."""
    decision = load_decision(state["decision"])
    visit_next = decision if isinstance(decision, VisitNext) else VisitNext(next_agent=name)
    taken = state.get("iterations") or 0
    visit = VisitRequest(
        id=handoff_id(visit_next, latest_reports(state.get("reports") or (), taken)),
        participant=name,
        request=write_request(state.get("brief") or (), visit_next.instruction),
        round=taken,
    )
    if visit_next.resumes:
        visit["resumes"] = True
    if media := request_media(state):
        visit["media"] = media
    return visit


def request_media(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what the user has sent besides text in the messages since the last answer."""
    messages: Sequence[BaseMessage] = state.get("messages") or ()
    if not [m for m in look_at(messages) if m.type == "human" and m.content.__class__ is not str]:
        return []
    asked: list[BaseMessage] = []
    for message in reversed(messages):
        if message.type == "human":
            asked.append(message)
        elif "answer" in message_facts(message):
            break
    return media_in_request(asked[::-1])


def latest_reports(reports: Sequence[Report], taken: int) -> list[Report]:
    """Return the reports on the decision that was taken last, oldest first.

    Args:
        reports: All reports of the thread.
        taken: How many decisions the request has taken.
    """
    newest = takewhile(lambda report: report["round"] == taken, reversed(reports))
    return [*newest][::-1]


def handoff_id(decision: VisitNext | RunPlan, reports: Sequence[Report]) -> str:
    """Name the visit that a decision asks for.

    The same decision gives the same name, however often a run is resumed; a decision that
    was edited, or that has its report already, gives another one. So a report is never
    taken for the answer to something else.

    Args:
        decision: The decision.
        reports: Those on it so far.
    """
    if isinstance(decision, RunPlan):
        words = json.dumps(decision.tasks, sort_keys=True)
    else:
        words = f"{decision.next_agent}\n{decision.instruction}"
    name = _short_hash(f"{decision.handoff_id or ''}\n{words}")
    if any(report["id"] == name for report in reports):
        return f"{name}-{len(reports)}"
    return name


def task_handoff(plan: str, task: SubAgentTask, agent: str) -> str:
    """Name the visit that a task of a plan asks for."""
    return _short_hash(f"{plan}\n{task.model_dump_json(exclude_defaults=True)}\n{agent}")


def _short_hash(words: str) -> str:
    return hashlib.blake2b(words.encode(), digest_size=8).hexdigest()


def write_request(brief: Sequence[str], instruction: str | None) -> str:
    """Write what a participant is sent: the request, what became clear, and its own part."""
    request = "\n\n".join(brief)
    if not instruction:
        return request
    return render("visit", request=request, instruction=instruction)
