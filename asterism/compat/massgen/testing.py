"""Testers by the words of MassGen."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from asterism.compat.massgen.teams import Agent, Orchestrator, Result
from asterism.core.values import normal_name
from asterism.errors import ConfigurationError
from asterism.testing import MockBackend, agent_tester

__all__ = ["AgentTester", "MockBackend", "OrchestratorTester"]


class MassGenAgentTester(agent_tester.AgentTester):
    """A tester of one agent: `test_response(text)` returns what it answers."""

    def __init__(self, agent: Any, script: Sequence[Any] = (), **options: Any) -> None:
        given = agent.participant() if isinstance(agent, Agent) else agent
        super().__init__(given, script, **options)


class MassGenOrchestratorTester:
    """A tester of a team whose agents reply by scripts.

    Args:
        agents: The team.
        mock_responses: What each replies, by its name in any case; who is not named keeps its
            backend.
        **options: Those of `Orchestrator`.
    """

    def __init__(
        self,
        agents: Sequence[Agent],
        mock_responses: Mapping[str, Sequence[Any]] | None = None,
        **options: Any,
    ) -> None:
        scripts = {normal_name(name): script for name, script in (mock_responses or {}).items()}
        self._agents: list[Agent] = []
        for agent in agents:
            mocked, names = copy.copy(agent), (normal_name(agent.name), normal_name(agent.id))
            for script in [scripts.pop(name) for name in dict.fromkeys(names) if name in scripts]:
                mocked.backend, mocked.cache = MockBackend(script), None
            self._agents.append(mocked)
        if scripts:
            known = ", ".join(agent.name for agent in agents) or "nobody"
            raise ConfigurationError(
                f"mock_responses name {', '.join(scripts)}, who take no part; there are: {known}"
            )
        self._options = options

    def test_orchestration(self, task: str, expected_interactions: int | None = None) -> Result:
        """Do a task; without success where it fails, or other than so many visits are made."""
        result = Orchestrator(self._agents, **self._options).run(task)
        found = len(result.interactions)
        if not result.success or expected_interactions in (None, found):
            return result
        reason = f"there were {found} interactions, not {expected_interactions}"
        return Result.of({**result.state, "status": "failed", "reason": reason})


AgentTester, OrchestratorTester = MassGenAgentTester, MassGenOrchestratorTester
