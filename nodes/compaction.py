"""Compaction: prompts that are too long are cut, with a note or a summary for what is left out.

Open it for which messages stay, how a cut prompt is written and who writes its summary; the
policies are in asterism/memories/context_policies.py.
Tests: tests/asterism/memories/test_context_policies.py, tests/graphs/test_context.py.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.messages import (
    AnyMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    get_buffer_string,
)
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.constants import TAG_NOSTREAM
from langgraph.errors import GraphBubbleUp

from asterism.core.agent_spec import MemoryConfig
from asterism.core.digests import CHARACTERS_PER_TOKEN
from asterism.core.supervisor_decision import check_whole
from asterism.core.sync_async import Call, Steps
from asterism.core.values import describe_error, escape, fence
from asterism.errors import AbandonedError, BudgetExceededError
from asterism.events import WorkflowEventType, emit
from asterism.memories.context_policies import (
    Compaction,
    ContextManager,
    ContextStrategy,
    SlidingWindow,
    Summary,
    TokenCounter,
    compact_messages,
    essential,
    find_pinned_ids,
    group_tool_calls,
    parts,
    with_messages,
)
from asterism.nodes.view import message_facts, supervisor_run_config
from asterism.prompts import render

LISTED = 10
"""How many participants are named whose reports are left out."""


def compacted_prompt(
    messages: Sequence[AnyMessage], compaction: Compaction | None, also: Collection[str] = ()
) -> list[AnyMessage]:
    """Return what is sent of a history: rules, a note on what is left out, and what stays.

    Args:
        messages: The whole history.
        compaction: What stands for its beginning, while that holds.
        also: The ids of more that stays.
    """
    found = parts(messages, compaction, also)
    if compaction is None or not found.gone:
        return list(messages)
    rules = [message for message in found.kept if isinstance(message, SystemMessage)]
    others = [message for message in found.kept if not isinstance(message, SystemMessage)]
    return [*rules, _note(found.gone, compaction), *others, *found.rest]


def _note(gone: Sequence[BaseMessage], compaction: Compaction) -> HumanMessage:
    """Say what is left out; it is the first message that is not a rule."""
    reports = Counter(m.name or "somebody" for m in gone if "report" in message_facts(m))
    named = [f"{name} ({times})" if times > 1 else name for name, times in reports.items()]
    more = f" and {len(named) - LISTED} others" if len(named) > LISTED else ""
    whose = f", among them reports of {', '.join(named[:LISTED])}{more}" if named else ""
    text = render("left_out", count=str(len(gone)), reports=whose)
    if compaction["summary"]:
        text = render("earlier", left_out=text, summary=fence_summary(compaction["summary"]))
    return HumanMessage(text, id=f"earlier-{compaction['upto']}")


def fence_summary(summary: str) -> str:
    """Put a summary between fences, and keep it from posing as a report."""
    return fence("summary", escape(summary, "report"))


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
        self.manager = manager.with_model_made()
        self.count = manager.counter(model)
        self._summarizer = getattr(self.manager.strategy, "model", None) or model
        self._config: RunnableConfig = {**(config or {}), "tags": [TAG_NOSTREAM]}

    def fit(
        self,
        messages: Sequence[AnyMessage],
        before: Compaction | None,
        config: RunnableConfig,
        *,
        path: str,
        write: PromptWriter = list,
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
        prompt = self._prompt(messages, before, pinned(messages), write)
        after, failure = prompt.before, None
        if prompt.tokens(after) > self.manager.max_tokens:
            after, failure = yield from self._compact(prompt)
        if after is prompt.before:
            return prompt.messages_to_send(after), None
        self._tell(config, path, prompt, prompt, after, failure)
        return prompt.messages_to_send(after), after

    def fit_without_storing(
        self,
        messages: Sequence[AnyMessage],
        before: Compaction | None,
        config: RunnableConfig,
        *,
        path: str,
        writes: Sequence[PromptWriter],
        pinned: Collection[str],
    ) -> list[AnyMessage]:
        """Write a prompt that is sent once, in the first way in which it fits.

        Args:
            messages: The whole history.
            before: What stands for its beginning.
            config: The config of the node.
            path: Whose prompt it is.
            writes: Ways to write the prompt, the longest first; at least one.
            pinned: The ids of what stays in any case.
        """
        prompts = [self._prompt(messages, before, pinned, write) for write in writes]
        prompt, after = prompts[0], prompts[0].before
        for prompt in prompts:
            after = prompt.before
            if prompt.tokens(after) <= self.manager.max_tokens:
                break
            if cut := prompt.cut(self.manager, SlidingWindow()):
                after = cut.compaction
            if prompt.tokens(after) <= self.manager.max_tokens:
                break
        if prompt is not prompts[0] or after is not prompt.before:
            self._tell(config, path, prompts[0], prompt, after, None)
        return prompt.write(prompt.messages_to_send(after))

    def _prompt(
        self,
        messages: Sequence[AnyMessage],
        before: Compaction | None,
        pinned: Collection[str],
        write: PromptWriter,
    ) -> CutPrompt:
        before = with_messages(messages, before)
        return CutPrompt(
            messages=messages, before=before, pinned=pinned, write=write, count=self.count
        )

    def _tell(
        self,
        config: RunnableConfig,
        path: str,
        long: CutPrompt,
        short: CutPrompt,
        after: Compaction | None,
        failure: str | None,
    ) -> None:
        emit(
            config,
            WorkflowEventType.CONTEXT_COMPACTED,
            path=path,
            strategy=type(self.manager.strategy).__name__,
            tokens_before=long.tokens(long.before),
            tokens=short.tokens(after),
            left_out=len(parts(short.messages, after, short.pinned).gone),
            error=failure,
        )

    def _compact(self, prompt: CutPrompt) -> Steps[tuple[Compaction | None, str | None]]:
        """Choose what is left out, and let a summary be written of it where that is wanted.

        Returns:
            What stands for the beginning from now on, and why there is no summary.
        """
        strategy: Any = self.manager.strategy
        failure = None
        cut = prompt.cut(self.manager, strategy)
        if cut is not None and isinstance(strategy, Summary):
            try:
                summary = yield from self._summary(prompt, cut, strategy.allowance(cut.room))
                return {**cut.compaction, "summary": summary}, None
            except (GraphBubbleUp, BudgetExceededError, AbandonedError):
                raise
            except Exception as error:  # noqa: BLE001 - a summary that fails harms no run
                failure = describe_error(error)
            cut = prompt.cut(self.manager, SlidingWindow())
        return (cut.compaction if cut else prompt.before), failure

    def _summary(self, prompt: CutPrompt, cut: PromptCut, limit: int) -> Steps[str]:
        """Let a model write in short what is left out, in as many calls as that needs.

        Raises:
            ValueError: There is no model, it wrote nothing, its summary was cut off, or there is
                no room for one.
        """
        model = cast(Any, self._summarizer)
        if model is None or limit < 1:
            raise ValueError("there is no room for a summary" if model else "there is no model")
        rules = SystemMessage(render("summarize", words=str(max(20, limit * 3 // 4))))
        summary = cut.compaction["summary"]

        def fits(words: str) -> bool:
            if self.count([HumanMessage(words)]) > limit:
                return False
            return prompt.tokens({**cut.compaction, "summary": words}) <= self.manager.max_tokens

        ids = {message.id for message in cut.gone if "decision" not in message_facts(message)}
        for piece in self._pieces([m for m in prompt.write(cut.gone) if m.id in ids]):
            text = f"{fence_summary(summary)}\n\n{get_buffer_string(piece)}"
            asked = [rules, HumanMessage(text)]
            answer = yield Call(model.invoke, model.ainvoke, (asked, self._config))
            check_whole(answer)
            summary = _shorten_summary(str(answer.text).strip(), fits)
        return summary

    def _pieces(self, messages: Sequence[AnyMessage]) -> list[list[AnyMessage]]:
        """Group messages so that each group is as long as a prompt may be, or one message."""
        pieces, room = list[list[AnyMessage]](), 0
        for message in messages:
            size = self.count([message])
            if not pieces or size > room:
                pieces.append([])
                room = self.manager.max_tokens
            pieces[-1].append(message)
            room -= size
        return pieces


def compactor_of(
    given: ContextManager | MemoryConfig | None, model: Runnable[Any, Any] | None
) -> Compactor | None:
    """Make what keeps the prompts of a supervisor short, if anything does."""
    manager = given if isinstance(given, ContextManager) else ContextManager.of(given)
    return (
        None
        if manager is None
        else Compactor(manager, model, supervisor_run_config("supervisor.summarize"))
    )


def _shorten_summary(text: str, fits: Callable[[str], bool]) -> str:
    """Cut the end of a summary off until it fits.

    Raises:
        ValueError: Nothing is left of it, or there was nothing.
    """
    while text and not fits(text):
        text = text[: len(text) * 9 // 10]
    if not text:
        raise ValueError("the summary is empty, or there is no room for it")
    return text
