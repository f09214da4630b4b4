"""What providers are sent: the bodies that their own clients write, as reviewed snapshots.

One run for each provider: a decision, a visit with a tool, a decision that ends, a structured
finish. The way to write a snapshot anew: delete it, run this test, and read what has changed.
"""

import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import pytest
from langchain_openai import ChatOpenAI
from llmock.pytest_plugin import LLMock
from pydantic import BaseModel, Field

from asterism import Participant, SupervisorWorkflowBuilder

FOLDER = Path(__file__).parents[1] / "data" / "wire"
STEPS = ("decision", "visit", "visit after the tool", "last decision", "structured finish")
NAMES = ["trains", "hotels"]
TRIP: dict[str, Any] = {"city": "Rome", "travellers": 2}
SCRIPT: Sequence[tuple[str, Mapping[str, Any]] | str] = (
    ("SupervisorDecision", {"next_agent": "trains", "instruction": "Price two tickets to Rome."}),
    ("ticket_price", TRIP),
    "The tickets cost $240.",
    ("SupervisorDecision", {"next_agent": None}),
    ("Trip", TRIP),
)


class Trip(BaseModel):
    """The trip that was asked for."""

    city: str
    travellers: int = Field(description="How many people travel.")


def ticket_price(city: str, travellers: int) -> str:
    """Tell what train tickets to a city cost."""
    return f"${120 * travellers}"


def send_all(model: Any) -> None:
    """Run the scenario: everybody works on one model."""
    team = SupervisorWorkflowBuilder("Trip", model=model, finish=Trip).participants(
        trains=Participant(
            tools=[ticket_price], prompt="You price tickets.", description="Prices train tickets."
        ),
        hotels=Participant(prompt="You find hotels.", description="Finds hotels."),
    )
    result = team.build().invoke({"messages": [("user", "Two train tickets to Rome")]})
    assert (result["status"], result["structured_response"]) == ("completed", Trip(**TRIP))


def script(llmock: LLMock, *, forced: bool = True) -> None:
    """Let the mock say the script: by tools, or by JSON text where a schema is enforced."""
    for reply in SCRIPT:
        if isinstance(reply, str):
            llmock.reply(reply)
        elif not forced and reply[0] != "ticket_price":
            llmock.reply(json.dumps(reply[1]))
        else:
            llmock.call_tool(reply[0], dict(reply[1]))


def chat(llmock: LLMock) -> Any:
    return ChatOpenAI(model="gpt-4.1-mini")


def responses(llmock: LLMock) -> Any:
    return ChatOpenAI(model="gpt-4.1-mini", use_responses_api=True)


def anthropic(model: str) -> Any:
    from langchain_anthropic import ChatAnthropic

    return ChatAnthropic(model_name=model, timeout=60, stop=None)


def gemini(llmock: LLMock) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of the version of grpc, when it is loaded
        from langchain_google_genai import ChatGoogleGenerativeAI

        own = {"api_version": "v1beta"} if is_new_gemini() else {"transport": "rest"}
        options: dict[str, Any] = {"base_url": llmock.base_url("gemini"), **own}
        return ChatGoogleGenerativeAI(model="gemini-2.5-flash", **options)


def is_new_gemini() -> bool:
    """Whether the client is one of version 4, which sends other bodies than the one before."""
    return int(version("langchain-google-genai").split(".")[0]) >= 4


PROVIDERS: dict[str, Callable[[LLMock], Any]] = {
    "openai-other-host": chat,
    "openai-responses": responses,
    "anthropic": lambda _: anthropic("claude-haiku-4-5"),
    "anthropic-schemas": lambda _: anthropic("claude-sonnet-5-5"),  # knows no forced tool
    "gemini": gemini,
}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_a_provider_is_sent(provider: str, llmock: LLMock) -> None:
    for reply in SCRIPT:
        llmock.reply(reply) if isinstance(reply, str) else llmock.call_tool(
            reply[0], dict(reply[1])
        )
    send_all(PROVIDERS[provider](llmock))
    name = "gemini-4" if provider == "gemini" and is_new_gemini() else provider
    compare(name, [record.body for record in llmock.requests])


def test_what_openai_is_sent_at_its_own_host(
    llmock: LLMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = httpx2.URL(llmock.url)
    monkeypatch.delenv("OPENAI_BASE_URL")

    def redirect(request: httpx2.Request) -> None:
        assert request.url.host == "api.openai.com"
        request.url = request.url.copy_with(scheme=url.scheme, host=url.host, port=url.port)

    script(llmock)
    with httpx2.Client(event_hooks={"request": [redirect]}) as client:
        send_all(ChatOpenAI(model="gpt-4.1-mini", http_client=client))
    compare("openai", [record.body for record in llmock.requests])


@contextmanager
def ollama() -> Iterator[tuple[str, list[Any]]]:
    """A server that speaks as Ollama does; yields its address and the bodies that it got."""
    bodies: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None: ...

        def do_POST(self) -> None:
            reply = SCRIPT[len(bodies)]
            bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            message: dict[str, Any] = {"role": "assistant", "content": ""}
            if isinstance(reply, str):
                message["content"] = reply
            else:
                message["tool_calls"] = [{"function": {"name": reply[0], "arguments": reply[1]}}]
            facts = {"model": "qwen3", "created_at": "2026-01-01T00:00:00Z", "done": True}
            counts = {"done_reason": "stop", "prompt_eval_count": 9, "eval_count": 3}
            sent = json.dumps({**facts, "message": message, **counts}).encode() + b"\n"
            self.send_response(200)
            self.send_header("content-type", "application/x-ndjson")
            self.send_header("content-length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", bodies
    finally:
        server.shutdown()
        server.server_close()


def test_what_ollama_is_sent() -> None:
    from langchain_ollama import ChatOllama

    with ollama() as (url, bodies):
        model = ChatOllama(model="qwen3", base_url=url)
        send_all(model)
        model._client._client.close()
        compare("ollama", bodies)
    assert "anyOf" not in json.dumps(bodies)
    assert enums(bodies[0])[0] == [*NAMES, "none"]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_a_provider_finds_nothing_wrong(path: Path) -> None:
    """What holds for each of them: names in their order, no message without content."""
    bodies = json.loads(path.read_text())
    assert list(bodies) == list(STEPS)
    for step in ("decision", "last decision"):
        assert enums(bodies[step])
        assert all(
            [name for name in found if name in NAMES] == NAMES for found in enums(bodies[step])
        )
    for body in bodies.values():
        messages = body.get("messages") or body.get("input") or body["contents"]
        for message in messages:
            parts = ("content", "tool_calls", "parts", "arguments", "output")
            assert any(message.get(part) for part in parts), message
    assert '"strict": true' in path.read_text() or path.stem != "openai"
    assert "sk-" not in path.read_text() and "test-key" not in path.read_text()


def enums(value: Any) -> list[list[str]]:
    """Every enum in a value."""
    if isinstance(value, dict):
        own = [value["enum"]] if isinstance(value.get("enum"), list) else []
        return own + [found for inner in value.values() for found in enums(inner)]
    return [found for inner in value for found in enums(inner)] if isinstance(value, list) else []


def compare(provider: str, bodies: Sequence[Any]) -> None:
    """Compare bodies with those that were reviewed."""
    text = json.dumps(dict(zip(STEPS, bodies, strict=True)), indent=2, ensure_ascii=False) + "\n"
    ids: dict[str, str] = {}
    for found in re.findall(r'"((?:call|toolu|msg|fc|resp|lc|run)_[-\w]{6,})"', text):
        ids.setdefault(found, f"id-{len(ids) + 1}")
    for found, short in ids.items():
        text = text.replace(found, short)
    snapshot = FOLDER / f"{provider}.json"
    if not snapshot.exists():
        snapshot.parent.mkdir(exist_ok=True)
        snapshot.write_text(text)
    assert json.loads(snapshot.read_text()) == json.loads(text)
