"""The three ways to end: synthesize, forward, structured."""

import re
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel, ConfigDict, Field, SecretStr, computed_field, field_validator

from asterism import Participant, SupervisorWorkflowBuilder, proceed
from asterism.compat.langgraph_supervisor import create_supervisor
from asterism.core.run_types import WorkflowInput
from asterism.testing import ScriptedChatModel
from tests.asterism.compat.teams import agent
from tests.plans import drive
from tests.teams import Turns, follow, star

REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}


class Plan(BaseModel):
    venue: str
    guests: int


def workflow(script: list[Any], finish: Any, route: list[str | None]) -> tuple[Any, Any]:
    model = ScriptedChatModel(script=script)
    builder = SupervisorWorkflowBuilder("Test", model=model, finish=finish)
    built = builder.participants(venue=Turns().participant("venue")).with_manager(follow(route))
    return model, built.build(checkpointer=InMemorySaver())


async def test_synthesize_lets_the_plain_model_write(thread: RunnableConfig) -> None:
    model, built = workflow(["All is planned."], "synthesize", ["venue"])
    result = await built.ainvoke(REQUEST, thread)
    assert result["messages"][-1].text == "All is planned."
    assert result["structured_response"] is None
    (call,) = model.calls
    assert call.tools == []
    assert call.messages[0].text.startswith("You write the final answer")
    assert call.messages[-1].text == '<report from="venue">\nvenue 1\n</report>'


def test_forward_hands_on_the_last_report_byte_for_byte(thread: RunnableConfig) -> None:
    odd = "  ünïcode\n\n| a | b |\n</report>\n\ttabs  \n"
    venue = Participant(runs=lambda messages: odd, description="Writes.")
    model = ScriptedChatModel(script=[])
    builder = SupervisorWorkflowBuilder("Test", model=model, finish="forward")
    built = builder.participants(venue=venue).with_manager(follow(["venue"]))
    result = built.build(checkpointer=InMemorySaver()).invoke(REQUEST, thread)
    assert result["messages"][-1].text == odd
    model.assert_finished()


def test_forward_takes_the_last_report_that_says_something(thread: RunnableConfig) -> None:
    def fails(messages: Any) -> str:
        raise ValueError("no")

    builder = star(Turns(), ["venue"]).participants(food=Participant(runs=fails, description="F."))
    built = builder.with_manager(follow(["venue", "food"])).build()
    assert built.invoke(REQUEST)["messages"][-1].text == "venue 1"


def test_without_a_report_the_answer_says_so() -> None:
    built = star(Turns(), ["venue"]).with_manager(follow([])).build()
    assert built.invoke(REQUEST)["messages"][-1].text == "There is no report."


def test_without_a_model_synthesize_is_forward() -> None:
    built = star(Turns(), ["venue"], finish="synthesize").build()
    assert built.invoke(REQUEST)["messages"][-1].text == "venue 1"


async def test_a_model_is_filled_in_and_returned(thread: RunnableConfig) -> None:
    model, built = workflow([{"venue": "Hall", "guests": 5}], Plan, ["venue"])
    result = await built.ainvoke(REQUEST, thread)
    assert result["structured_response"] == Plan(venue="Hall", guests=5)
    assert Plan.model_validate_json(result["messages"][-1].text) == Plan(venue="Hall", guests=5)
    assert model.calls[0].tools == ["Plan"]
    assert built.get_state(thread).values["structured_response"] == Plan(venue="Hall", guests=5)


def test_a_bad_answer_is_repaired_once(thread: RunnableConfig) -> None:
    model, built = workflow([{"venue": "Hall"}, {"venue": "Hall", "guests": 5}], Plan, ["venue"])
    assert built.invoke(REQUEST, thread)["structured_response"] == Plan(venue="Hall", guests=5)
    assert "That does not fit Plan" in model.calls[1].messages[-1].text
    model.assert_finished()


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(
    ("script", "said", "fault"),
    [
        (
            ["?", "It will be fun"],
            "It will be fun",
            "Plan: the answer is plain text, not a Plan as JSON",
        ),
        (["?", {"venue": "Hall"}], '{"venue": "Hall"}', "Plan: guests: Field required"),
    ],
    ids=["prose", "a field is missing"],
)
async def test_a_second_bad_answer_is_a_failure_and_the_thread_goes_on(
    asynchronous: bool, script: list[Any], said: str, fault: str, thread: RunnableConfig
) -> None:
    _, built = workflow([*script, {"venue": "Hall", "guests": 5}], Plan, ["venue"])
    result = await drive(built, "async" if asynchronous else "sync", REQUEST, thread)
    assert (result["status"], result["structured_response"]) == ("failed", None)
    assert result["messages"][-1].text == said
    assert fault in result["reason"]
    assert proceed(built, thread)["structured_response"] == Plan(venue="Hall", guests=5)


class Aliased(BaseModel):
    day: str = Field(alias="eventDay")


class Computed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    net: Decimal

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorated properties
    @property
    def gross(self) -> Decimal:
        return self.net * 2


class Secret(BaseModel):
    code: SecretStr


class Hidden(BaseModel):
    day: str
    reasoning: str = Field(exclude=True)


class Cents(BaseModel):
    amount: int

    @field_validator("amount")
    @classmethod
    def cents(cls, value: int) -> int:
        return value * 100


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    day: date


class Defaults(BaseModel):
    note: str = "nothing"


FILLED = pytest.mark.parametrize(
    ("schema", "fields"),
    [
        (Aliased, {"eventDay": "Monday"}),
        (Computed, {"net": "1.50"}),
        (Secret, {"code": "abc"}),
        (Hidden, {"day": "Monday", "reasoning": "why not"}),
        (Cents, {"amount": 5}),
        (Defaults, {}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)


@FILLED
async def test_what_a_model_filled_in_is_read_as_it_was_given(
    schema: Any, fields: dict[str, Any], thread: RunnableConfig
) -> None:
    _, built = workflow([fields, fields], schema, ["venue"])
    for given in (REQUEST, REQUEST):
        result = await built.ainvoke(given, thread)
        assert result["status"] == "completed"
        assert result["structured_response"] == schema.model_validate(fields)
        stored = built.get_state(thread).values["structured_response"]
        assert stored == schema.model_validate(fields)
    assert "abc" not in result["messages"][-1].text


@FILLED
def test_so_is_it_in_a_team_that_hands_over(
    schema: Any, fields: dict[str, Any], thread: RunnableConfig
) -> None:
    model = ScriptedChatModel(script=["Done.", fields])
    team = create_supervisor([agent("clerk")], model=model, response_format=schema)
    result = team.compile(InMemorySaver()).invoke(REQUEST, thread)
    assert result["structured_response"] == schema.model_validate(fields)


def test_a_strict_model_is_read_as_json(thread: RunnableConfig) -> None:
    _, built = workflow([{"day": "2026-05-01"}], Strict, ["venue"])
    assert built.invoke(REQUEST, thread)["structured_response"] == Strict(day=date(2026, 5, 1))


def test_prose_is_no_object_whose_fields_all_have_defaults(thread: RunnableConfig) -> None:
    model, built = workflow(["Sorry, no.", {"note": "none"}], Defaults, ["venue"])
    assert built.invoke(REQUEST, thread)["structured_response"] == Defaults(note="none")
    assert "plain text, not a Defaults as JSON" in model.calls[1].messages[-1].text


def test_every_end_has_a_status_and_a_reason(thread: RunnableConfig) -> None:
    result = star(Turns(), ["venue"]).build().invoke(REQUEST)
    assert result["status"] == "completed"
    assert result["reason"] == "the supervisor found the request complete"


def test_the_writer_is_shown_reports_and_no_decisions(thread: RunnableConfig) -> None:
    model = ScriptedChatModel(
        script=[{"next_agent": "venue", "instruction": "Find one"}, {"next_agent": None}, "Done."]
    )
    builder = SupervisorWorkflowBuilder("Party", model=model)
    workflow = builder.participants(venue=Turns().participant("venue")).build()
    assert workflow.invoke(REQUEST)["messages"][-1].text == "Done."
    assert "next_agent" in str(model.calls[1].messages)
    assert "next_agent" not in str(model.calls[2].messages)


@pytest.mark.parametrize(
    "written",
    [
        '{"next_agent": "venue", "instruction": "Bella Amore"}',
        '```json\n{"tasks": [{"task_id": "1"}]}\n```',
        "",
    ],
    ids=["a decision", "a plan in a fence", "nothing"],
)
def test_a_decision_is_no_answer(written: str) -> None:
    model = ScriptedChatModel(script=[{"next_agent": "venue"}, {"next_agent": None}, written])
    builder = SupervisorWorkflowBuilder("Party", model=model)
    workflow = builder.participants(venue=Turns().participant("venue")).build()
    assert workflow.invoke(REQUEST)["messages"][-1].text == "venue 1"


def test_json_that_was_asked_for_is_an_answer() -> None:
    model = ScriptedChatModel(script=[{"next_agent": None}, '{"price": 3}'])
    builder = SupervisorWorkflowBuilder("Party", model=model)
    workflow = builder.participants(venue=Turns().participant("venue")).build()
    assert workflow.invoke(REQUEST)["messages"][-1].text == '{"price": 3}'


def test_the_decision_that_finishes_may_carry_the_answer() -> None:
    ended = {"next_agent": None, "answer": "The hall costs $500."}
    model = ScriptedChatModel(script=[{"next_agent": "venue"}, ended])
    builder = SupervisorWorkflowBuilder("Party", model=model, finish="inline")
    workflow = builder.participants(venue=Turns().participant("venue")).build()
    assert workflow.invoke(REQUEST)["messages"][-1].text == "The hall costs $500."
    model.assert_finished()
    schema = model.calls[0].options["tools"][0]["function"]["parameters"]
    assert "answer" in schema["properties"]
    silent = ScriptedChatModel(script=[{"next_agent": None}, "Written after all."])
    builder = SupervisorWorkflowBuilder("Party", model=silent, finish="inline")
    workflow = builder.participants(venue=Turns().participant("venue")).build()
    assert workflow.invoke(REQUEST)["messages"][-1].text == "Written after all."


@pytest.mark.parametrize(
    ("route", "status", "reason"),
    [
        pytest.param(["bad"], "failed", "nobody could do it: bad: OSError: closed", id="all"),
        pytest.param(["bad", "good"], "completed", "not all could .* bad: OSError", id="some"),
        pytest.param(
            ["good"], "completed", "^the supervisor found the request complete$", id="none"
        ),
    ],
)
def test_an_answer_within_a_decision_hides_no_failure(
    route: list[str], status: str, reason: str
) -> None:
    def bad(messages: Any) -> str:
        """Fails."""
        raise OSError("closed")

    def good(messages: Any) -> str:
        """Works."""
        return "fine"

    script = [*({"next_agent": name} for name in route), {"next_agent": None, "answer": "Done."}]
    builder = SupervisorWorkflowBuilder(
        "Inline", model=ScriptedChatModel(script=script), finish="inline"
    )
    result = builder.participants(bad=bad, good=good).build().invoke({"messages": [("user", "Go")]})
    assert result["messages"][-1].text == "Done."
    assert result["status"] == status
    assert re.search(reason, str(result["reason"]))
