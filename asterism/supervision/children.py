"""A family: the children of a supervisor, those that have ended, and the supervisors below."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from traceback import clear_frames
from typing import Any

from asterism.errors import SpawnRefusedError, UnknownChildError
from asterism.events import Event, EventBus
from asterism.events import SupervisionEventType as Type
from asterism.supervision.child import Child, ChildState
from asterism.supervision.config import Intensity, SupervisorConfig, restart_set
from asterism.supervision.restart_policy import ChildCommand, NextState
from asterism.supervision.status import AgentProgress, ChildStatus, SupervisedAgent

AT_WORK = (ChildStatus.PENDING, ChildStatus.RUNNING)


@dataclass(frozen=True, kw_only=True)
class EndedChild:
    """A child that has ended."""

    facts: SupervisedAgent
    result: Any


class ChildRegistry:
    """Who lives under a supervisor, and who has."""

    def __init__(self, config: SupervisorConfig, bus: EventBus, clock: Callable[[], float]) -> None:
        self.config = config
        self.bus = bus
        self.clock = clock
        self.closed = False
        """Whether there are to be no new children."""
        self.name = ""
        self.above: ChildRegistry | None = None
        self.below: dict[str, ChildRegistry] = {}
        self._members: list[ChildState | ChildRegistry] = []
        self._living: dict[str, Child] = {}
        self._past: dict[str, EndedChild] = {}
        self._forgotten = AgentProgress(supervisors=0)
        self._intensity = Intensity(config.max_restarts, config.restart_window)

    # ---- who is there

    def child(self, child_id: str) -> Child | EndedChild:
        """Return a child, living or not.

        Raises:
            UnknownChildError: There is none of this id.
        """
        found = self._living.get(child_id) or self._past.get(child_id)
        if found is None:
            known = ", ".join(self._living) or "none that live"
            raise UnknownChildError(
                f"There is no child {child_id!r}; there are {known}. The latest "
                f"{self.config.max_remembered} that have ended can still be asked for."
            )
        return found

    def knows(self, child_id: str) -> bool:
        """Whether there is a child of this id, living or not."""
        return child_id in self._living or child_id in self._past

    def is_of_ours(self, event: Event) -> bool:
        """Whether an event tells of a child, here or below."""
        return any(family.knows(event.source) for family in self.families())

    def facts_of(self, child_id: str) -> SupervisedAgent:
        """Return what is known of a child now.

        Raises:
            UnknownChildError: There is none of this id.
        """
        found = self.child(child_id)
        return found.facts if isinstance(found, EndedChild) else found.facts()

    def living(self) -> list[Child]:
        """Return the children that have not ended, oldest first."""
        return list(self._living.values())

    def facts(self) -> list[SupervisedAgent]:
        """Return what is known of each child, those that have ended first."""
        past = [past.facts for past in self._past.values()]
        return [*past, *(child.facts() for child in self._living.values())]

    def families(self) -> "Iterator[ChildRegistry]":
        """Yield this family and those below it."""
        yield self
        for family in self.below.values():
            yield from family.families()

    def progress(self) -> AgentProgress:
        """Add up how far all children are, and all below."""
        total = AgentProgress() + self._forgotten
        for facts in self.facts():
            total += AgentProgress.of(facts)
        for family in self.below.values():
            total += family.progress()
        return total

    # ---- coming and going

    def check_room(self) -> None:
        """Check that there may be another child.

        Raises:
            SpawnRefusedError: There are as many as there may be, or there are to be no more.
        """
        if self.closed:
            raise SpawnRefusedError("The supervisor is shut down and takes no more children.")
        if len(self._living) >= self.config.max_children:
            raise SpawnRefusedError(
                f"{len(self._living)} children live, as many as there may be. Wait until one has "
                "ended, or raise max_children in the SupervisorConfig."
            )

    def take_on(self, child: Child) -> None:
        """Take note of a new child."""
        self._living[child.id] = child
        self._members.append(child)
        facts = {
            "thread_id": child.thread_id,
            "quotas": child.gauge.quota.as_json(),
            "metadata": child.metadata,
        }
        self.tell(Type.SPAWNED, child, facts)

    def attach(self, name: str, family: "ChildRegistry") -> None:
        """Put a family below this one."""
        family.name, family.above = name, self
        self.below[name] = family
        self._members.append(family)

    def record_end(self, child: ChildState) -> None:
        """Take note that a child has ended, and forget those that ended long ago."""
        self._living.pop(child.id, None)
        self._members.remove(child)
        if child.error is not None:  # it says where it was raised, but holds nothing there
            clear_frames(child.error.__traceback__)
        self._past[child.id] = EndedChild(facts=child.facts(), result=child.result)
        while len(self._past) > self.config.max_remembered:
            facts = self._past.pop(next(iter(self._past))).facts
            self._forgotten += AgentProgress.of(facts, forgotten=True)

    # ---- what a child asks of it

    def tell(self, type: Type, child: ChildState, facts: Mapping[str, Any]) -> None:
        """Emit an event, on the buses of the supervisors above as well."""
        told: list[EventBus] = []
        family: ChildRegistry | None = self
        while family is not None:
            if family.bus not in told:
                family.bus.emit(type, child.id, {"name": child.name, **facts})
                told.append(family.bus)
            family = family.above

    def review_verdict(self, child: ChildState, verdict: NextState) -> NextState:
        """Count a restart, and restart whoever is restarted with it; or give up."""
        said = ""
        if child.retries >= child.gauge.quota.max_retries:
            said = f"it was restarted {child.retries} times, as often as it may be"
        elif not self._grants(child, f"{child.name!r} was restarted: {verdict.reason}"):
            said = "too many children were restarted lately, so the supervisor gave up"
        if said:
            return NextState(event=Type.FAILED, reason=f"{verdict.reason}; {said}")
        child.retries += 1
        return verdict

    def _grants(self, member: "ChildState | ChildRegistry", reason: str) -> bool:
        if self._intensity.admits(self.clock()):
            others = restart_set(self.config.restart_strategy, self._members, member)
        elif self.above is not None and self.above._grants(self, reason):
            self._intensity.clear()  # the whole supervisor begins anew
            others = [other for other in self._members if other is not member]
        else:
            return False
        for other in others:
            _restart(other, reason)
        return True

    def restart_all(self, reason: str) -> None:
        """Restart everybody who runs, here and below."""
        for member in list(self._members):
            _restart(member, reason)

    # ---- the end

    async def wait_until_settled(self, timeout: float | None = None) -> bool:
        """Wait until nobody is at work, here and below; return whether that is so."""
        until = None if timeout is None else self.clock() + timeout
        while at_work := self._at_work():
            left = None if until is None else until - self.clock()
            if left is not None and left <= 0:
                return False
            waits = [asyncio.ensure_future(child.wait_until_settled()) for child in at_work]
            try:
                await asyncio.wait(waits, timeout=left)
            finally:
                for wait in waits:
                    wait.cancel()
        return True

    async def close(self, timeout: float, *, pause: bool) -> None:
        """Take no more children, let those that are there finish or pause, then kill them."""
        for family in self.families():
            family.closed = True
            for child in family.living():
                child.wake()
        if pause:
            for child in self._at_work():
                child.send_command(ChildCommand(kind="pause", reason="the supervisor is shut down"))
        if not await self.wait_until_settled(timeout):
            for child in self._at_work():
                if child.status in AT_WORK:  # one that has come to rest may rest
                    child.send_command(
                        ChildCommand(kind="kill", reason="the supervisor was shut down")
                    )
            await self.wait_until_settled()

    def _at_work(self) -> list[Child]:
        everyone = [child for family in self.families() for child in family.living()]
        return [child for child in everyone if child.at_work()]


def _restart(member: "ChildState | ChildRegistry", reason: str) -> None:
    if isinstance(member, ChildRegistry):
        member.restart_all(reason)
    elif isinstance(member, Child) and member.status is ChildStatus.RUNNING:
        member.send_command(ChildCommand(kind="restart", reason=reason))
