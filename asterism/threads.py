"""The threads of a database: which there are, what they are, what was said."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import StateSnapshot
from platformdirs import user_data_path

from asterism.errors import ConfigurationError
from asterism.graphs.catalog import open_graph
from asterism.graphs.checks import check_thread
from asterism.models import OFFLINE
from asterism.runs import Graph

MEMORY_FILE = ":memory:"
"""What `--db` names a database that is gone with the process."""
Opener = Callable[[str], Awaitable[Graph]]
"""Opens a graph by name, to read its threads."""


def database(given: str | None) -> str:
    """Return the URL of the database: the one given, or a file in the user's data folder."""
    if given == MEMORY_FILE:
        return "memory:"
    if given and "://" in given:
        return given
    path = Path(given) if given else user_data_path("asterism") / "threads.db"
    return f"sqlite:///{path.absolute()}"


def config_of(thread: str, graph: str, model: str) -> RunnableConfig:
    """Return the config of a thread; what it is labelled with is found again by `origin_of`."""
    return {"configurable": {"thread_id": thread}, "metadata": {"graph": graph, "model": model}}


async def list_threads(
    saver: BaseCheckpointSaver[Any], limit: int, opener: Opener | None = None
) -> list[dict[str, str]]:
    """List the latest threads, each with its graph, status, time and request.

    Args:
        saver: The database.
        limit: How many, the latest first.
        opener: Opens their graphs. None: any graph that can be imported is opened.
    """

    async def opened(name: str) -> Graph:
        return open_graph(name, model=OFFLINE, checkpointer=saver)

    found: dict[str, dict[str, str]] = {}
    async for item in saver.alist(None, filter={"source": "input"}):
        place = item.config.get("configurable") or {}
        thread = str(place["thread_id"])
        if place.get("checkpoint_ns") or thread in found:
            continue
        if len(found) == limit:
            break
        graph = cast(dict[str, Any], item.metadata).get("graph")
        row = {"thread": thread, "graph": str(graph or "?"), "status": "?", "request": ""}
        found[thread] = {**row, "when": item.checkpoint["ts"][:16].replace("T", " ")}
    for row in found.values():  # only now: the saver is locked while it lists
        if row["graph"] != "?":
            await _fill(opener or opened, row)
    return list(found.values())


async def _fill(opener: Opener, row: dict[str, str]) -> None:
    try:
        graph = await opener(row["graph"])
    except ConfigurationError:
        return  # a graph of another project's; the thread is listed all the same
    config: RunnableConfig = {"configurable": {"thread_id": row["thread"]}}
    snapshot = await graph.aget_state(config)
    row["status"] = str(snapshot.values.get("status", "?"))
    brief = snapshot.values.get("brief") or [""]
    row["request"] = " ".join(brief[0].split())[:60]


async def origin_of(saver: BaseCheckpointSaver[Any], thread: str) -> tuple[str, str]:
    """Return the graph and the model that a thread was started with.

    Raises:
        ConfigurationError: There is no such thread, it was not started from here, or it is no
            name of a thread.
    """
    config: RunnableConfig = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
    check_thread(config)
    saved = await saver.aget_tuple(config)
    facts = cast(dict[str, Any], saved.metadata) if saved else {}
    if "graph" not in facts:
        raise ConfigurationError(
            f"There is no thread {thread!r} of Asterism's in this database; see: asterism threads"
        )
    return facts["graph"], facts.get("model", OFFLINE)


def transcript(snapshot: StateSnapshot) -> list[dict[str, str]]:
    """Return what was said on a thread, oldest first."""
    return [
        {
            "name": message.name or ("you" if message.type == "human" else "supervisor"),
            "text": message.text,
        }
        for message in snapshot.values.get("messages") or ()
    ]
