"""Timers and outside events: waits that hold no process."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from typer.testing import CliRunner

from asterism import (
    Participant,
    SupervisorWorkflowBuilder,
    acheck_questions,
    asignal,
    open_checkpointer,
    pending_requests,
    wait_for_event,
    wait_until,
)
from asterism.apps.cli.app import app
from asterism.errors import ConfigurationError
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.databases import SAVERS, url_of
from tests.teams import follow

ASKED: Any = {"messages": [("user", "Wait")]}
THREAD: Any = {"configurable": {"thread_id": "t"}}


def team(saver: Any, work: Any, name: str = "Team") -> Any:
    return (
        SupervisorWorkflowBuilder(name, finish="forward")
        .participants(clerk=Participant(runs=work, description="Waits."))
        .with_manager(follow(["clerk"]))
        .build(checkpointer=saver)
    )


def waits(when: Any) -> Any:
    def work(messages: list[Any]) -> str:
        return f"went on at {wait_until(when):%Y-%m-%d}"

    return work


def hears(token: str, **options: Any) -> Any:
    def work(messages: list[Any]) -> str:
        try:
            return f"heard {wait_for_event(token, **options)}"
        except TimeoutError as error:
            return f"gave up: {error}"

    return work


async def last(workflow: Any) -> str:
    state = await workflow.aget_state(THREAD)
    return str(state.values["messages"][-1].text)


@pytest.mark.parametrize("kind", SAVERS)
async def test_a_timer_goes_on_when_its_time_has_come(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with open_checkpointer(url_of(kind, request, tmp_path)) as saver:
        workflow = await asyncio.to_thread(team, saver, waits(timedelta(days=3)))
        waiting = await workflow.ainvoke(ASKED, THREAD)
        assert waiting["status"] == "waiting"
        await acheck_questions(workflow)
        assert (await workflow.aget_state(THREAD)).next
        later = time.time() + 3 * 86_400 + 1
        await acheck_questions(workflow, now=lambda: later)
        assert await last(workflow) == f"went on at {datetime.fromtimestamp(later, UTC):%Y-%m-%d}"


@pytest.mark.parametrize("when", [datetime.now(UTC), datetime.now(), timedelta(0), 0, 0.0])
async def test_each_form_of_a_time(when: Any) -> None:
    workflow = team(InMemorySaver(), waits(when))
    await workflow.ainvoke(ASKED, THREAD)
    await acheck_questions(workflow, now=lambda: time.time() + 1)
    assert (await last(workflow)).startswith("went on at ")


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("kind", SAVERS)
async def test_an_event_arrives_before_or_after_somebody_waits(
    early: bool, kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with open_checkpointer(url_of(kind, request, tmp_path)) as saver:
        workflow = await asyncio.to_thread(team, saver, hears("payment-17"))
        if early:
            await asignal(workflow, "payment-17", {"paid": 5})
        await workflow.ainvoke(ASKED, THREAD)
        await asignal(workflow, "other", {"paid": 9})
        if not early:
            await asignal(workflow, "payment-17", {"paid": 5})
        assert await last(workflow) == "heard {'paid': 5}"
        await workflow.ainvoke(ASKED, THREAD)
        await acheck_questions(workflow)
        assert (await workflow.aget_state(THREAD)).next, "an event is taken in once"


async def test_an_event_that_says_nothing_is_heard() -> None:
    workflow = team(InMemorySaver(), hears("bell"))
    await workflow.ainvoke(ASKED, THREAD)
    await asignal(workflow, "bell", None)
    assert await last(workflow) == "heard None"


async def test_a_wait_for_an_event_ends_in_time() -> None:
    workflow = team(InMemorySaver(), hears("bell", timeout=60))
    await workflow.ainvoke(ASKED, THREAD)
    await acheck_questions(workflow, now=lambda: time.time() + 61)
    assert (await last(workflow)).startswith("gave up: the event 'bell' did not come until ")


async def test_a_tool_of_a_real_agent_waits() -> None:
    def look_again(days: float) -> str:
        """Waits some days."""
        return f"seen on {wait_until(timedelta(days=days)):%Y}"

    model = ScriptedChatModel(
        script=[ScriptedReply(tool_calls=[("look_again", {"days": 3})]), "All is well."]
    )
    workflow = (
        SupervisorWorkflowBuilder("Team", finish="forward")
        .participants(clerk=Participant(model=model, tools=[look_again], description="Looks."))
        .with_manager(follow(["clerk"]))
        .build(checkpointer=InMemorySaver())
    )
    await workflow.ainvoke(ASKED, THREAD)
    assert pending_requests(workflow, THREAD)[0].request_type == "timer"
    await acheck_questions(workflow, now=lambda: time.time() + 4 * 86_400)
    assert await last(workflow) == "All is well."


async def test_a_pass_leaves_threads_of_other_workflows_alone() -> None:
    saver = InMemorySaver()
    one, other = team(saver, waits(0)), team(saver, waits(0), "Other")
    await one.ainvoke(ASKED, THREAD)
    later = time.time() + 1
    await acheck_questions(other, now=lambda: later)
    assert (await one.aget_state(THREAD)).next
    await acheck_questions(one, now=lambda: later)
    assert not (await one.aget_state(THREAD)).next


@pytest.mark.parametrize(("token", "when"), [("", 1), ("a\nb", 1), ("x" * 300, 1), ("a", "soon")])
async def test_waits_that_mean_nothing_are_refused(token: str, when: Any) -> None:
    workflow = team(InMemorySaver(), hears(token, timeout=when))
    result = await workflow.ainvoke(ASKED, THREAD)
    assert result["reports"][0]["status"] == "failed"
    if token != "a":
        with pytest.raises(ConfigurationError, match="the token is"):
            await asignal(workflow, token, 1)
    with pytest.raises(ConfigurationError, match="is no JSON"):
        await asignal(workflow, "a", object())


def build(model: Any) -> Any:
    """The graph that the command line opens."""
    return (
        SupervisorWorkflowBuilder("Shop", finish="forward")
        .participants(clerk=Participant(runs=hears("bell"), description="Waits."))
        .with_manager(follow(["clerk"]))
    )


def test_the_commands_of_waits(tmp_path: Path) -> None:
    db = ["--db", str(tmp_path / "a.db")]

    def cli(*arguments: str) -> Any:
        return CliRunner().invoke(app, [*arguments, *db])

    graph = f"{__name__}:build"
    assert cli("run", graph, "Wait", "--thread", "t").exit_code == 3
    refused = cli("signal", "bell", "{no")
    assert refused.exit_code == 1 and "is no JSON" in refused.stderr
    assert cli("signal", "bell", "5").exit_code == 0
    assert cli("watch", graph, "--once").exit_code == 0
    assert "heard 5" in cli("show", "t").stdout
