"""Serving a participant to workflows elsewhere, by a real server of the test's own."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from langchain_core.messages import AnyMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt
from pydantic import BaseModel, SecretStr

from asterism import (
    Participant,
    Service,
    SupervisorWorkflowBuilder,
    Usage,
    create_service_app,
    lines_of,
    open_checkpointer,
    pending_requests,
    resume,
)
from asterism.apps.serving import BODY_LIMIT
from asterism.core.run_types import WorkflowInput
from asterism.errors import ConfigurationError, WorkflowBuildError
from asterism.nodes.remote.contract import ServiceRequest
from asterism.testing import ScriptedChatModel, ScriptedReply, check_participant
from tests.teams import follow, said

Saver = BaseCheckpointSaver[str]
REQUEST: WorkflowInput = {"messages": [("user", "Hello")]}


class Seats(BaseModel):
    """The answer that is wanted."""

    seats: int


@contextmanager
def served(thing: Any, saver: Any = None, **options: Any) -> Iterator[str]:
    """Serve a participant on this machine; yields the address."""
    app = create_service_app(thing, checkpointer=saver, **options)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as opened:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{opened.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def here() -> Iterator[Saver]:
    """Where the workflow that asks is stored; the service has a saver of its own."""
    with open_checkpointer("memory:") as saver:
        yield saver


def star(url: str, saver: Any = None, visits: int = 1, **options: Any) -> Any:
    return (
        SupervisorWorkflowBuilder("Test", finish="forward")
        .participants(there=Service(url, description="Works there.", **options))
        .with_manager(follow(["there"] * visits))
        .build(checkpointer=saver)
    )


def call(key: str, request: str = "Hello", **fields: Any) -> dict[str, Any]:
    asked = ServiceRequest(conversation_id="c", idempotency_key=key, request=request, **fields)
    return asked.model_dump()


def test_a_function_is_served_and_remembers(
    saver: Saver, here: Saver, thread: RunnableConfig
) -> None:
    def count(messages: list[AnyMessage]) -> str:
        return f"{sum(message.type == 'human' for message in messages)} requests"

    with served(count, saver) as url:
        workflow = star(url, here, visits=2)
        assert said(workflow.invoke(REQUEST, thread)) == ["1 requests", "2 requests"]
        other: RunnableConfig = {"configurable": {"thread_id": "another"}}
        assert said(workflow.invoke(REQUEST, other)) == ["1 requests", "2 requests"]


def test_a_workflow_is_served_with_its_questions_and_its_usage(
    saver: Saver, here: Saver, thread: RunnableConfig
) -> None:
    turns: list[str] = []

    def ask(state: MessagesState) -> Any:
        turns.append("asked")
        answer: Seats = interrupt({"prompt": "How many?"}, response_schema=Seats)
        return {"messages": [("ai", f"{answer.seats} seats")]}

    asking = StateGraph(MessagesState).add_node("ask", ask).add_edge(START, "ask").compile()
    model = ScriptedChatModel(script=[ScriptedReply(text="Hello", usage=(10, 5))])
    team = (
        SupervisorWorkflowBuilder("Team", finish="forward")
        .participants(
            greets=Participant(model=model, description="Greets."),
            asks=Participant(runs=asking, description="Asks."),
        )
        .with_manager(follow(["greets", "asks"]))
        .build(checkpointer=saver)
    )
    with served(team) as url:
        workflow = star(url, here)
        assert workflow.invoke(REQUEST, thread)["status"] == "waiting"
        (request,) = pending_requests(workflow, thread)
        assert (request.path, request.prompt) == ("there", "How many?")
        assert request.value["context"] == {"path": "asks"}
        result = resume(workflow, thread, {"seats": 3})
    assert said(result) == ["3 seats"] and turns == ["asked", "asked"]
    model.assert_finished()
    assert Usage.of(lines_of(result)).tokens == 15
    assert {line["by"] for line in lines_of(result)} == {"there/greets"}


def test_a_call_that_is_repeated_is_answered_as_before(saver: Saver) -> None:
    turns: list[str] = []

    def work(messages: list[AnyMessage]) -> str:
        turns.append(messages[-1].text)
        return f"answer {len(turns)}"

    with served(work, saver) as url:
        first = httpx.post(url, json=call("1")).json()
        again = httpx.post(url, json=call("1")).json()
        second = httpx.post(url, json=call("2")).json()
        late = httpx.post(url, json=call("1")).json()
    assert first == again and first["text"] == "answer 1"
    assert (second["status"], second["text"]) == ("ok", "answer 2")
    assert late["status"] == "failed" and "a later request" in late["error"]
    assert len(turns) == 2


def test_a_call_is_gone_on_with_by_another_server(saver: Saver) -> None:
    """The first one stops with the work half done, as a process does that is killed."""
    turns: list[str] = []

    def team(fails: bool) -> Any:
        def one(messages: list[AnyMessage]) -> str:
            turns.append("one")
            return "one"

        def two(messages: list[AnyMessage]) -> str:
            turns.append("two")
            if fails:
                raise KeyboardInterrupt
            return "two"

        return (
            SupervisorWorkflowBuilder("Team", finish="forward")
            .participants(
                one=Participant(runs=one, description="First."),
                two=Participant(runs=two, description="Second."),
            )
            .with_manager(follow(["one", "two"]))
            .build(checkpointer=saver)
        )

    stopped: RunnableConfig = {"configurable": {"thread_id": "c"}}
    message = {"role": "user", "content": "Hello", "id": "request-1"}
    with pytest.raises(KeyboardInterrupt):
        team(fails=True).invoke({"messages": [message]}, stopped)
    with served(team(fails=False)) as url:
        assert httpx.post(url, json=call("1")).json()["text"] == "two"
    assert turns == ["one", "two", "two"]


def test_a_conversation_is_worked_on_by_one_call_at_a_time(saver: Saver) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(messages: list[AnyMessage]) -> str:
        begun.set()
        assert go_on.wait(10)
        return "done"

    with served(work, saver) as url, ThreadPoolExecutor(1) as pool:
        first = pool.submit(httpx.post, url, json=call("1"), timeout=20)
        assert begun.wait(10)
        busy = httpx.post(url, json=call("1"))
        go_on.set()
        assert first.result().json()["text"] == "done"
    assert (busy.status_code, busy.headers["retry-after"]) == (409, "1")


def test_what_fails_there_is_a_failure_here(saver: Saver, here: Saver) -> None:
    def fail(messages: list[AnyMessage]) -> str:
        raise ConnectionError("no line, token=sk-secret-123456789")

    with served(fail, saver) as url:
        (report,) = star(url).invoke(REQUEST)["reports"]
    assert (report["status"], report["kind"]) == ("failed", "api_call_failed")
    assert "no line" in report["error"] and "sk-secret" not in report["error"]


def test_a_question_that_is_not_known_any_more_is_a_failure(saver: Saver) -> None:
    answer = {"question_id": "q", "prompt": "Why?", "value": "so"}
    with served(lambda messages: "ok", saver) as url:
        reply = httpx.post(url, json=call("1", answers=[answer])).json()
    assert reply["status"] == "failed" and "make the request anew" in reply["error"]


@pytest.mark.parametrize("given", [None, "Bearer wrong", "Basic right"])
def test_only_callers_with_the_token_are_answered(given: str | None, saver: Saver) -> None:
    token = SecretStr("right")
    with served(lambda messages: "ok", saver, token=token) as url:
        headers = {"authorization": given} if given else {}
        assert httpx.post(url, json=call("1"), headers=headers).status_code == 401
        known = {"authorization": SecretStr("Bearer right")}
        assert said(star(url, headers=known).invoke(REQUEST)) == ["ok"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"json": {"request": "Hello"}}, 422),
        ({"json": {**call("1"), "version": 2}}, 422),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 422),
        ({"content": b"{}", "headers": {"content-type": "text/plain"}}, 415),
        ({"json": call("1", "x" * BODY_LIMIT)}, 413),
    ],
    ids=["no conversation", "another version", "no JSON", "no JSON by name", "too long"],
)
def test_a_call_that_is_none_is_refused(sent: dict[str, Any], status: int, saver: Saver) -> None:
    with served(lambda messages: "ok", saver) as url:
        refused = httpx.post(url, **sent)
        assert refused.status_code == status, refused.text
        assert httpx.get(url).status_code == 405


def test_a_service_needs_a_place_for_conversations() -> None:
    with pytest.raises(ConfigurationError, match="give checkpointer= for anything else"):
        create_service_app(lambda messages: "ok")


def test_what_cannot_take_part_cannot_be_served(saver: Saver) -> None:
    with pytest.raises(WorkflowBuildError, match="is a int, which cannot be a participant"):
        create_service_app(3, checkpointer=saver)


def test_a_served_participant_passes_the_suite(saver: Saver) -> None:
    def work(messages: list[AnyMessage]) -> str:
        time.sleep(0.001)
        return "My part is done."

    with served(work, saver) as url:
        check_participant(Service(url, description="Works there."))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_of_a_token_has_no_case(scheme: str, saver: Saver) -> None:
    with served(lambda messages: "ok", saver, token=SecretStr("right")) as url:
        headers = {"authorization": f"{scheme} right"}
        assert httpx.post(url, json=call("1"), headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "evil.com"}, 403),
        ({"host": "127.0.0.1.evil.com"}, 403),
        ({"origin": "http://evil.com"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
    ],
)
def test_without_a_token_this_machine_alone_is_answered(
    headers: dict[str, str], status: int, saver: Saver
) -> None:
    with served(lambda messages: "ok", saver) as url:
        assert httpx.post(url, json=call("1"), headers=headers).status_code == status


def test_with_a_token_or_names_others_are_answered(saver: Saver) -> None:
    elsewhere = {"host": "service.example"}
    token = {"authorization": "Bearer right"}
    with served(lambda messages: "ok", saver, token=SecretStr("right")) as url:
        assert httpx.post(url, json=call("1"), headers=elsewhere | token).status_code == 200
        browser = elsewhere | token | {"origin": "http://evil.com"}
        assert httpx.post(url, json=call("1"), headers=browser).status_code == 403
    with served(lambda messages: "ok", saver, hosts=["service.example"]) as url:
        assert httpx.post(url, json=call("2"), headers=elsewhere).status_code == 200
        assert httpx.post(url, json=call("2")).status_code == 403
