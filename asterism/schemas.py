"""The schemas that models are given for decisions, narrowed to who and what there is."""

from functools import lru_cache
from typing import Any, Literal, Optional, cast

from pydantic import BaseModel, Field, create_model

from asterism.agents import Agent
from asterism.decisions import AnswerDecision, PlanDecision, SupervisorDecision
from asterism.tasks import SubAgentTask

READ_REPORT = (
    "To read reports whole that are shown as digests, before you decide: their ids. You are asked "
    "again then; whatever else you say now is ignored."
)
"""What a model is told of the field by which it reads reports."""


@lru_cache(maxsize=256)
def decision_schema(
    names: tuple[str, ...],
    tools: tuple[str, ...] | None = None,
    *,
    answers: bool = False,
    reads: bool = False,
) -> type[SupervisorDecision]:
    """Narrow `SupervisorDecision` to the live participants.

    Args:
        names: The ids that `next_agent` may have.
        tools: What agents may call that the model creates. None: it may not create any.
        answers: Whether the model may answer the user at once.
        reads: Whether there are digests of reports, which it may want to read whole.

    Returns:
        A model of the same name whose `next_agent` is one of `names` or None.
    """
    known = cast(Any, Literal[names] if names else None)
    optional = cast(Any, Optional[known])  # noqa: UP045 - names are a value
    planned = _task_schema(names if tools is None else ())
    fields: dict[str, Any] = {
        "next_agent": (optional, _described(SupervisorDecision, "next_agent")),
        "tasks": (
            cast(Any, list[planned] | None),  # type: ignore[valid-type]  # made above
            _described(SupervisorDecision, "tasks", default=None),
        ),
    }
    if reads:
        fields["read_report"] = (cast(Any, list[str] | None), Field(None, description=READ_REPORT))
    base = AnswerDecision if answers else SupervisorDecision
    if tools is not None:
        base = PlanDecision
        fields["subagents"] = (
            list[_agent_schema(tools)],  # type: ignore[misc]  # made for the tools there are
            _described(PlanDecision, "subagents", default=[]),
        )
    return create_model(
        "SupervisorDecision",
        __base__=base,
        __doc__=SupervisorDecision.__doc__,
        **fields,
    )


def team_schema(names: tuple[str, ...], tools: tuple[str, ...] | None) -> type[BaseModel]:
    """Describe the tasks of a plan, and the agents that are created for them.

    Args:
        names: Who may get tasks.
        tools: What agents may call that are created. None: none are created.
    """
    tasks: Any = list[_task_schema(names if tools is None else ())]  # type: ignore[misc]  # made for the names
    if tools is None:
        return create_model("Plan", __doc__="Give tasks to agents of the team.", tasks=(tasks, ...))
    agents: Any = list[_agent_schema(tools)]  # type: ignore[misc]  # made for the tools
    return create_model(
        "Team",
        __doc__="Create agents for tasks, and give them the tasks.",
        subagents=(agents, _described(PlanDecision, "subagents")),
        tasks=(tasks, ...),
    )


def _task_schema(names: tuple[str, ...]) -> type[BaseModel]:
    """Describe a task of a plan; without names, anybody may get it."""
    return create_model(
        "Task",
        task_id=(str, _described(SubAgentTask, "task_id")),
        agent_id=(
            cast(Any, Literal[names] if names else str),
            _described(SubAgentTask, "agent_id"),
        ),
        task_description=(str, _described(SubAgentTask, "task_description")),
        dependencies=(list[str], _described(SubAgentTask, "dependencies", default=[])),
    )


def _agent_schema(tools: tuple[str, ...]) -> type[BaseModel]:
    """Describe an agent that a model may create, with the tools that there are."""
    some: Any = cast(Any, list)[Literal[tools] if tools else str]
    return create_model(
        "NewAgent",
        agent_id=(str, _described(Agent, "agent_id")),
        system_prompt=(str, _described(Agent, "system_prompt")),
        description=(str, _described(Agent, "description")),
        tools=(some, _described(Agent, "tools", default=[])),
    )


def _described(model: type[BaseModel], name: str, **options: Any) -> Any:
    return Field(description=model.model_fields[name].description, **options)
