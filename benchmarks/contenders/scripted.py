"""A LangChain chat model that costs nothing and follows a script."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from benchmarks.work import ANSWER, INSTRUCTION, name_in

Script = Callable[[Sequence[BaseMessage]], AIMessage]
CALL = "turn-"
"""How the ids of calls begin; the number of the turn follows."""
ROUTE = {
    "title": "SupervisorDecision",
    "description": "Who works next, or null to finish.",
    "type": "object",
    "properties": {
        "next_agent": {"type": ["string", "null"]},
        "instruction": {"type": "string"},
    },
    "required": ["next_agent"],
}
"""The tool by which a star by hand is told who works next."""


class Scripted(BaseChatModel):
    """Answers by a script."""

    script: Script
    seconds: float = 0

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **kwargs: Any) -> "Scripted":
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.script(messages))])

    async def _agenerate(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> ChatResult:
        await asyncio.sleep(self.seconds)
        return self._generate(messages)


def worker(seconds: float = 0) -> Scripted:
    return Scripted(script=lambda messages: AIMessage(ANSWER), seconds=seconds)


def turn_after(messages: Sequence[BaseMessage]) -> int:
    """Return the number of the turn that is due: one more than that of the last call."""
    for message in reversed(messages):
        if isinstance(message, AIMessage):
            for call in message.tool_calls:
                if (call["id"] or "").startswith(CALL):
                    return int((call["id"] or "").removeprefix(CALL).split(".")[0]) + 1
    return 0


def supervisor(turns: int, stops_at: int | None, call: Callable[[int], dict[str, Any]]) -> Scripted:
    """Return a model that calls somebody in each turn; `call` gives the name and the arguments."""

    def script(messages: Sequence[BaseMessage]) -> AIMessage:
        turn = turn_after(messages)
        if turn >= turns:
            return AIMessage("All is done.")
        if turn == stops_at:
            from langgraph.types import interrupt

            interrupt("Shall it go on?")
        return AIMessage(
            "", tool_calls=[{**call(turn), "id": f"{CALL}{turn}", "type": "tool_call"}]
        )

    return Scripted(script=script)


def decider(turns: int, participants: int) -> Scripted:
    """Return a model that decides each turn of a request, finishes it, and writes its answer.

    It counts its calls, so that what it costs does not grow with the conversation.
    """
    calls = itertools.cycle(range(turns + 2))

    def script(messages: Sequence[BaseMessage]) -> AIMessage:
        if (turn := next(calls)) > turns:
            return AIMessage("All is done.")
        args: dict[str, Any] = {"next_agent": None}
        if turn < turns:
            instruction = f"{INSTRUCTION} {turn}"
            args = {"next_agent": name_in(turn, participants), "instruction": instruction}
        call = {"name": ROUTE["title"], "args": args, "id": f"{CALL}{turn}", "type": "tool_call"}
        return AIMessage("", tool_calls=[call])

    return Scripted(script=script)
