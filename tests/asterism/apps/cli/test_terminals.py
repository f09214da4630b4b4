"""What others say steers no terminal, and no schema or file of theirs stops the process."""

import contextlib
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from asterism import Participant, SupervisorWorkflowBuilder, open_checkpointer
from asterism.apps.cli.app import app
from asterism.core.config_files import read_values
from asterism.core.interrupts import PendingRequest, answer_command
from asterism.core.messages import clean_text
from asterism.core.values import printable_json, printable_text, without_controls
from asterism.errors import AnswerError, ConfigurationError, StorageError
from asterism.nodes.remote.contract import ServiceQuestion
from asterism.storage.retention import export_thread, import_thread
from asterism.supervision.children_file import read_children
from tests.processes import CLI, Process
from tests.teams import follow

STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
OWN = re.compile("\x1b\\[[0-9;?]*[mhlKAJG]|\r")
"""What the command line itself writes to a terminal: colours, and the moves of its board."""
HOSTILE = "A\x1b]52;c;cm0=\x07B\x1b]0;T\x07C\x1b[2JD\x9b2JE\x7f\x08F\x1bcG\x90q\x9cH\u202eI\x1b]8;;http://x\x1b\\"
texts = st.text(
    st.sampled_from("a;0]P[\\m\n\t\r\x00\x07\x1b\x7f\x90\x9b\x9c\x9d\u202e"), max_size=40
)


def hostile(model: Any) -> SupervisorWorkflowBuilder:
    """A team whose participant says what steers terminals, and asks so."""
    from langgraph.types import interrupt

    def work(messages: Any) -> str:
        if "ask" in messages[-1].text:
            interrupt({"prompt": HOSTILE + " [link=http://x]y[/link]"})
        if "fail" in messages[-1].text:
            raise RuntimeError(HOSTILE)
        return HOSTILE + " [a](http://x&#27;[2J) &#27;[2J &#x9b;2J"

    return (
        SupervisorWorkflowBuilder("Team", finish="forward")
        .participants(clerk=Participant(runs=work, description="Works."))
        .with_manager(follow(["clerk"]))
    )


GRAPH = f"{__name__}:hostile"


@given(texts)
def test_no_control_is_left(text: str) -> None:
    assert not STEERING.search(printable_text(text))
    cleaned = clean_text(text)
    assert not STEERING.search(re.sub("[\r\u202e]", "", cleaned))
    assert clean_text(cleaned) == cleaned
    assert json.loads(printable_json(json.dumps(text, ensure_ascii=False))) == text
    assert not STEERING.search(printable_json(json.dumps(text, ensure_ascii=False)))


def test_sequences_go_whole_and_what_is_harmless_stays() -> None:
    assert without_controls("a\x1b[31mred\x1b[0m\x1b]0;title\x07b\tc\r\nd") == "aredb\tc\r\nd"
    assert printable_text("a\r\nb\rc 👩‍👧 \u05d0") == "a\nbc 👩‍👧 \u05d0"
    assert without_controls("\x1b]0;never ended") == "]0;never ended"


def test_a_long_text_of_beginnings_takes_no_time() -> None:
    for part in ("\x90", "\x1b]", "\x1b[0", "\x9b0;"):
        began = time.process_time()
        without_controls(part * 100_000)
        assert time.process_time() - began < 5


def cli(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_no_command_lets_a_text_steer_the_terminal(tmp_path: Path) -> None:
    db = ["--db", str(tmp_path / "threads.db")]
    named = ["--graph", GRAPH]
    (tmp_path / "a.json").write_text(
        json.dumps([{"name": "a", "graph": GRAPH, "task": f"fail {HOSTILE}", "thread": "c"}])
    )
    commands = (
        ["run", GRAPH, f"Go {HOSTILE}", "--thread", "t", *db],
        ["run", GRAPH, "Go", "--thread", "j", "--json", *db],
        ["run", GRAPH, "ask", "--thread", "q", *db],
        ["run", GRAPH, "fail", "--thread", "f", *db],
        ["supervise", str(tmp_path / "a.json"), *db],
        ["threads", *db],
        ["threads", "--json", *db],
        *([command, thread, *db] for thread in "tqf" for command in ("show", "trace", "export")),
        ["resume", "q", f"yes {HOSTILE}", *named, *db],
        ["resume", HOSTILE, *db],
        ["resume", "t", "--graph", HOSTILE, *db],
    )
    for command in commands:
        done = cli(*command)
        assert not STEERING.search(done.stdout), command
        assert not STEERING.search(done.stderr), command


@pytest.mark.parametrize("request_", ["Go", "ask", "fail"])
def test_a_terminal_is_steered_by_the_command_line_alone(tmp_path: Path, request_: str) -> None:
    pty = pytest.importorskip("pty")
    parent, child = pty.openpty()
    terminal = os.ttyname(child)
    running = Process(
        "import sys\nsys.stdout = open(sys.argv.pop(1), 'w', buffering=1)\n" + CLI,
        *(terminal, "run", GRAPH, request_, "--db", str(tmp_path / "t.db")),
        terminal=terminal,
    )
    screen = b""
    os.set_blocking(parent, False)
    deadline = time.monotonic() + 60
    while running.poll() is None and time.monotonic() < deadline:
        try:
            screen += os.read(parent, 65536)
        except BlockingIOError:
            time.sleep(0.02)
        if b"clerk asks" in screen and b"\x01" not in screen:
            os.write(parent, b"yes\n")
            screen += b"\x01"
    with contextlib.suppress(BlockingIOError):
        screen += os.read(parent, 65536)
    os.close(child)
    os.close(parent)
    shown = OWN.sub("", screen.replace(b"\x01", b"").decode())
    assert not STEERING.search(shown), shown


# ---- schemas, files, threads that are made to stop the process


def request(schema: dict[str, Any]) -> PendingRequest:
    return PendingRequest(
        id="a" * 32,
        participant="p",
        path="p",
        request_type="question",
        prompt="Which?",
        schema=schema,
        value={"prompt": "Which?"},
    )


def test_a_schema_of_a_service_has_no_patterns() -> None:
    hostile_pattern = "^(a+)+$"
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "pattern": hostile_pattern,
        "patternProperties": {hostile_pattern: {"type": "string"}},
        "additionalProperties": False,
        "properties": {"pattern": {"type": "string", "pattern": hostile_pattern}},
        "allOf": [{"$schema": "http://json-schema.org/draft-07/schema#", "pattern": "x"}],
        "enum": [{"pattern": "kept"}],
    }
    question = ServiceQuestion(id="q", prompt="Which?", response_schema=schema)
    assert question.response_schema == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"pattern": {"type": "string"}},
        "allOf": [{}],
        "enum": [{"pattern": "kept"}],
    }
    question = ServiceQuestion(
        id="q", prompt="?", response_schema={"type": "string", "pattern": hostile_pattern}
    )
    given = answer_command([request(question.response_schema or {})], "a" * 60 + "!")
    assert given.resume == {"a" * 32: "a" * 60 + "!"}


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({"$ref": "#"}, id="itself"),
        pytest.param(
            {
                "$ref": "#/$defs/d0",
                "$defs": {
                    **{f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)},
                    "d40": {},
                },
            },
            id="doubling",
        ),
    ],
)
def test_a_schema_without_an_end_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(AnswerError, match="cannot be checked"):
        answer_command([request(schema)], "blue")


BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, 30)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(BOMB, "more than 100000 values", id="aliases"),
        pytest.param("a: &a [*a]", "stands for itself", id="circle"),
        pytest.param("[" * 5_000 + "]" * 5_000, "nested too deep", id="depth"),
    ],
)
def test_a_bomb_of_yaml_is_one_short_error(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    for read in (read_values, read_children):
        with pytest.raises(ConfigurationError, match=said) as refused:
            read(path)
        assert len(str(refused.value)) < 500


def test_a_thread_that_is_nested_too_deep_is_refused(tmp_path: Path) -> None:
    with open_checkpointer(f"sqlite:///{tmp_path}/t.db") as saver:
        workflow = hostile("offline").build(checkpointer=saver)
        config: Any = {"configurable": {"thread_id": "t"}}
        workflow.invoke({"messages": [("user", "Go")]}, config)
        data = export_thread(saver, "t")
        deep: Any = "x"
        for _ in range(5_000):
            deep = [deep]
        for place in ("metadata", "checkpoint"):
            data["checkpoints"][0][place]["graph"] = deep
            with pytest.raises(StorageError, match=r"nested too deep|not an exported thread"):
                import_thread(saver, data, thread_id="other")
            del data["checkpoints"][0][place]["graph"]
