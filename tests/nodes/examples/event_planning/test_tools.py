import math
from typing import Any

import pytest
from pydantic import BaseModel

from asterism.nodes.examples.event_planning import DESCRIPTIONS, TOOLS
from tests.nodes.examples.event_planning.helpers import function_of

ALL = {tool.name: tool for tools in TOOLS.values() for tool in tools}
GOOD: dict[str, dict[str, Any]] = {
    "search_venues": {"city": "Seattle", "head_count": 50, "date": "2026-12-15"},
    "plan_menu": {"head_count": 50},
    "make_budget": {"head_count": 50, "venue_cost": 2400.0, "catering_cost": 2400.0},
    "weather_outlook": {"city": "Seattle", "date": "2026-12-15"},
    "make_schedule": {"date": "2026-12-15", "head_count": 50},
    "make_calendar": {"event_title": "Party", "city": "Seattle", "date": "2026-12-15"},
}
BAD: dict[str, list[Any]] = {
    "city": ["Atlantis", "", "x" * 10_000],
    "head_count": [0, -1, 10_001, 10**30],
    "date": ["tomorrow", "2026-13-01", "9999-12-31", "", "x" * 10_000],
    "start_time": ["6 pm", "25:00", ""],
    "max_price": [-1.0, 0, 1e300, math.nan, math.inf],
    "budget_limit": [-1.0, 0, 1e300, math.nan, -math.inf],
    "venue_cost": [-0.01, 1e300, math.nan, math.inf],
    "catering_cost": [-0.01, 1e300, math.nan, math.inf],
    "diets": [["keto"], ["60 vegan"], ["vegan", ""]],
    "style": ["banquet", ""],
    "event_title": ["", "x" * 501],
}
WRONG_TYPE: dict[str, list[Any]] = {
    "city": [None, 7],
    "head_count": [None, 1.5, "fifty", math.inf, math.nan],
    "date": [None, 20261215],
    "start_time": [None, 18],
    "max_price": ["cheap"],
    "budget_limit": ["low"],
    "venue_cost": [None, "free"],
    "catering_cost": [None, "free"],
    "diets": ["vegan", [None]],
    "style": [None, 1],
    "event_title": [None, ["Party"]],
}


def cases(values: dict[str, list[Any]]) -> list[pytest.ParameterSet]:
    return [
        pytest.param(name, argument, value, id=f"{name}-{argument}-{str(value)[:12]}")
        for name, tool in ALL.items()
        for argument in tool.args
        for value in values[argument]
    ]


def test_every_participant_has_tools_and_a_description() -> None:
    assert list(TOOLS) == list(DESCRIPTIONS) == ["venue", "budget", "catering", "logistics"]
    assert all(text.endswith(".") and text.count(".") == 1 for text in DESCRIPTIONS.values())


@pytest.mark.parametrize("name", ALL)
def test_the_schema_says_what_the_tool_and_each_argument_is(name: str) -> None:
    model = ALL[name].tool_call_schema
    assert isinstance(model, type) and issubclass(model, BaseModel)
    schema = model.model_json_schema()
    assert schema["description"].endswith(".")
    assert all(part["description"].endswith(".") for part in schema["properties"].values())
    assert schema["required"] == list(GOOD[name])


def test_the_styles_are_an_enum_in_the_schema() -> None:
    assert ALL["plan_menu"].args["style"]["enum"] == ["buffet", "plated", "finger food"]


@pytest.mark.parametrize("name", ALL)
def test_good_values_are_answered_the_same_way_each_time(name: str) -> None:
    answer = ALL[name].invoke(GOOD[name])
    assert not answer.startswith("Cannot ")
    assert answer == ALL[name].invoke(GOOD[name])


@pytest.mark.parametrize("name", ALL)
async def test_a_tool_can_be_awaited(name: str) -> None:
    assert await ALL[name].ainvoke(GOOD[name]) == ALL[name].invoke(GOOD[name])


@pytest.mark.parametrize(("name", "argument", "value"), cases(BAD) + cases(WRONG_TYPE))
def test_a_bad_value_is_answered_and_never_raised(name: str, argument: str, value: object) -> None:
    answer = ALL[name].invoke({**GOOD[name], argument: value})
    assert answer.startswith("Cannot ")
    assert answer.endswith(".") and len(answer) < 800


@pytest.mark.parametrize(("name", "argument", "value"), cases(BAD))
def test_the_function_behind_a_tool_answers_a_bad_value_too(
    name: str, argument: str, value: object
) -> None:
    answer = function_of(ALL[name])(**{**GOOD[name], argument: value})
    text = answer[0] if isinstance(answer, tuple) else answer
    assert text.startswith("Cannot ")


def test_a_missing_argument_is_named() -> None:
    answer = ALL["search_venues"].invoke({"city": "Seattle"})
    assert answer == (
        "Cannot read the arguments: head_count is missing; date is missing. "
        "Correct them and try again."
    )


@pytest.mark.parametrize(
    ("name", "argument", "value", "words"),
    [
        ("search_venues", "city", "Atlantis", ["'Atlantis'", "Choose one of", "Seattle"]),
        ("make_schedule", "head_count", 0, ["head_count 0", "from 1 to 10,000"]),
        ("make_budget", "venue_cost", math.nan, ["venue_cost nan", "US dollars from 0 to"]),
        ("make_budget", "budget_limit", 0, ["budget_limit 0", "leave budget_limit out"]),
        ("weather_outlook", "date", "15/12/2026", ["'15/12/2026'", "YYYY-MM-DD"]),
        ("make_calendar", "start_time", "6 pm", ["'6 pm'", "HH:MM"]),
        ("plan_menu", "style", "banquet", ["'banquet'", "finger food"]),
    ],
)
def test_the_answer_names_the_value_and_the_way_out(
    name: str, argument: str, value: object, words: list[str]
) -> None:
    answer = ALL[name].invoke({**GOOD[name], argument: value})
    assert all(word in answer for word in words)
