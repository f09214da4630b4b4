"""Reads one request: the rounds of its supervisor, the visits, the end."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from langchain_core.messages import AIMessage

from asterism.ledger import Entry, Usage
from asterism.pictures.history import Step, error_in, interrupts_in, time_of
from asterism.pictures.record import (
    QuestionRecord,
    RequestRecord,
    RoundRecord,
    TaskRecord,
    ToolRecord,
    VisitRecord,
    VisitStatus,
)
from asterism.pictures.words import shortened
from asterism.plain import as_dict
from asterism.redaction import redact
from asterism.state import Report, Status

TEXT_LIMIT = 2_000
"""How many characters of a request, a report or an answer a record keeps."""


class Places(Protocol):
    """What participants have stored."""

    def inside(self, namespace: str, path: str, handoff: str) -> RequestRecord | None:
        """Return what happened in a visit to a workflow, or None where it is none."""
        ...

    def tools(self, namespace: str, handoff: str) -> tuple[ToolRecord, ...]:
        """Return the calls of tools in a visit."""
        ...

    def questions(self, namespace: str, handoff: str) -> tuple[QuestionRecord, ...]:
        """Return what a participant asked people in a visit."""
        ...

    def latest(self, namespace: str) -> str:
        """Return the visit that a participant was at last."""
        ...


@dataclass
class _Round:
    """A round that is being read."""

    decision: dict[str, Any]
    began: str
    decided: str | None
    checkpoint: str
    usage: list[Entry]
    created: tuple[str, ...]
    visits: list[VisitRecord] = field(default_factory=list[VisitRecord])
    starts: dict[str, str] = field(default_factory=dict[str, str])
    """When each task of a plan was first seen to run."""
    answer: str | None = None


class RequestReader:
    """Takes the steps of one request, in order.

    Args:
        places: What participants have stored.
        namespace: Where the workflow stores its checkpoints.
        path: The participants that lead to it.
    """

    def __init__(self, places: Places, namespace: str, path: str) -> None:
        self._places = places
        self._namespace, self._path = namespace, path
        self._rounds: list[_Round] = []
        self._reported: set[str] = set()
        self._lines: list[Entry] = []
        self._values: Mapping[str, Any] = {}
        self._request = ""
        self._answer: str | None = None
        self._began: str | None = None
        self._ended: str | None = None
        self._error: str | None = None
        self._waits = False

    def take(self, step: Step) -> None:
        """Take the next step."""
        self._began = self._began or time_of(step.before)
        self._ended = time_of(step.after or step.before)
        before, self._values = self._values, step.values
        if not self._request and step.new["brief"]:
            self._request = "\n\n".join(map(str, step.new["brief"]))
        if step.after is None:
            self._error = error_in(step.before)
            self._waits = any(is_open for _, _, is_open in interrupts_in(step.before))
        lines: list[Entry] = step.new["usage"]
        self._lines += lines
        decision = as_dict(step.values.get("decision"))
        known = self._rounds[-1].decision if self._rounds else {}
        if step.after is not None and decision and decision != known:
            agents = as_dict(step.values.get("agents")).keys()
            created = [name for name in agents if name not in as_dict(before.get("agents"))]
            self._rounds.append(
                _Round(
                    decision=decision,
                    began=time_of(step.before),
                    decided=time_of(step.after),
                    checkpoint=step.before.checkpoint["id"],
                    usage=lines,
                    created=tuple(created),
                )
            )
        elif self._rounds:
            self._take_work(step, before)

    def _take_work(self, step: Step, before: Mapping[str, Any]) -> None:
        """Take a step in which a decision was followed."""
        current = self._rounds[-1]
        for name in step.values.get("running") or ():
            current.starts.setdefault(str(name), time_of(step.before))
        for report in step.new["reports"]:
            if isinstance(report, dict) and report["id"] not in self._reported:
                self._reported.add(report["id"])
                self._lines += report.get("usage") or ()
                current.visits.append(self._visit(report, current, step))
        for message in step.new["messages"]:
            if message.type == "human":
                current.answer = message.text
            elif isinstance(message, AIMessage):
                self._answer = message.text
        if current.decision.get("budget") and before.get("limits") != step.values.get("limits"):
            breach = current.decision["budget"]
            raised = as_dict(as_dict(step.values.get("limits")).get(breach["scope"]))
            current.answer = raised.get(breach["measure"])

    def _visit(self, report: Report, current: _Round, step: Step) -> VisitRecord:
        name, task = report["participant"], report.get("task")
        namespace, path = self._below(name)
        skipped = report["status"] == "skipped"
        began = current.starts.get(task or "", time_of(step.before))
        undoes = report.get("undoes")
        found = VisitRecord(
            id=report["id"],
            participant=name,
            path=path,
            status=report["status"],
            text=shortened(report["text"], TEXT_LIMIT),
            error=report.get("error"),
            task=task,
            needs=_needs(current, task),
            attempts=report["attempts"],
            heir=as_dict(report.get("compensation")).get("to"),
            undoes=undoes,
            began=None if skipped else began,
            ended=None if skipped or step.after is None else time_of(step.after),
            usage=Usage.of(report.get("usage") or ()),
        )
        return found if skipped or undoes else self._detailed(found, namespace)

    def _detailed(self, visit: VisitRecord, namespace: str) -> VisitRecord:
        """Add what the participant itself has stored of a visit."""
        return replace(
            visit,
            tools=self._places.tools(namespace, visit.id),
            questions=self._places.questions(namespace, visit.id),
            inside=self._places.inside(namespace, visit.path, visit.id),
        )

    def _below(self, name: str) -> tuple[str, str]:
        """Return the namespace and the path of a participant."""
        namespace = f"{self._namespace}|{name}" if self._namespace else name
        return namespace, f"{self._path}/{name}" if self._path else name

    def done(self, *, last: bool) -> RequestRecord:
        """Return the request.

        Args:
            last: Whether no other one followed, and nothing after it was left out.
        """
        status: Status = self._values.get("status") or "running"
        reason: str | None = self._values.get("reason")
        if last and self._waits:
            status = "waiting"
        elif last and self._error is not None and status == "running":
            status, reason = "failed", redact(self._error)
        elif not last and status in ("running", "waiting"):
            reason = "another request came before this one was over"
        live = last and status in ("running", "waiting", "failed") and not self._over()
        if live and self._rounds:
            self._rounds[-1].visits += self._open_visits(self._rounds[-1])
        for before in self._rounds[: -1 if live else None]:
            before.visits += [
                self._planned(before, task, "stopped") for task in _unreported(before)
            ]
        rounds = tuple(
            self._round(number, found, asks=live and self._waits and found is self._rounds[-1])
            for number, found in enumerate(self._rounds, 1)
        )
        return RequestRecord(
            request=shortened(redact(self._request), TEXT_LIMIT),
            rounds=rounds,
            status=status,
            reason=reason,
            answer=shortened(self._answer, TEXT_LIMIT) if self._over() and self._answer else None,
            began=self._began,
            ended=self._ended,
            usage=Usage.of(self._lines),
        )

    def _over(self) -> bool:
        """Whether the request came to an end of its own."""
        return (self._values.get("status") or "running") not in ("running", "waiting")

    def _open_visits(self, current: _Round) -> list[VisitRecord]:
        """Return the visits that a decision asks for and that have no report yet."""
        name = current.decision.get("next_agent")
        if name is not None:
            done = bool(current.visits)
            return [] if done else [self._open(current, str(name), None, begun=True)]
        running = set(self._values.get("running") or ())
        return [
            self._open(current, task.participant, task, begun=task.id in running)
            for task in _unreported(current)
        ]

    def _open(
        self, current: _Round, name: str, task: TaskRecord | None, *, begun: bool
    ) -> VisitRecord:
        namespace, path = self._below(name)
        handoff = self._places.latest(namespace)
        if handoff in self._reported:
            handoff = ""
        started = current.starts.get(task.id) if task else current.decided
        status: VisitStatus = "running" if begun or handoff else "pending"
        visit = VisitRecord(
            id=handoff,
            participant=name,
            path=path,
            status=status,
            task=task.id if task else None,
            needs=task.needs if task else (),
            began=None if status == "pending" else started,
        )
        if not handoff:
            return visit
        found = self._detailed(visit, namespace)
        asks = any(question.open for question in found.questions)
        if asks or (found.inside is not None and found.inside.status == "waiting"):
            return replace(found, status="waiting")
        return found

    def _planned(self, current: _Round, task: TaskRecord, status: VisitStatus) -> VisitRecord:
        _, path = self._below(task.participant)
        return VisitRecord(
            id="",
            participant=task.participant,
            path=path,
            status=status,
            task=task.id,
            needs=task.needs,
        )

    def _round(self, number: int, found: _Round, *, asks: bool) -> RoundRecord:
        decision, question = found.decision, None
        if decision.get("user_input_needed"):
            prompt = shortened(redact(decision.get("user_prompt") or ""), TEXT_LIMIT)
            said = found.answer and shortened(redact(found.answer), TEXT_LIMIT)
            question = QuestionRecord(prompt=prompt, answer=said, open=asks and said is None)
        instruction = decision.get("instruction")
        return RoundRecord(
            number=number,
            kind="question"
            if question
            else "undo"
            if decision.get("undo")
            else "plan"
            if decision.get("tasks")
            else "visit"
            if decision.get("next_agent")
            else "finish",
            participant=decision.get("next_agent"),
            instruction=instruction and shortened(instruction, TEXT_LIMIT),
            tasks=tuple(tasks_of(decision)),
            question=question,
            created=found.created,
            visits=tuple(found.visits),
            began=found.began,
            decided=found.decided,
            usage=Usage.of(found.usage),
            checkpoint=found.checkpoint,
        )


def tasks_of(decision: Mapping[str, Any]) -> Iterable[TaskRecord]:
    """Yield the tasks of a decision."""
    for task in decision.get("tasks") or ():
        yield TaskRecord(
            id=task["task_id"],
            participant=task["agent_id"],
            description=shortened(task["task_description"], TEXT_LIMIT),
            needs=tuple(task.get("dependencies") or ()),
        )


def _needs(current: _Round, name: str | None) -> tuple[str, ...]:
    return next((task.needs for task in tasks_of(current.decision) if task.id == name), ())


def _unreported(current: _Round) -> list[TaskRecord]:
    """Return the tasks of a plan without a result, each with who has it now."""
    open_tasks = {task.id: task for task in tasks_of(current.decision)}
    for visit in current.visits:
        if visit.heir is not None and (task := open_tasks.get(visit.task or "")):
            open_tasks[task.id] = replace(task, participant=visit.heir)
        else:
            open_tasks.pop(visit.task or "", None)
    return list(open_tasks.values())
