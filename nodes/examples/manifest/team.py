"""What the team of a manifest does: look, ask and write, read again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.graph.message import add_messages
from langgraph.types import interrupt
from pydantic import StringConstraints
from typing_extensions import TypedDict

from asterism.core.supervisor_decision import HumanFeedbackRequest
from asterism.errors import ConfigurationError
from asterism.nodes.examples.manifest.changes import (
    Changes,
    compare,
    describe_changes,
    list_changes,
    merge_manifest,
)
from asterism.nodes.examples.manifest.manifest_file import (
    Manifest,
    read_manifest,
    temporary_of,
    write_manifest,
)
from asterism.nodes.examples.manifest.scan import Scan, scan_project

MANIFEST = "project-manifest.json"
"""What a manifest is called in its project, where it has no other name."""
MAX_TOLD = 1_000
"""How many entries a person is shown in full, at most."""

YesNo = Annotated[
    str, StringConstraints(strip_whitespace=True, pattern="^([Yy]([Ee][Ss])?|[Nn][Oo]?)$")
]
"""Whether entries may be removed."""
_YES_NO: Any = YesNo  # any type that pydantic reads is a schema for an interrupt


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project folder and its manifest."""

    root: Path
    """The folder, with its links resolved."""
    manifest: Path
    """The manifest; it need not be in the folder, and is never listed in itself."""

    @classmethod
    def at(cls, root: Path, manifest: Path | None = None) -> "Project":
        """Open a project.

        Raises:
            ConfigurationError: The folder does not exist, or that of the manifest.
        """
        real = root.expanduser().resolve()
        place = real / MANIFEST if manifest is None else manifest.expanduser().absolute()
        place = place.parent.resolve() / place.name
        for folder in (real, place.parent):
            if not folder.is_dir():
                raise ConfigurationError(f"{str(folder)!r} is no folder; give one that exists.")
        return cls(root=real, manifest=place)

    def look(self) -> tuple[Manifest | None, Scan, Changes]:
        """Read the manifest and the folder, and compare them.

        Raises:
            ValueError: One of them cannot be read.
        """
        old = read_manifest(self.manifest)
        scan = scan_project(self.root, self._is_own)
        return old, scan, compare(old, scan)

    def _is_own(self, path: str) -> bool:
        place = self.root / path
        unfinished = place.name.startswith(temporary_of(self.manifest))
        return place.parent == self.manifest.parent and (place == self.manifest or unfinished)


class Keeping(TypedDict):
    """What the keeper of a manifest remembers."""

    messages: Annotated[list[AnyMessage], add_messages]
    gone: list[str]
    """The entries that a person is asked about."""
    new: bool
    """Whether a person is asked about a file that is not there yet."""
    answer: str | None
    """What the person said."""


class ManifestWork:
    """The work of each who takes part."""

    def __init__(self, project: Project, *, asks_first: bool = False) -> None:
        self._project = project
        self._asks_first = asks_first

    def scan(self, messages: Sequence[Any]) -> str:
        """Looks at the files and the declared dependencies of the project, and tells changes."""
        _, scan, changes = self._project.look()
        files, needs = len(scan.files), len(scan.dependencies)
        head = f"{files:,} files and {needs:,} dependencies in {self._project.root}."
        problems = [f"Problem: {problem}" for problem in scan.problems[:MAX_TOLD]]
        return "\n".join([head, describe_changes(changes), *problems])

    def begin(self, state: Keeping) -> dict[str, Any]:
        """Forget what was asked in an earlier visit."""
        return {"gone": [], "new": False, "answer": None}

    def keep(self, state: Keeping) -> dict[str, Any]:
        """Write the manifest, unless somebody has to be asked before."""
        old, scan, changes = self._project.look()
        if state["answer"] is None and (changes.gone or (self._asks_first and old is None)):
            return {"gone": list(changes.gone), "new": old is None}
        said = (state["answer"] or "").lower().startswith("y")
        if state["new"] and not said:
            return {"messages": [AIMessage("Nothing was written.")], "new": False}
        removed = {name for name in changes.gone if said and name in state["gone"]}
        kept = {*changes.gone, *changes.unknown} - removed
        wrote = write_manifest(self._project.manifest, merge_manifest(old, scan, kept))
        words = "Wrote" if wrote else "Nothing to write: the same stands in"
        lines = [f"{words} {self._project.manifest}."]
        if removed:
            lines.append(f"Removed: {list_changes(sorted(removed))}")
        if stayed := sorted(kept.intersection(changes.gone)):
            lines.append(f"Kept, though they are gone: {list_changes(stayed)}")
        return {"messages": [AIMessage("\n".join(lines))], "gone": [], "new": False}

    def ask(self, state: Keeping) -> dict[str, Any]:
        """Ask whether entries may be removed, or a new manifest be written."""
        gone = state["gone"]
        prompt = (
            f"{len(gone):,} in the manifest, but gone: {list_changes(gone)}. Remove from "
            "the manifest? Answer yes, or no to keep what it says of them."
        )
        if state["new"]:
            prompt = f"May {self._project.manifest} be written? Answer yes or no."
        request = HumanFeedbackRequest(
            prompt=prompt,
            context={"gone": gone[:MAX_TOLD], "manifest": str(self._project.manifest)},
            request_type="creation" if state["new"] else "removal",
            requesting_agent="keeper",
        )
        return {"answer": interrupt(request.model_dump(), response_schema=_YES_NO)}

    def check(self, messages: Sequence[Any]) -> str:
        """Reads the manifest that was written, and the folder again, and compares them."""
        old, _, changes = self._project.look()
        if old is None and self._asks_first:
            return f"There is no manifest {str(self._project.manifest)!r}."
        if old is None:
            raise ValueError(f"there is no manifest {str(self._project.manifest)!r}")
        count = f"{len(old.files):,} files and {len(old.dependencies):,} dependencies"
        if changes.added or changes.changed:
            return (
                "The manifest lags behind: the folder has changed "
                f"since.\n{describe_changes(changes)}"
            )
        return f"The manifest is valid: {count}."


def after_keeping(state: Keeping) -> Literal["ask", "__end__"]:
    """Ask where there is something to ask about."""
    return "ask" if state["gone"] or state["new"] else "__end__"
