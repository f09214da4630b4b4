"""The root of all errors."""

from typing import ClassVar


class AsterismError(Exception):
    """The root of all errors that Asterism raises on purpose."""

    code: ClassVar[str] = "asterism"
    """A stable name for programs; the words of a message may change."""
