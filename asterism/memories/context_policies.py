"""Context policies: the part of a long history that a model is sent. The history stays whole."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, cast, runtime_checkable

from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.utils import (
    count_tokens_approximately,
    trim_messages,  # pyright: ignore[reportUnknownVariableType]  # partly untyped in LangChain
)
from typing_extensions import TypedDict

from asterism.core.agent_spec import MemoryConfig, ModelLike, resolve_model
from asterism.core.numbers import count_faults, fraction_faults, raise_number_faults
from asterism.errors import ModelNotFoundError

COMPACTION = "compaction"
"""The key of a state under which a compaction stands."""


class Compaction(TypedDict):
    """What stands for the beginning of a history in prompts; plain JSON, a few hundred bytes."""

    upto: str
    """The id of the last message that is left out."""
    kept: list[str]
    """The ids of those before it that stay."""
    summary: str
    """What the others say in short, where that was asked for."""


def group_tool_calls(messages: Iterable[AnyMessage]) -> list[list[AnyMessage]]:
    """Group a history into what belongs together: a tool call stands with its results."""
    units: list[list[AnyMessage]] = []
    for message in messages:
        if isinstance(message, ToolMessage) and units:
            units[-1].append(message)
        else:
            units.append([message])
    return units


def essential(messages: Sequence[BaseMessage]) -> set[str]:
    """Return the ids of what a participant cannot do without: its request, open tool calls."""
    pinned: set[str] = set()
    place = len(messages)
    while place and isinstance(messages[place - 1], ToolMessage):
        place -= 1
    last = messages[place - 1] if place else None
    if isinstance(last, AIMessage) and last.tool_calls:
        pinned |= {m.id or "" for m in messages[place - 1 :]}
    while place and not isinstance(messages[place - 1], HumanMessage):
        place -= 1
    while place and isinstance(messages[place - 1], HumanMessage):
        place -= 1
        pinned.add(messages[place].id or "")
    return pinned


def find_pinned_ids(messages: Iterable[AnyMessage], pinned: Collection[str]) -> set[str]:
    """Return the ids of all that stays: with rules, and with what belongs to it."""
    return {
        message.id or ""
        for unit in group_tool_calls(messages)
        if any(m.id in pinned or isinstance(m, SystemMessage) for m in unit)
        for message in unit
    }


def compact_messages(
    messages: Sequence[AnyMessage], keep: Collection[str], before: Compaction | None
) -> tuple[Compaction, list[AnyMessage]]:
    """Leave out of a history what is not kept.

    Returns:
        What stands for it from now on, and what is left out newly.
    """
    places = [place for place, message in enumerate(messages) if message.id not in keep]
    dropped, last = [messages[place] for place in places], places[-1]
    stays = [m for m in messages[:last] if m.id in keep]
    kept = [m.id or "" for m in stays if not isinstance(m, SystemMessage)]
    summary = before["summary"] if before else ""
    return Compaction(upto=dropped[-1].id or "", kept=kept, summary=summary), dropped


def with_messages(
    messages: Sequence[BaseMessage], compaction: Compaction | None
) -> Compaction | None:
    """Return a compaction while it holds for a history, else None.

    Where the cut is gone, the history was edited, and what stood for its beginning may tell of
    what has been forgotten since.
    """
    if compaction and any(m.id == compaction["upto"] for m in reversed(messages)):
        return compaction
    return None


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A history in the light of a compaction, each part in its order."""

    kept: list[AnyMessage]
    """What stays of its beginning."""
    gone: list[AnyMessage]
    """What is left out of it."""
    rest: list[AnyMessage]
    """All that came after the cut."""


def parts(
    messages: Sequence[AnyMessage], compaction: Compaction | None, also: Collection[str] = ()
) -> Parts:
    """Part a history at the cut."""
    if compaction is None:
        return Parts(kept=[], gone=[], rest=list(messages))
    cut = next(n for n in range(len(messages), 0, -1) if messages[n - 1].id == compaction["upto"])
    keep = {*compaction["kept"], *also}
    kept: list[AnyMessage] = []
    gone: list[AnyMessage] = []
    for message in messages[:cut]:
        stays = message.id in keep or isinstance(message, SystemMessage)
        (kept if stays else gone).append(message)
    return Parts(kept=kept, gone=gone, rest=list(messages[cut:]))


TokenCounter = Callable[[Sequence[BaseMessage]], int]
"""Counts the tokens of messages."""

Size = Callable[[BaseMessage], int]
"""Says how many tokens of a prompt a message is."""


@runtime_checkable
class ContextStrategy(Protocol):
    """Chooses what stays when a prompt gets too long."""

    def keep(self, messages: Sequence[AnyMessage], room: int, size: Size) -> Collection[AnyMessage]:
        """Return the messages that stay; a tool call without all of its results goes, too.

        Args:
            messages: What may go, oldest first.
            room: How many tokens may stay.
            size: Says how many tokens a message is.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class SlidingWindow:
    """The latest messages stay."""

    def keep(self, messages: Sequence[AnyMessage], room: int, size: Size) -> Sequence[AnyMessage]:
        """Return the latest messages that fit."""

        def total(some: list[BaseMessage]) -> int:
            return sum(map(size, some))

        kept: list[Any] = trim_messages(
            list(messages),
            max_tokens=max(room, 0),
            token_counter=total,
            strategy="last",
            start_on=(HumanMessage, AIMessage),
        )
        return kept


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The latest messages stay, and a model says in short what the others say.

    Args:
        keep_last: How many of the latest messages stay as they are, as far as they fit.
        summary_max_tokens: How many tokens the summary is, at most; never more than half of
            what stays.
        model: Who writes it. None: the model whose prompt it is for.
    """

    keep_last: int = 20
    summary_max_tokens: int = 1_000
    model: ModelLike | None = None

    def __post_init__(self) -> None:
        raise_number_faults(
            [
                *count_faults("keep_last", self.keep_last, least=0),
                *count_faults("summary_max_tokens", self.summary_max_tokens),
            ]
        )

    def keep(self, messages: Sequence[AnyMessage], room: int, size: Size) -> Sequence[AnyMessage]:
        """Return the latest messages that fit beside the summary."""
        latest = messages[max(0, len(messages) - self.keep_last) :]
        return SlidingWindow().keep(latest, room - self.allowance(room), size)

    def allowance(self, room: int) -> int:
        """Return how many tokens a summary may be where there is room for so many."""
        return max(0, min(self.summary_max_tokens, room // 2))


def importance(message: BaseMessage) -> float:
    """Score a message: what the user said, then results and reports, then the rest."""
    if isinstance(message, HumanMessage):
        return 3.0
    called = isinstance(message, AIMessage) and bool(message.tool_calls)
    return 1.0 if called or not message.text.strip() else 2.0


@dataclass(frozen=True, kw_only=True)
class Importance:
    """What scores highest stays, in its order; of equals, the latest.

    Args:
        score: Scores a message; what belongs together has its highest score.
    """

    score: Callable[[BaseMessage], float] = importance

    def keep(self, messages: Sequence[AnyMessage], room: int, size: Size) -> Sequence[AnyMessage]:
        """Return the messages with the highest scores that fit."""
        kept: list[AnyMessage] = []
        units = list(enumerate(group_tool_calls(messages)))
        for _, unit in sorted(units, key=lambda u: (max(map(self.score, u[1])), u[0]))[::-1]:
            needed = sum(map(size, unit))
            if needed <= room:
                room -= needed
                kept += unit
        return kept


StrategyName = Literal["sliding_window", "summary", "importance"]

_STRATEGIES: Mapping[str, Callable[[], ContextStrategy]] = {
    "sliding_window": SlidingWindow,
    "summary": Summary,
    "importance": Importance,
}
"""The strategies that a name stands for."""


@dataclass(frozen=True, kw_only=True)
class ContextManager:
    """Keeps prompts short: beyond `max_tokens` they are cut, and the history stays whole.

    The system prompt, the user's request and open tool calls with their results stay in any
    case. Between two cuts each prompt begins with the one before.

    Args:
        max_tokens: How many tokens of messages a prompt may be, with the system prompt.
        compression_ratio: To which part of `max_tokens` a prompt is cut, so that it need not be
            cut at each turn.
        strategy: What stays: `SlidingWindow()`, `Summary()`, `Importance()`, the name of one
            with its defaults, or one of your own.
        token_counter: Counts. None: the model's `custom_get_token_ids`, else LangChain's
            approximate count; what else models offer may ask a network, so it is used where it
            is given only.
    """

    max_tokens: int
    compression_ratio: float = 0.5
    strategy: "ContextStrategy | StrategyName" = field(default_factory=SlidingWindow)
    token_counter: TokenCounter | None = None

    def __post_init__(self) -> None:
        raise_number_faults(
            [
                *count_faults("max_tokens", self.max_tokens),
                *fraction_faults("compression_ratio", self.compression_ratio, above_zero=True),
            ]
        )
        strategy: Any = self.strategy
        if isinstance(strategy, str) and strategy in _STRATEGIES:
            strategy = _STRATEGIES[strategy]()
            object.__setattr__(self, "strategy", strategy)
        if isinstance(strategy, type) or not isinstance(strategy, ContextStrategy):
            raise ValueError(
                f"strategy is {strategy!r}; allowed: SlidingWindow(), Summary(), Importance(), "
                f"one of {', '.join(_STRATEGIES)}, or an object with a method `keep`"
            )

    @classmethod
    def of(cls, memory: MemoryConfig | None) -> "ContextManager | None":
        """Return the policy that an agent's `memory_config` stands for, if it limits anything."""
        if memory is None or not memory.enabled or memory.token_threshold is None:
            return None
        summary = Summary(
            keep_last=memory.preserve_last_n_messages, summary_max_tokens=memory.summary_max_tokens
        )
        return cls(max_tokens=memory.token_threshold, strategy=summary)

    def with_model_made(self) -> "ContextManager":
        """Return this policy with the model of its summaries made, if it names one."""
        if not isinstance(self.strategy, Summary) or self.strategy.model is None:
            return self
        made = resolve_model(self.strategy.model)
        return replace(self, strategy=replace(self.strategy, model=made))

    def counter(self, model: Any = None) -> TokenCounter:
        """Return what counts the tokens of a model's prompts."""
        if self.token_counter is not None:
            return self.token_counter
        if getattr(model, "custom_get_token_ids", None) is not None:
            own: TokenCounter = model.get_num_tokens_from_messages
            return own
        return count_tokens_approximately

    @property
    def goal(self) -> int:
        """To how many tokens a prompt is cut."""
        return int(self.max_tokens * self.compression_ratio)


def context_fault(context: object, model: object) -> str | None:
    """Say why a policy cannot be kept, or return None."""
    if context is None:
        return None
    if not isinstance(context, ContextManager):
        return f"context is {context!r}; give it a ContextManager(max_tokens=...) or None"
    if isinstance(context.strategy, Summary):
        writer = context.strategy.model if context.strategy.model is not None else model
        if writer is None:
            return "the context is summarised, and there is no model for it; give Summary one"
        try:
            resolve_model(cast(ModelLike, writer))
        except ModelNotFoundError as error:
            return f"the model of its summaries: {error}"
    return None
