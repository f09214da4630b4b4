"""Everything that may be a participant, made into a graph that keeps local history."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, NotRequired, cast

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langgraph.channels import BinaryOperatorAggregate
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from asterism.agents import MemoryConfig
from asterism.budgets import Budget
from asterism.context import ContextManager, context_fault
from asterism.effects import Call, Steps, StepsNode, both_ways
from asterism.messages import fold_history
from asterism.models import ModelLike, resolve_model
from asterism.nodes.compacting import Compactor
from asterism.nodes.context import workflow_path
from asterism.nodes.middleware import context_middleware
from asterism.resilience import Policy
from asterism.runs import Graph, is_graph, is_runnable
from asterism.state import SNAPSHOT_FREQUENCY, HistoryChannel, Report


@dataclass(frozen=True, kw_only=True)
class Participant:
    """A participant made of a model, a prompt and tools, or any other one with a description."""

    runs: Any = None
    """A compiled graph, an agent, a Runnable, or a function of messages. None: the model."""
    description: str | None = None
    """What the supervisor is told about it. None: the docstring or the prompt's first line."""
    model: ModelLike | None = None
    """The chat model. None: the model of the workflow."""
    prompt: str | None = None
    """The system prompt of the model."""
    tools: Sequence[Any] = field(default=())
    """What the model may call: LangChain tools or functions."""
    fallback_model: ModelLike | None = None
    """The model of a call that failed on `model`, for that call only."""
    policies: Sequence[Policy] = field(default=())
    """What happens when it fails, first = outermost: `RetryPolicy`, `Timeout`,
    `CircuitBreaker`, `Compensation`. They take the place of the workflow's of their kind."""
    memory: MemoryConfig | None = None
    """What it remembers from visit to visit. None: everything."""
    context: ContextManager | None = None
    """What of a long history its model, or its function, is still sent. None: all of it."""
    budget: Budget | None = None
    """What its visits for one request may take together, with everything below it."""
    undo: Callable[[Report], Any] | None = None
    """Takes back what a report tells of, where a `Compensation` says `UndoAll`."""


class LocalState(TypedDict):
    """What a participant without a graph of its own remembers."""

    messages: Annotated[
        list[AnyMessage], HistoryChannel(fold_history, snapshot_frequency=SNAPSHOT_FREQUENCY)
    ]


class BoundedState(LocalState):
    """What it remembers where its prompts are kept short."""

    compaction: NotRequired[dict[str, Any] | None]
    """What stands for the beginning of its history."""


def fault_of(thing: object, default_model: ModelLike | None) -> str | None:
    """Say why `thing` cannot be a participant, or return None."""
    if isinstance(thing, Participant):
        if fault := _context_fault(thing, default_model):
            return fault
        if thing.runs is not None and (thing.tools or thing.prompt or thing.model is not None):
            return "has `runs` and also a model, prompt or tools; give one or the other"
        if thing.runs is None and thing.model is None and default_model is None:
            return "has no model, and the workflow has none either; give one of them a model"
        return None if thing.runs is None else fault_of(thing.runs, default_model)
    if is_graph(thing):
        return _graph_fault(thing)
    if is_runnable(thing) or (callable(thing) and not isinstance(thing, type)):
        return None
    return (
        f"is a {type(thing).__name__}, which cannot be a participant; allowed: a compiled graph, "
        "an agent, a Runnable, a chat model, a function of messages, or a Participant"
    )


def _context_fault(spec: Participant, default_model: ModelLike | None) -> str | None:
    if spec.context is None:
        return None
    if is_graph(spec.runs):
        return (
            "is a compiled graph, whose model calls are its own, so `context` has no hold on it; "
            "give its agent middleware=[context_middleware(...)], or a workflow its own `context`"
        )
    if spec.memory is not None and spec.memory.token_threshold is not None:
        return "has a `context` and also a `token_threshold` in its memory; give one or the other"
    model = spec.model if spec.model is not None else default_model
    fault = context_fault(spec.context, model)
    return fault and f"has a context that cannot be kept: {fault}"


def _graph_fault(graph: Graph) -> str | None:
    if graph.checkpointer not in (None, True):
        return (
            f"is compiled with checkpointer={graph.checkpointer!r}; compile it without one, "
            "then it shares the workflow's and keeps a history of its own"
        )
    if "messages" not in graph.channels:
        return (
            f"is a graph without a `messages` key; it has {', '.join(_keys(graph))}. "
            "Give its state `messages`, or wrap it in a function of messages"
        )
    return None


def _keys(graph: Graph) -> list[str]:
    return [key for key in graph.channels if not key.startswith(("__", "branch:", "join:"))]


def participant_graph(name: str, thing: object, default_model: ModelLike | None) -> Graph:
    """Make the graph that runs a participant: it keeps its history on the workflow's thread.

    Args:
        name: The participant's id.
        thing: What `fault_of` finds no fault with.
        default_model: The model of a participant that has none.
    """
    if isinstance(thing, Participant):
        if thing.runs is None:
            return _model_graph(name, thing, default_model)
        if thing.context is None or is_graph(thing.runs):
            return participant_graph(name, thing.runs, default_model)
        model = thing.model if thing.model is not None else default_model
        compactor = Compactor(thing.context, None if model is None else resolve_model(model))
        return _history_graph(name, both_ways(thing.runs), compactor)
    if is_graph(thing):
        return _with_memory(thing)
    return _history_graph(name, both_ways(thing))


def _with_memory(graph: Graph) -> Graph:
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
    return graph.copy({"checkpointer": True, "channels": channels})


def _adds_messages(channel: Any) -> bool:
    return isinstance(channel, BinaryOperatorAggregate) and channel.operator is add_messages


def _model_graph(name: str, spec: Participant, default_model: ModelLike | None) -> Graph:
    model = resolve_model(cast(ModelLike, spec.model if spec.model is not None else default_model))
    second = None if spec.fallback_model is None else resolve_model(spec.fallback_model)
    context = spec.context or ContextManager.of(spec.memory)
    if spec.tools:
        from langchain import agents

        create: Callable[..., Graph] = cast(Any, agents).create_agent
        middleware = _middleware(second, context)
        return _with_memory(
            create(
                model,
                list(spec.tools),
                system_prompt=spec.prompt,
                name=name,
                middleware=middleware,
            )
        )
    compactor = None if context is None else Compactor(context, model)
    if second is not None:
        model = model.with_fallbacks([second])
    rules = [SystemMessage(spec.prompt)] if spec.prompt else []

    def answer(messages: list[AnyMessage]) -> AIMessage:
        return model.invoke([*rules, *messages])

    async def aanswer(messages: list[AnyMessage]) -> AIMessage:
        return await model.ainvoke([*rules, *messages])

    return _history_graph(name, (answer, aanswer), compactor, rules)


def _middleware(second: Any, context: ContextManager | None) -> list[Any]:
    """Return what sees to a second model, and to a history that grows long."""
    from langchain.agents import middleware

    found: list[Any] = []
    if second is not None:
        found.append(middleware.ModelFallbackMiddleware(second))
    if context is not None:
        found.append(context_middleware(context))
    return found


def _history_graph(
    name: str,
    ask: tuple[Callable[..., Any], Callable[..., Any]],
    compactor: Compactor | None = None,
    rules: Sequence[AnyMessage] = (),
) -> Graph:
    """Make a graph of one node that answers from the local history, or from what fits of it."""

    def respond(state: Any, config: RunnableConfig) -> Steps[dict[str, Any]]:
        messages: list[AnyMessage] = list(state["messages"])
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
        return {"messages": as_messages(reply), **update}

    builder = StateGraph(LocalState if compactor is None else BoundedState)
    builder.add_node("respond", StepsNode(respond, name="respond"))
    builder.add_edge(START, "respond")
    builder.add_edge("respond", END)
    return cast(Graph, builder.compile(checkpointer=True, name=name))


def service_of(thing: object, default_model: ModelLike | None) -> str | None:
    """Name the provider and the model of a participant that is made of a model, or None."""
    if not isinstance(thing, Participant) or thing.runs is not None:
        return None
    model: Any = resolve_model(cast(ModelLike, thing.model or default_model))
    for attribute in ("runnable", "bound"):  # with fallbacks, with bound arguments
        model = getattr(model, attribute, model)
    name = getattr(model, "model_name", None) or getattr(model, "model", None)
    return f"{type(model).__name__}:{name}"


def as_messages(reply: object) -> list[AnyMessage]:
    """Read what a function or a Runnable answered: a text, a message, or messages.

    Raises:
        TypeError: The answer is something else.
    """
    kind = type(reply).__name__
    if isinstance(reply, str):
        return [AIMessage(reply)]
    if isinstance(reply, BaseMessage):
        return [cast(AnyMessage, reply)]
    if isinstance(reply, Mapping):
        return as_messages(cast(Mapping[str, object], reply).get("messages"))
    if isinstance(reply, list | tuple):
        items = cast(Sequence[object], reply)
        if all(isinstance(item, BaseMessage) for item in items):
            return cast(list[AnyMessage], list(items))
    raise TypeError(
        f"the participant returned {kind}; allowed: a text, a message, or a list of messages"
    )


def describe(thing: object) -> str | None:
    """Find what the supervisor is told about a participant, or None.

    In this order: the description that was given, the first line of the prompt, the first
    line of the docstring of a function or of a graph's builder.
    """
    if isinstance(thing, Participant):
        if thing.description:
            return thing.description.strip()
        if thing.runs is not None:
            return describe(thing.runs)
        return _first_line(thing.prompt)
    if is_graph(thing):
        return _first_line(getattr(thing, "description", None))
    if is_runnable(thing):
        function = getattr(thing, "func", None) or getattr(thing, "afunc", None)
        return _first_line(getattr(function, "__doc__", None))
    return _first_line(getattr(thing, "__doc__", None))


def public_description(thing: object) -> str | None:
    """Return a description that is no part of a prompt, or None; traces may show it."""
    prompt = _first_line(thing.prompt) if isinstance(thing, Participant) else None
    said = describe(thing)
    return None if said == prompt else said


def _first_line(text: object) -> str | None:
    if not isinstance(text, str) or not text.strip():
        return None
    return text.strip().splitlines()[0].strip()
