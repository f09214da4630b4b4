"""Skills of agents: what stands in the prompt, what is read, what is refused."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asterism import Participant, SupervisorWorkflowBuilder, skills_middleware
from asterism.errors import ConfigurationError
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.teams import follow

REQUEST: Any = {"messages": [("user", "Write the report")]}


@pytest.fixture
def skills(tmp_path: Path) -> Path:
    folder = tmp_path / "skills"
    for name in ("reports", "minutes"):
        (folder / name).mkdir(parents=True)
        (folder / name / "SKILL.md").write_text(
            f"---\nname: {name}\ndescription: >\n  How {name}\n  are written.\n---\n"
            f"Begin {name} with the date. See notes/style.md."
        )
    (folder / "reports" / "notes").mkdir()
    (folder / "reports" / "notes" / "style.md").write_text("Short sentences.")
    (tmp_path / "secret.txt").write_text("a password")
    return folder


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def invoke(request: pytest.FixtureRequest) -> Callable[..., Any]:
    def run(workflow: Any, *args: Any) -> Any:
        if request.param:
            return asyncio.run(workflow.ainvoke(*args))
        return workflow.invoke(*args)

    return run


def test_a_skill_is_read_when_it_is_wanted(invoke: Callable[..., Any], skills: Path) -> None:
    calls = [
        ("read_skill", {"name": "reports"}),
        ("read_skill", {"name": "reports", "file": "notes/style.md"}),
        ("read_skill", {"name": "reports", "file": "../../secret.txt"}),
        ("read_skill", {"name": "novels"}),
    ]
    model = ScriptedChatModel(script=[ScriptedReply(tool_calls=calls), "Done."])
    writer = Participant(
        model=model, prompt="You write.", middleware=[skills_middleware(skills)], description="W."
    )
    team = (
        SupervisorWorkflowBuilder("Office", finish="forward")
        .participants(writer=writer)
        .with_manager(follow(["writer", None]))
        .build()
    )
    assert invoke(team, REQUEST)["reports"][0]["text"] == "Done."
    rules = model.calls[0].messages[0].text
    assert rules.startswith("You write.")
    assert "- minutes: How minutes are written.\n- reports: How reports are written." in rules
    assert "Begin" not in rules  # the instructions are read when they are asked for
    read, style, outside, unknown = [m.text for m in model.calls[1].messages if m.type == "tool"]
    assert "Begin reports with the date" in read
    assert style == "Short sentences."
    assert outside.startswith("There is no file '../../secret.txt'; it has"[:35])
    assert "password" not in outside
    assert unknown == "There is no skill 'novels'; there are: minutes, reports."


def test_a_folder_may_be_a_skill_itself(skills: Path) -> None:
    one = skills_middleware(skills / "reports", skills / "minutes")
    assert [tool.name for tool in one.tools] == ["read_skill"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no front matter", "needs a front matter"),
        ("---\nname: x\n---\n", "needs a front matter"),
        ("---\nname: [x\n---\n", "is no YAML"),
    ],
    ids=["none", "no description", "no yaml"],
)
def test_a_skill_without_a_description_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "SKILL.md").write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        skills_middleware(tmp_path)


def test_a_folder_without_skills_is_refused(tmp_path: Path, skills: Path) -> None:
    with pytest.raises(ConfigurationError, match="has no skill"):
        skills_middleware(tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match="two skills named minutes, reports"):
        skills_middleware(skills, skills)
