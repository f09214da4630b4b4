"""The state of a workflow, and what stands in it."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NotRequired, Self, cast

from langchain_core.messages import AnyMessage, BaseMessage
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.base import PendingWrite
from langgraph.errors import InvalidUpdateError
from typing_extensions import TypedDict

from asterism.core.history_cache import FoldedValue, SharedList, StoredWrites
from asterism.core.messages import Places, fold_messages, places_of
from asterism.core.usage import UsageEntry
from asterism.errors import StorageError

Status = Literal[
    "running",
    "completed",
    "waiting",
    "limit",
    "stalled",
    "failed",
    "cancelled",
    "steered",
    "queued",
]
"""How a run stands. Only `"running"` and `"waiting"` are not an end. `"steered"` and `"queued"` are
what a call returns whose message was handed to the run under way, or waits for its end; no thread
has them."""

ReportStatus = Literal["ok", "empty", "failed", "timeout", "limit", "cancelled", "skipped"]
"""How a visit ended. An empty text is never `"ok"`; a skipped visit was never made."""

SNAPSHOT_FREQUENCY = 1_000
"""After how many writes a growing channel is stored whole, at the earliest; in between only what
is new is."""


class Report(TypedDict):
    """What came of one visit to a participant: one entry of the answer board."""

    id: str
    """The handoff that it answers; unique on the thread."""
    participant: str
    """Who answered."""
    round: int
    """The supervisor's decision that asked for it, counted from 1 in each request."""
    status: ReportStatus
    """How the visit ended."""
    text: str
    """The answer as it was written, or what was said before the visit failed."""
    attempts: int
    """How often the participant was tried for this visit."""
    fingerprint: str
    """Names the request together with the text, to notice work that stands still."""
    task: NotRequired[str]
    """The task of a plan that it answers."""
    kind: NotRequired[str]
    """The kind of failure, as in `asterism.limits.failure_policies.FAILURES`, where it failed."""
    error: NotRequired[str]
    """What went wrong, as `kind: message`, where something did."""
    traceback: NotRequired[str]
    """The end of the traceback, without secrets, where an error was raised."""
    compensation: NotRequired[dict[str, str]]
    """What happens next because it failed: who takes over, or what a person is asked."""
    undoes: NotRequired[str]
    """The report whose effects it has taken back."""
    usage: NotRequired[list[UsageEntry]]
    """What its calls took, where it made any."""
    media: NotRequired[list[dict[str, Any]]]
    """Pictures, recordings and files of the answer, as LangChain's content blocks."""
    files: NotRequired[list[dict[str, str]]]
    """Files that its tools made, each with `name`, `media_type` and `text`."""


_DAMAGED = "the rows of the thread are damaged. Restore the database from a copy."


def fold_list(left: list[Any], writes: Sequence[list[Any]]) -> list[Any]:
    """Append each write's items to a list, in order.

    Raises:
        StorageError: A write is no list: no node makes such a one, so a stored row is damaged.
    """
    for write in (left, *writes):
        if not isinstance(cast(object, write), list):
            raise StorageError(f"A growing list was given {write!r:.80}; {_DAMAGED}")
    return [*left, *(item for write in writes for item in write)]


class GrowingChannel(DeltaChannel[list[Any]]):
    """A list that is stored whole each time that it has about doubled.

    Stored whole at a fixed distance, its checkpoints would grow with the square of its length.
    """

    @property
    def snapshot_frequency(self) -> int:
        """After how many writes it is stored whole."""
        length = len(self.value) if self.is_available() and self.value else 0
        return max(self._least, length // 2)

    @snapshot_frequency.setter
    def snapshot_frequency(self, least: int) -> None:
        self.value: Any = None  # the base class sets it after this
        self._least = least


class HistoryChannel(GrowingChannel):
    """A growing history of messages."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._places: Places = {}
        super().__init__(*args, **kwargs)

    def update(self, values: Sequence[Any]) -> bool:
        """Apply writes; where messages stand is kept, so that a long history costs no more."""
        if not values or not _adds(values):
            return super().update(values)
        before: list[AnyMessage] = self.value if self.is_available() else []
        known, self._places = self._places, {}
        if len(known) != len(before) or (before and known.get(before[-1].id) != len(before) - 1):
            known = places_of(before)  # not made here, or changed by somebody who has it
        fold: Any = self.reducer
        self.value = fold(before, values, known)
        self._places = known
        return True

    def replay_writes(self, writes: Sequence[PendingWrite]) -> None:
        """Apply stored writes; what was made of the first ones before is not made again."""
        try:
            self._replay(writes)
        except (TypeError, ValueError, AttributeError, LookupError, NotImplementedError) as error:
            raise StorageError(f"A history cannot be read: {error!r:.200}; {_DAMAGED}") from error

    def _replay(self, writes: Sequence[PendingWrite]) -> None:
        if not isinstance(writes, StoredWrites):
            super().replay_writes(writes)
            return
        made = writes.made
        count = 0
        if made is not None and made.by is self.reducer:
            self.value, count, self._places = made.value, made.count, dict(made.places)
        new = writes.since(count)
        if _adds(values := [value for _, _, value in new]):
            self.update(values)
        else:
            super().replay_writes(new)
            self._places = places_of(self.value)
        count += len(new)
        writes.made = FoldedValue(
            by=self.reducer, count=count, value=self.value, places=dict(self._places)
        )
        self.value = SharedList(self.value)


def _adds(values: Sequence[object]) -> bool:
    """Whether writes add messages, and none puts others in their place."""
    return all(isinstance(value, (list, BaseMessage)) for value in values)


Messages = Annotated[
    list[AnyMessage], HistoryChannel(fold_messages, snapshot_frequency=SNAPSHOT_FREQUENCY)
]
"""A history of which each checkpoint stores only what is new."""


class DecisionChannel(DeltaChannel[Any]):
    """The last decision; it is stored in the checkpoint in which it was taken, and in no other.

    The checkpoints of a plan would else grow with the square of its length, as each would hold
    all of its tasks.
    """

    def from_checkpoint(self, checkpoint: Any) -> Self:
        """Begin with what is stored, or with nothing."""
        own = cast(Any, self)
        new = self.__class__(own.reducer, own.typ, snapshot_frequency=own.snapshot_frequency)
        new.key = self.key
        if checkpoint is not new.value:
            new.value = getattr(checkpoint, "value", checkpoint)
        return new

    def get(self) -> Any:
        """Return what was decided; a fork stores it also where nothing was decided yet."""
        return super().get() if self.is_available() else None

    def update(self, values: Sequence[Any]) -> bool:
        """Take the decision that is written.

        Raises:
            InvalidUpdateError: Several are, in one step.
        """
        if len(values) > 1:
            raise InvalidUpdateError(f"{self.key!r} takes one value per step, not {len(values)}.")
        self.value = values[0] if values else self.value
        return bool(values)


def take_last(before: Any, writes: Sequence[Any]) -> Any:
    """Return the last write."""
    return writes[-1]


Reports = Annotated[list[Report], GrowingChannel(fold_list, snapshot_frequency=SNAPSHOT_FREQUENCY)]
"""The answer board; it grows with each visit."""

Brief = Annotated[list[str], DeltaChannel(fold_list, snapshot_frequency=SNAPSHOT_FREQUENCY)]

LatestDecision = Annotated[dict[str, Any] | None, DecisionChannel(take_last, snapshot_frequency=1)]


class WorkflowInputSchema(TypedDict):
    """What a run starts with."""

    messages: Messages


class WorkflowOutput(TypedDict):
    """What a run returns."""

    messages: Messages
    status: Status
    reason: str | None
    iterations: int
    reports: Reports
    usage: Annotated[
        list[UsageEntry], GrowingChannel(fold_list, snapshot_frequency=SNAPSHOT_FREQUENCY)
    ]
    """What the calls of the supervisor took; those of visits stand in the reports."""
    structured_response: Any


class WorkflowState(WorkflowOutput):
    """Everything that a workflow remembers on its own thread."""

    brief: Brief
    """The request of this run, then the questions and answers that made it clearer."""
    decision: LatestDecision
    """The decision that is being followed, as `asterism.core.decision` reads and writes it."""
    breach: dict[str, Any] | None
    """The budget that is used up, until the supervisor has seen to it."""
    limits: dict[str, dict[str, str]]
    """The limits that a person has raised, by scope and measure."""
    agents: dict[str, Any]
    """The specs of agents that a model has created on this thread, by id."""
    compaction: dict[str, Any] | None
    """What stands for the beginning of the conversation in the supervisor's prompts; it has the
    fields of `asterism.memories.context_policies.Compaction`."""
    tries: dict[str, Any] | None
    """The bad answers before the latest decision, and whether none followed; see
    `asterism.nodes.decider.tries_of`."""
    running: list[str]
    """The tasks of its plan that have begun and have no report yet."""
    made_of: Annotated[dict[str, str] | None, DecisionChannel(take_last, snapshot_frequency=1)]
    """Hashes of what models are asked by the team that began the request, by participant; see
    `asterism.nodes.hashes`."""


class ParticipantNodeInput(TypedDict):
    """What the node of a participant reads of the state: what it is to do."""

    messages: Messages
    decision: LatestDecision
    iterations: int
    reports: Reports
    brief: Brief


class VisitRequest(TypedDict):
    """What a participant is asked: one focused request."""

    id: str
    """The handoff; the participant's report and its checkpoints carry it."""
    participant: str
    request: str
    """The user's request, what became clear since, and the supervisor's instruction."""
    round: int
    task: NotRequired[str]
    """The task of a plan that is to be done."""
    resumes: NotRequired[bool]
    """Whether it may have begun before a budget stopped it."""
    media: NotRequired[list[dict[str, Any]]]
    """What the user has sent besides text, and the media of the results that a task needs."""
    state_input: NotRequired[dict[str, Any]]
    """What a participant with a grant is sent in place of the request. It is not stored."""
