"""openai-agents: the participants are agents that are tools; a session stores the conversation."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents import Agent, Runner, SQLiteSession, set_tracing_disabled
from agents.items import ModelResponse
from agents.models.interface import Model
from agents.usage import Usage
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)

from benchmarks.work import ANSWER, INSTRUCTION, REQUEST, UNIT, Tasks, name_in, names_of

VERSIONS = ("openai-agents", "openai")
set_tracing_disabled(True)


class Scripted(Model):
    """Answers, or calls whoever is due; `call` tells who that is in a turn."""

    def __init__(self, *, seconds: float = 0, call: Any = None) -> None:
        self._seconds = seconds
        self._call = call

    async def get_response(
        self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any
    ) -> Any:
        await asyncio.sleep(self._seconds)
        output = self._call(input) if self._call else [text(ANSWER)]
        return ModelResponse(output=output, usage=Usage(), response_id=None)

    def stream_response(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


def text(said: str) -> ResponseOutputMessage:
    content = ResponseOutputText(text=said, type="output_text", annotations=[])
    return ResponseOutputMessage(
        id="m", content=[content], role="assistant", status="completed", type="message"
    )


def called(name: str, turn: object) -> ResponseFunctionToolCall:
    return ResponseFunctionToolCall(
        call_id=f"turn-{turn}",
        name=name,
        arguments=json.dumps({"input": INSTRUCTION}),
        type="function_call",
    )


@dataclass
class Team:
    """What a run needs."""

    agent: Any
    path: Path | None
    turns: int


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Path]:
    yield path


def _turn(items: Any) -> int:
    """Return which turn is due: one more than that of the last call."""
    for item in reversed(items if isinstance(items, list) else []):
        if item.get("type") == "function_call_output":
            return int(item["call_id"].removeprefix("turn-").split(".")[0]) + 1
    return 0


def _agent(participants: int, call: Any, seconds: float = 0) -> Any:
    tools = [
        Agent(name=name, instructions="You answer.", model=Scripted(seconds=seconds)).as_tool(
            name, "Answers."
        )
        for name in names_of(participants)
    ]
    return Agent(name="supervisor", model=Scripted(call=call), tools=tools)


def build(
    store: Path | None, *, participants: int, turns: int, stops_at: int | None = None
) -> Team:
    def call(items: Any) -> list[Any]:
        turn = _turn(items)
        goes_on = items[-1].get("content") == "yes" if isinstance(items, list) else False
        if turn >= turns or (turn == stops_at and not goes_on):
            return [text("All is done.")]
        return [called(name_in(turn, participants), turn)]

    return Team(_agent(participants, call), store, turns)


def _answers(items: Any) -> int:
    return sum(
        item.get("type") == "function_call_output" and item.get("output") == ANSWER
        for item in items
    )


async def _run(team: Team, thread: str, said: str) -> int:
    session = SQLiteSession(thread, team.path) if team.path else None
    result = await Runner.run(team.agent, said, session=session, max_turns=20_000)
    items = await session.get_items() if session else result.to_input_list()
    if session:
        session.close()
    return _answers(items)


async def talk(team: Team, thread: str) -> int:
    return await _run(team, thread, REQUEST)


async def go_on(team: Team, thread: str) -> int:
    return await _run(team, thread, "yes")


def build_fan(store: Path | None, tasks: Tasks) -> Team:
    def call(items: Any) -> list[Any]:
        if _turn(items):
            return [text("All is done.")]
        return [called(name, f"0.{name}") for name in tasks]

    return Team(_agent(len(tasks), call, UNIT), store, 1)


fan = talk
