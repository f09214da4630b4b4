"""What answers say of what they took: those of models and tools, and those from elsewhere."""

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, cast

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.outputs import ChatGeneration, LLMResult

from asterism.core.digests import CHARACTERS_PER_TOKEN
from asterism.core.usage import CENTS, UsageEntry
from asterism.core.values import as_dict
from asterism.limits.prices import PriceTable

USAGE = "asterism_usage"
"""Where a message from elsewhere keeps what it took, as lines of a ledger."""


def reported_usage(
    message: AIMessage, by: str, task: str | None, prices: PriceTable
) -> Iterator[UsageEntry]:
    """Yield the calls that a message from elsewhere tells of.

    Args:
        message: The answer, with lines of a ledger under `USAGE`.
        by: Who answered; lines that name somebody mean somebody below.
        task: The task that they were made for.
        prices: What the tokens of a line without a cost are taken to cost.
    """
    lines: Sequence[UsageEntry] = message.response_metadata.get(USAGE) or ()
    for line in lines:
        cost = line["cost_usd"]
        if cost is None and (model := line.get("model")):
            known = prices.cost(
                model,
                input_tokens=line["input_tokens"],
                cached_input_tokens=line["cached_input_tokens"],
                output_tokens=line["output_tokens"],
            )
            cost = None if known is None else str(known)
        below = "/".join(filter(None, (by, line["by"])))
        entry: UsageEntry = {**line, "by": below, "cost_usd": cost}
        if task:
            entry["task"] = task
        yield entry


def answer_message(response: LLMResult) -> AIMessage | None:
    """Return the message that a model answered with."""
    for generations in response.generations:
        for generation in generations:
            if isinstance(generation, ChatGeneration) and isinstance(generation.message, AIMessage):
                return generation.message
    return None


def has_usage(message: AIMessage | None) -> bool:
    """Whether an answer tells how many tokens it took."""
    usage = as_dict(message.usage_metadata if message else None)
    return "input_tokens" in usage or "output_tokens" in usage


def is_of_model(message: AIMessage) -> bool:
    """Whether a stored message is the answer of a model, and not of a function."""
    named = "model_name" in message.response_metadata
    return named or (message.id or "").startswith(("lc_run-", "run-"))


def says_anything(message: AIMessage | None) -> bool:
    """Whether an answer has begun: a failure before its first word was not answered."""
    return message is not None and bool(
        message.text or message.tool_calls or message.invalid_tool_calls
    )


def is_from_cache(message: AIMessage | None) -> bool:
    """Whether LangChain's cache gave an answer: it marks its usage so."""
    return as_dict(message.usage_metadata if message else None).get("total_cost") == 0


def tool_cost(output: object) -> Decimal:
    """Read the US dollars that a tool says it cost: `cost_in_cents` in its artifact or its JSON."""
    found: object = output
    if isinstance(output, ToolMessage):
        found = output.artifact if "cost_in_cents" in as_dict(output.artifact) else output.text
    if isinstance(found, str) and "cost_in_cents" in found:
        try:
            found = json.loads(found, parse_float=Decimal)
        except ValueError:
            return Decimal(0)
    cents = as_dict(found).get("cost_in_cents")
    if isinstance(cents, bool) or not isinstance(cents, int | float | Decimal):
        return Decimal(0)
    cost = Decimal(str(cents)) / CENTS
    return cost if cost.is_finite() and cost > 0 else Decimal(0)


def estimate_tokens(messages: Sequence[BaseMessage], tools: Sequence[Any] = ()) -> int:
    """Estimate the tokens of a prompt as LangChain does; messages of plain text are fast.

    Each prompt has the whole conversation, so this is most of what a turn without a model's own
    count would cost.
    """
    total, others = 0, list[BaseMessage]()
    for message in messages:
        content, kind, name = message.content, message.type, message.name
        is_answer = kind == "ai" and not cast(AIMessage, message).tool_calls
        if content.__class__ is str and (is_answer or kind == "human"):
            role = 9 if is_answer else 4  # the letters of "assistant" and of "user"
            characters = len(content) + role + (len(name) if name else 0)
            total += -(-characters // CHARACTERS_PER_TOKEN) + 3
        else:
            others.append(message)
    if others or tools:
        total += count_tokens_approximately(others, tools=[*tools])
    return total
