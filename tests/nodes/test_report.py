"""What is the answer of a visit, given the messages and the state that it ends with."""

from dataclasses import dataclass
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from pydantic import BaseModel

from asterism.nodes.report import answer_in_state, answer_of, as_messages, json_text, last_text

IMAGE = {"type": "image", "base64": "AAAA", "mime_type": "image/png"}
URL = "data:image/png;base64,AAAA"
CALLS = [{"name": "price", "args": {}, "id": "1"}, {"name": "stock", "args": {}, "id": "2"}]
LOOK = AIMessage("Let me look.", tool_calls=CALLS[:1])
BOTH = AIMessage("Let me look.", tool_calls=CALLS)
BROKEN = {"name": "price", "args": "{", "id": "1", "error": None, "type": "invalid_tool_call"}


def result(text: Any, call: str = "1", **fields: Any) -> ToolMessage:
    return ToolMessage(text, tool_call_id=call, name="price", **fields)


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        pytest.param([AIMessage("One."), AIMessage("Two.")], "Two.", id="the last text"),
        pytest.param([LOOK, result("3"), AIMessage("It is 3.")], "It is 3.", id="after a tool"),
        pytest.param([AIMessage("It is 3."), AIMessage("")], "It is 3.", id="an empty end"),
        pytest.param([LOOK, result("3 dollars")], "3 dollars", id="a direct return"),
        pytest.param([BOTH, result("3"), result("4", "2")], "3\n\n4", id="two direct returns"),
        pytest.param([AIMessage("Draft."), HumanMessage("Found.")], "Found.", id="a user message"),
        pytest.param(
            [AIMessage("", additional_kwargs={"refusal": "I won't."})], "I won't.", id="a refusal"
        ),
        pytest.param(
            [AIMessage([{"type": "refusal", "refusal": "No."}])], "No.", id="a refusal in a block"
        ),
        pytest.param(
            [AIMessage("", additional_kwargs={"audio": {"data": "AA", "transcript": "Hi."}})],
            "Hi.",
            id="speech",
        ),
        pytest.param([AIMessage([IMAGE])], "(image)", id="a picture alone"),
    ],
)
def test_the_answer_is_found(messages: list[AnyMessage], text: str) -> None:
    assert answer_of(messages).text == text


@pytest.mark.parametrize(
    ("messages", "kind", "fault"),
    [
        pytest.param([], "empty_answer", "without a word", id="nothing"),
        pytest.param([AIMessage(" \n")], "empty_answer", "without a word", id="white space"),
        pytest.param(
            [LOOK, result("3"), AIMessage("")], "empty_answer", "called price", id="silence"
        ),
        pytest.param([BOTH], "empty_answer", "called price, stock", id="calls that nobody runs"),
        pytest.param(
            [AIMessage("I look.", invalid_tool_calls=[BROKEN])],
            "empty_answer",
            "called price",
            id="a call that cannot be read",
        ),
        pytest.param([LOOK, result("")], "empty_answer", "called price", id="an empty result"),
        pytest.param(
            [LOOK, result("no pen", status="error")], "agent_failed", "no pen", id="a failed tool"
        ),
    ],
)
def test_what_is_no_answer_says_why(messages: list[AnyMessage], kind: str, fault: str) -> None:
    found = answer_of(messages)
    assert (found.text, found.kind) == ("", kind) and fault in found.fault


def test_what_was_announced_counts_when_a_visit_fails() -> None:
    assert last_text([AIMessage("One."), LOOK, result("3")]) == "Let me look."


@pytest.mark.parametrize(
    "message",
    [
        AIMessage([{"type": "text", "text": "See."}, IMAGE]),
        AIMessage(
            ["See.", {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
        ),
        HumanMessage([{"type": "text", "text": "See."}, IMAGE]),
        result([{"type": "text", "text": "See."}, IMAGE]),
    ],
    ids=["standard", "as OpenAI writes it", "of the user's side", "of a tool"],
)
def test_pictures_are_plain_and_the_same_each_time(message: AnyMessage) -> None:
    first, again = answer_of([message]), answer_of([message])
    assert first.text == "See." and first.media == again.media == [IMAGE]


def test_reasoning_is_no_medium() -> None:
    thought = AIMessage([{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "12"}])
    assert (answer_of([thought]).text, answer_of([thought]).media) == ("12", [])


class Quote(BaseModel):
    """A price."""

    euros: int


@dataclass
class Place:
    city: str


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Quote(euros=90), '{"euros": 90}'),
        (Place("Oslo"), '{"city": "Oslo"}'),
        ({"a": [1, float("inf")]}, '{"a": [1, "Infinity"]}'),
        ("as it is", "as it is"),
        (0, "0"),
        ({"a": "\ud800"}, "{'a': '\\ud800'}"),
    ],
    ids=["pydantic", "dataclass", "dict", "text", "zero", "surrogate"],
)
def test_a_structured_answer_is_json(value: Any, text: str) -> None:
    assert json_text(value) == text


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ({"answer": "Oslo"}, "Oslo"),
        ({"answer": "Oslo", "score": 2, "unset": None}, '{"answer": "Oslo", "score": 2}'),
        ({}, ""),
    ],
    ids=["one text", "several", "nothing"],
)
def test_an_output_without_messages_is_read(state: dict[str, Any], text: str) -> None:
    assert answer_in_state(state).text == text


def test_a_function_may_answer_with_a_pydantic_object_or_the_text_of_a_message() -> None:
    assert as_messages(Quote(euros=3))[0].text == '{"euros": 3}'
    content = as_messages(HumanMessage("Hello").text)[0].content
    assert type(content) is str and content == "Hello"
