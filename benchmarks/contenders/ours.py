"""The same star, built by Asterism: its own saver, `durability="sync"`, its defaults."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from asterism import (
    Participant,
    SubAgentTask,
    SupervisorDecision,
    SupervisorView,
    SupervisorWorkflowBuilder,
    aopen_checkpointer,
    aresume,
)
from benchmarks.contenders.by_hand import config_of, participant
from benchmarks.work import ANSWER, INSTRUCTION, REQUEST, Tasks, name_in, names_of

VERSIONS = ("asterism-agents", "langgraph", "langgraph-checkpoint-sqlite")
AT_ONCE = 10
"""How many conversations are held at once."""


def opened(path: Path) -> AbstractAsyncContextManager[Any]:
    return aopen_checkpointer(f"sqlite:///{path}")


def build(
    store: Any,
    *,
    participants: int,
    turns: int,
    stops_at: int | None = None,
    events: Any = None,
) -> Any:

    async def decide(view: SupervisorView) -> SupervisorDecision:
        turn = len(view.reports)
        if turn >= turns:
            return SupervisorDecision(next_agent=None)
        if view.iterations == stops_at:
            return SupervisorDecision(
                next_agent=None, user_input_needed=True, user_prompt="Shall it go on?"
            )
        instruction = f"{INSTRUCTION} {turn}"
        return SupervisorDecision(next_agent=name_in(turn, participants), instruction=instruction)

    team = {
        name: Participant(runs=participant(), description="Answers.")
        for name in names_of(participants)
    }
    return (
        SupervisorWorkflowBuilder(
            "Bench", max_iterations=turns + 2, finish="forward", events=events
        )
        .participants(**team)
        .with_manager(decide)
        .build(checkpointer=store)
    )


async def talk(team: Any, thread: str) -> int:
    given = {"messages": [("user", REQUEST)]}
    return _reports(await team.ainvoke(given, config_of(thread)))


def _reports(result: Any) -> int:
    return sum(report["text"] == ANSWER for report in result["reports"])


async def many(team: Any, threads: list[str]) -> list[int]:
    given = {"messages": [("user", REQUEST)]}
    configs = [{**config_of(thread), "max_concurrency": AT_ONCE} for thread in threads]
    results = team.abatch_as_completed([given] * len(threads), configs)
    return [_reports(result) async for _, result in results]


async def go_on(team: Any, thread: str) -> int:
    return _reports(await aresume(team, config_of(thread), "yes"))


def build_fan(store: Any, tasks: Tasks) -> Any:
    """One decision with all tasks."""
    plan = [
        SubAgentTask(
            task_id=name, agent_id=name, task_description=INSTRUCTION, dependencies=list(needs)
        )
        for name, (_, needs) in tasks.items()
    ]

    async def decide(view: SupervisorView) -> SupervisorDecision:
        return SupervisorDecision(next_agent=None, tasks=None if view.iterations else plan)

    team = {
        name: Participant(runs=participant(seconds), description="Waits.")
        for name, (seconds, _) in tasks.items()
    }
    return (
        SupervisorWorkflowBuilder("Bench", finish="forward", max_parallel_tasks=len(tasks))
        .participants(**team)
        .with_manager(decide)
        .build(checkpointer=store)
    )


async def fan(team: Any, thread: str) -> int:
    return _reports(await team.ainvoke({"messages": [("user", REQUEST)]}, config_of(thread)))
