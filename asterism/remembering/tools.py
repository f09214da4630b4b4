"""The tools by which participants remember and recall."""

from typing import Protocol

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool

from asterism.core.sync_async import Steps, arun_steps, run_steps
from asterism.errors import InvalidMemoryError
from asterism.remembering.recollections import Recollection, recollections_text
from asterism.remembering.users import user_of

_REMEMBER = (
    "Remember a single fact for later conversations, such as a decision, a preference or a name. "
    "Write it so that it can be understood by itself."
)
_RECALL = "Look for facts that were remembered in earlier conversations. Ask in your own words."


class MemoryTarget(Protocol):
    """A memory that the tools work on."""

    @property
    def per_user(self) -> bool:
        """Whether it is kept for each user."""
        ...

    def remembering(
        self, text: str, user: str | None, participant: str | None, key: str | None
    ) -> Steps[str]:
        """Remember a text, and return its key."""
        ...

    def recalling(
        self, query: str, user: str | None, participant: str | None, limit: int | None = None
    ) -> Steps[list[Recollection]]:
        """Return what fits a question best."""
        ...


def memory_tools(memory: MemoryTarget, participant: str | None) -> list[BaseTool]:
    """Make the tools `remember` and `recall` of a memory.

    Args:
        memory: What they work on.
        participant: Whose tools they are. None: the team's.
    """

    def whose(config: RunnableConfig) -> str | None:
        return user_of(config) if memory.per_user else None

    def noting(text: str, config: RunnableConfig) -> Steps[str]:
        user = whose(config)
        try:
            key = yield from memory.remembering(text, user, participant, None)
        except InvalidMemoryError as error:
            return str(error)
        return f"Remembered as {key}."

    def looking(question: str, config: RunnableConfig) -> Steps[str]:
        found = yield from memory.recalling(question, whose(config), participant)
        return recollections_text(found) if found else "Nothing is remembered that fits."

    def remember(text: str, config: RunnableConfig) -> str:
        return run_steps(noting(text, config))

    async def aremember(text: str, config: RunnableConfig) -> str:
        return await arun_steps(noting(text, config))

    def recall(question: str, config: RunnableConfig) -> str:
        return run_steps(looking(question, config))

    async def arecall(question: str, config: RunnableConfig) -> str:
        return await arun_steps(looking(question, config))

    return [
        StructuredTool.from_function(remember, aremember, name="remember", description=_REMEMBER),
        StructuredTool.from_function(recall, arecall, name="recall", description=_RECALL),
    ]
