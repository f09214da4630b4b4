"""A chat model that follows a script, and embeddings that need no model."""

import asyncio
import hashlib
import json
import math
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, BaseMessage, ToolCall, UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from asterism.core.sync_async import Call, Steps, arun_steps, run_steps
from asterism.errors import AsterismError
from asterism.offline.model import LocalChatModel, message_chunks
from asterism.storage.ranked_store import COMMON

_ENDINGS = re.compile(r"(?:ies|ing|ed|es|s|d|e|y)$")


class WordEmbeddings(Embeddings):
    """Texts that share words, or the beginnings and parts of words, are close.

    Each word and each three letters in it fall into places of the vector by their hash; a
    common word weighs little. It knows nothing of meaning: use it where a test
    needs some embeddings, not to judge how well real ones work.

    Args:
        size: How many numbers a vector has.
        synonyms: Words, each with the one that it is taken for.
    """

    def __init__(self, size: int = 512, *, synonyms: Mapping[str, str] | None = None) -> None:
        self.size = size
        self.synonyms = dict(synonyms or {})
        self.calls: list[str] = []
        """The texts that were embedded."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts."""
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Embed a text."""
        self.calls.append(text)
        vector = [0.0] * self.size
        for part, weight in self._parts(text):
            place = int.from_bytes(hashlib.blake2b(part.encode(), digest_size=8).digest())
            vector[place % self.size] += weight if place >> 63 else -weight
        return vector

    def _parts(self, text: str) -> Iterator[tuple[str, float]]:
        for found in map(str, re.findall(r"\w+", text.casefold())):
            word = self.synonyms.get(found, found)
            stem = _ENDINGS.sub("", word) if len(word) > 3 else word
            weight = 0.1 if word in COMMON else 1.0
            yield stem, weight
            for start in range(len(stem) - 2):
                yield f"#{stem[start : start + 3]}", weight / math.sqrt(len(stem))


class UnexpectedModelCallError(AsterismError, AssertionError):
    """A scripted model was called more often than its script has replies."""

    code = "unexpected_model_call"


@dataclass(frozen=True, kw_only=True)
class ScriptedReply:
    """One reply of a script, where a plain text or message does not say enough."""

    text: str = ""
    tool_calls: Sequence[tuple[str, Mapping[str, Any]]] = ()
    """Tools to call: name and arguments."""
    usage: tuple[int, int] | None = None
    """Input and output tokens. None: the words of the prompt and of the reply are counted."""
    delay: float = 0.0
    """Seconds until the reply, or until the error."""
    error: BaseException | None = None
    """What is raised instead of a reply, or after `cut_after` chunks of a stream."""
    cut_after: int | None = None
    """When streamed: how many chunks come before the error, or before the stream just ends."""


Reply = (
    str
    | AIMessage
    | BaseModel
    | Mapping[str, Any]
    | BaseException
    | ScriptedReply
    | Callable[[list[BaseMessage]], Any]
)
"""A text, a message, a structured answer, an error, or a function of the prompt to one."""


@dataclass(frozen=True, kw_only=True)
class ScriptedCall:
    """One call that a scripted model got."""

    messages: list[BaseMessage]
    """The prompt."""
    tools: list[str]
    """The names of the tools that were bound."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What else was bound or passed: `tool_choice`, `response_format`, ..."""


class ScriptedChatModel(LocalChatModel):
    """A chat model for tests: it gives the replies of its script, one per call, in order.

    Works with `bind_tools`, `with_structured_output`, streaming, sync and async. A structured
    answer (a mapping or a pydantic object) is given as a call of the tool that has to be
    called, or of the only tool, or as JSON text where there is none.

    Example:
        ```python
        model = ScriptedChatModel(script=["Hello", {"next_agent": None}])
        ...
        model.assert_finished()
        ```
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    script: Sequence[Any] = Field(default=())
    """The replies; see `Reply`."""
    sleep: Callable[[float], None] = time.sleep
    """Waits for a reply's delay in sync calls."""
    asleep: Callable[[float], Any] = asyncio.sleep
    """Waits for a reply's delay in async calls."""

    _calls: list[ScriptedCall] = PrivateAttr(default_factory=list[ScriptedCall])
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    @property
    def calls(self) -> list[ScriptedCall]:
        """The calls so far, also those beyond the script."""
        return self._calls

    def assert_finished(self) -> None:
        """Check that every reply was asked for, and none too many.

        Raises:
            AssertionError: The model was called too often or not often enough.
        """
        if len(self._calls) != len(self.script):
            raise AssertionError(
                f"the script has {len(self.script)} replies, the model was called "
                f"{len(self._calls)} times"
            )

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return _result(*run_steps(self._begin(messages, kwargs)))

    async def _agenerate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return _result(*await arun_steps(self._begin(messages, kwargs)))

    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in _chunks(*run_steps(self._begin(messages, kwargs))):
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in _chunks(*await arun_steps(self._begin(messages, kwargs))):
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    def _begin(
        self, messages: list[BaseMessage], options: Mapping[str, Any]
    ) -> Steps[tuple[ScriptedReply, AIMessage]]:
        """Take the next reply, and wait as long as it says."""
        reply, message = self._next(messages, options)
        if reply.delay:
            yield Call(self.sleep, self.asleep, (reply.delay,))
        return reply, message

    def _next(
        self, messages: list[BaseMessage], options: Mapping[str, Any]
    ) -> tuple[ScriptedReply, AIMessage]:
        """Take the next reply of the script and note the call."""
        tools = [tool["function"]["name"] for tool in options.get("tools") or ()]
        with self._lock:
            place = len(self._calls)
            call = ScriptedCall(messages=list(messages), tools=tools, options=dict(options))
            self._calls.append(call)
        if place >= len(self.script):
            raise UnexpectedModelCallError(
                f"call {place + 1} of a script of {len(self.script)} replies; the last message "
                f"of the prompt: {messages[-1].text[:200]!r}"
            )
        return _read(self._entry_at(place, tools), messages, tools, options.get("tool_choice"))

    def _entry_at(self, place: int, tools: Sequence[str]) -> Any:
        """Return what the script says at a place."""
        return self.script[place]


def _read(
    given: Any, messages: list[BaseMessage], tools: list[str], choice: object
) -> tuple[ScriptedReply, AIMessage]:
    while callable(given) and not isinstance(given, type | str):  # a message's `text` is callable
        given = given(messages)
    reply = given if isinstance(given, ScriptedReply) else ScriptedReply()
    if isinstance(given, BaseException):
        reply, message = ScriptedReply(error=given), AIMessage("")
    elif isinstance(given, ScriptedReply):
        calls = [_tool_call(name, args, i) for i, (name, args) in enumerate(given.tool_calls)]
        message = AIMessage(str(given.text), tool_calls=calls)
    elif isinstance(given, AIMessage):
        message = given.model_copy()
    elif isinstance(given, str):
        message = AIMessage(str(given))
    else:
        message = _structured_message(given, tools, choice)
    if message.usage_metadata is None:
        message.usage_metadata = _usage(reply, messages, message)
    return reply, message


def _structured_message(given: Any, tools: list[str], choice: object) -> AIMessage:
    if isinstance(given, BaseModel):
        given = given.model_dump(mode="json")
    forced = [name for name in tools if name == choice] or tools
    if len(forced) == 1:
        return AIMessage("", tool_calls=[_tool_call(forced[0], given, 0)])
    return AIMessage(json.dumps(given))


def _tool_call(name: str, args: Mapping[str, Any], place: int) -> ToolCall:
    return ToolCall(name=name, args=dict(args), id=f"call_{place}_{time.monotonic_ns()}")


def _usage(
    reply: ScriptedReply, messages: Sequence[BaseMessage], message: AIMessage
) -> UsageMetadata:
    words = sum(len(m.text.split()) for m in messages), len(message.text.split())
    sent, said = reply.usage or words
    return UsageMetadata(input_tokens=sent, output_tokens=said, total_tokens=sent + said)


def _result(reply: ScriptedReply, message: AIMessage) -> ChatResult:
    if reply.error is not None:
        raise reply.error
    return ChatResult(generations=[ChatGeneration(message=message)])


def _chunks(reply: ScriptedReply, message: AIMessage) -> Iterator[ChatGenerationChunk]:
    """Stream a reply up to its end, its error or its cut."""
    *parts, end = message_chunks(message)
    for place, part in enumerate(parts):
        if place == reply.cut_after:
            if reply.error is not None:
                raise reply.error
            return
        yield ChatGenerationChunk(message=part)
    if reply.error is not None:
        raise reply.error
    yield ChatGenerationChunk(message=end)


class MockBackend(ScriptedChatModel):
    """A scripted chat model by another name: it gives its responses one after the other.

    Args:
        responses: The replies, as the `script` of a `ScriptedChatModel`.
    """

    def __init__(self, responses: Sequence[Any] = (), **options: Any) -> None:
        options.setdefault("script", responses)
        super().__init__(**options)
