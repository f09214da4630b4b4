"""What one file says about a question, in its own words and with its lines."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from asterism.core.values import shorten
from asterism.nodes.research.folder import Folder
from asterism.nodes.research.passages import Passage, passages, sentences
from asterism.nodes.research.words import counts, terms
from asterism.nodes.values import quote_argument

MAX_SENTENCES = 5
"""How many sentences an answer has, at most."""
_BEARS = 0.2
"""The least part of a question that a sentence must match to bear on it."""
_AS_GOOD = 0.4
"""The least score of a sentence that is told, as a part of the best one's."""
_HEADING = 0.5
"""What a word in the heading above counts, where one in the sentence counts 1."""
_TELLING = 6
"""How many words of a long question are weighed: it has many that no sentence can hold."""
_WIDTH = 500


def answer_from_source(root: Path, path: str, question: str) -> str:
    """Answer a question with the sentences of one file that bear on it.

    The same file and question give the same answer; nothing is written that is not in the file.

    Args:
        root: The folder of sources.
        path: The file, from the folder.
        question: What is asked, in words or sentences.

    Returns:
        At most five sentences in the order of the file, each cited as `[path:line]`, or that
        the file holds nothing about it.

    Raises:
        ValueError: The file cannot be read, or the question has no word to look for.
        ConfigurationError: The folder does not exist.
    """
    name, lines = Folder.at(root).read(path)
    wanted = terms(question)
    if not wanted:
        raise ValueError(
            f"the question {quote_argument(question)} has no word to look for. Name what "
            "you want to know."
        )
    quotes = [quote for passage in passages(name, lines) for quote in sentences(passage)]
    best = _bearing(quotes, frozenset(wanted))
    asked = ", ".join(wanted.values())
    if not best:
        return f"{name} holds nothing about this question (looked for: {shorten(asked, 200)})."
    told = [f"- {excerpt(quote.text, wanted, _WIDTH)} [{quote.place}]" for quote in best]
    return "\n".join([f"From {name}:", *told])


def excerpt(text: str, wanted: Mapping[str, str], width: int) -> str:
    """Shorten a text to what stands around the first wanted word."""
    if len(text) <= width:
        return text
    lower = text.casefold()
    places = [lower.find(term) for term in wanted if term in lower]
    start = max(0, min(min(places, default=0) - width // 4, len(text) - width))
    part = text[start : start + width].strip()
    return f"{'… ' if start else ''}{part}{' …' if start + width < len(text) else ''}"


def _bearing(quotes: Sequence[Passage], wanted: frozenset[str]) -> list[Passage]:
    """Return the sentences that bear on the wanted words, in the order of the file."""
    within = [set(counts(quote.text, wanted)) for quote in quotes]
    above = [set(counts(quote.heading, wanted)) for quote in quotes]
    having = {
        term: sum(term in own or term in over for own, over in zip(within, above, strict=True))
        for term in wanted
    }
    weights = {term: math.log(1 + len(quotes) / (n or 0.5)) for term, n in having.items()}
    whole = sum(sorted(weights.values(), reverse=True)[:_TELLING])
    scores = [
        sum(weights[t] for t in own) + _HEADING * sum(weights[t] for t in over - own)
        for own, over in zip(within, above, strict=True)
    ]
    best = max(scores, default=0.0)
    if not whole or best < _BEARS * whole:
        return []
    ranked = sorted(range(len(quotes)), key=lambda place: (-scores[place], place))
    chosen = [place for place in ranked if scores[place] >= _AS_GOOD * best][:MAX_SENTENCES]
    return [quotes[place] for place in sorted(chosen)]
