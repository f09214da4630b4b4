"""Programs as files: agents, a supervisor and its traces.

```toml
[trip]                      # the name of the program
version = "2"               # may be left out

[trip.agents.venue]
system_message = "You find venues."
[trip.agents.venue.llm_config]
model = "openai:gpt-5-mini" # as init_chat_model reads it, or offline
temperature = 0.2           # may be left out

[trip.supervisor]           # may be left out, and each of its keys
max_retries = 3
retry_delay = 1.0
timeout = 120

[trip.tracing]              # may be left out
level = "basic"
```
"""

import hashlib
import json
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, ValidationError, field_validator

from asterism.core.agent_spec import AGENT_ID, ID_RULE, RESERVED
from asterism.core.config_files import raise_faults, read_values, table_at
from asterism.core.mappings import MappingModel
from asterism.core.values import as_dict, normal_name
from asterism.errors import StorageError
from asterism.observability import SupervisorTrace
from asterism.observability.trace import TraceLevel, read_level
from asterism.storage.open import MEMORY, sqlite_path

SECTIONS = ("agents", "supervisor", "tracing", "version")


class _Section(MappingModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ModelSettings(_Section):
    """A chat model and how it is made."""

    model: str = Field(min_length=1)
    """`"provider:model"`, as `init_chat_model` reads it, or `"offline"`."""
    temperature: float | None = Field(default=None, ge=0, le=2, allow_inf_nan=False)
    """None: as the provider has it."""


class AgentSettings(_Section):
    """One agent of a program."""

    name: str | None = None
    """What it is called where people read. None: the key that it stands under."""
    system_message: str = ""
    """Who it is and how it works; its first line tells the supervisor what it can do."""
    llm_config: ModelSettings | None = None
    """Its model. None: the supervisor's."""


class SupervisorSettings(_Section):
    """How the tasks of a program are worked on."""

    max_retries: int = Field(default=3, ge=0, le=1_000)
    """How often a task that failed is tried again."""
    retry_delay: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Seconds before each retry."""
    timeout: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Seconds that one attempt may take. None: no limit."""
    llm_config: ModelSettings | None = None
    """The model that decides and answers. None: that of the first agent that has one."""


class TracingSettings(_Section):
    """What is kept of each task."""

    level: TraceLevel = "basic"
    """`off`, `errors`, `basic` or `detailed`, or a level of `logging`; see `SupervisorTrace`."""
    url: str = MEMORY
    """Where traces are kept: `sqlite:///path`, or `memory:`."""
    max_traces: int | None = Field(default=1_000, gt=0)
    max_age: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Seconds."""
    max_bytes: int | None = Field(default=50_000_000, gt=0)

    @field_validator("level", mode="before")
    @classmethod
    def _is_a_level(cls, level: object) -> object:
        return read_level(level)

    @field_validator("url")
    @classmethod
    def _is_a_place(cls, url: str) -> str:
        try:
            sqlite_path(url)
        except StorageError as error:
            raise ValueError(str(error)) from error
        return url

    def open(self) -> SupervisorTrace:
        """Open the traces."""
        return SupervisorTrace(**dict(self))


class ProgramConfig(_Section):
    """A program: who takes part, how tasks are worked on, what is recorded."""

    agents: dict[str, AgentSettings] = Field(min_length=1)
    """By id: a letter, then letters, digits, `_` and `-`."""
    supervisor: SupervisorSettings = SupervisorSettings()
    tracing: TracingSettings = TracingSettings()
    version: str | None = None
    """Whatever the team calls this version of itself."""
    name: str = "program"
    """The name of the program; in a file, the key that it stands under."""

    def __getitem__(self, key: str) -> Any:
        """Return a section, or by its name the program itself, as a file of programs would."""
        return self if key == self.name else super().__getitem__(key)

    @property
    def content_hash(self) -> str:
        """Name the content: the same settings have the same hash, however they are written."""
        plain = self.model_dump(mode="json", exclude={"name", "version"})
        plain["agents"] = list(plain["agents"].items())  # their order counts
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()

    def model_settings(self) -> ModelSettings | None:
        """Return the model of the supervisor: its own, else that of the first agent with one."""
        own = [self.supervisor.llm_config]
        agents = [agent.llm_config for agent in self.agents.values()]
        return next((found for found in own + agents if found is not None), None)


def load_config(path: str | Path, program: str | None = None) -> ProgramConfig:
    """Load a program from a file.

    Args:
        path: A `.json`, `.yaml` or `.yml` file; anything else is read as TOML.
        program: Which program of the file. None: the only one.

    Raises:
        ConfigurationError: The file cannot be read, or used; the message lists every fault with
            its place.
    """
    return read_config(read_values(Path(path)), program, source=Path(path))


def read_config(
    values: object, program: str | None = None, *, source: str | Path = "The configuration"
) -> ProgramConfig:
    """Read a program from plain values; see `load_config`.

    Args:
        values: `{name: {agents, supervisor, tracing, version}}`.
        program: Which program. None: the only one.
        source: The file that they come from, or words for where else, for messages.

    Raises:
        ConfigurationError: The message lists every fault with its place.
    """
    faults: list[str] = []
    programs = table_at(values, str(source), faults)
    found = [(name, table_at(given, name, faults)) for name, given in programs.items()]
    if not faults:
        faults += _choice_faults(programs, program)
    read: dict[str, ProgramConfig] = {}
    for name, given in found if not faults else ():
        try:
            read[name] = ProgramConfig.model_validate({**given, "name": name})
        except ValidationError as error:
            faults += validation_faults(error, name, _keys)
        faults += _name_faults(name, given.get("agents"))
    raise_faults(source, faults)
    return read[program or next(iter(read))]


def validation_faults(
    error: ValidationError,
    place: str = "",
    keys: Callable[[Sequence[int | str]], Iterable[str]] = lambda place: (),
) -> Iterator[str]:
    """Yield what pydantic found, each fault with its place."""
    for fault in error.errors():
        loc = [part for part in fault["loc"] if part != "[key]"]
        where = ".".join(filter(None, [place, *map(str, loc)]))
        if fault["type"] == "missing":
            yield f"{where}: it is missing"
        elif fault["type"] == "extra_forbidden":
            allowed = ", ".join(keys(loc[:-1]))
            yield f"{where}: there is no such key" + (f"; allowed: {allowed}" if allowed else "")
        elif fault["type"] in ("model_type", "dict_type"):
            yield f"{where}: it is {reprlib.repr(fault['input'])}; it must be a table"
        else:
            said = f"it is {reprlib.repr(fault['input'])}; " if _is_plain(fault["input"]) else ""
            words = fault["msg"].removeprefix("Value error, ")
            yield f"{where}: {said}{words[:1].lower()}{words[1:]}"


def _choice_faults(programs: Mapping[str, Any], program: str | None) -> Iterator[str]:
    misplaced = [name for name in programs if name in SECTIONS]
    if misplaced:
        yield (
            f"{misplaced[0]}: it stands at the top; put it under the name of the program, as in "
            "{program: {agents: ...}}"
        )
    elif not programs:
        yield "there is no program; begin with its name, as in {program: {agents: ...}}"
    elif program is not None and program not in programs:
        yield f"there is no program {program!r}; there are: {', '.join(programs)}"
    elif program is None and len(programs) > 1:
        names = ", ".join(programs)
        yield (
            f"there are {len(programs)} programs; say which: {names}, as in "
            f"load_config(path, {next(iter(programs))!r}); see docs/programs.md"
        )


def _keys(loc: Sequence[int | str]) -> Sequence[str]:
    """Return the keys that a section may have."""
    if not loc:
        return SECTIONS
    if loc[0] == "agents" and len(loc) == 2:
        return tuple(AgentSettings.model_fields)
    kinds: Mapping[Any, type[_Section]] = {
        "supervisor": SupervisorSettings,
        "tracing": TracingSettings,
        "llm_config": ModelSettings,
    }
    return tuple(kinds[loc[-1]].model_fields)


def _name_faults(program: str, agents: object) -> Iterator[str]:
    """Yield what is wrong with the ids of agents."""
    known: dict[str, str] = {}
    for name in filter(_is_text, as_dict(agents)):
        place, plain = f"{program}.agents.{name}", normal_name(name)
        if plain in RESERVED:
            yield f"{place}: the name is reserved; reserved are {', '.join(sorted(RESERVED))}"
        elif not AGENT_ID.fullmatch(name):
            yield f"{place}: the name is not allowed; {ID_RULE}"
        elif plain in known:
            yield f"{place}: the name is that of {known[plain]!r}, but for case and white space"
        known.setdefault(plain, name)


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float | bool | None)


def _is_text(value: object) -> bool:
    return isinstance(value, str)
