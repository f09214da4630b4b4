"""Budgets: checked before a call, kept by parallel branches together, raised by a person."""

import asyncio
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import set_config_context
from langchain_core.tools import tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import RetryPolicy
from pydantic import BaseModel

from asterism import (
    Participant,
    SupervisorWorkflowBuilder,
    Timeout,
    aproceed,
    pending_requests,
    proceed,
    resume,
)
from asterism.core.run_types import WorkflowInput
from asterism.core.usage import Usage, lines_of
from asterism.errors import AnswerError, RoutingError
from asterism.limits.budgets import Budget
from asterism.nodes.run_context import RunContext, background_of, create_run_config
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.graphs.test_usage import Priced, calls, prices, says
from tests.plans import drive, plan, task
from tests.teams import follow

Saver = BaseCheckpointSaver[str]
REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}
WAYS = pytest.mark.parametrize("way", ["sync", "async"])


@tool
def act(number: int) -> str:
    """Act."""
    return f"acted {number}"


def worker(turns: int, tokens: int = 100, **fields: Any) -> tuple[Priced, Participant]:
    """A participant that calls a tool a number of times, then answers."""
    replies: list[Any] = [calls("act", tokens - 10, 10, number=n) for n in range(turns)]
    model = Priced(script=[*replies, says("done", tokens - 10, 10)])
    return model, Participant(model=model, tools=[act], prompt="Act.", **fields)


def team(decide: Any, saver: Any = None, budget: Any = None, **members: Any) -> Any:
    return (
        SupervisorWorkflowBuilder("Test", finish="forward", prices=prices(), budget=budget)
        .participants(**members)
        .with_manager(decide)
        .build(checkpointer=saver)
    )


DECIDERS = {"visit": follow(["p"]), "task": plan(task("t", "p"))}
EITHER = pytest.mark.parametrize("decide", DECIDERS.values(), ids=DECIDERS)


@WAYS
@EITHER
@pytest.mark.parametrize(
    ("budget", "made"),
    [
        (Budget(max_calls=3), 3),
        (Budget(max_tokens=350), 4),
        (Budget(max_cost_usd="0.0005"), 3),
        (Budget(max_calls=0), 0),
    ],
    ids=["calls", "tokens", "money", "nothing"],
)
async def test_a_run_ends_at_its_limit_with_what_there_is(
    way: str, decide: Any, budget: Budget, made: int, caplog: pytest.LogCaptureFixture
) -> None:
    model, spec = worker(9)
    result = await drive(team(decide, budget=budget, p=spec), way, REQUEST, None)
    assert caplog.messages == [], "a limit is no fault"
    assert result["status"] == "limit"
    assert result["reason"].startswith("the budget of the run is used up: ")
    total = Usage.of(lines_of(result))
    assert total.calls == len(model.calls)
    assert abs(len(model.calls) - made) <= 1
    if budget.max_calls is not None:
        assert len(model.calls) == budget.max_calls


@WAYS
@EITHER
async def test_a_participant_ends_at_its_limit_and_the_run_goes_on(way: str, decide: Any) -> None:
    model, spec = worker(9, budget=Budget(max_calls=2))
    result = await drive(team(decide, p=spec), way, REQUEST, None)
    assert result["status"] == "completed"
    [report] = result["reports"]
    assert (report["status"], report["kind"]) == ("limit", "budget_exceeded")
    assert "the budget of p is used up: 2 of 2 calls" in report["error"]
    assert len(model.calls) == 2


@EITHER
async def test_a_sync_run_keeps_its_budget_in_a_thread_with_an_event_loop(
    decide: Any, saver: Saver, thread: RunnableConfig
) -> None:
    """In a notebook, an event loop runs in the thread that calls `invoke`."""
    model, spec = worker(9)
    budget = Budget(max_calls=3, on_breach="ask")
    workflow = team(decide, saver, budget=budget, p=spec)
    assert workflow.invoke(REQUEST, thread)["status"] == "waiting"
    assert len(model.calls) == 3
    assert resume(workflow, thread, "stop")["status"] == "limit"
    assert len(model.calls) == 3


def test_a_budget_of_a_participant_holds_for_all_its_visits() -> None:
    model, spec = worker(1, budget=Budget(max_calls=3))
    model.script = [*model.script, *model.script]
    result = team(follow(["p", "p"]), p=spec).invoke(REQUEST)
    assert [r["status"] for r in result["reports"]] == ["ok", "limit"]
    assert len(model.calls) == 3


def test_each_task_has_its_own_budget() -> None:
    model, spec = worker(1)
    model.script = [*model.script, *[calls("act", 1, 1, number=0)] * 9]
    built = (
        SupervisorWorkflowBuilder("Test", finish="forward", task_budget=Budget(max_calls=2))
        .participants(p=spec)
        .with_manager(plan(task("a", "p"), task("b", "p")))
        .build()
    )
    result = built.invoke(REQUEST)
    assert [r["status"] for r in result["reports"]] == ["ok", "limit"]
    assert "the budget of p#b is used up" in result["reports"][1]["error"]


@WAYS
async def test_a_budget_holds_for_everything_below(way: str) -> None:
    model, spec = worker(9)
    inner = (
        SupervisorWorkflowBuilder("Inner", finish="forward", description="Works.")
        .participants(deep=spec)
        .with_manager(follow(["deep"]))
        .build()
    )
    limited = Participant(runs=inner, budget=Budget(max_calls=2))
    result = await drive(team(follow(["team"]), team=limited), way, REQUEST, None)
    [report] = result["reports"]
    assert (report["status"], report["kind"], len(model.calls)) == ("limit", "budget_exceeded", 2)
    assert Usage.of(lines_of(result)).calls == 2


@WAYS
async def test_an_inner_workflow_ends_at_its_own_limit(way: str) -> None:
    model, spec = worker(9)
    inner = (
        SupervisorWorkflowBuilder(
            "Inner", finish="forward", description="Works.", budget=Budget(max_calls=2)
        )
        .participants(deep=spec)
        .with_manager(follow(["deep"]))
        .build()
    )
    result = await drive(team(follow(["team"]), team=inner), way, REQUEST, None)
    [report] = result["reports"]
    assert (report["status"], report["kind"], len(model.calls)) == ("limit", "limit_reached", 2)
    assert "the budget of team is used up" in report["error"]


@WAYS
@pytest.mark.parametrize("strategy", ["sequential", "parallel"])
async def test_a_workflow_in_a_plan_ends_a_plan_of_its_own_at_its_limit(
    way: str, strategy: Any
) -> None:
    _, first = worker(0)
    _, second = worker(0)
    inner = (
        SupervisorWorkflowBuilder(
            "Inner", finish="forward", description="Works.", budget=Budget(max_calls=1)
        )
        .participants(first=first, second=second)
        .with_strategy(strategy)
        .build()
    )
    outer = team(plan(task("t", "team")), team=inner)
    running = asyncio.ensure_future(drive(outer, way, REQUEST, None))
    result = await asyncio.wait_for(running, 20)  # else it would wait for itself
    [report] = result["reports"]
    assert (report["status"], report["kind"]) == ("limit", "limit_reached")


def test_a_budget_leaves_an_inner_run_its_own_background() -> None:
    facts: dict[str, Any] = {"prices": prices(), "events": None, "values": {}}
    outer, inner = RunContext(), RunContext()
    around = create_run_config({}, outer, budget=None, gated=False, **facts)
    with set_config_context(around) as context:
        budget = Budget(max_calls=1)
        config = context.run(
            lambda: create_run_config({}, inner, budget=budget, gated=True, **facts)
        )
    assert background_of(config) is inner


@WAYS
@EITHER
@pytest.mark.parametrize("whose", ["run", "participant"])
async def test_a_person_raises_a_limit_and_nothing_is_repeated(
    saver: Saver, thread: RunnableConfig, way: str, decide: Any, whose: str
) -> None:
    budget = Budget(max_calls=2, on_breach="ask")
    model, spec = worker(4, budget=budget if whose == "participant" else None)
    built = team(decide, saver, budget=budget if whose == "run" else None, p=spec)
    result = await drive(built, way, REQUEST, thread)
    assert (result["status"], len(model.calls)) == ("waiting", 2)
    [request] = pending_requests(built, thread)
    assert request.request_type == "budget"
    assert "is used up: 2 of 2 calls" in request.prompt
    with pytest.raises(AnswerError, match="does not fit"):
        resume(built, thread, "a lot")
    result = await asyncio.to_thread(resume, built, thread, "2")  # no more than before
    assert (result["status"], len(model.calls)) == ("waiting", 2)
    result = await asyncio.to_thread(resume, built, thread, "4")
    assert (result["status"], len(model.calls)) == ("waiting", 4)
    assert "is used up: 4 of 4 calls" in pending_requests(built, thread)[0].prompt
    result = await asyncio.to_thread(resume, built, thread, "10")
    assert result["status"] == "completed"
    assert result["reports"][-1]["text"] == "done"
    model.assert_finished()
    place: RunnableConfig = {"configurable": {**thread["configurable"], "checkpoint_ns": "p"}}
    memory = built.get_state(place).values["messages"]
    assert [m.type for m in memory] == ["human", *["ai", "tool"] * 4, "ai"]
    assert Usage.of(lines_of(result)).calls == 5


def test_a_person_may_stop_instead(saver: Saver, thread: RunnableConfig) -> None:
    _, spec = worker(9)
    built = team(follow(["p"]), saver, budget=Budget(max_calls=2, on_breach="ask"), p=spec)
    built.invoke(REQUEST, thread)
    result = resume(built, thread, "stop")
    assert result["status"] == "limit"
    assert "is used up: 2 of 2 calls" in result["reason"]


def test_the_supervisors_own_calls_are_kept_to_the_budget(
    saver: Saver, thread: RunnableConfig
) -> None:
    decision = {"next_agent": "p", "user_input_needed": False}
    model = Priced(script=[decision, decision, {"next_agent": None, "user_input_needed": False}])
    built = (
        SupervisorWorkflowBuilder(
            "Test",
            model=model,
            finish="forward",
            budget=Budget(max_calls=2, on_breach="ask"),
        )
        .participants(p=Participant(runs=lambda ms: f"done {len(ms)}", description="p"))
        .build(checkpointer=saver)
    )
    assert built.invoke(REQUEST, thread)["status"] == "waiting"
    assert len(model.calls) == 2
    assert resume(built, thread, "3")["status"] == "completed"
    model.assert_finished()


@WAYS
async def test_parallel_branches_cannot_overspend_together(way: str) -> None:
    """Eight branches of calls of 1,000 tokens, of which three fit."""
    models = [Priced(script=[says("done", 500, 500, delay=0.02)] * 2) for _ in range(8)]
    members = {f"p{n}": Participant(model=model, prompt="Works.") for n, model in enumerate(models)}
    built = (
        SupervisorWorkflowBuilder(
            "Test",
            finish="forward",
            prices=prices(),
            budget=Budget(max_tokens=3_000),
            max_parallel_tasks=8,
        )
        .participants(**members)
        .with_manager(plan(*(task(f"t{n}", f"p{n}") for n in range(8))))
        .build()
    )
    result = await drive(built, way, REQUEST, None)
    made = sum(len(model.calls) for model in models)
    assert result["status"] == "limit"
    assert 3 <= made <= 4  # one call may exceed it, never two together
    assert Usage.of(lines_of(result)).tokens <= 4_000


def test_money_cannot_be_limited_for_a_model_without_a_price() -> None:
    model = Priced(script=[says("done", 1, 1)], model_name="strange")
    spec = Participant(model=model, prompt="Works.")
    result = team(follow(["p"]), budget=Budget(max_cost_usd=1), p=spec).invoke(REQUEST)
    assert "the price of the model 'strange' is not known" in result["reports"][0]["error"]
    assert model.calls == []


def test_a_breach_is_not_retried() -> None:
    again = RetryPolicy(initial_interval=0, max_attempts=5, retry_on=Exception)
    model, spec = worker(9, budget=Budget(max_calls=2), policies=[again])
    [report] = team(follow(["p"]), p=spec).invoke(REQUEST)["reports"]
    assert (report["attempts"], len(model.calls)) == (1, 2)


def test_a_scripted_model_without_usage_still_has_its_words_counted() -> None:
    model = ScriptedChatModel(script=[ScriptedReply(text="one two three")])
    result = team(follow(["p"]), p=Participant(model=model, prompt="Works.")).invoke(REQUEST)
    assert Usage.of(lines_of(result)).output_tokens > 0


async def test_what_a_cancelled_call_had_reserved_is_given_back(thread: RunnableConfig) -> None:
    """LangChain tells of no end when a call is cancelled."""
    hung = Priced(script=[says("late", 1, 1, delay=600)])
    later = Priced(script=[says("done", 1, 1)])
    built = (
        SupervisorWorkflowBuilder(
            "Test", finish="forward", prices=prices(), budget=Budget(max_tokens=5_000)
        )
        .participants(
            hung=Participant(model=hung, prompt="Hangs.", policies=[Timeout(0.05)]),
            later=Participant(model=later, prompt="Works."),
        )
        .with_manager(follow(["hung", "later"]))
        .build()
    )
    result = await asyncio.wait_for(built.ainvoke(REQUEST), 20)
    assert [r["status"] for r in result["reports"]] == ["timeout", "ok"]
    assert Usage.of(lines_of(result)).calls == 2


def prose() -> ScriptedReply:
    """An answer that is no decision."""
    return ScriptedReply(text="Well, let me think.", usage=(1_000, 100))


def sends(name: str | None) -> ScriptedReply:
    decision = {"next_agent": name}
    return ScriptedReply(tool_calls=[("SupervisorDecision", decision)], usage=(1_000, 100))


def deciding(*replies: Any, saver: Any = None, **options: Any) -> tuple[ScriptedChatModel, Any]:
    model = ScriptedChatModel(script=replies)
    plain = Participant(runs=lambda messages: "done", description="Works.")
    built = SupervisorWorkflowBuilder("Test", model=model, **options).participants(p=plain)
    return model, built.build(checkpointer=saver)


async def go_on(built: Any, way: str, thread: RunnableConfig) -> Any:
    if way == "sync":
        return await asyncio.to_thread(proceed, built, thread)
    return await aproceed(built, thread)


@WAYS
async def test_decisions_that_failed_fill_a_budget(
    way: str, saver: Saver, thread: RunnableConfig
) -> None:
    budget = Budget(max_tokens=5_000)
    model, built = deciding(*[prose() for _ in range(9)], saver=saver, budget=budget)
    counted: list[int] = []
    for attempt in range(2):
        with pytest.raises(RoutingError) as caught:
            await (drive(built, way, REQUEST, thread) if not attempt else go_on(built, way, thread))
        assert (caught.value.attempts, len(caught.value.said)) == (2, 2)
        values = (await asyncio.to_thread(built.get_state, thread)).values
        counted.append(Usage.of(lines_of(values)).tokens)
        assert values["status"] == "failed"
    assert counted == [2_200, 4_400]
    result = await go_on(built, way, thread)
    assert (result["status"], len(model.calls)) == ("limit", 5)
    assert "5500 of 5000 tokens" in result["reason"]
    assert Usage.of(lines_of(result)).tokens == 5_500


@WAYS
async def test_a_run_that_goes_on_decides_anew(
    way: str, saver: Saver, thread: RunnableConfig
) -> None:
    replies = [prose(), prose(), sends("p"), sends(None), says("the answer", 10, 1)]
    _, built = deciding(*replies, saver=saver)
    with pytest.raises(RoutingError):
        await drive(built, way, REQUEST, thread)
    result = await go_on(built, way, thread)
    assert (result["status"], result["iterations"]) == ("completed", 2)
    assert Usage.of(lines_of(result)).tokens == 4_411
    values = (await asyncio.to_thread(built.get_state, thread)).values
    assert not values["tries"]


@WAYS
async def test_without_a_saver_the_error_is_raised_at_once(way: str) -> None:
    model, built = deciding(*[prose() for _ in range(4)])
    for made in (2, 4):
        with pytest.raises(RoutingError):
            await drive(built, way, REQUEST, None)
        assert len(model.calls) == made


@WAYS
@pytest.mark.parametrize("steps", [2, 3])
async def test_a_failure_at_the_recursion_limit_is_the_failure_still(
    way: str, steps: int, thread: RunnableConfig
) -> None:
    _, built = deciding(prose(), prose(), saver=InMemorySaver())
    with pytest.raises(RoutingError):
        await drive(built, way, REQUEST, {**thread, "recursion_limit": steps})


STORED = pytest.mark.parametrize("stored", [True, False], ids=["stored", "not stored"])


@WAYS
@STORED
@pytest.mark.parametrize("attempts", [1, 2])
async def test_a_workflow_that_failed_in_a_visit_is_counted_with_all_its_attempts(
    way: str, stored: bool, attempts: int, thread: RunnableConfig
) -> None:
    anew = [prose(), prose()] if stored else [sends("deep"), prose(), prose()]
    model = ScriptedChatModel(script=[sends("deep"), prose(), prose(), *anew * (attempts - 1)])
    works, deep = worker(0, tokens=50)
    works.script = [*works.script] * attempts
    inner = SupervisorWorkflowBuilder("Inner", model=model, description="Works.")
    retry = RetryPolicy(max_attempts=attempts, initial_interval=0, retry_on=RoutingError)
    spec = Participant(runs=inner.participants(deep=deep).build(), policies=[retry])
    built = team(follow(["team"]), InMemorySaver() if stored else None, team=spec)
    result = await drive(built, way, REQUEST, thread)
    [report] = result["reports"]
    assert (report["status"], report["attempts"]) == ("failed", attempts)
    model.assert_finished()
    visits = 1 if stored else attempts
    assert Usage.of(report["usage"]).tokens == 1_100 * len(model.calls) + 50 * visits


@WAYS
@STORED
async def test_what_a_workflow_took_before_a_limit_around_it_stays_counted(
    way: str, stored: bool, thread: RunnableConfig
) -> None:
    model = ScriptedChatModel(script=[sends("deep"), sends("deep"), sends("deep"), sends("deep")])
    deep = Participant(runs=lambda messages: "done", description="Works.")
    inner = SupervisorWorkflowBuilder("Inner", model=model, description="Works.")
    spec = inner.participants(deep=deep).build()
    saver = InMemorySaver() if stored else None
    built = team(follow(["team"]), saver, Budget(max_tokens=2_000), team=spec)
    result = await drive(built, way, REQUEST, thread)
    assert (result["status"], len(model.calls)) == ("limit", 2)
    assert Usage.of(lines_of(result)).tokens == 2_200


class Fields(BaseModel):
    """What is answered."""

    number: int


@WAYS
async def test_a_finish_that_fails_after_a_bad_answer_is_counted(
    way: str, thread: RunnableConfig
) -> None:
    model = ScriptedChatModel(script=[prose(), RuntimeError("the server is gone")])
    built = (
        SupervisorWorkflowBuilder("Test", model=model, finish=Fields)
        .participants(p=Participant(runs=lambda messages: "done", description="Works."))
        .with_manager(follow(["p"]))
        .build(checkpointer=InMemorySaver())
    )
    with pytest.raises(RuntimeError, match="the server is gone"):
        await drive(built, way, REQUEST, thread)
    values = (await asyncio.to_thread(built.get_state, thread)).values
    assert values["status"] == "failed"
    assert (Usage.of(lines_of(values)).calls, Usage.of(lines_of(values)).tokens) == (2, 1_100)
