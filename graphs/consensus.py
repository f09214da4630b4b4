"""Consensus: judges with different criteria choose among documents, and vote."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asterism.core.agent_spec import OFFLINE, ModelLike
from asterism.graphs.builder import SupervisorWorkflowBuilder
from asterism.graphs.research import sources_folder
from asterism.nodes.examples.research.tools import create_judge_tools
from asterism.nodes.participant_spec import Participant
from asterism.prompts import render

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
            names, or the current folder.
        criteria: The judges, each with what it looks at.
        **options: What `SupervisorWorkflowBuilder` takes besides.

    Raises:
        ConfigurationError: The folder does not exist.
    """
    folder = sources_folder(root)
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
