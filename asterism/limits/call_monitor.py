"""The callback handlers that tell a meter of model and tool calls."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult
from langgraph.errors import GraphBubbleUp

from asterism.core.sync_async import running_loop
from asterism.core.usage import Usage
from asterism.core.values import as_dict
from asterism.limits.budgets import BudgetLedger

REFUSALS = ("BudgetExceededError(", "GraphDrained(")
"""What handlers raise to stop a call that must not be made."""


def _is_not_refusal_log(record: logging.LogRecord) -> bool:
    """Whether a log record tells of a fault: LangChain logs whatever a handler raises."""
    args = record.args if isinstance(record.args, tuple) else ()
    return not (args and str(args[-1]).startswith(REFUSALS))


logging.getLogger("langchain_core.callbacks.manager").addFilter(_is_not_refusal_log)


class Metering(Protocol):
    """Counts calls and keeps them to budgets."""

    gate: BudgetLedger
    """The budgets that hold for the calls."""

    def began(
        self,
        run: UUID,
        name: str,
        facts: Mapping[str, Any],
        *,
        tool: bool = False,
        sent: Sequence[BaseMessage] = (),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Note that a call begins."""
        ...

    def estimate(
        self, run: UUID, sent: Sequence[BaseMessage], options: Mapping[str, Any]
    ) -> tuple[UUID, list[str], Usage, Usage]:
        """Return what a model call takes at least and at most, and whose budgets it is in."""
        ...

    def forget(self, run: UUID) -> None:
        """Forget a call that was not made."""
        ...

    def record_answer(self, run: UUID, response: LLMResult) -> None:
        """Note that a model has answered."""
        ...

    def record_failure(
        self,
        run: UUID,
        error: BaseException | None = None,
        response: LLMResult | None = None,
    ) -> None:
        """Note that a model call has failed."""
        ...

    def heard(self, run: UUID, characters: int) -> None:
        """Note that a part of an answer has come."""
        ...

    def record_tool(self, run: UUID, output: object, error: BaseException | None = None) -> None:
        """Note that a tool is done, or has failed."""
        ...


class _CallsOnly(BaseCallbackHandler):
    """Is told of model and tool calls, and of nothing else."""

    def __init__(self, meter: Metering) -> None:
        self._meter = meter

    def _is_async(self) -> bool:
        """Whether a call is made in an event loop that goes on meanwhile."""
        return running_loop() not in (None, self._meter.gate.held)

    @property
    def ignore_chain(self) -> bool:
        return True

    @property
    def ignore_retriever(self) -> bool:
        return True

    @property
    def ignore_retry(self) -> bool:
        return True

    @property
    def ignore_custom_event(self) -> bool:
        return True


class CallMonitor(_CallsOnly):
    """Tells a meter of model and tool calls, in the thread that makes them."""

    run_inline = True
    raise_error = True

    def on_chat_model_start(
        self,
        serialized: Any,
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Note that a model call begins, once there is room for it."""
        facts = metadata or {}
        options = as_dict(kwargs.get("invocation_params"))
        name = str(facts.get("ls_model_name") or "")
        self._meter.began(run_id, name, facts, sent=messages[0], options=options)
        gate = self._meter.gate
        if gate and not self._is_async():
            try:
                gate.enter(*self._meter.estimate(run_id, messages[0], options))
            except BaseException:
                self._meter.forget(run_id)
                raise

    def on_llm_new_token(
        self, token: str | list[Any], *, chunk: Any = None, run_id: UUID, **kwargs: Any
    ) -> None:
        """Note a part of an answer, for when the rest does not come."""
        calls = getattr(getattr(chunk, "message", None), "tool_call_chunks", None) or ()
        length = len(token) if isinstance(token, str) else len(str(token))
        self._meter.heard(run_id, length + sum(len(call["args"] or "") for call in calls))

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Count an answer."""
        self._meter.record_answer(run_id, response)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Count a failure, with what was answered before it."""
        self._meter.record_failure(run_id, error, kwargs.get("response"))

    def on_tool_start(
        self,
        serialized: Any,
        input_str: str,
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Note that a tool call begins."""
        name = kwargs.get("name") or as_dict(serialized).get("name") or "tool"
        self._meter.began(run_id, str(name), metadata or {}, tool=True)

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Count a tool that is done."""
        self._meter.record_tool(run_id, output)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Count a tool that failed; one that waits for a person is called again."""
        if isinstance(error, GraphBubbleUp):
            self._meter.forget(run_id)
        else:
            self._meter.record_tool(run_id, None, error)


class CallAdmission(_CallsOnly, AsyncCallbackHandler):
    """Keeps async model calls to budgets: it may wait without stopping the loop."""

    raise_error = True

    @property
    def ignore_llm(self) -> bool:
        """Whether it is not told of answers."""
        return True

    @property
    def ignore_agent(self) -> bool:
        """Whether it is not told of tools."""
        return True

    @property
    def ignore_chat_model(self) -> bool:
        """Whether the call is a sync one, which the other handler keeps."""
        return not self._is_async()

    async def on_chat_model_start(
        self,
        serialized: Any,
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        **kwargs: Any,
    ) -> None:
        """Wait until there is room for a model call."""
        gate = self._meter.gate
        if gate:
            options = as_dict(kwargs.get("invocation_params"))
            try:
                await gate.aenter(*self._meter.estimate(run_id, messages[0], options))
            except BaseException:
                self._meter.forget(run_id)
                raise
