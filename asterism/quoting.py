"""Fences around texts that are shown to a model as information, not as an order."""

import re


def fence(tag: str, text: str, **attributes: str) -> str:
    """Put a text between tags that it can neither close nor imitate."""
    notes = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f"<{tag}{notes}>\n{escape(text, tag)}\n</{tag}>"


def escape(text: str, tag: str) -> str:
    """Make a text show a tag where it has one."""
    return re.sub(rf"<(\s*/?\s*{tag})", r"&lt;\1", text, flags=re.IGNORECASE)
