"""The wire contract of a service that is a participant: `ServiceRequest` and `ServiceReply`.

One visit is one `POST` of a `ServiceRequest`; the answer is a `ServiceReply` with status 200.
Fields that a side does not know are ignored, so either may be newer than the other.
Tests: tests/graphs/test_wire.py.
"""

from decimal import Decimal
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, Field, TypeAdapter, field_validator, model_validator

from asterism.core.usage import UsageEntry
from asterism.core.values import as_dict, as_list

Version = Annotated[Literal[1], Field(description="The version of the contract.")]
Count = Annotated[int, Field(ge=0, le=10**15)]


class ServiceMessage(BaseModel):
    """What was said earlier in a conversation."""

    role: Literal["user", "assistant"]
    content: str


class ServiceAnswer(BaseModel):
    """What a person has answered to a question of the service."""

    question_id: str
    """The `id` of the question."""
    prompt: str
    """The question, for services that keep nothing."""
    value: Any
    """The answer: a text, or what fits the question's `response_schema`."""


class ServiceRequest(BaseModel):
    """What a service is sent."""

    version: Version = 1
    conversation_id: str
    """The same for all visits on one thread of one participant; a service may remember by it."""
    idempotency_key: str
    """The same however often this call is made: a service that knows it answers as before."""
    request: str
    """What is to be done."""
    answers: list[ServiceAnswer] = Field(default_factory=list[ServiceAnswer])
    """What was asked and answered since the request was made, oldest first."""
    history: list[ServiceMessage] = Field(default_factory=list[ServiceMessage])
    """Earlier requests and answers, oldest first, where the participant sends them."""


class ServiceUsage(BaseModel):
    """Calls of one kind that a service has made for a reply."""

    by: str = ""
    """Who made them within the service; empty: the service itself."""
    model: str | None = None
    """The model. None: these were no model calls."""
    calls: Count = 1
    input_tokens: Count = 0
    cached_input_tokens: Count = 0
    output_tokens: Count = 0
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    cost_usd: Annotated[Decimal, Field(ge=0, le=10**9, allow_inf_nan=False)] | None = None
    """US dollars. None: the price table of whoever reads it is asked for the model's price."""

    @model_validator(mode="after")
    def _parts_fit(self) -> "ServiceUsage":
        if self.cached_input_tokens > self.input_tokens:
            raise ValueError("cached_input_tokens are more than the input_tokens they belong to")
        return self

    def entry(self) -> UsageEntry:
        """Return the line of a ledger that it is."""
        cost = self.cost_usd if self.cost_usd is not None or self.model else Decimal(0)
        entry = UsageEntry(
            by=self.by,
            calls=self.calls,
            input_tokens=self.input_tokens,
            cached_input_tokens=self.cached_input_tokens,
            output_tokens=self.output_tokens,
            seconds=self.seconds,
            cost_usd=None if cost is None else str(cost),
        )
        if self.model:
            entry["model"] = self.model
        else:
            entry["tool"] = "service"
        return entry


_VALUES = ("const", "enum", "default", "examples")


def _strip_patterns(schema: object) -> Any:
    if isinstance(schema, list):
        return [_strip_patterns(item) for item in as_list(cast(object, schema))]
    if not isinstance(schema, dict):
        return schema
    fields = as_dict(cast(object, schema))
    dropped = {name for name in ("pattern", "$schema") if isinstance(fields.get(name), str)}
    if isinstance(fields.get("patternProperties"), dict):  # what else is allowed depends on them
        dropped |= {"patternProperties", "additionalProperties", "unevaluatedProperties"}
    return {
        name: value if name in _VALUES else _strip_patterns(value)
        for name, value in fields.items()
        if name not in dropped
    }


class ServiceQuestion(BaseModel):
    """What a service asks a person."""

    id: str = Field(min_length=1, max_length=255)
    """Names the question in the answer."""
    prompt: str = Field(min_length=1)
    """The question."""
    request_type: str = "question"
    """What kind of answer is wanted; `"question"` wants a text."""
    response_schema: dict[str, Any] | None = None
    """The JSON schema of the answer. None: anything that is not empty."""
    context: dict[str, Any] = Field(default_factory=dict[str, Any])
    """What helps to answer."""

    @field_validator("response_schema")
    @classmethod
    def _without_patterns(cls, schema: dict[str, Any] | None) -> Any:
        """Leave out regular expressions: a hostile one takes years to check an answer."""
        if schema is None or "$schema" not in schema:
            return _strip_patterns(schema)
        return {"$schema": schema["$schema"], **_strip_patterns(schema)}


class _Reply(BaseModel):
    version: Version = 1
    usage: list[ServiceUsage] = Field(default_factory=list[ServiceUsage], max_length=1_000)
    """What was spent for this reply; counted for the run that asked."""


class ServiceDone(_Reply):
    """The service has done what was asked."""

    status: Literal["ok"] = "ok"
    text: str
    """The answer."""


class ServiceAsks(_Reply):
    """The service needs to know something; the answer comes with the next call."""

    status: Literal["question"] = "question"
    question: ServiceQuestion


class ServiceFailed(_Reply):
    """The service could not do it."""

    status: Literal["failed"] = "failed"
    error: str
    """What went wrong, without a secret."""
    kind: str = "agent_failed"
    """The kind of failure, as in `asterism.limits.failure_policies.FAILURES`."""
    text: str = ""
    """What there is of an answer."""


ServiceReply = Annotated[ServiceDone | ServiceAsks | ServiceFailed, Field(discriminator="status")]
"""What a service answers, told apart by `status`."""

REPLY: TypeAdapter[ServiceReply] = TypeAdapter(ServiceReply)
"""Reads a reply."""
