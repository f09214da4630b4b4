"""Versions of a team: its threads name them, and come from one to the next, once."""

import asyncio
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import interrupt

from asterism import (
    Migration,
    Participant,
    SupervisorWorkflowBuilder,
    aresume,
    check,
    open_checkpointer,
    pending_requests,
    resume,
)
from asterism.core.checkpoints import checkpoint_key
from asterism.errors import ThreadVersionError, UnknownParticipantError, WorkflowBuildError
from asterism.graphs.workflow_config import VERSION
from tests.databases import SAVERS, url_of
from tests.teams import follow, said

THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}
REQUEST: Any = {"messages": [("user", "Plan it")]}


class Rooms(MessagesState):
    count: int


class Beds(MessagesState):
    beds: list[int]


def hotel(state: Any, key: str) -> Participant:
    """A graph that keeps something, asks, and tells what it has kept."""

    def keep(state: Any) -> dict[str, Any]:
        return {key: state.get(key) or 3}

    def ask(state: Any) -> dict[str, Any]:
        answer = interrupt({"prompt": "Book?"})
        return {"messages": [("ai", f"{answer}: {state.get(key)}")]}

    graph: Any = StateGraph(state).add_node("keep", keep).add_node("ask", ask)
    graph = graph.add_edge(START, "keep").add_edge("keep", "ask").add_edge("ask", END)
    return Participant(runs=graph.compile(), description="Books.")


def team(saver: Any, name: str = "hotel", state: Any = Rooms, **options: Any) -> Any:
    builder = SupervisorWorkflowBuilder("Trip", finish="forward", **options)
    key = "beds" if state is Beds else "count"
    return (
        builder.participants({name: hotel(state, key)})
        .with_manager(follow([name]))
        .build(checkpointer=saver)
    )


def to_beds(states: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Keep a list under another key."""
    for state in states.values():
        if "count" in state:
            state["beds"] = [state.pop("count")]
    return states


@pytest.fixture
def saver(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A database of one kind, of another for the next test."""
    kind = SAVERS[crc32(request.node.name.encode()) % len(SAVERS)]
    with open_checkpointer(url_of(kind, request, tmp_path)) as opened:
        yield opened


def versions(saver: Any) -> set[Any]:
    return {dict(item.metadata).get(VERSION) for item in saver.list(checkpoint_key("t"))}


def test_a_thread_names_the_version_that_stored_it(saver: Any) -> None:
    team(saver).invoke(REQUEST, THREAD)
    assert versions(saver) == {None}
    resume(team(saver, version="1"), THREAD, "yes")
    assert versions(saver) == {None, "1"}


@pytest.mark.parametrize("kind", SAVERS)
def test_a_changed_state_keeps_the_question_open_under_its_id(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    calls: list[set[str]] = []

    def change(states: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        calls.append(set(states))
        return to_beds(states)

    with open_checkpointer(url_of(kind, request, tmp_path)) as saver:
        old = team(saver, version="1")
        old.invoke(REQUEST, THREAD)
        asked = pending_requests(old, THREAD)[0].id
        new = team(saver, state=Beds, version="2", migrations={"1": Migration(change=change)})
        result = resume(new, THREAD, {asked: "yes"})
        assert said(result) == ["yes: [3]"]
        assert calls == [{"", "hotel"}]
        new.invoke(REQUEST, THREAD)
        assert len(calls) == 1  # once for each thread
        assert "count" not in new.get_state(THREAD).values


def test_a_step_after_the_other_leads_to_the_newest_version_in_async(saver: Any) -> None:
    seen: list[str] = []

    def note(name: str) -> Migration:
        def change(states: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
            seen.append(name)
            return to_beds(states) if name == "2" else states

        return Migration(change=change)

    team(saver).invoke(REQUEST, THREAD)  # of a team that had no version yet
    steps = {"": note("1"), "1": note("2")}
    new = team(saver, state=Beds, version="2", migrations=steps)
    result = asyncio.run(aresume(new, THREAD, "yes"))
    assert said(result) == ["yes: [3]"]
    assert seen == ["1", "2"]


def test_a_renamed_participant_takes_its_memory_and_its_question_along(saver: Any) -> None:
    team(saver, version="1").invoke(REQUEST, THREAD)
    step = Migration(rename={"hotel": "inn"}, change=to_beds)
    new = team(saver, "inn", Beds, version="2", migrations={"1": step})
    with pytest.raises(Exception, match=r"inn|waits|Nobody"):
        resume(new, THREAD, "yes")
    assert new.invoke(None, THREAD)["status"] == "waiting"
    assert said(resume(new, THREAD, "yes")) == ["yes: [3]"]


def test_a_participant_that_is_gone_without_an_heir_stops_the_migration(saver: Any) -> None:
    team(saver, version="1").invoke(REQUEST, THREAD)
    step = Migration(rename={"cook": None})
    new = team(saver, "inn", version="2", migrations={"1": step})
    with pytest.raises(UnknownParticipantError, match="hotel"):
        new.invoke(None, THREAD)
    assert versions(saver) == {"1"}


def test_a_version_from_which_no_way_leads_is_refused(saver: Any) -> None:
    team(saver, version="9").invoke(REQUEST, THREAD)
    new = team(saver, version="2", migrations={"1": Migration()})
    with pytest.raises(ThreadVersionError, match=r"'9'.*'2'.*from '1'"):
        new.invoke(None, THREAD)


def test_a_change_that_fails_leaves_the_thread_as_it_was(saver: Any) -> None:
    def fail(states: Any) -> Any:
        states["hotel"].clear()
        raise KeyError("count")

    old = team(saver, version="1")
    old.invoke(REQUEST, THREAD)
    new = team(saver, state=Beds, version="2", migrations={"1": Migration(change=fail)})
    with pytest.raises(KeyError, match="count"):
        resume(new, THREAD, "yes")
    assert said(resume(old, THREAD, "yes")) == ["yes: 3"]


def test_a_crash_between_two_states_changes_none_twice(saver: Any) -> None:
    team(saver, version="1").invoke(REQUEST, THREAD)
    new = team(saver, state=Beds, version="2", migrations={"1": Migration(change=to_beds)})
    put, stored = saver.put, list[Any]()

    def put_once(*args: Any) -> Any:
        if stored:
            raise OSError("the power is gone")
        stored.append(args)
        return put(*args)

    saver.put = put_once
    with pytest.raises(OSError, match="power"):
        resume(new, THREAD, "yes")
    del saver.put
    assert said(resume(new, THREAD, "yes")) == ["yes: [3]"]


def test_check_tries_the_migration_in_a_copy(saver: Any) -> None:
    team(saver, version="1").invoke(REQUEST, THREAD)
    bare = team(None, state=Beds, version="2")
    assert [thread.verdict for thread in check(bare, saver).threads] == ["breaks"]
    step = Migration(change=to_beds)
    new = team(None, state=Beds, version="2", migrations={"1": step})
    assert [thread.verdict for thread in check(new, saver).threads] == ["unchanged"]
    assert versions(saver) == {"1"}


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"version": 2}, "version is 2"),
        ({"migrations": {"1": Migration()}}, "give the team a version"),
        ({"version": "1", "migrations": {"1": Migration()}}, "give the team a version"),
    ],
)
def test_a_version_that_cannot_be_used_is_a_fault(options: Any, fault: str) -> None:
    with pytest.raises(WorkflowBuildError, match=fault):
        team(None, **options)
