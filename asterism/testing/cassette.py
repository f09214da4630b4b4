"""Cassettes: answers of real models, recorded once and replayed without a call."""

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self, cast, get_args

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, message_chunk_to_message
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from pydantic import ConfigDict, PrivateAttr

from asterism.core.agent_spec import ModelLike, resolve_model
from asterism.core.sync_async import Call, Steps, arun_steps, run_steps
from asterism.errors import ConfigurationError
from asterism.offline.model import LocalChatModel, message_chunks
from asterism.testing.cassette_requests import Request, canonical_request
from asterism.testing.tape import CassetteFile

_ALONE: RunnableConfig = {"callbacks": [], "metadata": {}, "tags": []}
"""The real call is part of ours: whoever watches is told of it once."""


class CassetteChatModel(LocalChatModel):
    """A chat model whose answers are recorded on a cassette, or come from it.

    Tools, structured output, streams, sync and async work as with any model. Structured output
    is asked for as a tool call, which every provider offers.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    tape: CassetteFile
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
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return run_steps(self._replay(messages, {**kwargs, "stop": stop}))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await arun_steps(self._replay(messages, {**kwargs, "stop": stop}))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
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
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
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


Mode = Literal["auto", "record", "replay"]
"""`"replay"` never calls a model, `"record"` always does; `"auto"` replays what there is."""

_ON = ("1", "true", "yes", "on")


class Cassette(CassetteFile):
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
        super().__init__(path, replays=replays, normalise=normalise)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None or self.failed:
            self.assert_finished()

    def wrap(self, model: ModelLike) -> CassetteChatModel:
        """Return a chat model whose calls are recorded or played back.

        Args:
            model: A chat model, or a `"provider:model"` name. A name is all that is needed to
                play back: no key, and no package of the provider.
        """
        return CassetteChatModel(tape=self, model=model)
