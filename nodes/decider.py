"""Deciders: what they may return, and how one is asked until its decision is valid.

Open it for retries and repairs of decisions, reports that a decider reads whole, fallbacks and
required participants. Tests: tests/nodes/test_supervisor.py, tests/graphs/test_babble.py,
tests/graphs/test_reading.py.
"""

import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, runtime_checkable

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable
from langgraph.errors import GraphBubbleUp
from langgraph.types import RetryPolicy

from asterism.core.agent_spec import RESERVED, Agent, agent_faults
from asterism.core.decision import (
    AskUser,
    Decision,
    FinishRun,
    RunPlan,
    UndoWork,
    VisitNext,
    decision_from_model,
    finish_early,
    load_decision,
)
from asterism.core.defaults import METHOD_VARIABLE
from asterism.core.messages import clean_text
from asterism.core.state import Report
from asterism.core.supervisor_decision import (
    PlanDecision,
    SupervisorDecision,
    decider_text,
    read_decision,
    reports_wanted,
)
from asterism.core.sync_async import Call, Steps, sync_async_pair
from asterism.core.values import describe_error, log_failure, redact, shorten
from asterism.errors import FALLBACK_WAY, BadDecisionError, BudgetExceededError, RoutingError
from asterism.limits.failure_policies import Policy
from asterism.nodes.policies import OnRetry, call_with_retry
from asterism.nodes.routing import latest_reports
from asterism.nodes.team import AgentCreationRules
from asterism.nodes.view import (
    SupervisorView,
    report_texts,
)


@dataclass(frozen=True, kw_only=True)
class SelfRecordedDecision:
    """A decision of a decider that keeps the history itself."""

    decision: SupervisorDecision
    messages: Sequence[BaseMessage]
    """The messages for the history, in place of the workflow's own; the answer is among them."""
    inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    """The inputs of participants with a grant besides the state, by task or participant."""
    update: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Further keys of the workflow's state, and what they become."""

    def annotate(self, decision: Decision) -> Decision:
        """Note in a decision what follows from how it was told."""
        if isinstance(decision, FinishRun):
            return replace(decision, recorded=decision.answer is not None)
        if self.inputs and isinstance(decision, VisitNext | RunPlan):
            inputs = {name: dict(given) for name, given in self.inputs.items()}
            return replace(decision, inputs=inputs)
        return decision


DeciderOutput = SupervisorDecision | AIMessage | Mapping[str, Any] | SelfRecordedDecision
"""What a decider may return: a decision, its fields, or a model's message that carries one."""

DeciderFunction = Callable[[SupervisorView], DeciderOutput | Awaitable[DeciderOutput]]
"""A rule, a classifier or a person: a sync or async function of the view."""


@runtime_checkable
class Decider(Protocol):
    """Decides who works next. Any function of a `SupervisorView` fits as well."""

    def decide(self, view: SupervisorView) -> DeciderOutput:
        """Return the decision."""
        ...

    async def adecide(self, view: SupervisorView) -> DeciderOutput:
        """Return the decision."""
        ...


AnyDecider = Decider | DeciderFunction | Runnable[Any, Any]


@runtime_checkable
class ConfigurableDecider(Protocol):
    """A decider with options to be checked, which follows the policies of its workflow."""

    def faults(self) -> Iterator[str]:
        """Yield what is wrong with its options."""
        ...

    def with_policies(self, policies: Sequence[Policy]) -> AnyDecider:
        """Return the decider with what the policies do about its failures."""
        ...


def decider_call(decider: AnyDecider) -> Call:
    """Make the call that asks a decider."""
    if isinstance(decider, Decider):
        return Call(decider.decide, decider.adecide)
    return Call(*sync_async_pair(decider))


MAX_REPORT_READS = 5
"""The most reports that a decider may read whole for one decision."""


def add_report_reads(view: SupervisorView, said: Any) -> SupervisorView | None:
    """Return the view with the reports that a decider wants to read whole.

    None: it wants none, or none that can be read and is new to it.
    """
    wanted = reports_wanted(said)[: MAX_REPORT_READS - len(view.readings)]
    reports = report_texts(view.messages) if wanted else {}
    known = {name for name, _ in view.readings}
    new = [name for name in dict.fromkeys(wanted) if name in reports and name not in known]
    if not new:
        return None
    return replace(view, readings=(*view.readings, *((name, reports[name]) for name in new)))


_log = logging.getLogger(__name__)

MAX_TRIES, TRY_LIMIT = 20, 500
"""The most bad answers to one question that are stored, and the most characters of each."""

MAX_TASKS = 100
"""The default of the most tasks in a plan of a model."""


@dataclass(frozen=True, kw_only=True)
class DecisionRules:
    """The rules of every decision of a workflow."""

    max_iterations: int
    """The most decisions of one request."""
    max_repairs: int
    """The most repairs of one decision."""
    fallback: str | None = None
    """What happens when no decision is valid: `"ask_user"`, `"finish"`, the id of a
    participant, or None to raise `RoutingError`."""
    require: tuple[str, ...] = ()
    """The participants that must have answered before the request can be finished."""
    on_stall: str = "replan"
    """What happens when work stands still: `"replan"`, `"ask_user"` or `"finish"`."""
    max_tasks: int = MAX_TASKS
    """The most tasks in a plan of a model; a plan that code makes may have any number."""
    retry: RetryPolicy
    """The retry policy of the decider's failures."""
    answers: bool = False
    """Whether the decision that finishes may carry the answer."""


class ValidatedDecision(NamedTuple):
    """A decision that holds."""

    decision: Decision
    agents: Mapping[str, Any] = MappingProxyType({})
    """The specs of the agents that it creates, by id."""
    update: Mapping[str, Any] = MappingProxyType({})
    """The update of the state by the decider itself."""
    faults: Sequence[tuple[str, str]] = ()
    """Each bad answer before it, with what is wrong with it."""


def ask_decider(
    view: SupervisorView,
    ask: Call,
    rules: DecisionRules,
    creation: AgentCreationRules | None = None,
    *,
    on_retry: OnRetry | None = None,
) -> Steps[ValidatedDecision]:
    """Ask until a decision is valid or `max_repairs` is reached, then fall back.

    A decider that wants to read whole reports is shown them and asked again.
    """
    names = tuple(view.participants)
    complaints = list(view.complaints)
    known = len(complaints)
    lacking: list[str] = []
    while len(complaints) - known <= rules.max_repairs:
        said: Any = ""
        try:
            call = Call(ask.sync, ask.asynchronous, (view,))
            said = yield from call_with_retry(call, rules.retry, on_retry=on_retry)
            if (longer := add_report_reads(view, said)) is not None:
                view = longer
                continue
            told = said if isinstance(said, SelfRecordedDecision) else None
            said = said.decision if isinstance(said, SelfRecordedDecision) else said
            if (unread := reports_wanted(said)) and report_texts(view.messages):
                raise BadDecisionError(f"no more can be read of {', '.join(unread)}")
            decision = _read(said, names, creation, rules)
            lacking = missing_participants(rules.require, view.reports) if decision.complete else []
            fault = missing_feedback(lacking) if lacking else ""
        except (GraphBubbleUp, BudgetExceededError):
            raise
        except BadDecisionError as error:
            lacking, fault = [], str(error)
        except Exception as error:
            raise _decider_failure(error, rules.retry, complaints[known:]) from error
        else:
            if not lacking:
                return _validated(decision, told, complaints[known:])
        complaints.append((decider_text(said), fault))
        if not lacking and complaints[-1] in complaints[-2:-1]:
            break  # the same answer again: a third one would be no better
        view = replace(view, complaints=tuple(complaints))
    faults = complaints[known:]
    if lacking:
        return ValidatedDecision(_visit_required(lacking, view), faults=faults)
    return ValidatedDecision(_fall_back(faults, rules.fallback), faults=faults)


def _validated(
    decision: SupervisorDecision,
    told: SelfRecordedDecision | None,
    faults: Sequence[tuple[str, str]],
) -> ValidatedDecision:
    followed, agents = decision_from_model(decision), dict[str, Any]()
    if isinstance(decision, PlanDecision):
        for agent in decision.subagents:
            agents[agent.agent_id] = agent.model_dump(mode="json", exclude_defaults=True)
    if told is None:
        return ValidatedDecision(followed, agents, faults=faults)
    update = {**told.update, "messages": told.messages}
    return ValidatedDecision(told.annotate(followed), agents, update, faults)


def _decider_failure(
    error: Exception, policy: RetryPolicy, faults: Sequence[tuple[str, str]]
) -> RoutingError:
    """Log that the decider failed, and return the error that says so."""
    said = describe_error(error)
    log_failure(_log, "the supervisor's decider failed", error=error)
    outside = error.__traceback__
    while outside and str(outside.tb_frame.f_globals.get("__name__")).startswith("asterism."):
        outside = outside.tb_next
    error.__traceback__ = outside or error.__traceback__  # it begins with the decider's own code
    return RoutingError(
        f"The supervisor's decider failed ({said}). Nothing is lost: go on with proceed() "
        "when the cause is gone.",
        said=[said],
        attempts=policy.max_attempts,
        faults=[*faults, ("", said)],
    )


def _read(
    said: Any, names: tuple[str, ...], creation: AgentCreationRules | None, rules: DecisionRules
) -> SupervisorDecision:
    decision = read_decision(said, names, plans=creation is not None, answers=rules.answers)
    count = 0 if isinstance(said, SupervisorDecision) else len(decision.tasks or ())
    if count > rules.max_tasks:
        raise BadDecisionError(
            f"the plan has {count} tasks; at most {rules.max_tasks} are allowed (max_tasks). Give "
            "fewer and larger tasks, or plan the rest when these are done"
        )
    if isinstance(decision, PlanDecision) and not isinstance(said, SupervisorDecision):
        own = {"provider": None, "model": None}  # a model does not choose models
        agents = [agent.model_copy(update=own) for agent in decision.subagents]
        decision = decision.model_copy(update={"subagents": agents})
    if isinstance(decision, PlanDecision) and decision.subagents:
        _check_agents(decision.subagents, names, creation or AgentCreationRules(allowed=False))
    return decision


def _check_agents(
    agents: Sequence[Agent], taken: Sequence[str], creation: AgentCreationRules
) -> None:
    faults = agent_faults(
        agents,
        taken=taken,
        reserved=RESERVED,
        tools=creation.tools,
        limit=creation.limit,
        may_plan=creation.planner is not None,
    )
    if not creation.allowed:
        faults = ["nobody may create agents here; give the tasks to the team"]
    if faults:
        raise BadDecisionError("the agents cannot be created: " + "; ".join(faults[:20]))


def _visit_required(lacking: Sequence[str], view: SupervisorView) -> Decision:
    """Send those to work who must answer, or end where they were asked and could not."""
    asked = {r["participant"]: r for r in view.reports if r["status"] != "skipped"}
    for name in lacking:
        if name not in asked:
            return VisitNext(next_agent=name)
    report = asked[lacking[0]]
    return finish_early(
        "failed", f"{lacking[0]} must answer and did not: {report.get('error', report['status'])}"
    )


def _fall_back(complaints: Sequence[tuple[str, str]], fallback: str | None) -> Decision:
    number = len(complaints)
    tries = f"no valid decision in {number} {'try' if number == 1 else 'tries'}"
    tries += ": " + complaints[-1][1].removesuffix(".")
    if fallback is None:
        said = [redact(said) for said, _ in complaints]
        hint = ""
        if all("plain text" in fault for _, fault in complaints):
            hint = (
                " The model answered in plain text each time although a decision was required: "
                "its server may not support tools. Try decisions='json_schema' or 'json' "
                f"({METHOD_VARIABLE}, or --decisions on the command line)."
            )
        raise RoutingError(
            f"The supervisor gave {tries}. It said: {said[-1]!r}.{hint} {FALLBACK_WAY}",
            said=said,
            attempts=number,
            faults=complaints,
        )
    log_failure(_log, "the supervisor gave %s; fallback=%r is followed", tries, fallback)
    if fallback == "finish":
        return finish_early("failed", tries)
    if fallback == "ask_user":
        return AskUser(user_prompt="I could not decide how to go on. What should be done next?")
    return VisitNext(next_agent=fallback)


def tries_of(name: str, faults: Sequence[tuple[str, str]], *, failed: bool) -> dict[str, Any]:
    """Write bad answers down for the state: shortened, and without secrets.

    Args:
        name: Tells them from those of another decision.
        faults: Each bad answer, with what is wrong with it.
        failed: Whether no decision followed.
    """

    def short(text: str) -> str:
        return shorten(clean_text(redact(shorten(text, 2 * TRY_LIMIT))), TRY_LIMIT)

    shown = [{"said": short(said), "fault": short(fault)} for said, fault in faults[:MAX_TRIES]]
    return {"id": name, "failed": failed, "tries": shown}


def decide_compensation(state: Mapping[str, Any]) -> Decision | None:
    """Decide what the latest reports say is to be done about a failure, if they say so."""
    taken = state.get("iterations") or 0
    before = load_decision(state.get("decision"))
    if isinstance(before, UndoWork) and before.then:
        return before.then
    latest = latest_reports(state.get("reports") or (), taken)
    wanted = [r["compensation"] for r in latest if "compensation" in r]
    asks = list(dict.fromkeys(c["prompt"] for c in wanted if c["action"] == "ask_person"))
    question = AskUser(user_prompt="\n\n".join(asks)) if asks else None
    if any(compensation["action"] == "undo_all" for compensation in wanted):
        return UndoWork(then=question)
    if question is not None:
        return question
    heirs = [compensation["to"] for compensation in wanted if "to" in compensation]
    if isinstance(before, RunPlan) or not heirs:  # a plan delegates by itself
        return None
    if heirs[-1] in _failed_delegates(state.get("reports") or ()):
        return None
    instruction = before.instruction if isinstance(before, VisitNext) else None
    return VisitNext(next_agent=heirs[-1], instruction=instruction)


def _failed_delegates(reports: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return those who have failed one after the other at what was delegated."""
    chain: set[str] = set()
    for report in reversed(reports):
        if (report.get("compensation") or {}).get("action") != "delegate":
            break
        chain.add(report["participant"])
    return chain


def missing_participants(required: Collection[str], reports: Sequence[Report]) -> list[str]:
    """Return those who are required and have not answered, in their order."""
    answered = {report["participant"] for report in reports if report["status"] == "ok"}
    return [name for name in required if name not in answered]


def missing_feedback(names: Sequence[str]) -> str:
    """Say to a decider why it cannot finish yet."""
    return (
        f"the request cannot be finished: {', '.join(names)} must answer first. Send them to work."
    )
