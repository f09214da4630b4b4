"""The words that models are sent: one Markdown file per prompt."""

import hashlib
from functools import cache
from pathlib import Path
from string import Template

_FOLDER = Path(__file__).parent


@cache
def load_prompt(name: str) -> str:
    """Return the text of the prompt `name`, without the white space around it.

    Raises:
        FileNotFoundError: There is no such prompt; the message lists those there are.
    """
    path = _FOLDER / f"{name}.md"
    if not path.is_file():
        raise FileNotFoundError(f"no prompt {name!r}; there are: {', '.join(list_prompts())}")
    return path.read_text(encoding="utf-8").strip()


def render(name: str, /, **values: str) -> str:
    """Fill the `$variables` of a prompt.

    Raises:
        KeyError: A variable of the prompt has no value.
    """
    return Template(load_prompt(name)).substitute(values)


def variables(name: str) -> set[str]:
    """Return the names of the variables of a prompt."""
    return set(Template(load_prompt(name)).get_identifiers())


def list_prompts() -> list[str]:
    """Return the names of all prompts."""
    return sorted(path.stem for path in _FOLDER.glob("*.md"))


@cache
def prompts_hash() -> str:
    """Return a hash of all prompts here: another one where any of them was changed."""
    return text_hash(*(part for name in list_prompts() for part in (name, load_prompt(name))))


def text_hash(*texts: str) -> str:
    """Return a short hash of texts."""
    found = hashlib.blake2b(digest_size=6)
    for text in texts:
        data = text.encode("utf-8", "replace")
        found.update(len(data).to_bytes(8, "big") + data)
    return found.hexdigest()
