"""Plain JSON values of unknown shape."""

import sys
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, cast

from pydantic_core import PydanticSerializationError, from_json, to_json


def as_list(value: object) -> list[Any]:
    """Return `value` where it is a list, else one that holds it alone."""
    return cast(list[object], value) if isinstance(value, list) else [value]


def as_dict(value: object) -> dict[str, Any]:
    """Return `value` where it is a dict, else an empty one."""
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def is_number(value: object) -> bool:
    """Whether `value` is a finite number, as a float can hold it; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max  # also an int, which `isfinite` cannot always take


@lru_cache(maxsize=4_096)
def normal_name(name: str) -> str:
    """Fold case, width, white space and control characters away, to compare names."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(c for c in folded if not c.isspace() and unicodedata.category(c)[0] != "C")


def shorten(text: str, limit: int) -> str:
    """Return a text of at most `limit` characters, with an ellipsis where it was longer."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def number_lines(faults: Iterable[str]) -> str:
    """List faults for a message, a numbered line each; empty where there are none."""
    return "\n".join(f"  {number}. {fault}" for number, fault in enumerate(faults, 1))


def plain_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Turn facts into plain JSON values; facts that cannot be are told as one text."""
    try:
        text = to_json(dict(facts), inf_nan_mode="strings", bytes_mode="base64", fallback=str)
    except (PydanticSerializationError, ValueError):  # a lone surrogate, a str() that fails
        return {"facts": ascii(facts)}
    plain: dict[str, Any] = from_json(text)
    return plain
