"""Long reports: they are shown as digests, and whole to who wants to read or answers."""

from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from asterism import (
    Agent,
    AgentOrchestrator,
    ContextManager,
    Participant,
    SupervisorWorkflowBuilder,
)
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.desks import ask, decisions, plain


def test_the_answer_is_written_from_whole_reports(thread: RunnableConfig) -> None:
    long = f"Begin {'middle ' * 400}end"
    model = ScriptedChatModel(script=[*decisions(1), "The answer."])
    workflow = (
        SupervisorWorkflowBuilder("Desk", model=model, digest_tokens=100)
        .participants(clerk=Participant(runs=lambda messages: long, description="Works."))
        .build(checkpointer=InMemorySaver())
    )
    result = ask(workflow, thread)
    digest, whole = model.calls[1].messages[-1].text, model.calls[2].messages[-1].text
    assert long not in digest
    assert '(digest of 702 tokens; the whole: read_report ["' in digest
    assert long in whole
    assert result["reports"][0]["text"] == long


def test_the_answer_is_written_from_digests_where_reports_are_too_long(
    thread: RunnableConfig,
) -> None:
    long = "fact " * 8_000
    model = ScriptedChatModel(script=[*decisions(2), "The answer."])
    workflow = (
        SupervisorWorkflowBuilder("Desk", model=model, context=ContextManager(max_tokens=6_000))
        .participants(clerk=Participant(runs=lambda messages: long, description="Works."))
        .build(checkpointer=InMemorySaver())
    )
    assert ask(workflow, thread)["messages"][-1].text == "The answer."
    prompt = model.calls[-1].messages
    assert count_tokens_approximately(prompt) <= 6_000
    assert sum("<report" in m.text for m in prompt[1:]) == 2
    assert "read_report" not in str(prompt)


def read(*names: str) -> Any:
    """A model's wish to read the reports that are shown as digests."""

    def said(messages: list[BaseMessage]) -> Any:
        shown = [m.text.split('["')[1].split('"')[0] for m in messages if "(digest of" in m.text]
        return {"next_agent": None, "read_report": [*shown, *names]}

    return said


LONG = f"Begin {'middle ' * 400}the secret is 42 {'middle ' * 400} end"


def reader(script: Sequence[Any], **options: Any) -> tuple[ScriptedChatModel, Any]:
    model = ScriptedChatModel(script=script)
    workflow = (
        SupervisorWorkflowBuilder(
            "Desk", model=model, finish="forward", digest_tokens=200, **options
        )
        .participants(clerk=Participant(runs=lambda messages: LONG, description="Works."))
        .build(checkpointer=InMemorySaver())
    )
    return model, workflow


def test_a_digest_can_be_read_whole_before_the_decision(thread: RunnableConfig) -> None:
    model, workflow = reader([decisions(1)[0], read(), {"next_agent": None}])
    result = ask(workflow, thread)
    model.assert_finished()
    before, after = model.calls[1].messages, model.calls[2].messages
    assert "the secret is 42" not in str(before)
    assert plain(after)[: len(before)] == plain(before)
    assert [m.type for m in after[len(before) :]] == ["ai", "human"]
    assert "the secret is 42" in after[-1].text
    assert result["status"] == "completed"
    assert "read_report" not in str(result["messages"])
    tool_fields = [
        call.options["tools"][0]["function"]["parameters"]["properties"] for call in model.calls
    ]
    assert ["read_report" in fields for fields in tool_fields] == [True, True, True]


@pytest.mark.parametrize("way", ["structured", "tools"])
async def test_a_main_agent_can_read_whole_reports_too(way: Any) -> None:
    task = {"tasks": [{"task_id": "t", "agent_id": "x", "task_description": "Do it"}]}
    long = LONG * 6
    if way == "structured":
        script = [task, read(), {"next_agent": None, "answer": "42"}]
    else:

        def wish(messages: list[BaseMessage]) -> Any:
            args = {"read_report": read()(messages)["read_report"]}
            return ScriptedReply(tool_calls=[("read_report", args)])

        script = [ScriptedReply(tool_calls=[("delegate_to_subagents", task)]), wish, "42"]
    main = ScriptedChatModel(script=script)
    orchestrator = AgentOrchestrator(Agent(agent_id="main", model=main), planning=way)
    spec = Agent(agent_id="x", model=ScriptedChatModel(script=[long]), system_prompt="X.")
    orchestrator.register_subagent(spec)
    response = await orchestrator.process("Go")
    assert response.content == "42"
    assert long not in str([m.text for m in main.calls[1].messages])
    assert "the secret is 42" in main.calls[2].messages[-1].text


def test_who_asks_for_more_than_there_is_is_told_so(thread: RunnableConfig) -> None:
    nothing = {"next_agent": None, "read_report": ["nonsense"]}
    model, workflow = reader([decisions(1)[0], nothing, {"next_agent": None}])
    result = ask(workflow, thread)
    model.assert_finished()
    assert "no more can be read of nonsense" in model.calls[2].messages[-1].text
    assert result["status"] == "completed"


def test_reading_is_bounded(thread: RunnableConfig) -> None:
    model, workflow = reader([decisions(1)[0], *[read()] * 3], max_repairs=2, fallback="finish")
    result = ask(workflow, thread)
    model.assert_finished()
    assert result["status"] == "failed"
    assert "no more can be read" in result["reason"]
