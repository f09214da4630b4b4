"""The words of a text that tell what it is about."""

import re
import unicodedata

from asterism.offline.text_parsing import stem

STOP_WORDS = frozenset(
    "a about after all also am an and any are as at be because been before being between both but "
    "by can could did do does doing down during each few find for from further give had has have "
    "having he her here hers him his how i if in into is it its itself just let many me more most "
    "much must my no nor not of off on once only or other our ours out over own please same say "
    "says shall she should show so some such tell than that the their theirs them then there these "
    "they this those through to too under until up us very was we were what when where which while "
    "who whom whose why will with would you your yours".split()
)
"""English words that any text has."""

_WORD = re.compile(r"[^\W_]+")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
"""Japanese and Chinese are written without spaces; pairs of characters stand in for words."""


def fold(text: str) -> str:
    """Fold case, width and accents away."""
    if text.isascii():
        return text.lower()
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def terms(text: str) -> dict[str, str]:
    """Return what to look for by the words of a text: each stem with the word as it is written.

    A stem is always the beginning of the folded word, so it can be looked for as a substring.
    """
    return {_stem(word): word for word in _words(fold(text)) if word not in STOP_WORDS}


def counts(text: str, wanted: frozenset[str]) -> dict[str, int]:
    """Count the wanted terms in a text."""
    folded = fold(text)
    if not any(term in folded for term in wanted):  # most texts have none: this is the fast way
        return {}
    found: dict[str, int] = {}
    for word in _words(folded):
        if (term := _stem(word)) in wanted:
            found[term] = found.get(term, 0) + 1
    return found


def _words(folded: str) -> list[str]:
    found: list[str] = []
    for word in _WORD.findall(folded):
        if _UNSPACED.search(word):
            runs = _UNSPACED.findall(word)
            found += [run[i : i + 2] for run in runs for i in range(max(1, len(run) - 1))]
            found += _WORD.findall(_UNSPACED.sub(" ", word))
        else:
            found.append(word)
    return found


def _stem(word: str) -> str:
    return stem(word) if word.isascii() and word.isalpha() else word
