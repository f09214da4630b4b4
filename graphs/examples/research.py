"""Research: a plan by search, parallel readers over local files, an answer with its sources.

Consensus: judges with different criteria choose among documents, and vote.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asterism.core.agent_spec import ModelLike
from asterism.core.defaults import OFFLINE
from asterism.core.numbers import count_faults
from asterism.errors import WorkflowBuildError
from asterism.graphs.builder import SupervisorWorkflowBuilder
from asterism.nodes.examples import research as examples
from asterism.nodes.examples.research.search import ResearchPlanner
from asterism.nodes.examples.research.tools import create_judge_tools, create_reader_tools
from asterism.nodes.participant_spec import Participant
from asterism.prompts import load_prompt, render

SOURCES = "ASTERISM_SOURCES"
"""The environment variable that names the folder of sources."""
SHIPPED = Path(examples.__file__).parent / "data"
"""Small folders to try the workflows with: some notes, and some offers."""


def create_research(
    model: ModelLike = OFFLINE,
    *,
    root: str | Path | None = None,
    readers: int = 4,
    max_sources: int = 8,
    **options: Any,
) -> SupervisorWorkflowBuilder:
    """Create the builder of the research workflow.

    Args:
        model: Reads and writes: a chat model, its name, or `"offline"`.
        root: The folder of sources. None: what the environment variable `ASTERISM_SOURCES`
            names, or the notes that come with the library.
        readers: How many read at once.
        max_sources: How many sources are read for a question, at most.
        **options: What `SupervisorWorkflowBuilder` takes besides.

    Raises:
        ConfigurationError: The folder does not exist.
        WorkflowBuildError: `readers` or `max_sources` is no whole number of at least 1.
    """
    faults = [
        *count_faults("readers", readers, least=1),
        *count_faults("max_sources", max_sources, least=1),
    ]
    if faults:
        raise WorkflowBuildError("Research", faults)
    folder = sources_folder(root, "notes")
    tools = create_reader_tools(folder)
    team = {
        f"reader_{number}": Participant(
            description="Reads a source and reports what it says about the question.",
            prompt=load_prompt("reader"),
            tools=tools,
        )
        for number in range(1, readers + 1)
    }
    settings: dict[str, Any] = {
        "answer_prompt": load_prompt("research"),
        "max_parallel_tasks": readers,
        **options,
    }
    return (
        SupervisorWorkflowBuilder(
            "Research",
            id="research",
            description="Answers a question from the text files of a folder, with its sources.",
            model=model,
            **settings,
        )
        .participants(**team)
        .with_manager(ResearchPlanner(root=folder, max_sources=max_sources))
    )


def sources_folder(root: str | Path | None, shipped: str) -> Path:
    """Return the folder of sources: what is given, what the environment names, or a shipped one."""
    return Path(root if root is not None else os.environ.get(SOURCES) or SHIPPED / shipped)


CRITERIA: Mapping[str, str] = {
    "thrifty": "price, cost, fees and discounts",
    "careful": "risk, insurance, cancellation, safety and guarantees",
    "demanding": "quality, comfort, capacity and reviews",
}
"""The judges, with what each looks at."""


def create_consensus(
    model: ModelLike = OFFLINE,
    *,
    root: str | Path | None = None,
    criteria: Mapping[str, str] = CRITERIA,
    **options: Any,
) -> SupervisorWorkflowBuilder:
    """Create the builder of the consensus workflow.

    Args:
        model: Judges: a chat model, its name, or `"offline"`.
        root: The folder of documents. None: what the environment variable `ASTERISM_SOURCES`
            names, or the offers that come with the library.
        criteria: The judges, each with what it looks at.
        **options: What `SupervisorWorkflowBuilder` takes besides.

    Raises:
        ConfigurationError: The folder does not exist.
    """
    folder = sources_folder(root, "offers")
    team = {
        name: Participant(
            description=f"Judges documents by {words}.",
            prompt=render("judge", criteria=words),
            tools=create_judge_tools(folder, words),
        )
        for name, words in criteria.items()
    }
    return (
        SupervisorWorkflowBuilder(
            "Consensus",
            id="consensus",
            description="Chooses among the documents of a folder by the votes of several judges.",
            model=model,
            **options,
        )
        .participants(**team)
        .with_strategy("consensus", tie="first")
    )
