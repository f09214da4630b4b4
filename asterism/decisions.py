"""What a supervisor decides, what it asks people, and how both are read."""

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, Optional, cast

from langchain_core.messages import AIMessage
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

from asterism.errors import BadDecisionError
from asterism.messages import clean_text

SAID_LIMIT = 2_000
"""How many characters of a bad decision are kept and shown, at most."""


class SupervisorDecision(BaseModel):
    """Who works next, or what a person is asked, or that the request is complete.

    The request is complete exactly when `next_agent` is None and `user_input_needed` is
    False. `user_input_needed` wins over `next_agent`.
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

    @model_validator(mode="after")
    def _question_has_words(self) -> "SupervisorDecision":
        if self.user_input_needed and not self.user_prompt:
            raise ValueError("user_prompt is required when user_input_needed is true")
        return self

    @property
    def complete(self) -> bool:
        """Whether nobody has to work and nobody has to be asked."""
        return self.next_agent is None and not self.user_input_needed


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


@lru_cache(maxsize=256)
def decision_schema(names: tuple[str, ...]) -> type[SupervisorDecision]:
    """Narrow `SupervisorDecision` to the live participants.

    Args:
        names: The ids that `next_agent` may have.

    Returns:
        A model of the same name whose `next_agent` is one of `names` or None.
    """
    allowed = cast(Any, Optional[Literal[names]] if names else None)  # noqa: UP045 - names are a value
    field = Field(description=SupervisorDecision.model_fields["next_agent"].description)
    return create_model(
        "SupervisorDecision",
        __base__=SupervisorDecision,
        __doc__=SupervisorDecision.__doc__,
        next_agent=(allowed, field),
    )


def normal_name(name: str) -> str:
    """Fold case, width, white space and control characters away, to compare names."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(c for c in folded if not c.isspace() and unicodedata.category(c)[0] != "C")


def match_name(said: str, names: Iterable[str]) -> str | None:
    """Find the participant that `said` means, or None.

    Only differences of case, width, white space and control characters are forgiven.
    """
    wanted = normal_name(said)
    return next((name for name in names if normal_name(name) == wanted), None)


def read_decision(said: object, names: Sequence[str]) -> SupervisorDecision:
    """Read what a decider returned.

    Accepted are a `SupervisorDecision`, a mapping of its fields, and a model's message that
    carries one: as the arguments of a tool call or as JSON text. Unknown fields are ignored.

    Args:
        said: What the decider returned.
        names: The ids of the live participants.

    Raises:
        BadDecisionError: What is wrong, what was said, and which names are allowed.
    """
    try:
        decision = SupervisorDecision.model_validate(_fields(said))
    except ValidationError as error:
        raise BadDecisionError(_explain(error)) from error
    words = {
        "user_prompt": decision.user_prompt and clean_text(decision.user_prompt),
        "instruction": decision.instruction and clean_text(decision.instruction),
    }
    if decision.user_input_needed or decision.next_agent is None:
        return decision.model_copy(update={**words, "next_agent": None})
    name = match_name(decision.next_agent, names)
    if name is None:
        raise BadDecisionError(
            f"next_agent is {decision.next_agent[:100]!r}, which is not a participant. "
            f"Allowed: {', '.join(names)}, or null."
        )
    return decision.model_copy(update={**words, "next_agent": name})


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
            or " ".join(c if isinstance(c, str) else json.dumps(c) for c in calls)
        )
    elif isinstance(said, BaseModel):
        text = said.model_dump_json()
    else:
        text = said if isinstance(said, str) else repr(said)
    return clean_text(text)[:SAID_LIMIT]


def _fields(said: object) -> Mapping[str, Any]:
    if isinstance(said, SupervisorDecision):
        return said.model_dump()
    if isinstance(said, AIMessage):
        _check_whole(said)
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


def _check_whole(said: AIMessage) -> None:
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
