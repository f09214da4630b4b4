"""The arguments of a tool, read from a conversation by the names and types of its schema."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from asterism.offline import text_parsing
from asterism.offline.text_parsing import Number, find_dates, stem, words

Schema = Mapping[str, Any]
"""A JSON schema."""

_KINDS = {
    "date": "date day when deadline",
    "time": "time hour",
    "place": "city place location town where destination origin country region venue_city",
    "money": "cost price budget amount fee rate money usd eur dollars spend salary",
    "title": "title subject heading event headline",
    "query": (
        "query question text request topic task message content description search prompt data"
    ),
    "expression": "expression formula calculation equation sum",
    "code": "currency",
    "id": "id number reference order ticket invoice account code",
}
_GIVEN = frozenset({"text", "content", "data"})
"""Names of arguments that results of tasks before are meant for, where there are any."""
_WORDS = {kind: frozenset(names.split()) for kind, names in _KINDS.items()}
_PEOPLE = frozenset(
    stem(w)
    for w in [
        "people",
        "person",
        "guest",
        "attendee",
        "head",
        "participant",
        "employee",
        "seat",
        "pax",
        "adult",
    ]
)
_BOUNDS = {
    "max": ("under", "below", "at most", "up to", "max", "no more than", "less than"),
    "limit": ("budget", "limit", "at most", "up to", "under", "no more than"),
    "min": ("over", "above", "at least", "min", "from", "more than"),
}
_OBJECT = re.compile(
    r"^\W*(?:(?:please|can|could|would|you|help|me|us|we|i|want|need|like|to)\W+)*"
    r"(?:\w+)\s+(?:a|an|the|our|my|some)?\s*(?P<what>.+?)"
    r"(?:\s+(?:for|in|on|at|with|by|from|to|near|under|around|between)\b|[.,;:!?\n]|$)",
    re.I,
)


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The texts that arguments are read from, the most telling first."""

    answers: Sequence[str] = ()
    """What the user answered to questions, latest first."""
    request: str = ""
    """What is asked for now."""
    reports: Sequence[str] = ()
    """What tasks before resulted in."""
    results: Sequence[str] = ()
    """What tools gave so far, latest first."""
    earlier: Sequence[str] = ()
    """What was said in earlier turns, latest first."""
    today: date = field(default_factory=date.today)

    @property
    def texts(self) -> list[str]:
        """All texts, the most telling first."""
        return [*self.answers, self.request, *self.reports, *self.results, *self.earlier]


def read_arguments(schema: Schema, sources: Sources) -> tuple[dict[str, Any], list[str]]:
    """Read the arguments that a JSON schema asks for.

    Args:
        schema: The parameters of a tool: `properties` and `required`.
        sources: Where to read.

    Returns:
        The arguments that were found, and the names of the required ones that were not.
    """
    found: dict[str, Any] = {}
    missing: list[str] = []
    required: Sequence[str] = schema.get("required") or ()
    properties: dict[str, Schema] = schema.get("properties") or {}
    for name, spec in properties.items():
        value = _value(name, _plain(spec, schema), sources, needed=name in required)
        if value is not None:
            found[name] = value
        elif name in required:
            missing.append(name)
    return found, missing


def spoken(name: str) -> str:
    """Say the name of an argument as a person would."""
    return " ".join(words(name))


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


def _value(name: str, spec: Schema, sources: Sources, *, needed: bool) -> Any:
    kind = spec.get("type")
    if options := spec.get("enum"):
        return _option(options, sources)
    if kind == "array":
        return _options(spec, sources)
    if kind == "object" and spec.get("properties"):
        inner, lacking = read_arguments(spec, sources)
        return None if lacking else inner
    labelled = _find_labelled_line(name, sources)
    if kind in ("integer", "number"):
        value = _first_number(labelled) if labelled else None
        if value is None:
            value = _amount(name, spec, sources, needed=needed)
        if value is None:
            return None
        return int(value) if kind == "integer" else float(value)
    if kind == "boolean":
        said = any(_says(name, text) for text in sources.texts)
        return True if said else (False if needed else None)
    if kind == "string" or kind is None:
        return _text(name, spec, sources, labelled, needed=needed)
    return None


def _find_labelled_line(name: str, sources: Sources) -> str | None:
    """Find a line `Label: value` whose label has exactly the words of the argument's name."""
    wanted = {stem(word) for word in words(name)}
    for text in sources.texts:
        for label, value in reversed(list(text_parsing.labels(text))):
            if {stem(word) for word in words(label)} == wanted:
                return value
    return None


def _first_number(text: str) -> Decimal | None:
    found = [*text_parsing.find_money(text), *text_parsing.numbers(text)]
    return found[0].value if found else None


def _amount(name: str, spec: Schema, sources: Sources, *, needed: bool) -> Decimal | None:
    own = words(name)
    about = {stem(w) for w in own} | {stem(w) for w in words(str(spec.get("description") or ""))}
    is_money = not _WORDS["money"].isdisjoint(own) or any(bound in own for bound in ("limit",))
    for text in sources.texts:
        if is_money:
            if (found := _near(text_parsing.find_money(text), own, needed=needed)) is not None:
                return found
            continue
        if (found := _choose_count(text_parsing.numbers(text), about)) is not None:
            return found
    if needed and not is_money:
        said = [n for text in sources.texts[:2] for n in text_parsing.numbers(text)]
        return said[0].value if len(said) == 1 else None
    return None


def _near(amounts: Sequence[Number], own: Sequence[str], *, needed: bool) -> Decimal | None:
    """Choose the amount of money whose surroundings speak of the argument."""
    clues = {stem(w) for w in own} - {stem(w) for w in ("cost", "price", "amount", "max", "min")}
    bounds = [phrase for word in own for phrase in _BOUNDS.get(word, ())]
    for amount in amounts:
        around = [*words(amount.before)[-4:], *words(amount.after)[:2]]
        if clues & {stem(word) for word in around}:
            return amount.value
    for amount in amounts:
        before = amount.before.lower().rstrip()
        if any(before.endswith(phrase) for phrase in bounds):
            return amount.value
    return amounts[0].value if needed and len(amounts) == 1 and not clues else None


def _choose_count(found: Sequence[Number], about: set[str]) -> Decimal | None:
    """Choose the number that counts what the argument is about."""
    wanted = about | _PEOPLE if about & (_PEOPLE | {"count", "size", "head"}) else about
    for number in found:
        after = [stem(w) for w in words(number.after)[:3]]
        before = [stem(w) for w in words(number.before)[-2:]]
        if wanted.intersection(after) or about.intersection(before) - {"of", "for", "th", "numb"}:
            return number.value
    return None


def _option(options: Sequence[Any], sources: Sources) -> Any:
    for text in sources.texts:
        for option in sorted(options, key=lambda o: len(str(o)), reverse=True):
            if re.search(rf"(?<!\w){re.escape(str(option))}(?!\w)", text, re.I):
                return option
    return None


def _options(spec: Schema, sources: Sources) -> list[str] | None:
    """Collect which of the listed options are said, each with the count before it."""
    items: Schema = spec.get("items") or {}
    listed: list[str] = items.get("enum") or _words_of_lists(str(spec.get("description") or ""))
    found: list[str] = []
    for text in sources.texts[: len(sources.answers) + 1]:
        for option in listed:
            match = re.search(rf"(?:(\d+)\s+)?(?<!\w){re.escape(str(option))}(?!\w)", text, re.I)
            if match and not any(str(option) in have for have in found):
                found.append(
                    f"{match[1]} {option}" if match[1] and not items.get("enum") else option
                )
    return found or None


def _words_of_lists(description: str) -> list[str]:
    """Return the words of the lists in a description: `a, b, c and d` has four."""
    word = r"[a-z][a-z-]+"
    lists = re.findall(
        rf"{word}(?:, {word})+,? (?:and|or) {word}|{word}(?:, {word}){{2,}}", description
    )
    return [item for found in lists for item in re.split(r",? (?:and |or )?", found)]


def _says(name: str, text: str) -> bool:
    return re.search(rf"(?<!not )(?<!no )\b{re.escape(spoken(name))}\b", text, re.I) is not None


def _text(
    name: str, spec: Schema, sources: Sources, labelled: str | None, *, needed: bool
) -> str | None:
    own = set(words(name))
    hint = f"{spec.get('format') or ''} {spec.get('description') or ''}".lower()
    if not own.isdisjoint(_WORDS["date"]) or "yyyy-mm-dd" in hint or spec.get("format") == "date":
        return _first(sources, lambda text: list(map(str, find_dates(text, sources.today))))
    if not own.isdisjoint(_WORDS["time"]) or "hh:mm" in hint:
        return _first(sources, text_parsing.times)
    if not own.isdisjoint(_WORDS["place"]):
        return labelled or _place(own, sources)
    if labelled:
        return labelled
    if not own.isdisjoint(_WORDS["code"]):
        return _currency(own, sources)
    if not own.isdisjoint(_WORDS["id"]):
        return _identifier(name, sources)
    if not own.isdisjoint(_WORDS["expression"]):
        return _first(sources, text_parsing.find_expressions)
    if not own.isdisjoint(_GIVEN) and sources.reports:
        return "\n\n".join(sources.reports)
    if said := _first(sources, text_parsing.find_quotations):
        return said
    if not own.isdisjoint(_WORDS["title"]):
        return _object(sources.request)
    if not own.isdisjoint(_WORDS["query"]):
        return sources.request.split("\n\nYour part:")[0].strip() or None
    return _after_name(name, sources) if needed else None


def _first(sources: Sources, read: Callable[[str], Sequence[str]]) -> str | None:
    return next((found[0] for text in sources.texts if (found := read(text))), None)


def _place(own: set[str], sources: Sources) -> str | None:
    wanted = "from" if "origin" in own or "from" in own else "to" if "destination" in own else None
    for text in sources.texts:
        found = text_parsing.find_places(text)
        exact = [place for how, place in found if how == wanted]
        if wanted and (exact or len(found) == 1):
            return (exact or [found[0][1]])[0]
        if not wanted and found:
            return found[0][1]
        if text in sources.answers and (bare := text_parsing.bare_place(text, sources.today)):
            return bare
    return None


def _currency(own: set[str], sources: Sources) -> str | None:
    found: list[list[str]] = [re.findall(r"\b[A-Z]{3}\b", text) for text in sources.texts]
    codes = next((codes for codes in found if codes), list[str]())
    second = not own.isdisjoint({"to", "target", "quote", "into"})
    return codes[1] if second and len(codes) > 1 else codes[0] if codes and not second else None


def _identifier(name: str, sources: Sources) -> str | None:
    """Find `order 1234`, `order id: AB-12`, `#1234`."""
    nouns = [w for w in words(name) if w not in ("id", "number", "code")] or [r"id"]
    noun = "|".join(map(re.escape, nouns))
    pattern = rf"(?:\b(?:{noun})\b(?:\s+(?:id|number|no\.?|code))?\s*[:#]?\s*|#)([\w-]*\d[\w-]*)"
    return _first(sources, lambda text: re.findall(pattern, text, re.I))


def _object(request: str) -> str | None:
    """Find what a request is about: `Plan a garden party for ...` is about a garden party."""
    match = _OBJECT.match(request.strip())
    return match["what"].strip() if match else None


def _after_name(name: str, sources: Sources) -> str | None:
    noun = re.escape(spoken(name))
    pattern = rf"\b{noun}\b\s*(?:is|are|=|:|called|named)\s*([^\n,.;]+)"
    said = _first(sources, lambda text: re.findall(pattern, text, re.I))
    return said.strip() if said else None
