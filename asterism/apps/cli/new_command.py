"""`asterism new`: a small project that runs and passes its tests at once."""

import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from asterism.apps.cli.options import RUN, exit_with, print_text
from asterism.errors import ConfigurationError

commands = typer.Typer()
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


@commands.command("new", rich_help_panel=RUN)
def create_project(
    path: Annotated[Path, typer.Argument(help="The folder to create; the project gets its name.")],
) -> None:
    """Create a small project: a team with tools and an approval, its tests, and settings.

    Example: asterism new my_team
    """

    async def work() -> int:
        name = path.resolve().name
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"The project cannot be called {name!r}; use a letter, then letters, digits, '_' "
                "and '-'."
            )
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise ConfigurationError(f"{str(path)!r} is there already; give a new folder.")
        _copy(files("asterism.apps.cli") / "template", path, name)
        print_text(
            f"Made {path}. Next:\n  cd {path}\n"
            '  asterism run team:create_team "Price tickets to Rome for 2 travellers"\n'
            "  asterism ui\n  pip install pytest && python -m pytest"
        )
        return 0

    exit_with(work())


def _copy(template: Traversable, folder: Path, name: str) -> None:
    """Fill in each file of a template whose name ends with `.in`."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in template.iterdir():
        if each.is_dir():
            _copy(each, folder / each.name, name)
        elif each.name.endswith(".in"):
            text = Template(each.read_text("utf-8")).substitute(name=name)
            (folder / each.name.removesuffix(".in")).write_text(text, "utf-8")
