"""How checkpoints are written and read: as data, never as code, and encrypted on request."""

import hashlib
import inspect
import json
import logging
import os
import sys
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)
from weakref import WeakKeyDictionary

import ormsgpack
from langchain_core.messages import ToolMessage
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde import jsonplus
from langgraph.checkpoint.serde._msgpack import SAFE_MSGPACK_TYPES
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Interrupt
from pydantic import BaseModel
from typing_extensions import is_typeddict

from asterism.core.checkpoints import reading
from asterism.core.values import as_dict
from asterism.errors import ConfigurationError, StorageError

_log = logging.getLogger(__name__)

_msgpack_default: Any = vars(jsonplus)["_msgpack_default"]
_option: Any = vars(jsonplus)["_option"]
"""How LangGraph turns objects into plain values, and what it tells its encoder: both private."""

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
        return "msgpack", self._encode(obj)

    def _encode(self, value: Any) -> bytes:
        faults: list[StorageError] = []  # the encoder says of errors only that there was one

        def prepare(part: Any) -> Any:
            try:
                return self._prepare(part)
            except StorageError as error:
                faults.append(error)
                raise

        try:
            return ormsgpack.packb(value, default=prepare, option=_option)
        except TypeError:
            if faults:
                raise faults[0] from None
            raise

    def _prepare(self, value: Any) -> Any:
        """Turn what is no plain value into one, as LangGraph does, once it is checked."""
        if isinstance(value, ToolMessage) and value.artifact is not None:
            value = self._without_artifact(value)
        self._check(value)
        return _msgpack_default(value)

    def _without_artifact(self, message: ToolMessage) -> ToolMessage:
        """Leave out the artifact of a tool where it cannot be stored."""
        try:
            self._encode(message.artifact)
        except (StorageError, TypeError, ValueError) as error:
            _log.warning("The artifact of the tool %r is not stored: %s", message.name, error)
            return message.model_copy(update={"artifact": None})
        return message

    def _check(self, value: Any) -> None:
        """Check that all types in a value are read again as what they are.

        Raises:
            StorageError: One is not; the message names it, and the way out.
        """
        kind: Any = value.__class__
        if kind in _PLAIN or isinstance(value, Interrupt):
            return
        if isinstance(value, Mapping):
            parts: Iterable[Any] = cast(Any, value).values()
        elif kind in _CONTAINERS or isinstance(value, list):
            parts = cast(Any, value)
        elif isinstance(value, BaseModel):
            self._check_type(kind)
            parts = [part for part in vars(value).values() if part]
        elif isinstance(value, tuple):
            if not kind.__module__.startswith("langgraph."):
                self._check_type(kind)
            parts = cast(Any, value)
        elif is_dataclass(value):
            self._check_type(kind)
            parts = [getattr(value, field.name) for field in fields(cast(Any, value))]
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
        if not isinstance(cast(object, kind), str):
            raise StorageError(f"A stored value has the format {kind!r:.80}, which is none.")
        if "+" in kind:
            raise StorageError("The database is encrypted; open it with its key.")
        if kind not in _READABLE:
            raise StorageError(
                f"A stored value has the format {kind!r}, which is not read; allowed are "
                f"{', '.join(sorted(_READABLE))}. The database was not written by Asterism."
            )
        try:
            return super().loads_typed(data)
        except (ValueError, TypeError, RecursionError) as error:
            raise StorageError(
                f"A stored value cannot be read: {error}. The database is damaged; restore it "
                "from a copy."
            ) from error


class Sealed(NamedTuple):
    """An encrypted value that is opened once it is known where it was found."""

    kind: str
    data: bytes


class Placed(NamedTuple):
    """A value that is to be encrypted for a place of its own within that of the others."""

    value: Any
    place: str


class StrictEncryptedSerializer(EncryptedSerializer):
    """LangGraph's encrypted serializer, which reads nothing that is not encrypted.

    What a saver writes is bound to its place (AES-GCM with the place as associated data), so
    that a row that was moved to another thread cannot be read there. Its format ends in `+gcm`.
    What older versions wrote ends in `+aes`, and is bound to nothing until it is written anew.

    Args:
        keys: What is encrypted with, then what else is decrypted with.
        allowed: Further types that are stored.
    """

    def __init__(self, keys: Sequence[bytes], allowed: Iterable[type] = ()) -> None:
        plain = StrictSerializer(allowed)  # one for all, as it may be allowed further types
        older = [EncryptedSerializer.from_pycryptodome_aes(plain, key=k) for k in keys]
        super().__init__(older[0].cipher, older[0].serde)
        self._older = older
        self._keys = tuple(keys)

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Encrypt a value, for the place that is written to."""
        if (place := _PLACE.get()) is None:
            return super().dumps_typed(obj)
        from Crypto.Cipher import AES

        if isinstance(obj, Placed):
            obj, place = obj.value, (*place, obj.place)
        kind, data = self.serde.dumps_typed(obj)
        cipher: Any = AES.new(self._keys[0], AES.MODE_GCM, nonce=os.urandom(_NONCE))
        cipher.update(_associated_data(kind, place))
        sealed, tag = cipher.encrypt_and_digest(data)
        return f"{kind}{_BOUND}", cipher.nonce + tag + sealed

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Read a stored value; one that is bound to a place is returned as it is: `decrypt_value`.

        Raises:
            StorageError: It is not encrypted, or not with these keys.
        """
        kind, sealed = str(data[0]), data[1]
        if "+" not in kind:
            raise StorageError(
                "A stored value is not encrypted, so somebody else wrote it, or the database "
                "was made without a key. Open it without one, or restore it."
            )
        if kind.endswith(_BOUND):
            return Sealed(kind, bytes(sealed))
        for older in self._older:
            with suppress(ValueError, TypeError, AssertionError):
                return older.loads_typed(data)
        raise StorageError("A stored value cannot be decrypted with this key.")

    def decrypt_at(self, sealed: Sealed, place: Sequence[str]) -> Any:
        """Read a value that was found at a place.

        Raises:
            StorageError: It was encrypted with another key, or for another place.
        """
        from Crypto.Cipher import AES

        kind, data = sealed.kind.removesuffix(_BOUND), sealed.data
        nonce, tag, rest = data[:_NONCE], data[_NONCE : _NONCE + 16], data[_NONCE + 16 :]
        for key in self._keys:
            cipher: Any = AES.new(key, AES.MODE_GCM, nonce=nonce or b"0")
            cipher.update(_associated_data(kind, place))
            with suppress(ValueError):
                return self.serde.loads_typed((kind, cipher.decrypt_and_verify(rest, tag)))
        raise StorageError(
            "A stored value cannot be decrypted with this key, or it was moved here from another "
            "place, or what it is labelled with was changed."
        )


def stores_named_types(saver: object) -> bool:
    """Whether a saver is one of `open_checkpointer`; others have rules of their own."""
    return _strict(saver) is not None


def allow_types(saver: object, types: Collection[type]) -> None:
    """Let a saver of `open_checkpointer` store further types."""
    serde = _strict(saver)
    if serde is not None and types:
        serde.allow(types)


def plain_serializer(saver: Any) -> Any:
    """Return what writes the types that a saver stores, and encrypts nothing: for a copy."""
    return _strict(saver) or saver.serde


def _strict(saver: object) -> StrictSerializer | None:
    serde: object = getattr(saver, "serde", None)
    if isinstance(serde, StrictEncryptedSerializer):
        serde = serde.serde
    return serde if isinstance(serde, StrictSerializer) else None


def types_in_state(graph: Any) -> set[type]:
    """Return the models, dataclasses and enums that the state of a graph names, in any depth.

    An agent's `response_format` counts, too: its state holds the object, and names no type of it.
    """
    builder, nodes = getattr(graph, "builder", graph), [*graph.nodes]
    if builder in _TYPES and _TYPES[builder][0] == nodes:  # each run has a copy of its graph
        return set(_TYPES[builder][1])
    found: set[type] = set()
    schemas: Iterable[Any] = getattr(builder, "schemas", ())
    values = (getattr(channel, "ValueType", None) for channel in graph.channels.values())
    seen: dict[int, Any] = {}
    for annotation in (*schemas, *values, *_response_schemas(graph)):
        _collect(annotation, found, seen)
    _TYPES[builder] = nodes, frozenset(found)
    return found


_TYPES: WeakKeyDictionary[Any, tuple[list[str], frozenset[type]]] = WeakKeyDictionary()
"""What graphs name, by what they were compiled from, and the names of their nodes."""


def _response_schemas(graph: Any) -> Iterator[Any]:
    """Yield the schemas of structured responses, which an agent's nodes hold."""
    for node in graph.nodes.values():
        bound = getattr(node, "bound", None)
        function = getattr(getattr(bound, "bound", bound), "func", None)
        if inspect.isfunction(function):
            for held in inspect.getclosurevars(function).nonlocals.values():
                if type(held).__module__ == "langchain.agents.structured_output":
                    yield getattr(held, "schema", None)


def _collect(annotation: Any, found: set[type], seen: dict[int, Any]) -> None:
    """Add the types that an annotation names to those that were found.

    Args:
        annotation: The annotation.
        found: The types.
        seen: What was looked at, by its id; it is held, so that no other object gets the id.
    """
    if id(annotation) in seen or get_origin(annotation) is Literal:
        return
    seen[id(annotation)] = annotation
    parts: list[Any] = [*get_args(annotation)]
    if get_origin(annotation) is Annotated:
        parts = parts[:1]
    for alias in ("__supertype__", "__value__", "__origin__"):
        parts.append(getattr(annotation, alias, None))
    if isinstance(annotation, type):
        parts += _collect_types(cast(Any, annotation), found)
    for part in parts:
        _collect(part, found, seen)


def _collect_types(kind: type[Any], found: set[type]) -> list[Any]:
    """Add a type that is stored as it is, and return what its own annotations name."""
    if kind.__module__.startswith(_LIBRARIES):
        return []
    stored = issubclass(kind, BaseModel | Enum) or is_dataclass(kind) or hasattr(kind, "_fields")
    if stored:
        found.add(kind)
    return _hints(kind) if stored or is_typeddict(kind) else []


def _hints(kind: type) -> list[Any]:
    if kind not in _HINTS:
        try:
            _HINTS[kind] = [*get_type_hints(kind, include_extras=True).values()]
        except (NameError, TypeError):  # an annotation that only type checkers can read
            return []
    return _HINTS[kind]


_HINTS: WeakKeyDictionary[type, list[Any]] = WeakKeyDictionary()
"""The annotations of classes."""


_BOUND = "+gcm"
_NONCE = 12
_PLACE: ContextVar[tuple[str, ...] | None] = ContextVar("place", default=None)


@contextmanager
def sealing(*place: str) -> Generator[None]:
    """Encrypt what is written for a place."""
    token = _PLACE.set(place)
    try:
        yield
    finally:
        _PLACE.reset(token)


def decrypt_value(serde: object, value: Any, *place: str) -> Any:
    """Return a value that was read at a place, opened where it is sealed."""
    if isinstance(value, Sealed):
        return cast(StrictEncryptedSerializer, serde).decrypt_at(value, place)
    return value


def bind_writes(serde: object, writes: Sequence[tuple[str, Any]]) -> Sequence[tuple[str, Any]]:
    """Return writes so that each is encrypted for its channel."""
    if not isinstance(serde, StrictEncryptedSerializer):
        return writes
    return [(channel, Placed(value, channel)) for channel, value in writes]


def decrypt_checkpoint(
    serde: object, found: CheckpointTuple, *, by_checkpoint: bool
) -> CheckpointTuple:
    """Return a checkpoint whose values are decrypted for the place that they were found at.

    Args:
        serde: What decrypts them.
        found: The checkpoint.
        by_checkpoint: Whether they are bound to their checkpoint, or to their thread and, for
            writes, to their task, whose id is made of that of its checkpoint.
    """
    if not isinstance(serde, StrictEncryptedSerializer):
        return found
    named = as_dict(found.config.get("configurable"))
    thread, space, own = (
        str(named.get(key) or "") for key in ("thread_id", "checkpoint_ns", "checkpoint_id")
    )
    where = (thread, space, own) if by_checkpoint else (thread, space)
    with reading(thread):
        checkpoint: Any = found.checkpoint
        if by_checkpoint:
            checkpoint = decrypt_value(
                serde, checkpoint, "checkpoint", *where, digest(found.metadata)
            )
        else:
            values = checkpoint["channel_values"].items()
            held = {name: decrypt_value(serde, value, "blob", *where) for name, value in values}
            checkpoint = {**checkpoint, "channel_values": held}
        writes = [
            (task, channel, decrypt_value(serde, value, "write", *where, task, channel))
            for task, channel, value in found.pending_writes or ()
        ]
    return found._replace(checkpoint=checkpoint, pending_writes=writes)


def digest(metadata: object) -> str:
    """Return what stands for the metadata of a checkpoint in the place that it is bound to."""
    plain = json.loads(json.dumps(metadata, ensure_ascii=False).encode("utf-8", "ignore"))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _associated_data(kind: str, place: Sequence[str]) -> bytes:
    return json.dumps([kind, *place]).encode()


def serializer(
    key: bytes | Sequence[bytes] | None = None, allowed_types: Iterable[type] = ()
) -> StrictSerializer | StrictEncryptedSerializer:
    """Make the serializer of a database.

    Args:
        key: 16, 24 or 32 bytes to encrypt with AES; needs the package `pycryptodome`. Several:
            the first encrypts, and all decrypt.
        allowed_types: Types that are stored besides those that LangGraph stores itself.

    Raises:
        ConfigurationError: A key has another length, or the package is missing.
    """
    if key is None:
        return StrictSerializer(allowed_types)
    keys = [key] if isinstance(key, bytes) else list(key)
    if not keys:
        raise ConfigurationError("There is no key. Allowed: bytes, or a list of at least one.")
    for each in keys:
        if len(each) not in KEY_LENGTHS:
            raise ConfigurationError(
                f"The key has {len(each)} bytes; allowed are {', '.join(map(str, KEY_LENGTHS))}."
            )
    try:
        return StrictEncryptedSerializer(keys, allowed_types)
    except ImportError as error:
        raise ConfigurationError(
            "Encryption needs a package: pip install 'asterism-agents[encryption]'."
        ) from error
