"""How checkpoints are written and read: as data, never as code, and encrypted on request."""

import logging
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Annotated, Any, Literal, cast, get_args, get_origin, get_type_hints

import ormsgpack
from langchain_core.messages import ToolMessage
from langgraph.checkpoint.serde._msgpack import SAFE_MSGPACK_TYPES
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer, _msgpack_default, _option
from langgraph.types import Interrupt
from pydantic import BaseModel
from typing_extensions import is_typeddict

from asterism.errors import ConfigurationError, StorageError

_log = logging.getLogger(__name__)

KEY_LENGTHS = (16, 24, 32)
"""How many bytes a key may have."""

_PLAIN = frozenset({str, int, float, bool, bytes, type(None)})
_CONTAINERS = frozenset({list, tuple, set, frozenset})
_LIBRARIES = ("langchain_core.", "langgraph.", "typing", "builtins")
"""Whose types LangGraph stores by itself, if at all."""
_READABLE = frozenset({"null", "bytes", "bytearray", "msgpack"})


class StrictSerializer(JsonPlusSerializer):
    """LangGraph's serializer, reduced to data and messages.

    A forged row can name any Python callable, and by default reading it calls that. Here only
    the types that LangGraph itself stores are rebuilt, and those that are named to it; other
    formats are not read at all. What could not be read again is not written.

    Args:
        allowed: Further types that are stored.
    """

    def __init__(self, allowed: Iterable[type] = ()) -> None:
        super().__init__(allowed_msgpack_modules=tuple(allowed))

    def allow(self, types: Collection[type]) -> None:
        """Store further types: those that the schemas of a workflow name."""
        vars(self).update(vars(self.with_msgpack_allowlist(types)))

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Write a value.

        Raises:
            StorageError: It holds a type that would not be read again.
        """
        if obj is None or isinstance(obj, bytes | bytearray):
            return super().dumps_typed(obj)
        return "msgpack", self._encoded(obj)

    def _encoded(self, value: Any) -> bytes:
        faults: list[StorageError] = []  # the encoder says of errors only that there was one

        def prepare(part: Any) -> Any:
            try:
                return self._prepared(part)
            except StorageError as error:
                faults.append(error)
                raise

        try:
            return ormsgpack.packb(value, default=prepare, option=_option)
        except TypeError:
            if faults:
                raise faults[0] from None
            raise

    def _prepared(self, value: Any) -> Any:
        """Turn what is no plain value into one, as LangGraph does, once it is checked."""
        if isinstance(value, ToolMessage) and value.artifact is not None:
            value = self._without_artifact(value)
        self._check(value)
        return _msgpack_default(value)

    def _without_artifact(self, message: ToolMessage) -> ToolMessage:
        """Leave out the artifact of a tool where it cannot be stored."""
        try:
            self._encoded(message.artifact)
        except (StorageError, TypeError, ValueError) as error:
            _log.warning("The artifact of the tool %r is not stored: %s", message.name, error)
            return message.model_copy(update={"artifact": None})
        return message

    def _check(self, value: Any) -> None:
        """Check that all types in a value are read again as what they are.

        Raises:
            StorageError: One is not; the message names it, and the way out.
        """
        kind = type(value)
        if kind in _PLAIN or isinstance(value, Interrupt):
            return
        if isinstance(value, Mapping):
            parts: Iterable[Any] = value.values()
        elif kind in _CONTAINERS:
            parts = value
        elif isinstance(value, BaseModel):
            self._check_type(kind)
            parts = [part for part in vars(value).values() if part]
        elif isinstance(value, tuple):
            if not kind.__module__.startswith("langgraph."):
                self._check_type(kind)
            parts = value
        elif is_dataclass(value):
            self._check_type(kind)
            parts = [getattr(value, field.name) for field in fields(value)]
        else:
            if isinstance(value, Enum):
                self._check_type(kind)
            return
        for part in parts:
            self._check(part)

    def _check_type(self, kind: type) -> None:
        key = (kind.__module__, kind.__name__)
        if key in SAFE_MSGPACK_TYPES:
            return
        if key not in (cast(Any, self._allowed_msgpack_modules) or ()):
            raise StorageError(
                f"The type {'.'.join(key)} is not stored: no state schema of a participant names "
                "it, so it would be read again as plain values. Name it in the state schema of "
                "the participant's graph, store plain values, or open the database with "
                f"allowed_types=[{kind.__name__}]."
            )
        if getattr(sys.modules.get(kind.__module__), kind.__name__, None) is not kind:
            raise StorageError(
                f"The type {kind.__module__}.{kind.__qualname__} is not stored: it is not found "
                "by its name in its module. Define it at the top level of the module."
            )

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Read a stored value.

        Raises:
            StorageError: It is encrypted, damaged, or of a format that this library never
                writes.
        """
        kind = data[0]
        if "+" in kind:
            raise StorageError("The database is encrypted; open it with its key.")
        if kind not in _READABLE:
            raise StorageError(
                f"A stored value has the format {kind!r}, which is not read; allowed are "
                f"{', '.join(sorted(_READABLE))}. The database was not written by Asterism."
            )
        try:
            return super().loads_typed(data)
        except ValueError as error:
            raise StorageError(
                f"A stored value cannot be read: {error}. The database is damaged; restore it "
                "from a copy."
            ) from error


class StrictEncryptedSerializer(EncryptedSerializer):
    """LangGraph's encrypted serializer, which reads nothing that is not encrypted."""

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Read a stored value.

        Raises:
            StorageError: It is not encrypted, or not with this key.
        """
        if "+" not in data[0]:
            raise StorageError(
                "A stored value is not encrypted, so somebody else wrote it, or the database "
                "was made without a key. Open it without one, or restore it."
            )
        try:
            return super().loads_typed(data)
        except (ValueError, AssertionError) as error:
            raise StorageError("A stored value cannot be decrypted with this key.") from error


def stores_named_types(saver: object) -> bool:
    """Whether a saver is one of `open_checkpointer`; others have rules of their own."""
    return _strict(saver) is not None


def allow_types(saver: object, types: Collection[type]) -> None:
    """Let a saver of `open_checkpointer` store further types."""
    serde = _strict(saver)
    if serde is not None and types:
        serde.allow(types)


def _strict(saver: object) -> StrictSerializer | None:
    serde: object = getattr(saver, "serde", None)
    if isinstance(serde, StrictEncryptedSerializer):
        serde = serde.serde
    return serde if isinstance(serde, StrictSerializer) else None


def types_in_state(graph: Any) -> set[type]:
    """Return the models, dataclasses and enums that the state of a graph names, in any depth."""
    found: set[type] = set()
    schemas: Iterable[Any] = getattr(getattr(graph, "builder", None), "schemas", ())
    values = (getattr(channel, "ValueType", None) for channel in graph.channels.values())
    for annotation in (*schemas, *values):
        _collect(annotation, found, set())
    return found


def _collect(annotation: Any, found: set[type], seen: set[int]) -> None:
    """Add the types that an annotation names to those that were found."""
    if id(annotation) in seen or get_origin(annotation) is Literal:
        return
    seen.add(id(annotation))
    parts: list[Any] = [*get_args(annotation)]
    if get_origin(annotation) is Annotated:
        parts = parts[:1]
    for alias in ("__supertype__", "__value__", "__origin__"):
        parts.append(getattr(annotation, alias, None))
    if isinstance(annotation, type) and not annotation.__module__.startswith(_LIBRARIES):
        stored = issubclass(annotation, BaseModel | Enum) or is_dataclass(annotation)
        if stored or hasattr(annotation, "_fields"):
            found.add(annotation)
        if stored or is_typeddict(annotation) or hasattr(annotation, "_fields"):
            parts += _hints(annotation)
    for part in parts:
        _collect(part, found, seen)


def _hints(kind: type) -> list[Any]:
    try:
        return [*get_type_hints(kind, include_extras=True).values()]
    except (NameError, TypeError):  # an annotation that only type checkers can read
        return []


def serializer(
    key: bytes | None = None, allowed_types: Iterable[type] = ()
) -> StrictSerializer | StrictEncryptedSerializer:
    """Make the serializer of a database.

    Args:
        key: 16, 24 or 32 bytes to encrypt with AES; needs the package `pycryptodome`.
        allowed_types: Types that are stored besides those that LangGraph stores itself.

    Raises:
        ConfigurationError: The key has another length, or the package is missing.
    """
    if key is None:
        return StrictSerializer(allowed_types)
    if len(key) not in KEY_LENGTHS:
        raise ConfigurationError(
            f"The key has {len(key)} bytes; allowed are {', '.join(map(str, KEY_LENGTHS))}."
        )
    try:
        plain = EncryptedSerializer.from_pycryptodome_aes(StrictSerializer(allowed_types), key=key)
    except ImportError as error:
        raise ConfigurationError(
            "Encryption needs a package: pip install 'asterism[encryption]'."
        ) from error
    return StrictEncryptedSerializer(plain.cipher, plain.serde)
