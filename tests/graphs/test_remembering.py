"""Context policies beside memories: what is forgotten, edited or recalled, in long histories."""

from itertools import pairwise
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import BaseMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from asterism import (
    Agent,
    AgentOrchestrator,
    ContextManager,
    EventBus,
    LongTermMemory,
    Participant,
    Summary,
    SupervisorWorkflowBuilder,
    context_middleware,
    memory,
    open_store,
)
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.desks import WORDS, decisions, plain

LIMIT = 700


@tool
def look_up(what: str) -> str:
    """Look something up."""
    return f"{what} " * 30


def summarised(messages: list[BaseMessage]) -> str:
    """A summary that holds every secret of what it is made of."""
    found = {word for word in messages[1].text.split() if word.startswith("secret-")}
    return " ".join(sorted(found)) or "Nothing."


def clerk(kind: str, replies: int = 40) -> tuple[Participant, ScriptedChatModel]:
    """A participant of each kind that summarises, and tells a new secret at every visit."""
    said = iter(range(100))

    def reply(messages: list[BaseMessage]) -> Any:
        if "You shorten a conversation" in messages[0].text:
            return summarised(messages)
        if kind != "model" and messages[-1].type == "human":
            return ScriptedReply(tool_calls=[("look_up", {"what": "fact"})])
        return f"secret-{next(said)} {WORDS * 2}"

    model = ScriptedChatModel(script=[reply] * replies)
    policy = ContextManager(max_tokens=LIMIT, strategy=Summary(keep_last=4, summary_max_tokens=80))
    if kind == "agent":
        middleware = [context_middleware(policy)]
        runs = create_agent(model, [look_up], system_prompt="Be brief.", middleware=middleware)
        return Participant(runs=runs, description="Works."), model
    tools = [look_up] if kind == "tools" else []
    return Participant(model=model, tools=tools, prompt="Be brief.", context=policy), model


def desk(
    participant: Participant, bus: EventBus | None = None, visits: int = 6, **options: Any
) -> Any:
    model = ScriptedChatModel(script=decisions(visits) * 3)
    store = options.pop("store", None)
    return (
        SupervisorWorkflowBuilder("Desk", model=model, finish="forward", events=bus, **options)
        .participants(clerk=participant)
        .build(InMemorySaver(), store=store)
    )


def prompts(model: ScriptedChatModel) -> list[list[BaseMessage]]:
    return [c.messages for c in model.calls if "You shorten" not in c.messages[0].text]


KINDS = pytest.mark.parametrize("kind", ["model", "tools", "agent"])


@KINDS
@pytest.mark.parametrize("how", ["all", "one", "edit"])
def test_what_is_forgotten_or_edited_is_in_no_later_prompt(
    kind: str, how: str, thread: RunnableConfig
) -> None:
    participant, model = clerk(kind)
    workflow = desk(participant)
    workflow.invoke({"messages": [("user", "Go on")]}, thread)
    assert "secret-0" in prompts(model)[-1][1].text, "a summary tells of it"
    mind = memory(workflow, thread, "clerk")
    held = [m for m in mind.messages() if "secret-" in m.text]
    assert len(held) == 6, "the stored history is whole"
    first = held[0].id or ""
    if how == "edit":
        mind.edit(first, "x")
    else:
        mind.forget(*([first] if how == "one" else []))
    before = len(model.calls)
    workflow.invoke({"messages": [("user", "Go on")]}, thread)
    later = str([m.text for call in model.calls[before:] for m in call.messages])
    assert "secret-0 " not in later
    assert ("secret-1 " in later) == (how != "all")


async def test_cleared_memory_is_in_no_summary(thread: RunnableConfig) -> None:
    plan = {"tasks": [{"task_id": "t", "agent_id": "x", "task_description": "Do it"}]}
    main = ScriptedChatModel(script=[plan, {"next_agent": None, "answer": "ok"}] * 12)
    said = iter(range(100))

    def reply(messages: list[BaseMessage]) -> Any:
        if "You shorten" in messages[0].text:
            return summarised(messages)
        return f"secret-{next(said)} {WORDS * 2}"

    model = ScriptedChatModel(script=[reply] * 40)
    config: Any = {
        "token_threshold": 500, "preserve_last_n_messages": 4, "summary_max_tokens": 60
    }  # fmt: skip
    spec = Agent(agent_id="x", model=model, system_prompt="X.", memory_config=config)
    orchestrator = AgentOrchestrator(Agent(agent_id="main", model=main))
    orchestrator.register_subagent(spec)
    for _ in range(6):
        await orchestrator.process("Go")
    assert "secret-0" in prompts(model)[-1][1].text
    assert max(map(count_tokens_approximately, prompts(model))) <= 500
    await orchestrator.clear_all_memory()
    before = len(model.calls)
    for _ in range(6):
        await orchestrator.process("Go")
    later = str([m.text for call in model.calls[before:] for m in call.messages])
    assert not [n for n in range(6) if f"secret-{n} " in later]


@KINDS
@pytest.mark.parametrize("policy", [False, True], ids=["alone", "beside a policy"])
def test_what_is_recalled_changes_no_prompt_that_was_sent(
    kind: str, policy: bool, thread: RunnableConfig
) -> None:
    bus = EventBus()
    ann: Any = {"configurable": {**thread["configurable"], "user_id": "ann"}}
    participant, model = clerk(kind)
    if not policy:
        model = ScriptedChatModel(script=[f"{n} {WORDS}" for n in range(20)])
        participant = Participant(model=model, prompt="Be brief.")
    supervisor_policy = ContextManager(max_tokens=LIMIT) if policy else None
    with open_store("memory:") as store:
        notes = LongTermMemory(store=store, team="t")
        workflow = desk(participant, bus, recalls=notes, store=store, context=supervisor_policy)
        for number in range(3):
            notes.remember(f"The party number {number} is in hall {number}", user="ann")
            workflow.invoke({"messages": [("user", "Where is the party?")]}, ann)
    sent = prompts(model)
    asked = [next(m for m in reversed(p) if m.type == "human").text for p in sent]
    assert all("Remembered from earlier" in text for text in asked), "each visit is told"
    assert "hall 2" not in asked[0]
    assert "hall 2" in asked[-1]
    cuts = [e.facts["path"] for e in bus.history() if e.type == "context_compacted"].count("clerk")
    broken = sum(
        after[: len(before)] != before for before, after in pairwise(list(map(plain, sent)))
    )
    assert broken == cuts
    assert bool(cuts) == policy
