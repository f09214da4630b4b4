"""A team as a tool of an MCP server, called by the client of the `mcp` package."""

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import interrupt
from mcp import ClientSession, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import McpError
from mcp.shared.memory import create_connected_server_and_client_session
from pydantic import BaseModel

from asterism import Participant, SupervisorWorkflowBuilder
from asterism.apps.mcp_server import create_mcp_server
from asterism.errors import ConfigurationError
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.teams import follow

Asked = Any
ROOT = Path(__file__).parents[3]


class Seats(BaseModel):
    seats: int


def answering(*answers: Any) -> tuple[list[str], Asked]:
    """A client that gives answers, one after the other, and notes what it was asked."""
    asked: list[str] = []
    left = [*answers]

    async def answer(context: Any, params: Any) -> types.ElicitResult:
        asked.append(params.message)
        said = left.pop(0)
        if isinstance(said, str):
            return types.ElicitResult(action=said)  # type: ignore[arg-type]
        return types.ElicitResult(action="accept", content=said)

    return asked, answer


def team(runs: Any, **options: Any) -> Any:
    clerk = Participant(runs=runs, description="Clerk.", **options)
    return (
        SupervisorWorkflowBuilder("Front desk", finish="forward", description="Answers all.")
        .participants(clerk=clerk)
        .with_manager(follow(["clerk", None]))
        .build(checkpointer=InMemorySaver())
    )


@asynccontextmanager
async def client(graph: Any, answer: Asked | None = None) -> AsyncIterator[ClientSession]:
    server = create_mcp_server(graph)
    async with create_connected_server_and_client_session(
        server, elicitation_callback=answer
    ) as session:
        yield session


async def test_a_team_is_a_tool_that_tells_its_progress() -> None:
    heard: list[tuple[float, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, message))

    async with client(team(lambda messages: f"answer {len(messages)}")) as session:
        tools = (await session.list_tools()).tools
        assert [tool.name for tool in tools] == ["front_desk", "front_desk_answer"]
        assert (tools[0].description or "").startswith("Answers all.")
        given = {"request": "Hello", "thread": "t1"}
        result = await session.call_tool("front_desk", given, progress_callback=hear)
        assert result.structuredContent == {
            "thread": "t1",
            "status": "completed",
            "answer": "answer 1",
        }
        assert heard == [(1, "clerk works"), (2, "clerk is done")]
        result = await session.call_tool("front_desk", given)  # the thread is remembered
        assert result.content[0].text == "answer 3"  # type: ignore[union-attr]


def ask_seats(messages: Any) -> str:
    schema = {"type": "object", "properties": {"seats": {"type": "integer"}}, "required": ["seats"]}
    answer = interrupt({"prompt": "How many?"}, response_schema=schema)
    return f"{answer['seats']} seats"


def ask_city(messages: Any) -> str:
    return f"in {interrupt({'prompt': 'Where?'})}"


def ask_list(messages: Any) -> str:
    schema = {"type": "array", "items": {"type": "integer"}}
    return f"sum {sum(interrupt({'prompt': 'Which?'}, response_schema=schema))}"


@pytest.mark.parametrize(
    ("runs", "answers", "outcome"),
    [
        (ask_seats, [{"seats": 2}], "2 seats"),
        (ask_seats, [{"seats": "two"}, {"seats": 2}], "2 seats"),
        (ask_city, [{"answer": "Bern"}], "in Bern"),
        (ask_list, [{"answer": "[1, 2]"}], "sum 3"),
    ],
    ids=["form", "asked again", "text", "json"],
)
async def test_a_question_is_an_elicitation(runs: Any, answers: list[Any], outcome: str) -> None:
    asked, answer = answering(*answers)
    async with client(team(runs), answer) as session:
        result = await session.call_tool("front_desk", {"request": "Hello"})
    assert (result.structuredContent or {})["answer"] == outcome
    assert len(asked) == len(answers)


@pytest.mark.parametrize(
    ("said", "ran"),
    [
        ({"decision": "approve"}, True),
        ({"decision": "reject", "message": "no"}, False),
        ("decline", False),
    ],
    ids=["approve", "reject", "decline"],
)
async def test_an_approval_is_an_elicitation(said: Any, ran: bool) -> None:
    paid: list[int] = []

    def pay(amount: int) -> str:
        """Pay."""
        paid.append(amount)
        return "paid"

    script = [ScriptedReply(tool_calls=[("pay", {"amount": 5})]), "done"]
    clerk = Participant(
        model=ScriptedChatModel(script=script), tools=[pay], approve=["pay"], description="Clerk."
    )
    graph = (
        SupervisorWorkflowBuilder("desk", finish="forward")
        .participants(clerk=clerk)
        .with_manager(follow(["clerk", None]))
        .build(checkpointer=InMemorySaver())
    )
    asked, answer = answering(said)
    async with client(graph, answer) as session:
        result = await session.call_tool("desk", {"request": "Pay"})
    assert (result.structuredContent or {})["answer"] == "done"
    assert "pay(amount=5)" in asked[0]
    assert paid == ([5] if ran else [])


async def test_a_client_that_cannot_be_asked_answers_by_a_tool() -> None:
    async with client(team(ask_city)) as session:
        result = await session.call_tool("front_desk", {"request": "Hello", "thread": "t1"})
        waiting = result.structuredContent or {}
        assert (waiting["status"], waiting["questions"][0]["prompt"]) == ("waiting", "Where?")
        given = {"thread": "t1", "answer": "Bern"}
        result = await session.call_tool("front_desk_answer", given)
        assert (result.structuredContent or {})["answer"] == "in Bern"
        result = await session.call_tool("front_desk_answer", given)
        assert result.isError and "Nobody is waiting" in result.content[0].text  # type: ignore[union-attr]


async def test_a_question_that_is_cancelled_stays_open() -> None:
    _, answer = answering("cancel")
    async with client(team(ask_city), answer) as session:
        result = await session.call_tool("front_desk", {"request": "Hello"})
    assert (result.structuredContent or {})["status"] == "waiting"


async def test_a_picture_of_the_answer_is_a_picture() -> None:
    block: Any = {"type": "image", "base64": "iVBORw0KGgo=", "mime_type": "image/png"}
    text: Any = {"type": "text", "text": "Here."}
    async with client(team(lambda _: AIMessage(content_blocks=[text, block]))) as session:
        result = await session.call_tool("front_desk", {"request": "Draw"})
    assert [content.type for content in result.content] == ["text", "image"]


async def test_a_run_that_fails_is_an_error() -> None:
    def fail(messages: Any) -> str:
        raise ValueError("no paper")

    graph = (
        SupervisorWorkflowBuilder("desk", finish="forward", max_iterations=1)
        .participants(clerk=Participant(runs=fail, description="Clerk."))
        .with_manager(follow(["clerk"] * 5))
        .build(checkpointer=InMemorySaver())
    )
    async with client(graph) as session:
        result = await session.call_tool("desk", {"request": "Hello"})
    assert result.isError and "limit" in result.content[0].text  # type: ignore[union-attr]


def test_a_team_without_a_checkpointer_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="needs a checkpointer"):
        create_mcp_server(team(ask_city).copy({"checkpointer": None}))


TEAM = """
from asterism import SupervisorWorkflowBuilder
from langgraph.types import interrupt

def clerk(messages):
    "Books."
    return f"in {interrupt({'prompt': 'Where?'})}"

team = (
    SupervisorWorkflowBuilder("desk", finish="forward")
    .participants(clerk=clerk)
    .with_strategy("sequential")
)
"""


async def test_the_command_serves_stdio(tmp_path: Path) -> None:
    (tmp_path / "team.py").write_text(TEAM)
    command = ["-m", "asterism", "mcp", "./team.py:team", "--db", ":memory:"]
    server = StdioServerParameters(
        command=sys.executable, args=command, cwd=tmp_path, env={**os.environ, "COLUMNS": "200"}
    )
    asked, answer = answering({"answer": "Bern"})
    async with (
        stdio_client(server) as (read, write),
        ClientSession(read, write, elicitation_callback=answer) as session,
    ):
        await session.initialize()
        result = await session.call_tool("team", {"request": "Book"})
    assert (result.structuredContent or {})["answer"] == "in Bern"
    assert asked == ["Where?"]


async def test_the_command_serves_http_with_a_token(tmp_path: Path) -> None:
    (tmp_path / "team.py").write_text(TEAM)
    command = [sys.executable, "-m", "asterism", "mcp", "./team.py:team", "--db", ":memory:"]
    with subprocess.Popen(
        [*command, "--port", "0"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    ) as server:
        try:
            lines = ""
            while "Bearer" not in lines:
                assert server.stderr is not None
                lines += server.stderr.readline() or pytest.fail(f"it ended: {lines}")
            url = re.findall(r"http://\S+/mcp", lines)[0]
            token = re.findall(r"Bearer (\S+)", lines)[0]
            asked, answer = answering({"answer": "Bern"})
            known = httpx.AsyncClient(headers={"authorization": f"Bearer {token}"})
            async with (
                known,
                streamable_http_client(url, http_client=known) as (read, write, _),
                ClientSession(read, write, elicitation_callback=answer) as session,
            ):
                await session.initialize()
                result = await session.call_tool("team", {"request": "Book"})
            assert (result.structuredContent or {})["answer"] == "in Bern"
            assert asked == ["Where?"]
            with pytest.raises((McpError, BaseExceptionGroup)):
                async with (
                    streamable_http_client(url) as (read, write, _),
                    ClientSession(read, write) as session,
                ):
                    await session.initialize()
        finally:
            server.terminate()
            server.wait(timeout=30)
