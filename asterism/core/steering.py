"""Messages into a running team: the steering messages of a thread, beside its checkpoints.

Anybody may add one; whoever drives the thread takes it into the state, in the same checkpoint as
what follows from it, and it is deleted only when that is stored. So a crash loses none, and takes
none in twice: a message that stands in the state is not taken in again.
Tests: tests/graphs/test_steering.py, tests/asterism/storage/test_steering.py.
"""

import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from langchain_core.messages import BaseMessage, HumanMessage

from asterism.core.sync_async import Call, Steps

When = Literal["asap", "idle"]
"""When a steering message is taken in: at the next boundary, or once the run is over."""

OnBusy = Literal["steer", "queue", "refuse"]
"""What a message of the user does on a thread that is driven: it steers the run, waits for its
end, or is refused with `ThreadBusyError`."""

STEER_ID = "steer-"
"""How the ids of steering messages begin in a history; the message's own id follows."""

MARK = "asterism"
"""The key in a message's `response_metadata` under which the workflow labels its own messages."""
STEER = "steer"
"""The fact of that label by which a message is known as one that steered the run."""


@dataclass(frozen=True, kw_only=True)
class SteeringMessage:
    """A message that waits beside a thread to be taken in."""

    content: str | list[Any]
    """What the user says: a text, or content blocks."""
    to: str = ""
    """The path of the participant that it is for, as `"team/venue"`. Empty: the supervisor."""
    when: When = "asap"
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def message_id(self) -> str:
        """The id of the message in a history: it tells that it was taken in."""
        return f"{STEER_ID}{self.id}"

    def message(self, **facts: Any) -> HumanMessage:
        """Return the message as it stands in a history."""
        return HumanMessage(self.content, id=self.message_id, **facts)

    def dump(self) -> dict[str, Any]:
        """Return what is stored besides the id, as plain JSON."""
        return {"content": self.content, "to": self.to, "when": self.when}


class HandedOver(Exception):  # noqa: N818 - it is no error: a run has the message
    """A message was handed to the run under way, or left for after it.

    Args:
        state: What the call returns.
    """

    def __init__(self, state: dict[str, Any]) -> None:
        super().__init__(state["reason"])
        self.state = state

    def parts(self, usual: object, asked: Mapping[str, Any]) -> Iterator[Any]:
        """Yield what a stream shows of it.

        Args:
            usual: The mode of a stream for which none is asked.
            asked: The options of the stream.
        """
        mode: Any = asked.get("stream_mode") or usual
        change = {key: self.state[key] for key in ("status", "reason")}
        shown = {"updates": {"steer": change}, "values": self.state}
        for name in [mode] if isinstance(mode, str) else mode:
            if name not in shown:
                continue
            if asked.get("version") == "v2":
                part = {"type": name, "ns": (), "data": shown[name]}
                yield {**part, "interrupts": ()} if name == "values" else part
                continue
            parts: list[Any] = [()] if asked.get("subgraphs") else []
            parts += [] if isinstance(mode, str) else [name]
            yield (*parts, shown[name]) if parts else shown[name]


class _ProcessStore:
    """The steering messages of a saver that keeps none itself: they last as long as the process."""

    def __init__(self) -> None:
        self._threads: dict[str, dict[str, SteeringMessage]] = {}

    def steering(
        self, thread_id: str, add: SteeringMessage | None = None, drop: Collection[str] = ()
    ) -> Sequence[SteeringMessage]:
        held = self._threads.setdefault(thread_id, {})
        if add is not None:
            held.setdefault(add.id, add)
        for name in drop:
            held.pop(name, None)
        return [*held.values()]

    async def asteering(self, *args: Any) -> Sequence[SteeringMessage]:
        return self.steering(*args)


def steering_store(saver: Any) -> Any:
    """Return what keeps the messages of a saver's threads: `steering` and `asteering`.

    Both add one message, delete those that were taken in, and return what is there then.
    """
    if hasattr(saver, "asteering"):
        return saver
    # copies of a saver, as those behind a write fence, share it
    held: dict[str, Any] = getattr(saver, "__dict__", {})
    return held.setdefault("_asterism_steering", _ProcessStore())


def add_steering(saver: Any, thread_id: str, message: SteeringMessage) -> Steps[None]:
    """Store a message beside a thread."""
    store = steering_store(saver)
    yield Call(store.steering, store.asteering, (thread_id, message))


def read_steering(saver: Any, thread_id: str) -> Steps[Sequence[SteeringMessage]]:
    """Return the messages beside a thread, in order; some may have been taken in already."""
    store = steering_store(saver)
    found: Sequence[SteeringMessage] = yield Call(store.steering, store.asteering, (thread_id,))
    return found


def drop_steering(saver: Any, thread_id: str, ids: Collection[str]) -> Steps[None]:
    """Delete messages whose being taken in is stored."""
    store = steering_store(saver)
    if ids:
        yield Call(store.steering, store.asteering, (thread_id, None, ids))


def taken_ids(messages: Iterable[BaseMessage]) -> set[str]:
    """Return the ids of the steering messages that a history holds."""
    ids = (str(getattr(message, "id", None) or "") for message in messages)
    return {name.removeprefix(STEER_ID) for name in ids if name.startswith(STEER_ID)}


def steered_path(message: BaseMessage) -> str | None:
    """Return whom a message of a workflow's history steered; None where it did not steer."""
    facts: dict[str, Any] = message.response_metadata.get(MARK) or {}
    return None if STEER not in facts else str(facts[STEER]["to"])


def load_steering(id: str, stored: Mapping[str, Any]) -> SteeringMessage:
    """Read a message as it was stored.

    Raises:
        TypeError: It is none.
    """
    content, to, when = (stored.get(key) for key in ("content", "to", "when"))
    if not isinstance(content, str | list) or not isinstance(to, str) or when not in _WHENS:
        raise TypeError(f"a steering message is {stored!r:.80}")
    return SteeringMessage(id=id, content=cast(Any, content), to=to, when=when)


_WHENS = ("asap", "idle")
