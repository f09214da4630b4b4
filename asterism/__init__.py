"""Asterism: a supervisor workflow toolkit on LangGraph.

    from asterism import Participant, SupervisorWorkflowBuilder

    team = (
        SupervisorWorkflowBuilder("Trip", model="offline")
        .participants(prices=Participant(tools=[ticket_price], description="Prices tickets."))
        .build(checkpointer="sqlite:///trips.db")
    )
    team.invoke({"messages": [("user", "Tickets to Rome")]}, {"configurable": {"thread_id": "1"}})

Build a team:      SupervisorWorkflowBuilder, Participant, Agent, Service, AgentOrchestrator
Answer questions:  pending_requests, resume, proceed
Limit and retry:   Budget, ResourceManager, Timeout, CircuitBreaker, Compensation, PriceTable
Remember:          ContextManager, memory, LongTermMemory, SharedMemory, ResponseCache
See what ran:      read_run, generate_orchestrator_flowchart, generate_timeline, show, instrument
Try otherwise:     what_if, compare_runs, evaluate_team, check
Operate:           serve, open_checkpointer, create_service_app, AgentSupervisor, batch_process
Test:              asterism.testing

help(asterism.Participant) explains one name, dir(asterism) lists all of them. The command line is
`asterism --help`.
"""

import logging
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asterism.moved import MovedModules

if not Path(__file__).with_name("graphs").is_dir():  # a checkout whose links were stripped
    __path__.append(str(Path(__file__).parents[1]))

logging.getLogger(__name__).addHandler(logging.NullHandler())

if TYPE_CHECKING:
    from asterism.apps.change_check import acheck, check
    from asterism.apps.evaluation import aevaluate_team, evaluate_team
    from asterism.apps.evaluation_data import aexamples_from_threads, examples_from_threads
    from asterism.apps.question_clock import (
        QuestionClock,
        Webhook,
        acheck_questions,
        asignal,
        awatch_questions,
    )
    from asterism.apps.serving import create_service_app
    from asterism.apps.team_comparison import TeamComparison, acompare_teams, compare_teams
    from asterism.apps.ui.opening import serve
    from asterism.core.agent_spec import Agent, MemoryConfig, Personality
    from asterism.core.continuation import aproceed, idempotency_key, proceed
    from asterism.core.interrupts import (
        PendingRequest,
        apending_requests,
        aresume,
        pending_requests,
        resume,
    )
    from asterism.core.messages import convert_tool_content_to_text
    from asterism.core.plan import ExecutionMode, SubAgentTask
    from asterism.core.run_types import WorkflowInput, WorkflowResult
    from asterism.core.supervisor_decision import HumanFeedbackRequest, SupervisorDecision
    from asterism.core.timers import wait_for_event, wait_until
    from asterism.core.usage import Usage, lines_of, total_cost_breakdown
    from asterism.errors import AsterismError
    from asterism.events import (
        Event,
        EventBus,
        SupervisionEvent,
        SupervisionEventType,
        WorkflowEventType,
    )
    from asterism.graphs.builder import SupervisorWorkflowBuilder
    from asterism.graphs.catalog import graph_factory
    from asterism.graphs.examples.toy_example import ToyExampleSupervisor
    from asterism.graphs.examples.update_manifest import UpdateManifestSupervisor
    from asterism.graphs.migrations import Migration
    from asterism.graphs.orchestrator import AgentOrchestrator
    from asterism.graphs.participant_memory import ParticipantMemory, memory
    from asterism.graphs.programs import BaseSupervisor
    from asterism.graphs.review_loop import create_review_loop
    from asterism.graphs.steering import asteer, create_steer_tool, steer
    from asterism.graphs.what_if import awhat_if, what_if
    from asterism.graphs.workflow import Workflow
    from asterism.limits.budgets import Budget
    from asterism.limits.circuit_breaker import CircuitBreaker
    from asterism.limits.contracts import Contract
    from asterism.limits.failure_policies import (
        AskPerson,
        Compensation,
        Delegate,
        Timeout,
        UndoAll,
        UseCached,
    )
    from asterism.limits.prices import PriceTable
    from asterism.limits.rate_limits import ResourceManager
    from asterism.memories.cache.response_cache import ResponseCache
    from asterism.memories.context_policies import (
        ContextManager,
        Importance,
        SlidingWindow,
        Summary,
    )
    from asterism.memories.long_term import LongTermMemory
    from asterism.memories.recall_tools import Recollection
    from asterism.memories.shared import SharedMemory
    from asterism.nodes.deciders.model_decider import (
        SupervisorOrchestratorExecutor,
        create_supervisor_agent,
    )
    from asterism.nodes.deciders.reviewers import Review, Reviewer, create_reviewer
    from asterism.nodes.middleware import context_middleware
    from asterism.nodes.participant_spec import Participant
    from asterism.nodes.remote.service import Service
    from asterism.nodes.skills import skills_middleware
    from asterism.nodes.view import SupervisorView
    from asterism.observability import (
        Difference,
        RunRecord,
        SupervisorTrace,
        Trace,
        analyze_traces,
        aread_run,
        compare_runs,
        generate_detailed_tool_trace,
        generate_orchestrator_flowchart,
        generate_timeline,
        read_run,
    )
    from asterism.observability.render.notebook import show, show_progress
    from asterism.observability.telemetry import instrument
    from asterism.observability.telemetry.langsmith_feedback import record_answers
    from asterism.programs.batch import BatchOutcome, BatchProgress, abatch_process, batch_process
    from asterism.programs.config import ProgramConfig, load_config
    from asterism.programs.tasks import ProgramTask, TaskResult
    from asterism.storage.open import aopen_checkpointer, aopen_store, open_checkpointer, open_store
    from asterism.supervision import (
        AgentProgress,
        AgentQuota,
        AgentQuotaUsage,
        AgentSupervisor,
        ChildStatus,
        SupervisedAgent,
        SupervisorConfig,
    )
    from asterism.testing.change_check.report import CheckReport

    __all__ = [
        "Agent",
        "AgentOrchestrator",
        "AgentProgress",
        "AgentQuota",
        "AgentQuotaUsage",
        "AgentSupervisor",
        "AskPerson",
        "AsterismError",
        "BaseSupervisor",
        "BatchOutcome",
        "BatchProgress",
        "Budget",
        "CheckReport",
        "ChildStatus",
        "CircuitBreaker",
        "Compensation",
        "ContextManager",
        "Contract",
        "Delegate",
        "Difference",
        "Event",
        "EventBus",
        "ExecutionMode",
        "HumanFeedbackRequest",
        "Importance",
        "LongTermMemory",
        "MemoryConfig",
        "Migration",
        "Participant",
        "ParticipantMemory",
        "PendingRequest",
        "Personality",
        "PriceTable",
        "ProgramConfig",
        "ProgramTask",
        "QuestionClock",
        "Recollection",
        "ResourceManager",
        "ResponseCache",
        "Review",
        "Reviewer",
        "RunRecord",
        "Service",
        "SharedMemory",
        "SlidingWindow",
        "SubAgentTask",
        "Summary",
        "SupervisedAgent",
        "SupervisionEvent",
        "SupervisionEventType",
        "SupervisorConfig",
        "SupervisorDecision",
        "SupervisorOrchestratorExecutor",
        "SupervisorTrace",
        "SupervisorView",
        "SupervisorWorkflowBuilder",
        "TaskResult",
        "TeamComparison",
        "Timeout",
        "ToyExampleSupervisor",
        "Trace",
        "UndoAll",
        "UpdateManifestSupervisor",
        "Usage",
        "UseCached",
        "Webhook",
        "Workflow",
        "WorkflowEventType",
        "WorkflowInput",
        "WorkflowResult",
        "abatch_process",
        "acheck",
        "acheck_questions",
        "acompare_teams",
        "aevaluate_team",
        "aexamples_from_threads",
        "analyze_traces",
        "aopen_checkpointer",
        "aopen_store",
        "apending_requests",
        "aproceed",
        "aread_run",
        "aresume",
        "asignal",
        "asteer",
        "awatch_questions",
        "awhat_if",
        "batch_process",
        "check",
        "compare_runs",
        "compare_teams",
        "context_middleware",
        "convert_tool_content_to_text",
        "create_review_loop",
        "create_reviewer",
        "create_service_app",
        "create_steer_tool",
        "create_supervisor_agent",
        "evaluate_team",
        "examples_from_threads",
        "generate_detailed_tool_trace",
        "generate_orchestrator_flowchart",
        "generate_timeline",
        "graph_factory",
        "idempotency_key",
        "instrument",
        "lines_of",
        "load_config",
        "memory",
        "open_checkpointer",
        "open_store",
        "pending_requests",
        "proceed",
        "read_run",
        "record_answers",
        "resume",
        "serve",
        "show",
        "show_progress",
        "skills_middleware",
        "steer",
        "total_cost_breakdown",
        "wait_for_event",
        "wait_until",
        "what_if",
    ]


_HOMES = {
    "TeamComparison": "apps.team_comparison",
    "acompare_teams": "apps.team_comparison",
    "compare_teams": "apps.team_comparison",
    "acheck": "apps.change_check",
    "check": "apps.change_check",
    "CheckReport": "testing.change_check.report",
    "Migration": "graphs.migrations",
    "Agent": "core.agent_spec",
    "AgentOrchestrator": "graphs.orchestrator",
    "AgentProgress": "supervision",
    "AgentQuota": "supervision",
    "AgentQuotaUsage": "supervision",
    "AgentSupervisor": "supervision",
    "AskPerson": "limits.failure_policies",
    "AsterismError": "errors",
    "BaseSupervisor": "graphs.programs",
    "BatchOutcome": "programs.batch",
    "BatchProgress": "programs.batch",
    "Budget": "limits.budgets",
    "Contract": "limits.contracts",
    "ChildStatus": "supervision",
    "CircuitBreaker": "limits.circuit_breaker",
    "Compensation": "limits.failure_policies",
    "ContextManager": "memories.context_policies",
    "Delegate": "limits.failure_policies",
    "Difference": "observability",
    "Event": "events",
    "EventBus": "events",
    "ExecutionMode": "core.plan",
    "HumanFeedbackRequest": "core.supervisor_decision",
    "Importance": "memories.context_policies",
    "LongTermMemory": "memories.long_term",
    "MemoryConfig": "core.agent_spec",
    "Participant": "nodes.participant_spec",
    "ParticipantMemory": "graphs.participant_memory",
    "PendingRequest": "core.interrupts",
    "Personality": "core.agent_spec",
    "PriceTable": "limits.prices",
    "ProgramConfig": "programs.config",
    "ProgramTask": "programs.tasks",
    "Recollection": "memories.recall_tools",
    "ResourceManager": "limits.rate_limits",
    "ResponseCache": "memories.cache.response_cache",
    "Review": "nodes.deciders.reviewers",
    "Reviewer": "nodes.deciders.reviewers",
    "RunRecord": "observability",
    "Service": "nodes.remote.service",
    "SharedMemory": "memories.shared",
    "SlidingWindow": "memories.context_policies",
    "SubAgentTask": "core.plan",
    "Summary": "memories.context_policies",
    "SupervisedAgent": "supervision",
    "SupervisionEvent": "events",
    "SupervisionEventType": "events",
    "SupervisorConfig": "supervision",
    "SupervisorDecision": "core.supervisor_decision",
    "SupervisorOrchestratorExecutor": "nodes.deciders.model_decider",
    "SupervisorTrace": "observability",
    "SupervisorView": "nodes.view",
    "SupervisorWorkflowBuilder": "graphs.builder",
    "TaskResult": "programs.tasks",
    "Timeout": "limits.failure_policies",
    "ToyExampleSupervisor": "graphs.examples.toy_example",
    "Trace": "observability",
    "UndoAll": "limits.failure_policies",
    "UpdateManifestSupervisor": "graphs.examples.update_manifest",
    "Usage": "core.usage",
    "UseCached": "limits.failure_policies",
    "Workflow": "graphs.workflow",
    "WorkflowEventType": "events",
    "WorkflowInput": "core.run_types",
    "WorkflowResult": "core.run_types",
    "abatch_process": "programs.batch",
    "aevaluate_team": "apps.evaluation",
    "aexamples_from_threads": "apps.evaluation_data",
    "analyze_traces": "observability",
    "aopen_checkpointer": "storage.open",
    "aopen_store": "storage.open",
    "apending_requests": "core.interrupts",
    "aproceed": "core.continuation",
    "aread_run": "observability",
    "aresume": "core.interrupts",
    "asteer": "graphs.steering",
    "awhat_if": "graphs.what_if",
    "batch_process": "programs.batch",
    "compare_runs": "observability",
    "context_middleware": "nodes.middleware",
    "convert_tool_content_to_text": "core.messages",
    "create_review_loop": "graphs.review_loop",
    "create_reviewer": "nodes.deciders.reviewers",
    "create_service_app": "apps.serving",
    "create_steer_tool": "graphs.steering",
    "serve": "apps.ui.opening",
    "create_supervisor_agent": "nodes.deciders.model_decider",
    "QuestionClock": "apps.question_clock",
    "Webhook": "apps.question_clock",
    "acheck_questions": "apps.question_clock",
    "awatch_questions": "apps.question_clock",
    "asignal": "apps.question_clock",
    "wait_for_event": "core.timers",
    "wait_until": "core.timers",
    "evaluate_team": "apps.evaluation",
    "examples_from_threads": "apps.evaluation_data",
    "generate_detailed_tool_trace": "observability",
    "generate_orchestrator_flowchart": "observability",
    "generate_timeline": "observability",
    "graph_factory": "graphs.catalog",
    "idempotency_key": "core.continuation",
    "instrument": "observability.telemetry",
    "lines_of": "core.usage",
    "load_config": "programs.config",
    "memory": "graphs.participant_memory",
    "open_checkpointer": "storage.open",
    "open_store": "storage.open",
    "pending_requests": "core.interrupts",
    "proceed": "core.continuation",
    "read_run": "observability",
    "record_answers": "observability.telemetry.langsmith_feedback",
    "resume": "core.interrupts",
    "show": "observability.render.notebook",
    "show_progress": "observability.render.notebook",
    "steer": "graphs.steering",
    "skills_middleware": "nodes.skills",
    "total_cost_breakdown": "core.usage",
    "what_if": "graphs.what_if",
}


_MASSGEN = "; asterism.compat.massgen.{} does the same, and {} takes its place (docs/names.md)"

_HINTS = {
    "AgentLoop": "; AgentSupervisor.spawn(..., agent_loop=any object with an async run) takes it",
    "EventCallback": "; AgentSupervisor(on_event=any function of a SupervisionEvent) takes it",
    "SUPERVISOR_SYSTEM_PROMPT_TEMPLATE": "; it stands in asterism.prompts",
    "build_event_planning_workflow": "; it stands in asterism.graphs.examples.event_planning",
    **{
        name: _MASSGEN.format(name, ours)
        for name, ours in {
            "AdaptiveOrchestrator": "with_strategy(function of the request)",
            "CompensatingOrchestrator": "policies=[Compensation({...})]",
            "DynamicOrchestrator": "with_strategy(..., create_agents_for_task=...)",
            "IntelligentCache": "ResponseCache",
            "MetricsCollector": "asterism.observability.MetricsCollector",
            "MicroserviceAgent": "Service(url, ...)",
            "MockBackend": "asterism.testing.MockBackend",
            "Orchestrator": "SupervisorWorkflowBuilder or AgentOrchestrator",
            "ParallelOrchestrator": "with_strategy('parallel') or batch_process",
            "PersonalityAgent": "Participant(personality=Personality(...))",
            "SpecializedAgent": "Participant(prompt=..., tools=...)",
            "Tracer": "asterism.observability.Tracer",
        }.items()
    },
}
"""The way out for names that are known from elsewhere."""
sys.meta_path.insert(0, MovedModules(_HINTS))


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import asterism` stays cheap."""
    if name == "__all__":
        asker = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
        if asker.f_globals.get("__name__") == "pydoc":
            # help() would print the help of every name: 700,000 characters
            raise AttributeError(name)
        return sorted(_HOMES)
    if name == "__version__":
        from importlib.metadata import version

        return version("asterism-agents")
    if name not in _HOMES:
        hint = f"{_HINTS[name]}; see docs/names.md" if name in _HINTS else ""
        raise AttributeError(f"module 'asterism' has no attribute {name!r}{hint}")
    value = getattr(import_module(f"asterism.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
