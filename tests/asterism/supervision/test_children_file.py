"""A file of children: read as it is meant, or refused with every fault and its place."""

from decimal import Decimal
from pathlib import Path

import pytest

from asterism.errors import ConfigurationError
from asterism.supervision import AgentQuota, SupervisorConfig
from asterism.supervision import children_file as files_module
from asterism.supervision.children_file import ChildEntry, read_children

TOML = """
[supervisor]
restart_strategy = "rest_for_one"
[supervisor.quotas]
max_tokens = 7

[[children]]
name = "party"
graph = "event_planning"
task = "Plan a party"
thread = "party-1"
[children.quotas]
max_cost_usd = 0.5
[children.metadata]
team = "events"

[[children]]
name = "other"
graph = "module:graph"
[children.task]
done = []
"""

YAML = """
supervisor:
  restart_strategy: rest_for_one
  quotas: {max_tokens: 7}
children:
  - name: party
    graph: event_planning
    task: Plan a party
    thread: party-1
    quotas: {max_cost_usd: 0.5}
    metadata: {team: events}
  - {name: other, graph: "module:graph", task: {done: []}}
"""


def written(folder: Path, text: str, name: str = "children.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.toml", TOML), ("a.yaml", YAML), ("a.yml", YAML)],
    ids=["toml", "yaml", "yml"],
)
def test_a_file_says_what_it_says(name: str, text: str, tmp_path: Path) -> None:
    content = read_children(written(tmp_path, text, name))
    shared = AgentQuota(max_tokens=7)
    assert content.config == SupervisorConfig(restart_strategy="rest_for_one", quotas=shared)
    assert content.children == (
        ChildEntry(
            place="children[0]",
            name="party",
            graph="event_planning",
            task="Plan a party",
            quotas=AgentQuota(max_cost_usd=Decimal("0.5")),
            metadata={"team": "events"},
            thread="party-1",
        ),
        ChildEntry(
            place="children[1]",
            name="other",
            graph="module:graph",
            task={"done": []},
            quotas=shared,
            metadata={},
        ),
    )


def test_a_bare_list_is_a_list_of_children(tmp_path: Path) -> None:
    path = written(tmp_path, "- {name: a, graph: research, task: Look}", "a.yaml")
    (child,) = read_children(path).children
    assert (child.name, child.quotas) == ("a", AgentQuota())


def test_there_is_room_for_every_child(tmp_path: Path) -> None:
    child = '[[children]]\nname = "a"\ngraph = "research"\ntask = "Look"\n'
    assert read_children(written(tmp_path, child * 150)).config.max_children == 150


def test_every_fault_is_listed_with_its_place(tmp_path: Path) -> None:
    text = """
surprise = 1
[supervisor]
max_children = 1
on_hang = "wait"
colour = "red"
[supervisor.quotas]
max_tokens = 0
[[children]]
name = ""
graph = 7
task = " "
thread = "a\\nb"
metadata = 3
[children.quotas]
max_tokens = true
max_retries = -1
[[children]]
nmae = "b"
[[children]]
name = "c"
[[children]]
name = "d"
graph = "research"
task = "Look"
[children.quotas]
max_time = 5
"""
    with pytest.raises(ConfigurationError) as caught:
        read_children(written(tmp_path, text))
    lines = [line.strip().split(". ", 1)[1] for line in str(caught.value).splitlines()[1:]]
    assert [line.split(":")[0] for line in lines] == [
        "surprise",
        "supervisor.quotas",
        "supervisor.colour",
        "supervisor",
        "children[0].graph",
        "children[0].name",
        "children[0].task",
        "children[0].thread",
        "children[0].metadata",
        "children[0].quotas",
        "children[1].nmae",
        "children[2].graph",
        "children[2].task",
        "children[3].quotas.max_time",
    ]
    assert (
        "children[0].quotas: max_tokens is True; it must be a whole number of at least 1; "
        in str(caught.value)
    )


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("a.toml", "children = [", r"is no TOML: .*A file of YAML is called \.yaml"),
        ("a.yaml", "a: [", "is no YAML: "),
        ("a.toml", "", "children: there are none; list at least one"),
        ("a.yaml", "", r"a\.yaml: it is None; it must be a table"),
        ("a.yaml", "- 7", r"children\[0\]: it is 7; it must be a table"),
        ("a.yaml", "children: 7", "children: there are none"),
        (
            "a.toml",
            "[supervisor]\nmax_children = 1\n"
            + '[[children]]\nname = "a"\ngraph = "g"\ntask = "t"\n' * 2,
            r"supervisor\.max_children: it is 1, and there are 2 children",
        ),
    ],
)
def test_what_is_no_list_of_children_is_refused(
    name: str, text: str, match: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=match):
        read_children(written(tmp_path, text, name))


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: "):
        read_children(tmp_path / "none.toml")


def test_yaml_runs_no_code(tmp_path: Path) -> None:
    path = written(tmp_path, "children: !!python/object/apply:os.getcwd []", "a.yaml")
    with pytest.raises(ConfigurationError, match="is no YAML"):
        read_children(path)


def test_the_example_in_the_documentation_can_be_read(tmp_path: Path) -> None:
    example = (files_module.__doc__ or "").split("```toml\n")[1].split("```")[0]
    content = read_children(written(tmp_path, example))
    assert content.children[0].thread == "party-1"
