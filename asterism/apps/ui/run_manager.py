"""The runs of a page's server, one per thread, and what each of them does right now."""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, cast

from langchain_core.messages import AIMessageChunk
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl

from asterism.apps.stored_threads import (
    check_model_label,
    config_of,
    origin_of,
    read_title,
    write_title,
)
from asterism.apps.ui.markdown import parse_markdown
from asterism.apps.ui.run_list import latest_place
from asterism.core.agent_spec import ModelLike
from asterism.core.continuation import Graph
from asterism.core.defaults import OFFLINE
from asterism.core.thread_lease import take_lease, with_process_leases
from asterism.core.values import as_dict, describe_error, log_failure
from asterism.errors import ThreadBusyError
from asterism.events import BUS, Event, EventBus
from asterism.graphs.catalog import check_named, open_graph
from asterism.graphs.request_checks import check_thread
from asterism.graphs.shipped import SHIPPED
from asterism.nodes.routing import FINISH, SUPERVISOR
from asterism.storage.retention.rows import open_rows

TEXT_SHOWN = 4_000
"""How many characters of a text that is being written are shown, the latest ones."""
_DOING = {SUPERVISOR: "decides", FINISH: "writes the answer"}
_NOTES = {
    "budget_warning": "90 % of a budget is spent",
    "budget_exceeded": "a budget is spent",
    "breaker_opened": "a service failed too often and is left alone for a while",
    "waiting_for_capacity": "a call waits until there is room for it",
}


class Live:
    """Folds what the engine streams and the event bus tells into who works on what."""

    def __init__(self) -> None:
        self._working: dict[str, dict[str, str]] = {}
        self._speaks: dict[str, str | None] = {}
        self._note = ""

    def as_json(self) -> dict[str, Any]:
        """Return who works, what each one does and says, and what else is to be noted."""
        working = {
            who: {**what, "blocks": parse_markdown(what["text"])}
            for who, what in self._working.items()
        }
        return {"working": working, "note": self._note}

    def event(self, event: Event) -> None:
        """Take in an event of the bus: visits begin and end, budgets and services fail."""
        kind, path = event.type.value, str(event.facts.get("path") or "").split("/")
        self._note = _NOTES.get(kind, self._note)
        if kind == "task_started":
            self._begin(path[0], f"sends {' → '.join(path[1:])}" if path[1:] else "begins")
        elif kind in ("task_completed", "task_failed", "asked") and len(path) == 1:
            self._working.pop(path[0], None)

    def task(self, path: Sequence[str], task: Mapping[str, Any]) -> None:
        """Take in a part of `stream_mode="tasks"`.

        Args:
            path: The namespace of the graph in which it happened; `()` is the workflow.
            task: What happened.
        """
        name = task["name"]
        if not path and name in _DOING:
            if "result" in task:
                self._working.pop(SUPERVISOR, None)
            else:
                self._begin(SUPERVISOR, _DOING[name])
        elif path and "result" not in task:
            given: object = task.get("input")  # agents hand a call over alone, or in a list
            call = as_dict(as_dict(given).get("tool_call"))
            if isinstance(given, list):
                call = as_dict(next(iter(cast(list[object], given)), None))
            who = path[0].split(":")[0]
            if call.get("name") and who in self._working:
                self._working[who]["doing"] = f"calls {call.get('name')}"

    def message(self, path: Sequence[str], part: Sequence[Any]) -> None:
        """Take in a part of `stream_mode="messages"`: a piece of what somebody writes."""
        chunk, metadata = part
        if not isinstance(chunk, AIMessageChunk) or not chunk.text:
            return
        who = path[0].split(":")[0] if path else str(metadata.get("participant") or SUPERVISOR)
        work = self._working.get(who)
        if work is None:
            return
        before = work["text"] if self._speaks.get(who) == chunk.id else ""
        self._speaks[who] = chunk.id
        work["doing"] = "writes"
        work["text"] = (before + chunk.text)[-TEXT_SHOWN:]

    def _begin(self, who: str, doing: str) -> None:
        text = self._working.get(who, {}).get("text", "")
        self._working[who] = {"doing": doing, "text": text}


_log = logging.getLogger(__name__)

MOST_RUNS = 32
"""How many runs may be under way at once."""
ORIGINS_KEPT = 1_000
"""Of how many threads the graph and the model are kept, as long as nothing is stored on them."""
GRACE = 10.0
"""Seconds that a run has to come to the end of its step when the server ends."""
StartRun = tuple[RunnableConfig, Any]
"""What a run begins with: its config and its input."""
Observe = Callable[[tuple[str, ...], str, Any], object]
"""Is called with each part of what a run streams: where it happened, its mode, what happened."""


@dataclass(eq=False, kw_only=True)
class Run:
    """A run of a thread in this server."""

    graph: Graph
    config: RunnableConfig
    live: Live = field(default_factory=Live)
    control: RunControl = field(default_factory=RunControl)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """Is set when nothing speaks against the run any more."""
    observe: Observe | None = None
    values: dict[str, Any] | None = None
    """The state after its latest step."""
    steps: int = 0
    """How many states there were."""
    task: "asyncio.Task[None] | None" = None

    @property
    def thread(self) -> str:
        """Its thread."""
        return str((self.config.get("configurable") or {})["thread_id"])


class RunManager:
    """Drives runs, one to a thread, and keeps graphs open.

    Args:
        saver: The database of the threads.
        graphs: The names of the graphs that may be run and read; no other is opened.
        teams: Those of them that are no names: graphs and builders.
        model: The model that graphs of new threads are built with. None: their own.
        pace: Seconds that a reply of the offline model takes.
    """

    def __init__(
        self,
        saver: BaseCheckpointSaver[Any],
        graphs: Sequence[str],
        *,
        teams: Mapping[str, Any] = MappingProxyType({}),
        model: str | None = None,
        pace: float = 0.0,
    ) -> None:
        self.saver, self.graphs, self.model, self._pace = saver, tuple(graphs), model, pace
        self._teams = teams
        self._within = with_process_leases(saver)  # the hub takes leases against others in a thread
        self._opened: dict[tuple[str, str | None], Graph] = {}
        self._origins: dict[str, tuple[object, tuple[str, str | None]]] = {}
        self._titles: dict[str, str] = {}
        self._runs: dict[str, Run] = {}
        self.failures: dict[str, str] = {}
        """Why the latest run of a thread broke off."""
        self.news = asyncio.Event()
        """Is set, and replaced by another one, when something has happened."""
        self.closing = False
        """Whether the server ends."""

    async def graph(
        self, name: str, model: str | None, *, anew: bool = False, is_label: bool = False
    ) -> Graph:
        """Open a graph; for the arguments, see `open_graph`.

        Raises:
            ConfigurationError: It is not one of those that were named when the server started.
        """
        check_named(name, self.graphs)
        key = (name, model)
        if anew or key not in self._opened:
            self._opened[key] = await asyncio.to_thread(
                open_graph,
                self._teams.get(name, name),
                model=_slow_model(name, model, self._pace),
                checkpointer=self._within,
                is_label=is_label,
            )
        return self._opened[key]

    async def of(self, thread: str) -> tuple[Graph, RunnableConfig]:
        """Return the graph of a stored thread, and the thread's config."""
        check_thread(config_of(thread, "", None))
        place = await asyncio.to_thread(latest_place, self.saver, thread)
        known = self._origins.get(thread)
        if known is None or place is None or known[0] != place:
            while len(self._origins) >= ORIGINS_KEPT:
                del self._origins[next(iter(self._origins))]
            known = self._origins[thread] = (place, await origin_of(self.saver, thread))
        name, model = known[1]
        graph = await self.graph(name, check_model_label(model), is_label=True)
        return graph, config_of(thread, name, model)

    async def title(self, thread: str) -> str:
        """Return the title that a person gave a thread; `""`: none."""
        if thread not in self._titles:
            while len(self._titles) >= ORIGINS_KEPT:
                del self._titles[next(iter(self._titles))]
            self._titles[thread] = await asyncio.to_thread(read_title, self.saver, thread)
        return self._titles[thread]

    async def rename(self, thread: str, title: str) -> None:
        """Give a thread a title; `""`: its request is shown again.

        Raises:
            ConfigurationError: There is no such thread.
        """
        await write_title(self.saver, thread, title)
        self._titles[thread] = title
        self._tell()

    def run(self, thread: str) -> Run | None:
        """Return the run of a thread that is under way here."""
        return self._runs.get(thread)

    async def ask(self, request: str, *, graph: str | None = None, thread: str | None) -> str:
        """Begin a run on a request; return its thread.

        Args:
            request: The request.
            graph: The graph of a new thread.
            thread: The thread to go on with instead.
        """
        name, model = (
            (graph or "", self.model) if thread is None else await origin_of(self.saver, thread)
        )
        is_label = thread is not None
        thread = thread or uuid.uuid4().hex[:8]
        opened = await self.graph(name, check_model_label(model), anew=True, is_label=is_label)
        config = config_of(thread, name, model)

        async def ready() -> StartRun:
            return config, {"messages": [("user", request)]}

        await self.start(opened, config, ready)
        return thread

    async def start(
        self,
        graph: Graph,
        config: RunnableConfig,
        ready: Callable[[], Awaitable[StartRun]],
        *,
        observe: Observe | None = None,
    ) -> Run:
        """Begin a run; return when nothing speaks against it any more.

        Args:
            graph: The graph.
            config: The thread.
            ready: Makes ready what the run begins with: its config and its input. Nobody else
                drives the thread meanwhile.
            observe: Is called with each part of what the run streams.

        Raises:
            ThreadBusyError: The thread is being driven.
            AsterismError: Whatever else a workflow refuses before it runs.
        """
        run = Run(graph=graph, config=config, observe=observe)
        if run.thread in self._runs or self.closing:
            raise _busy(run.thread)
        if len(self._runs) >= MOST_RUNS:
            raise ThreadBusyError(
                f"{MOST_RUNS} runs are under way here, as many as may be. Try again when one is "
                "over, or let workers run them."
            )
        self._runs[run.thread] = run
        run.task = asyncio.create_task(self._drive_with_lease(run, ready))
        begun = asyncio.create_task(run.begun.wait())
        try:
            await asyncio.wait({run.task, begun}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            begun.cancel()
        if not run.begun.is_set():
            await run.task  # raises what speaks against it
        return run

    def stop(self, thread: str) -> bool:
        """Let a run end after its step; whether there is one."""
        run = self._runs.get(thread)
        if run:
            run.control.request_drain("stopped in the page")
        return run is not None

    async def delete(self, thread: str) -> None:
        """Delete everything that is stored of a thread.

        Raises:
            ConfigurationError: There is no such thread, or it was not started from here.
            ThreadBusyError: It is being driven, or a queue is to go on with it.
        """
        await origin_of(self.saver, thread)
        release = None
        if thread not in self._runs:
            release = await asyncio.to_thread(take_lease, self.saver, thread)
        if release is None:
            raise _busy(thread)
        try:
            if await asyncio.to_thread(_is_awaited, self.saver, thread):
                raise _busy(thread)
            await self.saver.adelete_thread(thread)
            self.failures.pop(thread, None)
            self._titles.pop(thread, None)
        finally:
            await asyncio.to_thread(release)
        self._tell()

    def end(self) -> None:
        """Begin no more runs, and let every stream end."""
        self.closing = True
        self._tell()

    async def close(self) -> None:
        """Let all runs end after their step; what is still at it then is cancelled."""
        self.end()
        tasks = [run.task for run in self._runs.values() if run.task]
        for thread in self._runs:
            self.stop(thread)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=GRACE)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _drive_with_lease(self, run: Run, ready: Callable[[], Awaitable[StartRun]]) -> None:
        """Drive a run as the only one on its thread."""
        try:
            release = await asyncio.to_thread(take_lease, self.saver, run.thread)
            if release is None:
                raise _busy(run.thread)
            try:
                await self._drive(run, *await ready())
            finally:
                await asyncio.to_thread(release)
        finally:
            del self._runs[run.thread]
            self._tell()

    async def _drive(self, run: Run, config: RunnableConfig, given: Any) -> None:
        loop = asyncio.get_running_loop()
        facts = getattr(run.graph, "facts", None)
        bus: EventBus = getattr(facts, "events", None) or EventBus(history=0)

        def tell(event: Event) -> None:
            loop.call_soon_threadsafe(run.live.event, event)
            loop.call_soon_threadsafe(self._tell)

        bus.on(None, tell, where=lambda event: event.source == run.thread)
        place = {**(config.get("configurable") or {}), BUS: bus}
        try:
            await self._stream(run, {**config, "configurable": place}, given)
        except GraphDrained:
            _log.info("the run of %s was stopped", run.thread)
        except Exception as error:
            if not run.begun.is_set():
                raise
            self.failures[run.thread] = describe_error(error)
            log_failure(_log, "the run of %s failed", run.thread, error=error)
        finally:
            bus.off(tell)

    async def _stream(self, run: Run, config: RunnableConfig, given: Any) -> None:
        modes: Any = ["tasks", "messages", "values"]
        parts: Any = run.graph.astream(
            given, config, stream_mode=modes, subgraphs=True, control=run.control
        )
        async with aclosing(parts):
            async for path, mode, part in parts:
                if not run.begun.is_set():
                    self.failures.pop(run.thread, None)
                    run.begun.set()
                if run.observe:
                    run.observe(path, mode, part)
                if mode == "tasks":
                    run.live.task(path, part)
                elif mode == "messages":
                    run.live.message(path, part)
                elif not path:
                    run.values, run.steps = part, run.steps + 1
                self._tell()

    def _tell(self) -> None:
        news, self.news = self.news, asyncio.Event()
        news.set()


def _busy(thread: str) -> ThreadBusyError:
    return ThreadBusyError(
        f"The thread {thread!r} is being driven, here or by another process, or the server ends. "
        "Try again when that run is over."
    )


def _is_awaited(saver: object, thread: str) -> bool:
    """Whether a queue is to go on with a thread; there is none beside a memory."""
    return not isinstance(saver, InMemorySaver) and open_rows(saver).is_awaited(thread)


def _slow_model(name: str, model: str | None, pace: float) -> ModelLike | None:
    if not pace or not (model == OFFLINE or (model is None and name in SHIPPED)):
        return model
    from asterism.offline import OfflineChatModel

    return OfflineChatModel(pace=pace)
