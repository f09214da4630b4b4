"""A member of a family: what is known of a child, and how that changes."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from asterism.core.continuation import Graph
from asterism.core.thread_lease import Release
from asterism.events import SupervisionEventType as Type
from asterism.supervision.agents import SupervisedAgent
from asterism.supervision.config import SupervisorConfig
from asterism.supervision.gauge import ChildUsage
from asterism.supervision.quotas import Limit
from asterism.supervision.states import ChildStatus, next_status
from asterism.supervision.verdicts import ChildCommand, NextState


class ChildHost(Protocol):
    """What a member needs of its supervisor."""

    config: SupervisorConfig
    clock: Callable[[], float]

    def tell(self, type: Type, child: "ChildState", facts: Mapping[str, Any]) -> None:
        """Emit an event."""
        ...

    def review_verdict(self, child: "ChildState", verdict: NextState) -> NextState:
        """Count a restart that the child itself is the cause of, or decide otherwise."""
        ...

    def record_end(self, child: "ChildState") -> None:
        """Take note that a child has ended."""
        ...


@dataclass(eq=False, kw_only=True)
class ChildState:
    """A run of a graph on a thread, as its supervisor knows it."""

    id: str
    name: str
    thread_id: str
    graph: Graph
    saver: BaseCheckpointSaver[Any]
    request: Mapping[str, Any] | None
    """The input that begins it. None: it was begun by another supervisor."""
    config: RunnableConfig
    """What its runs are given."""
    metadata: Mapping[str, Any]
    gauge: ChildUsage
    house: ChildHost
    status: ChildStatus = ChildStatus.PENDING
    attempts: int = 0
    retries: int = 0
    """How often it was restarted on its own account."""
    order: ChildCommand | None = None
    asks: Limit | None = None
    """The quota that it asks to have raised, while it rests for that."""
    questions: tuple[Mapping[str, str], ...] = ()
    reason: str = ""
    error: BaseException | None = None
    result: Any = None
    abandoned: bool = False
    release: Release | None = None
    """Gives its thread back."""
    _changed: "asyncio.Future[None] | None" = None

    def facts(self) -> SupervisedAgent:
        """Return what is known of it now."""
        return SupervisedAgent(
            id=self.id,
            name=self.name,
            thread_id=self.thread_id,
            status=self.status,
            attempt=self.attempts,
            usage=self.gauge.usage(),
            doing=self.gauge.doing,
            silent_seconds=self.gauge.silence() if self.status is ChildStatus.RUNNING else None,
            reason=self.reason,
            asks=self.asks,
            questions=self.questions,
            error=self.error,
            abandoned=self.abandoned,
            metadata=self.metadata,
        )

    def adoption_facts(self) -> dict[str, Any]:
        """Return what another supervisor has to know to adopt it."""
        return {
            "id": self.id,
            "name": self.name,
            "status": self.status.value,
            "reason": self.reason,
            "retries": self.retries,
            "quota": self.gauge.quota.as_json(),
            "usage": self.gauge.usage().as_json(),
            "metadata": dict(self.metadata),
        }

    async def change(self, timeout: float | None) -> None:
        """Wait until its state changes, but not longer than some seconds."""
        if self._changed is None or self._changed.done():
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.wait({self._changed}, timeout=timeout)

    def wake(self) -> None:
        """Let those who wait for a change look again."""
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    def move(self, verdict: NextState) -> None:
        """Change its state, and tell."""
        self.status = next_status(self.status, verdict.event, self.id)
        if self.status is ChildStatus.RUNNING:
            self.gauge.start()
        else:
            self.gauge.stop()
        self.reason, self.asks, self.questions = verdict.reason, verdict.asks, verdict.questions
        self.house.tell(verdict.event, self, self._change_facts(verdict))
        self.wake()

    def _change_facts(self, verdict: NextState) -> dict[str, Any]:
        """Return the facts of a change of its state."""
        running = self.status is ChildStatus.RUNNING
        facts: dict[str, Any] = {"attempt": self.attempts + running}
        if verdict.reason:
            facts["reason"] = verdict.reason
        if verdict.asks:
            facts["asks"] = verdict.asks
        if verdict.questions:
            facts["questions"] = verdict.questions
        if self.abandoned:
            facts["abandoned"] = True
        return facts if running else {**facts, **self.gauge.usage().as_json()}
