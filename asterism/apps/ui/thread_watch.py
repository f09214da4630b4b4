"""Views of stored runs as plain JSON, and the stream of their changes."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.types import StateSnapshot
from pydantic_core import to_jsonable_python

from asterism.apps.ui.approvals import approval_calls, is_single
from asterism.apps.ui.markdown import parse_markdown
from asterism.apps.ui.run_list import latest_place
from asterism.apps.ui.run_manager import RunManager
from asterism.core.continuation import Graph, is_unfinished
from asterism.core.decision import RunPlan, VisitNext, load_decision, work_of
from asterism.core.interrupts import PendingRequest, open_requests
from asterism.core.thread_lease import take_lease
from asterism.core.usage import Usage, lines_of
from asterism.core.values import as_dict, redact_values, shorten
from asterism.errors import ConfigurationError, UnknownThreadError
from asterism.graphs.catalog import models_of
from asterism.nodes.routing import BEGIN, SUPERVISOR
from asterism.nodes.view import message_facts
from asterism.observability.compare import compare_runs
from asterism.observability.from_checkpoints import aread_run
from asterism.observability.record import RequestRecord, plain

MESSAGES_SHOWN = 100
"""How many of the latest messages the page gets."""
EARLIER_SHOWN = 200
"""How many of those before them it gets at once, where it asks."""
KINDS = ("report", "decision", "question", "answer", "withdrawn")
_LABELS = {
    "__start__": "Request received",
    "supervisor": "Supervisor decides",
    "human": "Supervisor asks you",
    "dispatch": "Supervisor starts a plan",
    "undo": "Effects are undone",
    "finish": "Supervisor finishes",
}


def run_view(values: Mapping[str, Any], participants: Mapping[str, str]) -> dict[str, Any]:
    """Show the state of a run: what was asked, said, reported and spent.

    Args:
        values: Its state.
        participants: Who takes part: id and description.
    """
    messages: list[BaseMessage] = list(values.get("messages") or ())
    decision = load_decision(values.get("decision"))
    visit = decision if isinstance(decision, VisitNext) else None
    return {
        "status": values.get("status"),
        "reason": values.get("reason"),
        "request": next(iter(values.get("brief") or ()), ""),
        "iterations": values.get("iterations") or 0,
        "decision": work_of(visit) or {"next_agent": None, "instruction": None},
        "tasks": decision.tasks if isinstance(decision, RunPlan) else [],
        "usage": _usage(Usage.of(lines_of(values))),
        "participants": [_participant(name, participants[name], values) for name in participants],
        "earlier": max(0, len(messages) - MESSAGES_SHOWN),
        "messages": [message_view(message) for message in messages[-MESSAGES_SHOWN:]],
        "reports": [_report(report) for report in values.get("reports") or ()],
    }


def message_view(message: BaseMessage) -> dict[str, Any]:
    """Show a message: who said what, and of what kind it is."""
    facts = message_facts(message)
    return {
        "id": message.id,
        "type": message.type,
        "name": message.name or ("you" if message.type == "human" else "supervisor"),
        "kind": next((kind for kind in KINDS if kind in facts), message.type),
        "text": message.text,
        "blocks": parse_markdown(message.text),
        "calls": [
            {"name": call["name"], "args": call["args"]}
            for call in getattr(message, "tool_calls", ())
        ],
    }


def question_view(request: PendingRequest, graph: Graph) -> dict[str, Any]:
    """Show an open request; of an approval, also the calls that it is about."""
    return {
        **request.as_json(),
        "blocks": parse_markdown(request.prompt),
        "calls": approval_calls(request, graph),
        "single": is_single(request),
    }


def step(
    snapshot: StateSnapshot, *, branch: bool, following: StateSnapshot | None = None
) -> dict[str, Any]:
    """Show a checkpoint as one step of the history.

    Args:
        snapshot: The state of then.
        branch: Whether the thread as it is now has come by here.
        following: The step after it, in which the supervisor has decided where it is to decide.
    """
    decides = SUPERVISOR in snapshot.next
    metadata: Mapping[str, Any] = snapshot.metadata or {}
    return {
        "checkpoint": as_dict(snapshot.config.get("configurable")).get("checkpoint_id"),
        "at": snapshot.created_at,
        "label": _label(snapshot),
        "edited": metadata.get("source") == "update",
        "branch": branch,
        "forks": bool(snapshot.values.get("brief")),
        "decision": _read_decision(following if decides else snapshot),
    }


def _read_decision(snapshot: StateSnapshot | None) -> dict[str, Any] | None:
    """Show the decision of a step. None: there is none."""
    decision = load_decision(as_dict(snapshot.values).get("decision")) if snapshot else None
    if decision is None:
        return None
    names = ("next_agent", "instruction", "user_prompt")
    return {"kind": decision.kind, **{name: getattr(decision, name, None) for name in names}}


def _label(snapshot: StateSnapshot) -> str:
    values = as_dict(snapshot.values)
    ahead = snapshot.next[0] if snapshot.next else ""
    if not ahead:
        return str(values.get("status") or "end").capitalize()
    reports = values.get("reports") or ()
    if ahead == SUPERVISOR and reports and values.get("decision"):
        return f"{reports[-1]['participant']} reported"
    if ahead in _LABELS:
        return _LABELS[ahead]
    names = ", ".join(dict.fromkeys(snapshot.next))
    return f"Supervisor → {names}" if "iterations" in values else names


def _participant(name: str, description: str, values: Mapping[str, Any]) -> dict[str, Any]:
    reports = [r for r in values.get("reports") or () if r["participant"] == name]
    lines = [entry for report in reports for entry in report.get("usage") or ()]
    return {
        "id": name,
        "description": description,
        "visits": len(reports),
        "status": reports[-1]["status"] if reports else None,
        "usage": _usage(Usage.of(lines)),
    }


def _report(report: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("id", "participant", "round", "status", "text", "attempts", "task", "error")
    shown = {key: report[key] for key in kept if key in report}
    files: Sequence[Mapping[str, str]] = report.get("files") or ()
    usage = _usage(Usage.of(report.get("usage") or ()))
    blocks = parse_markdown(shown["text"])
    return {**shown, "blocks": blocks, "usage": usage, "files": [dict(file) for file in files]}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "calls": usage.calls,
        "tokens": usage.tokens,
        "estimated_tokens": usage.estimated_tokens,
        "cache_hit_rate": round(usage.cache_hit_rate, 4),
        "seconds": round(usage.seconds, 3),
        "cost_usd": str(usage.cost_usd),
        "unknown": sorted(usage.unknown),
    }


STREAM_SECONDS = 20.0
"""How long one stream of changes lasts; a browser asks for the next one by itself."""
POLL = 1.0
"""Seconds between two looks at a thread that another process may drive."""
PAUSE = 0.08
"""Seconds between two events of a stream at least."""
STEPS_SHOWN = 200
"""How many of the latest checkpoints the history shows."""
STATE_TEXT = 10_000
"""How many characters of each text the state shows."""
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
        self._said: tuple[object, list[BaseMessage]] | None = None

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
        run, title = self._hub.run(thread), await self._hub.title(thread)
        if run and run.values is not None:
            key: object = (run, run.steps, title)
            if (known := self._cached_view(thread, key)) is None:
                known = _thread_view(run.graph, run.config, run.values, driven="here")
                known["title"] = title
            return self._keep(thread, key, known)
        failure = self._hub.failures.get(thread)
        key = (await asyncio.to_thread(latest_place, self._hub.saver, thread), failure, title)
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
        snapshot = await graph.aget_state(config_at(config, checkpoint), subgraphs=True)
        _check_found(snapshot, thread, checkpoint)
        shown = _thread_view(graph, config, snapshot.values)
        shown["title"] = await self._hub.title(thread)
        if not checkpoint:
            shown["questions"] = [question_view(one, graph) for one in open_requests(snapshot)]
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
        children: dict[str, StateSnapshot] = {}
        for s in reversed(found):  # of several, the one by which the thread came to where it is
            parent = _checkpoint(s.parent_config)
            if parent not in children or _checkpoint(s.config) in branch:
                children[parent] = s
        return [
            step(s, branch=here in branch, following=children.get(here))
            for s in shown
            for here in (_checkpoint(s.config),)
        ]

    async def visits(self, thread: str, checkpoint: str | None = None) -> dict[str, Any]:
        """Show the latest request of a thread as its visits, with their calls of tools.

        Args:
            thread: The thread.
            checkpoint: Where to stop. None: at the latest one.
        """
        graph, config = await self._hub.of(thread)
        try:
            record = await aread_run(graph, config_at(config, checkpoint))
        except UnknownThreadError:  # a graph that is no workflow
            return {"visits": [], "decisions": []}
        if not record.requests:
            return {"visits": [], "decisions": []}
        latest = record.requests[-1]
        decisions = [
            {"began": one.began, "ended": one.decided, "asks": one.kind == "question"}
            for one in latest.rounds
        ]
        return {"visits": _visits(latest), "decisions": decisions}

    async def state(self, thread: str, checkpoint: str | None = None) -> dict[str, Any]:
        """Show the stored state of a thread as JSON, without secrets and with long texts cut."""
        graph, config = await self._hub.of(thread)
        snapshot = await graph.aget_state(config_at(config, checkpoint))
        _check_found(snapshot, thread, checkpoint)
        shown = {
            "checkpoint": _checkpoint(snapshot.config),
            "created_at": snapshot.created_at,
            "next": snapshot.next,
            "metadata": snapshot.metadata,
            "values": snapshot.values,
        }
        found = to_jsonable_python(shown, fallback=str, inf_nan_mode="strings", bytes_mode="base64")
        return cast(dict[str, Any], redact_values(_cut(found)))

    async def messages(self, thread: str, before: int, checkpoint: str | None) -> dict[str, Any]:
        """Show messages of a thread that came before the latest ones.

        Args:
            thread: The thread.
            before: How many messages stand before those that are shown already.
            checkpoint: Whose messages. None: the latest.
        """
        graph, config = await self._hub.of(thread)
        key = (thread, checkpoint, await asyncio.to_thread(latest_place, self._hub.saver, thread))
        if self._said is None or self._said[0] != key:
            values = as_dict((await graph.aget_state(config_at(config, checkpoint))).values)
            self._said = (key, [*(values.get("messages") or ())])
        first = max(0, before - EARLIER_SHOWN)
        found = self._said[1][first:before]
        return {"earlier": first, "messages": [message_view(message) for message in found]}

    async def compare(self, thread: str, before: str, after: str) -> dict[str, Any]:
        """Compare a thread at two of its checkpoints: decisions, reports, ends and money."""
        graph, config = await self._hub.of(thread)
        runs = [await aread_run(graph, config_at(config, place)) for place in (before, after)]
        return compare_runs(*runs).as_json()

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
        "models": models_of(graph),
        "driven": driven,
        "error": None,
        "questions": [],
        "unfinished": driven is not None,
    }


def _visits(request: RequestRecord) -> list[dict[str, Any]]:
    return [
        {
            **plain(replace(visit, inside=None)),
            "instruction": decided.instruction,
            "inside": _visits(visit.inside) if visit.inside else [],
        }
        for decided in request.rounds
        for visit in decided.in_order()
    ]


def _cut(value: Any) -> Any:
    """Cut the long texts of a plain JSON value."""
    if isinstance(value, str):
        return shorten(value, STATE_TEXT)
    if isinstance(value, dict):
        return {key: _cut(inner) for key, inner in cast(dict[str, Any], value).items()}
    return [*map(_cut, cast(list[object], value))] if isinstance(value, list) else value


def config_at(config: RunnableConfig, checkpoint: str | None) -> RunnableConfig:
    """Return the config of a thread at one of its checkpoints. None: at the latest."""
    if checkpoint is None:
        return config
    place = {"checkpoint_ns": "", "checkpoint_id": checkpoint}
    place = {**(config.get("configurable") or {}), **place}
    return {**config, "configurable": place}


def _check_found(snapshot: StateSnapshot, thread: str, checkpoint: str | None) -> None:
    if snapshot.created_at is None:
        raise ConfigurationError(f"The thread {thread!r} has no checkpoint {checkpoint!r}.")


def _checkpoint(config: RunnableConfig | None) -> str:
    return str(as_dict((config or {}).get("configurable")).get("checkpoint_id") or "")
