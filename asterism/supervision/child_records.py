"""What a supervisor keeps of a child beside its checkpoints, so that another one can adopt it.

A pause must not give a child its quotas anew, so what it has used goes with its thread: as one
checkpoint in a namespace that no graph uses, written over and over. It goes with the thread
wherever that goes, and away with it.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint

from asterism.core.values import as_dict, describe_error

PATIENCE = 5.0
"""Seconds after which a record that cannot be stored is left out."""

PLACE = "asterism:child"
"""The namespace of the record."""
_ID = "00000000-0000-6000-8000-000000000000"
KEY = "asterism_child"
"""Where it stands in the metadata of the checkpoint there."""
_log = logging.getLogger(__name__)


async def write_record(
    saver: BaseCheckpointSaver[Any], thread_id: str, record: Mapping[str, Any]
) -> None:
    """Store what is known of the child of a thread, in place of what was."""
    metadata: Any = {"source": "update", "step": -1, "parents": {}, KEY: dict(record)}
    await saver.aput(_config(thread_id), {**empty_checkpoint(), "id": _ID}, metadata, {})


async def read_record(saver: BaseCheckpointSaver[Any], thread_id: str) -> dict[str, Any]:
    """Return what is known of the child of a thread; nothing where it never was one."""
    found = await saver.aget_tuple(_config(thread_id))
    return as_dict(as_dict(found.metadata).get(KEY)) if found else {}


def _config(thread_id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": PLACE}}


class Recorder:
    """Stores what is known of a child, one record at a time."""

    def __init__(
        self,
        saver: BaseCheckpointSaver[Any],
        thread_id: str,
        known: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._saver = saver
        self._thread_id = thread_id
        self._known = known
        self._task: asyncio.Task[None] | None = None

    def soon(self) -> None:
        """Store it beside what goes on, unless that is under way already."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._write())

    async def last(self) -> None:
        """Store it, after all that is under way."""
        if self._task is not None:
            await asyncio.wait({self._task})
        await self._write()

    async def _write(self) -> None:
        try:
            writing = write_record(self._saver, self._thread_id, self._known())
            await asyncio.wait_for(writing, PATIENCE)
        except Exception as error:  # noqa: BLE001 - its work is stored all the same
            words = "What the child on the thread %s has used could not be stored: %s"
            _log.warning(words, self._thread_id, describe_error(error))
