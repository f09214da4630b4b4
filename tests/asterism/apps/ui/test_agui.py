"""AG-UI: every event fits the protocol's own models, and what begins also ends."""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from ag_ui.core import Event, RunAgentInput, UserMessage
from ag_ui.core.types import ResumeEntry
from langchain.agents import create_agent
from langchain_core.messages import AIMessageChunk, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import interrupt
from pydantic import SecretStr, TypeAdapter
from starlette.applications import Starlette
from starlette.testclient import TestClient

from asterism import Participant, SupervisorWorkflowBuilder
from asterism.apps.ui.agui import create_agui_routes
from asterism.apps.ui.app import Server, create_app
from asterism.testing import ScriptedChatModel
from tests.asterism.apps.ui.teams import GATE, HERE, nested
from tests.asterism.apps.ui.test_app import BASE, GRAPHS, PARTY
from tests.plans import plan, task
from tests.teams import follow

EVENT: TypeAdapter[Any] = TypeAdapter(Event)


class Client:
    """Calls a team as a client of AG-UI does, and checks what it says."""

    def __init__(self, http: TestClient, thread: str = "t1") -> None:
        self.http, self.thread = http, thread
        self.said: list[UserMessage] = []

    def post(self, team: str, **given: Any) -> Any:
        asked = RunAgentInput(
            thread_id=self.thread, run_id=f"r{len(self.said)}", messages=[*self.said], **given
        )
        body = asked.model_dump_json(by_alias=True)
        headers = {"origin": BASE, "content-type": "application/json"}
        return self.http.post(f"/agui/{team}", content=body, headers=headers)

    def ask(self, team: str, *texts: str, **given: Any) -> list[Any]:
        for text in texts:
            self.said.append(UserMessage(id=f"m{len(self.said)}", role="user", content=text))
        response = self.post(team, **given)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in response.text.split("\n\n") if line]
        found = [EVENT.validate_json(line.removeprefix("data: ")) for line in lines]
        check_pairs(found)
        return found


def check_pairs(events: Sequence[Any]) -> None:
    """What begins also ends, in a run that begins first and ends last; nobody speaks outside."""
    pairs = {
        "TEXT_MESSAGE": "message_id",
        "TOOL_CALL": "tool_call_id",
        "STEP": "step_name",
        "SUBAGENT": "subagent_run_id",
    }
    opened: list[tuple[str, str]] = []
    assert events[0].type == "RUN_STARTED"
    assert events[-1].type in ("RUN_FINISHED", "RUN_ERROR")
    for event in events:
        kind, _, what = event.type.value.rpartition("_")
        if kind in pairs:
            key = (kind, getattr(event, pairs[kind]))
            if what in ("START", "STARTED"):
                assert key not in opened
                opened.append(key)
            elif what in ("END", "FINISHED", "ERROR"):
                opened.remove(key)
            elif what != "RESULT":
                assert key in opened
        own = getattr(event, "subagent_run_id", None)
        if own and kind != "SUBAGENT":
            assert ("SUBAGENT", own) in opened
    assert opened == []


def types_of(events: Sequence[Any]) -> list[str]:
    return [event.type.value for event in events]


def names(events: Sequence[Any]) -> list[str]:
    return [event.name for event in events if event.type == "SUBAGENT_STARTED"]


@pytest.fixture
def http(tmp_path: Path) -> Iterator[TestClient]:
    GATE.reset()
    app = create_app(db=str(tmp_path / "threads.db"), graphs=GRAPHS, stream_seconds=0)
    with TestClient(app, base_url=BASE, raise_server_exceptions=False) as client:
        yield client


def serve(**teams: Any) -> Client:
    routes = create_agui_routes(teams, checkpointer=InMemorySaver())
    return Client(TestClient(Starlette(routes=routes), base_url=BASE))


def test_a_question_is_an_interrupt_and_its_answer_resumes_the_run(http: TestClient) -> None:
    client = Client(http)
    found = client.ask("event_planning", "Plan a party")
    assert found[0].thread_id == "t1" and found[0].protocol_version == "1.0"
    (asked,) = found[-1].outcome.interrupts
    assert (asked.reason, asked.response_schema) == (
        "question",
        {"type": "string", "minLength": 1},
    )
    entry = ResumeEntry(interrupt_id=asked.id, status="resolved", payload=" ")
    refused = client.post("event_planning", resume=[entry])
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_answer")

    entry = ResumeEntry(interrupt_id=asked.id, status="resolved", payload="Denver, 40, May 5th")
    found = client.ask("event_planning", resume=[entry])
    assert found[-1].outcome.type == "success" and found[-1].usage[0].input_tokens > 100
    assert set(names(found)) == {"venue", "catering", "budget", "logistics"}
    calls = [event.tool_call_name for event in found if event.type == "TOOL_CALL_START"]
    assert "search_venues" in calls and "SupervisorDecision" not in calls
    results = [event for event in found if event.type == "TOOL_CALL_RESULT"]
    assert len(results) == len(calls)
    steps = [event.step_name for event in found if event.type == "STEP_STARTED"]
    assert steps.count("finish") == 1 and steps.count("supervisor") >= 5
    args = [event.delta for event in found if event.type == "TOOL_CALL_ARGS"]
    assert json.loads(args[0])["city"] == "Denver"
    (usage,) = [event.value for event in found if event.type == "CUSTOM"]
    assert usage["tokens"] > 1000
    view = http.get("/api/thread", params={"thread": "t1"}).json()
    answer = view["messages"][-1]["text"]
    texts = [e.delta for e in found if e.type == "TEXT_MESSAGE_CONTENT" and not e.subagent_run_id]
    assert "".join(texts) == answer  # said once, whether it was streamed or not


def test_a_second_request_goes_on_with_the_thread(http: TestClient) -> None:
    client = Client(http)
    client.ask("event_planning", PARTY)
    found = client.ask("event_planning", "And in Denver?")
    assert found[-1].outcome.type == "success"
    view = http.get("/api/thread", params={"thread": "t1"}).json()
    said = [message["text"] for message in view["messages"] if message["type"] == "human"]
    assert said == [PARTY, "And in Denver?"]
    again = client.post("event_planning")  # the same messages: nothing is left to do
    assert (again.status_code, again.json()["error"]["code"]) == (409, "nothing_pending")
    other = client.post("research")
    assert other.status_code == 400 and "another team" in other.text


@pytest.mark.parametrize("status", ["resolved", "cancelled"])
@pytest.mark.parametrize("team", ["bank", "teller"])
def test_approvals_are_interrupts(team: str, status: Any, http: TestClient) -> None:
    client = Client(http)
    name = f"{HERE}:{team}"
    found = client.ask(name, "Pay")
    (asked,) = found[-1].outcome.interrupts
    (suspended,) = [event for event in found if event.type == "SUBAGENT_FINISHED"]
    assert suspended.outcome.interrupt_ids == [asked.id]
    assert asked.subagent_run_id == suspended.subagent_run_id
    assert asked.reason == "tool_approval"
    calls = [event.tool_call_id for event in found if event.type == "TOOL_CALL_START"]
    assert asked.tool_call_id == (calls[0] if team == "teller" else None)
    payload = {"type": "approve"} if status == "resolved" else None
    found = client.ask(
        name, resume=[ResumeEntry(interrupt_id=asked.id, status=status, payload=payload)]
    )
    assert found[-1].outcome.type == "success", found[-1]
    results = [event.content for event in found if event.type == "TOOL_CALL_RESULT"]
    assert any("paid 5" in result for result in results) == (status == "resolved")


def test_a_failed_visit_is_an_error_of_it_and_a_failed_run_one_of_the_run(
    http: TestClient,
) -> None:
    found = Client(http).ask(f"{HERE}:failing", "Count")
    (error,) = [event for event in found if event.type == "SUBAGENT_ERROR"]
    assert "the warehouse cannot be reached" in error.message
    assert found[-1].outcome.type == "success"

    found = Client(http, "t2").ask(f"{HERE}:broken", "Count")
    assert found[-1].type == "RUN_ERROR"
    assert "sk-" not in found[-1].message


def test_tasks_of_a_plan_and_teams_within_teams_are_visits() -> None:
    work = Participant(runs=lambda messages: "done", description="Works.")
    tasks = (task("1", "a"), task("2", "a"), task("3", "b"))
    planned = SupervisorWorkflowBuilder("Plan", finish="forward").participants(a=work, b=work)
    client = serve(plan=planned.with_manager(plan(*tasks)), outer=nested(None))
    found = client.ask("plan", "Go")
    assert sorted(names(found)) == ["a", "a", "b"]
    assert client.http.get("/agui/info").json()["agents"][1]["subagents"] == ["team"]

    client.thread = "t2"
    found = client.ask("outer", "Go")
    started = {event.name: event for event in found if event.type == "SUBAGENT_STARTED"}
    assert started["travel"].parent_subagent_run_id == started["inner"].subagent_run_id
    assert started["inner"].parent_subagent_run_id == started["team"].subagent_run_id
    (asked,) = found[-1].outcome.interrupts
    assert asked.response_schema["required"] == ["city", "nights"]
    trip = {"city": "Rome", "nights": 2}
    entry = ResumeEntry(interrupt_id=asked.id, status="resolved", payload=trip)
    found = client.ask("outer", resume=[entry])
    assert found[-1].outcome.type == "success"
    said = "".join(e.delta for e in found if e.type == "TEXT_MESSAGE_CONTENT")
    assert "booked city='Rome'" in said


def test_a_graph_that_is_no_workflow_speaks_too(http: TestClient) -> None:
    found = Client(http).ask(f"{HERE}:plain", "Hello")
    deltas = [event.delta for event in found if event.type == "TEXT_MESSAGE_CONTENT"]
    assert deltas == ["you said Hello"]


def test_a_run_that_is_stopped_is_cancelled_and_goes_on(http: TestClient) -> None:
    client, name = Client(http), f"{HERE}:gated"
    hub = http.app.state.hub  # type: ignore[attr-defined]  # an ASGI app

    async def stop() -> None:
        await asyncio.to_thread(GATE.reached.acquire)
        hub.stop("t1")
        GATE.open.release()

    assert http.portal is not None
    stopping = http.portal.start_task_soon(stop)
    found = client.ask(name, "Work")
    stopping.result()
    assert found[-1].outcome.type == "cancelled"
    GATE.open.release()
    found = client.ask(name)  # nothing new was said: the rest of the run
    assert found[-1].outcome.type == "success"
    assert GATE.visits == ["slow", "slow"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://evil.example"}, 403),
        ({}, 403),
        ({"origin": BASE, "host": "evil.example"}, 403),
        ({"origin": BASE, "content-type": "text/plain"}, 415),
    ],
    ids=["origin", "no origin", "host", "form"],
)
def test_the_guard_covers_it(headers: dict[str, str], status: int, http: TestClient) -> None:
    whole = {"content-type": "application/json", **headers}
    assert http.post("/agui/event_planning", content="{}", headers=whole).status_code == status


def test_a_token_is_asked_for(tmp_path: Path) -> None:
    app = create_app(db=str(tmp_path / "threads.db"), token=SecretStr("s3cret"))
    with TestClient(app, base_url=BASE) as http:
        client = Client(http)
        assert client.post("event_planning").status_code == 401
        assert http.get("/agui/info").status_code == 401
        http.headers["authorization"] = "Bearer s3cret"
        found = http.get("/agui/info").json()
        assert found["agents"][0]["name"] == "event_planning"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{}", "Field required"),
        (
            '{"threadId": "t", "runId": "r", "messages": [{"id": "1", "role": "user", "content": '
            '[{"type": "image", "source": {"type": "url", "value": "https://x"}}]}]}',
            "Only texts",
        ),
        ('{"threadId": "a/../b\\u0000", "runId": "r", "messages": []}', "thread"),
    ],
    ids=["nothing", "an image", "a thread"],
)
def test_what_cannot_be_read_is_refused(body: str, said: str, http: TestClient) -> None:
    headers = {"origin": BASE, "content-type": "application/json"}
    response = http.post("/agui/event_planning", content=body, headers=headers)
    assert response.status_code == 400 and said in response.text


def test_without_its_package_it_says_what_to_install(
    http: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "asterism.apps.ui.agui", None)
    response = http.get("/agui/info")
    assert response.status_code == 400
    assert "asterism-agents[agui]" in response.json()["error"]["message"]


def two_ask(model: Any) -> SupervisorWorkflowBuilder:
    """Two participants that ask at the same time, within a plan."""

    def ask(messages: Any) -> str:
        return f"told {interrupt({'prompt': 'What?'})}"

    asks = Participant(runs=ask, description="Asks.")
    tasks = plan(task("1", "a"), task("2", "b"))
    builder = SupervisorWorkflowBuilder("Ask", finish="forward").participants(a=asks, b=asks)
    return builder.with_manager(tasks)


def test_two_open_questions_are_answered_one_after_the_other() -> None:
    client = serve(ask=two_ask(None))
    first, second = client.ask("ask", "Go")[-1].outcome.interrupts
    assert first.subagent_run_id != second.subagent_run_id
    entry = ResumeEntry(interrupt_id=second.id, status="resolved", payload="two")
    found = client.ask("ask", resume=[entry])
    (left,) = found[-1].outcome.interrupts
    assert left.id == first.id
    entry = ResumeEntry(interrupt_id=first.id, status="cancelled")
    refused = client.post("ask", resume=[entry])  # a question cannot be rejected, only answered
    assert refused.status_code == 422
    entry = ResumeEntry(interrupt_id=first.id, status="resolved", payload="one")
    assert client.ask("ask", resume=[entry])[-1].outcome.type == "success"
    unknown = client.post("ask", resume=[entry])
    assert unknown.status_code == 409


class Streaming(ScriptedChatModel):
    """Streams a call in pieces as providers do: the id and the name come only once."""

    def _stream(self, *given: Any, **options: Any) -> Iterator[ChatGenerationChunk]:
        if isinstance(given[0][-1], ToolMessage):
            for word in ("It ", "is ", "warm."):
                yield ChatGenerationChunk(message=AIMessageChunk(content=word))
            return
        pieces = [("look", "c1", ""), (None, None, '{"city": '), (None, None, '"Rome"}')]
        for name, call, args in pieces:
            piece = tool_call_chunk(name=name, id=call, args=args, index=0)
            yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[piece]))

    async def _astream(self, *given: Any, **options: Any) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream(*given, **options):
            yield chunk


def test_a_call_that_is_streamed_in_pieces_is_one_call() -> None:
    def look(city: str) -> str:
        """Look at the weather."""
        return f"22 °C in {city}"

    agent = create_agent(Streaming(script=[]), [look])
    team = SupervisorWorkflowBuilder("Look", finish="forward").participants(
        weather=Participant(runs=agent, description="Looks.")
    )
    found = serve(look=team.with_manager(follow(["weather"]))).ask("look", "Go")
    (start,) = [event for event in found if event.type == "TOOL_CALL_START"]
    args = [event.delta for event in found if event.type == "TOOL_CALL_ARGS"]
    assert (start.tool_call_name, "".join(args)) == ("look", '{"city": "Rome"}')
    kinds = types_of(found)
    assert kinds.index("TOOL_CALL_END") < kinds.index("TOOL_CALL_RESULT")
    own = [e.delta for e in found if e.type == "TEXT_MESSAGE_CONTENT" and e.subagent_run_id]
    assert own == ["It ", "is ", "warm."]


async def test_a_client_that_goes_away_stops_the_run(tmp_path: Path) -> None:
    GATE.reset()
    app = create_app(db=str(tmp_path / "threads.db"), graphs=GRAPHS)
    with socket.create_server(("127.0.0.1", 0)) as opened:
        server = Server(app)
        serving = asyncio.create_task(server.serve(sockets=[opened]))
        address = f"http://127.0.0.1:{opened.getsockname()[1]}"
        asked = RunAgentInput(
            thread_id="t1", run_id="r", messages=[UserMessage(id="m", role="user", content="Go")]
        )
        body = asked.model_dump_json(by_alias=True)
        headers = {"origin": address, "content-type": "application/json"}
        async with httpx.AsyncClient(base_url=address) as http:
            call = http.stream(
                "POST", f"/agui/{HERE}:gated", content=body, headers=headers, timeout=60
            )
            async with call as response:
                async for line in response.aiter_lines():
                    if "SUBAGENT_STARTED" in line:
                        break
            run = app.state.hub.run("t1")
            while not run.control.drain_requested:
                await asyncio.sleep(0)
            GATE.open.release()
            await asyncio.wait({run.task})
            shown = (await http.get("/api/thread", params={"thread": "t1"})).json()
            assert (shown["status"], shown["unfinished"]) == ("running", True)
        server.should_exit = True
        await serving


def test_nothing_of_it_is_loaded_for_the_page_alone() -> None:
    code = "import asterism.apps.ui.app, sys; sys.exit('ag_ui' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
