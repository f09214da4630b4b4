"""A compiled workflow: a LangGraph graph that keeps a few promises more."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

from langchain_core.messages import BaseMessage, convert_to_messages
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, Durability, GraphOutput, StateSnapshot, StateUpdate
from pydantic import BaseModel

from asterism.decisions import read_decision
from asterism.errors import ConfigurationError, InvalidRequestError, InvalidThreadError
from asterism.nodes.routing import BEGIN, SUPERVISOR, route
from asterism.state import Decision

THREAD_ID_LIMIT = 255
"""The longest thread id."""


@dataclass(frozen=True, kw_only=True)
class WorkflowFacts:
    """What a workflow knows of itself."""

    id: str
    description: str | None
    participants: Mapping[str, str]
    """Who takes part: id and description."""
    response_format: type[BaseModel] | None = None
    """The model of `structured_response`, where one was asked for."""


class Workflow(CompiledStateGraph[Any, Any, Any, Any]):
    """A compiled supervisor workflow. Use it as any LangGraph graph.

    Beyond that: threads and requests are checked before anything runs, each step is stored
    before the next one starts (`durability="sync"`), `status` is true wherever it is read,
    and a decision that is edited with `update_state` is followed.
    """

    def __init__(self, *, facts: WorkflowFacts, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.facts = facts

    @classmethod
    def of(cls, compiled: CompiledStateGraph[Any, Any, Any, Any], facts: WorkflowFacts) -> Self:
        """Make a workflow of a compiled star, as `copy` makes one of another."""
        attributes = {k: v for k, v in vars(compiled).items() if k != "__orig_class__"}
        return cls(facts=facts, **attributes)

    @property
    def description(self) -> str | None:
        """What the workflow is for."""
        return self.facts.description

    # ---- running

    def stream(
        self,
        input: Any,
        config: RunnableConfig | None = None,
        *,
        durability: Durability | None = None,
        **kwargs: Any,
    ) -> Iterator[Any]:
        """Run and yield what happens, as LangGraph's `stream` does."""
        given, durability = self._checked(input, config, durability)
        return super().stream(given, config, durability=durability, **kwargs)

    def astream(
        self,
        input: Any,
        config: RunnableConfig | None = None,
        *,
        durability: Durability | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """Run and yield what happens, as LangGraph's `astream` does."""
        given, durability = self._checked(input, config, durability)
        return super().astream(given, config, durability=durability, **kwargs)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run to the end or to the next question and return the state."""
        return self._presented(super().invoke(input, config, **kwargs))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run to the end or to the next question and return the state."""
        return self._presented(await super().ainvoke(input, config, **kwargs))

    def _checked(
        self, input: Any, config: RunnableConfig | None, durability: Durability | None
    ) -> tuple[Any, Durability | None]:
        """Refuse what would go wrong later, before anything runs."""
        if isinstance(self.checkpointer, BaseCheckpointSaver):
            check_thread(config)
            if durability == "exit":
                raise ConfigurationError(
                    "durability='exit' loses the finished turns of participants in a crash; "
                    "use 'sync' (the default) or 'async'"
                )
            durability = durability or "sync"
        if isinstance(input, Mapping):
            input = _checked_request(cast(Mapping[str, Any], input))
        return input, durability

    # ---- reading

    def get_state(self, config: RunnableConfig, *, subgraphs: bool = False) -> StateSnapshot:
        """Return the state of a thread; its `status` is how it stands now."""
        return self._true(config, super().get_state(config, subgraphs=subgraphs))

    async def aget_state(self, config: RunnableConfig, *, subgraphs: bool = False) -> StateSnapshot:
        """Return the state of a thread; its `status` is how it stands now."""
        return self._true(config, await super().aget_state(config, subgraphs=subgraphs))

    def _true(self, config: RunnableConfig, snapshot: StateSnapshot) -> StateSnapshot:
        values = snapshot.values
        if not isinstance(values, dict) or "iterations" not in values:
            return snapshot
        true = self._revived(cast(dict[str, Any], values))
        if snapshot.interrupts:
            true["status"] = "waiting"
        elif any(task.error for task in snapshot.tasks):
            true["status"] = "failed"
        return snapshot._replace(values=true)

    def _presented(self, output: Any) -> Any:
        if isinstance(output, GraphOutput):
            return GraphOutput(value=self._presented(output.value), interrupts=output.interrupts)
        if not isinstance(output, dict):
            return output
        values = self._revived(cast(dict[str, Any], output))
        if values.get("__interrupt__"):
            values["status"] = "waiting"
        return values

    def _revived(self, values: dict[str, Any]) -> dict[str, Any]:
        """Turn the stored fields of the answer into the model that was asked for."""
        fields, schema = values.get("structured_response"), self.facts.response_format
        if schema is not None and isinstance(fields, dict):
            return {**values, "structured_response": schema.model_validate(fields)}
        return dict(values)

    # ---- editing

    def bulk_update_state(
        self, config: RunnableConfig, supersteps: Sequence[Sequence[StateUpdate]]
    ) -> RunnableConfig:
        """Update the state; a decision in it is followed when the run goes on."""
        if not _is_own(config):
            return super().bulk_update_state(config, supersteps)
        snapshot = super().get_state(config)
        routed = [[self._routed(update, snapshot) for update in step] for step in supersteps]
        return super().bulk_update_state(config, routed)

    async def abulk_update_state(
        self, config: RunnableConfig, supersteps: Sequence[Sequence[StateUpdate]]
    ) -> RunnableConfig:
        """Update the state; a decision in it is followed when the run goes on."""
        if not _is_own(config):
            return await super().abulk_update_state(config, supersteps)
        snapshot = await super().aget_state(config)
        routed = [[self._routed(update, snapshot) for update in step] for step in supersteps]
        return await super().abulk_update_state(config, routed)

    def _routed(self, update: StateUpdate, snapshot: StateSnapshot) -> StateUpdate:
        """Add where a decision leads to an update that comes from the supervisor."""
        values = update.values
        if not isinstance(values, dict):
            return update
        decided = any(name not in (BEGIN, SUPERVISOR) for name in snapshot.next)
        if update.as_node is None and ("decision" in values or decided):
            update = update._replace(as_node=SUPERVISOR)
        if update.as_node != SUPERVISOR:
            return update
        names = tuple(self.facts.participants)
        after = {**cast(dict[str, Any], snapshot.values), **values}
        if after.get("decision"):
            decision = _edited(after["decision"], names)
            after["decision"] = decision
            values = {**values, "decision": decision}
        command: Command[Any] = Command(update=values, goto=route(after, names))
        return update._replace(values=cast(Any, command))

    # ---- drawing

    def __repr__(self) -> str:
        return f"Workflow({self.name!r}, participants={list(self.facts.participants)})"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Draw the star in Jupyter, offline: the engine's own drawing asks a web service."""
        drawing = self.get_graph().draw_mermaid()
        return {"text/plain": repr(self), "text/markdown": f"```mermaid\n{drawing}```"}


def check_thread(config: RunnableConfig | None) -> str:
    """Return the thread id of a config.

    Raises:
        InvalidThreadError: There is none, or it is not a text of 1 to 255 printable
            characters. LangGraph would store None as one thread that strangers share.
    """
    thread: object = ((config or {}).get("configurable") or {}).get("thread_id")
    text = str(thread) if isinstance(thread, str | int) or _is_uuid(thread) else ""
    if not text.strip() or len(text) > THREAD_ID_LIMIT or not text.isprintable():
        raise InvalidThreadError(
            f"The thread id is {thread!r}. A workflow with a checkpointer needs one of 1 to "
            f"{THREAD_ID_LIMIT} printable characters: "
            'config={"configurable": {"thread_id": "my-thread"}}.'
        )
    return text


def _is_uuid(thread: object) -> bool:
    from uuid import UUID

    return isinstance(thread, UUID)


def _checked_request(given: Mapping[str, Any]) -> dict[str, Any]:
    """Read the request, so that a wrong one costs nothing.

    Raises:
        InvalidRequestError: There is no message, or none says anything.
    """
    messages = given.get("messages")
    if not messages:
        raise InvalidRequestError(
            'The input has no messages. Allowed: {"messages": [("user", "what you want")]}.'
        )
    try:
        read = convert_to_messages(
            cast(Any, messages if isinstance(messages, list) else [messages])
        )
    except (ValueError, NotImplementedError) as error:
        raise InvalidRequestError(f"The input's messages cannot be read: {error}") from error
    if not any(message.type == "human" and _says_something(message) for message in read):
        raise InvalidRequestError(
            "The input has no message of the user that says anything. "
            'Allowed: {"messages": [("user", "what you want")]}.'
        )
    return {**given, "messages": read}


def _says_something(message: BaseMessage) -> bool:
    content: Any = message.content
    return bool(content.strip() if isinstance(content, str) else content)


def _edited(decision: Mapping[str, Any], names: tuple[str, ...]) -> Decision:
    """Read an edited decision; what the edit leaves out gets its default."""
    checked = read_decision({"next_agent": None, **decision}, names).model_dump()
    kept = {key: decision[key] for key in ("handoff_id", "end") if key in decision}
    return cast(Decision, {**checked, **kept})


def _is_own(config: RunnableConfig) -> bool:
    """Whether a config addresses the workflow itself, not a participant in it."""
    return not (config.get("configurable") or {}).get("checkpoint_ns")
