"""How a supervisor keeps its children."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args

from asterism.core.values import is_number
from asterism.errors import ConfigurationError
from asterism.supervision.quotas import AgentQuota

RestartStrategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
"""Who is restarted with a child: nobody, all that run, or those that were spawned after it."""
OnHang = Literal["restart", "stop"]
"""What becomes of a child that is silent for too long."""

Isolation = Literal["task", "thread"]
"""Where children run."""

_COUNTS = {"max_children": 1, "max_restarts": 0, "max_remembered": 1}
_SECONDS = {"restart_window": False, "cooldown_period": True, "grace": True}
"""The times, and whether they may be 0."""
_WORDS = {"restart_strategy": RestartStrategy, "on_hang": OnHang, "isolation": Isolation}

M = TypeVar("M")


@dataclass(frozen=True, kw_only=True)
class SupervisorConfig:
    """How a supervisor keeps its children."""

    max_children: int = 100
    """How many may live at once; those that have ended do not count."""
    restart_strategy: RestartStrategy = "one_for_one"
    max_restarts: int = 10
    """How many restarts there may be within `restart_window`. One more, and the supervisor
    gives up: the child fails, unless the supervisor above grants another try."""
    restart_window: float = 60.0
    """Seconds."""
    cooldown_period: float = 0.0
    """Seconds between two starts of a child, where its quota does not say."""
    on_hang: OnHang = "restart"
    auto_kill_on_quota: bool = True
    """Whether a child that uses up a quota is killed. Otherwise it is paused, and asks to have
    the quota raised."""
    grace: float = 0.1
    """Seconds that a child which is stopped at once may take to clear up. What still runs
    then is abandoned: it cannot store anything, nor call a model or a tool."""
    isolation: Isolation = "task"
    """`"task"`: children run in the event loop of the supervisor. Code that blocks in an async
    node then blocks everybody. `"thread"`: each has a loop and a thread of its own, so that
    even this can be found and left alone; its checkpointer, and the clients of its models and
    tools, must be fit for several loops, as those of Asterism are."""
    max_remembered: int = 1000
    """How many children that have ended can still be asked for; earlier ones are only counted."""
    quotas: AgentQuota = field(default_factory=AgentQuota)
    """What a child may use that is spawned without quotas."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense.

        Raises:
            ConfigurationError: A value is not allowed; the message lists all of them.
        """
        faults: list[str] = []
        for name, least in _COUNTS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                faults.append(f"{name} is {value!r}; it must be a whole number from {least}")
        for name, zero in _SECONDS.items():
            value = getattr(self, name)
            if not is_number(value) or not (value > 0 or (zero and value == 0)):
                word = "from" if zero else "above"
                faults.append(f"{name} is {value!r}; it must be a number {word} 0")
        for name, words in _WORDS.items():
            if (value := getattr(self, name)) not in get_args(words):
                allowed = ", ".join(get_args(words))
                faults.append(f"{name} is {value!r}; allowed: {allowed}")
        auto: Any = self.auto_kill_on_quota
        if not isinstance(auto, bool):
            faults.append(f"auto_kill_on_quota is {auto!r}; it must be True or False")
        quotas: Any = self.quotas
        if not isinstance(quotas, AgentQuota):
            faults.append(f"quotas is {quotas!r}; it must be an AgentQuota")
        if faults:
            raise ConfigurationError("; ".join(faults))


def restart_set(strategy: RestartStrategy, members: Sequence[M], failed: M) -> list[M]:
    """Return the other members that are restarted when one is, oldest first."""
    if strategy == "one_for_one":
        return []
    place = members.index(failed)
    first = 0 if strategy == "one_for_all" else place + 1
    return [member for at, member in enumerate(members) if at >= first and at != place]


class Intensity:
    """How often children are restarted: so many times within a window, and no more."""

    def __init__(self, most: int, window: float) -> None:
        self._most = most
        self._window = window
        self._times: deque[float] = deque()

    def admits(self, now: float) -> bool:
        """Count a restart, unless there were as many as there may be."""
        while self._times and self._times[0] <= now - self._window:
            self._times.popleft()
        if len(self._times) >= self._most:
            return False
        self._times.append(now)
        return True

    def clear(self) -> None:
        """Begin to count anew."""
        self._times.clear()
