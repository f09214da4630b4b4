"""What a question hangs on: the guard of the semantic cache.

What two questions may differ in is listed here, word by word; everything else has to be the same,
in the same order. So a number, a date, a name, a unit, a negation or a word that nobody thought
of is never passed over, whatever an embedding says of it.
"""

import re
import unicodedata

_WEIGHTLESS = frozenset(
    "a an the of please kindly just really actually hello hi hey thanks is are am do does".split()
)
"""Words that a question may have or not have: what it says does not hang on them."""

_START = r"(^|[.!?]\s)\s*(?:please\s+)?"
_PHRASES = (
    (r"\b(?:hello|hi|hey),? there\b|\bthank you\b", " "),
    (r"\bdo you know (?=what|which|how|where|when|who|why)", " "),
    (r"\bhow (?:do|can|could|would|should) (?:i|we|you|one)\b|\bhow to\b", "how"),
    (r"\b(?:what|which) is the (?:best )?(?:way|method) to\b|\bthe (?:way|steps) to\b", "how"),
    (r"\b(?:can|could|will|would) you\b", " "),
    (_START + r"(?:i|we)(?: would|'d)? (?:like|want|need) to (?:know|see|find)\b", r"\1 tell"),
    (_START + r"(?:i|we)(?: would|'d)? (?:like|want) to\b", r"\1 "),
    (_START + r"(?:i am|i'm|we are|we're) (?:looking|searching) for\b", r"\1 tell"),
    (r"\bwhich\b", "what"),
    (r"\bwhat(?:'s| is| are)\b", "tell"),
    (r"\blet (?:me|us) know\b|\b(?:tell|show|give|find|get) (?:me|us)\b", "tell"),
    (_START + r"(?:find|show|list)\b", r"\1 tell"),
    (r"\btell(?:\W+tell)+\b", "tell"),
    (r"\bin order to\b", "to"),
    (r"\bcannot\b", "can not"),
)
"""Ways to ask that say the same, in the order in which they are replaced."""

_SAME: dict[str, str] = {
    word: group.split()[0]
    for group in (
        "purchase buy",
        "inexpensive cheap low-cost",
        "photo photograph picture",
        "commence begin start",
        "big large",
        "automobile car",
        "movie film",
        "repair fix mend",
        "summarise summarize",
        "quick fast rapid",
        "colour color",
        "assist help",
        "reply respond",
        "holiday vacation",
        "kid child",
        "kids children",
        "firm company",
        "folder directory",
        "delete remove erase",
        "modify change alter",
        "pick choose select",
        "error mistake",
        "sofa couch",
        "shop store",
        "usual typical",
        "often frequently",
        "tv television",
        "phone telephone",
        "bike bicycle",
        "doctor physician",
        "lawyer attorney",
        "organise organize",
    )
    for word in group.split()
}
"""Words that mean the same, by the first of them."""

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_FIRSTS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
_MONTHS = "january february march april may june july august september october november december"
_NUMBERS: dict[str, str] = {
    **{word: str(number) for number, word in enumerate(_ONES.split())},
    **{word: str(10 * number) for number, word in enumerate(_TENS.split(), 2)},
    **{word: f"{number}th" for number, word in enumerate(_FIRSTS.split(), 1)},
    **{name: month for month in _MONTHS.split() for name in (month, month[:3])},
    "dollars": "$",
    "dollar": "$",
    "usd": "$",
    "euros": "€",
    "euro": "€",
    "eur": "€",
    "percent": "%",
}
"""Words for numbers, months and money, and how they are written here."""

_TOKEN = re.compile(
    r"\d+th\b|\d+(?:[.,:/-]\d+)*|[^\W\d_]+(?:['-][^\W\d_]+)*|[^\s\w.,;:?!()\"'“”‘’]|[!?]=|_"
)
_MONEY = re.compile(r"([$€£¥])\s*(\d[\d.,]*\d|\d)")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_ORDINAL = re.compile(r"\b(\d+)(?:st|nd|rd|th)\b")
_NOT = re.compile(r"\b(\w+)n't\b")
_SELF = ("I", "I'd", "I'm", "I'll", "I've")
_STARTS = re.compile(r"(?:^|[.!?:\n]\s*)([A-Z][\w']*)")


def distinguishing_facts(text: str) -> list[str]:
    """Return what a question hangs on: its words, in order, without those that weigh nothing.

    Questions with the same facts may have the same answer; others never have.
    """
    text = unicodedata.normalize("NFKC", text).replace("’", "'")
    names = _names(text)
    text = _STARTS.sub(lambda found: found.group().lower(), text)
    text = _MONEY.sub(r"\2 \1", _THOUSANDS.sub("", text))
    text = _ORDINAL.sub(r"\1th", text)
    text = _NOT.sub(_has_negation, text)
    for pattern, instead in _PHRASES:
        text = re.sub(pattern, instead, text, flags=re.IGNORECASE)
    found: list[str] = []
    for token in map(str, _TOKEN.findall(text.replace("'s ", " "))):
        word = token.casefold()
        if token in names:
            found.append(_NUMBERS.get(word, token))
        elif word not in _WEIGHTLESS:
            found.append(_SAME.get(word) or _NUMBERS.get(word, word))
    return found


def _names(text: str) -> set[str]:
    """Return the words that are written as names are: with a capital within a sentence."""
    starts = {found.start(1) for found in _STARTS.finditer(text)}
    return {
        found.group()
        for found in re.finditer(r"\b[A-Z][\w']*", text)
        if found.start() not in starts and found.group() not in _SELF
    }


def _has_negation(found: re.Match[str]) -> str:
    said = found.group(1)
    return f"{ {'ca': 'can', 'wo': 'will', 'sha': 'shall'}.get(said, said) } not"
