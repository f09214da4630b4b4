"""Open questions and tool approvals of a thread, and the checked way to answer them (`resume`)."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, overload

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.types import Command, Interrupt, PregelTask, StateSnapshot

from asterism.core.checkpoints import checkpoint_key, list_checkpoints
from asterism.core.continuation import Graph, ThreadLike, thread_config
from asterism.core.run_types import Returns, T, WorkflowResult
from asterism.core.sync_async import Steps, arun_steps, run_steps
from asterism.core.values import as_dict, as_list
from asterism.errors import AnswerError, NothingPendingError, UnknownRequestError

APPROVAL = "tool_approval"
"""The `request_type` of a request to approve tool calls."""

_ARGUMENTS: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "args": {"type": "object"}},
    "required": ["name", "args"],
}
_DECISIONS: dict[str, dict[str, Any]] = {
    "approve": {},
    "edit": {"edited_action": _ARGUMENTS},
    "reject": {},
    "respond": {"message": {"type": "string", "minLength": 1}},
}


def is_approval(value: object) -> bool:
    """Whether an interrupt asks to approve tool calls."""
    return isinstance(as_dict(value).get("action_requests"), list)


def approval_prompt(value: Mapping[str, Any]) -> str:
    """Say which calls are to be approved, and what may be answered."""
    calls = (
        f"{action['name']}({', '.join(f'{k}={v!r}' for k, v in as_dict(action['args']).items())})"
        for action in cast(Sequence[dict[str, Any]], value["action_requests"])
    )
    allowed = dict.fromkeys(kind for kinds in _find_allowed_decisions(value) for kind in kinds)
    return f"May these tools be called: {', '.join(calls)}? Allowed: {', '.join(allowed)}."


def approval_schema(value: Mapping[str, Any]) -> dict[str, Any]:
    """Write the JSON schema of the answer: one decision for each call, in their order."""
    items = [
        {"anyOf": [_decision(kind) for kind in kinds]} for kinds in _find_allowed_decisions(value)
    ]
    decisions = {
        "type": "array",
        "prefixItems": items,
        "minItems": len(items),
        "maxItems": len(items),
    }
    return {"type": "object", "properties": {"decisions": decisions}, "required": ["decisions"]}


def approval_answer(value: Mapping[str, Any], answer: object) -> Any:
    """Write an answer in full: a word or a single decision stands for all calls."""
    count = len(value["action_requests"])
    if isinstance(answer, str):
        return {"decisions": [{"type": answer.strip().lower()}] * count}
    if isinstance(answer, list):
        return {"decisions": as_list(cast(object, answer))}
    if "type" in as_dict(answer):
        return {"decisions": [as_dict(answer)] * count}
    return answer


def _find_allowed_decisions(value: Mapping[str, Any]) -> list[list[str]]:
    """Return the kinds of decision that are allowed for each call."""
    configs = {
        config["action_name"]: list(config["allowed_decisions"])
        for config in cast(Sequence[dict[str, Any]], value.get("review_configs") or ())
    }
    actions = cast(Sequence[dict[str, Any]], value["action_requests"])
    return [configs.get(action["name"], ["approve", "reject"]) for action in actions]


def _decision(kind: str) -> dict[str, Any]:
    fields = _DECISIONS.get(kind, {})
    return {
        "type": "object",
        "properties": {"type": {"const": kind}, "message": {"type": "string"}, **fields},
        "required": ["type", *fields],
    }


ANY_TEXT = {"type": "string", "minLength": 1}
"""The schema of an answer that is any text, as of the questions of supervisors.

Asked for most, it is checked without the library for the others, which takes 60 ms to load.
"""

CHECKS = 100_000
"""How many keywords of a schema are looked at to check an answer; a hostile one has no end."""
NOBODY_WAITS = "Nobody is waiting for an answer on this thread."
INTERRUPT, ERROR = "__interrupt__", "__error__"
"""The names under which the engine stores questions and failures."""

SUPERVISOR_NODES = ("human", "dispatch")
"""The nodes of a workflow that are no participants."""


@dataclass(frozen=True, kw_only=True)
class PendingRequest:
    """A question that waits for a person."""

    id: str
    """Names the request in `resume`."""
    participant: str
    """Who asks: the id of a participant, or `"supervisor"` of the outermost workflow."""
    path: str
    """Where it is asked, from the outermost participant inwards, as in `"team/venue"`."""
    request_type: str
    """What kind of answer is wanted: `"question"`, `"tool_approval"`, or what the asker named."""
    prompt: str
    """The question."""
    schema: dict[str, Any] | None
    """The JSON schema of the answer, where the asker gave one."""
    value: Any
    """Everything that the asker handed over."""

    def as_json(self) -> dict[str, Any]:
        """Return all but the `value` as plain JSON values."""
        names = ("id", "participant", "path", "request_type", "prompt", "schema")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class PendingAnswers:
    """Answers that are not checked yet, for a graph that checks them while it holds the thread."""

    given: Any


def pending_requests(graph: Graph, config: ThreadLike) -> list[PendingRequest]:
    """List the open requests of a thread, at any depth."""
    return open_requests(graph.get_state(thread_config(config), subgraphs=True))


async def apending_requests(graph: Graph, config: ThreadLike) -> list[PendingRequest]:
    """List the open requests of a thread, at any depth."""
    return open_requests(await graph.aget_state(thread_config(config), subgraphs=True))


@overload
def resume(graph: Returns[T], config: ThreadLike, answers: Any) -> WorkflowResult[T]: ...
@overload
def resume(graph: Graph, config: ThreadLike, answers: Any) -> Any: ...
def resume(graph: Any, config: ThreadLike, answers: Any) -> Any:
    """Answer open requests and go on.

    Args:
        graph: The workflow.
        config: The thread, or its id.
        answers: One value where one request is open, or `{id: value}` for some or all.

    Returns:
        What `invoke` returns.

    Raises:
        NothingPendingError: No request is open.
        UnknownRequestError: An id names no open request.
        AnswerError: An answer is missing or of the wrong kind. Nothing has run, and every
            request stays open.
    """
    config = thread_config(config)
    command: Any = PendingAnswers(answers)
    if not getattr(graph, "checks_answers", False):
        command = run_steps(answering(pending_requests(graph, config), answers, graph, config))
    return graph.invoke(command, config)


@overload
async def aresume(graph: Returns[T], config: ThreadLike, answers: Any) -> WorkflowResult[T]: ...
@overload
async def aresume(graph: Graph, config: ThreadLike, answers: Any) -> Any: ...
async def aresume(graph: Any, config: ThreadLike, answers: Any) -> Any:
    """Answer open requests and go on; see `resume`."""
    config = thread_config(config)
    command: Any = PendingAnswers(answers)
    if not getattr(graph, "checks_answers", False):
        pending = await apending_requests(graph, config)
        command = await arun_steps(answering(pending, answers, graph, config))
    return await graph.ainvoke(command, config)


def answering(
    pending: list[PendingRequest], answers: Any, graph: Graph, config: RunnableConfig
) -> Steps[Command[Any]]:
    """Check answers against what is open and make the command that gives them; see `resume`."""
    keys = as_dict(answers).keys()
    ambiguous = looks_like_ids(answers) and not keys & {request.id for request in pending}
    asked = (
        (yield from past_request_ids(graph, config)) if pending and ambiguous else frozenset[str]()
    )
    return answer_command(pending, answers, asked)


def past_request_ids(graph: Graph, config: RunnableConfig) -> Steps[frozenset[str]]:
    """Return the ids of all requests that were ever open on a thread."""
    saver = cast(Any, graph.checkpointer)
    thread = as_dict(config.get("configurable")).get("thread_id")
    if not isinstance(saver, BaseCheckpointSaver) or thread is None:
        return frozenset()
    items: list[CheckpointTuple] = yield list_checkpoints(
        cast(Any, saver), checkpoint_key(str(thread))
    )
    written = (write for item in items for write in item.pending_writes or ())
    return frozenset(
        str(interrupt.id)
        for _, channel, value in written
        if channel == INTERRUPT
        for interrupt in cast(Sequence[Any], value)
        if isinstance(interrupt, Interrupt)
    )


def open_requests(snapshot: StateSnapshot) -> list[PendingRequest]:
    """List the open requests in a state that was read with `subgraphs=True`."""
    return [
        request_of(interrupt, path) for interrupt, path in _collect_requests(snapshot.tasks, ())
    ]


def answer_command(
    pending: list[PendingRequest], answers: Any, asked: Collection[str] = ()
) -> Command[Any]:
    """Check answers against what is open and make the command that gives them; see `resume`.

    Args:
        pending: What is open.
        answers: The answers.
        asked: The ids of all that was ever open. A mapping of other keys is one answer, also
            where they look like such ids.
    """
    if not pending:
        raise NothingPendingError(NOBODY_WAITS)
    by_id = {request.id: request for request in pending}
    given = as_dict(answers)
    if not given.keys() & by_id.keys():
        if not looks_like_ids(given) and len(pending) > 1:
            raise AnswerError(
                f"{len(pending)} requests are open, so the answers need ids: "
                f"{{id: value}} with ids of {_list_requests(pending)}."
            )
        if len(pending) == 1 and not given.keys() & set(asked):
            try:
                return Command(resume={pending[0].id: _validate_answer(pending[0], answers)})
            except AnswerError:
                if not looks_like_ids(given):
                    raise
    for key in given:
        if key not in by_id:
            raise UnknownRequestError(
                f"No open request has the id {key!r}; open are {_list_requests(pending)}."
            )
    return Command(
        resume={key: _validate_answer(by_id[key], value) for key, value in given.items()}
    )


def _collect_requests(
    tasks: Sequence[PregelTask], path: tuple[str, ...], *, star: bool = True
) -> Iterator[tuple[Interrupt, tuple[str, ...]]]:
    """Yield each open interrupt once, with the participants that lead to it.

    Args:
        tasks: The tasks of one graph.
        path: The participants above it.
        star: Whether the graph is a workflow, whose nodes are participants.
    """
    for task in tasks:
        here = (*path, task.name) if star and task.name not in SUPERVISOR_NODES else path
        open_ids = {interrupt.id for interrupt in task.interrupts}
        inner: list[tuple[Interrupt, tuple[str, ...]]] = []
        if isinstance(task.state, StateSnapshot):
            below = _collect_requests(task.state.tasks, here, star="reports" in task.state.values)
            inner = [found for found in below if found[0].id in open_ids]
            yield from inner
        known = {interrupt.id for interrupt, _ in inner}
        yield from ((i, here) for i in task.interrupts if i.id not in known)


def request_of(interrupt: Interrupt, path: tuple[str, ...] = ()) -> PendingRequest:
    """Read the request that an interrupt stands for."""
    value: Any = interrupt.value
    fields = as_dict(value)
    asks = is_approval(value)
    schema = as_dict(interrupt.response_schema)
    return PendingRequest(
        id=interrupt.id,
        participant=path[-1] if path else "supervisor",
        path="/".join(path),
        request_type=APPROVAL if asks else str(fields.get("request_type") or "question"),
        prompt=request_prompt(value),
        schema=schema or (approval_schema(fields) if asks else None),
        value=value,
    )


def request_prompt(value: object) -> str:
    """Return the question that the value of an interrupt asks."""
    fields = as_dict(value)
    if is_approval(value):
        return approval_prompt(fields)
    return str(fields.get("prompt") or fields.get("question") or value)


def looks_like_ids(answers: object) -> bool:
    """Whether a value is a mapping whose keys could all be ids of requests."""
    keys: Any = as_dict(answers)
    return bool(keys) and all(isinstance(key, str) and len(key) == 32 for key in keys)


def _validate_answer(request: PendingRequest, value: Any) -> Any:
    """Return an answer in full, or refuse one that the asker could not use."""
    if value is None or (isinstance(value, str) and not value.strip()):
        raise AnswerError(f"The answer to {request.prompt!r} is empty.")
    if is_approval(request.value):
        value = approval_answer(as_dict(request.value), value)
    if request.schema is None or (request.schema == ANY_TEXT and isinstance(value, str)):
        return value
    import referencing
    from jsonschema import Draft202012Validator, exceptions, validators
    from referencing.exceptions import Unresolvable

    # With a registry of its own, a `$ref` of the schema is not looked up on the network.
    kind = cast(Any, validators).validator_for(request.schema, Draft202012Validator)
    bounded = cast(Any, validators).extend(kind, _bound_keywords(kind.VALIDATORS))
    check = bounded(request.schema, registry=cast(Any, referencing).Registry())
    try:
        fault: Any = cast(Any, exceptions).best_match(check.iter_errors(value))
    except Unresolvable as error:
        raise AnswerError(
            f"The answer to {request.prompt!r} cannot be checked: the schema refers to "
            f"{error.ref!r}, and only its own parts are read."
        ) from error
    except RecursionError as error:
        raise AnswerError(
            f"The answer to {request.prompt!r} cannot be checked: the schema refers to itself "
            "without an end."
        ) from error
    if fault:
        place = "".join(f"[{part!r}]" for part in fault.absolute_path)
        raise AnswerError(
            f"The answer to {request.prompt!r} does not fit{f' at {place}' if place else ''}: "
            f"{fault.message[:500]}. Allowed: {json.dumps(fault.schema)[:500]}."
        )
    return value


def _bound_keywords(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return what checks the keywords of a schema, so that all of it comes to an end."""
    left = CHECKS

    def bounded(check: Any) -> Any:
        def counted(*values: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise AnswerError(
                    f"The answer cannot be checked: its schema asks for more than {CHECKS} checks."
                )
            return check(*values)

        return counted

    return {keyword: bounded(check) for keyword, check in keywords.items()}


def _list_requests(pending: list[PendingRequest]) -> str:
    return ", ".join(f"{request.id} ({request.path}: {request.prompt!r})" for request in pending)
