"""What a child may use, and what it has used."""

from collections.abc import Iterable, Mapping
from dataclasses import InitVar, dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal

from asterism.core.numbers import count_faults, raise_number_faults, seconds_faults
from asterism.core.text_tables import Bundle, as_table
from asterism.core.values import is_number
from asterism.errors import ConfigurationError

WARN_AT = 90.0
"""The percentage of a quota at which it is warned of."""

Limit = Literal["max_duration_seconds", "max_cost_usd", "max_tokens", "max_iterations"]
LIMITS: tuple[Limit, ...] = ("max_duration_seconds", "max_cost_usd", "max_tokens", "max_iterations")
"""The quotas that end a child, or ask a person to raise them."""

_COUNTS = {"max_tokens": 1, "max_iterations": 1, "max_retries": 0}
_SECONDS = (
    "max_duration_seconds",
    "heartbeat_interval",
    "heartbeat_timeout",
    "retry_delay",
    "cooldown_period",
)
_MAY_BE_ZERO = ("retry_delay", "cooldown_period")
_NEVER_NONE = ("heartbeat_interval", "max_retries", "retry_delay")


_COST = Decimal(10)
"""The dollars of a quota that says none."""


@dataclass(frozen=True, kw_only=True)
class AgentQuota:
    """What a child may use. None: as much as it likes.

    Args:
        max_duration_seconds: How long it may run; pauses do not count, rests before a restart
            do.
        max_cost_usd: US dollars for its model and tool calls.
        max_tokens: Input and output tokens.
        max_iterations: How often it may go round: model calls, or turns of the busiest node of
            its own graph, whichever is more.
        heartbeat_interval: Seconds between two heartbeats that are told, at least.
        heartbeat_timeout: Seconds for which it may be silent: no step, no token, no model or
            tool call, nothing written to the stream.
        max_retries: How often it is restarted after a crash or a silence of its own.
        retry_delay: Seconds until it is restarted.
        cooldown_period: Seconds between two of its starts, at least. None: as the supervisor
            has it.
        needs_prices: Whether a model without a known price breaks `max_cost_usd`. None: where
            you set that.
        max_duration: Another name for `max_duration_seconds`.

    Raises:
        ConfigurationError: A value is not allowed; the message lists all of them.
    """

    max_duration_seconds: float | None = 3_600.0
    max_cost_usd: Decimal | float | None = _COST
    max_tokens: int | None = 1_000_000
    max_iterations: int | None = 500
    heartbeat_interval: float = 5.0
    heartbeat_timeout: float | None = 300.0
    max_retries: int = 3
    retry_delay: float = 1.0
    cooldown_period: float | None = None
    needs_prices: bool | None = None
    max_duration: InitVar[float | None] = None

    def __post_init__(self, max_duration: float | None) -> None:
        if max_duration is not None:
            object.__setattr__(self, "max_duration_seconds", max_duration)
        if self.needs_prices is None:
            object.__setattr__(self, "needs_prices", self.max_cost_usd is not _COST)
        faults = (fault for name in _FIELDS for fault in self._faults(name))
        raise_number_faults(faults, ConfigurationError)
        for name in _FIELDS:
            value = getattr(self, name)
            if name == "max_cost_usd" and value is not None:
                object.__setattr__(self, name, Decimal(str(value)))
            elif isinstance(value, Decimal):
                object.__setattr__(self, name, float(value))

    def _faults(self, name: str) -> Iterable[str]:
        value: Any = getattr(self, name)
        if value is None and name not in _NEVER_NONE:
            return ()
        if name in _COUNTS:
            return count_faults(name, value, least=_COUNTS[name])
        number: Any = float(value) if isinstance(value, Decimal) and value.is_finite() else value
        if name == "max_cost_usd":
            if is_number(number) and number > 0:
                return ()
            return (f"{name} is {value!r}; it must be a number above 0",)
        return seconds_faults(name, number, above_zero=name not in _MAY_BE_ZERO)

    def raised(self, **limits: Any) -> "AgentQuota":
        """Return the quota with other limits.

        Raises:
            ConfigurationError: A name is no limit, or a value not allowed.
        """
        for name in limits:
            if name not in LIMITS:
                raise ConfigurationError(
                    f"{name!r} is no limit that can be raised; allowed: {', '.join(LIMITS)}"
                )
        needed = None if "max_cost_usd" in limits else self.needs_prices
        return replace(self, needs_prices=needed, **limits)

    def as_json(self) -> dict[str, Any]:
        """Return the quota as plain JSON values."""
        cost = self.max_cost_usd
        values = {name: getattr(self, name) for name in _FIELDS}
        spent = None if cost is None else str(cost)
        return {**values, "max_cost_usd": spent, "needs_prices": self.needs_prices}


_FIELDS = ("max_cost_usd", *_COUNTS, *_SECONDS)


@dataclass(frozen=True, kw_only=True)
class AgentQuotaUsage:
    """What a child has used so far."""

    elapsed_seconds: float
    """How long it has run, in all processes."""
    cost_usd: Decimal
    """US dollars, of what has a known price."""
    tokens: int
    iterations: int
    heartbeats: int
    restarts: int
    unknown_models: tuple[str, ...] = ()
    """The models whose price is not known."""
    quota: AgentQuota
    """What it may use."""
    last_heartbeat: float = field(default=0.0, compare=False)
    """When it gave its last sign of life, in seconds since 1970; 0: never."""
    last_restart: float = field(default=0.0, compare=False)
    """When it was restarted last, in seconds since 1970; 0: never."""

    @property
    def tokens_used(self) -> int:
        """How many tokens are used."""
        return self.tokens

    @property
    def heartbeats_received(self) -> int:
        """How many signs of life it has given."""
        return self.heartbeats

    @property
    def duration_percent(self) -> float:
        """How much of its time is used, in percent; 0 where there is no limit."""
        return self._percent("max_duration_seconds") or 0.0

    @property
    def cost_percent(self) -> float:
        """How much of its money is used, in percent; 0 where there is no limit."""
        return self._percent("max_cost_usd") or 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the usage as plain values, by the names of a supervision tree."""
        return {
            "elapsed_seconds": self.elapsed_seconds,
            "cost_usd": float(self.cost_usd),
            "tokens_used": self.tokens,
            "iterations": self.iterations,
            "heartbeats_received": self.heartbeats,
            "last_heartbeat": self.last_heartbeat,
            "restarts": self.restarts,
            "last_restart": self.last_restart,
            "duration_percent": self.duration_percent,
            "cost_percent": self.cost_percent,
        }

    def used(self, limit: Limit) -> float | Decimal | int:
        """Return how much is used of what a quota limits."""
        measures: Mapping[Limit, float | Decimal | int] = {
            "max_duration_seconds": self.elapsed_seconds,
            "max_cost_usd": self.cost_usd,
            "max_tokens": self.tokens,
            "max_iterations": self.iterations,
        }
        return measures[limit]

    @property
    def percentages(self) -> Mapping[Limit, float | None]:
        """How much of each quota is used, in percent; None where there is no limit."""
        return {name: self._percent(name) for name in LIMITS}

    def warned_of(self) -> list[Limit]:
        """Return the quotas of which 90 % or more is used."""
        return [name for name, part in self.percentages.items() if (part or 0) >= WARN_AT]

    def exceeded(self) -> list[Limit]:
        """Return the quotas that are broken."""
        at_once = "max_duration_seconds"  # the others may be used to the full
        return [n for n in self.spent() if n == at_once or self._percent(n) != 100]

    def spent(self) -> list[Limit]:
        """Return the quotas that leave no room for another model call."""
        priced = self.quota.max_cost_usd is not None and self.quota.needs_prices
        unknown = priced and self.unknown_models
        return [
            name
            for name, percent in self.percentages.items()
            if (percent is not None and percent >= 100) or (unknown and name == "max_cost_usd")
        ]

    def _percent(self, name: Limit) -> float | None:
        limit: Any = getattr(self.quota, name)
        if limit is None:
            return None
        return float(100 * Decimal(str(self.used(name))) / Decimal(str(limit)))

    def as_json(self) -> dict[str, Any]:
        """Return the usage as plain JSON values."""
        return {
            "elapsed_seconds": round(self.elapsed_seconds, 3),
            "cost_usd": str(self.cost_usd),
            "tokens": self.tokens,
            "iterations": self.iterations,
            "heartbeats": self.heartbeats,
            "restarts": self.restarts,
        }

    def _repr_mimebundle_(self, **kwargs: Any) -> Bundle:
        rows: list[tuple[str, str, object, str]] = []
        for name, percent in self.percentages.items():
            used, limit = self.used(name), getattr(self.quota, name)
            shown = f"{used:.3f} s" if isinstance(used, float) else str(used)
            known = percent is not None
            rows.append((name, shown, limit if known else "-", f"{percent:.0f} %" if known else ""))
        return as_table(("quota", "used", "limit", "percent"), rows)
