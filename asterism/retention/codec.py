"""Stored values as plain JSON, exactly: messages to be read, the rest in a form that is data."""

import base64
import binascii
import json
import math
from typing import Any, cast

from langchain_core.messages import BaseMessage, message_to_dict, messages_from_dict

from asterism.core.values import as_dict, as_list
from asterism.errors import StorageError
from asterism.serializers import StrictSerializer

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
