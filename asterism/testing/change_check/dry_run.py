"""The next step of a stored thread, made in a copy: no model is called, no code of the user runs.

A handler of LangChain's callbacks stops the run where the first model would be called, with what
it would have been sent, and where the first code of the user would run. Nothing is written but
to the copy, which is in memory.
Tests: tests/asterism/apps/test_change_check.py.
"""

import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from types import FunctionType, MethodType
from typing import Any, Literal, cast

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseLanguageModel
from langchain_core.tools import BaseTool
from langchain_core.tracers.context import register_configure_hook
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.prebuilt import ToolNode
from langgraph.store.base import BaseStore
from langgraph.types import Command, StateSnapshot
from langsmith import tracing_context  # pyright: ignore[reportUnknownVariableType]
from pydantic import ValidationError

from asterism.core.checkpoints import checkpoint_key, copy_checkpoint, namespace_of
from asterism.core.interrupts import (
    INTERRUPT,
    approval_answer,
    is_approval,
    open_requests,
    request_prompt,
)
from asterism.core.sync_async import StepsNode, run_steps
from asterism.core.values import as_dict, as_list, describe_error, shorten
from asterism.graphs.workflow import Workflow
from asterism.nodes.routing import DISPATCH, FINISH, SUPERVISOR, UNDO
from asterism.storage.serializers import plain_serializer
from asterism.testing.cassette_requests import Request, canonical_request

Kind = Literal["model", "code", "asks", "ends", "fails"]
"""What a step comes to: a call of a model, code of the user, a question, the end, an error."""
NEXT_REQUEST = "(the next request)"
"""The request and the answers that a step is tried with."""
ANSWER = "(the answer)"
_UNLIMITED = "1000000000"
_STEP = "graph:step:"
"""How LangGraph tags the run of a node."""
_DEPTH = 8
_LIBRARIES = ("langchain", "langgraph", "langsmith", "asterism", "pydantic")
_EXAMPLES = ("asterism.nodes.examples", "asterism.graphs.examples")


@dataclass(frozen=True, kw_only=True)
class NextStep:
    """What comes next on a thread."""

    kind: Kind
    place: str
    """Who is at it, from the outermost participant inwards, as in `"team/venue"`."""
    what: str
    """What it is, in words."""
    request: Request | None = None
    """What a model would be sent."""
    fault: str = ""
    """What is wrong with it, where something is."""
    way_out: str = ""


class _Stop(BaseException):
    """Ends a dry run: nothing that catches `Exception` holds it up."""


def copy_thread(
    saver: BaseCheckpointSaver[Any], items: Sequence[CheckpointTuple], thread: str
) -> InMemorySaver:
    """Copy a thread to memory.

    Args:
        saver: Where it is stored.
        items: Its checkpoints, the latest first.
        thread: Its id.
    """
    copy = InMemorySaver(serde=plain_serializer(saver))
    for item in reversed(items):
        run_steps(copy_checkpoint(copy, item, thread, namespace_of(item)))
    return copy


def dry_workflow(workflow: Workflow[Any], saver: InMemorySaver) -> Workflow[Any]:
    """Return a workflow on a copy of a thread, which tells nobody what happens."""
    facts = replace(workflow.facts, events=None)
    return workflow.copy({"checkpointer": saver, "facts": facts, "cache": None})


def next_steps(
    workflow: Workflow[Any], thread: str, snapshot: StateSnapshot, checkpoint: str | None = None
) -> list[NextStep]:
    """Find what comes next on a thread.

    Args:
        workflow: A workflow on a copy of it.
        thread: The thread.
        snapshot: How it stands, read with its subgraphs.
        checkpoint: Where it goes on. None: at its latest checkpoint.
    """
    config = checkpoint_key(thread, checkpoint=checkpoint)
    given: Any = None
    if checkpoint is None and (requests := open_requests(snapshot)):
        given = Command(resume={one.id: _answer(one.value, one.schema) for one in requests})
    elif checkpoint is None and not (snapshot.next or snapshot.tasks):
        given = {"messages": [("user", NEXT_REQUEST)]}
    probe = _Probe(workflow, as_dict(snapshot.values))
    token = _probe.set(probe)
    try:
        with tracing_context(enabled=False):
            result: Any = workflow.invoke(given, config)
    except _Stop:
        return sorted(probe.steps, key=lambda step: (step.place, step.what))
    except Exception as error:  # noqa: BLE001 - it is what the check is to tell
        said = describe_error(error)
        return [NextStep(kind="fails", place=SUPERVISOR, what=said, fault=said)]
    finally:
        _probe.reset(token)
    if asked := result.get(INTERRUPT):
        prompts = "; ".join(request_prompt(one.value) for one in asked)
        return [NextStep(kind="asks", place=SUPERVISOR, what=f"asks: {shorten(prompts, 200)}")]
    said = f"ends as {result.get('status')}: {result.get('reason')}"
    return [NextStep(kind="ends", place=SUPERVISOR, what=said)]


def _answer(value: object, schema: Mapping[str, Any] | None) -> Any:
    """Make up an answer to a question."""
    if is_approval(value):
        configs = as_list(as_dict(value).get("review_configs"))
        allowed = {kind for each in configs for kind in as_dict(each).get("allowed_decisions", ())}
        kind = next((k for k in ("approve", "reject") if k in allowed), "approve")
        return approval_answer(as_dict(value), kind)
    return _UNLIMITED if "pattern" in (schema or {}) else ANSWER


class _Probe(BaseCallbackHandler):
    """Stops a run at the first call of a model, and at the first code of the user."""

    raise_error = True
    run_inline = True

    def __init__(self, workflow: Workflow[Any], values: Mapping[str, Any]) -> None:
        self.steps: list[NextStep] = []
        self._workflow = workflow
        self._values = values
        self._lock = threading.Lock()

    def on_chat_model_start(
        self, serialized: Any, messages: Any, *, metadata: Any = None, **kwargs: Any
    ) -> None:
        """Keep what a chat model would be sent."""
        options = as_dict(kwargs.get("invocation_params")).copy()
        kind = options.pop("_type", "")
        named = options.pop("model", None) or options.pop("model_name", None)
        model = as_dict(metadata).get("ls_model_name") or named or kind
        request = canonical_request(str(model), messages[0], options)
        self._stop(kind="model", metadata=metadata, what=f"asks the model {model}", request=request)

    def on_llm_start(self, serialized: Any, prompts: Any, **kwargs: Any) -> None:
        """Stop before a model that is no chat model."""
        request: Request = {"messages": [{"role": "human", "content": prompts[0]}]}
        self._stop("model", kwargs.get("metadata"), "asks a model", request=request)

    def on_tool_start(self, serialized: Any, input_str: str, **kwargs: Any) -> None:
        """Stop before a tool."""
        name = as_dict(serialized).get("name")
        self._stop("code", kwargs.get("metadata"), f"calls the tool {name}")

    def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
        """Stop before a retriever."""
        self._stop("code", kwargs.get("metadata"), "searches")

    def on_chain_start(
        self, serialized: Any, inputs: Any, *, tags: Any = None, metadata: Any = None, **kwargs: Any
    ) -> None:
        """Stop before a node that runs code of the user."""
        if not any(tag.startswith(_STEP) for tag in tags or ()):
            return
        facts = as_dict(metadata)
        node = str(facts.get("langgraph_node"))
        inside = _containers(str(facts.get("langgraph_checkpoint_ns") or ""))
        graph = graph_at(self._workflow, inside, self._values)
        bound = None if graph is None or node not in graph.nodes else graph.nodes[node].bound
        if isinstance(bound, ToolNode):
            for call in _tool_calls(inputs):
                self.steps.append(_tool_step(bound, call, _place(metadata)))
            raise _Stop
        code = _code_of_node(graph, node, bound)
        if code is not None:
            self._stop("code", metadata, f"runs your code: {code}")

    def _stop(self, kind: Kind, metadata: Any, what: str, request: Request | None = None) -> None:
        step = NextStep(kind=kind, place=_place(metadata), what=what, request=request)
        with self._lock:
            self.steps.append(step)
        raise _Stop


def graph_at(workflow: Any, names: Sequence[str], values: Mapping[str, Any]) -> Any:
    """Return the graph that lies within nodes of a workflow, or None where there is none.

    Args:
        workflow: The workflow.
        names: The nodes, from the outermost inwards.
        values: The state of the workflow, for agents that a model has created.
    """
    graph: Any = workflow
    for name in names:
        if isinstance(cast(object, graph), Workflow):
            if name == DISPATCH:
                continue
            member = graph.facts.team.member(name, values)
            graph, values = None if member is None else member.graph, {}
        else:
            graph = dict(graph.get_subgraphs()).get(name)
        if graph is None:
            return None
    return graph


_probe: ContextVar[_Probe | None] = ContextVar("asterism_dry_run", default=None)
register_configure_hook(_probe, inheritable=True)


def _containers(namespace: str) -> list[str]:
    """Return the nodes around the one that runs in a namespace."""
    parts = [part.partition(":")[0] for part in namespace.split("|") if not part.isdigit()]
    return parts[:-1]


def _place(metadata: Any) -> str:
    facts = as_dict(metadata)
    path, node = str(facts.get("participant_path") or ""), facts.get("langgraph_node")
    own = node if node in (SUPERVISOR, FINISH, UNDO) else None
    return "/".join(filter(None, (path, own))) or str(node)


def _code_of_node(graph: Any, node: str, bound: Any) -> str | None:
    """Name the code of the user that a node would run, or None."""
    if bound is None:
        return node
    if not isinstance(graph, Workflow):
        code = find_user_code(bound)
        return None if code is None else f"{code} in the node {node!r}" if code != node else code
    owner = getattr(getattr(bound, "logic", None), "__self__", None)
    if node == SUPERVISOR:
        return find_user_code(getattr(owner, "decider", None))
    if node == UNDO:
        return "undo"
    member = graph.facts.team.members.get(node)
    if member is None:
        return None if isinstance(bound, StepsNode) else node
    return find_code_of_visit(member)


def find_code_of_visit(member: Any) -> str | None:
    """Name what a visit would run before its first node: a memory, a bus of a nested team."""
    if member.recalls is not None:
        return f"the memory that {member.name} recalls from"
    if isinstance(member.graph, Workflow) and member.graph.facts.events is not None:
        return f"the event bus of {member.name}"
    return None


def find_user_code(thing: Any) -> str | None:
    """Name the first code of a user that a node, a decider or a middleware is made of, or None."""
    return next(_find_code(thing, set(), _DEPTH), None)


def _find_code(thing: Any, seen: set[int], depth: int) -> Iterator[str]:
    if depth == 0 or id(thing) in seen or isinstance(thing, str | bytes | int | float | type):
        return
    seen.add(id(thing))
    if isinstance(thing, BaseLanguageModel | BaseTool | ToolNode):
        return  # what they do is stopped by itself
    if isinstance(thing, Embeddings | BaseStore):
        yield type(thing).__name__
        return
    for part in _parts_of(thing):
        if isinstance(part, _Code):
            yield part.name
        else:
            yield from _find_code(part, seen, depth - 1)


@dataclass(frozen=True)
class _Code:
    name: str


def _parts_of(thing: Any) -> Iterator[Any]:
    if isinstance(thing, MethodType):
        yield from (thing.__func__, thing.__self__)
    elif isinstance(thing, FunctionType):
        if not is_library(thing.__module__):
            yield _Code(thing.__qualname__)
        cells = thing.__closure__ or ()
        yield from (cell.cell_contents for cell in cells if _is_filled(cell))
        yield getattr(thing, "__wrapped__", None)
    elif isinstance(thing, partial):
        yield from (thing.func, thing.args, thing.keywords)
    elif isinstance(thing, Mapping):
        yield from thing.values()
    elif isinstance(thing, list | tuple | set | frozenset):
        yield from cast(Any, thing)
    elif thing is not None:
        own: Any = type(cast(object, thing))
        if not is_library(own.__module__) and callable(getattr(own, "__call__", None)):  # noqa: B004
            yield _Code(own.__qualname__)
        if hasattr(own, "wrap_model_call"):  # a middleware, which a decorator may have made
            if not is_library(own.__module__):
                yield _Code(own.__qualname__)
            held: list[Any] = [*vars(own).values()]
            yield from (part for part in held if isinstance(part, FunctionType))
        yield from list(getattr(thing, "__dict__", {}).values())


def _is_filled(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def is_library(module: str | None) -> bool:
    """Whether a module is of Python, LangChain, LangGraph or Asterism, and no example."""
    root = str(module).partition(".")[0]
    known = root in sys.stdlib_module_names or root.startswith(_LIBRARIES)
    return known and not str(module).startswith(_EXAMPLES)


def _tool_calls(inputs: Any) -> list[dict[str, Any]]:
    """Return the tool calls that the node of an agent's tools is given."""
    given = as_dict(inputs)
    if "tool_call" in given:
        return [as_dict(given["tool_call"])]
    messages = as_list(inputs) or as_list(given.get("messages"))
    calls = [found for call in messages if (found := as_dict(call))]
    if not calls and messages:
        calls = [as_dict(call) for call in as_list(getattr(messages[-1], "tool_calls", ()))]
    return calls


def _tool_step(node: ToolNode, call: Mapping[str, Any], place: str) -> NextStep:
    """Say which tool a stored call would run, and whether the call still fits it."""
    name, args = str(call.get("name")), as_dict(call.get("args"))
    shown = ", ".join(f"{key}={value!r}" for key, value in args.items())
    what = f"calls the tool {name}({shorten(shown, 100)})"
    tool = node.tools_by_name.get(name)
    if tool is None:
        known = ", ".join(node.tools_by_name) or "none"
        fault = f"the stored call names the tool {name!r}; there are {known}"
        way_out = f"keep a tool {name!r} until no thread waits with a call of it"
        return NextStep(kind="code", place=place, what=what, fault=fault, way_out=way_out)
    return NextStep(kind="code", place=place, what=what, **_argument_fault(tool, args))


def _argument_fault(tool: BaseTool, args: Mapping[str, Any]) -> dict[str, Any]:
    schema: Any = tool.tool_call_schema
    try:
        if hasattr(schema, "model_validate"):
            schema.model_validate(args)
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        return {
            "fault": f"the stored call does not fit the tool {tool.name!r}: {said}",
            "way_out": "give new parameters a default, and take old ones, until none waits",
        }
    return {}
