"""What differs between a manifest and its folder. Pure."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from asterism.core.values import shorten
from asterism.nodes.examples.manifest.manifest_file import WITHIN, Manifest
from asterism.nodes.examples.manifest.scan import Scan

SHOWN = 20
"""How many paths of each sort are listed."""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What differs between a manifest and its folder."""

    added: Sequence[str]
    changed: Sequence[str]
    gone: Sequence[str]
    """Files and dependencies of the manifest that are there no more."""
    unknown: Sequence[str]
    """Files of the manifest that could not be looked at; their entries stay."""

    @property
    def any(self) -> bool:
        """Whether anything differs."""
        return bool(self.added or self.changed or self.gone)


def compare(old: Manifest | None, scan: Scan) -> Changes:
    """Compare a manifest with what was read of its folder."""
    before = _entries(old) if old else {}
    now = _entries(scan.manifest())
    missing = sorted(name for name in before if name not in now)
    unknown = [name for name in missing if not scan.covers(_file(name))]
    return Changes(
        added=sorted(name for name in now if name not in before),
        changed=sorted(name for name in now if name in before and now[name] != before[name]),
        gone=[name for name in missing if name not in unknown],
        unknown=unknown,
    )


def merge_manifest(old: Manifest | None, scan: Scan, kept: Collection[str]) -> Manifest:
    """Make the manifest of a scan, with the old entries of `kept`."""
    files = {path: entry for path, entry in old.files.items() if path in kept} if old else {}
    dependencies = [d for d in old.dependencies if d.place in kept] if old else []
    return Manifest(files={**files, **scan.files}, dependencies=[*scan.dependencies, *dependencies])


def _entries(manifest: Manifest) -> dict[str, object]:
    """Return everything in a manifest by its name: files by path, dependencies by place."""
    found: dict[str, object] = dict(manifest.files)
    for dependency in manifest.dependencies:
        found[dependency.place] = (found.get(dependency.place), dependency.wants)
    return found


def _file(name: str) -> str:
    """Return the path that an entry stands or falls with."""
    before, within, _ = name.partition(WITHIN)
    return before + within


def describe_changes(changes: Changes) -> str:
    """Tell changes in a few lines."""
    lines = [
        _list_names("new", changes.added),
        _list_names("changed", changes.changed),
        _list_names("gone", changes.gone),
        _list_names("not readable, left as they were", changes.unknown),
    ]
    return "\n".join(filter(None, lines)) or "Nothing has changed."


def list_changes(names: Iterable[str], most: int = SHOWN) -> str:
    """List names, the first ones."""
    found = list(names)
    more = f", and {len(found) - most:,} more" if len(found) > most else ""
    return ", ".join(shorten(name, 200) for name in found[:most]) + more


def _list_names(word: str, names: Sequence[str]) -> str:
    return f"{len(names):,} {word}: {list_changes(names)}" if names else ""
