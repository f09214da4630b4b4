"""The command line."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llmock.pytest_plugin import LLMock
from typer.main import get_command
from typer.testing import CliRunner, Result

from asterism.apps.cli.app import app
from asterism.apps.stored_threads import open_database
from tests.processes import CLI, Process, asterism

ROOT = Path(__file__).parents[4]
MODELS = "tests.asterism.apps.cli.priced_team"
PARTY = "Plan a corporate holiday party for 50 people in Seattle on December 15th"


@pytest.fixture
def db(tmp_path: Path) -> str:
    return str(tmp_path / "threads.db")


def cli(*arguments: str, **options: Any) -> Result:
    return CliRunner().invoke(app, arguments, **options)


def test_run_prints_the_result_to_stdout_and_progress_to_stderr(db: str) -> None:
    result = cli("run", "event_planning", PARTY, "--db", db)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"# {PARTY}")
    assert "Offline model: fixed rules" in result.stderr
    for name in ("venue", "catering", "budget", "logistics"):
        assert re.search(rf"^✓ {name}: ", result.stderr, re.M)


def test_run_as_json(db: str) -> None:
    result = cli("run", "event_planning", PARTY, "--db", db, "--json", "--thread", "t")
    found = json.loads(result.stdout)
    assert (found["thread"], found["status"], found["iterations"]) == ("t", "completed", 5)
    assert found["answer"].startswith("# Plan")
    assert [report["participant"] for report in found["reports"]] == [
        "venue",
        "catering",
        "budget",
        "logistics",
    ]
    assert found["questions"] == []


def test_run_writes_files(db: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cli("run", "event_planning", PARTY, "--db", db, "--out", str(out))
    assert sorted(path.name for path in out.iterdir()) == [
        "answer.md",
        "corporate-holiday-party.ics",
    ]
    assert (out / "answer.md").read_text().startswith("# Plan")
    assert (out / "corporate-holiday-party.ics").read_bytes().startswith(b"BEGIN:VCALENDAR\r\n")


def test_file_names_cannot_leave_the_folder(tmp_path: Path) -> None:
    from asterism.apps.cli.output import write_files

    names = ["../../evil", "/etc/passwd", "..", ".hidden", "a b/c:d.txt", ""]
    files = [{"name": name, "media_type": "text/plain", "text": "x"} for name in names]
    written = write_files({"messages": [], "reports": [{"files": files}]}, tmp_path / "out")
    assert all(path.parent == tmp_path / "out" for path in written)
    assert all(re.fullmatch(r"[\w-][\w.-]*", path.name) for path in written)


def test_a_question_without_a_terminal_is_exit_code_3_and_is_answered_later(db: str) -> None:
    asked = cli("run", "event_planning", "Plan a party", "--db", db, "--thread", "t")
    assert asked.exit_code == 3
    needed = "To go on I need the city, the head count and the date"
    assert asked.stdout.startswith(f"supervisor asks: {needed}")
    assert "asterism resume t" in asked.stderr

    empty = cli("resume", "t", " ", "--db", db)
    assert (empty.exit_code, "is empty" in empty.stderr) == (1, True)
    waiting = cli("resume", "t", "--db", db)
    assert (waiting.exit_code, "waits for an answer" in waiting.stderr) == (3, True)
    unknown = cli("resume", "t", "x", "--id", "f" * 32, "--db", db)
    assert (unknown.exit_code, "No open request" in unknown.stderr) == (1, True)

    asked = cli("run", "event_planning", "Plan a party", "--db", db, "--thread", "u", "--json")
    assert asked.exit_code == 3
    found = json.loads(asked.stdout)
    assert (found["status"], found["answer"]) == ("waiting", None)
    (question,) = found["questions"]
    assert question["prompt"].startswith(needed)
    chosen = ["--id", question["id"], "--db", db]
    answered = cli("resume", "u", "Denver, 40 people, May 5th", *chosen)
    assert answered.exit_code == 0
    assert "## Logistics" in answered.stdout
    done = cli("resume", "u", "--db", db)
    assert (done.exit_code, "nothing unfinished" in done.stderr) == (1, True)


def test_several_questions_are_printed_each_with_the_command_that_answers_it(db: str) -> None:
    asking = ["run", f"{MODELS}:asking", "Prepare it", "--thread", "t", "--db", db]
    asked = cli(*asking)
    assert asked.exit_code == 3
    assert sorted(asked.stdout.splitlines()) == ["hall asks: Which?", "menu asks: Which?"]
    commands = re.findall(r"Answer with: asterism (.*) 'your answer' (--graph .*)", asked.stderr)
    assert len(commands) == 2
    for command, options in commands:
        answered = cli(*command.split(), "blue", *options.split(), "--db", db)
    assert answered.exit_code == 0, answered.stderr


def commands_of(command: Any, path: str = "asterism") -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands_of(inner, f"{path} {name}")


COMMANDS = dict(commands_of(get_command(app)))


@pytest.mark.parametrize("path", COMMANDS)
def test_every_argument_and_option_is_explained_and_every_command_has_an_example(path: str) -> None:
    command = COMMANDS[path]
    first, *more = (command.help or "").split("\n\n")
    assert re.fullmatch(r"[A-Z][a-z]+,? [^\n]{10,90}\.", first), first
    examples = [text for text in more if re.match(rf"Example: {path}( |$)", text.strip())]
    assert len(examples) == 1, more
    for parameter in command.params:
        explained = str(parameter.help or "")
        assert re.fullmatch(r"[A-Z][^\n]{8,}\.", explained), (parameter.name, explained)


@pytest.mark.parametrize("path", COMMANDS)
def test_the_example_of_a_command_names_arguments_and_options_that_exist(path: str) -> None:
    """Parse the example only: nothing runs."""
    example = re.search(r"Example: asterism ?(.*)", COMMANDS[path].help)
    assert example
    name, *arguments = shlex.split(example[1]) or [""]
    command = COMMANDS[f"asterism {name}"] if name else COMMANDS[path]
    command.make_context(name, arguments)


def test_a_thread_goes_on_with_the_next_request(db: str) -> None:
    cli("run", "event_planning", PARTY, "--db", db, "--thread", "t")
    result = cli("run", "event_planning", "Which venues are there?", "--db", db, "--thread", "t")
    assert result.exit_code == 0
    assert "Venue: The Copper Loft" in result.stdout  # it remembers place, date and head count


def test_threads_and_show(db: str) -> None:
    cli("run", "event_planning", PARTY, "--db", db, "--thread", "one")
    cli("run", "event_planning", "Plan a party", "--db", db, "--thread", "two")
    rows = json.loads(cli("threads", "--db", db, "--json").stdout)
    assert [(row["thread"], row["graph"], row["status"]) for row in rows] == [
        ("two", "event_planning", "waiting"),
        ("one", "event_planning", "completed"),
    ]
    assert "two" in cli("threads", "--db", db).stdout
    assert len(json.loads(cli("threads", "--db", db, "--json", "--limit", "1").stdout)) == 1
    shown = cli("show", "one", "--db", db).stdout
    assert shown.startswith(f"you: {PARTY}\n\nsupervisor: → venue: ")
    assert json.loads(cli("show", "one", "--db", db, "--json").stdout)["graph"] == "event_planning"
    assert cli("show", "three", "--db", db).exit_code == 1


@pytest.mark.parametrize("command", ["--help", "--version", "list"])
def test_what_needs_no_engine_loads_none(command: str) -> None:
    code = f"""import sys
from asterism.apps.cli.app import app
app([{command!r}], standalone_mode=False)
print(*sorted(sys.modules), file=sys.stderr)"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    loaded = {name for name in done.stderr.split() if name.startswith(("langgraph", "langchain"))}
    assert loaded == set()


def test_list_and_graph() -> None:
    assert "event_planning" in cli("list").stdout
    assert json.loads(cli("list", "--json").stdout)["event_planning"].startswith("Plans an event")
    drawing = cli("graph", "event_planning").stdout
    assert "supervisor -.-> venue;" in drawing and "venue --> supervisor;" in drawing
    assert "subgraph venue" in cli("graph", "event_planning", "--xray").stdout
    assert "| supervisor |" in cli("graph", "event_planning", "--ascii").stdout


def test_a_graph_in_characters_needs_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langchain_core.runnables.graph_ascii._HAS_GRANDALF", False)
    result = cli("graph", "event_planning", "--ascii")
    assert result.exit_code == 1
    assert "pip install 'asterism-agents[pictures]'" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["run", "nothing", "x"], "There is no graph 'nothing'", id="unknown graph"),
        pytest.param(["run", "no.such:thing", "x"], "cannot be opened", id="unknown module"),
        pytest.param(["run", "tests.teams:nothing", "x"], "cannot be opened", id="no attribute"),
        pytest.param(
            ["run", "tests.asterism.apps.cli.slow_team:not_a_graph", "x"],
            "is a int",
            id="not a graph",
        ),
        pytest.param(["run", "event_planning", " "], "no message of the user", id="no request"),
        pytest.param(
            ["run", "event_planning", "x", "--model", "nonsense"],
            "The model 'nonsense' cannot be used",
            id="unknown model",
        ),
        pytest.param(
            ["run", "event_planning", "x", "--model", "openai:gpt-5-mini"],
            "The model 'openai:gpt-5-mini' cannot be used",
            id="no key",
        ),
        pytest.param(
            ["run", "event_planning", "x", "--model", "gpt5"],
            "Did you mean 'openai:gpt-5'?",
            id="a misspelt model",
        ),
        pytest.param(
            ["run", f"{MODELS}:compiled", "x", "--model", "ollama:qwen3"],
            "this graph brings its own model (offline)",
            id="a compiled graph",
        ),
        pytest.param(
            ["run", f"{MODELS}:builder", "x", "--model", "anthropic:claude-haiku-4-5"],
            "it has no key. Set ANTHROPIC_API_KEY",
            id="a builder without a key",
        ),
        pytest.param(
            ["run", f"{MODELS}:make", "x", "--model", "mistralai:x"],
            "pip install langchain-mistralai",
            id="a function without a package",
        ),
        pytest.param(
            ["ui", "--graph", f"{MODELS}:compiled", "--model", "ollama:qwen3"],
            "this graph brings its own model (offline)",
            id="a compiled graph on the page",
        ),
        pytest.param(
            ["run", "event_planning", "x", "--db", "mysql://x"], "allowed: sqlite", id="database"
        ),
    ],
)
def test_a_fault_is_one_clear_sentence(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch, db: str
) -> None:
    for provider in ("OPENAI", "ANTHROPIC"):
        monkeypatch.delenv(f"{provider}_API_KEY", raising=False)
    monkeypatch.chdir(ROOT)
    if "--db" not in arguments and arguments[0] == "run":
        arguments = [*arguments, "--db", db]
    result = cli(*arguments)
    assert result.exit_code == 1
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("graph", "chosen", "expected"),
    [
        ("builder", None, "Offline model: fixed rules"),
        ("compiled", None, "Offline model: fixed rules"),
        ("compiled", "offline", "Offline model: fixed rules"),
        ("make", None, "Offline model: fixed rules"),
        ("builder", "openai:gpt-5-mini", "Model: openai:gpt-5-mini.\n"),
        ("make", "openai:gpt-5-mini", "Model: openai:gpt-5-mini.\n"),
        ("paid", None, "Model: openai:gpt-5-mini.\n"),
        ("paid", "offline", "Offline model: fixed rules"),
        ("mixed", None, "Models: offline (fixed rules), openai:gpt-5-mini.\n"),
    ],
)
@pytest.mark.parametrize("by_variable", [False, True])
def test_what_is_printed_is_the_model_that_is_called(
    llmock: LLMock,
    db: str,
    monkeypatch: pytest.MonkeyPatch,
    graph: str,
    chosen: str | None,
    expected: str,
    by_variable: bool,
) -> None:
    monkeypatch.chdir(ROOT)
    llmock.call_tool("SupervisorDecision", {"next_agent": None})
    llmock.reply("Done.")
    options = [] if chosen is None else ["--model", chosen]
    if by_variable and chosen is not None:
        monkeypatch.setenv("ASTERISM_MODEL", chosen)
        options = []
    result = asterism("run", f"{MODELS}:{graph}", "What does a pen cost?", "--db", db, *options)
    assert result.stderr.startswith(expected)
    paid = "openai" in expected and "offline" not in expected
    assert (len(llmock.requests) > 0) == paid
    assert ("no key needed" in result.stderr) == ("openai" not in expected)


def test_a_thread_goes_on_with_the_model_that_was_chosen_for_it(llmock: LLMock, db: str) -> None:
    first = ["run", f"{MODELS}:builder", "What does a pen cost?", "--db", db, "--thread", "t"]
    llmock.fail(401, message="No", times=1)
    assert asterism(*first, "--model", "openai:gpt-5-mini").returncode == 1
    llmock.call_tool("SupervisorDecision", {"next_agent": None})
    llmock.reply("Done.")
    again = asterism("resume", "t", "--db", db, "--graph", f"{MODELS}:builder")
    assert (again.stdout, "Model: openai:gpt-5-mini." in again.stderr) == ("Done.\n", True)


def test_a_failure_looks_like_one(db: str) -> None:
    graphs = [f"{MODELS}:{name}" for name in ("broken", "half")]
    all_failed = asterism("run", graphs[0], "Prepare it", "--db", db, "--thread", "b")
    assert (all_failed.returncode, "failed: nobody could do it" in all_failed.stderr) == (1, True)
    some = asterism("run", graphs[1], "Prepare it", "--db", db)
    assert (some.returncode, "not all could do their part" in some.stderr) == (0, True)
    found = json.loads(asterism("trace", "b", "--json", "--db", db).stdout)
    (visit,) = found["requests"][0]["rounds"][0]["visits"]
    assert visit["traceback"].startswith("Traceback") and "hunter2" not in visit["traceback"]
    drawn = asterism("trace", "b", "--tools", "--db", db).stdout
    assert "in _breaks" in drawn and "hunter2" not in drawn


@pytest.mark.parametrize("way", ["option", "variable"])
def test_debug_shows_the_traceback(db: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "variable":
        monkeypatch.setenv("ASTERISM_DEBUG", "1")
    options = ["--debug"] if way == "option" else []
    shown = asterism("run", f"{MODELS}:broken", "Prepare it", "--db", db, *options)
    assert shown.returncode != 0
    assert "_breaks" in shown.stderr and "RuntimeError: no connection" in shown.stderr


def test_a_bad_key_is_one_sentence_and_nothing_is_lost(llmock: LLMock, db: str) -> None:
    llmock.fail(401, message="Incorrect API key provided", times=1)
    model = ["--model", "openai:gpt-5-mini"]
    failed = asterism("run", "event_planning", PARTY, "--thread", "t", "--db", db, *model)
    assert failed.returncode == 1
    assert "Incorrect API key provided" in failed.stderr
    assert "go on with: asterism resume t" in failed.stderr
    llmock.call_tool("SupervisorDecision", {"next_agent": None})
    llmock.reply("Done.")
    assert asterism("resume", "t", "--db", db).stdout == "Done.\n"


@pytest.mark.parametrize("command", ["run", "resume", "supervise", "ui"])
def test_a_way_to_decide_that_does_not_exist_is_refused(command: str) -> None:
    arguments = {"run": ["toy_example", "Hello"], "resume": ["t"], "supervise": ["f"], "ui": []}
    refused = cli(command, *arguments[command], "--decisions", "xml")
    assert refused.exit_code == 2
    assert all(word in refused.stderr for word in ("xml", "tool", "json_schema", "json"))


def test_models_are_asked_to_decide_as_the_option_says(llmock: LLMock, db: str) -> None:
    llmock.reply('{"next_agent": null}')
    llmock.reply("Done.")
    model = ["--model", "openai:gpt-5-mini", "--decisions", "json_schema"]
    assert asterism("run", "event_planning", PARTY, "--db", db, *model).stdout == "Done.\n"
    body = llmock.requests[0].body
    assert body["response_format"]["type"] == "json_schema" and "tools" not in body


def test_the_database_is_a_file_of_the_user() -> None:
    assert open_database(None).endswith("asterism/threads.db")
    assert open_database(":memory:") == "memory:"
    assert open_database("postgresql://x/y") == "postgresql://x/y"
    assert open_database("a.db") == f"sqlite:///{Path('a.db').absolute()}"


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_at_a_step_and_the_run_goes_on(
    number: signal.Signals, tmp_path: Path, db: str
) -> None:
    log = tmp_path / "log"
    log.touch()
    graph = "tests.asterism.apps.cli.slow_team:builder"
    noted = {"ASTERISM_TEST_LOG": str(log)}
    begin = ["run", graph, "go", "--db", db, "--thread", "t"]
    running = Process(CLI, *begin, environment=noted)
    deadline = time.monotonic() + 60
    while not log.read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(number)
    stdout, stderr = running.communicate(timeout=60)
    assert running.returncode == 130, stderr
    assert "Stopping after this step" in stderr
    assert f"Stopped. Go on with: asterism resume t --graph {graph}" in stderr
    assert stdout == ""
    refused = asterism("resume", "t", "--db", db, **noted)
    assert (refused.returncode, "asterism resume t --graph" in refused.stderr) == (1, True)
    done = asterism("resume", "t", "--db", db, "--graph", graph, **noted)
    assert (done.returncode, done.stdout) == (0, "visit 6\n"), done.stderr
    assert log.read_text() == "x" * 6


def test_questions_are_asked_in_a_terminal(db: str) -> None:
    pty = pytest.importorskip("pty")
    parent, child = pty.openpty()
    terminal = os.ttyname(child)
    running = Process(CLI, "run", "event_planning", "Plan a party", "--db", db, terminal=terminal)
    screen = b""
    while b"What are they?" not in screen:
        screen += os.read(parent, 4096)
    os.write(parent, b"\nBoston, 30 people, May 5th\n")
    assert running.wait() == 0
    os.close(child)
    os.close(parent)
    assert ", Boston" in running.out.read_text()


def test_research_over_the_files_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.md").write_text("The garden hall costs 900 euros.\n")
    monkeypatch.setenv("ASTERISM_SOURCES", str(tmp_path))
    result = cli("run", "research", "What does the garden hall cost?", "--db", ":memory:")
    assert "The garden hall costs 900 euros. [notes.md:1]" in result.stdout
    assert "○ reader_1: Find out what this source says" in result.stderr
    assert "✓ reader_1: From notes.md:" in result.stderr


def test_arguments_that_are_no_text_are_cleaned_or_refused(db: str) -> None:
    half = os.fsdecode(b"a\xffb")
    command = [sys.executable, "-m", "asterism", "run", "event_planning", f"Plan {half}"]
    begun = subprocess.run([*command, "--db", db, "--thread", "t"], capture_output=True, timeout=60)
    assert begun.returncode == 3
    answered = asterism("resume", "t", f"Denver, May 5th, 40 people. {half}", "--db", db)
    assert answered.returncode == 0
    assert "40 people. a?b" in asterism("show", "t", "--db", db).stdout
    for arguments in (["resume", half], ["show", half], ["trace", half]):
        refused = asterism(*arguments, "--db", db)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr.startswith(r"The thread id is 'a\udcffb'.")


def test_the_ways_out_of_bad_decisions_exist_on_the_command_line(llmock: LLMock, db: str) -> None:
    for _ in range(9):
        llmock.reply("I would rather talk about the weather.")
    request = ("run", "event_planning", "A party", "--thread", "talk", "--db", db)
    # in a process of its own: clients of OpenAI are kept, with the loops of earlier tests
    result = asterism(*request, "--model", "openai:gpt-5-mini")
    said = " ".join(result.stderr.split())
    assert result.returncode == 1
    assert "the builder" not in said
    for way in ("--decisions", "ASTERISM_DECISIONS", "another --model", "asterism trace"):
        assert way in said
    drawn = cli("trace", "talk", "--db", db, "--tools").stdout
    assert "gives no valid decision" in drawn and "talk about the weather" in drawn


def test_run_sends_files(db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "office.py").write_text(
        "from asterism import SupervisorWorkflowBuilder\n"
        "def reader(messages):\n"
        "    'Reads.'\n"
        "    return str(messages[-1].content)\n"
        "office = (SupervisorWorkflowBuilder('Office', finish='forward')\n"
        "    .participants(reader=reader).with_strategy('sequential'))\n"
    )
    (tmp_path / "cat.png").write_bytes(b"png")
    (tmp_path / "notes.txt").write_text("a note")
    (tmp_path / "terms.pdf").write_bytes(b"%PDF")
    names = ["cat.png", "notes.txt", "terms.pdf", "https://example.com/dog.jpg"]
    files = [part for name in names for part in ("--file", name)]
    done = CliRunner().invoke(app, ["run", "./office.py:office", "Read", *files, "--db", db])
    assert done.exit_code == 0, done.output
    assert "'image', 'mime_type': 'image/png', 'base64': 'cG5n'" in done.stdout
    assert "notes.txt:" in done.stdout and "a note" in done.stdout
    assert "'application/pdf'" in done.stdout and "'filename': 'terms.pdf'" in done.stdout
    assert "'image/jpeg', 'url': 'https://example.com/dog.jpg'" in done.stdout


def test_run_names_a_file_that_is_not_there(db: str) -> None:
    command = ["run", "event_planning", "Read", "--file", "no.png", "--db", db]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1
    assert "The file no.png cannot be read" in done.stderr
