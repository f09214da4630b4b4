"""A supervisor that decides who works next: it routes, asks the user, and writes the plan.

Run it: `python examples/supervisor_workflow.py`. It needs no key. Page: docs/concepts.md.
"""

import asyncio
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver

from asterism import (
    SupervisorDecision,
    SupervisorView,
    SupervisorWorkflowBuilder,
    apending_requests,
    aresume,
)
from asterism.graphs.examples.event_planning import create_event_planning

PARTY = "Plan a corporate holiday party for 50 people in Seattle on December 15th"


async def plan_an_event() -> None:
    """The team that is shipped: venue, catering, budget and logistics, with real tools."""
    workflow = create_event_planning("offline").build()
    result = await workflow.run(PARTY)
    for message in result["messages"]:
        if message.name == "supervisor":
            print(message.text.splitlines()[0])  # the decisions stand in the history
    print([report["participant"] for report in result["reports"]])
    print(result["status"])


async def ask_the_user() -> None:
    """What only the user knows is asked for; the answer goes on where the question was."""
    workflow = create_event_planning("offline").build(checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "party"}}
    await workflow.run("Plan a party for 50 people on December 15th", thread)
    (question,) = await apending_requests(workflow, thread)
    print(f"asked: {question.prompt}")
    result = await aresume(workflow, thread, "Seattle")
    print(result["status"])


def rule(view: SupervisorView) -> SupervisorDecision:
    """Decide by a rule instead of a model: everybody once, in the order of the team."""
    done = {report["participant"] for report in view.reports}
    left = [name for name in view.participants if name not in done]
    return SupervisorDecision(next_agent=left[0] if left else None, instruction="Do your part.")


async def build_a_team_of_functions() -> None:
    """Anything can take part: functions, agents, graphs, whole workflows."""

    def venue(messages: list[Any]) -> str:
        """Finds venues."""
        return "Hall A takes 50 people."

    async def budget(messages: list[Any]) -> str:
        """Adds up the costs."""
        return "Hall A costs 2,400 dollars."

    workflow = (
        SupervisorWorkflowBuilder(name="My Workflow", description="Plans parties.")
        .with_participants(venue=venue, budget=budget)
        .with_manager(rule)
        .build()
    )
    result = await workflow.run(PARTY)
    print([report["text"] for report in result["reports"]])


async def main() -> None:
    await plan_an_event()
    await ask_the_user()
    await build_a_team_of_functions()


if __name__ == "__main__":
    asyncio.run(main())
