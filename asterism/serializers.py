"""How checkpoints are written and read: as data, never as code, and encrypted on request."""

from typing import Any, cast

from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from asterism.errors import ConfigurationError, StorageError

KEY_LENGTHS = (16, 24, 32)
"""How many bytes a key may have."""

_READABLE = frozenset({"null", "bytes", "bytearray", "msgpack"})


class StrictSerializer(JsonPlusSerializer):
    """LangGraph's serializer, reduced to data and messages.

    A forged row can name any Python callable, and by default reading it calls that. Here only
    the types that LangGraph itself stores are rebuilt; other formats are not read at all.
    """

    def __init__(self) -> None:
        super().__init__(allowed_msgpack_modules=None)

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


class StrictEncryptedSerializer(EncryptedSerializer):
    """LangGraph's encrypted serializer, which reads nothing that is not encrypted."""

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Read a stored value.

        Raises:
            StorageError: It is not encrypted, or not with this key.
        """
        if "+" not in str(data[0]):
            raise StorageError(
                "A stored value is not encrypted, so somebody else wrote it, or the database "
                "was made without a key. Open it without one, or restore it."
            )
        try:
            return super().loads_typed(data)
        except (ValueError, TypeError, AssertionError) as error:
            raise StorageError("A stored value cannot be decrypted with this key.") from error


def serializer(key: bytes | None = None) -> StrictSerializer | StrictEncryptedSerializer:
    """Make the serializer of a database.

    Args:
        key: 16, 24 or 32 bytes to encrypt with AES; needs the package `pycryptodome`.

    Raises:
        ConfigurationError: The key has another length, or the package is missing.
    """
    if key is None:
        return StrictSerializer()
    if len(key) not in KEY_LENGTHS:
        raise ConfigurationError(
            f"The key has {len(key)} bytes; allowed are {', '.join(map(str, KEY_LENGTHS))}."
        )
    try:
        plain = EncryptedSerializer.from_pycryptodome_aes(StrictSerializer(), key=key)
    except ImportError as error:
        raise ConfigurationError(
            "Encryption needs a package: pip install 'asterism[encryption]'."
        ) from error
    return StrictEncryptedSerializer(plain.cipher, plain.serde)
