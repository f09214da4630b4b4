"""The tools by which a supervisor hands over, or hands an answer on."""

import re
import uuid
from collections.abc import Sequence
from typing import Annotated, Any, cast

from langchain_core.messages import AIMessage, ToolCall, ToolMessage
from langchain_core.tools import BaseTool, InjectedToolCallId, StructuredTool
from langgraph.graph import END
from langgraph.prebuilt import InjectedState
from langgraph.types import Command

METADATA_KEY_HANDOFF_DESTINATION = "__handoff_destination"
"""The key in a tool's metadata that names the agent whom it hands over to."""
METADATA_KEY_IS_HANDOFF_BACK = "__is_handoff_back"
"""The key in a message's `response_metadata` that says that it only hands back."""


def tool_part(name: str) -> str:
    """Write the name of an agent as it stands in the name of a tool."""
    return re.sub(r"\s+", "_", name.strip()).lower()


def create_handoff_tool(
    *,
    agent_name: str,
    name: str | None = None,
    description: str | None = None,
    add_handoff_messages: bool = True,
) -> BaseTool:
    """Create a tool that hands over to an agent.

    Args:
        agent_name: The agent.
        name: The name of the tool. None: `transfer_to_<agent_name>`.
        description: What the model is told of it.
        add_handoff_messages: Whether the call and its result stand in the history.
    """
    name = name or f"transfer_to_{tool_part(agent_name)}"

    def hand_over(tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
        done = ToolMessage(
            f"Successfully transferred to {agent_name}",
            name=name,
            tool_call_id=tool_call_id,
            response_metadata={METADATA_KEY_HANDOFF_DESTINATION: agent_name},
        )
        update = {"messages": [done] if add_handoff_messages else []}
        return Command(goto=agent_name, graph=Command.PARENT, update=update)

    return StructuredTool.from_function(
        hand_over,
        name=name,
        description=description or f"Ask agent '{agent_name}' for help",
        metadata={METADATA_KEY_HANDOFF_DESTINATION: agent_name},
    )


def create_forward_message_tool(supervisor_name: str = "supervisor") -> BaseTool:
    """Create a tool that gives the latest message of an agent to the user as it is.

    Args:
        supervisor_name: The name that the message gets.
    """

    def forward_message(
        from_agent: str, state: Annotated[dict[str, Any], InjectedState]
    ) -> str | Command[Any]:
        named = [m for m in state["messages"] if isinstance(m, AIMessage) and m.name]
        told = [m for m in named if not m.response_metadata.get(METADATA_KEY_IS_HANDOFF_BACK)]
        found = [m for m in told if str(m.name).lower() == from_agent.lower()]
        if not found:
            names = ", ".join(sorted({str(m.name) for m in told})) or "nobody"
            return f"There is no message of {from_agent!r}; there are messages of {names}."
        answer = AIMessage(found[-1].content, name=supervisor_name, id=str(uuid.uuid4()))
        return Command(goto=END, graph=Command.PARENT, update={"messages": [answer]})

    return StructuredTool.from_function(
        forward_message,
        name="forward_message",
        description="Give the latest message of an agent to the user as it is. It is neither "
        "summarised nor misread, and it takes no further words.",
    )


def create_handoff_back_messages(
    agent_name: str, supervisor_name: str, *, call: str | None = None
) -> tuple[AIMessage, ToolMessage]:
    """Create the two messages that tell that an agent is done.

    Args:
        agent_name: The agent.
        supervisor_name: The supervisor.
        call: The id of the tool call. None: a new one.
    """
    call = call or str(uuid.uuid4())
    tool = f"transfer_back_to_{tool_part(supervisor_name)}"
    facts = {METADATA_KEY_IS_HANDOFF_BACK: True}
    asks = AIMessage(
        f"Transferring back to {supervisor_name}",
        tool_calls=[ToolCall(name=tool, args={}, id=call)],
        name=agent_name,
        id=f"{call}-asks",
        response_metadata=facts,
    )
    done = ToolMessage(
        f"Successfully transferred back to {supervisor_name}",
        name=tool,
        tool_call_id=call,
        id=f"{call}-done",
        response_metadata=facts,
    )
    return asks, done


def destinations(tools: Sequence[Any]) -> list[str]:
    """Return the agents that tools say they hand over to."""
    found = (tool.metadata or {} for tool in tools if isinstance(tool, BaseTool))
    names = (metadata.get(METADATA_KEY_HANDOFF_DESTINATION) for metadata in found)
    return [cast(str, name) for name in names if name]
