"""What a supervisor decides, what it asks people, and how both are read."""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Literal, cast

from langchain_core.messages import AIMessage
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.json_schema import SkipJsonSchema

from asterism.core.agent_spec import Agent
from asterism.core.messages import clean, clean_text
from asterism.core.plan import SubAgentTask, name_dependencies, plan_faults
from asterism.core.values import as_dict, as_list, normal_name
from asterism.errors import BadDecisionError

DECISION_TOOL = "SupervisorDecision"
"""The name of the tool by which a model decides."""

SAID_LIMIT = 2_000
"""How many characters of a bad decision are kept and shown, at most."""

QUESTION_LIMIT = 10_000
"""How many characters a question to the user may have."""

_NOBODY = frozenset({"", "null", "none", "nil", "finish", "end", "__end__"})
"""How models spell that nobody works next, folded; a participant of that name wins."""

_CUT_OFF = frozenset({"length", "max_tokens", "max_output_tokens", "model_length", "incomplete"})
"""How providers say that an answer was cut off at a limit of tokens."""
_FILTERED = frozenset(
    {"content_filter", "safety", "recitation", "blocklist", "prohibited_content", "spii"}
)
"""How they say that a filter has ended it."""
_THOUGHT = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.S | re.I)
_FAILED_PARSES = 50
"""From how many braces of a text JSON is tried to be read without success."""


class SupervisorDecision(BaseModel):
    """Who works next, or what a person is asked, or that the request is complete.

    The request is complete exactly when `next_agent` is None, `user_input_needed` is False
    and there are no `tasks`. `user_input_needed` wins over `tasks`, and they over `next_agent`.
    """

    model_config = ConfigDict(extra="ignore", str_strip_whitespace=True)

    next_agent: str | None = Field(description="Who works next; null when nobody has to.")
    user_input_needed: bool = Field(
        default=False,
        description="true to ask the user. Wins over next_agent and tasks.",
    )
    user_prompt: str | None = Field(
        default=None,
        description="The question to the user.",
    )
    instruction: str | None = Field(
        default=None,
        description="What next_agent is to do, with every fact that it needs.",
    )
    tasks: list[SubAgentTask] | None = Field(
        default=None,
        description="Several tasks at once, instead of next_agent.",
    )

    @model_validator(mode="before")
    @classmethod
    def _plan_needs_no_next_agent(cls, given: Any) -> Any:
        fields = as_dict(given)
        return {"next_agent": None, **fields} if fields.get("tasks") else given

    @model_validator(mode="after")
    def _question_has_words(self) -> "SupervisorDecision":
        if self.user_input_needed and not self.user_prompt:
            raise ValueError(
                "user_prompt is required when user_input_needed is true; say what the user is asked"
            )
        return self

    @property
    def complete(self) -> bool:
        """Whether nobody has to work and nobody has to be asked."""
        return self.next_agent is None and not self.user_input_needed and not self.tasks


class AnswerDecision(SupervisorDecision):
    """A decision of somebody who may also answer the user at once."""

    answer: str | None = Field(
        default=None, description="The answer to the user, where nobody has to work for it."
    )
    fields: SkipJsonSchema[dict[str, Any] | None] = None
    """The answer as plain values, for `structured_response`; code may give them, no model."""
    failure: SkipJsonSchema[str | None] = None
    """Why the request fails, as `kind: reason`; code may say so, no model."""


class PlanDecision(AnswerDecision):
    """A decision of somebody who may also create agents."""

    subagents: list[Agent] = Field(
        default_factory=list[Agent],
        description="New agents that the tasks need, where nobody in the team fits.",
    )


class HumanFeedbackRequest(BaseModel):
    """What a person is shown when a workflow waits for them."""

    prompt: str
    """The question."""
    context: dict[str, Any] = Field(default_factory=dict)
    """What helps to answer: the request and who has reported so far."""
    request_type: str = "question"
    """What kind of answer is wanted; `"question"` wants a text."""
    requesting_agent: str = "supervisor"
    """Who asks."""
    conversation: list[dict[str, str]] = Field(default_factory=list[dict[str, str]])
    """The latest messages, oldest first, each with `role`, `name` and `content`."""


def match_name(said: str, names: Collection[str]) -> str | None:
    """Find the participant that `said` means, or None.

    Only differences of case, width, white space, control characters and quotes are forgiven.
    """
    if said in names:
        return said
    for wanted in (normal_name(said), normal_name(said).strip("\"'`[](){}.,:;*")):
        if found := next((name for name in names if normal_name(name) == wanted), None):
            return found
    return None


def read_decision(
    said: object, names: Sequence[str], *, plans: bool = False, answers: bool = False
) -> SupervisorDecision:
    """Read what a decider returned.

    Accepted are a `SupervisorDecision`, a mapping of its fields, and a model's message that
    carries one: as the arguments of a tool call or as JSON text, of which the last object counts
    that is a valid decision. Unknown fields are ignored.

    Args:
        said: What the decider returned.
        names: The ids of the live participants.
        plans: Whether the decision may create agents and answer: a `PlanDecision`.
        answers: Whether it may answer: an `AnswerDecision`.

    Raises:
        BadDecisionError: What is wrong, what was said, and which names are allowed.
    """
    coded = isinstance(said, AnswerDecision)
    schema = SupervisorDecision
    if plans or coded or answers:
        schema = PlanDecision if plans or coded else AnswerDecision
    fault: BadDecisionError | None = None
    try:
        for fields in reversed(_decisions(said)):
            try:
                return _check(fields, names, schema, is_coded=coded)
            except BadDecisionError as error:
                fault = fault or error
    except RecursionError as error:
        raise BadDecisionError("the decision is nested too deeply") from error
    raise fault or BadDecisionError("the answer is plain text, not a SupervisorDecision as JSON")


def _check(
    fields: Mapping[str, Any],
    names: Sequence[str],
    schema: type[SupervisorDecision],
    *,
    is_coded: bool,
) -> SupervisorDecision:
    """Check the fields of a decision, with the names as they are written here."""
    try:
        decision = schema.model_validate(_normalize(clean(fields), names))
    except ValidationError as error:
        raise BadDecisionError(_explain(error)) from error
    if isinstance(decision, AnswerDecision) and not is_coded:
        decision = decision.model_copy(update={"fields": None, "failure": None})
    if decision.user_input_needed:
        if len(decision.user_prompt or "") > QUESTION_LIMIT:
            raise BadDecisionError(
                f"user_prompt has {len(decision.user_prompt or ''):,} characters; allowed are "
                f"{QUESTION_LIMIT:,}. Ask in a few sentences."
            )
        return decision.model_copy(update={"next_agent": None, "tasks": None})
    if isinstance(decision, PlanDecision):
        names = [*names, *(agent.agent_id for agent in decision.subagents)]
    if decision.tasks:
        return decision.model_copy(
            update={"next_agent": None, "tasks": _plan(decision.tasks, names)}
        )
    if decision.next_agent is None:
        return decision.model_copy(update={"tasks": None})
    name = match_name(decision.next_agent, names)
    if name is None:
        raise BadDecisionError(
            f"next_agent is {decision.next_agent[:100]!r}, which is not a participant. "
            f"Allowed: {', '.join(names)}, or null."
        )
    if name == decision.next_agent and decision.tasks is None:
        return decision
    return decision.model_copy(update={"next_agent": name, "tasks": None})


def _normalize(given: object, names: Sequence[str]) -> object:
    """Rewrite what models spell in other ways: nobody, nothing, lists as JSON texts."""
    if not isinstance(given, Mapping):
        return given
    known = cast(Mapping[str, Any], given)
    fields = {key: value for key, value in known.items() if value is not None}
    if "next_agent" in known:
        fields["next_agent"] = _read_name(known["next_agent"], names)
    for key in ("instruction", "user_prompt", "answer"):
        if str(fields.get(key, "")).strip().casefold() in ("null", "none"):
            del fields[key]
    for key in ("tasks", "subagents"):
        if isinstance(fields.get(key), str):
            fields[key] = _read_list(fields[key])
    if isinstance(fields.get("tasks"), list):
        fields["tasks"] = [
            {key: value for key, value in as_dict(task).items() if value is not None} or task
            for task in fields["tasks"]
        ]
    return fields


def _read_name(said: object, names: Sequence[str]) -> object:
    """Read a name that may be quoted or the only one of a list, or stand for nobody."""
    listed = as_list(said)
    said = listed[0] if len(listed) == 1 else said
    if not isinstance(said, str) or match_name(said, names) is not None:
        return said
    return None if normal_name(said).strip("\"'`") in _NOBODY else said


def _read_list(text: str) -> object:
    """Read a list that is given as JSON text; null where there is none."""
    try:
        return json.loads(text) if text.strip() else None
    except ValueError:
        return None if text.strip().casefold() == "none" else text


def reports_wanted(said: object) -> list[str]:
    """Return the ids of the reports that a decider wants to read whole before it decides."""
    try:
        if isinstance(said, SupervisorDecision):
            return []
        wanted: object = _decisions(said)[-1].get("read_report")
    except BadDecisionError:
        return []
    names = as_list(wanted)
    return [name.strip() for name in names if isinstance(name, str) and name.strip()]


def _plan(tasks: Sequence[SubAgentTask], names: Sequence[str]) -> list[SubAgentTask]:
    """Check the tasks of a decision, with the names as they are written here."""
    matched = [
        task.model_copy(
            update={"agent_id": match_name(task.agent_id, names) or task.agent_id[:100]}
        )
        for task in tasks
    ]
    matched = name_dependencies(matched)
    faults = plan_faults(matched, names)
    faults += [
        f"the context of the task {task.task_id!r} holds a number of more than 64 bits"
        for task in matched
        if _has_huge_number(task.context)
    ]
    if faults:
        raise BadDecisionError("the tasks make no plan: " + "; ".join(faults[:20]))
    return matched


def _has_huge_number(value: object) -> bool:
    """Whether a number stands in a JSON value that cannot be stored."""
    if isinstance(value, dict):
        return any(map(_has_huge_number, cast(dict[str, object], value).values()))
    if isinstance(value, list):
        return any(map(_has_huge_number, cast(list[object], value)))
    return isinstance(value, int) and value.bit_length() > 63


def decider_text(said: object) -> str:
    """Return what a decider said as text, at most `SAID_LIMIT` characters."""
    if isinstance(said, AIMessage):
        calls = [call["args"] for call in said.tool_calls] + [
            call.get("args") for call in said.invalid_tool_calls
        ]
        refusal = str(said.additional_kwargs.get("refusal") or "")
        text = (
            said.text
            or refusal
            or " ".join(c if isinstance(c, str) else _parse_arguments(c) for c in calls)
        )
    elif isinstance(said, BaseModel):
        text = said.model_dump_json()
    else:
        text = said if isinstance(said, str) else repr(said)
    return clean_text(text)[:SAID_LIMIT]


def _parse_arguments(arguments: object) -> str:
    try:
        return json.dumps(arguments)
    except RecursionError:
        return "(nested too deeply)"


def _decisions(said: object) -> Sequence[Mapping[str, Any]]:
    """Collect the objects that may be the decision; of several, the last is tried first."""
    if type(said) is SupervisorDecision and not said.tasks:
        return [vars(said)]
    if isinstance(said, SupervisorDecision):
        return [said.model_dump()]
    if isinstance(said, AIMessage):
        found = read_objects(said, DECISION_TOOL)
        return [_join(found)] if said.tool_calls or said.invalid_tool_calls else found
    if isinstance(said, Mapping):
        return [cast(Mapping[str, Any], said)]
    raise BadDecisionError(
        f"the decider returned {type(said).__name__}, not a SupervisorDecision. "
        "To finish, return SupervisorDecision(next_agent=None)."
    )


def read_objects(said: AIMessage, tool: str) -> list[Mapping[str, Any]]:
    """Read the objects that a model answered with: arguments of tool calls, or JSON in its text.

    Args:
        said: The answer.
        tool: The name of the tool that it was to call, or of the object.

    Raises:
        BadDecisionError: The answer is cut off or refused, or there is no object in it.
    """
    check_whole(said)
    if said.tool_calls:
        return [call["args"] for call in said.tool_calls]
    if said.invalid_tool_calls:
        return [_parse(c.get("args") or "", tool)[-1] for c in said.invalid_tool_calls]
    return _parse(said.text, tool)


def _join(calls: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Join decisions that were called for at once: equal ones, visits with their instructions."""
    first, *others = calls
    if all(other == first for other in others):
        return first
    if all(call.get("tasks") for call in calls):
        return {"tasks": [task for call in calls for task in cast(list[Any], call["tasks"])]}
    if all(call.get("next_agent") and call.get("instruction") for call in calls) and not any(
        call.get("user_input_needed") or call.get("tasks") for call in calls
    ):
        tasks = [
            {
                "task_id": f"{number}-{str(call['next_agent'])[:60]}",
                "agent_id": call["next_agent"],
                "task_description": call["instruction"],
            }
            for number, call in enumerate(calls, 1)
        ]
        return {"next_agent": None, "tasks": tasks}
    raise BadDecisionError(
        f"there are {len(calls)} decisions in one answer, and they contradict each other; "
        f"call {DECISION_TOOL} once, with tasks where several participants work at once"
    )


def is_decision(text: str) -> bool:
    """Whether a text is nothing but a decision, as it is written in a conversation."""
    if not text.strip().startswith(("{", "```")):
        return False
    try:
        found = _parse(text, DECISION_TOOL)
    except (BadDecisionError, RecursionError):
        return False
    return any(not fields.keys().isdisjoint(("next_agent", "tasks")) for fields in found)


def check_call_names(said: AIMessage, offered: Collection[str]) -> None:
    """Refuse calls of tools that the model was not offered.

    Raises:
        BadDecisionError: It names the tool and those that were offered.
    """
    known = {normal_name(name) for name in offered}
    for call in (*said.tool_calls, *said.invalid_tool_calls):
        name = str(call.get("name") or "")
        if normal_name(name).rsplit(".", 1)[-1] not in known:
            raise BadDecisionError(
                f"it called {name[:100]!r}, which is no tool here; allowed: {', '.join(offered)}"
            )


def is_whole(said: AIMessage) -> bool:
    """Whether an answer was neither cut off nor refused."""
    return answer_fault(said) is None


def answer_fault(said: AIMessage) -> tuple[Literal["cut_off", "refused"], str] | None:
    """Say how a provider has ended an answer before its end, or return None.

    Returns:
        The kind, and a sentence: `"the answer was cut off (finish_reason=length)"`.
    """
    facts: dict[str, Any] = said.response_metadata
    reason = facts.get("finish_reason") or facts.get("stop_reason") or facts.get("done_reason")
    reason = as_dict(facts.get("incomplete_details")).get("reason") or reason
    reason = reason or facts.get("status")  # of the Responses API, which has no finish_reason
    word = str(reason).casefold()
    if word in _CUT_OFF:
        return "cut_off", f"the answer was cut off (finish_reason={reason})"
    if word in _FILTERED:
        return "refused", f"the answer was cut off (finish_reason={reason})"
    if reason is None and facts.get("model_provider") == "openai":
        return "cut_off", "the answer was cut off: the stream ended without a reason"
    blocks = said.content if isinstance(said.content, list) else []
    refusals = [b["refusal"] for b in blocks if isinstance(b, dict) and b.get("refusal")]
    refusal = said.additional_kwargs.get("refusal") or " ".join(map(str, refusals))
    if refusal or word == "refusal":
        return "refused", f"the model refused: {str(refusal or said.text)[:SAID_LIMIT]}"
    return None


def check_whole(said: AIMessage) -> None:
    """Refuse an answer that was cut off: what is left of it may look like a whole one."""
    if fault := answer_fault(said):
        raise BadDecisionError(fault[1])


def _parse(text: str, tool: str) -> list[Mapping[str, Any]]:
    """Read the JSON objects in a text, in their order, without what a model only thought."""
    text = _THOUGHT.sub("", text)
    text = re.split(r"</think(?:ing)?>", text, flags=re.I)[-1]  # some servers cut off the first tag
    found = [_unwrap(part, tool) for part in _objects(text)]
    if not found:
        start = text.find("{")
        if 0 <= start < text.rfind("}"):
            raise BadDecisionError("the answer is not valid JSON")
        raise BadDecisionError(f"the answer is plain text, not a {tool} as JSON")
    return found


def _objects(text: str) -> Iterator[Mapping[str, Any]]:
    decoder, place, failed = json.JSONDecoder(), text.find("{"), 0
    while place >= 0 and failed < _FAILED_PARSES:
        try:
            value, end = decoder.raw_decode(text, place)
        except ValueError:
            failed, end = failed + 1, place + 1
        else:
            yield value
        place = text.find("{", end)


def _unwrap(found: Mapping[str, Any], tool: str) -> Mapping[str, Any]:
    """Take an object out of a tool call that was written as text."""
    if len(found) == 1:
        name, fields = next(iter(found.items()))
        if normal_name(name) == normal_name(tool) and isinstance(fields, dict):
            return cast(dict[str, Any], fields)
    call: Mapping[str, Any] = as_dict(found.get("function")) or found
    inner: object = call.get("arguments", call.get("parameters"))
    if not isinstance(call.get("name"), str) or not isinstance(inner, str | dict):
        return found
    if normal_name(call["name"]) != normal_name(tool):
        raise BadDecisionError(
            f"it called {call['name'][:100]!r}, which is no tool here; allowed: {tool}"
        )
    return _parse(inner, tool)[-1] if isinstance(inner, str) else as_dict(cast(object, inner))


def _explain(error: ValidationError) -> str:
    faults = (
        f"{'.'.join(str(part) for part in fault['loc']) or 'decision'}: {fault['msg']}"
        for fault in error.errors()
    )
    return "the decision does not fit its schema: " + "; ".join(faults)
