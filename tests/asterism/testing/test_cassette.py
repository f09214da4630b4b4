"""Cassettes: what is recorded, what is played back, and how a difference is told."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from llmock.pytest_plugin import LLMock
from pydantic import BaseModel

from asterism import (
    Participant,
    SupervisorDecision,
    SupervisorView,
    SupervisorWorkflowBuilder,
    Workflow,
)
from asterism.core.run_types import WorkflowInput
from asterism.errors import ConfigurationError
from asterism.limits.failure_policies import AGENT_RETRY, Compensation, Policy, UseCached
from asterism.testing import Cassette, CassetteMismatchError, ScriptedChatModel, ScriptedReply
from asterism.testing.cassette_requests import canonical_request, difference, key_of

SECRET = "sk-abcdefghijklmnopqrstuv"
REQUEST: WorkflowInput = {"messages": [("user", "Two tickets to Rome")]}


class City(BaseModel):
    """A city."""

    name: str


@tool
def price(city: str, travellers: int) -> str:
    """Tell what tickets cost."""
    return f"${120 * travellers} to {city}"


@pytest.fixture(autouse=True)
def no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cassettes" / "trip.json"


def trip(model: Any, **options: Any) -> Workflow:
    trains = Participant(tools=[price], description="Prices tickets.", **options)
    return SupervisorWorkflowBuilder("Trip", model=model).participants(trains=trains).build()


def script() -> list[Any]:
    return [
        {"next_agent": "trains", "instruction": "Price them"},
        ScriptedReply(tool_calls=[("price", {"city": "Rome", "travellers": 2})]),
        "They are $240.",
        {"next_agent": None},
        "Two tickets to Rome are $240.",
    ]


def record(path: Path, replies: list[Any] | None = None) -> None:
    real = ScriptedChatModel(script=replies or script())
    with Cassette(path) as cassette:
        trip(cassette.wrap(real)).invoke(REQUEST)
    real.assert_finished()


def recorded(path: Path) -> list[dict[str, Any]]:
    """The calls in a file."""
    calls: list[dict[str, Any]] = json.loads(path.read_text())["calls"]
    return calls


def untouched() -> ScriptedChatModel:
    """A model that fails when it is called."""
    return ScriptedChatModel()


def test_a_run_is_played_back_without_a_call(path: Path) -> None:
    record(path)
    nobody = untouched()
    with Cassette(path) as cassette:
        result = trip(cassette.wrap(nobody)).invoke(REQUEST)
    assert result["messages"][-1].text == "Two tickets to Rome are $240."
    assert [report["text"] for report in result["reports"]] == ["They are $240."]
    assert nobody.calls == []


async def test_a_recording_serves_async_runs_and_streams(path: Path) -> None:
    record(path)
    with Cassette(path, "replay") as cassette:
        result = await trip(cassette.wrap(untouched())).ainvoke(REQUEST)
    assert result["status"] == "completed"
    with Cassette(path, "replay") as cassette:
        parts = trip(cassette.wrap(untouched())).stream(REQUEST, stream_mode="messages")
        said = [message.text for message, _ in parts]
    assert [word for word in said if word in ("tickets ", "Rome ", "$240.")][-3:] == [
        *("tickets ", "Rome ", "$240.")
    ]


async def test_async_runs_and_streams_are_recorded_as_well(path: Path) -> None:
    for way in ("async", "stream", "astream"):
        file = path.with_name(f"{way}.json")
        with Cassette(file, "record") as cassette:
            model = trip(cassette.wrap(ScriptedChatModel(script=script())))
            if way == "async":
                await model.ainvoke(REQUEST)
            elif way == "stream":
                list(model.stream(REQUEST, stream_mode="messages"))
            else:
                async for _ in model.astream(REQUEST, stream_mode="messages"):
                    pass
        with Cassette(file, "replay") as cassette:
            result = trip(cassette.wrap(untouched())).invoke(REQUEST)
        assert result["messages"][-1].text == "Two tickets to Rome are $240."
    files = [path.with_name(f"{way}.json").read_text() for way in ("async", "stream", "astream")]
    assert files[0] == files[1] == files[2]


def test_structured_output_is_recorded(path: Path) -> None:
    with Cassette(path) as cassette:
        model = cassette.wrap(ScriptedChatModel(script=[City(name="Oslo")]))
        assert model.with_structured_output(City).invoke("where?") == City(name="Oslo")
    with Cassette(path) as cassette:
        model = cassette.wrap(untouched())
        assert model.with_structured_output(City).invoke("where?") == City(name="Oslo")


def test_the_file_is_readable_and_the_same_each_time(path: Path) -> None:
    record(path)
    first = path.read_text()
    path.unlink()
    record(path)
    assert path.read_text() == first
    calls = recorded(path)
    assert [call["request"]["messages"][-1]["content"] for call in calls][0::2] == [
        *("Two tickets to Rome", "$240 to Rome", calls[4]["request"]["messages"][-1]["content"])
    ]
    assert calls[1]["answer"]["tool_calls"][0]["args"] == {"city": "Rome", "travellers": 2}
    assert '\n      "request": {' in first


def test_secrets_are_not_recorded_and_do_not_stop_the_replay(path: Path) -> None:
    def asked(messages: list[Any]) -> str:
        assert SECRET in messages[-1].text
        return f"Your key is {SECRET}."

    with Cassette(path) as cassette:
        model = cassette.wrap(ScriptedChatModel(script=[asked, "Bye"]))
        answer = model.invoke(f"My key is {SECRET}, password=tr0ub4dor&3")
        model.invoke([HumanMessage("Hello"), answer])
        assert SECRET in answer.text  # the run itself is not changed
    written = path.read_text()
    assert SECRET not in written
    assert "tr0ub4dor" not in written
    with Cassette(path) as cassette:
        model = cassette.wrap(untouched())
        again = model.invoke(f"My key is {SECRET}, password=tr0ub4dor&3")
        assert model.invoke([HumanMessage("Hello"), again]).text == "Bye"


def test_headers_and_other_facts_of_an_answer_are_not_kept(path: Path) -> None:
    facts = {"headers": {"set-cookie": "session"}, "model_name": "m", "finish_reason": "stop"}
    said = AIMessage("Hello", response_metadata=facts, id="made-up")
    with Cassette(path) as cassette:
        cassette.wrap(ScriptedChatModel(script=[said])).invoke("Hi")
    answer = recorded(path)[0]["answer"]
    assert answer["response_metadata"] == {"model_name": "m", "finish_reason": "stop"}
    assert "id" not in answer


# ---- differences


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_the_first_different_prompt_stops_the_run_with_a_diff(path: Path, way: str) -> None:
    record(path)
    oslo: WorkflowInput = {"messages": [("user", "Two tickets to Oslo")]}
    with pytest.raises(CassetteMismatchError) as caught, Cassette(path, "replay") as cassette:
        team = trip(cassette.wrap(untouched()))
        team.invoke(oslo) if way == "sync" else await team.ainvoke(oslo)
    said = str(caught.value)
    assert "-Two tickets to Rome\n+Two tickets to Oslo" in said
    assert "trip.json" in said
    assert "call 1" in said
    assert "mode='record'" in said


def test_a_difference_is_told_where_something_has_taken_it_for_a_failure(path: Path) -> None:
    def once(view: SupervisorView) -> SupervisorDecision:
        return SupervisorDecision(next_agent=None if view.reports else "trains")

    def build(model: Any, prompt: str) -> Workflow:
        again = AGENT_RETRY._replace(initial_interval=0.01)
        policies: list[Policy] = [again, Compensation({"agent_failed": UseCached("$240")})]
        trains = Participant(prompt=prompt, policies=policies)
        star = SupervisorWorkflowBuilder("Trip", model=model, finish="forward")
        return star.participants(trains=trains).with_manager(once).build()

    with Cassette(path) as cassette:
        build(cassette.wrap(ScriptedChatModel(script=["$240"])), "Price.").invoke(REQUEST)
    told = pytest.raises(CassetteMismatchError, match=r"-Price\.\n\+In Latin\.")
    with told, Cassette(path) as cassette:
        result = build(cassette.wrap(untouched()), "In Latin.").invoke(REQUEST)
        assert result["messages"][-1].text == "$240"


def test_after_a_difference_nothing_is_answered(path: Path) -> None:
    with Cassette(path) as cassette:
        cassette.wrap(ScriptedChatModel(script=["Hello"])).invoke("Hi")
    model = Cassette(path).wrap(untouched())
    for said in ("Bye", "Hi"):
        with pytest.raises(CassetteMismatchError, match=r"\+Bye"):
            model.invoke(said)


def test_a_call_that_was_recorded_has_to_be_made(path: Path) -> None:
    record(path)
    told = pytest.raises(CassetteMismatchError, match="4 of 5 recorded calls were not asked for")
    with told, Cassette(path, "replay") as cassette:
        cassette.play(recorded(path)[0]["request"])


def test_one_prompt_has_its_answers_in_order_and_no_more(path: Path) -> None:
    with Cassette(path) as cassette:
        model = cassette.wrap(ScriptedChatModel(script=["heads", "tails", "hello"]))
        assert [model.invoke(said).text for said in ("toss", "toss", "hi")] == [
            *("heads", "tails", "hello")
        ]
    cassette = Cassette(path)
    model = cassette.wrap(untouched())
    assert [model.invoke(said).text for said in ("hi", "toss", "toss")] == [
        *("hello", "heads", "tails")
    ]
    cassette.assert_finished()
    with pytest.raises(CassetteMismatchError, match=r"asked 3 times, and .* has it 2 times"):
        model.invoke("toss")


def test_what_differs_by_chance_is_no_difference() -> None:
    def prompt(name: str) -> list[Any]:
        call = {"name": "price", "args": {"city": "Rome"}, "id": name}
        asked = AIMessage("", id=f"run-{name}", tool_calls=[call])
        return [HumanMessage("Hi", id=name), asked, ToolMessage("$120", tool_call_id=name)]

    one = canonical_request("m", prompt("a1"), {"stop": None})
    assert key_of(one) == key_of(canonical_request("m", prompt("b2"), {}))
    other = prompt("a1")
    other[1].tool_calls[0]["args"] = {"city": "Oslo"}
    assert '-> price({"city": "Oslo"}) as call 1' in difference(
        one, canonical_request("m", other, {})
    )


def test_texts_can_be_normalised(path: Path) -> None:
    def undated(text: str) -> str:
        return text.split(" today is ")[0]

    with Cassette(path, normalise=undated) as cassette:
        cassette.wrap(ScriptedChatModel(script=["Yes"])).invoke("Open? today is Monday")
    with Cassette(path, normalise=undated) as cassette:
        assert cassette.wrap(untouched()).invoke("Open? today is Friday").text == "Yes"
    assert "Monday" not in path.read_text()


# ---- modes


@pytest.fixture
def ci(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CI", "true")
    yield


@pytest.mark.usefixtures("ci")
def test_nothing_is_recorded_in_ci_unless_it_is_said(path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nothing is recorded in CI"):
        Cassette(path)
    assert not Cassette(path, "record").replays
    assert not path.exists()


@pytest.mark.usefixtures("ci")
def test_ci_plays_back(path: Path) -> None:
    with Cassette(path, "record") as cassette:
        cassette.wrap(ScriptedChatModel(script=["Hello"])).invoke("Hi")
    with Cassette(path) as cassette:
        assert cassette.wrap(untouched()).invoke("Hi").text == "Hello"


def test_recording_replaces_what_was_recorded(path: Path) -> None:
    record(path)
    with Cassette(path, "record") as cassette:
        cassette.wrap(ScriptedChatModel(script=["Hello"])).invoke("Hi")
    assert len(recorded(path)) == 1


def test_a_call_that_fails_is_not_recorded(path: Path) -> None:
    with Cassette(path) as cassette:
        model = cassette.wrap(ScriptedChatModel(script=[ConnectionError("away"), "Hello"]))
        with pytest.raises(ConnectionError):
            model.invoke("Hi")
        model.invoke("Hi")
    assert len(recorded(path)) == 1


def test_bad_cassettes_are_refused(path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no cassette .*trip\.json"):
        Cassette(path, "replay")
    with pytest.raises(ConfigurationError, match=r"'rewind'; allowed: 'auto', 'record', 'replay'"):
        Cassette(path, "rewind")  # type: ignore[arg-type]
    path.parent.mkdir()
    path.write_text('{"calls": 3}')
    with pytest.raises(ConfigurationError, match="cannot be read as a cassette"):
        Cassette(path)


# ---- over HTTP


async def test_a_provider_is_recorded_over_http(
    llmock: LLMock, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    llmock.call_tool("SupervisorDecision", {"next_agent": "trains", "instruction": "Price them"})
    llmock.call_tool("price", {"city": "Rome", "travellers": 2})
    llmock.reply("They are $240.")
    llmock.call_tool("SupervisorDecision", {"next_agent": None})
    llmock.reply("Two tickets to Rome are $240.")
    with Cassette(path) as cassette:
        team = trip(cassette.wrap("openai:gpt-5-mini"))
        parts = [part async for part in team.astream(REQUEST, stream_mode="messages")]
    assert len(llmock.requests) == 5
    assert "Two" in "".join(message.text for message, _ in parts)

    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)  # a name is all that is needed to play back
    with Cassette(path) as cassette:
        result = trip(cassette.wrap("openai:gpt-5-mini")).invoke(REQUEST)
    assert result["messages"][-1].text == "Two tickets to Rome are $240."
    assert len(llmock.requests) == 5
    models = [call["answer"]["response_metadata"]["model_name"] for call in recorded(path)]
    assert set(models) == {"gpt-5-mini"}


def test_an_agent_with_its_own_graph_is_recorded(path: Path) -> None:
    replies = [ScriptedReply(tool_calls=[("price", {"city": "Rome", "travellers": 1})]), "$120"]
    for model in (ScriptedChatModel(script=replies), untouched()):
        with Cassette(path) as cassette:
            agent: Any = create_agent(cassette.wrap(model), [price])
            result = agent.invoke({"messages": [("user", "Rome?")]})
            assert result["messages"][-1].text == "$120"
