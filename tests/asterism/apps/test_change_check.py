"""What new code means for stored threads: a table of the changes that people make."""

import asyncio
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from langgraph.graph import MessagesState
from langgraph.types import RetryPolicy
from typer.testing import CliRunner
from typer.testing import Result as Outcome

from asterism import (
    EventBus,
    Participant,
    Workflow,
    acheck,
    check,
    open_checkpointer,
    pending_requests,
    proceed,
    resume,
)
from asterism.apps.cli.app import app
from asterism.testing import ScriptedChatModel, ScriptedReply, TeamChatModel
from asterism.testing.change_check.report import CheckReport
from tests.asterism.testing.change_check.teams import (
    LOG,
    STOPS,
    LongerResult,
    MorePages,
    NamedPages,
    OtherModel,
    Result,
    bank,
    book_on,
    book_perhaps,
    create_team,
    notes,
    reserve,
    store_threads,
    venue,
)

Make = Callable[..., Any]
COPIES = 20 if "ASTERISM_EXAMPLES" in os.environ else 1
"""How many threads there are in each state: `make torture` takes 200 in all."""


def team(model: Any = None, **options: Any) -> Workflow[Any]:
    return create_team(model or TeamChatModel(scripts={}), **options).build()


@dataclass(frozen=True)
class Change:
    """A change, and what becomes of the threads; those that are not named go on unchanged."""

    make: Make
    changed: str = ""
    breaks: str = ""
    says: str = ""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


def _change(*, changed: str = "", breaks: str = "", says: str = "", **options: Any) -> Change:
    def make(model: Any = None) -> Any:
        return team(model, **options)

    return Change(make, changed, breaks, says, options)


def _member(name: str, thing: Any, **facts: Any) -> Change:
    return _change(members={name: thing}, **facts)


def _graph(**facts: Any) -> Participant:
    return Participant(runs=notes(**facts), description="Takes notes.")


SCOUT = Participant(description="Scouts.", prompt="You scout.")

CHANGES = {
    "nothing": _change(),
    "a renamed participant": _member(
        "explorer", SCOUT, without=["scout"], changed="asks decide", breaks="visit", says="'scout'"
    ),
    "a removed participant": _change(
        without=["bank"], changed="asks decide", breaks="question plan", says="'bank' takes no part"
    ),
    "an added participant": _member("band", SCOUT, changed="asks decide", says="- band: Scouts."),
    "another description": _member(
        "bank", Participant(runs=bank, description="Pays bills."), changed="asks decide"
    ),
    "another prompt of the supervisor": _change(
        prompt="Be kind.", changed="asks decide", says="+Be kind."
    ),
    "another prompt of a participant": _member(
        "scout",
        Participant(description="Scouts.", prompt="You scout well."),
        changed="visit",
        says="+You scout well.",
    ),
    "another prompt, of somebody who calls a tool": _member("venue", venue("You book any hall.")),
    "another answer prompt": _change(answer_prompt="In French.", changed="finish"),
    "a tool with a new parameter": _member(
        "venue", venue(tool=book_on), breaks="approval plan", says="day: Field required"
    ),
    "a tool with a new parameter that has a default": _member("venue", venue(tool=book_perhaps)),
    "a renamed tool": _member(
        "venue", venue(tool=reserve), breaks="approval plan", says="names the tool 'book'"
    ),
    "no approval any more": _member(
        "venue", venue(approve=()), breaks="approval plan", says="HumanInTheLoopMiddleware"
    ),
    "a result model": _change(finish=Result, changed="finish", says="Result"),
    "the last report for an answer": _change(finish="forward", changed="finish", says="completed"),
    "the answer with the decision": _change(finish="inline", changed="asks decide", says="answer"),
    "a lower limit of decisions": _change(max_iterations=1, changed="asks decide", says="finish"),
    "a higher limit of decisions": _change(max_iterations=90),
    "other policies": _change(policies=[RetryPolicy(max_attempts=5)]),
    "other limits of plans": _change(max_parallel_tasks=3),
    "plans that are not offered": _change(plans=False, changed="asks decide", says="tasks"),
    "another prompt of a nested team": _change(
        kitchen={"prompt": "No meat."}, changed="nested", says="+No meat."
    ),
    "another prompt inside of a nested team": _change(kitchen={"cook": "You bake."}),
    "a new key of a graph": _member("notes", _graph(state=MorePages)),
    "a key of another type": _member(
        "notes", _graph(state=NamedPages), breaks="graph", says="holds 3"
    ),
    "a removed key": _member(
        "notes",
        _graph(state=MessagesState),
        breaks="graph",
        says="the key 'pages' of its state is gone",
    ),
    "a renamed node": _member(
        "notes", _graph(node="look"), breaks="graph", says="rests in the node 'review'"
    ),
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a thread in every state."""
    path = tmp_path_factory.mktemp("stored") / "threads.db"
    with open_checkpointer(f"sqlite:///{path}") as saver:
        store_threads(saver, COPIES)
    return path


@pytest.fixture(scope="module")
def before(stored: Path) -> Mapping[str, Any]:
    """The JSON of the report with the old code."""
    with open_checkpointer(f"sqlite:///{stored}") as saver:
        found: Mapping[str, Any] = json.loads(json.dumps(check(team(), saver, past=0).as_json()))
    return found


@pytest.fixture(scope="module")
def ran_before(stored: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What has run of each thread when it went on with the old code."""
    found: dict[str, list[str]] = {}
    for thread in STOPS:
        if thread != "done":
            copy = tmp_path_factory.mktemp("before") / "threads.db"
            shutil.copy(stored, copy)
            found[thread] = go_on(copy, team, thread)
    return found


def report(path: Path, workflow: Any, **options: Any) -> CheckReport:
    """Check, and see to it that nothing was run, called or written."""
    LOG.clear()
    with open_checkpointer(f"sqlite:///{path}") as saver:
        rows = [*saver.list(None)]
        found = check(workflow, saver, **options)
        assert [*saver.list(None)] == rows
    assert LOG == []
    return found


def verdicts(found: CheckReport) -> dict[str, str]:
    return {thread.thread: thread.verdict for thread in found.threads}


def expected(change: Change) -> dict[str, str]:
    named = dict.fromkeys(change.changed.split(), "changed")
    named |= dict.fromkeys(change.breaks.split(), "breaks")
    each = {**dict.fromkeys(STOPS, "unchanged"), "done": "over", **named}
    copies = (f"-{number}" if number else "" for number in range(COPIES))
    return {f"{name}{copy}": verdict for copy in copies for name, verdict in each.items()}


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_is_told_by_what_becomes_of_the_threads(
    name: str, stored: Path, before: Mapping[str, Any]
) -> None:
    change = CHANGES[name]
    found = report(stored, change.make(), baseline=before, past=0)
    assert verdicts(found) == expected(change)
    assert change.says in str(found)
    assert found.exit_code() == bool(change.breaks)
    assert found.exit_code(strict=True) == bool(change.breaks or change.changed)
    assert all(fault.way_out for thread in found.of("breaks") for fault in thread.faults)


def test_another_model_is_told_as_such(stored: Path, before: Mapping[str, Any]) -> None:
    found = report(stored, team(OtherModel(scripts={})), baseline=before, past=0)
    asking = {"asks", "decide", "finish", "nested", "visit"}
    assert {thread.thread for thread in found.of("changed")} == asking
    assert {c.kind for thread in found.of("changed") for c in thread.changes} == {"model"}


class _Listener(TeamChatModel):
    """Keeps what it is sent, in the order of the calls, and finishes."""

    def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        LOG.append(f"model {_texts(messages)}")
        called = str(kwargs.get("tool_choice"))
        reply: Any = "The end."
        if "SupervisorDecision" in called:
            reply = {"next_agent": None}
        elif "Result" in called:
            reply = ScriptedReply(tool_calls=[("Result", {"city": "Rome"})])
        return ScriptedChatModel(script=[reply])._generate(messages, **kwargs)


def _texts(messages: list[BaseMessage]) -> list[tuple[str, str]]:
    return [(message.type, message.text) for message in messages]


def go_on(path: Path, make: Make, thread: str) -> list[str]:
    """Let a thread go on for real, and return what has run."""
    LOG.clear()
    with open_checkpointer(f"sqlite:///{path}") as saver:
        workflow: Any = make(_Listener(scripts={})).copy({"checkpointer": saver})
        asked = pending_requests(workflow, thread)
        answers = {one.id: "approve" if one.path == "venue" else "yes" for one in asked}
        result = resume(workflow, thread, answers) if asked else proceed(workflow, thread)
        assert result["status"] in ("completed", "limit")
    return [*LOG]


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_called_unchanged_goes_on_unchanged(
    name: str,
    stored: Path,
    before: Mapping[str, Any],
    ran_before: Mapping[str, list[str]],
    tmp_path: Path,
) -> None:
    change = CHANGES[name]
    found = report(stored, change.make(), baseline=before, past=0)
    for thread in (each for each in found.of("unchanged") if each.thread in STOPS):
        copy = tmp_path / f"{thread.thread}.db"
        shutil.copy(stored, copy)
        due = len(thread.steps)
        ran = go_on(copy, change.make, thread.thread)[:due]
        assert sorted(ran) == sorted(ran_before[thread.thread][:due]), thread.thread
        is_model = [entry.startswith("model") for entry in ran]
        assert is_model == [step.kind == "model" for step in thread.steps]


def test_without_a_baseline_hashes_tell_whose_prompts_differ(stored: Path) -> None:
    assert not report(stored, team(), past=0).of("changed")
    found = report(stored, team(prompt="Be kind."), past=0)
    assert {thread.thread for thread in found.of("changed")} == {"asks", "decide", "finish"}
    assert "prompt, tools or model of supervisor" in str(found)
    other = Participant(description="Scouts.", prompt="You scout well.")
    found = report(stored, team(members={"scout": other}), past=0)
    assert {thread.thread for thread in found.of("changed")} == {"visit"}


def test_the_old_team_is_a_baseline_too_and_async_says_the_same(stored: Path) -> None:
    new = team(prompt="Be kind.", without=["bank"])
    found = report(stored, new, baseline=team())

    async def check_async() -> str:
        with open_checkpointer(f"sqlite:///{stored}") as saver:
            return str(await acheck(new, saver, baseline=team()))

    assert asyncio.run(check_async()) == str(found)
    assert {thread.thread for thread in found.of("breaks")} == {"question", "plan"}


def test_a_past_thread_is_replayed_step_by_step(stored: Path) -> None:
    assert not report(stored, team(), baseline=team()).past
    found = report(stored, team(prompt="Be kind."), baseline=team()).past
    assert {(step.thread, change.kind) for step in found for change in step.changes} == {
        ("done", "prompt")
    }
    assert len(found) == 2 + 1  # its decisions, and what it begins with
    gone = report(stored, team(without=["scout"])).past
    assert "scout" in gone[0].what
    limited = report(stored, team(max_iterations=1, finish="forward")).past
    assert "ends as limit" in limited[0].what


def test_a_result_that_does_not_fit_its_model_any_more_breaks_also_what_is_over(
    tmp_path: Path,
) -> None:
    path = tmp_path / "threads.db"
    reply = ScriptedReply(tool_calls=[("Result", {"city": "Rome"})])
    with open_checkpointer(f"sqlite:///{path}") as saver:
        model = TeamChatModel(scripts={"supervisor": ["scout", None, reply], "scout": ["x"]})
        workflow: Any = create_team(model, finish=Result).build(checkpointer=saver)
        workflow.invoke({"messages": [("user", "A party")]}, {"configurable": {"thread_id": "t"}})
    assert verdicts(report(path, team(finish=Result))) == {"t": "over"}
    found = report(path, team(finish=LongerResult))
    assert (verdicts(found), "price" in str(found)) == ({"t": "breaks"}, True)


def test_threads_of_others_and_a_damaged_thread_hide_no_other(stored: Path, tmp_path: Path) -> None:
    copy = tmp_path / "threads.db"
    shutil.copy(stored, copy)
    with open_checkpointer(f"sqlite:///{copy}") as saver:
        other: Any = notes()
        other.copy({"checkpointer": saver}).invoke(
            {"messages": []}, {"configurable": {"thread_id": "other"}}
        )
        label: Any = {"configurable": {"thread_id": "labelled"}, "metadata": {"graph": "another"}}
        model = TeamChatModel(scripts=STOPS["done"].scripts)
        create_team(model).build(saver).invoke({"messages": [("user", "A party")]}, label)
    with sqlite3.connect(copy) as connection:
        connection.execute("UPDATE checkpoints SET checkpoint = x'00' WHERE thread_id = 'asks'")
    found = verdicts(report(copy, team(), past=0, graph="mine"))
    assert found == {**dict.fromkeys(STOPS, "unchanged"), "done": "over", "asks": "breaks"}


def test_an_event_bus_hears_nothing(stored: Path) -> None:
    heard: list[Any] = []
    bus = EventBus()
    bus.on(None, heard.append)
    found = report(stored, team(events=bus), past=0)
    assert (heard, len(found.of("unchanged"))) == ([], len(STOPS) - 1)


def test_a_decider_of_yours_is_not_run(stored: Path) -> None:
    def decide(view: Any) -> Any:
        raise AssertionError("it was run")

    builder = create_team(TeamChatModel(scripts={})).with_manager(decide)
    found = report(stored, builder.build(), threads=["asks"])
    assert "runs your code" in found.threads[0].steps[0].what


def cli(*arguments: str) -> Outcome:
    return CliRunner().invoke(app, ["check", f"{__name__}:{arguments[0]}", *arguments[1:]])


as_it_is = create_team(TeamChatModel(scripts={}))
kind = create_team(TeamChatModel(scripts={}), prompt="Be kind.")
without_bank = create_team(TeamChatModel(scripts={}), without=["bank"])


def test_the_command_reads_well_and_its_exit_code_is_for_ci(stored: Path, tmp_path: Path) -> None:
    against = ("--against", str(stored))
    old = cli("as_it_is", *against, "--json")
    (tmp_path / "old.json").write_text(old.stdout)
    baseline = (*against, "--baseline", str(tmp_path / "old.json"))
    assert [cli("as_it_is", *baseline, *more).exit_code for more in ((), ("--strict",))] == [0, 0]
    assert [cli("kind", *baseline, *more).exit_code for more in ((), ("--strict",))] == [0, 1]
    broken = cli("without_bank", *against, "--baseline", f"{__name__}:as_it_is")
    assert broken.exit_code == 1
    assert broken.stdout.startswith("10 threads of 'Party': 5 go on unchanged, 2 change, 2 break")
    assert "Way out: say who takes over" in broken.stdout


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    result = cli("as_it_is", "--against", str(tmp_path / "none.db"))
    assert (result.exit_code, "There is no database" in result.stderr) == (1, True)
    assert [*tmp_path.iterdir()] == []
    assert cli("as_it_is", "--baseline", str(tmp_path / "none.json")).exit_code == 1
