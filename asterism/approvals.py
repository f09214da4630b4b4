"""Tool approvals, as `HumanInTheLoopMiddleware` asks for them."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from asterism.plain import as_dict, as_list

APPROVAL = "tool_approval"
"""The `request_type` of a request to approve tool calls."""

_ARGUMENTS: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "args": {"type": "object"}},
    "required": ["name", "args"],
}
_DECISIONS: dict[str, dict[str, Any]] = {
    "approve": {},
    "edit": {"edited_action": _ARGUMENTS},
    "reject": {},
    "respond": {"message": {"type": "string", "minLength": 1}},
}


def is_approval(value: object) -> bool:
    """Whether an interrupt asks to approve tool calls."""
    return isinstance(as_dict(value).get("action_requests"), list)


def approval_prompt(value: Mapping[str, Any]) -> str:
    """Say which calls are to be approved, and what may be answered."""
    calls = (
        f"{action['name']}({', '.join(f'{k}={v!r}' for k, v in as_dict(action['args']).items())})"
        for action in cast(Sequence[dict[str, Any]], value["action_requests"])
    )
    allowed = dict.fromkeys(kind for kinds in _find_allowed_decisions(value) for kind in kinds)
    return f"May these tools be called: {', '.join(calls)}? Allowed: {', '.join(allowed)}."


def approval_schema(value: Mapping[str, Any]) -> dict[str, Any]:
    """Write the JSON schema of the answer: one decision for each call, in their order."""
    items = [
        {"anyOf": [_decision(kind) for kind in kinds]} for kinds in _find_allowed_decisions(value)
    ]
    decisions = {
        "type": "array",
        "prefixItems": items,
        "minItems": len(items),
        "maxItems": len(items),
    }
    return {"type": "object", "properties": {"decisions": decisions}, "required": ["decisions"]}


def approval_answer(value: Mapping[str, Any], answer: object) -> Any:
    """Write an answer in full: a word or a single decision stands for all calls."""
    count = len(value["action_requests"])
    if isinstance(answer, str):
        return {"decisions": [{"type": answer.strip().lower()}] * count}
    if isinstance(answer, list):
        return {"decisions": as_list(cast(object, answer))}
    if "type" in as_dict(answer):
        return {"decisions": [as_dict(answer)] * count}
    return answer


def _find_allowed_decisions(value: Mapping[str, Any]) -> list[list[str]]:
    """Return the kinds of decision that are allowed for each call."""
    configs = {
        config["action_name"]: list(config["allowed_decisions"])
        for config in cast(Sequence[dict[str, Any]], value.get("review_configs") or ())
    }
    actions = cast(Sequence[dict[str, Any]], value["action_requests"])
    return [configs.get(action["name"], ["approve", "reject"]) for action in actions]


def _decision(kind: str) -> dict[str, Any]:
    fields = _DECISIONS.get(kind, {})
    return {
        "type": "object",
        "properties": {"type": {"const": kind}, "message": {"type": "string"}, **fields},
        "required": ["type", *fields],
    }
