"""Validation of a workflow's parts: every fault is found at once, with the way out.

Tests: tests/graphs/test_builder.py.
"""

import reprlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from langchain_core.runnables import Runnable
from langgraph.checkpoint.base import BaseCheckpointSaver
from pydantic import BaseModel

from asterism.core.agent_spec import AGENT_ID, ID_RULE, RESERVED, ModelLike, resolve_model
from asterism.core.defaults import METHODS
from asterism.core.numbers import count_faults, seconds_faults
from asterism.core.values import normal_name
from asterism.errors import ModelNotFoundError, WorkflowBuildError
from asterism.limits.failure_policies import Compensation, UndoAll, policy_faults
from asterism.nodes.decider import ConfigurableDecider, Decider, DecisionRules
from asterism.nodes.deciders.model_decider import is_model
from asterism.nodes.participant_spec import Participant, find_participant_fault


def find_faults(
    *,
    participants: Sequence[tuple[str, Any]],
    creates: bool = False,
    model: ModelLike | None,
    manager: object,
    rules: DecisionRules,
    finish: object,
    max_steps: object,
    thread_wait: float,
    on_busy: object = "steer",
    policies: Sequence[Any] = (),
    max_parallel_tasks: object = 1,
    context: object = None,
    digest_tokens: object = None,
    decisions: object = None,
    checkpointer: object = None,
    resource_manager: object = None,
    version: object = "",
    migrations: Mapping[str, Any] | None = None,
) -> list[str]:
    """Return every fault, each with the culprit, what is allowed and the way out."""
    names = [name for name, _ in participants]
    return [
        *_team_faults(names, creates),  # 1. somebody is there, nobody twice
        *(fault for name in names for fault in name_faults(name)),  # 2. names that work
        *_kind_faults(participants, model),  # 3. things that can take part
        *_model_faults(participants, model, manager is not None),  # 4. models that exist
        *count_faults("max_iterations", rules.max_iterations, least=1),  # 5. limits that limit
        *count_faults("max_repairs", rules.max_repairs, least=0),
        *count_faults("max_tasks", rules.max_tasks, least=1),
        *count_faults("max_steps", max_steps, least=1),
        *count_faults("max_parallel_tasks", max_parallel_tasks, least=1),
        *seconds_faults("thread_wait", thread_wait),
        *_on_busy_faults(on_busy),
        *_finish_faults(finish, model),  # 6. an end that can be reached
        *_rule_faults(rules, names),  # 7. a fallback that exists, requirements that can be met
        *_manager_faults(manager),  # 8. a decider, or a strategy
        *_policy_faults(policies, participants),  # 9. policies that can act
        *_context_faults(context, model),  # 10. prompts that can be kept short
        *(() if digest_tokens is None else count_faults("digest_tokens", digest_tokens, least=1)),
        *decisions_faults(decisions),  # 11. a way to decide that exists
        *_checkpointer_faults(checkpointer),  # 12. a place for threads
        *_capacity_faults(resource_manager),
        *_version_faults(version, migrations or {}),
    ]


def with_own_name(workflow: str, thing: Any) -> tuple[str, Any]:
    """Return a participant with the name that it has itself.

    Raises:
        WorkflowBuildError: It has none.
    """
    found = (getattr(thing, key, None) for key in ("agent_id", "name", "__name__"))
    name = next((name for name in found if isinstance(name, str) and name), None)
    if name is None or name in ("LangGraph", "<lambda>"):  # a graph that was given no name
        raise WorkflowBuildError(
            workflow,
            [
                f"{thing!r:.200} in a list of participants has no name; add it by "
                ".participants(name=thing)"
            ],
        )
    return name, thing


def _version_faults(version: object, migrations: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(version, str) or len(version) > 100 or not version.isprintable():
        yield f"version is {version!r:.120}; allowed: a text of at most 100 printable characters"
    elif migrations and (not version or version in migrations):
        yield (
            f"migrations lead from {', '.join(map(repr, migrations))} to version={version!r}; give "
            "the team a version that none of them begins with"
        )


def _team_faults(names: Sequence[str], creates: bool) -> Iterator[str]:
    if not names and not creates:
        yield "there are no participants; add some with .participants(name=thing)"
    counts = Counter(normal_name(name) for name in names)
    for name, count in counts.items():
        if count > 1:
            same = [given for given in names if normal_name(given) == name]
            yield (
                f"the participants {', '.join(map(repr, same))} have the same name; "
                "names are compared without case and white space"
            )


def name_faults(name: str) -> Iterator[str]:
    """Yield what is wrong with the id of a participant."""
    if normal_name(name) in RESERVED:
        yield (
            f"the participant name {name!r} is reserved for the workflow's own node; "
            f"reserved are {', '.join(sorted(RESERVED))}"
        )
    elif not AGENT_ID.fullmatch(name):
        yield f"the participant name {name!r} is not allowed; {ID_RULE}"


def _kind_faults(participants: Sequence[tuple[str, Any]], model: ModelLike | None) -> Iterator[str]:
    for name, thing in participants:
        if fault := find_participant_fault(thing, model):
            yield f"the participant {name!r} {fault}"


def _manager_faults(manager: object) -> Iterator[str]:
    if isinstance(manager, ConfigurableDecider):
        yield from manager.faults()
    elif isinstance(manager, str) or is_model(manager):
        yield (
            f"the manager is {reprlib.repr(manager)}; a model decides where the builder has it "
            "(model=...), or as .with_manager(create_supervisor_agent(model, block))"
        )
    elif manager is not None and not (callable(manager) or isinstance(manager, Decider | Runnable)):
        yield (
            f"the manager is {reprlib.repr(manager)}; allowed: a function of a SupervisorView, or "
            "what create_supervisor_agent returns"
        )


def _model_faults(
    participants: Sequence[tuple[str, Any]], model: ModelLike | None, has_manager: bool
) -> Iterator[str]:
    if model is None and not has_manager:
        yield (
            "nobody decides; give the builder a model (model='openai:gpt-5-mini', or "
            "model='offline' to try it without a key) or a decider with .with_manager(decider)"
        )
    named = [("the workflow", model)] + [
        (f"the participant {name!r}", thing.model)
        for name, thing in participants
        if isinstance(thing, Participant)
    ]
    for owner, given in named:
        if not isinstance(cast(object, given), str | Runnable | None):
            yield (
                f"the model of {owner} is {given!r:.100}; allowed: a chat model, "
                "'provider:model' as in 'openai:gpt-5-mini', or 'offline'"
            )
        if isinstance(given, str):
            try:
                resolve_model(given)
            except ModelNotFoundError as error:
                yield f"the model of {owner}: {error}"


def _on_busy_faults(on_busy: object) -> Iterator[str]:
    if on_busy not in ("steer", "queue", "refuse"):
        yield f"on_busy is {on_busy!r:.100}; allowed: 'steer', 'queue', 'refuse'"


def _finish_faults(finish: object, model: ModelLike | None) -> Iterator[str]:
    if isinstance(finish, type) and issubclass(finish, BaseModel):
        if model is None:
            yield f"finish={finish.__name__} is filled in by a model; give the builder a model"
    elif finish not in ("synthesize", "forward", "inline"):
        yield (
            f"finish is {finish!r}; allowed: 'synthesize', 'forward', 'inline' or a pydantic model"
        )


def decisions_faults(decisions: object) -> Iterator[str]:
    """Yield what is wrong with a way to decide."""
    if decisions is not None and decisions not in METHODS:
        yield f"decisions is {decisions!r}; allowed: None, {', '.join(map(repr, METHODS))}"


def _checkpointer_faults(checkpointer: object) -> Iterator[str]:
    if not isinstance(checkpointer, BaseCheckpointSaver | str | bool | None):
        yield (
            f"checkpointer is {checkpointer!r:.100}; allowed: None, a saver such as "
            "InMemorySaver(), or a database such as 'sqlite:///threads.db'"
        )


def _context_faults(context: object, model: ModelLike | None) -> Iterator[str]:
    if context is not None:
        from asterism.memories.context_policies import context_fault

        if fault := context_fault(context, model):
            yield fault


def _capacity_faults(manager: object) -> Iterator[str]:
    if manager is not None and not callable(getattr(manager, "wrap", None)):
        yield f"resource_manager is {manager!r}; allowed: None, ResourceManager(...)"


def _policy_faults(
    policies: Sequence[Any], participants: Sequence[tuple[str, Any]]
) -> Iterator[str]:
    names = [name for name, _ in participants]
    specs = {name: thing for name, thing in participants if isinstance(thing, Participant)}
    owned = [("the workflow", policies)] + [
        (f"the participant {name!r}", spec.policies) for name, spec in specs.items()
    ]
    for owner, given in owned:
        yield from (f"{owner} {fault}" for fault in policy_faults(given, names))
    undoes = any(
        isinstance(policy, Compensation) and UndoAll() in policy.actions.values()
        for _, given in owned
        for policy in given
    )
    if undoes and not any(spec.undo for spec in specs.values()):
        yield (
            "a Compensation says UndoAll(), and nobody can undo anything; give those who can "
            "an undo function: Participant(..., undo=function)"
        )


def _rule_faults(rules: DecisionRules, names: Sequence[str]) -> Iterator[str]:
    if rules.fallback is not None and rules.fallback not in ("ask_user", "finish", *names):
        allowed = ", ".join(["'ask_user'", "'finish'", *map(repr, names)])
        yield f"fallback is {rules.fallback!r}; allowed: None, {allowed}"
    for name in rules.require:
        if name not in names:
            yield f"require names {name!r}, who does not take part; allowed: {', '.join(names)}"
    if rules.on_stall not in ("replan", "ask_user", "finish"):
        yield f"on_stall is {rules.on_stall!r}; allowed: 'replan', 'ask_user', 'finish'"
