"""What a workflow's runs take and return, for type checkers; nothing of it exists in a run.

Tests: tests/typing/test_typing.py.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, NotRequired

from langchain_core.messages import AnyMessage, MessageLikeRepresentation
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import RunControl
from langgraph.types import All, Command, Durability, Interrupt, StreamMode
from typing_extensions import TypedDict, TypeVar

from asterism.core.state import Report, Status
from asterism.core.usage import UsageEntry

T = TypeVar("T", default=Any)


class WorkflowInput(TypedDict):
    """What a run starts with."""

    messages: MessageLikeRepresentation | Sequence[MessageLikeRepresentation]
    """The request, as any message or messages that LangChain knows: `[("user", "...")]`."""


class WorkflowResult(TypedDict, Generic[T]):
    """What a run returns, as a plain mapping."""

    messages: list[AnyMessage]
    """The conversation; the answer is its last message, unless the status is `"waiting"`."""
    status: Status
    reason: str | None
    """Why the run has ended so."""
    iterations: int
    """How many decisions the request has taken."""
    reports: list[Report]
    """What came of the visits, in order."""
    usage: list[UsageEntry]
    """What the calls of the supervisor took; those of visits stand in the reports."""
    structured_response: T
    """The object of a `finish` model; at runtime None where the status is not `"completed"`."""
    __interrupt__: NotRequired[list[Interrupt]]
    """The open questions, where the status is `"waiting"`."""


RunInput = WorkflowInput | Command[Any] | None
"""What a run takes: a request, a command that answers, or None to continue."""


class RunOptions(TypedDict, total=False):
    """Options of `invoke` that leave the type of its result as it is."""

    durability: Durability | None
    control: RunControl | None
    interrupt_before: All | Sequence[str] | None
    interrupt_after: All | Sequence[str] | None
    print_mode: StreamMode | Sequence[StreamMode]


class Returns(Generic[T]):
    """A marker of graphs whose runs return a `WorkflowResult[T]`."""

    if TYPE_CHECKING:

        def batch(
            self,
            inputs: list[RunInput],
            config: RunnableConfig | list[RunnableConfig] | None = None,
            *,
            return_exceptions: bool = False,
            **kwargs: Any,
        ) -> list[WorkflowResult[T]]:
            """Run several requests, each on the thread of its config."""
            ...

        async def abatch(
            self,
            inputs: list[RunInput],
            config: RunnableConfig | list[RunnableConfig] | None = None,
            *,
            return_exceptions: bool = False,
            **kwargs: Any,
        ) -> list[WorkflowResult[T]]:
            """Run several requests, each on the thread of its config."""
            ...
