"""The orchestrator: a main agent that splits requests into tasks for agents of its own.

Open it for `AgentOrchestrator`, its configuration and its answers.
Tests: tests/graphs/test_orchestrator.py.
"""

import dataclasses
import uuid
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, Self

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver

from asterism.core.agent_spec import HOMES, Agent, ModelLike, resolve_model
from asterism.core.defaults import Method
from asterism.core.interrupts import apending_requests
from asterism.core.numbers import count_faults, seconds_faults
from asterism.core.plan import SubAgentTask, name_dependencies, plan_faults
from asterism.core.supervisor_decision import SupervisorDecision
from asterism.core.sync_async import Started, arun_steps
from asterism.core.values import as_dict, as_list
from asterism.errors import InvalidRequestError, UnknownParticipantError, WorkflowBuildError
from asterism.events import EventBus
from asterism.graphs.participant_memory import memory
from asterism.graphs.responses import (
    OrchestratorResponse,
    ToolOutputs,
    build_response,
    tool_outputs,
)
from asterism.graphs.star import create_star
from asterism.graphs.validation import decisions_faults, name_faults
from asterism.graphs.workflow import Workflow
from asterism.graphs.workflow_config import WorkflowConfig
from asterism.limits.budgets import Budget
from asterism.limits.failure_policies import (
    AGENT_RETRY,
    MODEL_RETRY,
    Compensation,
    Policy,
    Timeout,
    UndoAll,
    merge_policies,
    policy_faults,
)
from asterism.limits.prices import DEFAULT_PRICES, PriceTable
from asterism.nodes.compaction import compactor_of
from asterism.nodes.decider import MAX_TASKS, AnyDecider, DecisionRules
from asterism.nodes.deciders.planner import PlanningDecider, Way
from asterism.nodes.engine_keys import resolve_checkpointer
from asterism.nodes.participant_runtime import create_participant_runtime
from asterism.nodes.participant_spec import MAX_STEPS, tool_name
from asterism.nodes.request import Writer, forward_last_report, synthesizer
from asterism.nodes.team import AgentCreationRules, Team, participant_of
from asterism.nodes.view import SupervisorView

if TYPE_CHECKING:
    from asterism.limits.contracts import Contract


class AgentOrchestrator:
    """A main agent that gives tasks to agents of a team, many at once.

    Its graph is the star of every workflow: checkpoints, questions to people, Studio and
    traces are the same. Agents that are registered or removed while a request is under way
    take part, or are missed, from its next decision on.

    Args:
        main_agent: Who plans and answers; with tools, it may give tasks to itself, too.
        available_tools: What agents may call that are named in specs, or created.
        max_parallel_tasks: How many tasks run at once.
        max_tasks: How many tasks a plan of a model may have; the model is told of the limit when
            it gives more. Plans that code makes may have any number.
        max_retries: How often a task that failed is tried again.
        retry_delay: Seconds before the first retry.
        retry_backoff: By how much the wait grows with each retry.
        retry_timeout: Seconds that one attempt may take. None: no limit.
        fallback_model: The model of a call that failed on the agent's own, for that call only.
        subagent_provider: The provider of `subagent_model`.
        subagent_model: The model of created agents. None: the main agent's. Created agents
            exist only where this or a designer is given, or `dynamic` is set.
        subagent_designer_provider: The provider of `subagent_designer_model`.
        subagent_designer_model: Who designs new agents. None: the main agent does.
        dynamic: Whether agents may be created. None: as the models above say.
        planning: How the main agent says what it plans: `"structured"` or `"tools"`.
        decisions: How models are asked for plans: `"tool"`, `"json_schema"` or `"json"`, where
            the main agent's spec does not say it. None: as each model is able to.
        allow_recursion: Whether created agents may create agents, one level down.
        max_agents: How many agents there may be in all.
        max_iterations: How many plans a request may take.
        max_steps: How many model calls one visit of an agent may make; then it ends with what it
            has found.
        policies: Further policies of all agents, as a `CircuitBreaker` or a `Compensation`.
        budget: What one request may take.
        contracts: What all requests of a user, a tenant or the team may take together.
        prices: What tokens cost.
        events: A bus that is told what happens.
        checkpointer: Where threads are stored: a saver, or a database. None: in memory.

    Raises:
        WorkflowBuildError: The main agent has no model, or two tools have one name.
    """

    def __init__(
        self,
        main_agent: Agent,
        available_tools: Iterable[Any] = (),
        *,
        max_parallel_tasks: int = 5,
        max_tasks: int = MAX_TASKS,
        max_retries: int = 3,
        retry_delay: float = 1.0,
        retry_backoff: float = 2.0,
        retry_timeout: float | None = None,
        fallback_model: ModelLike | None = None,
        subagent_provider: str | None = None,
        subagent_model: ModelLike | None = None,
        subagent_designer_provider: str | None = None,
        subagent_designer_model: ModelLike | None = None,
        dynamic: bool | None = None,
        planning: Way = "structured",
        decisions: Method | None = None,
        allow_recursion: bool = False,
        max_agents: int = 20,
        max_iterations: int = 30,
        max_steps: int = MAX_STEPS,
        policies: Sequence[Policy] = (),
        budget: Budget | None = None,
        contracts: "Sequence[Contract]" = (),
        prices: PriceTable = DEFAULT_PRICES,
        events: EventBus | None = None,
        checkpointer: BaseCheckpointSaver[Any] | str | None = None,
    ) -> None:
        named = {tool_name(tool): tool for tool in available_tools}
        self._main, self._fallback = main_agent, fallback_model
        model = main_agent.model_like()
        faults = [
            *([] if model is not None else ["the main agent has no model"]),
            *count_faults("max_parallel_tasks", max_parallel_tasks, least=1),
            *count_faults("max_tasks", max_tasks, least=1),
            *count_faults("max_retries", max_retries, least=0),
            *count_faults("max_agents", max_agents, least=1),
            *count_faults("max_iterations", max_iterations, least=1),
            *count_faults("max_steps", max_steps, least=1),
            *seconds_faults("retry_delay", retry_delay),
            *seconds_faults("retry_backoff", retry_backoff),
            *_provider_faults("subagent", subagent_provider, subagent_model),
            *_provider_faults(
                "subagent_designer", subagent_designer_provider, subagent_designer_model
            ),
        ]
        faults += policy_faults(policies, [])
        if any(isinstance(p, Compensation) and UndoAll() in p.actions.values() for p in policies):
            faults.append("a Compensation says UndoAll(), and no agent can undo anything")
        faults += decisions_faults(decisions)
        if model is None or faults:
            raise WorkflowBuildError(main_agent.agent_id, faults)
        self._model = resolve_model(model)
        if fallback_model is not None:
            self._model = self._model.with_fallbacks([resolve_model(fallback_model)])
        designer = _model(subagent_designer_provider, subagent_designer_model)
        created = _model(subagent_provider, subagent_model)
        if dynamic is None:
            dynamic = designer is not None or created is not None
        self._tools = named
        self._planning: Way = planning
        self._decisions: Method | None = decisions
        self._designer = None if designer is None else resolve_model(designer)
        retry = AGENT_RETRY._replace(
            initial_interval=retry_delay,
            backoff_factor=retry_backoff,
            max_attempts=max_retries + 1,
        )
        limits: list[Policy] = [] if retry_timeout is None else [Timeout(retry_timeout)]
        self._policies = tuple(merge_policies([retry, *limits], policies))
        self._max_parallel_tasks = max_parallel_tasks
        self._rules = DecisionRules(
            max_iterations=max_iterations,
            max_repairs=2,
            max_tasks=max_tasks,
            retry=MODEL_RETRY,
        )
        creation = AgentCreationRules(
            tools=named,
            model=created if created is not None else model,
            max_steps=max_steps,
            limit=max_agents,
            allowed=dynamic,
            planner=self._create_nested if allow_recursion else None,
        )
        self._creation = creation
        self._budget, self._prices, self._events = budget, prices, events
        self._contracts = tuple(contracts)
        self._team = Team({}, {}, creation=creation, policies=self._policies)
        self._specs: dict[str, Agent] = {}
        HOMES.add(self)
        self._saver: BaseCheckpointSaver[Any] | None = (
            resolve_checkpointer(checkpointer) or InMemorySaver()
        )
        self._graph: Workflow | None = None
        self.thread_id = uuid.uuid4().hex
        """The thread of requests that name none."""
        if main_agent.tools:
            self.register_subagent(main_agent)

    @property
    def graph(self) -> Workflow:
        """The workflow of everybody who is registered now."""
        if self._graph is None:
            self._graph = self._compile()
        return self._graph

    @property
    def subagents(self) -> Mapping[str, str]:
        """Who is registered, id and description."""
        return dict(self._team.descriptions)

    def register_subagent(self, agent: Agent, *, replace: bool = False) -> Self:
        """Let an agent take part, also in a request that is under way.

        Args:
            agent: Its spec.
            replace: Whether it takes the place of the one of its name, with its history.

        Raises:
            WorkflowBuildError: The name is taken, or a tool is not available.
        """
        faults = list(name_faults(agent.agent_id))
        if agent.agent_id in self._team.members and not replace:
            faults.append(
                f"there is an agent {agent.agent_id!r} already; say replace=True to replace it"
            )
        if faults:
            raise WorkflowBuildError(self._main.agent_id, faults)
        try:
            spec = participant_of(agent, self._creation)
        except LookupError as error:
            raise WorkflowBuildError(self._main.agent_id, [str(error)]) from error
        thing = spec if spec.runs else dataclasses.replace(spec, fallback_model=self._fallback)
        self._team.members[agent.agent_id] = create_participant_runtime(
            agent.agent_id,
            thing,
            self._model,
            self._policies,
            max_steps=self._creation.max_steps,
        )
        self._team.descriptions[agent.agent_id] = agent.summary()
        self._specs[agent.agent_id] = agent
        self._graph = None
        return self

    def unregister_subagent(self, agent_id: str) -> Self:
        """Let an agent take part no longer. Its history stays; work for it is reported.

        Raises:
            UnknownParticipantError: It is not registered.
        """
        if agent_id not in self._team.members:
            listed = ", ".join(self._team.members) or "nobody"
            raise UnknownParticipantError(f"{agent_id!r} is not registered; there is {listed}")
        del self._team.members[agent_id], self._team.descriptions[agent_id]
        self._specs.pop(agent_id, None)
        self._graph = None
        return self

    async def process(
        self, messages: str | Sequence[Any], *, thread_id: str | None = None
    ) -> OrchestratorResponse:
        """Work on a request to its answer, or to the next question to a person.

        Args:
            messages: The request: a text or messages.
            thread_id: The conversation that it belongs to. None: that of this orchestrator.
        """
        place = self._place(thread_id)
        given = [("user", messages)] if isinstance(messages, str) else as_list(messages)
        return await self._response(await self.graph.ainvoke({"messages": given}, place), place)

    async def process_tasks(
        self,
        tasks: Sequence[SubAgentTask | Mapping[str, Any]],
        *,
        thread_id: str | None = None,
    ) -> OrchestratorResponse:
        """Work on a plan of one's own: no model plans, and the last report is the answer.

        Args:
            tasks: The plan. Its dependencies are tasks, or agents that have one task in it.
            thread_id: The conversation that it belongs to. None: that of this orchestrator.

        Raises:
            InvalidRequestError: It is no plan; the message lists every fault.
        """
        read = [SubAgentTask.model_validate(task) for task in tasks]
        plan = name_dependencies(read)
        faults = plan_faults(plan, list(self._team.members)) or (
            [] if plan else ["there is no task in it; give at least one"]
        )
        if faults:
            raise InvalidRequestError(f"The tasks make no plan: {'; '.join(faults)}.")

        def decide(view: SupervisorView) -> SupervisorDecision:
            return SupervisorDecision(next_agent=None, tasks=[] if view.reports else plan)

        graph = self._compile(decide, forward_last_report())
        place = self._place(thread_id)
        asked = "\n".join(task.task_description for task in plan)
        return await self._response(
            await graph.ainvoke({"messages": [("user", asked)]}, place), place
        )

    def clear_memory(self, agent_id: str, *, thread_id: str | None = None) -> Awaitable[None]:
        """Let an agent forget everything of a conversation, whether this is awaited or not.

        Raises:
            UnknownParticipantError: There is no such agent in it.
            InvalidMemoryError: It is at work, or waits for a person.
            ThreadBusyError: Somebody drives the thread.
        """
        return Started([self.forget(agent_id, thread_id)])

    def clear_all_memory(self, *, thread_id: str | None = None) -> Awaitable[None]:
        """Let all agents forget everything of a conversation, whether this is awaited or not."""
        return Started([self._clear_all(thread_id)])

    def has_spec(self, agent: Agent) -> bool:
        """Whether this very agent is registered."""
        return self._specs.get(agent.agent_id) is agent

    async def forget(self, agent_id: str, thread_id: str | None = None) -> None:
        """Let an agent forget a conversation; see `clear_memory`."""
        await memory(self.graph, self._place(thread_id), agent_id).aforget()

    async def _clear_all(self, thread_id: str | None) -> None:
        found = await self.graph.aget_state(self._place(thread_id))
        for agent_id in self._team.live(as_dict(found.values)):
            await self.forget(agent_id, thread_id)

    def _place(self, thread_id: str | None) -> RunnableConfig:
        return {"configurable": {"thread_id": thread_id or self.thread_id}}

    async def _response(self, values: Any, place: RunnableConfig) -> OrchestratorResponse:
        pending = await apending_requests(self.graph, place) if "__interrupt__" in values else []
        stored = await self.graph.aget_state(place)
        known = {**values, "agents": stored.values.get("agents")}
        main = self._main.agent_id
        outputs = await arun_steps(tool_outputs(known, self._team, place, self._saver, main))
        return build_response(values, pending, ToolOutputs(outputs, self.graph, place))

    def _compile(self, manager: AnyDecider | None = None, write: Writer | None = None) -> Workflow:
        creation = self._creation
        decider = PlanningDecider(
            self._model,
            way=self._planning,
            tools=creation.tools if creation.allowed else None,
            designer=self._designer,
            prompt=self._main.system_prompt,
            decisions=self._main.decisions or self._decisions,
        )
        compactor = compactor_of(self._main.memory_config, self._model)
        star = create_star(
            self._team,
            decider=manager or decider,
            rules=self._rules,
            write=write or synthesizer(self._model, compactor=compactor),
            max_parallel_tasks=self._max_parallel_tasks,
            compactor=compactor,
        )
        facts = WorkflowConfig(
            id=self._main.agent_id,
            description=self._main.description,
            team=self._team,
            budget=self._budget,
            contracts=self._contracts,
            prices=self._prices,
            events=self._events,
            instructions=(self._main.system_prompt or "",),
        )
        return Workflow.of(star.compile(self._saver, name=self._main.agent_id), facts)

    def _create_nested(self, agent: Agent) -> Workflow:
        """Make an orchestrator of a created agent that may create agents itself."""
        inner = copy(self)
        inner._main = agent.model_copy(update={"tools": []})
        inner._model = resolve_model(agent.model_like() or self._creation.model or self._model)
        creation = dataclasses.replace(self._creation, planner=None)
        inner._team = Team({}, {}, creation=creation, policies=self._policies)
        inner._saver = None
        return inner._compile()


def _provider_faults(role: str, provider: str | None, model: object) -> list[str]:
    if provider is None or model is not None:
        return []
    return [f"{role}_provider is {provider!r}, and there is no {role}_model; give both, or neither"]


def _model(provider: str | None, model: Any) -> ModelLike | None:
    return Agent(agent_id="model", provider=provider, model=model).model_like()
