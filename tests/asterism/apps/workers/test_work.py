"""The queue and one worker: what is queued is run once, asked, answered, retried, handed over."""

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from langchain_core.messages import HumanMessage
from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl
from langgraph.types import Command
from typer.testing import CliRunner, Result

from asterism import aopen_checkpointer, apending_requests, asteer
from asterism.apps.cli.app import app
from asterism.apps.workers.job import NOTHING, JobArguments, next_input
from asterism.apps.workers.job_runs import (
    MOST_TRIES,
    RequeueJobError,
    WorkerChildHost,
    requeue_delay,
)
from asterism.apps.workers.queue import enqueue, enqueue_answers, open_queue
from asterism.apps.workers.status import queue_status
from asterism.apps.workers.worker import JobResult, Worker, run_worker
from asterism.core.thread_lease import take_lease
from asterism.errors import (
    AbandonedError,
    ChildFailedError,
    ConfigurationError,
    StorageError,
    ThreadBusyError,
)
from asterism.events import EventBus
from asterism.graphs.catalog import open_graph
from asterism.storage.postgres.saver import open_saver
from asterism.storage.retention import prune
from asterism.storage.serializers import serializer
from asterism.supervision import SupervisorConfig
from asterism.supervision.child_records import read_record
from tests.databases import Server

TEAMS = "tests.asterism.apps.workers.teams"
TEAM, ASKING, PLAIN, FAILING = (
    f"{TEAMS}:{name}" for name in ("team", "asking", "plain", "failing")
)
GRAPHS = (TEAM, ASKING, PLAIN, FAILING)
NAMED = [word for name in GRAPHS for word in ("--graph", name)]


@pytest.fixture(autouse=True)
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASTERISM_TEST_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("ASTERISM_TEST_PAUSE", "0")
    return tmp_path / "log"


async def put(url: str, graph: str = TEAM, request: str = "Go", **options: Any) -> Any:
    return await enqueue(url, graph, request, model="offline", **options)


async def work(url: str, **options: Any) -> list[JobResult]:
    """Run a worker until the queue is empty."""
    done: list[JobResult] = []
    await run_worker(url, wait=False, graphs=GRAPHS, on_done=done.append, **options)
    return done


async def driven(work: JobArguments, graph: Any) -> str:
    """Do a piece of work as a worker does."""
    nursery = WorkerChildHost(graph.checkpointer, EventBus(), SupervisorConfig())
    return await nursery.run_child(await nursery.child(work, graph))


async def values(url: str, graph: str, thread: str) -> dict[str, Any]:
    async with aopen_checkpointer(url) as saver:
        opened = open_graph(graph, model="offline", checkpointer=saver)
        found = (await opened.aget_state({"configurable": {"thread_id": thread}})).values
        assert isinstance(found, dict)
        return found


async def test_what_is_queued_is_run(postgres: str, log: Path) -> None:
    queued = [await put(postgres, request=f"Go {n}") for n in range(5)]
    done = await work(postgres)
    assert {each.thread: each.outcome for each in done} == {
        each.thread: "completed" for each in queued
    }
    found = await values(postgres, TEAM, queued[3].thread)
    assert found["messages"][0].text == "Go 3"
    assert [r["participant"] for r in found["reports"]] == ["one", "two", "pair", "one", "two"]
    assert len(log.read_text().split()) == 5 * 6
    assert await work(postgres) == []


async def test_a_conversation_goes_on_in_order(postgres: str) -> None:
    for n in range(3):
        await put(postgres, graph=PLAIN, request=f"say {n}", thread="t")
    await work(postgres)
    found = await values(postgres, PLAIN, "t")
    assert [m.text for m in found["messages"]] == [
        "say 0", "answer 1", "say 1", "answer 3", "say 2", "answer 5",
    ]  # fmt: skip


async def test_a_worker_takes_messages_in_and_up_where_its_run_was_over(
    postgres: str, log: Path
) -> None:
    await put(postgres, thread="t")
    async with aopen_checkpointer(postgres) as saver:
        opened: Any = open_graph(TEAM, model="offline", checkpointer=saver)
        for text, when, to in (
            ("French", "asap", None),
            ("More", "idle", None),
            ("x", "asap", "two"),
        ):
            await asteer(opened, "t", text, when=cast(Any, when), to=to)
        await work(postgres)
        state = (await opened.aget_state({"configurable": {"thread_id": "t"}})).values
        assert not await opened.ahas_waiting({"configurable": {"thread_id": "t"}})
    said = [m.text for m in state["messages"] if m.type == "human"]
    assert sorted(said) == ["French", "Go", "More", "x"]
    assert said[-1] == "More"
    assert state["status"] == "completed"
    assert len(log.read_text().split()) == 2 * 6


async def test_higher_priority_comes_first(postgres: str) -> None:
    for name, priority in (("low", 0), ("high", 5), ("middle", 3)):
        await put(postgres, graph=PLAIN, thread=name, priority=priority)
    done = await work(postgres, concurrency=1)
    assert [each.thread for each in done] == ["high", "middle", "low"]


async def test_one_key_is_one_run_before_during_and_after(postgres: str, log: Path) -> None:
    first = await put(postgres, graph=PLAIN, key="order 7")
    assert first.new
    for _ in range(2):
        again = await asyncio.gather(*(put(postgres, graph=PLAIN, key="order 7") for _ in range(4)))
        assert {(each.thread, each.job, each.new) for each in again} == {
            (first.thread, first.job, False)
        }
        await work(postgres)
    assert log.read_text().split() == ["plain"]


async def test_a_question_is_answered_from_anywhere_and_once(postgres: str) -> None:
    queued = await put(postgres, graph=ASKING)
    assert [each.outcome for each in await work(postgres)] == ["waiting"]
    async with aopen_checkpointer(postgres) as saver:
        opened = open_graph(ASKING, model="offline", checkpointer=saver)
        (question,) = await apending_requests(
            opened, {"configurable": {"thread_id": queued.thread}}
        )
        seen = queue_status(saver)  # type: ignore[arg-type]  # it is the saver of Postgres
    assert [(t, q.id, q.prompt) for t, q in seen.questions] == [
        (queued.thread, question.id, "Which colour?")
    ]
    origin: Any = {"graph": ASKING, "model": "offline"}
    for answer, new in (("blue", True), ("red", False)):
        found = await enqueue_answers(postgres, queued.thread, {question.id: answer}, **origin)
        assert found.new == new
    assert [each.outcome for each in await work(postgres)] == ["completed"]
    reports = (await values(postgres, ASKING, queued.thread))["reports"]
    assert [r["text"] for r in reports] == ["told: blue"]


async def test_a_failure_is_tried_again_noted_without_secrets_and_given_up(postgres: str) -> None:
    await put(postgres, graph=FAILING)
    tries = 0
    for _ in range(MOST_TRIES):
        done = await work(postgres)
        tries += len(done)
        with psycopg.connect(postgres) as connection:
            connection.execute("UPDATE procrastinate_jobs SET scheduled_at = NULL")
    assert tries == MOST_TRIES
    with open_saver(postgres, serde=serializer(), lease=30) as saver:
        (failed,) = queue_status(saver).failed
    assert failed.why is not None and "broken" in failed.why
    assert "hunter2horse" not in failed.why
    assert failed.tries == MOST_TRIES


async def test_what_can_never_be_done_fails_at_once(postgres: str) -> None:
    await put(postgres, graph="nowhere:graph")
    (done,) = await work(postgres)
    assert (done.outcome, "nowhere:graph" in str(done.error)) == ("failed", True)
    assert await work(postgres) == []


@pytest.mark.parametrize(
    ("error", "tries", "pause"),
    [
        (ConfigurationError("x"), 0, None),
        (ThreadBusyError("x"), 50, 15.0),
        (RequeueJobError("x", 0.0), 50, 0.0),
        (RequeueJobError("x", 4.0), 50, 4.0),
        (RequeueJobError("x", None), 50, None),
        (ChildFailedError("x"), 0, None),
        (AbandonedError("x"), 50, 0.0),
        (StorageError("x"), 50, 0.0),
        (asyncio.CancelledError(), 50, 0.0),
        (RuntimeError("x"), 0, 1.0),
        (RuntimeError("x"), 3, 8.0),
        (RuntimeError("x"), MOST_TRIES - 1, None),
    ],
)
def test_when_work_is_tried_again(error: BaseException, tries: int, pause: float | None) -> None:
    assert requeue_delay(error, tries, 30.0) == pause


async def test_a_stopped_worker_puts_its_runs_back_at_a_step(
    postgres: str, monkeypatch: pytest.MonkeyPatch, log: Path
) -> None:
    monkeypatch.setenv("ASTERISM_TEST_PAUSE", "0.05")
    for _ in range(3):
        await put(postgres)
    done: list[JobResult] = []
    async with open_queue(postgres) as queue:
        with open_saver(postgres, serde=serializer(), lease=30) as saver:
            worker = Worker(saver, queue, graphs=GRAPHS, on_done=done.append)
            running = asyncio.ensure_future(worker.run(3))
            while not log.exists():
                await asyncio.sleep(0.01)
            worker.stop()
            await asyncio.wait_for(running, 30)
            seen = queue_status(saver)
    assert {each.outcome for each in done} == {"stopped"}
    assert seen.counts == {"todo": 3} and seen.workers == ()
    monkeypatch.setenv("ASTERISM_TEST_PAUSE", "0")
    assert [each.outcome for each in await work(postgres)] == ["completed"] * 3
    effects = log.read_text().split()
    assert len(effects) == len(set(effects)) == 3 * 6


async def test_a_thread_that_somebody_else_drives_is_left_to_them(postgres: str) -> None:
    await put(postgres, graph=PLAIN, thread="t")
    with open_saver(postgres, serde=serializer(), lease=30) as saver:
        release = take_lease(saver, "t")
        assert release is not None
        (done,) = await work(postgres)
        assert (done.outcome, "driven by somebody else" in str(done.error)) == ("retry", True)
        release()


async def test_threads_with_work_in_the_queue_are_not_pruned(postgres: str) -> None:
    from datetime import timedelta

    for name in ("a", "b"):
        await put(postgres, graph=PLAIN, thread=name)
    await work(postgres)
    await put(postgres, graph=PLAIN, thread="a", request="more")
    with open_saver(postgres, serde=serializer(), lease=30) as saver:
        found = prune(saver, older_than=timedelta(0))
        assert (found.threads, found.busy) == (1, 1)
        counts = queue_status(saver).counts
    assert counts == {"succeeded": 1, "todo": 1}


# ---- what a thread is given next


async def test_work_goes_on_from_wherever_its_thread_stands(postgres: str) -> None:
    """After each step of a run it may stop; the same work, given again, does the rest."""
    work = JobArguments(key="k", thread="t", graph=TEAM, model="offline", request="Go")
    with open_saver(postgres, serde=serializer(), lease=30) as saver:
        graph = open_graph(TEAM, model="offline", checkpointer=saver)
        tries = 0
        while True:
            control = RunControl()
            stream = graph.astream(
                next_input(work, await graph.aget_state(work.config, subgraphs=True)),
                work.config,
                control=control,
                durability="sync",
            )
            try:
                async for _ in stream:
                    control.request_drain("one step")
                break
            except GraphDrained:
                tries += 1
        assert tries >= 5
        found = (await graph.aget_state(work.config)).values
        assert [r["participant"] for r in found["reports"]] == ["one", "two", "pair", "one", "two"]
        assert [m.text for m in found["messages"] if m.type == "human"] == ["Go"]
        assert next_input(work, await graph.aget_state(work.config, subgraphs=True)) is NOTHING
        other = work.model_copy(update={"key": "l", "request": "More"})
        assert next_input(other, await graph.aget_state(work.config, subgraphs=True)) == {
            "messages": [HumanMessage("More", id="request-l")]
        }


async def test_answers_that_are_open_no_more_are_not_given(postgres: str) -> None:
    work = JobArguments(key="k", thread="t", graph=ASKING, model="offline", request="Go")
    with open_saver(postgres, serde=serializer(), lease=30) as saver:
        graph = open_graph(ASKING, model="offline", checkpointer=saver)
        assert await driven(work, graph) == "waiting"
        assert await driven(work, graph) == "waiting"
        snapshot = await graph.aget_state(work.config, subgraphs=True)
        (question,) = snapshot.interrupts
        answer = JobArguments(
            key="a", thread="t", graph=ASKING, model="offline", answers={question.id: "blue"}
        )
        given = next_input(answer, snapshot)
        assert isinstance(given, Command) and given.resume == {question.id: "blue"}
        used = []
        for _ in range(2):
            assert await driven(answer, graph) == "completed"
            used.append((await read_record(saver, "t"))["usage"])
        assert used[0] == used[1] and used[0]["iterations"] > 0
        values = (await graph.aget_state(work.config)).values
        assert [r["text"] for r in values["reports"]] == ["told: blue"]


# ---- errors and commands


async def test_a_queue_needs_postgres_and_its_tables(server: Server) -> None:
    with pytest.raises(ConfigurationError, match="A queue needs a Postgres database"):
        await put("sqlite:///x.db")
    url = server.create(migrated=False)
    with pytest.raises(StorageError, match=r"has no queue\. Run once: asterism migrate"):
        await put(url)
    with pytest.raises(ConfigurationError, match="The request is empty"):
        await put(url, request=" ")
    server.drop(url)


def cli(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_the_commands_of_the_queue(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASTERISM_DB", postgres)
    assert cli("status").stdout == "queue: empty; 0 workers\n"
    thread = cli("enqueue", ASKING, "Go", "--idempotency-key", "k").stdout.strip()
    assert cli("enqueue", ASKING, "Go", "--idempotency-key", "k").stdout.strip() == thread
    assert "1 todo" in cli("status").stdout
    ran = cli("worker", "--once", *NAMED)
    assert (ran.exit_code, f"{thread}: waiting" in ran.stderr) == (0, True)
    seen = cli("status")
    assert f"{thread} asks: Which colour?" in seen.stdout
    shown = json.loads(cli("status", "--json").stdout)
    assert [q["prompt"] for q in shown["questions"]] == ["Which colour?"]
    assert cli("resume", thread, "blue", "--queue", "--graph", ASKING).exit_code == 0
    assert "first answer holds" in cli("resume", thread, "red", "--queue", "--graph", ASKING).stderr
    assert f"{thread}: completed" in cli("worker", "--once", *NAMED).stderr
    assert "told: blue" in cli("show", thread).stdout


@pytest.mark.parametrize("command", [["enqueue", TEAM, "Go"], ["worker"], ["status"]])
def test_a_file_has_no_queue(command: list[str], tmp_path: Path) -> None:
    result = cli(*command, "--db", str(tmp_path / "a.db"))
    assert (result.exit_code, "A queue needs a Postgres database" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("exiting", "SystemExit: enough"),
        ("aborting", "Abort: enough"),
        ("unopened", "cannot be opened: SystemExit: enough"),
    ],
)
async def test_what_no_library_catches_ends_one_job_alone(
    postgres: str, name: str, said: str
) -> None:
    graph = f"{TEAMS}:{name}"
    bad = await put(postgres, graph, quotas={"max_retries": 0})
    good = await put(postgres, PLAIN)
    done: list[JobResult] = []
    await run_worker(postgres, wait=False, graphs=[graph, PLAIN], on_done=done.append)
    outcomes = {each.thread: each for each in done}
    assert outcomes[good.thread].outcome == "completed"
    assert outcomes[bad.thread].outcome == "failed"
    assert said in (outcomes[bad.thread].error or "")
    with psycopg.connect(postgres) as connection:
        query = "SELECT status FROM procrastinate_jobs WHERE id = %s"
        assert connection.execute(query, (bad.job,)).fetchone() == ("failed",)


async def test_a_job_whose_graph_nobody_named_fails(postgres: str) -> None:
    queued = await put(postgres, "os:system")
    done: list[JobResult] = []
    await run_worker(postgres, wait=False, on_done=done.append)
    assert [(each.thread, each.outcome) for each in done] == [(queued.thread, "failed")]
    assert "'os:system' is not served here" in (done[0].error or "")


async def test_a_worker_takes_only_versions_that_it_has(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deploy(version: str, earlier: str = "") -> None:
        monkeypatch.setenv("ASTERISM_TEST_VERSION", version)
        monkeypatch.setenv("ASTERISM_TEST_EARLIER", earlier)

    async def answer(colour: str) -> None:
        async with aopen_checkpointer(postgres) as saver:
            opened = open_graph(ASKING, model="offline", checkpointer=saver)
            pending = await apending_requests(opened, "t")
        given = {pending[0].id: colour}
        await enqueue_answers(postgres, "t", given, graph=ASKING, model="offline")

    def outcomes(done: list[JobResult]) -> list[tuple[str, str]]:
        return [(each.thread, each.outcome) for each in done]

    async def wake() -> None:
        async with await psycopg.AsyncConnection.connect(postgres, autocommit=True) as connection:
            await connection.execute("UPDATE procrastinate_jobs SET scheduled_at = NULL")

    deploy("1")
    await put(postgres, graph=ASKING, thread="t")
    assert outcomes(await work(postgres)) == [("t", "waiting")]
    await answer("red")
    await put(postgres, graph=ASKING, thread="new")
    with open_saver(postgres, serde=serializer()) as saver:
        assert queue_status(saver).versions == {"": 1, "1": 1}
    deploy("2")  # it has no way from there, so it leaves the old thread to others
    assert sorted(outcomes(await work(postgres))) == [("new", "waiting"), ("t", "stopped")]
    await wake()
    deploy("1")  # the old code drains: it begins nothing
    await put(postgres, graph=ASKING, thread="newest")
    done = sorted(outcomes(await work(postgres, versions=["1"])))
    assert done == [("newest", "stopped"), ("t", "completed")]
    await wake()
    deploy("3", earlier="1 2")
    assert outcomes(await work(postgres)) == [("newest", "waiting")]
    with open_saver(postgres, serde=serializer()) as saver:
        assert queue_status(saver).versions == {"2": 1, "3": 1}
    result = await asyncio.to_thread(cli, "status", "--db", postgres)
    assert "versions: 1 of 2, 1 of 3" in result.stdout
