"""Digests: what a long text says, in a part of its length, the same at every reading."""

import re

CHARACTERS_PER_TOKEN = 4
"""How many characters a token is taken to have."""
DIGEST_TOKENS = 4_000
"""Above how many tokens a report is shown as a digest."""
DIGEST_PART = 4
"""A digest is at most this part of the length above which there is one: a quarter."""

_HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t]*#*$", re.M)
_SUMMARY = re.compile(
    r"^(?P<level>#{1,6}[ \t]+|\*\*|)(?:executive )?(?:summary|tl;dr|in short)\b[:*# \t]*",
    re.I | re.M,
)


def is_long(text: str, tokens: int | None) -> bool:
    """Whether a text has more than so many tokens; None: never."""
    return tokens is not None and len(text) > tokens * CHARACTERS_PER_TOKEN


def digest(text: str, tokens: int) -> str:
    """Return a digest of a text that is longer than `tokens`.

    It is the text's own summary, where it has one under a heading of that name, else its
    beginning and its end; between them stand the headings of what is left out.
    """
    room = tokens * CHARACTERS_PER_TOKEN // DIGEST_PART
    own = _own_summary(text)
    if own and len(own) <= room:
        return f"{own}\n\n{_gap(text, len(text) - len(own), room // 4)}"
    head, tail = _cut(text, room // 2), _cut(text, room // 4, end=True)
    rest = text[len(head) : len(text) - len(tail)]
    return "\n\n".join(part for part in (head, _gap(rest, len(rest), room // 4), tail) if part)


def _gap(text: str, characters: int, room: int) -> str:
    headings = " · ".join(_HEADING.findall(text))
    listed = f"; it has: {_cut(headings, room)}" if headings else ""
    return f"[{characters:,} characters left out{listed}]"


def _own_summary(text: str) -> str:
    """Return what stands under a heading that says so, or an empty text."""
    found = _SUMMARY.search(text)
    if found is None:
        return ""
    rest = text[found.end() :].lstrip("\n")
    end = re.search(r"^#{1,6}[ \t]" if found["level"] else r"\n[ \t]*\n", rest, re.M)
    return rest[: end.start() if end else len(rest)].strip()


def _cut(text: str, room: int, *, end: bool = False) -> str:
    """Cut a text to so many characters, between words where it has some."""
    if len(text) <= room:
        return text
    part = text[len(text) - room :] if end else text[:room]
    words = re.split(r"\s+", part, maxsplit=1) if end else re.split(r"\s+(?=\S*$)", part)
    kept = words[-1] if end else words[0]
    return kept if len(kept) > room // 2 else part
