"""How a decision comes about: asking, retrying, repairing, falling back."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, cast

from langgraph.errors import GraphBubbleUp
from langgraph.types import RetryPolicy

from asterism.agents import RESERVED, Agent, agent_faults
from asterism.decisions import (
    AnswerDecision,
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
from asterism.state import Decision

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
            plain, agents = plain_decision(decision), created_agents(decision)
            faults = complaints[known:]
            if told is None:
                return Decided(plain, agents, faults=faults)
            update = {**told.update, "messages": told.messages}
            return Decided(told.noted(plain), agents, update, faults)
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
            return visit_of(name)
    report = asked[lacking[0]]
    return ending(
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
        return ending("failed", tries)
    if fallback == "ask_user":
        return question_of("I could not decide how to go on. What should be done next?")
    return visit_of(fallback)


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


def plain_decision(decision: SupervisorDecision) -> Decision:
    """Turn a decision into what stands in state."""
    fields = decision.model_dump(exclude={"tasks", "subagents", "answer", "fields", "failure"})
    if isinstance(decision, AnswerDecision) and decision.complete:
        if decision.failure:
            return ending("failed", decision.failure)
        if decision.answer:
            fields |= {"answer": decision.answer, "fields": decision.fields}
    if decision.tasks:
        plain = [t.model_dump(mode="json", exclude_defaults=True) for t in decision.tasks]
        fields["tasks"] = plain
    return cast(Decision, fields)


def compensation_of(state: Mapping[str, Any]) -> Decision | None:
    """Decide what the latest reports say is to be done about a failure, if they say so."""
    taken = state.get("iterations") or 0
    before: Mapping[str, Any] = state.get("decision") or {}
    if before.get("undo") and before.get("then"):
        return cast(Decision, before["then"])
    latest = latest_reports(state.get("reports") or (), taken)
    wanted = [r["compensation"] for r in latest if "compensation" in r]
    asks = list(dict.fromkeys(c["prompt"] for c in wanted if c["action"] == "ask_person"))
    question = question_of("\n\n".join(asks)) if asks else None
    if any(compensation["action"] == "undo_all" for compensation in wanted):
        return _decision(undo=True, then=question)
    if question is not None:
        return question
    heirs = [compensation["to"] for compensation in wanted if "to" in compensation]
    plain = [heir for heir in heirs if not before.get("tasks")]  # a plan delegates by itself
    if plain and plain[-1] not in _chain(state.get("reports") or ()):
        return _decision(next_agent=plain[-1], instruction=before.get("instruction"))
    return None


def _chain(reports: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return those who have failed one after the other at what was delegated."""
    chain: set[str] = set()
    for report in reversed(reports):
        if (report.get("compensation") or {}).get("action") != "delegate":
            break
        chain.add(report["participant"])
    return chain


def as_task(decision: Decision, nodes: Collection[str]) -> Decision:
    """Turn a visit to somebody who came later, and has no node, into a plan of one task."""
    name = decision.get("next_agent")
    if name is None or name in nodes:
        return decision
    words = decision.get("instruction") or "Do your part."
    one = {"task_id": name, "agent_id": name, "task_description": words}
    return {**decision, "next_agent": None, "instruction": None, "tasks": [one]}


def visit_of(name: str) -> Decision:
    """Decide that a participant works."""
    return _decision(next_agent=name)


def question_of(prompt: str) -> Decision:
    """Decide that the user is asked."""
    return _decision(user_input_needed=True, user_prompt=prompt)


def ending(status: Literal["limit", "failed", "stalled"], reason: str) -> Decision:
    """Decide that the run ends for another cause than being complete."""
    return _decision(end={"status": status, "reason": redact(reason)})


def at_limit(breach: Mapping[str, Any], then: Mapping[str, Any] | None) -> Decision:
    """Decide what follows when a budget is used up: a question to raise it, or the end.

    Args:
        breach: The facts of the `BudgetExceededError`.
        then: The decision that is followed on when the limit is raised.
    """
    said = str(BudgetExceededError(**breach))
    if not breach["asks"]:
        return ending("limit", said)
    prompt = f"{said[0].upper()}{said[1:]}. What is the new limit? Say a number, or stop."
    return _decision(
        user_input_needed=True, user_prompt=prompt, budget=dict(breach), then=then and dict(then)
    )


def _decision(**fields: Any) -> Decision:
    empty = Decision(next_agent=None, user_input_needed=False, user_prompt=None, instruction=None)
    return cast(Decision, {**empty, **fields})
