"""A toy that works: a text is counted, timed and proofread, without a model."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage

from asterism.core.agent_spec import ModelLike
from asterism.core.defaults import OFFLINE
from asterism.graphs.builder import SupervisorWorkflowBuilder
from asterism.graphs.programs import BaseSupervisor
from asterism.nodes.deciders.strategies import sequential_decider
from asterism.nodes.examples.proofreading import count, proofread, reading_time
from asterism.nodes.participant_spec import Participant
from asterism.programs.config import AgentSettings, ProgramConfig, read_config

TEAM: Mapping[str, Callable[[str], str]] = {
    "counter": count,
    "timer": reading_time,
    "proofreader": proofread,
}
"""Who takes part, with what each does to a text."""
_PROGRAM: Mapping[str, Any] = {"toy_example": {"agents": {name: {} for name in TEAM}}}


def create_toy_example(model: ModelLike = OFFLINE, **options: Any) -> SupervisorWorkflowBuilder:
    """Create the builder of the toy: the request is the text. It takes no model.

    Args:
        model: The model of participants that are added and have none.
        **options: What `SupervisorWorkflowBuilder` takes besides.
    """
    settings: dict[str, Any] = {"description": "Counts, times and proofreads a text.", **options}
    return (
        SupervisorWorkflowBuilder("Toy example", id="toy_example", model=model, **settings)
        .participants(**{name: _participant(name) for name in TEAM})
        .with_manager(sequential_decider)
    )


def _participant(name: str) -> Participant:
    work = TEAM[name]

    def answer(messages: Sequence[BaseMessage]) -> str:
        return work(messages[-1].text)

    return Participant(runs=answer, description=work.__doc__)


class ToyExampleSupervisor(BaseSupervisor):
    """A program that counts, times and proofreads the text of each task.

    Args:
        config: Further agents and settings. None: the team alone.
        **options: What `BaseSupervisor` takes besides.
    """

    def __init__(
        self, config: ProgramConfig | Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        super().__init__(read_config(_PROGRAM) if config is None else config, **options)

    async def _create_agent(self, name: str, config: AgentSettings) -> Any:
        """Create one of the team, or an agent as it is configured."""
        return _participant(name) if name in TEAM else await super()._create_agent(name, config)

    def _create_builder(self, agents: Mapping[str, Any]) -> SupervisorWorkflowBuilder:
        return super()._create_builder(agents).with_manager(sequential_decider)
