"""Local graphs: whatever may be a participant, made into a graph that keeps a history."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, NotRequired, cast

from langchain_core.messages import AIMessage, AnyMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langgraph.channels import BinaryOperatorAggregate
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.pregel.remote import RemoteGraph
from typing_extensions import TypedDict

from asterism.context import ContextManager
from asterism.effects import Call, Steps, StepsNode
from asterism.messages import fold_history
from asterism.model_input import prepare_messages
from asterism.models import ModelLike, resolve_model
from asterism.nodes.answers import answered, as_messages
from asterism.nodes.chains import ways_to_ask
from asterism.nodes.compacting import Compactor
from asterism.nodes.context import workflow_path
from asterism.nodes.engine import chosen_limit
from asterism.nodes.kinds import Participant, context_of
from asterism.nodes.middleware import (
    callable_in_sync,
    context_middleware,
    end_middleware,
    prompt_middleware,
    tool_errors_middleware,
    with_tools_inside,
)
from asterism.nodes.remote import create_remote_graph
from asterism.nodes.service import Service, create_service_graph
from asterism.prompts import render
from asterism.runs import Graph, is_graph
from asterism.state import SNAPSHOT_FREQUENCY, HistoryChannel


class LocalState(TypedDict):
    """What a participant without a graph of its own remembers."""

    messages: Annotated[
        list[AnyMessage], HistoryChannel(fold_history, snapshot_frequency=SNAPSHOT_FREQUENCY)
    ]


class BoundedState(LocalState):
    """What it remembers where its prompts are kept short."""

    compaction: NotRequired[dict[str, Any] | None]
    """What stands for the beginning of its history."""


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
        compactor = Compactor(context, model)
        return _history_graph(name, ways_to_ask(thing.runs), compactor)
    if is_graph(thing):
        return _with_memory(thing)
    if isinstance(thing, Service):
        return create_service_graph(name, thing)
    if isinstance(thing, RemoteGraph):
        return create_remote_graph(name, thing)
    return _history_graph(name, ways_to_ask(thing))


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
    config = {**(graph.config or {})}
    if chosen_limit(graph.config) is None:
        config.pop("recursion_limit", None)
    return graph.copy({"checkpointer": True, "channels": channels, "config": config})


def _adds_messages(channel: Any) -> bool:
    return isinstance(channel, BinaryOperatorAggregate) and channel.operator is add_messages


def _model_graph(
    name: str, spec: Participant, default_model: ModelLike | None, max_steps: int | None
) -> Graph:
    model = resolve_model(cast(ModelLike, spec.model if spec.model is not None else default_model))
    second = None if spec.fallback_model is None else resolve_model(spec.fallback_model)
    context = context_of(spec)
    text = _rules(name, spec)
    if spec.tools:
        from langchain import agents

        create: Callable[..., Graph] = cast(Any, agents).create_agent
        model, second = with_tools_inside(model), second and with_tools_inside(second)
        middleware = [
            tool_errors_middleware(),
            *_middleware(second, context, max_steps),
            prompt_middleware(model),
        ]
        return _with_memory(
            create(
                model,
                [callable_in_sync(tool) for tool in spec.tools],
                system_prompt=text,
                name=name,
                middleware=middleware,
            )
        )
    compactor = None if context is None else Compactor(context, model)
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
    rules, who = spec.prompt, spec.personality
    if not rules or not rules.strip():
        rules = render("participant", name=name, description=spec.description or "").strip()
    if who is None:
        return rules
    style = who.style or "as it fits"
    return render("personality", rules=rules, traits=" ".join(who.sentences()), style=style).strip()


def _middleware(second: Any, context: ContextManager | None, max_steps: int | None) -> list[Any]:
    """Return what sees to a history that grows long, to an end, and to a second model."""
    from langchain.agents import middleware

    found: list[Any] = []
    if context is not None:
        found.append(context_middleware(context))
    found.append(end_middleware(max_steps))
    if second is not None:
        found.append(middleware.ModelFallbackMiddleware(second))
    return found


def _history_graph(
    name: str,
    ask: tuple[Callable[..., Any], Callable[..., Any]],
    compactor: Compactor | None = None,
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
        return {"messages": answered(as_messages(reply), before), **update}

    builder = StateGraph(LocalState if compactor is None else BoundedState)
    builder.add_node("respond", StepsNode(respond, name="respond"))
    builder.add_edge(START, "respond")
    builder.add_edge("respond", END)
    return cast(Graph, builder.compile(checkpointer=True, name=name))
