"""The words that models are sent: one Markdown file per prompt."""

import hashlib
import re
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

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


def __getattr__(name: str) -> Any:
    """Make the prompt of the supervisor a template of LangChain where one asks for it."""
    if name != "SUPERVISOR_SYSTEM_PROMPT_TEMPLATE":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from langchain_core.prompts import PromptTemplate  # a run needs none

    text = load_prompt("supervisor").replace("{", "{{").replace("}", "}}")
    text = re.sub(r"\$(\w+)", r"{\1}", text)
    given = dict.fromkeys(variables("supervisor") - {"participants"}, "")
    return PromptTemplate.from_template(
        text.replace("{participants}", "{participants_description_block}"),
        partial_variables={**given, "example": "name"},
    )
