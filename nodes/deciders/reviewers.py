"""Reviewers: models that give each criterion a score and a reason.

Tests: tests/nodes/deciders/test_reviewers.py.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import Runnable
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from asterism.core.agent_spec import ModelLike, resolve_model
from asterism.core.supervisor_decision import decider_text, read_objects
from asterism.core.sync_async import Steps, arun_steps, run_steps
from asterism.core.values import as_dict, fence, is_number
from asterism.errors import BadDecisionError, ConfigurationError
from asterism.nodes.participant_spec import Participant
from asterism.nodes.structured_output import StructuredOutput
from asterism.prompts import render

_SCHEMA = "Review"


class Judgement(BaseModel):
    """What a review says by one criterion."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    score: float = Field(ge=0, le=1, strict=True, description="From 0 to 1.")
    reason: str = Field(min_length=1, description="Why, in one or two sentences.")


class Review(BaseModel):
    """A whole review."""

    model_config = ConfigDict(frozen=True)

    judgements: dict[str, Judgement]
    """By criterion, in the order in which they were given."""

    @property
    def score(self) -> float:
        """The mean of the scores."""
        scores = [judgement.score for judgement in self.judgements.values()]
        return sum(scores) / len(scores)

    def as_text(self) -> str:
        """Write the review as JSON, as a participant reports it."""
        shown = {name: judged.model_dump() for name, judged in self.judgements.items()}
        return json.dumps({"score": round(self.score, 4), "criteria": shown}, indent=2)


class Reviewer:
    """Reviews work by criteria; `create_reviewer` makes it.

    Args:
        model: Who judges.
        criteria: Their names, each with what it means.
        max_repairs: How often the model is asked again after an answer that is no review.
    """

    def __init__(
        self, model: Runnable[Any, AIMessage], criteria: Mapping[str, str], max_repairs: int
    ) -> None:
        self.criteria = dict(criteria)
        """Their names, each with what it means."""
        self._max_repairs = max_repairs
        self._fields = {f"criterion_{n}": name for n, name in enumerate(self.criteria, 1)}
        self._schema = _schema(self._fields, self.criteria)
        self._output = StructuredOutput(model)

    def review(self, work: str) -> Review:
        """Review a text.

        Raises:
            BadDecisionError: The model gave no valid review within the bound.
        """
        return run_steps(self._reviewing(work))

    async def areview(self, work: str) -> Review:
        """Review a text; see `review`."""
        return await arun_steps(self._reviewing(work))

    def participant(self) -> Participant:
        """Make a participant that reviews what it is sent, and reports the review as JSON."""
        listed = ", ".join(self.criteria)
        return Participant(runs=_Answering(self), description=f"Reviews work by: {listed}.")

    def _reviewing(self, work: str) -> Steps[Review]:
        messages: list[AnyMessage] = [
            SystemMessage(render("review", criteria=self._list_criteria())),
            HumanMessage(fence("work", work)),
        ]
        fault = ""
        for _ in range(self._max_repairs + 1):
            said = AIMessage("")
            try:
                said = yield from self._output.ask(
                    messages, self._schema, config={"run_name": "reviewer.review"}
                )
                return self._read(said)
            except ValueError as error:
                fault = _review_faults(error, self._fields)
            messages += [
                AIMessage(decider_text(said) or "(nothing)"),
                HumanMessage(render("review_again", fault=fault)),
            ]
        raise BadDecisionError(
            f"The reviewer gave no valid review in {self._max_repairs + 1} attempts: {fault}"
        )

    def _read(self, said: AIMessage) -> Review:
        given: Any = read_objects(said, _SCHEMA)[-1]
        if self._fields.keys() - as_dict(given).keys():  # named as they are, rather than by number
            given = {field: as_dict(given).get(name) for field, name in self._fields.items()}
        read = self._schema.model_validate(given)
        return Review(
            judgements={name: getattr(read, field) for field, name in self._fields.items()}
        )

    def _list_criteria(self) -> str:
        return "\n".join(
            f"- {field}: {name}. {self.criteria[name]}".strip()
            for field, name in self._fields.items()
        )


class _Answering(Runnable[Any, str]):
    """A reviewer as a participant runs it."""

    def __init__(self, reviewer: Reviewer) -> None:
        self._reviewer = reviewer

    def invoke(self, input: Sequence[BaseMessage], config: Any = None, **kwargs: Any) -> str:
        """Review the latest request."""
        return self._reviewer.review(input[-1].text).as_text()

    async def ainvoke(self, input: Sequence[BaseMessage], config: Any = None, **kwargs: Any) -> str:
        """Review the latest request."""
        return (await self._reviewer.areview(input[-1].text)).as_text()


def create_reviewer(
    model: ModelLike, criteria: Mapping[str, str] | Sequence[str], *, max_repairs: int = 2
) -> Reviewer:
    """Create a reviewer: `review(text)`, or `participant()` for a workflow.

    Args:
        model: A chat model, a `"provider:model"` name, or one with fallbacks.
        criteria: Their names, with what each means or without.
        max_repairs: How often the model is asked again after an answer that is no review.

    Raises:
        ConfigurationError: There is no criterion, or one is empty or there twice.
        ModelNotFoundError: The model cannot be used.
    """
    given: object = criteria
    names = [given] if isinstance(given, str) else list(criteria)
    found = dict(criteria) if isinstance(criteria, Mapping) else dict.fromkeys(names, "")
    faults = [f"{name!r} is no name" for name in names if not str(name).strip()]
    faults += [f"{name!r} is there twice" for name in found if names.count(name) > 1]
    if not names or isinstance(given, str):
        faults.append("give a list of criteria, or a mapping of each to what it means")
    if not is_number(max_repairs) or max_repairs != int(max_repairs) or max_repairs < 0:
        faults.append(f"max_repairs is {max_repairs!r}; it must be a whole number from 0")
    if faults:
        raise ConfigurationError(f"The reviewer cannot be made: {'; '.join(faults)}.")
    return Reviewer(resolve_model(model), found, int(max_repairs))


def _schema(fields: Mapping[str, str], criteria: Mapping[str, str]) -> type[BaseModel]:
    described: dict[str, Any] = {
        field: (Judgement, Field(description=f"{name}. {criteria[name]}".strip()))
        for field, name in fields.items()
    }
    return create_model(_SCHEMA, __doc__="A review, by each criterion.", **described)


def _review_faults(error: ValueError, fields: Mapping[str, str]) -> str:
    """Say what is wrong with a review, by the names of the criteria."""
    if not isinstance(error, ValidationError):
        return f"it cannot be read: {error}"
    return "; ".join(
        f"{fields.get(str(fault['loc'][0]), '')}"
        f"{''.join(f', {part}' for part in fault['loc'][1:])}: {fault['msg']}"
        for fault in error.errors()
    )
