"""A round while it is read: a decision, and what comes of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

from langgraph.checkpoint.base import CheckpointTuple

from asterism.core.decision import AskUser, Decision, RaiseLimit, RunPlan, VisitNext
from asterism.ledger import Entry, Usage
from asterism.pictures.record import (
    QuestionRecord,
    RoundKind,
    RoundRecord,
    TaskRecord,
    TryRecord,
    VisitRecord,
)
from asterism.plain import shortened
from asterism.redaction import redact

_KINDS: Mapping[str, str] = {"ask": "question", "raise_limit": "question"}
"""The kinds of decisions that a round names otherwise."""

TEXT_LIMIT = 2_000
"""How many characters of a request, a report or an answer a record keeps."""


@dataclass
class OpenRound:
    """A round that is being read."""

    decision: Decision | None
    """None: no valid one was given."""
    began: str
    decided: str | None
    checkpoint: str
    usage: list[Entry]
    created: tuple[str, ...]
    tries: list[dict[str, str]]
    visits: list[VisitRecord] = field(default_factory=list[VisitRecord])
    starts: dict[str, CheckpointTuple] = field(default_factory=dict[str, CheckpointTuple])
    """What each task of a plan began after."""
    answer: str | None = None

    def closed(self, number: int, *, asks: bool) -> RoundRecord:
        """Return the round.

        Args:
            number: Its place in the request.
            asks: Whether its question still waits.
        """
        decision, question = self.decision, None
        if isinstance(decision, AskUser | RaiseLimit):
            prompt = shortened(redact(decision.user_prompt), TEXT_LIMIT)
            said = self.answer and shortened(redact(self.answer), TEXT_LIMIT)
            question = QuestionRecord(prompt=prompt, answer=said, open=asks and said is None)
        visit = decision if isinstance(decision, VisitNext) else None
        instruction = visit.instruction if visit else None
        kind = decision.kind if decision else "failed"
        return RoundRecord(
            number=number,
            kind=cast(RoundKind, _KINDS.get(kind, kind)),
            participant=visit.next_agent if visit else None,
            instruction=instruction and shortened(instruction, TEXT_LIMIT),
            tasks=tuple(self.tasks()),
            question=question,
            created=self.created,
            tries=tuple(TryRecord(**one) for one in self.tries),
            visits=tuple(self.visits),
            began=self.began,
            decided=self.decided,
            usage=Usage.of(self.usage),
            checkpoint=self.checkpoint,
        )

    def tasks(self) -> Iterator[TaskRecord]:
        """Yield the tasks of the decision."""
        for task in self.decision.tasks if isinstance(self.decision, RunPlan) else ():
            yield TaskRecord(
                id=task["task_id"],
                participant=task["agent_id"],
                description=shortened(task["task_description"], TEXT_LIMIT),
                needs=tuple(task.get("dependencies") or ()),
            )

    def needs(self, name: str | None) -> tuple[str, ...]:
        """Return what a task of the decision needs."""
        return next((task.needs for task in self.tasks() if task.id == name), ())

    def unreported(self) -> list[TaskRecord]:
        """Return the tasks without a result, each with who has it now."""
        left = {task.id: task for task in self.tasks()}
        for visit in self.visits:
            if visit.heir is not None and (task := left.get(visit.task or "")):
                left[task.id] = replace(task, participant=visit.heir)
            else:
                left.pop(visit.task or "", None)
        return list(left.values())
