"""Control characters of others' texts: what steers a terminal is taken out."""

import re

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


def shown_text(text: str) -> str:
    """Return a text as a terminal may show it; it can neither steer it nor turn its direction."""
    if text.isascii() and text.isprintable():
        return text
    return _SHOWN.sub("", without_controls(text.replace("\r\n", "\n")))


def shown_json(text: str) -> str:
    """Return JSON as a terminal may show it, with the same value."""
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
