"""JSON schemas that models are given for decisions, narrowed to the live participants and tools.

They are written as plain values: `typing` caches `Literal`s by equality, in which order does not
count, so a schema made of annotations could have the order of another team.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from asterism.core.agent_spec import Agent
from asterism.core.supervisor_decision import AnswerDecision, PlanDecision, SupervisorDecision
from asterism.core.values import as_dict

Schema = dict[str, Any]

READ_REPORT = "Ids of digests to read whole first; you are asked again then."
"""Description of the field by which a model reads reports."""

NOBODY = "none"
"""Stands for null among names, where a schema may hold texts only."""

_TEXT: Schema = {"type": "string"}


@lru_cache(maxsize=256)
def decision_schema(
    names: tuple[str, ...],
    tools: tuple[str, ...] | None = None,
    *,
    answers: bool = False,
    reads: bool = False,
    plans: bool = True,
) -> Schema:
    """Write the schema of a decision; it does not repeat what prompts say of its fields.

    Args:
        names: The ids that `next_agent` may have, in the order of the team.
        tools: What agents may call that the model creates. None: it may not create any.
        answers: Whether the model may answer the user at once.
        reads: Whether it may want to read reports whole that are shown as digests.
        plans: Whether it may give several tasks at once.
    """
    nobody: Schema = {"type": "null"}
    properties = {
        "next_agent": _create_model_schema(
            SupervisorDecision, "next_agent", anyOf=[_choice(names), nobody] if names else [nobody]
        ),
        "instruction": _TEXT,
        "user_input_needed": {"type": "boolean"},
        "user_prompt": _TEXT,
    }
    if answers or tools is not None:
        properties["answer"] = _create_model_schema(AnswerDecision, "answer", **_TEXT)
    if tools is not None:
        properties["subagents"] = _create_model_schema(
            PlanDecision, "subagents", **_list(_agent(tools))
        )
    if plans or tools is not None:
        properties["tasks"] = _list(_task(names if tools is None else ()))
    if reads:
        properties["read_report"] = {"description": READ_REPORT, **_list(_TEXT)}
    purpose = "Who works next, a question to the user, or the end."
    return _object("SupervisorDecision", purpose, properties, required=["next_agent"])


def team_schema(names: tuple[str, ...], tools: tuple[str, ...] | None) -> Schema:
    """Write the schema of the tasks of a plan, and of the agents that are created for them.

    Args:
        names: Who may get tasks.
        tools: What agents may call that are created. None: none are created.
    """
    tasks = _list(_task(names if tools is None else ()))
    if tools is None:
        return _object("Plan", "Give tasks to agents of the team.", {"tasks": tasks})
    agents = _create_model_schema(PlanDecision, "subagents", **_list(_agent(tools)))
    return _object(
        "Team",
        "Create agents for tasks, and give them the tasks.",
        {"subagents": agents, "tasks": tasks},
    )


def strict_schema(schema: Mapping[str, Any]) -> Schema:
    """Rewrite a schema for providers that enforce it: all properties required, no others.

    A property that was optional may be null instead.
    """
    strict = dict(schema)
    if "items" in strict:
        strict["items"] = strict_schema(strict["items"])
    if "anyOf" in strict:
        strict["anyOf"] = [strict_schema(option) for option in strict["anyOf"]]
    if "properties" in strict:
        required = strict.get("required") or ()
        strict["properties"] = {
            name: strict_schema(part) if name in required else _nullable(strict_schema(part))
            for name, part in strict["properties"].items()
        }
        strict |= {"required": list(strict["properties"]), "additionalProperties": False}
    return strict


def flat_schema(schema: Mapping[str, Any]) -> Schema:
    """Rewrite a schema of a decision without `anyOf`, for clients that drop it."""
    agent = schema["properties"]["next_agent"]
    names = [name for option in agent["anyOf"] for name in option.get("enum") or ()]
    said = agent["description"].replace("null", repr(NOBODY))
    flat = {"description": said, **_choice([*names, NOBODY])}
    return {**schema, "properties": {**schema["properties"], "next_agent": flat}}


def describe_shape(schema: Mapping[str, Any]) -> str:
    """Describe in one line the JSON value that a schema wants, for a model that is not given it."""
    if options := schema.get("anyOf"):
        return " or ".join(describe_shape(option) for option in options)
    if values := schema.get("enum"):
        return " or ".join(json.dumps(value, ensure_ascii=False) for value in values)
    if "const" in schema:
        return json.dumps(schema["const"], ensure_ascii=False)
    kind = schema.get("type")
    if kind == "array":
        return f"[{describe_shape(as_dict(schema.get('items')))}, ...]"
    if kind == "object" and schema.get("properties"):
        parts: Iterable[tuple[str, Any]] = schema["properties"].items()
        return "{" + ", ".join(f'"{name}": {describe_shape(part)}' for name, part in parts) + "}"
    plain = {"string": "text", "boolean": "true or false", "null": "null", "integer": "number"}
    return plain.get(str(kind), str(kind or "value"))


def _task(names: Sequence[str]) -> Schema:
    """Write the schema of a task of a plan; without names, anybody may get it."""
    return _object(
        "Task",
        "",
        {
            "task_id": _TEXT,
            "agent_id": _choice(names) if names else _TEXT,
            "task_description": _TEXT,
            "dependencies": _list(_TEXT),
        },
        required=["task_id", "agent_id", "task_description"],
    )


def _agent(tools: Sequence[str]) -> Schema:
    """Write the schema of an agent that a model may create, with the tools that there are."""
    return _object(
        "NewAgent",
        "",
        {
            "agent_id": _create_model_schema(Agent, "agent_id", **_TEXT),
            "system_prompt": _create_model_schema(Agent, "system_prompt", **_TEXT),
            "description": _create_model_schema(Agent, "description", **_TEXT),
            "tools": _create_model_schema(
                Agent, "tools", **_list(_choice(tools) if tools else _TEXT)
            ),
        },
        required=["agent_id", "system_prompt", "description"],
    )


def _object(
    title: str, purpose: str, properties: Schema, required: Sequence[str] | None = None
) -> Schema:
    named = {"title": title, "description": purpose} if purpose else {}
    wanted = list(properties if required is None else required)
    return {**named, "type": "object", "properties": properties, "required": wanted}


def _choice(names: Sequence[str]) -> Schema:
    return {"type": "string", "enum": list(names)}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _nullable(schema: Schema) -> Schema:
    kind = schema.get("type")
    if "anyOf" in schema or kind is None:
        return schema
    if "enum" in schema:
        return {**schema, "type": [kind, "null"], "enum": [*schema["enum"], None]}
    return {**schema, "type": [kind, "null"]}


def _create_model_schema(model: type[BaseModel], name: str, **schema: Any) -> Schema:
    return {"description": model.model_fields[name].description, **schema}
