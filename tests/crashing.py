"""A run that can be killed at any moment, and what must hold of it afterwards.

The team: a function, an agent with a tool, and a workflow of two functions. Every effect
writes its idempotency key to a log, so that a turn that runs twice is seen.
"""

import os
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain.tools import ToolRuntime
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool

from asterism import (
    Participant,
    SupervisorDecision,
    SupervisorView,
    SupervisorWorkflowBuilder,
    idempotency_key,
    proceed,
)
from asterism.core.run_types import WorkflowInput
from asterism.storage.open import open_checkpointer
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.graphs.test_memory import is_valid
from tests.plans import task
from tests.processes import forks
from tests.teams import follow

MODEL = "model"
CALLS = (2, 1, 1)
"""How many tools the agent calls at once, in each of its steps."""
TEAM = ("plain", "agent", "team")
PLAN = "plan"
TASKS = {"a": "plain", "b": "agent", "c": "team", "d": "plain"}
"""The tasks of a plan, with who does them."""
NEEDS = {"b": ["a"], "d": ["c"]}
INNER = ("one", "two")
THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}
REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}


def effect(log: Path, pause: float, runtime: Any = None) -> str:
    """Do something that must not happen twice without being recognised; return its key."""
    time.sleep(pause)
    key = idempotency_key(runtime)
    note(log, key)
    time.sleep(pause)
    return key


def note(log: Path, key: str) -> None:
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{key}\n".encode())
    os.close(file)


def visit_of(key: str) -> str:
    return key.split("/")[1]


def function(name: str, log: Path, pause: float) -> Participant:
    def work(messages: Any) -> str:
        return f"{name} did {visit_of(effect(log, pause))}"

    return Participant(runs=work, description="Works.")


def agent(log: Path, pause: float) -> Participant:
    @tool
    def act(runtime: ToolRuntime) -> str:
        """Act."""
        return effect(log, pause, runtime)

    def say(messages: list[Any]) -> Any:
        assert is_valid(messages), messages
        *_, (visit, steps) = steps_of(messages)
        note(log, f"t/{visit}/model.{steps.count(MODEL) + 1}")
        if steps.count(MODEL) < len(CALLS):
            return ScriptedReply(tool_calls=[("act", {})] * CALLS[steps.count(MODEL)])
        return f"agent did {visit}"

    model = ScriptedChatModel(script=[say] * 999)
    return Participant(runs=create_agent(model, [act]), description="Works with a tool.")


def steps_of(messages: list[Any]) -> list[tuple[str, list[str]]]:
    """The visits in an agent's memory, each with its steps: `model`, or the key of an effect."""
    visits: list[tuple[str, list[str]]] = []
    for message in messages:
        if message.type == "human":
            visits.append((message.id, []))
        else:
            visits[-1][1].append(MODEL if message.type == "ai" else message.text)
    return visits


def direct(route: list[str]) -> Any:
    """A decider that makes visits and plans in turn."""

    def decide(view: SupervisorView) -> SupervisorDecision:
        name = dict(enumerate(route)).get(view.iterations)
        if name != PLAN:
            return SupervisorDecision(next_agent=name, instruction=name and "work")
        tasks = [task(name, agent, *NEEDS.get(name, ())) for name, agent in TASKS.items()]
        return SupervisorDecision(next_agent=None, tasks=tasks)

    return decide


def visits(route: list[str]) -> list[tuple[int, str]]:
    """The visits that a route makes: the decision's number and the participant, sorted."""
    return sorted(
        (number, name)
        for number, step in enumerate(route, 1)
        for name in (TASKS.values() if step == PLAN else (step,))
    )


def build(saver: Any, log: Path, route: list[str], pause: float) -> Any:
    inner = (
        SupervisorWorkflowBuilder("Inner", finish="forward", description="Works in turn.")
        .participants(**{name: function(name, log, pause) for name in INNER})
        .with_manager(follow(INNER))
        .build()
    )
    return (
        SupervisorWorkflowBuilder("Crash", finish="forward", max_iterations=99)
        .participants(plain=function("plain", log, pause), agent=agent(log, pause), team=inner)
        .with_manager(direct(route))
        .build(checkpointer=saver)
    )


def drive(url: str, log: Path, route: list[str], pause: float, durability: str) -> None:
    """Begin a run, or go on with it, to its end."""
    with open_checkpointer(url) as saver:
        workflow = build(saver, log, route, pause)
        values = workflow.get_state(THREAD).values
        if not values:
            workflow.invoke(REQUEST, THREAD, durability=durability)
        elif values.get("status") != "completed":
            proceed(workflow, THREAD)


@dataclass
class Story:
    """What is known of a run that is killed now and then."""

    folder: Path
    route: list[str]
    url: str
    pause: float = 0.002
    durability: str = "sync"
    kills: int = 0
    finished: dict[str, str] = field(default_factory=dict)
    """The reports that were stored when somebody looked: by handoff."""
    counted: Counter[str] = field(default_factory=Counter)
    """How often each finished turn had its effects then."""
    inner: int = 0
    """How many steps of the agent were stored."""
    lost: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def run(self, kill_after: float | None) -> bool:
        """Run in a process of its own, kill it after some seconds, and look what is stored."""
        arguments = (self.url, self.log, self.route, self.pause, self.durability)
        process = forks.Process(target=drive, args=arguments)
        process.start()
        process.join(kill_after if kill_after is not None else 60)
        process.kill()
        process.join(60)
        self.kills += process.exitcode != 0
        self.look()
        return process.exitcode == 0

    def effects(self) -> Counter[str]:
        keys = self.log.read_text().split() if self.log.exists() else []
        return Counter(keys)

    def look(self) -> None:
        """Check that what was finished stays, and note what is finished now."""
        now = self.stored()
        effects = self.effects()
        for handoff, text in self.finished.items():
            if now.get(handoff) != text:
                self.lost.append(f"{handoff}: {text!r} is now {now.get(handoff)!r}")
        for key, count in self.counted.items():
            if effects[key] != count:
                self.repeated.append(f"{key}: {effects[key]} times")
        self.finished = now
        done = self.steps()
        self.counted = Counter(
            {key: n for key, n in effects.items() if visit_of(key) in now or key in done}
        )

    def steps(self) -> set[str]:
        """The keys of the steps of the agent that are stored."""
        with open_checkpointer(self.url) as saver:
            workflow = build(saver, self.log, self.route, 0)
            place: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": "agent"}}
            messages = (workflow.get_state(place).values or {}).get("messages") or []
        found: set[str] = set()
        for visit, steps in steps_of(messages):
            found |= {f"t/{visit}/model.{n + 1}" for n in range(steps.count(MODEL))}
            found |= {key for key in steps if key != MODEL}
        self.inner = max(self.inner, len(found))
        return found

    def stored(self) -> dict[str, str]:
        """The reports of the run and of the workflow in it, by handoff."""
        with open_checkpointer(self.url) as saver:
            workflow = build(saver, self.log, self.route, 0)
            found: dict[str, str] = {}
            inside: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": "team"}}
            for place in (THREAD, inside):
                values = workflow.get_state(place).values or {}
                for message in values.get("messages") or []:  # the board starts anew each request
                    kind, _, handoff = str(message.id).partition("-")
                    if kind == "report":
                        found[handoff] = message.text
            return found

    def check_end(self) -> None:
        """Check the finished run: every turn once, in order, with its own report."""
        with open_checkpointer(self.url) as saver:
            workflow = build(saver, self.log, self.route, 0)
            values = workflow.get_state(THREAD).values
            assert values["status"] == "completed"
            reports = values["reports"]
            made = [(report["round"], report["participant"]) for report in reports]
            assert sorted(made) == visits(self.route)
            assert [number for number, _ in made] == sorted(number for number, _ in made)
            effects = self.effects()
            for report in reports:
                if report["participant"] != "team":
                    assert report["text"] == f"{report['participant']} did {report['id']}"
                    assert any(key.startswith(f"t/{report['id']}/") for key in effects)
            for name in ("plain", "agent"):
                place: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": name}}
                memory = (workflow.get_state(place).values or {}).get("messages", [])
                asked = [m.id for m in memory if m.type == "human"]
                due = sum(name == visited for _, visited in visits(self.route))
                assert len(asked) == len(set(asked)) == due
                assert is_valid(memory)
        again = sum(count - 1 for count in effects.values())
        assert again <= 4 * self.kills, f"{again} effects ran twice in {self.kills} kills"


def story(folder: Path, seed: int, durability: str = "sync", url: str | None = None) -> Story:
    """Kill a run at random moments until it has come to its end, and check it."""
    chance = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    told = Story(
        folder,
        [chance.choice((*TEAM, PLAN)) for _ in range(chance.randint(2, 6))],
        url or f"sqlite:///{folder / 'threads.db'}",
        pause=chance.choice([0, 0.001, 0.004]),
        durability=durability,
    )
    for _ in range(chance.randint(1, 4)):
        if told.run(chance.uniform(0.0, 0.25)):
            break
    else:
        assert told.run(None)
    told.check_end()
    return told
