"""`create_supervisor` with langgraph-supervisor's arguments, on the star."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.runnables import Runnable, RunnableBinding
from langchain_core.tools import BaseTool
from langgraph.cache.base import BaseCache
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.store.base import BaseStore
from pydantic import BaseModel

from asterism.compat.langgraph_supervisor.agent_name import AgentNameMode, with_agent_name
from asterism.compat.langgraph_supervisor.agents import (
    arguments_faults,
    create_agent_member,
    participant_id,
    state_keys,
)
from asterism.compat.langgraph_supervisor.handoff import (
    create_handoff_back_messages,
    create_handoff_tool,
    destinations,
    tool_part,
)
from asterism.core.agent_spec import ModelLike, resolve_model
from asterism.core.state import Report
from asterism.errors import WorkflowBuildError
from asterism.events import EventBus
from asterism.graphs.star import create_star, extend_state_schema
from asterism.graphs.workflow import Workflow
from asterism.graphs.workflow_config import WorkflowConfig
from asterism.limits.budgets import Budget
from asterism.limits.failure_policies import MODEL_RETRY, Policy
from asterism.nodes.decider import DecisionRules
from asterism.nodes.deciders.handoffs import (
    HandoffAgentConfig,
    HandoffDecider,
    HandoffPrompt,
    ThinkingState,
    create_handoff_agent,
)
from asterism.nodes.middleware import prepare_tool, tool_error_text
from asterism.nodes.participant_runtime import HistoryWriter
from asterism.nodes.participant_spec import describe
from asterism.nodes.request import create_structurer, forward_last_report
from asterism.nodes.team import Team

OutputMode = Literal["full_history", "last_message"]
"""How much of an agent's visit stands in the history."""

_ONE_CALL_ONLY = ("o3-mini", "o3", "o4-mini")
"""Models that refuse the option `parallel_tool_calls`."""


@dataclass(frozen=True, kw_only=True)
class SupervisorGraph:
    """A supervisor and its agents, to be compiled."""

    star: StateGraph[Any, Any, Any, Any]
    facts: WorkflowConfig

    def compile(
        self,
        checkpointer: BaseCheckpointSaver[Any] | bool | None = None,
        *,
        cache: BaseCache[Any] | None = None,
        store: BaseStore | None = None,
        interrupt_before: Sequence[str] | Literal["*"] | None = None,
        interrupt_after: Sequence[str] | Literal["*"] | None = None,
        debug: bool = False,
        name: str | None = None,
    ) -> Workflow:
        """Compile the workflow; the arguments are those of LangGraph's `StateGraph.compile`."""
        before, after = (
            given if given is None or given == "*" else list(given)
            for given in (interrupt_before, interrupt_after)
        )
        compiled = self.star.compile(
            checkpointer,
            cache=cache,
            store=store,
            interrupt_before=cast(Any, before),
            interrupt_after=cast(Any, after),
            debug=debug,
            name=name or self.facts.id,
        )
        return Workflow.of(compiled, self.facts)


def create_supervisor(
    agents: Sequence[Any],
    *,
    model: ModelLike,
    tools: Sequence[BaseTool | Callable[..., Any]] | ToolNode | None = None,
    prompt: HandoffPrompt | None = None,
    response_format: Any = None,
    pre_model_hook: Any = None,
    post_model_hook: Any = None,
    parallel_tool_calls: bool = False,
    state_schema: type[Any] | None = None,
    context_schema: type[Any] | None = None,
    output_mode: OutputMode = "last_message",
    add_handoff_messages: bool = True,
    handoff_tool_prefix: str | None = None,
    add_handoff_back_messages: bool | None = None,
    supervisor_name: str = "supervisor",
    include_agent_name: AgentNameMode | None = None,
    max_iterations: int = 30,
    max_parallel_tasks: int = 5,
    policies: Sequence[Policy] = (),
    budget: Budget | None = None,
    events: EventBus | None = None,
    **others: Any,
) -> SupervisorGraph:
    """Create a supervisor that hands over to agents by tool calls, as langgraph-supervisor's does.

    Args:
        agents: Compiled graphs, functional workflows or other Runnables, each with a `name`.
        model: A chat model of the supervisor.
        tools: Its own tools, besides those that hand over; or one of these for each agent.
        prompt: Words, a message, or a function or Runnable that makes the prompt of the state.
        response_format: The schema of `structured_response`, or a prompt and the schema.
        pre_model_hook: A node before each call of the model.
        post_model_hook: A node after each.
        parallel_tool_calls: Whether the model is told that it may call several tools at once.
            If it does, all of them count: the agents work at the same time.
        state_schema: A TypedDict of `messages` and further keys, which agents and tools share.
        context_schema: The schema of `context` when it is run.
        output_mode: Whether the last message of an agent stands in the history, or all.
        add_handoff_messages: Whether hand-overs stand in the history.
        handoff_tool_prefix: How the names of the tools begin. None: `transfer_to_`.
        add_handoff_back_messages: Whether handing back stands in the history. None: as
            `add_handoff_messages` says.
        supervisor_name: The name of the supervisor in the history.
        include_agent_name: `"inline"` writes the names of agents into texts that the model reads.
        max_iterations: How many hand-overs a request may take; then it ends with what there is.
        max_parallel_tasks: How many agents may work at once.
        policies: What happens when an agent fails.
        budget: What one run may take.
        events: A bus that is told what happens.
        **others: Nothing else is honoured; what is given is refused by name.

    Raises:
        WorkflowBuildError: Every fault that was found, each with the way out.
    """
    if "config_schema" in others and context_schema is None:
        context_schema = others.pop("config_schema")
    keys = state_keys(state_schema)
    own_tools = tools.tools_by_name.values() if isinstance(tools, ToolNode) else tools or ()
    faults = arguments_faults(
        agents=agents,
        supervisor_name=supervisor_name,
        tools=list(own_tools),
        state_schema=state_schema,
        output_mode=output_mode,
        include_agent_name=include_agent_name,
        limits={"max_iterations": max_iterations, "max_parallel_tasks": max_parallel_tasks},
        others=others,
    )
    if faults:
        raise WorkflowBuildError(supervisor_name, faults)
    names = {agent.name: participant_id(agent.name) for agent in agents}
    node = _tool_node(tools, list(names), handoff_tool_prefix, add_handoff_messages)
    if add_handoff_back_messages is None:
        add_handoff_back_messages = add_handoff_messages
    plain = resolve_model(model)
    thinking = HandoffAgentConfig(
        name=supervisor_name,
        model=_with_tools(plain, node, parallel_tool_calls, include_agent_name),
        tools=node,
        prompt=prompt,
        before=pre_model_hook,
        after=post_model_hook,
    )
    schema: Any = response_format
    rules: str | None = None
    if isinstance(response_format, tuple):
        rules, schema = cast(tuple[str, Any], response_format)
    decider = HandoffDecider(
        create_handoff_agent(thinking, extend_state_schema(ThinkingState, keys)),
        names,
        keys=list(keys),
        may_wait=bool(own_tools or pre_model_hook or post_model_hook),
        structure=None if schema is None else create_structurer(plain, schema, rules),
    )
    back = supervisor_name if add_handoff_back_messages else None
    members = {
        names[agent.name]: create_agent_member(
            agent, names[agent.name], keys, _history(agent.name, output_mode, back), policies
        )
        for agent in agents
    }
    team = Team({n: describe(a) or n for n, a in zip(members, agents, strict=True)}, members)
    star = create_star(
        team,
        decider=decider,
        rules=DecisionRules(max_iterations=max_iterations, max_repairs=2, retry=MODEL_RETRY),
        write=forward_last_report(),
        max_parallel_tasks=max_parallel_tasks,
        keys=keys,
        context_schema=context_schema,
    )
    is_model = isinstance(schema, type) and issubclass(schema, BaseModel)
    facts = WorkflowConfig(
        id=supervisor_name,
        description=None,
        team=team,
        response_format=cast(type[BaseModel], schema) if is_model else None,
        budget=budget,
        events=events,
        instructions=(prompt if isinstance(prompt, str) else str(getattr(prompt, "content", "")),),
    )
    return SupervisorGraph(star=star, facts=facts)


def _tool_node(
    tools: Any, agents: Sequence[str], prefix: str | None, add_messages: bool
) -> ToolNode:
    """Join the supervisor's own tools to those that hand over."""
    given = (
        tools
        if isinstance(tools, ToolNode)
        else ToolNode(
            [prepare_tool(tool) for tool in tools or ()], handle_tool_errors=tool_error_text
        )
    )
    own = list(given.tools_by_name.values())
    if destinations(own):
        return given
    made = [
        create_handoff_tool(
            agent_name=agent,
            name=None if prefix is None else f"{prefix}{tool_part(agent)}",
            add_handoff_messages=add_messages,
        )
        for agent in agents
    ]
    handle: Any = getattr(given, "_handle_tool_errors", True)  # there is no public way to it
    return ToolNode([*own, *made], name=given.name or "tools", handle_tool_errors=handle)


def _with_tools(
    model: Runnable[Any, Any], tools: ToolNode, parallel: bool, names: AgentNameMode | None
) -> Runnable[Any, Any]:
    """Bind the tools to the model, unless it has some."""
    bind: Any = getattr(model, "bind_tools", None)
    bound = isinstance(model, RunnableBinding) and "tools" in cast(Any, model).kwargs
    if bind is not None and not bound:
        options: dict[str, Any] = {}
        name = getattr(model, "model_name", None)
        if "parallel_tool_calls" in inspect.signature(bind).parameters and (
            name not in _ONE_CALL_ONLY
        ):
            options["parallel_tool_calls"] = parallel
        model = bind(list(tools.tools_by_name.values()), **options)
    return with_agent_name(model, names) if names else model


def _history(agent: str, mode: OutputMode, back: str | None) -> HistoryWriter:
    """Tell how a visit to an agent stands in the history."""

    def shows(report: Report, messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
        kept = list(messages)
        if mode == "last_message":
            kept = kept[-2:] if isinstance(kept[-1], ToolMessage) else kept[-1:]
        if back is not None:
            kept += create_handoff_back_messages(agent, back, call=f"back-{report['id']}")
        return kept

    return shows
