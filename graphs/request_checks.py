"""Checks before a run: the thread, the request, the answers, and participants that are missing.

Open it for plans under way as a stored run shows them, too.
Tests: tests/graphs/test_bad_inputs.py, tests/graphs/test_workflow.py.
"""

import warnings
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    RemoveMessage,
    convert_to_messages,
)
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Command, PregelTask, StateSnapshot

from asterism.core.checkpoints import check_state, thread_of
from asterism.core.continuation import Graph
from asterism.core.decision import RunPlan, VisitNext, load_decision
from asterism.core.interrupts import (
    ERROR,
    NOBODY_WAITS,
    looks_like_ids,
    open_requests,
    past_request_ids,
)
from asterism.core.messages import clean
from asterism.core.sync_async import Call, Steps
from asterism.core.values import as_dict, as_list
from asterism.errors import (
    ConfigurationError,
    InvalidRequestError,
    InvalidThreadError,
    NothingPendingError,
    UnknownParticipantError,
    UnknownRequestError,
)
from asterism.nodes.engine_keys import parent_checkpointer, participant_config
from asterism.nodes.routing import DISPATCH
from asterism.nodes.team import Team
from asterism.nodes.view import message_label


def unfinished_tasks(snapshot: StateSnapshot) -> dict[str, str]:
    """Return the tasks of the plan that are not done yet, each with who does it."""
    values = as_dict(snapshot.values)
    decision = load_decision(values.get("decision"))
    if DISPATCH not in snapshot.next or not isinstance(decision, RunPlan):
        return {}
    agents: dict[str, str] = {task["task_id"]: task["agent_id"] for task in decision.tasks}
    taken = values.get("iterations")
    for report in values.get("reports") or ():
        if report["round"] == taken and (name := report.get("task")) in agents:
            heir = as_dict(report.get("compensation")).get("to")
            if heir is None:
                del agents[name]
            else:
                agents[name] = heir
    return agents


def running_participants(snapshot: StateSnapshot) -> set[str]:
    """Return who is at work for a plan, or waits for a person in the middle of it."""
    running = as_dict(snapshot.values).get("running") or ()
    return {agent for task, agent in unfinished_tasks(snapshot).items() if task in running}


def with_plan_visits(snapshot: StateSnapshot, team: Team, saver: Any) -> Steps[StateSnapshot]:
    """Show the visits of a plan under way, as the engine shows those of its own nodes."""
    visits: list[PregelTask] = []
    for name in sorted(running_participants(snapshot)):
        member = None
        with suppress(Exception):  # a created agent may be impossible to make, by now
            member = team.member(name, as_dict(snapshot.values))
        if member is None:  # it takes no part any more
            visits.append(PregelTask("", name, ((),)))
            continue
        place = participant_config(snapshot.config, saver, name)
        read = (member.graph.get_state, member.graph.aget_state)
        found: StateSnapshot = yield Call(*read, (place,), {"subgraphs": True})
        visits.append(PregelTask("", name, ((),), interrupts=found.interrupts, state=found))
    return _with_visits(snapshot, _assign_questions(snapshot, visits)) if visits else snapshot


def _assign_questions(snapshot: StateSnapshot, visits: Sequence[PregelTask]) -> list[PregelTask]:
    """Give the questions that nobody's state shows to the one visit that shows none."""
    shown = {interrupt.id for visit in visits for interrupt in visit.interrupts}
    rest = tuple(i for i in snapshot.interrupts if i.id not in shown)
    silent = [visit for visit in visits if not visit.interrupts]
    if len(silent) != 1:
        return [*visits]
    return [visit._replace(interrupts=rest) if visit is silent[0] else visit for visit in visits]


def _with_visits(snapshot: StateSnapshot, visits: Sequence[PregelTask]) -> StateSnapshot:
    inner = StateSnapshot(
        values={"reports": as_dict(snapshot.values).get("reports") or []},
        next=tuple(visit.name for visit in visits),
        config=snapshot.config,
        metadata=None,
        created_at=None,
        parent_config=None,
        tasks=tuple(visits),
        interrupts=(),
    )
    tasks: list[Any] = [
        task._replace(state=inner) if task.name == DISPATCH else task for task in snapshot.tasks
    ]
    return snapshot._replace(tasks=tuple(tasks))


THREAD_ID_LIMIT = 255
"""The longest thread id."""


def check_thread(config: RunnableConfig | None) -> str:
    """Return the thread id of a config.

    Raises:
        InvalidThreadError: There is none, or it is not a text of 1 to 255 printable
            characters. LangGraph would store None as one thread that strangers share.
    """
    if isinstance(cast(object, config), str):
        raise InvalidThreadError(
            f"The config is the text {config!r:.300}. Give the thread as "
            f'config={{"configurable": {{"thread_id": {config!r:.300}}}}}.'
        )
    thread: object = ((config or {}).get("configurable") or {}).get("thread_id")
    text = str(thread) if isinstance(thread, str | int | UUID) else ""
    if not text.strip() or len(text) > THREAD_ID_LIMIT or not text.isprintable():
        raise InvalidThreadError(
            f"The thread id is {thread!r}. A workflow with a checkpointer needs one of 1 to "
            f"{THREAD_ID_LIMIT} printable characters: "
            'config={"configurable": {"thread_id": "my-thread"}}.'
        )
    return text


def check_thread_readable(graph: Graph, config: RunnableConfig) -> None:
    """Check the thread of which a graph is to read something, where it stores any.

    Raises:
        InvalidThreadError: As of `check_thread`.
        ConfigurationError: No thread is stored.
    """
    if isinstance(graph.checkpointer, BaseCheckpointSaver):
        check_thread(config)
    elif parent_checkpointer(config) is None:
        raise ConfigurationError(
            f"The workflow {graph.name!r} has no checkpointer, so it stores no threads and nobody "
            'can answer its questions. Give it one: build(checkpointer="sqlite:///threads.db").'
        )


_ALLOWED_INPUT = 'Allowed: {"messages": [("user", "what you want")]}.'


def validate_request(given: object) -> dict[str, Any]:
    """Read the request, so that a wrong one costs nothing.

    The caller's messages are copied: the history gives each an id, and the same object must
    be a new message when it is given again.

    Raises:
        InvalidRequestError: It is no mapping, there is no message, or none says anything.
    """
    if not isinstance(given, Mapping):
        raise InvalidRequestError(f"The input is {given!r:.100}. {_ALLOWED_INPUT}")
    fields = as_dict(cast(object, given))
    messages = fields.get("messages")
    if not messages:
        raise InvalidRequestError(f"The input has no messages. {_ALLOWED_INPUT}")
    try:
        read = clean(convert_to_messages(as_list(messages)))
    except (ValueError, NotImplementedError) as error:
        raise InvalidRequestError(f"The input's messages cannot be read: {error}") from error
    if not any(message.type == "human" and _says_something(message) for message in read):
        raise InvalidRequestError(
            f"The input has no message of the user that says anything. {_ALLOWED_INPUT}"
        )
    return {**fields, "messages": [message.model_copy() for message in read]}


def is_new_request(given: object, config: RunnableConfig) -> bool:
    """Whether an input has nothing to do with what its thread holds: no answer, edit or fork."""
    request = as_dict(given)
    forks = as_dict(config.get("configurable")).get("checkpoint_id")
    return bool(request) and not forks and all(m.id is None for m in request["messages"])


def is_at_rest(stored: CheckpointTuple) -> bool:
    """Whether a checkpoint surely leaves no work: no node has been sent to, nothing is half done.

    It is read for that alone, so the histories of the thread need not be.

    Raises:
        StorageError: It does not have the form of one.
    """
    values = stored.checkpoint["channel_values"]
    plain = {key: getattr(value, "value", value) for key, value in values.items()}  # of snapshots
    check_state(thread_of(stored.config), plain)
    return not stored.pending_writes and not any(k.startswith(("branch:", "__")) for k in values)


def resent(request: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Move a message that is sent again under its id to the end of the history, as it is now.

    What is asked stands last there. In its old place it would count as answered already.

    Args:
        request: The input.
        values: The state that it finds.
    """
    new: Sequence[AnyMessage] = request["messages"]
    known: Sequence[AnyMessage] = values.get("messages") or ()
    asked = next(message.id for message in reversed(new) if message.type == "human")
    if asked is None or all(message.id != asked for message in known[:-1]):
        return request
    edited = {message.id: message for message in new}
    kept = [edited.pop(m.id, m) for m in known if m.id != asked]
    added = [message for message in new if message.id is None or message.id in edited]
    return {**request, "messages": [RemoveMessage(REMOVE_ALL_MESSAGES), *kept, *added]}


def check_pending(snapshot: StateSnapshot, participants: Mapping[str, str]) -> None:
    """Check that the visit a stored run waits for can be made.

    Raises:
        UnknownParticipantError: It goes to somebody whom the workflow does not have any more;
            the engine would end the run without a word.
    """
    if (name := missing_participant(snapshot, participants)) is not None:
        raise UnknownParticipantError(
            f"The run waits for a visit to {name!r}, whom this workflow does not have; it has "
            f"{', '.join(participants)}. Say who takes over, or None to decide anew: "
            f"workflow.rename(config, {{{name!r}: ...}})."
        )


def find_addressee(
    workflow: Graph, given: Command[Any], found: StateSnapshot, whole: Call
) -> Steps[Command[Any]]:
    """Check who an answer is for, as far as `resume` does that of an answer without a schema.

    Args:
        workflow: Whose questions are answered.
        given: The answer.
        found: Its state.
        whole: Reads the state with those of its participants.

    Raises:
        NothingPendingError: No request is open.
        UnknownRequestError: It names requests, and none of them is open.
    """
    ids = {interrupt.id for interrupt in found.interrupts}
    if not ids:  # those of a plan that was stopped are known inside of it alone
        ids = {request.id for request in open_requests((yield whole))}
    asked: frozenset[str] = frozenset()
    if looks_like_ids(given.resume) and not ids & as_dict(given.resume).keys():
        asked = yield from past_request_ids(workflow, found.config)
    return address_answer(given, ids, asked)


def address_answer(
    given: Command[Any], ids: Collection[str], asked: Collection[str] = ()
) -> Command[Any]:
    """Clean answers, and address the one answer to the one question that is open.

    The engine hands an answer without an address down from node to node; the visits of a
    plan are no nodes of their own.

    Args:
        given: The answers.
        ids: The requests that are open.
        asked: All that were ever open, where the answers name none of those.

    Raises:
        NothingPendingError: None is open.
        UnknownRequestError: The answers name others.
    """
    if not ids:
        raise NothingPendingError(NOBODY_WAITS)
    resume = clean(given.resume)
    names = as_dict(resume).keys()
    if looks_like_ids(resume) and not names & set(ids) and (len(ids) > 1 or names & set(asked)):
        raise UnknownRequestError(
            f"No open request has the id {next(iter(names))!r}; open are {', '.join(sorted(ids))}."
        )
    if len(ids) == 1 and not names & set(ids):
        resume = {next(iter(ids)): resume}
    return replace(given, resume=resume)


def missing_participant(snapshot: StateSnapshot, participants: Mapping[str, str]) -> str | None:
    """Return the participant that a stored run waits for and that is not there any more."""
    values: dict[str, Any] = snapshot.values
    decision = load_decision(values.get("decision"))
    going = values.get("status") == "running" and not snapshot.next
    if not isinstance(decision, VisitNext) or decision.next_agent in participants or not going:
        return None
    return decision.next_agent


def cancellation_notes(
    snapshot: StateSnapshot, participants: Mapping[str, str]
) -> list[AnyMessage]:
    """Note in the history what a new request cuts off: open questions, visits under way.

    Args:
        snapshot: The state that the new request finds, read with its subgraphs.
        participants: Who takes part.
    """
    notes: list[AnyMessage] = []
    asked: set[str] = set()
    for request in open_requests(snapshot):
        asked.add(request.path.split("/")[0])
        who = request.path or "supervisor"
        text = f"(withdrawn by a new message: {who} asked {request.prompt!r})"
        facts = message_label(report="cancelled") if request.path else message_label(withdrawn=True)
        notes.append(AIMessage(text, name=request.participant, response_metadata=facts))
    for name in (*snapshot.next, *sorted(running_participants(snapshot))):
        if name in participants and name not in asked:
            text = f"(withdrawn by a new message: {name} was still at work)"
            facts = message_label(report="cancelled")
            notes.append(AIMessage(text, name=name, response_metadata=facts))
    return notes


CANCELLED = "cancelled: the run was stopped from outside"
"""The text that is stored as the error of a step that was under way."""


def record_cancellation(saver: Any, found: StateSnapshot) -> Steps[None]:
    """Store with the steps that were under way that the run was cancelled."""
    for task in found.tasks:
        if not task.error and not task.interrupts and task.result is None:
            written = (found.config, [(ERROR, CANCELLED)], task.id)
            yield Call(saver.put_writes, saver.aput_writes, written)


def warn_unanswerable(name: str) -> None:
    """Warn of a question that nobody can answer, as nothing is stored."""
    warnings.warn(
        f"The workflow {name!r} waits for an answer, and nothing is stored, so it cannot be "
        "given: build(checkpointer=...).",
        stacklevel=4,
    )


def _says_something(message: BaseMessage) -> bool:
    content: Any = message.content
    return bool(content.strip() if isinstance(content, str) else content)
