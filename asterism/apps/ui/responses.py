"""What the server answers: JSON, and errors as a code and a sentence."""

import json
import logging
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, StrictStr, StringConstraints, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from asterism.core.values import redact
from asterism.errors import (
    AnswerError,
    AsterismError,
    BadDecisionError,
    NothingPendingError,
    StorageError,
    ThreadBusyError,
    UnknownParticipantError,
    UnknownRequestError,
)

_log = logging.getLogger(__name__)
B = TypeVar("B", bound=BaseModel)
BODY_LIMIT = 256 * 1024
"""How many bytes a request may have."""

_STATUSES: tuple[tuple[type[AsterismError], int], ...] = (
    (ThreadBusyError, 409),
    (NothingPendingError, 409),
    (UnknownRequestError, 409),
    (UnknownParticipantError, 409),
    (AnswerError, 422),
    (BadDecisionError, 422),
    (StorageError, 503),
    (AsterismError, 400),
)


class Body(BaseModel):
    """What a request brings; nothing else is allowed in it."""

    model_config = ConfigDict(extra="forbid")


class RunBody(Body):
    """A request to run: on a new thread of a graph, or on a thread that there is."""

    request: StrictStr
    graph: StrictStr | None = None
    thread: StrictStr | None = None


class SearchBody(Body):
    """What is searched for among the runs, in a body: no words of anybody stand in an address."""

    words: StrictStr = ""
    status: StrictStr = ""
    before: StrictStr = ""


class ThreadBody(Body):
    """Names a thread."""

    thread: StrictStr


class RenameBody(ThreadBody):
    """Gives a thread a title; none: its request is shown again."""

    title: Annotated[StrictStr, StringConstraints(strip_whitespace=True, max_length=200)]


class AnswerBody(ThreadBody):
    """Answers open requests, by their ids."""

    answers: dict[StrictStr, Any]


class DecisionBody(Body):
    """A decision as a person edits it."""

    next_agent: StrictStr | None = None
    user_input_needed: bool = False
    user_prompt: StrictStr | None = None
    instruction: StrictStr | None = None


class RetryBody(ThreadBody):
    """Runs again what began after a checkpoint."""

    checkpoint: StrictStr


class SteerBody(ThreadBody):
    """Pauses, resumes or kills a run of the workers."""

    action: Literal["pause", "resume", "kill"]


class MessageBody(ThreadBody):
    """Steers a run, wherever it runs."""

    message: StrictStr


class ForkBody(ThreadBody):
    """Goes on from a checkpoint with another decision."""

    checkpoint: StrictStr
    decision: DecisionBody


async def read_body(request: Request, model: type[B]) -> B:
    """Read the body of a request, no further than it may go."""
    read = bytearray()
    async for chunk in request.stream():
        read += chunk
        if len(read) > BODY_LIMIT:
            raise HTTPException(413, f"The body has more than {BODY_LIMIT} bytes.")
    return model.model_validate_json(bytes(read))


def encode_json(value: Any) -> bytes:
    """Write JSON that every browser reads, whatever a model or a tool has put into the value."""
    try:
        return json.dumps(value, allow_nan=False, default=str).encode()
    except ValueError:  # a number that is none
        plain = json.loads(json.dumps(value, default=str), parse_constant=str)
        return json.dumps(plain).encode()


def answer(value: Any, status: int = 200) -> Response:
    """Answer with JSON."""
    return Response(encode_json(value), status, media_type="application/json")


def error_response(status: int, code: str, said: str) -> Response:
    """Answer with an error: a stable code, and a sentence without secrets."""
    return answer({"error": {"code": code, "message": redact(said)}}, status)


async def on_error(request: Request, error: Exception) -> Response:
    """Turn an error into an answer; of one that is not ours, only its kind is told."""
    if isinstance(error, AsterismError):
        status = next(status for kind, status in _STATUSES if isinstance(error, kind))
        return error_response(status, error.code, str(error))
    if isinstance(error, ValidationError):
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        return error_response(400, "invalid_body", f"The request cannot be read: {faults}.")
    if isinstance(error, HTTPException):
        return error_response(error.status_code, "http", error.detail)
    _log.error("%s failed", request.url.path, exc_info=error)
    said = f"Something failed ({type(error).__name__}); the server's log tells more."
    return error_response(500, "internal", said)
