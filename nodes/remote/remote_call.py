"""The graph of a participant that works elsewhere: it calls, asks people, and calls again.

A question from elsewhere is asked here, in a node of its own, so that its answer repeats no
call. What was asked and answered stands in the participant's own state.
Tests: tests/graphs/test_services.py, tests/graphs/test_remote.py.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, cast
from uuid import NAMESPACE_OID, uuid5

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send, interrupt
from typing_extensions import TypedDict

from asterism.core.continuation import HANDOFF, Graph, idempotency_key
from asterism.core.interrupts import request_prompt
from asterism.core.messages import clean_text, fold_history, media_in_request, with_media
from asterism.core.state import SNAPSHOT_FREQUENCY, HistoryChannel
from asterism.core.sync_async import Steps, StepsNode
from asterism.core.usage import UsageEntry
from asterism.core.values import as_dict
from asterism.errors import RemoteFailedError, RemoteReplyError
from asterism.limits.usage import USAGE
from asterism.nodes.report import messages_since
from asterism.nodes.run_context import meter_of

CALL, ASK = "call", "ask"
CONVERSATION = "conversation"
"""The key of the participant's state that holds the conversation."""
_REFERENCE = re.compile(r'"\$(?:dynamicRef|ref)": "([^"]*)"')


class Question(TypedDict):
    """A question from elsewhere."""

    id: str
    """Names it there."""
    visit: str
    """The handoff of the visit that it is asked in."""
    value: Any
    """What a person is shown."""
    schema: dict[str, Any] | None
    """The JSON schema of the answer, where there is one."""


class RemoteAnswer(TypedDict):
    """A question with its answer."""

    id: str
    visit: str
    prompt: str
    value: Any


def _of_this_visit(known: list[RemoteAnswer], new: list[RemoteAnswer]) -> list[RemoteAnswer]:
    """Add answers, and forget those of earlier visits."""
    visits = {answer["visit"] for answer in new}
    return [*(answer for answer in known if answer["visit"] in visits), *new] if new else known


class _State(TypedDict):
    messages: Annotated[
        list[AnyMessage], HistoryChannel(fold_history, snapshot_frequency=SNAPSHOT_FREQUENCY)
    ]
    questions: list[Question]
    answers: Annotated[list[RemoteAnswer], _of_this_visit]
    conversation: dict[str, Any]
    """The `id` of the conversation, with the `thread` that it belongs to."""


@dataclass(frozen=True, kw_only=True)
class RemoteTask:
    """What is called for: one step of a visit."""

    visit: str
    """The handoff."""
    request: str
    """What is to be done."""
    media: Sequence[dict[str, Any]] = ()
    """The pictures and files that belong to it."""
    conversation: str
    """Names the conversation that the visit belongs to, there as here."""
    key: str
    """Names this call, however often it is made."""
    answers: Sequence[RemoteAnswer]
    """What people have answered in this visit, oldest first."""
    earlier: Sequence[AnyMessage]
    """What was said before this visit."""


@dataclass(frozen=True, kw_only=True)
class RemoteReply:
    """What came back: an answer, or questions."""

    text: str = ""
    media: Sequence[dict[str, Any]] = ()
    """The pictures and files of the answer."""
    questions: Sequence[tuple[str, Any, dict[str, Any] | None]] = ()
    """The id, the value and the schema of each."""
    usage: Sequence[UsageEntry] = field(default=())
    """What it took; the same where the same call is answered again."""
    failure: RemoteFailedError | None = None
    """That the work there has failed."""


def create_remote_call_graph(name: str, send: Callable[[RemoteTask], Steps[RemoteReply]]) -> Graph:
    """Create the graph of a participant that works elsewhere."""

    def call(state: Any, config: RunnableConfig) -> Steps[dict[str, Any]]:
        task = _read_task(state, config)
        reply = yield from send(task)
        questions = [_question(task, *asked) for asked in reply.questions]
        prompts = [request_prompt(question["value"]) for question in questions]
        message = AIMessage(
            with_media(clean_text("\n".join(prompts) if questions else reply.text), reply.media),
            id=task.key,
            response_metadata={USAGE: list(reply.usage)},
        )
        facts = config.get("metadata") or {}
        meter_of(config).recall(str(facts["participant_path"]), facts.get("task"), [message])
        if reply.failure is not None:
            raise reply.failure
        conversation = {"id": task.conversation, "thread": _thread(config)}
        return {"messages": [message], "questions": questions, CONVERSATION: conversation}

    def ask(state: Any, config: RunnableConfig) -> Steps[dict[str, Any]]:
        yield from ()
        question = cast(Question, state)
        value = interrupt(question["value"], response_schema=question["schema"])
        answer: RemoteAnswer = {
            "id": question["id"],
            "visit": question["visit"],
            "prompt": request_prompt(question["value"]),
            "value": clean_text(value) if isinstance(value, str) else value,
        }
        return {"answers": [answer]}

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(_State)
    builder.add_node(CALL, StepsNode(call, name=CALL))
    builder.add_node(ASK, StepsNode(ask, name=ASK))
    builder.add_edge(START, CALL)
    builder.add_conditional_edges(CALL, _asks, [ASK, END])
    builder.add_edge(ASK, CALL)
    return cast(Graph, builder.compile(checkpointer=True, name=name))


def _asks(state: Any) -> list[Send] | str:
    return [Send(ASK, question) for question in state["questions"]] or END


def _read_task(state: Any, config: RunnableConfig) -> RemoteTask:
    """Read what is to be called for from the participant's own state."""
    visit = str((config.get("metadata") or {})[HANDOFF])
    messages: Sequence[AnyMessage] = state["messages"]
    answers = [answer for answer in state.get("answers") or () if answer["visit"] == visit]
    place = len(messages) - len(messages_since(messages, visit)) - 1
    said = [answer["value"] for answer in answers]
    return RemoteTask(
        visit=visit,
        request=messages[place].text,
        media=media_in_request([messages[place]]),
        conversation=_conversation(state, _thread(config), messages[:place]),
        key=_name(idempotency_key(), said),
        answers=answers,
        earlier=messages[:place],
    )


def _conversation(state: Any, thread: Any, earlier: Sequence[AnyMessage]) -> str:
    """Return the conversation that goes on, or name a new one by the thread and its first request.

    A copy of the thread, or a memory that was emptied, begins another conversation; and no other
    database has the same one, because it has not that request.
    """
    known = as_dict(state.get(CONVERSATION))
    if earlier and known.get("thread") == thread:
        return str(known["id"])
    return _name(thread, state["messages"][0].id)


def branch_update(values: Mapping[str, Any], thread: str, branch: str) -> dict[str, Any]:
    """Return the change of a participant's state by which a fork begins another conversation.

    Elsewhere, the conversation so far knows what was said on the branch that is left.
    """
    known = as_dict(values.get(CONVERSATION))
    if known.keys() != {"id", "thread"} or known["thread"] != thread:
        return {}
    return {CONVERSATION: {"id": _name(known["id"], branch), "thread": thread}}


def _thread(config: RunnableConfig) -> Any:
    return as_dict(config.get("configurable")).get("thread_id")


def _name(*parts: Any) -> str:
    return str(uuid5(NAMESPACE_OID, json.dumps(parts, sort_keys=True, default=str)))


def _question(task: RemoteTask, name: str, value: Any, schema: dict[str, Any] | None) -> Question:
    if schema is not None:
        _check_schema(schema)
    return {"id": name, "visit": task.visit, "value": value, "schema": schema}


def _check_schema(schema: dict[str, Any]) -> None:
    """Refuse a schema that no answer could be checked against.

    Raises:
        RemoteReplyError: It is none, or refers to something outside of itself.
    """
    from jsonschema import Draft202012Validator, SchemaError, validators  # loads for long

    try:
        validators.validator_for(schema, Draft202012Validator).check_schema(schema)
    except SchemaError as error:
        said = f"a question has a response_schema that is none: {error.message[:200]}"
        raise RemoteReplyError(said) from error
    if strange := [ref for ref in _REFERENCE.findall(json.dumps(schema)) if ref[:1] != "#"]:
        raise RemoteReplyError(
            f"a question's response_schema refers to {strange[0][:200]!r}; allowed: its own parts"
        )
