"""The words that models are sent: one Markdown file per prompt."""

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
