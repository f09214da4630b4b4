"""A2A both ways: agents of `a2a-sdk` and of LangGraph's server as participants; teams served."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from a2a.client import ClientConfig, create_client
from a2a.helpers import new_task_from_user_message, new_text_message
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes.agent_card_routes import create_agent_card_routes
from a2a.server.routes.jsonrpc_routes import create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    Message,
    Part,
    Role,
    SendMessageRequest,
    Task,
    TaskState,
)
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import interrupt
from pydantic import SecretStr
from starlette.applications import Starlette

from asterism import SupervisorWorkflowBuilder, pending_requests
from asterism.apps.a2a_server import create_a2a_app
from asterism.core.interrupts import answer_command
from asterism.errors import ConfigurationError
from asterism.nodes.remote.a2a_agent import A2AAgent
from tests.graphs.servers import dev_server
from tests.teams import follow, said

ROOT = Path(__file__).parents[3]
PICTURE: Any = {"type": "image", "base64": "iVBORw0KGgo=", "mime_type": "image/png"}
THREAD: Any = {"configurable": {"thread_id": "1"}}
REQUEST: Any = {"messages": [("user", "Hello")]}


class Desk(AgentExecutor):
    """An agent of the SDK: it asks for a city, fails, answers with a message, or with pictures."""

    def __init__(self) -> None:
        self.heard: list[Message] = []

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        assert context.message and context.task_id and context.context_id
        self.heard.append(context.message)
        text = context.get_user_input()
        if "plain" in text:
            await event_queue.enqueue_event(new_text_message("plain answer"))
            return
        if context.current_task is None:
            await event_queue.enqueue_event(new_task_from_user_message(context.message))
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        if "fail" in text:
            await updater.failed(updater.new_agent_message([Part(text="no paper")]))
        elif "book" in text:
            await updater.requires_input(updater.new_agent_message([Part(text="Where?")]))
        else:
            raw = [part for part in context.message.parts if part.HasField("raw")]
            await updater.add_artifact([Part(text=f"done: {text}"), *raw])
            await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        raise NotImplementedError


def sdk_app(desk: Desk, url: str, elsewhere: str | None = None) -> Starlette:
    """An agent that is made of the SDK alone."""
    card = AgentCard(
        name="Desk",
        description="Books tables.",
        version="1",
        supported_interfaces=[
            AgentInterface(url=elsewhere or url, protocol_binding="JSONRPC", protocol_version="1.0")
        ],
        capabilities=AgentCapabilities(),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="book", name="book", description="Books.", tags=["t"])],
    )
    handler = DefaultRequestHandler(
        agent_executor=desk, task_store=InMemoryTaskStore(), agent_card=card
    )
    return Starlette(routes=[*create_agent_card_routes(card), *create_jsonrpc_routes(handler, "/")])


@contextmanager
def served(make: Callable[[str], Any]) -> Iterator[str]:
    """Serve an app on this machine; yields the address."""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        url = f"http://127.0.0.1:{opened.getsockname()[1]}"
        settings = uvicorn.Config(make(url), log_level="critical", timeout_graceful_shutdown=1)
        server = uvicorn.Server(settings)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
        thread.start()
        try:
            yield url
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def desk_url(desk: Desk) -> Iterator[str]:
    with served(lambda url: sdk_app(desk, url)) as url:
        yield url


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def invoke(request: pytest.FixtureRequest) -> Callable[..., Any]:
    def run(workflow: Any, *args: Any) -> Any:
        if request.param:
            return asyncio.run(workflow.ainvoke(*args))
        return workflow.invoke(*args)

    return run


def office(url: str, visits: int = 1, **options: Any) -> Any:
    agent = A2AAgent(url, description="Books tables.", **options)
    return (
        SupervisorWorkflowBuilder("Office", finish="forward")
        .participants(desk=agent)
        .with_manager(follow([*["desk"] * visits, None]))
        .build(checkpointer=InMemorySaver())
    )


def ask(text: str, *blocks: Any) -> Any:
    return {"messages": [HumanMessage([{"type": "text", "text": text}, *blocks])]}


# ---- agents as participants


def test_an_agent_is_a_participant(invoke: Callable[..., Any], desk: Desk, desk_url: str) -> None:
    team = office(desk_url, visits=2)
    result = invoke(team, ask("Draw", PICTURE), THREAD)
    assert result["reports"][0]["text"].startswith("done: Draw")
    assert [block["type"] for block in result["reports"][0]["media"]] == ["image"]
    assert len({message.context_id for message in desk.heard}) == 1  # one thread, one context
    invoke(team, ask("Draw"), {"configurable": {"thread_id": "2"}})
    assert len({message.context_id for message in desk.heard}) == 2


def test_a_message_of_an_agent_is_its_answer(invoke: Callable[..., Any], desk_url: str) -> None:
    assert said(invoke(office(desk_url), ask("plain"), THREAD)) == ["plain answer"]


def test_a_question_of_an_agent_waits_for_a_person(
    invoke: Callable[..., Any], desk: Desk, desk_url: str
) -> None:
    team = office(desk_url)
    invoke(team, ask("book"), THREAD)
    (asked,) = pending_requests(team, THREAD)
    assert (asked.participant, asked.prompt) == ("desk", "Where?")
    result = invoke(team, answer_command([asked], "Bern"), THREAD)
    assert said(result) == ["done: Bern"]
    assert desk.heard[1].task_id and desk.heard[1].context_id == desk.heard[0].context_id


def test_a_task_that_fails_is_a_report(invoke: Callable[..., Any], desk_url: str) -> None:
    report = invoke(office(desk_url), ask("fail"), THREAD)["reports"][0]
    assert (report["status"], report["kind"]) == ("failed", "agent_failed")
    assert "no paper" in report["error"]


@pytest.mark.parametrize("status", [404, 503])
def test_an_agent_that_is_not_there_is_a_report(status: int) -> None:
    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    with served(lambda url: refuse) as url:
        report = office(url).invoke(REQUEST, THREAD)["reports"][0]
    assert report["kind"] == "api_call_failed" and str(status) in report["error"]
    gone = office("http://127.0.0.1:9").invoke(REQUEST, THREAD)["reports"][0]
    assert gone["kind"] == "api_call_failed" and "cannot be reached" in gone["error"]


def test_a_card_cannot_lead_to_another_host(desk: Desk) -> None:
    with served(lambda url: sdk_app(desk, url, "http://localhost:1/")) as url:
        report = office(url).invoke(REQUEST, THREAD)["reports"][0]
    assert "localhost:1, which is not allowed" in report["error"]
    with pytest.raises(ConfigurationError, match="has a user or a password"):
        A2AAgent("http://me:secret@127.0.0.1/")


def test_an_agent_that_takes_too_long_is_a_timeout() -> None:
    class Slow(Desk):
        async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
            await asyncio.Event().wait()

    with served(lambda url: sdk_app(Slow(), url)) as url:
        report = office(url, timeout=0.3).invoke(REQUEST, THREAD)["reports"][0]
    assert report["kind"] == "agent_timeout"


# ---- teams as agents


def clerk(messages: Any) -> Any:
    """Answers, asks for seats, or fails."""
    text = messages[-1].text
    if "seats" in text:
        schema = {"type": "object", "properties": {"seats": {"type": "integer"}}}
        answer = interrupt({"prompt": "How many?"}, response_schema=schema)
        return f"{answer['seats']!r} seats"
    if "fail" in text:
        raise ValueError("no paper")
    blocks = [block for block in messages[-1].content_blocks if block["type"] == "image"]
    return AIMessage(content_blocks=[{"type": "text", "text": f"answer {len(messages)}"}, *blocks])


@contextmanager
def team_agent(**options: Any) -> Iterator[str]:
    saver = InMemorySaver()
    with served(lambda url: create_a2a_app(clerk, url=url, checkpointer=saver, **options)) as url:
        yield url


async def send(url: str, *parts: Part, streaming: bool = False, **fields: Any) -> Task:
    """Send a message by the client of the SDK; returns the task."""
    fields = {"message_id": "m", "role": Role.ROLE_USER, "context_id": "c", **fields}
    message = Message(parts=parts, **fields)
    async with httpx.AsyncClient() as http:
        client = await create_client(url, ClientConfig(streaming=streaming, httpx_client=http))
        task = Task()
        async for response in client.send_message(SendMessageRequest(message=message)):
            if response.HasField("task"):
                task.CopyFrom(response.task)
            elif response.HasField("status_update"):
                task.status.CopyFrom(response.status_update.status)
            elif response.HasField("artifact_update"):
                task.artifacts.append(response.artifact_update.artifact)
        return task


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_team_is_an_agent(streaming: bool) -> None:
    with team_agent() as url:
        picture = Part(raw=b"png", media_type="image/png")
        task = await send(url, Part(text="Hi"), picture, streaming=streaming)
        assert task.status.state == TaskState.TASK_STATE_COMPLETED
        text, drawn = task.artifacts[0].parts
        assert (text.text, drawn.raw, drawn.media_type) == ("answer 1", b"png", "image/png")
        again = await send(url, Part(text="Hi"), picture)  # the same message: nothing runs twice
        assert again.artifacts[0].parts[0].text == "answer 1"
        more = await send(url, Part(text="Hi"), message_id="n")  # the context is a thread
        assert more.artifacts[0].parts[0].text == "answer 3"


async def test_a_question_of_a_team_is_input_required() -> None:
    with team_agent() as url:
        task = await send(url, Part(text="seats"))
        assert task.status.state == TaskState.TASK_STATE_INPUT_REQUIRED
        assert task.status.message.parts[0].text == "How many?"
        task = await send(url, Part(text="many"), message_id="n", task_id=task.id)
        assert task.status.state == TaskState.TASK_STATE_INPUT_REQUIRED  # it does not fit
        assert "does not fit" in task.status.message.parts[0].text
        answer = Part()
        answer.data.struct_value.update({"resume": {"seats": 2}})
        task = await send(url, answer, message_id="o", task_id=task.id)
        assert task.artifacts[0].parts[0].text == "2 seats"


async def test_a_team_that_fails_fails_its_task() -> None:
    with team_agent() as url:
        task = await send(url, Part(text="fail"))
    assert task.status.state == TaskState.TASK_STATE_FAILED
    assert "no paper" in task.status.message.parts[0].text


async def test_strangers_are_refused() -> None:
    with team_agent(token=SecretStr("right")) as url:
        with pytest.raises(Exception, match="401"):
            await send(url, Part(text="Hi"))
        headers = {"authorization": SecretStr("Bearer right")}
        report = office(url, headers=headers).invoke(REQUEST, THREAD)["reports"][0]
        assert report["text"] == "answer 1"


@pytest.mark.parametrize("answer", [{"seats": 2}, {"seats": 3}], ids=str)
def test_two_teams_speak_to_each_other(invoke: Callable[..., Any], answer: Any) -> None:
    with team_agent() as url:
        team = office(url)
        invoke(team, ask("seats"), THREAD)
        (asked,) = pending_requests(team, THREAD)
        assert (asked.prompt, asked.schema and asked.schema["type"]) == ("How many?", "object")
        result = invoke(team, answer_command([asked], answer), THREAD)
    assert said(result) == [f"{answer['seats']} seats"]


# ---- LangGraph's own endpoint

GRAPHS = """
from typing import Annotated, TypedDict
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt


def work(state):
    text = state["messages"][-1].text
    if "two" in text:
        first, second = interrupt({"prompt": "First?"}), interrupt({"prompt": "Second?"})
        return {"messages": [("ai", f"{first} {second}")]}
    if "book" in text:
        return {"messages": [("ai", f"in {interrupt({'prompt': 'Where?'})['city']}")]}
    return {"messages": [("ai", f"answer {len(state['messages'])}")]}


graph = StateGraph(MessagesState).add_node(work).add_edge(START, "work").compile()
"""


@pytest.fixture(scope="module")
def langgraph_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("langgraph")
    (folder / "graphs.py").write_text(GRAPHS)
    config = folder / "langgraph.json"
    config.write_text(json.dumps({"dependencies": ["."], "graphs": {"desk": "./graphs.py:graph"}}))
    with dev_server(config, folder, {"PYTHONPATH": str(folder)}) as url:
        yield url


@pytest.fixture(scope="module")
def card(langgraph_url: str) -> str:
    """The path of the card of the agent on LangGraph's server."""
    (found,) = httpx.post(f"{langgraph_url}/assistants/search", json={}).json()
    return f"/.well-known/agent-card.json?assistant_id={found['assistant_id']}"


def test_an_agent_of_langgraphs_server_is_a_participant(
    invoke: Callable[..., Any], langgraph_url: str, card: str
) -> None:
    team = office(langgraph_url, visits=2, card=card)
    assert said(invoke(team, ask("Hello"), THREAD)) == ["answer 1", "answer 3"]
    team = office(langgraph_url, card=card)
    invoke(team, ask("book"), THREAD)
    (asked,) = pending_requests(team, THREAD)
    assert asked.prompt == "Where?"
    result = invoke(team, answer_command([asked], {"city": "Bern"}), THREAD)
    assert said(result) == ["in Bern"]


def test_questions_of_langgraphs_server_come_one_after_the_other(
    langgraph_url: str, card: str
) -> None:
    team = office(langgraph_url, card=card)
    team.invoke(ask("two"), THREAD)
    for prompt, answer in (("First?", "one"), ("Second?", "two")):
        (asked,) = pending_requests(team, THREAD)
        assert asked.prompt == prompt
        result = team.invoke(answer_command([asked], answer), THREAD)
    assert said(result) == ["one two"]
