"""The star by hand that asks models, as who knows LangGraph well would write it.

Participants are plain nodes whose histories stand in the star's own state; all histories are
stored as additions, and sqlite does not wait for the disk at each commit.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.channels.delta import DeltaChannel
from typing_extensions import TypedDict

from benchmarks.contenders import by_hand_model
from benchmarks.contenders.by_hand import VERSIONS, answers_in, config_of
from benchmarks.contenders.by_hand import opened as opened_slowly
from benchmarks.contenders.by_hand_model import DUTY
from benchmarks.contenders.scripted import worker
from benchmarks.work import REQUEST

__all__ = ["VERSIONS", "build", "opened", "talk"]

Histories = dict[str, list[BaseMessage]]


def add(before: list[BaseMessage], writes: Sequence[list[BaseMessage]]) -> list[BaseMessage]:
    return [*before, *(message for write in writes for message in write)]


def add_each(before: Histories, writes: Sequence[Histories]) -> Histories:
    after = dict(before or {})
    for write in writes:
        for name, messages in write.items():
            after[name] = [*after.get(name, ()), *messages]
    return after


class State(TypedDict):
    """What the star remembers."""

    messages: Annotated[list[BaseMessage], DeltaChannel(add)]
    histories: Annotated[Histories, DeltaChannel(add_each)]


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Any]:
    async with opened_slowly(path) as saver:
        await saver.setup()
        await saver.conn.execute("PRAGMA synchronous=NORMAL")
        yield saver


def visit(name: str) -> Callable[..., Any]:
    """Return the node of a participant whose history stands in the star's state."""
    own = worker()

    async def run(state: State) -> dict[str, Any]:
        before = (state.get("histories") or {}).get(name, [])
        asked = HumanMessage(state["messages"][-1].content)
        answer = await own.ainvoke([DUTY, *before, asked])
        report = AIMessage(answer.content, name=name)
        return {"messages": [report], "histories": {name: [asked, answer]}}

    return run


build = partial(by_hand_model.build, schema=State, node=visit)


async def talk(team: Any, thread: str) -> int:
    given = {"messages": [HumanMessage(REQUEST)]}
    return answers_in(await team.ainvoke(given, config_of(thread)))
