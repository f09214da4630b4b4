"""autogen's selector group chat with its assistant agents; a function selects who speaks.

What is stored is the state of the team, once at the end: it has no checkpoints in between.
"""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.teams import DiGraphBuilder, GraphFlow, SelectorGroupChat
from autogen_core.models import ChatCompletionClient, CreateResult, ModelInfo, RequestUsage

from benchmarks.work import ANSWER, REQUEST, UNIT, Tasks, name_in, names_of

VERSIONS = ("autogen-agentchat", "autogen-core")
INFO = ModelInfo(
    vision=False,
    function_calling=False,
    json_output=False,
    family="unknown",
    structured_output=False,
    multiple_system_messages=True,
)


class Scripted(ChatCompletionClient):
    """Answers at once, or after a while."""

    def __init__(self, seconds: float = 0) -> None:
        self._seconds = seconds

    async def create(self, messages: Sequence[Any], **kwargs: Any) -> CreateResult:
        await asyncio.sleep(self._seconds)
        usage = RequestUsage(prompt_tokens=0, completion_tokens=0)
        return CreateResult(finish_reason="stop", content=ANSWER, usage=usage, cached=False)

    async def close(self) -> None: ...

    def create_stream(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    def actual_usage(self) -> RequestUsage:
        return RequestUsage(prompt_tokens=0, completion_tokens=0)

    total_usage = actual_usage

    def count_tokens(self, messages: Sequence[Any], **kwargs: Any) -> int:
        return 0

    remaining_tokens = count_tokens

    @property
    def capabilities(self) -> Any:
        return INFO

    @property
    def model_info(self) -> ModelInfo:
        return INFO


@dataclass
class Team:
    """Makes a team per conversation, as a team holds one."""

    store: sqlite3.Connection | None
    make: Callable[[int], Any]
    turns: int
    stops_at: int | None = None


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as store:
        store.execute("CREATE TABLE IF NOT EXISTS states (thread TEXT PRIMARY KEY, state TEXT)")
        yield store


def build(
    store: sqlite3.Connection | None, *, participants: int, turns: int, stops_at: int | None = None
) -> Team:
    def make(messages: int) -> SelectorGroupChat:
        def select(said: Sequence[Any]) -> str:
            return name_in(len(said) - 1, participants)

        return SelectorGroupChat(
            [AssistantAgent(name, Scripted()) for name in names_of(participants)],
            Scripted(),
            selector_func=select,
            termination_condition=MaxMessageTermination(messages),
        )

    make(1)  # a team is built here once, to be measured
    return Team(store, make, turns, stops_at)


def _answers(messages: Sequence[Any]) -> int:
    return sum(getattr(m, "content", None) == ANSWER for m in messages)


async def talk(team: Team, thread: str) -> int:
    chat = team.make(1 + (team.stops_at or team.turns))
    result = await chat.run(task=REQUEST)
    await _save(team, thread, chat)
    return _answers(result.messages)


async def _save(team: Team, thread: str, chat: Any) -> None:
    if team.store is not None:
        state = json.dumps(await chat.save_state())
        team.store.execute("INSERT OR REPLACE INTO states VALUES (?, ?)", (thread, state))
        team.store.commit()


async def go_on(team: Team, thread: str) -> int:
    assert team.store is not None
    found = team.store.execute("SELECT state FROM states WHERE thread = ?", (thread,)).fetchone()
    chat = team.make(team.turns - (team.stops_at or 0))
    state: Mapping[str, Any] = json.loads(found[0])
    await chat.load_state(state)
    before = json.dumps(state["agent_states"]["SelectorGroupChatManager"]["message_thread"])
    result = await chat.run()
    await _save(team, thread, chat)
    return before.count(json.dumps(ANSWER)) + _answers(result.messages)


def build_fan(store: sqlite3.Connection | None, tasks: Tasks) -> Team:
    def make(messages: int) -> GraphFlow:
        agents = [AssistantAgent(name, Scripted(UNIT)) for name in tasks]
        first = AssistantAgent("first", Scripted())
        graph = DiGraphBuilder()
        for agent in (first, *agents):
            graph.add_node(agent)
        for agent in agents:
            graph.add_edge(first, agent)
        graph.set_entry_point(first)
        return GraphFlow([first, *agents], graph.build())

    return Team(store, make, len(tasks))


async def fan(team: Team, thread: str) -> int:
    return await talk(team, thread) - 1  # without the first, which begins
