"""The ledger: every call is counted once, and put down to who made it."""

import os
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.caches import InMemoryCache
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    AnyMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import RetryPolicy, interrupt

from asterism import (
    Budget,
    Participant,
    SupervisorWorkflowBuilder,
    Timeout,
    generate_detailed_tool_trace,
    resume,
)
from asterism.core.run_types import WorkflowInput
from asterism.core.usage import Usage, lines_of, total_cost_breakdown
from asterism.limits.prices import Price, PriceTable
from asterism.limits.usage import estimate_tokens
from asterism.limits.usage_callbacks import UsageMeter
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.plans import drive, plan, task
from tests.teams import follow

Saver = BaseCheckpointSaver[str]
REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}
EXAMPLES = int(os.environ.get("ASTERISM_EXAMPLES", "12"))
WAYS = pytest.mark.parametrize("way", ["sync", "async"])


class Priced(ScriptedChatModel):
    """A scripted model with a name that has a price."""

    model_name: str = "priced"

    def _get_ls_params(self, stop: Any = None, **kwargs: Any) -> Any:
        return {**super()._get_ls_params(stop, **kwargs), "ls_model_name": self.model_name}


def prices() -> PriceTable:
    from datetime import date

    cheap = Price(input=Decimal("1"), cached_input=Decimal("0.1"), output=Decimal("10"))
    return PriceTable({"priced": cheap}, dated=date(2026, 1, 1), source="a test")


def says(text: str, sent: int, said: int, **fields: Any) -> ScriptedReply:
    return ScriptedReply(text=text, usage=(sent, said), **fields)


def calls(tool_name: str, sent: int, said: int, **args: Any) -> ScriptedReply:
    return ScriptedReply(tool_calls=[(tool_name, args)], usage=(sent, said))


def team(decide: Any, saver: Any = None, **members: Any) -> Any:
    return (
        SupervisorWorkflowBuilder("Test", finish="forward", prices=prices())
        .participants(**members)
        .with_manager(decide)
        .build(checkpointer=saver)
    )


def spent(result: Any) -> dict[str, tuple[int, int, int]]:
    """Calls, input and output tokens by who and what."""
    found: dict[str, tuple[int, int, int]] = {}
    for line in lines_of(result):
        key = "/".join(filter(None, (line["by"], line.get("task"), line.get("tool"))))
        before = found.get(key, (0, 0, 0))
        new = (line["calls"], line["input_tokens"], line["output_tokens"])
        found[key] = (before[0] + new[0], before[1] + new[1], before[2] + new[2])
    return found


@tool
def charge() -> dict[str, Any]:
    """Charge something."""
    return {"done": True, "cost_in_cents": 12.5}


@WAYS
async def test_calls_are_put_down_to_participant_task_and_tool(way: str) -> None:
    agent = Participant(
        model=Priced(script=[calls("charge", 100, 10), says("done", 200, 20)]),
        tools=[charge],
        prompt="Charge.",
    )
    plain = Participant(model=Priced(script=[says("fine", 50, 5)]), prompt="Say.")
    built = team(plan(task("a", "agent"), task("b", "plain")), agent=agent, plain=plain)
    result = await drive(built, way, REQUEST, None)
    assert spent(result) == {
        "agent/a": (2, 300, 30),
        "agent/a/charge": (1, 0, 0),
        "plain/b": (1, 50, 5),
    }
    total = Usage.of(lines_of(result))
    assert (total.calls, total.tokens, total.unknown) == (3, 385, frozenset())
    assert total.cost_usd == Decimal("0.000350") + Decimal("0.000350") + Decimal("0.125")
    by_task = {r["task"]: r for r in result["reports"]}
    assert Usage.of(by_task["b"]["usage"]).tokens == 55


class Silent(Priced):
    """A model whose answers tell no usage, as those of many servers when they are streamed."""

    def _next(self, messages: Any, options: Any) -> Any:
        reply, message = super()._next(messages, options)
        message.usage_metadata = None
        return reply, message


@WAYS
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_an_answer_without_usage_is_estimated(way: str, streamed: bool) -> None:
    silent = Participant(model=Silent(script=["word " * 400]), prompt="word " * 800)
    telling = Participant(model=Priced(script=[says("fine", 50, 5)]), prompt="Say.")
    built = team(follow(["silent", "telling"]), silent=silent, telling=telling)
    result: Any = None
    if not streamed:
        result = await drive(built, way, REQUEST, None)
    elif way == "sync":
        result = list(built.stream(REQUEST, stream_mode=["messages", "values"]))[-1][1]
    else:
        async for kind, data in built.astream(REQUEST, stream_mode=["messages", "values"]):
            result = data if kind == "values" else result
    guess, told = lines_of(result)
    assert (guess.get("estimated"), told.get("estimated")) == (True, None)
    assert 900 < guess["input_tokens"] < 1_300 and 400 < guess["output_tokens"] < 600
    total = Usage.of(lines_of(result))
    assert total.estimated_tokens == total.tokens - 55
    cost = Decimal(guess["input_tokens"]) + 10 * Decimal(guess["output_tokens"])
    assert Decimal(guess["cost_usd"] or 0) == cost / 1_000_000


@tool
def ponder() -> str:
    """Think about it."""
    return f"Thought {uuid4()}."  # another result each time, so that nothing stalls


@pytest.mark.parametrize("limit", [{"max_tokens": 3_000}, {"max_cost_usd": "0.003"}], ids=str)
@WAYS
async def test_estimates_fill_budgets(way: str, limit: Any) -> None:
    model = Silent(script=[calls("ponder", 0, 0) for _ in range(200)])
    spec = Participant(model=model, tools=[ponder], prompt="word " * 400, budget=Budget(**limit))
    result = await drive(team(follow(["p"]), p=spec), way, REQUEST, None)
    [report] = result["reports"]
    assert (report["status"], report["kind"]) == ("limit", "budget_exceeded")
    assert 2 <= len(model.calls) < 20


@WAYS
async def test_a_stream_that_is_cut_counts_what_came_until_then(way: str) -> None:
    cut = ScriptedReply(text="word " * 50, error=ConnectionError("gone"), cut_after=40)
    built = team(
        follow(["p"]), p=Participant(model=Silent(script=[cut]), prompt="word " * 400, policies=[])
    )
    events: list[Any] = []
    if way == "sync":
        events = list(built.stream(REQUEST, stream_mode=["messages", "values"], subgraphs=True))
    else:
        modes: Any = ["messages", "values"]
        async for event in built.astream(REQUEST, stream_mode=modes, subgraphs=True):
            events.append(event)
    [line] = lines_of(events[-1][-1])
    assert line.get("estimated") and line["calls"] == 1
    assert line["input_tokens"] > 400 and 40 <= line["output_tokens"] < 70


@WAYS
async def test_a_call_that_was_refused_counts_no_tokens(way: str) -> None:
    model = Silent(script=[ConnectionError("no server")])
    result = await drive(
        team(follow(["p"]), p=Participant(model=model, prompt="Say.")), way, REQUEST, None
    )
    [line] = lines_of(result)
    assert (line["calls"], line["input_tokens"], line["output_tokens"]) == (1, 0, 0)


async def test_a_call_that_was_cancelled_counts_what_was_sent() -> None:
    model = Silent(script=[ScriptedReply(text="late", delay=60)])
    spec = Participant(model=model, prompt="word " * 400, policies=[Timeout(seconds=0.2)])
    result = await team(follow(["p"]), p=spec).ainvoke(REQUEST)
    [line] = lines_of(result)
    assert result["reports"][0]["status"] == "timeout"
    assert line.get("estimated") and line["input_tokens"] > 400 and not line["output_tokens"]


@WAYS
async def test_tokens_in_a_providers_cache_are_counted(way: str, thread: RunnableConfig) -> None:
    details: Any = {"cache_read": 600, "cache_creation": 300}
    usage: Any = {"input_tokens": 1_000, "output_tokens": 10, "total_tokens": 1_010}
    answers = [
        AIMessage("one", usage_metadata={**usage, "input_token_details": details}),
        AIMessage("two", usage_metadata={**usage, "input_token_details": {"cache_read": 800}}),
    ]
    spec = Participant(model=Priced(script=answers), prompt="Say.")
    plain = Participant(model=Priced(script=[says("fine", 50, 5)]), prompt="Say.")
    built = team(follow(["p", "p", "q"]), InMemorySaver(), p=spec, q=plain)
    result = await drive(built, way, REQUEST, thread)
    own = Usage.of(line for line in lines_of(result) if line["by"] == "p")
    assert (own.cached_input_tokens, own.cache_write_tokens) == (1_400, 300)
    assert own.cache_hit_rate == 0.7
    assert "cache_write_tokens" not in lines_of(result)[-1]
    assert sum([own, Usage()], Usage()) == own
    drawn = generate_detailed_tool_trace(built, thread)
    assert "60% of the input cached" in drawn and "80% of the input cached" in drawn


def test_an_answer_of_an_earlier_process_without_usage_is_estimated() -> None:
    meter = UsageMeter()
    said = AIMessage("word " * 100, id="lc_run--1")
    written = AIMessage("a function's text", id="2")
    meter.recall("p", None, [HumanMessage("word " * 50), said, written])
    meter.recall("p", None, [said])  # it is known now
    [line] = meter.take("p")
    assert line.get("estimated") and line["calls"] == 1
    assert line["input_tokens"] > 50 and line["output_tokens"] > 100


@WAYS
async def test_the_supervisor_and_the_writer_are_counted_as_planning(way: str) -> None:
    model = Priced(
        script=[
            {"next_agent": "p", "user_input_needed": False},
            {"next_agent": None, "user_input_needed": False},
            says("the answer", 1_000, 100),
        ]
    )
    built = (
        SupervisorWorkflowBuilder("Test", model=model, prices=prices())
        .participants(p=Participant(model=Priced(script=[says("done", 2_000, 0)]), prompt="Works."))
        .build()
    )
    result = await drive(built, way, REQUEST, None)
    breakdown = total_cost_breakdown(result)
    assert breakdown["subagent_costs_in_cents"] == 0.2
    assert breakdown["tool_costs_in_cents"] == 0
    assert breakdown["planning_cost_in_cents"] > 0.2
    parts = ("planning_cost", "subagent_costs", "tool_costs")
    added = sum(breakdown[f"{part}_in_cents"] for part in parts)
    assert breakdown["total_cost_in_cents"] == pytest.approx(added)
    assert spent(result)["supervisor"][0] == 3


@WAYS
async def test_a_workflow_in_a_workflow_is_counted_once(way: str) -> None:
    inner = (
        SupervisorWorkflowBuilder("Inner", finish="forward", description="Works.")
        .participants(
            deep=Participant(model=Priced(script=[says("deep", 10, 1)] * 2), prompt="Deep.")
        )
        .with_manager(follow(["deep", "deep"]))
        .build()
    )
    near = Participant(model=Priced(script=[says("near", 7, 2)]), prompt="Near.")
    result = await drive(team(follow(["team", "near"]), team=inner, near=near), way, REQUEST, None)
    assert spent(result) == {"team/deep": (2, 20, 2), "near": (1, 7, 2)}


@WAYS
async def test_retries_are_counted_and_streams_are(way: str) -> None:
    model = Priced(script=[ConnectionError("away"), says("done", 30, 3)])
    again = RetryPolicy(initial_interval=0, max_attempts=2, retry_on=Exception)
    spec = Participant(model=model, prompt="Works.", policies=[again])
    built = team(follow(["p"]), p=spec)
    if way == "sync":
        *_, result = built.stream(REQUEST, stream_mode=["messages", "values"])
    else:
        *_, result = [x async for x in built.astream(REQUEST, stream_mode=["messages", "values"])]
    assert spent(result[1]) == {"p": (2, 30, 3)}


@WAYS
async def test_what_a_cache_answers_is_not_counted(way: str) -> None:
    model = Priced(script=[says("done", 30, 3)], cache=InMemoryCache())
    same = [task(name, name).model_copy(update={"task_description": "same"}) for name in "pq"]
    built = (
        SupervisorWorkflowBuilder("Test", finish="forward", max_parallel_tasks=1)
        .participants(**{name: Participant(model=model, prompt="Say.") for name in "pq"})
        .with_manager(plan(*same))
        .build()
    )
    result = await drive(built, way, REQUEST, None)
    assert [r["text"] for r in result["reports"]] == ["done", "done"]
    assert Usage.of(lines_of(result)).calls == 1
    model.assert_finished()


def test_a_price_that_is_not_known_is_said_to_be_unknown() -> None:
    model = Priced(script=[says("done", 30, 3)], model_name="strange")
    result = team(follow(["p"]), p=Participant(model=model, prompt="Works.")).invoke(REQUEST)
    total = Usage.of(lines_of(result))
    assert (total.cost_usd, total.unknown) == (Decimal(0), frozenset({"strange"}))


def test_each_request_starts_at_zero(saver: Saver, thread: RunnableConfig) -> None:
    model = Priced(script=[says("one", 10, 1), says("two", 20, 2)])
    built = team(follow(["p"]), saver, p=Participant(model=model, prompt="Works."))
    assert spent(built.invoke(REQUEST, thread)) == {"p": (1, 10, 1)}
    assert spent(built.invoke(REQUEST, thread)) == {"p": (1, 20, 2)}


@WAYS
async def test_what_was_spent_before_a_question_is_counted_after_it(
    saver: Saver, thread: RunnableConfig, way: str
) -> None:
    @tool
    def ask() -> str:
        """Ask."""
        return str(interrupt({"prompt": "which?"}))

    def build() -> Any:
        return team(follow(["p"]), saver, p=Participant(model=model, tools=[ask], prompt="Asks."))

    model = Priced(script=[calls("ask", 100, 10), says("done", 200, 20)])
    await drive(build(), way, REQUEST, thread)
    result = resume(build(), thread, "this")
    assert spent(result) == {"p": (2, 300, 30), "p/ask": (1, 0, 0)}


LEDGERS = st.lists(
    st.tuples(
        st.sampled_from(["agent", "plain"]),
        st.integers(0, 5_000),
        st.integers(0, 5_000),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=EXAMPLES)
@given(LEDGERS)
def test_the_parts_add_up_to_the_total(visits: Sequence[tuple[str, int, int, int]]) -> None:
    """Compared with a count of the scripted model's own replies."""
    script: dict[str, list[ScriptedReply]] = {"agent": [], "plain": []}
    for who, sent, said, tools in visits:
        for _ in range(tools if who == "agent" else 0):
            script[who].append(calls("charge", sent, said))
        script[who].append(says("done", sent, said))
    models = {who: Priced(script=replies) for who, replies in script.items()}
    result = team(
        follow([who for who, *_ in visits]),
        agent=Participant(model=models["agent"], tools=[charge], prompt="Charge."),
        plain=Participant(model=models["plain"], prompt="Say."),
    ).invoke(REQUEST)
    replies = [reply for replies in script.values() for reply in replies]
    tokens = [reply.usage or (0, 0) for reply in replies]
    charged = sum(tools for who, _, _, tools in visits if who == "agent")
    cost = sum((Decimal(i) + Decimal(o) * 10 for i, o in tokens), Decimal(0)) / 1_000_000
    total = Usage.of(lines_of(result))
    assert total.input_tokens == sum(i for i, _ in tokens)
    assert total.output_tokens == sum(o for _, o in tokens)
    assert total.calls == len(replies)
    assert total.cost_usd == cost + Decimal("0.125") * charged
    breakdown = total_cost_breakdown(result)
    assert breakdown["total_cost_in_cents"] == pytest.approx(float(total.cost_usd * 100))
    assert breakdown["tool_costs_in_cents"] == 12.5 * charged
    assert total.cost_in_cents == sum(
        Usage.of(r.get("usage") or ()).cost_in_cents for r in result["reports"]
    )


CALLED = AIMessage("", tool_calls=[{"name": "look", "args": {"at": "sea"}, "id": "c1"}])
PICTURE = {"type": "image", "url": "https://example.com/a.png"}
MESSAGES: dict[str, AnyMessage] = {
    "empty": HumanMessage(""),
    "a request": HumanMessage("How much is it? " * 9),
    "with a name": HumanMessage("Hello", name="ann"),
    "an answer": AIMessage("Three dollars", name="clerk"),
    "a part of an answer": AIMessageChunk(content="Three"),
    "rules": SystemMessage("Be brief"),
    "rules of a developer": SystemMessage("Hi", additional_kwargs={"__openai_role__": "developer"}),
    "a call": CALLED,
    "its result": ToolMessage("blue", tool_call_id="c1"),
    "blocks": AIMessage([{"type": "text", "text": "Look"}, {"type": "other", "value": 3}]),
    "a picture": HumanMessage([{"type": "text", "text": "This"}, PICTURE]),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_tokens_are_estimated_as_langchain_does(name: str) -> None:
    for messages in ([MESSAGES[name]], [MESSAGES[name]] * 3, [*MESSAGES.values(), MESSAGES[name]]):
        assert estimate_tokens(messages) == count_tokens_approximately(messages)
        tools = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
        expected = count_tokens_approximately(messages, tools=[*tools])
        assert estimate_tokens(messages, tools) == expected
