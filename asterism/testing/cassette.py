"""Cassettes: answers of real models, recorded once and replayed without a call."""

import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self, cast, get_args

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, message_chunk_to_message
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError

from asterism.core.agent_spec import ModelLike, resolve_model
from asterism.core.sync_async import Call, Steps, arun_steps, run_steps
from asterism.core.values import plain_facts, redact_values
from asterism.errors import AsterismError, ConfigurationError
from asterism.offline.model import LocalChatModel, message_chunks
from asterism.testing.cassette_requests import (
    Request,
    canonical_request,
    difference,
    key_of,
    nearest,
)

_ANSWER = ("content", "tool_calls", "invalid_tool_calls", "additional_kwargs", "usage_metadata")
_ABOUT = ("model_name", "model", "model_provider", "finish_reason", "stop_reason")
"""What is kept of an answer's `response_metadata`: headers and the like are not."""


class CassetteMismatchError(AsterismError, AssertionError):
    """A prompt is not what was recorded, or one that was recorded was not asked."""

    code = "cassette_mismatch"


class RecordedCall(BaseModel):
    """One call of a model, as the file has it."""

    request: Request
    answer: dict[str, Any]


class _File(BaseModel):
    version: Literal[1] = 1
    calls: list[RecordedCall]


Mode = Literal["auto", "record", "replay"]
"""`"replay"` never calls a model, `"record"` always does; `"auto"` replays what there is."""

_ON = ("1", "true", "yes", "on")


class Cassette:
    """A file of model calls and their answers.

    Example:
        ```python
        with Cassette("tests/cassettes/trip.json") as cassette:
            team = build_trip(model=cassette.wrap("openai:gpt-5-mini"))
            ...
        ```

    Where a prompt was recorded several times, its answers come in the order of the recording;
    different prompts may come in any order, as they do where participants work at once. After
    the first that differs no call is answered any more, so that a retry, a fallback model or the
    report of a participant that failed cannot hide it; the end of the `with` block raises it.
    Secrets are taken out of what is written; see `asterism.core.values`.

    Args:
        path: The file; it is readable JSON and is made to be kept with the tests.
        mode: `"auto"` replays where the file exists and records where it does not; in CI, where
            the variable `CI` is set, it does not record.
        normalise: Rewrites the texts of prompts before they are compared and written, for what
            differs each time, as today's date.

    Raises:
        ConfigurationError: The file is missing or is no cassette, or there is no such mode.
    """

    def __init__(
        self,
        path: Path | str,
        mode: Mode = "auto",
        *,
        normalise: Callable[[str], str] | None = None,
    ) -> None:
        if mode not in get_args(Mode):
            allowed = ", ".join(map(repr, get_args(Mode)))
            raise ConfigurationError(f"the mode of a cassette is {mode!r}; allowed: {allowed}")
        path = Path(path)
        replays = mode == "replay" or (mode == "auto" and path.exists())
        if mode == "auto" and not replays and os.environ.get("CI", "").lower() in _ON:
            raise ConfigurationError(
                f"there is no cassette {str(path)!r}, and nothing is recorded in CI. Record it "
                "on your own machine and keep it with the tests, or say mode='record'"
            )
        self.path = path
        self.replays = replays
        """Whether answers are played back; else they are recorded."""
        self.normalise = normalise
        self._lock = threading.Lock()
        self._calls: list[RecordedCall | None] = list(_read(path)) if replays else []
        self._open = list(range(len(self._calls)))  # the places that were not asked for yet
        self._keys = [key_of(call.request) for call in self._calls if call]
        self._failed: CassetteMismatchError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None or self._failed is not None:
            self.assert_finished()

    def wrap(self, model: ModelLike) -> "CassetteChatModel":
        """Return a chat model whose calls are recorded or played back.

        Args:
            model: A chat model, or a `"provider:model"` name. A name is all that is needed to
                play back: no key, and no package of the provider.
        """
        return CassetteChatModel(tape=self, model=model)

    def __deepcopy__(self, memo: Any) -> "Cassette":
        """Stay the one that it is: models are copied, and share it."""
        return self

    def assert_finished(self) -> None:
        """Check that every recorded call was asked for, and no other.

        Raises:
            CassetteMismatchError: One was not, or a prompt was asked that is not there.
        """
        if self._failed is not None:
            raise self._failed
        if self.replays and self._open:
            call = self._recording_at(self._open[0])
            last = (call.request.get("messages") or [{"content": ""}])[-1]["content"]
            raise CassetteMismatchError(
                f"{len(self._open)} of {len(self._calls)} recorded calls were not asked for; the "
                f"first is call {self._open[0] + 1} of {str(self.path)!r}, which ends with "
                f"{str(last)[:200]!r}. {_ANEW}"
            )

    def play(self, request: Request) -> AIMessage:
        """Return the recorded answer to a request.

        Raises:
            CassetteMismatchError: There is none; the message shows the difference.
        """
        key = key_of(request)
        with self._lock:
            if self._failed is not None:
                raise self._failed
            for place in self._open:
                if self._keys[place] == key:
                    self._open.remove(place)
                    return AIMessage.model_validate(self._recording_at(place).answer)
            self._failed = CassetteMismatchError(self._explain(request, key))
            raise self._failed

    def begin(self, request: Request) -> int:
        """Keep a place for a call that is being made: they are written in this order."""
        with self._lock:
            self._calls.append(None)
            self._keys.append(json.dumps(request))
            return len(self._calls) - 1

    def keep(self, place: int, answer: AIMessage) -> None:
        """Write the answer to a call that was begun."""
        with self._lock:
            request: Request = json.loads(self._keys[place])
            self._calls[place] = RecordedCall(request=request, answer=_plain(answer, place + 1))
            _write(self.path, [call for call in self._calls if call is not None])

    def _recording_at(self, place: int) -> RecordedCall:
        call = self._calls[place]
        assert call is not None
        return call

    def _explain(self, request: Request, key: str) -> str:
        where = repr(str(self.path))
        if times := self._keys.count(key):
            return f"A prompt is asked {times + 1} times, and {where} has it {times} times. {_ANEW}"
        others = [self._recording_at(place) for place in self._open]
        place = nearest(request, [call.request for call in others])
        if place is None:
            asked = len(self._calls) + 1
            return f"Call {asked} is asked, and {where} has {len(self._calls)} calls. {_ANEW}"
        shown = difference(others[place].request, request)
        return (
            f"A prompt is not in {where}. The nearest that was recorded and not asked for is call "
            f"{self._open[place] + 1}:\n{shown}\n{_ANEW}"
        )


_ANEW = "If the change is meant, record anew with mode='record' (pytest --asterism-record)."


def _read(path: Path) -> list[RecordedCall]:
    try:
        return _File.model_validate_json(path.read_bytes()).calls
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"there is no cassette {str(path)!r}; record it with mode='record'"
        ) from error
    except (OSError, ValidationError) as error:
        raise ConfigurationError(
            f"{str(path)!r} cannot be read as a cassette: {error}. Record it anew with "
            "mode='record'"
        ) from error


def _write(path: Path, calls: list[RecordedCall]) -> None:
    """Write the file at once, so that no one finds half of it."""
    text = json.dumps(_File(calls=calls).model_dump(), indent=2, ensure_ascii=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def _plain(answer: AIMessage, number: int) -> dict[str, Any]:
    """Return what is kept of an answer: what a run needs of it, without secrets."""
    facts: Mapping[str, Any] = answer.response_metadata
    kept: dict[str, Any] = {name: getattr(answer, name) for name in _ANSWER}
    kept["response_metadata"] = {name: facts[name] for name in _ABOUT if name in facts}
    kept = {name: value for name, value in kept.items() if value or name == "content"}
    text = json.dumps(redact_values(plain_facts(kept)))
    calls = [*answer.tool_calls, *answer.invalid_tool_calls]
    for place, call in enumerate(calls, 1):  # ids that are the same in each recording
        text = text.replace(json.dumps(call["id"]), f'"call_{number}_{place}"')
    plain: dict[str, Any] = json.loads(text)
    return plain


_ALONE: RunnableConfig = {"callbacks": [], "metadata": {}, "tags": []}
"""The real call is part of ours: whoever watches is told of it once."""


class CassetteChatModel(LocalChatModel):
    """A chat model whose answers are recorded on a cassette, or come from it.

    Tools, structured output, streams, sync and async work as with any model. Structured output
    is asked for as a tool call, which every provider offers.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    tape: Cassette
    """Where answers are kept."""
    model: Any
    """The real model, or its `"provider:model"` name."""

    _real: Runnable[Any, AIMessage] | None = PrivateAttr(default=None)

    @property
    def _llm_type(self) -> str:
        return "cassette"

    @property
    def name_of_model(self) -> str:
        """The name of the real model, without that of its provider."""
        return model_name(self.model)

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return run_steps(self._replay(messages, {**kwargs, "stop": stop}))

    async def _agenerate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return await arun_steps(self._replay(messages, {**kwargs, "stop": stop}))

    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        options = {**kwargs, "stop": stop}
        request = self._request(messages, options)
        if self.tape.replays:
            yield from map(_generation, message_chunks(self.tape.play(request)))
            return
        place, whole = self.tape.begin(request), _Whole()
        for chunk in self._bound_model(options).stream(messages, _ALONE):
            yield whole.add(chunk)
        self.tape.keep(place, whole.message())

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        options = {**kwargs, "stop": stop}
        request = self._request(messages, options)
        if self.tape.replays:
            for part in message_chunks(self.tape.play(request)):
                yield _generation(part)
            return
        place, whole = self.tape.begin(request), _Whole()
        async for chunk in self._bound_model(options).astream(messages, _ALONE):
            yield whole.add(chunk)
        self.tape.keep(place, whole.message())

    def _replay(self, messages: list[BaseMessage], options: Mapping[str, Any]) -> Steps[ChatResult]:
        request = self._request(messages, options)
        if self.tape.replays:
            answer = self.tape.play(request)
        else:
            place, real = self.tape.begin(request), self._bound_model(options)
            said: AIMessage = yield Call(real.invoke, real.ainvoke, (messages, _ALONE))
            answer = said.model_copy(update={"id": None})  # that of our own run is given to it
            self.tape.keep(place, answer)
        return ChatResult(generations=[ChatGeneration(message=answer)])

    def _request(self, messages: list[BaseMessage], options: Mapping[str, Any]) -> Request:
        return canonical_request(
            self.name_of_model, messages, options, normalise=self.tape.normalise
        )

    def _bound_model(self, options: Mapping[str, Any]) -> Runnable[Any, AIMessage]:
        """Return the real model with what was bound to this one."""
        if self._real is None:
            self._real = resolve_model(cast(ModelLike, self.model))
        given = {name: value for name, value in options.items() if value is not None}
        if tools := given.pop("tools", None):
            bound: Runnable[Any, AIMessage] = cast(Any, self._real).bind_tools(tools, **given)
            return bound
        return self._real.bind(**given) if given else self._real


class _Whole:
    """What has come of a stream so far."""

    def __init__(self) -> None:
        self._chunk: AIMessageChunk | None = None

    def add(self, chunk: Any) -> ChatGenerationChunk:
        """Add what came next, and return it as this model streams it."""
        if not isinstance(chunk, AIMessageChunk):
            chunk = AIMessageChunk(**chunk.model_dump(exclude={"type"}))
        self._chunk = chunk if self._chunk is None else self._chunk + chunk
        return _generation(chunk.model_copy(update={"id": None}))

    def message(self) -> AIMessage:
        """Return the whole answer."""
        whole = self._chunk or AIMessageChunk(content="")
        return cast(AIMessage, message_chunk_to_message(whole))


def model_name(model: object) -> str:
    """Return the name of a model, without that of its provider."""
    if isinstance(model, str):
        return model.rpartition(":")[2]
    for attribute in ("runnable", "bound"):  # with fallbacks, with bound arguments
        model = getattr(model, attribute, model)
    name = getattr(model, "model_name", None) or getattr(model, "model", None)
    return model_name(name) if name and name is not model else type(model).__name__


def _generation(chunk: AIMessageChunk) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=chunk)
