"""Secrets, taken out of what is printed or stored beside the conversation."""

import logging
import re
import traceback
from typing import Any, cast

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
    r"(?<![\w-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
)
_KNOWN = re.compile("|".join(_PATTERNS), re.S)
_KNOWN_MARKS = (
    *("sk-", "pk-", "rk-", "k_live_", "k_test_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
    *("github_pat_", "glpat-", "xox", "AKIA", "ASIA", "AIza", "lsv2_", "hf_", "eyJ", "-----BEGIN"),
)
"""Without one of these there is no key to be found: a look that costs a hundredth of a search."""
_NAMED_MARKS = ("key", "secret", "passw", "passphrase", "creden", "token")
_BEARER = re.compile(r"\b(bearer|basic)\s{1,9}[A-Za-z0-9._~+/=-]{6,}", re.I)
_URL = re.compile(r"\b([a-z][a-z0-9+.-]{0,30}://[^\s/:@]{0,200}):[^\s@/]+@", re.I)
_SECRET = r"api[_-]?key|secret|passw(?:or)?d|passphrase|credential|(?P<counted>token)"
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
    web tokens, private keys, bearer tokens, passwords in URLs, and whatever is assigned to a
    name with `key`, `token`, `secret` or `password` in it.
    """
    if any(mark in text for mark in _KNOWN_MARKS):
        text = _KNOWN.sub(MASK, text)
    folded = text.casefold()
    if "bearer" in folded or "bas" in folded:
        text = _BEARER.sub(rf"\1 {MASK}", text)
    if "://" in text and "@" in text:
        text = _URL.sub(rf"\1:{MASK}@", text)
    if any(mark in folded for mark in _NAMED_MARKS):
        text = _NAMED.sub(rf"\g<name>\g<quote>{MASK}\g<quote>", text)
    return text


def redacted(value: object) -> Any:
    """Replace secrets in a plain JSON value: in its texts, and under names such as `api_key`."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        named = cast(dict[str, object], value)
        return {
            redact(name): MASK if _hides(name, inner) else redacted(inner)
            for name, inner in named.items()
        }
    if isinstance(value, list):
        return [redacted(inner) for inner in cast(list[object], value)]
    return value


def _hides(name: str, value: object) -> bool:
    """Whether a name says that its value is a secret; a number of tokens is none."""
    found = _SECRET_NAME.search(name)
    return bool(found and value and isinstance(value, str) and not value.isdigit())


def describe_error(error: BaseException) -> str:
    """Say what an error is in one text without secrets: its kind and its message."""
    try:
        said = str(error).strip()
    except Exception:  # noqa: BLE001 - an error whose own message fails is described all the same
        said = "(its message cannot be written)"
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
