"""What a supervisor decides, what it asks people, and how both are read."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from langchain_core.messages import AIMessage
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.json_schema import SkipJsonSchema

from asterism.agents import Agent
from asterism.errors import BadDecisionError
from asterism.messages import clean, clean_text
from asterism.plain import as_dict, normal_name
from asterism.tasks import SubAgentTask, plan_faults

SAID_LIMIT = 2_000
"""How many characters of a bad decision are kept and shown, at most."""


class SupervisorDecision(BaseModel):
    """Who works next, or what a person is asked, or that the request is complete.

    The request is complete exactly when `next_agent` is None, `user_input_needed` is False
    and there are no `tasks`. `user_input_needed` wins over `tasks`, and they over `next_agent`.
    """

    model_config = ConfigDict(extra="ignore", str_strip_whitespace=True)

    next_agent: str | None = Field(
        description="The participant who works next. null when nobody has to work any more."
    )
    user_input_needed: bool = Field(
        default=False,
        description="true when only the user can say what is missing. Wins over next_agent.",
    )
    user_prompt: str | None = Field(
        default=None,
        description="The question to the user. Required when user_input_needed is true.",
    )
    instruction: str | None = Field(
        default=None,
        description="What next_agent is to do now, with every fact that it needs to know.",
    )
    tasks: list[SubAgentTask] | None = Field(
        default=None,
        description="Several tasks at once instead of next_agent, where they can be told apart. "
        "Each starts when the tasks that it depends on are done, and gets their results.",
    )

    @model_validator(mode="before")
    @classmethod
    def _plan_needs_no_next_agent(cls, given: Any) -> Any:
        fields = as_dict(given)
        return {"next_agent": None, **fields} if fields.get("tasks") else given

    @model_validator(mode="after")
    def _question_has_words(self) -> "SupervisorDecision":
        if self.user_input_needed and not self.user_prompt:
            raise ValueError("user_prompt is required when user_input_needed is true")
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

    Only differences of case, width, white space and control characters are forgiven.
    """
    if said in names:
        return said
    wanted = normal_name(said)
    return next((name for name in names if normal_name(name) == wanted), None)


def read_decision(said: object, names: Sequence[str], *, plans: bool = False) -> SupervisorDecision:
    """Read what a decider returned.

    Accepted are a `SupervisorDecision`, a mapping of its fields, and a model's message that
    carries one: as the arguments of a tool call or as JSON text. Unknown fields are ignored.

    Args:
        said: What the decider returned.
        names: The ids of the live participants.
        plans: Whether the decision may create agents and answer: a `PlanDecision`.

    Raises:
        BadDecisionError: What is wrong, what was said, and which names are allowed.
    """
    try:
        coded = isinstance(said, AnswerDecision)
        schema = PlanDecision if plans or coded else SupervisorDecision
        decision = schema.model_validate(clean(_fields(said)))
        if isinstance(decision, AnswerDecision) and not coded:
            decision = decision.model_copy(update={"fields": None, "failure": None})
    except ValidationError as error:
        raise BadDecisionError(_explain(error)) from error
    except RecursionError as error:
        raise BadDecisionError("the decision is nested too deeply") from error
    if decision.user_input_needed:
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


def reports_wanted(said: object) -> list[str]:
    """Return the ids of the reports that a decider wants to read whole before it decides."""
    try:
        wanted = None if isinstance(said, SupervisorDecision) else _fields(said).get("read_report")
    except BadDecisionError:
        return []
    names = cast(list[object], wanted) if isinstance(wanted, list) else [wanted]
    return [name.strip() for name in names if isinstance(name, str) and name.strip()]


def _plan(tasks: Sequence[SubAgentTask], names: Sequence[str]) -> list[SubAgentTask]:
    """Check the tasks of a decision, with the names as they are written here."""
    matched = [
        task.model_copy(
            update={"agent_id": match_name(task.agent_id, names) or task.agent_id[:100]}
        )
        for task in tasks
    ]
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


def said_text(said: object) -> str:
    """Return what a decider said as text, at most `SAID_LIMIT` characters."""
    if isinstance(said, AIMessage):
        calls = [call["args"] for call in said.tool_calls] + [
            call.get("args") for call in said.invalid_tool_calls
        ]
        refusal = str(said.additional_kwargs.get("refusal") or "")
        text = (
            said.text
            or refusal
            or " ".join(c if isinstance(c, str) else _written(c) for c in calls)
        )
    elif isinstance(said, BaseModel):
        text = said.model_dump_json()
    else:
        text = said if isinstance(said, str) else repr(said)
    return clean_text(text)[:SAID_LIMIT]


def _written(arguments: object) -> str:
    try:
        return json.dumps(arguments)
    except RecursionError:
        return "(nested too deeply)"


def _fields(said: object) -> Mapping[str, Any]:
    if type(said) is SupervisorDecision and not said.tasks:
        return vars(said)
    if isinstance(said, SupervisorDecision):
        return said.model_dump()
    if isinstance(said, AIMessage):
        check_whole(said)
        if said.tool_calls:
            return said.tool_calls[0]["args"]
        if said.invalid_tool_calls:
            return _parse(said.invalid_tool_calls[0].get("args") or "")
        return _parse(said.text)
    if isinstance(said, Mapping):
        return cast(Mapping[str, Any], said)
    raise BadDecisionError(
        f"the decider returned {type(said).__name__}, not a SupervisorDecision. "
        "To finish, return SupervisorDecision(next_agent=None)."
    )


def is_whole(said: AIMessage) -> bool:
    """Whether an answer was neither cut off nor refused."""
    try:
        check_whole(said)
    except BadDecisionError:
        return False
    return True


def check_whole(said: AIMessage) -> None:
    """Refuse an answer that was cut off: what is left of it may look like a whole one."""
    facts: dict[str, Any] = said.response_metadata
    reason = facts.get("finish_reason") or facts.get("stop_reason")
    if str(reason).lower() in ("length", "max_tokens", "content_filter"):
        raise BadDecisionError(f"the answer was cut off (finish_reason={reason})")
    if reason is None and facts.get("model_provider") == "openai":
        raise BadDecisionError("the answer was cut off: the stream ended without a reason")
    if refusal := said.additional_kwargs.get("refusal"):
        raise BadDecisionError(f"the model refused: {str(refusal)[:SAID_LIMIT]}")


def _parse(text: str) -> Mapping[str, Any]:
    start, end = text.find("{"), text.rfind("}")
    try:
        found: object = json.loads(text[start : end + 1]) if 0 <= start < end else None
    except ValueError as error:
        raise BadDecisionError(f"the answer is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadDecisionError("the answer is plain text, not a SupervisorDecision as JSON")
    return cast(dict[str, Any], found)


def _explain(error: ValidationError) -> str:
    faults = (
        f"{'.'.join(str(part) for part in fault['loc']) or 'decision'}: {fault['msg']}"
        for fault in error.errors()
    )
    return "the decision does not fit its schema: " + "; ".join(faults)
