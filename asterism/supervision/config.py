"""`SupervisorConfig`, and the checks of what a child is made of."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from inspect import iscoroutinefunction
from typing import Any, Literal, TypeVar, cast, get_args

from langgraph.checkpoint.base import BaseCheckpointSaver

from asterism.core.continuation import Graph, is_graph
from asterism.core.numbers import count_faults, raise_number_faults, seconds_faults
from asterism.errors import ConfigurationError
from asterism.supervision.quotas import AgentQuota

ID_LIMIT = 255
"""The longest thread id, in characters."""


def validate_child_graph(graph: object) -> tuple[Graph, BaseCheckpointSaver[Any]]:
    """Return a graph with its saver.

    Raises:
        ConfigurationError: It is no graph, or has no saver.
    """
    if not is_graph(graph):
        raise ConfigurationError(
            f"graph is {repr(graph)[:100]}. Allowed: a compiled LangGraph graph, such as what "
            "SupervisorWorkflowBuilder(...).build(checkpointer=saver) returns. A loop of your own "
            "is given by name: loop_factory=..., or agent_loop=... (see docs/names.md)."
        )
    saver = cast(BaseCheckpointSaver[Any], graph.checkpointer)
    if not isinstance(graph.checkpointer, BaseCheckpointSaver):
        raise ConfigurationError(
            f"The graph {graph.name!r} has no checkpointer, so a child of it could not be "
            "restarted or paused. Build it with one: with "
            "open_checkpointer('sqlite:///runs.db') as saver: graph = "
            "builder.build(checkpointer=saver)."
        )
    return graph, saver


def validate_child_name(name: object) -> str:
    """Return the name of a child.

    Raises:
        ConfigurationError: It is no short printable text.
    """
    return _printable("name", name, 100, ", such as 'invoices'")


def validate_child_thread(thread_id: object) -> str:
    """Return the id of a thread.

    Raises:
        ConfigurationError: It is none.
    """
    return _printable("thread_id", thread_id, ID_LIMIT)


def _printable(what: str, value: object, most: int, example: str = "") -> str:
    if isinstance(value, str) and value.strip() and value.isprintable() and len(value) <= most:
        return value
    raise ConfigurationError(
        f"{what} is {repr(value)[:100]}. Allowed: 1 to {most} printable characters{example}."
    )


def validate_quota(quotas: object, default: AgentQuota) -> AgentQuota:
    """Return what a child may use.

    Raises:
        ConfigurationError: It is no `AgentQuota`.
    """
    if quotas is None:
        return default
    if not isinstance(quotas, AgentQuota):
        raise ConfigurationError(
            f"quotas is {repr(quotas)[:100]}. Allowed: AgentQuota(max_tokens=...), or None."
        )
    return quotas


def validate_heartbeat(given: Any) -> Any:
    """Return an async function without arguments, or None.

    Raises:
        ConfigurationError: It is neither.
    """
    if given is not None and not iscoroutinefunction(given):
        raise ConfigurationError(
            f"on_heartbeat is {repr(given)[:100]}. Allowed: an async function without arguments."
        )
    return given


def quota_from(record: Mapping[str, Any], default: AgentQuota) -> AgentQuota:
    """Return the quota in the record of a child; of another version's, what is known here."""
    known = {part.name for part in fields(AgentQuota)}
    stored = {name: value for name, value in record.items() if name in known}
    if isinstance(cost := stored.get("max_cost_usd"), str):
        stored["max_cost_usd"] = Decimal(cost)
    return AgentQuota(**stored) if stored else default


RestartStrategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
"""Who is restarted with a child: nobody, all that run, or those that were spawned after it."""
OnHang = Literal["restart", "stop"]
"""What becomes of a child that is silent for too long."""

Isolation = Literal["task", "thread"]
"""Where children run."""

_COUNTS = {"max_children": 1, "max_restarts": 0, "max_remembered": 1, "event_history_size": 0}
_SECONDS = {"restart_window": False, "cooldown_period": True, "grace": True}
"""The times, and whether they may be 0."""
_WORDS = {"restart_strategy": RestartStrategy, "on_hang": OnHang, "isolation": Isolation}

M = TypeVar("M")


@dataclass(frozen=True, kw_only=True)
class SupervisorConfig:
    """How a supervisor keeps its children.

    Args:
        max_children: How many may live at once; those that have ended do not count.
        restart_strategy: Who is restarted with a child that fails: nobody, all, or those that
            were spawned after it.
        max_restarts: How many restarts there may be within `restart_window`. One more, and the
            supervisor gives up: the child fails, unless the supervisor above grants another
            try.
        restart_window: Seconds.
        cooldown_period: Seconds between two starts of a child, where its quota does not say.
        on_hang: What happens to a child that does not show that it lives.
        auto_kill_on_quota: Whether a child that uses up a quota is killed. Otherwise it is
            paused, and asks to have the quota raised.
        grace: Seconds that a child which is stopped at once may take to clear up. What still
            runs then is abandoned: it cannot store anything, nor call a model or a tool.
        isolation: `"task"`: children run in the event loop of the supervisor. Code that blocks
            in an async node then blocks everybody. `"thread"`: each has a loop and a thread of
            its own, so that even this can be found and left alone; its checkpointer, and the
            clients of its models and tools, must be fit for several loops, as those of Asterism
            are.
        max_remembered: How many children that have ended can still be asked for; earlier ones
            are only counted.
        monitor_interval: Seconds between two looks at a child, at most. None: only when
            something is due.
        event_history_size: How many events the supervisor's own bus keeps.
        log_events: Whether the supervisor's own bus keeps events at all.
        quotas: What a child may use that is spawned without quotas.

    Raises:
        ConfigurationError: A value is not allowed; the message lists all of them.
    """

    max_children: int = 100
    restart_strategy: RestartStrategy = "one_for_one"
    max_restarts: int = 10
    restart_window: float = 60.0
    cooldown_period: float = 0.0
    on_hang: OnHang = "restart"
    auto_kill_on_quota: bool = True
    grace: float = 0.1
    isolation: Isolation = "task"
    max_remembered: int = 1000
    monitor_interval: float | None = None
    event_history_size: int = 1000
    log_events: bool = True
    quotas: AgentQuota = field(default_factory=AgentQuota)

    def __post_init__(self) -> None:
        faults: list[str] = []
        for name, least in _COUNTS.items():
            faults += count_faults(name, getattr(self, name), least=least)
        for name, zero in _SECONDS.items():
            faults += seconds_faults(name, getattr(self, name), above_zero=not zero)
        if self.monitor_interval is not None:
            faults += seconds_faults("monitor_interval", self.monitor_interval, above_zero=True)
        for name, words in _WORDS.items():
            if (value := getattr(self, name)) not in get_args(words):
                allowed = ", ".join(get_args(words))
                faults.append(f"{name} is {value!r}; allowed: {allowed}")
        for name in ("auto_kill_on_quota", "log_events"):
            if not isinstance(value := getattr(self, name), bool):
                faults.append(f"{name} is {value!r}; it must be True or False")
        quotas: Any = self.quotas
        if not isinstance(quotas, AgentQuota):
            faults.append(f"quotas is {quotas!r}; it must be an AgentQuota")
        raise_number_faults(faults, ConfigurationError)


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
