"""A meter: counts model and tool calls as LangChain's callback handlers tell it of them."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.outputs import LLMResult
from langgraph.errors import GraphBubbleUp

from asterism.core.digests import CHARACTERS_PER_TOKEN
from asterism.core.sync_async import Call, Steps, arun_steps, run_steps, running_loop
from asterism.core.usage import Usage, UsageEntry, merge_entries
from asterism.core.values import as_dict, as_list
from asterism.errors import ConfigurationError
from asterism.limits.budgets import BudgetLedger, scopes_of
from asterism.limits.prices import DEFAULT_PRICES, PriceTable
from asterism.limits.usage import (
    answer_message,
    estimate_tokens,
    has_usage,
    is_from_cache,
    is_of_model,
    reported_usage,
    says_anything,
    tool_cost,
)

if TYPE_CHECKING:
    from asterism.limits.contracts import RunContracts

OUTPUT_GUESS = 4_096
"""How many tokens a model is taken to answer with at most, where the call does not say."""
_OUTPUT_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


@dataclass
class _Open:
    """A call that is under way."""

    by: str
    task: str | None
    name: str
    began: float
    tool: bool = False
    sent: Sequence[BaseMessage] = ()
    tools: Sequence[Any] = ()
    """Those that a model was offered."""

    heard: int = 0
    """How many characters of the answer have been streamed."""

    def tokens_sent(self) -> int:
        """Estimate how many tokens were sent."""
        shown: list[Any] = [found for tool in self.tools if (found := as_dict(tool))]
        return estimate_tokens(self.sent, shown)


@dataclass(frozen=True, kw_only=True)
class MeteredCall:
    """A call that is over."""

    entry: UsageEntry
    message_id: str | None
    """The id of the message that a model answered with."""
    error: str | None = None
    """The name of the error that it failed with."""


class UsageMeter:
    """Counts what the calls of a run take, as LangChain's callbacks tell of them.

    Give `handlers` to a run: `config={"callbacks": meter.handlers}`. It may be read and used
    from several threads.
    """

    def __init__(
        self, prices: PriceTable = DEFAULT_PRICES, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._prices = prices
        self._clock = clock
        self._lock = threading.RLock()
        self._open: dict[UUID, _Open] = {}
        self._lines: dict[tuple[Any, ...], UsageEntry] = {}
        self._watchers: list[Callable[[MeteredCall], None]] = []
        self._counted: set[str] = set()
        self._taken: dict[str, list[UsageEntry]] = {}
        self.gate = BudgetLedger()
        self.contracts: list[RunContracts] = []
        """The budgets and contracts that hold for the calls."""
        self.total = Usage()
        """Everything that was counted so far."""

    def __deepcopy__(self, memo: Any) -> "UsageMeter":
        """Stay the one that it is: servers copy the configs of runs."""
        return self

    def __reduce__(self) -> Any:
        """Become a new one elsewhere: servers store the configs of runs."""
        return (UsageMeter, (self._prices,))

    @property
    def is_limited(self) -> bool:
        """Whether any budget or contract holds."""
        return bool(self.gate or self.contracts)

    @property
    def handlers(self) -> list[BaseCallbackHandler]:
        """The callback handlers that tell the meter of calls."""
        return [CallMonitor(self)]

    @property
    def gatekeepers(self) -> list[BaseCallbackHandler]:
        """The handlers that keep async calls to budgets, besides `handlers`."""
        return [CallAdmission(self)]

    def watch(self, watcher: Callable[[MeteredCall], None]) -> None:
        """Call `watcher` after each call that is over, in the thread that made the call."""
        self._watchers.append(watcher)

    def take(self, by: str) -> list[UsageEntry]:
        """Return the lines of somebody and of those below, and begin new ones; empty: of all."""
        if not self._lines:
            return []
        with self._lock:
            below = f"{by}/" if by else ""
            keys = [key for key in self._lines if key[0] == by or key[0].startswith(below)]
            lines = [self._lines.pop(key) for key in keys]
            for above, taken in self._taken.items():
                taken += [line for line in lines if f"{line['by']}/".startswith(f"{above}/")]
            return lines

    def note_taken(self, by: str, lines: list[UsageEntry]) -> None:
        """Add to `lines` what is taken of those below somebody, until `over(by)`."""
        with self._lock:
            self._taken[by] = lines

    def put_back(self, lines: Iterable[UsageEntry]) -> None:
        """Keep lines that were taken for a state which nobody reads any more."""
        with self._lock:
            for line in lines:
                self._keep(line)

    def _keep(self, entry: UsageEntry) -> None:
        key = tuple(entry.get(name) for name in ("by", "task", "model", "tool", "estimated"))
        line = self._lines.get(key)
        self._lines[key] = entry if line is None else merge_entries(line, entry)

    def over(self, by: str) -> None:
        """Note that whatever somebody had under way is over.

        LangChain tells of no end when an `ainvoke` is cancelled; what such a call had reserved
        would be kept from others.
        """
        with self._lock:
            self._taken.pop(by, None)
            left = [
                (run, began.tool)
                for run, began in self._open.items()
                if began.by == by or began.by.startswith(f"{by}/")
            ]
        for run, tool in left:
            (self.record_tool if tool else self.record_failure)(run, None)

    def recall(self, by: str, task: str | None, messages: Iterable[BaseMessage]) -> None:
        """Count answers that an earlier process got and this one did not see."""
        before: list[BaseMessage] = []
        for message in messages:
            before.append(message)
            answer = message if isinstance(message, AIMessage) else None
            if answer is None or answer.id in self._counted or is_from_cache(answer):
                continue
            if has_usage(answer) or is_of_model(answer):
                self._close(_Open(by, task, "", self._clock(), sent=before[:]), answer)
            for entry in reported_usage(answer, by, task, self._prices):
                self._note(entry, answer)
                for contract in self.contracts:
                    contract.settle(None, entry)

    # ---- what the handlers tell

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
        path = str(facts.get("participant_path") or "")
        if facts.get("participant") == "supervisor":
            path = f"{path}/supervisor" if path else "supervisor"
        tools = as_list((options or {}).get("tools"))
        began = _Open(path, facts.get("task"), name, self._clock(), tool, sent, tools)
        with self._lock:
            self._open[run] = began

    def enter(
        self, run: UUID, sent: Sequence[BaseMessage], options: Mapping[str, Any]
    ) -> Steps[None]:
        """Wait until a model call fits into every budget and contract, and reserve for it.

        Raises:
            BudgetExceededError: It does not fit.
            ConfigurationError: Money is limited, and the model's price is not known.
        """
        try:
            names, least, most = self._estimate(run, sent, options)
            yield Call(self.gate.enter, self.gate.aenter, (run, names, least, most))
            for contract in self.contracts:
                yield Call(contract.enter, contract.aenter, (run, least, most))
        except BaseException:
            self.forget(run)
            raise

    def _estimate(
        self, run: UUID, sent: Sequence[BaseMessage], options: Mapping[str, Any]
    ) -> tuple[list[str], Usage, Usage]:
        """Return whose budgets a model call is in, and what it takes at least and at most."""
        began = self._open[run]
        names = scopes_of(began.by, began.task)
        given = (options.get(key) for key in _OUTPUT_LIMITS)
        output = next((int(limit) for limit in given if limit), OUTPUT_GUESS)
        tokens = estimate_tokens(sent)
        least = self._estimate_usage(began.name, tokens, 0)
        most = self._estimate_usage(began.name, tokens, output)
        limits_money = any(contract.limits_money() for contract in self.contracts)
        if least.unknown and (limits_money or self.gate.limits_money(names)):
            raise ConfigurationError(
                f"money is limited, and the price of the model {began.name!r} is not known; give "
                "the builder prices=DEFAULT_PRICES.extended({...}) with it, or limit tokens"
            )
        return names, least, most

    def forget(self, run: UUID) -> None:
        """Forget a call that was not made, and give back what was reserved for it."""
        with self._lock:
            began = self._open.pop(run, None)
        if began is not None and not began.tool and self.is_limited:
            self.gate.spend(scopes_of(began.by, began.task), Usage(), run)
            for contract in self.contracts:
                contract.settle(run, None)

    def raise_limit(self, scope: str, measure: str, limit: str) -> None:
        """Raise a limit of a budget or a contract, by the scope of its breach."""
        if not any(c.raise_limit(scope, measure, limit) for c in self.contracts):
            self.gate.raise_limit(scope, measure, limit)

    def _estimate_usage(self, model: str, sent: int, said: int) -> Usage:
        cost = self._prices.cost(model, input_tokens=sent, output_tokens=said)
        return Usage(
            calls=1,
            input_tokens=sent,
            output_tokens=said,
            cost_usd=cost or Decimal(0),
            unknown=frozenset() if cost is not None else frozenset({model}),
        )

    def record_answer(self, run: UUID, response: LLMResult) -> None:
        """Note that a model has answered."""
        with self._lock:
            began = self._open.pop(run, None)
        message = answer_message(response)
        if began is None:
            return
        if is_from_cache(message):
            self._open[run] = began
            self.forget(run)
        else:
            self._close(began, message, run)

    def record_failure(
        self, run: UUID, error: BaseException | None = None, response: LLMResult | None = None
    ) -> None:
        """Note that a call has failed; it counts as a call.

        One that was cut off or cancelled has been sent, and is paid with what was answered until
        then. What a provider refused costs nothing.
        """
        with self._lock:
            began = self._open.pop(run, None)
        if began is None:
            return
        message = answer_message(response) if response is not None else None
        if not says_anything(message):
            sent = began.heard or not isinstance(error, Exception)
            message = AIMessage("") if sent else None
        self._close(began, message, run, error)

    def heard(self, run: UUID, characters: int) -> None:
        """Note that a part of an answer has come."""
        if began := self._open.get(run):
            began.heard += characters

    def record_tool(self, run: UUID, output: object, error: BaseException | None = None) -> None:
        """Note that a tool is done, or has failed."""
        with self._lock:
            began = self._open.pop(run, None)
        if began is not None:
            entry = self._entry(began, tool_cost(output))
            entry["tool"] = began.name
            self._note(entry, None, error=error)

    def _close(
        self,
        began: _Open,
        message: AIMessage | None,
        run: UUID | None = None,
        error: BaseException | None = None,
    ) -> None:
        usage: dict[str, Any] = dict(message.usage_metadata or {}) if message else {}
        estimated = message is not None and not has_usage(message)
        if message is not None and estimated:
            said = began.heard // CHARACTERS_PER_TOKEN
            if says_anything(message):
                said = count_tokens_approximately([message])
            usage = {"input_tokens": began.tokens_sent(), "output_tokens": said}
        details = as_dict(usage.get("input_token_details"))
        model = str((message.response_metadata.get("model_name") if message else "") or began.name)
        tokens = {
            "input_tokens": int(usage.get("input_tokens") or 0),
            "cached_input_tokens": int(details.get("cache_read") or 0),
            "cache_write_tokens": int(details.get("cache_creation") or 0),
            "output_tokens": int(usage.get("output_tokens") or 0),
        }
        try:
            cost = self._prices.cost(model, **tokens)
        except ValueError:  # numbers that make no sense: the call is made, its price unknown
            cost = None
        entry = self._entry(began, cost, **tokens)
        entry["model"] = model
        if estimated:
            entry["estimated"] = True
        self._note(entry, message, run, error)

    def _entry(self, began: _Open, cost: Decimal | None, **tokens: int) -> UsageEntry:
        entry = UsageEntry(
            by=began.by,
            calls=1,
            input_tokens=tokens.get("input_tokens", 0),
            cached_input_tokens=tokens.get("cached_input_tokens", 0),
            output_tokens=tokens.get("output_tokens", 0),
            seconds=round(self._clock() - began.began, 6),
            cost_usd=None if cost is None else str(cost),
        )
        if began.task:
            entry["task"] = began.task
        if written := tokens.get("cache_write_tokens"):
            entry["cache_write_tokens"] = written
        return entry

    def _note(
        self,
        entry: UsageEntry,
        message: AIMessage | None,
        run: UUID | None = None,
        error: BaseException | None = None,
    ) -> None:
        """Write an entry into the ledger, and tell the budgets and the watchers of it."""
        with self._lock:
            if message is not None and message.id:
                self._counted.add(message.id)
            self._keep(entry)
            self.total += Usage.of([entry])
        self.gate.record(entry, run)
        if run is not None:
            for contract in self.contracts:
                contract.settle(run, entry)
        failed = type(error).__name__ if error else None
        call = MeteredCall(entry=entry, message_id=message.id if message else None, error=failed)
        for watcher in self._watchers:
            watcher(call)


REFUSALS = ("BudgetExceededError(", "GraphDrained(")
"""What handlers raise to stop a call that must not be made."""


def _is_not_refusal_log(record: logging.LogRecord) -> bool:
    """Whether a log record tells of a fault: LangChain logs whatever a handler raises."""
    args = record.args if isinstance(record.args, tuple) else ()
    return not (args and str(args[-1]).startswith(REFUSALS))


logging.getLogger("langchain_core.callbacks.manager").addFilter(_is_not_refusal_log)


class _CallsOnly(BaseCallbackHandler):
    """Is told of model and tool calls, and of nothing else."""

    def __init__(self, meter: UsageMeter) -> None:
        self._meter = meter

    def _is_async(self) -> bool:
        """Whether a call is made in an event loop that goes on meanwhile."""
        return running_loop() not in (None, self._meter.gate.held)

    @property
    def ignore_chain(self) -> bool:  # there are many, and each would be looked up
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
        if self._meter.is_limited and not self._is_async():
            run_steps(self._meter.enter(run_id, messages[0], options))

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
    def ignore_chat_model(self) -> bool:
        """Whether the call is a sync one, which the other handler keeps."""
        return not self._is_async()

    async def on_chat_model_start(
        self, serialized: Any, messages: list[list[BaseMessage]], *, run_id: UUID, **kwargs: Any
    ) -> None:
        """Wait until there is room for a model call."""
        if self._meter.is_limited:
            options = as_dict(kwargs.get("invocation_params"))
            await arun_steps(self._meter.enter(run_id, messages[0], options))
