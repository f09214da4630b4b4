"""The builder: it checks the options of a workflow, and compiles participants into a star.

Start here to read the core. Tests: tests/graphs/test_builder.py.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, cast

from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable
from langgraph.cache.base import BaseCache
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.store.base import BaseStore
from langgraph.types import RetryPolicy
from pydantic import BaseModel
from typing_extensions import TypeVar

from asterism.core.agent_spec import Agent, ModelLike, resolve_model
from asterism.core.defaults import Method
from asterism.core.digests import DIGEST_TOKENS
from asterism.core.steering import OnBusy
from asterism.errors import WorkflowBuildError
from asterism.events import EventBus
from asterism.graphs.star import create_star
from asterism.graphs.validation import find_faults, with_own_name
from asterism.graphs.workflow import Workflow
from asterism.graphs.workflow_config import WorkflowConfig
from asterism.limits.budgets import Budget
from asterism.limits.failure_policies import MODEL_RETRY, Policy
from asterism.limits.prices import DEFAULT_PRICES, PriceTable
from asterism.moved import hint_foreign_names
from asterism.nodes.decider import MAX_TASKS, AnyDecider, ConfigurableDecider, DecisionRules
from asterism.nodes.deciders.model_decider import (
    SupervisorOrchestratorExecutor,
    create_supervisor_agent,
    describe_participants,
)
from asterism.nodes.engine_keys import resolve_checkpointer
from asterism.nodes.participant_runtime import create_participant_runtime
from asterism.nodes.participant_spec import (
    MAX_STEPS,
    Participant,
    describe,
    describe_or_warn,
    tool_name,
)
from asterism.nodes.request import Finish, FinishWord, writer_of
from asterism.nodes.team import AgentCreationRules, Team, participant_of

if TYPE_CHECKING:
    from asterism.graphs.migrations import Migration
    from asterism.limits.contracts import Contract
    from asterism.limits.rate_limits import ResourceManager
    from asterism.memories.context_policies import ContextManager
    from asterism.memories.long_term import LongTermMemory
    from asterism.nodes.deciders.strategies import Selector, StrategyName, TeamChoice, TieRule

ParticipantSet = Mapping[str, Any] | Iterable[Any]
"""Participants by id, or those that have names of their own."""
M = TypeVar("M", bound=BaseModel, default=Any)
"""The model of the answer, where `finish` is one."""

Stall = Literal["replan", "ask_user", "finish"]
"""What happens when work stands still."""


@hint_foreign_names(
    "its parts are participants(...), with_strategy(...), events=, recalls= and model=; "
    "asterism.compat.massgen.Orchestrator takes them",
    *("agents", "orchestrators", "coordinator", "strategy", "memory", "event_bus", "tracer"),
)
class SupervisorWorkflowBuilder(Generic[M]):
    """Builds a supervisor workflow out of participants, in any order of calls.

    Args:
        name: What the workflow is called.
        description: What it is for; a workflow that is a participant is described by it.
        max_iterations: How many decisions one request may take; then the run ends with what
            there is and `status="limit"`.
        id: A name for programs. None: the name in lower case with hyphens.
        max_repairs: How often the model is asked again after a decision that is not valid.
        max_steps: How many model calls one visit may make, of an agent or a graph that has no
            limit of its own; then the visit ends with what it has found.
        model: A chat model, a `"provider:model"` name, or `"offline"`. It decides, writes
            the answer, and serves the participants that have no model of their own.
        client: Another name for `model`.
        prompt: Further instructions for the supervisor.
        finish: `"synthesize"` lets the model write the answer (without a model: as
            `"forward"`), `"forward"` hands on the last report byte for byte, `"inline"` takes
            the answer out of the decision that finishes, one call less, a pydantic model is filled
            in and returned as `structured_response`.
        answer_prompt: Further instructions for the model that writes the answer.
        fallback: What happens when no decision is valid within the bound: `"ask_user"`,
            `"finish"` or a participant. None: `RoutingError` is raised.
        require: Who must have answered before the request can be finished; a finish before
            that goes back to the supervisor with the reason.
        on_stall: What happens when a participant gives the same answer to the same
            instruction for the third time: `"replan"` tells the supervisor, and ends with
            `status="stalled"` when it insists; `"ask_user"` asks; `"finish"` ends.
        retry: How passing failures of the supervisor's model are retried. None: in three attempts.
        policies: What happens when a participant fails, first = outermost: `RetryPolicy`,
            `Timeout`, `CircuitBreaker`, `Compensation`. One that a participant has itself
            takes the place of the one here of its kind.
        budget: What one run may take; a participant may have a `Budget` of its own.
        task_budget: What each task of a plan may take.
        contracts: What all runs of a user, a tenant or the team may take together in a day, a week
            or a month.
        prices: What tokens cost.
        events: A bus that is told what happens: who is sent to work, what is asked, done, failed.
        recalls: A memory of which each participant is told, at each visit, what fits its request.
        max_parallel_tasks: How many tasks of a plan may run at once.
        plans: Whether the model may give several tasks at once; with one participant, or
            `max_parallel_tasks=1`, it is not offered to.
        decisions: How the model is asked for decisions and for a `finish` model: `"tool"`,
            `"json_schema"` or `"json"`. None: as the environment's `ASTERISM_DECISIONS` says, else
            as the model's profile says, and the next way where its server refuses or ignores one.
        max_tasks: How many tasks a plan of a model may have; the model is told of the limit when
            it gives more. Plans that code makes may have any number.
        thread_wait: How many seconds a call waits for a thread that another one drives.
        on_busy: What a message does on a thread that is driven all that time: `"steer"` hands it
            to the run under way and returns at once with `status="steered"`; `"queue"` leaves it
            for after that run; `"refuse"` raises `ThreadBusyError`.
        context: Keeps the prompts of the supervisor and of the answer short where conversations
            get long. None: they hold the whole conversation.
        resource_manager: Holds back the calls of the workflow's model and of its participants' own
            chat models. Graphs, functions and workflows see to that themselves. A run says its
            priority with `config={"configurable": {"priority": "high"}}`.
        debug: Whether the exception of a participant is raised rather than reported.
        version: The version of the team, which its threads are labelled with.
        migrations: How threads come from earlier versions to the next one, the oldest first; `""`
            is that of a team without one.
        digest_tokens: Above how many tokens a report is shown to the supervisor as a digest; it
            can read the whole, and the answer is written from it. None: never.

    Example:
        ```python
        workflow = (
            SupervisorWorkflowBuilder("Trip", model="openai:gpt-5-mini")
            .participants(flights=flights_graph, visa=check_visa)
            .build(checkpointer=saver)
        )
        ```
    """

    def __init__(
        self,
        name: str,
        description: str | None = None,
        max_iterations: int = 30,
        *,
        id: str | None = None,
        max_repairs: int = 2,
        max_steps: int = MAX_STEPS,
        model: ModelLike | None = None,
        client: ModelLike | None = None,
        prompt: str | None = None,
        finish: FinishWord | type[M] = "synthesize",
        answer_prompt: str = "",
        fallback: str | None = None,
        require: Sequence[str] = (),
        on_stall: Stall = "replan",
        retry: RetryPolicy | None = None,
        policies: Sequence[Policy] = (),
        budget: Budget | None = None,
        task_budget: Budget | None = None,
        contracts: "Sequence[Contract]" = (),
        prices: PriceTable = DEFAULT_PRICES,
        events: EventBus | None = None,
        recalls: "LongTermMemory | None" = None,
        max_parallel_tasks: int = 5,
        plans: bool = True,
        decisions: Method | None = None,
        max_tasks: int = MAX_TASKS,
        thread_wait: float = 0.0,
        on_busy: OnBusy = "steer",
        context: "ContextManager | None" = None,
        digest_tokens: int | None = DIGEST_TOKENS,
        resource_manager: "ResourceManager | None" = None,
        debug: bool = False,
        version: str = "",
        migrations: "Mapping[str, Migration] | None" = None,
    ) -> None:
        model = client if model is None else model
        self._name = name
        self._id = id or re.sub(r"[^\w]+", "-", name.strip().lower()).strip("-")
        self._description = description
        self._rules = DecisionRules(
            max_iterations=max_iterations,
            max_repairs=max_repairs,
            fallback=fallback,
            require=tuple(require),
            on_stall=on_stall,
            max_tasks=max_tasks,
            retry=retry or MODEL_RETRY,
            answers=finish == "inline",
        )
        self._max_steps = max_steps
        self._creation: AgentCreationRules | None = None
        self._policies = tuple(policies)
        self._budget = budget
        self._task_budget = task_budget
        self._contracts = tuple(contracts)
        self._prices = prices
        self._events = events
        self._recalls = recalls
        self._max_parallel_tasks = max_parallel_tasks
        self._plans = plans
        self._decisions: Method | None = decisions
        self._thread_wait = thread_wait
        self._on_busy: OnBusy = on_busy
        self._context = context
        self._digest_tokens = digest_tokens
        self._resource_manager = resource_manager
        self._debug = debug
        self._version, self._migrations = version, dict(migrations or {})
        self._model = model
        self._prompt = prompt
        self._finish: Finish = finish
        self._answer_prompt = answer_prompt
        self._manager: AnyDecider | None = None
        self._executor: SupervisorOrchestratorExecutor | None = None
        self._participants: list[tuple[str, Any]] = []
        self._context_schema: type[Any] | None = None

    def __repr__(self) -> str:
        team = [name for name, _ in self._participants]
        return f"{type(self).__name__}({self._name!r}, model={self._model!r}, participants={team})"

    def participants(self, team: ParticipantSet = (), /, **by_id: Any) -> Self:
        """Add participants, by name, as a mapping, or as a list of what has a name.

        A participant is a compiled graph, an agent, a Runnable, a chat model, a sync or async
        function of messages, another workflow, an `Agent`, or a `Participant`.

        Args:
            team: A mapping of ids to participants; or a list of functions, graphs, agents and
                `Agent`s, each under its own name.
            **by_id: Participants under their ids.

        Raises:
            WorkflowBuildError: Something in a list has no name; an `Agent` names a tool.
        """
        if isinstance(team, Mapping):
            members = [*cast(Mapping[str, Any], team).items()]
        else:
            members = [with_own_name(self._name, thing) for thing in team]
        for name, thing in (*members, *by_id.items()):
            if isinstance(thing, Agent):
                try:
                    thing = participant_of(thing, AgentCreationRules())
                except LookupError as error:
                    raise WorkflowBuildError(self._name, [f"{error}; give functions"]) from error
            self._participants.append((name, thing))
        return self

    def with_participants(self, team: ParticipantSet = (), /, **by_id: Any) -> Self:
        """Add participants: another name for `participants`."""
        return self.participants(team, **by_id)

    def with_manager(self, decider: AnyDecider | SupervisorOrchestratorExecutor) -> Self:
        """Let `decider` decide rather than the model: a rule, a classifier, a person."""
        self._executor = decider if isinstance(decider, SupervisorOrchestratorExecutor) else None
        if isinstance(decider, SupervisorOrchestratorExecutor):
            decider = decider.supervisor_agent
        self._manager = decider
        return self

    def with_model(self, model: ModelLike) -> Self:
        """Return a copy that is built with another model; this builder stays as it is.

        Participants and deciders that were given a model of their own keep it.
        """
        other = copy(self)
        other._model, other._participants = model, [*self._participants]
        if self._creation is not None:
            other._creation = replace(self._creation, model=model)
        return other

    def with_prompt(self, prompt: str) -> Self:
        """Return a copy whose supervisor follows further instructions, also when it answers."""
        other = copy(self)
        other._participants = [*self._participants]
        other._prompt = "\n\n".join(filter(None, (self._prompt, prompt)))
        other._answer_prompt = "\n\n".join(filter(None, (self._answer_prompt, prompt)))
        return other

    def with_context_schema(self, schema: type[Any]) -> Self:
        """Set the schema of `context=`, as LangGraph's `StateGraph` takes it.

        Tools and graphs of participants read the value as `runtime.context`.

        Args:
            schema: A pydantic model, a dataclass or a `TypedDict`.
        """
        self._context_schema = schema
        return self

    def with_strategy(
        self,
        strategy: "StrategyName | Selector | None" = None,
        *,
        strategy_selector: "Selector | None" = None,
        create_agents_for_task: "TeamChoice | None" = None,
        available_tools: Sequence[Any] = (),
        majority: float = 0.5,
        tie: "TieRule" = "revote",
    ) -> Self:
        """Let a fixed strategy decide rather than the model.

        Args:
            strategy: `"sequential"`, `"parallel"`, `"consensus"` or `"hierarchical"` (the
                first participant leads), or a function that picks one for a request.
            strategy_selector: Another name for `strategy`, for a function.
            create_agents_for_task: Chooses for a request who works on it: participants by
                id, or specs of agents, which are created on the workflow's model.
            available_tools: What agents may call that are created.
            majority: Consensus: a winner has more than this share of the votes.
            tie: Consensus without a winner: `"revote"` once and then fail, `"first"` takes
                the first of those with most votes, `"fail"` fails at once.
        """
        from asterism.nodes.deciders.strategies import TeamStrategy

        self._executor = None
        chosen: Any = strategy_selector if strategy is None else strategy
        self._manager = TeamStrategy(
            name=chosen,
            create_agents_for_task=create_agents_for_task,
            majority=majority,
            tie=tie,
        )
        if create_agents_for_task is not None:
            tools = {tool_name(tool): tool for tool in available_tools}
            self._creation = AgentCreationRules(
                tools=tools, model=self._model, max_steps=self._max_steps
            )
        return self

    def build(
        self,
        checkpointer: BaseCheckpointSaver[Any] | str | bool | None = None,
        store: BaseStore | str | None = None,
        cache: BaseCache[Any] | None = None,
    ) -> Workflow[M]:
        """Check everything and compile the star.

        Args:
            checkpointer: Where threads are stored: a saver, or a database that stays open for as
                long as the process lives, as `"sqlite:///threads.db"` or `"threads.db"`. Without
                one nothing is remembered, and nobody can be asked.
            store: The long-term store that nodes and tools are given, or its database.
            cache: The cache for nodes that have a cache policy.

        Raises:
            WorkflowBuildError: Every fault that was found, each with the way out.
            StorageError: A database cannot be opened.
        """
        faults = find_faults(
            checkpointer=checkpointer,
            participants=self._participants,
            creates=self._creation is not None,
            model=self._model,
            manager=self._manager,
            rules=self._rules,
            finish=self._finish,
            max_steps=self._max_steps,
            thread_wait=self._thread_wait,
            on_busy=self._on_busy,
            policies=self._policies,
            max_parallel_tasks=self._max_parallel_tasks,
            context=self._context,
            digest_tokens=self._digest_tokens,
            decisions=self._decisions,
            resource_manager=self._resource_manager,
            version=self._version,
            migrations=self._migrations,
        )
        if self._executor is not None:
            faults += self._executor.faults(name for name, _ in self._participants)
        if faults:
            raise WorkflowBuildError(self._name, faults)
        saver: BaseCheckpointSaver[Any] | bool | None = resolve_checkpointer(checkpointer)
        if isinstance(store, str):
            from asterism.storage.open import keep_open, open_store

            store = keep_open(open_store(store))
        model = None if self._model is None else resolve_model(self._model)
        if model is not None and self._resource_manager is not None:
            model = self._resource_manager.wrap(model)
        team, compactor, made_of = self._team(model), None, lru_cache(1)(copy(self)._made_of)
        if self._context is not None:
            from asterism.nodes.compaction import compactor_of

            compactor = compactor_of(self._context, model)
        star = create_star(
            team,
            decider=self._decider(team, model),
            rules=self._rules,
            write=writer_of(self._finish, model, self._answer_prompt, compactor, self._decisions),
            max_parallel_tasks=self._max_parallel_tasks,
            compactor=compactor,
            context_schema=self._context_schema,
            made_of=made_of,
        )
        facts = WorkflowConfig(
            id=self._id,
            description=self._description,
            version=self._version,
            migrations=self._migrations,
            made_of=made_of,
            team=team,
            response_format=self._finish if isinstance(self._finish, type) else None,
            thread_wait=self._thread_wait,
            on_busy=self._on_busy,
            budget=self._budget,
            contracts=self._contracts,
            prices=self._prices,
            events=self._events,
            instructions=(self._prompt or "", self._answer_prompt),
            debug=self._debug,
            find_models=lru_cache(1)(copy(self)._find_models),
            remade=partial(copy(self)._remade, tuple(self._participants), saver, store),
        )
        compiled = star.compile(saver, cache=cache, store=store, name=self._name)
        return Workflow.of(compiled, facts)

    def _remade(
        self,
        participants: Sequence[tuple[str, Any]],
        checkpointer: BaseCheckpointSaver[Any] | bool | None,
        store: BaseStore | None,
        name: str,
        instead: Any,
    ) -> Workflow[M]:
        """Build the same workflow with another participant under a name."""
        if describe(instead) is None:
            old = next(thing for known, thing in participants if known == name)
            instead = Participant(runs=instead, description=describe(old) or name)
        self._participants = [(k, instead if k == name else thing) for k, thing in participants]
        return self.build(checkpointer, store)

    def _made_of(self) -> dict[str, str]:
        """Return the hashes of what models are asked, by participant."""
        from asterism.nodes.hashes import hashes_of

        said = (self._prompt, self._answer_prompt, self._finish, self._context, self._manager)
        options = (*said, self._plans, self._decisions, self._digest_tokens)
        return hashes_of(options, dict(self._participants), self._model, self)

    def _find_models(self) -> tuple[str, ...]:
        """Name the models that the workflow calls: to decide, to write, in its participants."""
        from asterism.nodes.models_used import find_models

        default = None if self._model is None else resolve_model(self._model)
        idle = self._manager is not None and self._finish == "forward" and self._creation is None
        team = (thing for _, thing in self._participants)
        return find_models(None if idle else default, self._manager, *team, default=default)

    def _team(self, model: Runnable[Any, AIMessage] | None) -> Team:
        held = self._resource_manager
        default = self._model if held is None else model
        members = {
            name: create_participant_runtime(
                name,
                thing,
                default,
                self._policies,
                self._task_budget,
                self._recalls,
                self._max_steps,
                held,
            )
            for name, thing in self._participants
        }
        descriptions = {name: describe_or_warn(name, thing) for name, thing in self._participants}
        creation = self._creation
        if creation is not None and held is not None:
            creation = replace(creation, model=default, resource_manager=held)
        return Team(descriptions, members, creation=creation, policies=self._policies)

    def _decider(self, team: Team, model: Runnable[Any, AIMessage] | None) -> AnyDecider:
        if self._manager is not None or model is None:
            assert self._manager is not None
            manager: object = self._manager
            if isinstance(manager, ConfigurableDecider):
                return manager.with_policies(self._policies)
            return self._manager
        return create_supervisor_agent(
            model,
            describe_participants(team.descriptions),
            prompt=self._prompt,
            digest_tokens=self._digest_tokens,
            plans=self._plans and self._max_parallel_tasks > 1,
            answers=self._rules.answers,
            decisions=self._decisions,
        )
