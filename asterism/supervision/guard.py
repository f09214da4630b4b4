"""A guard: hears of every model and tool call of an attempt, and may refuse it."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Protocol, Self
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult


class CallObserver(Protocol):
    """An attempt, as its guard tells it of calls; from any thread."""

    def calls_model(self, call: UUID) -> None:
        """A model is about to be called; raise to refuse."""
        ...

    def uses_tool(self) -> None:
        """A tool is about to be used; raise to refuse."""
        ...

    def streams(self, call: UUID) -> None:
        """A piece of an answer has come."""
        ...

    def record_answer(self, call: UUID, *, whole: bool) -> None:
        """A model call is over, well or not."""
        ...

    def beat(self) -> None:
        """Something else has happened."""
        ...


class _NoSteps(BaseCallbackHandler):
    """Is not told of steps: the stream of the run tells of them."""

    raise_error = True

    def __init__(self, attempt: CallObserver) -> None:
        self._attempt = attempt

    def __deepcopy__(self, memo: Any) -> Self:
        """Stay the one that it is: servers copy the configs of runs."""
        return self

    @property
    def ignore_chain(self) -> bool:
        """Whether it is not told of steps."""
        return True

    @property
    def ignore_retry(self) -> bool:
        """Whether it is not told of retries: each try is told as a call."""
        return True


class QuotaCallbackHandler(_NoSteps):
    """Tells an attempt of its calls, in the thread that makes them."""

    run_inline = True

    def on_chat_model_start(
        self,
        serialized: Any,
        messages: Sequence[Sequence[BaseMessage]],
        *,
        run_id: UUID,
        **kwargs: Any,
    ) -> None:
        """Let a chat model be called, or not."""
        if not _in_loop():
            self._attempt.calls_model(run_id)

    def on_llm_start(
        self, serialized: Any, prompts: Sequence[str], *, run_id: UUID, **kwargs: Any
    ) -> None:
        """Let a model of texts be called, or not."""
        if not _in_loop():
            self._attempt.calls_model(run_id)

    def on_llm_new_token(self, token: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Count a piece of an answer that says something."""
        if token:
            self._attempt.streams(run_id)
        else:
            self._attempt.beat()

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Hear that a model has answered."""
        self._attempt.record_answer(run_id, whole=True)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Hear that a model call has failed."""
        self._attempt.record_answer(run_id, whole=False)

    def on_tool_start(self, serialized: Any, input_str: str, **kwargs: Any) -> None:
        """Let a tool be used, or not."""
        self._attempt.uses_tool()

    def on_tool_end(self, output: Any, **kwargs: Any) -> None:
        """Hear that a tool is done."""
        self._attempt.beat()

    def on_tool_error(self, error: BaseException, **kwargs: Any) -> None:
        """Hear that a tool has failed."""
        self._attempt.beat()

    def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
        """Hear that something is looked up."""
        self._attempt.beat()

    def on_retriever_end(self, documents: Any, **kwargs: Any) -> None:
        """Hear that it was found."""
        self._attempt.beat()

    def on_custom_event(self, name: str, data: Any, **kwargs: Any) -> None:
        """Hear of an event that the graph tells of itself."""
        self._attempt.beat()


class AsyncQuotaCallbackHandler(_NoSteps, AsyncCallbackHandler):
    """Lets async model calls be made, or not.

    LangChain leaves coroutines behind that nobody awaits where an inline handler refuses one.
    """

    @property
    def ignore_agent(self) -> bool:
        """Whether it is not told of tools."""
        return True

    @property
    def ignore_retriever(self) -> bool:
        """Whether it is not told of what is looked up."""
        return True

    @property
    def ignore_custom_event(self) -> bool:
        """Whether it is not told of the graph's own events."""
        return True

    @property
    def ignore_chat_model(self) -> bool:
        """Whether the call is a sync one, of which the other guard is told."""
        return not _in_loop()

    @property
    def ignore_llm(self) -> bool:
        """Whether the call is a sync one, of which the other guard is told."""
        return not _in_loop()

    async def on_chat_model_start(
        self,
        serialized: Any,
        messages: Sequence[Sequence[BaseMessage]],
        *,
        run_id: UUID,
        **kwargs: Any,
    ) -> None:
        """Let a chat model be called, or not."""
        self._attempt.calls_model(run_id)

    async def on_llm_start(
        self, serialized: Any, prompts: Sequence[str], *, run_id: UUID, **kwargs: Any
    ) -> None:
        """Let a model of texts be called, or not."""
        self._attempt.calls_model(run_id)


def _is_no_refusal(record: logging.LogRecord) -> bool:
    """Whether LangChain warns of something else than a call that was refused on purpose."""
    said = [str(part) for part in record.args] if isinstance(record.args, tuple) else []
    names = (QuotaCallbackHandler.__name__, AsyncQuotaCallbackHandler.__name__)
    return not (len(said) == 3 and said[0] in names and said[2].startswith("GraphDrained("))


logging.getLogger("langchain_core.callbacks.manager").addFilter(_is_no_refusal)


def _in_loop() -> bool:
    """Whether this thread runs an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
