"""A chat model that asks for leave before each of its calls, and says what the call took.

LangChain has two hooks before a call, and neither will do. A `rate_limiter` does not know the
prompt, and nobody tells it how the call ended. A callback is called before the cache is looked
up, for all prompts of a batch before the first of them is sent, and is not told of the end when
an `ainvoke` is cancelled. So the methods that talk to the provider are wrapped themselves, in a
subclass of the model's class: whatever the model can do, it still does.
"""

import functools
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.runnables import Runnable, RunnableWithFallbacks
from langchain_core.runnables.base import RunnableBindingBase

from asterism.limits.admission_queue import AdmissionQueue, Reservation

EXPECTED_ANSWER_TOKENS = 500
"""Tokens that an answer is expected to have."""

Estimate = Callable[[Sequence[BaseMessage], Mapping[str, Any]], int]
"""How many tokens a call may take, from its messages and its options."""

_Method = Callable[..., Any]
_END: Any = object()
_held: ContextVar[tuple[Reservation, ...]] = ContextVar("asterism_slots", default=())
"""The calls that this code is part of: a model's own methods call each other."""


@dataclass(frozen=True, kw_only=True)
class ModelAdmission:
    """Where a model asks for leave."""

    admission: AdmissionQueue
    reserve: Callable[[int], Reservation]
    areserve: Callable[[int], Awaitable[Reservation]]
    estimate: Estimate | None = None
    """None: as `estimate_tokens` does."""

    def tokens(self, model: Any, messages: Sequence[BaseMessage], options: dict[str, Any]) -> int:
        """Return how many tokens to reserve for a call; never more than may pass."""
        if self.estimate is None:
            tokens = estimate_tokens(model, messages, options)
        else:
            tokens = self.estimate(messages, options)
        most = self.admission.limits.tokens_per_minute
        return tokens if most is None else min(tokens, most)

    def is_open(self) -> bool:
        """Whether this is part of a call that has leave already."""
        return any(slot.admission is self.admission and slot.is_held() for slot in _held.get())


def with_admission(model: Runnable[Any, Any], gate: ModelAdmission) -> Runnable[Any, Any]:
    """Return a copy of a chat model that asks for leave.

    Raises:
        TypeError: It is no chat model, nor one with bound arguments, retries or fallbacks.
    """
    if isinstance(model, BaseChatModel):
        copy = model.model_copy()
        object.__setattr__(copy, "__class__", _subclass(type(model), gate))
        return copy
    if isinstance(model, RunnableBindingBase):
        return model.model_copy(update={"bound": with_admission(model.bound, gate)})
    if isinstance(model, RunnableWithFallbacks):
        fallbacks = [with_admission(fallback, gate) for fallback in model.fallbacks]
        return model.model_copy(
            update={"runnable": with_admission(model.runnable, gate), "fallbacks": fallbacks}
        )
    raise TypeError(
        f"a {type(model).__name__} cannot be wrapped; allowed: a chat model, also with bound "
        "arguments, retries or fallbacks. Wrap the model itself, then build on it"
    )


def estimate_tokens(
    model: object, messages: Sequence[BaseMessage], options: Mapping[str, Any]
) -> int:
    """Guess how many tokens a call takes: the prompt, the tools, and an answer."""
    names = ("max_tokens", "max_completion_tokens", "max_output_tokens")
    limits = [options.get(name) or getattr(model, name, None) for name in names]
    answer = min([EXPECTED_ANSWER_TOKENS, *(limit for limit in limits if isinstance(limit, int))])
    tools = len(str(options.get("tools") or "")) // 4
    return count_tokens_approximately(messages) + tools + max(answer, 0)


def _subclass(cls: type[BaseChatModel], gate: ModelAdmission) -> type[BaseChatModel]:
    """Make a class of the same name: it is in traces, in caches and in what is serialized."""
    body: dict[str, Any] = {
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
    }
    streams, astreams = _has(cls, "_stream"), _has(cls, "_stream") or _has(cls, "_astream")
    for name, there, make in (
        ("_generate", True, _call),
        ("_agenerate", True, _acall),
        ("_stream", streams, _stream),  # a model that cannot stream must not seem to
        ("_astream", astreams, _astream),
        ("_stream_chat_model_events", _has(cls, "_stream_chat_model_events"), _stream),
        ("_astream_chat_model_events", _has(cls, "_astream_chat_model_events"), _astream),
    ):
        if there:
            body[name] = make(getattr(cls, name), gate)
    metaclass: Any = type(cls)
    return cast(type[BaseChatModel], metaclass(cls.__name__, (cls,), body))


def _has(cls: type[BaseChatModel], name: str) -> bool:
    return getattr(cls, name, None) is not getattr(BaseChatModel, name, None)


def _call(method: _Method, gate: ModelAdmission) -> _Method:
    @functools.wraps(method)
    def call(self: Any, messages: Any, *args: Any, **options: Any) -> Any:
        if gate.is_open():
            return method(self, messages, *args, **options)
        with gate.reserve(gate.tokens(self, messages, options)) as slot, _holding(slot):
            result = method(self, messages, *args, **options)
            _end(slot, _count_tokens(*result.generations[:1]))
            return result

    return call


def _acall(method: _Method, gate: ModelAdmission) -> _Method:
    @functools.wraps(method)
    async def call(self: Any, messages: Any, *args: Any, **options: Any) -> Any:
        if gate.is_open():
            return await method(self, messages, *args, **options)
        with await gate.areserve(gate.tokens(self, messages, options)) as slot, _holding(slot):
            result = await method(self, messages, *args, **options)
            _end(slot, _count_tokens(*result.generations[:1]))
            return result

    return call


def _stream(method: _Method, gate: ModelAdmission) -> _Method:
    @functools.wraps(method)
    def stream(self: Any, messages: Any, *args: Any, **options: Any) -> Iterator[Any]:
        if gate.is_open():
            yield from method(self, messages, *args, **options)
            return
        taken = 0
        with gate.reserve(gate.tokens(self, messages, options)) as slot:
            chunks = method(self, messages, *args, **options)
            try:
                while (chunk := _next(chunks, slot)) is not _END:
                    taken += _count_tokens(chunk)
                    if _is_last(chunk):
                        _end(slot, taken)
                    yield chunk
            finally:
                getattr(chunks, "close", bool)()
            _end(slot, taken)

    return stream


def _astream(method: _Method, gate: ModelAdmission) -> _Method:
    @functools.wraps(method)
    async def stream(self: Any, messages: Any, *args: Any, **options: Any) -> AsyncIterator[Any]:
        if gate.is_open():
            async for chunk in method(self, messages, *args, **options):
                yield chunk
            return
        taken = 0
        with await gate.areserve(gate.tokens(self, messages, options)) as slot:
            chunks = method(self, messages, *args, **options)
            try:
                while (chunk := await _anext(chunks, slot)) is not _END:
                    taken += _count_tokens(chunk)
                    if _is_last(chunk):
                        _end(slot, taken)
                    yield chunk
            finally:
                if hasattr(chunks, "aclose"):
                    await chunks.aclose()
            _end(slot, taken)

    return stream


def _next(chunks: Iterator[Any], slot: Reservation) -> Any:
    with _holding(slot):
        return next(chunks, _END)


async def _anext(chunks: AsyncIterator[Any], slot: Reservation) -> Any:
    with _holding(slot):
        return await anext(chunks, _END)


@contextmanager
def _holding(slot: Reservation) -> Generator[None]:
    """Make what runs in here part of a call; between the chunks of a stream, nothing is."""
    token = _held.set((*_held.get(), slot))
    try:
        yield
    finally:
        with suppress(ValueError):  # collected as garbage in another context
            _held.reset(token)


def _count_tokens(*parts: Any) -> int:
    """Return the tokens that a generation, a chunk or an event of a stream tells of, or 0."""
    total = 0
    for part in parts:
        message = getattr(part, "message", None)
        usage: Any = getattr(message, "usage_metadata", None)
        if isinstance(part, dict):
            usage = cast(dict[str, Any], part).get("usage")
        tokens: Any = usage.get("total_tokens") if usage else None
        total += tokens if isinstance(tokens, int) and tokens > 0 else 0
    return total


def _is_last(chunk: Any) -> bool:
    """Whether nothing comes after it; LangChain does not even look, and keeps the stream open."""
    return isinstance(chunk, dict) and cast(dict[str, Any], chunk).get("event") == "message-finish"


def _end(slot: Reservation, taken: int) -> None:
    if taken:  # without a word, what was reserved stands
        slot.settle(taken)
    slot.release()
