"""A team that is steered while its processes are killed, and what its prompts must say of it.

Each message is a word of its own: `s7` for the supervisor, `a3` for the agent, `f1` for the
function. Every prompt is logged with the words in it, so that each message can be counted by what
was really sent to whom it is for.
"""

import asyncio
import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from langchain.agents import create_agent
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool

from asterism import (
    Participant,
    SupervisorDecision,
    SupervisorView,
    SupervisorWorkflowBuilder,
    open_checkpointer,
    proceed,
    steer,
)
from asterism.apps.workers.queue import enqueue
from asterism.apps.workers.worker import run_worker
from asterism.core.run_types import WorkflowInput
from asterism.core.steering import steering_store
from asterism.errors import NothingPendingError, ThreadBusyError
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.graphs.test_memory import is_valid
from tests.plans import task
from tests.processes import forks

THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}
REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}
RECIPIENTS = {"s": None, "a": "agent", "f": "function"}
GRAPH, LEASE = f"{__name__}:team", 2
_OPEN = "SELECT 1 FROM procrastinate_jobs WHERE status IN ('todo', 'doing') LIMIT 1"
ROUTE = ("agent", "function", "plan", "agent")


def note(log: Path, who: str, texts: Iterable[str]) -> None:
    """Log the words for somebody in a prompt, each as often as it stands there."""
    words = Counter(word for text in texts for word in text.split())
    seen = {word: n for word, n in words.items() if word[0] == who and word[1:].isdigit()}
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{json.dumps([who, seen])}\n".encode())
    os.close(file)


def team(model: Any) -> SupervisorWorkflowBuilder:
    """The team as workers open it."""
    return describe(Path(os.environ["ASTERISM_TEST_LOG"]), 0.002)


def build(saver: Any, log: Path, pause: float) -> Any:
    return describe(log, pause).build(checkpointer=saver)


def describe(log: Path, pause: float) -> SupervisorWorkflowBuilder:
    @tool
    def look() -> str:
        """Look."""
        time.sleep(pause)
        return "found"

    def say(messages: list[Any]) -> Any:
        assert is_valid(messages), messages
        note(log, "a", (message.text for message in messages))
        time.sleep(pause)
        *_, last = messages
        return "a hall" if last.type == "tool" else ScriptedReply(tool_calls=[("look", {})])

    def work(messages: Any) -> str:
        note(log, "f", (message.text for message in messages))
        time.sleep(pause)
        return "done"

    def decide(view: SupervisorView) -> SupervisorDecision:
        note(log, "s", (m.text for m in view.messages if m.type == "human"))
        time.sleep(pause)
        name = dict(enumerate(ROUTE)).get(view.iterations)
        if name == "plan":
            tasks = [task("one", "agent"), task("two", "function"), task("three", "agent", "two")]
            return SupervisorDecision(next_agent=None, tasks=tasks)
        return SupervisorDecision(next_agent=name, instruction=name and f"step {view.iterations}")

    agent = create_agent(ScriptedChatModel(script=[say] * 99_999), [look])
    return (
        SupervisorWorkflowBuilder("Steered", finish="forward", on_busy="refuse")
        .participants(
            agent=Participant(runs=agent, description="Looks."),
            function=Participant(runs=work, description="Works."),
        )
        .with_manager(decide)
    )


def drive(url: str, folder: Path, pause: float) -> None:
    """Drive the thread for as long as messages come, whoever else does so as well."""
    with open_checkpointer(url) as saver:
        workflow = build(saver, folder / "log", pause)
        while True:
            last = (folder / "over").exists()
            try:
                if workflow.get_state(THREAD).values:
                    proceed(workflow, THREAD)
                else:
                    workflow.invoke(REQUEST, THREAD)
            except NothingPendingError:
                if last:
                    return
            except ThreadBusyError:
                pass
            time.sleep(0.005)


def work(url: str, folder: Path) -> None:
    """Take jobs of the queue until somebody ends the process."""
    os.environ["ASTERISM_TEST_LOG"] = str(folder / "log")
    asyncio.run(run_worker(url, graphs=[GRAPH], lease=LEASE))


@dataclass
class Story:
    """A team that is sent messages at random moments, and whose processes are killed."""

    folder: Path
    url: str
    drivers: int = 1
    """How many processes want to drive the thread at once."""
    pause: float = 0.002
    share: float = 0.4
    """How often a message is followed by a kill."""
    kills: int = 0
    sent: list[str] = field(default_factory=list[str])
    _running: list[Any] = field(default_factory=list[Any])

    def run(self, count: int, seed: int) -> None:
        """Send messages with kills in between, then let the team come to its end."""
        chance = random.Random(seed)
        with open_checkpointer(self.url) as saver:
            workflow = build(saver, self.folder / "unused", 0)
            while len(self.sent) < count:
                while len(self._running) < self.drivers:
                    self._start()
                time.sleep(chance.uniform(0, 0.3))
                who = chance.choice([*RECIPIENTS])
                steer(workflow, THREAD, f"{who}{len(self.sent)}", to=RECIPIENTS[who])
                self.sent.append(f"{who}{len(self.sent)}")
                if chance.random() < self.share:
                    self._kill(chance)
            while len(self._running) < self.drivers:
                self._start()
            self._finish()
            assert steering_store(saver).steering("t") == []
            self.history = [m.text for m in workflow.get_state(THREAD).values["messages"]]

    def _finish(self) -> None:
        (self.folder / "over").touch()
        for process in self._running:
            process.join(120)
            assert process.exitcode == 0

    def _start(self) -> None:
        arguments = (self.url, self.folder, self.pause)
        self._running.append(forks.Process(target=drive, args=arguments))
        self._running[-1].start()

    def _kill(self, chance: random.Random) -> None:
        time.sleep(chance.uniform(0, 0.3))
        process = self._running.pop(chance.randrange(len(self._running)))
        process.kill()
        process.join(60)
        self.kills += 1

    def faults(self) -> Iterator[str]:
        """Yield what is wrong with a message: lost, twice in a prompt, or taken in twice."""
        prompts: dict[str, list[dict[str, int]]] = {"s": [], "a": [], "f": []}
        for line in (self.folder / "log").read_text().splitlines():
            who, seen = json.loads(line)
            prompts[who].append(seen)
        for word in self.sent:
            shown = [seen.get(word, 0) for seen in prompts[word[0]]]
            came = sum(
                now > 0 and not before for before, now in zip([0, *shown], [*shown, 0], strict=True)
            )
            if came != 1 or max(shown) != 1:
                yield f"{word} came {came} times, {max(shown)} times in one prompt"
            if self.history.count(word) != 1:
                yield f"{word} stands {self.history.count(word)} times in the history"


class WorkerStory(Story):
    """The same with workers of a queue: what a killed one has left goes on in the other."""

    def _start(self) -> None:
        asyncio.run(enqueue(self.url, GRAPH, "Go on", thread="t", model="offline"))
        self._running.append(forks.Process(target=work, args=(self.url, self.folder)))
        self._running[-1].start()

    def _finish(self) -> None:
        asyncio.run(enqueue(self.url, GRAPH, "Come to an end", thread="t", model="offline"))
        until = time.monotonic() + 120
        with psycopg.connect(self.url, autocommit=True) as connection:
            while connection.execute(_OPEN).fetchone() is not None:
                assert time.monotonic() < until
                time.sleep(0.1)
        for process in self._running:
            process.kill()
            process.join(60)
