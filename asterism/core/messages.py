"""Messages: how histories are folded, and how they cross from one thread to another."""

import json
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast
from uuid import NAMESPACE_OID, uuid4, uuid5

from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    BaseMessageChunk,
    HumanMessage,
    MessageLikeRepresentation,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
    convert_to_messages,
    message_chunk_to_message,
)
from langgraph.graph.message import add_messages
from pydantic_core import PydanticSerializationError, from_json, to_json

from asterism.core.values import without_controls

T = TypeVar("T")

_TEXTS = ("content", "name", "id", "tool_calls", "invalid_tool_calls", "tool_call_id")
"""The fields of a message that hold text of people, models and tools."""


_PLAIN = frozenset((type(None), bool, int, float))

_WHOLE = frozenset((AIMessage, HumanMessage, SystemMessage, ToolMessage))
"""The usual types of messages; asking whether a type is one of them is faster than `isinstance`."""

MEDIA = frozenset(("image", "audio", "video", "file", "text-plain"))
"""The types of content blocks that are an answer besides its text."""

Places = dict[str | None, int]
"""Where the messages of a history stand, by id."""


def fold_messages(
    left: list[AnyMessage], writes: Sequence[object], places: Places | None = None
) -> list[AnyMessage]:
    """Apply writes to a history in order, as `add_messages` would one by one.

    Each is cleaned, so what stands in a history can be stored, and sent to a model.
    Batching-invariant, as a `DeltaChannel` needs: one call with two writes gives what two
    calls give. What is no message yet and has no id gets one that depends only on its place
    and content, so that reading a stored history again gives the same ids.

    Args:
        left: The history so far; it is not changed.
        writes: Each a message or a list of messages, in any form that LangChain reads.
        places: Where the messages of `left` stand, where that is known; it is made to tell
            where those of the result do.

    Returns:
        A new list.
    """
    return _fold(left, writes, places, repair=False)


def fold_history(
    left: list[AnyMessage], writes: Sequence[object], places: Places | None = None
) -> list[AnyMessage]:
    """Apply writes to a participant's history as `fold_messages` does, and keep it valid.

    A turn that broke off between a tool call and its result leaves a call without one, and a
    model refuses a history that holds such a call. When the next request arrives, the call is
    answered with what is known: that it was interrupted.
    """
    return _fold(left, writes, places, repair=True)


def _fold(
    left: list[AnyMessage], writes: Sequence[object], places: Places | None, *, repair: bool
) -> list[AnyMessage]:
    merged = left.copy()
    places = places_of(left) if places is None else places
    for write in writes:
        items = cast(list[object], write) if isinstance(write, list) else [write]
        new = cast(list[BaseMessage], items)
        if not all(map(_is_whole, items)):
            new = convert_to_messages(cast(list[MessageLikeRepresentation], items))
            if repair and any(isinstance(message, HumanMessage) for message in new):
                _answer_dangling(merged, places)
            for place, (item, read) in enumerate(zip(items, new, strict=True), len(merged)):
                read.id = read.id or _id_of(item, place, clean(read))
            if any(isinstance(message, RemoveMessage) for message in new):
                merged = cast(
                    list[AnyMessage], add_messages(cast(Any, merged), cast(Any, clean(new)))
                )
                places.clear()
                places.update(places_of(merged))
                continue
        for message in new:
            _place(_clean_message(message), merged, places, repair=repair)
    return merged


def places_of(messages: Sequence[BaseMessage]) -> Places:
    """Return where messages stand, by id."""
    return {message.id: place for place, message in enumerate(messages)}


def _place(given: BaseMessage, merged: list[AnyMessage], places: Places, *, repair: bool) -> None:
    """Put a message where the one with its id stands, or at the end."""
    item = cast(AnyMessage, given)
    if type(given) not in _WHOLE and isinstance(given, BaseMessageChunk):
        item = cast(AnyMessage, message_chunk_to_message(given))
    if (place := places.get(item.id)) is not None:
        merged[place] = item
        return
    if repair and isinstance(item, HumanMessage):
        _answer_dangling(merged, places)
    places[item.id] = len(merged)
    merged.append(item)


def _answer_dangling(merged: list[AnyMessage], places: Places) -> None:
    for answer in answer_dangling_calls(merged):
        places[answer.id] = len(merged)
        merged.append(answer)


def _is_whole(item: object) -> bool:
    """Whether an item is a message that can be placed as it is."""
    if type(item) in _WHOLE:
        return bool(cast(BaseMessage, item).id)
    return (
        isinstance(item, BaseMessage)
        and not isinstance(item, RemoveMessage | BaseMessageChunk)
        and bool(item.id)
    )


def _id_of(item: object, place: int, message: BaseMessage) -> str:
    """Name a message: an object once and for all, a plain value by its place and content."""
    if isinstance(item, BaseMessage):
        return str(uuid4())
    return str(uuid5(NAMESPACE_OID, f"{place}|{message.type}|{message.content!r}"))


def convert_tool_content_to_text(messages: Iterable[BaseMessage]) -> list[AnyMessage]:
    """Rewrite tool calls and their results as text, so that a history can cross threads.

    A model that did not make a tool call may not be sent it: providers refuse calls of tools
    that are not bound, and calls without results. A call becomes a line of its message's
    text; a result becomes a message of the user's side that names the tool.

    Args:
        messages: Any history, also one with calls whose results are missing.

    Returns:
        The same conversation without a tool call, a tool message or a tool content block.
    """
    names: dict[str, str] = {}
    converted: list[AnyMessage] = []
    for message in messages:
        if isinstance(message, AIMessage):
            names.update({call["id"] or "": call["name"] for call in message.tool_calls})
            if isinstance(message.content, str) and not _has_calls(message):
                converted.append(message)
            elif text := _call_text(message):
                facts = message.response_metadata
                converted.append(
                    AIMessage(text, id=message.id, name=message.name, response_metadata=facts)
                )
        elif isinstance(message, ToolMessage):
            name = message.name or names.get(message.tool_call_id, "tool")
            converted.append(HumanMessage(f"[result of {name}] {message.text}", id=message.id))
        else:
            converted.append(cast(AnyMessage, message))
    return converted


def _has_calls(message: AIMessage) -> bool:
    return bool(message.tool_calls or message.invalid_tool_calls)


def _call_text(message: AIMessage) -> str:
    calls = [
        f"[call of {call['name']}] {json.dumps(call['args'], ensure_ascii=False, default=str)}"
        for call in message.tool_calls
    ]
    calls += [
        f"[broken call of {call.get('name')}] {call.get('args')}"
        for call in message.invalid_tool_calls
    ]
    return "\n".join(part for part in (message.text, *calls) if part)


def words_of(message: BaseMessage) -> str:
    """Return the text of a message: what it says, or how it refuses, or what was spoken."""
    if (text := str(message.text)).strip():
        return clean_text(text)
    blocks = [block for block in message.content if isinstance(block, dict)]
    said = [
        message.additional_kwargs.get("refusal"),
        *(block.get("refusal") for block in blocks if block.get("type") == "refusal"),
        _audio(message).get("transcript"),
    ]
    return clean_text("\n".join(part for part in said if isinstance(part, str)))


def media_of(message: BaseMessage) -> list[dict[str, Any]]:
    """Return the pictures, recordings and files of an answer as content blocks of plain JSON.

    Raises:
        TypeError: One of them cannot be written as JSON.
    """
    if isinstance(data := _audio(message).get("data"), str):
        return [{"type": "audio", "base64": data, "mime_type": "audio/wav"}]
    if isinstance(message.content, str):
        return []
    found: list[dict[str, Any]] = []
    for block in message.content_blocks:
        if block["type"] not in MEDIA:
            continue
        plain = {key: value for key, value in block.items() if not _is_made_up(key, value)}
        try:
            found.append(from_json(to_json(clean(plain), bytes_mode="base64")))
        except PydanticSerializationError as error:
            raise TypeError(f"its answer has a block {block['type']!r} that is no JSON") from error
    return found


def media_in_request(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Return what a user has sent besides text: the content blocks as they were written."""
    blocks = [block for m in messages if isinstance(m.content, list) for block in m.content]
    return [block for block in blocks if isinstance(block, dict) and block.get("type") != "text"]


def with_media(
    text: str, media: Sequence[Mapping[str, Any]] | None
) -> str | list[str | dict[str, Any]]:
    """Return the content of a message that says `text` and holds `media`."""
    said = [{"type": "text", "text": text}] if text.strip() else []  # some refuse an empty block
    return [*said, *map(dict, media)] if media else text


def _audio(message: BaseMessage) -> Mapping[str, Any]:
    """Return the recording that OpenAI's models answer with, beside the content."""
    found = message.additional_kwargs.get("audio")
    return cast(Mapping[str, Any], found) if isinstance(found, dict) else {}


def _is_made_up(key: str, value: object) -> bool:
    """Whether a field is an id that LangChain makes anew at each reading of a block."""
    return key == "id" and isinstance(value, str) and value.startswith("lc_")


def answer_dangling_calls(messages: Sequence[BaseMessage]) -> list[ToolMessage]:
    """Return results for the tool calls of the last message that have none.

    A process that died between a call and its result leaves such a call behind, and a model
    refuses a history that holds one.
    """
    answered: set[str] = set()
    for message in reversed(messages):
        if not isinstance(message, ToolMessage):
            break
        answered.add(message.tool_call_id)
    else:
        return []
    calls = message.tool_calls if isinstance(message, AIMessage) else []
    return [
        ToolMessage(
            "This call was interrupted; whether it took effect is not known.",
            tool_call_id=call["id"] or "",
            name=call["name"],
            id=f"interrupted-{call['id']}",
            status="error",
        )
        for call in calls
        if call["id"] not in answered
    ]


def history_fault(messages: Iterable[BaseMessage]) -> str | None:
    """Say what a model would refuse in a history, or return None.

    Each tool call has exactly one result, right after it; only those of the last message may
    still wait for theirs. A call whose arguments could not be read may have one.
    """
    waiting: set[str] = set()
    unread: set[str] = set()
    for message in messages:
        if isinstance(message, ToolMessage):
            if message.tool_call_id not in waiting | unread:
                return "a tool result stands without its call"
            waiting.discard(message.tool_call_id)
            unread.discard(message.tool_call_id)
        elif waiting:
            return "a tool call stands without its result"
        elif isinstance(message, AIMessage):
            waiting = {call["id"] or "" for call in message.tool_calls}
            unread = {call["id"] or "" for call in message.invalid_tool_calls}
    return None


def clean_text(text: str) -> str:
    """Replace what cannot be stored or sent, and take out what steers a terminal.

    Lone surrogates and null characters are replaced; escape sequences and control characters
    but tabs and line ends are taken out.
    """
    if _is_clean(text):
        return text
    text = text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "�")
    return without_controls(text)


DEPTH = 400
"""How deep a value may be nested; what is deeper cannot be stored on each interpreter."""


def clean(value: T, depth: int = 0) -> T:
    """Clean every text in a plain JSON value or a message.

    Args:
        value: The value.
        depth: How deep it lies in another one.

    Returns:
        `value` itself where there is nothing to replace.

    Raises:
        RecursionError: It is nested deeper than `DEPTH`.
    """
    given: object = value
    if _is_clean(given):
        return value
    if depth > DEPTH:
        raise RecursionError(f"a value is nested deeper than {DEPTH} levels")
    if isinstance(given, str):
        text = clean_text(given)
        return value if text == given else cast(T, text)
    if isinstance(given, BaseMessage):
        return cast(T, _clean_message(given))
    if isinstance(given, list):
        items = cast(list[object], given)
        new = [clean(item, depth + 1) for item in items]
        return value if all(map(operator.is_, new, items)) else cast(T, new)
    if isinstance(given, dict):
        named = cast(dict[object, object], given)
        pairs = {clean(key): clean(item, depth + 1) for key, item in named.items()}
        same = map(operator.is_, (*pairs, *pairs.values()), (*named, *named.values()))
        return value if all(same) else cast(T, pairs)
    return value


def _clean_message(message: BaseMessage) -> BaseMessage:
    fields = vars(message)
    changed: dict[str, Any] = {}
    for name in _TEXTS:
        text = fields.get(name)
        if text and (new := clean(text)) is not text:
            changed[name] = new
    return message.model_copy(update=changed) if changed else message


def _is_clean(value: object) -> bool:
    """Whether a look is enough to tell that there is nothing to replace."""
    kind = type(value)
    if kind is str:
        text = cast(str, value)
        return text.isascii() and text.isprintable()
    return kind in _PLAIN
