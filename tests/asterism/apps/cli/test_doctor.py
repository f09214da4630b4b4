"""`asterism doctor`: what a model and its server are able to do."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from llmock.pytest_plugin import LLMock
from typer.testing import CliRunner, Result

from asterism.apps.cli.app import app
from asterism.apps.cli.doctor import examine
from asterism.testing import ScriptedReply
from tests.nodes.test_structured_output import RefusesAtServer

DECISION = {"next_agent": "clerk"}
BOOKING = {"city": "Rome", "people": 2}
PRICE = ScriptedReply(tool_calls=[("price", {"item": "pen"})])
TOOL, SCHEMA, TEXT, CALL, STREAM, FILL = (
    "decide by a forced tool",
    "decide by a JSON schema",
    "decide in JSON text",
    "call a tool",
    "count a stream's tokens",
    "fill in an object",
)


def doctor(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["doctor", *arguments])


def works(found: Any) -> set[str]:
    return {check["name"] for check in found["checks"] if check["works"]}


def of_server(*arguments: str) -> tuple[Any, int]:
    result = doctor("--model", "openai:gpt-4.1-mini", "--json", *arguments)
    return json.loads(result.stdout), result.exit_code


def test_a_server_that_can_do_all(llmock: LLMock) -> None:
    llmock.call_tool("SupervisorDecision", DECISION)
    llmock.reply(json.dumps(DECISION)).reply(json.dumps(DECISION))
    llmock.call_tool("price", {"item": "pen"})
    llmock.reply("Hello.")
    llmock.call_tool("Booking", BOOKING)
    found, code = of_server()
    assert (works(found), code) == ({TOOL, SCHEMA, TEXT, CALL, STREAM, FILL}, 0)
    assert (found["decisions"], found["settings"]) == ("tool", [])
    bodies = [record.body for record in llmock.requests]
    assert bodies[4]["stream_options"] == {"include_usage": True}
    assert [body.get("stream", False) for body in bodies] == [False] * 4 + [True, False]
    assert bodies[1]["response_format"]["type"] == "json_schema"


def test_what_does_not_work_is_told_in_one_line_without_secrets(llmock: LLMock) -> None:
    key = "sk-proj-abcdefghijklmnopqrstuvwx"
    llmock.fail(401, message=f"Incorrect API key\nprovided: {key}", times=None)
    result = doctor("--model", "openai:gpt-4.1-mini")
    assert result.exit_code == 1
    assert "Incorrect API key provided" in " ".join(result.stdout.split())
    assert key not in result.stdout
    assert "No way to decide works" in result.stdout
    found, code = of_server()
    assert (works(found), code, found["decisions"]) == (set(), 1, None)
    assert all("\n" not in check["error"] for check in found["checks"])


@contextmanager
def serving(answers: dict[str, str]) -> Iterator[str]:
    """A server that drops tools without a word, as llama.cpp does with some chat templates."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None: ...

        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["content-length"])))
            text = answers["schema" if "response_format" in sent else "plain"]
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "finish_reason": "stop"}
            reply: dict[str, Any] = {"id": "1", "created": 1, "model": sent["model"]}
            if not sent.get("stream"):
                reply |= {"object": "chat.completion", "choices": [{**choice, "message": message}]}
                return self.send("application/json", json.dumps(reply))
            reply |= {"object": "chat.completion.chunk", "choices": [{**choice, "delta": message}]}
            return self.send("text/event-stream", f"data: {json.dumps(reply)}\n\ndata: [DONE]\n\n")

        def send(self, kind: str, body: str) -> None:
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()


BOTH = json.dumps({**DECISION, **BOOKING})


@pytest.mark.parametrize(
    ("answers", "decisions", "passed"),
    [
        pytest.param(
            {"schema": BOTH, "plain": "I would ask the clerk."},
            "json_schema",
            {SCHEMA, FILL},
            id="schemas are enforced",
        ),
        pytest.param(
            {"schema": "I would ask the clerk.", "plain": BOTH},
            "json",
            {TEXT, FILL},
            id="nothing is enforced",
        ),
        pytest.param({"schema": "Hm.", "plain": "Hm."}, None, set[str](), id="nothing works"),
    ],
)
def test_a_server_that_ignores_tools(
    answers: Any, decisions: str | None, passed: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with serving(answers) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        found, code = of_server()
    assert (found["decisions"], works(found), code) == (decisions, passed, decisions is None)
    said = {check["name"]: check["error"] for check in found["checks"]}
    assert "no tool was called; the answer was" in said[TOOL]
    assert f"--decisions {decisions}" in found["settings"][0] or decisions is None
    assert any("get no tools" in setting for setting in found["settings"])
    assert any("streams are estimated" in setting for setting in found["settings"])


def test_the_offline_model() -> None:
    result = doctor()
    assert result.exit_code == 0
    assert result.stdout.startswith("offline\n")
    assert "Nothing has to be set." in result.stdout


def test_a_model_that_refuses_a_tool_choice() -> None:
    model = RefusesAtServer(script=[DECISION, PRICE, "Hello.", BOOKING])
    found = examine(model)
    model.assert_finished()
    assert found.decisions == "json"
    assert "does not support this tool_choice" in str(found.checks[0].error)
    assert [check.works for check in found.checks] == [False, False, True, True, True, True]
    assert found.settings == ["decisions='json'; on the command line: --decisions json"]


def test_a_model_that_does_not_exist_is_one_sentence() -> None:
    result = doctor("--model", "nobody:nothing")
    assert result.exit_code == 1
    assert "'nobody:nothing' cannot be used" in result.stderr
