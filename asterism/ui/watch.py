"""Watching threads: as they are stored, and as they change."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.types import StateSnapshot

from asterism.core.continuation import Graph, is_unfinished
from asterism.core.interrupts import open_requests
from asterism.core.thread_lease import take_lease
from asterism.core.values import as_dict
from asterism.errors import ConfigurationError
from asterism.nodes.routing import BEGIN
from asterism.ui.hub import RunManager
from asterism.ui.views import message_view, question_view, run_view, step

STREAM_SECONDS = 20.0
"""How long one stream of changes lasts; a browser asks for the next one by itself."""
POLL = 1.0
"""Seconds between two looks at a thread that another process may drive."""
PAUSE = 0.08
"""Seconds between two events of a stream at least."""
STEPS_SHOWN = 200
"""How many of the latest checkpoints the history shows."""
VIEWS_KEPT = 32
"""How many threads are kept ready to be shown."""


class ThreadWatch:
    """Shows threads.

    Args:
        hub: The runs of this server.
    """

    def __init__(self, hub: RunManager) -> None:
        self._hub = hub
        self._views: dict[str, tuple[object, dict[str, Any]]] = {}

    async def frames(
        self, thread: str, *, seconds: float = STREAM_SECONDS, pause: float = PAUSE
    ) -> AsyncGenerator[dict[str, Any]]:
        """Yield what changes of a thread, beginning with all of it.

        Args:
            thread: The thread.
            seconds: For how long.
            pause: Seconds between two of them at least; what happens meanwhile is put together.
        """
        until = time.monotonic() + seconds
        view = live = None
        while True:
            news = self._hub.news
            run = self._hub.run(thread)
            new_view, new_live = await self.now(thread), run.live.as_json() if run else None
            if new_view is not view or new_live != live:
                yield {"live": new_live, **({} if new_view is view else {"view": new_view})}
                view, live = new_view, new_live
            if self._hub.closing or time.monotonic() >= until:
                return
            await asyncio.sleep(pause)
            with suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), POLL)

    async def now(self, thread: str) -> dict[str, Any]:
        """Show a thread as it stands; the same object as long as nothing has changed."""
        run = self._hub.run(thread)
        if run and run.values is not None:
            key: object = (run, run.steps)
            if (known := self._cached_view(thread, key)) is None:
                known = _thread_view(run.graph, run.config, run.values, driven="here")
            return self._keep(thread, key, known)
        place: RunnableConfig = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
        found = await self._hub.saver.aget_tuple(place)
        failure = self._hub.failures.get(thread)
        at = (found.checkpoint["id"], len(found.pending_writes or ())) if found else None
        key = (at, failure)
        if (known := self._cached_view(thread, key)) is None:
            known = {**await self.at(thread), "error": failure}
        if (driven := await self._find_driver(thread, known)) != known["driven"]:
            known = {**known, "driven": driven}
        return self._keep(thread, key, known)

    async def at(self, thread: str, checkpoint: str | None = None) -> dict[str, Any]:
        """Show a thread as it is stored, now or at a checkpoint.

        Raises:
            ConfigurationError: There is no such thread, or it has no such checkpoint.
        """
        graph, config = await self._hub.of(thread)
        snapshot = await graph.aget_state(_at(config, checkpoint), subgraphs=True)
        _check_found(snapshot, thread, checkpoint)
        shown = _thread_view(graph, config, snapshot.values)
        if not checkpoint:
            shown["questions"] = [question_view(request) for request in open_requests(snapshot)]
            shown["unfinished"] = is_unfinished(snapshot)
        return shown

    async def history(self, thread: str) -> list[dict[str, Any]]:
        """Show the checkpoints of a thread, the oldest first, with those of other branches."""
        graph, config = await self._hub.of(thread)
        found = [s async for s in graph.aget_state_history(config, limit=STEPS_SHOWN)]
        parents = {_checkpoint(s.config): _checkpoint(s.parent_config) for s in found}
        branch: set[str] = set()
        place = _checkpoint(found[0].config) if found else ""
        while place and place not in branch:
            branch.add(place)
            place = parents.get(place, "")
        shown = [s for s in reversed(found) if s.next != (BEGIN,)]
        return [step(s, branch=_checkpoint(s.config) in branch) for s in shown]

    async def memory(self, thread: str, participant: str) -> list[dict[str, Any]]:
        """Show what a participant remembers on a thread: its own messages.

        Args:
            thread: The thread.
            participant: The participant, with those above it, as in `"team/venue"`.
        """
        graph, config = await self._hub.of(thread)
        place = {
            **(config.get("configurable") or {}),
            "checkpoint_ns": "|".join(participant.split("/")),
        }
        try:
            inner = await graph.aget_state({**config, "configurable": place})
        except ValueError:
            return []
        return [message_view(message) for message in as_dict(inner.values).get("messages") or ()]

    async def _find_driver(self, thread: str, view: Mapping[str, Any]) -> str | None:
        """Say who drives a thread: this server, another process, or nobody."""
        if self._hub.run(thread):
            return "here"
        if not view.get("unfinished") or view["questions"]:
            return None
        release = await asyncio.to_thread(take_lease, self._hub.saver, thread)
        if release is None:
            return "elsewhere"
        await asyncio.to_thread(release)
        return None

    def _cached_view(self, thread: str, key: object) -> dict[str, Any] | None:
        known = self._views.get(thread)
        return known[1] if known and known[0] == key else None

    def _keep(self, thread: str, key: object, view: dict[str, Any]) -> dict[str, Any]:
        self._views.pop(thread, None)
        self._views[thread] = (key, view)
        while len(self._views) > VIEWS_KEPT:
            del self._views[next(iter(self._views))]
        return view


def _thread_view(
    graph: Graph, config: RunnableConfig, values: Mapping[str, Any], driven: str | None = None
) -> dict[str, Any]:
    facts = getattr(graph, "facts", None)
    team: dict[str, str] = facts.team.live(values) if facts else {}
    labels = as_dict(config.get("metadata"))
    return {
        **run_view(values, team),
        "thread": as_dict(config.get("configurable"))["thread_id"],
        "graph": labels["graph"],
        "model": labels["model"],
        "driven": driven,
        "error": None,
        "questions": [],
        "unfinished": driven is not None,
    }


def _at(config: RunnableConfig, checkpoint: str | None) -> RunnableConfig:
    if checkpoint is None:
        return config
    place = {**(config.get("configurable") or {}), "checkpoint_id": checkpoint}
    return {**config, "configurable": place}


def _check_found(snapshot: StateSnapshot, thread: str, checkpoint: str | None) -> None:
    if snapshot.created_at is None:
        raise ConfigurationError(f"The thread {thread!r} has no checkpoint {checkpoint!r}.")


def _checkpoint(config: RunnableConfig | None) -> str:
    return str(as_dict((config or {}).get("configurable")).get("checkpoint_id") or "")
