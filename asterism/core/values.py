"""Plain JSON values, safe text: shortened, fenced, without secrets and terminal controls."""

import logging
import re
import sys
import traceback
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, cast

from pydantic_core import PydanticSerializationError, from_json, to_json


def as_list(value: object) -> list[Any]:
    """Return `value` where it is a list, else one that holds it alone."""
    return cast(list[object], value) if isinstance(value, list) else [value]


def as_dict(value: object) -> dict[str, Any]:
    """Return `value` where it is a dict, else an empty one."""
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def is_number(value: object) -> bool:
    """Whether `value` is a finite number, as a float can hold it; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max  # also an int, which `isfinite` cannot always take


@lru_cache(maxsize=4_096)
def normal_name(name: str) -> str:
    """Fold case, width, white space and control characters away, to compare names."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(c for c in folded if not c.isspace() and unicodedata.category(c)[0] != "C")


def shorten(text: str, limit: int) -> str:
    """Return a text of at most `limit` characters, with an ellipsis where it was longer."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def number_lines(faults: Iterable[str]) -> str:
    """List faults for a message, a numbered line each; empty where there are none."""
    return "\n".join(f"  {number}. {fault}" for number, fault in enumerate(faults, 1))


def plain_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Turn facts into plain JSON values; facts that cannot be are told as one text."""
    try:
        text = to_json(dict(facts), inf_nan_mode="strings", bytes_mode="base64", fallback=str)
    except (PydanticSerializationError, ValueError):  # a lone surrogate, a str() that fails
        return {"facts": ascii(facts)}
    plain: dict[str, Any] = from_json(text)
    return plain


def fence(tag: str, text: str, **attributes: str) -> str:
    """Put a text between tags that it can neither close nor imitate."""
    notes = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f"<{tag}{notes}>\n{escape(text, tag)}\n</{tag}>"


def escape(text: str, tag: str) -> str:
    """Make a text show a tag where it has one."""
    return re.sub(rf"<(\s*/?\s*{tag})", r"&lt;\1", text, flags=re.IGNORECASE)


MASK = "[redacted]"

TRACEBACK_LENGTH = 4_000
"""How many characters of a traceback are kept: the last ones, where the error is."""

_PATTERNS = (
    # keys that are known by how they begin
    r"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{8,}",
    r"\b(?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{8,}",
    r"\bgh[pousr]_[A-Za-z0-9]{16,}",
    r"\bgithub_pat_[A-Za-z0-9_]{16,}",
    r"\bglpat-[A-Za-z0-9_-]{12,}",
    r"\bxox[abprs]-[A-Za-z0-9-]{8,}",
    r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}",
    r"\bAIza[A-Za-z0-9_-]{20,}",
    r"\blsv2_[A-Za-z0-9_]{16,}",
    r"\bhf_[A-Za-z0-9]{16,}",
    r"\bnpm_[A-Za-z0-9]{16,}",
    r"\b(?:SK|AC)[0-9a-f]{32}\b",
    r"(?<![\w-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
)
_KNOWN = re.compile("|".join(_PATTERNS), re.S)
_KNOWN_MARKS = (
    *("sk-", "pk-", "rk-", "k_live_", "k_test_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
    *("github_pat_", "glpat-", "xox", "AKIA", "ASIA", "AIza", "lsv2_", "hf_", "eyJ", "-----BEGIN"),
    *("npm_", "SK", "AC"),
)
"""Without one of these there is no key to be found: a look that costs a hundredth of a search."""
_NAMED_MARKS = ("key", "secret", "passw", "passphrase", "creden", "token")
_BEARER = re.compile(r"\b(bearer|basic)\s{1,9}[A-Za-z0-9._~+/=-]{6,}", re.I)
_COOKIE = re.compile(
    r"\b(?P<name>(?:set-)?cookie[\"']?\s{0,9}[:=]\s{0,9}[\"']?)(?!\[redacted\])(?P<value>[^\s\"'][^\r\n\"']{2,})",
    re.I,
)
_URL = re.compile(r"\b([a-z][a-z0-9+.-]{0,30}://[^\s/:@]{0,200}):[^\s@/]+@", re.I)
_SECRET = (
    r"(?:api|account|access)[_-]?key|access[_-]?signature"
    r"|secret|passw(?:or)?d|passphrase|credential|(?P<counted>token)"
)
# What stands before the word is not part of the match, and what follows it has a bound: a long
# text without an end to its name must not be read over and over.
_NAMED = re.compile(
    rf"(?P<name>(?:{_SECRET})[\w-]{{0,60}}[\"']?\s{{0,9}}(?:=|:)\s{{0,9}})"
    r"(?P<quote>[\"']?)(?(counted)(?!\d+\b))(?!\[redacted\])(?P<value>[^\s\"',;&}\])]{3,})(?P=quote)",
    re.I,
)
_SECRET_NAME = re.compile(_SECRET, re.I)


def redact(text: str) -> str:
    """Replace keys, tokens and passwords in a text by `[redacted]`.

    What is found: keys that are known by how they begin (`sk-`, `ghp_`, `AKIA`, ...), JSON
    web tokens, private keys, bearer tokens, cookies, passwords in URLs, and whatever is assigned
    to a name with `key`, `token`, `secret` or `password` in it.
    """
    if any(mark in text for mark in _KNOWN_MARKS):
        text = _KNOWN.sub(MASK, text)
    folded = text.casefold()
    if "bearer" in folded or "bas" in folded:
        text = _BEARER.sub(rf"\1 {MASK}", text)
    if "://" in text and "@" in text:
        text = _URL.sub(rf"\1:{MASK}@", text)
    if "cookie" in folded:
        text = _COOKIE.sub(rf"\g<name>{MASK}", text)
    if any(mark in folded for mark in _NAMED_MARKS):
        text = _NAMED.sub(rf"\g<name>\g<quote>{MASK}\g<quote>", text)
    return text


def redact_values(value: object) -> Any:
    """Replace secrets in a plain JSON value: in its texts, and under names such as `api_key`."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        named = cast(dict[str, object], value)
        return {
            redact(name): MASK if _hides(name, inner) else redact_values(inner)
            for name, inner in named.items()
        }
    if isinstance(value, list):
        return [redact_values(inner) for inner in cast(list[object], value)]
    return value


def _hides(name: str, value: object) -> bool:
    """Whether a name says that its value is a secret; a number of tokens is none."""
    found = _SECRET_NAME.search(name)
    return bool(found and value and isinstance(value, str) and not value.isdigit())


def message_of(error: BaseException) -> str:
    """Return the message of an error, also of one whose `str()` fails."""
    try:
        return without_controls(str(error)).strip()
    except Exception:  # noqa: BLE001 - whatever is wrong with it, there is an error to tell
        return "(its message cannot be read)"


def describe_error(error: BaseException) -> str:
    """Say what an error is in one text without secrets: its kind and its message."""
    said = message_of(error)
    return redact(f"{type(error).__name__}: {said}" if said else type(error).__name__)


def traceback_of(error: BaseException) -> str:
    """Return the end of an error's traceback without secrets."""
    return _storable(redact("".join(traceback.format_exception(error))))[-TRACEBACK_LENGTH:].strip()


def _storable(text: str) -> str:
    """Write lone surrogates and null characters as escapes, which logs and databases take."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def log_failure(
    log: logging.Logger, words: str, *values: object, error: BaseException | None = None
) -> None:
    """Log at WARNING what failed and is gone on from, with the traceback, without secrets.

    Args:
        log: The logger of the module that has caught it.
        words: What failed, with `%s` for each of `values`.
        *values: What stands there; texts are redacted.
        error: What was raised. None: nothing was.
    """
    if log.isEnabledFor(logging.WARNING):
        shown = [_storable(redact(v)) if isinstance(v, str) else v for v in values]
        ended = "" if error is None else f"\n{traceback_of(error)}"
        log.warning(f"{words}%s", *shown, ended)


_SEQUENCES = (
    # with a text and its end, with numbers, of two characters
    r"(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x90\x98\x9c-\x9f]*(?:\x07|\x1b\\|\x9c)"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|\x1b[ -/]*[0-Z\\^-~]"
)
_STEERING = re.compile(rf"{_SEQUENCES}|[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SHOWN = re.compile("[\r\x00\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What is kept in a text that is stored, and not shown in a terminal."""
_ESCAPED = re.compile("[\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def without_controls(text: str) -> str:
    """Take escape sequences and control characters out of a text; tabs and line ends stay."""
    return text if text.isprintable() else _STEERING.sub("", text)


def printable_text(text: str) -> str:
    """Return a text as a terminal may show it; it can neither steer it nor turn its direction."""
    if text.isascii() and text.isprintable():
        return text
    return _SHOWN.sub("", without_controls(text.replace("\r\n", "\n")))


def printable_json(text: str) -> str:
    """Return JSON as a terminal may show it, with the same value."""
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
