"""Answers that a provider ended early: cut off, filtered, refused. None passes as whole."""

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from pydantic import BaseModel

from asterism import Participant, SupervisorWorkflowBuilder
from asterism.core.run_types import WorkflowInput
from asterism.testing import ScriptedChatModel, ScriptedReply

REQUEST: WorkflowInput = {"messages": [("user", "Summarise the contract")]}
WORDS = "The tenant must never"
ENDS = [
    pytest.param({"finish_reason": "length"}, "cut_off", id="OpenAI: length"),
    pytest.param({"finish_reason": "MAX_TOKENS"}, "cut_off", id="Gemini: MAX_TOKENS"),
    pytest.param({"stop_reason": "max_tokens"}, "cut_off", id="Anthropic: max_tokens"),
    pytest.param({"done_reason": "length"}, "cut_off", id="Ollama: length"),
    pytest.param(
        {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
        "cut_off",
        id="Responses: incomplete",
    ),
    pytest.param({"model_provider": "openai"}, "cut_off", id="OpenAI: a stream that just ended"),
    pytest.param({"finish_reason": "content_filter"}, "refused", id="OpenAI: filtered"),
    pytest.param({"finish_reason": "SAFETY"}, "refused", id="Gemini: filtered"),
    pytest.param({"stop_reason": "refusal"}, "refused", id="Anthropic: refusal"),
]


def lookup(topic: str) -> str:
    """Look something up."""
    return "found"


def reader(kind: str, last: AIMessage) -> Participant:
    call = ScriptedReply(text="Let me look.", tool_calls=[("lookup", {"topic": "x"})])
    model = ScriptedChatModel(script=[last] if kind == "a model" else [call, last])
    if kind == "a graph":
        return Participant(runs=create_agent(model, [lookup]), description="Reads.")
    tools = [] if kind == "a model" else [lookup]
    return Participant(model=model, tools=tools, description="Reads.")


@pytest.mark.parametrize(("end", "failure"), ENDS)
@pytest.mark.parametrize("kind", ["a model", "an agent", "a graph"])
def test_a_report_says_that_it_is_not_whole(kind: str, end: Any, failure: str) -> None:
    last = AIMessage(WORDS, response_metadata=end)
    builder = SupervisorWorkflowBuilder("Law", finish="forward").with_strategy("sequential")
    result = builder.participants(reader=reader(kind, last)).build().invoke(REQUEST)
    (report,) = result["reports"]
    assert (report["text"], report.get("kind")) == (WORDS, failure)
    assert report["status"] == {"cut_off": "limit", "refused": "failed"}[failure]
    assert report.get("error", "") in str(result["reason"])


def test_the_supervisor_is_told() -> None:
    last = AIMessage(WORDS, response_metadata={"finish_reason": "length"})
    boss = ScriptedChatModel(script=[{"next_agent": "reader"}, {"next_agent": None}, "Done."])
    builder = SupervisorWorkflowBuilder("Law", model=boss)
    builder.participants(reader=reader("a model", last)).build().invoke(REQUEST)
    shown = boss.calls[1].messages[-1].text
    assert WORDS in shown
    assert "cut off (finish_reason=length)" in shown


@pytest.mark.parametrize(("end", "failure"), ENDS)
def test_a_final_answer_that_is_not_whole_shows_in_the_reason(end: Any, failure: str) -> None:
    boss = ScriptedChatModel(
        script=[{"next_agent": None}, AIMessage("In short, you must", response_metadata=end)]
    )
    builder = SupervisorWorkflowBuilder("Law", model=boss)
    result = builder.participants(reader=reader("a model", AIMessage("x"))).build().invoke(REQUEST)
    assert result["messages"][-1].text == "In short, you must"
    assert "cut off" in str(result["reason"]) or "refused" in str(result["reason"])


@pytest.mark.parametrize(
    "said",
    [
        AIMessage("", additional_kwargs={"refusal": "I cannot help."}),
        AIMessage([{"type": "refusal", "refusal": "I cannot help."}]),
    ],
    ids=["beside the content", "as a block"],
)
def test_the_words_of_a_refusal_are_kept(said: AIMessage) -> None:
    builder = SupervisorWorkflowBuilder("Law", finish="forward").with_strategy("sequential")
    result = builder.participants(reader=reader("a model", said)).build().invoke(REQUEST)
    assert (result["reports"][0]["text"], result["reports"][0].get("kind")) == (
        "I cannot help.",
        "refused",
    )
    boss = ScriptedChatModel(script=[{"next_agent": None}, said])
    builder = SupervisorWorkflowBuilder("Law", model=boss)
    result = builder.participants(reader=reader("a model", AIMessage("x"))).build().invoke(REQUEST)
    assert result["messages"][-1].text == "I cannot help."
    assert "refused" in str(result["reason"])


class Plan(BaseModel):
    """A plan."""

    guests: int


@pytest.mark.parametrize(("end", "failure"), ENDS[:1] + ENDS[6:7])
def test_a_structured_answer_that_is_not_whole_is_asked_for_again(end: Any, failure: str) -> None:
    cut = AIMessage('{"guests": 5}', response_metadata=end)
    boss = ScriptedChatModel(script=[{"next_agent": None}, cut, {"guests": 50}])
    builder = SupervisorWorkflowBuilder("Party", model=boss, finish=Plan)
    result = builder.participants(reader=reader("a model", AIMessage("x"))).build().invoke(REQUEST)
    assert result["structured_response"] == Plan(guests=50)


def test_a_vote_that_was_cut_off_does_not_count() -> None:
    def votes(script: list[Any]) -> Participant:
        return Participant(model=ScriptedChatModel(script=script), description="Votes.")

    cut = AIMessage("vote: bob", response_metadata={"finish_reason": "length"})
    builder = SupervisorWorkflowBuilder("Vote", finish="forward").with_strategy(
        "consensus", tie="fail"
    )
    workflow = builder.participants(
        ann=votes(["I say A.", "vote: ann"]), bob=votes(["I say B.", cut])
    ).build()
    result = workflow.invoke(REQUEST)
    votes_taken = [r for r in result["reports"] if r["text"].startswith("vote")]
    assert {r["participant"]: r["status"] for r in votes_taken} == {"ann": "ok", "bob": "limit"}
