"""Every error of Asterism, one tree.

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
├── AgentTimeoutError       (TimeoutError)  a participant gave no answer in time
├── AbandonedError          (RuntimeError)  an attempt that was given up still wants to store
├── CircuitOpenError        (RuntimeError)  a service failed too often and is left alone
├── ConsensusFailedError    (RuntimeError)  the participants did not agree
├── AnswerError             (ValueError)    an answer to an open request is refused
│   ├── NothingPendingError                 nobody is waiting for an answer
│   └── UnknownRequestError                 the answered request is not open
└── StorageError            (OSError)       a database cannot be opened or used
```

Each has a stable `code` for programs and is also the built-in error that it resembles.
"""

from collections.abc import Sequence
from typing import ClassVar


class AsterismError(Exception):
    """The root of all errors that Asterism raises on purpose."""

    code: ClassVar[str] = "asterism"
    """A stable name for programs; the words of a message may change."""


class WorkflowBuildError(AsterismError, ValueError):
    """The parts given to a builder cannot make a workflow."""

    code = "invalid_workflow"

    def __init__(self, name: str, faults: Sequence[str]) -> None:
        self.faults: tuple[str, ...] = tuple(faults)
        """Every fault that was found, each with the way out."""
        listed = "\n".join(f"  {i}. {fault}" for i, fault in enumerate(self.faults, 1))
        super().__init__(f"The workflow {name!r} cannot be built:\n{listed}")


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


class RoutingError(AsterismError, RuntimeError):
    """No valid decision came within the bound, and no fallback was configured."""

    code = "routing_failed"

    def __init__(self, message: str, *, said: Sequence[str] = (), attempts: int = 0) -> None:
        super().__init__(message)
        self.said: tuple[str, ...] = tuple(said)
        """What the decider answered, one text per attempt."""
        self.attempts = attempts
        """How often the decider was asked."""


class ThreadBusyError(AsterismError, RuntimeError):
    """Somebody else drives the thread, in this process or another."""

    code = "thread_busy"


class UnknownParticipantError(AsterismError, LookupError):
    """A stored run waits for a participant that the workflow does not have any more."""

    code = "unknown_participant"


class AgentTimeoutError(AsterismError, TimeoutError):
    """A participant gave no answer within the time of an attempt."""

    code = "agent_timeout"


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


class ConsensusFailedError(AsterismError, RuntimeError):
    """The participants did not agree."""

    code = "consensus_failed"


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
