"""An orchestrator of subagents, as its users write it: tasks, outputs, costs and pictures."""

import asyncio
import json
from typing import Any

import pytest
from pydantic import BaseModel

from asterism import (
    Agent,
    AgentOrchestrator,
    ExecutionMode,
    SubAgentTask,
    generate_detailed_tool_trace,
    generate_orchestrator_flowchart,
    memory,
)
from asterism.errors import ConfigurationError, InvalidRequestError, WorkflowBuildError
from asterism.testing import ScriptedChatModel, ScriptedReply


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def task(agent_id: str, **fields: Any) -> SubAgentTask:
    return SubAgentTask.model_validate(
        {"agent_id": agent_id, "task_description": f"Do what {agent_id} does", **fields}
    )


def plan(*tasks: Any, **more: Any) -> ScriptedReply:
    decided = {"next_agent": None, "tasks": [t.model_dump(mode="json") for t in tasks], **more}
    return ScriptedReply(text=json.dumps(decided))


def says(text: str) -> Agent:
    return Agent(agent_id=text, model=ScriptedChatModel(script=[text] * 3), system_prompt=text)


def orchestrator(*agents: Agent, script: Any = ()) -> AgentOrchestrator:
    main = Agent(agent_id="main", model=ScriptedChatModel(script=list(script)), decisions="json")
    found = AgentOrchestrator(main, [add])
    for agent in agents:
        found.register_subagent(agent)
    return found


ADDER = [ScriptedReply(tool_calls=[("add", {"a": 2, "b": 3})]), "5"]


def adder() -> Agent:
    model = ScriptedChatModel(script=ADDER)
    return Agent(agent_id="adder", model=model, system_prompt="Add.", tools=["add"])


# ---- tasks


def test_a_task_without_a_name_has_that_of_its_agent() -> None:
    made = SubAgentTask(
        agent_id="a", task_description="Go", execution_mode=ExecutionMode.SEQUENTIAL
    )
    assert (made.task_id, task("a", task_id="1").task_id) == ("a", "1")
    assert "task_id" in SubAgentTask.model_json_schema()["required"]


async def test_a_plan_may_name_agents_in_its_dependencies() -> None:
    tasks = [task("a", task_id="1"), task("b", task_id="2", dependencies=["a"])]
    script = [plan(*tasks), ScriptedReply(text='{"next_agent": null}'), "done"]
    response = await orchestrator(says("a"), says("b"), script=script).process("Go")
    assert [report["participant"] for report in response.reports] == ["a", "b"]


async def test_tasks_of_ones_own_need_no_model_that_plans() -> None:
    team = orchestrator(says("a"), says("b"))
    response = await team.process_tasks([task("b", dependencies=["a"]), task("a")])
    assert (response.status, response.content) == ("completed", "b")
    assert [report["participant"] for report in response.reports] == ["a", "b"]


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ([], "there is no task in it"),
        ([task("c")], "goes to 'c', who does not take part"),
        ([task("a"), task("a")], "stands 2 times in the plan"),
        ([task("a", dependencies=["c"])], "depends on 'c', which is not in the plan"),
        (
            [task("a", task_id="1"), task("a", task_id="2"), task("b", dependencies=["a"])],
            "depends on 'a', which is not in the plan",
        ),
    ],
    ids=["none", "a stranger", "twice", "an unknown need", "an ambiguous need"],
)
async def test_what_is_no_plan_is_refused(tasks: Any, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        await orchestrator(says("a"), says("b")).process_tasks(tasks)


# ---- what comes back


async def test_outputs_are_mappings_with_the_plan_and_its_result() -> None:
    response = await orchestrator(adder()).process_tasks([task("adder")])
    planned, tool = response.tool_outputs
    assert (planned["name"], planned.get("ok")) == ("delegate_to_subagents", True)
    assert planned["result"]["tasks"][0]["result"] == "5"
    assert planned["result"]["agents_created"] == []
    assert planned["result"]["total_cost_breakdown"] == response.total_cost_breakdown
    assert (tool["name"], tool["agent_id"], tool["result"]) == ("add", "adder", 5)
    assert json.loads(json.dumps(response.tool_outputs))[1]["output"] == "5"


async def test_the_tools_of_created_agents_are_among_the_outputs() -> None:
    model = ScriptedChatModel(script=ADDER)
    maker = {"agent_id": "maker", "system_prompt": "Add.", "tools": ["add"]}
    first = plan(task("maker"), subagents=[maker])
    script = [first, ScriptedReply(text='{"next_agent": null}'), "done"]
    main = Agent(agent_id="main", model=ScriptedChatModel(script=script), decisions="json")
    response = await AgentOrchestrator(main, [add], subagent_model=model).process("2 + 3")
    assert [output.tool for output in response.tool_outputs] == ["plan_and_create_subagents", "add"]
    assert response.tool_outputs[0]["result"]["agents_created"] == ["maker"]


async def test_costs_are_json_numbers_by_part() -> None:
    response = await orchestrator(says("a")).process_tasks([task("a")])
    assert set(response.total_cost_breakdown) == {
        "planning_cost_in_cents",
        "subagent_costs_in_cents",
        "tool_costs_in_cents",
        "total_cost_in_cents",
    }
    assert json.loads(json.dumps(response.total_cost_breakdown))["total_cost_in_cents"] == 0


@pytest.mark.parametrize("draw", [generate_orchestrator_flowchart, generate_detailed_tool_trace])
async def test_a_response_and_its_outputs_are_drawn(draw: Any) -> None:
    team = orchestrator(adder())
    response = await team.process_tasks([task("adder")])
    picture = draw(team.graph, response.config)
    assert "adder" in picture
    assert draw(response) == draw(response.tool_outputs) == picture
    with pytest.raises(ConfigurationError, match="or its tool_outputs"):
        draw(list(response.tool_outputs))


async def test_a_flowchart_of_plans_ends_with_a_summary() -> None:
    tasks = [task("adder"), task("a", dependencies=["adder"], execution_mode="sequential")]
    response = await orchestrator(adder(), says("a")).process_tasks(tasks)
    assert generate_orchestrator_flowchart(response).splitlines()[-5:] == [
        "Summary:",
        "─" * 40,
        "Total Subagents Created: 0",
        "Total Tool Calls: 1",
        "Execution Mode(s): parallel, sequential",
    ]


# ---- agents that are created, without a key


async def web_search_tool(query: str) -> str:
    return f"Search results for: {query}"


async def summarize_tool(text: str) -> str:
    return f"Summary: {text[:100]}..."


class ToolInput(BaseModel):
    query: str


async def expensive_api_tool(input: ToolInput) -> dict[str, Any]:
    """Call an expensive API."""
    return {"result": input.query.upper(), "cost_in_cents": 0.35}


QUESTION = "Research the latest developments in quantum computing and provide a summary"


@pytest.mark.parametrize("designer", [None, "offline"], ids=["itself", "a designer"])
@pytest.mark.parametrize("planning", ["structured", "tools"])
async def test_the_offline_model_creates_an_agent_for_each_tool(
    designer: str | None, planning: Any
) -> None:
    team = AgentOrchestrator(
        main_agent=Agent(agent_id="main_orchestrator", provider="offline", model="offline"),
        available_tools=[web_search_tool, summarize_tool],
        subagent_provider="offline",
        subagent_model="offline",
        subagent_designer_model=designer,
        planning=planning,
    )
    response = await team.process([{"role": "user", "content": QUESTION}])
    assert response.status == "completed"
    planned, search, summary = response.tool_outputs
    assert planned["name"] == "plan_and_create_subagents"
    assert planned["result"]["agents_created"] == ["web_search_agent", "summarize_agent"]
    assert search["output"] == f"Search results for: {QUESTION}"
    assert summary["output"] == f"Summary: {search['output'][:100]}..."
    assert summary["output"] in response.content
    assert "Total Subagents Created: 2" in generate_orchestrator_flowchart(response.tool_outputs)
    again = await team.process("Research the history of quantum computing")
    assert "history of quantum computing" in again.content
    assert team.graph.get_state(again.config).values["agents"].keys() == {
        "web_search_agent",
        "summarize_agent",
    }


async def test_the_offline_model_fills_in_a_tool_with_a_model_and_its_cost_counts() -> None:
    main = Agent(agent_id="main", model="offline")
    team = AgentOrchestrator(main, [expensive_api_tool], subagent_model="offline")
    response = await team.process("Find a hall")
    assert response.tool_outputs[1]["result"] == {"result": "FIND A HALL", "cost_in_cents": 0.35}
    assert response.total_cost_breakdown["tool_costs_in_cents"] == 0.35
    assert float(response.cost_in_cents) == 0.35


async def test_the_offline_model_asks_the_user_for_what_no_agent_of_a_plan_knows() -> None:
    def execute_python(code: str) -> str:
        return f"ran {code}"

    async def sql_query(question: str) -> str:
        return f"rows for {question}"

    main = Agent(agent_id="main", model="offline")
    team = AgentOrchestrator(main, [execute_python, sql_query], subagent_model="offline")
    response = await team.process("Analyze the batting of each team")
    assert response.status == "waiting"
    assert response.content == "What is the code?"
    assert "rows for Analyze the batting of each team" in str(response.tool_outputs)


async def test_many_tools_make_eight_agents_at_most() -> None:
    def named(name: str) -> Any:
        def tool(query: str) -> str:
            return name

        tool.__name__ = name
        return tool

    tools = [named(f"look_{letter}_up") for letter in "abcdefghijklmnopqrstuvwxyz"]
    main = Agent(agent_id="main", model="offline")
    response = await AgentOrchestrator(main, tools, subagent_model="offline").process("Research X")
    assert (response.status, len(response.reports)) == ("completed", 8)


async def test_without_tools_nobody_is_created() -> None:
    team = AgentOrchestrator(Agent(agent_id="main", model="offline"), dynamic=True)
    assert "There is no tool" in (await team.process("Find a hall")).content


async def test_the_offline_model_gives_sums_to_a_calculator() -> None:
    def calculator_tool(expression: str) -> str:
        return {"15 * 7": "105"}[expression]

    def text_processor_tool(text: str) -> str:
        return str(len(text.split()))

    team = AgentOrchestrator(Agent(agent_id="main", model="offline"))
    for tool in (calculator_tool, text_processor_tool):
        name = tool.__name__.removesuffix("_tool")
        team.register_subagent(
            Agent(agent_id=name, model="offline", system_prompt=name, tools=[tool])
        )
    asked = "Please calculate 15 * 7 and count the words in 'Hello world'"
    response = await team.process([{"role": "user", "content": asked}])
    assert [report["text"] for report in response.reports] == ["105", "2"]


@pytest.mark.parametrize("role", ["subagent", "subagent_designer"])
def test_a_provider_without_a_model_is_refused(role: str) -> None:
    given: Any = {f"{role}_provider": "anthropic"}
    with pytest.raises(WorkflowBuildError, match=f"and there is no {role}_model; give both"):
        AgentOrchestrator(Agent(agent_id="main", model="offline"), **given)


def test_a_name_with_spaces_is_refused_with_one_that_may_be() -> None:
    with pytest.raises(ValueError, match="as in 'Team_Batting_Analysis_Agent'"):
        Agent(agent_id="Team Batting Analysis Agent", model="offline")


# ---- memory


async def remembered(team: AgentOrchestrator) -> int:
    place: Any = {"configurable": {"thread_id": team.thread_id}}
    return len(await memory(team.graph, place, "a").amessages())


@pytest.mark.parametrize("whose", ["agent", "orchestrator", "all"])
@pytest.mark.parametrize("awaited", [True, False], ids=["awaited", "not awaited"])
def test_memory_is_cleared_whether_awaited_or_not(whose: str, awaited: bool) -> None:
    agent = says("a")
    team = orchestrator(agent)
    asyncio.run(team.process_tasks([task("a")]))
    assert asyncio.run(remembered(team)) > 0

    def clear() -> Any:
        if whose == "agent":
            return agent.clear_memory()
        return team.clear_all_memory() if whose == "all" else team.clear_memory("a")

    async def inside() -> None:
        await clear()

    asyncio.run(inside()) if awaited else clear()
    assert asyncio.run(remembered(team)) == 0


def test_an_agent_that_is_registered_nowhere_has_nothing_to_forget() -> None:
    Agent(agent_id="a", model="offline").clear_memory()
