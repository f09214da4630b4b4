"""Teams as users of langgraph-supervisor write them."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig

from asterism.core.messages import history_fault
from asterism.core.run_types import WorkflowInput
from asterism.testing import ScriptedChatModel, ScriptedReply

TEXT = "What is the combined headcount?"
REQUEST: WorkflowInput = {"messages": [("user", TEXT)]}
THREAD: RunnableConfig = {"configurable": {"thread_id": "headcount"}}


def agent(name: str, *script: Any, tools: Sequence[Any] = ()) -> Any:
    """An agent that gives the replies of its script."""
    return create_agent(ScriptedChatModel(script=script), list(tools), name=name)


def hand_over(*names: str, text: str = "", **args: Any) -> ScriptedReply:
    """A message of a supervisor that hands over to agents."""
    return ScriptedReply(text=text, tool_calls=[(f"transfer_to_{name}", args) for name in names])


def told(result: Mapping[str, Any]) -> list[str]:
    """The history of a result, a line each, checked to be one that models accept."""
    messages: list[BaseMessage] = result["messages"]
    assert history_fault(messages) is None
    return [line(message) for message in messages]


def line(message: BaseMessage) -> str:
    """A message as one line: who, what, which tools."""
    who = message.name or message.type
    if isinstance(message, ToolMessage):
        return f"<{who}> {message.text}"
    calls = [call["name"] for call in message.tool_calls] if isinstance(message, AIMessage) else []
    return " ".join(filter(None, [f"{who}:", message.text, *(f"+{name}" for name in calls)]))


def there(name: str) -> list[str]:
    """The lines of a hand-over."""
    return [f"supervisor: +transfer_to_{name}", f"<transfer_to_{name}> {DONE} to {name}"]


def back(name: str, supervisor: str = "supervisor") -> list[str]:
    """The lines of handing back."""
    tool = f"transfer_back_to_{supervisor}"
    return [
        f"{name}: Transferring back to {supervisor} +{tool}",
        f"<{tool}> {DONE} back to {supervisor}",
    ]


DONE = "Successfully transferred"
