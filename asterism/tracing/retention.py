"""How many traces are kept, and to which trace a run belongs."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from asterism.core.values import is_number
from asterism.errors import ConfigurationError
from asterism.tracing.reading import RecordedEvent

REMEMBERED = 10_000
"""Of how many runs that went on it is remembered to which trace they belong."""


@dataclass(frozen=True, kw_only=True)
class Retention:
    """How many traces are kept; those that have ended go first, the oldest of them.

    Raises:
        ConfigurationError: A limit is none.
    """

    max_traces: int | None
    max_age: float | None
    """Seconds since something was recorded last."""
    max_bytes: int | None
    """Of all traces together."""

    def __post_init__(self) -> None:
        """Check the limits."""
        for name, whole in (("max_traces", True), ("max_age", False), ("max_bytes", True)):
            given: object = getattr(self, name)
            fits = is_number(given) and (isinstance(given, int) or not whole)
            if given is not None and not (fits and float(str(given)) > 0):
                kind = "a whole number" if whole else "a number of seconds"
                raise ConfigurationError(
                    f"{name} is {given!r}; allowed: {kind} above 0, or None for no limit"
                )


class TraceRuns:
    """Knows to which trace a run belongs: its own, or that of the run that it goes on with."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, str] = OrderedDict()

    def trace_of(
        self,
        run: str,
        thread: str,
        note: RecordedEvent,
        latest: Callable[[str], tuple[str, str] | None],
    ) -> str:
        """Return the id of the trace that a note belongs to.

        Args:
            run: Whose note it is.
            thread: Its thread, if it has one.
            note: The note.
            latest: Returns the id and the status of the latest trace of a thread.
        """
        if thread and note.type == "run_started":
            # A chat client answers a question with a plain message, as a new run.
            found = latest(thread)
            if found and (note.facts.get("resumed") or found[1] == "waiting"):
                self._ids[run] = found[0]
                if len(self._ids) > REMEMBERED:
                    self._ids.popitem(last=False)
        return self._ids.get(run, run)
