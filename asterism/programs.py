"""The tasks of programs: what is asked of one, and what comes back."""

import json
import reprlib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from asterism.config import validation_faults
from asterism.core.values import number_lines
from asterism.errors import InvalidRequestError, ProgramStateError

ID_LIMIT = 200
"""The longest id of a task."""


class ProgramTask(BaseModel):
    """What a program is asked to do."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    id: str = Field(max_length=ID_LIMIT)
    """Names it, and the thread that it is worked on."""
    type: str = Field(min_length=1, max_length=ID_LIMIT)
    """What kind of task it is; a program may tell its tasks apart by it."""
    content: JsonValue
    """What is to be done: a text, or plain values."""
    metadata: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    """What else is known of it; agents are not shown it."""

    @field_validator("id", "type")
    @classmethod
    def _is_printable(cls, value: str) -> str:
        if not value.strip() or not value.isprintable():
            raise ValueError("it must be of printable characters, not of white space alone")
        return value

    @field_validator("content")
    @classmethod
    def _says_something(cls, value: JsonValue) -> JsonValue:
        if value is None or value in ({}, []) or (isinstance(value, str) and not value.strip()):
            raise ValueError("it is empty; say what is to be done")
        return value

    def text(self) -> str:
        """Return the content as text: plain values as JSON."""
        if isinstance(self.content, str):
            return self.content
        return json.dumps(self.content, ensure_ascii=False, indent=2)


class TaskResult(TypedDict):
    """What came of a task: plain values."""

    id: str
    type: str
    content: Any
    """The answer; while `status` is `"waiting"`, the question."""
    status: str
    """How it ended: `completed`, `waiting`, `limit`, `stalled` or `cancelled`."""
    reason: str | None
    metadata: dict[str, Any]
    """That of the task, and what the program adds."""
    pending: list[dict[str, Any]]
    """What waits for a person, each with `id`, `participant`, `prompt` and `schema`."""
    attempts: int
    """How often it was tried."""
    seconds: float
    """How long it took, with the waits between attempts."""


ProgramState = Literal["created", "running", "stopping", "stopped"]
"""Where a program is in its life."""

_WAY_OUT: Mapping[ProgramState, str] = {
    "created": "it was not started; await start() first, or use `async with`",
    "running": "it is running already",
    "stopping": "it is being stopped and takes no more tasks",
    "stopped": "it is stopped; await start() to let it work again",
}


@dataclass(kw_only=True)
class Life:
    """Where a program is in its life, and what it cannot do there."""

    program: str
    state: ProgramState = "created"

    def require(self, running: bool, what: str) -> None:
        """Refuse what a program that runs, or one that does not, cannot do.

        Raises:
            ProgramStateError: It cannot; the message says why, and the way out.
        """
        if (self.state == "running") is not running:
            raise ProgramStateError(
                f"The program {self.program!r} cannot {what}: {_WAY_OUT[self.state]}."
            )


def new_task_id() -> str:
    """Make the id of a task that has none."""
    return uuid.uuid4().hex


def read_task(
    given: ProgramTask | Mapping[str, Any], name_it: Callable[[], str] = new_task_id
) -> ProgramTask:
    """Read a task.

    Args:
        given: `{id?, type, content, metadata?}`.
        name_it: Makes the id where none is given.

    Raises:
        InvalidRequestError: It is none; the message lists every fault with its place.
    """
    if isinstance(given, ProgramTask):
        return given
    if not isinstance(given, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  # given by a user
        raise InvalidRequestError(
            f"The task is {reprlib.repr(given)}; it must be a table: "
            '{"type": "question", "content": "what is to be done"}.'
        )
    fields = dict(given)
    if fields.get("id") is None:
        fields["id"] = name_it()
    try:
        return ProgramTask.model_validate(fields)
    except ValidationError as error:
        faults = validation_faults(error, "task", lambda place: tuple(ProgramTask.model_fields))
        said = f"The task cannot be worked on:\n{number_lines(faults)}"
        raise InvalidRequestError(said) from error


def result_of(
    task: ProgramTask, found: Mapping[str, Any], *, attempts: int, seconds: float
) -> TaskResult:
    """Make the result of a task of what an attempt returned."""
    return TaskResult(
        id=task.id,
        type=task.type,
        content=found.get("content"),
        status=str(found.get("status", "completed")),
        reason=found.get("reason"),
        metadata={**task.metadata, **(found.get("metadata") or {})},
        pending=found.get("pending") or [],
        attempts=attempts,
        seconds=seconds,
    )
