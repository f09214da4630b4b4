"""Bad inputs, as a table: `tests/data/bad_inputs.json` names each and its exact outcome.

Every row runs over sync and async, each over another kind of saver; `make torture` runs it over
all of them. The kinds:

- `decision`: what a model says. `accepted`: the participants that then work; `asked`: the
  question; `repaired`: what it is told is wrong, after which a good decision is followed.
- `failure`: how a model's call fails. `retried`, or the `routing_error` it ends in.
- `answer`, `request`, `thread`: what a caller gives. `error`: the code of the error.
"""

import builtins
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import RetryPolicy

from asterism import SupervisorWorkflowBuilder, aresume, pending_requests, resume
from asterism.core.run_types import WorkflowInput
from asterism.errors import AsterismError, RoutingError
from asterism.limits.failure_policies import can_pass
from asterism.testing import ScriptedChatModel
from tests.databases import SAVERS, url_of
from tests.graphs.test_memory import is_valid
from tests.teams import Turns, said

ROWS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "bad_inputs.json").read_text()
)
REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}
DONE: dict[str, Any] = {"next_agent": None}
VISIT = {"next_agent": "venue"}
Saver = BaseCheckpointSaver[str]
Drive = Callable[..., Any]


def rows(kind: str, outcome: str = "") -> pytest.MarkDecorator:
    found = [row for row in ROWS if row["kind"] == kind and outcome in ("", *row["outcome"])]
    return pytest.mark.parametrize("row", found, ids=[row["id"] for row in found])


TURNS = range(len(SAVERS)) if "ASTERISM_EXAMPLES" in os.environ else (0,)


@pytest.fixture(params=TURNS)
def url(
    row: dict[str, Any], asynchronous: bool, request: pytest.FixtureRequest, tmp_path: Path
) -> str:
    """The URL of a new database of one kind, which is another for the next row and way."""
    kind = SAVERS[(ROWS.index(row) + asynchronous + request.param) % len(SAVERS)]
    return url_of(kind, request, tmp_path)


@pytest.fixture(params=["sync", "async"])
def asynchronous(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "async")


def star(saver: Saver, script: list[Any]) -> tuple[ScriptedChatModel, Any]:
    model = ScriptedChatModel(script=script)
    turns = Turns()
    builder = SupervisorWorkflowBuilder(
        "Bad",
        model=model,
        finish="forward",
        retry=RetryPolicy(initial_interval=0, max_attempts=3, jitter=False, retry_on=can_pass),
    )
    builder.participants(venue=turns.participant("venue"), food=turns.participant("food"))
    return model, builder.build(checkpointer=saver)


async def invoke(workflow: Any, given: Any, config: Any, asynchronous: bool) -> Any:
    if asynchronous:
        return await workflow.ainvoke(given, config)
    return workflow.invoke(given, config)


def message(row: dict[str, Any]) -> AIMessage:
    """What the model says in a row."""
    given = row["said"]
    fields: dict[str, Any] = dict(given.get("args") or {})
    text: str = given.get("text", "")
    if long := given.get("long"):
        field, length = long
        text = "x" * length if field == "text" else text
        fields = {**fields, field: "x" * length} if field != "text" else fields
    calls = given.get("calls") or ([fields] if "args" in given else [])
    return AIMessage(
        text,
        tool_calls=[
            {"name": "SupervisorDecision", "args": args, "id": str(place)}
            for place, args in enumerate(calls)
        ],
        invalid_tool_calls=[
            {"name": "SupervisorDecision", "args": given["invalid"], "id": "1", "error": ""}
        ]
        if "invalid" in given
        else [],
        additional_kwargs=given.get("facts") or {},
        response_metadata=given.get("metadata") or {},
    )


def test_the_table_is_long_enough() -> None:
    assert len(ROWS) >= 60
    assert len({(row["kind"], row["id"]) for row in ROWS}) == len(ROWS)


@rows("decision")
async def test_a_decision(
    row: dict[str, Any], saver: Saver, thread: RunnableConfig, asynchronous: bool
) -> None:
    outcome = row["outcome"]
    if "repaired" in outcome:
        model, workflow = star(saver, [message(row), VISIT, DONE])
        result = await invoke(workflow, REQUEST, thread, asynchronous)
        assert said(result) == ["venue 1"]
        assert outcome["repaired"] in model.calls[1].messages[-1].text
        assert len(model.calls[1].messages[-2].text) <= 2_000
    elif "asked" in outcome:
        model, workflow = star(saver, [message(row)])
        result = await invoke(workflow, REQUEST, thread, asynchronous)
        assert result["__interrupt__"][0].value["prompt"] == outcome["asked"]
    else:
        script = [message(row), DONE][: 1 + len(outcome["accepted"])]
        model, workflow = star(saver, script)
        result = await invoke(workflow, REQUEST, thread, asynchronous)
        assert [report["participant"] for report in result["reports"]] == outcome["accepted"]
    model.assert_finished()
    assert all(is_valid(call.messages) for call in model.calls)
    assert row["said"].get("text", "-") not in [m.text for m in result["messages"]]


@rows("decision", "repaired")
async def test_a_decision_that_is_never_repaired(
    row: dict[str, Any], saver: Saver, thread: RunnableConfig, asynchronous: bool
) -> None:
    model, workflow = star(saver, [message(row)] * 2 + [VISIT, DONE])
    with pytest.raises(RoutingError, match="in 2 tries") as caught:
        await invoke(workflow, REQUEST, thread, asynchronous)
    assert (caught.value.attempts, len(caught.value.said)) == (2, 2)
    assert all(len(text) <= 2_000 for text in caught.value.said)
    assert workflow.get_state(thread).values["status"] == "failed"
    result = await invoke(workflow, {"messages": [("user", "Go on")]}, thread, asynchronous)
    assert (result["status"], said(result)) == ("completed", ["venue 1"])
    assert [m.text for m in result["messages"]][:2] == ["Plan it", "Go on"]
    model.assert_finished()


class ProviderError(Exception):
    """An error as the clients of providers raise them."""

    def __init__(self, status: int, code: str | None) -> None:
        super().__init__(f"status {status} for key sk-abcdefghijkl")
        self.status_code = status
        self.code = code


def failure(error: dict[str, Any]) -> BaseException:
    if "status" in error:
        return ProviderError(error["status"], error.get("code"))
    kind: type[BaseException] = getattr(builtins, error["raises"])
    return kind("it failed")


@rows("failure")
async def test_a_failing_call(
    row: dict[str, Any], saver: Saver, thread: RunnableConfig, asynchronous: bool
) -> None:
    fault = failure(row["error"])
    if "retried" in row["outcome"]:
        model, workflow = star(saver, [fault, fault, VISIT, fault, DONE])
        assert said(await invoke(workflow, REQUEST, thread, asynchronous)) == ["venue 1"]
        model.assert_finished()
        model, workflow = star(saver, [fault] * 3 + [VISIT, DONE])
        row = {"outcome": {"routing_error": str(fault).split(" for")[0]}}
    else:
        model, workflow = star(saver, [fault, VISIT, DONE])
    other: RunnableConfig = {"configurable": {"thread_id": "other"}}
    with pytest.raises(RoutingError, match="Nothing is lost: go on with proceed") as caught:
        await invoke(workflow, REQUEST, other, asynchronous)
    assert row["outcome"]["routing_error"] in caught.value.said[0]
    assert "sk-abc" not in str(caught.value)
    assert caught.value.__cause__ is fault
    result = await invoke(workflow, None, other, asynchronous)
    assert (result["status"], said(result)) == ("completed", ["venue 1"])
    model.assert_finished()


@rows("answer")
async def test_an_answer(
    row: dict[str, Any], saver: Saver, thread: RunnableConfig, asynchronous: bool
) -> None:
    asks = {"next_agent": None, "user_input_needed": True, "user_prompt": "When?"}
    model, workflow = star(saver, [asks, VISIT, DONE])
    await invoke(workflow, REQUEST, thread, asynchronous)
    (request,) = pending_requests(workflow, thread)
    answer = row["answer"]
    if isinstance(answer, dict):
        answer = {request.id if key == "$id" else key: value for key, value in answer.items()}
    before = workflow.get_state(thread)
    with pytest.raises(AsterismError) as caught:
        if asynchronous:
            await aresume(workflow, thread, answer)
        else:
            resume(workflow, thread, answer)
    assert caught.value.code == row["outcome"]["error"]
    assert "When?" in str(caught.value)
    assert workflow.get_state(thread) == before
    assert said(resume(workflow, thread, "tomorrow")) == ["venue 1"]
    model.assert_finished()


@rows("request")
async def test_a_request(
    row: dict[str, Any], saver: Saver, thread: RunnableConfig, asynchronous: bool
) -> None:
    model, workflow = star(saver, [VISIT, DONE])
    messages = row["messages"]
    read = [tuple(m) if isinstance(m, list) else m for m in messages] if messages else messages
    with pytest.raises(AsterismError) as caught:
        await invoke(workflow, {"messages": read}, thread, asynchronous)
    assert caught.value.code == row["outcome"]["error"]
    assert workflow.get_state(thread).values == {}
    assert said(await invoke(workflow, REQUEST, thread, asynchronous)) == ["venue 1"]
    model.assert_finished()


@rows("thread")
async def test_a_thread_id(row: dict[str, Any], saver: Saver, asynchronous: bool) -> None:
    model, workflow = star(saver, [])
    config = {"configurable": {"thread_id": row["thread"]}}
    with pytest.raises(AsterismError, match="The thread id is") as caught:
        await invoke(workflow, REQUEST, config, asynchronous)
    assert caught.value.code == row["outcome"]["error"]
    assert list(saver.list(None)) == []
    assert model.calls == []
