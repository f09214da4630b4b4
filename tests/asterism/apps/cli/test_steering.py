"""`asterism steer`: a message into a run, from another process or after it."""

import threading
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from typer.testing import CliRunner, Result

from asterism import Participant, SupervisorWorkflowBuilder, open_checkpointer
from asterism.apps.cli.app import app
from tests.teams import follow

GRAPH = f"{__name__}:team"
prompts: list[str] = []
begun, go = threading.Event(), threading.Event()


def team(model: Any) -> SupervisorWorkflowBuilder:
    def work(messages: Any) -> str:
        prompts.append(messages[-1].text)
        begun.set()
        assert go.wait(60)
        return f"visit {len(prompts)}"

    return (
        SupervisorWorkflowBuilder("Steered", finish="forward")
        .participants(venue=Participant(runs=work, description="Works."))
        .with_manager(follow(["venue", "venue"]))
    )


@pytest.fixture(autouse=True)
def anew() -> None:
    prompts.clear()
    begun.clear()
    go.set()


def cli(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_a_message_waits_until_the_thread_is_resumed(tmp_path: Path) -> None:
    db = ("--db", str(tmp_path / "threads.db"))
    assert cli("run", GRAPH, "Plan it", "--thread", "t", *db).exit_code == 0
    assert "has nothing unfinished" in cli("resume", "t", "--graph", GRAPH, *db).stderr
    result = cli("steer", "t", "In French", *db)
    assert (result.exit_code, result.stderr) == (0, "The message waits beside the thread t.\n")
    assert cli("steer", "t", "No cellar", "--to", "venue", *db).exit_code == 0
    assert cli("steer", "t", "Then pay", "--idle", *db).exit_code == 0
    assert cli("resume", "t", "--graph", GRAPH, *db).exit_code == 0
    assert prompts[2] == (
        "In French\n\nThen pay\n\nYour part: step 1\n\nThe user has added since: No cellar"
    )
    assert "the user steered: “No cellar”" in cli("trace", "t", "--tools", *db).stdout


def test_what_cannot_be_steered_is_told(tmp_path: Path) -> None:
    db = ("--db", str(tmp_path / "threads.db"))
    assert "There is no thread 'unknown'" in cli("steer", "unknown", "x", *db).stderr
    assert "The message is ' '" in cli("steer", "t", " ", *db).stderr


def test_a_second_request_on_a_thread_that_runs_is_handed_over(tmp_path: Path) -> None:
    path = tmp_path / "threads.db"
    thread: RunnableConfig = {"configurable": {"thread_id": "t"}}
    go.clear()
    with open_checkpointer(f"sqlite:///{path}") as saver:
        workflow = team(None).build(checkpointer=saver)
        run = threading.Thread(
            target=workflow.invoke, args=({"messages": [("user", "Plan it")]}, thread)
        )
        run.start()
        assert begun.wait(60)
        result = cli("run", GRAPH, "In French", "--thread", "t", "--db", str(path))
        assert result.exit_code == 0
        assert "the message was handed to that run" in result.stderr
        go.set()
        run.join()
    assert prompts[1] == "Plan it\n\nIn French\n\nYour part: step 2"
