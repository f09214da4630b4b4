"""A supervisor that thinks in tool calls: a graph of its model, its tools and its hooks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, cast

from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    SystemMessage,
    ToolMessage,
    convert_to_messages,
)
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.managed import IsLastStep, RemainingSteps
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, Send
from typing_extensions import TypedDict

from asterism.core.continuation import Graph
from asterism.core.model_input import prepare_messages, without_reasoning
from asterism.core.sync_async import Call, Steps, StepsNode, sync_async_pair
from asterism.core.values import as_dict, as_list

AGENT, TOOLS, BEFORE, AFTER = "agent", "tools", "pre_model_hook", "post_model_hook"

HandoffPrompt = str | SystemMessage | Callable[..., Any] | Runnable[Any, Any]
"""Words for the supervisor, or what makes its whole prompt of its state."""


class Handoff(TypedDict):
    """A tool's command to the workflow around its supervisor: plain values and messages."""

    call: str
    """The tool call that it answers; empty where it has no result."""
    goto: list[tuple[str, dict[str, Any] | None]]
    """The agents that work next, or `__end__`; each with a state of its own, or None."""
    messages: list[BaseMessage]
    """What is new in the history."""
    update: dict[str, Any]
    """What becomes of the rest of the workflow's state."""


class ThinkingState(TypedDict):
    """What a supervisor has in mind while it decides."""

    messages: Annotated[list[AnyMessage], add_messages]
    llm_input_messages: list[AnyMessage]
    """What the model is sent rather than `messages`, where a hook says so."""
    handoffs: list[Handoff]
    remaining_steps: RemainingSteps
    is_last_step: IsLastStep


@dataclass(frozen=True, kw_only=True)
class HandoffAgentConfig:
    """What a supervisor's graph is made of."""

    name: str
    model: Runnable[Any, AIMessage]
    """Its model, with the tools bound."""
    tools: ToolNode
    prompt: HandoffPrompt | None = None
    before: Any = None
    """A node before each call of the model."""
    after: Any = None
    """A node after each."""


def create_handoff_agent(made_of: HandoffAgentConfig, schema: type[Any] = ThinkingState) -> Graph:
    """Create the graph of a supervisor that hands over by tool calls.

    It ends when the model calls no tool, or when tools have sent commands to the parent graph;
    these stand in `handoffs`, all of one message.

    Args:
        made_of: What it is made of.
        schema: Its state.
    """
    graph: StateGraph[Any, Any, Any, Any] = StateGraph(schema)
    first, last = (BEFORE if made_of.before else AGENT), (AFTER if made_of.after else AGENT)
    graph.add_node(AGENT, _model_node(made_of))
    graph.add_node(TOOLS, _tools_node(made_of.tools))
    graph.add_edge(START, first)
    if made_of.before:
        graph.add_node(BEFORE, made_of.before)
        graph.add_edge(BEFORE, AGENT)
    if made_of.after:
        graph.add_node(AFTER, made_of.after)
        graph.add_edge(AGENT, AFTER)

    def after_model(state: Mapping[str, Any]) -> str:
        if open_calls(state["messages"]):
            return TOOLS
        return first if isinstance(state["messages"][-1], ToolMessage) else END

    def after_tools(state: Mapping[str, Any]) -> str:
        done = state.get("handoffs") or _returns_directly(state["messages"], made_of.tools)
        return END if done else first

    graph.add_conditional_edges(last, after_model, [TOOLS, first, END])
    graph.add_conditional_edges(TOOLS, after_tools, [first, END])
    return cast(Graph, graph.compile(name=made_of.name))


def open_calls(messages: Sequence[BaseMessage]) -> list[str]:
    """Return the ids of the latest tool calls that have no result."""
    done = {message.tool_call_id for message in messages if isinstance(message, ToolMessage)}
    latest = next((m for m in reversed(messages) if isinstance(m, AIMessage)), None)
    calls = latest.tool_calls if latest is not None else []
    return [call["id"] or "" for call in calls if call["id"] not in done]


def _model_node(made_of: HandoffAgentConfig) -> StepsNode:
    prompt, model = made_of.prompt, made_of.model
    rules = [SystemMessage(prompt)] if isinstance(prompt, str) else [prompt]

    def ask(state: Any, config: RunnableConfig) -> Steps[dict[str, Any]]:
        messages = state.get("llm_input_messages") or state["messages"]
        sent: Any = messages
        if isinstance(prompt, str | SystemMessage):
            sent = [*rules, *messages]
        elif prompt is not None:
            sent = yield Call(*sync_async_pair(prompt), ({**state, "messages": messages},))
        if isinstance(sent, list):
            spoken = without_reasoning(cast(list[BaseMessage], sent), made_of.name)
            sent = prepare_messages(spoken)
        said: AIMessage = yield Call(model.invoke, model.ainvoke, (sent, config))
        said.name = made_of.name
        return {"messages": [said], "llm_input_messages": [], "handoffs": []}

    return StepsNode(ask, name=AGENT)


def _tools_node(tools: ToolNode) -> StepsNode:
    """Run the tools of one message together, so that each of their commands counts."""

    def call(state: Any, config: RunnableConfig) -> Steps[list[Any]]:
        outcome = yield Call(tools.invoke, tools.ainvoke, (state, config))
        messages: list[BaseMessage] = []
        handoffs: list[Handoff] = []
        own: list[Any] = []
        for part in as_list(outcome):
            if not isinstance(part, Command):
                messages += as_dict(part).get("messages") or []
            elif part.graph == Command.PARENT:
                handoffs.append(_handoff(cast(Any, part), state))
            else:
                own.append(part)
        update: Command[Any] = Command(update={"messages": messages, "handoffs": handoffs})
        return [update, *own]

    return StepsNode(call, name=TOOLS)


def _handoff(command: Command[Any], state: Mapping[str, Any]) -> Handoff:
    goto: Any = command.goto
    targets: list[Any] = [goto] if isinstance(goto, str | Send) else list(goto)
    update = dict(cast(Mapping[str, Any], command.update or {}))
    messages = convert_to_messages(update.pop("messages", ()))
    known = {message.id for message in state["messages"]}
    messages = [message for message in messages if message.id is None or message.id not in known]
    answered = [m.tool_call_id for m in messages if isinstance(m, ToolMessage)]
    calls = [call for call in answered if call in open_calls(state["messages"])]
    return Handoff(
        call=calls[-1] if calls else "",
        goto=[(t.node, dict(t.arg)) if isinstance(t, Send) else (str(t), None) for t in targets],
        messages=messages,
        update=update,
    )


def _returns_directly(messages: Sequence[BaseMessage], tools: ToolNode) -> bool:
    """Whether one of the tools that have just run gives its result to the user as it is."""
    for message in reversed(messages):
        if not isinstance(message, ToolMessage):
            return False
        tool = tools.tools_by_name.get(message.name or "")
        if tool is not None and tool.return_direct:
            return True
    return False
