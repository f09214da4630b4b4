"""A file of children: what is to be supervised, as TOML, YAML or JSON.

```toml
[supervisor]                # the fields of SupervisorConfig; may be left out
restart_strategy = "one_for_one"

[[children]]
name = "party"
graph = "event_planning"    # a shipped graph, or module:attribute
task = "Plan a party for 50 people"
thread = "party-1"          # may be left out; begun before, the child goes on

[children.quotas]           # the fields of AgentQuota; may be left out
max_cost_usd = 0.5

[children.metadata]         # whatever else is to be known of it
team = "events"
```
"""

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

from asterism.core.config_files import raise_faults, read_values, strangers, table_at
from asterism.core.continuation import read_request
from asterism.core.values import as_dict, as_list
from asterism.errors import AsterismError
from asterism.supervision.config import SupervisorConfig, validate_child_name, validate_child_thread
from asterism.supervision.quotas import AgentQuota

_KEYS = ("name", "graph", "task", "quotas", "metadata", "thread")
_NEEDED = ("name", "graph", "task")


@dataclass(frozen=True, kw_only=True)
class ChildEntry:
    """One child of a file."""

    place: str
    """Where it stands, as in `children[0]`."""
    name: str
    graph: str
    """The name of a shipped graph, or `module:attribute`."""
    task: str | Mapping[str, Any]
    quotas: AgentQuota
    metadata: Mapping[str, Any]
    thread: str | None = None


@dataclass(frozen=True, kw_only=True)
class ChildrenFile:
    """What a file of children says."""

    config: SupervisorConfig
    children: tuple[ChildEntry, ...]


def read_children(path: Path) -> ChildrenFile:
    """Read a file of children.

    Raises:
        ConfigurationError: It cannot be read, or used; the message lists every fault with its
            place.
    """
    content = read_values(path)
    faults: list[str] = []
    bare: dict[str, Any] = {"children": content}
    table = bare if _is_list(content) else table_at(content, str(path), faults)
    faults += strangers(table, ("supervisor", "children"), "")
    config = _config(table.get("supervisor"), faults)
    found: list[Any] = as_list(table["children"]) if _is_list(table.get("children")) else []
    if not faults and not found:
        faults.append("children: there are none; list at least one, with name, graph and task")
    entries = [_entry(f"children[{i}]", item, config, faults) for i, item in enumerate(found)]
    if "max_children" not in as_dict(table.get("supervisor")):
        config = replace(config, max_children=max(config.max_children, len(entries)))
    elif len(entries) > config.max_children:
        faults.append(
            f"supervisor.max_children: it is {config.max_children}, and there are {len(entries)} "
            "children"
        )
    raise_faults(path, faults)
    return ChildrenFile(config=config, children=tuple(e for e in entries if e is not None))


def _entry(
    place: str, item: object, config: SupervisorConfig, faults: list[str]
) -> ChildEntry | None:
    """Read a child; note its faults."""
    before = len(faults)
    table = table_at(item, place, faults)
    faults += strangers(table, _KEYS, place)
    if len(faults) == before:
        faults += [f"{place}.{key}: it is missing" for key in _NEEDED if key not in table]
    graph = table.get("graph")
    if "graph" in table and not (isinstance(graph, str) and graph.strip()):
        faults.append(
            f"{place}.graph: it is {reprlib.repr(graph)}; allowed: a name, or module:attribute"
        )
    for key, check in (
        ("name", validate_child_name),
        ("task", read_request),
        ("thread", validate_child_thread),
    ):
        if key in table:
            _validate(f"{place}.{key}", check, table[key], faults)
    metadata = table_at(table.get("metadata", {}), f"{place}.metadata", faults)
    quotas = _build(AgentQuota, table.get("quotas", {}), f"{place}.quotas", faults)
    if len(faults) > before:
        return None
    return ChildEntry(
        place=place,
        name=table["name"],
        graph=cast(str, graph),
        task=table["task"],
        quotas=config.quotas if "quotas" not in table or quotas is None else quotas,
        metadata=metadata,
        thread=table.get("thread"),
    )


def _config(given: object, faults: list[str]) -> SupervisorConfig:
    table = dict(table_at({} if given is None else given, "supervisor", faults))
    if "quotas" in table:
        quotas = _build(AgentQuota, table["quotas"], "supervisor.quotas", faults)
        table["quotas"] = quotas or AgentQuota()
    return _build(SupervisorConfig, table, "supervisor", faults) or SupervisorConfig()


def _build(kind: Any, given: object, place: str, faults: list[str]) -> Any:
    """Make a quota or a config of a table; note its faults."""
    table = table_at(given, place, faults)
    known = tuple(part.name for part in fields(kind))
    faults += strangers(table, known, place)

    def make(values: dict[str, Any]) -> Any:
        return kind(**values)

    return _validate(place, make, {k: v for k, v in table.items() if k in known}, faults)


def _validate(place: str, check: Any, value: object, faults: list[str]) -> Any:
    try:
        return check(value)
    except AsterismError as error:
        faults.append(f"{place}: {error}")
        return None


def _is_list(value: object) -> bool:
    return isinstance(value, list)
