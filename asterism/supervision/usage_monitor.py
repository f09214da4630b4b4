"""Measures what a child uses."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from asterism.limits.usage_callbacks import UsageMeter
from asterism.supervision.quotas import AgentQuota, AgentQuotaUsage, Limit

_NOTHING = Decimal(0)


class ChildUsage:
    """What a child has used, and when it was last heard of."""

    def __init__(
        self,
        quota: AgentQuota,
        meter: UsageMeter,
        clock: Callable[[], float],
        earlier: Mapping[str, Any] | None = None,
    ) -> None:
        self.quota = quota
        self.meter = meter
        self.restarts = 0
        self.heard = clock()
        """When it was last heard of."""
        self.doing = ""
        """The node that began last, with those around it."""
        self._clock = clock
        self._earlier = dict(earlier or {})
        self._lock = threading.RLock()
        self._beats = 0
        self._last_beat = self._last_restart = 0.0
        self._told_tokens, self._told_cost = 0, Decimal(0)
        self._calls = 0
        self._streamed: Counter[UUID] = Counter()
        self._cut_off = 0
        self._rounds: Counter[str] = Counter()
        self._step: set[str] = set()
        self._ran = 0.0
        self._since: float | None = None

    # ---- time

    def start(self) -> None:
        """Let time count; it is heard of now."""
        self.heard = self._clock()
        if self._since is None:
            self._since = self.heard

    def stop(self) -> None:
        """Let time count no more."""
        if self._since is not None:
            self._ran += self._clock() - self._since
            self._since = None

    def elapsed_seconds(self) -> float:
        """Return the seconds that it has run, in all processes."""
        running = 0.0 if self._since is None else self._clock() - self._since
        return float(self._earlier.get("elapsed_seconds", 0)) + self._ran + running

    def now(self) -> float:
        """Return the time in seconds."""
        return self._clock()

    def silence(self) -> float:
        """Return the seconds since it was last heard of."""
        return self._clock() - self.heard

    # ---- what it does

    def beat(self) -> None:
        """Note a sign of life."""
        with self._lock:
            self._beats += 1
            self._last_beat = time.time()
        self.heard = self._clock()

    def restart(self, times: int) -> None:
        """Note that it is started again."""
        self.restarts += times
        if times:
            self._last_restart = time.time()

    def report(self, *, iteration: int = 0, tokens: int = 0, cost_usd: Decimal = _NOTHING) -> None:
        """Note what a loop says of itself: which round it is in, and at its end what it took."""
        with self._lock:
            self._rounds["loop"] = max(self._rounds["loop"], iteration)
            self._told_tokens += tokens
            self._told_cost += cost_usd

    def step(self, path: tuple[str, ...], task: Mapping[str, Any]) -> bool:
        """Note a task of the graph that begins or ends, as `stream_mode="tasks"` tells of it.

        Returns:
            Whether a step of the child's own graph is done.
        """
        name = str(task.get("name"))
        begins = "input" in task
        if begins:
            self.doing = "/".join([*(part.split(":")[0] for part in path), name])
        if path:
            return False
        if not begins:
            self._step.clear()  # what begins after this belongs to the next step
        elif name not in self._step:
            self._step.add(name)
            with self._lock:
                self._rounds[name] += 1
        return not begins

    def enters(self) -> list[Limit]:
        """Count a model call that begins, unless quotas leave no room; return those."""
        with self._lock:
            full = self.usage()
            spent = replace(full, iterations=self._earlier_of("iterations") + self._calls).spent()
            self._calls += not spent
        return spent

    def streams(self, call: UUID) -> None:
        """Note a piece of an answer that is being streamed."""
        with self._lock:
            self._streamed[call] += 1

    def record_answer(self, call: UUID, *, whole: bool) -> None:
        """Note that a model call is over.

        Args:
            call: Which.
            whole: Whether the meter counts it from now on. It does not know what an answer has
                taken that was cut off; then its pieces stay counted.
        """
        with self._lock:
            pieces = self._streamed.pop(call, 0)
            self._cut_off += 0 if whole else pieces

    # ---- reading

    def usage(self) -> AgentQuotaUsage:
        """Return what is used now.

        Tokens of an answer that is being streamed are counted as pieces, of which there are
        never more than tokens.
        """
        total, earlier = self.meter.total, self._earlier_of
        with self._lock:
            rounds = max(self._rounds.values(), default=0)
            pieces = self._streamed.total() + self._cut_off
            calls, beats = self._calls, self._beats
            told_tokens, told_cost = self._told_tokens, self._told_cost
        return AgentQuotaUsage(
            elapsed_seconds=self.elapsed_seconds(),
            cost_usd=Decimal(str(self._earlier.get("cost_usd", 0)))
            + max(total.cost_usd, told_cost),
            tokens=earlier("tokens") + max(total.tokens + pieces, told_tokens),
            iterations=earlier("iterations") + max(calls, rounds),
            heartbeats=earlier("heartbeats") + beats,
            restarts=earlier("restarts") + self.restarts,
            unknown_models=tuple(sorted(total.unknown)),
            quota=self.quota,
            last_heartbeat=self._last_beat,
            last_restart=self._last_restart,
        )

    def _earlier_of(self, name: str) -> int:
        return int(self._earlier.get(name, 0))
