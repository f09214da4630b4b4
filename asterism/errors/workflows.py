"""What can be wrong with a workflow, its runs, and what they are stored in."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from asterism.errors.root import AsterismError
from asterism.plain import number_lines


class WorkflowBuildError(AsterismError, ValueError):
    """The parts given to a builder cannot make a workflow."""

    code = "invalid_workflow"

    def __init__(self, name: str, faults: Sequence[str]) -> None:
        self.faults: tuple[str, ...] = tuple(faults)
        """Every fault that was found, each with the way out."""
        super().__init__(f"The workflow {name!r} cannot be built:\n{number_lines(self.faults)}")


class ConfigurationError(AsterismError, ValueError):
    """A setting cannot be used."""

    code = "invalid_configuration"


class ModelNotFoundError(ConfigurationError):
    """A model name means nothing, or what it needs is missing."""

    code = "model_not_found"


class InvalidThreadError(ConfigurationError):
    """A thread id is missing or not allowed."""

    code = "invalid_thread"


class InvalidRequestError(AsterismError, ValueError):
    """The input of a run holds no request."""

    code = "invalid_request"


class BadDecisionError(AsterismError, ValueError):
    """One answer of a decider cannot be read as a decision.

    The message says what is wrong and what is allowed; it is shown to the model when the
    decision is asked for again.
    """

    code = "bad_decision"


FALLBACK_WAY = "To go on instead, give the builder fallback='ask_user', 'finish' or a participant."
"""The way out of a `RoutingError` for who has a builder."""


class RoutingError(AsterismError, RuntimeError):
    """No valid decision came within the bound, and no fallback was configured."""

    code = "routing_failed"

    def __init__(
        self,
        message: str,
        *,
        said: Sequence[str] = (),
        attempts: int = 0,
        faults: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.said: tuple[str, ...] = tuple(said)
        """What the decider answered, one text per attempt."""
        self.attempts = attempts
        """How often the decider was asked."""
        self.faults: tuple[tuple[str, str], ...] = tuple(faults)
        """Each bad answer, with what is wrong with it."""


class ThreadBusyError(AsterismError, RuntimeError):
    """Somebody else drives the thread, in this process or another."""

    code = "thread_busy"


class UnknownParticipantError(AsterismError, LookupError):
    """A stored run waits for a participant that the workflow does not have any more."""

    code = "unknown_participant"


class UnknownThreadError(AsterismError, LookupError):
    """Nothing of a workflow is stored on a thread, or not that checkpoint."""

    code = "unknown_thread"


class WhatIfError(AsterismError, ValueError):
    """A past run has no such place to change, or the change changes nothing."""

    code = "what_if"


class AgentTimeoutError(AsterismError, TimeoutError):
    """A participant gave no answer within the time of an attempt."""

    code = "agent_timeout"


class BudgetExceededError(AsterismError, RuntimeError):
    """A call does not fit into a budget any more; it was not made."""

    code = "budget_exceeded"

    def __init__(
        self, *, scope: str, owner: str, measure: str, limit: str, spent: str, asks: bool
    ) -> None:
        self.scope = scope
        """Whom the budget limits; see `asterism.budgets.BudgetScope`."""
        self.owner = owner
        """The workflow that handles the breach, as a path."""
        self.measure = measure
        """What is limited: `cost_usd`, `tokens`, `calls` or `seconds`."""
        self.limit = limit
        self.spent = spent
        self.asks = asks
        """Whether a person is asked to raise the limit."""
        self.found = ""
        """What the visit that it ended had found."""
        whose = f"of {scope.rstrip('/')}" if scope.rstrip("/") else "of the run"
        super().__init__(
            f"the budget {whose} is used up: {spent} of {limit} {measure}, and the next call does "
            "not fit"
        )

    def __reduce__(self) -> Any:
        """Keep the facts when it is copied."""
        return (partial(BudgetExceededError, **self.facts()), ())

    def facts(self) -> dict[str, Any]:
        """Return what it tells, as plain values."""
        names = ("scope", "owner", "measure", "limit", "spent", "asks")
        return {name: getattr(self, name) for name in names}


class StalledError(AsterismError, RuntimeError):
    """A model repeats a tool call that gives the same result each time, and does not stop."""

    code = "stalled"


class AbandonedError(AsterismError, RuntimeError):
    """An attempt that was given up wants to store something; it is refused."""

    code = "abandoned"


class CircuitOpenError(AsterismError, RuntimeError):
    """A service failed too often; it is left alone for a while."""

    code = "circuit_open"

    def __init__(self, message: str, *, service: str = "", retry_in: float = 0.0) -> None:
        super().__init__(message)
        self.service = service
        """What is left alone."""
        self.retry_in = retry_in
        """Seconds until another try is worth it."""


class CapacityTimeoutError(AsterismError, TimeoutError):
    """A call waited for capacity as long as it may, and was not made."""

    code = "capacity_timeout"

    def __init__(self, message: str, *, service: str = "", waited: float = 0.0) -> None:
        super().__init__(message)
        self.service = service
        """What has no capacity left."""
        self.waited = waited
        """Seconds that the call waited."""


class ConsensusFailedError(AsterismError, RuntimeError):
    """The participants did not agree."""

    code = "consensus_failed"


class InvalidMemoryError(AsterismError, ValueError):
    """Something cannot be remembered, edited or recalled as it was asked."""

    code = "invalid_memory"


class AnswerError(AsterismError, ValueError):
    """An answer to an open request is refused; the request stays open."""

    code = "invalid_answer"


class NothingPendingError(AnswerError):
    """Nobody is waiting for an answer on this thread."""

    code = "nothing_pending"


class UnknownRequestError(AnswerError):
    """An answer names a request that is not open."""

    code = "unknown_request"


class StorageError(AsterismError, OSError):
    """A database cannot be opened or used."""

    code = "storage"
