"""deepagents with its defaults: the participants are subagents that a tool calls."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from deepagents import create_deep_agent
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.types import Command

from benchmarks.contenders.scripted import CALL, Scripted, supervisor, turn_after, worker
from benchmarks.work import ANSWER, INSTRUCTION, REQUEST, UNIT, Tasks, name_in, names_of

VERSIONS = ("deepagents", "langchain", "langgraph", "langgraph-checkpoint-sqlite")


def opened(path: Path) -> AbstractAsyncContextManager[Any]:
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    return AsyncSqliteSaver.from_conn_string(str(path))


def _call(name: str) -> dict[str, Any]:
    return {"name": "task", "args": {"description": INSTRUCTION, "subagent_type": name}}


def _team(store: Any, model: Any, participants: int, seconds: float = 0) -> Any:
    subagents: Any = [
        {
            "name": name,
            "description": "Answers.",
            "system_prompt": "You answer.",
            "model": worker(seconds),
            "tools": [],
        }
        for name in names_of(participants)
    ]
    return create_deep_agent(model=model, subagents=subagents, checkpointer=store)


def build(store: Any, *, participants: int, turns: int, stops_at: int | None = None) -> Any:
    model = supervisor(turns, stops_at, lambda turn: _call(name_in(turn, participants)))
    return _team(store, model, participants)


def _config(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}, "recursion_limit": 20_000}


def _answers(result: Any) -> int:
    return sum(isinstance(m, ToolMessage) and m.content == ANSWER for m in result["messages"])


async def talk(team: Any, thread: str) -> int:
    return _answers(await team.ainvoke({"messages": [("user", REQUEST)]}, _config(thread)))


async def go_on(team: Any, thread: str) -> int:
    return _answers(await team.ainvoke(Command(resume="yes"), _config(thread)))


def build_fan(store: Any, tasks: Tasks) -> Any:
    def script(messages: Any) -> AIMessage:
        if turn_after(messages):
            return AIMessage("All is done.")
        calls: Any = [
            {**_call(name), "id": f"{CALL}0.{name}", "type": "tool_call"} for name in tasks
        ]
        return AIMessage("", tool_calls=calls)

    return _team(store, Scripted(script=script), len(tasks), UNIT)


fan = talk
