"""A watch: finds that a child has used up a quota or is silent, also while it hangs."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from typing import Protocol

from asterism.events import SupervisionEventType as Type
from asterism.supervision.quotas import WARN_AT, AgentQuotaUsage, Limit
from asterism.supervision.usage_monitor import ChildUsage

SOON = 0.001
"""Seconds until another look, at least: clocks and timers do not agree to the last digit."""
LATE = 0.05
"""Seconds by which a timer may be late before something must have held up the loop."""


class WatchdogTarget(Protocol):
    """What a watch tells of a child."""

    def tell(self, type: Type, **facts: object) -> None:
        """Emit an event."""
        ...

    def exceeds(self, limit: Limit, said: str) -> None:
        """Do what is due for a child that has used up a quota."""
        ...

    def on_heartbeat_lost(self, said: str) -> None:
        """Do what is due for a child that is silent."""
        ...


class QuotaWatchdog:
    """Looks at a child: by a timer for what time brings, and when it is told for the rest.

    Each quota is warned of once, and told once when it is used up; a raised one anew.
    """

    def __init__(
        self,
        gauge: ChildUsage,
        child: WatchdogTarget,
        action: str,
        every: float | None = None,
    ) -> None:
        self._every = every
        self._gauge = gauge
        self._child = child
        self._action = action
        self._warned: set[Limit] = set()
        self._exceeded: set[Limit] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context = copy_context()  # not that of the run, which tells it things
        self._timer: asyncio.TimerHandle | None = None
        self._due = float("inf")
        self._looks = False
        self._refused = False
        self._listens = False
        self._told = float("-inf")
        self._lock = threading.Lock()
        self._waiting = 0

    # ---- from the loop of the supervisor

    def begin(self) -> None:
        """Look, and listen for signs of life."""
        self._loop, self._context = asyncio.get_running_loop(), copy_context()
        self._listens, self._looks, self._refused = True, False, False
        self._waiting = 0
        self._gauge.heard = self._gauge.now()
        self.check_quotas()

    def rest(self) -> None:
        """Look, but expect no signs of life."""
        self._listens = False

    def end(self) -> None:
        """Look no more."""
        self._loop, self._listens = None, False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def restart_limits(self) -> None:
        """Begin anew with quotas that are not used up any more."""
        usage = self._gauge.usage()
        self._exceeded.intersection_update(usage.spent())
        self._warned.intersection_update(usage.warned_of())
        if self._loop is not None:
            self.check_quotas()

    def check_quotas(self) -> None:
        """Look now."""
        if self._loop is None:
            return
        usage = self._gauge.usage()
        for name in usage.warned_of():
            if name not in self._warned:
                self._warned.add(name)
                self._child.tell(Type.QUOTA_WARNING, **_facts(name, usage))
        for name in usage.spent() if self._refused else usage.exceeded():
            self._exceed(name, usage)
            break  # one is enough: it is on its way out, or asks
        self._hear()
        self._arm()

    def _exceed(self, name: Limit, usage: AgentQuotaUsage) -> None:
        if name in self._exceeded:
            return
        self._exceeded.add(name)
        facts = _facts(name, usage)
        self._child.tell(Type.QUOTA_EXCEEDED, action=self._action, **facts)
        said = f"{name}: {facts['used']} of {facts['limit']}"
        if name == "max_cost_usd" and usage.unknown_models and float(usage.cost_usd) == 0:
            said = f"{name}: no price is known for {', '.join(map(repr, usage.unknown_models))}"
        self._child.exceeds(name, said)

    def _hear(self) -> None:
        limit, silence = self._gauge.quota.heartbeat_timeout, self._gauge.silence()
        if self._hearing() and limit is not None and silence >= limit:
            self._listens = False
            doing = self._gauge.doing
            self._child.tell(Type.HEARTBEAT_LOST, silent_seconds=round(silence, 3), doing=doing)
            self._child.on_heartbeat_lost(f"no sign of life for {silence:.3g} s")

    def _hearing(self) -> bool:
        """Whether signs of life are due; who waits for its turn can give none."""
        return self._listens and not self._waiting

    def _arm(self) -> None:
        """Set the timer to when time alone brings something."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._due = None, float("inf")
        quota, due = self._gauge.quota, list[float]()
        if (limit := quota.max_duration_seconds) is not None:
            left = limit - self._gauge.elapsed_seconds()
            if "max_duration_seconds" not in self._exceeded:
                due.append(left)
            if "max_duration_seconds" not in self._warned:
                due.append(left - limit * (1 - WARN_AT / 100))
        if self._hearing() and quota.heartbeat_timeout is not None:
            due.append(quota.heartbeat_timeout - self._gauge.silence())
        if self._every is not None:
            due.append(self._every)
        if due and self._loop is not None:
            delay = max(SOON, min(due))
            self._due = self._gauge.now() + delay
            self._timer = self._loop.call_later(delay, self._look_late, context=self._context)

    def _look_late(self) -> None:
        """Look at the time that was set, or before; what held up the loop is no silence."""
        if (late := self._gauge.now() - self._due) > LATE:
            self._gauge.heard = min(self._gauge.heard + late + LATE, self._gauge.now())
        self.check_quotas()

    # ---- from any thread

    def beat(self) -> None:
        """Note a sign of life; tell of it, unless one was told a moment ago."""
        self._gauge.beat()
        if self._gauge.heard - self._told >= self._gauge.quota.heartbeat_interval:
            self._told = self._gauge.heard
            self._soon(self._tell_beat)

    def advance(self, step: str) -> None:
        """Tell that a step is done."""
        self._soon(lambda: self._tell_step(step))

    def waits(self, begins: bool) -> None:
        """Note that a call begins to wait for its turn, or does so no more."""
        with self._lock:
            self._waiting = max(0, self._waiting + (1 if begins else -1))
        self._gauge.beat()
        self.look_soon()

    def look_soon(self, *, refused: bool = False) -> None:
        """Look as soon as the loop has time.

        Args:
            refused: Whether a call was refused, so that a quota used to the full is used up.
        """
        self._refused = self._refused or refused
        if not self._looks and self._loop is not None:
            self._looks = True
            self._soon(self._look_now)

    def _soon(self, do: Callable[[], None]) -> None:
        loop = self._loop
        with suppress(RuntimeError):  # the loop is closed
            if loop is not None:
                loop.call_soon_threadsafe(do, context=self._context)

    def _look_now(self) -> None:
        self._looks = False
        self._look_late()

    def _tell_step(self, step: str) -> None:
        if self._listens:
            self._child.tell(Type.PROGRESS, doing=step, **self._gauge.usage().as_json())

    def _tell_beat(self) -> None:
        if self._listens:
            usage = self._gauge.usage()
            self._child.tell(Type.HEARTBEAT, doing=self._gauge.doing, **usage.as_json())


def _facts(name: Limit, usage: AgentQuotaUsage) -> dict[str, object]:
    limit, used = getattr(usage.quota, name), usage.used(name)
    used = round(used, 3) if isinstance(used, float) else used
    percent = usage.percentages[name]
    return {"quota": name, "used": used, "limit": limit, "percent": round(percent or 0, 1)}
