"""Hashes of what models are asked: they differ where a prompt, a tool or a model does."""

import os
import subprocess
import sys
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.runnables import RunnableConfig
from langgraph.types import RetryPolicy

from asterism import Budget, Participant, SupervisorWorkflowBuilder
from asterism.testing import TeamChatModel
from tests.asterism.testing.change_check.teams import (
    STOPS,
    OtherModel,
    Result,
    book,
    book_on,
    create_team,
    inner,
    venue,
)

SILENT = TeamChatModel(scripts={})


def hashes(members: Any = None, model: Any = SILENT, **options: Any) -> dict[str, str]:
    return dict(create_team(model, members, **options).build().facts.made_of())


def agent(prompt: str, tool: Any = book) -> Any:
    return Participant(
        runs=create_agent(SILENT, [tool], system_prompt=prompt), description="Books halls."
    )


EVERYBODY = {"supervisor", "venue", "bank", "notes", "scout", "kitchen"}
SCOUT: Any = {"description": "Scouts.", "prompt": "You scout."}

CHANGES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "nothing": ({}, set()),
    "prompt of the supervisor": ({"prompt": "Be kind."}, {"supervisor"}),
    "answer prompt": ({"answer_prompt": "In French."}, {"supervisor"}),
    "result model": ({"finish": Result}, {"supervisor"}),
    "limits": ({"max_iterations": 3, "budget": Budget(max_calls=3)}, set()),
    "policies": ({"policies": [RetryPolicy(max_attempts=2)]}, set()),
    "prompt of a participant": (
        {"members": {"scout": Participant(description="Scouts.", prompt="Well.")}},
        {"scout"},
    ),
    "limit of a participant": (
        {"members": {"scout": Participant(**SCOUT, max_steps=3)}},
        set(),
    ),
    "description": (
        {"members": {"scout": Participant(description="Looks.", prompt="You scout.")}},
        {"scout", "supervisor"},
    ),
    "tool": ({"members": {"venue": venue(tool=book_on)}}, {"venue"}),
    "approval": ({"members": {"venue": venue(approve=())}}, {"venue"}),
    "model of a participant": (
        {"members": {"scout": Participant(**SCOUT, model=OtherModel(scripts={}))}},
        {"scout"},
    ),
    "model": ({"model": OtherModel(scripts={})}, {"supervisor", "venue", "scout", "kitchen"}),
    "nested prompt": ({"members": {"kitchen": inner(SILENT, cook="You bake.")}}, {"kitchen"}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_shows_in_the_hashes_of_those_who_are_asked(name: str) -> None:
    options, expected = CHANGES[name]
    before, after = hashes(), hashes(**options)
    assert set(before) == EVERYBODY
    assert {part for part in before if before[part] != after[part]} == expected


@pytest.mark.parametrize(
    "after", [agent("You book well."), agent("You book.", book_on)], ids=["prompt", "tool"]
)
def test_an_agent_that_was_made_elsewhere_is_looked_into(after: Any) -> None:
    before = hashes({"venue": agent("You book.")})
    assert before == hashes({"venue": agent("You book.")})
    assert before["venue"] != hashes({"venue": after})["venue"]


def test_the_hashes_are_the_same_in_another_process() -> None:
    code = "from tests.nodes.test_hashes import hashes; print(sorted(hashes().items()))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in "12"
    }
    assert found == {f"{sorted(hashes().items())}\n"}


def test_they_are_stored_once_a_request() -> None:
    from langgraph.checkpoint.memory import InMemorySaver

    saver, thread = InMemorySaver(), RunnableConfig(configurable={"thread_id": "t"})
    scripts = STOPS["done"].scripts

    def stored(**options: Any) -> tuple[dict[str, str], int]:
        team: Any = create_team(TeamChatModel(scripts=scripts), **options).build(saver)
        team.invoke({"messages": [("user", "Again")]}, thread)
        items = [i for i in saver.list(thread) if not i.config["configurable"]["checkpoint_ns"]]
        versions = {i.checkpoint["channel_versions"].get("made_of") for i in items} - {None}
        return team.get_state(thread).values["made_of"], len(versions)

    first, count = stored()
    assert (first, count) == (hashes(), 1)
    assert stored() == (first, 2)
    changed, count = stored(prompt="Be kind.")
    assert (changed != first, count) == (True, 3)


def test_teams_that_hold_each_other_are_hashed_once_and_the_same_each_time() -> None:
    held: dict[str, Any] = {}

    def one(messages: list[Any]) -> str:
        return str(held)

    def other(messages: list[Any]) -> str:
        return str(held)

    for name, work in (("a", one), ("b", other)):
        builder = SupervisorWorkflowBuilder(name, model="offline", finish="forward")
        held[name] = builder.participants(
            clerk=Participant(runs=work, description="Works.")
        ).build()
    first, again = held["a"].facts.made_of(), held["a"].facts.made_of()
    assert first == again and set(first) == {"supervisor", "clerk"}
