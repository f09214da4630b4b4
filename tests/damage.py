"""A thread whose rows tests damage, and every call that reads or changes it."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import ormsgpack
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.types import interrupt

from asterism import Participant, SupervisorWorkflowBuilder, proceed, read_run, resume
from asterism.apps.stored_threads import origin_of, reader_of
from asterism.apps.ui.run_manager import RunManager
from asterism.apps.ui.thread_watch import ThreadWatch
from asterism.errors import AsterismError, StorageError
from asterism.storage.retention import export_thread, forget_user, prune
from tests.teams import follow

THREAD: RunnableConfig = {"configurable": {"thread_id": "bad"}, "metadata": {"graph": "toy"}}
RESUME = 13
"""How many calls come before those that go on with the thread."""


def packed(value: Any) -> bytes:
    return ormsgpack.packb(value)


PACKED: dict[str, bytes] = {
    "packed number": packed(7),
    "packed text": packed("x"),
    "packed list": packed([1, "a", None]),
    "packed map": packed({"a": 1}),
    "packed nothing": packed(None),
    "packed newer": packed(
        {
            "v": 99,
            "id": "x",
            "ts": "x",
            "channel_values": {},
            "channel_versions": {},
            "versions_seen": {},
        }
    ),
    "packed parts": packed(
        {"v": 4, "id": 7, "ts": 7, "channel_values": 3, "channel_versions": 4, "versions_seen": 5}
    ),
}


def team(saver: Any) -> Any:
    def work(messages: Any) -> str:
        if len(messages) == 1:
            return "Done."
        return f"told {interrupt({'prompt': 'Which colour?'})}"

    return (
        SupervisorWorkflowBuilder("Team", finish="forward")
        .participants(clerk=Participant(runs=work, description="Works."))
        .with_manager(follow(["clerk", "clerk"]))
        .build(checkpointer=saver)
    )


def store_two(saver: Any) -> None:
    """Store two threads, `good` and `bad`, each of which waits for an answer."""
    for thread in ("good", "bad"):
        place: Any = {**THREAD, "configurable": {"thread_id": thread}}
        team(saver).invoke({"messages": [("user", "Go")]}, place)


def threads_in(rows: Iterable[CheckpointTuple]) -> set[str]:
    """Return the threads of some checkpoints."""
    return {(row.config.get("configurable") or {})["thread_id"] for row in rows}


def thread_calls(saver: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Everything that reads a thread."""
    graph = team(saver)
    yield "get_tuple", lambda: saver.get_tuple(THREAD)
    yield "list", lambda: [*saver.list({"configurable": {"thread_id": "bad"}})]
    yield "list all", lambda: [*saver.list(None)]
    yield "get_state", lambda: graph.get_state(THREAD, subgraphs=True)
    yield "aget_state", lambda: asyncio.run(graph.aget_state(THREAD, subgraphs=True))
    yield "history", lambda: [*graph.get_state_history(THREAD)]
    yield "read_run", lambda: read_run(graph, THREAD)
    yield "origin", lambda: asyncio.run(origin_of(saver, "bad"))
    yield "show", lambda: reader_of(saver).get_state(THREAD)
    yield "export", lambda: export_thread(saver, "bad")
    yield "page", lambda: asyncio.run(ThreadWatch(RunManager(saver, ["toy"])).now("bad"))
    yield "prune", lambda: prune(saver, keep_last=50)
    yield "forget", lambda: forget_user(saver, "nobody")
    yield "resume", lambda: resume(graph, THREAD, "blue")
    yield "proceed", lambda: proceed(graph, THREAD)
    yield "invoke", lambda: graph.invoke({"messages": [("user", "Again")]}, THREAD)


def fault_of(name: str, call: Callable[[], Any], *, named: bool) -> list[str]:
    """Make a call on a damaged thread; return what is wrong with its error."""
    try:
        call()
    except StorageError as error:
        named = named and name not in ("list all", "prune", "forget")
        return [f"{name}: no thread in: {error}"] if named and "'bad'" not in str(error) else []
    except AsterismError:
        pass
    except Exception as error:
        return [f"{name}: {type(error).__name__}: {error}"[:200]]
    return []
