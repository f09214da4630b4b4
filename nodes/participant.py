"""The node of a participant: it makes the visit that the supervisor's decision asks for."""

from typing import Any, cast

from langchain_core.runnables import RunnableConfig

from asterism.core.state import VisitRequest
from asterism.core.sync_async import Steps, StepsNode
from asterism.errors import BudgetExceededError
from asterism.nodes.context import workflow_path
from asterism.nodes.members import ParticipantRuntime
from asterism.nodes.policies import AttemptContext
from asterism.nodes.reports import report_message
from asterism.nodes.routing import visit_in
from asterism.nodes.visits import create_visitor


def create_participant_node(member: ParticipantRuntime) -> StepsNode:
    """Create the node that visits a participant."""
    visitor = create_visitor(member)

    def visit(state: Any, config: RunnableConfig) -> Steps[dict[str, Any]]:
        # A thread of an older version may wait for a visit that it was sent.
        sent = member.grant is None and "participant" in state
        visit = cast(VisitRequest, state) if sent else visit_in(state, member.name)
        given: dict[str, Any] = {}
        if member.grant is not None:
            given = visit["given"] = member.grant.state_input(member.name, visit["id"], state)
        this = AttemptContext(config=config, resumes=visit.get("resumes", False))
        try:
            report = yield from visitor(visit, this)
        except BudgetExceededError as error:
            if error.owner != workflow_path(config):
                raise
            return {"breach": error.facts()}
        update: dict[str, Any] = {"reports": [report]}
        if this.attempts.breach is not None:
            update["breach"] = this.attempts.breach
        if member.grant is None:
            return {**update, "messages": [report_message(report)]}
        return {**update, **member.grant.state_update(report, this.turn, given)}

    return StepsNode(visit, name=member.name, graphs=(member.graph,))
