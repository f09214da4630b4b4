"""Every quota holds, whatever the child is at: it ends soon after its limit, and is told once."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, cast

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph

from asterism.core.continuation import Graph
from asterism.core.run_types import WorkflowInput
from asterism.errors import ChildKilledError, ChildStateError, ConfigurationError
from asterism.limits.prices import Price, PriceTable
from asterism.limits.rate_limits import ResourceManager
from asterism.supervision import AgentQuota, AgentSupervisor, ChildStatus, SupervisorConfig
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.asterism.supervision.helpers import Log, Told, chain, does, until

SOON = 2.0
"""Seconds within which a child ends after its limit, on a busy machine; 0.2 s on a free one."""
GO: dict[str, Any] = {"done": []}
ASK: WorkflowInput = {"messages": [("user", "Go")]}


A_CENT_A_TOKEN = Price(input=Decimal(10_000), output=Decimal(10_000))
PRICES = PriceTable({"known": A_CENT_A_TOKEN}, dated=date(2026, 1, 1), source="a test")


@pytest.fixture
def free() -> Iterator[threading.Event]:
    """Lets whatever hangs in a thread go at the end."""
    event = threading.Event()
    yield event
    event.set()


def reply(text: str = "ok", model: str = "known", tokens: tuple[int, int] = (6, 4)) -> AIMessage:
    usage: Any = {
        "input_tokens": tokens[0],
        "output_tokens": tokens[1],
        "total_tokens": sum(tokens),
    }
    return AIMessage(text, usage_metadata=usage, response_metadata={"model_name": model})


def calling(model: ScriptedChatModel) -> Any:
    async def call(state: Log) -> Log:
        return {"done": [(await model.ainvoke("hi")).text]}

    return call


def hung_model() -> Graph:
    return chain(does("a"), calling(ScriptedChatModel(script=[ScriptedReply(delay=60)])))


def hung_sync_model(free: threading.Event) -> Graph:
    model = ScriptedChatModel(
        script=[ScriptedReply(delay=60)], sleep=lambda seconds: (free.wait(seconds), None)[1]
    )

    def call(state: Log) -> Log:
        return {"done": [model.invoke("hi").text]}

    return chain(does("a"), call)


def with_tool(used: Any) -> Graph:
    script = [ScriptedReply(tool_calls=[(used.name, {})]), "done"]
    model = ScriptedChatModel(script=script)
    return cast(Graph, create_agent(model, [used], checkpointer=InMemorySaver()))


def hung_tool() -> Graph:
    @tool
    async def hang() -> str:
        """Hang."""
        await asyncio.sleep(60)
        return ""

    return with_tool(hang)


def hung_sync_tool(free: threading.Event) -> Graph:
    @tool
    def hang() -> str:
        """Hang."""
        free.wait(60)
        return ""

    return with_tool(hang)


def looping(node: Any, times: int = 10_000) -> Graph:
    """A graph whose one node runs again and again."""
    builder = StateGraph(Log)
    builder.add_node("again", node)
    builder.add_edge(START, "again")
    builder.add_conditional_edges(
        "again", lambda state: "again" if len(state["done"]) < times else "__end__"
    )
    return cast(Graph, builder.compile(checkpointer=InMemorySaver()))


def many_small_calls(model: ScriptedChatModel) -> Graph:
    return looping(calling(model))


def endless(pause: float = 0.002) -> ScriptedChatModel:
    """A model that answers as often as it is asked, with ten tokens for ten cents."""

    async def asleep(seconds: float) -> None:
        await asyncio.sleep(pause)

    answer = reply()
    return ScriptedChatModel(script=[lambda _: answer] * 10_000, asleep=asleep)


def child_in_a_child(inner: Graph, request: Any) -> Graph:
    """A graph whose node has a supervisor of its own, with a child."""

    async def parent(state: Log) -> Log:
        async with AgentSupervisor() as below:
            child = await below.spawn("inner", request, inner)
            await below.await_child(child)
        return {"done": ["inner"]}

    return chain(does("a"), parent)


DURATION = AgentQuota(max_duration_seconds=0.5)
SILENCE = AgentQuota(heartbeat_timeout=0.5)
Made = Callable[[threading.Event], Graph]
HANGING: dict[str, Made] = {
    "a hung model": lambda free: hung_model(),
    "a hung sync model": hung_sync_model,
    "a hung tool": lambda free: hung_tool(),
    "a hung sync tool": hung_sync_tool,
    "a child in a child": lambda free: child_in_a_child(hung_model(), GO),
    "a sync child in a child": lambda free: child_in_a_child(hung_sync_tool(free), ASK),
    "a subgraph": lambda free: chain(
        does("a"), chain(calling(ScriptedChatModel(script=[ScriptedReply(delay=60)])), saver=True)
    ),
}


async def ended(
    graph: Graph, quota: AgentQuota, **config: Any
) -> tuple[Told, AgentSupervisor, str, float]:
    """Run a child until it is killed, and return what was told and how long it took."""
    told = Told()
    parent = AgentSupervisor(SupervisorConfig(**config), told, prices=PRICES)
    child = await parent.spawn("one", {**GO, **ASK}, graph, quota)
    began = time.monotonic()
    with pytest.raises(ChildKilledError):
        async with asyncio.timeout(20):
            await parent.await_child(child)
    took = time.monotonic() - began
    await parent.shutdown()
    return told, parent, child, took


def late(seconds: float) -> None:
    """Note and check how long after its limit a child ended."""
    logging.getLogger(__name__).info("%d ms after its limit", 1000 * seconds)
    assert seconds < SOON


@pytest.mark.parametrize("name", HANGING)
async def test_time_is_up_whatever_hangs(name: str, free: threading.Event) -> None:
    told, _, _, took = await ended(HANGING[name](free), DURATION)
    assert told.types() == ["spawned", "started", "quota_warning", "quota_exceeded", "killed"]
    assert told.facts("quota_warning")["percent"] == pytest.approx(90, abs=9)
    exceeded = told.facts("quota_exceeded")
    assert (exceeded["quota"], exceeded["limit"], exceeded["action"]) == (
        "max_duration_seconds",
        0.5,
        "killed",
    )
    assert told.facts("killed").get("abandoned", False) == ("sync" in name)
    assert took >= 0.49
    late(took - 0.5)


@pytest.mark.parametrize("name", HANGING)
async def test_silence_is_found_whatever_hangs(name: str, free: threading.Event) -> None:
    told, _, _, took = await ended(HANGING[name](free), SILENCE, on_hang="stop")
    assert told.types() == ["spawned", "started", "heartbeat_lost", "killed"]
    assert told.facts("heartbeat_lost")["silent_seconds"] == pytest.approx(0.5, abs=0.4)
    assert told.facts("killed").get("abandoned", False) == ("sync" in name)
    late(took - 0.5)


async def test_time_is_up_in_the_middle_of_many_small_calls() -> None:
    told, _, _, took = await ended(many_small_calls(endless()), DURATION)
    assert told.types() == ["spawned", "started", "quota_warning", "quota_exceeded", "killed"]
    late(took - 0.5)


USED_UP = {
    "max_tokens": (AgentQuota(max_tokens=45), 45, 5),
    "max_tokens to the full": (AgentQuota(max_tokens=50), 50, 5),
    "max_cost_usd": (AgentQuota(max_cost_usd=Decimal("0.45")), "0.45", 5),
    "max_iterations": (AgentQuota(max_iterations=7), 7, 7),
}


@pytest.mark.parametrize("nested", [False, True], ids=["itself", "a child in it"])
@pytest.mark.parametrize("name", USED_UP)
async def test_what_many_small_calls_use_up_is_told_once_and_no_call_more_is_made(
    name: str, nested: bool
) -> None:
    quota, limit, calls = USED_UP[name]
    model = endless()
    graph = many_small_calls(model)
    graph = child_in_a_child(graph, GO) if nested else graph
    told, parent, child, _ = await ended(graph, quota)
    now = datetime.now(UTC)
    assert told.types() == ["spawned", "started", "quota_warning", "quota_exceeded", "killed"]
    exceeded = told.facts("quota_exceeded")
    assert (exceeded["quota"], exceeded["limit"]) == (name.split()[0], limit)
    assert len(model.calls) == calls
    used = parent.usage(child)
    assert (used.tokens, used.cost_usd) == (10 * calls, Decimal(calls) / 10)
    (at,) = [event.at for event in told.events if event.type.value == "quota_exceeded"]
    late((now - at).total_seconds())


async def test_calls_at_once_do_not_exceed_a_count_together() -> None:
    model = endless()

    async def many(state: Log) -> Log:
        await asyncio.gather(*(model.ainvoke("hi") for _ in range(50)), return_exceptions=True)
        return {"done": ["many"]}

    _, parent, child, _ = await ended(chain(many), AgentQuota(max_iterations=20))
    assert len(model.calls) == 20
    assert parent.usage(child).percentages["max_iterations"] == 100


async def test_a_stream_that_does_not_end_is_cut_off() -> None:
    class Endless(ScriptedChatModel):
        async def _astream(self, *args: Any, **kwargs: Any) -> Any:
            async for chunk in super()._astream(*args, **kwargs):
                await asyncio.sleep(0.001)
                yield chunk

    model = Endless(script=["word " * 5_000])

    async def streams(state: Log) -> Log:
        async for _ in model.astream("hi"):
            pass
        return {"done": ["a"]}

    told, parent, child, _ = await ended(chain(streams), AgentQuota(max_tokens=100))
    assert told.types() == ["spawned", "started", "quota_warning", "quota_exceeded", "killed"]
    assert 100 < parent.usage(child).tokens < 1000


async def test_a_graph_that_goes_round_without_a_model_is_found() -> None:
    runs: list[int] = []

    async def turns(state: Log) -> Log:
        runs.append(1)
        return {"done": ["x"]}

    told, *_ = await ended(looping(turns), AgentQuota(max_iterations=25))
    assert len(runs) <= 26
    assert told.types() == ["spawned", "started", "quota_warning", "quota_exceeded", "killed"]


async def test_tasks_of_one_step_are_one_iteration() -> None:
    async with AgentSupervisor() as parent:
        builder = StateGraph(Log)
        for name in "abc":
            builder.add_node(name, does(name))
            builder.add_edge(START, name)
        compiled: Any = builder.compile(checkpointer=InMemorySaver())
        child = await parent.spawn("one", GO, compiled, AgentQuota(max_iterations=1))
        await parent.await_child(child)
        assert parent.usage(child).iterations == 1


async def test_a_model_without_a_price_breaks_a_quota_of_money() -> None:
    model = ScriptedChatModel(script=[reply(model="new")] * 9)
    told, _, _, _ = await ended(many_small_calls(model), AgentQuota(max_cost_usd=5))
    assert told.types() == ["spawned", "started", "quota_exceeded", "killed"]
    assert told.facts("killed")["reason"] == "max_cost_usd: no price is known for 'new'"
    assert len(model.calls) == 1


async def test_a_child_that_uses_its_quota_to_the_full_and_no_more_completes() -> None:
    model = ScriptedChatModel(script=[reply(), reply()])
    told = Told()
    parent = AgentSupervisor(on_event=told, prices=PRICES)
    quota = AgentQuota(max_tokens=20, max_iterations=2, max_cost_usd=Decimal("0.2"))
    child = await parent.spawn("one", GO, chain(calling(model), calling(model)), quota)
    await parent.await_child(child)
    assert told.types() == ["spawned", "started", *["quota_warning"] * 3, "completed"]
    used = parent.usage(child).percentages
    assert {part for name, part in used.items() if name != "max_duration_seconds"} == {100.0}


async def test_usage_goes_on_through_restarts() -> None:
    model = endless()

    async def crashes(state: Log) -> Log:
        await model.ainvoke("hi")
        raise RuntimeError("out of order")

    quota = AgentQuota(max_tokens=35, retry_delay=0, max_retries=99)
    told, *_ = await ended(chain(crashes), quota)
    assert len(model.calls) == 4
    assert told.types()[-3:] == ["quota_warning", "quota_exceeded", "killed"]


async def test_a_child_that_rests_before_a_restart_is_ended_when_its_time_is_up() -> None:
    async def crashes(state: Log) -> Log:
        raise RuntimeError("out of order")

    quota = AgentQuota(max_duration_seconds=0.2, retry_delay=60)
    told, *_ = await ended(chain(crashes), quota)
    assert told.types() == ["spawned", "started", "quota_warning", "quota_exceeded", "killed"]


async def test_a_child_that_waits_for_its_turn_is_not_taken_for_dead() -> None:
    manager = ResourceManager("hall", requests_at_once=1, registry={})
    held = manager.reserve(1)
    model = manager.wrap(ScriptedChatModel(script=["done"]))
    told = Told()
    parent = AgentSupervisor(on_event=told)
    quota = AgentQuota(heartbeat_timeout=0.3)
    child = await parent.spawn("one", GO, child_in_a_child(chain(calling(model)), GO), quota)
    await until(lambda: manager.status().waiting == 1)
    await asyncio.sleep(1.2)  # four times as long as it may be silent
    held.release()
    assert await parent.await_child(child) == {"done": ["a", "inner"]}
    assert "heartbeat_lost" not in told.types()


# ---- asking instead of killing


async def asking(graph: Graph, quota: AgentQuota) -> tuple[Told, AgentSupervisor, str]:
    told = Told()
    config = SupervisorConfig(auto_kill_on_quota=False)
    parent = AgentSupervisor(config, told, prices=PRICES)
    child = await parent.spawn("one", GO, graph, quota)
    await until(lambda: parent.status(child) is ChildStatus.PAUSED)
    return told, parent, child


async def test_a_child_may_ask_for_more_and_goes_on_without_repeating_anything() -> None:
    model = ScriptedChatModel(script=[reply(str(i)) for i in range(6)])
    graph = chain(*[calling(model)] * 6)
    told, parent, child = await asking(graph, AgentQuota(max_tokens=25))
    assert len(model.calls) == 3  # the call that went over the limit is kept
    assert told.facts("quota_exceeded")["action"] == "asked"
    facts = told.facts("paused")
    assert (facts["asks"], facts["reason"]) == ("max_tokens", "max_tokens: 30 of 25")
    with pytest.raises(ChildStateError, match=r"has used up max_tokens.*raise_quota"):
        await parent.resume_child(child)
    with pytest.raises(ConfigurationError, match=r"max_tokens=29 is used up already .30 are"):
        await parent.raise_quota(child, max_tokens=29)
    with pytest.raises(ConfigurationError, match="max_tokens is -1"):
        await parent.raise_quota(child, max_tokens=-1)
    assert (await parent.raise_quota(child, max_tokens=45)).max_tokens == 45
    await until(lambda: parent.status(child) is ChildStatus.PAUSED)
    assert len(model.calls) == 5
    await parent.raise_quota(child, max_tokens=None)
    assert await parent.await_child(child) == {"done": ["0", "1", "2", "3", "4", "5"]}
    model.assert_finished()
    asked = ["quota_warning", "quota_exceeded", "paused", "resumed"]
    assert told.types() == ["spawned", "started", *asked, *asked, "completed"]


async def test_a_child_may_ask_for_more_time() -> None:
    told, parent, child = await asking(
        many_small_calls(endless()), AgentQuota(max_duration_seconds=0.2)
    )
    assert told.facts("paused")["asks"] == "max_duration_seconds"
    await parent.raise_quota(child, max_duration_seconds=60, max_iterations=10_000)
    done = parent.usage(child).iterations
    await until(lambda: parent.usage(child).iterations > done)
    await parent.kill_child(child)


async def test_a_call_that_is_refused_within_a_node_is_made_when_there_is_room() -> None:
    model = ScriptedChatModel(script=[reply(str(i)) for i in range(9)])

    async def twice(state: Log) -> Log:
        said = [(await model.ainvoke("hi")).text for _ in range(2)]
        return {"done": ["+".join(said)]}

    told, parent, child = await asking(chain(twice, twice), AgentQuota(max_iterations=3))
    assert len(model.calls) == 3
    assert told.types().count("quota_exceeded") == 1
    await parent.raise_quota(child, max_iterations=9)
    # the node that was under way is run anew, as after any stop within a node
    assert await parent.await_child(child) == {"done": ["0+1", "3+4"]}


async def test_a_limit_that_is_raised_in_time_lets_a_child_go_on() -> None:
    model = endless()
    gate = asyncio.Event()
    told = Told()

    async def slow(state: Log) -> Log:
        await model.ainvoke("hi")
        await gate.wait()
        return {"done": ["a"]}

    config = SupervisorConfig(auto_kill_on_quota=False)
    parent = AgentSupervisor(config, told, prices=PRICES)
    child = await parent.spawn("one", GO, chain(slow, does("b")), AgentQuota(max_tokens=5))
    await until(lambda: told.count("quota_exceeded") == 1)
    assert parent.status(child) is ChildStatus.RUNNING
    await parent.raise_quota(child, max_tokens=100)
    gate.set()
    assert await parent.await_child(child) == {"done": ["a", "b"]}
    assert told.types()[2:] == ["quota_warning", "quota_exceeded", "started", "completed"]
    assert told.facts("started", 1)["reason"] == "max_tokens was raised"
    assert parent.usage(child).restarts == 0


async def test_a_quota_of_a_running_child_can_be_lowered_and_is_held() -> None:
    told = Told()
    parent = AgentSupervisor(on_event=told)
    child = await parent.spawn("one", GO, hung_model())
    await until(lambda: parent.child(child).doing == "n1")
    await parent.raise_quota(child, max_duration_seconds=parent.usage(child).elapsed_seconds + 0.1)
    with pytest.raises(ChildKilledError):
        await parent.await_child(child, timeout=10)


async def test_a_warning_comes_again_for_a_raised_limit() -> None:
    model = endless()
    told, parent, child = await asking(many_small_calls(model), AgentQuota(max_tokens=95))
    await parent.raise_quota(child, max_tokens=195)
    await until(lambda: told.count("quota_exceeded") == 2)
    assert told.count("quota_warning") == 2
    await until(lambda: parent.status(child) is ChildStatus.PAUSED)
    await parent.kill_child(child)
