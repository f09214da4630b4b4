"""Long conversations: prompts stay short, histories whole, and nothing is sent twice."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from asterism import (
    Agent,
    AgentOrchestrator,
    Budget,
    ContextManager,
    EventBus,
    Importance,
    Participant,
    SlidingWindow,
    Summary,
    SupervisorWorkflowBuilder,
    context_middleware,
    open_checkpointer,
)
from asterism.core.agent_spec import MemoryConfig
from asterism.core.messages import history_fault
from asterism.core.run_types import WorkflowInput
from asterism.errors import WorkflowBuildError
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.desks import WORDS, answer, ask, decisions, desk

SHORT = ContextManager(max_tokens=1_000)


@tool
def look_up(what: str) -> str:
    """Look something up."""
    return f"{what} " * 200


def test_a_long_conversation_is_cut_and_stored_whole(thread: RunnableConfig) -> None:
    bus = EventBus()
    model = ScriptedChatModel(script=decisions(4) * 5)
    workflow = desk(model, InMemorySaver(), bus, context=SHORT)
    result = ask(workflow, thread, 5)
    assert [m.text for m in result["messages"] if m.type == "human"] == [
        f"Request {n}" for n in range(5)
    ]
    assert sum(m.name == "clerk" for m in result["messages"]) == 20
    sizes = [count_tokens_approximately(call.messages) for call in model.calls]
    assert max(sizes) <= 1_000
    events = [event.facts for event in bus.history() if event.type == "context_compacted"]
    cuts = [place for place, (a, b) in enumerate(pairwise(sizes), 1) if b < a]
    assert len(cuts) == len(events) >= 2
    assert events[0]["path"] == "supervisor"
    assert events[0]["strategy"] == "SlidingWindow"
    assert events[0]["tokens"] == sizes[cuts[0]] < events[0]["tokens_before"]
    last = model.calls[-1].messages
    assert "among them reports of clerk (" in last[1].text
    assert any(m.text == "Request 4" for m in last)


def test_a_policy_is_off_by_default(thread: RunnableConfig) -> None:
    model = ScriptedChatModel(script=decisions(4) * 4)
    workflow = desk(model, InMemorySaver())
    ask(workflow, thread, 4)
    assert count_tokens_approximately(model.calls[-1].messages) > 1_500
    assert workflow.get_state(thread).values.get("compaction") is None


def test_a_summary_survives_a_restart_and_is_not_made_again(
    tmp_path: Path, thread: RunnableConfig
) -> None:
    url = f"sqlite:///{tmp_path / 'threads.db'}"
    writer = ScriptedChatModel(script=["It is about 42."])
    context = ContextManager(
        max_tokens=1_100,
        strategy=Summary(keep_last=4, summary_max_tokens=90, model=writer),
    )
    prompts = []
    for place in range(2):
        model = ScriptedChatModel(script=decisions(4) * 2 if place == 0 else decisions(1))
        with open_checkpointer(url) as saver:
            ask(desk(model, saver, context=context), thread, 2 - place)
        prompts += [call.messages for call in model.calls]
    writer.assert_finished()
    noted = ["It is about 42." in prompt[1].text for prompt in prompts]
    assert noted == sorted(noted), "from the cut on it stands in every prompt"
    assert noted[-2:] == [True, True]


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_a_summary_model_that_fails_harms_no_run(way: str, thread: RunnableConfig) -> None:
    bus = EventBus()
    writer = ScriptedChatModel(script=[RuntimeError("no credit for sk-aaaaaaaaaaaa")] * 9)
    context = ContextManager(max_tokens=900, strategy=Summary(model=writer))
    model = ScriptedChatModel(script=decisions(8))
    workflow = desk(model, InMemorySaver(), bus, context=context)
    request: WorkflowInput = {"messages": [("user", "Request")]}
    if way == "sync":
        result = workflow.invoke(request, thread)
    else:
        result = await workflow.ainvoke(request, thread)
    assert result["status"] == "completed"
    told = [event.facts for event in bus.history() if event.type == "context_compacted"]
    assert told
    assert told[0]["error"] == "RuntimeError: no credit for [redacted]"
    assert all(count_tokens_approximately(call.messages) <= 900 for call in model.calls)


def test_a_summary_counts_for_the_budget(thread: RunnableConfig) -> None:
    model = ScriptedChatModel(script=[*decisions(8)[:6], "Summary.", *decisions(8)[6:]])
    context = ContextManager(max_tokens=900, strategy=Summary(keep_last=2, summary_max_tokens=90))
    workflow = desk(model, InMemorySaver(), context=context, budget=Budget(max_calls=7))
    result = ask(workflow, thread)
    assert result["status"] == "limit"
    assert sum(line["calls"] for line in result["usage"]) == 7


def test_a_participant_keeps_all_and_is_sent_what_fits(thread: RunnableConfig) -> None:
    sent: list[Any] = []

    def clerk(messages: Any) -> str:
        sent.append(messages)
        return answer(messages)

    bus = EventBus()
    model = ScriptedChatModel(script=decisions(12))
    context = ContextManager(max_tokens=400)
    workflow = (
        SupervisorWorkflowBuilder("Desk", model=model, finish="forward", events=bus)
        .participants(clerk=Participant(runs=clerk, description="Works.", context=context))
        .build(checkpointer=InMemorySaver())
    )
    ask(workflow, thread)
    assert len(sent) == 12
    assert max(map(count_tokens_approximately, sent)) <= 400
    inside: RunnableConfig = {"configurable": {**thread["configurable"], "checkpoint_ns": "clerk"}}
    assert len(workflow.get_state(inside).values["messages"]) == 24
    told = [event.facts["path"] for event in bus.history() if event.type == "context_compacted"]
    assert set(told) == {"clerk"}


def test_a_memory_config_holds_for_a_function_too(thread: RunnableConfig) -> None:
    sent: list[Any] = []

    def clerk(messages: Any) -> str:
        sent.append(messages)
        return answer(messages)

    model = ScriptedChatModel(
        script=[
            lambda messages: (
                "In short." if "You shorten" in messages[0].text else decisions(99)[len(sent)]
            )
        ]
        * 30
    )
    memory = MemoryConfig(token_threshold=400, preserve_last_n_messages=2, summary_max_tokens=50)
    workflow = (
        SupervisorWorkflowBuilder("Desk", model=model, finish="forward", max_iterations=12)
        .participants(clerk=Participant(runs=clerk, description="Works.", memory=memory))
        .build(checkpointer=InMemorySaver())
    )
    ask(workflow, thread)
    assert len(sent) == 12
    assert max(map(count_tokens_approximately, sent)) <= 400
    assert "In short." in sent[-1][0].text


def worker(visits: int) -> ScriptedChatModel:
    look = ScriptedReply(tool_calls=[("look_up", {"what": "fact"})])
    return ScriptedChatModel(script=[look, look, "Found it."] * visits)


@pytest.mark.parametrize("own", [False, True], ids=["a model with tools", "an agent of one's own"])
@pytest.mark.parametrize("strategy", [SlidingWindow(), Importance()], ids=["window", "importance"])
async def test_an_agent_keeps_all_and_is_sent_valid_prompts(
    own: bool, strategy: Any, thread: RunnableConfig
) -> None:
    model, context = worker(4), ContextManager(max_tokens=700, strategy=strategy)
    if own:
        agent = create_agent(
            model, [look_up], system_prompt="Be brief.", middleware=[context_middleware(context)]
        )
        clerk = Participant(runs=agent, description="Works.")
    else:
        clerk = Participant(model=model, tools=[look_up], prompt="Be brief.", context=context)
    supervisor = ScriptedChatModel(script=decisions(4))
    workflow = (
        SupervisorWorkflowBuilder("Desk", model=supervisor, finish="forward")
        .participants(clerk=clerk)
        .build(checkpointer=InMemorySaver())
    )
    result = await workflow.ainvoke({"messages": [("user", "Request")]}, thread)
    assert [report["text"] for report in result["reports"]] == ["Found it."] * 4
    model.assert_finished()
    for call in model.calls:
        assert history_fault(call.messages) is None
        assert call.messages[0].text == "Be brief."
        assert call.messages[1].type == "human"
        assert count_tokens_approximately(call.messages) <= 700
        asked = [m for m in call.messages if m.type == "human" and "Your part" in m.text]
        assert asked, "the request stays"
    inside: RunnableConfig = {"configurable": {**thread["configurable"], "checkpoint_ns": "clerk"}}
    stored = (await workflow.aget_state(inside)).values["messages"]
    assert len(stored) == 4 * 6


def test_a_memory_config_keeps_the_main_agent_short_too(thread: RunnableConfig) -> None:
    plan = {"tasks": [{"task_id": "t", "agent_id": "x", "task_description": "Do it"}]}
    replies = iter([plan, {"next_agent": None, "answer": WORDS * 2}] * 4)

    def reply(messages: list[BaseMessage]) -> Any:
        return "In short." if "You shorten" in messages[0].text else next(replies)

    main = ScriptedChatModel(script=[reply] * 30)
    memory: Any = {"token_threshold": 900, "preserve_last_n_messages": 2}
    agent = Agent(agent_id="main", model=main, memory_config=memory)
    orchestrator = AgentOrchestrator(agent)
    spec = Agent(agent_id="x", model=ScriptedChatModel(script=[WORDS] * 4), system_prompt="X.")
    orchestrator.register_subagent(spec)
    for number in range(4):
        orchestrator.graph.invoke({"messages": [("user", f"Go {number}")]}, thread)
    prompts = [c.messages for c in main.calls if "You shorten" not in c.messages[0].text]
    assert max(map(count_tokens_approximately, prompts)) <= 900
    assert any("<summary>\nIn short.\n</summary>" in p[1].text for p in prompts)


def clerk(**options: Any) -> Participant:
    return Participant(**{"runs": answer, "description": "Works.", **options})


@pytest.mark.parametrize(
    ("participant", "options", "fault"),
    [
        (clerk(context=9), {}, "has a context that cannot"),
        (
            clerk(context=ContextManager(max_tokens=9, strategy=Summary())),
            {"model": None},
            "there is no model for it",
        ),
        (
            clerk(runs=create_agent(ScriptedChatModel()), context=SHORT),
            {},
            "is a compiled graph, whose model calls are its own",
        ),
        (
            clerk(runs=create_agent(ScriptedChatModel()), memory=MemoryConfig(token_threshold=500)),
            {},
            "nor a `token_threshold` has a hold on it",
        ),
        (
            clerk(memory=MemoryConfig(token_threshold=500)),
            {"model": None},
            "there is no model for it",
        ),
        (
            clerk(context=SHORT, memory=MemoryConfig(token_threshold=500)),
            {},
            "give one or the other",
        ),
        (answer, {"context": 8_000}, "context is 8000; give it a ContextManager"),
        (answer, {"digest_tokens": 0}, "digest_tokens is 0; it must be a whole number"),
    ],
    ids=[
        "no policy",
        "no model",
        "a graph",
        "its memory",
        "no model for its memory",
        "two policies",
        "a number",
        "no digest",
    ],
)
def test_what_cannot_be_kept_is_refused_when_built(
    participant: Any, options: dict[str, Any], fault: str
) -> None:
    options = {"model": "offline", **options}
    builder = SupervisorWorkflowBuilder("X", **options).participants(x=participant)
    if options["model"] is None:
        builder = builder.with_manager(lambda view: {"next_agent": None})
    with pytest.raises(WorkflowBuildError, match=fault):
        builder.build()


def test_the_note_is_the_users_side(thread: RunnableConfig) -> None:
    model = ScriptedChatModel(script=decisions(9))
    ask(desk(model, InMemorySaver(), context=SHORT), thread)
    assert isinstance(model.calls[-1].messages[1], HumanMessage)
