"""Histories: how they are folded, and how they cross threads."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langgraph.graph.message import REMOVE_ALL_MESSAGES, add_messages

from asterism import convert_tool_content_to_text
from asterism.core.messages import (
    answer_dangling_calls,
    clean,
    clean_text,
    fold_messages,
    history_fault,
)

ids = st.sampled_from(["a", "b", "c", "d"])
messages = (
    st.builds(HumanMessage, st.text(max_size=3), id=ids)
    | st.builds(AIMessage, st.text(max_size=3), id=ids)
    | st.builds(AIMessageChunk, content=st.text(max_size=3), id=ids)
)
writes = st.lists(st.lists(messages, max_size=3) | messages, max_size=6)


def _shown(history: list[Any]) -> list[tuple[str, str | None, str]]:
    return [(m.type, m.id, m.content) for m in history]


@given(writes)
def test_folding_is_adding_one_write_after_the_other(given_writes: list[Any]) -> None:
    expected: Any = []
    for write in given_writes:
        expected = add_messages(expected, write)
    assert _shown(fold_messages([], given_writes)) == _shown(clean(expected))


@given(writes, writes)
def test_folding_does_not_depend_on_batches(first: list[Any], second: list[Any]) -> None:
    at_once = fold_messages([], [*first, *second])
    assert _shown(fold_messages(fold_messages([], first), second)) == _shown(at_once)


def test_folding_does_not_change_what_it_is_given() -> None:
    left: list[Any] = [HumanMessage("a", id="1")]
    fold_messages(left, [[AIMessage("b", id="2")], [AIMessage("c", id="1")]])
    assert _shown(left) == [("human", "1", "a")]


def test_a_message_without_an_id_gets_the_same_one_at_every_reading() -> None:
    plain: list[Any] = [[("user", "hello")], ["again"]]
    once, twice = fold_messages([], plain), fold_messages([], plain)
    assert [m.id for m in once] == [m.id for m in twice]
    assert once[0].id != once[1].id
    assert [m.content for m in once] == ["hello", "again"]


def test_messages_can_be_removed_one_by_one_and_all() -> None:
    history = fold_messages([], [[HumanMessage("a", id="1"), AIMessage("b", id="2")]])
    assert _shown(fold_messages(history, [[RemoveMessage(id="1")]])) == [("ai", "2", "b")]
    cleared = [RemoveMessage(id=REMOVE_ALL_MESSAGES), HumanMessage("new", id="3")]
    assert _shown(fold_messages(history, [cleared])) == [("human", "3", "new")]


def test_a_chunk_is_stored_as_a_whole_message() -> None:
    assert type(fold_messages([], [AIMessageChunk(content="a", id="1")])[0]) is AIMessage


CALL = {"name": "search", "args": {"q": "é"}, "id": "1"}


@pytest.mark.parametrize(
    ("history", "texts"),
    [
        pytest.param([HumanMessage("hi")], [("human", "hi")], id="plain text stays"),
        pytest.param([SystemMessage("be")], [("system", "be")], id="rules stay"),
        pytest.param(
            [AIMessage("Looking.", tool_calls=[CALL]), ToolMessage("found", tool_call_id="1")],
            [
                ("ai", 'Looking.\n[call of search] {"q": "é"}'),
                ("human", "[result of search] found"),
            ],
            id="a call and its result",
        ),
        pytest.param(
            [AIMessage("", tool_calls=[CALL])],
            [("ai", '[call of search] {"q": "é"}')],
            id="a call without a result",
        ),
        pytest.param(
            [ToolMessage("found", tool_call_id="9")],
            [("human", "[result of tool] found")],
            id="a result without a call",
        ),
        pytest.param([AIMessage("")], [("ai", "")], id="an empty message stays"),
        pytest.param(
            [AIMessage([{"type": "text", "text": "a"}, {"type": "tool_use", "id": "1"}])],
            [("ai", "a")],
            id="content blocks of a provider",
        ),
    ],
)
def test_tool_content_becomes_text(
    history: list[BaseMessage], texts: list[tuple[str, str]]
) -> None:
    converted = convert_tool_content_to_text(history)
    assert [(m.type, m.content) for m in converted] == texts
    assert not any(getattr(m, "tool_calls", None) for m in converted)


def test_dangling_calls_are_answered() -> None:
    two = [CALL, {"name": "book", "args": {}, "id": "2"}]
    history = [AIMessage("", tool_calls=two), ToolMessage("found", tool_call_id="1")]
    (answer,) = answer_dangling_calls(history)
    assert (answer.tool_call_id, answer.name, answer.status) == ("2", "book", "error")
    assert answer_dangling_calls([*history, answer]) == []
    assert answer_dangling_calls([]) == []


def test_text_that_cannot_be_stored_is_replaced() -> None:
    assert clean_text("a\ud800\x00é🎉") == "a?�é🎉"


def test_two_branches_that_say_the_same_are_both_heard() -> None:
    """Each branch of a step reads the history with its own message first, at the same place."""
    left = fold_messages([], [HumanMessage("go", id="1")])
    one, two = (ToolMessage("sent", tool_call_id=call) for call in ("a", "b"))
    fold_messages(left, [[one]])
    fold_messages(left, [[two]])
    assert len(fold_messages(left, [[one], [two]])) == 3


def test_only_what_has_to_change_is_copied() -> None:
    whole = {"a": ["é", 1, None], "b": AIMessage("ok", id="1")}
    assert clean(whole) is whole
    half = AIMessage(
        [{"type": "text", "text": "a\ud800"}],
        id="1",
        tool_calls=[{"name": "t", "args": {"k\ud800": ["\ud800"]}, "id": "2"}],
    )
    found = clean({"b": half})["b"]
    assert (found.text, found.tool_calls[0]["args"], found.id) == ("a?", {"k?": ["?"]}, "1")
    assert half.text == "a\ud800"


def test_a_cleaned_message_has_the_same_id_whenever_it_is_read() -> None:
    raw, stored = [("user", "a\ud800")], [("user", "a?")]
    assert fold_messages([], [raw]) == fold_messages([], [stored])


def test_the_result_of_a_call_that_could_not_be_read_stands_with_its_call() -> None:
    unread = {"name": "look", "args": "{", "id": "b", "error": None, "type": "invalid_tool_call"}
    said = AIMessage("", invalid_tool_calls=[unread])
    result = ToolMessage("not JSON", tool_call_id="b")
    assert history_fault([said, result, HumanMessage("x")]) is None
    assert history_fault([said, HumanMessage("x")]) is None
    assert history_fault([said, result, result]) == "a tool result stands without its call"
