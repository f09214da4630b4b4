"""What an argument is by its name, its type and what is said of it."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from asterism.offline import text_parsing
from asterism.offline.text_parsing import stem, words

Schema = Mapping[str, Any]
"""A JSON schema."""

_KINDS = {
    "date": "date day when deadline arrival departure until due birthday checkin checkout",
    "time": "time hour",
    "place": "city place location town where destination origin country region venue_city",
    "money": "cost price budget amount fee rate money usd eur dollars spend salary",
    "title": "title heading event headline",
    "query": "query question request task search prompt keywords data",
    "expression": "expression formula calculation equation sum",
    "code": "currency",
    "id": "id number reference order ticket invoice account code sku isbn bug incident issue case "
    "booking claim",
    "file": "path file filename csv document folder directory dataset",
    "email": "email mail recipient",
    "url": "url link website",
    "person": "person employee assignee customer patient guest member student teacher doctor owner "
    "user author manager engineer developer candidate supplier vendor client recipient agent "
    "reader borrower physician passenger traveller driver tenant",
    "message": "message body text content note comment",
    "reason": "reason cause why justification",
    "about": "subject topic description details summary",
}

KIND_WORDS = {kind: frozenset(names.split()) for kind, names in _KINDS.items()}


def specs_of(schema: Schema, description: str) -> dict[str, Schema]:
    """Return the specs of all arguments, with what a docstring says of them."""
    properties: dict[str, Schema] = schema.get("properties") or {}
    return {
        name: _described(name, _plain(spec, schema), description)
        for name, spec in properties.items()
    }


def counted_thing(own: Sequence[str]) -> str | None:
    """Return what an argument counts: `guest_count` guests, `number_of_rooms` rooms."""
    rest = [word for word in own if word not in ("number", "of", "count", "num", "n", "total")]
    if {"head", "heads"} & set(rest) or own[-1] == "number":
        return None
    if len(rest) < len(own) and rest:
        return " ".join(rest if rest[-1].endswith("s") else [*rest[:-1], f"{rest[-1]}s"])
    plural = own[-1].endswith("s") and not own[-1].endswith("ss")
    return " ".join(own) if plural or own[-1] == "people" else None


def spoken(name: str) -> str:
    """Say the name of an argument as a person would."""
    return " ".join(words(name))


def _described(name: str, spec: Schema, description: str) -> Schema:
    """Add what a docstring says of an argument, and the values that it lists."""
    line = re.search(
        rf"^\s*[-*]?\s*{re.escape(name)}\s*(?:\([^)]*\))?\s*:\s*(.+)$", description, re.M
    )
    near = re.search(
        rf"\b{re.escape(spoken(name))}\b[^.\n]*(?:\b(?:one of|either)\b|:)[^.\n]*",
        description,
        re.I,
    )
    said = str(spec.get("description") or (line and line[1]) or (near and near[0]) or "")
    spec = {**spec, "description": said}
    if spec.get("type") == "string" and "enum" not in spec and (options := _listed_options(said)):
        spec["enum"] = options
    return spec


def _listed_options(said: str) -> list[str]:
    """Return the values after `one of` or `either`, or in brackets: `(low, high)`, `a | b | c`."""
    word = r"['\"`]?[\w-]+['\"`]?"
    several = rf"{word}(?:\s*(?:,\s*(?:or\s+|and\s+)?|\||/|\s+or\s+)\s*{word})+"
    found = re.search(rf"(?:one of|either)[:\s(\[{{]*({several})", said, re.I) or re.search(
        rf"^\W*({several})\W*$|\(({several})\)|:\s*({several})\W*$", said
    )
    if not found or re.search(r"\be\.?g\b|such as|for example", said, re.I):
        return []
    listed = next(group for group in found.groups() if group)
    return [
        part.strip(" '\"`")
        for part in re.split(r"\s*(?:,\s*(?:or\s|and\s)?|\||/|\sor\s)\s*", listed)
    ]


def _plain(spec: Schema, schema: Schema) -> Schema:
    """Follow a reference and take the first real type of a union with null."""
    if spec.get("$ref"):
        definitions: dict[str, Schema] = schema.get("$defs") or {}
        spec = {**definitions.get(str(spec["$ref"]).rsplit("/", 1)[-1], {}), **spec, "$ref": None}
    options: list[Schema] = spec.get("anyOf") or []
    for option in options:
        if option.get("type") != "null":
            return {**spec, **_plain(option, schema)}
    return spec


def is_date(own: set[str], spec: Schema) -> bool:
    """Whether an argument is a date."""
    hint = str(spec.get("description") or "").lower()
    dated = "yyyy-mm-dd" in hint or spec.get("format") == "date"
    dated = dated or {"check", "in"} <= own or {"check", "out"} <= own
    return dated or (
        not own.isdisjoint(KIND_WORDS["date"]) and spec.get("type") in ("string", None)
    )


def is_time(own: set[str], spec: Schema) -> bool:
    """Whether an argument is a time of day."""
    hint = str(spec.get("description") or "").lower()
    return not own.isdisjoint(KIND_WORDS["time"]) or "hh:mm" in hint


def find_labelled(text: str, name: str) -> str | None:
    """Find the value after the name of an argument: `name: value`, `name=value`."""
    wanted = {stem(word) for word in words(name)}
    for label, value in reversed(list(text_parsing.labels(text))):
        if {stem(word) for word in words(label)} == wanted:
            return re.split(r",\s*[\w ]+[:=]\s", value)[0]
    said = rf"(?i)\b{re.escape(name)}\b\s*[=:]\s*(?:\"([^\"]*)\"|([^,;\n]+))"
    found = re.search(said, text) or re.search(said.replace(re.escape(name), spoken(name)), text)
    return (found[1] or found[2]).strip() if found else None


def find_option(options: Sequence[Any], texts: Sequence[str]) -> Any:
    """Find the first of some values that is said."""
    for text in texts:
        for option in sorted(options, key=lambda o: len(str(o)), reverse=True):
            if re.search(rf"(?<!\w){re.escape(str(option))}(?!\w)", text, re.I):
                return option
    return None


def first_number(text: str) -> Decimal | None:
    """Return the first amount of money or number of a text."""
    found = [*text_parsing.find_money(text), *text_parsing.numbers(text)]
    return found[0].value if found else None
