"""The root of all errors.

What can be wrong with a child of a supervisor, or with a program.

What can go wrong with a participant that works elsewhere, each by its own name.

What can be wrong with a workflow, its runs, and what they are stored in.

Every error of Asterism, one tree.

```
AsterismError
├── WorkflowBuildError      (ValueError)    the parts cannot make a workflow; lists every fault
├── ConfigurationError      (ValueError)    a model, thread or setting cannot be used
│   ├── ModelNotFoundError                  no such model, or its package or key is missing
│   └── InvalidThreadError                  no thread id, or one that is not allowed
├── InvalidRequestError     (ValueError)    the input of a run holds no request
├── BadDecisionError        (ValueError)    one answer of a decider cannot be read
├── RoutingError            (RuntimeError)  no valid decision within the bound
├── ThreadBusyError         (RuntimeError)  somebody else drives the thread, or the batch
├── UnknownParticipantError (LookupError)   a stored run waits for somebody who is gone
├── UnknownThreadError      (LookupError)   nothing is stored of a thread
├── ThreadVersionError      (ValueError)    no migration leads from the version of a thread
├── WhatIfError             (ValueError)    a past run cannot be changed like that
├── AgentTimeoutError       (TimeoutError)  a participant gave no answer in time
├── BudgetExceededError     (RuntimeError)  a call does not fit into a budget
├── StalledError            (RuntimeError)  a model repeats a tool call without end
├── AbandonedError          (RuntimeError)  an attempt that was given up still wants to store
├── CircuitOpenError        (RuntimeError)  a service failed too often and is left alone
├── CapacityTimeoutError    (TimeoutError)  a service had no capacity left in time
├── ConsensusFailedError    (RuntimeError)  the participants did not agree
├── InvalidMemoryError      (ValueError)    something that cannot be remembered, or by nobody
├── RemoteError             (RuntimeError)  a participant elsewhere gave no usable answer
│   ├── RemoteConnectionError (ConnectionError) it cannot be reached, or the connection broke
│   ├── RemoteFailedError                   its own work has failed
│   ├── RemoteRedirectError                 it sends the call to where it may not go
│   ├── RemoteReplyError    (ValueError)    its answer cannot be read
│   ├── RemoteStatusError                   it refused the call
│   └── RemoteTimeoutError  (TimeoutError)  it gave no complete answer in time
├── AnswerError             (ValueError)    an answer to an open request is refused
│   ├── NothingPendingError                 nobody is waiting for an answer
│   └── UnknownRequestError                 the answered request is not open
├── ChildError              (RuntimeError)  a supervised child did not come to its end
│   ├── ChildFailedError                    it failed, and is not restarted any more
│   ├── ChildKilledError                    it was killed
│   ├── ChildPausedError                    it rests, and its supervisor is shut down
│   └── ChildTimeoutError   (TimeoutError)  it was not over in time, and was killed
├── ChildStateError         (RuntimeError)  a child cannot do that in its state
├── SpawnRefusedError       (RuntimeError)  a supervisor takes no more children
├── UnknownChildError       (LookupError)   a supervisor has no such child
├── ProgramStateError       (RuntimeError)  a program was not started, or is stopped
├── TaskFailedError         (RuntimeError)  a task of a program did not come to a result
└── StorageError            (OSError)       a database cannot be opened or used
```

Each has a stable `code` for programs and is also the built-in error that it resembles.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from asterism.core.values import number_lines


class AsterismError(Exception):
    """The root of all errors that Asterism raises on purpose."""

    code: ClassVar[str] = "asterism"
    """A stable name for programs; the words of a message may change."""


class ChildError(AsterismError, RuntimeError):
    """A supervised child did not come to its end."""

    code = "child_not_completed"

    def __init__(self, message: str, *, child_id: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.child_id = child_id
        """Which child."""
        self.reason = reason
        """Why."""


class ChildFailedError(ChildError):
    """A child failed, and is not restarted any more."""

    code = "child_failed"


class ChildKilledError(ChildError):
    """A child was killed: by hand, by a quota, for its silence, or in a shutdown."""

    code = "child_killed"


class ChildPausedError(ChildError):
    """A child rests, and its supervisor is shut down; another one can adopt it."""

    code = "child_paused"


class ChildTimeoutError(ChildError, TimeoutError):
    """A child was not over in time, and was killed."""

    code = "child_timeout"


class ChildStateError(AsterismError, RuntimeError):
    """A child cannot do what was asked of it in its state."""

    code = "child_state"


class SpawnRefusedError(AsterismError, RuntimeError):
    """A supervisor takes no more children: it has as many as it may, or is shut down."""

    code = "spawn_refused"


class UnknownChildError(AsterismError, KeyError):
    """A supervisor has no such child, or a thread holds nothing to adopt."""

    code = "unknown_child"
    __str__ = Exception.__str__  # a KeyError shows its message as a key, in quotes


class ProgramStateError(AsterismError, RuntimeError):
    """A program cannot do that now: it was not started, or is stopped."""

    code = "program_state"


class TaskFailedError(AsterismError, RuntimeError):
    """A task of a program did not come to a result."""

    code = "task_failed"

    def __init__(self, message: str, *, task: str, decision: str = "", attempts: int = 1) -> None:
        super().__init__(message)
        self.task_id, self.attempts = task, attempts
        self.decision = decision
        """Why it is not tried again: `max_retries_exceeded`, or `not_retried`."""


class RemoteError(AsterismError, RuntimeError):
    """A service or a server elsewhere gave no answer that can be used."""

    code = "remote"


class RemoteConnectionError(RemoteError, ConnectionError):
    """It cannot be reached, or the connection broke before its answer was complete."""

    code = "remote_connection"


class RemoteTimeoutError(RemoteError, TimeoutError):
    """It gave no complete answer in time."""

    code = "remote_timeout"


class RemoteStatusError(RemoteError):
    """It refused the call with an HTTP status."""

    code = "remote_status"

    def __init__(self, message: str, *, status_code: int = 0, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.status_code = status_code
        """The HTTP status."""
        self.retry_after = retry_after
        """Seconds that it asks to be left alone."""


class RemoteRedirectError(RemoteError):
    """It sends the call to where it may not go."""

    code = "remote_redirect"


class RemoteReplyError(RemoteError, ValueError):
    """Its answer cannot be read: too large, no JSON, or not what was agreed."""

    code = "remote_reply"


class RemoteFailedError(RemoteError):
    """It answered in good order that its own work has failed."""

    code = "remote_failed"

    def __init__(self, message: str, *, kind: str = "agent_failed", said: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        """The kind of failure, as in `asterism.limits.failure_policies.FAILURES`."""
        self.said = said
        """What it had said of its answer."""


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


class ThreadVersionError(AsterismError, ValueError):
    """A thread was stored by a version of the team from which no migration leads to this one."""

    code = "thread_version"


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
        """Whom the budget limits; see `asterism.limits.budgets.BudgetScope`."""
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


__all__ = [
    "AbandonedError",
    "AgentTimeoutError",
    "AnswerError",
    "AsterismError",
    "BadDecisionError",
    "BudgetExceededError",
    "CapacityTimeoutError",
    "ChildError",
    "ChildFailedError",
    "ChildKilledError",
    "ChildPausedError",
    "ChildStateError",
    "ChildTimeoutError",
    "CircuitOpenError",
    "ConfigurationError",
    "ConsensusFailedError",
    "InvalidMemoryError",
    "InvalidRequestError",
    "InvalidThreadError",
    "ModelNotFoundError",
    "NothingPendingError",
    "ProgramStateError",
    "RemoteConnectionError",
    "RemoteError",
    "RemoteFailedError",
    "RemoteRedirectError",
    "RemoteReplyError",
    "RemoteStatusError",
    "RemoteTimeoutError",
    "RoutingError",
    "SpawnRefusedError",
    "StalledError",
    "StorageError",
    "TaskFailedError",
    "ThreadBusyError",
    "UnknownChildError",
    "UnknownParticipantError",
    "UnknownRequestError",
    "UnknownThreadError",
    "WhatIfError",
    "WorkflowBuildError",
]
