"""Reads the requests of a thread from its checkpoints: rounds, visits, ends."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langgraph.checkpoint.base import CheckpointTuple

from asterism.core.checkpoints import id_of, lineage, namespace_of, on_branch
from asterism.core.decision import (
    AskUser,
    ContinueStopped,
    Decision,
    RaiseLimit,
    RunPlan,
    VisitNext,
    load_decision,
    resume_stopped,
)
from asterism.core.interrupts import approval_prompt, is_approval
from asterism.core.state import Report, Status
from asterism.core.steering import steered_path
from asterism.core.usage import Usage, UsageEntry
from asterism.core.values import as_dict, redact, shorten
from asterism.limits.usage import tool_cost
from asterism.observability.checkpoint_steps import (
    CheckpointStep,
    checkpoint_time,
    error_in,
    handoff_of,
    interrupts_in,
    steps_of,
    visits_in,
)
from asterism.observability.record import (
    QuestionRecord,
    RequestRecord,
    RoundKind,
    RoundRecord,
    TaskRecord,
    ToolRecord,
    TryRecord,
    VisitRecord,
    VisitStatus,
)
from asterism.observability.text_width import as_text

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
    usage: list[UsageEntry]
    created: tuple[str, ...]
    tries: list[dict[str, str]]
    visits: list[VisitRecord] = field(default_factory=list[VisitRecord])
    starts: dict[str, CheckpointTuple] = field(default_factory=dict[str, CheckpointTuple])
    """What each task of a plan began after."""
    answer: str | None = None
    steering: tuple[str, ...] = ()

    def close(self, number: int, *, asks: bool) -> RoundRecord:
        """Return the round."""
        decision, question = self.decision, None
        if isinstance(decision, AskUser | RaiseLimit):
            prompt = shorten(redact(decision.user_prompt), TEXT_LIMIT)
            said = self.answer and shorten(redact(self.answer), TEXT_LIMIT)
            question = QuestionRecord(prompt=prompt, answer=said, open=asks and said is None)
        visit = decision if isinstance(decision, VisitNext) else None
        instruction = visit.instruction if visit else None
        kind = decision.kind if decision else "failed"
        return RoundRecord(
            number=number,
            kind=cast(RoundKind, _KINDS.get(kind, kind)),
            participant=visit.next_agent if visit else None,
            instruction=instruction and shorten(instruction, TEXT_LIMIT),
            tasks=tuple(self.tasks()),
            question=question,
            steering=self.steering,
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
                description=shorten(task["task_description"], TEXT_LIMIT),
                needs=tuple(task.get("dependencies") or ()),
                mode=task.get("execution_mode") or "parallel",
            )

    def needs(self, name: str | None) -> tuple[str, ...]:
        """Return what a task of the decision needs."""
        return next((task.needs for task in self.tasks() if task.id == name), ())

    def find_open_tasks(self) -> list[TaskRecord]:
        """Return the tasks without a result, each with who has it now."""
        left = {task.id: task for task in self.tasks()}
        for visit in self.visits:
            if visit.heir is not None and (task := left.get(visit.task or "")):
                left[task.id] = replace(task, participant=visit.heir)
            else:
                left.pop(visit.task or "", None)
        return list(left.values())


def _steering(step: CheckpointStep, path: str) -> tuple[str, ...]:
    """Return the messages to somebody that a step took in."""
    found = (message for message in step.new["messages"] if steered_path(message) == path)
    return tuple(shorten(redact(message.text), TEXT_LIMIT) for message in found)


class RequestReader:
    """Takes the steps of one request, in order."""

    def __init__(self, places: "History", namespace: str, path: str) -> None:
        self._places = places
        self._namespace, self._path = namespace, path
        self._rounds: list[OpenRound] = []
        self._reported: set[str] = set()
        self._lines: list[UsageEntry] = []
        self._values: Mapping[str, Any] = {}
        self._request = ""
        self._answer: str | None = None
        self._began: str | None = None
        self._ended: str | None = None
        self._error: str | None = None
        self._waits = False

    def take(self, step: CheckpointStep) -> None:
        """Take the next step."""
        self._began = self._began or checkpoint_time(step.before)
        self._ended = checkpoint_time(step.after or step.before)
        before = step.before.checkpoint["channel_values"]
        self._values = step.values
        if not self._request and step.new["brief"]:
            self._request = "\n\n".join(map(str, step.new["brief"]))
        if step.after is None:
            self._error = error_in(step.before)
            self._waits = any(is_open for _, _, is_open in interrupts_in(step.before))
        lines: list[UsageEntry] = step.new["usage"]
        self._lines += lines
        decision = load_decision(step.decision)
        if self._rounds:
            self._take_work(step, before)
        new = decision is not None and step.decision != step.was
        if isinstance(decision, ContinueStopped):
            decision = resume_stopped(decision)
            new = new and decision is not None
        found = as_dict(step.values.get("tries"))
        tries = found if found.get("id") != as_dict(before.get("tries")).get("id") else {}
        if tries.get("failed"):
            new, decision = True, None
        goes_on = decision is not None and self._rounds and decision == self._rounds[-1].decision
        if new and step.after is not None and not goes_on:
            agents = as_dict(step.values.get("agents")).keys()
            created = [name for name in agents if name not in as_dict(before.get("agents"))]
            self._rounds.append(
                OpenRound(
                    decision=decision,
                    began=checkpoint_time(step.before),
                    decided=checkpoint_time(step.after),
                    checkpoint=step.before.checkpoint["id"],
                    usage=lines,
                    created=tuple(created),
                    tries=tries.get("tries") or [],
                    steering=_steering(step, self._path),
                )
            )

    def _take_work(self, step: CheckpointStep, before: Mapping[str, Any]) -> None:
        """Take a step in which a decision was followed."""
        current = self._rounds[-1]
        for name in step.values.get("running") or ():
            current.starts.setdefault(str(name), step.before)
        for report in step.new["reports"]:
            if report["id"] not in self._reported:
                self._reported.add(report["id"])
                self._lines += report.get("usage") or ()
                current.visits.append(self._visit(report, current, step))
        for message in step.new["messages"]:
            if message.type == "human" and steered_path(message) is None:
                current.answer = message.text
            elif isinstance(message, AIMessage):
                self._answer = message.text
        if isinstance(current.decision, RaiseLimit):
            breach = current.decision.budget
            limits = (as_dict(v.get("limits")).get(breach["scope"]) for v in (before, step.values))
            was, now = (as_dict(limit).get(breach["measure"]) for limit in limits)
            stopped = as_dict(step.values.get("breach")).get("asks") is False
            current.answer = now if now != was else "stop" if stopped else current.answer

    def _visit(self, report: Report, current: OpenRound, step: CheckpointStep) -> VisitRecord:
        name, task = report["participant"], report.get("task")
        namespace, path = self._below(name)
        skipped = report["status"] == "skipped"
        start = current.starts.get(task or "", step.before)
        undoes = report.get("undoes")
        found = VisitRecord(
            id=report["id"],
            participant=name,
            path=path,
            status=report["status"],
            text=shorten(report["text"], TEXT_LIMIT),
            error=report.get("error"),
            traceback=report.get("traceback"),
            task=task,
            needs=current.needs(task),
            attempts=report["attempts"],
            heir=as_dict(report.get("compensation")).get("to"),
            undoes=undoes,
            began=None if skipped else checkpoint_time(start),
            ended=None if skipped or step.after is None else checkpoint_time(step.after),
            checkpoint=id_of(start),
            usage=Usage.of(report.get("usage") or ()),
        )
        found = replace(found, steering=_steering(step, path))
        return found if skipped or undoes else self._add_details(found, namespace)

    def _add_details(self, visit: VisitRecord, namespace: str) -> VisitRecord:
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
        """Return the request."""
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
                self._create_planned_visit(before, task, "stopped")
                for task in before.find_open_tasks()
            ]
        rounds = tuple(
            found.close(number, asks=live and self._waits and found is self._rounds[-1])
            for number, found in enumerate(self._rounds, 1)
        )
        return RequestRecord(
            request=shorten(redact(self._request), TEXT_LIMIT),
            rounds=rounds,
            status=status,
            reason=reason,
            answer=shorten(self._answer, TEXT_LIMIT) if self._over() and self._answer else None,
            began=self._began,
            ended=self._ended,
            usage=Usage.of(self._lines),
        )

    def _over(self) -> bool:
        """Whether the request came to an end of its own."""
        return (self._values.get("status") or "running") not in ("running", "waiting")

    def _open_visits(self, current: OpenRound) -> list[VisitRecord]:
        """Return the visits that a decision asks for and that have no report yet."""
        if isinstance(current.decision, VisitNext):
            name = current.decision.next_agent
            return [] if current.visits else [self._open(current, name, None, begun=True)]
        running: list[str] = self._values.get("running") or []
        return [
            self._open(current, task.participant, task, begun=task.id in running)
            for task in current.find_open_tasks()
        ]

    def _open(
        self, current: OpenRound, name: str, task: TaskRecord | None, *, begun: bool
    ) -> VisitRecord:
        namespace, path = self._below(name)
        handoff = self._places.latest(namespace)
        if handoff in self._reported:
            handoff = ""
        start = current.starts.get(task.id) if task else None
        started = checkpoint_time(start) if start else current.decided
        status: VisitStatus = "running" if begun or handoff else "pending"
        visit = VisitRecord(
            id=handoff,
            participant=name,
            path=path,
            status=status,
            task=task.id if task else None,
            needs=task.needs if task else (),
            began=None if status == "pending" else started,
            checkpoint=id_of(start) if start else "",
        )
        if not handoff:
            return visit
        found = self._add_details(visit, namespace)
        asks = any(question.open for question in found.questions)
        if asks or (found.inside is not None and found.inside.status == "waiting"):
            return replace(found, status="waiting")
        return found

    def _create_planned_visit(
        self, current: OpenRound, task: TaskRecord, status: VisitStatus
    ) -> VisitRecord:
        _, path = self._below(task.participant)
        return VisitRecord(
            id="",
            participant=task.participant,
            path=path,
            status=status,
            task=task.id,
            needs=task.needs,
        )


ARGUMENTS_LIMIT = 500
"""How many characters of a tool's arguments, and of its result, a record keeps."""


class History:
    """All namespaces of a thread, each in its order, and what stands in them."""

    def __init__(
        self, items: Sequence[CheckpointTuple], head: CheckpointTuple, *, cut: bool
    ) -> None:
        self._cut = cut
        self._items: dict[str, list[CheckpointTuple]] = defaultdict(list)
        for item in items:
            self._items[namespace_of(item)].append(item)
        trunk = lineage(self._items[""], head)
        self._lines: dict[str, list[CheckpointTuple]] = {"": trunk}
        for namespace, found in self._items.items():
            own = on_branch(found, self._items[""], trunk, open_end=not cut) if namespace else []
            if own:
                self._lines[namespace] = lineage(found, max(own, key=id_of))
        self._kept: dict[tuple[str, str], Any] = {}
        self._open = {asked.id for asked, _, open_ in interrupts_in(trunk[-1]) if open_ and not cut}

    @cached_property
    def requests(self) -> list[RequestRecord]:
        """Those of the workflow itself."""
        return [request for _, request in self._requests("", "")]

    def inside(self, namespace: str, path: str, handoff: str) -> RequestRecord | None:
        """Return what happened in a visit to a workflow, or None where it is none."""
        line = self._lines.get(namespace)
        if not line or "iterations" not in line[-1].checkpoint["channel_values"]:
            return None
        key = ("inside", namespace)
        if key not in self._kept:
            self._kept[key] = dict(self._requests(namespace, path))
        return cast(RequestRecord | None, self._kept[key].get(handoff))

    def tools(self, namespace: str, handoff: str) -> tuple[ToolRecord, ...]:
        """Return the calls of tools in a visit."""
        return tuple(tools_of(self._visits(namespace).get(handoff, ())))

    def latest(self, namespace: str) -> str:
        """Return the visit that a participant was at last."""
        return next(reversed(self._visits(namespace)), "")

    def questions(self, namespace: str, handoff: str) -> tuple[QuestionRecord, ...]:
        """Return what a participant asked people in a visit."""
        line = self._lines.get(namespace, ())
        if line and "iterations" in line[-1].checkpoint["channel_values"]:
            return ()  # they stand inside of it
        asked: dict[str, QuestionRecord] = {}
        for item in line:
            if handoff_of(item) == handoff:
                for found, answer, _ in interrupts_in(item):
                    asked[found.id] = QuestionRecord(
                        prompt=_short(_prompt(found.value)),
                        answer=None if answer is None else _short(as_text(answer)),
                        open=found.id in self._open,
                    )
        return tuple(asked.values())

    def _visits(self, namespace: str) -> dict[str, list[BaseMessage]]:
        key = ("visits", namespace)
        if key not in self._kept:
            line = self._lines.get(namespace)
            self._kept[key] = visits_in(line, cut=self._cut) if line else {}
        return cast(dict[str, list[BaseMessage]], self._kept[key])

    def _requests(self, namespace: str, path: str) -> list[tuple[str, RequestRecord]]:
        line = self._lines[namespace]
        readers = [(handoff_of(line[0]), RequestReader(self, namespace, path))]
        for step in steps_of(line, cut=self._cut):
            if step.starts and step.after is not None:
                readers.append((handoff_of(step.after), RequestReader(self, namespace, path)))
                continue
            readers[-1][1].take(step)
        last = len(readers) - 1
        return [
            (handoff, reader.done(last=place == last and not self._cut))
            for place, (handoff, reader) in enumerate(readers)
        ]


def _prompt(value: object) -> str:
    """Return the question of an interrupt."""
    said = as_dict(value)
    if is_approval(value):
        return approval_prompt(said)
    return str(said.get("prompt") or said.get("question") or as_text(value))


def _short(text: str) -> str:
    return shorten(redact(text), ARGUMENTS_LIMIT)


def tools_of(messages: Sequence[BaseMessage]) -> list[ToolRecord]:
    """Return the calls of tools in the messages of a visit, each with what came of it."""
    results = {m.tool_call_id: m for m in messages if isinstance(m, ToolMessage)}
    found: list[ToolRecord] = []
    for message in messages:
        if not isinstance(message, AIMessage):
            continue
        for call in message.tool_calls:
            result = results.get(call["id"] or "")
            found.append(
                ToolRecord(
                    name=call["name"],
                    arguments=_short(as_text(call["args"])),
                    result=_short(result.text) if result else "",
                    ok=None if result is None else result.status != "error",
                    cost_usd=tool_cost(result),
                )
            )
        for broken in message.invalid_tool_calls:
            said = f"the arguments cannot be read: {broken.get('error') or 'no JSON'}"
            found.append(
                ToolRecord(
                    name=broken.get("name") or "?",
                    arguments=_short(broken.get("args") or ""),
                    result=said,
                    ok=False,
                )
            )
    return found
