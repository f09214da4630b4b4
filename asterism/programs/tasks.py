"""Tasks of programs, their results, and the tasks that are in flight."""

import asyncio
import json
import reprlib
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypedDict, TypeVar

from pydantic import ConfigDict, Field, JsonValue, ValidationError, field_validator

from asterism.core.mappings import MappingModel
from asterism.core.values import number_lines
from asterism.errors import AgentTimeoutError, InvalidRequestError, ProgramStateError
from asterism.programs.config import validation_faults

ID_LIMIT = 200
"""The longest id of a task."""


class ProgramTask(MappingModel):
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


T = TypeVar("T")


class InflightTasks(Generic[T]):
    """Runs pieces of work as tasks of the event loop, so that a shutdown can wait for them."""

    def __init__(self) -> None:
        self._work: dict[str, asyncio.Task[T]] = {}

    async def do(self, name: str, work: Coroutine[Any, Any, T]) -> T:
        """Do a piece of work and return its result.

        Raises:
            InvalidRequestError: There is work of that name already.
            ProgramStateError: A shutdown has stopped it.
        """
        if name in self._work:
            work.close()
            raise InvalidRequestError(
                f"The task {name!r} is worked on already; wait for it, or give another id."
            )
        mine = self._work[name] = asyncio.create_task(work)
        mine.add_done_callback(lambda _: self._work.pop(name, None))
        try:
            return await mine
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if caller is None or not caller.cancelling():
                raise ProgramStateError(
                    f"The task {name!r} was stopped with its program; give it again to go on."
                ) from None
            raise  # awaiting a task hands the caller's cancellation on to it

    async def over(self, grace: float | None) -> None:
        """Wait until all work is over, and cancel what takes longer than `grace` seconds."""
        if not self._work:
            return
        _, late = await asyncio.wait(list(self._work.values()), timeout=grace)
        for work in late:
            work.cancel()
        await asyncio.gather(*late, return_exceptions=True)


async def run_with_retries(
    attempt: Callable[[], Awaitable[T]],
    *,
    limit: float | None,
    failed: Callable[[Exception, int], Awaitable[None]],
) -> tuple[int, T]:
    """Try until an attempt succeeds; return its number, from 1, and its result.

    Args:
        attempt: Makes one.
        limit: Seconds that one may take. None: no limit.
        failed: Is told of each failure; it returns to let another attempt be made, or raises.
    """
    number = 0
    while True:
        number += 1
        watch = asyncio.timeout(limit)
        try:
            async with watch:
                return number, await attempt()
        except Exception as error:  # noqa: BLE001 - whoever is told of it raises it again
            late = isinstance(error, TimeoutError) and watch.expired()
            said = f"there was no result within {limit} seconds"
            await failed(AgentTimeoutError(said) if late else error, number)
