"""Everything that may be a participant, made into a graph that keeps local history."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, cast

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langgraph.channels import BinaryOperatorAggregate, DeltaChannel
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from asterism.agents import MemoryConfig
from asterism.budgets import Budget
from asterism.effects import Call, Steps, StepsNode, both_ways
from asterism.longterm import LongTermMemory
from asterism.messages import fold_history
from asterism.models import ModelLike, resolve_model
from asterism.personality import Personality
from asterism.prompts import render
from asterism.resilience import Policy
from asterism.runs import Graph, is_graph, is_runnable
from asterism.state import SNAPSHOT_FREQUENCY, Report


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
    personality: Personality | None = None
    """What it is like: a part of the system prompt."""
    tools: Sequence[Any] = field(default=())
    """What the model may call: LangChain tools or functions."""
    fallback_model: ModelLike | None = None
    """The model of a call that failed on `model`, for that call only."""
    policies: Sequence[Policy] = field(default=())
    """What happens when it fails, first = outermost: `RetryPolicy`, `Timeout`,
    `CircuitBreaker`, `Compensation`. They take the place of the workflow's of their kind."""
    memory: MemoryConfig | None = None
    """What it remembers from visit to visit. None: everything."""
    recalls: LongTermMemory | None = None
    """What is recalled for each visit, besides its own history."""
    budget: Budget | None = None
    """What its visits for one request may take together, with everything below it."""
    undo: Callable[[Report], Any] | None = None
    """Takes back what a report tells of, where a `Compensation` says `UndoAll`."""


class LocalState(TypedDict):
    """What a participant without a graph of its own remembers."""

    messages: Annotated[
        list[AnyMessage], DeltaChannel(fold_history, snapshot_frequency=SNAPSHOT_FREQUENCY)
    ]


def fault_of(thing: object, default_model: ModelLike | None) -> str | None:
    """Say why `thing` cannot be a participant, or return None."""
    if isinstance(thing, Participant):
        own = thing.tools or thing.prompt or thing.personality or thing.model is not None
        if thing.runs is not None and own:
            return (
                "has `runs` and also a model, prompt, personality or tools; give one or the other"
            )
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
        if thing.runs is not None:
            return participant_graph(name, thing.runs, default_model)
        return _model_graph(name, thing, default_model)
    if is_graph(thing):
        return _with_memory(thing)
    return _function_graph(name, cast(Callable[..., Any], thing))


def _with_memory(graph: Graph) -> Graph:
    """Give a graph a history of its own, stored as what is new in each checkpoint."""
    given = cast(dict[str, Any], graph.channels)
    channels: dict[str, Any] = {
        key: DeltaChannel(fold_history, list[AnyMessage], snapshot_frequency=SNAPSHOT_FREQUENCY)
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
    summarises = spec.memory is not None and spec.memory.token_threshold is not None
    if spec.tools or summarises:
        from langchain import agents

        create: Callable[..., Graph] = cast(Any, agents).create_agent
        middleware = _middleware(model, second, spec.memory)
        return _with_memory(
            create(
                model,
                list(spec.tools),
                system_prompt=_rules(spec),
                name=name,
                middleware=middleware,
            )
        )
    if second is not None:
        model = model.with_fallbacks([second])
    text = _rules(spec)
    rules = [SystemMessage(text)] if text else []

    def answer(messages: list[AnyMessage]) -> AIMessage:
        return model.invoke([*rules, *messages])

    async def aanswer(messages: list[AnyMessage]) -> AIMessage:
        return await model.ainvoke([*rules, *messages])

    return _history_graph(name, (answer, aanswer))


def _rules(spec: Participant) -> str | None:
    """Write the system prompt: what it is told, and what it is like."""
    who = spec.personality
    if who is None:
        return spec.prompt
    rules, style = spec.prompt or "", who.style or "as it fits"
    return render("personality", rules=rules, traits=" ".join(who.sentences()), style=style).strip()


def _middleware(model: Any, second: Any, memory: MemoryConfig | None) -> list[Any]:
    """Return what LangChain has for a second model and for a history that grows long."""
    from langchain.agents import middleware

    found: list[Any] = []
    if second is not None:
        found.append(middleware.ModelFallbackMiddleware(second))
    if memory is not None and memory.enabled and memory.token_threshold is not None:
        capped = {"max_tokens": memory.summary_max_tokens}
        found.append(
            middleware.SummarizationMiddleware(
                model.model_copy(update=capped) if hasattr(model, "max_tokens") else model,
                trigger=("tokens", memory.token_threshold),
                keep=("messages", memory.preserve_last_n_messages),
                trim_tokens_to_summarize=None,
            )
        )
    return found


def _function_graph(name: str, function: Callable[..., Any]) -> Graph:
    return _history_graph(name, both_ways(function))


def _history_graph(name: str, ask: tuple[Callable[..., Any], Callable[..., Any]]) -> Graph:
    """Make a graph of one node that answers from the whole local history."""

    def respond(state: Any, config: RunnableConfig) -> Steps[dict[str, Any]]:
        reply = yield Call(*ask, (list(state["messages"]),))
        return {"messages": as_messages(reply)}

    builder = StateGraph(LocalState)
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
