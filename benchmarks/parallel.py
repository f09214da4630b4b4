"""Many tasks at once: against a hand-written fan-out by `Send`, and against waves.

Every case once a round, in random order. A fan-out's ratio is its wall time against the
hand-written one's of the same round; a plan's is its makespan against its critical path.
"""

import asyncio
import operator
import random
import statistics
import sys
import time
import warnings
from argparse import ArgumentParser
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, Send
from typing_extensions import TypedDict

from asterism import Participant, SubAgentTask, SupervisorDecision, SupervisorWorkflowBuilder

WAIT = 0.05
"""Seconds that each task of a fan-out takes."""
UNIT = 0.05
"""Seconds of one unit of the plan below."""
DAG: Mapping[str, tuple[float, tuple[str, ...]]] = {
    "a1": (8, ()), "b1": (1, ()), "c1": (1, ()),
    "a2": (1, ("a1",)), "b2": (8, ("b1",)), "c2": (1, ("c1",)),
    "a3": (1, ("a2",)), "b3": (1, ("b2",)), "c3": (8, ("c2",)),
    "a4": (2, ("a3",)), "b4": (2, ("b3",)), "c4": (2, ("c3",)),
}  # fmt: skip
"""Twelve tasks: units of time and dependencies. Each chain has its long task elsewhere."""


def critical_path() -> float:
    """Seconds that the plan takes at least."""
    ends: dict[str, float] = {}
    for name, (units, needs) in DAG.items():
        ends[name] = units + max((ends[n] for n in needs), default=0)
    return max(ends.values()) * UNIT


def participant(seconds: float) -> Any:
    """A graph that answers after a while."""

    async def respond(state: MessagesState) -> dict[str, Any]:
        await asyncio.sleep(seconds)
        return {"messages": [AIMessage("done")]}

    graph = StateGraph(MessagesState)
    graph.add_node("respond", respond)
    graph.add_edge(START, "respond")
    graph.add_edge("respond", END)
    return graph.compile(checkpointer=True)


def by_hand(waves: list[dict[str, float]], saver: Any) -> Any:
    """Wave after wave of `Send`s, as LangGraph's documentation has one write it."""

    class State(TypedDict):
        done: Annotated[list[str], operator.add]
        wave: int

    def supervisor(state: State) -> Command[Any]:
        wave = state.get("wave", 0)
        if wave >= len(waves):
            return Command(goto=END)
        return Command(goto=[Send(name, {}) for name in waves[wave]], update={"wave": wave + 1})

    def visit(name: str, seconds: float) -> Callable[[Any], Awaitable[dict[str, Any]]]:
        graph = participant(seconds)

        async def node(state: Any) -> dict[str, Any]:
            await graph.ainvoke({"messages": [HumanMessage("work")]})
            return {"done": [name]}

        return node

    star = StateGraph(State)
    star.add_node("supervisor", supervisor)
    star.add_edge(START, "supervisor")
    for wave in waves:
        for name, seconds in wave.items():
            star.add_node(name, visit(name, seconds))
            star.add_edge(name, "supervisor")
    return star.compile(checkpointer=saver)


def ours(tasks: Mapping[str, tuple[float, tuple[str, ...]]], saver: Any) -> Any:
    """One decision with all tasks."""
    plan = [
        SubAgentTask(task_id=n, agent_id=n, task_description="work", dependencies=list(needs))
        for n, (_, needs) in tasks.items()
    ]

    async def decide(view: Any) -> SupervisorDecision:
        return SupervisorDecision(next_agent=None, tasks=None if view.iterations else plan)

    team = {
        name: Participant(runs=participant(seconds), description="Waits.")
        for name, (seconds, _) in tasks.items()
    }
    return (
        SupervisorWorkflowBuilder("Bench", finish="forward", max_parallel_tasks=len(tasks))
        .participants(**team)
        .with_manager(decide)
        .build(checkpointer=saver)
    )


def waves_of(tasks: Mapping[str, tuple[float, tuple[str, ...]]]) -> list[dict[str, float]]:
    """The waves of a plan: each has those whose dependencies are in the waves before."""
    level: dict[str, int] = {}
    for name, (_, needs) in tasks.items():
        level[name] = 1 + max((level[need] for need in needs), default=-1)
    waves: list[dict[str, float]] = [{} for _ in range(max(level.values()) + 1)]
    for name, place in level.items():
        waves[place][name] = tasks[name][0]
    return waves


async def seconds(graph: Any, given: Any, count: Callable[[Any], int], tasks: int) -> float:
    """The wall time of a run that has to do all of its tasks."""
    config = {"configurable": {"thread_id": str(random.random())}}
    begun = time.perf_counter()
    result = await graph.ainvoke(given, config)
    taken = time.perf_counter() - begun
    if count(result) != tasks:
        raise AssertionError(f"{count(result)} tasks are done, not {tasks}")
    return taken


async def measure(way: str, tasks: Mapping[str, tuple[float, tuple[str, ...]]]) -> float:
    if way == "ours":
        given = {"messages": [("user", "go")]}
        graph, count = ours(tasks, InMemorySaver()), lambda result: len(result["reports"])
    else:
        given = {"done": []}
        graph, count = by_hand(waves_of(tasks), InMemorySaver()), lambda result: len(result["done"])
    await seconds(graph, given, count, len(tasks))  # the first run loads code
    return await seconds(graph, given, count, len(tasks))


def main() -> None:
    warnings.simplefilter("ignore")
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    plan = {name: (units * UNIT, needs) for name, (units, needs) in DAG.items()}
    cases = {f"{k} tasks": {f"p{i}": (WAIT, ()) for i in range(k)} for k in (8, 64)} | {
        "plan": plan
    }
    found: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds):
        jobs = [(case, way) for case in cases for way in ("hand", "ours")]
        random.shuffle(jobs)
        for case, way in jobs:
            found.setdefault((case, way), []).append(asyncio.run(measure(way, cases[case])))
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    print("| case | ours, ms | by hand, ms | ratio |")
    print("| --- | ---: | ---: | ---: |")
    for case in cases:
        mine, hand = found[case, "ours"], found[case, "hand"]
        ratio = statistics.median(m / h for m, h in zip(mine, hand, strict=True))
        times = " | ".join(f"{statistics.median(x) * 1e3:.0f}" for x in (mine, hand))
        print(f"| {case} | {times} | {ratio:.2f} |")
    path = critical_path()
    for way, name in (("ours", "ours"), ("hand", "waves by hand")):
        ratio = statistics.median(found["plan", way]) / path
        print(
            f"\nmakespan of the plan against its critical path of {path:.2f} s, {name}: {ratio:.2f}"
        )


if __name__ == "__main__":
    main()
