"""Asterism as one builds it by default: a chat model decides, answers visits and writes the end."""

from typing import Any

from asterism import Participant, SupervisorWorkflowBuilder
from benchmarks.contenders.by_hand import answers_in, config_of
from benchmarks.contenders.ours import VERSIONS, go_on, opened
from benchmarks.contenders.scripted import decider, worker
from benchmarks.work import REQUEST, names_of

__all__ = ["VERSIONS", "build", "go_on", "opened", "talk"]


def build(store: Any, *, participants: int, turns: int, stops_at: int | None = None) -> Any:
    team = {
        name: Participant(model=worker(), prompt="You answer.", description="Answers.")
        for name in names_of(participants)
    }
    return (
        SupervisorWorkflowBuilder(
            "Bench", model=decider(turns, participants), max_iterations=turns + 2
        )
        .participants(**team)
        .build(checkpointer=store)
    )


async def talk(team: Any, thread: str) -> int:
    given = {"messages": [("user", REQUEST)]}
    return answers_in(await team.ainvoke(given, config_of(thread)))
