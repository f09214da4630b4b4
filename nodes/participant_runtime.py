"""Participants as their workflow runs them: the graph, its grant, its output, its limits.

Open it for how a function, a model, an agent or a graph becomes a graph with a history of its
own, and what of the workflow's state a participant with a grant sees.
Tests: tests/nodes/test_participant_runtime.py, tests/nodes/test_run_outputs.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, NotRequired, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    SystemMessage,
    messages_from_dict,
)
from langchain_core.runnables import RunnableConfig
from langgraph.channels import BinaryOperatorAggregate
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.pregel import Pregel
from langgraph.pregel.remote import RemoteGraph
from langgraph.types import GraphOutput
from typing_extensions import TypedDict

from asterism.core.agent_spec import ModelLike, Personality, resolve_model
from asterism.core.continuation import Graph, is_graph, needs_async
from asterism.core.decision import RunPlan, VisitNext, load_decision
from asterism.core.messages import fold_history
from asterism.core.model_input import prepare_messages, without_reasoning
from asterism.core.state import SNAPSHOT_FREQUENCY, HistoryChannel, Report
from asterism.core.sync_async import Call, NodeSteps, Steps, StepsNode
from asterism.limits.budgets import Budget
from asterism.limits.failure_policies import Policy, merge_policies
from asterism.nodes.chains import ways_to_ask
from asterism.nodes.engine_keys import chosen_limit, has_graph_inside
from asterism.nodes.middleware import (
    context_middleware,
    end_middleware,
    prepare_tool,
    prompt_middleware,
    short_results,
    tool_errors_middleware,
    with_tools_inside,
)
from asterism.nodes.participant_spec import (
    MAX_STEPS,
    GraphSource,
    MediaRule,
    Participant,
    approval_middleware,
    context_of,
    max_steps_of,
    public_description,
    service_of,
)
from asterism.nodes.report import as_messages, report_message, with_unique_ids
from asterism.nodes.run_context import workflow_path
from asterism.nodes.steering import steered_nodes
from asterism.prompts import render

if TYPE_CHECKING:
    from asterism.limits.rate_limits import ResourceManager
    from asterism.memories.context_policies import ContextManager
    from asterism.memories.long_term import LongTermMemory
    from asterism.nodes.compaction import Compactor

HistoryWriter = Callable[[Report, Sequence[BaseMessage]], Sequence[BaseMessage]]
"""A function that makes messages of the workflow's history from a report and a visit's messages."""


@dataclass(frozen=True, kw_only=True)
class Grant:
    """Access of a participant to the whole conversation, instead of a request of its own."""

    keys: tuple[str, ...] = ()
    """Further keys of the workflow's state that it is given, and may change."""
    shows: HistoryWriter
    """The writer of its visits in the workflow's history."""
    speaker: str = ""
    """The name of its own messages in that history."""

    def state_input(self, name: str, handoff: str, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return what it is sent, given the workflow's state.

        Args:
            name: Under which the decision may have inputs: a task, or the participant.
            handoff: The visit.
            state: The state of the workflow.
        """
        decision = load_decision(state.get("decision"))
        given = decision.inputs if isinstance(decision, VisitNext | RunPlan) else None
        inputs = (given or {}).get(name) or {}
        found = {key: state[key] for key in self.keys if key in state}
        own = inputs.get("messages")
        messages = messages_from_dict(own) if own else state["messages"]
        messages = without_reasoning(messages, self.speaker)
        for place, message in enumerate(messages):
            message.id = message.id or f"{handoff}-{place}"
        return {**found, **inputs, "messages": messages}

    def state_update(
        self, report: Report, turn: Mapping[str, Any], given: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return what a visit leaves in the workflow's state besides its report.

        Args:
            report: The report.
            turn: The state of the turn that it is a report of: `messages` are the new ones. Empty
                where none came to its end.
            given: What it was sent; a key that it left alone is not written.
        """
        whole = report["status"] == "ok" and turn
        changed = [k for k in self.keys if whole and k in turn and turn[k] != given.get(k)]
        kept = {key: turn[key] for key in changed}
        messages = turn["messages"] if whole else [report_message(report)]
        return {**kept, "messages": list(self.shows(report, messages))}


class ParticipantState(TypedDict):
    """The state of a participant without a graph of its own."""

    messages: Annotated[
        list[AnyMessage], HistoryChannel(fold_history, snapshot_frequency=SNAPSHOT_FREQUENCY)
    ]


class BoundedState(ParticipantState):
    """The state of a participant with a context policy."""

    compaction: NotRequired[dict[str, Any] | None]
    """The replacement for the beginning of its history."""


def participant_graph(
    name: str, thing: object, default_model: ModelLike | None, max_steps: int | None = None
) -> Graph:
    """Make the graph that runs a participant: it keeps its history on the workflow's thread.

    Args:
        name: The participant's id.
        thing: What `fault_of` finds no fault with.
        default_model: The model of a participant that has none.
        max_steps: How many model calls an agent may make in a visit. None: any number.
    """
    if isinstance(thing, Participant):
        if thing.runs is None:
            return _model_graph(name, thing, default_model, max_steps)
        context = context_of(thing)
        if context is None or is_graph(thing.runs):
            return participant_graph(name, thing.runs, default_model, max_steps)
        model = None if default_model is None else resolve_model(default_model)
        return _history_graph(name, ways_to_ask(thing.runs), _create_compactor(context, model))
    if is_graph(thing):
        return _with_checkpointed_history(thing)
    if isinstance(thing, GraphSource):
        return thing.create_graph(name)
    if isinstance(thing, RemoteGraph):
        from asterism.nodes.remote.langgraph_server import create_remote_graph

        return create_remote_graph(name, thing)
    return _history_graph(name, ways_to_ask(thing))


def _with_checkpointed_history(graph: Graph) -> Graph:
    """Give a graph a history of its own, stored as what is new in each checkpoint."""
    given = cast(dict[str, Any], graph.channels)
    channels: dict[str, Any] = {
        key: HistoryChannel(fold_history, list[AnyMessage], snapshot_frequency=SNAPSHOT_FREQUENCY)
        if _adds_messages(channel)
        else channel
        for key, channel in given.items()
    }
    for key, channel in channels.items():
        channel.key = key
    config = {**(graph.config or {})}
    if chosen_limit(graph.config) is None:
        config.pop("recursion_limit", None)
    nodes = steered_nodes(graph)
    return graph.copy(
        {"checkpointer": True, "channels": channels, "config": config, "nodes": nodes}
    )


def _adds_messages(channel: Any) -> bool:
    return isinstance(channel, BinaryOperatorAggregate) and channel.operator is add_messages


def _model_graph(
    name: str, spec: Participant, default_model: ModelLike | None, max_steps: int | None
) -> Graph:
    model = resolve_model(cast(ModelLike, spec.model if spec.model is not None else default_model))
    second = None if spec.fallback_model is None else resolve_model(spec.fallback_model)
    context = context_of(spec)
    text = _rules(name, spec)
    if spec.tools or spec.middleware or spec.response_format is not None:
        from langchain import agents

        create: Callable[..., Graph] = cast(Any, agents).create_agent
        model, second = with_tools_inside(model), second and with_tools_inside(second)
        middleware = [
            *spec.middleware,
            tool_errors_middleware(),
            *_middleware(second, context, max_steps, spec.approve),
            *short_results(spec.tools, spec.memory),
            prompt_middleware(model),
        ]
        return _with_checkpointed_history(
            create(
                model,
                [prepare_tool(tool) for tool in spec.tools],
                system_prompt=text,
                name=name,
                middleware=middleware,
                response_format=spec.response_format,
            )
        )
    compactor = _create_compactor(context, model)
    if second is not None:
        model = model.with_fallbacks([second])
    rules = [SystemMessage(text)]

    def answer(messages: list[AnyMessage]) -> AIMessage:
        return model.invoke(prepare_messages([*rules, *messages]))

    async def aanswer(messages: list[AnyMessage]) -> AIMessage:
        return await model.ainvoke(prepare_messages([*rules, *messages]))

    return _history_graph(name, (answer, aanswer), compactor, rules)


def _rules(name: str, spec: Participant) -> str:
    """Write the system prompt: what it is told, or else who it is, and what it is like."""
    rules, who = spec.prompt, cast(Personality | None, spec.personality)
    if not rules or not rules.strip():
        rules = render("participant", name=name, description=spec.description or "").strip()
    if who is None:
        return rules
    style = who.style or "as it fits"
    return render("personality", rules=rules, traits=" ".join(who.sentences()), style=style).strip()


def _create_compactor(context: "ContextManager | None", model: Any) -> "Compactor | None":
    if context is None:
        return None
    from asterism.nodes.compaction import Compactor

    return Compactor(context, model)


def _middleware(
    second: Any,
    context: "ContextManager | None",
    max_steps: int | None,
    approve: Sequence[str] | Mapping[str, Any],
) -> list[Any]:
    """Return what sees to a long history, to an end, to approvals, and to a second model."""
    from langchain.agents import middleware

    found: list[Any] = []
    if context is not None:
        found.append(context_middleware(context))
    found.append(end_middleware(max_steps))
    if approve:
        found.append(approval_middleware(approve))
    if second is not None:
        found.append(middleware.ModelFallbackMiddleware(second))
    return found


RESPOND = "respond"
"""The node of a participant without a graph of its own."""


def _history_graph(
    name: str,
    ask: tuple[Callable[..., Any], Callable[..., Any]],
    compactor: "Compactor | None" = None,
    rules: Sequence[AnyMessage] = (),
) -> Graph:
    """Make a graph of one node that answers from the local history, or from what fits of it."""

    def respond(state: Any, config: RunnableConfig) -> Steps[dict[str, Any]]:
        before: list[AnyMessage] = state["messages"].copy()
        messages = before
        update: dict[str, Any] = {}
        if compactor is not None:
            messages, compaction = yield from compactor.fit(
                messages,
                state.get("compaction"),
                config,
                path=workflow_path(config),
                write=lambda shown: [*rules, *shown],
            )
            if compaction is not None:
                update["compaction"] = compaction
        reply = yield Call(*ask, (messages,))
        return {"messages": with_unique_ids(as_messages(reply), before), **update}

    builder = StateGraph(ParticipantState if compactor is None else BoundedState)
    builder.add_node(RESPOND, StepsNode(respond, name=RESPOND))
    builder.add_edge(START, RESPOND)
    builder.add_edge(RESPOND, END)
    return cast(Graph, builder.compile(checkpointer=True, name=name))


INTERRUPT = "__interrupt__"


def invoke_options(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call of `invoke` by which the engine has the least to collect.

    LangGraph collects the updates of all steps to find the questions in them. In the second
    version of its stream, questions come with the state.
    """
    return {**asked, "version": "v2"} if _wants_state(asked) else dict(asked)


def collect_output(found: Any, asked: Mapping[str, Any]) -> Any:
    """Return what came of `lean(asked)` as `asked` wants it."""
    if not _wants_state(asked) or not isinstance(found, GraphOutput):
        return found
    values, questions = cast(tuple[Any, Sequence[Any]], (found.value, found.interrupts))
    state: dict[str, Any] = values or {}
    return {**state, INTERRUPT: [*questions]} if questions else values


def _wants_state(asked: Mapping[str, Any]) -> bool:
    return not asked.keys() & {"version", "stream_mode", "subgraphs", "output_keys"}


def supports_v2_stream(graph: Graph) -> bool:
    """Whether `lean` may be asked of a graph: it is LangGraph's own, and its state plain values."""
    own = all(getattr(type(graph), way) is getattr(Pregel, way) for way in ("invoke", "ainvoke"))
    return own and getattr(graph, "_output_mapper", None) is None


def output_keys(graph: Graph) -> tuple[str, ...]:
    """Return the keys of a graph's state that its runs return."""
    keys: str | Sequence[str] = graph.output_channels
    return (keys,) if isinstance(keys, str) else tuple(keys)


STRUCTURED = "structured_response"
"""The key of an agent's state with its structured answer."""


@dataclass(frozen=True, kw_only=True)
class ParticipantRuntime:
    """A participant as its workflow runs it."""

    name: str
    """Its id."""
    graph: Graph
    """Its graph, compiled with `checkpointer=True` and with a `messages` key."""
    description: str | None = None
    """The description for traces; None where it is part of a prompt."""
    policies: Sequence[Policy] = ()
    """Its failure policies, first = outermost."""
    service: str = ""
    """The key of its circuit breaker, where that names no service itself."""
    undo: Callable[..., Any] | None = None
    """Takes back what a report tells of."""
    budget: Budget | None = None
    """The budget of its visits for one request together."""
    task_budget: Budget | None = None
    """The budget of this task."""
    forgets: bool = False
    """Whether each visit begins with an empty history."""
    recalls: "LongTermMemory | None" = None
    """The memory that is searched for each visit."""
    grant: Grant | None = None
    """Its access to the workflow's state. None: it gets its request alone."""
    respond: NodeSteps | None = None
    """The one step of a participant without a graph of its own."""
    stores_steps: bool = True
    """Whether each step of its turns is stored, or a turn once, at its end."""
    max_steps: int | None = None
    """The most model calls of a visit. None: unlimited here."""
    counts_calls: bool = False
    """Whether its graph counts them itself."""
    media: MediaRule = field(default_factory=MediaRule)
    """Which pictures, recordings and files it is sent."""
    is_workflow: bool = field(init=False)
    collects_leanly: bool = field(init=False)
    needs_async: bool = field(init=False)
    """Whether its graph cannot be run in sync, and is given an event loop of its own."""
    has_messages: bool = field(init=False)
    """Whether its graph's output has messages; else its other output is the answer."""
    answer_keys: tuple[str, ...] = field(init=False)
    """The keys of its state that are an answer besides messages."""

    def __post_init__(self) -> None:
        """Note what its graph is."""
        object.__setattr__(self, "is_workflow", "reports" in self.graph.channels)
        object.__setattr__(self, "collects_leanly", supports_v2_stream(self.graph))
        object.__setattr__(self, "needs_async", needs_async(self.graph))
        outputs = output_keys(self.graph)
        object.__setattr__(self, "has_messages", "messages" in outputs)
        structured = () if self.is_workflow or STRUCTURED not in outputs else (STRUCTURED,)
        keys = structured if "messages" in outputs else outputs
        object.__setattr__(self, "answer_keys", keys)

    def step_limit(self, config: RunnableConfig) -> int | None:
        """Return how many engine steps `max_steps` is, or None where somebody chose a limit.

        From one model call to the next, an agent takes at most one step in each of its nodes: its
        model, its tools, the hooks of its middleware. The engine takes one step more to see that
        nothing is left to do; it fits where a node `tools` has no part in the last round.

        Args:
            config: That of the node that makes the visit.
        """
        chosen = not self.counts_calls and (chosen_limit(self.graph.config) or chosen_limit(config))
        if self.max_steps is None or chosen:
            return None
        nodes = [name for name in self.graph.nodes if name != START]
        return self.max_steps * max(2, len(nodes)) + ("tools" not in nodes)


def create_participant_runtime(
    name: str,
    thing: object,
    default_model: ModelLike | None,
    policies: Sequence[Policy] = (),
    task_budget: Budget | None = None,
    recalls: "LongTermMemory | None" = None,
    max_steps: int = MAX_STEPS,
    resource_manager: "ResourceManager | None" = None,
) -> ParticipantRuntime:
    """Make a member of a team of anything that may be a participant.

    Args:
        name: The participant's id.
        thing: What `fault_of` finds no fault with.
        default_model: The model of a participant that has none.
        policies: Those of the workflow.
        task_budget: What each of its tasks may take.
        recalls: What is recalled for its visits, where it says nothing itself.
        max_steps: How many model calls a visit may make, where it says nothing itself.
        resource_manager: Holds back the calls of its own model. The default model is held back
            already.
    """
    if resource_manager is not None:
        thing = with_capacity(thing, resource_manager)
    spec = thing if isinstance(thing, Participant) else Participant()
    steps = max_steps_of(thing, max_steps)
    graph = participant_graph(name, thing, default_model, steps)
    return ParticipantRuntime(
        name=name,
        graph=graph,
        respond=_single_step(graph),
        stores_steps=_has_steps(graph, spec.runs if thing is spec else thing),
        max_steps=steps,
        counts_calls=bool(spec.tools),
        description=public_description(thing),
        policies=merge_policies(policies, spec.policies),
        service=service_of(thing, default_model) or name,
        undo=spec.undo,
        budget=spec.budget,
        task_budget=task_budget,
        forgets=spec.memory is not None and not spec.memory.enabled,
        recalls=spec.recalls or recalls,
        media=MediaRule.of(thing, default_model),
    )


def with_capacity(thing: Any, manager: "ResourceManager") -> Any:
    """Return a participant whose own chat models wait for capacity; what runs itself stays."""
    if isinstance(thing, BaseChatModel):
        return manager.wrap(thing)
    if not isinstance(thing, Participant):
        return thing
    models: dict[str, Any] = {
        key: manager.wrap(resolve_model(model))
        for key in ("model", "fallback_model")
        if (model := getattr(thing, key)) is not None
    }
    runs = None if thing.runs is None else with_capacity(thing.runs, manager)
    return replace(thing, runs=runs, **models)


def _single_step(graph: Graph) -> NodeSteps | None:
    """Return the step of a graph that `_history_graph` has made, or None."""
    node = getattr(graph.nodes.get(RESPOND), "bound", None)
    return node.logic if isinstance(node, StepsNode) else None


def _has_steps(graph: Graph, runs: object) -> bool:
    """Whether a turn has steps that a crash must not repeat, so that each of them is stored.

    It has none where a single node does everything: then a turn is stored once, at its end. A
    function or a chain with a graph inside has those of that graph.
    """
    nodes = [name for name in graph.nodes if name != START]
    below: list[Any] = list(cast(Any, graph).get_subgraphs())
    return len(nodes) > 1 or bool(below) or has_graph_inside(runs)
