"""Texts of others, made fit for a drawing: one line, no control, a width that is known."""

import json
import unicodedata
from decimal import Decimal

from asterism.core.usage import Usage

BREAKS = ("\n", "\r", "\t", "\v", "\f", "\x85", "\u2028", "\u2029")
"""What would break a line or leave a gap in it."""


def as_text(value: object) -> str:
    """Return a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else as_json(value)


def as_json(value: object) -> str:
    """Write a value as JSON; what is none is written as its text."""
    return json.dumps(value, ensure_ascii=False, default=str)


def one_line(text: str) -> str:
    """Show any text as one harmless line.

    White space is folded. What steers a terminal or the direction of writing is not drawn:
    an escape sequence becomes plain characters, and those without a shape are left out.
    """
    kept = (" " if c in BREAKS else c for c in text)
    shown = "".join(c for c in kept if c == " " or unicodedata.category(c)[0] != "C")
    return " ".join(shown.split())


def width_of(text: str) -> int:
    """Return how many columns a line takes in a terminal."""
    from rich.cells import cell_len

    return cell_len(text)


def fit_text(text: str, width: int) -> str:
    """Cut a line to a width, with an ellipsis where something is missing."""
    line = one_line(text[: width * 8])
    if width_of(line) <= width and len(text) <= width * 8:
        return line
    while line and width_of(line) >= width:
        line = line[:-1]
    return f"{line.rstrip()}…"


def pad_text(line: str, width: int) -> str:
    """Fill a line up to a width with spaces."""
    return line + " " * (width - width_of(line))


def wrap_text(text: str, width: int, lines: int) -> list[str]:
    """Break a text at spaces into a few lines of at most a width."""
    words = one_line(text[: width * lines * 8]).split(" ")
    found: list[str] = [""]
    for word in words:
        joined = f"{found[-1]} {word}" if found[-1] else word
        if width_of(joined) <= width:
            found[-1] = joined
        elif found[-1]:
            found.append(word)
        else:
            found[-1] = word
    cut = [fit_text(line, width) for line in found[:lines]]
    if len(found) > lines:
        cut[-1] = fit_text(f"{cut[-1]} {found[lines]} …", width)
    return [line for line in cut if line]


def format_money(amount: Decimal) -> str:
    """Write US dollars: with cents, and with more digits where there are less than that."""
    if not amount:
        return "$0"
    digits = 2 if amount >= 1 else 4 if amount >= Decimal("0.001") else 6
    return f"${amount:,.{digits}f}"


def usage_text(usage: Usage) -> str:
    """Say what calls took, or nothing where there were none."""
    if not (usage.calls or usage.cost_usd or usage.tokens):
        return ""
    parts = [
        count_text(usage.calls, "call") if usage.calls else "",
        count_text(usage.tokens, "token") if usage.tokens else "",
        _part(usage.estimated_tokens, usage.tokens, "estimated"),
        f"{usage.cache_hit_rate:.0%} of the input cached" if usage.cached_input_tokens else "",
        format_money(usage.cost_usd) if usage.cost_usd else "",
        "price unknown" if usage.unknown else "",
    ]
    return ", ".join(part for part in parts if part)


def _part(number: int, whole: int, what: str) -> str:
    """Say that a part of something is special, or all of it, or nothing where none is."""
    return "" if not number else what if number == whole else f"{number:,} of them {what}"


def count_text(number: int, what: str) -> str:
    """Say how many there are of something."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
