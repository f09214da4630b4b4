"""What can be wrong with a child of a supervisor, or with a program."""

from asterism.errors.root import AsterismError


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


class UnknownChildError(AsterismError, LookupError):
    """A supervisor has no such child, or a thread holds nothing to adopt."""

    code = "unknown_child"


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
