"""The shipped graphs over local files, offline, and with a scripted model."""

from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from asterism.core.run_types import WorkflowInput
from asterism.errors import ConfigurationError
from asterism.graphs.catalog import open_graph
from asterism.graphs.examples.research import create_consensus, create_research
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.plans import drive

Saver = BaseCheckpointSaver[str]
WAYS = pytest.mark.parametrize("way", ["sync", "async"])

NOTES = {
    "garden.md": "# Garden Hall\n\nThe garden hall costs 900 euros a day, fees included.\n"
    "No insurance is offered.\n",
    "barn.md": "# The Barn\n\nThe barn holds 60 people. Insurance is included in the price.\n"
    "Cancellation is free until the day before.\n",
    "sub/tower.txt": "The tower loft costs 1,800 euros. Its quality and comfort are praised.\n",
    "prices.csv": "place,price\nharbour,700\n",
    "poem.md": "Roses are red.\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in NOTES.items():
        (tmp_path / "notes" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "notes" / name).write_text(text)
    return tmp_path / "notes"


def asking(text: str) -> WorkflowInput:
    return {"messages": [("user", text)]}


@WAYS
async def test_research_reads_what_bears_on_the_question_and_cites_it(
    folder: Path, saver: Saver, thread: RunnableConfig, way: str
) -> None:
    built = create_research(root=folder).build(checkpointer=saver)
    result = await drive(built, way, asking("Who offers insurance, and what does it cost?"), thread)
    answer = result["messages"][-1].text
    assert result["status"] == "completed"
    assert "No insurance is offered. [garden.md:4]" in answer
    assert "Insurance is included in the price. [barn.md:3]" in answer
    assert "Roses" not in answer
    assert {r["status"] for r in result["reports"]} == {"ok"}
    assert "read poem.md" not in {r["task"] for r in result["reports"]}


def test_research_reads_the_source_that_the_question_names(folder: Path) -> None:
    result = (
        create_research(root=folder, max_sources=1)
        .build()
        .invoke(asking("What costs how much in sub/tower.txt?"))
    )
    assert [r["task"] for r in result["reports"]] == ["read sub/tower.txt"]
    assert "[sub/tower.txt:1]" in result["messages"][-1].text


def test_research_says_when_there_is_nothing(folder: Path, tmp_path: Path) -> None:
    result = create_research(root=folder).build().invoke(asking("Quantum chromodynamics"))
    assert "No source in the folder has any word of this" in result["messages"][-1].text
    (tmp_path / "empty").mkdir()
    result = create_research(root=tmp_path / "empty").build().invoke(asking("Anything?"))
    assert (result["status"], result["reports"]) == ("completed", [])
    with pytest.raises(ConfigurationError, match="nowhere"):
        create_research(root=tmp_path / "nowhere")
    with pytest.raises(ValueError, match="readers is 0; it must be a whole number"):
        create_research(root=folder, readers=0)


def test_one_reader_reads_several_sources_and_none_is_lost(folder: Path) -> None:
    result = (
        create_research(root=folder, readers=1).build().invoke(asking("What costs how many euros?"))
    )
    answer = result["messages"][-1].text
    assert "[garden.md:3]" in answer and "[sub/tower.txt:1]" in answer


def test_a_real_model_reads_lines_and_writes_with_sources(folder: Path) -> None:
    def reads(messages: Any) -> Any:
        path = messages[-1].text.split("Path: ")[1].splitlines()[0]
        return ScriptedReply(
            tool_calls=[("read_lines", {"path": path, "start_line": 1, "lines": 9})]
        )

    def reports(messages: Any) -> str:
        return f"It says: {messages[-1].text[:60]}"

    def writes(messages: Any) -> str:
        assert '"Sources"' in messages[0].text
        return "The answer."

    model = ScriptedChatModel(script=[reads, reports, writes])
    built = create_research(model, root=folder, max_sources=1).build()
    result = built.invoke(asking("Does barn.md say how many people it holds?"))
    assert result["reports"][0]["text"].startswith("It says: barn.md, lines 1 to 4 of 4:")
    assert result["messages"][-1].text == "The answer."
    model.assert_finished()


@WAYS
async def test_judges_choose_among_documents_and_vote(folder: Path, way: str) -> None:
    built = create_consensus(root=folder).build()
    result = await drive(built, way, asking("Which place do we take for 50 people?"), None)
    found = result["structured_response"]
    assert result["status"] == "completed"
    assert set(found["votes"]) == {"thrifty", "careful", "demanding"}
    assert found["winner"] in found["votes"].values()
    assert f"Winner: {found['winner']}" in result["messages"][-1].text
    by_judge = {r["participant"]: r["text"] for r in result["reports"][:3]}
    assert by_judge["careful"].startswith("I choose barn.md.")
    assert "[barn.md:3]" in by_judge["careful"]


def test_the_folder_comes_from_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASTERISM_SOURCES", str(folder))
    result = open_graph("research", model="offline").invoke(asking("What is red?"))
    assert "Roses are red. [poem.md:1]" in result["messages"][-1].text
