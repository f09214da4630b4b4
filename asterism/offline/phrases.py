"""What a sentence is about: named things, objects of verbs, messages and reasons."""

import re

from asterism.offline import text_parsing
from asterism.offline.text_parsing import stem, words

_OBJECT = re.compile(
    r"^\W*(?:(?:please|can|could|would|you|help|me|us|we|i|want|need|like|to)\W+)*"
    r"(?:\w+)\s+(?:a|an|the|our|my|some)?\s*(?P<what>.+?)"
    r"(?:\s+(?:for|in|on|at|with|by|from|to|near|under|around|between)\b|[.,;:!?\n]|$)",
    re.I,
)

PHRASES = {
    "message": re.compile(
        r"(?:\b(?:saying|says?|writing|that|message|text|body|note|comment)\b:?|:)\s+(?:that\s+)?"
        r"(?![\w.+-]+@)([^\n]{3,}?)[.!]?(?:$|\n)",
        re.I,
    ),
    "reason": re.compile(
        r"\b(?:because(?: of)?|due to|since|as it is|as it was|reason:?)\s+([^\n.;]+)", re.I
    ),
    "about": re.compile(r"\b(?:about|regarding|concerning|on the subject of)\s+([^\n.;,]+)", re.I),
}

_END = (
    r"(?=\s+(?:for|in|on|at|with|by|from|to|of|as|and|or|is|are|has|have|do|does|next|until|today|"
    r"tomorrow|please|left|off|available|free|cost|costs)\b|\s+[$\d]|[.,;:!?\n]|$)"
)

_ADJECTIVE = "(?!(?:same|new|next|last|first|other|whole|latest|current|old)\\b)"


def find_named(name: str, text: str) -> tuple[list[str], list[str]]:
    """Find `the service payments`, `the payments service`, `service is payments`."""
    generic = ("id", "name", "new", "number", "code", "title", "key")
    noun = " ".join([w for w in words(name) if w not in generic] or words(name))
    capital = r"[A-Z][\w'-]*(?: [A-Z][\w'-]*)*"
    exact = (
        rf"(?i:\b{noun}\b\s*(?:is|are|=|:|called|named|to|as)\s+)((?!the\b|[\"'])[^\n,.;?]+?){_END}",
        rf"(?i:\b{noun}\b)\s+({capital}|[\w.-]*\d[\w-]*)",
        rf"(?i)\bthe\s+{noun}\s+((?!is\b|are\b|of\b|to\b)[\w-]+){_END}",
    )
    loose = (
        rf"(?i)\b(?:the|a|an|our|my)\s+{_ADJECTIVE}([\w-]+)\s+{noun}\b",
        rf"(?i)^\w+\s+([\w-]+)\s+{noun}\b",
    )
    return [m for p in exact for m in re.findall(p, text)], [
        m for p in loose for m in re.findall(p, text)
    ]


_THING = (
    r"(?:(?:the|a|an|any|some|our|my|more)\s+)*"
    r"((?!(?:me|us|you|it|them|the|in|on|at|for|to|of|by|with|from|about|there|left)\b|[$\d])"
    rf"[\w'&-]+(?:\s+[\w'&-]+){{0,3}}?){_END}"
)

_BEFORE_THING = (
    r"\b(?:of|about|called|named)\s+",
    r"\bhow (?:many|much)\s+",
    r"\b\d+\s+",
    r"\b(?:do|does|did|have)\s+(?:we|you|they|i)\s+(?:have|sell|stock|offer|need)?\s*",
    r"^(?:is|are)\s+(?:there\s+)?",
    r"\b(?:for|on)\s+",
    r"^who\s+\w+\s+",
    r"^(?:please\s+)?(?!what|where|who|how|when|which|do|is|are|does|can)\w+\s+(?:me\s+|us\s+)?",
    r"\b(?:in|with|does|do)\s+",
)

_VALUES = frozenset(
    "status priority severity urgency state level label category new role stage plan".split()
)


def find_things(own: set[str], names: set[str], about: str, request: str) -> list[str]:
    """Find what a sentence is about: `stock of X`, `20 X`, `to X`, `restart X`, `is X free`."""
    before = (r"\b(?:to|as)\s+", *_BEFORE_THING) if own & _VALUES else _BEFORE_THING
    nouns = "|".join(words(about)[1:]) or "-"
    found = re.findall(rf"(?i)\b(?:the|an?|my|our)\s+{_ADJECTIVE}([\w-]+)\s+(?:{nouns})\b", request)
    found += [match for first in before for match in re.findall(f"(?i){first}{_THING}", request)]
    known = {stem(w) for w in (*text_parsing.MONTHS, *text_parsing.WEEKDAYS, *words(about))}
    known |= names | {"the", "on", "off", "up", "down", "out", "back"}
    found = [one for one in found if not re.search(r"\d", one)]
    while any(one and words(one) and stem(words(one)[-1]) in names for one in found):
        found = [
            one.rpartition(" ")[0] if words(one) and stem(words(one)[-1]) in names else one
            for one in found
        ]
    return [one for one in found if one and not {stem(w) for w in words(one)} <= known]


def find_object(request: str) -> str | None:
    """Find what a request is about: `Plan a garden party for ...` is about a garden party."""
    match = _OBJECT.match(request.strip())
    return match["what"].strip() if match else None
