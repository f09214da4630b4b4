"""Usage as OpenAI's two APIs tell it over HTTP: cached tokens are counted, and cost less."""

import json
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from asterism import Participant, SupervisorWorkflowBuilder, Usage, lines_of
from tests.asterism.observability.telemetry.serving import Silent, serving

MODEL = "gpt-5-mini"
TEXT = {"type": "output_text", "text": "Hello", "annotations": []}
SPOKEN = {"type": "message", "id": "m1", "role": "assistant", "status": "completed"}


def completion(cached: int) -> dict[str, Any]:
    usage = {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105}
    message = {"role": "assistant", "content": "Hello"}
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {**usage, "prompt_tokens_details": {"cached_tokens": cached}},
    }


def response(cached: int) -> dict[str, Any]:
    usage = {"input_tokens": 100, "output_tokens": 5, "total_tokens": 105}
    details = {"cached_tokens": cached, "cache_write_tokens": 0}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": MODEL,
        "status": "completed",
        "output": [{**SPOKEN, "content": [TEXT]}],
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            **usage,
            "input_tokens_details": details,
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    }


def spend(*, responses: bool, cached: int) -> Usage:
    """What one call of a participant's model takes."""
    paths: list[str] = []

    class Answer(Silent, BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            paths.append(self.path)
            body = json.dumps(response(cached) if responses else completion(cached)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serving(Answer) as url:
        key = SecretStr("no key")
        model = ChatOpenAI(
            model=MODEL, base_url=f"{url}/v1", api_key=key, use_responses_api=responses
        )
        worker = Participant(model=model, prompt="You greet.", description="Greets.")
        builder = SupervisorWorkflowBuilder("Test", finish="forward").with_strategy("sequential")
        result = builder.participants(worker=worker).build().invoke({"messages": "Hello"})
    assert result["messages"][-1].text == "Hello"
    assert paths == ["/v1/responses" if responses else "/v1/chat/completions"]
    return Usage.of(lines_of(result))


@pytest.mark.parametrize("responses", [False, True], ids=["chat completions", "responses"])
def test_cached_tokens_are_counted_and_cost_less(responses: bool) -> None:
    part, none = (spend(responses=responses, cached=cached) for cached in (64, 0))
    assert (part.input_tokens, part.cached_input_tokens, part.output_tokens) == (100, 64, 5)
    assert (none.input_tokens, none.cached_input_tokens, none.output_tokens) == (100, 0, 5)
    assert part.estimated_tokens == 0
    assert 0 < part.cost_usd < none.cost_usd
