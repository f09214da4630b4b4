"""Plain JSON values of unknown shape."""

from typing import Any, cast


def as_dict(value: object) -> dict[str, Any]:
    """Return `value` where it is a dict, else an empty one."""
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}
