"""The decider that hands over by tool calls: the supervisor's graph, and its calls as decisions.

Open it for supervisors of `asterism.compat.langgraph_supervisor`.
Tests: tests/asterism/compat/test_langgraph_supervisor.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, cast

from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
    convert_to_messages,
    messages_to_dict,
)
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.config import get_config
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES, add_messages
from langgraph.managed import IsLastStep, RemainingSteps
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, Send
from typing_extensions import TypedDict

from asterism.core.continuation import Graph
from asterism.core.model_input import prepare_messages, without_reasoning
from asterism.core.plan import SubAgentTask
from asterism.core.supervisor_decision import AnswerDecision, SupervisorDecision
from asterism.core.sync_async import Call, Steps, StepsNode, arun_steps, run_steps, sync_async_pair
from asterism.core.values import as_dict, as_list, plain_facts
from asterism.nodes.decider import SelfRecordedDecision
from asterism.nodes.engine_keys import has_saver, without_checkpointer
from asterism.nodes.request import Structurer
from asterism.nodes.view import SUPERVISOR_RUN_CONFIG, SupervisorView, message_facts

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
    update = {**as_dict(command.update)}
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


_COMPLAINT = "complaint-"
"""How the ids of messages begin that the supervisor is sent and the history does not get."""


@dataclass(frozen=True, kw_only=True)
class _Target:
    """An agent that is handed over to."""

    agent: str
    call: ToolCall | None
    inputs: Mapping[str, Any]


class HandoffDecider:
    """Lets a supervisor decide by tool calls, and keeps them in the history.

    All hand-overs of one message count: several agents work at once.

    Args:
        agent: The supervisor's graph, of `create_handoff_agent`.
        agents: The names that tools hand over to, each with the id of the participant.
        keys: Further keys of the workflow's state that it reads and writes.
        may_wait: Whether its tools or hooks may wait for a person; then it is stored.
        structure: Fills in `structured_response` at the end.
    """

    def __init__(
        self,
        agent: Graph,
        agents: Mapping[str, str],
        *,
        keys: Sequence[str] = (),
        may_wait: bool = True,
        structure: Structurer | None = None,
    ) -> None:
        self.graphs = (agent,)
        """Its graph, so that the engine sees into it."""
        self._agent: Any = agent
        self._agents = agents
        self._keys = tuple(keys)
        self._may_wait = may_wait
        self._structure = structure

    def decide(self, view: SupervisorView) -> SelfRecordedDecision:
        """Let the supervisor think until it hands over or answers."""
        return run_steps(self._decide(view))

    async def adecide(self, view: SupervisorView) -> SelfRecordedDecision:
        """Let the supervisor think until it hands over or answers."""
        return await arun_steps(self._decide(view))

    def _decide(self, view: SupervisorView) -> Steps[SelfRecordedDecision]:
        known = [message for message in view.messages if "withdrawn" not in message_facts(message)]
        complaints = [
            HumanMessage(f"This cannot be followed: {fault}", id=f"{_COMPLAINT}{place}")
            for place, (_, fault) in enumerate(view.complaints)
        ]
        given = {key: view.state[key] for key in self._keys if key in view.state}
        given["messages"] = [*known, *complaints]
        ended: dict[str, Any] = yield self._call_graph(given)
        handoffs: list[Handoff] = ended.get("handoffs") or []
        thought: list[BaseMessage] = ended["messages"]
        messages = [m for m in thought if not (m.id or "").startswith(_COMPLAINT)]
        new = whole_round(messages, handoffs)
        update = {k: ended[k] for k in self._keys if k in ended}
        for handoff in handoffs:
            update |= {k: v for k, v in handoff["update"].items() if k in self._keys}
        targets = [found for handoff in handoffs for found in self._targets(handoff, messages)]
        decision, inputs = _decision(targets)
        if not targets:
            decision = yield from self._answer(new, bool(handoffs))
        return SelfRecordedDecision(
            decision=decision,
            messages=_changes(view.messages, new),
            inputs=inputs,
            update={k: v for k, v in update.items() if v != view.state.get(k)},
        )

    def _call_graph(self, given: Mapping[str, Any]) -> Call:
        """Make the call of its graph. It is stored once, and only where it may wait for people."""
        config = SUPERVISOR_RUN_CONFIG
        kwargs: dict[str, Any] | None = None
        if not self._may_wait:
            config = {**SUPERVISOR_RUN_CONFIG, "configurable": without_checkpointer()}
        elif has_saver(get_config()):
            kwargs = {"durability": "exit"}
        return Call(self._agent.invoke, self._agent.ainvoke, (given, config), kwargs)

    def _answer(self, messages: list[BaseMessage], forwarded: bool) -> Steps[AnswerDecision]:
        text = messages[-1].text if messages else ""
        if self._structure is None or forwarded:
            return AnswerDecision(next_agent=None, answer=text)
        filled = yield from self._structure(messages)
        return AnswerDecision(next_agent=None, answer=text or filled.text, fields=filled.fields)

    def _targets(self, handoff: Handoff, messages: Sequence[BaseMessage]) -> list[_Target]:
        calls = _calls(messages)
        by_id = {call["id"]: call for call in calls}
        call = by_id.get(handoff["call"]) or (calls[0] if len(calls) == 1 else None)
        others = {k: v for k, v in handoff["update"].items() if not self._is_known(k)}
        found: list[_Target] = []
        for agent, own in handoff["goto"]:
            if agent == END:
                continue
            inputs = plain_facts(others)
            if own is not None:
                inputs |= self._own(own, messages)
            found.append(_Target(agent=self._agents.get(agent, agent), call=call, inputs=inputs))
        return found

    def _own(self, state: Mapping[str, Any], messages: Sequence[BaseMessage]) -> dict[str, Any]:
        """Return the state that a tool has made for an agent, where it is not the workflow's."""
        inputs = plain_facts({k: v for k, v in state.items() if not _is_engines(k)})
        sent = convert_to_messages(state.get("messages") or ())
        if sent and not (messages and sent[0].id == messages[0].id):
            inputs["messages"] = messages_to_dict(sent)
        return inputs

    def _is_known(self, key: str) -> bool:
        return key in self._keys or _is_engines(key)


def whole_round(messages: list[BaseMessage], handoffs: Sequence[Handoff]) -> list[BaseMessage]:
    """Return the history after a round, in which every tool call has its result.

    What a tool leaves out of the history is left out: a call without a result, and a message of
    nothing else.
    """
    known = {message.id for message in messages}
    sent = [
        *(message for handoff in handoffs for message in handoff["messages"]),
        *(
            m
            for handoff in handoffs
            for _, own in handoff["goto"]
            for m in _messages_to_continue(own, known)
        ),
    ]
    new = {message.id or f"new-{place}": message for place, message in enumerate(sent)}
    added = [message for message in new.values() if message.id is None or message.id not in known]
    added.sort(key=lambda message: not isinstance(message, ToolMessage))
    if not handoffs:
        return [*messages, *added]
    done = {m.tool_call_id for m in (*messages, *added) if isinstance(m, ToolMessage)}
    place = next(i for i in reversed(range(len(messages))) if isinstance(messages[i], AIMessage))
    latest = cast(AIMessage, messages[place])
    kept = [call for call in latest.tool_calls if call["id"] in done]
    shown = [_with_calls(latest, kept)] if kept else []
    return [*messages[:place], *shown, *messages[place + 1 :], *added]


def _messages_to_continue(
    own: Mapping[str, Any] | None, known: set[str | None]
) -> list[BaseMessage]:
    """Return the messages of an agent's own state, where it is the history and goes on with it."""
    sent = convert_to_messages((own or {}).get("messages") or ())
    return sent if sent and sent[0].id in known else []


def _with_calls(message: AIMessage, calls: list[ToolCall]) -> AIMessage:
    if len(calls) == len(message.tool_calls):
        return message
    ids = {call["id"] for call in calls}
    content = message.content
    if isinstance(content, list):
        content = [
            block
            for block in content
            if not isinstance(block, dict) or block.get("type") != "tool_use" or block["id"] in ids
        ]
    return message.model_copy(update={"tool_calls": calls, "content": content})


def _calls(messages: Sequence[BaseMessage]) -> list[ToolCall]:
    latest = next((m for m in reversed(messages) if isinstance(m, AIMessage)), None)
    return latest.tool_calls if latest else []


def _is_engines(key: str) -> bool:
    return key in ThinkingState.__annotations__


def _decision(
    targets: Sequence[_Target],
) -> tuple[SupervisorDecision, dict[str, Mapping[str, Any]]]:
    """Send one agent to work, or several at once."""
    if not targets:
        return SupervisorDecision(next_agent=None), {}
    if len(targets) == 1:
        only = targets[0]
        decision = SupervisorDecision(next_agent=only.agent, instruction=_words(only.call) or None)
        return decision, {only.agent: only.inputs} if only.inputs else {}
    tasks: dict[str, SubAgentTask] = {}
    inputs: dict[str, Mapping[str, Any]] = {}
    for target in targets:
        name, number = target.agent, 1
        while name in tasks:
            number += 1
            name = f"{target.agent}-{number}"
        words = _words(target.call) or "Do your part."
        tasks[name] = SubAgentTask(task_id=name, agent_id=target.agent, task_description=words)
        if target.inputs:
            inputs[name] = target.inputs
    return SupervisorDecision(next_agent=None, tasks=list(tasks.values())), inputs


def _words(call: ToolCall | None) -> str:
    """Tell what a hand-over says: the arguments of its call."""
    args = call["args"] if call else {}
    if len(args) == 1:
        return str(next(iter(args.values())))
    return "\n".join(f"{name}: {value}" for name, value in args.items())


def _changes(before: Sequence[BaseMessage], after: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return what turns one history into another."""
    old = {message.id: message for message in before if "withdrawn" not in message_facts(message)}
    if not old.keys() <= {message.id for message in after}:
        return [RemoveMessage(REMOVE_ALL_MESSAGES), *after]
    return [message for message in after if message.id is None or old.get(message.id) != message]
