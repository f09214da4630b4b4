"""How a decision comes about: asking, retrying, repairing, falling back."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from langgraph.errors import GraphBubbleUp
from langgraph.types import RetryPolicy

from asterism.agents import RESERVED, Agent, agent_faults
from asterism.core.decision import (
    AskUser,
    Decision,
    RunPlan,
    UndoWork,
    VisitNext,
    decision_from_model,
    finish_early,
    load_decision,
)
from asterism.decisions import (
    PlanDecision,
    SupervisorDecision,
    read_decision,
    reports_wanted,
    said_text,
)
from asterism.effects import Call, Steps
from asterism.errors import BadDecisionError, BudgetExceededError, RoutingError
from asterism.errors.workflows import FALLBACK_WAY
from asterism.messages import clean_text
from asterism.nodes.guards import missing, missing_complaint
from asterism.nodes.protocol import Told
from asterism.nodes.reading import informed
from asterism.nodes.retrying import OnRetry, once, retried
from asterism.nodes.routing import latest_reports
from asterism.nodes.structured_output import METHOD_VARIABLE
from asterism.nodes.team import Creation
from asterism.nodes.view import SupervisorView, report_texts
from asterism.plain import shortened
from asterism.redaction import describe_error, log_failure, redact

_log = logging.getLogger(__name__)

MAX_TRIES, TRY_LIMIT = 20, 500
"""How many bad answers to one question are kept, and how many characters of each."""

MAX_TASKS = 100
"""How many tasks a plan of a model has at most, unless something else is said."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What holds for every decision of a workflow."""

    max_iterations: int
    """How many decisions one request may take."""
    max_repairs: int
    """How often a bad decision is asked for again."""
    fallback: str | None = None
    """What happens when no decision is valid: `"ask_user"`, `"finish"`, the id of a
    participant, or None to raise `RoutingError`."""
    require: tuple[str, ...] = ()
    """Who must have answered before the request can be finished."""
    on_stall: str = "replan"
    """What happens when work stands still: `"replan"`, `"ask_user"` or `"finish"`."""
    max_tasks: int = MAX_TASKS
    """How many tasks a plan of a model may have; one that code makes may have any number."""
    retry: RetryPolicy
    """How failures of the decider are retried."""
    answers: bool = False
    """Whether the decision that finishes may carry the answer."""


class Decided(NamedTuple):
    """A decision that holds."""

    decision: Decision
    agents: Mapping[str, Any] = MappingProxyType({})
    """The specs of the agents that it creates, by id."""
    update: Mapping[str, Any] = MappingProxyType({})
    """What its decider writes into the state itself."""
    faults: Sequence[tuple[str, str]] = ()
    """Each bad answer before it, with what is wrong with it."""


def decide(
    view: SupervisorView,
    ask: Call,
    rules: Rules,
    creation: Creation | None = None,
    *,
    on_retry: OnRetry | None = None,
) -> Steps[Decided]:
    """Ask until a decision is valid or the bound is reached, then fall back."""
    names = tuple(view.participants)
    complaints = list(view.complaints)
    known = len(complaints)
    lacking: list[str] = []

    put = partial(_ask, ask, rules.retry, on_retry)
    for _ in range(rules.max_repairs + 1):
        said: Any = ""
        try:
            view, said = yield from informed(view, put)
            told, said = (said, said.decision) if isinstance(said, Told) else (None, said)
            if (unread := reports_wanted(said)) and report_texts(view.messages):
                raise BadDecisionError(f"no more can be read of {', '.join(unread)}")
            decision = _read(said, names, creation, rules)
        except RoutingError as error:
            error.faults = (*complaints[known:], *error.faults)
            raise
        except BadDecisionError as error:
            lacking = []
            complaints.append((said_text(said), str(error)))
            if complaints[-1] in complaints[-2:-1]:
                break  # the same answer again: a third one would be no better
            view = replace(view, complaints=tuple(complaints))
            continue
        lacking = missing(rules.require, view.reports) if decision.complete else []
        if not lacking:
            followed, agents = decision_from_model(decision), created_agents(decision)
            faults = complaints[known:]
            if told is None:
                return Decided(followed, agents, faults=faults)
            update = {**told.update, "messages": told.messages}
            return Decided(told.noted(followed), agents, update, faults)
        complaints.append((said_text(said), missing_complaint(lacking)))
        view = replace(view, complaints=tuple(complaints))
    faults = complaints[known:]
    if lacking:
        return Decided(_insist(lacking, view), faults=faults)
    return Decided(_fall_back(faults, rules.fallback), faults=faults)


def _read(
    said: Any, names: tuple[str, ...], creation: Creation | None, rules: Rules
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
        _check_agents(decision.subagents, names, creation or Creation(allowed=False))
    return decision


def _check_agents(agents: Sequence[Agent], taken: Sequence[str], creation: Creation) -> None:
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


def created_agents(decision: SupervisorDecision) -> dict[str, Any]:
    """Return the specs of the agents that a decision creates, by id."""
    if not isinstance(decision, PlanDecision):
        return {}
    dumped = [agent.model_dump(mode="json", exclude_defaults=True) for agent in decision.subagents]
    return {agent["agent_id"]: agent for agent in dumped}


def _ask(
    ask: Call, policy: RetryPolicy, on_retry: OnRetry | None, view: SupervisorView
) -> Steps[Any]:
    call = Call(ask.sync, ask.asynchronous, (view,))
    try:
        return (yield from retried(lambda: once(call), policy, on_retry=on_retry))
    except (GraphBubbleUp, BudgetExceededError, BadDecisionError):
        raise
    except Exception as error:
        said = describe_error(error)
        log_failure(_log, "the supervisor's decider failed", error=error)
        raise RoutingError(
            f"The supervisor's decider failed ({said}). Nothing is lost: go on with proceed() "
            "when the cause is gone.",
            said=[said],
            attempts=policy.max_attempts,
            faults=[("", said)],
        ) from error


def _insist(lacking: Sequence[str], view: SupervisorView) -> Decision:
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
    tries += f": {complaints[-1][1]}"
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
        return shortened(clean_text(redact(shortened(text, 2 * TRY_LIMIT))), TRY_LIMIT)

    shown = [{"said": short(said), "fault": short(fault)} for said, fault in faults[:MAX_TRIES]]
    return {"id": name, "failed": failed, "tries": shown}


def compensation_of(state: Mapping[str, Any]) -> Decision | None:
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
    if heirs[-1] in _chain(state.get("reports") or ()):
        return None
    instruction = before.instruction if isinstance(before, VisitNext) else None
    return VisitNext(next_agent=heirs[-1], instruction=instruction)


def _chain(reports: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return those who have failed one after the other at what was delegated."""
    chain: set[str] = set()
    for report in reversed(reports):
        if (report.get("compensation") or {}).get("action") != "delegate":
            break
        chain.add(report["participant"])
    return chain
