"""The Postgres saver does what LangGraph's own suite of savers asks for."""

from collections.abc import AsyncGenerator

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate

from asterism.storage.open import aopen_checkpointer


async def test_the_saver_passes_the_suite(postgres: str) -> None:
    @checkpointer_test(name="LeasedPostgresSaver")
    async def saver() -> AsyncGenerator[BaseCheckpointSaver[str]]:
        async with aopen_checkpointer(postgres) as opened:
            yield opened

    report = await validate(saver)
    failures = [fault for result in report.results.values() for fault in result.failures]
    assert failures == []
    assert report.passed_all_base()
