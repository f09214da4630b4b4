"""What an orchestrator answers: the words, how it stands, what it took."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.types import StateSnapshot

from asterism.core.continuation import Graph
from asterism.core.interrupts import PendingRequest
from asterism.core.mappings import JsonRecord
from asterism.core.state import Report, Status
from asterism.core.sync_async import Call, Steps
from asterism.core.usage import Usage, lines_of, total_cost_breakdown
from asterism.core.values import as_dict
from asterism.nodes.engine_keys import participant_config
from asterism.nodes.report import messages_since
from asterism.nodes.team import Team
from asterism.observability.render.drawings import Drawable

PLANNED, DELEGATED = "plan_and_create_subagents", "delegate_to_subagents"


@dataclass(frozen=True, kw_only=True)
class ToolOutput(JsonRecord):
    """What a tool returned to an agent, or what came of a plan; a mapping too."""

    agent_id: str
    tool: str
    """The tool; of a plan `plan_and_create_subagents`, or `delegate_to_subagents`."""
    output: str
    ok: bool
    result: Any = None
    """The output as plain values: of JSON what it says; of a plan its `tasks`, the
    `agents_created`, and the `total_cost_breakdown` of the request."""

    ALSO: ClassVar = ("name",)

    @property
    def name(self) -> str:
        """The tool."""
        return self.tool

    @property
    def planned(self) -> bool:
        """Whether it is a plan, not a tool of an agent."""
        return self.tool in (PLANNED, DELEGATED)


class ToolOutputs(list[ToolOutput], Drawable):
    """What tools returned; a picture can be drawn of it."""

    def __init__(self, outputs: Iterable[ToolOutput], graph: Graph, config: RunnableConfig) -> None:
        super().__init__(outputs)
        self.graph, self.config = graph, config


@dataclass(frozen=True, kw_only=True)
class OrchestratorResponse(Drawable):
    """What came of a request."""

    content: str
    """The answer to the user, or the question that is open."""
    status: Status
    """How the run stands."""
    reports: Sequence[Report]
    """What came of each task."""
    pending: Sequence[PendingRequest]
    """What waits for a person: answer with `aresume(orchestrator.graph, config, answers)`."""
    tool_outputs: ToolOutputs
    """What came of each plan, and what the agents' tools returned, in the order of the reports."""
    usage: Usage
    """What the request took so far."""
    total_cost_breakdown: Mapping[str, float]
    """What it has cost in US cents, by part; see `asterism.total_cost_breakdown`."""
    config: RunnableConfig
    """The thread."""
    graph: Graph = field(repr=False, compare=False)
    """The workflow."""

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
    outputs: ToolOutputs,
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
        config=outputs.config,
        graph=outputs.graph,
    )


def plan_output(values: Mapping[str, Any], round: int, main: str) -> ToolOutput:
    """Return what came of the plan of a round."""
    reports: list[Report] = [r for r in values["reports"] if r["round"] == round]
    made = as_dict(values.get("agents"))
    created = [name for name in dict.fromkeys(r["participant"] for r in reports) if name in made]
    tasks = [
        {
            "task_id": report.get("task", report["participant"]),
            "agent_id": report["participant"],
            "status": report["status"],
            "result": report["text"] or report.get("error", ""),
        }
        for report in reports
    ]
    return ToolOutput(
        agent_id=main,
        tool=PLANNED if created else DELEGATED,
        output="\n".join(f"{task['agent_id']}: {task['result']}" for task in tasks),
        ok=all(report["status"] == "ok" for report in reports),
        result={
            "tasks": tasks,
            "agents_created": created,
            "total_cost_breakdown": total_cost_breakdown(values),
        },
    )


def tool_outputs(
    values: Mapping[str, Any], team: Team, config: RunnableConfig, saver: Any, main: str
) -> Steps[list[ToolOutput]]:
    """Read what came of plans, and what tools returned, from the histories of the agents."""
    outputs: list[ToolOutput] = []
    histories: dict[str, Sequence[Any]] = {}
    rounds: set[int] = set()
    for report in values["reports"]:
        name = report["participant"]
        if report["round"] not in rounds:
            rounds.add(report["round"])
            outputs.append(plan_output(values, report["round"], main))
        try:
            member = team.member(name, values)
        except LookupError:  # a created agent wants a tool that is not available any more
            member = None
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
                        result=_plain(message.text),
                    )
                )
    return outputs


def _plain(text: str) -> Any:
    """Return what a text of JSON says, or the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
