"""Answers of people as feedback: only where asked for, at the run that took the answer."""

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langsmith import Client, tracing_context

from asterism import EventBus, record_answers, resume
from tests.asterism.observability.telemetry.teams import REQUEST, ask, team
from tests.langsmith_server import langsmith
from tests.teams import follow


@pytest.mark.parametrize("is_on", [True, False], ids=["asked for", "not asked for"])
def test_an_answer_is_feedback_to_the_run_that_took_it(is_on: bool, thread: RunnableConfig) -> None:
    bus = EventBus()
    with langsmith() as (url, stored):
        client = Client(url, api_key="none")
        handler = record_answers(bus, client=client, project="default") if is_on else None
        built = team(follow(["p"]), bus, InMemorySaver(), p=ask)
        with tracing_context(enabled=True, client=client):
            built.invoke(REQUEST, thread)
            resume(built, thread, "yes, please")
            client.flush(60)
        if handler is not None:
            bus.off(handler)
        client.close()
    roots = [run for run in stored.runs.values() if not run.get("parent_run_id")]
    assert len(roots) == 2
    resumed = max(roots, key=lambda run: str(run["start_time"]))
    told = [(one["run_id"], one["key"], one["value"]) for one in stored.feedback]
    assert told == ([(resumed["id"], "answer", "yes, please")] if is_on else [])
    assert bus.failures() == []


def test_a_server_that_is_away_harms_no_run(thread: RunnableConfig) -> None:
    bus = EventBus()
    client = Client("http://127.0.0.1:9", api_key="none", auto_batch_tracing=False, info={})
    record_answers(bus, client=client, project="default")
    built = team(follow(["p"]), bus, InMemorySaver(), p=ask)
    built.invoke(REQUEST, thread)
    assert resume(built, thread, "yes")["status"] == "completed"
    assert len(bus.failures()) == 1
