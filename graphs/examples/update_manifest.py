"""The manifest of a project folder, kept up to date: looked at, asked about, written, checked."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from langgraph.graph import START, StateGraph

from asterism.core.agent_spec import ModelLike
from asterism.core.continuation import Graph
from asterism.core.defaults import OFFLINE
from asterism.graphs.builder import SupervisorWorkflowBuilder
from asterism.graphs.programs import BaseSupervisor
from asterism.nodes.deciders.strategies import sequential_decider
from asterism.nodes.examples.manifest.team import Keeping, ManifestWork, Project, after_keeping
from asterism.nodes.participant_spec import Participant
from asterism.programs.config import AgentSettings, ProgramConfig, read_config

PROJECT, MANIFEST = "ASTERISM_PROJECT", "ASTERISM_MANIFEST"
"""The environment variables that name the folder and its manifest."""
DESCRIPTION = "Keeps a manifest of a project folder: files, checksums, dependencies."
_PROGRAM: Mapping[str, Any] = {
    "update_manifest": {
        "agents": {"scanner": {}, "keeper": {}, "checker": {}},
        "supervisor": {"max_retries": 2, "retry_delay": 1.0},
    }
}


def create_update_manifest(
    model: ModelLike = OFFLINE,
    *,
    root: str | Path | None = None,
    manifest: str | Path | None = None,
    asks_first: bool = False,
    **options: Any,
) -> SupervisorWorkflowBuilder:
    """Create the builder of the workflow that keeps a manifest. It takes no model to do so.

    Args:
        model: The model of participants that are added and have none.
        root: The project folder. None: what the environment variable `ASTERISM_PROJECT` names,
            or the current folder.
        manifest: The manifest. None: what `ASTERISM_MANIFEST` names, or
            `project-manifest.json` in the folder.
        asks_first: Whether a person is asked before a manifest is made where there is none.
        **options: What `SupervisorWorkflowBuilder` takes besides.

    Raises:
        ConfigurationError: The folder does not exist.
    """
    settings: dict[str, Any] = {"description": DESCRIPTION, **options}
    return (
        SupervisorWorkflowBuilder("Update manifest", id="update_manifest", model=model, **settings)
        .participants(**_team(open_project(root, manifest), asks_first))
        .with_manager(sequential_decider)
    )


def open_project(root: str | Path | None, manifest: str | Path | None) -> Project:
    """Open the project that is given, or that the environment names, or the current folder."""
    named = manifest if manifest is not None else os.environ.get(MANIFEST)
    folder = Path(root if root is not None else os.environ.get(PROJECT, "."))
    return Project.at(folder, Path(named) if named else None)


def _team(project: Project, asks_first: bool = False) -> dict[str, Participant]:
    work = ManifestWork(project, asks_first=asks_first)
    return {
        "scanner": Participant(runs=work.scan, description="Looks what has changed."),
        "keeper": Participant(runs=_keeper(work), description="Writes the manifest, or asks."),
        "checker": Participant(runs=work.check, description="Reads what was written again."),
    }


def _keeper(work: ManifestWork) -> Graph:
    """Join what the keeper does: a removal is asked about, and then looked at anew."""
    graph: StateGraph[Any, Any, Any, Any] = StateGraph(Keeping)
    graph.add_node("begin", work.begin)
    graph.add_node("keep", work.keep)
    graph.add_node("ask", work.ask)
    graph.add_edge(START, "begin")
    graph.add_edge("begin", "keep")
    graph.add_conditional_edges("keep", after_keeping)
    graph.add_edge("ask", "keep")
    return graph.compile(name="keeper")


class UpdateManifestSupervisor(BaseSupervisor):
    """A program that keeps the manifest of a project folder.

    Args:
        config: Further agents and settings; agents of other names than the team's work last,
            in their order. None: the team alone.
        root: The project folder; see `create_update_manifest`.
        manifest: The manifest; see `create_update_manifest`.
        **options: What `BaseSupervisor` takes besides.
    """

    def __init__(
        self,
        config: ProgramConfig | Mapping[str, Any] | None = None,
        *,
        root: str | Path | None = None,
        manifest: str | Path | None = None,
        **options: Any,
    ) -> None:
        super().__init__(read_config(_PROGRAM) if config is None else config, **options)
        self.project = open_project(root, manifest)

    async def _create_agent(self, name: str, config: AgentSettings) -> Any:
        """Create one of the team, or an agent as it is configured."""
        team = _team(self.project)
        return team[name] if name in team else await super()._create_agent(name, config)

    def _create_builder(self, agents: Mapping[str, Any]) -> SupervisorWorkflowBuilder:
        return super()._create_builder(agents).with_manager(sequential_decider)
