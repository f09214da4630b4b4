"""What stands in a prompt for the messages that are left out of it."""

from collections import Counter
from collections.abc import Collection, Sequence

from langchain_core.messages import AnyMessage, BaseMessage, HumanMessage, SystemMessage

from asterism.core.values import escape, fence
from asterism.memories.context_policies import Compaction, parts
from asterism.nodes.view import message_facts
from asterism.prompts import render

LISTED = 10
"""How many participants are named whose reports are left out."""


def compacted_prompt(
    messages: Sequence[AnyMessage], compaction: Compaction | None, also: Collection[str] = ()
) -> list[AnyMessage]:
    """Return what is sent of a history: rules, a note on what is left out, and what stays.

    Args:
        messages: The whole history.
        compaction: What stands for its beginning, while that holds.
        also: The ids of more that stays.
    """
    found = parts(messages, compaction, also)
    if compaction is None or not found.gone:
        return list(messages)
    rules = [message for message in found.kept if isinstance(message, SystemMessage)]
    others = [message for message in found.kept if not isinstance(message, SystemMessage)]
    return [*rules, _note(found.gone, compaction), *others, *found.rest]


def _note(gone: Sequence[BaseMessage], compaction: Compaction) -> HumanMessage:
    """Say what is left out; it is the first message that is not a rule."""
    reports = Counter(m.name or "somebody" for m in gone if "report" in message_facts(m))
    named = [f"{name} ({times})" if times > 1 else name for name, times in reports.items()]
    more = f" and {len(named) - LISTED} others" if len(named) > LISTED else ""
    whose = f", among them reports of {', '.join(named[:LISTED])}{more}" if named else ""
    text = render("left_out", count=str(len(gone)), reports=whose)
    if compaction["summary"]:
        text = render("earlier", left_out=text, summary=fence_summary(compaction["summary"]))
    return HumanMessage(text, id=f"earlier-{compaction['upto']}")


def fence_summary(summary: str) -> str:
    """Put a summary between fences, and keep it from posing as a report."""
    return fence("summary", escape(summary, "report"))
