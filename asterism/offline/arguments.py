"""The arguments of a tool, read from a conversation by the names and types of its schema."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
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
from asterism.offline.phrases import PHRASES, find_named, find_object, find_things
from asterism.offline.questions import read_answers
from asterism.offline.text_parsing import Number, find_dates, stem, words
from asterism.offline.tool_choice import changing_verbs

_GIVEN = frozenset({"text", "content", "data"})
"""Names of arguments that results of tasks before are meant for, where there are any."""
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


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The texts that arguments are read from, the most telling first."""

    answers: Sequence[str] = ()
    """What the user answered to questions, latest first."""
    dialog: Sequence[tuple[str, str]] = ()
    """Those questions with their answers, latest first."""
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
    def own_request(self) -> str:
        """The request in the words of the user, without what a supervisor adds."""
        return self.request.split("\n\nYour part:")[0].strip()

    @property
    def texts(self) -> list[str]:
        """All texts, the most telling first."""
        return [*self.answers, self.request, *self.reports, *self.results, *self.earlier]


def read_arguments(
    schema: Schema, sources: Sources, *, description: str = "", about: str = ""
) -> tuple[dict[str, Any], list[str]]:
    """Read the arguments that a JSON schema asks for.

    Args:
        schema: The parameters of a tool: `properties` and `required`.
        sources: Where to read.
        description: What the tool says of itself, where its arguments may be described.
        about: The name of the tool, which says what a bare `id` is one of.

    Returns:
        The arguments that were found, and the names of the required ones that were not.
    """
    found: dict[str, Any] = {}
    missing: list[str] = []
    required: Sequence[str] = schema.get("required") or ()
    specs = specs_of(schema, description)
    answered = read_answers(specs, sources.dialog, sources.today)
    reader = _Reader(sources, about, names={stem(w) for n in specs for w in words(n)}, taken=[])
    said = replace(sources, request=sources.own_request, reports=(), results=())
    by_people = replace(reader, sources=said)
    changes = bool(changing_verbs({"name": about, "description": description})) if about else False
    for name, spec in specs.items():
        needed = name in required
        value = answered.get(name)
        if value is None:
            is_new = changes and _is_new_value(name, spec, about)
            value = (by_people if is_new else reader).read(name, spec, needed=needed)
        if value is not None:
            found[name] = value
            reader.taken.append(value)
        elif needed:
            missing.append(name)
    return found, missing


def _is_new_value(name: str, spec: Schema, about: str) -> bool:
    """Whether a tool changes something to this value, as `set_status` does to a `status`.

    Reports tell the old value: only a person says the new one.
    """
    own = {stem(word) for word in words(name)} - {stem("new")}
    return bool(spec.get("enum")) or "new" in words(name) or own <= {stem(w) for w in words(about)}


@dataclass(frozen=True)
class _Reader:
    """Reads one argument of a tool after the other; no text serves for two."""

    sources: Sources
    about: str
    names: set[str]
    """The stems of the words of all arguments: no value is one of them."""
    taken: list[Any]

    def read(self, name: str, spec: Schema, *, needed: bool) -> Any:
        """Read an argument, or return None."""
        kind, sources = spec.get("type"), self.sources
        labelled = _find_labelled_line(name, sources)
        if options := spec.get("enum"):
            return find_option(options, [labelled or "", *sources.texts])
        if kind == "array":
            return _options(spec, sources) or (_list(name, labelled, sources) if needed else None)
        if kind == "object":
            found, missing = read_arguments(spec, sources)
            return None if missing or not spec.get("properties") else found
        if kind in ("integer", "number"):
            value = first_number(labelled) if labelled else None
            if value is None:
                value = _amount(name, spec, sources, self.about, needed=needed)
            return None if value is None else int(value) if kind == "integer" else float(value)
        if kind == "boolean":
            said = any(_says(name, text) for text in sources.texts)
            return True if said else (False if needed else None)
        if kind == "string" or kind is None:
            return self._text(name, spec, labelled, needed=needed)
        return None

    def _text(self, name: str, spec: Schema, labelled: str | None, *, needed: bool) -> str | None:
        own, sources = set(words(name)), self.sources
        if is_date(own, spec):
            return _date(own, sources)
        if is_time(own, spec):
            return _first(sources, text_parsing.times)
        if labelled:
            return labelled
        readers = (
            ("email", text_parsing.find_emails),
            ("url", text_parsing.find_urls),
            ("file", text_parsing.find_files),
        )
        for kind, read in readers:
            fits = own & KIND_WORDS[kind] or (kind == "email" and own == {"to"})
            if fits and (found := _first(sources, read)):
                return found
        if not own.isdisjoint(KIND_WORDS["place"]):
            return _place(own, sources, needed=needed)
        if not own.isdisjoint(KIND_WORDS["code"]):
            return _currency(own, sources)
        if not own.isdisjoint(KIND_WORDS["id"]) and (
            code := _identifier(name, self.about, sources, needed)
        ):
            return code
        if own & KIND_WORDS["expression"]:
            return _first(sources, text_parsing.find_expressions)
        if own & _GIVEN and sources.reports:
            return "\n\n".join(sources.reports)
        return self._words_of(name, own, needed=needed)

    def _words_of(self, name: str, own: set[str], *, needed: bool) -> str | None:
        """Read what has no form of its own: names, messages, things."""
        request = self.sources.own_request
        said = [*self.sources.answers, request]
        texts = [*said, *self.sources.earlier]
        quoted = [found for text in said for found in text_parsing.find_quotations(text)]
        near = [find_named(name, text) for text in texts] if needed else []
        named = [found for exact, _ in near for found in exact]
        found = [*quoted, *named] if own & _TEXTS else [*named, *quoted]
        found += [text for _, loose in near for text in loose]
        for kind, pattern in PHRASES.items():
            if own & KIND_WORDS[kind]:
                found += [match for text in said for match in pattern.findall(text)]
        if own & KIND_WORDS["title"]:
            found += [find_object(request) or ""]
        elif own & KIND_WORDS["query"]:
            return quoted[0] if quoted else request or None
        elif needed and _is_person(own):
            found += [match for text in texts for match in text_parsing.find_names(text)]
        elif needed and not own & _NO_THINGS:
            found += find_things(own, self.names, self.about, request)
        if needed and own & _GIVEN:
            found.append(request)
        cleaned = (one.strip(" .,;:!?\"'") for one in found)
        empty = _EMPTY | set(words(self.about))
        return next(
            (text for text in cleaned if text not in self.taken and set(words(text)) - empty), None
        )


_EMPTY = frozenset(
    (
        "a an and as for her his in it its my new of on or our please that the their then this to "
        "your"
    ).split()
)
"""Words that are no value by themselves."""


def _is_person(own: set[str]) -> bool:
    return own == {"name"} or bool(own & KIND_WORDS["person"]) or any(map(_AGENT.search, own))


_TEXTS = KIND_WORDS["message"] | KIND_WORDS["title"] | KIND_WORDS["query"] | KIND_WORDS["about"]
_NO_THINGS = KIND_WORDS["message"] | KIND_WORDS["reason"] | KIND_WORDS["id"] | KIND_WORDS["file"]

_AGENT = re.compile(r"...(?:er|or|ee|ist|ant)$")
"""How words end for one who does something: `interviewer`."""


def _list(name: str, labelled: str | None, sources: Sources) -> list[str] | None:
    """Read a list of texts: what a label, quotation marks, or the name of the argument gives."""
    if "email" in words(name) or "recipient" in " ".join(words(name)):
        return text_parsing.find_emails(sources.request) or None
    if quoted := text_parsing.find_quotations(sources.request):
        return quoted
    noun = re.escape(spoken(name))
    said = labelled or next(
        iter(re.findall(rf"(?i)\b{noun}:?\s+([^.;?\n]+)", sources.request)), None
    )
    return (
        [part for part in re.split(r",\s*(?:and\s+)?|\s+and\s+", said.strip()) if part]
        if said
        else None
    )


def _date(own: set[str], sources: Sources) -> str | None:
    """Find a date; of two, the second where the argument is the end of a time."""
    is_end = not own.isdisjoint({"end", "to", "until", "return", "out", "checkout", "last"})
    for text in sources.texts:
        if found := find_dates(text, sources.today):
            if not is_end:
                return str(found[0])
            if len(found) > 1 or re.search(r"\b(?:until|till|through|by)\b", text, re.I):
                return str(found[-1])
    return None


def _find_labelled_line(name: str, sources: Sources) -> str | None:
    """Find a line `Label: value` whose label has exactly the words of the argument's name."""
    return next((v for t in sources.texts if (v := find_labelled(t, name)) is not None), None)


def _amount(
    name: str, spec: Schema, sources: Sources, about: str, *, needed: bool
) -> Decimal | None:
    own = words(name)
    stems = {stem(w) for w in own} | {stem(w) for w in words(str(spec.get("description") or ""))}
    is_money = not KIND_WORDS["money"].isdisjoint(own) or "limit" in own
    if not is_money and not KIND_WORDS["id"].isdisjoint(own) and not counted_thing(own):
        code = _identifier(name, about, sources, needed)
        return Decimal(code) if code and code.isdigit() else None
    for text in sources.texts:
        if is_money:
            if (found := _near(text_parsing.find_money(text), own, needed=needed)) is not None:
                return found
        elif (found := _choose_count(text_parsing.numbers(text), stems)) is not None:
            return found
    if needed:
        said = [n for text in sources.texts[:2] for n in text_parsing.numbers(text)]
        free = {n.value for n in said if _COUNTS.match(n.after) or not _ID_BEFORE.search(n.before)}
        return free.pop() if len(free) == 1 else None
    return None


_COUNTS = re.compile(
    r"\s+(?!and|for|to|is|was|has|from|in|at|on|of|with|by|please|now|today)[a-z]+", re.I
)

_ID_BEFORE = re.compile(
    rf"(?:#|\b(?:{'|'.join(sorted(KIND_WORDS['id']))}|no\.?|ward|table|room|seat|gate|page|floor|desk|employee|patient|item)s?\s+)$",
    re.I,
)


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
    return amounts[0].value if needed and len(amounts) == 1 else None


def _choose_count(found: Sequence[Number], about: set[str]) -> Decimal | None:
    """Choose the number that counts what the argument is about."""
    wanted = about | _PEOPLE if about & (_PEOPLE | {"count", "size", "head"}) else about
    for number in found:
        after = [stem(w) for w in words(number.after)[:3]]
        before = [stem(w) for w in words(number.before)[-2:]]
        if wanted.intersection(after) or about.intersection(before) - {"of", "for", "th", "numb"}:
            return number.value
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


def _first(sources: Sources, read: Callable[[str], Sequence[str]]) -> str | None:
    return next((found[0] for text in sources.texts if (found := read(text))), None)


def _place(own: set[str], sources: Sources, *, needed: bool) -> str | None:
    wanted = "from" if "origin" in own or "from" in own else "to" if "destination" in own else None
    for text in sources.texts:
        found = text_parsing.find_places(text)
        exact = [place for how, place in found if how == wanted]
        if wanted and (exact or (len(found) == 1 and found[0][0] not in ("from", "to"))):
            return (exact or [found[0][1]])[0]
        if not wanted and found:
            return found[0][1]
        if ":" in text or "=" in text:
            continue
        if text in sources.answers and (bare := text_parsing.bare_place(text, sources.today)):
            return bare
    names = text_parsing.find_names(sources.own_request)
    return names[-1] if names and needed and wanted != "from" else None


def _currency(own: set[str], sources: Sources) -> str | None:
    found: list[list[str]] = [re.findall(r"\b[A-Z]{3}\b", text) for text in sources.texts]
    codes = next((codes for codes in found if codes), list[str]())
    second = not own.isdisjoint({"to", "target", "quote", "into"})
    return codes[1] if second and len(codes) > 1 else codes[0] if codes and not second else None


def _identifier(name: str, about: str, sources: Sources, needed: bool) -> str | None:
    """Find `order 1234`, `order id: AB-12`, `#1234`, or the one code that there is."""
    nouns = [w for w in words(name) if w not in ("id", "number", "code", "reference")]
    nouns = nouns or [w for w in words(about) if len(w) > 2] or ["id"]
    noun = "|".join(map(re.escape, nouns))
    code = r"([\w-]*\d[\w-]*)"
    if start := next((w for w in ("from", "to") if w in words(name)), ""):
        noun = "|".join(re.escape(w) for w in nouns if w != start) or noun
        start = rf"\b{start}\s+(?:the\s+)?"
        exact = rf"(?i){start}(?:(?:{noun})\s+)?{code}"
        if found := _first(sources, lambda text: re.findall(exact, text)):
            return found
    known = rf"(?:\b(?:{noun})s?\b(?:\s+(?:id|number|no\.?|code))?\s*[:#]?\s*|#){code}"
    if found := _first(sources, lambda text: re.findall(known, text, re.I)):
        return found
    if not needed:
        return None
    return _first(sources, lambda text: re.findall(r"\b[A-Z]{1,6}-?\d[\w-]*\b", text))
