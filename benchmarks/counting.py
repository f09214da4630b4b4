"""A chat model that costs nothing, answers by a function and counts what it is sent.

It needs LangChain alone, so that it serves every framework in its own environment.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr

TOPICS = ("venue", "food", "music", "travel")
SHAPES = ((3, 5), (4, 20))
"""How many participants are asked in how many requests."""
RESULT = "fact " * 1_600
"""What a tool returns: 2,000 tokens."""
REPORT = "word " * 240
"""What a participant answers, and the supervisor at the end: 300 tokens."""
DUTY = "You find out all about the {name}. Use your tool, then report."


def look_up(what: str) -> str:
    """Look something up."""
    return RESULT


def request(turn: int) -> str:
    """What the user says."""
    return f"Please work on part {turn} of the party."


class CountingModel(BaseChatModel):
    """Answers by `answer` and counts the tokens of all that it is sent."""

    answer: Callable[[list[BaseMessage]], AIMessage]
    _prompts: list[list[BaseMessage]] = PrivateAttr(default_factory=list)
    _tools: list[int] = PrivateAttr(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "counting"

    @property
    def prompts(self) -> list[list[BaseMessage]]:
        return self._prompts

    def tokens(self) -> dict[str, int]:
        """Calls so far, the tokens of their messages, and those of their tools."""
        sent = sum(map(count_tokens_approximately, self._prompts))
        return {"calls": len(self._prompts), "messages": sent, "tools": sum(self._tools)}

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools])

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        self._prompts.append(list(messages))
        self._tools.append(len(json.dumps(kwargs.get("tools") or [])) // 4)
        return ChatResult(generations=[ChatGeneration(message=self.answer(messages))])


def call(name: str, **args: Any) -> AIMessage:
    """A message that calls a tool."""
    call.made = getattr(call, "made", 0) + 1  # type: ignore[attr-defined]  # a running number
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": f"c{call.made}"}])  # type: ignore[attr-defined]  # as above


def work(messages: list[BaseMessage]) -> AIMessage:
    """What a participant says: it looks something up, then it reports."""
    if messages[-1].type == "tool" and messages[-1].name == "look_up":
        return AIMessage(REPORT)
    return call("look_up", what="facts")
