"""The threads of a database: which there are, what they are, what was said."""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import StateSnapshot
from platformdirs import user_data_path

from asterism.core.continuation import Graph
from asterism.core.state import WorkflowState
from asterism.core.values import as_dict, as_list, shorten
from asterism.errors import ConfigurationError, StorageError
from asterism.graphs.request_checks import check_thread
from asterism.observability.checkpoint_steps import interrupts_in
from asterism.storage.retention.rows import open_rows

MEMORY_FILE = ":memory:"
"""What `--db` names a database that is gone with the process."""
_MODEL = re.compile(r"[\w./@+-]{1,100}(:[\w./@:+-]{1,200})?", re.ASCII)


def open_database(given: str | None) -> str:
    """Return the URL of the database: the one given, or a file in the user's data folder."""
    if given == MEMORY_FILE:
        return "memory:"
    if given and "://" in given:
        return given
    path = Path(given) if given else user_data_path("asterism") / "threads.db"
    return f"sqlite:///{path.absolute()}"


def config_of(thread: str, graph: str, model: str | None) -> RunnableConfig:
    """Return the config of a thread; what it is labelled with is found again by `origin_of`."""
    labels = {"graph": graph} if model is None else {"graph": graph, "model": model}
    return {"configurable": {"thread_id": thread}, "metadata": labels}


async def list_threads(saver: BaseCheckpointSaver[Any], limit: int) -> list[dict[str, str]]:
    """List the latest threads, each with its graph, status, time and request.

    No graph is opened for it. A thread whose rows are damaged is listed as such.

    Args:
        saver: The database.
        limit: How many, the latest first.
    """
    reader = reader_of(saver)
    return [
        await _row(saver, reader, thread)
        for thread in await asyncio.to_thread(latest_threads, saver, limit)
    ]


def reader_of(saver: BaseCheckpointSaver[Any]) -> Graph:
    """Make a graph that reads the stored state of any workflow, and runs nothing."""
    graph = StateGraph(WorkflowState)
    graph.add_node("nothing", _nothing)
    graph.add_edge(START, "nothing")
    return graph.compile(checkpointer=saver)


async def _row(saver: BaseCheckpointSaver[Any], reader: Graph, thread: str) -> dict[str, str]:
    row = {"thread": thread, "graph": "?", "status": "?", "when": "?", "request": ""}
    place: RunnableConfig = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
    try:
        saved = await saver.aget_tuple(place)
        if saved is None:
            return row
        row["graph"] = str(as_dict(saved.metadata).get("graph") or "?")
        row["when"] = str(saved.checkpoint["ts"])[:16].replace("T", " ")
        values = as_dict((await reader.aget_state(place)).values)
    except StorageError:
        return {**row, "status": "damaged"}
    asks = any(is_open for _, _, is_open in interrupts_in(saved))
    row["status"] = "waiting" if asks else str(values.get("status", "?"))
    brief = as_list(values.get("brief"))
    row["request"] = " ".join(str((brief or [""])[0] or "").split())[:60]
    return row


def latest_threads(saver: BaseCheckpointSaver[Any], limit: int) -> Sequence[str]:
    """Return the ids of the threads that were written last."""
    if isinstance(saver, InMemorySaver):
        stored = {thread: spaces[""] for thread, spaces in saver.storage.items() if spaces.get("")}
        return sorted(stored, key=lambda thread: max(stored[thread]), reverse=True)[:limit]
    return open_rows(saver).latest_threads(limit)


def _nothing(state: WorkflowState) -> dict[str, Any]:
    return {}


async def origin_of(saver: BaseCheckpointSaver[Any], thread: str) -> tuple[str, str | None]:
    """Return the graph and the model that a thread is labelled with: data, which opens nothing.

    A thread whose model nobody chose is labelled with none: its graph has its own.

    Raises:
        ConfigurationError: There is no such thread, it was not started from here, or it is no
            name of a thread.
    """
    config: RunnableConfig = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
    check_thread(config)
    saved = await saver.aget_tuple(config)
    facts = as_dict(saved.metadata) if saved else {}
    graph, model = facts.get("graph"), facts.get("model")
    if not isinstance(graph, str):
        raise ConfigurationError(
            f"There is no thread {thread!r} of Asterism's in this database; see: asterism threads"
        )
    return graph, model if isinstance(model, str) else None


def check_model_label(model: str | None) -> str | None:
    """Return the name of a model that stored data gives, if it does.

    Raises:
        ConfigurationError: It is none.
    """
    if model is not None and not _MODEL.fullmatch(model):
        raise ConfigurationError(
            f"The stored name of a model is {shorten(repr(model), 120)}. Allowed: offline, or "
            "provider:model. Choose one with --model."
        )
    return model


TITLES = "asterism:title"
"""The namespace beside a thread, which no graph uses, where its title is."""


async def write_title(saver: BaseCheckpointSaver[Any], thread: str, title: str) -> None:
    """Store the title that a person gives a thread, beside its checkpoints; `""`: none.

    It stands in a channel, so it is encrypted where those are, and is deleted with the thread.

    Raises:
        ConfigurationError: There is no such thread.
    """
    await origin_of(saver, thread)
    blank = empty_checkpoint()
    versions: Any = {"title": blank["id"]}
    stored: Any = {**blank, "channel_values": {"title": [title]}, "channel_versions": versions}
    metadata: Any = {"source": "update", "step": -1, "parents": {}}
    await saver.aput(_title_place(thread), stored, metadata, versions)


def read_title(saver: BaseCheckpointSaver[Any], thread: str) -> str:
    """Return the title that a person gave a thread; `""`: none."""
    found = saver.get_tuple(_title_place(thread))
    values = found.checkpoint["channel_values"] if found else {}
    return str(as_list(values.get("title", ""))[0])


def _title_place(thread: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": TITLES}}


def transcript(snapshot: StateSnapshot) -> list[dict[str, str]]:
    """Return what was said on a thread, oldest first."""
    return [
        {
            "name": message.name or ("you" if message.type == "human" else "supervisor"),
            "text": message.text,
        }
        for message in snapshot.values.get("messages") or ()
    ]
