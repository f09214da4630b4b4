"""Cutting: what of a history is left out, so that the prompt written of it fits."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from langchain_core.messages import AnyMessage

from asterism.core.digests import CHARACTERS_PER_TOKEN
from asterism.memories.context_policies import (
    Compaction,
    ContextManager,
    ContextStrategy,
    Summary,
    TokenCounter,
    compact_messages,
    find_pinned_ids,
    group_tool_calls,
    parts,
)
from asterism.nodes.left_out import compacted_prompt

PromptWriter = Callable[[list[AnyMessage]], list[AnyMessage]]
"""Writes the prompt for what is sent of a history; messages keep their ids."""

TRIES = 4
"""How often a cut is made smaller that came out too large: not every counter adds up."""


@dataclass(frozen=True, kw_only=True)
class PromptCut:
    """What is left out, so far without a summary."""

    compaction: Compaction
    gone: list[AnyMessage]
    """What is left out newly."""
    room: int
    """How many tokens were free for what may go."""


@dataclass(frozen=True, kw_only=True)
class CutPrompt:
    """A prompt in the making: a history, and how it is written."""

    messages: Sequence[AnyMessage]
    """The whole history."""
    before: Compaction | None
    """What stands for its beginning so far."""
    pinned: Collection[str]
    """The ids of what stays in any case."""
    write: PromptWriter
    count: TokenCounter

    def messages_to_send(self, compaction: Compaction | None) -> list[AnyMessage]:
        """Return what is sent of the history."""
        return compacted_prompt(self.messages, compaction, self.pinned)

    def tokens(self, compaction: Compaction | None) -> int:
        """Count the prompt."""
        return self.count(self.write(self.messages_to_send(compaction)))

    def cut(self, manager: ContextManager, strategy: ContextStrategy) -> PromptCut | None:
        """Choose what is left out so that the prompt fits; None where nothing may go.

        Where what stays in any case is too much by itself, all else is left out.
        """
        found = parts(self.messages, self.before, self.pinned)
        history = [*found.kept, *found.rest]
        pins = find_pinned_ids(history, self.pinned)
        free = [message for message in history if message.id not in pins]
        if not free:
            return None

        def keeping(some: Collection[AnyMessage], room: int) -> PromptCut:
            keep = {*pins, *(message.id or "" for message in some)}
            compaction, gone = compact_messages(history, keep, self.before)
            return PromptCut(compaction=compaction, gone=gone, room=room)

        least = keeping((), 0)
        room = manager.goal - self.tokens(least.compaction)
        sizes = {message.id: self.count([message]) for message in self.write(history)}
        for _ in range(TRIES):
            kept = _whole(free, strategy.keep(free, room, lambda m: sizes.get(m.id, 0)))
            over = 1
            if len(kept) < len(free):
                cut = keeping(kept, room)
                over = self.tokens(_with_room(cut, strategy)) - manager.max_tokens
                if over <= 0:
                    return cut
            room -= max(over, 1)
        return least


def _whole(free: Sequence[AnyMessage], kept: Collection[AnyMessage]) -> list[AnyMessage]:
    """Return what is kept, without tool calls whose results are not, and the other way round."""
    ids = {message.id for message in kept}
    units = (unit for unit in group_tool_calls(free) if all(m.id in ids for m in unit))
    return [message for unit in units for message in unit]


def _with_room(cut: PromptCut, strategy: ContextStrategy) -> Compaction:
    """Return a compaction with as many words as its summary may have."""
    words = strategy.allowance(cut.room) if isinstance(strategy, Summary) else 0
    summary = "x" * words * CHARACTERS_PER_TOKEN or cut.compaction["summary"]
    return {**cut.compaction, "summary": summary}
