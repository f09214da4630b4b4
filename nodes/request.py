"""The nodes at the ends of a request: begin, finish, undo; and the writers of the answer.

Open it for how counters start anew, how an answer is written or filled into a schema, and how
work is undone. Tests: tests/nodes/test_request.py, tests/graphs/test_answers.py.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.errors import GraphBubbleUp
from langgraph.types import Command, Overwrite, RetryPolicy
from pydantic import BaseModel, ValidationError

from asterism.core.decision import FinishRun, load_decision
from asterism.core.defaults import Method
from asterism.core.digests import DIGEST_TOKENS
from asterism.core.history_cache import look_at
from asterism.core.messages import clean, clean_text, with_media, words_of
from asterism.core.model_input import prepare_messages
from asterism.core.state import Report, VisitRequest, WorkflowState
from asterism.core.steering import taken_ids
from asterism.core.supervisor_decision import answer_fault, decider_text, is_decision, read_objects
from asterism.core.sync_async import Call, Steps, StepsNode, sync_async_pair
from asterism.core.usage import Usage
from asterism.core.values import describe_error, log_failure, redact, traceback_of
from asterism.errors import BudgetExceededError
from asterism.limits.failure_policies import failure_kind
from asterism.nodes.engine_keys import has_saver
from asterism.nodes.participant_runtime import ParticipantRuntime
from asterism.nodes.policies import call_with_retry
from asterism.nodes.report import answer_report, failure_report, report_message
from asterism.nodes.routing import BEGIN, FINISH, SUPERVISOR, UNDO
from asterism.nodes.run_context import (
    STEPS_OF_FAILURE,
    background_of,
    meter_of,
    note_end,
    participant_path,
    workflow_path,
)
from asterism.nodes.structured_output import StructuredOutput
from asterism.nodes.view import (
    REPORT_ID,
    Renderer,
    conversation,
    message_label,
    pinned_message_ids,
    supervisor_run_config,
)
from asterism.prompts import load_prompt, render

if TYPE_CHECKING:
    from asterism.memories.context_policies import Compaction
    from asterism.nodes.compaction import Compactor, PromptWriter

_EMPTY: dict[str, Any] = {
    "decision": None,
    "running": [],
    "breach": None,
    "limits": {},
    "tries": None,
}
"""What only the workflow itself reads, as a request begins. It is written where an earlier request
has left something: each checkpoint names all channels that were ever written."""


def create_begin_node(made_of: Callable[[], Mapping[str, str]] | None = None) -> StepsNode:
    """Create the node that opens a request on a thread.

    Args:
        made_of: Returns what the request is to be known by later, as `hashes_of` does.
    """

    def begin(state: Any, config: RunnableConfig) -> Steps[dict[str, Any]]:
        yield from ()
        words = [*_latest_words(state["messages"])][::-1]
        background_of(config).taken.update(taken_ids(words))
        brief = [message.text for message in words]
        if state.get("status") == "waiting":
            # A chat client answers a question with a plain message: that is a new run, and
            # what was asked before still belongs to what is asked now.
            brief = [*(state.get("brief") or ()), *brief]
        hashes = {} if made_of is None or not has_saver(config) else dict(made_of())
        return {
            **{key: empty for key, empty in _EMPTY.items() if state.get(key)},
            # at each request: a growing channel is read back to where it was written last, so
            # that no checkpoint after that could be pruned
            **({"made_of": hashes} if hashes or state.get("made_of") else {}),
            "brief": Overwrite(brief),
            "status": "running",
            "reason": None,
            "iterations": 0,
            "reports": Overwrite([]),
            "usage": Overwrite([]),
            "structured_response": None,
        }

    return StepsNode(begin, name=BEGIN)


def _latest_words(messages: Sequence[BaseMessage]) -> Iterator[BaseMessage]:
    """Yield what the user said last, newest first: the messages that nobody has answered."""
    has_begun = False
    for message in reversed(messages):
        if isinstance(message, HumanMessage):
            has_begun = True
            yield message
        elif has_begun:
            return


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


FinishWord = Literal["synthesize", "forward", "inline"]
Finish = FinishWord | type[BaseModel]
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
                answer = yield from forward_last_report()(state, config)
                end = {"status": "limit", "reason": str(error)}
            else:
                end = end or _end_of(state, answer)
        end = {"status": "completed", "reason": COMPLETE, **end}
        if answer.note:
            end["reason"] = redact(f"{end['reason']}; {answer.note}")
        note_end(config, {**end, "answer": answer.text})
        known = {
            message.id for message in look_at(state["messages"])
        }  # fake models repeat their ids
        message = AIMessage(
            with_media(clean_text(answer.text), answer.media),
            id=None if answer.message_id in known else answer.message_id,
            name=SUPERVISOR,
            response_metadata=message_label(answer=True),
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
    compactor: "Compactor | None" = None,
    decisions: Method | None = None,
) -> Writer:
    """Make what writes the answer; without a model, the last report is handed on."""
    if finish == "forward" or model is None:
        return forward_last_report()
    if isinstance(finish, type):
        return structurer(model, finish, compactor, decisions)
    return synthesizer(model, instructions, compactor)


def synthesizer(
    model: Runnable[Any, AIMessage], instructions: str = "", compactor: "Compactor | None" = None
) -> Writer:
    """Let the model write the answer from the conversation, with all reports as they are."""
    renderer = Renderer(decisions=False)

    def write(state: WorkflowState, config: RunnableConfig) -> Steps[Answer]:
        rules = "\n\n".join(filter(None, (load_prompt("synthesize"), instructions)))
        messages = _prompt(rules, state, config, renderer, compactor)
        sent = prepare_messages(messages)
        named = supervisor_run_config("finish.answer", state["iterations"])
        answer = yield Call(model.invoke, model.ainvoke, (sent, named))
        if not words_of(answer) or is_decision(answer.text):
            return (
                yield from forward_last_report()(state, config)
            )  # small models imitate decisions
        fault = answer_fault(answer)
        note = None if fault is None else fault[1]
        return Answer(text=words_of(answer), message_id=answer.id, note=note)

    return write


def forward_last_report() -> Writer:
    """Hand the last report on as it was written, without a model."""

    def write(state: WorkflowState, config: RunnableConfig) -> Steps[Answer]:
        yield from ()
        reports: Sequence[Report] = state.get("reports") or ()
        written = [report for report in reports if report["text"]]
        if not written:
            return Answer(text=_join_reports(state))
        return Answer(text=written[-1]["text"], media=written[-1].get("media") or ())

    return write


def structurer(
    model: Runnable[Any, AIMessage],
    schema: type[BaseModel],
    compactor: "Compactor | None" = None,
    decisions: Method | None = None,
) -> Writer:
    """Let the model fill in `schema`; a bad answer is sent back once, a second one is a failure."""
    output, renderer = StructuredOutput(model, decisions), Renderer(decisions=False)

    def write(state: WorkflowState, config: RunnableConfig) -> Steps[Answer]:
        rules = render("structured", schema=schema.__name__)
        messages = _prompt(rules, state, config, renderer, compactor)
        named = supervisor_run_config("finish.structured", state["iterations"])
        fault, said = "", AIMessage("")
        for _ in range(2):
            said = AIMessage("")
            try:
                said = yield from output.ask(messages, schema, config=named)
                fields = fields_in_call(said, schema.__name__)
                filled = read_fields(schema, fields)
            except ValueError as error:
                fault = f"{schema.__name__}: {_describe(error)}"
                complaint = HumanMessage(f"That does not fit {fault}. Answer again.")
                messages = [*messages, AIMessage(decider_text(said) or "(nothing)"), complaint]
            else:
                shown = filled.model_dump_json(indent=2, by_alias=True)
                return Answer(text=shown, fields=fields)
        return Answer(
            text=decider_text(said) or _join_reports(state),
            failure=redact(f"the answer does not fit {fault}"),
        )

    return write


def fields_in_call(said: AIMessage, name: str) -> dict[str, Any]:
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
    rules: str,
    state: WorkflowState,
    config: RunnableConfig,
    renderer: Renderer,
    compactor: "Compactor | None",
) -> list[AnyMessage]:
    """Write what the model is sent: the conversation, with the reports of this request whole.

    Where that is too long for the policy there is, they are shown as digests.
    """
    messages, first = state["messages"], SystemMessage(rules)
    if compactor is None:
        return [first, *renderer.render(messages)]
    pinned = pinned_message_ids(messages) | {
        f"{REPORT_ID}{report['id']}" for report in state.get("reports") or ()
    }
    lengths = (None, DIGEST_TOKENS, DIGEST_TOKENS // 8)
    return compactor.fit_without_storing(
        messages,
        cast("Compaction | None", state.get("compaction")),
        config,
        path=participant_path(config, FINISH),
        writes=[_writing(first, tokens) for tokens in lengths],
        pinned=pinned,
    )


def _writing(first: AnyMessage, tokens: int | None) -> "PromptWriter":
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
    lost = [r for r in latest.values() if r["status"] != "ok" and "to" not in _is_made_up(r)]
    if not lost:
        return {}
    settled = ("ok", "limit")
    asked = any(_is_made_up(report).get("action") == "ask_person" for report in reports)
    if asked or any(report["status"] in settled for report in reports):
        return {"reason": f"{COMPLETE}; not all could do their part: {failure_texts(lost)}"}
    return {"status": "failed", "reason": f"nobody could do it: {failure_texts(lost)}"}


def _is_made_up(report: Report) -> Mapping[str, str]:
    return report.get("compensation") or {}


def failure_texts(reports: Iterable[Report]) -> str:
    """Say who has failed, and why."""
    return "; ".join(f"{r['participant']}: {r.get('error', r['status'])}" for r in reports)


def _join_reports(state: WorkflowState) -> str:
    """Put the reports together where nobody wrote an answer."""
    reports: Sequence[Report] = state.get("reports") or ()
    parts = [
        f"{report['participant']}: {report['text'] or report.get('error', '')}"
        for report in reports
    ]
    return "\n\n".join(parts) or "There is no report."


_log = logging.getLogger(__name__)

NO_RETRY = RetryPolicy(max_attempts=1)


def create_undo_node(members: Mapping[str, ParticipantRuntime]) -> StepsNode:
    """Create the node that undoes what participants report to have done.

    Each of its steps undoes one report and writes that down, so that a crash repeats at most
    the one that was under way. One that cannot be undone is reported, and the rest goes on.
    """

    def undo(state: Any, config: RunnableConfig) -> Steps[Command[Any]]:
        reports: list[Report] = state.get("reports") or []
        done = {report.get("undoes") for report in reports}
        for report in reversed(reports):
            member = members.get(report["participant"])
            undoable = report["status"] == "ok" and not (
                report.get("undoes") or report.get("compensation")
            )
            if member and member.undo and undoable and report["id"] not in done:
                undone = yield from _undo_report(member, report, state.get("iterations") or 0)
                update = {"reports": [undone], "messages": [report_message(undone)]}
                return Command(update=update, goto=UNDO)
        return Command(goto=SUPERVISOR)

    return StepsNode(undo, name=UNDO)


def _undo_report(member: ParticipantRuntime, report: Report, round: int) -> Steps[Report]:
    """Undo what a report tells of, and report that."""
    call = Call(*sync_async_pair(member.undo), (report,))
    policy = next((p for p in member.policies if isinstance(p, RetryPolicy)), NO_RETRY)
    visit = VisitRequest(
        id=f"undo-{report['id']}",
        participant=member.name,
        request=f"Undo: {report['text']}",
        round=round,
    )
    try:
        said: Any = yield from call_with_retry(call, policy)
    except GraphBubbleUp:
        raise
    except Exception as error:  # noqa: BLE001 - one that cannot be undone is reported
        log_failure(_log, "the undo of %s failed", member.name, error=error)
        undone = failure_report(visit, failure_kind(error), f"not undone: {describe_error(error)}")
        undone["traceback"] = traceback_of(error)
    else:
        undone = answer_report(visit, clean_text(str(said or f"undone: {report['text']}")))
    undone["undoes"] = report["id"]
    return undone


Structurer = Callable[[Sequence[BaseMessage]], Steps[Answer]]
"""Makes a structured answer of a conversation."""


def create_structurer(model: Any, schema: Any, prompt: str | None = None) -> Structurer:
    """Let a model fill in a schema by its own way of structured output.

    Args:
        model: A chat model.
        schema: A pydantic model, a TypedDict, a JSON schema or an OpenAI function.
        prompt: What it is told.
    """
    is_model = isinstance(schema, type) and issubclass(schema, BaseModel)
    # The fields of a model are stored as they were given, so that it reads them again.
    options: dict[str, Any] = {"include_raw": True} if is_model else {}
    bound: Runnable[Any, Any] = model.with_structured_output(schema, **options)
    rules = [SystemMessage(prompt)] if prompt else []

    def fill(messages: Sequence[BaseMessage]) -> Steps[Answer]:
        named = supervisor_run_config("finish.structured")
        filled: Any = yield Call(bound.invoke, bound.ainvoke, ([*rules, *messages], named))
        fields = _given_fields(filled, schema.__name__) if is_model else filled
        if fields is None:
            raise ValueError("the model gave no structured response")
        return Answer(text=json.dumps(fields, ensure_ascii=False), fields=fields)

    return fill


def _given_fields(filled: Mapping[str, Any], name: str) -> Any:
    """Return the fields that a model was made of, or None."""
    if filled["parsing_error"] is not None:
        raise filled["parsing_error"]
    if filled["parsed"] is None:
        return None
    try:
        return fields_in_call(filled["raw"], name)
    except ValueError:  # it came another way than in the message
        return filled["parsed"].model_dump(mode="json", by_alias=True)
