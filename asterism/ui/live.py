"""What a run does right now: who works, on what, and what is being said."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessageChunk

from asterism.core.values import as_dict
from asterism.events import Event
from asterism.nodes.routing import FINISH, SUPERVISOR

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
        working = {who: dict(what) for who, what in self._working.items()}
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
            call = as_dict(as_dict(task.get("input")).get("tool_call"))
            who = path[0].split(":")[0]
            if call and who in self._working:
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
