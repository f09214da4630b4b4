"""A program from a file: read as it is meant, or refused with every fault and its place."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asterism import load_config
from asterism.errors import ConfigurationError
from asterism.programs import config as config_module
from asterism.programs.config import (
    AgentSettings,
    ModelSettings,
    ProgramConfig,
    SupervisorSettings,
    TracingSettings,
    read_config,
)

PLAIN: dict[str, Any] = {
    "trip": {
        "version": "2",
        "agents": {
            "venue": {
                "name": "Venue",
                "system_message": "You find venues.",
                "llm_config": {"model": "offline", "temperature": 0.2},
            },
            "menu": {},
        },
        "supervisor": {"max_retries": 1, "retry_delay": 0.5, "timeout": 60},
        "tracing": {"level": "errors"},
    }
}
YAML = """
trip:
  version: "2"
  agents:
    venue:
      name: Venue
      system_message: You find venues.
      llm_config: {model: offline, temperature: 0.2}
    menu: {}
  supervisor: {max_retries: 1, retry_delay: 0.5, timeout: 60}
  tracing: {level: errors}
"""
TOML = """
[trip]
version = "2"
[trip.agents.venue]
name = "Venue"
system_message = "You find venues."
llm_config = {model = "offline", temperature = 0.2}
[trip.agents.menu]
[trip.supervisor]
max_retries = 1
retry_delay = 0.5
timeout = 60
[trip.tracing]
level = "errors"
"""
READ = ProgramConfig(
    name="trip",
    version="2",
    agents={
        "venue": AgentSettings(
            name="Venue",
            system_message="You find venues.",
            llm_config=ModelSettings(model="offline", temperature=0.2),
        ),
        "menu": AgentSettings(),
    },
    supervisor=SupervisorSettings(max_retries=1, retry_delay=0.5, timeout=60),
    tracing=TracingSettings(level="errors"),
)


def written(folder: Path, text: str, name: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


def faults_of(values: object) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read_config(values)
    lines = str(caught.value).splitlines()
    assert lines[0] == "The configuration cannot be used:"
    return [line.strip().split(". ", 1)[1] for line in lines[1:]]


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.json", json.dumps(PLAIN)), ("a.yaml", YAML), ("a.YML", YAML), ("a.toml", TOML)],
    ids=["json", "yaml", "yml in capitals", "toml"],
)
def test_every_format_says_the_same(name: str, text: str, tmp_path: Path) -> None:
    assert load_config(written(tmp_path, text, name)) == READ
    assert load_config(str(tmp_path / name)).content_hash == READ.content_hash


def test_what_is_left_out_has_its_default() -> None:
    found = read_config({"a": {"agents": {"x": {}}}})
    assert (found.name, found.version) == ("a", None)
    assert found.supervisor == SupervisorSettings(max_retries=3, retry_delay=1.0, timeout=None)
    assert found.tracing.level == "basic"
    assert found.model_settings() is None
    assert READ.model_settings() == ModelSettings(model="offline", temperature=0.2)


def test_one_of_many_programs_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "a: {agents: {x: {}}}\nb: {agents: {y: {}}}", "p.yaml")
    assert list(load_config(path, "b").agents) == ["y"]
    with pytest.raises(ConfigurationError, match=r"there are 2 programs; say which: a, b"):
        load_config(path)
    with pytest.raises(ConfigurationError, match="there is no program 'c'; there are: a, b"):
        load_config(path, "c")


def changed(**sections: Any) -> dict[str, Any]:
    return {"p": {"agents": {"x": {}}, **sections}}


FAULTS: dict[str, tuple[object, list[str]]] = {
    "no table": (7, ["The configuration: it is 7; it must be a table"]),
    "nothing": ({}, ["there is no program; begin with its name, as in {program: {agents: ...}}"]),
    "a program that is no table": ({"p": [1]}, ["p: it is [1]; it must be a table"]),
    "sections at the top": (
        {"agents": {}},
        [
            "agents: it stands at the top; put it under the name of the program, as in "
            "{program: {agents: ...}}"
        ],
    ),
    "no agents": ({"p": {}}, ["p.agents: it is missing"]),
    "an empty team": (
        {"p": {"agents": {}}},
        ["p.agents: dictionary should have at least 1 item after validation, not 0"],
    ),
    "a team that is a list": (
        {"p": {"agents": ["x"]}},
        ["p.agents: it is ['x']; it must be a table"],
    ),
    "an agent that is no table": (
        {"p": {"agents": {"x": "a prompt"}}},
        ["p.agents.x: it is 'a prompt'; it must be a table"],
    ),
    "a strange section": (
        changed(colour=1),
        ["p.colour: there is no such key; allowed: agents, supervisor, tracing, version"],
    ),
    "a strange key of an agent that is called tracing": (
        {"p": {"agents": {"tracing": {"level": "off"}}}},
        ["p.agents.tracing.level: there is no such key; allowed: name, system_message, llm_config"],
    ),
    "a strange key of a model": (
        {"p": {"agents": {"x": {"llm_config": {"api_key": "k"}}}}},
        [
            "p.agents.x.llm_config.model: it is missing",
            "p.agents.x.llm_config.api_key: there is no such key; allowed: model, temperature",
        ],
    ),
    "a hot model": (
        {"p": {"agents": {"x": {"llm_config": {"model": "offline", "temperature": 9}}}}},
        ["p.agents.x.llm_config.temperature: it is 9; input should be less than or equal to 2"],
    ),
    "limits that are none": (
        changed(supervisor={"max_retries": True, "retry_delay": -1, "timeout": float("nan")}),
        [
            "p.supervisor.max_retries: it is True; input should be a valid integer",
            "p.supervisor.retry_delay: it is -1; input should be greater than or equal to 0",
            "p.supervisor.timeout: it is nan; input should be a finite number",
        ],
    ),
    "a number in quotes": (
        changed(supervisor={"max_retries": "3"}),
        ["p.supervisor.max_retries: it is '3'; input should be a valid integer"],
    ),
    "a strange level": (
        changed(tracing={"level": "loud"}),
        ["p.tracing.level: it is 'loud'; input should be 'off', 'errors', 'basic' or 'detailed'"],
    ),
    "a reserved name": (
        {"p": {"agents": {"Super visor": {}}}},
        [
            "p.agents.Super visor: the name is reserved; reserved are begin, dispatch, finish, "
            "human, supervisor, undo"
        ],
    ),
    "a name with a bar": (
        {"p": {"agents": {"a|b": {}}}},
        [
            "p.agents.a|b: the name is not allowed; use a letter, then letters, digits, '_' and "
            "'-', at most 64 characters"
        ],
    ),
    "two names that look alike": (
        {"p": {"agents": {"Ann": {}, "ann": {}}}},
        ["p.agents.ann: the name is that of 'Ann', but for case and white space"],
    ),
    "a name that is a number": (
        {"p": {"agents": {3: {}}}},
        ["p.agents.3: it is 3; input should be a valid string"],
    ),
}


@pytest.mark.parametrize(("values", "faults"), FAULTS.values(), ids=FAULTS)
def test_a_fault_has_its_place(values: object, faults: list[str]) -> None:
    assert faults_of(values) == faults


def test_all_faults_of_all_programs_come_in_one_error(tmp_path: Path) -> None:
    text = "a: {agents: {x: {nme: 1}, human: {}}}\nb: {supervisor: {timeout: 0}}"
    with pytest.raises(ConfigurationError) as caught:
        load_config(written(tmp_path, text, "p.yaml"), "a")
    assert str(tmp_path / "p.yaml") in str(caught.value)
    for place in ("a.agents.x.nme", "a.agents.human", "b.agents", "b.supervisor.timeout"):
        assert f" {place}: " in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("a.json", "{", "is no JSON: Expecting property name"),
        ("a.json", '{"p": {"agents": {"x": {}, "x": {}}}}', "a table has two keys 'x'"),
        ("a.json", '{"p": NaN}', "NaN is no number of JSON"),
        ("a.json", "[" * 100_000, "it is nested too deep"),
        ("a.yaml", "p:\n  agents:\n    x: {}\n    x: {}\n", "line 4: a table has two keys 'x'"),
        ("a.yaml", "p: [", "is no YAML: "),
        ("a.yaml", "", "it is None; it must be a table"),
        ("a.toml", "p = ", "is no TOML: .* A file of YAML is called .yaml"),
        ("a.conf", "p: 1", "is no TOML: "),
    ],
)
def test_a_file_that_cannot_be_parsed_is_refused(
    name: str, text: str, match: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=match):
        load_config(written(tmp_path, text, name))


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: "):
        load_config(tmp_path / "none.json")
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="cannot be read: "):
        load_config(tmp_path / "a.json")


def test_anchors_and_merges_of_yaml_are_no_double_keys(tmp_path: Path) -> None:
    text = "p:\n  agents:\n    a: &a {name: A}\n    b: {<<: *a, system_message: B}\n    c: *a\n"
    found = load_config(written(tmp_path, text, "p.yaml"))
    assert found.agents["b"] == AgentSettings(name="A", system_message="B")


def test_the_hash_names_the_team_not_its_version() -> None:
    plain = READ.model_dump()
    assert ProgramConfig(**{**plain, "version": "3"}).content_hash == READ.content_hash
    turned = dict(reversed(plain["agents"].items()))
    assert ProgramConfig(**{**plain, "agents": turned}).content_hash != READ.content_hash
    other = {**plain, "supervisor": {"max_retries": 2}}
    assert ProgramConfig(**other).content_hash != READ.content_hash


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["p", "agents", "x", "supervisor", "tracing", "llm_config", "model"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_values_are_read_or_refused(values: Any) -> None:
    try:
        assert read_config(values).agents
    except ConfigurationError as error:
        assert "\n  1. " in str(error)


def test_the_example_in_the_documentation_can_be_read(tmp_path: Path) -> None:
    example = (config_module.__doc__ or "").split("```toml\n")[1].split("```")[0]
    found = load_config(written(tmp_path, example, "trip.toml"))
    assert (found.name, found.supervisor.timeout) == ("trip", 120)
