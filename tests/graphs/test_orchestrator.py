"""The orchestrator: plans by one call, agents from specs, agents that come and go."""

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.tools import tool
from langgraph.checkpoint.base import BaseCheckpointSaver

from asterism import Agent, AgentOrchestrator, aresume
from asterism.core.agent_spec import MemoryConfig
from asterism.errors import UnknownParticipantError, WorkflowBuildError
from asterism.limits.budgets import Budget
from asterism.storage.open import open_checkpointer
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.graphs.test_usage import Priced, prices

Saver = BaseCheckpointSaver[str]


@tool
def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


def given(*tasks: tuple[str, str, list[str]]) -> list[dict[str, Any]]:
    return [
        {
            "task_id": name,
            "agent_id": agent,
            "task_description": f"do {name}",
            "dependencies": needs,
        }
        for name, agent, needs in tasks
    ]


TASKS = given(("a", "reader", []), ("b", "writer", ["a"]))


def scripts(way: str, plan: dict[str, Any], answer: str, tool_name: str) -> list[Any]:
    """What a main agent says: a plan, then the answer."""
    if way == "tools":
        return [ScriptedReply(tool_calls=[(tool_name, plan)]), answer]
    return [plan, {"next_agent": None, "user_input_needed": False, "answer": answer}]


def agent(name: str, *replies: Any, **fields: Any) -> Agent:
    model = ScriptedChatModel(script=list(replies))
    return Agent(agent_id=name, model=model, system_prompt=f"You are the {name}.", **fields)


WAYS = pytest.mark.parametrize("way", ["structured", "tools"])


@WAYS
async def test_a_plan_takes_one_call_and_the_answer_another(way: Any) -> None:
    main = ScriptedChatModel(
        script=scripts(way, {"tasks": TASKS}, "All done.", "delegate_to_subagents")
    )
    orchestrator = AgentOrchestrator(
        Agent(agent_id="main", model=main, system_prompt="Be brief."), planning=way
    )
    orchestrator.register_subagent(agent("reader", "read it"))
    orchestrator.register_subagent(agent("writer", "wrote it"))
    response = await orchestrator.process("Read and write")
    assert (response.content, response.status) == ("All done.", "completed")
    assert [(r["task"], r["text"]) for r in response.reports] == [
        ("a", "read it"), ("b", "wrote it"),
    ]  # fmt: skip
    main.assert_finished()
    system = main.calls[0].messages[0].text
    assert "- reader: You are the reader." in system and "Be brief." in system


@pytest.mark.parametrize(
    ("own", "whole"),
    [("json", None), (None, "json"), ("json", "tool")],
    ids=["spec", "argument", "both"],
)
async def test_plans_are_asked_for_as_the_spec_or_the_orchestrator_says(
    own: Any, whole: Any
) -> None:
    main = ScriptedChatModel(script=scripts("structured", {"tasks": TASKS[:1]}, "Done.", ""))
    orchestrator = AgentOrchestrator(
        Agent(agent_id="main", model=main, decisions=own), decisions=whole
    )
    orchestrator.register_subagent(agent("reader", "read it"))
    assert (await orchestrator.process("Read")).content == "Done."
    assert [call.tools for call in main.calls] == [[], []]
    assert "Answer with one JSON object" in main.calls[0].messages[0].text


@WAYS
async def test_new_agents_are_created_with_tools_by_name(way: Any, saver: Saver) -> None:
    subagents = [{
        "agent_id": "adder", "system_prompt": "Add.", "description": "Adds.", "tools": ["add"],
    }]  # fmt: skip
    plan = {"subagents": subagents, "tasks": given(("sum", "adder", []))}
    main = ScriptedChatModel(script=scripts(way, plan, "It is 5.", "plan_and_create_subagents"))
    worker = ScriptedChatModel(
        script=[ScriptedReply(tool_calls=[("add", {"a": 2, "b": 3})]), "The sum is 5."]
    )
    orchestrator = AgentOrchestrator(
        Agent(agent_id="main", model=main),
        [add],
        subagent_model=worker,
        planning=way,
        checkpointer=saver,
    )
    response = await orchestrator.process("What is 2 + 3?")
    assert response.content == "It is 5."
    assert response.reports[0]["text"] == "The sum is 5."
    state = await orchestrator.graph.aget_state(response.config)
    assert json.loads(json.dumps(state.values["agents"])) == {"adder": subagents[0]}
    main.assert_finished()
    worker.assert_finished()


async def test_a_designer_designs_where_there_is_one() -> None:
    main = ScriptedChatModel(
        script=[
            ScriptedReply(tool_calls=[("plan_and_create_subagents", {"objective": "Add 2, 3"})]),
            "It is 5.",
        ]
    )
    subagents = [{"agent_id": "adder", "system_prompt": "Add.", "description": "Adds.",
                  "tools": []}]  # fmt: skip
    designer = ScriptedChatModel(
        script=[{"subagents": subagents, "tasks": given(("sum", "adder", []))}]
    )
    worker = ScriptedChatModel(script=["5"])
    orchestrator = AgentOrchestrator(
        Agent(agent_id="main", model=main),
        [add],
        subagent_model=worker,
        subagent_designer_model=designer,
        planning="tools",
    )
    response = await orchestrator.process("2 + 3")
    assert (response.content, response.reports[0]["text"]) == ("It is 5.", "5")
    assert designer.calls[0].messages[-1].text == "Add 2, 3"
    for model in (main, designer, worker):
        model.assert_finished()


@pytest.mark.parametrize(
    ("subagents", "fault"),
    [
        ([{"agent_id": "x", "tools": ["rm"]}], "wants the tool 'rm', which is not available; "
         "available are: add"),
        ([{"agent_id": "x", "tools": ["plan_and_create_subagents"]}],
         "created agents may not create agents"),
        ([{"agent_id": "old"}], "there is an agent 'old' already"),
        ([{"agent_id": "human"}], "the name 'human' is reserved"),
        ([{"agent_id": "no good"}], "the name 'no good' is not allowed; use a letter, then"),
        ([{"agent_id": "good\n"}], "the name 'good\\n' is not allowed"),
        ([{"agent_id": f"a{i}"} for i in range(9)], "at most 5 are allowed"),
    ],
    ids=["unknown tool", "recursion", "taken", "reserved", "bad name", "line feed", "too many"],
)  # fmt: skip
async def test_agents_that_may_not_be_are_refused_and_asked_for_again(
    subagents: Any, fault: str
) -> None:
    bad = {"subagents": subagents, "tasks": given(("t", subagents[0]["agent_id"], []))}
    main = ScriptedChatModel(script=[bad, {"next_agent": None, "answer": "No."}])
    orchestrator = AgentOrchestrator(
        Agent(agent_id="main", model=main), [add], dynamic=True, max_agents=5
    )
    orchestrator.register_subagent(agent("old"))
    response = await orchestrator.process("Go")
    assert (response.content, list(response.reports)) == ("No.", [])
    assert fault in main.calls[1].messages[-1].text


async def test_created_agents_survive_a_restart_with_their_history(tmp_path: Path) -> None:
    subagents = [{"agent_id": "helper", "system_prompt": "Help.", "description": "Helps."}]
    url = f"sqlite:///{tmp_path / 'threads.db'}"
    answer = {"next_agent": None, "answer": "ok"}

    def build(saver: Any, plan: Any, *replies: Any) -> tuple[AgentOrchestrator, Any]:
        worker = ScriptedChatModel(script=list(replies))
        main = Agent(agent_id="main", model=ScriptedChatModel(script=[plan, answer]))
        made = AgentOrchestrator(main, subagent_model=worker, checkpointer=saver)
        return made, worker

    with open_checkpointer(url) as saver:
        plan = {"subagents": subagents, "tasks": given(("one", "helper", []))}
        orchestrator, _ = build(saver, plan, "first")
        await orchestrator.process("Start", thread_id="t")
    with open_checkpointer(url) as saver:
        plan = {"tasks": given(("two", "helper", []))}
        orchestrator, worker = build(saver, plan, "second")
        response = await orchestrator.process("Go on", thread_id="t")
    assert response.reports[0]["text"] == "second"
    assert [m.text for m in worker.calls[0].messages][:3] == [
        "Help.", "Start\n\nYour part: do one", "first",
    ]  # fmt: skip


async def test_agents_may_come_and_go_in_the_middle_of_a_request() -> None:
    main = ScriptedChatModel(script=[
        {"tasks": given(("a", "old", []), ("b", "gone", ["a"]))},
        {"tasks": given(("c", "new", []))},
        {"next_agent": None, "answer": "done"},
    ])  # fmt: skip
    orchestrator = AgentOrchestrator(Agent(agent_id="main", model=main), max_retries=0)

    def swap(messages: Any) -> str:
        orchestrator.unregister_subagent("gone")
        orchestrator.register_subagent(agent("new", "here I am"))
        return "swapped"

    orchestrator.register_subagent(agent("old", swap))
    orchestrator.register_subagent(agent("gone"))
    response = await orchestrator.process("Go")
    assert [(r["participant"], r["status"]) for r in response.reports] == [
        ("old", "ok"), ("gone", "failed"), ("new", "ok"),
    ]  # fmt: skip
    assert response.reports[1]["kind"] == "agent_removed"
    assert response.reports[1]["error"] == "'gone' does not take part any more"
    assert set(orchestrator.subagents) == {"old", "new"}


async def test_a_created_agent_asks_a_person(saver: Saver) -> None:
    from langgraph.types import interrupt

    @tool
    def ask(question: str) -> str:
        """Ask the user."""
        return str(interrupt({"prompt": question}))

    subagents = [{"agent_id": "asker", "system_prompt": "Ask.", "description": "Asks.",
                  "tools": ["ask"]}]  # fmt: skip
    main = ScriptedChatModel(script=[
        {"subagents": subagents, "tasks": given(("q", "asker", []))},
        {"next_agent": None, "answer": "done"},
    ])  # fmt: skip
    worker = ScriptedChatModel(
        script=[ScriptedReply(tool_calls=[("ask", {"question": "Red or blue?"})]), "It is red."]
    )
    orchestrator = AgentOrchestrator(
        Agent(agent_id="main", model=main), [ask], subagent_model=worker, checkpointer=saver
    )
    response = await orchestrator.process("Ask")
    assert (response.status, response.content) == ("waiting", "Red or blue?")
    assert response.pending[0].path == "asker"
    result = await aresume(orchestrator.graph, response.config, "red")
    assert result["reports"][0]["text"] == "It is red."
    assert result["status"] == "completed"


async def test_with_leave_a_created_agent_creates_agents_one_level_down() -> None:
    boss = {"agent_id": "boss", "system_prompt": "Lead.", "description": "Leads.",
            "tools": ["plan_and_create_subagents"]}  # fmt: skip
    hand = {"agent_id": "hand", "system_prompt": "Work.", "description": "Works.", "tools": []}
    main = ScriptedChatModel(script=[
        {"subagents": [boss], "tasks": given(("lead", "boss", []))},
        {"next_agent": None, "answer": "done"},
    ])  # fmt: skip
    created = ScriptedChatModel(script=[
        {"subagents": [hand], "tasks": given(("work", "hand", []))},
        "worked",
        {"next_agent": None, "answer": "led"},
    ])  # fmt: skip
    orchestrator = AgentOrchestrator(
        Agent(agent_id="main", model=main), subagent_model=created, allow_recursion=True
    )
    response = await orchestrator.process("Go")
    assert (response.content, response.reports[0]["text"]) == ("done", "led")
    main.assert_finished()
    created.assert_finished()


async def test_memory_can_be_switched_off_cleared_and_summarised() -> None:
    plan = {"tasks": given(("a", "keeps", []), ("b", "forgets", []))}
    answer = {"next_agent": None, "answer": "ok"}
    main = ScriptedChatModel(script=[plan, answer] * 3)
    keeps = agent("keeps", "one", "two", "three")
    forgets = agent("forgets", "one", "two", "three", memory_config={"enabled": False})
    orchestrator = AgentOrchestrator(Agent(agent_id="main", model=main))
    orchestrator.register_subagent(keeps).register_subagent(forgets)
    for _ in range(2):
        await orchestrator.process("Go")
    assert [len(call.messages) for call in keeps.model.calls] == [2, 4]
    assert [len(call.messages) for call in forgets.model.calls] == [2, 2]
    await orchestrator.clear_memory("keeps")
    await orchestrator.clear_all_memory()
    await orchestrator.process("Go")
    assert len(keeps.model.calls[-1].messages) == 2
    with pytest.raises(UnknownParticipantError, match="no 'nobody'; there is keeps, forgets"):
        await orchestrator.clear_memory("nobody")


async def test_a_long_memory_is_summarised() -> None:
    plan = {"tasks": given(("a", "long", []))}
    answer = {"next_agent": None, "answer": "ok"}
    main = ScriptedChatModel(script=[plan, answer] * 3)

    def reply(messages: Any) -> str:
        return "THE SUMMARY" if "You shorten" in messages[0].text else "word " * 300

    memory_config = {"token_threshold": 500, "preserve_last_n_messages": 2}
    spec = agent("long", *[reply] * 5, memory_config=memory_config)
    orchestrator = AgentOrchestrator(Agent(agent_id="main", model=main))
    orchestrator.register_subagent(spec)
    for _ in range(3):
        await orchestrator.process("Go")
    last = spec.model.calls[-1].messages
    assert any("THE SUMMARY" in m.text for m in last)
    assert sum(len(m.text) for m in last) < 3_000


async def test_a_main_agent_with_tools_may_give_itself_tasks() -> None:
    main = ScriptedChatModel(script=[
        {"tasks": given(("sum", "main", []))},
        ScriptedReply(tool_calls=[("add", {"a": 1, "b": 1})]),
        "It is 2.",
        {"next_agent": None, "answer": "2"},
    ])  # fmt: skip
    orchestrator = AgentOrchestrator(Agent(agent_id="main", model=main, tools=["add"]), [add])
    response = await orchestrator.process("1 + 1")
    assert (response.content, response.reports[0]["text"]) == ("2", "It is 2.")


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(WorkflowBuildError, match="the main agent has no model"):
        AgentOrchestrator(Agent(agent_id="main"))
    main = Agent(agent_id="main", model="offline")
    with pytest.raises(WorkflowBuildError, match="max_parallel_tasks is 0; it must be a whole"):
        AgentOrchestrator(main, max_parallel_tasks=0)
    with pytest.raises(WorkflowBuildError, match="max_retries is -1"):
        AgentOrchestrator(main, max_retries=-1)
    wrong: Any = "xml"
    with pytest.raises(WorkflowBuildError, match="decisions is 'xml'; allowed: None, 'tool'"):
        AgentOrchestrator(main, decisions=wrong)
    orchestrator = AgentOrchestrator(main)
    orchestrator.register_subagent(Agent(agent_id="x", system_prompt="X."))
    with pytest.raises(WorkflowBuildError, match="there is an agent 'x' already; say replace=True"):
        orchestrator.register_subagent(Agent(agent_id="x"))
    with pytest.raises(WorkflowBuildError, match="'dispatch' is reserved"):
        orchestrator.register_subagent(Agent(agent_id="dispatch"))
    with pytest.raises(WorkflowBuildError, match="wants the tool 'rm', which is not available"):
        orchestrator.register_subagent(Agent(agent_id="y", tools=["rm"]))
    with pytest.raises(UnknownParticipantError, match="'y' is not registered; there is x"):
        orchestrator.unregister_subagent("y")


def test_a_spec_is_written_and_read_as_json() -> None:
    spec = Agent(agent_id="x", provider="openai", model="gpt-5-mini", system_prompt="X.",
                 tools=["add"], memory_config=MemoryConfig(token_threshold=900))  # fmt: skip
    assert Agent.model_validate_json(spec.model_dump_json()) == spec
    assert spec.model_like() == "openai:gpt-5-mini"


def test_its_graph_is_a_star_of_who_is_registered() -> None:
    orchestrator = AgentOrchestrator(Agent(agent_id="main", model="offline"))
    orchestrator.register_subagent(Agent(agent_id="x", system_prompt="X."))
    nodes = set(orchestrator.graph.get_graph().nodes)
    assert {"supervisor", "dispatch", "x", "human", "finish"} <= nodes


@WAYS
async def test_a_response_tells_what_it_took_and_what_tools_returned(way: Any) -> None:
    plan = {"tasks": given(("sum", "adder", []), ("again", "adder", []))}
    main = Priced(script=scripts(way, plan, "It is 5.", "delegate_to_subagents"))
    worker = Priced(
        script=[
            ScriptedReply(tool_calls=[("add", {"a": 2, "b": 3})], usage=(1_000, 0)),
            ScriptedReply(text="5", usage=(0, 100)),
            ScriptedReply(tool_calls=[("add", {"a": 2, "b": 2})], usage=(1_000, 0)),
            ScriptedReply(text="4", usage=(0, 100)),
        ]
    )
    orchestrator = AgentOrchestrator(
        Agent(agent_id="main", model=main), [add], planning=way, prices=prices()
    )
    orchestrator.register_subagent(
        Agent(agent_id="adder", model=worker, system_prompt="Add.", tools=["add"])
    )
    response = await orchestrator.process("2 + 3")
    outputs = [o for o in response.tool_outputs if not o.planned]
    assert [(o.agent_id, o.tool, o.output, o.ok) for o in outputs] == [
        ("adder", "add", "5", True), ("adder", "add", "4", True),
    ]  # fmt: skip
    breakdown = response.total_cost_breakdown
    assert breakdown["subagent_costs_in_cents"] == 0.4
    assert breakdown["planning_cost_in_cents"] > 0
    assert float(response.cost_in_cents) == breakdown["total_cost_in_cents"]
    assert response.total_tokens > 2_200


async def test_an_orchestrator_keeps_to_a_budget() -> None:
    plan = {"tasks": given(("a", "one", []), ("b", "two", ["a"]))}
    main = Priced(script=[plan])
    orchestrator = AgentOrchestrator(
        Agent(agent_id="main", model=main), budget=Budget(max_calls=2), prices=prices()
    )
    orchestrator.register_subagent(agent("one", "done")).register_subagent(agent("two"))
    response = await orchestrator.process("Go")
    assert (response.status, response.usage.calls) == ("limit", 2)
