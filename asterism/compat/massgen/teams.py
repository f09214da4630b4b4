"""Agents and orchestrators by the words of MassGen, on participants and workflows."""

import asyncio
import copy
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Self, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from asterism.core.agent_spec import ModelLike, Personality, resolve_model
from asterism.core.run_types import WorkflowInput
from asterism.core.state import Report
from asterism.core.values import as_dict
from asterism.errors import ConfigurationError
from asterism.events import EventBus
from asterism.graphs.builder import SupervisorWorkflowBuilder
from asterism.graphs.workflow import Workflow
from asterism.limits.circuit_breaker import CircuitBreaker
from asterism.limits.failure_policies import Compensation, Policy
from asterism.limits.rate_limits import PRIORITY, ResourceManager, read_priority
from asterism.memories.cache.response_cache import ResponseCache
from asterism.memories.context_policies import ContextManager
from asterism.memories.long_term import LongTermMemory
from asterism.memories.shared import SharedMemory
from asterism.moved import NAMES_PAGE
from asterism.nodes.deciders.reviewers import Judgement, create_reviewer
from asterism.nodes.participant_spec import Participant
from asterism.observability import Tracer
from asterism.programs.batch import BatchOutcome, abatch_process, batch_process


class Result(str):
    """The answer of a run as text, with the state that it was read from."""

    state: Mapping[str, Any]

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Self:
        """Read the state of a workflow."""
        said = state.get("messages") or ()
        result = cls(said[-1].text if said else "")
        result.state = state
        return result

    @property
    def status(self) -> str:
        """How the run ended: `completed`, `failed`, `waiting`, `limit`, `stalled`."""
        return str(self.state["status"])

    @property
    def reason(self) -> str:
        """Why it ended so."""
        return str(self.state.get("reason") or "")

    @property
    def success(self) -> bool:
        """Whether it is complete."""
        return self.status == "completed"

    @property
    def interactions(self) -> list[Report]:
        """What each visit of an agent has reported, in order."""
        return list(self.state.get("reports") or ())


def _refuse(owner: object, unknown: Mapping[str, Any]) -> None:
    if unknown:
        raise TypeError(f"{type(owner).__name__} takes no {', '.join(unknown)}. {NAMES_PAGE}")


class MassGenAgent:
    """A model with a name and a role: a `Participant`, which can be run alone as well.

    Args:
        name: What it is called; in reports, `_` stands for what is no letter or digit.
        backend: A chat model, a `"provider:model"` name, or `"offline"`.
        role: What it is for.
        system_message: Its system prompt, besides the role.
        tools: What it may call.
        memory: The team's notes, which it reads and writes by tools.
        long_term_memory: Is recalled for each request; the agent remembers by a tool.
        context_manager: Keeps its prompts short.
        cache: Answers calls that were made before.
        circuit_breaker: Leaves its model alone after failures.
        policies: Further failure policies.
        personality: How strongly each trait is shown, from 0 to 1.
        communication_style: How it communicates.
        **unknown: Is refused, with the page that lists the names.
    """

    def __init__(
        self,
        name: str,
        backend: ModelLike | None = None,
        role: str = "",
        *,
        system_message: str = "",
        tools: Sequence[Any] = (),
        memory: SharedMemory | None = None,
        long_term_memory: LongTermMemory | None = None,
        context_manager: ContextManager | None = None,
        cache: ResponseCache | None = None,
        circuit_breaker: CircuitBreaker | None = None,
        policies: Sequence[Policy] = (),
        personality: Personality | Mapping[str, float] | None = None,
        communication_style: str | None = None,
        **unknown: Any,
    ) -> None:
        _refuse(self, unknown)
        self.name, self.backend, self.role = name, backend, role
        self.memory, self.cache = memory, cache
        remembers = long_term_memory.tools() if long_term_memory is not None else ()
        self.spec = Participant(
            prompt=system_message or None,
            tools=[*tools, *remembers],
            recalls=long_term_memory,
            context=context_manager,
            policies=policies,
            circuit_breaker=circuit_breaker,
            personality=personality,
            communication_style=communication_style,
        )
        """What it is besides its name, its model, its role and the team's memory."""

    @property
    def id(self) -> str:
        """The name as reports have it."""
        return re.sub(r"[^\w-]+", "_", self.name).strip("_")

    def participant(self, memory: SharedMemory | None = None) -> Participant:
        """Make the participant; `memory` is the team's, where it has none of its own."""
        model: Any = self.backend
        if self.cache is not None and model is not None:
            model = self.cache.on(cast(Any, resolve_model(model)))
        notes = self.memory if self.memory is not None else memory
        role = f"You are {self.name}." + (f" Your role: {self.role}." if self.role else "")
        return replace(
            self.spec,
            description=self.role or self.name,
            model=model,
            prompt="\n\n".join(filter(None, (role, self.spec.prompt))),
            tools=[*self.spec.tools, *(notes.tools(self.id) if notes is not None else ())],
        )

    def run(self, task: str, **options: Any) -> Result:
        """Do a task alone; the options are those of `Orchestrator.run`."""
        return Orchestrator([self], name=self.name).run(task, **options)

    async def arun(self, task: str, **options: Any) -> Result:
        """Do a task alone; see `run`."""
        return await Orchestrator([self], name=self.name).arun(task, **options)


class PersonalityAgent(MassGenAgent):
    """An agent with `personality` and `communication_style`, which any `Agent` may have."""


class SpecializedAgent(MassGenAgent):
    """An agent to derive from, which evaluates work by criteria."""

    specialization: str = ""
    """What it is for, where it has no role."""

    def participant(self, memory: SharedMemory | None = None) -> Participant:
        """Make the participant; see `Agent.participant`."""
        self.role = self.role or self.specialization.replace("_", " ")
        return super().participant(memory)

    def evaluate(self, work: str, criterion: str) -> Judgement:
        """Give work a score from 0 to 1 and a reason, by one criterion."""
        if self.backend is None:
            raise ConfigurationError(f"{self.name!r} has no backend to evaluate with; give it one")
        return create_reviewer(self.backend, [criterion]).review(work).judgements[criterion]


class Orchestrator:
    """A team of agents or of teams: a supervisor workflow with a fixed strategy.

    Args:
        agents: Its agents.
        orchestrators: The teams within it.
        coordinator: The agent that leads.
        strategy: `"sequential"`, `"parallel"`, `"consensus"`, `"hierarchical"` (the coordinator
            leads, else the first of all), or a function that selects one. None:
            `"hierarchical"` with a coordinator, else `"sequential"`.
        memory: The notes of the team, or what is recalled for each of its agents.
        resource_manager: Holds back the calls of its agents, and of the teams within it.
        event_bus: Is told what happens.
        tracer: Its spans have the runs within them.
        name: What it is called.
        policies: Failure policies of all agents.
        max_concurrent: How many agents work at once.
        checkpointer: Stores threads; needed where agents ask people.
        **unknown: Is refused, with the page that lists the names.
    """

    def __init__(
        self,
        agents: Sequence[MassGenAgent] = (),
        orchestrators: Sequence["Orchestrator"] = (),
        coordinator: MassGenAgent | None = None,
        strategy: Any = None,
        memory: SharedMemory | LongTermMemory | None = None,
        resource_manager: ResourceManager | None = None,
        event_bus: EventBus | None = None,
        tracer: Tracer | None = None,
        *,
        name: str = "",
        policies: Sequence[Policy] = (),
        max_concurrent: int = 10,
        checkpointer: Any = None,
        **unknown: Any,
    ) -> None:
        _refuse(self, unknown)
        if coordinator is not None and strategy not in (None, "hierarchical"):
            raise ConfigurationError(
                f"a coordinator leads a team with strategy='hierarchical', and it is {strategy!r}; "
                "leave one of them out"
            )
        self.agents = [*([coordinator] if coordinator is not None else ()), *agents]
        self.orchestrators = list(orchestrators)
        self.strategy: Any = strategy or ("hierarchical" if coordinator else "sequential")
        self.memory, self.resource_manager = memory, resource_manager
        self.event_bus, self.checkpointer = event_bus, checkpointer
        self.name = name or (f"{coordinator.name} team" if coordinator else "Team")
        self.policies, self.max_concurrent = tuple(policies), max_concurrent
        if tracer is not None:
            tracer.instrument()

    def build(self, checkpointer: Any = None, **choice: Any) -> Workflow:
        """Build the workflow; all of the core is open to it.

        Args:
            checkpointer: Where threads are stored.
            **choice: Further arguments of `SupervisorWorkflowBuilder.with_strategy`.

        Raises:
            WorkflowBuildError: Every fault of the team.
        """
        notes = self.memory if isinstance(self.memory, SharedMemory) else None
        builder = SupervisorWorkflowBuilder(
            self.name,
            description=f"{self.name}: {', '.join(agent.name for agent in self.agents)}",
            finish="forward",
            policies=self.policies,
            events=self.event_bus,
            recalls=self.memory if isinstance(self.memory, LongTermMemory) else None,
            max_parallel_tasks=self.max_concurrent,
            resource_manager=self.resource_manager,
        )
        leads = self.agents[:1] if self.strategy == "hierarchical" else []
        for agent in leads:
            builder.participants({agent.id: agent.participant(notes)})
        for place, team in enumerate(self.orchestrators, 1):
            team_id = re.sub(r"[^\w-]+", "_", team.name) if team.name != "Team" else f"team_{place}"
            inner = copy.copy(team)
            inner.resource_manager = team.resource_manager or self.resource_manager
            builder.participants({team_id: inner.as_participant()})
        for agent in self.agents[len(leads) :]:
            builder.participants({agent.id: agent.participant(notes)})
        return builder.with_strategy(self.strategy, **choice).build(checkpointer=checkpointer)

    @cached_property
    def workflow(self) -> Workflow:
        """The workflow, built when it is first used."""
        return self.build(self.checkpointer)

    def workflow_for(self, task: str) -> Workflow:
        """Return the workflow that does a task."""
        return self.workflow

    def as_participant(self) -> Any:
        """Make what takes part in a team around it."""
        return self.build()

    def run(
        self, task: str, *, priority: str | int | None = None, thread_id: str | None = None
    ) -> Result:
        """Do a task.

        Args:
            task: The request.
            priority: That of its calls at the resource manager: `"high"`, `"low"`, a number.
            thread_id: The conversation that it goes on with, where there is a checkpointer.
        """
        config = self._config(priority, thread_id)
        return Result.of(self.workflow_for(task).invoke(_request(task), config))

    async def arun(
        self, task: str, *, priority: str | int | None = None, thread_id: str | None = None
    ) -> Result:
        """Do a task; see `run`."""
        config = self._config(priority, thread_id)
        return Result.of(await self.workflow_for(task).ainvoke(_request(task), config))

    def _config(self, priority: str | int | None, thread_id: str | None) -> RunnableConfig:
        place: dict[str, Any] = {}
        if priority is not None:
            place[PRIORITY] = read_priority(priority)
            if self.resource_manager is None:
                raise ConfigurationError(
                    f"priority is {priority!r}, and there is no resource_manager whose queue it "
                    f"could pass; give Orchestrator(resource_manager=...). {NAMES_PAGE}"
                )
        if self.checkpointer is not None:
            place["thread_id"] = thread_id or uuid.uuid4().hex
        elif thread_id is not None:
            raise ConfigurationError("a thread_id needs Orchestrator(checkpointer=...)")
        return {"configurable": place}


class DynamicOrchestrator(Orchestrator):
    """A team to derive from, whose agents are created for each task."""

    def create_agents_for_task(self, task: str) -> Sequence[MassGenAgent]:
        """Return the agents that do a task, besides those that are always there."""
        raise NotImplementedError(
            f"{type(self).__name__} has no create_agents_for_task(task); override it"
        )

    def workflow_for(self, task: str) -> Workflow:
        """Build the workflow of those who do the task."""
        team = copy.copy(self)
        team.agents = [*self.agents, *self.create_agents_for_task(task)]
        ids = [agent.id for agent in team.agents]

        def choose(request: str) -> Sequence[str]:
            return ids

        return team.build(self.checkpointer, create_agents_for_task=choose)

    def as_participant(self) -> Participant:
        """Make a function that takes part in a team around it."""

        def work(messages: Sequence[Any]) -> str:
            result = self.run(messages[-1].text)
            if not result.success:
                raise RuntimeError(result.reason)
            return str(result)

        return Participant(runs=work, description=self.name)


class AdaptiveOrchestrator(Orchestrator):
    """A team whose strategy a function selects for each task."""

    def __init__(
        self,
        agents: Sequence[MassGenAgent],
        strategy_selector: Callable[[str], str],
        **options: Any,
    ) -> None:
        super().__init__(agents, strategy=strategy_selector, **options)


class CompensatingOrchestrator(Orchestrator):
    """A team with an action for each kind of failure: a function, or one of the core's.

    Args:
        agents: Its agents.
        compensation_map: The actions, as those of `Compensation`.
        **options: Those of `Orchestrator`.
    """

    def __init__(
        self, agents: Sequence[MassGenAgent], compensation_map: Mapping[Any, Any], **options: Any
    ) -> None:
        policies = [Compensation(compensation_map), *options.pop("policies", ())]
        super().__init__(agents, policies=policies, **options)


class ParallelOrchestrator(Orchestrator):
    """A team that works at once, also on many tasks.

    Args:
        agents: Its agents.
        max_concurrent: How many agents, and how many tasks of a batch, work at once.
        batch_size: How many tasks make a group. None: all.
        use_thread_pool: Whether a batch runs in threads rather than in the event loop.
        **options: Those of `Orchestrator`.
    """

    def __init__(
        self,
        agents: Sequence[MassGenAgent],
        max_concurrent: int = 10,
        batch_size: int | None = None,
        use_thread_pool: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(agents, strategy="parallel", max_concurrent=max_concurrent, **options)
        self.batch_size, self.use_thread_pool = batch_size, use_thread_pool

    async def batch_process(self, tasks: Sequence[str]) -> list[Result]:
        """Do many tasks; what fails is a result without success, and the others go on."""
        workflow = self.build(self.checkpointer or InMemorySaver())
        sizes: dict[str, Any] = {
            "max_concurrent": self.max_concurrent,
            "batch_size": self.batch_size,
        }
        if self.use_thread_pool:
            done = await asyncio.to_thread(batch_process, workflow, tasks, **sizes)
        else:
            done = await abatch_process(workflow, tasks, **sizes)
        return [Result.of(_state_of(outcome)) for outcome in done]


def _state_of(outcome: BatchOutcome) -> Mapping[str, Any]:
    failed = {"status": outcome.status, "reason": outcome.error}
    return failed if outcome.values is None else as_dict(outcome.values)


def _request(task: str) -> WorkflowInput:
    return {"messages": [("user", task)]}


Agent = MassGenAgent
