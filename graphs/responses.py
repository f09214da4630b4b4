"""What an orchestrator answers: the words, how it stands, what it took."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.types import StateSnapshot

from asterism.core.interrupts import PendingRequest
from asterism.core.state import Report, Status
from asterism.core.sync_async import Call, Steps
from asterism.core.usage import Usage, lines_of, total_cost_breakdown
from asterism.nodes.engine_keys import participant_config
from asterism.nodes.report import messages_since
from asterism.nodes.team import Team


@dataclass(frozen=True, kw_only=True)
class ToolOutput:
    """What a tool returned to an agent."""

    agent_id: str
    tool: str
    output: str
    ok: bool


@dataclass(frozen=True, kw_only=True)
class OrchestratorResponse:
    """What came of a request."""

    content: str
    """The answer to the user, or the question that is open."""
    status: Status
    """How the run stands."""
    reports: Sequence[Report]
    """What came of each task."""
    pending: Sequence[PendingRequest]
    """What waits for a person: answer with `aresume(orchestrator.graph, config, answers)`."""
    tool_outputs: Sequence[ToolOutput]
    """What the agents' tools returned, in the order of the reports."""
    usage: Usage
    """What the request took so far."""
    total_cost_breakdown: Mapping[str, Decimal]
    """What it has cost in US cents, by part; see `asterism.total_cost_breakdown`."""
    config: RunnableConfig
    """The thread."""

    @property
    def total_tokens(self) -> int:
        """Input and output tokens of all model calls."""
        return self.usage.tokens

    @property
    def cost_in_cents(self) -> Decimal:
        """US cents, of what has a known price."""
        return self.usage.cost_in_cents


def build_response(
    values: Mapping[str, Any],
    pending: Sequence[PendingRequest],
    outputs: Sequence[ToolOutput],
    config: RunnableConfig,
) -> OrchestratorResponse:
    """Make the response of a result."""
    return OrchestratorResponse(
        content=pending[0].prompt if pending else values["messages"][-1].text,
        status=values["status"],
        reports=values["reports"],
        pending=pending,
        tool_outputs=outputs,
        usage=Usage.of(lines_of(values)),
        total_cost_breakdown=total_cost_breakdown(values),
        config=config,
    )


def tool_outputs(
    values: Mapping[str, Any], team: Team, config: RunnableConfig, saver: Any
) -> Steps[list[ToolOutput]]:
    """Read what tools returned from the histories of the agents."""
    outputs: list[ToolOutput] = []
    histories: dict[str, Sequence[Any]] = {}
    for report in values["reports"]:
        name = report["participant"]
        member = team.member(name, values)
        if member is None:
            continue
        if name not in histories:
            read = (member.graph.get_state, member.graph.aget_state)
            found: StateSnapshot = yield Call(*read, (participant_config(config, saver, name),))
            histories[name] = found.values.get("messages") or ()
        for message in messages_since(histories[name], report["id"]):
            if message.type == "human":
                break  # the next visit
            if isinstance(message, ToolMessage):
                outputs.append(
                    ToolOutput(
                        agent_id=name,
                        tool=message.name or "",
                        output=message.text,
                        ok=message.status != "error",
                    )
                )
    return outputs
