"""Tells of a text how long it is, how long it takes to read, and what is wrong in it. Pure."""

import re
from bisect import bisect
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate, pairwise

READ_PER_MINUTE, SPOKEN_PER_MINUTE = 238, 150
"""Words that people read silently, and speak, in a minute."""
LONG_SENTENCE = 30
"""From how many words on a sentence is called long."""
MAX_FAULTS = 50

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|\n\s*\n")
_PAIRS = {")": "(", "]": "[", "}": "{", "”": "“"}


def count(text: str) -> str:
    """Counts words, sentences and paragraphs, and names the words that come most often."""
    words, sentences = _WORD.findall(text), _sentences(text)
    paragraphs = [part for part in re.split(r"\n\s*\n", text) if part.strip()]
    common = Counter(word.casefold() for word in words if len(word) > 3)
    first = sorted(common.items(), key=lambda found: (-found[1], found[0]))[:5]
    often = ", ".join(f"{word} ({times})" for word, times in first if times > 1)
    return "\n".join(
        [
            f"Words: {len(words):,}",
            f"Sentences: {len(sentences):,}",
            f"Paragraphs: {len(paragraphs):,}",
            f"Most frequent: {often or 'no word comes twice'}",
        ]
    )


def reading_time(text: str) -> str:
    """Tells how long a text takes to read and to speak."""
    words = len(_WORD.findall(text))
    return "\n".join(
        f"{what}: {_minutes(words * 60 / speed)}"
        for what, speed in (("To read", READ_PER_MINUTE), ("To speak", SPOKEN_PER_MINUTE))
    )


def proofread(text: str) -> str:
    """Finds doubled words, long sentences and brackets that do not match, each with its line."""
    starts = list(accumulate(map(len, text.splitlines(keepends=True)), initial=0))
    found = {*_find_doubled_words(text), *_long(text), *_find_unmatched_brackets(text)}
    faults = [(bisect(starts[:-1] or [0], place), fault) for place, fault in sorted(found)]
    if not faults:
        return "Nothing found."
    more = [f"... and {len(faults) - MAX_FAULTS:,} more"] if len(faults) > MAX_FAULTS else []
    return "\n".join([*(f"Line {line}: {fault}" for line, fault in faults[:MAX_FAULTS]), *more])


def _sentences(text: str) -> list[str]:
    return [part for part in _SENTENCE_END.split(text) if _WORD.search(part)]


def _minutes(seconds: float) -> str:
    whole = max(1, round(seconds))
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def _find_doubled_words(text: str) -> Iterator[tuple[int, str]]:
    words = list(_WORD.finditer(text))
    for one, other in pairwise(words):
        if one[0].casefold() == other[0].casefold() and text[one.end() : other.start()].isspace():
            yield other.start(), f"{other[0]!r} stands twice"


def _long(text: str) -> Iterator[tuple[int, str]]:
    place = 0
    for sentence in _sentences(text):
        place = text.index(sentence, place)
        words = len(_WORD.findall(sentence))
        if words > LONG_SENTENCE:
            begin = place + len(sentence) - len(sentence.lstrip())
            yield begin, f"a sentence of {words} words"
        place += len(sentence)


def _find_unmatched_brackets(text: str) -> Iterator[tuple[int, str]]:
    opened: list[tuple[str, int]] = []
    for place, sign in enumerate(text):
        if sign in _PAIRS.values():
            opened.append((sign, place))
        elif sign in _PAIRS:
            if opened and opened[-1][0] == _PAIRS[sign]:
                opened.pop()
            else:
                yield place, f"{sign!r} closes nothing"
    for sign, place in opened:
        yield place, f"{sign!r} is never closed"
