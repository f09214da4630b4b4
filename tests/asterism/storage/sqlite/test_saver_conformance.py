"""The sqlite saver does what LangGraph's own suite of savers asks for."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate

from asterism.storage.open import aopen_checkpointer


@pytest.mark.parametrize("name", [":memory:", "threads.db"])
async def test_the_saver_passes_the_suite(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # sqlite knows `:memory:`, and beside it stands an empty file
    url = f"sqlite:///{name if name == ':memory:' else tmp_path / name}"

    @checkpointer_test(name="GroupCommitSaver")
    async def saver() -> AsyncGenerator[BaseCheckpointSaver[str]]:
        async with aopen_checkpointer(url) as opened:
            yield opened

    report = await validate(saver)
    failures = [fault for result in report.results.values() for fault in result.failures]
    assert failures == []
    assert report.passed_all_base()
