"""What is left out of long prompts: when, with which words in its place, and who is told."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.messages import (
    AnyMessage,
    HumanMessage,
    SystemMessage,
    get_buffer_string,
)
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.constants import TAG_NOSTREAM
from langgraph.errors import GraphBubbleUp

from asterism.agents import MemoryConfig
from asterism.compaction import Compaction, compacted, essential, pinned_units, remaining
from asterism.context import ContextManager, SlidingWindow, Strategy, Summary
from asterism.digests import CHARACTERS_PER_TOKEN
from asterism.effects import Call, Steps
from asterism.errors import AbandonedError, BudgetExceededError
from asterism.events import WorkflowEventType, tell
from asterism.models import resolve_model
from asterism.nodes.left_out import reports_of, shown
from asterism.nodes.view import SPEAKER, escaped
from asterism.prompts import render
from asterism.redaction import describe_error

Write = Callable[[list[AnyMessage]], list[AnyMessage]]
"""Writes the prompt for what is sent of a history."""

TRIES = 4
"""How often a cut is made smaller that came out too large: not every counter adds up."""


@dataclass(frozen=True, kw_only=True)
class _Draft:
    """What is left out, so far without a summary."""

    compaction: Compaction
    gone: list[AnyMessage]
    """What is left out newly."""
    room: int
    """How many tokens were free for what may go."""


class Compactor:
    """Keeps the prompts of one model to a policy.

    Args:
        manager: The policy.
        model: The model whose prompts they are. It writes summaries, if nobody else does.
        config: The config of the calls that write summaries.
    """

    def __init__(
        self,
        manager: ContextManager,
        model: Runnable[Any, Any] | None,
        config: RunnableConfig | None = None,
    ) -> None:
        self.manager = manager
        self.count = manager.counter(model)
        self._summarizer = model
        if isinstance(manager.strategy, Summary) and manager.strategy.model is not None:
            self._summarizer = resolve_model(manager.strategy.model)
        self._config: RunnableConfig = {**(config or {}), "tags": [TAG_NOSTREAM]}

    def fit(
        self,
        messages: Sequence[AnyMessage],
        before: Compaction | None,
        config: RunnableConfig,
        *,
        path: str,
        write: Write = list,
        pinned: Callable[[Sequence[AnyMessage]], Collection[str]] = essential,
    ) -> Steps[tuple[list[AnyMessage], Compaction | None]]:
        """Return what is sent of a history, and what stands for the rest if that is new.

        Args:
            messages: The whole history.
            before: What stands for its beginning so far.
            config: The config of the node.
            path: Whose prompt it is.
            write: Writes the prompt.
            pinned: Finds the ids of what stays in any case.
        """
        sent = shown(messages, before)
        total = self.count(write(sent))
        if total <= self.manager.max_tokens:
            return sent, None
        after, failure = yield from self._compacted(messages, before, pinned(messages), write)
        if after is None:
            return sent, None
        sent = shown(messages, after)
        tell(
            config,
            WorkflowEventType.CONTEXT_COMPACTED,
            path=path,
            strategy=type(self.manager.strategy).__name__,
            tokens_before=total,
            tokens=self.count(write(sent)),
            left_out=after["left_out"],
            error=failure,
        )
        return sent, after

    def once(
        self,
        messages: Sequence[AnyMessage],
        before: Compaction | None,
        pinned: Collection[str],
        writes: Sequence[Write],
    ) -> list[AnyMessage]:
        """Write a prompt that is sent once, in the first way in which it fits.

        Args:
            messages: The whole history.
            before: What stands for its beginning.
            pinned: The ids of what stays in any case.
            writes: Ways to write the prompt, the longest first.
        """
        prompt: list[AnyMessage] = []
        for write in writes:
            prompt = write(shown(messages, before, pinned))
            if self.count(prompt) <= self.manager.max_tokens:
                break
            draft = self._draft(messages, before, pinned, write, SlidingWindow())
            if draft is not None:
                prompt = write(shown(messages, draft.compaction, pinned))
            if self.count(prompt) <= self.manager.max_tokens:
                break
        return prompt

    def _compacted(
        self,
        messages: Sequence[AnyMessage],
        before: Compaction | None,
        pinned: Collection[str],
        write: Write,
    ) -> Steps[tuple[Compaction | None, str | None]]:
        """Choose what is left out, and let a summary be written of it where that is wanted.

        Returns:
            What stands for the beginning from now on, and why there is no summary.
        """
        strategy, failure = self.manager.strategy, None
        draft = self._draft(messages, before, pinned, write, strategy)
        if draft is None or not isinstance(strategy, Summary):
            return (draft.compaction if draft else None), None
        try:
            summary = yield from self._summary(draft, strategy.allowance(draft.room), write)
            bare = draft.compaction

            def fits(words: str) -> bool:
                prompt = write(shown(messages, {**bare, "summary": words}))
                return self.count(prompt) <= self.manager.max_tokens

            return {**bare, "summary": _shortened(summary, fits)}, None
        except (GraphBubbleUp, BudgetExceededError, AbandonedError):
            raise
        except Exception as error:  # noqa: BLE001 - a summary that fails harms no run
            failure = describe_error(error)
        draft = self._draft(messages, before, pinned, write, SlidingWindow())
        return (draft.compaction if draft else None), failure

    def _draft(
        self,
        messages: Sequence[AnyMessage],
        before: Compaction | None,
        pinned: Collection[str],
        write: Write,
        strategy: Strategy,
    ) -> _Draft | None:
        """Choose what is left out so that the prompt fits; None where nothing may go."""
        kept, rest = remaining(messages, before, pinned)
        history = [*kept, *rest]
        pins = pinned_units(history, pinned)
        free = [message for message in history if message.id not in pins]
        if not free:
            return None

        def drafted(keep: Collection[str]) -> _Draft:
            after, gone = compacted(history, keep, before)
            after["reports"] = reports_of(gone, before)
            return _Draft(compaction=after, gone=gone, room=room)

        def tokens(draft: _Draft, summary: int = 0) -> int:
            words = "x" * summary * CHARACTERS_PER_TOKEN or draft.compaction["summary"]
            return self.count(write(shown(history, {**draft.compaction, "summary": words})))

        room = 0
        least = drafted(pins)
        room = self.manager.goal - tokens(least)
        sizes = {message.id: self.count([message]) for message in write(history)}
        for _ in range(TRIES):
            kept = list(strategy.keep(free, room, lambda message: sizes.get(message.id, 0)))
            spare = strategy.allowance(room) if isinstance(strategy, Summary) else 0
            if len(kept) < len(free):
                draft = drafted({*pins, *(message.id or "" for message in kept)})
                over = tokens(draft, spare) - self.manager.max_tokens
                if over <= 0:
                    return draft
            else:
                over = 1
            room -= max(over, 1)
        return drafted(pins)

    def _summary(self, draft: _Draft, limit: int, write: Write) -> Steps[str]:
        """Let a model write in short what is left out.

        Raises:
            ValueError: There is no model, it wrote nothing, or there is no room for a summary.
        """
        model = cast(Any, self._summarizer)
        if model is None or limit < 1:
            raise ValueError("there is no room for a summary" if model else "there is no model")
        ids = {message.id for message in draft.gone}
        said = [message for message in write(draft.gone) if message.id in ids]
        latest = SlidingWindow().keep(said, self.manager.max_tokens, lambda m: self.count([m]))
        earlier = draft.compaction["summary"]
        text = "\n\n".join(
            [
                f"<summary>\n{escaped(earlier)}\n</summary>",
                get_buffer_string(list(latest or said[-1:])),
            ]
        )
        rules = render("summarize", words=str(max(20, limit * 3 // 4)))
        prompt = [SystemMessage(rules), HumanMessage(text)]
        answer = yield Call(model.invoke, model.ainvoke, (prompt, self._config))
        return _shortened(
            str(answer.text).strip(),
            lambda words: self.count([HumanMessage(escaped(words))]) <= limit,
        )


def compactor_of(
    given: ContextManager | MemoryConfig | None, model: Runnable[Any, Any] | None
) -> Compactor | None:
    """Make what keeps the prompts of a supervisor short, if anything does."""
    manager = given if isinstance(given, ContextManager) else ContextManager.of(given)
    return None if manager is None else Compactor(manager, model, SPEAKER)


def _shortened(text: str, fits: Callable[[str], bool]) -> str:
    """Cut the end of a summary off until it fits.

    Raises:
        ValueError: Nothing is left of it, or there was nothing.
    """
    while text and not fits(text):
        text = text[: len(text) * 9 // 10]
    if not text:
        raise ValueError("the summary is empty, or there is no room for it")
    return text
