"""Descriptions of participants: `Participant`, and the faults of what is given as one.

Open it for what may take part, and for the text that a supervisor is told about it.
Tests: tests/graphs/test_builder.py.
"""

import inspect
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast, runtime_checkable

from langchain_core.tools import BaseTool
from langchain_core.tools import tool as create_tool
from langgraph.graph import END, StateGraph
from langgraph.pregel.remote import RemoteGraph

from asterism.core.agent_spec import (
    MemoryConfig,
    ModelLike,
    Personality,
    innermost_model,
    label_of_model,
    resolve_model,
)
from asterism.core.continuation import Graph, is_graph, is_runnable
from asterism.core.state import Report
from asterism.core.values import as_dict
from asterism.errors import InvalidRequestError
from asterism.limits.budgets import Budget
from asterism.limits.circuit_breaker import CircuitBreaker
from asterism.limits.failure_policies import Policy
from asterism.nodes.chains import chain_fault

if TYPE_CHECKING:
    from asterism.memories.context_policies import ContextManager
    from asterism.memories.long_term import LongTermMemory

MAX_STEPS = 50
"""The default of the most model calls of one visit."""


@runtime_checkable
class GraphSource(Protocol):
    """A participant that works elsewhere and creates the graph that reaches it: a `Service`."""

    @property
    def origin(self) -> str:
        """The key of its circuit breaker."""
        ...

    def create_graph(self, name: str) -> Graph:
        """Create the graph of the participant `name`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Participant:
    """A participant made of a model, a prompt and tools, or any other one with a description.

    Args:
        runs: A compiled graph, an agent, a Runnable, a function of messages, a `Service`, or a
            `RemoteGraph`. None: the model.
        description: What the supervisor is told about it. None: the docstring or the prompt's
            first line.
        model: The chat model. None: the model of the workflow.
        prompt: The system prompt of the model.
        personality: What it is like: a part of the system prompt. A mapping stands for the
            traits alone.
        communication_style: How it communicates: the `style` of the personality.
        tools: What the model may call: LangChain tools, those of MCP servers, or functions.
        approve: The tools whose calls a person approves: their names; or a mapping of names to
            what `HumanInTheLoopMiddleware(interrupt_on=...)` takes, as `{"allowed_decisions":
            ["approve"]}`.
        response_format: The form of its answer, as `create_agent` takes it: a pydantic model, a
            dataclass, a JSON schema. The report holds it as JSON.
        middleware: Further LangChain middleware of the agent, first = outermost.
        fallback_model: The model of a call that failed on `model`, for that call only.
        policies: What happens when it fails, first = outermost: `RetryPolicy`, `Timeout`,
            `CircuitBreaker`, `Compensation`. They take the place of the workflow's of their
            kind.
        circuit_breaker: One more of the policies, the innermost.
        memory: What it remembers from visit to visit. None: everything.
        context: What of a long history its model, or its function, is still sent. None: all of
            it.
        recalls: What is recalled for each visit, besides its own history.
        budget: What its visits for one request may take together, with everything below it.
        media: Whether it is sent the pictures, recordings and files of a request: `"all"` or
            `"none"`, the text alone.
        max_steps: How many model calls one visit may make, of an agent or a graph. None: as the
            workflow says. At the limit the visit ends with what it has found.
        undo: Takes back what a report tells of, where a `Compensation` says `UndoAll`.
    """

    runs: Any = None
    description: str | None = None
    model: ModelLike | None = None
    prompt: str | None = None
    personality: Personality | Mapping[str, float] | None = None
    communication_style: InitVar[str | None] = None
    tools: Sequence[Any] = field(default=())
    approve: "Sequence[str] | Mapping[str, Any]" = field(default=())
    response_format: Any = None
    middleware: Sequence[Any] = field(default=())
    fallback_model: ModelLike | None = None
    policies: Sequence[Policy] = field(default=())
    circuit_breaker: InitVar["CircuitBreaker | None"] = None
    memory: MemoryConfig | None = None
    context: "ContextManager | None" = None
    recalls: "LongTermMemory | None" = None
    budget: Budget | None = None
    max_steps: int | None = None
    media: Literal["all", "none"] = "all"
    undo: Callable[[Report], Any] | None = None

    def __post_init__(
        self, communication_style: str | None, circuit_breaker: "CircuitBreaker | None"
    ) -> None:
        """Make the personality whole, and join the policies.

        Raises:
            pydantic.ValidationError: A trait or the style cannot be used. It is a `ValueError`.
        """
        if communication_style is not None or isinstance(self.personality, Mapping):
            who: Any = self.personality
            traits = who.traits if isinstance(who, Personality) else who or {}
            style = (
                getattr(who, "style", "") if communication_style is None else communication_style
            )
            object.__setattr__(self, "personality", Personality(traits=traits, style=style))
        if circuit_breaker is not None:
            object.__setattr__(self, "policies", (*self.policies, circuit_breaker))


def find_participant_fault(thing: object, default_model: ModelLike | None) -> str | None:
    """Say why `thing` cannot be a participant, or return None."""
    if isinstance(thing, Participant):
        if thing.media not in ("all", "none"):
            return f"has media={thing.media!r}; allowed: 'all', 'none'"
        if thing.runs is not None and (own := _agent_fields(thing)):
            return (
                f"has `runs` and also {', '.join(f'`{name}`' for name in own)}, which are of an "
                "agent that is made here; give one or the other"
            )
        faults = (
            _steps_fault(thing),
            _context_fault(thing, default_model),
            tools_fault(thing.tools),
            _agent_fault(thing),
        )
        if fault := next(filter(None, faults), None):
            return fault
        if thing.runs is None and thing.model is None and default_model is None:
            return "has no model, and the workflow has none either; give one of them a model"
        return None if thing.runs is None else find_participant_fault(thing.runs, default_model)
    if is_graph(thing):
        return _graph_fault(thing)
    if isinstance(thing, RemoteGraph):
        return None if thing.client or thing.sync_client else "has no server; give it a url"
    if isinstance(thing, GraphSource):
        return None
    if is_runnable(thing):
        return chain_fault(thing)
    if isinstance(thing, StateGraph):
        return "is a StateGraph that is not compiled; give the result of its .compile()"
    if isinstance(thing, type):
        return f"is the class {thing.__name__}; give an instance of it, or a function of messages"
    if callable(thing):
        return _function_fault(thing)
    return (
        f"is a {type(thing).__name__}, which cannot be a participant; allowed: a compiled graph, "
        "an agent, a Runnable, a chat model, a function of messages, a Service, a RemoteGraph, "
        "or a Participant"
    )


def _agent_fields(spec: Participant) -> list[str]:
    """Return the names of the fields in use that make up an agent."""
    names = ("prompt", "personality", "tools", "approve", "response_format", "middleware")
    found = [name for name in names if getattr(spec, name)]
    return ["model", *found] if spec.model is not None else found


def _agent_fault(spec: Participant) -> str | None:
    if isinstance(spec.approve, str):
        return f"has approve={spec.approve!r}; give a list of names of its tools"
    known = [tool_name(tool) for tool in spec.tools]
    for name in spec.approve:
        if name not in known:
            return (
                f"has {name!r} in `approve`, which is none of its tools; they are: "
                f"{', '.join(known) or 'none'}"
            )
    if spec.approve or spec.middleware:
        from langchain.agents.middleware import AgentMiddleware

        try:
            approval_middleware(spec.approve)
        except (AttributeError, ValueError) as error:
            return f"has an `approve` that cannot be used: {error}"
        for each in spec.middleware:
            if not isinstance(each, AgentMiddleware):
                return f"has {each!r:.100} in `middleware`, which is no AgentMiddleware"
    return None


def approval_middleware(approve: Sequence[str] | Mapping[str, Any]) -> Any:
    """Create the middleware that asks a person before tools are called."""
    from langchain.agents.middleware import HumanInTheLoopMiddleware

    named = approve if isinstance(approve, Mapping) else dict.fromkeys(approve, True)
    return HumanInTheLoopMiddleware(interrupt_on=dict(named))


def _function_fault(function: Callable[..., Any]) -> str | None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # one that is written in C
        return None
    try:
        signature.bind([])
    except TypeError:
        return (
            f"is a function that takes {signature}; it is called with the list of messages alone: "
            "`def work(messages): ...`"
        )
    return None


def tools_fault(tools: Sequence[Any]) -> str | None:
    """Say which of the tools of an agent cannot be used, or return None."""
    if isinstance(tools, str) or not isinstance(cast(object, tools), Sequence):
        return f"has tools={tools!r}; give a list of functions or LangChain tools"
    if fault := next(filter(None, map(_tool_fault, tools)), None):
        return fault
    names = Counter(tool_name(tool) for tool in tools if not isinstance(tool, dict))
    twice = [name for name, count in names.items() if count > 1]
    return f"has two tools named {twice[0]!r}; give one of them another name" if twice else None


def _tool_fault(tool: Any) -> str | None:
    if isinstance(tool, BaseTool | dict):  # a mapping is a tool that the provider runs
        return None
    if isinstance(tool, str):
        return f"has the tool {tool!r}, which is a name; its tools are functions or LangChain tools"
    if not callable(tool):
        return (
            f"has the tool {tool!r}, which is a {type(tool).__name__}; its tools are functions or "
            "LangChain tools"
        )
    try:
        create_tool(tool)
    except (TypeError, ValueError) as error:
        what = "it has no docstring, which tells the model what it is for; add one"
        said = what if not inspect.getdoc(tool) else str(error)
        return f"has the tool {tool_name(tool)!r}, which cannot be used: {said}"
    return None


def tool_name(tool: Any) -> str:
    """Return the name of a tool or of a function that is one."""
    return tool.name if isinstance(tool, BaseTool) else str(getattr(tool, "__name__", tool))


def max_steps_of(thing: object, default: int) -> int | None:
    """Return how many model calls a visit may make, or None where that cannot be limited."""
    if isinstance(thing, Participant):
        default = default if thing.max_steps is None else thing.max_steps
        return default if thing.runs is None else max_steps_of(thing.runs, default)
    return default if is_graph(thing) and "reports" not in thing.channels else None


def _steps_fault(spec: Participant) -> str | None:
    steps: Any = spec.max_steps
    if steps is None:
        return None
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        return f"has max_steps={steps!r}; it must be a whole number of at least 1"
    if max_steps_of(spec, steps) is None:
        return (
            "has `max_steps` and makes its model calls by itself; leave it out, and limit them "
            "with budget=Budget(max_calls=...), or with the `max_steps` of its own workflow"
        )
    return None


def context_of(spec: Participant) -> "ContextManager | None":
    """Return the policy for its prompts: its `context`, or what its `memory` stands for."""
    if spec.context is not None or spec.memory is None:
        return spec.context
    from asterism.memories.context_policies import ContextManager

    return ContextManager.of(spec.memory)


def _context_fault(spec: Participant, default_model: ModelLike | None) -> str | None:
    context, memory = context_of(spec), spec.memory
    if context is None:
        return None
    if is_graph(spec.runs):
        return (
            "is a compiled graph, whose model calls are its own, so neither `context` nor a "
            "`token_threshold` has a hold on it; give its agent "
            "middleware=[context_middleware(...)], or a workflow its own `context`"
        )
    if isinstance(spec.runs, GraphSource | RemoteGraph):
        return (
            "works elsewhere, where it keeps its prompts short by itself, so neither `context` nor "
            "a `token_threshold` has a hold on it; leave them out"
        )
    if spec.context is not None and memory is not None and memory.token_threshold is not None:
        return "has a `context` and also a `token_threshold` in its memory; give one or the other"
    from asterism.memories.context_policies import context_fault

    fault = context_fault(context, spec.model if spec.model is not None else default_model)
    return fault and f"has a context that cannot be kept: {fault}"


def _graph_fault(graph: Graph) -> str | None:
    if graph.checkpointer not in (None, True):
        return (
            f"is compiled with checkpointer={graph.checkpointer!r}; compile it without one, "
            "then it shares the workflow's and keeps a history of its own"
        )
    if END in graph.channels:
        return (
            "is a workflow of the functional API (@entrypoint), which says nothing about its "
            "input; wrap it in a function of messages: `def work(messages): return "
            "workflow.invoke({'messages': messages})`"
        )
    if "messages" not in graph.channels:
        return (
            f"is a graph without a `messages` key; it has {', '.join(_keys(graph)) or 'none'}. "
            "Give its state `messages`, or wrap it in a function of messages"
        )
    return None


def _keys(graph: Graph) -> list[str]:
    return [key for key in graph.channels if not key.startswith(("__", "branch:", "join:"))]


_INPUTS = {
    "image": "image_inputs",
    "image_url": "image_inputs",
    "audio": "audio_inputs",
    "input_audio": "audio_inputs",
    "video": "video_inputs",
    "pdf": "pdf_inputs",
}
"""The entry of a model's profile that says whether it reads a kind of block."""


@dataclass(frozen=True)
class MediaRule:
    """Which pictures, recordings and files a participant is sent."""

    sends: bool = True
    model: Any = None
    """Its own chat model, whose profile may say what it cannot read."""

    @classmethod
    def of(cls, thing: object, default_model: ModelLike | None) -> "MediaRule":
        """Return the rule of a participant; what calls its models itself has none to look at."""
        spec = thing if isinstance(thing, Participant) else Participant(runs=thing)
        model: Any = spec.runs
        if spec.runs is None:
            model = resolve_model(cast(ModelLike, spec.model or default_model))
        return cls(spec.media == "all", innermost_model(model))

    def choose(self, media: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
        """Return what of a request's media is sent.

        Raises:
            InvalidRequestError: The model cannot read it, as its profile says.
        """
        if not self.sends:
            return ()
        profile = as_dict(getattr(self.model, "profile", None)) if media else {}
        kinds = ["pdf" if _is_pdf(block) else str(block.get("type")) for block in media]
        unread = [kind for kind in kinds if profile.get(_INPUTS.get(kind, "")) is False]
        if unread:
            raise InvalidRequestError(
                f"The request holds {', '.join(dict.fromkeys(unread))}, which the model "
                f"{label_of_model(self.model)!r} cannot read. Give the participant a model that "
                "can, or media='none'."
            )
        return media


def _is_pdf(block: Mapping[str, Any]) -> bool:
    """Whether a content block is a PDF."""
    return block.get("type") == "file" and block.get("mime_type") == "application/pdf"


def service_of(thing: object, default_model: ModelLike | None) -> str | None:
    """Name the model with its provider, or the server, that a participant stands on, or None."""
    runs = thing.runs if isinstance(thing, Participant) else thing
    if isinstance(runs, GraphSource):
        return runs.origin
    if isinstance(runs, RemoteGraph):
        from asterism.nodes.remote.langgraph_server import server_and_graph

        return server_and_graph(runs)
    if not isinstance(thing, Participant) or thing.runs is not None:
        return None
    model = innermost_model(resolve_model(cast(ModelLike, thing.model or default_model)))
    name = getattr(model, "model_name", None) or getattr(model, "model", None)
    return f"{type(model).__name__}:{name}"


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
    if is_graph(thing) or isinstance(thing, GraphSource):
        return _first_line(getattr(thing, "description", None))
    if is_runnable(thing):
        function = getattr(thing, "func", None) or getattr(thing, "afunc", None)
        return _first_line(getattr(function, "__doc__", None))
    return _first_line(getattr(thing, "__doc__", None))


def describe_or_warn(name: str, thing: object) -> str:
    """Describe a participant, and warn where there is nothing to go by."""
    found = describe(thing)
    if found is None:
        warnings.warn(
            f"The participant {name!r} has no description, so the supervisor knows only its "
            "name. Give it one: Participant(runs=..., description='...').",
            stacklevel=3,
        )
    return found or name


def public_description(thing: object) -> str | None:
    """Return a description that is no part of a prompt, or None; traces may show it."""
    prompt = _first_line(thing.prompt) if isinstance(thing, Participant) else None
    said = describe(thing)
    return None if said == prompt else said


def _first_line(text: object) -> str | None:
    if not isinstance(text, str) or not text.strip():
        return None
    return text.strip().splitlines()[0].strip()
