"""What is recalled for a visit, beside the request."""

from langchain_core.runnables import RunnableConfig

from asterism.core.state import VisitRequest
from asterism.core.sync_async import Steps
from asterism.memories.long_term import LongTermMemory
from asterism.memories.namespaces import user_of
from asterism.memories.recall_tools import recollections_text
from asterism.prompts import render


def add_memories(
    visit: VisitRequest, memory: LongTermMemory | None, config: RunnableConfig
) -> Steps[str]:
    """Write what a participant is sent: the request, and what a memory holds that fits it."""
    request = visit["request"]
    if memory is None:
        return request
    user = user_of(config) if memory.per_user else None
    found = yield from memory.recalling(request, user, visit["participant"])
    return (
        render("recalled", request=request, memories=recollections_text(found))
        if found
        else request
    )
