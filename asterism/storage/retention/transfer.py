"""Export threads as JSON with all participants, and import them into any database."""

import base64
import binascii
import json
import math
from itertools import groupby
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from langchain_core.messages import BaseMessage, message_to_dict, messages_from_dict
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from asterism.core.thread_lease import take_lease
from asterism.core.values import as_dict, as_list
from asterism.errors import StorageError, ThreadBusyError
from asterism.storage.retention.row_protocol import StoredWrite
from asterism.storage.retention.rows import open_rows
from asterism.storage.serializers import StrictSerializer

_MESSAGE, _PACKED = "$message", "$packed"
_SERIALIZER = StrictSerializer()


def encode(value: Any) -> Any:
    """Return a stored value as plain JSON."""
    if value is None or isinstance(value, bool | int | str):
        return value
    kind = cast(object, type(value))
    if kind is float and math.isfinite(value):
        return value
    if kind is list:
        return [encode(item) for item in as_list(value)]
    if kind is dict and all(_is_plain_key(key) for key in as_dict(value)):
        return {key: encode(item) for key, item in as_dict(value).items()}
    if isinstance(value, BaseMessage) and (shown := _message_as_json(value)) is not None:
        return {_MESSAGE: shown}
    form, data = _SERIALIZER.dumps_typed(value)
    return {_PACKED: [form, base64.b64encode(data).decode()]}


def decode(value: Any) -> Any:
    """Return the stored value that `encode` made JSON of.

    Raises:
        StorageError: It was not made by `encode`.
    """
    decoded = _decode(value)
    if encode(decoded) != value:
        raise StorageError("A value is not one that was exported, so it is not read.")
    return decoded


def _decode(value: Any) -> Any:
    kind = cast(object, type(value))
    if kind is list:
        return [_decode(item) for item in as_list(value)]
    if kind is not dict:
        return value
    fields = as_dict(value)
    if fields.keys() == {_MESSAGE}:
        return _message(fields[_MESSAGE])
    if fields.keys() == {_PACKED}:
        return _unpack(fields[_PACKED])
    return {key: _decode(item) for key, item in fields.items()}


def _is_plain_key(key: Any) -> bool:
    return isinstance(key, str) and not key.startswith("$")


def _message_as_json(message: BaseMessage) -> dict[str, Any] | None:
    """Return a message as JSON, where that says all of it."""
    fields = message_to_dict(message)
    try:
        shown: dict[str, Any] = json.loads(json.dumps(fields, allow_nan=False))
        return shown if _message(shown) == message else None
    except (TypeError, ValueError, StorageError):
        return None


def _message(fields: Any) -> BaseMessage:
    try:
        (message,) = messages_from_dict([fields])
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError("A message in the file cannot be read.") from error
    return message


def _unpack(parts: Any) -> Any:
    try:
        kind, text = parts
        return _SERIALIZER.loads_typed((kind, base64.b64decode(text, validate=True)))
    except (TypeError, ValueError, binascii.Error) as error:
        raise StorageError("A packed value in the file cannot be read.") from error


FORMAT = "asterism-thread/1"
"""Names the form of an exported thread."""

_FIELDS = {"v", "id", "ts", "channel_values", "channel_versions", "versions_seen"}


def _is_id(text: str) -> str:
    UUID(text)
    return text


_Id = Annotated[str, AfterValidator(_is_id)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class _StoredWrite(_Strict):
    task: str
    path: str
    index: int
    channel: str
    value: Any


class _StoredCheckpoint(_Strict):
    namespace: str
    id: _Id
    parent: _Id | None
    metadata: dict[str, Any]
    checkpoint: dict[str, Any]
    writes: list[_StoredWrite]


class _StoredThread(_Strict):
    format: Literal["asterism-thread/1"]
    thread_id: Annotated[str, Field(min_length=1, max_length=255)]
    checkpoints: Annotated[list[_StoredCheckpoint], Field(min_length=1)]


def export_thread(saver: BaseCheckpointSaver[Any], thread_id: str) -> dict[str, Any]:
    """Return everything that is stored of a thread, as plain JSON.

    An encrypted thread is exported in clear text.

    Raises:
        StorageError: There is no such thread.
        ThreadBusyError: Somebody drives it.
        ConfigurationError: The saver has no database.
    """
    rows = open_rows(saver)
    release = _take_lease(saver, thread_id)
    try:
        found = list(saver.list({"configurable": {"thread_id": thread_id}}))
        writes = rows.writes(thread_id)
    finally:
        release()
    if not found:
        raise StorageError(f"There is no thread {thread_id!r} in this database.")
    checkpoints = sorted((_export_row(row, writes) for row in found), key=lambda each: each["id"])
    return {"format": FORMAT, "thread_id": thread_id, "checkpoints": checkpoints}


def import_thread(
    saver: BaseCheckpointSaver[Any], data: object, *, thread_id: str | None = None
) -> str:
    """Store a thread that was exported, and return its id.

    Args:
        saver: A database that `open_checkpointer` opened.
        data: What `export_thread` returned.
        thread_id: Another name for it.

    Raises:
        StorageError: The thread exists already, or the data is not what an export makes:
            nothing of it is stored then.
        ThreadBusyError: Somebody drives a thread of that name.
    """
    rows = open_rows(saver)
    try:
        thread = _validate_archive(data)
        ready = [(row, *_decode_row(row)) for row in thread.checkpoints]
    except RecursionError as error:
        raise StorageError("The data is nested too deep to be a thread.") from error
    name = thread_id or thread.thread_id
    release = _take_lease(saver, name)
    try:
        if rows.latest(name) is not None:
            raise StorageError(
                f"There is a thread {name!r} already; it is left as it is. Import under another "
                "thread_id, or delete it first."
            )
        try:
            for row, checkpoint, writes in ready:
                _store(saver, name, row, checkpoint, writes)
        except BaseException:
            rows.delete(name)
            raise
    finally:
        release()
    return name


def _take_lease(saver: BaseCheckpointSaver[Any], thread_id: str) -> Any:
    release = take_lease(saver, thread_id)
    if release is None:
        raise ThreadBusyError(f"The thread {thread_id!r} is being driven by somebody else.")
    return release


def _export_row(row: CheckpointTuple, writes: Any) -> dict[str, Any]:
    place = as_dict(row.config.get("configurable"))
    above = as_dict((row.parent_config or {}).get("configurable"))
    here = (place["checkpoint_ns"], place["checkpoint_id"])
    return {
        "namespace": here[0],
        "id": here[1],
        "parent": above.get("checkpoint_id"),
        "metadata": encode(dict(row.metadata)),
        "checkpoint": encode(dict(row.checkpoint)),
        "writes": [
            {
                "task": write.task_id,
                "path": write.task_path,
                "index": write.index,
                "channel": write.channel,
                "value": encode(write.value),
            }
            for write in writes
            if (write.namespace, write.checkpoint_id) == here
        ],
    }


def _validate_archive(data: object) -> _StoredThread:
    try:
        return _StoredThread.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise StorageError(
            f"The data is not an exported thread: {place}: {first['msg']}. Import what "
            "export_thread or asterism export made, unchanged."
        ) from None


def _decode_row(row: _StoredCheckpoint) -> tuple[dict[str, Any], list[StoredWrite]]:
    checkpoint = as_dict(decode(row.checkpoint))
    whole = checkpoint.keys() >= _FIELDS and checkpoint["id"] == row.id
    metadata: object = decode(row.metadata)
    labels = as_dict(metadata)
    if not whole or not isinstance(metadata, dict) or not _are_names(labels):
        raise StorageError(f"The checkpoint {row.id!r} of the file is not a checkpoint.")
    writes = [
        StoredWrite(
            namespace=row.namespace,
            checkpoint_id=row.id,
            task_id=write.task,
            task_path=write.path,
            index=write.index,
            channel=write.channel,
            value=decode(write.value),
        )
        for write in row.writes
    ]
    return checkpoint, writes


def _are_names(labels: dict[str, Any]) -> bool:
    """Whether a thread is labelled with names; they open nothing, but are shown."""
    found = [labels[key] for key in ("graph", "model") if key in labels]
    return all(isinstance(name, str) and name.isprintable() and len(name) < 256 for name in found)


def _store(
    saver: BaseCheckpointSaver[Any],
    thread: str,
    row: _StoredCheckpoint,
    checkpoint: dict[str, Any],
    writes: list[StoredWrite],
) -> None:
    place = {"thread_id": thread, "checkpoint_ns": row.namespace}
    above: RunnableConfig = {"configurable": {**place, "checkpoint_id": row.parent}}
    versions = checkpoint["channel_versions"]
    saver.put(above, cast(Any, checkpoint), decode(row.metadata), versions)
    here: RunnableConfig = {"configurable": {**place, "checkpoint_id": row.id}}
    for task, group in groupby(writes, key=lambda write: (write.task_id, write.task_path)):
        together = list(group)
        # a task's plain writes are numbered by their place; special ones have numbers below 0
        for part in (
            [write for write in together if write.index >= 0],
            *([write] for write in together if write.index < 0),
        ):
            if part:
                given = [(write.channel, write.value) for write in part]
                saver.put_writes(here, given, *task)
