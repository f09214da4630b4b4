"""`asterism trace`: what ran on a thread, drawn."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from asterism.apps.cli.app import app

PARTY = "Plan a corporate holiday party for 50 people in Seattle on December 15th"


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("trace") / "threads.db"
    for thread, request in (("one", PARTY), ("two", PARTY.replace("50", "80"))):
        done = cli("run", "event_planning", request, "--thread", thread, "--db", str(path))
        assert done.exit_code == 0
    return str(path)


def cli(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


SHOWN: dict[str, tuple[list[str], list[str]]] = {
    "the flowchart": ([], ["event_planning, thread one", "sends venue", "venue ✓ ok", "tools: "]),
    "mermaid": (["--mermaid"], ["flowchart TD", "n1 --> n2"]),
    "the tools": (["--tools"], ["round 1: the supervisor sends", "✓ search_venues("]),
    "the timeline": (["--timeline"], ["· venue", "█"]),
    "a gantt chart": (["--timeline", "--mermaid"], ["gantt", "section request 1"]),
    "the difference": (
        ["--diff", "two"],
        ["requests", "- Plan a corporate holiday party for 50", "- sends budget: "],
    ),
}


@pytest.mark.parametrize("what", SHOWN)
def test_a_thread_is_drawn(what: str, db: str) -> None:
    options, words = SHOWN[what]
    result = cli("trace", "one", "--db", db, *options)
    assert (result.exit_code, result.stderr) == (0, "")
    for word in words:
        assert word in result.stdout


def test_the_record_is_json(db: str) -> None:
    found: dict[str, Any] = json.loads(cli("trace", "one", "--db", db, "--json").stdout)
    assert (found["thread"], found["requests"][0]["status"]) == ("one", "completed")
    difference = json.loads(cli("trace", "one", "--db", db, "--json", "--diff", "two").stdout)
    assert difference["reports"]


FAULTS: dict[str, tuple[list[str], str]] = {
    "no such thread": (["nobody"], "Of the thread 'nobody' there is nothing"),
    "two pictures": (["one", "--tools", "--timeline"], "Choose one picture"),
    "a picture and a difference": (["one", "--tools", "--diff", "two"], "Choose one picture"),
    "a difference as Mermaid": (["one", "--diff", "two", "--mermaid"], "it has no --mermaid"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_sentence(fault: str, db: str) -> None:
    arguments, words = FAULTS[fault]
    result = cli("trace", *arguments, "--db", db)
    assert result.exit_code == 1 and not result.stdout
    assert words in " ".join(result.stderr.split())


def test_a_thread_that_the_library_made_is_drawn_too(tmp_path: Path) -> None:
    from asterism import open_checkpointer
    from tests.teams import Turns, star

    with open_checkpointer(f"sqlite:///{tmp_path / 'own.db'}") as saver:
        place: Any = {"configurable": {"thread_id": "mine"}}
        built = star(Turns(), ["venue"]).build(checkpointer=saver)
        built.invoke({"messages": [("user", "Plan")]}, place)
    result = cli("trace", "mine", "--db", str(tmp_path / "own.db"))
    assert "Workflow, thread mine" in result.stdout and "venue ✓ ok" in result.stdout


def test_bad_answers_are_drawn_without_secrets(tmp_path: Path) -> None:
    from asterism import Participant, SupervisorWorkflowBuilder, open_checkpointer
    from asterism.errors import RoutingError
    from asterism.testing import ScriptedChatModel, ScriptedReply

    secret = "sk-" + "a1B2c3D4" * 4
    said = [f"Use {secret}, I think. " + "word " * 1_000, "I cannot say."]
    replies = [ScriptedReply(text=text, usage=(1_000, 100)) for text in said]
    good = ScriptedReply(tool_calls=[("SupervisorDecision", {"next_agent": "p"})], usage=(9, 1))
    model = ScriptedChatModel(script=[replies[0], good, *replies])
    path = str(tmp_path / "own.db")
    with open_checkpointer(f"sqlite:///{path}") as saver:
        plain = Participant(runs=lambda messages: "done", description="Works.")
        built = SupervisorWorkflowBuilder("Test", model=model, max_repairs=1).participants(p=plain)
        with pytest.raises(RoutingError):
            place: Any = {"configurable": {"thread_id": "mine"}}
            request: Any = {"messages": [("user", "Plan")]}
            built.build(checkpointer=saver).invoke(request, place)
    drawn = cli("trace", "mine", "--db", path, "--tools").stdout
    assert "round 2: the supervisor gives no valid decision (2 calls, 2,200 tokens)" in drawn
    assert drawn.count("✗ “Use [redacted]") == 2  # of the first round too, which went well
    assert "✗ “I cannot say.”: the answer is plain text" in drawn
    assert "2 rounds, 1 visit, 4 model calls, 3,310 tokens" in drawn
    found = json.loads(cli("trace", "mine", "--db", path, "--json").stdout)
    rounds = found["requests"][0]["rounds"]
    assert [(one["kind"], len(one["tries"])) for one in rounds] == [("visit", 1), ("failed", 2)]
    assert all(len(bad["said"]) <= 500 for one in rounds for bad in one["tries"])
    assert secret not in json.dumps(found)
