"""The node that takes back what was done for a request, latest first."""

import logging
from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphBubbleUp
from langgraph.types import Command, RetryPolicy

from asterism.core.messages import clean_text
from asterism.core.state import Report, VisitRequest
from asterism.core.sync_async import Call, Steps, StepsNode, sync_async_pair
from asterism.core.values import describe_error, log_failure, traceback_of
from asterism.limits.failure_policies import failure_kind
from asterism.nodes.members import ParticipantRuntime
from asterism.nodes.reports import answer_report, failure_report, report_message
from asterism.nodes.retrying import call_with_retry, single_call
from asterism.nodes.routing import SUPERVISOR, UNDO

_log = logging.getLogger(__name__)

NO_RETRY = RetryPolicy(max_attempts=1)


def create_undo_node(members: Mapping[str, ParticipantRuntime]) -> StepsNode:
    """Create the node that undoes what participants report to have done.

    Each of its steps undoes one report and writes that down, so that a crash repeats at most
    the one that was under way. One that cannot be undone is reported, and the rest goes on.
    """

    def undo(state: Any, config: RunnableConfig) -> Steps[Command[Any]]:
        reports: list[Report] = state.get("reports") or []
        done = {report.get("undoes") for report in reports}
        for report in reversed(reports):
            member = members.get(report["participant"])
            undoable = report["status"] == "ok" and not (
                report.get("undoes") or report.get("compensation")
            )
            if member and member.undo and undoable and report["id"] not in done:
                undone = yield from _undo_report(member, report, state.get("iterations") or 0)
                update = {"reports": [undone], "messages": [report_message(undone)]}
                return Command(update=update, goto=UNDO)
        return Command(goto=SUPERVISOR)

    return StepsNode(undo, name=UNDO)


def _undo_report(member: ParticipantRuntime, report: Report, round: int) -> Steps[Report]:
    """Undo what a report tells of, and report that."""
    call = Call(*sync_async_pair(member.undo), (report,))
    policy = next((p for p in member.policies if isinstance(p, RetryPolicy)), NO_RETRY)
    visit = VisitRequest(
        id=f"undo-{report['id']}",
        participant=member.name,
        request=f"Undo: {report['text']}",
        round=round,
    )
    try:
        said = yield from call_with_retry(lambda: single_call(call), policy)
    except GraphBubbleUp:
        raise
    except Exception as error:  # noqa: BLE001 - one that cannot be undone is reported
        log_failure(_log, "the undo of %s failed", member.name, error=error)
        undone = failure_report(visit, failure_kind(error), f"not undone: {describe_error(error)}")
        undone["traceback"] = traceback_of(error)
    else:
        undone = answer_report(visit, clean_text(str(said or f"undone: {report['text']}")))
    undone["undoes"] = report["id"]
    return undone
