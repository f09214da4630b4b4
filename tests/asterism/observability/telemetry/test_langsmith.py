"""LangSmith: where the user turns its tracing on, a run is one complete tree, grouped by thread."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langsmith import Client, tracing_context
from pydantic import BaseModel

from asterism import Participant, SupervisorWorkflowBuilder, resume
from asterism.testing import ScriptedChatModel
from tests.asterism.observability.telemetry.serving import Silent, serving
from tests.asterism.observability.telemetry.teams import REQUEST, ask, caterer, flaky, team
from tests.plans import drive, plan, task
from tests.teams import follow
from tests.test_layout import FOLDERS

INFO = {
    "batch_ingest_config": {
        "use_multipart_endpoint": False,
        "scale_up_qsize_trigger": 1000,
        "scale_up_nthreads_limit": 1,
        "size_limit": 100,
        "size_limit_bytes": 20_000_000,
    }
}
KEY = "a key that only this machine gets"


class Runs:
    """The runs that a server was told of, by id."""

    def __init__(self) -> None:
        self.by_id: dict[str, dict[str, Any]] = {}
        self.lock = Lock()

    def take(self, body: dict[str, Any]) -> None:
        with self.lock:
            for run in [*body.get("post", ()), *body.get("patch", ())]:
                known = self.by_id.setdefault(run["id"], {})
                known.update({key: value for key, value in run.items() if value is not None})

    def named(self, name: str, kind: str = "chain") -> list[dict[str, Any]]:
        found = [r for r in self.by_id.values() if r["name"] == name and r["run_type"] == kind]
        return sorted(found, key=lambda run: str(run["start_time"]))

    def parent(self, run: dict[str, Any]) -> str | None:
        """The name of the run around one; it must be there, and open for as long as this one."""
        if not run.get("parent_run_id"):
            return None
        above = self.by_id[run["parent_run_id"]]
        assert above["start_time"] <= run["start_time"] <= run["end_time"] <= above["end_time"]
        assert run["trace_id"] == above["trace_id"]
        assert run["dotted_order"].startswith(f"{above['dotted_order']}.")
        return str(above["name"])

    def check(self, thread: str) -> None:
        """Every run has its parent, has ended, and belongs to a thread."""
        for run in self.by_id.values():
            self.parent(run)
            assert run["extra"]["metadata"]["thread_id"] == thread


@contextmanager
def server() -> Iterator[tuple[str, Runs]]:
    """A server that takes in runs as LangSmith does."""
    runs = Runs()

    class Take(Silent, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say(INFO)

        def do_POST(self) -> None:
            assert self.path == "/runs/batch"
            runs.take(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._say({})

        def _say(self, what: dict[str, Any]) -> None:
            body = json.dumps(what).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serving(Take) as url:
        yield url, runs


@pytest.fixture
def runs() -> Iterator[Runs]:
    """Tracing is on for the test; what it is told of is there once the client is flushed."""
    with server() as (url, taken):
        client = Client(api_url=url, api_key=KEY)
        taken.flush = client.flush  # type: ignore[attr-defined]
        with tracing_context(enabled=True, client=client):
            yield taken
        client.close()


def flushed(runs: Runs, config: RunnableConfig) -> Runs:
    runs.flush()  # type: ignore[attr-defined]
    runs.check(config["configurable"]["thread_id"])
    return runs


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_a_plan_is_one_tree_of_visits_by_name(
    runs: Runs, saver: BaseCheckpointSaver[str], thread: RunnableConfig, way: str
) -> None:
    inner = team(plan(task("t", "deep")), deep=caterer())
    tasks = plan(task("a", "one"), task("b", "late", "a"), task("c", "crew", "b"))
    built = team(tasks, saver=saver, one=lambda ms: "1", late=flaky(2), crew=inner)
    result = await drive(built, way, REQUEST, thread)
    assert result["status"] == "completed"
    told = flushed(runs, thread)
    assert [run["name"] for run in told.by_id.values() if not told.parent(run)] == ["Party"]
    visits = {name: told.named(name) for name in ("one", "late", "crew", "deep")}
    parents = {name: {told.parent(run) for run in found} for name, found in visits.items()}
    assert parents["one"] == parents["late"] == parents["crew"] == {"Party"}
    assert parents["deep"] == {"crew"}
    assert [bool(run.get("error")) for run in visits["late"]] == [True, True, False]
    assert {"participant:late", "task:b"} <= set(visits["late"][0]["tags"])
    assert {"participant:deep", "task:t"} <= set(visits["deep"][0]["tags"])
    facts = visits["deep"][0]["extra"]["metadata"]
    assert (facts["participant_path"], facts["task"]) == ("crew/deep", "t")
    assert len(told.named("price", "tool")) == 1


def test_routed_visits_stand_below_their_nodes(
    runs: Runs, saver: BaseCheckpointSaver[str], thread: RunnableConfig
) -> None:
    team(follow(["cook"]), saver=saver, cook=caterer()).invoke(REQUEST, thread)
    told = flushed(runs, thread)
    node, visit = told.named("cook")
    assert (told.parent(node), told.parent(visit)) == ("Party", "cook")
    assert not any(run.get("error") for run in told.by_id.values())


def test_a_run_that_waits_for_a_person_has_not_failed(
    runs: Runs, saver: BaseCheckpointSaver[str], thread: RunnableConfig
) -> None:
    """LangGraph marks each run that an interrupt went through with the interrupt."""
    built = team(plan(task("t", "p")), saver=saver, p=ask)
    built.invoke(REQUEST, thread)
    told = flushed(runs, thread)
    (root,) = told.named("Party")
    assert not root.get("error")
    errors = [run["error"] for run in told.by_id.values() if run.get("error")]
    assert errors
    assert all(error.startswith("GraphInterrupt(") for error in errors)
    before = set(told.by_id)
    resume(built, thread, "yes")
    told = flushed(runs, thread)
    assert len(told.named("Party")) == 2  # one thread, two traces
    assert not any(run.get("error") for id, run in told.by_id.items() if id not in before)


RUN = (
    "from asterism import SupervisorWorkflowBuilder\n"
    "b = SupervisorWorkflowBuilder('Shop', model='offline')\n"
    "w = b.participants(clerk=lambda ms: 'done').build()\n"
    "w.invoke({'messages': [('user', 'go')]}, {'configurable': {'thread_id': '7'}})"
)


@pytest.mark.parametrize("tracing", ["true", "false"])
def test_only_the_users_environment_turns_it_on(tracing: str) -> None:
    mine = {key: value for key, value in os.environ.items() if "LANGSMITH" not in key}
    with server() as (url, runs):
        theirs = {"LANGSMITH_ENDPOINT": url, "LANGSMITH_API_KEY": KEY}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", RUN],
            env={**mine, **theirs, "LANGSMITH_TRACING": tracing},
            timeout=120,
        )
        assert done.returncode == 0
        if tracing == "false":
            assert runs.by_id == {}
        else:
            runs.check("7")
            assert [run["name"] for run in runs.by_id.values() if not runs.parent(run)] == ["Shop"]


def test_the_library_sets_no_variable_of_langsmith() -> None:
    root = Path(__file__).parents[4]
    files = [path for name in FOLDERS for path in (root / name).rglob("*.py")]
    assert len(files) > 100
    assert not [path for path in files if "LANGSMITH" in path.read_text()]


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_model_runs_are_named_by_purpose_and_know_participant_round_and_task(
    runs: Runs, saver: BaseCheckpointSaver[str], thread: RunnableConfig, way: str
) -> None:
    tasks = [{"task_id": "t", "agent_id": "cook", "task_description": "Cook."}]
    script = [{"next_agent": None, "tasks": tasks}, {"next_agent": "cook"}]
    model = ScriptedChatModel(script=[*script, {"next_agent": None}, "the answer"])
    cook = Participant(model=ScriptedChatModel(script=["one", "two"]), prompt="You cook.")
    built = SupervisorWorkflowBuilder("Party", model=model)
    helper = Participant(runs=lambda ms: "-", description="Helps.")
    party = built.participants(cook=cook, helper=helper).build(checkpointer=saver)
    assert (await drive(party, way, REQUEST, thread))["messages"][-1].text == "the answer"
    told = flushed(runs, thread)
    models = [run for run in told.by_id.values() if run["run_type"] == "llm"]
    keys = ("participant", "round", "task")
    facts = [
        (run["name"], *(run["extra"]["metadata"].get(key) for key in keys))
        for run in sorted(models, key=lambda run: str(run["start_time"]))
    ]
    assert facts == [
        ("supervisor.decide", "supervisor", 1, None),
        ("ScriptedChatModel", "cook", 1, "t"),
        ("supervisor.decide", "supervisor", 2, None),
        ("ScriptedChatModel", "cook", 2, None),
        ("supervisor.decide", "supervisor", 3, None),
        ("finish.answer", "supervisor", 3, None),
    ]


class Facts(BaseModel):
    city: str


def test_a_structured_answer_is_named_as_one(
    runs: Runs, saver: BaseCheckpointSaver[str], thread: RunnableConfig
) -> None:
    model = ScriptedChatModel(script=[{"city": "Rome"}])
    built = SupervisorWorkflowBuilder("Party", model=model, finish=Facts)
    helper = Participant(runs=lambda ms: "-", description="Helps.")
    party = built.participants(helper=helper).with_manager(follow(["helper"]))
    assert party.build(checkpointer=saver).invoke(REQUEST, thread)["structured_response"].city
    assert len(flushed(runs, thread).named("finish.structured", "llm")) == 1
