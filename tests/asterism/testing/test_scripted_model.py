"""The scripted model: what its script can say, and how strict it is."""

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessageChunk, HumanMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from asterism.errors import AsterismError
from asterism.testing import ScriptedChatModel, ScriptedReply, UnexpectedModelCallError


@tool
def search(q: str) -> str:
    """Search."""
    return q


class City(BaseModel):
    name: str


def test_replies_come_in_order_and_calls_are_kept() -> None:
    model = ScriptedChatModel(script=["one", AIMessage("two")])
    assert model.invoke("a").text == "one"
    assert model.invoke([HumanMessage("b")]).text == "two"
    assert [call.messages[-1].text for call in model.calls] == ["a", "b"]
    model.assert_finished()


def test_one_call_too_many_is_an_error() -> None:
    model = ScriptedChatModel(script=["one"])
    model.invoke("a")
    with pytest.raises(UnexpectedModelCallError, match=r"call 2 of a script of 1 replies.*'b'"):
        model.invoke("b")
    with pytest.raises(AssertionError, match="1 replies, the model was called 2 times"):
        model.assert_finished()
    assert issubclass(UnexpectedModelCallError, AsterismError)


def test_one_call_too_few_is_an_error() -> None:
    with pytest.raises(AssertionError, match="1 replies, the model was called 0 times"):
        ScriptedChatModel(script=["one"]).assert_finished()


def test_tools_are_bound_and_called() -> None:
    reply = ScriptedReply(text="Looking.", tool_calls=[("search", {"q": "x"})])
    model = ScriptedChatModel(script=[reply])
    message = model.bind_tools([search]).invoke("find x")
    assert [(c["name"], c["args"]) for c in message.tool_calls] == [("search", {"q": "x"})]
    assert model.calls[0].tools == ["search"]


async def test_structured_output_works_as_with_a_provider() -> None:
    model = ScriptedChatModel(script=[City(name="Oslo"), {"name": "Rome"}])
    structured = model.with_structured_output(City)
    assert structured.invoke("where?") == City(name="Oslo")
    assert await structured.ainvoke("where?") == City(name="Rome")


def test_a_structured_answer_without_a_tool_is_json_text() -> None:
    model = ScriptedChatModel(script=[{"name": "Oslo"}])
    assert json.loads(model.invoke("where?").text) == {"name": "Oslo"}


def test_a_reply_can_depend_on_the_prompt() -> None:
    model = ScriptedChatModel(script=[lambda messages: messages[-1].text.upper()])
    assert model.invoke("hello").text == "HELLO"


@pytest.mark.parametrize("error", [ValueError("no"), ScriptedReply(error=ValueError("no"))])
def test_errors_are_raised(error: Any) -> None:
    with pytest.raises(ValueError, match="no"):
        ScriptedChatModel(script=[error]).invoke("a")


async def test_delays_are_waited_for_by_the_given_clock() -> None:
    waited: list[float] = []

    async def asleep(seconds: float) -> None:
        waited.append(seconds)

    script = [ScriptedReply(text="a", delay=3), ScriptedReply(text="b", delay=4)]
    model = ScriptedChatModel(script=script, sleep=waited.append, asleep=asleep)
    model.invoke("x")
    await model.ainvoke("x")
    assert waited == [3, 4]


async def test_streams_come_word_by_word_with_usage_at_the_end() -> None:
    reply = ScriptedReply(text="one two\nthree", tool_calls=[("search", {"q": "x"})], usage=(7, 3))
    model = ScriptedChatModel(script=[reply, reply])
    sync = list(model.bind_tools([search]).stream("a"))
    chunks = [chunk async for chunk in model.bind_tools([search]).astream("a")]
    assert [c.text for c in chunks][:3] == ["one ", "two\n", "three"] == [c.text for c in sync][:3]
    assert isinstance(chunks[0], AIMessageChunk)
    whole: BaseMessageChunk = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    assert isinstance(whole, AIMessageChunk)
    assert whole.text == "one two\nthree"
    assert [(c["name"], c["args"]) for c in whole.tool_calls] == [("search", {"q": "x"})]
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["total_tokens"] == 10


def test_a_stream_can_be_cut_and_can_fail() -> None:
    cut = ScriptedReply(text="one two three", cut_after=2)
    failing = ScriptedReply(text="one two three", cut_after=1, error=ConnectionError("gone"))
    model = ScriptedChatModel(script=[cut, failing])
    assert "".join(chunk.text for chunk in model.stream("a")) == "one two "
    with pytest.raises(ConnectionError, match="gone"):
        list(model.stream("a"))


def test_usage_counts_words_where_the_script_does_not_say() -> None:
    message = ScriptedChatModel(script=["one two"]).invoke("a b c")
    assert message.usage_metadata == {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
