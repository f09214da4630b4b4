"""Participants that are graphs on another server: a real one, started for these tests."""

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.pregel.remote import RemoteGraph
from langgraph.types import RetryPolicy
from langgraph_sdk import get_client, get_sync_client

from asterism import (
    CircuitBreaker,
    Participant,
    SupervisorWorkflowBuilder,
    Timeout,
    Usage,
    aresume,
    lines_of,
    open_checkpointer,
    pending_requests,
    proceed,
    resume,
)
from asterism.core.run_types import WorkflowInput
from asterism.errors import AnswerError, RemoteError, WorkflowBuildError
from asterism.graphs.workflow import Workflow
from asterism.testing import check_participant
from tests.graphs import elsewhere
from tests.graphs.servers import dev_server
from tests.processes import forks
from tests.teams import follow, said

Saver = BaseCheckpointSaver[str]
REQUEST: WorkflowInput = {"messages": [("user", "Hello")]}
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where turns on the server leave their marks."""
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def remote_url(folder: Path) -> Iterator[str]:
    """The other server."""
    graphs = {name: f"tests.graphs.elsewhere:{name}" for name in elsewhere.GRAPHS}
    config = folder / "langgraph.json"
    config.write_text(json.dumps({"dependencies": [str(ROOT)], "graphs": graphs}))
    environment = {elsewhere.FOLDER: str(folder), "PYTHONPATH": str(ROOT)}
    with dev_server(config, folder, environment) as address:
        yield address


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def invoke(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Run a workflow in sync or in async."""

    def run(workflow: Workflow, *args: Any, **kwargs: Any) -> Any:
        if request.param:
            return asyncio.run(workflow.ainvoke(*args, **kwargs))
        return workflow.invoke(*args, **kwargs)

    return run


def there(graph: str, url: str, **options: Any) -> Participant:
    return Participant(runs=RemoteGraph(graph, url=url), description="Works there.", **options)


def star(thing: Any, saver: Any = None, visits: int = 1) -> Workflow:
    return (
        SupervisorWorkflowBuilder("Test", finish="forward", description="Sends its work away.")
        .participants(there=thing)
        .with_manager(follow(["there"] * visits))
        .build(checkpointer=saver)
    )


def marks(folder: Path, name: str) -> int:
    file = folder / name
    return file.stat().st_size if file.exists() else 0


def test_its_thread_is_kept_for_the_thread_here(
    remote_url: str, invoke: Any, saver: Saver, thread: RunnableConfig
) -> None:
    workflow = star(there("echo", remote_url), saver, visits=2)
    one, two = "Hello\n\nYour part: step 1", "Hello\n\nYour part: step 2"
    result = invoke(workflow, REQUEST, thread)
    assert said(result) == [one, f"{one} / {two}"]
    memory = workflow.get_state(
        {"configurable": {**thread["configurable"], "checkpoint_ns": "there"}}
    )
    assert [m.text for m in memory.values["messages"]] == [one, one, two, f"{one} / {two}"]
    usage = Usage.of(lines_of(result))
    assert (usage.calls, usage.input_tokens, usage.output_tokens) == (2, 20, 10)
    assert usage.cost_usd > 0 and {line["by"] for line in lines_of(result)} == {"there"}


def test_a_graph_is_driven_by_one_event_loop_after_the_other(remote_url: str) -> None:
    workflow = star(there("echo", remote_url))
    for _ in range(3):
        assert said(asyncio.run(workflow.ainvoke(REQUEST))) == ["Hello\n\nYour part: step 1"]


def test_another_thread_here_is_another_there(remote_url: str, saver: Saver) -> None:
    workflow = star(there("echo", remote_url), saver)
    for name in ("a", "b"):
        result = workflow.invoke(REQUEST, {"configurable": {"thread_id": name}})
        assert said(result) == ["Hello\n\nYour part: step 1"]


def test_a_question_surfaces_and_its_answer_goes_back(
    remote_url: str, invoke: Any, saver: Saver, thread: RunnableConfig, folder: Path
) -> None:
    workflow, before = star(there("seats", remote_url), saver), marks(folder, "before")
    assert invoke(workflow, REQUEST, thread)["status"] == "waiting"
    (request,) = pending_requests(workflow, thread)
    assert (request.path, request.prompt) == ("there", "How many seats?")
    assert request.schema and list(request.schema["properties"]) == ["seats"]
    with pytest.raises(AnswerError, match="is not of type 'integer'"):
        resume(workflow, thread, {"seats": "many"})
    assert said(resume(workflow, thread, {"seats": 3})) == ["3 seats"]
    assert marks(folder, "before") == before + 1


def test_two_questions_are_answered_one_by_one(
    remote_url: str, saver: Saver, thread: RunnableConfig
) -> None:
    workflow = star(there("both", remote_url), saver)
    workflow.invoke(REQUEST, thread)
    first, second = pending_requests(workflow, thread)
    assert (first.prompt, second.prompt) == ("One?", "Two?")
    assert resume(workflow, thread, {second.id: "b"})["status"] == "waiting"
    assert [request.prompt for request in pending_requests(workflow, thread)] == ["One?"]
    assert said(resume(workflow, thread, {first.id: "a"})) == ["one: a, two: b"]


async def test_questions_cross_two_levels_here_and_two_there(
    remote_url: str, thread: RunnableConfig
) -> None:
    inner = star(there("team", remote_url))
    with open_checkpointer("memory:") as saver:
        workflow = (
            SupervisorWorkflowBuilder("Outer", finish="forward")
            .participants(inner=inner)
            .with_manager(follow(["inner"]))
            .build(checkpointer=saver)
        )
        await workflow.ainvoke(REQUEST, thread)
        (request,) = pending_requests(workflow, thread)
        assert (request.participant, request.path) == ("there", "inner/there")
        assert request.prompt == "How many seats?"
        result = await aresume(workflow, thread, {"seats": 5})
    assert said(result) == ["5 seats"]
    lines = {line["by"] for line in lines_of(result)}
    assert lines == {"inner/there/echo"}


def test_a_workflow_there_that_ends_at_a_limit_is_a_limit_here(remote_url: str) -> None:
    result = star(there("limited", remote_url)).invoke(REQUEST)
    (report,) = result["reports"]
    assert (report["status"], report["kind"]) == ("limit", "limit_reached")
    assert "max_iterations=1" in report["error"] and report["text"].startswith("Hello")
    assert Usage.of(lines_of(result)).tokens == 15


def test_a_retry_goes_on_with_the_run_that_failed(remote_url: str, folder: Path) -> None:
    retry = RetryPolicy(initial_interval=0.01, retry_on=RemoteError)
    (report,) = star(there("fails", remote_url, policies=[retry])).invoke(REQUEST)["reports"]
    assert (report["text"], report["attempts"]) == ("in order", 2)
    assert (marks(folder, "before-failing"), marks(folder, "fails")) == (1, 2)


def test_a_failure_there_is_a_report_here(remote_url: str, folder: Path, invoke: Any) -> None:
    (folder / "fails").unlink(missing_ok=True)
    (report,) = invoke(star(there("fails", remote_url)), REQUEST)["reports"]
    assert (report["status"], report["kind"]) == ("failed", "agent_failed")
    assert report["error"].endswith("/fails ended as error: RuntimeError('out of order')")


def test_a_graph_that_is_not_there_is_a_failure(remote_url: str) -> None:
    (report,) = star(there("nonesuch", remote_url)).invoke(REQUEST)["reports"]
    assert report["kind"] == "api_call_failed"
    assert "RemoteStatusError" in report["error"] and "nonesuch" in report["error"]


def test_a_server_that_is_not_there_is_a_failure_without_the_key(
    tmp_path: Path, thread: RunnableConfig
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}"
        registry: Any = {}
        breaker = CircuitBreaker(failure_threshold=1, registry=registry)
        remote = RemoteGraph("echo", url=nowhere, api_key="a-very-secret-key")
        thing = Participant(runs=remote, policies=[breaker], description="There.")
        with open_checkpointer(f"sqlite:///{tmp_path / 'threads.db'}") as saver:
            reports = star(thing, saver, visits=2).invoke(REQUEST, thread)["reports"]
    assert [report["kind"] for report in reports] == ["api_call_failed", "circuit_open"]
    assert "RemoteConnectionError" in reports[0]["error"]
    assert list(registry) == [f"{nowhere}/echo"]
    stored = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert b"RemoteConnectionError" in stored and b"very-secret" not in stored


async def test_a_cancelled_visit_cancels_the_run_there(
    remote_url: str, folder: Path, thread: RunnableConfig
) -> None:
    began, done = marks(folder, "slow"), marks(folder, "slow-done")
    with open_checkpointer("memory:") as saver:
        workflow = star(there("slow", remote_url), saver)
        task = asyncio.create_task(workflow.ainvoke(REQUEST, thread))
        while marks(folder, "slow") == began:
            await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with get_client(url=remote_url, api_key=None) as client:
            threads = await client.threads.search(status="busy")
            assert threads == []
        assert marks(folder, "slow-done") == done
        assert said(await workflow.ainvoke(None, thread)) == ["slow is done"]
    assert (marks(folder, "slow"), marks(folder, "slow-done")) == (began + 2, done + 1)


async def test_a_visit_that_takes_too_long_is_cancelled_there(
    remote_url: str, folder: Path
) -> None:
    done = marks(folder, "slow-done")
    workflow = star(there("slow", remote_url, policies=[Timeout(1.5)]))
    (report,) = (await workflow.ainvoke(REQUEST))["reports"]
    assert (report["status"], report["kind"]) == ("timeout", "agent_timeout")
    async with get_client(url=remote_url, api_key=None) as client:
        assert await client.threads.search(status="busy") == []
    assert marks(folder, "slow-done") == done


def visited(remote_url: str, database: Path) -> None:
    """Begin a run of the slow graph, or go on with it."""
    with open_checkpointer(f"sqlite:///{database}") as saver:
        workflow = star(there("slow", remote_url), saver)
        config: RunnableConfig = {"configurable": {"thread_id": "t"}}
        if workflow.get_state(config).values:
            proceed(workflow, config)
        else:
            workflow.invoke(REQUEST, config)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_kill_here_repeats_nothing_there(remote_url: str, folder: Path, tmp_path: Path) -> None:
    began, done = marks(folder, "slow"), marks(folder, "slow-done")
    process = forks.Process(target=visited, args=(remote_url, tmp_path / "threads.db"))
    process.start()
    while marks(folder, "slow") == began:
        time.sleep(0.05)
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    visited(remote_url, tmp_path / "threads.db")
    assert (marks(folder, "slow"), marks(folder, "slow-done")) == (began + 1, done + 1)
    with open_checkpointer(f"sqlite:///{tmp_path / 'threads.db'}") as saver:
        found = star(there("slow", remote_url), saver).get_state(
            {"configurable": {"thread_id": "t"}}
        )
        assert said(found.values) == ["slow is done"]


def test_an_answer_that_arrived_already_is_not_given_twice(
    remote_url: str, thread: RunnableConfig, folder: Path
) -> None:
    """Somebody else has answered there; what came of it is the answer of the visit."""
    with open_checkpointer("memory:") as saver:
        workflow = star(there("seats", remote_url), saver)
        workflow.invoke(REQUEST, thread)
        with get_sync_client(url=remote_url, api_key=None) as client:
            (waiting,) = client.threads.search(status="interrupted", limit=1)
            command: Any = {"resume": {"seats": 7}}
            client.runs.wait(waiting["thread_id"], "seats", command=command)
        assert said(resume(workflow, thread, {"seats": 3})) == ["7 seats"]


def test_what_it_says_is_streamed_under_its_name(remote_url: str) -> None:
    parts: Any = star(there("echo", remote_url)).stream(
        REQUEST, stream_mode="messages", subgraphs=True
    )
    spoken = [
        (facts.get("participant"), message.text)
        for _, (message, facts) in parts
        if isinstance(message, AIMessage) and facts.get("participant") == "there"
    ]
    assert spoken == [("there", "Hello\n\nYour part: step 1")]


def test_a_remote_graph_without_a_server_cannot_take_part() -> None:
    with pytest.raises(WorkflowBuildError, match="'there' has no server; give it a url"):
        star(Participant(runs=RemoteGraph("echo"), description="There."))


def test_a_remote_graph_passes_the_suite_for_participants(remote_url: str) -> None:
    report = check_participant(there("echo", remote_url))
    assert report.not_exercised == [
        "steps",
        "interrupts",
        "structured_answers",
        "direct_returns",
    ]
