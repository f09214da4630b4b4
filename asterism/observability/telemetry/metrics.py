"""The metrics that OpenTelemetry has no names for, made of what an event bus tells."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime

from opentelemetry.metrics import MeterProvider, get_meter

from asterism.events import Event, EventType, WorkflowEventType

WAITS = 10_000
"""How many open questions are remembered; beyond that the oldest are forgotten."""

_SECONDS = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600, 7 * 24 * 3600)
_STATES = {
    WorkflowEventType.BREAKER_CLOSED: ("closed", 0),
    WorkflowEventType.BREAKER_HALF_OPEN: ("half_open", 1),
    WorkflowEventType.BREAKER_OPENED: ("open", 2),
}

_Asked = tuple[str, str]
"""A thread, and an open question: its id, or who asks where the id is not known yet."""


class Instruments:
    """Counts and measures what a bus tells; register it with `bus.on(None, instruments)`."""

    def __init__(self, meters: MeterProvider | None = None) -> None:
        meter = get_meter("asterism", meter_provider=meters)
        count = meter.create_counter
        decisions = "Decisions of supervisors, by who works next"
        self._decisions = count("asterism.decisions", "{decision}", decisions)
        retries = "Attempts that are made again, by kind of failure"
        self._retries = count("asterism.retries", "{retry}", retries)
        turns = "Changes of state of circuits"
        self._turns = count("asterism.breaker.transitions", "{transition}", turns)
        warned = "Budgets of which 90 % are used"
        self._warned = count("asterism.budget.warnings", "{warning}", warned)
        exceeded = "Budgets that a call did not fit into"
        self._exceeded = count("asterism.budget.exceeded", "{breach}", exceeded)
        state = "How a circuit stands: 0 closed, 1 half open, 2 open"
        self._state = meter.create_gauge("asterism.breaker.state", "1", state)
        self._waits = meter.create_histogram(
            "asterism.human.wait.duration",
            "s",
            "Seconds from a question to the person's answer",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._open: OrderedDict[_Asked, datetime] = OrderedDict()
        self._told: Mapping[EventType, Callable[[Event], None]] = {
            WorkflowEventType.ROUTED: self._record_route,
            WorkflowEventType.ASKED: self._record_question,
            WorkflowEventType.ANSWERED: self._record_answer,
            WorkflowEventType.RETRIED: self._record_retry,
            WorkflowEventType.BUDGET_WARNING: self._record_usage,
            WorkflowEventType.BUDGET_EXCEEDED: self._record_usage,
            **dict.fromkeys(_STATES, self._record_circuit),
        }

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        if told := self._told.get(event.type):
            told(event)

    def _record_route(self, event: Event) -> None:
        path = _path(event)
        self._open.pop((event.source, path), None)  # nobody waits for that supervisor any more
        self._decide(path, str(event.facts.get("next_agent") or "plan"))

    def _decide(self, path: str, who: str) -> None:
        self._decisions.add(1, {"asterism.workflow.path": path, "asterism.next": who})

    def _record_question(self, event: Event) -> None:
        path, request = _path(event), event.facts.get("request")
        unnamed = (event.source, path)
        if request is None:
            self._decide(path, "person")
            self._open[unnamed] = event.at
        else:
            # A participant in a team asks through all the teams around it, with one id.
            self._open.setdefault((event.source, str(request)), self._open.pop(unnamed, event.at))
        while len(self._open) > WAITS:
            self._open.popitem(last=False)

    def _record_answer(self, event: Event) -> None:
        named = (event.source, str(event.facts.get("request")))
        # The question of the outermost supervisor has no id when it is told of.
        asked = self._open.pop(named, None) or self._open.pop((event.source, "/"), None)
        if asked is not None:
            self._waits.record((event.at - asked).total_seconds())

    def _record_retry(self, event: Event) -> None:
        kind = str(event.facts.get("kind"))
        self._retries.add(1, {"asterism.participant.path": _path(event), "error.type": kind})

    def _record_circuit(self, event: Event) -> None:
        state, number = _STATES[WorkflowEventType(event.type)]
        service = {"asterism.service": str(event.facts.get("service"))}
        self._turns.add(1, {**service, "asterism.breaker.state": state})
        self._state.set(number, service)

    def _record_usage(self, event: Event) -> None:
        scope = str(event.facts.get("scope")).split("#")[0]  # without the task: those are many
        about = {"asterism.scope": scope, "asterism.measure": str(event.facts.get("measure"))}
        warns = event.type is WorkflowEventType.BUDGET_WARNING
        (self._warned if warns else self._exceeded).add(1, about)


def _path(event: Event) -> str:
    return str(event.facts.get("path") or "/")
