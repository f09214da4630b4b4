"""The last node: it writes the answer, in one of three ways."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.errors import GraphBubbleUp
from langgraph.types import Command
from pydantic import BaseModel, ValidationError

from asterism.compaction import Compaction
from asterism.core.decision import FinishRun, load_decision
from asterism.decisions import answer_fault, is_decision, read_objects, said_text
from asterism.digests import DIGEST_TOKENS
from asterism.effects import Call, Steps, StepsNode
from asterism.errors import BudgetExceededError
from asterism.ledger import Usage
from asterism.messages import clean, clean_text, with_media, words_of
from asterism.model_input import prepare_messages
from asterism.nodes.background import STEPS_OF_FAILURE
from asterism.nodes.compacting import Compactor
from asterism.nodes.context import background_of, meter_of, path_of, workflow_path
from asterism.nodes.cutting import Write
from asterism.nodes.engine import has_saver
from asterism.nodes.lifetime import note_end
from asterism.nodes.routing import FINISH, SUPERVISOR
from asterism.nodes.structured_output import Method, StructuredOutput
from asterism.nodes.view import REPORT_ID, SPEAKER, conversation, essentials, label
from asterism.prompts import load_prompt, render
from asterism.redaction import redact
from asterism.state import Report, WorkflowState


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a run answers."""

    text: str
    fields: dict[str, Any] | None = None
    """The fields of the answer as they were given, where a model of them was asked for: plain
    JSON, which that model reads."""
    media: Sequence[dict[str, Any]] = ()
    """The pictures and files of a report that is handed on."""
    message_id: str | None = None
    """The id of the model's message, so that who saw it streamed knows it again."""
    failure: str | None = None
    """Why there is no answer of the kind that was asked for."""
    note: str | None = None
    """What is to be said of it in the reason: that it was cut off or refused."""


Finish = Literal["synthesize", "forward", "inline"] | type[BaseModel]
"""How the answer is written: by the model, as the last report, with the decision that finishes,
or as a pydantic model."""

Writer = Callable[[WorkflowState, RunnableConfig], Steps[Answer]]
"""Writes the answer."""

COMPLETE = "the supervisor found the request complete"


def create_finish_node(write: Writer) -> StepsNode:
    """Create the node that ends a run: the answer, a true status and a reason."""

    def finish(state: Any, config: RunnableConfig) -> Steps[dict[str, Any] | Command[Any]]:
        background = background_of(config)
        if background.failure is not None:
            raise background.failure
        try:
            return (yield from conclude(state, config))
        except (GraphBubbleUp, BudgetExceededError):
            raise
        except Exception as error:
            if not has_saver(config) or state["remaining_steps"] < STEPS_OF_FAILURE:
                raise
            lines = meter_of(config).take(workflow_path(config))
            if not Usage.of(lines).tokens:
                meter_of(config).put_back(lines)
                raise
            background.failure = error  # a node that raises stores nothing
            return Command(update={"usage": lines}, goto=FINISH)

    def conclude(state: Any, config: RunnableConfig) -> Steps[dict[str, Any]]:
        loaded = load_decision(state.get("decision"))
        decision = loaded if isinstance(loaded, FinishRun) else FinishRun()
        said = {"status": decision.status, "reason": decision.reason}
        end: dict[str, str] = {key: value for key, value in said.items() if value}
        if decision.answer:
            answer = Answer(text=decision.answer, fields=decision.fields)
            end = end or _end_of(state, answer)
        else:
            try:
                answer = yield from write(state, config)
            except BudgetExceededError as error:
                if error.owner != workflow_path(config):
                    raise
                answer = yield from forwarder()(state, config)
                end = {"status": "limit", "reason": str(error)}
            else:
                end = end or _end_of(state, answer)
        end = {"status": "completed", "reason": COMPLETE, **end}
        if answer.note:
            end["reason"] = redact(f"{end['reason']}; {answer.note}")
        note_end(config, {**end, "answer": answer.text})
        known = {message.id for message in state["messages"]}  # fake models repeat their ids
        message = AIMessage(
            with_media(clean_text(answer.text), answer.media),
            id=None if answer.message_id in known else answer.message_id,
            name=SUPERVISOR,
            response_metadata=label(answer=True),
        )
        return {
            "messages": [] if decision.recorded else [message],
            **end,
            "structured_response": answer.fields,
            "usage": meter_of(config).take(workflow_path(config)),
        }

    return StepsNode(finish, name=FINISH)


def writer_of(
    finish: Finish,
    model: Runnable[Any, AIMessage] | None,
    instructions: str = "",
    compactor: Compactor | None = None,
    decisions: Method | None = None,
) -> Writer:
    """Make what writes the answer; without a model, the last report is handed on."""
    if finish == "forward" or model is None:
        return forwarder()
    if isinstance(finish, type):
        return structurer(model, finish, compactor, decisions)
    return synthesizer(model, instructions, compactor)


def synthesizer(
    model: Runnable[Any, AIMessage], instructions: str = "", compactor: Compactor | None = None
) -> Writer:
    """Let the model write the answer from the conversation, with all reports as they are."""

    def write(state: WorkflowState, config: RunnableConfig) -> Steps[Answer]:
        rules = "\n\n".join(filter(None, (load_prompt("synthesize"), instructions)))
        messages = _prompt(rules, state, config, compactor)
        sent = prepare_messages(messages)
        answer = yield Call(model.invoke, model.ainvoke, (sent, SPEAKER))
        if not words_of(answer) or is_decision(answer.text):
            return (yield from forwarder()(state, config))  # small models imitate decisions
        fault = answer_fault(answer)
        note = None if fault is None else fault[1]
        return Answer(text=words_of(answer), message_id=answer.id, note=note)

    return write


def forwarder() -> Writer:
    """Hand the last report on as it was written, without a model."""

    def write(state: WorkflowState, config: RunnableConfig) -> Steps[Answer]:
        yield from ()
        reports: Sequence[Report] = state.get("reports") or ()
        written = [report for report in reports if report["text"]]
        if not written:
            return Answer(text=_what_there_is(state))
        return Answer(text=written[-1]["text"], media=written[-1].get("media") or ())

    return write


def structurer(
    model: Runnable[Any, AIMessage],
    schema: type[BaseModel],
    compactor: Compactor | None = None,
    decisions: Method | None = None,
) -> Writer:
    """Let the model fill in `schema`; a bad answer is sent back once, a second one is a failure."""
    output = StructuredOutput(model, decisions)

    def write(state: WorkflowState, config: RunnableConfig) -> Steps[Answer]:
        rules = render("structured", schema=schema.__name__)
        messages = _prompt(rules, state, config, compactor)
        fault, said = "", AIMessage("")
        for _ in range(2):
            said = AIMessage("")
            try:
                said = yield from output.ask(messages, schema)
                fields = filled_fields(said, schema.__name__)
                filled = read_fields(schema, fields)
            except ValueError as error:
                fault = f"{schema.__name__}: {_describe(error)}"
                complaint = HumanMessage(f"That does not fit {fault}. Answer again.")
                messages = [*messages, AIMessage(said_text(said) or "(nothing)"), complaint]
            else:
                shown = filled.model_dump_json(indent=2, by_alias=True)
                return Answer(text=shown, fields=fields)
        return Answer(
            text=said_text(said) or _what_there_is(state),
            failure=redact(f"the answer does not fit {fault}"),
        )

    return write


def filled_fields(said: AIMessage, name: str) -> dict[str, Any]:
    """Return what a model has filled in, as it stands in its message.

    Raises:
        BadDecisionError: It holds no fields, or was cut off or refused.
    """
    return clean(dict(read_objects(said, name)[-1]))


def read_fields(schema: type[BaseModel], fields: Mapping[str, Any]) -> BaseModel:
    """Make the object of stored fields, which are plain JSON.

    Raises:
        pydantic.ValidationError: They do not fit.
    """
    try:
        return schema.model_validate(fields)
    except ValidationError:  # a strict one reads dates and the like in JSON alone
        return schema.model_validate_json(json.dumps(fields))


def _prompt(
    rules: str, state: WorkflowState, config: RunnableConfig, compactor: Compactor | None
) -> list[AnyMessage]:
    """Write what the model is sent: the conversation, with the reports of this request whole.

    Where that is too long for the policy there is, they are shown as digests.
    """
    messages, first = state["messages"], SystemMessage(rules)
    if compactor is None:
        return [first, *conversation(messages, decisions=False)]
    pinned = essentials(messages) | {
        f"{REPORT_ID}{report['id']}" for report in state.get("reports") or ()
    }
    lengths = (None, DIGEST_TOKENS, DIGEST_TOKENS // 8)
    return compactor.once(
        messages,
        cast(Compaction | None, state.get("compaction")),
        config,
        path=path_of(config, FINISH),
        writes=[_writing(first, tokens) for tokens in lengths],
        pinned=pinned,
    )


def _writing(first: AnyMessage, tokens: int | None) -> Write:
    def write(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
        shown = conversation(messages, digest_tokens=tokens, reading=False, decisions=False)
        return [first, *shown]

    return write


def _describe(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    places = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults[:20])
    return "; ".join(places)


def _end_of(state: WorkflowState, answer: Answer) -> dict[str, str]:
    """Say how a run ends whose supervisor found the request complete.

    It has failed where everybody who was sent to work has, and no person was asked about it. Who
    came to a limit has left what there was until then.
    """
    if answer.failure:
        return {"status": "failed", "reason": answer.failure}
    reports: Sequence[Report] = state.get("reports") or ()
    tried = [report for report in reports if report["status"] != "skipped"] or reports
    latest = {report["participant"]: report for report in tried}
    lost = [r for r in latest.values() if r["status"] != "ok" and "to" not in _made_up(r)]
    if not lost:
        return {}
    settled = ("ok", "limit")
    asked = any(_made_up(report).get("action") == "ask_person" for report in reports)
    if asked or any(report["status"] in settled for report in reports):
        return {"reason": f"{COMPLETE}; not all could do their part: {told_failures(lost)}"}
    return {"status": "failed", "reason": f"nobody could do it: {told_failures(lost)}"}


def _made_up(report: Report) -> Mapping[str, str]:
    return report.get("compensation") or {}


def told_failures(reports: Iterable[Report]) -> str:
    """Say who has failed, and why."""
    return "; ".join(f"{r['participant']}: {r.get('error', r['status'])}" for r in reports)


def _what_there_is(state: WorkflowState) -> str:
    """Put the reports together where nobody wrote an answer."""
    reports = cast(Sequence[Report], state.get("reports") or ())
    parts = [
        f"{report['participant']}: {report['text'] or report.get('error', '')}"
        for report in reports
    ]
    return "\n\n".join(parts) or "There is no report."
