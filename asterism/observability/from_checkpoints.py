"""Reads the record of a thread from its checkpoints, and from nothing else."""

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import Any, cast

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

from asterism.core.checkpoints import (
    Saver,
    id_of,
    lineage,
    list_checkpoints,
    namespace_of,
    on_branch,
    reading,
)
from asterism.core.continuation import Graph, ThreadLike, thread_config
from asterism.core.interrupts import approval_prompt, is_approval
from asterism.core.sync_async import Steps, arun_steps, run_steps
from asterism.core.values import as_dict, redact, shorten
from asterism.errors import ConfigurationError, UnknownThreadError
from asterism.limits.usage import tool_cost
from asterism.observability.checkpoint_steps import handoff_of, interrupts_in, steps_of, visits_in
from asterism.observability.record import QuestionRecord, RequestRecord, RunRecord, ToolRecord
from asterism.observability.request_reader import RequestReader
from asterism.observability.text_width import as_text

ARGUMENTS_LIMIT = 500
"""How many characters of a tool's arguments, and of its result, a record keeps."""


def read_run(graph: Graph, config: ThreadLike) -> RunRecord:
    """Read what ran on a thread from its checkpoints: any thread, however it stands.

    Args:
        graph: The workflow; only its checkpointer and its name are used.
        config: The thread, or its id; with a `checkpoint_id`, as it stood at that checkpoint.

    Raises:
        ConfigurationError: The workflow has no checkpointer, or the config no thread.
        UnknownThreadError: Nothing of a workflow is stored there.
    """
    return run_steps(_read(graph, thread_config(config)))


async def aread_run(graph: Graph, config: ThreadLike) -> RunRecord:
    """Read what ran on a thread from its checkpoints; see `read_run`."""
    return await arun_steps(_read(graph, thread_config(config)))


async def aread_thread(saver: Saver, thread: str, *, name: str = "") -> RunRecord:
    """Read what ran on a thread of a database, without its workflow.

    Raises:
        UnknownThreadError: Nothing of a workflow is stored there.
    """
    return await arun_steps(_thread(saver, thread, name, None))


def saver_of(graph: Graph) -> Saver:
    """Return the checkpointer of a graph.

    Raises:
        ConfigurationError: It has none.
    """
    saver = cast(Saver, graph.checkpointer)
    if not isinstance(graph.checkpointer, BaseCheckpointSaver):
        raise ConfigurationError(
            f"The workflow {graph.name!r} has no checkpointer, so nothing of its runs is kept; "
            "build it with one: build(checkpointer=...)."
        )
    return saver


def _read(graph: Graph, config: RunnableConfig) -> Steps[RunRecord]:
    saver = saver_of(graph)
    place = config.get("configurable") or {}
    thread = place.get("thread_id")
    if thread is None or not str(thread).strip():
        raise ConfigurationError(
            f"The config {config!r} names no thread; give "
            '{"configurable": {"thread_id": "..."}}.'
        )
    name, at = graph.name or "", place.get("checkpoint_id")
    return (yield from _thread(saver, str(thread), name, at))


def _thread(saver: Saver, thread: str, name: str, checkpoint: str | None) -> Steps[RunRecord]:
    items: list[CheckpointTuple] = yield list_checkpoints(
        saver, {"configurable": {"thread_id": thread}}
    )
    return record_of(items, thread=thread, name=name, checkpoint=checkpoint)


def record_of(
    items: Sequence[CheckpointTuple], *, thread: str, name: str = "", checkpoint: str | None = None
) -> RunRecord:
    """Make the record of a thread of its checkpoints.

    Raises:
        UnknownThreadError: There are none, or not that one.
    """
    star = [item for item in items if not namespace_of(item)]
    wanted = [item for item in star if checkpoint in (None, id_of(item))]
    if not wanted:
        which = f"the checkpoint {checkpoint!r}" if star else "nothing"
        raise UnknownThreadError(
            f"Of the thread {thread!r} there is {'not ' if star else ''}{which} in this database."
        )
    head = max(wanted, key=id_of)
    with reading(thread):
        history = _History(items, head, cut=head is not max(star, key=id_of))
        return RunRecord(thread=thread, name=name, requests=tuple(history.requests))


class _History:
    """All namespaces of a thread, each in its order, and what stands in them."""

    def __init__(
        self, items: Sequence[CheckpointTuple], head: CheckpointTuple, *, cut: bool
    ) -> None:
        self._cut = cut
        self._items: dict[str, list[CheckpointTuple]] = defaultdict(list)
        for item in items:
            self._items[namespace_of(item)].append(item)
        trunk = lineage(self._items[""], head)
        self._lines: dict[str, list[CheckpointTuple]] = {"": trunk}
        for namespace, found in self._items.items():
            own = on_branch(found, self._items[""], trunk, open_end=not cut) if namespace else []
            if own:
                self._lines[namespace] = lineage(found, max(own, key=id_of))
        self._kept: dict[tuple[str, str], Any] = {}
        self._open = {asked.id for asked, _, open_ in interrupts_in(trunk[-1]) if open_ and not cut}

    @cached_property
    def requests(self) -> list[RequestRecord]:
        """Those of the workflow itself."""
        return [request for _, request in self._requests("", "")]

    def inside(self, namespace: str, path: str, handoff: str) -> RequestRecord | None:
        """Return what happened in a visit to a workflow, or None where it is none."""
        line = self._lines.get(namespace)
        if not line or "iterations" not in line[-1].checkpoint["channel_values"]:
            return None
        key = ("inside", namespace)
        if key not in self._kept:
            self._kept[key] = dict(self._requests(namespace, path))
        return cast(RequestRecord | None, self._kept[key].get(handoff))

    def tools(self, namespace: str, handoff: str) -> tuple[ToolRecord, ...]:
        """Return the calls of tools in a visit."""
        return tuple(tools_of(self._visits(namespace).get(handoff, ())))

    def latest(self, namespace: str) -> str:
        """Return the visit that a participant was at last."""
        return next(reversed(self._visits(namespace)), "")

    def questions(self, namespace: str, handoff: str) -> tuple[QuestionRecord, ...]:
        """Return what a participant asked people in a visit."""
        line = self._lines.get(namespace, ())
        if line and "iterations" in line[-1].checkpoint["channel_values"]:
            return ()  # they stand inside of it
        asked: dict[str, QuestionRecord] = {}
        for item in line:
            if handoff_of(item) == handoff:
                for found, answer, _ in interrupts_in(item):
                    asked[found.id] = QuestionRecord(
                        prompt=_short(_prompt(found.value)),
                        answer=None if answer is None else _short(as_text(answer)),
                        open=found.id in self._open,
                    )
        return tuple(asked.values())

    def _visits(self, namespace: str) -> dict[str, list[BaseMessage]]:
        key = ("visits", namespace)
        if key not in self._kept:
            line = self._lines.get(namespace)
            self._kept[key] = visits_in(line, cut=self._cut) if line else {}
        return cast(dict[str, list[BaseMessage]], self._kept[key])

    def _requests(self, namespace: str, path: str) -> list[tuple[str, RequestRecord]]:
        line = self._lines[namespace]
        readers = [(handoff_of(line[0]), RequestReader(self, namespace, path))]
        for step in steps_of(line, cut=self._cut):
            if step.starts and step.after is not None:
                readers.append((handoff_of(step.after), RequestReader(self, namespace, path)))
                continue
            readers[-1][1].take(step)
        last = len(readers) - 1
        return [
            (handoff, reader.done(last=place == last and not self._cut))
            for place, (handoff, reader) in enumerate(readers)
        ]


def _prompt(value: object) -> str:
    """Return the question of an interrupt."""
    said = as_dict(value)
    if is_approval(value):
        return approval_prompt(said)
    return str(said.get("prompt") or said.get("question") or as_text(value))


def _short(text: str) -> str:
    return shorten(redact(text), ARGUMENTS_LIMIT)


def tools_of(messages: Sequence[BaseMessage]) -> list[ToolRecord]:
    """Return the calls of tools in the messages of a visit, each with what came of it."""
    results = {m.tool_call_id: m for m in messages if isinstance(m, ToolMessage)}
    found: list[ToolRecord] = []
    for message in messages:
        if not isinstance(message, AIMessage):
            continue
        for call in message.tool_calls:
            result = results.get(call["id"] or "")
            found.append(
                ToolRecord(
                    name=call["name"],
                    arguments=_short(as_text(call["args"])),
                    result=_short(result.text) if result else "",
                    ok=None if result is None else result.status != "error",
                    cost_usd=tool_cost(result),
                )
            )
        for broken in message.invalid_tool_calls:
            said = f"the arguments cannot be read: {broken.get('error') or 'no JSON'}"
            found.append(
                ToolRecord(
                    name=broken.get("name") or "?",
                    arguments=_short(broken.get("args") or ""),
                    result=said,
                    ok=False,
                )
            )
    return found
