"""The runs of a database as the page lists them: in pages, by status, and by words.

Tests: tests/asterism/apps/ui/test_run_list.py.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver

from asterism.apps.stored_threads import TITLES, read_title, reader_of
from asterism.core.interrupts import APPROVAL, PendingRequest, request_of
from asterism.core.usage import Usage, lines_of
from asterism.core.values import as_dict, as_list, redact, shorten
from asterism.errors import StorageError
from asterism.observability.checkpoint_steps import interrupts_in
from asterism.storage.retention.rows import open_rows

READ_AT_ONCE = 100
"""How many runs one call reads; a search that needs more goes on with the next call."""
ROWS_KEPT = 20_000
SEARCHED = 2_000
"""How many characters of a request, and of an answer, are searched."""
FINAL = ("completed", "failed", "limit", "stalled")
FAILED = (*FINAL[1:], "damaged")


class RunList:
    """Lists runs, the latest first, and reads each one again only when it has changed.

    Args:
        saver: The database.
        is_driven: Whether a thread is being driven by this server.
    """

    def __init__(self, saver: BaseCheckpointSaver[Any], is_driven: Callable[[str], bool]) -> None:
        self._saver, self._is_driven = saver, is_driven
        self._reader = reader_of(saver)
        self._rows: dict[str, tuple[tuple[str, int, str], dict[str, Any]]] = {}
        self._reads = 0

    async def page(
        self, *, limit: int, words: str = "", status: str = "", before: str = ""
    ) -> dict[str, Any]:
        """Return some runs, and how many there are in all.

        `before` of what is returned is where the next call goes on; None: these are the last.

        Args:
            limit: How many, at most.
            words: What the title, the request or the answer has to contain, in any case.
            status: A status; `"failed"`: any that is no good end.
            before: Where the call before this one came to.
        """
        return await asyncio.to_thread(self._page, limit, words.lower(), status, before)

    def _page(self, limit: int, words: str, status: str, before: str) -> dict[str, Any]:
        places = self._places()
        older = deque(place for place in places if not before or place[1] < before)
        found: list[dict[str, Any]] = []
        until = self._reads + READ_AT_ONCE
        while older and len(found) < limit and self._reads < until:
            thread, before, titled = older.popleft()
            row = self._row(thread, before, titled)
            if _matches(row, words, status):
                found.append({key: value for key, value in row.items() if key != "text"})
        return {"runs": found, "before": before if older else None, "total": len(places)}

    def _places(self) -> list[tuple[str, str, str]]:
        """Return all threads with their latest checkpoints and titles, the latest first."""
        if isinstance(self._saver, InMemorySaver):
            spaces = [
                (t, s[""], s.get(TITLES)) for t, s in self._saver.storage.items() if s.get("")
            ]
            found = [(t, max(own), max(titles or [""])) for t, own, titles in spaces]
            return sorted(found, key=lambda place: place[1], reverse=True)
        rows = open_rows(self._saver)
        query = (
            "SELECT thread_id, max(CASE checkpoint_ns WHEN '' THEN checkpoint_id END) AS latest, "
            "max(CASE checkpoint_ns WHEN '' THEN NULL ELSE checkpoint_id END) AS titled "
            f"FROM checkpoints WHERE checkpoint_ns IN ('', '{TITLES}') {rows.only_readable} "
            "GROUP BY thread_id ORDER BY 2 DESC"
        )
        found = [(str(t), str(at or ""), str(titled or "")) for t, at, titled in rows.read(query)]
        return [place for place in found if place[1]]

    def _row(self, thread: str, at: str, titled: str) -> dict[str, Any]:
        known = self._rows.get(thread)
        kept = known and (known[0][0], known[0][2]) == (at, titled)
        if known is None or not kept or known[1]["status"] not in FINAL:
            found = latest_place(self._saver, thread) or (at, 0)
            place = (found[0], found[1], titled)
            if known is None or known[0] != place:
                while len(self._rows) >= ROWS_KEPT:
                    del self._rows[next(iter(self._rows))]
                self._reads += 1
                known = self._rows[thread] = (place, self._read(thread))
        driven = self._is_driven(thread)
        return {**known[1], "driven": driven, **({"status": "running"} if driven else {})}

    def _read(self, thread: str) -> dict[str, Any]:
        row: dict[str, Any] = {"thread": thread, "graph": "?", "status": "?", "when": "?"}
        row |= {
            "title": "",
            "request": "",
            "text": "",
            "asks": "",
            "visits": 0,
            "failures": 0,
            "cost_usd": None,
        }
        place: RunnableConfig = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
        try:
            saved = self._saver.get_tuple(place)
            if saved is None:
                return row
            row["graph"] = str(as_dict(saved.metadata).get("graph") or "?")
            row["when"] = str(saved.checkpoint["ts"])
            values = as_dict(self._reader.get_state(place).values)
            title = read_title(self._saver, thread)
        except StorageError:
            return {**row, "status": "damaged"}
        asked = [request_of(found) for found, _, is_open in interrupts_in(saved) if is_open]
        reports, usage = as_list(values.get("reports") or []), Usage.of(lines_of(values))
        request = " ".join(str((as_list(values.get("brief")) or [""])[0] or "").split())
        return {
            **row,
            "status": "waiting" if asked else str(values.get("status", "?")),
            "title": title,
            "request": shorten(request, 200),
            "text": f"{title} {request[:SEARCHED]} {_last_words(values)}".lower(),
            "asks": shorten(redact(_prompt(asked[0])), 200) if asked else "",
            "visits": len(reports),
            "failures": sum(as_dict(r).get("status") not in ("ok", "skipped") for r in reports),
            "cost_usd": None if usage.unknown else str(usage.cost_usd),
        }


def latest_place(saver: BaseCheckpointSaver[Any], thread: str) -> tuple[str, int] | None:
    """Return the latest checkpoint of a thread and how much was written after it.

    Nothing of it is decoded, which takes long where a thread has many messages.
    """
    if isinstance(saver, InMemorySaver):
        at = max(saver.storage[thread][""], default=None) if thread in saver.storage else None
        return None if at is None else (at, len(saver.writes.get((thread, "", at), ())))
    rows = open_rows(saver)
    where = "WHERE thread_id = ? AND checkpoint_ns = ''"
    query = f"SELECT max(checkpoint_id) AS latest FROM checkpoints {where}"
    ((at,),) = rows.read(query, (thread,))
    if at is None:
        return None
    query = f"SELECT count(*) AS count FROM {rows.writes_table} {where} AND checkpoint_id = ?"
    ((count,),) = rows.read(query, (thread, at))
    return str(at), int(count)


def _prompt(request: PendingRequest) -> str:
    """Say what is asked; of an approval, for which tools."""
    value = as_dict(request.value)
    calls = as_list(value.get("action_requests") or value)
    names = dict.fromkeys(str(as_dict(call).get("name")) for call in calls)
    is_approval = APPROVAL in (request.request_type, value.get("type"))
    return f"requests approval: {', '.join(names)}" if is_approval else request.prompt


def _last_words(values: Mapping[str, Any]) -> str:
    """Return what was said last; of a run that has ended, its answer."""
    messages = as_list(values.get("messages") or [""])
    return str(getattr(messages[-1], "text", ""))[:SEARCHED]


def _matches(row: dict[str, Any], words: str, status: str) -> bool:
    said = f"{row['text']} {row['thread']} {row['graph']}".lower()
    wanted = FAILED if status == "failed" else (status,)
    return words in said and (not status or row["status"] in wanted)
