"""Microsoft's agent-framework: a group chat whose next speaker a function selects.

A workflow holds one conversation at a time, so each is built anew; its checkpoints are files.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_framework import (
    Agent,
    AgentExecutorResponse,
    BaseChatClient,
    ChatResponse,
    FileCheckpointStorage,
    Message,
)
from agent_framework_orchestrations import ConcurrentBuilder, GroupChatBuilder, GroupChatState

from benchmarks.work import ANSWER, REQUEST, UNIT, Tasks, name_in, names_of

VERSIONS = ("agent-framework-core", "agent-framework-orchestrations")


class Scripted(BaseChatClient[Any]):
    """Answers at once, or after a while."""

    def __init__(self, seconds: float = 0) -> None:
        super().__init__()
        self._seconds = seconds

    def _inner_get_response(self, *, messages: Any, stream: bool, options: Any, **_: Any) -> Any:
        async def answer() -> ChatResponse[Any]:
            await asyncio.sleep(self._seconds)
            return ChatResponse(messages=[Message("assistant", [ANSWER])])

        return answer()


@dataclass
class Team:
    """Makes a workflow per conversation."""

    make: Callable[[str, int], Any]
    path: Path | None
    turns: int
    stops_at: int | None = None


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Path]:
    yield path


def _storage(path: Path | None, thread: str) -> Any:
    return FileCheckpointStorage(path.with_name(f"checkpoints-{thread}")) if path else None


def _agents(participants: int, seconds: float = 0) -> list[Any]:
    return [
        Agent(Scripted(seconds), "You answer.", name=name, description="Answers.")
        for name in names_of(participants)
    ]


def build(
    store: Path | None, *, participants: int, turns: int, stops_at: int | None = None
) -> Team:
    def make(thread: str, until: int) -> Any:
        def select(state: GroupChatState) -> str:
            return name_in(state.current_round, participants)

        chat = GroupChatBuilder(
            name="Bench",
            participants=_agents(participants),
            selection_func=select,
            max_rounds=until,
            checkpoint_storage=_storage(store, thread),
        ).build()
        chat.max_iterations = 10 * until + 100
        chat._runner._max_iterations = 10 * until + 100
        return chat

    make("built", 1)  # a workflow is built here once, to be measured
    return Team(make, store, turns, stops_at)


async def talk(team: Team, thread: str) -> int:
    chat = team.make(thread, team.stops_at or team.turns)
    return _answers(await chat.run(REQUEST))


def _answers(events: Any) -> int:
    """Count what participants have answered in a run."""
    return sum(
        isinstance(found, AgentExecutorResponse) and found.agent_response.text == ANSWER
        for event in events
        if event.type == "executor_completed"
        for found in event.data or ()
    )


async def go_on(team: Team, thread: str) -> int:
    """Go on before the end of the first run, where its last answer is on its way."""
    chat = team.make(thread, team.turns)
    stored = await _storage(team.path, thread).list_checkpoints(workflow_name="Bench")
    before = sorted(stored, key=lambda checkpoint: checkpoint.timestamp)[-2]
    orchestrator = before.state["_executor_state"]["group_chat_orchestrator"]
    known = sum(message.text == ANSWER for message in orchestrator["conversation"])
    return known + 1 + _answers(await chat.run(checkpoint_id=before.checkpoint_id))


def build_fan(store: Path | None, tasks: Tasks) -> Team:
    def make(thread: str, until: int) -> Any:
        agents = _agents(len(tasks), UNIT)
        return ConcurrentBuilder(
            participants=agents, checkpoint_storage=_storage(store, thread)
        ).build()

    return Team(make, store, len(tasks))


async def fan(team: Team, thread: str) -> int:
    outputs = (await team.make(thread, 1).run(REQUEST)).get_outputs()
    return sum(m.text == ANSWER for output in outputs for m in output.messages)
