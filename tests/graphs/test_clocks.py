"""Clocks that do not agree: nothing that is written may count as earlier than what is stored."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.base.id import UUID

from asterism.core.run_types import WorkflowInput
from asterism.errors import StorageError
from tests.plans import drive
from tests.teams import Turns, said, star

Saver = BaseCheckpointSaver[str]
REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}
WAYS = pytest.mark.parametrize("way", ["sync", "async"])


def store_ahead(saver: Saver, thread: RunnableConfig, seconds: float) -> None:
    """Store the latest checkpoint of a thread as a machine does whose clock is ahead."""
    place: Any = {"configurable": {**thread["configurable"], "checkpoint_ns": ""}}
    found = saver.get_tuple(place)
    assert found is not None
    then = datetime.now(UTC) + timedelta(seconds=seconds)
    ticks = int(then.timestamp() * 10_000_000) + 0x01B21DD213814000  # since 1582, as in UUIDs
    number = (ticks >> 12) << 80 | (ticks & 0xFFF) << 64
    changed = {"id": str(UUID(int=number, version=6)), "ts": then.isoformat()}
    checkpoint: Any = {**found.checkpoint, **changed}
    saver.put(found.config, checkpoint, found.metadata, checkpoint["channel_versions"])


@WAYS
async def test_a_clock_that_is_a_little_behind_is_waited_for(
    way: str, saver: Saver, thread: RunnableConfig
) -> None:
    workflow = star(Turns(), ["venue"]).build(checkpointer=saver)
    await drive(workflow, way, REQUEST, thread)
    store_ahead(saver, thread, 0.2)
    await drive(workflow, way, REQUEST, thread)
    assert said(workflow.get_state(thread).values) == ["venue 2"]
    store_ahead(saver, thread, 0.2)
    await workflow.aupdate_state(thread, {"reason": "edited"}, as_node="finish")
    assert workflow.get_state(thread).values["reason"] == "edited"


@WAYS
async def test_a_clock_that_was_set_back_is_an_error_before_anything_is_written(
    way: str, saver: Saver, thread: RunnableConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asterism.graphs.clocks.SKEW", 0.05)
    turns = Turns()
    workflow = star(turns, ["venue"]).build(checkpointer=saver)
    await drive(workflow, way, REQUEST, thread)
    store_ahead(saver, thread, 3_600)
    before = workflow.get_state(thread)
    with pytest.raises(StorageError, match="Set the clock right, or wait"):
        await drive(workflow, way, REQUEST, thread)
    with pytest.raises(StorageError, match="Set the clock right, or wait"):
        await workflow.aupdate_state(thread, {"reason": "edited"}, as_node="finish")
    assert workflow.get_state(thread) == before
    assert turns.taken == {"venue": 1}
