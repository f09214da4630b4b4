"""The page over HTTP: whole runs, what is refused, and what nobody may see."""

import asyncio
import gzip
import itertools
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from asterism.apps.cli.app import app as command
from asterism.apps.stored_threads import config_of
from asterism.apps.ui.app import STATIC, create_app
from asterism.apps.ui.responses import BODY_LIMIT
from asterism.apps.ui.run_manager import RunManager
from asterism.apps.ui.thread_watch import ThreadWatch
from asterism.errors import ConfigurationError
from asterism.graphs.catalog import open_graph
from asterism.graphs.shipped import SHIPPED
from asterism.storage.open import open_checkpointer
from tests.asterism.apps.ui.teams import GATE, HERE, HOSTILE

BASE = "http://localhost:8000"
NAMES = ("gated", "hostile", "trips", "bank", "broken", "plain", "markdown", "teller", "failing")
GRAPHS = [f"{HERE}:{name}" for name in (*NAMES, "flaky", "long", "nested")]
PARTY = "Plan a corporate holiday party for 50 people in Seattle on December 15th"


class Page:
    """Talks to the server as the page does."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    @property
    def hub(self) -> RunManager:
        return self.client.app.state.hub  # type: ignore[attr-defined,no-any-return]  # an ASGI app

    def get(self, path: str, **query: str) -> Any:
        response = self.client.get(f"/api/{path}", params=query)
        assert response.status_code == 200, response.text
        return response.json()

    def post(self, path: str, **body: Any) -> Any:
        response = self.refused(path, **body)
        assert response[0] == 202, response
        return response[1]

    def refused(self, path: str, **body: Any) -> tuple[int, Any]:
        response = self.client.post(f"/api/{path}", json=body, headers={"origin": BASE})
        return response.status_code, response.json()

    def begin(self, graph: str, request: str = "Do it") -> str:
        name = graph if graph == "event_planning" else f"{HERE}:{graph}"
        return str(self.post("run", graph=name, request=request)["thread"])

    def settled(self, thread: str) -> Any:
        """The thread, when its run here is over."""

        async def wait() -> None:
            run = self.hub.run(thread)
            if run and run.task:
                await asyncio.wait({run.task}, timeout=60)

        assert self.client.portal is not None
        self.client.portal.call(wait)
        return self.get("thread", thread=thread)


@pytest.fixture
def db(tmp_path: Path) -> str:
    GATE.reset()
    return str(tmp_path / "threads.db")


@pytest.fixture
def serve(db: str) -> Callable[..., TestClient]:
    def make(**options: Any) -> TestClient:
        created = create_app(db=db, graphs=GRAPHS, stream_seconds=0, **options)
        return TestClient(created, base_url=BASE, raise_server_exceptions=False)

    return make


@pytest.fixture
def page(serve: Callable[..., TestClient]) -> Iterator[Page]:
    with serve() as client:
        yield Page(client)


def said(view: Any) -> list[str]:
    return [report["text"] for report in view["reports"]]


def test_an_event_is_planned_with_a_question_answered(page: Page) -> None:
    thread = page.begin("event_planning", "Plan a party")
    view = page.settled(thread)
    assert (view["status"], view["driven"], view["unfinished"]) == ("waiting", None, True)
    (question,) = view["questions"]
    assert question["prompt"].startswith("To go on I need the city")
    assert question["schema"] == {"type": "string", "minLength": 1}

    for answers in ({question["id"]: " "}, {question["id"]: 7}):
        status, found = page.refused("answer", thread=thread, answers=answers)
        assert (status, found["error"]["code"]) == (422, "invalid_answer")
    stale = page.refused("answer", thread=thread, answers={"f" * 32: "x"})
    assert (stale[0], stale[1]["error"]["code"]) == (409, "unknown_request")

    page.post("answer", thread=thread, answers={question["id"]: "Denver, 40 people, May 5th"})
    view = page.settled(thread)
    assert (view["status"], view["questions"], view["iterations"]) == ("completed", [], 7)
    assert [(p["id"], p["visits"]) for p in view["participants"]] == [
        ("venue", 2), ("catering", 1), ("budget", 1), ("logistics", 1),
    ]  # fmt: skip
    assert view["usage"]["tokens"] > 1000 and view["usage"]["cost_usd"].startswith("0")
    assert view["reports"][-1]["files"][0]["name"].endswith(".ics")
    assert view["messages"][-1]["kind"] == "answer"
    done = page.refused("answer", thread=thread, answers={question["id"]: "x"})
    assert (done[0], done[1]["error"]["code"]) == (409, "nothing_pending")

    remembered = page.get("memory", thread=thread, participant="venue")
    assert [message["type"] for message in remembered] == [
        "human",
        "ai",
        "human",
        "ai",
        "tool",
        "ai",
    ]
    assert remembered[3]["calls"][0]["name"] == "search_venues"
    assert page.get("memory", thread=thread, participant="../x") == []


def test_a_plan_is_shown_with_everybody_who_works_for_it(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.md").write_text(f"The garden hall costs 900 euros, says {name}.\n")
    monkeypatch.setenv("ASTERISM_SOURCES", str(tmp_path))
    begun = page.post("run", graph="research", request="What does the garden hall cost?")
    view = page.settled(begun["thread"])
    assert view["status"] == "completed"
    readers = [p for p in view["participants"] if p["id"].startswith("reader")]
    assert [(p["visits"], p["status"]) for p in readers[:2]] == [(1, "ok"), (1, "ok")]
    remembered = page.get("memory", thread=begun["thread"], participant=readers[0]["id"])
    assert "garden hall" in remembered[0]["text"]
    labels = [step["label"] for step in page.get("history", thread=begun["thread"])]
    assert "Supervisor starts a plan" in labels


def test_a_thread_takes_the_next_request(page: Page) -> None:
    thread = page.begin("event_planning", PARTY)
    page.settled(thread)
    page.post("run", thread=thread, request="Which venues are there?")
    view = page.settled(thread)
    assert (view["status"], view["request"]) == ("completed", "Which venues are there?")
    assert [row["thread"] for row in page.get("threads")["runs"]] == [thread]


def test_a_message_from_the_page_steers_the_run_under_way(page: Page) -> None:
    thread = page.begin("gated")
    assert GATE.reached.acquire(timeout=60)
    assert page.post("steer", thread=thread, message="In French") == {"thread": thread}
    for bad in (" ", ""):
        status, found = page.refused("steer", thread=thread, message=bad)
        assert status in (400, 422) and "The message is" in found["error"]["message"]
    status, found = page.refused("steer", thread="unknown", message="x")
    assert "There is no thread 'unknown'" in found["error"]["message"]
    for _ in range(2):
        GATE.open.release()
    view = page.settled(thread)
    assert view["status"] == "completed"
    assert [m["text"] for m in view["messages"] if m["type"] == "human"] == ["Do it", "In French"]


def test_one_run_to_a_thread_and_it_is_stopped_and_goes_on(page: Page) -> None:
    thread = page.begin("gated")
    assert GATE.reached.acquire(timeout=60)
    busy = page.refused("run", thread=thread, request="Again")
    assert (busy[0], busy[1]["error"]["code"]) == (409, "thread_busy")
    assert page.refused("proceed", thread=thread)[0] == 409
    assert page.get("threads")["runs"][0]["driven"] is True
    view = page.get("thread", thread=thread)
    assert (view["status"], view["driven"]) == ("running", "here")

    assert page.post("stop", thread=thread) == {"stopping": True}
    GATE.open.release()
    view = page.settled(thread)
    assert (view["status"], view["driven"], view["unfinished"]) == ("running", None, True)
    assert said(view) == ["slow 1"]
    assert page.post("stop", thread=thread) == {"stopping": False}

    GATE.open.release()
    page.post("proceed", thread=thread)
    view = page.settled(thread)
    assert (view["status"], said(view)) == ("completed", ["slow 1", "slow 2", "fast"])
    assert GATE.visits == ["slow", "slow"]  # finished work is not repeated
    done = page.refused("proceed", thread=thread)
    assert (done[0], done[1]["error"]["code"]) == (409, "nothing_pending")


def test_what_is_shown_in_the_middle_of_a_run_is_all_that_there_is(page: Page) -> None:
    thread = page.begin("gated")
    assert GATE.reached.acquire(timeout=60)
    GATE.open.release()
    assert GATE.reached.acquire(timeout=60)
    for _ in range(2):  # as often as the page is opened anew
        stream = page.client.get("/api/events", params={"thread": thread})
        assert stream.headers["content-type"].startswith("text/event-stream")
        (line,) = re.findall(r"^data: (.*)$", stream.text, re.M)
        frame = json.loads(line)
        assert said(frame["view"]) == ["slow 1"]
        assert frame["live"]["working"] == {"slow": {"doing": "begins", "text": "", "blocks": []}}
    GATE.open.release()
    assert said(page.settled(thread)) == ["slow 1", "slow 2", "fast"]


def test_the_end_of_the_server_lets_a_step_end_and_nothing_is_lost(
    serve: Callable[..., TestClient],
) -> None:
    with serve() as client:
        thread = Page(client).begin("gated")
        assert GATE.reached.acquire(timeout=60)
        GATE.open.release()
    assert GATE.visits in (["slow"], ["slow", "slow"])
    with serve() as client:
        page = Page(client)
        assert page.get("thread", thread=thread)["driven"] is None
        for _ in range(2):
            GATE.open.release()
        page.post("proceed", thread=thread)
        view = page.settled(thread)
        assert (view["status"], len(said(view))) == ("completed", 3)


def test_threads_of_the_command_line_are_seen_and_gone_on_with(page: Page, db: str) -> None:
    CliRunner().invoke(
        command, ["run", "event_planning", "Plan a party", "--db", db, "--thread", "t"]
    )
    (row,) = page.get("threads")["runs"]
    assert (row["thread"], row["status"]) == ("t", "waiting")
    (question,) = page.get("thread", thread="t")["questions"]
    page.post("answer", thread="t", answers={question["id"]: "Denver, 40 people, May 5th"})
    assert page.settled("t")["status"] == "completed"
    assert CliRunner().invoke(command, ["show", "t", "--db", db]).exit_code == 0


def test_a_thread_that_another_process_drives_is_seen_and_left_alone(
    serve: Callable[..., TestClient], db: str
) -> None:
    with serve() as client:
        thread = Page(client).begin("gated")
        assert GATE.reached.acquire(timeout=60)
        Page(client).post("stop", thread=thread)
        GATE.open.release()
        Page(client).settled(thread)
        with open_checkpointer(f"sqlite:///{db}") as other:
            release = other.take_lease(thread)  # type: ignore[attr-defined]  # the sqlite saver
            assert Page(client).get("thread", thread=thread)["driven"] == "elsewhere"
            busy = Page(client).refused("proceed", thread=thread)
            assert (busy[0], busy[1]["error"]["code"]) == (409, "thread_busy")
            release()
        assert Page(client).get("thread", thread=thread)["driven"] is None


def test_the_past_is_shown_and_forked_with_an_edited_decision(page: Page) -> None:
    thread = page.begin("event_planning", PARTY)
    page.settled(thread)
    steps = page.get("history", thread=thread)
    assert [step["label"] for step in steps][:4] == [
        "Request received", "Supervisor decides", "Supervisor → venue", "venue reported",
    ]  # fmt: skip
    assert steps[-1]["label"] == "Completed"
    assert all(step["branch"] for step in steps)
    then = steps[3]["checkpoint"]
    chosen = [step["decision"] and step["decision"]["next_agent"] for step in steps]
    assert chosen[1:5] == ["venue", "venue", "catering", "catering"]  # never what is done already
    assert steps[-1]["decision"]["kind"] == "finish"
    past = page.get("thread", thread=thread, checkpoint=then)
    assert [report["participant"] for report in past["reports"]] == ["venue"]

    for decision in ({"next_agent": "nobody"}, {"user_input_needed": True}):
        status, found = page.refused("fork", thread=thread, checkpoint=then, decision=decision)
        assert (status, found["error"]["code"]) == (422, "bad_decision")
    decision = {"next_agent": "logistics", "instruction": "Only the weather"}
    page.post("fork", thread=thread, checkpoint=then, decision=decision)
    view = page.settled(thread)
    assert [report["participant"] for report in view["reports"]][:2] == ["venue", "logistics"]
    steps = page.get("history", thread=thread)
    assert [step["edited"] for step in steps].count(True) == 1
    assert {step["branch"] for step in steps} == {True, False}

    end = {"next_agent": None}
    page.post("fork", thread=thread, checkpoint=then, decision=end)
    assert [r["participant"] for r in page.settled(thread)["reports"]] == ["venue"]
    assert page.get("threads")["runs"][0]["graph"] == "event_planning"


def test_tools_are_approved_edited_and_refused_one_by_one(page: Page) -> None:
    thread = page.begin("bank")
    (question,) = page.settled(thread)["questions"]
    assert (question["path"], question["request_type"]) == ("bank", "tool_approval")
    assert page.get("threads")["runs"][0]["status"] == "waiting"  # also where a participant asks
    assert [call["args"]["to"] for call in question["calls"]] == [HOSTILE, "Ann"]
    edited = {"name": "pay", "args": {"amount": 1, "to": "Bob"}}
    decisions = [{"type": "edit", "edited_action": edited}, {"type": "reject", "message": "no"}]
    page.post("answer", thread=thread, answers={question["id"]: {"decisions": decisions}})
    (text,) = said(page.settled(thread))
    assert text.endswith("paid 1 to Bob") and "reason: no" in text


def test_answers_are_checked_against_their_schema(page: Page) -> None:
    thread = page.begin("trips")
    (question,) = page.settled(thread)["questions"]
    assert question["schema"]["required"] == ["city", "nights"]
    bad = page.refused("answer", thread=thread, answers={question["id"]: {"city": "Rome"}})
    assert bad[0] == 422 and "nights" in bad[1]["error"]["message"]
    page.post("answer", thread=thread, answers={question["id"]: {"city": "Rome", "nights": 2}})
    assert "city='Rome' nights=2" in page.settled(thread)["reports"][0]["text"]


def test_hostile_text_travels_as_it_was_written(page: Page) -> None:
    thread = page.begin("hostile", HOSTILE)
    view = page.settled(thread)
    assert (view["request"], said(view)) == (HOSTILE, [HOSTILE])


def test_a_graph_that_is_no_workflow_is_run_too(page: Page) -> None:
    thread = page.begin("plain", "hello")
    view = page.settled(thread)
    assert [message["text"] for message in view["messages"]] == ["hello", "you said hello"]
    assert (view["participants"], view["driven"], view["unfinished"]) == ([], None, False)
    assert page.get("history", thread=thread)[-1]["label"] == "End"


def test_a_run_that_breaks_off_says_why_without_secrets(page: Page) -> None:
    thread = page.begin("broken")
    view = page.settled(thread)
    assert "the key is [redacted]" in view["error"]
    assert view["driven"] is None
    assert "sk-abc" not in json.dumps(view)


BAD: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "unknown graph": ("run", {"graph": "x", "request": "x"}, 400, "invalid_configuration"),
    "a module": ("run", {"graph": "this:c", "request": "x"}, 400, "invalid_configuration"),
    "no graph": ("run", {"request": "x"}, 400, "invalid_configuration"),
    "empty request": ("run", {"graph": "research", "request": " "}, 400, "invalid_request"),
    "a number": ("run", {"graph": "research", "request": 7}, 400, "invalid_body"),
    "a model": ("run", {"request": "x", "model": "evil"}, 400, "invalid_body"),
    "a line break": ("run", {"thread": "a\nb", "request": "x"}, 400, "invalid_thread"),
    "long thread": ("run", {"thread": "x" * 256, "request": "x"}, 400, "invalid_thread"),
    "empty thread": ("run", {"thread": "", "request": "x"}, 400, "invalid_thread"),
    "unknown thread": ("run", {"thread": "u", "request": "x"}, 400, "invalid_configuration"),
    "answer": ("answer", {"thread": "u", "answers": {}}, 400, "invalid_configuration"),
    "proceed": ("proceed", {"thread": "u"}, 400, "invalid_configuration"),
    "delete": ("delete", {"thread": "u"}, 400, "invalid_configuration"),
    "fork": (
        *("fork", {"thread": "u", "checkpoint": "x", "decision": {}}),
        *(400, "invalid_configuration"),
    ),
    "decision": (
        *("fork", {"thread": "u", "checkpoint": "x", "decision": {"end": {}}}),
        *(400, "invalid_body"),
    ),
    "too large": ("run", {"request": "x" * BODY_LIMIT}, 413, "refused"),
    "no such path": ("nothing", {}, 405, "http"),
    "reading only": ("graphs", {}, 405, "http"),
}


@pytest.mark.parametrize(("path", "body", "status", "code"), BAD.values(), ids=BAD)
def test_a_bad_request_is_told_as_an_error_of_the_tree(
    path: str, body: dict[str, Any], status: int, code: str, page: Page
) -> None:
    found = page.refused(path, **body)
    assert (found[0], found[1]["error"]["code"]) == (status, code)
    assert "Traceback" not in found[1]["error"]["message"]
    assert "this" not in sys.modules
    assert page.get("threads")["runs"] == []


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "nul", "\ud800".encode("utf-8", "surrogatepass")),
        r'{"graph": "event_planning", "request": "half a character: \ud800"}',
    ],
)
def test_a_body_that_is_no_json_object_is_refused(text: str | bytes, page: Page) -> None:
    headers = {"origin": BASE, "content-type": "application/json"}
    response = page.client.post("/api/run", content=text, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_body")


def test_a_body_without_a_length_is_read_no_further_than_it_may_go(page: Page) -> None:
    def endless() -> Iterator[bytes]:
        yield from (b"x" * 65_536 for _ in range(20))

    headers = {"origin": BASE, "content-type": "application/json"}
    response = page.client.post("/api/run", content=endless(), headers=headers)
    assert response.status_code == 413


def test_a_fault_of_the_server_tells_nothing(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fault(*given: Any, **more: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr("asterism.apps.ui.run_list.RunList.page", fault)
    response = page.client.get("/api/threads")
    assert response.status_code == 500
    assert response.json()["error"]["message"].startswith("Something failed (RuntimeError)")
    assert "secret" not in response.text
    assert "content-security-policy" in response.headers


@pytest.mark.parametrize(
    "path", ["/", "/page.js", "/page.css", "/api/graphs", "/nothing", "/api/thread"]
)
def test_every_answer_tells_the_browser_to_be_strict(path: str, page: Page) -> None:
    headers = page.client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy and "*" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert not [name for name in headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "path", ["/../app.py", "/%2e%2e/app.py", "/..%2fapp.py", "//etc/passwd", "/static/../app.py"]
)
def test_only_the_files_of_the_page_are_served(path: str, page: Page) -> None:
    assert page.client.get(path).status_code == 404


def test_strangers_are_refused_before_anything_happens(page: Page) -> None:
    for headers in ({"host": "evil.com"}, {"origin": "http://evil.com"}):
        response = page.client.get("/api/graphs", headers=headers)
        assert (response.status_code, response.json()["error"]["code"]) == (403, "refused")
    body = {"graph": "event_planning", "request": "x"}
    assert page.client.post("/api/run", json=body).status_code == 403  # no origin
    assert page.get("threads")["runs"] == []


def test_visits_are_shown_with_their_calls_of_tools(page: Page) -> None:
    thread = page.begin("event_planning", PARTY)
    view = page.settled(thread)
    found = page.get("visits", thread=thread)
    ids = [visit["id"] for visit in found["visits"]]
    assert ids == [report["id"] for report in view["reports"]]
    venue = found["visits"][0]
    assert (venue["participant"], venue["status"], venue["inside"]) == ("venue", "ok", [])
    (call,) = venue["tools"]
    assert (call["name"], call["ok"]) == ("search_venues", True)
    assert "Seattle" in call["arguments"] and call["result"]
    assert venue["began"] < venue["ended"] and venue["usage"]["calls"] >= 1
    then = page.get("history", thread=thread)[3]["checkpoint"]
    assert len(page.get("visits", thread=thread, checkpoint=then)["visits"]) == 1
    plain = page.begin("plain")
    page.settled(plain)
    assert page.get("visits", thread=plain)["visits"] == []


def test_the_state_is_shown_without_secrets(page: Page) -> None:
    secret = "sk-abcdefgh12345678"
    thread = page.begin("hostile", f"The key is {secret}; {'long ' * 4_000}")
    page.settled(thread)
    state = page.get("state", thread=thread)
    assert state["values"]["status"] == "completed" and state["next"] == []
    assert state["values"]["messages"][0]["content"].startswith("The key is [redacted]")
    assert len(json.dumps(state["values"]["messages"][0])) < 12_000
    assert secret not in json.dumps(state)
    first = page.get("history", thread=thread)[0]["checkpoint"]
    assert page.get("state", thread=thread, checkpoint=first)["checkpoint"] == first
    missing = page.client.get("/api/state", params={"thread": thread, "checkpoint": "x"})
    assert missing.status_code == 400


def test_a_thread_is_renamed_while_it_runs_and_after_it(page: Page) -> None:
    thread = page.begin("gated", "Work on it")
    assert GATE.reached.acquire(timeout=60)
    assert page.get("thread", thread=thread)["title"] == ""
    page.post("rename", thread=thread, title="  The long job ")
    view = page.get("thread", thread=thread)
    assert (view["title"], view["driven"]) == ("The long job", "here")
    GATE.open.release(2)
    view = page.settled(thread)
    assert (view["title"], view["request"]) == ("The long job", "Work on it")
    assert page.get("threads")["runs"][0]["title"] == "The long job"
    assert page.refused("rename", thread=thread, title="x" * 201)[0] == 400
    assert page.refused("rename", thread="unknown", title="x")[0] == 400
    page.post("rename", thread=thread, title="")
    assert page.get("thread", thread=thread)["title"] == ""


def test_a_thread_is_deleted_unless_it_is_driven(page: Page) -> None:
    kept, thread = page.begin("hostile"), page.begin("gated")
    page.settled(kept)
    assert GATE.reached.acquire(timeout=60)
    busy = page.refused("delete", thread=thread)
    assert (busy[0], busy[1]["error"]["code"]) == (409, "thread_busy")
    page.post("stop", thread=thread)
    GATE.open.release()
    page.settled(thread)
    body = {"thread": thread}
    assert page.client.post("/api/delete", json=body).status_code == 403  # not from the page
    assert page.client.get("/api/delete", params=body).status_code in (404, 405)
    release = page.hub.saver.take_lease(thread)  # type: ignore[attr-defined]  # the sqlite saver
    assert page.refused("delete", thread=thread)[0] == 409
    release()
    assert page.post("delete", thread=thread) == {"deleted": thread}
    assert [row["thread"] for row in page.get("threads")["runs"]] == [kept]
    assert page.refused("delete", thread=thread)[0] == 400
    stream = page.client.get("/api/events", params={"thread": thread})
    assert stream.status_code == 400


async def test_a_stream_tells_what_changes_and_what_happens_meanwhile_at_once(db: str) -> None:
    with open_checkpointer(f"sqlite:///{db}") as saver:
        hub = RunManager(saver, GRAPHS)
        frames: list[Any] = []
        thread = await hub.ask("Do it", graph=GRAPHS[0], thread=None)
        for _ in range(2):
            GATE.open.release()
        async for frame in ThreadWatch(hub).frames(thread, seconds=60, pause=0):
            frames.append(frame)
            if "view" in frame and frame["view"]["driven"] is None:
                hub.end()
        await hub.close()
    assert "view" in frames[0] and frames[-1]["live"] is None
    assert all(one != two for one, two in itertools.pairwise(frames))
    assert frames[-1]["view"]["status"] == "completed"


async def test_a_new_process_that_drives_a_thread_is_noticed(db: str) -> None:
    with open_checkpointer(f"sqlite:///{db}") as saver:
        hub = RunManager(saver, GRAPHS)
        thread = await hub.ask("Do it", graph=GRAPHS[1], thread=None)
        watch = ThreadWatch(hub)
        while (view := await watch.now(thread))["driven"]:
            await asyncio.wait_for(hub.news.wait(), 60)
        assert await watch.now(thread) is view  # nothing new: the same object
        with open_checkpointer(f"sqlite:///{db}") as other:
            elsewhere = open_graph(GRAPHS[1], model="offline", checkpointer=other)
            config = config_of(thread, GRAPHS[1], "offline")
            await elsewhere.ainvoke({"messages": [("user", "Again")]}, config)
        assert (await watch.now(thread))["request"] == "Again"
        with pytest.raises(ConfigurationError, match="is not served here"):
            await ThreadWatch(RunManager(saver, [])).now(thread)


def test_the_page_needs_nothing_from_elsewhere() -> None:
    files = {path.name: path.read_text() for path in STATIC.iterdir()}
    for text in files.values():
        assert set(re.findall(r"\w+://[\w.]+", text)) <= {"http://www.w3.org"}
        assert "innerHTML" not in text and "insertAdjacent" not in text and "eval(" not in text
    markup = files["index.html"]
    assert not re.search(r"<style|style=|\son\w+=|<script(?! (type=\"module\" )?src=)", markup)
    assert max(len(text.splitlines()) for text in files.values()) <= 500


def test_the_graphs_are_those_of_the_catalog_and_of_the_start(page: Page) -> None:
    found = [graph["name"] for graph in page.get("graphs")["graphs"]]
    assert found[: len(SHIPPED) + 1] == [*SHIPPED, GRAPHS[0]]


def test_each_graph_and_thread_names_the_models_that_it_calls(page: Page) -> None:
    models = {graph["name"]: graph["models"] for graph in page.get("graphs")["graphs"]}
    assert models["event_planning"] == ["offline"]
    assert (models[f"{HERE}:hostile"], models[f"{HERE}:bank"]) == ([], ["scripted"])
    view = page.settled(page.begin("bank"))
    assert view["models"] == ["scripted"]


def test_only_the_visit_that_failed_is_retried(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    thread = page.begin("flaky", "Count")
    assert said(page.settled(thread)) == ["counted 1", "", "checked 1"]
    first, failed, _ = page.get("visits", thread=thread)["visits"]
    assert (failed["participant"], failed["status"]) == ("stock", "failed")
    page.post("retry", thread=thread, checkpoint=failed["checkpoint"])
    view = page.settled(thread)
    assert said(view) == ["counted 1", "stock 2", "checked 2"]  # the first one did not run again
    assert view["status"] == "completed"
    assert page.get("visits", thread=thread)["visits"][0]["id"] == first["id"]
    assert not all(step["branch"] for step in page.get("history", thread=thread))
    status, found = page.refused("retry", thread=thread, checkpoint="nothing")
    assert status == 400 and "no checkpoint" in found["error"]["message"]


def test_two_branches_are_compared(page: Page) -> None:
    thread = page.begin("flaky", "Count")
    page.settled(thread)
    before = page.get("history", thread=thread)[-1]["checkpoint"]
    failed = page.get("visits", thread=thread)["visits"][1]
    page.post("retry", thread=thread, checkpoint=failed["checkpoint"])
    page.settled(thread)
    after = page.get("history", thread=thread)[-1]["checkpoint"]
    found = page.get("compare", thread=thread, a=before, b=after)
    (report,) = [one for one in found["reports"] if one["where"].startswith("stock")]
    assert "out of reach" in report["before"] and report["after"].endswith("ok: stock 2")
    assert found["decisions"] == []
    same = page.get("compare", thread=thread, a=after, b=after)
    assert not any(same[part] for part in ("requests", "decisions", "reports", "ends"))
    response = page.client.get("/api/compare", params={"thread": thread, "a": "x", "b": after})
    assert response.status_code == 400


def test_earlier_messages_are_shown_where_they_are_asked_for(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asterism.apps.ui.thread_watch.MESSAGES_SHOWN", 4)
    monkeypatch.setattr("asterism.apps.ui.thread_watch.EARLIER_SHOWN", 3)
    thread = page.begin("event_planning", PARTY)
    view = page.settled(thread)
    shown, earlier = [one["id"] for one in view["messages"]], view["earlier"]
    assert len(shown) == 4 and earlier > 3
    while earlier:
        found = page.get("messages", thread=thread, before=str(earlier))
        shown = [one["id"] for one in found["messages"]] + shown
        assert len(found["messages"]) == min(3, earlier)
        earlier = found["earlier"]
    assert len(shown) == len(set(shown)) == view["earlier"] + 4
    for before in ("-1", "x", "1e9", "²"):
        response = page.client.get("/api/messages", params={"thread": thread, "before": before})
        assert response.status_code == 400


def test_the_files_of_the_page_are_small_and_asked_for_again_only_when_they_changed(
    page: Page,
) -> None:
    sizes = {file.name: len(gzip.compress(file.read_bytes())) for file in STATIC.iterdir()}
    scripts = sum(size for name, size in sizes.items() if name.endswith(".js"))
    assert scripts <= 30 * 1024 and sizes["page.css"] <= 8 * 1024
    assert sum(sizes.values()) <= 40 * 1024
    html = (STATIC / "index.html").read_text()
    modules = {name for name in sizes if name.endswith(".js")} - {"theme.js", "page.js"}
    assert set(re.findall(r'modulepreload" href="(.+?)"', html)) == modules
    for file in STATIC.glob("*.js"):
        assert len(file.read_text().splitlines()) <= 300
    first = page.client.get("/page.js")
    assert first.headers["cache-control"] == "no-cache"
    again = page.client.get("/page.js", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304
    assert "content-security-policy" in again.headers
    assert page.client.get("/api/graphs").headers["cache-control"] == "no-store"
