"""langgraph-supervisor with its defaults. Of several that are called at once it runs one."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.prebuilt import create_react_agent
from langgraph.types import Command
from langgraph_supervisor import create_supervisor

from benchmarks.contenders.scripted import supervisor, worker
from benchmarks.work import ANSWER, REQUEST, name_in, names_of

VERSIONS = ("langgraph-supervisor", "langgraph", "langgraph-checkpoint-sqlite")


def opened(path: Path) -> AbstractAsyncContextManager[Any]:
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    return AsyncSqliteSaver.from_conn_string(str(path))


def build(store: Any, *, participants: int, turns: int, stops_at: int | None = None) -> Any:
    def call(turn: int) -> dict[str, Any]:
        return {"name": f"transfer_to_{name_in(turn, participants)}", "args": {}}

    agents = [
        create_react_agent(worker(), [], prompt="You answer.", name=name)
        for name in names_of(participants)
    ]
    model = supervisor(turns, stops_at, call)
    return create_supervisor(agents, model=model).compile(checkpointer=store)


def _config(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}, "recursion_limit": 20_000}


def _answers(result: Any) -> int:
    return sum(isinstance(m, AIMessage) and m.content == ANSWER for m in result["messages"])


async def talk(team: Any, thread: str) -> int:
    return _answers(await team.ainvoke({"messages": [("user", REQUEST)]}, _config(thread)))


async def go_on(team: Any, thread: str) -> int:
    return _answers(await team.ainvoke(Command(resume="yes"), _config(thread)))
