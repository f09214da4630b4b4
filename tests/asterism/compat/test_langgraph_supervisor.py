"""What users of langgraph-supervisor rely on, with only the import changed."""

import asyncio
import threading
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedState
from langgraph.runtime import Runtime
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, Send
from pydantic import BaseModel

from asterism import Usage, generate_orchestrator_flowchart, lines_of, read_run, what_if
from asterism.compat.langgraph_supervisor import (
    create_forward_message_tool,
    create_handoff_tool,
    create_supervisor,
)
from asterism.compat.langgraph_supervisor.handoff import METADATA_KEY_HANDOFF_DESTINATION
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.asterism.compat.teams import (
    DONE,
    REQUEST,
    TEXT,
    THREAD,
    agent,
    back,
    hand_over,
    there,
    told,
)

WAY = pytest.mark.parametrize("way", ["sync", "async"])


@tool
def add(a: float, b: float) -> float:
    """Add two numbers."""
    return a + b


@tool
def web_search(query: str) -> str:
    """Search the web."""
    return "Meta 67317, Apple 164000"


SEARCH = ScriptedReply(tool_calls=[("web_search", {"query": "headcount"})])
ADD = ScriptedReply(tool_calls=[("add", {"a": 67317, "b": 164000})])


def office(**options: Any) -> Any:
    """A research expert and a math expert, as in the README."""
    research = agent("research_expert", SEARCH, "Meta has 67317, Apple 164000", tools=[web_search])
    math = agent("math_expert", ADD, "231317", tools=[add])
    model = ScriptedChatModel(
        script=[hand_over("research_expert"), hand_over("math_expert"), "Together 231317."]
    )
    return create_supervisor([research, math], model=model, **options)


def run(app: Any, way: str, request: Any = REQUEST, config: RunnableConfig | None = None) -> Any:
    return (
        app.invoke(request, config) if way == "sync" else asyncio.run(app.ainvoke(request, config))
    )


# ---- the examples of its README


@WAY
def test_two_experts_one_after_the_other(way: str) -> None:
    prompt = "You manage a research expert and a math expert."
    result = run(office(prompt=prompt).compile(), way)
    assert told(result) == [
        "human: What is the combined headcount?",
        *there("research_expert"),
        "research_expert: Meta has 67317, Apple 164000",
        *back("research_expert"),
        *there("math_expert"),
        "math_expert: 231317",
        *back("math_expert"),
        "supervisor: Together 231317.",
    ]
    assert result["status"] == "completed"


@WAY
def test_the_full_history_of_agents(way: str) -> None:
    result = run(office(output_mode="full_history").compile(), way)
    assert told(result)[3:9] == [
        "research_expert: +web_search",
        "<web_search> Meta 67317, Apple 164000",
        "research_expert: Meta has 67317, Apple 164000",
        *back("research_expert"),
        "supervisor: +transfer_to_math_expert",
    ]
    assert len(result["messages"]) == 16


def test_supervisors_of_supervisors(saver: BaseCheckpointSaver[str]) -> None:
    def team(name: str, *agents: Any) -> Any:
        handed = [hand_over(one.name) for one in agents]
        model = ScriptedChatModel(script=[*handed, f"The {name} is done."])
        return create_supervisor(agents, model=model, supervisor_name=f"{name}_supervisor").compile(
            name=name
        )

    research = team("research_team", agent("searcher", "Found."), agent("counter", "Counted."))
    writing = team("writing_team", agent("writer", "Written."))
    top = create_supervisor(
        [research, writing],
        model=ScriptedChatModel(
            script=[hand_over("research_team"), hand_over("writing_team"), "Published."]
        ),
        supervisor_name="chief",
    ).compile(checkpointer=saver, name="chief")
    result = top.invoke(REQUEST, THREAD)
    assert told(result)[1:] == [
        "chief: +transfer_to_research_team",
        f"<transfer_to_research_team> {DONE} to research_team",
        "research_team_supervisor: The research_team is done.",
        *back("research_team", "chief"),
        "chief: +transfer_to_writing_team",
        f"<transfer_to_writing_team> {DONE} to writing_team",
        "writing_team_supervisor: The writing_team is done.",
        *back("writing_team", "chief"),
        "chief: Published.",
    ]


def test_memory_of_both_kinds(saver: BaseCheckpointSaver[str]) -> None:
    store = InMemoryStore()

    @tool
    def remember(what: str, store: Annotated[Any, "injected"] = None) -> str:
        """Remember something."""
        return what

    model = ScriptedChatModel(script=[hand_over("clerk"), "Noted.", hand_over("clerk"), "You did."])
    clerk = ScriptedChatModel(script=["I note it.", "You told me so."])
    app = create_supervisor([create_agent(clerk, [remember], name="clerk")], model=model).compile(
        checkpointer=saver, store=store
    )
    app.invoke({"messages": [("user", "It is blue.")]}, THREAD)
    result = app.invoke({"messages": [("user", "What did I say?")]}, THREAD)
    assert len(result["messages"]) == 14
    seen = [message.text for message in clerk.calls[1].messages]
    assert seen[0] == "It is blue."
    assert "I note it." in seen
    assert seen[-1] == f"{DONE} to clerk"
    other: RunnableConfig = {"configurable": {"thread_id": "other"}}
    assert not app.get_state(other).values
    assert app.store is store


def test_hand_off_tools_of_ones_own() -> None:
    tools = [
        create_handoff_tool(agent_name="math_expert", name="assign_math", description="Do sums"),
        create_handoff_tool(agent_name="research_expert", name="assign_research"),
    ]
    model = ScriptedChatModel(script=[ScriptedReply(tool_calls=[("assign_math", {})]), "Done."])
    app = create_supervisor(
        [agent("research_expert"), agent("math_expert", "2")], tools=tools, model=model
    ).compile()
    assert told(app.invoke(REQUEST))[1:4] == [
        "supervisor: +assign_math",
        f"<assign_math> {DONE} to math_expert",
        "math_expert: 2",
    ]
    assert model.calls[0].tools == ["assign_math", "assign_research"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"add_handoff_messages": False}, ["clerk: Hello", "supervisor: Done."]),
        (
            {"add_handoff_messages": False, "add_handoff_back_messages": True},
            ["clerk: Hello", *back("clerk"), "supervisor: Done."],
        ),
        (
            {"add_handoff_back_messages": False},
            [*there("clerk"), "clerk: Hello", "supervisor: Done."],
        ),
    ],
    ids=["no hand-overs", "only back", "only there"],
)
def test_hand_overs_stand_in_the_history_as_asked(
    options: dict[str, Any], expected: list[str]
) -> None:
    model = ScriptedChatModel(script=[hand_over("clerk"), "Done."])
    app = create_supervisor([agent("clerk", "Hello")], model=model, **options).compile()
    assert told(app.invoke(REQUEST))[1:] == expected


def test_the_tools_have_a_prefix() -> None:
    call = ScriptedReply(tool_calls=[("delegate_to_clerk", {})])
    model = ScriptedChatModel(script=[call, "Done."])
    app = create_supervisor(
        [agent("clerk", "Hello")], model=model, handoff_tool_prefix="delegate_to_"
    ).compile()
    assert told(app.invoke(REQUEST))[2] == f"<delegate_to_clerk> {DONE} to clerk"


def test_an_answer_is_forwarded_as_it_is() -> None:
    forward = ScriptedReply(tool_calls=[("forward_message", {"from_agent": "Clerk"})])
    model = ScriptedChatModel(script=[hand_over("clerk"), forward])
    app = create_supervisor(
        [agent("clerk", "It is 42.")], model=model, tools=[create_forward_message_tool("desk")]
    ).compile()
    result = app.invoke(REQUEST)
    assert told(result)[-3:] == [*back("clerk"), "desk: It is 42."]
    assert result["status"] == "completed"
    assert len(model.calls) == 2  # nobody writes the answer anew


def test_who_has_said_nothing_cannot_be_forwarded() -> None:
    forward = ScriptedReply(tool_calls=[("forward_message", {"from_agent": "clerk"})])
    model = ScriptedChatModel(script=[forward, "Nobody knows."])
    app = create_supervisor(
        [agent("clerk")], model=model, tools=[create_forward_message_tool()]
    ).compile()
    assert told(app.invoke(REQUEST))[-2:] == [
        "<forward_message> There is no message of 'clerk'; there are messages of supervisor.",
        "supervisor: Nobody knows.",
    ]


def test_a_functional_workflow_is_an_agent() -> None:
    model = ScriptedChatModel(script=["Why did the chicken cross the road?"])

    @task
    def joke_about(messages: list[BaseMessage]) -> BaseMessage:
        return model.invoke(messages)

    @entrypoint()
    def joker(state: dict[str, Any]) -> dict[str, Any]:
        joke = joke_about(state["messages"]).result()
        return {"messages": [*state["messages"], joke]}

    joker.name = "joker"
    supervisor = ScriptedChatModel(script=[hand_over("joker"), "There you are."])
    result = create_supervisor([joker], model=supervisor).compile().invoke(REQUEST)
    assert told(result)[3] == "ai: Why did the chicken cross the road?"
    assert model.calls[0].messages[0].text == "What is the combined headcount?"


# ---- hand-offs that users write themselves


def custom_handoff(agent_name: str, name: str) -> Any:
    """A hand-off that passes a task description on, as the README shows."""

    @tool(name, description=f"Ask {agent_name}")
    def hand_off(
        task_description: Annotated[str, "What the agent should do"],
        state: Annotated[dict[str, Any], InjectedState],
        tool_call_id: Annotated[str, InjectedToolCallId],
    ) -> Command[Any]:
        done = ToolMessage(f"{DONE} to {agent_name}", name=name, tool_call_id=tool_call_id)
        return Command(
            goto=agent_name,
            graph=Command.PARENT,
            update={
                "messages": [*state["messages"], done],
                "active_agent": agent_name,
                "task_description": task_description,
            },
        )

    hand_off.metadata = {METADATA_KEY_HANDOFF_DESTINATION: agent_name}
    return hand_off


class Described(MessagesState):
    task_description: str


def test_a_custom_hand_off_passes_a_task_on() -> None:
    given: list[Described] = []

    def work(state: Described) -> dict[str, Any]:
        given.append(state)
        return {"messages": [AIMessage(f"I did: {state['task_description']}", name="clerk")]}

    graph = StateGraph(Described)
    graph.add_node("work", work)
    graph.add_edge(START, "work")
    call = ScriptedReply(tool_calls=[("ask_clerk", {"task_description": "count them"})])
    app = create_supervisor(
        [graph.compile(name="clerk")],
        model=ScriptedChatModel(script=[call, "Done."]),
        tools=[custom_handoff("clerk", "ask_clerk")],
    ).compile()
    result = app.invoke(REQUEST)
    assert told(result)[3] == "clerk: I did: count them"
    assert given[0]["messages"][-1].text == f"{DONE} to clerk"


def test_an_agent_is_sent_a_state_of_its_own() -> None:
    @tool
    def assign(task_description: str, state: Annotated[dict[str, Any], InjectedState]) -> Any:
        """Give a task to the clerk."""
        own = {**state, "messages": [{"role": "user", "content": task_description}]}
        return Command(goto=[Send("clerk", own)], graph=Command.PARENT)

    clerk = ScriptedChatModel(script=["Three.", "Four."])
    calls = [("assign", {"task_description": f"Count the {what}"}) for what in ("cats", "dogs")]
    app = create_supervisor(
        [create_agent(clerk, [], name="clerk")],
        model=ScriptedChatModel(script=[ScriptedReply(tool_calls=calls), "Seven."]),
        tools=[assign],
    ).compile()
    result = app.invoke(REQUEST)
    assert [[m.text for m in call.messages] for call in clerk.calls] == [
        ["Count the cats"],
        ["Count the dogs"],
    ]
    answers = [line for line in told(result) if line.startswith("clerk: ") and "+" not in line]
    assert answers == ["clerk: Three.", "clerk: Four."]
    assert "assign" not in "".join(told(result))  # a call without a result is left out


# ---- what is better


@WAY
def test_all_hand_overs_of_one_message_count_and_run_at_once(way: str) -> None:
    together = threading.Barrier(2, timeout=10)

    def meet(name: str) -> Any:
        def answer(state: MessagesState) -> dict[str, Any]:
            together.wait()  # nobody gets past it alone
            return {"messages": [AIMessage(f"{name} was there", name=name)]}

        graph = StateGraph(MessagesState)
        graph.add_node("answer", answer)
        graph.add_edge(START, "answer")
        return graph.compile(name=name)

    model = ScriptedChatModel(script=[hand_over("ann", "bob", text="Both of you."), "Done."])
    app = create_supervisor([meet("ann"), meet("bob")], model=model).compile()
    result = run(app, way)
    lines = told(result)
    assert lines[1:4] == [
        "supervisor: Both of you. +transfer_to_ann +transfer_to_bob",
        f"<transfer_to_ann> {DONE} to ann",
        f"<transfer_to_bob> {DONE} to bob",
    ]
    assert {"ann: ann was there", "bob: bob was there"} <= set(lines)
    assert sorted(report["task"] for report in result["reports"]) == ["ann", "bob"]


def test_a_tool_and_a_hand_over_in_one_message_both_count() -> None:
    both = ScriptedReply(tool_calls=[("add", {"a": 1, "b": 2}), ("transfer_to_clerk", {})])
    model = ScriptedChatModel(script=[both, "Done."])
    app = create_supervisor([agent("clerk", "Hello")], model=model, tools=[add]).compile()
    assert told(app.invoke(REQUEST))[1:5] == [
        "supervisor: +add +transfer_to_clerk",
        "<add> 3.0",
        f"<transfer_to_clerk> {DONE} to clerk",
        "clerk: Hello",
    ]


def test_an_agent_that_fails_is_a_message_and_the_supervisor_goes_on() -> None:
    broken = agent("broken", ValueError("no power"))
    model = ScriptedChatModel(script=[hand_over("broken"), hand_over("spare"), "The spare did it."])
    app = create_supervisor([broken, agent("spare", "Done")], model=model).compile()
    result = app.invoke(REQUEST)
    assert told(result)[3] == "broken: (ValueError: no power)"
    assert [report["status"] for report in result["reports"]] == ["failed", "ok"]
    assert result["status"] == "completed"


def test_a_name_that_does_not_exist_is_sent_back_to_the_model() -> None:
    model = ScriptedChatModel(script=[hand_over("nobody"), hand_over("clerk"), "Done."])
    app = create_supervisor([agent("clerk", "Hello")], model=model).compile()
    lines = told(app.invoke(REQUEST))
    assert "transfer_to_nobody is not a valid tool" in lines[2]
    assert lines[-1] == "supervisor: Done."


def test_a_limit_ends_a_run_with_what_there_is() -> None:
    model = ScriptedChatModel(script=[hand_over("clerk")] * 3)
    clerk = agent("clerk", "one", "two", "three")
    app = create_supervisor([clerk], model=model, max_iterations=2).compile()
    result = app.invoke(REQUEST)
    assert (result["status"], result["iterations"]) == ("limit", 2)
    assert told(result)[-1] == "supervisor: two"


@pytest.mark.parametrize("parallel", [False, True], ids=["one", "two at once"])
def test_a_turn_that_was_asked_for_is_run_after_a_stop(
    saver: BaseCheckpointSaver[str], parallel: bool
) -> None:
    names = ["clerk", "cook"] if parallel else ["clerk"]
    nodes = ["dispatch"] if parallel else names
    clerk = ScriptedChatModel(script=["one", "two"])
    model = ScriptedChatModel(script=[hand_over(*names), hand_over(*names), "Done."])
    agents = [create_agent(clerk, [], name="clerk"), agent("cook", "soup", "stew")]
    app = create_supervisor(agents, model=model).compile(checkpointer=saver, interrupt_before=nodes)
    app.invoke(REQUEST, THREAD)
    app.invoke(None, THREAD)
    while app.get_state(THREAD).next:
        app.invoke(None, THREAD)
    result = app.get_state(THREAD).values
    assert [r["text"] for r in result["reports"] if r["participant"] == "clerk"] == ["one", "two"]
    assert len(clerk.calls) == 2
    assert told(result)[-1] == "supervisor: Done."


def test_a_past_run_can_be_changed(saver: BaseCheckpointSaver[str]) -> None:
    model = ScriptedChatModel(script=[hand_over("clerk"), "Done.", "Done otherwise."])
    app = create_supervisor([agent("clerk", "Hello"), agent("cook", "Soup")], model=model).compile(
        checkpointer=saver
    )
    app.invoke(REQUEST, THREAD)
    other = what_if(app, THREAD, decision={"next_agent": "cook"}, round=1)
    assert [report["text"] for report in other.result["reports"]] == ["Soup"]
    assert other.result["messages"][-1].text == "Done otherwise."


def test_what_was_used_and_what_ran_is_known(saver: BaseCheckpointSaver[str]) -> None:
    app = office().compile(checkpointer=saver)
    result = app.invoke(REQUEST, THREAD)
    assert Usage.of(lines_of(result)).calls == 7
    picture = generate_orchestrator_flowchart(read_run(app, THREAD))
    assert "research_expert" in picture
    assert "web_search" in picture


# ---- structured answers


class Headcount(BaseModel):
    total: int


@pytest.mark.parametrize(
    "given", [Headcount, ("Only numbers.", Headcount)], ids=["plain", "prompt"]
)
def test_a_structured_answer(given: Any, saver: BaseCheckpointSaver[str]) -> None:
    model = ScriptedChatModel(script=[hand_over("clerk"), "There are 3.", Headcount(total=3)])
    app = create_supervisor([agent("clerk", "3")], model=model, response_format=given).compile(
        checkpointer=saver
    )
    result = app.invoke(REQUEST, THREAD)
    assert result["structured_response"] == Headcount(total=3)
    assert app.get_state(THREAD).values["structured_response"] == Headcount(total=3)
    assert told(result)[-1] == "supervisor: There are 3."
    first = model.calls[-1].messages[0].text
    assert first == ("Only numbers." if isinstance(given, tuple) else TEXT)


def test_a_json_schema_is_answered_by_plain_values() -> None:
    schema = {"title": "Headcount", "type": "object", "properties": {"total": {"type": "integer"}}}
    model = ScriptedChatModel(script=["There are 3.", {"total": 3}])
    app = create_supervisor([agent("clerk")], model=model, response_format=schema).compile()
    assert app.invoke(REQUEST)["structured_response"] == {"total": 3}


# ---- metadata, streams, drawings


def test_metadata_and_context_reach_agents_and_tools() -> None:
    class Context(BaseModel):
        user: str

    seen: list[Any] = []

    def look(state: MessagesState, config: RunnableConfig, runtime: Runtime[Context]) -> Any:
        seen.append((config.get("metadata", {}).get("tenant"), runtime.context))
        return {"messages": [AIMessage("Seen.")]}

    graph: Any = StateGraph(MessagesState, context_schema=Context)
    graph.add_node("look", look)
    graph.add_edge(START, "look")
    model = ScriptedChatModel(script=[hand_over("clerk"), "Done."])
    app = create_supervisor(
        [graph.compile(name="clerk")], model=model, context_schema=Context
    ).compile()
    app.invoke(REQUEST, {"metadata": {"tenant": "blue"}}, context=Context(user="ann"))
    assert seen == [("blue", Context(user="ann"))]


def test_the_agents_are_nodes_with_their_names() -> None:
    app = office().compile()
    nodes = app.get_graph().nodes
    assert {"supervisor", "research_expert", "math_expert"} <= nodes.keys()
    updates = [name for part in app.stream(REQUEST) for name in part]
    assert updates == [
        *("begin", "supervisor", "research_expert", "supervisor", "math_expert", "supervisor"),
        "finish",
    ]


def test_names_with_spaces_are_ids_with_underscores() -> None:
    model = ScriptedChatModel(script=[hand_over("front_desk"), "Done."])
    app = create_supervisor([agent("Front Desk", "Hello")], model=model).compile()
    result = app.invoke(REQUEST)
    assert result["reports"][0]["participant"] == "Front_Desk"
    assert told(result)[2:4] == [
        f"<transfer_to_front_desk> {DONE} to Front Desk",
        "Front Desk: Hello",
    ]


def test_messages_of_the_request_are_kept_as_they_are() -> None:
    first = HumanMessage("Hello", id="1")
    model = ScriptedChatModel(script=["Hi."])
    app = create_supervisor([agent("clerk")], model=model).compile()
    assert app.invoke({"messages": [first]})["messages"][0] == first
