"""Agent skills: folders with a SKILL.md, which an agent reads when its work calls for them.

Open it for what of a skill stands in a prompt, and what is read later.
Tests: tests/nodes/test_skills.py.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import SystemMessage
from langchain_core.tools import tool as create_tool

from asterism.core.config_files import read_yaml
from asterism.core.values import as_dict
from asterism.errors import ConfigurationError
from asterism.prompts import render

if TYPE_CHECKING:
    from langchain.agents.middleware import AgentMiddleware

SKILL = "SKILL.md"
"""The file with the name, the description and the instructions of a skill."""
FILE_LIMIT = 200_000
"""How many characters of a file an agent reads at most."""


@dataclass(frozen=True)
class Skill:
    """A skill as its folder describes it."""

    name: str
    description: str
    folder: Path


def skills_middleware(*folders: str | Path) -> "AgentMiddleware[Any, Any, Any]":
    """Give an agent skills: their names and descriptions in its prompt, and a tool that reads them.

    Args:
        folders: Folders of skills, or skills: folders with a `SKILL.md` whose front matter has a
            `name` and a `description`.

    Raises:
        ConfigurationError: There is no skill, one cannot be read, or two have one name.

    Example:
        ```python
        Participant(prompt="You write reports.", middleware=[skills_middleware("skills")])
        ```
    """
    from langchain.agents.middleware import AgentMiddleware

    skills = {skill.name: skill for skill in _find_skills(folders)}
    listed = "\n".join(f"- {skill.name}: {skill.description}" for skill in skills.values())
    text = render("skills", skills=listed).strip()

    def read_skill(name: str, file: str = SKILL) -> str:
        """Read the instructions of a skill, or another file of it that they name."""
        if name not in skills:
            return f"There is no skill {name!r}; there are: {', '.join(skills)}."
        return _read_file(skills[name].folder, file)

    class SkillsMiddleware(AgentMiddleware[Any, Any, Any]):
        tools = (create_tool(read_skill),)

        def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
            return handler(with_skills(request))

        async def awrap_model_call(
            self, request: Any, handler: Callable[[Any], Awaitable[Any]]
        ) -> Any:
            return await handler(with_skills(request))

    def with_skills(request: Any) -> Any:
        rules = request.system_message
        said = text if rules is None else f"{rules.text}\n\n{text}"
        return request.override(system_message=SystemMessage(said))

    return cast("AgentMiddleware[Any, Any, Any]", SkillsMiddleware())


def _find_skills(folders: Sequence[str | Path]) -> list[Skill]:
    found: list[Skill] = []
    for given in folders:
        folder = Path(given).resolve()
        files = (
            [folder / SKILL] if (folder / SKILL).is_file() else sorted(folder.glob(f"*/{SKILL}"))
        )
        if not files:
            raise ConfigurationError(f"The folder {given} has no skill: no {SKILL} in it or below.")
        found += map(_read_skill, files)
    names = [skill.name for skill in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigurationError(f"There are two skills named {', '.join(sorted(twice))}.")
    if not found:
        raise ConfigurationError("There is no skill; give a folder of skills.")
    return found


def _read_skill(file: Path) -> Skill:
    """Read the front matter of a skill."""
    parts = file.read_text(encoding="utf-8").split("---", 2)
    facts = as_dict(read_yaml(file, parts[1])) if len(parts) == 3 and not parts[0] else {}
    name, description = facts.get("name"), facts.get("description")
    if not (isinstance(name, str) and isinstance(description, str) and name and description):
        raise ConfigurationError(
            f"{file} needs a front matter with a name and a description: '---', 'name: ...', "
            "'description: ...', '---'."
        )
    return Skill(name, " ".join(description.split()), file.parent)


def _read_file(folder: Path, name: str) -> str:
    """Read a file of a skill; what lies outside of its folder is not read."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder) or not path.is_file():
        files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        return f"There is no file {name!r} in this skill; it has: {', '.join(files[:50])}."
    text = path.read_text(encoding="utf-8", errors="replace")
    return text if len(text) <= FILE_LIMIT else f"{text[:FILE_LIMIT]}\n(cut off here)"
