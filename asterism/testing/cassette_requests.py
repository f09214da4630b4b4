"""A model call as a cassette knows it: what was asked, in a form that does not change by chance."""

import difflib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from asterism.core.values import as_list, plain_facts, redact_values

Request = dict[str, Any]
"""The model, the messages, the tools and the options of a call: plain JSON, without secrets."""

CONTEXT = 3
"""How many lines are shown around a difference."""
LONGEST = 200
"""How many lines of a difference are shown."""


def canonical_request(
    model: str,
    messages: Sequence[BaseMessage],
    options: Mapping[str, Any],
    normalise: Callable[[str], str] | None = None,
) -> Request:
    """Write down what is asked of a model.

    What differs from run to run is left out or renamed: the ids of messages, usage, and the ids
    of tool calls, which are numbered as they come. Secrets are taken out.
    """
    numbers: dict[str, str] = {}
    asked: Request = {"model": model}
    asked |= {name: value for name, value in options.items() if value is not None}
    asked["messages"] = [_message(message, numbers) for message in messages]
    plain: Request = redact_values(plain_facts(asked))
    if normalise is not None:
        for message in plain["messages"]:
            message["content"] = _rewritten(message["content"], normalise)
    return plain


def key_of(request: Request) -> str:
    """Return what two requests have in common exactly when they are the same."""
    return json.dumps(request, sort_keys=True, ensure_ascii=False)


def readable(request: Request) -> list[str]:
    """Write a request in lines, for people."""
    options = {k: v for k, v in request.items() if k not in ("model", "messages")}
    lines = [f"model: {request.get('model')}"]
    for name in sorted(options):
        for item in as_list(options[name]):
            lines.append(f"{name}: {json.dumps(item, sort_keys=True, ensure_ascii=False)}")
    for message in request.get("messages") or ():
        lines += _lines(message)
    return lines


def nearest(request: Request, others: Sequence[Request]) -> int | None:
    """Return the place of the request that is most like this one, the first of several."""
    wanted = readable(request)
    likeness = [difflib.SequenceMatcher(None, readable(o), wanted).ratio() for o in others]
    return likeness.index(max(likeness)) if likeness else None


def difference(recorded: Request, asked: Request) -> str:
    """Show how a request differs from the one that was recorded, line by line."""
    lines = list(
        difflib.unified_diff(
            readable(recorded), readable(asked), "recorded", "asked", n=CONTEXT, lineterm=""
        )
    )
    if len(lines) > LONGEST:
        lines = [*lines[:LONGEST], f"... {len(lines) - LONGEST} lines more"]
    return "\n".join(lines)


def _message(message: BaseMessage, numbers: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {"role": message.type, "content": _content(message.content)}
    if message.name:
        found["name"] = message.name
    if isinstance(message, AIMessage) and message.tool_calls:
        found["calls"] = [
            {"tool": call["name"], "args": call["args"], "number": _number(call["id"], numbers)}
            for call in message.tool_calls
        ]
    if isinstance(message, ToolMessage):
        found["answers"] = _number(message.tool_call_id, numbers)
    return found


def _content(content: object) -> object:
    """Leave out of blocks of content what a provider makes up anew each time."""
    if not isinstance(content, list):
        return content
    blocks: list[object] = []
    for block in cast(list[object], content):
        if isinstance(block, dict):
            named = cast(dict[str, object], block)
            if "tool" in str(named.get("type")) or "call" in str(named.get("type")):
                continue  # it stands in `calls`
            block = {
                k: v for k, v in named.items() if k not in ("id", "index", "encrypted_content")
            }
        blocks.append(block)
    return blocks


def _number(name: str | None, numbers: dict[str, str]) -> str:
    return numbers.setdefault(name or "", f"call {len(numbers) + 1}")


def _rewritten(value: object, rewrite: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return rewrite(value)
    if isinstance(value, dict):
        return {k: _rewritten(v, rewrite) for k, v in cast(dict[str, object], value).items()}
    if isinstance(value, list):
        return [_rewritten(item, rewrite) for item in cast(list[object], value)]
    return value


def _lines(message: Mapping[str, Any]) -> Iterator[str]:
    who = " ".join(str(message[key]) for key in ("role", "name", "answers") if key in message)
    yield f"[{who}]"
    content = message.get("content")
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    yield from text.splitlines()
    for call in message.get("calls") or ():
        args = json.dumps(call["args"], sort_keys=True, ensure_ascii=False)
        yield f"-> {call['tool']}({args}) as {call['number']}"
