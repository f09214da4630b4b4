"""What can go wrong with a participant that works elsewhere, each by its own name."""

from asterism.errors.root import AsterismError


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
        """The kind of failure, as in `asterism.resilience.FAILURES`."""
        self.said = said
        """What it had said of its answer."""
