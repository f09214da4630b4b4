"""Five runs to draw: `python -m tests.pictures` writes how they look now."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import RetryPolicy, interrupt

from asterism import (
    Agent,
    AgentOrchestrator,
    Participant,
    SupervisorDecision,
    SupervisorView,
    SupervisorWorkflowBuilder,
    aread_run,
    aresume,
    generate_detailed_tool_trace,
    generate_orchestrator_flowchart,
)
from asterism.observability import RunRecord
from asterism.testing import ScriptedChatModel
from tests.plans import plan, task
from tests.teams import follow

FOLDER = Path(__file__).parent / "data" / "golden"
MODEL = "gpt-5-mini"
"""Whose price the scripted replies have."""
Saver = BaseCheckpointSaver[Any]


@tool
def find_venues(city: str, guests: int) -> str:
    """Find venues."""
    return f"The Hall in {city} takes {guests} guests"


@tool
def price_of(item: str) -> dict[str, Any]:
    """Look a price up, which costs money itself."""
    return {"item": item, "price": 40, "cost_in_cents": 2}


@tool
def pay(amount: int) -> str:
    """Pay, if a person agrees."""
    return f"paid {amount}: {interrupt({'prompt': f'Pay {amount} dollars?'})}"


def calling(name: str, **arguments: Any) -> AIMessage:
    """A reply that calls a tool."""
    call = {"name": name, "args": arguments, "id": f"call-{name}"}
    return AIMessage("", tool_calls=[call], response_metadata={"model_name": MODEL})


def saying(text: str) -> AIMessage:
    """A reply of a model with a price."""
    return AIMessage(text, response_metadata={"model_name": MODEL})


def member(*script: Any, tools: Any = (), description: str = "Works.") -> Participant:
    """A participant that follows a script."""
    replies = [saying(said) if isinstance(said, str) else said for said in script]
    model = ScriptedChatModel(script=replies)
    return Participant(model=model, tools=tools, description=description)


def builder(name: str, **participants: Any) -> SupervisorWorkflowBuilder:
    return SupervisorWorkflowBuilder(name, finish="forward").participants(**participants)


async def parallel(saver: Saver) -> RunRecord:
    workflow = (
        builder(
            "Party",
            venue=member(
                calling("find_venues", city="Lisbon", guests=50),
                "The Hall is free on May 4th.",
                tools=[find_venues],
            ),
            food=member(calling("price_of", item="buffet"), "40 a head.", tools=[price_of]),
            music=member("A trio."),
            host=member("The Hall, a buffet and a trio: 2,900 dollars."),
        )
        .with_manager(
            plan(
                task("place", "venue"),
                task("menu", "food"),
                task("band", "music"),
                task("sum", "host", "place", "menu", "band"),
            )
        )
        .build(checkpointer=saver)
    )
    return await ran(workflow, "A party for 50 people in Lisbon")


async def failed_branch(saver: Saver) -> RunRecord:
    def broken(messages: Any) -> str:
        raise ValueError("the catalogue is closed")

    retry = RetryPolicy(max_attempts=2, initial_interval=0.001, jitter=False, retry_on=ValueError)
    catalogue = Participant(runs=broken, description="Reads.", policies=(retry,))
    tasks = (task("read", "reader"), task("look", "eyes"), task("write", "writer", "read"))
    workflow = (
        builder("Report", reader=catalogue, eyes=member("Seen."), writer=member())
        .with_manager(plan(*tasks))
        .build(checkpointer=saver)
    )
    return await ran(workflow, "Report on the catalogue")


async def nested_team(saver: Saver) -> RunRecord:
    cellar = builder(
        "Cellar", wine=member(calling("price_of", item="wine"), "12 a bottle.", tools=[price_of])
    ).with_manager(follow(["wine"]))
    kitchen = builder(
        "Kitchen",
        cook=member("Fish, then cake."),
        cellar=Participant(runs=cellar.build(), description="Knows wines."),
    ).with_manager(follow(["cook", "cellar"]))
    workflow = (
        builder(
            "House",
            kitchen=Participant(runs=kitchen.build(), description="Feeds."),
            rooms=member("Two rooms are free."),
        )
        .with_manager(follow(["kitchen", "rooms"]))
        .build(checkpointer=saver)
    )
    return await ran(workflow, "Dinner for two, and a room")


async def questions(saver: Saver) -> RunRecord:
    decisions = [
        SupervisorDecision(next_agent=None, user_input_needed=True, user_prompt="Which day?"),
        SupervisorDecision(next_agent="bank", instruction="Pay the deposit"),
    ]

    def decide(view: SupervisorView) -> SupervisorDecision:
        return decisions[view.iterations]

    workflow = (
        builder("Booking", bank=member(calling("pay", amount=500), tools=[pay]))
        .with_manager(decide)
        .build(checkpointer=saver)
    )
    config: Any = {"configurable": {"thread_id": "golden"}}
    await workflow.ainvoke({"messages": [("user", "Book the hall")]}, config)
    await aresume(workflow, config, "Friday, May 4th")
    return await aread_run(workflow, config)


async def created_agents(saver: Saver) -> RunRecord:
    spec = {"agent_id": "pricer", "system_prompt": "Price.", "tools": ["price_of"]}
    tasks = [
        {"task_id": name, "agent_id": "pricer", "task_description": f"Price the {name}"}
        for name in ("cake", "tea")
    ]
    main = ScriptedChatModel(
        script=[
            {"subagents": [spec], "tasks": tasks},
            {"next_agent": None, "user_input_needed": False, "answer": "Cake and tea: 80 dollars."},
        ]
    )
    worker = ScriptedChatModel(
        script=[
            calling("price_of", item="cake"), "Cake is 40.",
            calling("price_of", item="tea"), "Tea is 40.",
        ]
    )  # fmt: skip
    orchestrator = AgentOrchestrator(
        Agent(agent_id="main", model=main), [price_of], subagent_model=worker, checkpointer=saver
    )
    return await ran(orchestrator.graph, "What do cake and tea cost?")


async def ran(workflow: Any, request: str) -> RunRecord:
    config: Any = {"configurable": {"thread_id": "golden"}}
    await workflow.ainvoke({"messages": [("user", request)]}, config)
    return await aread_run(workflow, config)


RUNS: Mapping[str, Callable[[Saver], Awaitable[RunRecord]]] = {
    "parallel": parallel,
    "failed_branch": failed_branch,
    "nested_team": nested_team,
    "questions": questions,
    "created_agents": created_agents,
}


def drawings(run: RunRecord) -> dict[str, str]:
    """How a run looks, by the ending of a file; no picture here shows a time."""
    return {
        "flowchart.txt": generate_orchestrator_flowchart(run),
        "flowchart.mmd": generate_orchestrator_flowchart(run, format="mermaid"),
        "tools.txt": generate_detailed_tool_trace(run),
    }


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, made in RUNS.items():

        async def record(made: Any = made) -> RunRecord:
            found: RunRecord = await made(InMemorySaver())
            return found

        for ending, drawn in drawings(asyncio.run(record())).items():
            (FOLDER / f"{name}.{ending}").write_text(drawn)


if __name__ == "__main__":
    main()
