"""The team of a workflow: participants that were built in, and agents that a model created.

Tests: tests/graphs/test_orchestrator.py, tests/graphs/test_plans.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from langgraph.types import RetryPolicy

from asterism.core.agent_spec import PLANNING, Agent, MemoryConfig, ModelLike
from asterism.core.plan import SubAgentTask
from asterism.core.values import as_dict
from asterism.limits.failure_policies import AGENT_RETRY, Policy, Timeout, merge_policies
from asterism.nodes.participant_runtime import ParticipantRuntime, create_participant_runtime
from asterism.nodes.participant_spec import MAX_STEPS, Participant

if TYPE_CHECKING:
    from asterism.limits.rate_limits import ResourceManager

MAX_AGENTS = 20
"""The most agents of a team, with those that a model creates."""


@dataclass(frozen=True, kw_only=True)
class AgentCreationRules:
    """The rules for agents that a model creates in the middle of a run."""

    tools: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The tools that they may call, by name."""
    model: ModelLike | None = None
    """Their model, where their spec names none."""
    max_steps: int = MAX_STEPS
    """The most model calls of one of their visits."""
    limit: int = MAX_AGENTS
    """The most agents in all."""
    allowed: bool = True
    """Whether any may be created."""
    resource_manager: "ResourceManager | None" = None
    """Holds back the calls of models that their specs name."""
    planner: Callable[[Agent], Any] | None = None
    """The function that makes a participant which may create agents itself. None: they may not."""


class Team:
    """The participants of a workflow: built in, or created by a model.

    Args:
        descriptions: What the supervisor is told of each.
        members: Those that were built in.
        creation: How others come in. None: nobody else does.
        policies: What happens when one of the others fails.
    """

    def __init__(
        self,
        descriptions: dict[str, str],
        members: dict[str, ParticipantRuntime],
        *,
        creation: AgentCreationRules | None = None,
        policies: tuple[Policy, ...] = (),
    ) -> None:
        self.descriptions = descriptions
        self.members = members
        self.creation = creation
        self._policies = policies
        self._created: dict[str, tuple[Mapping[str, Any], ParticipantRuntime]] = {}

    @cached_property
    def has_budgets(self) -> bool:
        """Whether any member, or any task, has a budget."""
        return any(member.budget or member.task_budget for member in self.members.values())

    def live(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Return who takes part, id and description, given the state of a workflow."""
        specs = as_dict(values.get("agents"))
        if not specs:
            return self.descriptions
        created = {name: Agent.model_validate(spec).summary() for name, spec in specs.items()}
        return {**created, **self.descriptions}

    def member(self, name: str, values: Mapping[str, Any]) -> ParticipantRuntime | None:
        """Return a member by its id, or None where it takes no part."""
        if name in self.members:
            return self.members[name]
        spec = as_dict(values.get("agents")).get(name)
        if spec is None or self.creation is None:
            return None
        known = self._created.get(name)
        if known is None or known[0] != spec:
            agent = Agent.model_validate(spec)
            thing = participant_of(agent, self.creation)
            member = create_participant_runtime(
                name,
                thing,
                self.creation.model,
                self._policies,
                max_steps=self.creation.max_steps,
                resource_manager=self.creation.resource_manager,
            )
            known = self._created[name] = (spec, member)
        return known[1]

    def runtime(
        self, name: str, task: SubAgentTask, values: Mapping[str, Any]
    ) -> ParticipantRuntime | None:
        """Return the participant that does a task, with what the task says of retries and time.

        None: it does not take part any more.
        """
        member = self.member(name, values)
        return _for_task(member, task) if member else None


def participant_of(agent: Agent, creation: AgentCreationRules) -> Participant:
    """Make a participant of a spec.

    Raises:
        LookupError: It names a tool that is not available.
    """
    if creation.planner is not None and PLANNING.intersection(map(str, agent.tools)):
        return Participant(runs=creation.planner(agent), description=agent.summary())
    tools: list[Any] = []
    for tool in agent.tools:
        if isinstance(tool, str) and tool not in creation.tools:
            raise LookupError(
                f"the agent {agent.agent_id!r} wants the tool {tool!r}, which is not available; "
                f"available are: {', '.join(creation.tools) or 'none'}"
            )
        tools.append(creation.tools[tool] if isinstance(tool, str) else tool)
    default = MemoryConfig()
    return Participant(
        description=agent.summary(),
        model=agent.model_like() or creation.model,
        prompt=agent.system_prompt or None,
        personality=agent.personality,
        tools=tools,
        memory=agent.memory_config if agent.memory_config != default else None,
    )


def _for_task(member: ParticipantRuntime, task: SubAgentTask) -> ParticipantRuntime:
    """Return a member with what a task says about its attempts."""
    own: list[Policy] = []
    if task.max_retries is not None:
        given = next((p for p in member.policies if isinstance(p, RetryPolicy)), AGENT_RETRY)
        delay = given.initial_interval if task.retry_delay is None else task.retry_delay
        own.append(
            given._replace(
                max_attempts=task.max_retries + 1,
                initial_interval=delay,
                backoff_factor=task.retry_backoff or given.backoff_factor,
            )
        )
    if task.retry_timeout is not None:
        own.append(Timeout(task.retry_timeout))
    return replace(member, policies=merge_policies(member.policies, own)) if own else member
