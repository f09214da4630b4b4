"""What many traces have in common. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from asterism.core.text_tables import Bundle, as_table
from asterism.tracing.model import Trace


@dataclass(frozen=True, kw_only=True)
class TraceMetrics:
    """What many traces have in common."""

    total: int
    finished: int
    unfinished: int
    """Those that run, wait, or were left by a process that died."""
    success_rate: float | None
    """The share of the finished that are `completed`, 0 to 1. None: nothing is finished."""
    average_duration: float | None
    """Seconds at work of the finished. None: nothing is finished."""
    statuses: Mapping[str, int]
    """How many there are of each status, the most frequent first."""
    error_types: Mapping[str, int]
    """How many errors there are of each type, in all traces."""
    interactions: Mapping[str, int]
    """How many things were sent, by `"sender -> recipient"`."""

    def as_json(self) -> dict[str, Any]:
        """Return the metrics as plain JSON values."""
        return asdict(self)

    def _repr_mimebundle_(self, **kwargs: Any) -> Bundle:
        took = self.average_duration
        rows = [
            ("traces", self.total),
            ("success rate", "-" if self.success_rate is None else f"{self.success_rate:.0%}"),
            ("average duration", "-" if took is None else f"{took:.3f} s"),
            *((f"status {name}", number) for name, number in self.statuses.items()),
            *((f"error {name}", number) for name, number in self.error_types.items()),
            *self.interactions.items(),
        ]
        return as_table(("what", "how many"), rows, "traces")


def analyze_traces(traces: Iterable[Trace]) -> TraceMetrics:
    """Count what happened in traces; those that are not finished are in no average."""
    everything = list(traces)
    finished = [trace for trace in everything if trace.finished]
    successes = sum(trace.status == "completed" for trace in finished)
    seconds = sum(trace.duration or 0.0 for trace in finished)
    errors = (error.type for trace in everything for error in trace.errors)
    sent = (f"{i.sender} -> {i.recipient}" for trace in everything for i in trace.interactions)
    return TraceMetrics(
        total=len(everything),
        finished=len(finished),
        unfinished=len(everything) - len(finished),
        success_rate=successes / len(finished) if finished else None,
        average_duration=seconds / len(finished) if finished else None,
        statuses=_count_names(trace.status for trace in everything),
        error_types=_count_names(errors),
        interactions=_count_names(sent),
    )


def _count_names(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items(), key=lambda found: (-found[1], found[0])))
