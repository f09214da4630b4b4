"""Messages of A2A: blocks of LangChain to parts, and parts to blocks, values and questions.

Needs `a2a-sdk`. Tests: tests/nodes/remote/test_a2a.py.
"""

import base64
from collections.abc import Iterable, Sequence
from typing import Any, cast

from a2a.helpers import get_data_parts, new_data_part, new_raw_part, new_text_part, new_url_part
from a2a.types import Part

from asterism.core.values import as_dict, as_list

RESUME = "resume"
"""The key under which an answer that is no text is sent, as LangGraph's own endpoint reads it."""


def to_parts(text: str, media: Iterable[Any] = ()) -> list[Part]:
    """Write a text, and pictures and files, as parts."""
    parts = [new_text_part(text)] if text else []
    for block in media:
        kind, name = block.get("mime_type"), block.get("filename") or block.get("name")
        if block.get("base64"):
            parts.append(new_raw_part(base64.b64decode(block["base64"]), kind, name))
        elif block.get("url"):
            parts.append(new_url_part(block["url"], kind, name))
    return parts


def text_in(parts: Iterable[Part]) -> str:
    """Return the texts of parts."""
    return "\n".join(part.text for part in parts if part.HasField("text"))


def media_in(parts: Iterable[Part]) -> list[dict[str, Any]]:
    """Return the pictures and files of parts as content blocks of LangChain."""
    found: list[dict[str, Any]] = []
    for part in parts:
        kind = part.media_type.split("/")[0]
        block: dict[str, Any] = {"type": kind if kind in ("image", "audio", "video") else "file"}
        if part.media_type:
            block["mime_type"] = part.media_type
        if part.HasField("raw"):
            found.append({**block, "base64": base64.b64encode(part.raw).decode()})
        elif part.HasField("url"):
            found.append({**block, "url": part.url})
    return found


def data_in(parts: Iterable[Part]) -> list[Any]:
    """Return the values of parts; numbers that are whole are so again."""
    return [_whole(value) for value in get_data_parts([*parts])]


def _whole(value: Any) -> Any:
    """Return a value with whole numbers for floats that are: A2A sends all numbers as floats."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in as_dict(cast(object, value)).items()}
    if isinstance(value, list):
        return [_whole(item) for item in as_list(cast(object, value))]
    return value


def answer_parts(answers: Sequence[tuple[str, Any]]) -> list[Part]:
    """Write answers, each with the id of its question, which may be empty.

    A text to a question without an id is sent as it is; everything else as LangGraph's own
    endpoint reads it.
    """
    name, last = answers[-1]
    if not name:
        return [new_text_part(last)] if isinstance(last, str) else [new_data_part({RESUME: last})]
    return [new_data_part({RESUME: dict(answers)})]
