"""Questions with a clock: notices, reminders, escalation, defaults, webhooks."""

import asyncio
import hashlib
import hmac
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import interrupt

from asterism import (
    Contract,
    Participant,
    QuestionClock,
    SupervisorWorkflowBuilder,
    Webhook,
    acheck_questions,
    awatch_questions,
    open_checkpointer,
    pending_requests,
    resume,
)
from asterism.errors import ConfigurationError
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.databases import SAVERS, url_of
from tests.teams import follow

HOUR = 3_600.0
ASKED: Any = {"messages": [("user", "Book it")]}


class Clock:
    """The time, as a test sets it: seconds after the question was asked."""

    def __init__(self) -> None:
        self.begun, self.later = time.time(), 0.0

    def __call__(self) -> float:
        return self.begun + self.later


def asking(saver: Any, schema: Any = str) -> Any:
    def ask(messages: list[Any]) -> str:
        return f"told: {interrupt({'prompt': 'Which hotel?'}, response_schema=schema)}"

    return (
        SupervisorWorkflowBuilder("Trip", finish="forward")
        .participants(clerk=Participant(runs=ask, description="Asks."))
        .with_manager(follow(["clerk"]))
        .build(checkpointer=saver)
    )


def begin(workflow: Any, thread: str = "t") -> None:
    workflow.invoke(ASKED, {"configurable": {"thread_id": thread}})


def status(workflow: Any, thread: str = "t") -> Any:
    return workflow.get_state({"configurable": {"thread_id": thread}}).values["status"]


BOB = QuestionClock(
    to="anna",
    remind_every=HOUR,
    escalate=[(2 * HOUR, "bob")],
    deadline=8 * HOUR,
    default="the cheapest, nobody answered",
)


@pytest.mark.parametrize("kind", SAVERS)
async def test_anna_is_asked_then_bob_then_the_cheapest_is_taken(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    now = Clock()
    with open_checkpointer(url_of(kind, request, tmp_path)) as saver:
        workflow = await asyncio.to_thread(asking, saver)
        await workflow.ainvoke(ASKED, {"configurable": {"thread_id": "t"}})
        seen = []
        for hours in (0, 0.5, 1.1, 1.2, 2.1, 3.2, 7.9, 8.1, 9):
            now.later = hours * HOUR
            sent = await acheck_questions(workflow, BOB, lambda _: None, now=now)
            seen += [(hours, notice.kind, notice.to) for notice in sent]
        assert seen == [
            (0, "asked", "anna"),
            (1.1, "reminder", "anna"),
            (2.1, "escalated", "bob"),
            (3.2, "reminder", "bob"),
            (7.9, "reminder", "bob"),
            (8.1, "default", "bob"),
        ]
        state = await workflow.aget_state({"configurable": {"thread_id": "t"}})
    assert state.values["status"] == "completed"
    assert state.values["messages"][-1].text == "told: the cheapest, nobody answered"


def check(workflow: Any, clock: Any, notify: Any, now: Callable[[], float]) -> list[Any]:
    return asyncio.run(acheck_questions(workflow, clock, notify, now=now))


def test_what_became_due_while_no_process_ran_is_done_by_the_first_one(tmp_path: Path) -> None:
    now = Clock()
    with open_checkpointer(f"{tmp_path}/a.db") as saver:
        begin(asking(saver))
    now.later = 20 * HOUR
    with open_checkpointer(f"{tmp_path}/a.db") as saver:
        workflow = asking(saver)
        assert [n.kind for n in check(workflow, BOB, lambda _: None, now)] == ["default"]
        assert status(workflow) == "completed"


def test_two_passes_at_once_send_each_notice_once(tmp_path: Path) -> None:
    now = Clock()
    sent: list[Any] = []

    async def both() -> None:
        with (
            open_checkpointer(f"{tmp_path}/a.db") as one,
            open_checkpointer(f"{tmp_path}/a.db") as two,
        ):
            teams = [asking(one), asking(two)]
            for number in range(5):
                config = {"configurable": {"thread_id": str(number)}}
                await teams[0].ainvoke(ASKED, config)
            for now.later in (0, 3 * HOUR, 9 * HOUR):
                await asyncio.gather(
                    *(acheck_questions(team, BOB, sent.append, now=now) for team in teams)
                )
            ends = [await teams[0].aget_state({"configurable": {"thread_id": "0"}})]
            assert ends[0].values["status"] == "completed"

    asyncio.run(both())
    counted = [(n.thread, n.kind) for n in sent]
    assert sorted(counted) == sorted(
        (str(number), kind) for number in range(5) for kind in ("asked", "escalated", "default")
    )


def test_an_answered_question_is_left_alone() -> None:
    now, workflow = Clock(), asking(InMemorySaver())
    begin(workflow)
    resume(workflow, "t", "Hotel Mira")
    now.later = 9 * HOUR
    assert check(workflow, BOB, lambda _: None, now) == []


def test_a_notice_that_fails_is_sent_by_the_next_pass(caplog: pytest.LogCaptureFixture) -> None:
    now, workflow = Clock(), asking(InMemorySaver())
    begin(workflow)

    def fail(notice: Any) -> None:
        raise OSError("no line")

    with caplog.at_level(logging.WARNING, "asterism"):
        assert check(workflow, BOB, fail, now) == []
    assert "a notice to anna of thread t was not sent" in caplog.text
    assert [n.kind for n in check(workflow, BOB, lambda _: None, now)] == ["asked"]


def test_a_default_that_is_no_answer_leaves_the_question_open(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now, workflow = Clock(), asking(InMemorySaver(), schema=int)
    begin(workflow)
    now.later = 9 * HOUR
    with caplog.at_level(logging.WARNING, "asterism"):
        assert check(workflow, BOB, lambda _: None, now) == []
    assert "the answer of thread t was not taken" in caplog.text
    assert len(pending_requests(workflow, "t")) == 1


def pay(amount: int) -> str:
    """Pays."""
    return f"paid {amount}"


def test_an_approval_of_a_real_agent_has_a_clock_of_its_own() -> None:
    model = ScriptedChatModel(
        script=[ScriptedReply(tool_calls=[("pay", {"amount": 5})]), "It was refused."]
    )
    workflow = (
        SupervisorWorkflowBuilder("Shop", finish="forward")
        .participants(
            clerk=Participant(model=model, tools=[pay], description="Pays.", approve=["pay"])
        )
        .with_manager(follow(["clerk"]))
        .build(checkpointer=InMemorySaver())
    )
    begin(workflow)
    reject = QuestionClock(
        to="anna",
        deadline=HOUR,
        default=lambda request: {"decisions": [{"type": "reject", "message": "No answer."}]},
        applies=lambda request: request.request_type == "tool_approval",
    )
    now = Clock()
    now.later = 2 * HOUR
    sent = check(workflow, [reject, BOB], lambda _: None, now)
    assert [n.kind for n in sent] == ["default"]
    assert status(workflow) == "completed"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"deadline": 5}, "deadline and default go together"),
        ({"default": "x"}, "deadline and default go together"),
        ({"deadline": -1, "default": "x"}, "deadline is -1"),
        ({"remind_every": 0}, "remind_every is 0"),
        ({"escalate": [("soon", "bob")]}, "escalate to 'bob' is 'soon'"),
    ],
)
def test_a_clock_that_means_nothing_is_refused(given: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        QuestionClock(to="anna", **given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"url": "http://example.org"}, "scheme 'http'"),
        ({"url": "file:///etc/passwd"}, "scheme 'file'"),
        ({"url": "https://evil.example", "hosts": ["good.example"]}, "not allowed: good.example"),
        ({"url": "https://good.example", "secret": "short"}, "less than 16"),
    ],
)
def test_a_webhook_that_is_not_safe_is_refused(given: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Webhook(**{"secret": "s" * 16, **given})


async def test_a_webhook_is_signed_and_tried_again() -> None:
    heard: list[tuple[dict[str, str], bytes]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = {k.lower(): v for k, v in (line.split(": ") for line in head.split("\r\n")[1:-2])}
        heard.append((headers, await reader.readexactly(int(headers["content-length"]))))
        word = "500 No" if len(heard) == 1 else "204 Fine"
        writer.write(f"HTTP/1.1 {word}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    workflow = asking(InMemorySaver())
    await workflow.ainvoke(ASKED, {"configurable": {"thread_id": "t"}})
    hook = Webhook(url=f"http://127.0.0.1:{port}/hook", secret="a secret of a few words")
    async with server:
        assert len(await acheck_questions(workflow, QuestionClock(to="anna"), hook)) == 1
    headers, body = heard[1]
    signed = hmac.new(
        b"a secret of a few words", f"{headers['x-asterism-time']}.".encode() + body, hashlib.sha256
    )
    assert headers["x-asterism-signature"] == f"sha256={signed.hexdigest()}"
    assert json.loads(body)["request"]["prompt"] == "Which hotel?" and "words" not in repr(hook)


async def test_watching_goes_on_until_it_is_cancelled() -> None:
    workflow, sent = asking(InMemorySaver()), asyncio.Event()
    await workflow.ainvoke(ASKED, {"configurable": {"thread_id": "t"}})

    def note(notice: Any) -> None:
        sent.set()

    clock = QuestionClock(to="anna", deadline=0.3, default="any")
    watching = asyncio.create_task(awatch_questions(workflow, clock, note, poll=0.05))
    await asyncio.wait_for(sent.wait(), 30)
    config: Any = {"configurable": {"thread_id": "t"}}
    for _ in range(600):
        if (await workflow.aget_state(config)).values["status"] == "completed":
            break
        await asyncio.sleep(0.05)
    watching.cancel()
    assert (await workflow.aget_state(config)).values["status"] == "completed"


async def test_questions_need_a_checkpointer() -> None:
    with pytest.raises(ConfigurationError, match="with a checkpointer"):
        await acheck_questions(asking(None), BOB, lambda _: None)


def test_a_run_goes_on_for_whom_it_was_begun() -> None:
    def ask(messages: list[Any]) -> str:
        return f"told: {interrupt({'prompt': 'Which hotel?'}, response_schema=str)}"

    workflow = (
        SupervisorWorkflowBuilder(
            "Trip", finish="forward", contracts=[Contract(per="user", max_calls=9)]
        )
        .participants(clerk=Participant(runs=ask, description="Asks."))
        .with_manager(follow(["clerk"]))
        .build(checkpointer=InMemorySaver())
    )
    workflow.invoke(ASKED, {"configurable": {"thread_id": "t", "user_id": "ann"}})
    now = Clock()
    now.later = 9 * HOUR
    assert [n.kind for n in check(workflow, BOB, lambda _: None, now)] == ["default"]
    assert status(workflow) == "completed"


def test_a_default_that_fails_keeps_no_other_question_from_its_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now, workflow = Clock(), asking(InMemorySaver())
    begin(workflow, "a")
    begin(workflow, "b")

    def answer(request: Any) -> str:
        if not caplog.records:
            raise LookupError("no idea")
        return "the cheapest"

    now.later = 2 * HOUR
    clock = QuestionClock(to="anna", deadline=HOUR, default=answer)
    with caplog.at_level(logging.WARNING, "asterism"):
        assert len(check(workflow, clock, lambda _: None, now)) == 1
    assert "LookupError" in caplog.text
