"""Secrets, taken out of what is printed or stored beside the conversation."""

import re

MASK = "[redacted]"

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
    r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
)
_KNOWN = re.compile("|".join(_PATTERNS), re.S)
_BEARER = re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}", re.I)
_URL = re.compile(r"\b([a-z][a-z0-9+.-]*://[^\s/:@]*):[^\s@/]+@", re.I)
_NAMED = re.compile(
    r"(?P<name>[\"']?[\w-]*(?:api[_-]?key|secret|passw(?:or)?d|passphrase|credential|"
    r"(?P<counted>token))[\w-]*[\"']?\s*(?:=|:)\s*)"
    r"(?P<quote>[\"']?)(?(counted)(?!\d+\b))(?!\[redacted\])(?P<value>[^\s\"',;&}\])]{3,})(?P=quote)",
    re.I,
)


def redact(text: str) -> str:
    """Replace keys, tokens and passwords in a text by `[redacted]`.

    What is found: keys that are known by how they begin (`sk-`, `ghp_`, `AKIA`, ...), JSON
    web tokens, private keys, bearer tokens, passwords in URLs, and whatever is assigned to a
    name with `key`, `token`, `secret` or `password` in it.
    """
    text = _KNOWN.sub(MASK, text)
    text = _BEARER.sub(rf"\1 {MASK}", text)
    text = _URL.sub(rf"\1:{MASK}@", text)
    return _NAMED.sub(rf"\g<name>\g<quote>{MASK}\g<quote>", text)


def describe_error(error: BaseException) -> str:
    """Say what an error is in one text without secrets: its kind and its message."""
    said = str(error).strip()
    return redact(f"{type(error).__name__}: {said}" if said else type(error).__name__)
