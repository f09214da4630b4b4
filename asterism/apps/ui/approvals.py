"""The tool calls that wait for approval: their arguments, what the tool does, its schema.

Tests: tests/asterism/apps/ui/test_approvals.py.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

from langchain_core.tools import BaseTool
from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema

from asterism.core.continuation import Graph
from asterism.core.interrupts import PendingRequest, is_approval
from asterism.core.values import as_dict, as_list

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def approval_calls(request: PendingRequest, graph: Graph) -> list[dict[str, Any]]:
    """Return the calls that a request is about; none where it asks something else.

    Args:
        request: The open request.
        graph: The graph of its thread, in which the tools are looked up.
    """
    value, schema = as_dict(request.value), as_dict(request.schema)
    if is_approval(value):
        decisions = as_dict(as_dict(schema.get("properties")).get("decisions"))
        items = as_list(decisions.get("prefixItems"))
        calls = [as_dict(call) for call in as_list(value["action_requests"])]
    elif value.get("type") == "tool_approval" and value.get("name"):
        items, calls = [schema], [value]
    else:
        return []
    tools = _tools_of(graph, request.path)
    return [
        _call(call, tools.get(str(call.get("name"))), _list_decisions(as_dict(item), schema))
        for call, item in zip(calls, items, strict=False)
    ]


def is_single(request: PendingRequest) -> bool:
    """Whether the answer is one decision, and not a list of them."""
    return not is_approval(request.value)


def _call(call: Mapping[str, Any], tool: BaseTool | None, allowed: list[str]) -> dict[str, Any]:
    args = as_dict(call.get("args"))
    told = str(call.get("description") or "")
    generated = f"Tool: {call.get('name')}\n" in told  # the middleware's own words: name and args
    described = tool.description if tool else ""
    return {
        "name": call.get("name"),
        "args": args,
        "description": described if generated or not told else told,
        "schema": _with_all(_schema_of(tool), args),
        "allowed": allowed,
    }


def _list_decisions(schema: Mapping[str, Any], root: Mapping[str, Any]) -> list[str]:
    """Return the kinds of decision that the schema of an answer allows."""
    kinds: list[str] = []
    for option in as_list(schema.get("anyOf") or schema.get("oneOf") or schema):
        found = as_dict(option)
        if reference := str(found.get("$ref", "")):
            found = as_dict(as_dict(root.get("$defs")).get(reference.rsplit("/", 1)[-1]))
        kind = as_dict(as_dict(found.get("properties")).get("type"))
        kinds += map(str, as_list(kind.get("enum", kind.get("const"))))
    return kinds


def _tools_of(graph: Graph, path: str) -> Mapping[str, BaseTool]:
    """Return the tools of the agent at a path."""
    if not hasattr(graph, "get_subgraphs"):
        return {}
    below: dict[str, Any] = dict(cast(Any, graph).get_subgraphs(recurse=True))
    inner: Any = below.get(path.replace("/", "|")) if path else graph
    node = as_dict(getattr(inner, "nodes", None)).get("tools")
    tools: Mapping[str, BaseTool] = getattr(getattr(node, "bound", None), "tools_by_name", {})
    return tools


def _schema_of(tool: BaseTool | None) -> dict[str, Any]:
    schema = tool.tool_call_schema if tool else None
    if isinstance(schema, dict):
        return schema
    with suppress(PydanticInvalidForJsonSchema):
        if isinstance(schema, type) and issubclass(schema, BaseModel):
            return schema.model_json_schema()
    return {}


def _with_all(schema: Mapping[str, Any], args: Mapping[str, Any]) -> dict[str, Any]:
    """Complete a schema with the arguments that it does not have, by their types."""
    known = as_dict(schema.get("properties"))
    others = {
        name: {"type": _TYPES[type(value)]} if type(value) in _TYPES else {}
        for name, value in args.items()
        if name not in known
    }
    kept = {key: value for key, value in schema.items() if key not in ("title", "description")}
    return {**kept, "type": "object", "properties": {**known, **others}}
