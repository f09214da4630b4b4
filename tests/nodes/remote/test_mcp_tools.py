"""Tools of real MCP servers, over stdio and HTTP, in runs of workflows."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from asterism import (
    Participant,
    SupervisorWorkflowBuilder,
    pending_requests,
    resume,
)
from asterism.core.interrupts import answer_command
from asterism.errors import AnswerError, RemoteConnectionError
from asterism.nodes.remote.mcp_tools import aload_mcp_tools, load_mcp_tools
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.graphs.servers import free_port
from tests.teams import follow

SERVER = Path(__file__).with_name("mcp_server.py")
STDIO: dict[str, Any] = {"transport": "stdio", "command": sys.executable, "args": [str(SERVER)]}


@pytest.fixture(scope="module")
def http() -> Iterator[dict[str, Any]]:
    port = free_port()
    server = subprocess.Popen([sys.executable, str(SERVER), str(port)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield {"transport": "http", "url": f"http://127.0.0.1:{port}/mcp"}
    finally:
        server.terminate()
        server.wait(timeout=30)


@pytest.fixture(params=["stdio", "http"])
def connection(request: pytest.FixtureRequest, http: dict[str, Any]) -> dict[str, Any]:
    return STDIO if request.param == "stdio" else http


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def invoke(request: pytest.FixtureRequest) -> Callable[..., Any]:
    def run(workflow: Any, *args: Any) -> Any:
        if request.param:
            return asyncio.run(workflow.ainvoke(*args))
        return workflow.invoke(*args)

    return run


def office(connection: dict[str, Any], model: ScriptedChatModel, visits: int = 1) -> Any:
    """A team with one clerk that has the tools of a server."""
    tools = load_mcp_tools({"desk": connection})
    clerk = Participant(model=model, tools=tools, description="Clerk.")
    return (
        SupervisorWorkflowBuilder("Office", finish="forward")
        .participants(clerk=clerk)
        .with_manager(follow([*["clerk"] * visits, None]))
        .build(checkpointer=InMemorySaver())
    )


def call(tool: str, **arguments: Any) -> ScriptedReply:
    return ScriptedReply(tool_calls=[(tool, arguments)])


def results(model: ScriptedChatModel) -> list[str]:
    """The results of tools that the model was sent last in its calls."""
    last = [call.messages[-1] for call in model.calls]
    return [message.text for message in last if message.type == "tool"]


THREAD: Any = {"configurable": {"thread_id": "1"}}
REQUEST: Any = {"messages": [("user", "Do it")]}


def test_the_calls_of_a_run_share_a_session(
    connection: dict[str, Any], invoke: Callable[..., Any]
) -> None:
    one, two = call("note", text="one"), call("note", text="two")
    model = ScriptedChatModel(script=[one, "done", two, "done", one, "done", one, "done"])
    team = office(connection, model, visits=2)
    invoke(team, REQUEST, THREAD)
    assert results(model) == ["one", "one and two"]  # two visits, one session
    invoke(team, REQUEST, {"configurable": {"thread_id": "2"}})
    assert results(model)[2:] == ["one", "one and one"]  # another run, another session


def test_the_model_sees_the_failure_of_a_tool(
    connection: dict[str, Any], invoke: Callable[..., Any]
) -> None:
    model = ScriptedChatModel(script=[call("fail"), "There is no such shelf."])
    result = invoke(office(connection, model), REQUEST, THREAD)
    assert "no such shelf" in results(model)[0]
    assert result["reports"][0]["status"] == "ok"


ANSWERS = [("4", "4 seats in Bern"), ({"seats": 2}, "2 seats in Bern")]


@pytest.mark.parametrize(("answer", "outcome"), [*ANSWERS, ("decline", "not booked: decline")])
def test_a_question_of_a_server_waits_for_a_person(
    connection: dict[str, Any], invoke: Callable[..., Any], answer: Any, outcome: str
) -> None:
    model = ScriptedChatModel(script=[call("book", city="Bern"), "done"])
    team = office(connection, model)
    invoke(team, REQUEST, THREAD)
    (asked,) = pending_requests(team, THREAD)
    assert (asked.participant, asked.prompt) == ("clerk", "How many seats in Bern?")
    with pytest.raises(AnswerError, match="does not fit"):
        resume(team, THREAD, {"chairs": "two"})
    invoke(team, answer_command(pending_requests(team, THREAD), answer), THREAD)
    assert results(model) == [outcome]
    model.assert_finished()


def test_questions_of_calls_at_once_are_asked_one_by_one(connection: dict[str, Any]) -> None:
    both = ScriptedReply(tool_calls=[("book", {"city": "Bern"}), ("book", {"city": "Rome"})])
    model = ScriptedChatModel(script=[both, "done"])
    team = office(connection, model)
    team.invoke(REQUEST, THREAD)
    asked = {request.prompt: request.id for request in pending_requests(team, THREAD)}
    answers = {asked["How many seats in Bern?"]: "1", asked["How many seats in Rome?"]: "2"}
    resume(team, THREAD, answers)
    said = [m.text for m in model.calls[-1].messages if m.type == "tool"]
    assert said == ["1 seats in Bern", "2 seats in Rome"]


async def test_tools_work_without_a_workflow(connection: dict[str, Any]) -> None:
    tools = {tool.name: tool for tool in await aload_mcp_tools({"desk": connection}, prefix=True)}
    assert set(tools) == {"desk_note", "desk_fail", "desk_book"}
    for _ in range(2):  # a session for each call
        message = await tools["desk_note"].ainvoke(
            {"type": "tool_call", "id": "1", "name": "desk_note", "args": {"text": "one"}}
        )
        assert message.text == "one"
    assert "not booked: cancel" in str(await tools["desk_book"].ainvoke({"city": "Bern"}))


def test_a_run_leaves_no_server_behind(invoke: Callable[..., Any], tmp_path: Path) -> None:
    script = tmp_path / "once.sh"
    script.write_text(f'echo $$ >> "{tmp_path}/pids"; exec "{sys.executable}" "{SERVER}"')
    model = ScriptedChatModel(script=[call("note", text="one"), "done"])
    stdio = {"transport": "stdio", "command": "sh", "args": [str(script)]}
    invoke(office(stdio, model), REQUEST, THREAD)
    pids = [int(line) for line in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2  # the list of tools, and the run
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


@pytest.mark.parametrize(
    "gone",
    [
        {"transport": "http", "url": "http://127.0.0.1:9/mcp"},
        {"transport": "stdio", "command": "no-such-command", "args": []},
        {"transport": "stdio", "command": sys.executable, "args": ["-c", "pass"]},
    ],
    ids=["http", "no command", "ends at once"],
)
def test_a_server_that_is_not_there_is_named(gone: dict[str, Any]) -> None:
    with pytest.raises(RemoteConnectionError, match="the MCP server 'desk' cannot be used"):
        load_mcp_tools({"desk": gone})


def test_a_server_that_goes_away_fails_the_visit(
    invoke: Callable[..., Any], tmp_path: Path
) -> None:
    marker = tmp_path / "second"
    script = tmp_path / "once.sh"
    script.write_text(
        f'[ -e "{marker}" ] && exit 1; touch "{marker}"; exec "{sys.executable}" "{SERVER}"'
    )
    stdio = {"transport": "stdio", "command": "sh", "args": [str(script)]}
    model = ScriptedChatModel(script=[call("note", text="one")])
    report = invoke(office(stdio, model), REQUEST, THREAD)["reports"][0]
    assert (report["status"], report["kind"]) == ("failed", "api_call_failed")
    assert "the MCP server 'desk' cannot be used" in report["error"]
