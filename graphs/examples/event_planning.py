"""Event planning: venue, catering, budget and logistics, each with real tools."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from asterism.core.agent_spec import ModelLike
from asterism.core.defaults import OFFLINE
from asterism.graphs.builder import SupervisorWorkflowBuilder
from asterism.graphs.workflow import Workflow
from asterism.nodes.examples.event_planning import DESCRIPTIONS, TOOLS
from asterism.nodes.participant_spec import Participant
from asterism.prompts import load_prompt

ORDER = ("venue", "catering", "budget", "logistics")
"""Who works before whom, where nothing else is known: the budget needs the first two."""


def create_event_planning(
    model: ModelLike = OFFLINE,
    *,
    tools: Mapping[str, Sequence[Any]] | Sequence[Any] | None = None,
    **options: Any,
) -> SupervisorWorkflowBuilder:
    """Create the builder of the event planning workflow.

    Args:
        model: Decides, plans and writes: a chat model, its name, or `"offline"`.
        tools: Further tools by participant, as those of an MCP server; or a list, for everybody.
        **options: What `SupervisorWorkflowBuilder` takes besides.

    Raises:
        ValueError: `tools` names somebody who does not take part.
    """
    more = tools if isinstance(tools, Mapping) else dict.fromkeys(ORDER, tools or ())
    if strangers := [name for name in more if name not in ORDER]:
        raise ValueError(
            f"tools names {strangers[0]!r}, who does not take part; allowed: {', '.join(ORDER)}"
        )
    team = {
        name: Participant(
            description=DESCRIPTIONS[name],
            prompt=load_prompt(f"event_{name}"),
            tools=[*TOOLS[name], *more.get(name, ())],
        )
        for name in ORDER
    }
    settings: dict[str, Any] = {"prompt": load_prompt("event_planning"), **options}
    return SupervisorWorkflowBuilder(
        "Event planning",
        id="event_planning",
        description="Plans an event: venue, catering, budget and logistics.",
        model=model,
        **settings,
    ).participants(**team)


def build_event_planning_workflow(client: ModelLike = OFFLINE, tools: Any = None) -> Workflow:
    """Build the event planning workflow; `create_event_planning` has more to choose from.

    Args:
        client: Decides, plans and writes: a chat model, its name, or `"offline"`.
        tools: A tool or tools of everybody, or further tools by participant.
    """
    several = isinstance(cast(object, tools), Mapping | Sequence | None)
    return create_event_planning(client, tools=tools if several else [tools]).build()
