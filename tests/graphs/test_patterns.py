"""How many model calls usual requests take, with a star that is set up for them.

The three scenarios are those of LangChain's comparison of multi-agent patterns.
"""

from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from asterism import (
    Participant,
    SupervisorWorkflowBuilder,
    create_supervisor_agent,
)
from asterism.nodes.deciders.model_decider import describe_participants
from asterism.testing import ScriptedChatModel, ScriptedReply

DONE = {"next_agent": None}
BUY: Any = {"messages": [("user", "Buy milk")]}


@tool
def buy(what: str) -> str:
    """Buy something."""
    return f"{what} is bought"


def visit(name: str) -> dict[str, Any]:
    return {"next_agent": name, "instruction": "Do it"}


def shop(visits: int) -> ScriptedChatModel:
    order = ScriptedReply(tool_calls=[("buy", {"what": "milk"})])
    return ScriptedChatModel(script=[order, "It is bought."] * visits)


def calls(*models: ScriptedChatModel) -> int:
    for model in models:
        model.assert_finished()
    return sum(len(model.calls) for model in models)


def star(
    supervisor: ScriptedChatModel, finish: Any = "forward", once: bool = False, **team: Any
) -> Any:
    builder = SupervisorWorkflowBuilder("Errands", model=supervisor, finish=finish)
    builder = builder.participants(
        **{n: Participant(model=model, tools=[buy], prompt="Do it.") for n, model in team.items()}
    )
    if once:
        block = describe_participants(dict.fromkeys(team, "Does it."))
        builder = builder.with_manager(create_supervisor_agent(supervisor, block, once=True))
    return builder.build(checkpointer=InMemorySaver())


def test_a_single_task_takes_four_calls(thread: RunnableConfig) -> None:
    """Route, two calls of the participant, and the supervisor's look at the report."""
    supervisor, shopper = ScriptedChatModel(script=[visit("shopper"), DONE]), shop(1)
    result = star(supervisor, shopper=shopper).invoke(BUY, thread)
    assert result["messages"][-1].text == "It is bought."
    assert calls(supervisor, shopper) == 4


@pytest.mark.parametrize(("turns", "expected"), [(1, 3), (2, 6)], ids=["one task", "two turns"])
def test_a_task_takes_three_calls_where_nobody_looks_at_the_report(
    turns: int, expected: int, thread: RunnableConfig
) -> None:
    supervisor, shopper = ScriptedChatModel(script=[visit("shopper")] * turns), shop(turns)
    workflow = star(supervisor, once=True, shopper=shopper)
    for _ in range(turns):
        result = workflow.invoke(BUY, thread)
    assert (result["status"], result["messages"][-1].text) == ("completed", "It is bought.")
    assert calls(supervisor, shopper) == expected


@pytest.mark.parametrize("once", [False, True], ids=["as it is", "with an answer written"])
def test_three_domains_at_once_take_five_calls(once: bool, thread: RunnableConfig) -> None:
    """A plan of three tasks; then a look at the reports, or an answer written of them."""
    names = ("python", "rust", "go")
    plan = {"tasks": [{"task_id": n, "agent_id": n, "task_description": "Tell"} for n in names]}
    supervisor = ScriptedChatModel(script=[plan, "All three." if once else DONE])
    models = {name: ScriptedChatModel(script=[f"{name} is fine."]) for name in names}
    finish = "synthesize" if once else "forward"
    workflow = star(supervisor, finish, once, **models)
    result = workflow.invoke({"messages": [("user", "Compare them")]}, thread)
    assert sorted(report["participant"] for report in result["reports"]) == sorted(names)
    assert calls(supervisor, *models.values()) == 5


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_who_decides_once_decides_again_where_something_went_wrong(
    way: str,
) -> None:
    """A failed report is no answer, and neither is one from others than who must answer."""
    supervisor = ScriptedChatModel(script=[visit("python"), visit("rust"), visit("go"), DONE])
    block = "- python: Knows.\n- rust: Knows.\n- go: Knows."
    team: Any = {
        "python": Participant(model=ScriptedChatModel(script=[ValueError("no")]), prompt="Tell."),
        "rust": Participant(model=ScriptedChatModel(script=["Rust."]), prompt="Tell."),
        "go": Participant(model=ScriptedChatModel(script=["Go."]), prompt="Tell."),
    }
    workflow = (
        SupervisorWorkflowBuilder("Ask", model=supervisor, finish="forward", require=["go"])
        .participants(**team)
        .with_manager(create_supervisor_agent(supervisor, block, once=True))
        .build()
    )
    request: Any = {"messages": [("user", "Tell me")]}
    result = workflow.invoke(request) if way == "sync" else await workflow.ainvoke(request)
    assert [r["status"] for r in result["reports"]] == ["failed", "ok", "ok"]
    assert (result["status"], result["messages"][-1].text) == ("completed", "Go.")
    supervisor.assert_finished()
