"""Files that people write for us: read as JSON, YAML or TOML, refused with every fault."""

import json
import reprlib
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from asterism.core.values import as_dict, number_lines
from asterism.errors import ConfigurationError

_YAML = (".yaml", ".yml")
MOST_VALUES = 100_000
"""How many values a file of YAML may have; a few lines of aliases can stand for billions."""


def read_values(path: Path) -> object:
    """Read a file of plain values: JSON or YAML where it is called so, else TOML.

    Raises:
        ConfigurationError: It cannot be read, or is none; a key that stands twice in a table
            counts as that.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The file {str(path)!r} cannot be read: {error}") from error
    kind = path.suffix.lower()
    if kind in _YAML:
        return read_yaml(path, text)
    if kind == ".json":
        return _read("JSON", path, _json, text)
    return _read("TOML", path, tomllib.loads, text, hint=_HINT)


def read_yaml(path: Path, text: str) -> object:
    """Read the YAML of a file, or of a part of it; see `read_values`."""
    return _read("YAML", path, _yaml, text)


_HINT = " A file of YAML is called .yaml or .yml, one of JSON .json."


def raise_faults(source: Path | str, faults: Iterable[str]) -> None:
    """Raise an error that lists faults, where there are any.

    Args:
        source: The file that has them, or words for what else does.
        faults: Each with its place.

    Raises:
        ConfigurationError: There are.
    """
    whose = source if isinstance(source, str) else f"The file {str(source)!r}"
    if listed := number_lines(faults):
        raise ConfigurationError(f"{whose} cannot be used:\n{listed}")


def table_at(value: object, place: str, faults: list[str]) -> dict[str, Any]:
    """Return a table, or note that it is none."""
    table = as_dict(value)
    if not table and value != {}:
        faults.append(f"{place}: it is {reprlib.repr(value)}; it must be a table")
    return table


def strangers(table: Mapping[str, Any], allowed: Iterable[str], place: str) -> list[str]:
    """Return the faults of keys that mean nothing."""
    known = tuple(allowed)
    before = f"{place}." if place else ""
    return [
        f"{before}{key}: there is no such key; allowed: {', '.join(known)}"
        for key in table
        if key not in known
    ]


def _read(
    kind: str, path: Path, parse: Callable[[str], object], text: str, *, hint: str = ""
) -> object:
    try:
        return parse(text)
    except (ValueError, RecursionError) as error:
        said = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise ConfigurationError(f"The file {str(path)!r} is no {kind}: {said}.{hint}") from error


def _json(text: str) -> object:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) < len(pairs):
            names = [name for name, _ in pairs]
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"a table has two keys {', '.join(map(repr, twice))}")
        return table

    def finite(said: str) -> float:
        raise ValueError(f"{said} is no number of JSON")

    return json.loads(text, object_pairs_hook=once, parse_constant=finite)


def _yaml(text: str) -> object:
    yaml: Any = import_module("yaml")  # it has no types
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        _check_size(root, {})
        if twice := list(_twice(root)):
            raise ValueError("; ".join(twice))
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _check_size(node: Any, sizes: dict[int, int]) -> int:
    """Return for how many values a node of YAML stands, with what its aliases stand for.

    Raises:
        ValueError: For too many, or for itself.
    """
    if node is None or isinstance(node.value, str):
        return 1
    if (known := sizes.get(id(node))) is not None:
        if known < 0:
            raise ValueError("a value stands for itself")
        return known
    sizes[id(node)] = -1
    items: list[Any] = node.value
    below: list[Any] = []
    for item in items:
        pair: Any = item
        below += pair if isinstance(item, tuple) else [item]  # a mapping has pairs
    size = sizes[id(node)] = 1 + sum(_check_size(part, sizes) for part in below)
    if size > MOST_VALUES:
        raise ValueError(f"with its aliases it has more than {MOST_VALUES} values")
    return size


def _twice(root: Any) -> Iterator[str]:
    """Yield the keys that stand twice in a table of YAML; the parser would take the last."""
    todo: list[Any] = [root]
    seen: set[int] = set()  # an anchor may stand in many places
    while todo:
        node = todo.pop()
        if node is None or id(node) in seen or isinstance(node.value, str):
            continue
        seen.add(id(node))
        pairs: list[Any] = [item for item in node.value if isinstance(item, tuple)]
        todo += [pair[1] for pair in pairs] if pairs else node.value
        names: set[str] = set()
        for key, _ in pairs:
            name = str(key.value)
            if name in names and name != "<<":
                yield f"line {key.start_mark.line + 1}: a table has two keys {name!r}"
            names.add(name)
