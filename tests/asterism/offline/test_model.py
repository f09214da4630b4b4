"""The offline model: it reads, calls, asks, routes and writes; for any team."""

from datetime import date
from decimal import Decimal
from typing import Any, Literal

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel, Field, create_model

from asterism import (
    Agent,
    AgentOrchestrator,
    Participant,
    SupervisorWorkflowBuilder,
    create_reviewer,
    resume,
)
from asterism.core.agent_spec import resolve_model
from asterism.offline import OfflineChatModel
from asterism.offline import text_parsing as reading
from asterism.offline.arguments import Sources, read_arguments
from asterism.offline.questions import describe_missing, question_for
from asterism.offline.routing import find_concerned
from asterism.prompts import render
from tests.teams import said

TODAY = date(2026, 11, 20)  # a Friday


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("on December 15th", "2026-12-15"),
        ("on Dec. 15, 2027", "2027-12-15"),
        ("the 15th of december", "2026-12-15"),
        ("15 December 2028", "2028-12-15"),
        ("on 2027-01-02", "2027-01-02"),
        ("on 3/4/2027", "2027-03-04"),
        ("on March 5", "2027-03-05"),
        ("today", "2026-11-20"),
        ("tomorrow at noon", "2026-11-21"),
        ("next Friday", "2026-11-27"),
        ("this monday", "2026-11-23"),
        ("on February 30", None),
        ("may I ask 50 people", None),
        ("nothing", None),
    ],
)
def test_dates_are_read(text: str, expected: str | None) -> None:
    found = reading.find_dates(text, TODAY)
    assert (str(found[0]) if found else None) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Calculate 25 * 4 and more", ["25 * 4"]),
        ("What is (1.5+2)/3?", ["(1.5+2)/3"]),
        ("It is 2 ** 10 - 1.", ["2 ** 10 - 1"]),
        ("on 2027-01-02 and on 3/4/2027", []),
        ("50 people at 8", []),
    ],
)
def test_sums_are_read(text: str, expected: list[str]) -> None:
    assert reading.find_expressions(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$20,000", [20000]),
        ("€ 500.50 or £3", [Decimal("500.50"), 3]),
        ("$20k", [20000]),
        ("500 dollars and 20 USD", [500, 20]),
        ("50 people", []),
    ],
)
def test_money_is_read(text: str, expected: list[Any]) -> None:
    assert [amount.value for amount in reading.find_money(text)] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50 people in 3 rooms", [50, 3]),
        ("1,200 guests", [1200]),
        ("on December 15th at 18:30 for $500", []),
        ("order A-17 and 2026-12-15", []),
        ("2.5 hours", [Decimal("2.5")]),
    ],
)
def test_numbers_are_neither_dates_nor_money(text: str, expected: list[Any]) -> None:
    assert [number.value for number in reading.numbers(text)] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a party in Seattle on December 15th", [("in", "Seattle")]),
        ("in New York City for 50", [("in", "New York City")]),
        ("from Rio de Janeiro to Oslo", [("from", "Rio de Janeiro"), ("to", "Oslo")]),
        ("a party in seattle", [("in", "Seattle")]),
        ("in December", []),
        ("in total", []),
        ("at 18:30", []),
    ],
)
def test_places_are_read(text: str, expected: list[tuple[str, str]]) -> None:
    assert reading.find_places(text) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Denver", "Denver"),
        ("denver", "Denver"),
        ("Seattle, 50 people, December 15th", "Seattle"),
        ("50 people in Denver", "Denver"),
        ("December 15th", None),
        ("50", None),
    ],
)
def test_a_short_answer_can_be_a_place(answer: str, expected: str | None) -> None:
    assert reading.bare_place(answer, TODAY) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("at 7 pm", ["19:00"]), ("18:30", ["18:30"]), ("at 12 am", ["00:00"]), ("in 7 days", [])],
)
def test_times_are_read(text: str, expected: list[str]) -> None:
    assert reading.times(text) == expected


def arguments(function: Any, request: str, **sources: Any) -> tuple[dict[str, Any], list[str]]:
    schema = tool(function).tool_call_schema
    assert not isinstance(schema, dict)
    return read_arguments(
        schema.model_json_schema(), Sources(request=request, today=TODAY, **sources)
    )


def test_arguments_are_read_by_name_and_type() -> None:
    def book(
        city: str,
        head_count: int,
        date: str,
        style: Literal["buffet", "plated"] = "buffet",
        max_price: float | None = None,
        budget_limit: float | None = None,
        start_time: str = "18:00",
        outdoor: bool = False,
    ) -> str:
        """Book."""
        return ""

    request = (
        "A plated dinner for 50 people in New York on May 3rd at 7 pm, outdoor, venue under "
        "$3,000, with a budget of $10k"
    )
    assert arguments(book, request) == (
        {
            "city": "New York",
            "head_count": 50,
            "date": "2027-05-03",
            "style": "plated",
            "max_price": 3000.0,
            "budget_limit": 10000.0,
            "start_time": "19:00",
            "outdoor": True,
        },
        [],
    )
    assert arguments(book, "Plan a dinner") == ({}, ["city", "head_count", "date"])


def test_arguments_of_many_other_tools() -> None:
    def travel(origin: str, destination: str) -> str:
        """Travel."""
        return ""

    def convert(amount: float, from_currency: str, to_currency: str) -> str:
        """Convert."""
        return ""

    def status(order_id: str) -> str:
        """Look up an order."""
        return ""

    def search(query: str) -> str:
        """Search."""
        return ""

    def count(number_of_rooms: int) -> str:
        """Count."""
        return ""

    def greet(name: str) -> str:
        """Greet."""
        return ""

    def serve(diets: list[str] | None = None) -> str:
        """Serve."""
        return ""

    assert arguments(travel, "Fly from Oslo to Rome")[0] == {
        "origin": "Oslo",
        "destination": "Rome",
    }
    assert arguments(convert, "How much is 200 USD in EUR?")[0] == {
        "amount": 200.0,
        "from_currency": "USD",
        "to_currency": "EUR",
    }
    assert arguments(status, "Where is order AB-1234?")[0] == {"order_id": "AB-1234"}
    assert arguments(search, "Who was first on the moon?")[0] == {
        "query": "Who was first on the moon?"
    }
    assert arguments(count, "A house with 7 rooms and 2 cats")[0] == {"number_of_rooms": 7}
    assert arguments(greet, 'Say hello to "Ada"')[0] == {"name": "Ada"}
    assert arguments(greet, "Say hello") == ({}, ["name"])
    assert arguments(serve, "For vegans") == ({}, [])


def test_the_latest_answer_wins_and_results_are_read_by_label() -> None:
    def pay(city: str, venue_cost: float) -> str:
        """Pay."""
        return ""

    found, missing = arguments(
        pay,
        "A party in Springfield",
        answers=["Denver"],
        results=["Venue: A hall\nVenue cost: $2,400.00"],
    )
    assert (found, missing) == ({"city": "Denver", "venue_cost": 2400.0}, [])


def test_lists_are_read_from_the_words_that_the_description_lists() -> None:
    class Arguments(BaseModel):
        diets: list[str] = Field(description="Diets to serve: vegan, halal, kosher or nut-free")

    found, _ = read_arguments(
        Arguments.model_json_schema(),
        Sources(request="Serve 12 vegan and some nut-free dishes", today=TODAY),
    )
    assert found == {"diets": ["12 vegan", "nut-free"]}


@pytest.mark.parametrize(
    ("request_text", "expected"),
    [
        ("Plan a trip to Oslo", ["flights", "hotels", "visa"]),
        ("Do I need a visa?", ["visa"]),
        ("Which hotels are there?", ["hotels"]),
        ("Something for Ann", ["flights", "hotels", "visa"]),
        ("Hello", []),
    ],
)
def test_a_request_concerns_some_or_all(request_text: str, expected: list[str]) -> None:
    described = {
        "flights": "Finds flights between two cities.",
        "hotels": "Finds hotels in a city.",
        "visa": "Tells who needs a visa.",
    }
    assert find_concerned(request_text, described) == expected


@tool
def exchange(amount: float, currency: str) -> str:
    """Exchange dollars into another currency."""
    return f"Exchanged: {amount * 2:.2f} {currency}"


@tool
def temperature(city: str, date: str) -> str:
    """Tell the temperature in a city on a day."""
    return f"Temperature: 7 degrees in {city} on {date}"


def team() -> Any:
    return (
        SupervisorWorkflowBuilder("Trip", model=OfflineChatModel(today=lambda: TODAY))
        .participants(
            money=Participant(tools=[exchange], description="Exchanges money."),
            weather=Participant(tools=[temperature], description="Tells the weather."),
        )
        .build(checkpointer=InMemorySaver())
    )


def ask(workflow: Any, request: str, thread: RunnableConfig) -> Any:
    return workflow.invoke({"messages": [("user", request)]}, thread)


def test_it_works_for_a_team_that_it_has_never_seen(thread: RunnableConfig) -> None:
    request = "Prepare my trip: 200 dollars into EUR, and the weather in Oslo on May 3"
    result = ask(team(), request, thread)
    assert said(result) == ["Exchanged: 400.00 EUR", "Temperature: 7 degrees in Oslo on 2027-05-03"]
    assert result["messages"][-1].text.splitlines()[0] == f"# {request}"
    assert "## Weather\n\n- Temperature: 7 degrees in Oslo" in result["messages"][-1].text


def test_it_asks_for_what_is_missing(thread: RunnableConfig) -> None:
    workflow = team()
    result = ask(workflow, "What is the weather?", thread)
    assert result["status"] == "waiting"
    question = result["__interrupt__"][0].value["prompt"]
    assert question == "To go on I need the city and the date. What are they?"
    result = resume(workflow, thread, "oslo, tomorrow")
    assert result["status"] == "completed"
    assert said(result)[-1] == "Temperature: 7 degrees in Oslo on 2026-11-21"


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("travellers", int, "How many travellers?"),
        ("number_of_rooms", int, "How many rooms?"),
        ("severity", Literal["low", "high"], "Which severity (low, high)?"),
        ("path", str, "What is the path?"),
        ("city", str, "Which city?"),
        ("start_date", str, "Which start date?"),
        ("amount", float, "What is the amount?"),
        ("urgent", bool, "Urgent: yes or no?"),
    ],
)
def test_a_question_for_one_argument_is_plain_english(name: str, kind: Any, expected: str) -> None:
    fields: dict[str, Any] = {name: (kind, ...)}
    schema = create_model("Arguments", **fields).model_json_schema()
    assert question_for(describe_missing([name], schema, [])) == expected


@pytest.mark.parametrize(
    ("kind", "said", "expected"),
    [
        (str, "critical", "critical"),
        (str, "the path is data/sales.csv", "data/sales.csv"),
        (int, "three, please", 3),
        (float, "$59.90", 59.9),
        (bool, "yes please", True),
        (bool, "no", False),
        (Literal["low", "high"], "High", "high"),
        (list[str], "eggs, milk and flour", ["eggs", "milk", "flour"]),
        (int, "many", None),
        (Literal["low", "high"], "middling", None),
        (str, "I don't know", None),
    ],
)
def test_an_answer_is_the_argument_that_was_asked_for(kind: Any, said: str, expected: Any) -> None:
    schema = create_model("Arguments", value=(kind, ...)).model_json_schema()
    question = question_for(describe_missing(["value"], schema, []))
    sources = Sources(request="Do it", answers=[said], dialog=[(question, said)], today=TODAY)
    found, missing = read_arguments(schema, sources)
    assert (found, missing) == (({}, ["value"]) if expected is None else ({"value": expected}, []))


def test_a_reviewer_works_offline() -> None:
    reviewer = create_reviewer("offline", {"price": "names the price", "tone": "is friendly"})
    good = reviewer.review("The price is named: $5. A friendly tone.")
    assert good.score > reviewer.review("Nothing.").score
    assert all("(offline model)" in judged.reason for judged in good.judgements.values())


def test_an_agent_without_a_workflow_takes_the_next_message_as_an_answer() -> None:
    calls: list[str] = []

    def set_severity(bug_id: int, severity: Literal["low", "high"]) -> str:
        """Set the severity of a bug."""
        calls.append(f"{bug_id} {severity}")
        return "Set."

    create: Any = create_agent
    agent = create(OfflineChatModel(), [set_severity], checkpointer=InMemorySaver())
    place: Any = {"configurable": {"thread_id": "1"}}
    asked = agent.invoke({"messages": [("user", "Set the severity of bug 7")]}, place)
    assert asked["messages"][-1].text == "Which severity (low, high)?"
    agent.invoke({"messages": [("user", "high")]}, place)
    assert calls == ["7 high"]


def test_it_remembers_what_a_participant_was_told_before(thread: RunnableConfig) -> None:
    workflow = team()
    ask(workflow, "What is the weather in Oslo on May 3?", thread)
    result = ask(workflow, "And the weather tomorrow?", thread)
    assert said(result) == ["Temperature: 7 degrees in Oslo on 2026-11-21"]


def test_it_is_deterministic(thread: RunnableConfig) -> None:
    request = "Prepare my trip: 200 dollars into EUR, and the weather in Oslo on May 3"
    texts = [
        [m.text for m in ask(team(), request, {"configurable": {"thread_id": str(n)}})["messages"]]
        for n in range(2)
    ]
    assert texts[0] == texts[1]


def test_it_is_labelled() -> None:
    message = OfflineChatModel().invoke("Hello")
    assert message.response_metadata == {"model_name": "offline", "offline": True}
    assert message.text.startswith("(offline model)")
    assert isinstance(resolve_model("offline"), OfflineChatModel)


async def test_it_streams() -> None:
    prompt = [HumanMessage('<report from="a">\none two three\n</report>')]
    chunks = [chunk async for chunk in OfflineChatModel().astream(prompt)]
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    assert isinstance(whole, AIMessageChunk)
    assert whole.text == OfflineChatModel().invoke(prompt).text
    assert len(chunks) > 3
    assert whole.response_metadata["offline"] is True
    assert whole.usage_metadata is not None


def test_it_fills_in_a_structured_answer() -> None:
    class Party(BaseModel):
        city: str
        head_count: int

    structured = OfflineChatModel().with_structured_output(Party)
    assert structured.invoke("A party for 50 people in Oslo") == Party(city="Oslo", head_count=50)


def test_it_answers_in_words_where_there_is_nothing_to_call() -> None:
    @tool
    def ring() -> str:
        """Ring."""
        return "Rang."

    model = OfflineChatModel().bind_tools([ring])
    first = model.invoke([SystemMessage("Be nice"), HumanMessage("Ring")])
    assert [call["name"] for call in first.tool_calls] == ["ring"]
    assert isinstance(first, AIMessage)


@pytest.mark.parametrize("planning", ["structured", "tools"])
async def test_an_orchestrator_works_offline(planning: Any) -> None:
    def ticket_price(city: str, travellers: int) -> str:
        """Tell what train tickets to a city cost."""
        return f"Ticket price: ${120 * travellers}.00 for {travellers} to {city}"

    def hotel_price(city: str, travellers: int) -> str:
        """Tell what a hotel in a city costs."""
        return f"Hotel price: ${90 * travellers}.00 for {travellers} in {city}"

    main = Agent(agent_id="main", model="offline")
    orchestrator = AgentOrchestrator(main, [ticket_price, hotel_price], planning=planning)
    for name, uses in (("trains", "ticket_price"), ("hotels", "hotel_price")):
        orchestrator.register_subagent(
            Agent(agent_id=name, system_prompt=f"Finds {name}.", tools=[uses])
        )
    response = await orchestrator.process("Prepare a trip to Lisbon for 3 travellers")
    assert response.status == "completed"
    assert {r["participant"] for r in response.reports} == {"trains", "hotels"}
    assert "Ticket price: $360.00" in response.content
    assert "Hotel price: $270.00" in response.content


def test_it_votes_for_the_answer_that_has_most_of_the_words() -> None:
    ballot = render(
        "vote",
        name="ann",
        names="ann, bob, cid",
        before="",
        answers="\n\n".join(
            f'<report from="{who}">\n{text}\n</report>'
            for who, text in {
                "ann": "the garden has insurance and a garden",
                "bob": "the boat is nice",
                "cid": "the garden is safe",
            }.items()
        ),
    )
    said = OfflineChatModel().invoke(
        [("system", "You look at safe gardens."), ("user", f"A garden party?\n\n{ballot}")]
    )
    assert said.text.startswith("vote: cid\n")


def get_bug(bug_id: int) -> str:
    """Get a bug: severity, owner."""
    return f"Bug {bug_id}; severity: low; owner: Ann"


def set_severity(bug_id: int, severity: str) -> str:
    """Set the severity of a bug."""
    return f"Bug {bug_id} is now {severity}."


def set_level(bug_id: int, severity: Literal["low", "high"]) -> str:
    """Set the severity of a bug."""
    return f"Bug {bug_id} is now {severity}."


@pytest.mark.parametrize("change", [set_severity, set_level], ids=["text", "enum"])
@pytest.mark.parametrize("apart", [False, True], ids=["one participant", "two participants"])
@pytest.mark.parametrize(
    "request_", ["Set the severity of bug 1042", "Get bug 1042 and set its severity"]
)
def test_a_new_value_is_asked_for_and_not_taken_from_a_report(
    change: Any, apart: bool, request_: str
) -> None:
    members: dict[str, Any] = {
        tool.__name__: Participant(tools=[tool], description=tool.__doc__)
        for tool in (get_bug, change)
    }
    together = Participant(tools=[get_bug, change], description="Gets bugs and sets severities.")
    team = SupervisorWorkflowBuilder("Bugs", model="offline").participants(
        members if apart else {"triage": together}
    )
    workflow = team.build(InMemorySaver())
    thread: RunnableConfig = {"configurable": {"thread_id": "1"}}
    result = workflow.invoke({"messages": [("user", request_)]}, thread)
    assert result["status"] == "waiting"
    assert "severity" in result["__interrupt__"][0].value["prompt"]
    answered = resume(workflow, thread, "high")
    assert answered["status"] == "completed"
    assert "Bug 1042 is now high." in str(answered["reports"])
    said = SupervisorWorkflowBuilder("Bugs", model="offline").participants(members).build()
    done = said.invoke({"messages": [("user", f"{request_} to high")]})
    assert "Bug 1042 is now high." in str(done["reports"])
