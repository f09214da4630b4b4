"""The builder: it checks the options of a workflow, and compiles participants into a star.

Start here to read the core. Tests: tests/graphs/test_builder.py.
"""

import re
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Literal, Self

from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable
from langgraph.cache.base import BaseCache
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.store.base import BaseStore
from langgraph.types import RetryPolicy

from asterism.core.agent_spec import ModelLike, resolve_model
from asterism.core.defaults import Method
from asterism.core.digests import DIGEST_TOKENS
from asterism.errors import WorkflowBuildError
from asterism.events import EventBus
from asterism.graphs.star import create_star
from asterism.graphs.validation import find_faults
from asterism.graphs.workflow import Workflow, WorkflowConfig
from asterism.limits.budgets import Budget
from asterism.limits.failure_policies import MODEL_RETRY, Policy
from asterism.limits.prices import DEFAULT_PRICES, PriceTable
from asterism.nodes.decider import MAX_TASKS, AnyDecider, ConfigurableDecider, DecisionRules
from asterism.nodes.deciders.model_decider import create_supervisor_agent, describe_participants
from asterism.nodes.participant_runtime import create_participant_runtime
from asterism.nodes.participant_spec import MAX_STEPS, Participant, describe, describe_or_warn
from asterism.nodes.request import Finish, writer_of
from asterism.nodes.team import AgentCreationRules, Team, tool_name

if TYPE_CHECKING:
    from asterism.memories.context_policies import ContextManager
    from asterism.memories.long_term import LongTermMemory
    from asterism.nodes.deciders.strategies import Selector, StrategyName, TeamChoice, TieRule

Stall = Literal["replan", "ask_user", "finish"]
"""What happens when work stands still."""


class SupervisorWorkflowBuilder:
    """Builds a supervisor workflow out of participants, in any order of calls.

    Args:
        name: What the workflow is called.
        id: A name for programs. None: the name in lower case with hyphens.
        description: What it is for; a workflow that is a participant is described by it.
        max_iterations: How many decisions one request may take; then the run ends with what
            there is and `status="limit"`.
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
        retry: How passing failures of the supervisor's model are retried.
        policies: What happens when a participant fails, first = outermost: `RetryPolicy`,
            `Timeout`, `CircuitBreaker`, `Compensation`. One that a participant has itself
            takes the place of the one here of its kind.
        budget: What one run may take; a participant may have a `Budget` of its own.
        task_budget: What each task of a plan may take.
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
        thread_wait: How many seconds a call waits for a thread that another one drives,
            before it raises `ThreadBusyError`.
        context: Keeps the prompts of the supervisor and of the answer short where conversations
            get long. None: they hold the whole conversation.
        debug: Whether the exception of a participant is raised, so that its traceback is seen,
            rather than reported to the supervisor.
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
        *,
        id: str | None = None,
        description: str | None = None,
        max_iterations: int = 30,
        max_repairs: int = 2,
        max_steps: int = MAX_STEPS,
        model: ModelLike | None = None,
        client: ModelLike | None = None,
        prompt: str | None = None,
        finish: Finish = "synthesize",
        answer_prompt: str = "",
        fallback: str | None = None,
        require: Sequence[str] = (),
        on_stall: Stall = "replan",
        retry: RetryPolicy = MODEL_RETRY,
        policies: Sequence[Policy] = (),
        budget: Budget | None = None,
        task_budget: Budget | None = None,
        prices: PriceTable = DEFAULT_PRICES,
        events: EventBus | None = None,
        recalls: "LongTermMemory | None" = None,
        max_parallel_tasks: int = 5,
        plans: bool = True,
        decisions: Method | None = None,
        max_tasks: int = MAX_TASKS,
        thread_wait: float = 0.0,
        context: "ContextManager | None" = None,
        digest_tokens: int | None = DIGEST_TOKENS,
        debug: bool = False,
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
            retry=retry,
            answers=finish == "inline",
        )
        self._max_steps = max_steps
        self._creation: AgentCreationRules | None = None
        self._policies = tuple(policies)
        self._budget = budget
        self._task_budget = task_budget
        self._prices = prices
        self._events = events
        self._recalls = recalls
        self._max_parallel_tasks = max_parallel_tasks
        self._plans = plans
        self._decisions: Method | None = decisions
        self._thread_wait = thread_wait
        self._context = context
        self._digest_tokens = digest_tokens
        self._debug = debug
        self._model = model
        self._prompt = prompt
        self._finish: Finish = finish
        self._answer_prompt = answer_prompt
        self._manager: AnyDecider | None = None
        self._participants: list[tuple[str, Any]] = []

    def participants(self, team: Mapping[str, Any] | None = None, /, **by_id: Any) -> Self:
        """Add participants, each under its id, as a mapping or by name.

        A participant is a compiled graph, an agent, a Runnable, a chat model, a sync or async
        function of messages, another workflow, or a `Participant`.
        """
        self._participants.extend([*(team or {}).items(), *by_id.items()])
        return self

    def with_participants(self, team: Mapping[str, Any] | None = None, /, **by_id: Any) -> Self:
        """Add participants: another name for `participants`."""
        return self.participants(team, **by_id)

    def with_manager(self, decider: AnyDecider) -> Self:
        """Let `decider` decide rather than the model: a rule, a classifier, a person."""
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
        checkpointer: BaseCheckpointSaver[Any] | bool | None = None,
        store: BaseStore | None = None,
        cache: BaseCache[Any] | None = None,
    ) -> Workflow:
        """Check everything and compile the star.

        Args:
            checkpointer: Where threads are stored. Without one nothing is remembered, and
                nobody can be asked.
            store: The long-term store that nodes and tools are given.
            cache: The cache for nodes that have a cache policy.

        Raises:
            WorkflowBuildError: Every fault that was found, each with the way out.
        """
        faults = find_faults(
            participants=self._participants,
            creates=self._creation is not None,
            model=self._model,
            manager=self._manager,
            rules=self._rules,
            finish=self._finish,
            max_steps=self._max_steps,
            thread_wait=self._thread_wait,
            policies=self._policies,
            max_parallel_tasks=self._max_parallel_tasks,
            context=self._context,
            digest_tokens=self._digest_tokens,
            decisions=self._decisions,
        )
        if faults:
            raise WorkflowBuildError(self._name, faults)
        model = None if self._model is None else resolve_model(self._model)
        team, compactor = self._team(), None
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
        )
        facts = WorkflowConfig(
            id=self._id,
            description=self._description,
            team=team,
            response_format=self._finish if isinstance(self._finish, type) else None,
            thread_wait=self._thread_wait,
            budget=self._budget,
            prices=self._prices,
            events=self._events,
            instructions=(self._prompt or "", self._answer_prompt),
            debug=self._debug,
            find_models=lru_cache(1)(copy(self)._find_models),
            remade=partial(copy(self)._remade, tuple(self._participants), checkpointer, store),
        )
        compiled = star.compile(checkpointer, cache=cache, store=store, name=self._name)
        return Workflow.of(compiled, facts)

    def _remade(
        self,
        participants: Sequence[tuple[str, Any]],
        checkpointer: BaseCheckpointSaver[Any] | bool | None,
        store: BaseStore | None,
        name: str,
        instead: Any,
    ) -> Workflow:
        """Build the same workflow with another participant under a name."""
        if describe(instead) is None:
            old = next(thing for known, thing in participants if known == name)
            instead = Participant(runs=instead, description=describe(old) or name)
        self._participants = [(k, instead if k == name else thing) for k, thing in participants]
        return self.build(checkpointer, store)

    def _find_models(self) -> tuple[str, ...]:
        """Name the models that the workflow calls: to decide, to write, in its participants."""
        from asterism.nodes.models_used import find_models

        default = None if self._model is None else resolve_model(self._model)
        idle = self._manager is not None and self._finish == "forward" and self._creation is None
        team = (thing for _, thing in self._participants)
        return find_models(None if idle else default, self._manager, *team, default=default)

    def _team(self) -> Team:
        members = {
            name: create_participant_runtime(
                name,
                thing,
                self._model,
                self._policies,
                self._task_budget,
                self._recalls,
                self._max_steps,
            )
            for name, thing in self._participants
        }
        descriptions = {name: describe_or_warn(name, thing) for name, thing in self._participants}
        return Team(descriptions, members, creation=self._creation, policies=self._policies)

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
