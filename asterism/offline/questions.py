"""Questions for arguments, and what their answers say."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from asterism.offline import text_parsing
from asterism.offline.argument_kinds import (
    KIND_WORDS,
    Schema,
    counted_thing,
    find_labelled,
    find_option,
    first_number,
    is_date,
    is_time,
    specs_of,
    spoken,
)
from asterism.offline.text_parsing import find_dates, words

NEED = "To go on I need"
"""How the offline model begins to say that several things are missing."""


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A required argument that was not found."""

    name: str
    spec: Schema
    unread: str | None = None
    """The answer to the question for it, where it cannot be read as its type."""


def describe_missing(
    names: Sequence[str],
    schema: Schema,
    dialog: Sequence[tuple[str, str]],
    description: str = "",
) -> list[Missing]:
    """Return what is to be known of arguments to ask for them."""
    specs = specs_of(schema, description)
    return [
        Missing(
            name=name,
            spec=specs[name],
            unread=next((said for q, said in dialog if _asks(q, name, specs[name])), None),
        )
        for name in names
    ]


def read_answers(
    specs: Mapping[str, Schema], dialog: Sequence[tuple[str, str]], today: date
) -> dict[str, Any]:
    """Read what was answered to questions for arguments: by name, by order, or by type.

    An answer to a question for one argument is that argument.
    """
    found: dict[str, Any] = {}
    for asked, said in dialog:
        names = [name for name, spec in specs.items() if _asks(asked, name, spec)]
        names = [name for name in names if name not in found]
        labelled = {name: text for name in names if (text := find_labelled(said, name)) is not None}
        parts = [part for part in re.split(r",\s*|;\s*|\n+|\s+and\s+", said.strip()) if part]
        if asked.count(" the ") < 2 and len(names) == 1 and not labelled:
            parts = [said]
        in_order = dict(zip(names, parts, strict=True)) if len(names) == len(parts) else {}
        values = {
            name: cast_answer({**in_order, **labelled}[name], name, specs[name], today)
            for name in names
            if name in in_order or name in labelled
        }
        if all(value is not None for value in values.values()) or labelled:
            found |= {name: value for name, value in values.items() if value is not None}
    return found


def cast_answer(said: str, name: str, spec: Schema, today: date) -> Any:
    """Read an answer as an argument, or return None where it is of another type."""
    said = re.sub(
        r"^\W*(?:it is|it's|its|the \w+ (?:is|are)|use|please|take)\s+",
        "",
        said.strip(),
        flags=re.I,
    )
    said = said.strip(" \"'“”`").removesuffix(".") or said
    kind, own = spec.get("type"), set(words(name))
    if _NO_ANSWER.match(said):
        return None
    if options := spec.get("enum"):
        return find_option(options, [said])
    if kind in ("integer", "number"):
        number = first_number(re.sub(r"^(?:one|an?)\b", "1", said, flags=re.I))
        return None if number is None else int(number) if kind == "integer" else float(number)
    if kind == "boolean":
        return (
            True
            if re.match(r"y(es|ep)?\b|true|sure|ok", said, re.I)
            else (False if re.match(r"no?\b|false|not\b", said, re.I) else None)
        )
    if kind == "array":
        return [part.strip() for part in re.split(r",|;|\band\b", said) if part.strip()]
    if kind not in ("string", None):
        return None
    if is_date(own, spec):
        return next(map(str, find_dates(said, today)), None)
    if is_time(own, spec):
        return next(iter(text_parsing.times(said)), None)
    if not own.isdisjoint(KIND_WORDS["place"]):
        return text_parsing.bare_place(said, today) or said
    return said


_NO_ANSWER = re.compile(
    r"(?:i )?(?:don'?t|do not) know|no idea|skip|cancel|never ?mind|stop$|whatever|\?+$", re.I
)


def question_for(missing: Sequence[Missing]) -> str:
    """Ask for arguments: `How many travellers?`, `Which severity (low or high)?`."""
    if len(missing) == 1:
        return _question(missing[0].name, missing[0].spec)
    said = [f"the {spoken(one.name)}" for one in missing]
    return f"{NEED} {', '.join(said[:-1])} and {said[-1]}. What are they?"


def _question(name: str, spec: Schema) -> str:
    own, said = words(name), spoken(name)
    if options := spec.get("enum"):
        return f"Which {said} ({', '.join(map(str, options))})?"
    if spec.get("type") == "boolean":
        return f"{said.capitalize()}: yes or no?"
    if spec.get("type") == "integer" and (what := counted_thing(own)):
        return f"How many {what}?"
    if not KIND_WORDS["place"].isdisjoint(own) or is_date(set(own), spec):
        return f"Which {said}?"
    return (
        f"What is the {said}?"
        if not own[-1].endswith("s") or own[-1].endswith("ss")
        else (f"What are the {said}?")
    )


def _asks(question: str, name: str, spec: Schema) -> bool:
    if question.startswith(NEED):
        return re.search(rf"\bthe {re.escape(spoken(name))}\b", question) is not None
    return question.strip().endswith(_question(name, spec))
