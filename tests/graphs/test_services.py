"""Participants that are HTTP services: a real server of the test's own, and all that it may do."""

import asyncio
import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import RetryPolicy
from pydantic import SecretStr

from asterism import (
    CircuitBreaker,
    Compensation,
    ContextManager,
    Participant,
    Service,
    SupervisorTrace,
    SupervisorWorkflowBuilder,
    Timeout,
    Usage,
    UseCached,
    lines_of,
    memory,
    open_checkpointer,
    pending_requests,
    proceed,
    resume,
)
from asterism.core.agent_spec import MemoryConfig
from asterism.core.run_types import WorkflowInput
from asterism.errors import AnswerError, ConfigurationError, WorkflowBuildError
from asterism.graphs.workflow import Workflow
from asterism.limits.budgets import Budget
from asterism.limits.failure_policies import can_pass
from asterism.testing import check_participant
from tests.asterism.observability.telemetry.serving import Silent, serving
from tests.processes import forks
from tests.teams import follow, said

Saver = BaseCheckpointSaver[str]
Act = Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]
REQUEST: WorkflowInput = {"messages": [("user", "A quote")]}
SECRET = "Bearer quite-secret-0123456789"


class Server:
    """A service that does one thing after the other, the last one for ever, and keeps the calls."""

    def __init__(self, *acts: Act) -> None:
        self.acts = list(acts)
        self.calls: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""
        self._context: Any = None

    def __enter__(self) -> "Server":
        told = self

        class Handler(Silent, BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                told.calls.append(body)
                told.headers.append({k.lower(): v for k, v in self.headers.items()})
                act = told.acts.pop(0) if len(told.acts) > 1 else told.acts[0]
                act(self, body)

        self._context = serving(Handler)
        self.url = self._context.__enter__()
        return self

    def __exit__(self, *args: Any) -> None:
        self._context.__exit__(*args)


def answers(body: object, status: int = 200, **headers: str) -> Act:
    """Answer with JSON, or with bytes as they are."""

    def act(handler: BaseHTTPRequestHandler, call: dict[str, Any]) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        for name, value in {"content-length": str(len(raw)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        try:
            handler.wfile.write(raw)
        except OSError:
            handler.close_connection = True  # whoever asked has gone away

    return act


def tells(text: str, **fields: Any) -> Act:
    return answers({"version": 1, "status": "ok", "text": text, **fields})


def asks(prompt: str, **fields: Any) -> Act:
    return answers({"status": "question", "question": {"id": prompt, "prompt": prompt, **fields}})


def cut(handler: BaseHTTPRequestHandler, call: dict[str, Any]) -> None:
    """Die in the middle of the answer."""
    handler.send_response(200)
    handler.send_header("content-length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"status": "ok", "te')
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)


def silent(handler: BaseHTTPRequestHandler, call: dict[str, Any]) -> None:
    """Say nothing for longer than anybody waits, until whoever asked has gone away."""
    handler.connection.settimeout(5)
    assert handler.connection.recv(1) == b""


def dripping(handler: BaseHTTPRequestHandler, call: dict[str, Any]) -> None:
    """Send a byte now and then, so that no single wait is long."""
    handler.send_response(200)
    handler.send_header("content-length", "1000")
    handler.end_headers()
    try:
        for _ in range(100):
            handler.wfile.write(b" ")
            time.sleep(0.05)
    except OSError:
        handler.close_connection = True


def endless(handler: BaseHTTPRequestHandler, call: dict[str, Any]) -> None:
    """Never stop to send."""
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b" " * 65536)
    except OSError:
        handler.close_connection = True


def star(thing: Any, saver: Any = None, visits: int = 1, **options: Any) -> Workflow:
    given = thing if isinstance(thing, Participant) else Participant(runs=thing)
    return (
        SupervisorWorkflowBuilder("Test", finish="forward", **options)
        .participants(quotes=given)
        .with_manager(follow(["quotes"] * visits))
        .build(checkpointer=saver)
    )


def quotes(url: str, **options: Any) -> Service:
    return Service(url, description="Makes quotes.", **options)


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def invoke(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Run a workflow in sync or in async."""

    def run(workflow: Workflow, *args: Any, **kwargs: Any) -> Any:
        if request.param:
            return asyncio.run(workflow.ainvoke(*args, **kwargs))
        return workflow.invoke(*args, **kwargs)

    yield run


def test_a_service_answers_and_remembers_by_its_conversation(
    invoke: Any, saver: Saver, thread: RunnableConfig
) -> None:
    with Server(tells("ten"), tells("eleven")) as server:
        workflow = star(quotes(server.url), saver, visits=2)
        assert said(invoke(workflow, REQUEST, thread)) == ["ten", "eleven"]
        invoke(workflow, REQUEST, thread)
        other: RunnableConfig = {"configurable": {"thread_id": "another"}}
        invoke(workflow, REQUEST, other)
    first, *rest = server.calls
    assert first == {
        "version": 1,
        "conversation_id": first["conversation_id"],
        "idempotency_key": server.headers[0]["idempotency-key"],
        "request": "A quote\n\nYour part: step 1",
        "answers": [],
        "history": [],
    }
    conversations = [call["conversation_id"] for call in server.calls]
    assert len(set(conversations[:4])) == 1 and len(set(conversations)) == 2
    assert len({call["idempotency_key"] for call in server.calls}) == 6
    assert [call["request"][-1] for call in rest] == ["2", "1", "2", "1", "2"]


def test_a_copied_and_an_emptied_memory_are_conversations_of_their_own(
    saver: Saver, thread: RunnableConfig
) -> None:
    copy: RunnableConfig = {"configurable": {"thread_id": "copy"}}
    with Server(tells("ten")) as server:
        workflow = star(quotes(server.url), saver)
        workflow.invoke(REQUEST, thread)
        memory(workflow, thread, "quotes").fork("copy")
        assert len(memory(workflow, copy, "quotes").messages()) == 2
        workflow.invoke(REQUEST, copy)
        workflow.invoke(REQUEST, thread)
        memory(workflow, thread, "quotes").forget()
        workflow.invoke(REQUEST, thread)
    first, copied, second, emptied = (call["conversation_id"] for call in server.calls)
    assert first == second and len({first, copied, emptied}) == 3


def test_a_conversation_goes_on_when_its_first_request_is_forgotten(
    saver: Saver, thread: RunnableConfig
) -> None:
    with Server(tells("ten")) as server:
        workflow = star(quotes(server.url), saver)
        workflow.invoke(REQUEST, thread)
        memories = memory(workflow, thread, "quotes")
        memories.forget(str(memories.messages()[0].id))
        workflow.invoke(REQUEST, thread)
    assert len({call["conversation_id"] for call in server.calls}) == 1


def test_a_participant_that_forgets_begins_a_conversation_each_time(
    saver: Saver, thread: RunnableConfig
) -> None:
    with Server(tells("ten")) as server:
        forgetful = Participant(runs=quotes(server.url), memory=MemoryConfig(enabled=False))
        star(forgetful, saver, visits=2).invoke(REQUEST, thread)
    assert len({call["conversation_id"] for call in server.calls}) == 2


def test_a_policy_for_prompts_has_no_hold_on_a_service() -> None:
    kept = Participant(runs=quotes("http://127.0.0.1:9"), context=ContextManager(max_tokens=100))
    with pytest.raises(WorkflowBuildError, match="'quotes' works elsewhere, where it keeps"):
        star(kept)


def test_the_history_is_sent_to_services_that_keep_nothing(thread: RunnableConfig) -> None:
    with Server(tells("ten"), tells("eleven")) as server, open_checkpointer("memory:") as saver:
        star(quotes(server.url, history=True), saver, visits=2).invoke(REQUEST, thread)
    assert [call["history"] for call in server.calls] == [
        [],
        [
            {"role": "user", "content": "A quote\n\nYour part: step 1"},
            {"role": "assistant", "content": "ten"},
        ],
    ]


def test_a_question_surfaces_and_its_answer_goes_back(
    invoke: Any, saver: Saver, thread: RunnableConfig
) -> None:
    number = {"type": "integer", "minimum": 1}
    acts = (asks("How many?", response_schema=number), asks("Where?"), tells("done"))
    with Server(*acts) as server:
        workflow = star(quotes(server.url), saver)
        assert invoke(workflow, REQUEST, thread)["status"] == "waiting"
        (request,) = pending_requests(workflow, thread)
        assert (request.path, request.prompt, request.schema) == ("quotes", "How many?", number)
        assert request.value["requesting_agent"] == "quotes"
        with pytest.raises(AnswerError, match="less than the minimum"):
            resume(workflow, thread, 0)
        assert resume(workflow, thread, 3)["status"] == "waiting"
        assert pending_requests(workflow, thread)[0].prompt == "Where?"
        assert said(resume(workflow, thread, "Lisbon")) == ["done"]
    given = [
        {"question_id": "How many?", "prompt": "How many?", "value": 3},
        {"question_id": "Where?", "prompt": "Where?", "value": "Lisbon"},
    ]
    assert [call["answers"] for call in server.calls] == [[], given[:1], given]
    assert len({call["conversation_id"] for call in server.calls}) == 1
    assert len({call["idempotency_key"] for call in server.calls}) == 3


def test_the_answers_of_one_visit_are_none_of_the_next(thread: RunnableConfig) -> None:
    acts = (asks("Why?"), tells("one"), tells("two"))
    with Server(*acts) as server, open_checkpointer("memory:") as saver:
        workflow = star(quotes(server.url), saver)
        workflow.invoke(REQUEST, thread)
        resume(workflow, thread, "because")
        workflow.invoke(REQUEST, thread)
    assert [len(call["answers"]) for call in server.calls] == [0, 1, 0]


def test_a_question_that_is_withdrawn_is_forgotten(thread: RunnableConfig) -> None:
    with Server(asks("Why?"), tells("two")) as server, open_checkpointer("memory:") as saver:
        workflow = star(quotes(server.url), saver)
        workflow.invoke(REQUEST, thread)
        assert workflow.invoke(REQUEST, thread)["status"] == "completed"
    assert [len(call["answers"]) for call in server.calls] == [0, 0]


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        ({"type": "nonsense"}, "is none: 'nonsense' is not valid"),
        ({"$ref": "http://127.0.0.1:9/secret"}, "refers to 'http://127.0.0.1:9/secret'"),
        (
            {"prefixItems": [{"$dynamicRef": "file:///etc/passwd"}]},
            "refers to 'file:///etc/passwd'",
        ),
    ],
)
def test_a_question_cannot_bring_a_schema_that_reads_elsewhere(
    schema: dict[str, Any], fault: str, thread: RunnableConfig
) -> None:
    act = asks("Why?", response_schema=schema)
    with Server(act) as server, open_checkpointer("memory:") as saver:
        result = star(quotes(server.url), saver).invoke(REQUEST, thread)
    (report,) = result["reports"]
    assert (report["status"], report["kind"]) == ("failed", "api_call_failed")
    assert fault in report["error"]


# ---- what can go wrong


@pytest.mark.parametrize(
    ("act", "kind", "error"),
    [
        pytest.param(cut, "api_call_failed", "RemoteConnectionError: .* broke off", id="cut"),
        pytest.param(silent, "agent_timeout", "RemoteTimeoutError: .* within 0.4 s", id="silent"),
        pytest.param(dripping, "agent_timeout", "RemoteTimeoutError: .* within 0.4", id="dripping"),
        pytest.param(endless, "api_call_failed", "RemoteReplyError: .* 5,000 bytes", id="endless"),
        pytest.param(
            answers(b"<html>"), "api_call_failed", "RemoteReplyError: .* Invalid JSON", id="html"
        ),
        pytest.param(
            answers({"status": "done"}), "api_call_failed", "no ServiceReply: .*tag", id="status"
        ),
        pytest.param(
            answers({"status": "ok", "text": 3}), "api_call_failed", "ok.text: ", id="text"
        ),
        pytest.param(
            tells("hi", version=2), "api_call_failed", "ok.version: .* should be 1", id="version"
        ),
        pytest.param(
            tells("hi", usage=[{"cost_usd": "NaN"}]), "api_call_failed", "cost_usd", id="usage"
        ),
        pytest.param(
            answers({"status": "ok", "text": "x"}, content_encoding="gzip"),
            "api_call_failed",
            "RemoteReplyError: .* coding 'gzip'",
            id="gzip",
        ),
        pytest.param(answers(b"", 204), "api_call_failed", "RemoteReplyError", id="204"),
        pytest.param(
            answers(b"no", 401), "api_call_failed", "RemoteStatusError: .* 401 Unauth", id="401"
        ),
        pytest.param(
            answers(b"no", 799), "api_call_failed", "RemoteStatusError: .* call: 799$", id="799"
        ),
        pytest.param(
            answers(b"", 302, location="/"), "api_call_failed", "RemoteRedirectError", id="302"
        ),
        pytest.param(
            answers(b"", 307, location="/again"),
            "api_call_failed",
            "RemoteRedirectError: .* more than 3 times",
            id="a circle",
        ),
        pytest.param(
            answers(b"", 307, location="http://127.0.0.1:9/"),
            "api_call_failed",
            "redirects to http://127.0.0.1:9/, which is not allowed",
            id="another port",
        ),
        pytest.param(
            answers(b"", 308, location="file:///etc/passwd"),
            "api_call_failed",
            "RemoteRedirectError: .* not allowed",
            id="another scheme",
        ),
        pytest.param(
            answers({"status": "failed", "error": "no stock"}),
            "agent_failed",
            "RemoteFailedError: no stock",
            id="failed",
        ),
        pytest.param(
            answers({"status": "failed", "error": "late", "kind": "agent_timeout"}),
            "agent_timeout",
            "RemoteFailedError: late",
            id="failed by a known kind",
        ),
        pytest.param(
            answers({"status": "failed", "error": "bad", "kind": "weather"}),
            "agent_failed",
            "RemoteFailedError: bad",
            id="failed by an unknown kind",
        ),
    ],
)
def test_every_failure_has_a_name_and_can_be_made_up_for(
    act: Act, kind: Any, error: str, invoke: Any
) -> None:
    with Server(act) as server:
        service = quotes(
            server.url,
            timeout=0.4 if act in (silent, dripping) else 20,
            max_bytes=5_000,
            headers={"authorization": SecretStr(SECRET)},
        )
        plain = invoke(star(service), REQUEST)["reports"][0]
        cached = Compensation({kind: UseCached("about ten")})
        made_up = invoke(star(Participant(runs=service, policies=[cached])), REQUEST)
    assert plain["kind"] == kind
    assert re.search(error, plain["error"]), plain["error"]
    assert "secret" not in plain["error"]
    assert said(made_up) == ["about ten"]


def test_a_service_that_is_not_there_is_a_failure(invoke: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        (report,) = invoke(star(quotes(url)), REQUEST)["reports"]
    assert report["kind"] == "api_call_failed"
    assert report["error"].startswith(f"RemoteConnectionError: {url}/ cannot be reached")


def test_what_a_failing_service_had_said_is_kept() -> None:
    failed = {"status": "failed", "error": "no time", "text": "half", "usage": [{"cost_usd": 2}]}
    with Server(answers(failed)) as server:
        result = star(quotes(server.url)).invoke(REQUEST)
    assert result["reports"][0]["text"] == "half"
    assert Usage.of(lines_of(result)).cost_usd == 2


@pytest.mark.parametrize(
    "act",
    [cut, answers(b"", 503), answers(b"", 429, retry_after="0.05"), silent],
    ids=["cut", "503", "429", "silent"],
)
def test_what_can_pass_is_tried_again_with_the_same_key(act: Act, invoke: Any) -> None:
    policies = [RetryPolicy(initial_interval=0.01, max_attempts=3, retry_on=can_pass)]
    with Server(act, act, tells("ten")) as server:
        service = quotes(server.url, timeout=0.5 if act is silent else 20)
        result = invoke(star(Participant(runs=service, policies=policies)), REQUEST)
    assert said(result) == ["ten"]
    assert result["reports"][0]["attempts"] == 3
    assert len({call["idempotency_key"] for call in server.calls}) == 1


def test_a_wait_that_a_service_asks_for_is_kept_to() -> None:
    policies = [RetryPolicy(initial_interval=0.01, jitter=False, retry_on=can_pass)]
    with Server(answers(b"", 503, retry_after="0.4"), tells("ten")) as server:
        began = time.monotonic()
        star(Participant(runs=quotes(server.url), policies=policies)).invoke(REQUEST)
    assert time.monotonic() - began >= 0.4


def test_what_cannot_pass_is_not_tried_again() -> None:
    policies = [RetryPolicy(initial_interval=0.01, retry_on=can_pass)]
    for act in (answers(b"", 404), answers(b"{"), answers(b"", 302, location="/")):
        with Server(act) as server:
            star(Participant(runs=quotes(server.url), policies=policies)).invoke(REQUEST)
        assert len(server.calls) == 1


def test_participants_of_one_service_share_its_circuit(thread: RunnableConfig) -> None:
    registry: Any = {}
    breaker = CircuitBreaker(failure_threshold=2, registry=registry)
    with Server(answers(b"", 500)) as server:
        workflow = (
            SupervisorWorkflowBuilder("Test", finish="forward", policies=[breaker])
            .participants(one=quotes(f"{server.url}/one"), two=quotes(f"{server.url}/two"))
            .with_manager(follow(["one", "two", "one"]))
            .build()
        )
        result = workflow.invoke(REQUEST)
    assert list(registry) == [server.url]
    assert [report["kind"] for report in result["reports"]][2] == "circuit_open"
    assert len(server.calls) == 2


def test_a_question_leaves_the_circuit_closed(thread: RunnableConfig) -> None:
    breaker = CircuitBreaker(failure_threshold=1, registry={})
    with Server(asks("Why?"), tells("ten")) as server, open_checkpointer("memory:") as saver:
        given = Participant(runs=quotes(server.url), policies=[breaker])
        workflow = star(given, saver)
        workflow.invoke(REQUEST, thread)
        assert said(resume(workflow, thread, "so")) == ["ten"]
    assert breaker.state(server.url) == "closed"


def test_a_timeout_of_the_policies_ends_the_call(invoke: Any) -> None:
    with Server(silent) as server:
        given = Participant(runs=quotes(server.url), policies=[Timeout(0.3)])
        (report,) = invoke(star(given), REQUEST)["reports"]
    assert report["kind"] == "agent_timeout"


def test_a_cancelled_run_closes_the_connection() -> None:
    gone: list[bytes] = []

    def wait(handler: BaseHTTPRequestHandler, call: dict[str, Any]) -> None:
        handler.connection.settimeout(5)
        gone.append(handler.connection.recv(1))

    async def cancelled() -> None:
        with Server(wait) as server:
            task = asyncio.create_task(star(quotes(server.url)).ainvoke(REQUEST))
            while not server.calls:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(cancelled())
    assert gone == [b""]


# ---- where a call may go, and what nobody may see


def test_a_redirect_to_an_allowed_host_is_followed_without_the_secrets() -> None:
    with Server(tells("ten")) as other:
        there = answers(b"", 307, location=f"{other.url}/there")
        with Server(there) as server:
            hosts = [address.removeprefix("http://") for address in (server.url, other.url)]
            given = quotes(server.url, hosts=hosts, headers={"x-key": SecretStr(SECRET)})
            assert said(star(given).invoke(REQUEST)) == ["ten"]
    assert server.calls == other.calls
    assert server.headers[0]["x-key"] == SECRET and "x-key" not in other.headers[0]
    assert other.headers[0]["idempotency-key"] == server.headers[0]["idempotency-key"]


def test_a_redirect_on_the_same_host_keeps_the_secrets() -> None:
    with Server(answers(b"", 308, location="/there/"), tells("ten")) as server:
        given = quotes(f"{server.url}/there", headers={"x-key": SecretStr(SECRET)})
        assert said(star(given).invoke(REQUEST)) == ["ten"]
    assert [headers["x-key"] for headers in server.headers] == [SECRET, SECRET]


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("ftp://example.com", "no address of a service; allowed: http:// or https://"),
        ("file:///etc/passwd", "no address of a service"),
        ("example.com/ask", "no address of a service"),
        ("http://", "no address of a service"),
        ("http://exa mple.com", "no address of a service"),
        ("http://example.com:99999", "no address of a service"),
        ("https://me:pass-word-1@example.com", "has a user or a password in it"),
        ("https://example.com@evil.com/", "has a user or a password in it"),
    ],
)
def test_an_address_that_must_not_be_called_is_refused(url: str, fault: str) -> None:
    with pytest.raises(ConfigurationError, match=fault) as refused:
        Service(url)
    assert "pass-word-1" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "hosts", "allowed"),
    [
        ("https://example.com/ask", [], True),
        ("https://example.com:8443/ask", [], True),
        ("https://EXAMPLE.com", ["example.com"], True),
        ("https://example.com", ["example.com:443"], True),
        ("http://example.com:80", ["example.com:80"], True),
        ("http://[::1]:8000", ["[::1]:8000"], True),
        ("https://bücher.example", ["xn--bcher-kva.example"], True),
        ("https://example.com:8443", ["example.com"], False),
        ("http://example.com", ["example.com:443"], False),
        ("https://example.com.", ["example.com"], False),
        ("https://evil-example.com", ["example.com"], False),
        ("https://sub.example.com", ["example.com"], False),
        ("http://2130706433/", ["127.0.0.1"], False),
        ("http://127.1/", ["127.0.0.1"], False),
    ],
)
def test_the_host_has_to_be_on_the_list(url: str, hosts: list[str], allowed: bool) -> None:
    if allowed:
        assert Service(url, hosts=hosts).url == url
    else:
        with pytest.raises(ConfigurationError, match="is none of hosts="):
            Service(url, hosts=hosts)


@pytest.mark.parametrize(
    "entry", ["https://example.com", "example.com/ask", "*.example.com", "me:key@a.com", "", "a b"]
)
def test_an_entry_of_the_list_that_is_no_host_is_refused(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="is no host; allowed: a name"):
        Service("https://example.com", hosts=["example.com", entry])


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"headers": {"authorization": "Bearer x"}}, "has a value that would be shown"),
        ({"headers": {"x key": SecretStr("x")}}, "'x key' is no name of a header"),
        ({"headers": {"Host": SecretStr("x")}}, "'Host' is set by the call itself"),
        ({"timeout": 0}, "timeout is 0; it must be a number of seconds, above 0"),
        ({"timeout": float("inf")}, "timeout is inf"),
        ({"max_bytes": 0}, "max_bytes is 0"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigurationError, match=fault):
        Service("https://example.com", **options)


def test_a_secret_reaches_the_service_and_nobody_else(
    tmp_path: Path, thread: RunnableConfig
) -> None:
    trace = SupervisorTrace(f"sqlite:///{tmp_path / 'traces.db'}")
    with Server(tells("ten"), answers(b"", 500)) as server:
        headers = {"authorization": SecretStr(SECRET), "x-fetched": lambda: SECRET}
        service = quotes(server.url, headers=headers)
        with open_checkpointer(f"sqlite:///{tmp_path / 'threads.db'}") as saver:
            workflow = star(service, saver, visits=2, events=trace.bus)
            result = workflow.invoke(REQUEST, thread)
            assert [report["status"] for report in result["reports"]] == ["ok", "failed"]
    assert server.headers[0]["authorization"] == server.headers[0]["x-fetched"] == SECRET
    stored = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert b"ten" in stored and b"quite-secret" not in stored
    assert "quite-secret" not in f"{service!r} {result!r} {trace.get_all_traces()!r}"


def test_a_secret_that_cannot_be_sent_is_not_quoted() -> None:
    with Server(tells("ten")) as server:
        given = quotes(server.url, headers={"authorization": SecretStr(f"{SECRET}\n")})
        (report,) = star(given).invoke(REQUEST)["reports"]
    assert "The value of the header 'authorization' cannot be sent" in report["error"]
    assert "quite-secret" not in report["error"] and server.calls == []


# ---- money


def test_what_a_service_reports_is_counted(saver: Saver, thread: RunnableConfig) -> None:
    tokens = {"model": "gpt-5-mini", "input_tokens": 1_000_000, "output_tokens": 0}
    asked = {"status": "question", "question": {"id": "q", "prompt": "Why?"}}
    acts = (answers({**asked, "usage": [{"cost_usd": "0.10"}]}), tells("ten", usage=[tokens]))
    with Server(*acts) as server:
        workflow = star(quotes(server.url), saver)
        workflow.invoke(REQUEST, thread)
        result = resume(workflow, thread, "so")
    usage = Usage.of(lines_of(result))
    assert (usage.calls, usage.input_tokens, usage.cost_usd) == (1, 1_000_000, Decimal("0.35"))
    assert {line["by"] for line in lines_of(result)} == {"quotes"}


def test_a_budget_counts_what_services_report() -> None:
    with Server(tells("ten", usage=[{"model": "gpt-5-mini", "input_tokens": 900}])) as server:
        given = Participant(runs=quotes(server.url), budget=Budget(max_tokens=1_000))
        result = star(given, visits=2).invoke(REQUEST)
    assert Usage.of(lines_of(result)).tokens == 1_800


# ---- crashes


def killed_before_it_stores(url: str, folder: Path) -> None:
    """Have the service kill this process when it has answered, and go on with it later."""
    with open_checkpointer(f"sqlite:///{folder / 'threads.db'}") as saver:
        workflow = star(quotes(url), saver)
        config: RunnableConfig = {"configurable": {"thread_id": "t"}}
        if workflow.get_state(config).values:
            proceed(workflow, config)
        else:
            (folder / "pid").write_text(str(os.getpid()))
            workflow.invoke(REQUEST, config)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_kill_between_the_answer_and_its_checkpoint_repeats_the_call_with_its_key(
    tmp_path: Path,
) -> None:
    def kill(handler: BaseHTTPRequestHandler, call: dict[str, Any]) -> None:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)

    with Server(kill, tells("ten")) as server:
        for code in (-signal.SIGKILL, 0):
            process = forks.Process(target=killed_before_it_stores, args=(server.url, tmp_path))
            process.start()
            process.join(60)
            assert process.exitcode == code
    first, second = server.calls
    assert first == second
    with open_checkpointer(f"sqlite:///{tmp_path / 'threads.db'}") as saver:
        values = star(quotes(server.url), saver).get_state({"configurable": {"thread_id": "t"}})
        assert said(values.values) == ["ten"]


def test_an_answer_given_anew_has_a_key_of_its_own(thread: RunnableConfig) -> None:
    acts = (asks("Why?"), answers(b"", 500), tells("ten"))
    with Server(*acts) as server, open_checkpointer("memory:") as saver:
        policies = [RetryPolicy(initial_interval=0.01, retry_on=can_pass)]
        workflow = star(Participant(runs=quotes(server.url), policies=policies), saver)
        workflow.invoke(REQUEST, thread)
        assert said(resume(workflow, thread, "so")) == ["ten"]
    keys = [call["idempotency_key"] for call in server.calls]
    assert keys[0] != keys[1] == keys[2]
    assert server.calls[1] == server.calls[2]


def test_a_service_passes_the_suite_for_participants() -> None:
    with Server(tells("My part is done.")) as server:
        report = check_participant(quotes(server.url))
    assert report.not_exercised == [
        "steps",
        "interrupts",
        "structured_answers",
        "direct_returns",
    ]


def test_a_service_that_asks_passes_the_suite_for_participants() -> None:
    def act(handler: BaseHTTPRequestHandler, call: dict[str, Any]) -> None:
        (tells("My part is done.") if call["answers"] else asks("Why?"))(handler, call)

    with Server(act) as server:
        report = check_participant(quotes(server.url), answers=["so"])
    assert "interrupts" in report.passed
