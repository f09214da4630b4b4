"""Event planning, end to end, on the offline model."""

import re
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from asterism import resume
from asterism.graphs.examples.event_planning import ORDER, create_event_planning
from asterism.nodes.examples.event_planning.catalogue import cities
from asterism.offline import OfflineChatModel

TODAY = date(2026, 11, 20)
HOLIDAY = "Plan a corporate holiday party for 50 people in Seattle on December 15th"


def workflow(**options: Any) -> Any:
    model = OfflineChatModel(today=lambda: TODAY)
    return create_event_planning(model, **options).build(checkpointer=InMemorySaver())


def plan(request: str, **options: Any) -> Any:
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    return workflow(**options).invoke({"messages": [("user", request)]}, config)


def reports(result: Any) -> dict[str, str]:
    return {report["participant"]: report["text"] for report in result["reports"]}


def money(text: str, label: str) -> Decimal:
    found = re.search(rf"^{label}: \$([\d,.]+\d)", text, re.M)
    assert found, (label, text)
    return Decimal(found[1].replace(",", ""))


def table(text: str) -> list[Decimal]:
    rows = re.findall(r"^\| \**[\w ()%]+\** \| \**\$([\d,.]+)\** \|$", text, re.M)
    return [Decimal(row.replace(",", "")) for row in rows]


def test_the_holiday_party_is_planned() -> None:
    result = plan(HOLIDAY)
    assert (result["status"], result["iterations"]) == ("completed", 5)
    assert [report["participant"] for report in result["reports"]] == list(ORDER)
    assert all(report["status"] == "ok" for report in result["reports"])
    answer = result["messages"][-1].text
    assert answer.startswith(f"# {HOLIDAY}")
    for heading in ("## Venue", "## Catering", "## Budget", "## Logistics"):
        assert heading in answer
    (calendar,) = [f for report in result["reports"] for f in report.get("files", ())]
    assert calendar["name"] == "corporate-holiday-party.ics"
    assert calendar["text"].startswith("BEGIN:VCALENDAR\r\n")
    assert "DTSTART:20261215T180000" in calendar["text"]


@pytest.mark.parametrize(
    ("request_text", "city", "heads", "day"),
    [
        (HOLIDAY, "Seattle", 50, "2026-12-15"),
        ("Plan a birthday for 25 people in Lisbon on 2027-05-08", "Lisbon", 25, "2027-05-08"),
        (
            "Organise a launch in New York on March 5th for 220 guests",
            "New York",
            220,
            "2027-03-05",
        ),
        ("Prepare a summer party in vienna on july 3 for 90 people", "Vienna", 90, "2027-07-03"),
    ],
)
def test_the_numbers_are_those_of_the_request_and_add_up(
    request_text: str, city: str, heads: int, day: str
) -> None:
    said = reports(plan(request_text))
    assert f", {city}\n" in said["venue"]
    assert f"Venue date: {day}" in said["venue"]
    capacity = re.search(r"Venue capacity: (\d+)", said["venue"])
    assert capacity and int(capacity[1]) >= heads
    assert money(said["catering"], "Catering cost") == heads * money(
        said["catering"], "Catering per person"
    )
    *lines, total = table(said["budget"])
    assert sum(lines) == total == money(said["budget"], "Budget total")
    assert lines[0] == money(said["venue"], "Venue cost")
    assert lines[1] == money(said["catering"], "Catering cost")
    assert f"Event starts: {day}" in said["logistics"]
    assert city in said["logistics"]


@pytest.mark.parametrize("city", cities()[::12])
def test_cities_of_the_catalogue_work(city: str) -> None:
    result = plan(f"Plan a party for 20 people in {city} on 2027-05-05")
    assert result["status"] == "completed"
    assert f", {city}\n" in reports(result)["venue"]


@pytest.mark.parametrize(
    ("request_text", "asked"),
    [
        ("Plan a party", ["city", "head count", "date"]),
        ("Plan a party for 50 people", ["city", "date"]),
        ("Plan a party in Seattle", ["head count", "date"]),
        ("Plan a party in Seattle for 50 people", ["date"]),
        ("Plan a party on December 15th in Seattle", ["head count"]),
    ],
)
def test_what_is_missing_is_asked_for_and_not_guessed(request_text: str, asked: list[str]) -> None:
    result = plan(request_text)
    assert result["status"] == "waiting"
    question = result["__interrupt__"][0].value["prompt"].split(".")[0]
    assert [name for name in ("city", "head count", "date") if name in question] == asked


def test_the_plan_goes_on_after_the_answer(thread: RunnableConfig) -> None:
    planning = workflow()
    planning.invoke({"messages": [("user", "Plan a party under $9,000")]}, thread)
    result = resume(planning, thread, "Denver, December 15th, 40 people")
    assert result["status"] == "completed"
    assert ", Denver\n" in reports(result)["venue"]


def test_an_unknown_city_gets_an_answer_that_names_the_known_ones(thread: RunnableConfig) -> None:
    planning = workflow()
    result = planning.invoke(
        {"messages": [("user", "Plan a party for 50 people in Atlantis on May 5th")]}, thread
    )
    question = result["__interrupt__"][0].value["prompt"]
    assert "'Atlantis'" in question
    assert all(city in question for city in cities())
    result = resume(planning, thread, "Boston")
    assert result["status"] == "completed"
    assert ", Boston\n" in reports(result)["venue"]


@pytest.mark.parametrize(("limit", "verdict"), [("5,000", "OVER by"), ("50,000", "within")])
def test_a_stated_limit_is_kept_or_said_to_be_broken(limit: str, verdict: str) -> None:
    said = reports(plan(f"{HOLIDAY} with a budget of ${limit}"))
    assert re.search(rf"Budget limit: \${limit}.00 \({verdict}", said["budget"])


def test_a_narrow_question_concerns_one_participant() -> None:
    result = plan("Which venues hold 50 people in Seattle on December 15th?")
    assert [report["participant"] for report in result["reports"]] == ["venue"]


def test_tools_can_be_added() -> None:
    @tool
    def parking_cost(city: str) -> str:
        """Tell what parking costs."""
        return f"Parking cost: $7 in {city}"

    result = plan(HOLIDAY, tools={"logistics": [parking_cost]})
    assert "Parking cost: $7 in Seattle" in reports(result)["logistics"]
    with pytest.raises(ValueError, match="tools names 'cook', who does not take part; allowed:"):
        create_event_planning(tools={"cook": [parking_cost]})


async def test_it_runs_in_async(thread: RunnableConfig) -> None:
    result = await workflow().ainvoke({"messages": [("user", HOLIDAY)]}, thread)
    assert result["messages"][-1].text == plan(HOLIDAY)["messages"][-1].text
