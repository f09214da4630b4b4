"""The memory of a participant on a thread: to read, to edit, to delete, to copy.

Tests: tests/graphs/test_participant_memory.py.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, RemoveMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import StateSnapshot

from asterism.core.checkpoints import checkpoint_key
from asterism.core.continuation import Graph, ThreadLike, thread_config
from asterism.core.messages import fold_history, fold_messages
from asterism.core.sync_async import Call, Steps, arun_steps, run_steps
from asterism.core.values import as_dict
from asterism.errors import (
    ConfigurationError,
    InvalidMemoryError,
    UnknownParticipantError,
)
from asterism.graphs.request_checks import check_thread, running_participants
from asterism.graphs.workflow import Workflow
from asterism.graphs.workflow_edits import copy_memory, namespaces
from asterism.memories.context_policies import COMPACTION
from asterism.nodes.engine_keys import participant_config

_MESSAGES = "messages"
_History = list[AnyMessage]
_Change = Callable[..., list[BaseMessage]]


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A participant on a thread."""

    graph: Graph
    inside: RunnableConfig
    """The config that reads what it stored."""
    under_way: bool
    """Whether a visit to it is under way."""
    stored: StateSnapshot

    @property
    def messages(self) -> _History:
        """What it remembers."""
        return list(as_dict(self.stored.values).get(_MESSAGES) or [])


@dataclass(frozen=True, kw_only=True)
class ParticipantMemory:
    """What one participant remembers on one thread; `memory` makes it.

    Reading is always possible. A change takes the thread as a run does, so it is refused
    while somebody drives it (`ThreadBusyError`); and while a visit to the participant itself
    is under way, open question included (`InvalidMemoryError`). Its next visit sees what was
    changed; nobody else's memory is touched, and the workflow's conversation stays as it is.
    """

    graph: Workflow
    config: RunnableConfig
    path: tuple[str, ...]
    """Its id, after those of the workflows that it is in."""

    def messages(self) -> list[AnyMessage]:
        """Return what it remembers: requests, answers, tool calls and their results.

        Raises:
            UnknownParticipantError: There is no such participant.
        """
        return run_steps(self._read())

    async def amessages(self) -> list[AnyMessage]:
        """Return what it remembers; see `messages`."""
        return await arun_steps(self._read())

    def forget(self, *message_ids: str) -> list[str]:
        """Let it forget messages, or everything where none is named.

        A tool call and its results are forgotten together, for a model refuses half of them.

        Returns:
            The ids of the messages that are gone.

        Raises:
            InvalidMemoryError: It has no such message, or is at work.
            ThreadBusyError: Somebody drives the thread.
        """
        return _removed_messages(*run_steps(self._changing(self._forgotten, message_ids)))

    async def aforget(self, *message_ids: str) -> list[str]:
        """Let it forget messages, or everything where none is named; see `forget`."""
        return _removed_messages(*await arun_steps(self._changing(self._forgotten, message_ids)))

    def edit(self, message_id: str, text: str) -> None:
        """Put another text in the place of that of a message; what else it has stays.

        Raises:
            InvalidMemoryError: It has no such message, or is at work.
            ThreadBusyError: Somebody drives the thread.
        """
        run_steps(self._changing(self._edit, (message_id, text)))

    async def aedit(self, message_id: str, text: str) -> None:
        """Put another text in the place of that of a message; see `edit`."""
        await arun_steps(self._changing(self._edit, (message_id, text)))

    def fork(self, to_thread: str) -> None:
        """Copy its memory, with that of all who are in it, to a thread where it has none.

        Raises:
            InvalidMemoryError: It remembers something there already, or is at work.
            ThreadBusyError: Somebody drives one of the threads.
        """
        run_steps(self._forking(to_thread))

    async def afork(self, to_thread: str) -> None:
        """Copy its memory to a thread where it has none; see `fork`."""
        await arun_steps(self._forking(to_thread))

    # ---- for both worlds

    def _read(self) -> Steps[list[AnyMessage]]:
        return (yield from self._found()).messages

    def _changing(self, change: _Change, args: Sequence[str]) -> Steps[tuple[_History, _History]]:
        """Take the thread, store what a change writes, and return what was and what is."""
        release = yield from self.graph.take_thread_lease(check_thread(self.config))
        try:
            found = yield from self._found()
            self._check(found)
            if writes := change(found.messages, *args):
                graph: Any = found.graph
                update = (
                    found.inside,
                    {_MESSAGES: writes, **_without_partial_tool_calls(found.stored)},
                )
                yield Call(graph.update_state, graph.aupdate_state, update)
            return found.messages, (yield from self._found()).messages
        finally:
            release()

    def _forgotten(self, messages: Sequence[AnyMessage], *ids: str) -> list[BaseMessage]:
        self._require_known(messages, ids)
        if not ids:
            return [RemoveMessage(REMOVE_ALL_MESSAGES)] if messages else []
        return [RemoveMessage(name) for name in with_matching_tool_calls(messages, ids)]

    def _edit(self, messages: Sequence[AnyMessage], *args: str) -> list[BaseMessage]:
        name, text = args
        self._require_known(messages, [name])
        if not isinstance(cast(object, text), str) or not text.strip():
            raise InvalidMemoryError(f"The new text of {name!r} is empty; forget the message.")
        return [m.model_copy(update={"content": text}) for m in messages if m.id == name]

    def _require_known(self, messages: Sequence[AnyMessage], ids: Collection[str]) -> None:
        known = [message.id for message in messages if message.id]
        for name in ids:
            if name not in known:
                listed = ", ".join(known[-20:]) or "nothing"
                raise InvalidMemoryError(
                    f"{self._name} remembers no message {name!r}; the latest are: {listed}"
                )

    def _forking(self, to_thread: str) -> Steps[None]:
        source = check_thread(self.config)
        target = check_thread({"configurable": {"thread_id": to_thread}})
        if source == target:
            raise InvalidMemoryError(f"{self._name} is on the thread {target!r} already")
        saver = cast(BaseCheckpointSaver[Any], self.graph.checkpointer)
        with ExitStack() as leases:
            for thread in sorted((source, target)):  # in one order, so that two do not wait
                leases.callback((yield from self.graph.take_thread_lease(thread)))
            found = yield from self._found()
            self._check(found)
            own = "|".join(self.path)
            there = yield Call(saver.get_tuple, saver.aget_tuple, (checkpoint_key(target, own),))
            if there is not None:
                raise InvalidMemoryError(
                    f"{self._name} remembers something on the thread {target!r} already; fork to "
                    "a thread where it has not worked yet"
                )
            for name, same in namespaces(found.graph, own, own):
                yield from copy_memory(saver, source, name, target, same)

    @property
    def _name(self) -> str:
        return repr("/".join(self.path))

    def _check(self, found: _Found) -> None:
        if found.under_way or found.stored.interrupts:
            raise InvalidMemoryError(
                f"{self._name} is in the middle of a visit; let it finish with proceed(), or "
                "answer what it asks, then change its memory"
            )
        if not _is_history(found.graph.channels[_MESSAGES]):
            raise InvalidMemoryError(
                f"{self._name} keeps its messages in a way of its own, which cannot be edited; "
                "use add_messages as their reducer"
            )

    def _found(self) -> Steps[_Found]:
        """Go down the path, from workflow to workflow."""
        saver = cast(Any, self.graph).checkpointer
        if saver in (None, True, False):
            raise ConfigurationError(
                "The workflow stores nothing; build it with a checkpointer, then its participants "
                "have memories."
            )
        graph: Any = self.graph
        thread: RunnableConfig = {"configurable": {"thread_id": check_thread(self.config)}}
        inside, under_way = thread, True
        stored: StateSnapshot = yield Call(graph.get_state, graph.aget_state, (thread,))
        for depth, name in enumerate(self.path):
            values = as_dict(stored.values)
            team = graph.facts.team if isinstance(graph, Workflow) else None
            member = team.member(name, values) if team else None
            if member is None:
                names = ", ".join(team.live(values)) if team else "nobody"
                raise UnknownParticipantError(f"there is no {name!r}; there is {names}")
            under_way &= name in stored.next or name in running_participants(stored)
            graph, inside = (
                member.graph,
                participant_config(thread, saver, "|".join(self.path[: depth + 1])),
            )
            stored = yield Call(graph.get_state, graph.aget_state, (inside,))
        return _Found(graph=graph, inside=inside, under_way=under_way, stored=stored)


def memory(graph: Graph, config: ThreadLike, participant: str) -> ParticipantMemory:
    """Return what a participant remembers on a thread.

    Args:
        graph: The workflow.
        config: The thread, or its id.
        participant: Its id, or its path as `"team/venue"` where it is in another workflow.

    Example:
        ```python
        venue = memory(workflow, "thread-1", "venue")
        venue.edit(venue.messages()[-1].id, "The hall is booked")
        ```

    Raises:
        ConfigurationError: The graph is no workflow.
        InvalidThreadError: There is no thread id.
    """
    config = thread_config(config)
    check_thread(config)
    is_workflow = isinstance(graph, Workflow)
    if not is_workflow:
        raise ConfigurationError(f"{graph!r} is no workflow of SupervisorWorkflowBuilder.")
    path = tuple(participant.split("/"))
    return ParticipantMemory(graph=cast(Workflow, graph), config=config, path=path)


def _without_partial_tool_calls(stored: StateSnapshot) -> dict[str, None]:
    """Take back what a context policy left out: its summary may tell of what is forgotten."""
    compaction = as_dict(as_dict(stored.values).get(COMPACTION))
    return {COMPACTION: None} if "upto" in compaction else {}


def with_matching_tool_calls(messages: Sequence[BaseMessage], ids: Collection[str]) -> list[str]:
    """Return the ids of messages, and of the tool calls and results that go with them."""
    gone = set(ids)
    for message in messages:
        if not isinstance(message, AIMessage):
            continue
        calls = {call["id"] for call in message.tool_calls}
        results = {m.id for m in messages if isinstance(m, ToolMessage) and m.tool_call_id in calls}
        if gone & {message.id, *results}:
            gone |= {name for name in (message.id, *results) if name}
    return [message.id for message in messages if message.id in gone]


def _removed_messages(before: _History, after: _History) -> list[str]:
    left = {message.id for message in after}
    return [message.id for message in before if message.id and message.id not in left]


def _is_history(channel: Any) -> bool:
    """Whether a channel of messages takes removals and replacements by id."""
    return isinstance(channel, DeltaChannel) and channel.reducer in (fold_history, fold_messages)
