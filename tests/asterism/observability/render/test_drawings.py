"""Pictures of runs: golden drawings, records of all kinds of threads, hostile texts."""

import json
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from rich.cells import cell_len

from asterism import (
    Budget,
    Participant,
    aread_run,
    compare_runs,
    generate_detailed_tool_trace,
    generate_orchestrator_flowchart,
    generate_timeline,
    open_checkpointer,
    read_run,
    resume,
)
from asterism.core.run_types import WorkflowInput
from asterism.errors import ConfigurationError, UnknownThreadError
from asterism.observability import (
    RequestRecord,
    RoundRecord,
    RunRecord,
    TaskRecord,
    ToolRecord,
    VisitRecord,
)
from asterism.observability.from_checkpoints import record_of
from asterism.observability.record import QuestionRecord
from asterism.observability.text_width import fit_text, one_line, wrap_text
from asterism.testing import ScriptedChatModel
from tests.pictures import FOLDER, RUNS, builder, calling, drawings, find_venues, member
from tests.plans import plan, task
from tests.stored import FINISHED, WAITING, workflow
from tests.teams import Turns, follow, star

Saver = BaseCheckpointSaver[Any]
REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}
DRAWERS = (generate_orchestrator_flowchart, generate_detailed_tool_trace, generate_timeline)


@pytest.mark.parametrize("name", RUNS)
async def test_a_run_looks_as_it_did(name: str, saver: Saver) -> None:
    """Write them anew with `python -m tests.pictures`, and look at each."""
    drawn = drawings(await RUNS[name](saver))
    expected = {ending: (FOLDER / f"{name}.{ending}").read_text() for ending in drawn}
    assert drawn == expected


def shape(run: RunRecord) -> list[Any]:
    """What a record says, without names and times."""
    return [
        (r.kind, [(v.path, v.status, v.text) for v in r.visits])
        for request in run.requests
        for r in request.rounds
    ]


def test_a_thread_that_an_older_version_stored_has_a_record(tmp_path: Path) -> None:
    path = tmp_path / "threads.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript((Path(__file__).parents[3] / "data/threads_v1.sql").read_text())
    with open_checkpointer(f"sqlite:///{path}") as saver:
        built = workflow(saver)
        finished, waiting = read_run(built, FINISHED), read_run(built, WAITING)
    assert shape(finished) == [
        ("visit", [("venue", "ok", "venue 1")]),
        ("visit", [("bank", "ok", "paid: yes")]),
        ("finish", []),
    ]
    assert shape(waiting)[-1] == ("visit", [("bank", "waiting", "")])
    asked = waiting.requests[0].rounds[1].visits[0].questions
    assert asked == (QuestionRecord(prompt="Pay?", open=True),)
    assert finished.requests[0].rounds[1].visits[0].questions[0].open is False


async def test_sync_and_async_read_the_same(saver: Saver, thread: RunnableConfig) -> None:
    built = star(Turns(), ["venue", "food"]).build(checkpointer=saver)
    built.invoke(REQUEST, thread)
    assert read_run(built, thread) == await aread_run(built, thread)


def test_each_request_of_a_thread_is_by_itself(saver: Saver, thread: RunnableConfig) -> None:
    built = star(Turns(), ["venue"]).build(checkpointer=saver)
    built.invoke(REQUEST, thread)
    built.invoke({"messages": [("user", "Again")]}, thread)
    run = read_run(built, thread)
    assert [request.request for request in run.requests] == ["Plan it", "Again"]
    assert [v.text for request in run.requests for v in request.visits()] == ["venue 1", "venue 2"]
    assert [request.answer for request in run.requests] == ["venue 1", "venue 2"]
    assert json.loads(json.dumps(run.as_json()))["requests"][1]["rounds"][0]["participant"]


def test_a_stopped_run_shows_what_is_open(saver: Saver, thread: RunnableConfig) -> None:
    built = star(Turns(), ["venue", "food"]).build(checkpointer=saver)
    built.invoke(REQUEST, thread, interrupt_before=["food"])
    run = read_run(built, thread)
    assert run.requests[0].status == "running"
    assert shape(run)[-1] == ("visit", [("food", "running", "")])


def test_a_failed_run_says_why(saver: Saver, thread: RunnableConfig) -> None:
    def decide(view: Any) -> Any:
        raise ValueError("no idea")

    built = builder("Lost", venue=member()).with_manager(decide).build(checkpointer=saver)
    with pytest.raises(Exception, match="no idea"):
        built.invoke(REQUEST, thread)
    request = read_run(built, thread).requests[0]
    assert request.status == "failed" and "no idea" in (request.reason or "")


def test_a_request_that_another_one_cut_off_says_so(saver: Saver, thread: RunnableConfig) -> None:
    built = star(Turns(), ["venue"]).build(checkpointer=saver)
    built.invoke(REQUEST, thread, interrupt_before=["venue"])
    built.invoke(REQUEST, thread)
    first, second = read_run(built, thread).requests
    assert (first.status, first.reason) == (
        "running",
        "another request came before this one was over",
    )
    assert [v.status for v in first.visits()] == []
    assert second.status == "completed"


def test_a_fork_shows_its_own_branch(saver: Saver, thread: RunnableConfig) -> None:
    built = star(Turns(), ["venue", "food", "venue"]).build(checkpointer=saver)
    built.invoke(REQUEST, thread)
    whole = read_run(built, thread)
    point = next(
        s for s in built.get_state_history(thread) if len(s.values.get("reports", [])) == 1
    )
    fork = built.update_state(point.config, {"decision": {"next_agent": "venue"}}, "supervisor")
    built.invoke(None, fork)
    forked = read_run(built, thread)
    assert [v.text for v in whole.requests[0].visits()] == ["venue 1", "food 1", "venue 2"]
    assert [v.text for v in forked.requests[0].visits()][:2] == ["venue 1", "venue 3"]
    cut = read_run(built, point.config)
    assert [v.text for v in cut.requests[0].visits() if v.text] == ["venue 1"]


def test_a_budget_that_a_person_raises_is_a_question_with_its_answer(
    saver: Saver, thread: RunnableConfig
) -> None:
    limited = replace(member("one", "two"), budget=Budget(max_calls=1, on_breach="ask"))
    built = (
        builder("Dear", venue=limited)
        .with_manager(follow(["venue", "venue"]))
        .build(checkpointer=saver)
    )
    built.invoke(REQUEST, thread)
    resume(built, thread, "5")
    rounds = read_run(built, thread).requests[0].rounds
    question = rounds[2].question
    assert question is not None and question.prompt.endswith("Say a number, or stop.")
    assert (question.answer, question.open) == ("5", False)
    assert [v.text for r in rounds for v in r.visits if v.status == "ok"] == ["one", "two"]


@pytest.mark.parametrize("name", RUNS)
async def test_a_run_that_was_cut_at_any_moment_has_a_record(name: str, saver: Saver) -> None:
    """Whatever had been stored when a process died: less than all, and nothing that is wrong."""
    whole = await RUNS[name](saver)
    place: RunnableConfig = {"configurable": {"thread_id": "golden"}}
    items = sorted(saver.list(place), key=lambda item: item.checkpoint["id"])
    reported = {(v.path, v.task, v.text) for request in whole.requests for v in request.visits()}
    known = 0
    for end in range(1, len(items) + 1):
        for bare in (True, False):
            left = items[:end]
            if bare:
                left = [*left[:-1], left[-1]._replace(pending_writes=[])]
            if all(item.config["configurable"]["checkpoint_ns"] for item in left):
                continue
            cut = record_of(left, thread="golden", name=whole.name)
            found = {(v.path, v.task, v.text) for r in cut.requests for v in r.visits() if v.text}
            assert found <= reported
            for draw in DRAWERS:
                assert draw(cut)
        assert len(found) >= known
        known = len(found)
    assert record_of(items, thread="golden", name=whole.name) == whole


def test_an_approval_is_a_question_in_words(saver: Saver, thread: RunnableConfig) -> None:
    careful = create_agent(
        ScriptedChatModel(script=[calling("find_venues", city="Lisbon", guests=5), "Found."]),
        [find_venues],
        middleware=[HumanInTheLoopMiddleware({"find_venues": True})],
    )
    built = (
        builder("Careful", venue=Participant(runs=careful, description="Finds."))
        .with_manager(follow(["venue"]))
        .build(checkpointer=saver)
    )
    built.invoke(REQUEST, thread)
    (asked,) = next(read_run(built, thread).requests[0].visits()).questions
    assert asked.open and "find_venues" in asked.prompt and not asked.prompt.startswith("{")


def test_an_error_names_what_is_missing(saver: Saver, thread: RunnableConfig) -> None:
    built = star(Turns(), ["venue"]).build(checkpointer=saver)
    with pytest.raises(UnknownThreadError, match="there is nothing in this database"):
        read_run(built, thread)
    with pytest.raises(ConfigurationError, match="names no thread"):
        generate_timeline(built)
    with pytest.raises(ConfigurationError, match="has no checkpointer"):
        read_run(star(Turns(), ["venue"]).build(), thread)
    built.invoke(REQUEST, thread)
    with pytest.raises(UnknownThreadError, match="not the checkpoint 'x'"):
        read_run(built, {"configurable": {**thread["configurable"], "checkpoint_id": "x"}})
    with pytest.raises(ConfigurationError, match=r"no format 'svg'.*ascii, mermaid, json"):
        generate_orchestrator_flowchart(built, thread, format="svg")  # type: ignore[arg-type]  # the fault


def test_parallel_tasks_overlap_in_the_timeline(saver: Saver, thread: RunnableConfig) -> None:
    built = (
        builder("Both", a=member("1"), b=member("2"), c=member("3"))
        .with_manager(plan(task("x", "a"), task("y", "b"), task("z", "c", "x", "y")))
        .build(checkpointer=saver)
    )
    built.invoke(REQUEST, thread)
    (bars,) = json.loads(generate_timeline(built, thread, format="json"))
    found = {bar["name"]: bar for bar in bars}
    assert found["x: a"]["start"] == found["y: b"]["start"]
    ends = [found[name]["start"] + found[name]["seconds"] for name in ("x: a", "y: b")]
    assert found["z: c"]["start"] >= max(ends) - 1e-6


def test_two_runs_differ_in_what_they_say(saver: Saver) -> None:
    def run(name: str, *replies: str) -> RunRecord:
        built = (
            builder("Same", venue=member(*replies))
            .with_manager(follow(["venue"] * len(replies)))
            .build(checkpointer=saver)
        )
        place: RunnableConfig = {"configurable": {"thread_id": name}}
        built.invoke(REQUEST, place)
        return read_run(built, place)

    one, other, longer = run("1", "yes"), run("2", "yes"), run("3", "no", "well")
    assert not compare_runs(one, other)
    assert str(compare_runs(one, other)) == "The runs do not differ.\n"
    found = compare_runs(one, longer)
    assert [(c.where, c.before, c.after) for c in found.reports] == [
        ("venue, turn 1", "✓ ok: yes", "✓ ok: no"),
        ("venue, turn 2", None, "✓ ok: well"),
    ]
    assert found.calls == 1 and found.tokens > 0 and found.cost_usd > 0
    assert json.dumps(found.as_json()) and "    + ✓ ok: well" in str(found)


HOSTILE = [
    'a "quote" ]) --> x; end',
    "%%{init: {'theme':'dark'}}%%",
    "line\nbreak\r\n\ttab",
    "\x1b[31mred\x1b[0m \x07",
    "right \u202eto left \u2066 isolate",
    "<script>alert(1)</script> #quot; &amp; `code` $$x$$",
    "日本語" * 40,
    "x" * 50_000,
    "a\u0301" * 30,
    "---\ntitle: x\n---",
    "1. list\n2. list",
    "│ ┌ box └",
    "👩‍👩‍👧‍👦 family",
    "",
]


def run_of(text: str) -> RunRecord:
    """A run in which everything that others write is one text."""
    deep = RequestRecord(request=text, status="failed", reason=text, rounds=())
    visits = tuple(
        VisitRecord(
            id=name,
            participant=text,
            path=text,
            status="ok",
            text=text,
            error=text,
            task=name,
            heir=text or None,
            attempts=2,
            began="2026-01-01T00:00:00+00:00",
            ended="2026-01-01T00:00:01+00:00",
            tools=(ToolRecord(name=text, arguments=text, result=text, ok=False),),
            questions=(QuestionRecord(prompt=text, answer=text),),
            inside=deep,
        )
        for name in ("one", "two", "three")
    )
    tasks = tuple(
        TaskRecord(id=v.id, participant=text, description=text, needs=(text,)) for v in visits
    )
    rounds = (
        RoundRecord(number=1, kind="plan", tasks=tasks, visits=visits, created=(text,)),
        RoundRecord(number=2, kind="visit", participant=text, instruction=text),
        RoundRecord(number=3, kind="question", question=QuestionRecord(prompt=text)),
    )
    request = RequestRecord(
        request=text,
        rounds=rounds,
        status="completed",
        answer=text,
        began="2026-01-01T00:00:00+00:00",
        ended="2026-01-01T00:00:01+00:00",
    )
    return RunRecord(thread=text, name=text, requests=(request,))


_LABEL = r'"[^"`\\<>#;{}|&%$\[\]]*?"'
_MERMAID = re.compile(
    r"%% [^{}%]*|flowchart (TD|LR)|  classDef .*|  end"
    r"|  n\d+ --> n\d+"
    rf"|  subgraph s\d+\[{_LABEL}\]"
    rf"|  n\d+(\(\[{_LABEL}\]\)|\{{\{{{_LABEL}\}}\}}|\[{_LABEL}\]|\[\[{_LABEL}\]\])(:::\w+)?"
    r"|gantt|  title [^:;#,%{}]*|  dateFormat x|  axisFormat %M:%S\.%L|  section request \d+"
    r"|  [^:;#,%{}]+ :(done|crit|active), \d+, \d+"
)


def check_mermaid(drawn: str) -> None:
    for line in drawn.splitlines():
        plain = re.sub(r"#\d+;", "x", line.replace("<br/>", " "))
        assert _MERMAID.fullmatch(plain), line


def check_boxes(drawn: str) -> None:
    """Each border of a box stands where the corner above it does."""
    for line in drawn.splitlines():
        assert cell_len(line) <= 140
    columns = [_corners(line) for line in drawn.splitlines()]
    assert any(columns)
    open_boxes: list[tuple[int, int]] = []
    for kind, pairs in ((k, p) for found in columns for k, p in found):
        if kind == "top":
            open_boxes.append(pairs)
        else:
            assert pairs in open_boxes
            open_boxes.remove(pairs)
    assert not open_boxes


def _corners(line: str) -> list[tuple[str, tuple[int, int]]]:
    found: list[tuple[str, tuple[int, int]]] = []
    for kind, pattern in (("top", "┌ [^┌]*?─┐"), ("bottom", "└─+┘")):
        for match in re.finditer(pattern, line):
            left = cell_len(line[: match.start()])
            found.append((kind, (left, left + cell_len(match[0]) - 1)))
    return found


def check(text: str) -> None:
    run = run_of(text)
    for draw in DRAWERS:
        drawn = draw(run)
        assert all(c == "\n" or c.isprintable() or c == "\u200d" for c in drawn)
        assert len(drawn.splitlines()) == drawn.count("\n")
        assert len(drawn) < 40_000
        check_mermaid(draw(run, format="mermaid"))
        json.loads(draw(run, format="json"))
    if "┌" not in text and "└" not in text:
        check_boxes(generate_orchestrator_flowchart(run))


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[:30])
def test_a_hostile_text_is_drawn_as_text(text: str) -> None:
    check(text)


@given(st.text(max_size=300))
def test_no_text_breaks_a_drawing(text: str) -> None:
    check(text)


@given(st.text(max_size=200), st.integers(4, 60), st.integers(1, 4))
def test_texts_fit(text: str, width: int, lines: int) -> None:
    assert cell_len(fit_text(text, width)) <= width
    found = wrap_text(text, width, lines)
    assert len(found) <= lines
    assert all(cell_len(line) <= width for line in found)
    assert one_line(one_line(text)) == one_line(text)


@pytest.mark.parametrize("picture", ["flowchart.txt", "tools.txt"])
def test_the_documentation_shows_a_run_as_it_looks(picture: str) -> None:
    page = (Path(__file__).parents[4] / "docs" / "pictures.md").read_text()
    assert f"```text\n{(FOLDER / f'parallel.{picture}').read_text()}```" in page
