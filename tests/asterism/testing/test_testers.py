"""The testers: a team and a participant run by scripts, and checks that can fail."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langgraph.types import interrupt

from asterism import (
    Agent,
    AgentOrchestrator,
    EventBus,
    Participant,
    SupervisorTrace,
    SupervisorWorkflowBuilder,
)
from asterism.testing import (
    AgentTester,
    OrchestratorTester,
    ScriptedChatModel,
    ScriptedReply,
    UnexpectedModelCallError,
)

CALL = ScriptedReply(tool_calls=[("price", {"city": "Rome", "travellers": 2})])
SCRIPTS: dict[str, list[Any]] = {
    "supervisor": ["trains", "hotels", None, "$240 and the Ritz"],
    "trains": [CALL, "They are $240."],
    "hotels": ["The Ritz"],
}


def price(city: str, travellers: int) -> str:
    """Tell what tickets cost."""
    return f"${120 * travellers} to {city}"


def trip(model: BaseChatModel) -> SupervisorWorkflowBuilder:
    return SupervisorWorkflowBuilder("Trip", model=model).participants(
        trains=Participant(tools=[price], description="Prices tickets."),
        hotels=Participant(description="Finds hotels."),
    )


@pytest.fixture
def tester() -> OrchestratorTester:
    tester = OrchestratorTester(trip, SCRIPTS)
    tester.run("Two to Rome")
    return tester


def test_a_test_of_a_team_has_five_lines() -> None:
    tester = OrchestratorTester(trip, SCRIPTS)
    tester.run("Two to Rome")
    tester.assert_route("trains", "hotels").assert_answer("$240", "Ritz")
    tester.assert_within(calls=7, tokens=2_000, iterations=3, cost_usd=0).assert_finished()


async def test_a_team_runs_in_async() -> None:
    tester = OrchestratorTester(trip, SCRIPTS)
    await tester.arun("Two to Rome")
    tester.assert_route("trains", "hotels").assert_finished()


def test_tools_run_and_prompts_can_be_looked_at(tester: OrchestratorTester) -> None:
    asked, answered = tester.calls("trains")
    assert asked.tools == ["price"]
    assert answered.messages[-1].text == "$240 to Rome"
    with pytest.raises(LookupError, match=r"no script of 'cook'; there are supervisor, trains"):
        tester.calls("cook")


def test_who_sent_to_whom_is_checked_in_any_order(tester: OrchestratorTester) -> None:
    pairs = [
        *[("user", "supervisor"), ("supervisor", "user")],
        *[("supervisor", "trains"), ("trains", "supervisor")],
        *[("hotels", "supervisor"), ("supervisor", "hotels")],
    ]
    tester.assert_interactions(*pairs)
    with pytest.raises(AssertionError) as caught:
        tester.assert_interactions(*pairs[:-1], ("trains", "hotels"))
    assert "missing interactions: [('trains', 'hotels')]" in str(caught.value)
    assert "unexpected ones: [('supervisor', 'hotels')]" in str(caught.value)


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (lambda t: t.assert_route("hotels"), r"the route was \['trains', 'hotels'\], not \['hot"),
        (lambda t: t.assert_answer("Oslo"), r"'Oslo' is not in the answer '\$240 and the Ritz'"),
        (lambda t: t.assert_status("limit"), "ended as 'completed', not 'limit'"),
        (lambda t: t.assert_within(calls=6), "7 calls, at most 6"),
        (lambda t: t.assert_within(tokens=10, iterations=2), r"tokens, at most 10; 3 iterations"),
    ],
    ids=["route", "answer", "status", "calls", "tokens and iterations"],
)
def test_a_check_that_does_not_hold_says_what_is(
    tester: OrchestratorTester, check: Callable[[OrchestratorTester], object], said: str
) -> None:
    with pytest.raises(AssertionError, match=said):
        check(tester)


def test_a_reply_too_many_and_one_too_few_are_told() -> None:
    few = {**SCRIPTS, "trains": [CALL]}
    with pytest.raises(UnexpectedModelCallError, match=r"trains made call 2 of a script of 1"):
        OrchestratorTester(trip, few).run("Two to Rome")  # though the run itself goes on
    many = {**SCRIPTS, "hotels": ["The Ritz", "The Savoy"]}
    tester = OrchestratorTester(trip, many)
    tester.run("Two to Rome")
    with pytest.raises(AssertionError, match="hotels has made 1 calls, its script has 2 replies"):
        tester.assert_finished()


def test_somebody_without_a_script_is_told() -> None:
    scripts: dict[str, list[Any]] = {"supervisor": ["trains", None, "Done"]}
    with pytest.raises(UnexpectedModelCallError, match=r"trains makes a call and has no script"):
        OrchestratorTester(trip, scripts).run("Two to Rome")


def test_a_conversation_goes_on() -> None:
    scripts: dict[str, list[Any]] = {
        "supervisor": ["hotels", None, "The Ritz"] * 2,
        "hotels": ["The Ritz", "It is full"],
    }
    tester = OrchestratorTester(trip, scripts)
    tester.run("A hotel")
    tester.run("Another one")
    tester.assert_route("hotels").assert_finished()
    assert [m.text for m in tester.calls("hotels")[1].messages][2] == "The Ritz"


def test_questions_are_answered() -> None:
    asks = {"next_agent": None, "user_input_needed": True, "user_prompt": "When?"}
    tester = OrchestratorTester(trip, {"supervisor": [asks, None, "In May."]})
    tester.run("A trip")
    tester.assert_status("waiting")
    assert [request.prompt for request in tester.pending] == ["When?"]
    tester.answer("In May")
    tester.assert_answer("May").assert_interactions(
        *[("user", "supervisor"), ("supervisor", "user"), ("user", "supervisor")],
        ("supervisor", "user"),
    )


def test_workflows_inside_have_scripts_by_path() -> None:
    def build(model: BaseChatModel) -> SupervisorWorkflowBuilder:
        team = Participant(runs=trip(model).build(), description="Plans trips.")
        return SupervisorWorkflowBuilder("Desk", model=model, finish="forward").participants(t=team)

    inner: dict[str, list[Any]] = {
        "t/supervisor": ["hotels", None, "Stay at the Ritz"],
        "t/hotels": ["The Ritz"],
    }
    tester = OrchestratorTester(build, {"supervisor": ["t", None], **inner})
    tester.run("A hotel")
    tester.assert_route("t").assert_answer("Stay at the Ritz").assert_finished()


def test_a_plan_is_one_entry_of_the_route() -> None:
    def task(name: str) -> dict[str, str]:
        return {"task_id": f"{name}-task", "agent_id": name, "task_description": "Do it"}

    plan: Any = {"tasks": [task("trains"), task("hotels")]}
    scripts: dict[str, list[Any]] = {
        "supervisor": [plan, None, "Done"],
        "trains": ["$1"],
        "hotels": ["Ritz"],
    }
    tester = OrchestratorTester(trip, scripts)
    tester.run("All of it")
    tester.assert_route("trains-task, hotels-task").assert_answer("Done").assert_finished()


def test_an_orchestrator_is_tested_as_any_team() -> None:
    def build(model: BaseChatModel) -> AgentOrchestrator:
        main = Agent(agent_id="main", model=model)
        return AgentOrchestrator(main).register_subagent(
            Agent(agent_id="cook", model=model, system_prompt="You cook.")
        )

    plan: Any = {"tasks": [{"task_id": "menu", "agent_id": "cook", "task_description": "A menu"}]}
    scripts: dict[str, list[Any]] = {"supervisor": [plan, None, "Soup it is."], "cook": ["Soup"]}
    tester = OrchestratorTester(build, scripts)
    asyncio.run(tester.arun("Dinner"))
    tester.assert_route("menu").assert_answer("Soup").assert_finished()


def test_a_team_that_is_ready_is_taken_as_it_is() -> None:
    trace = SupervisorTrace()
    model = ScriptedChatModel(script=[{"next_agent": None}, "Done"])
    star = SupervisorWorkflowBuilder("T", model=model, events=trace.bus)
    workflow = star.participants(a=Participant(description="A")).build()
    tester = OrchestratorTester(workflow)
    tester.run("Hello")
    tester.assert_route().assert_answer("Done")
    assert len(trace.get_all_traces()) == 1
    assert isinstance(trace.bus, EventBus)
    with pytest.raises(TypeError, match="the team is a str; allowed"):
        OrchestratorTester("team")


def test_without_a_run_there_is_nothing_to_check() -> None:
    with pytest.raises(AssertionError, match="nothing was run yet"):
        OrchestratorTester(trip).assert_route()


# ---- one participant


def test_a_participant_is_asked() -> None:
    tester = AgentTester(Participant(tools=[price]), [CALL, "They are $240.", "Still $240."])
    report = tester.ask("Two to Rome")
    assert report is not None and report["status"] == "ok"
    tester.assert_called("price", city="Rome").assert_said("$240")
    tester.ask("Sure?")
    assert [m.type for m in tester.messages] == ["human", "ai", "tool", "ai", "human", "ai"]
    tester.assert_finished()
    with pytest.raises(AssertionError, match=r"price was not called with \{'city': 'Oslo'\}"):
        tester.assert_called("price", city="Oslo")
    with pytest.raises(AssertionError, match=r"'Oslo' is not in the report 'Still \$240\.'"):
        tester.assert_said("Oslo")


async def test_an_agent_with_a_model_of_its_own_is_asked_in_async() -> None:
    agent: Any = create_agent(ScriptedChatModel(script=[CALL, "They are $240."]), [price])
    tester = AgentTester(agent)
    await tester.aask("Two to Rome")
    tester.assert_called("price").assert_said("$240")


def test_a_participant_that_asks_is_answered() -> None:
    def ask(messages: list[Any]) -> str:
        return f"It is {interrupt('Which city?')}"

    tester = AgentTester(ask)
    assert tester.ask("A trip") is None
    assert [(r.participant, r.prompt) for r in tester.pending] == [("agent", "Which city?")]
    report = tester.answer("Rome")
    assert report is not None and report["text"] == "It is Rome"


def test_a_participant_that_fails_fails_the_test() -> None:
    def fail(messages: list[Any]) -> str:
        raise LookupError("no such city")

    with pytest.raises(AssertionError, match="ended as failed: LookupError: no such city"):
        AgentTester(fail).ask("Rome")
    with pytest.raises(AssertionError, match="1 replies, the model was called 2 times"):
        AgentTester(Participant(tools=[price]), [CALL]).ask("Rome")
