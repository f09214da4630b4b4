"""What a child may use: which values are refused, and what the percentages say."""

from decimal import Decimal
from typing import Any, cast

import pytest

from asterism.errors import ConfigurationError
from asterism.supervision import AgentQuota, AgentQuotaUsage, SupervisorConfig
from asterism.supervision.config import Intensity, restart_set
from asterism.supervision.quotas import LIMITS

COUNTS = ("max_tokens", "max_iterations", "max_retries")
SECONDS = (
    "max_duration_seconds",
    "heartbeat_interval",
    "heartbeat_timeout",
    "retry_delay",
    "cooldown_period",
)


@pytest.mark.parametrize("name", [*COUNTS, *SECONDS, "max_cost_usd"])
@pytest.mark.parametrize(
    "value",
    [True, False, float("nan"), float("inf"), -1, -0.5, "5", [], Decimal("NaN"), Decimal("-1")],
    ids=repr,
)
def test_what_is_no_limit_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is .*; it must be a (whole )?number"):
        AgentQuota(**{name: value})


@pytest.mark.parametrize("name", [*COUNTS])
def test_a_count_is_whole(name: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is 1.5; it must be a whole number"):
        AgentQuota(**{name: cast(Any, 1.5)})


def test_nothing_may_be_unlimited_that_needs_a_number() -> None:
    with pytest.raises(ConfigurationError) as caught:
        AgentQuota(
            heartbeat_interval=None,  # type: ignore[arg-type]  # on purpose
            max_retries=None,  # type: ignore[arg-type]  # on purpose
            retry_delay=None,  # type: ignore[arg-type]  # on purpose
            max_tokens=0,
        )
    assert str(caught.value).split("; ") == [
        "max_tokens is 0",
        "it must be a whole number of at least 1",
        "max_retries is None",
        "it must be a whole number of at least 0",
        "heartbeat_interval is None",
        "it must be a number of seconds, above 0",
        "retry_delay is None",
        "it must be a number of seconds, 0 or more",
    ]


def test_what_may_be_nothing_may_be_nothing() -> None:
    quota = AgentQuota(max_retries=0, retry_delay=0, cooldown_period=0, heartbeat_timeout=None)
    assert (quota.max_retries, quota.retry_delay, quota.cooldown_period) == (0, 0, 0)


@pytest.mark.parametrize("given", [0.1, Decimal("0.1")], ids=repr)
def test_money_is_decimal(given: Any) -> None:
    assert AgentQuota(max_cost_usd=given).max_cost_usd == Decimal("0.1")


def usage(quota: AgentQuota, **used: Any) -> AgentQuotaUsage:
    facts: dict[str, Any] = {
        "elapsed_seconds": 0.0,
        "cost_usd": Decimal(0),
        "tokens": 0,
        "iterations": 0,
        "heartbeats": 0,
        "restarts": 0,
    }
    return AgentQuotaUsage(**{**facts, **used, "quota": quota})


def test_percentages_are_true_and_none_without_a_limit() -> None:
    quota = AgentQuota(max_duration_seconds=8, max_cost_usd=0.3, max_tokens=3, max_iterations=None)
    used = usage(quota, elapsed_seconds=2, cost_usd=Decimal("0.1"), tokens=4, iterations=9)
    assert used.percentages == {
        "max_duration_seconds": 25.0,
        "max_cost_usd": pytest.approx(100 / 3),
        "max_tokens": pytest.approx(400 / 3),
        "max_iterations": None,
    }


@pytest.mark.parametrize(
    ("used", "warned", "spent", "exceeded"),
    [
        ({"tokens": 89}, [], [], []),
        ({"tokens": 90}, ["max_tokens"], [], []),
        ({"tokens": 100}, ["max_tokens"], ["max_tokens"], []),
        ({"tokens": 101}, ["max_tokens"], ["max_tokens"], ["max_tokens"]),
        ({"elapsed_seconds": 10}, *[["max_duration_seconds"]] * 3),
        ({"iterations": 3}, ["max_iterations"], ["max_iterations"], []),
        ({"cost_usd": Decimal("1.000001")}, *[["max_cost_usd"]] * 3),
        ({"unknown_models": ("new",)}, [], ["max_cost_usd"], ["max_cost_usd"]),
    ],
    ids=str,
)
def test_limits_may_be_used_to_the_full_but_no_further(
    used: Any, warned: list[str], spent: list[str], exceeded: list[str]
) -> None:
    quota = AgentQuota(max_duration_seconds=10, max_cost_usd=1, max_tokens=100, max_iterations=3)
    found = usage(quota, **used)
    assert (found.warned_of(), found.spent(), found.exceeded()) == (warned, spent, exceeded)


def test_an_unknown_price_breaks_only_a_quota_of_money() -> None:
    assert usage(AgentQuota(), unknown_models=("new",)).spent() == []
    assert usage(AgentQuota(max_cost_usd=10), unknown_models=("new",)).spent() == ["max_cost_usd"]
    raised = AgentQuota().raised(max_cost_usd=20)
    assert usage(raised, unknown_models=("new",)).spent() == ["max_cost_usd"]
    assert usage(AgentQuota().raised(max_tokens=5), unknown_models=("new",)).spent() == []


def test_limits_can_be_raised_and_nothing_else() -> None:
    quota = AgentQuota(max_tokens=5, retry_delay=7)
    assert quota.raised(max_tokens=9, max_cost_usd=1) == AgentQuota(
        max_tokens=9, max_cost_usd=1, retry_delay=7
    )
    with pytest.raises(ConfigurationError, match="'retry_delay' is no limit that can be raised"):
        quota.raised(retry_delay=1)
    with pytest.raises(ConfigurationError, match="max_tokens is True"):
        quota.raised(max_tokens=True)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_children", 0),
        ("max_children", True),
        ("max_restarts", -1),
        ("max_remembered", 1.5),
        ("restart_window", 0),
        ("restart_window", float("nan")),
        ("cooldown_period", -1),
        ("grace", "1"),
        ("restart_strategy", "all"),
        ("on_hang", "wait"),
        ("auto_kill_on_quota", 1),
        ("quotas", {"max_tokens": 1}),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"{field} is "):
        SupervisorConfig(**{field: value})


@pytest.mark.parametrize(
    ("strategy", "with_it"),
    [("one_for_one", ""), ("one_for_all", "abde"), ("rest_for_one", "de")],
)
def test_who_is_restarted_with_a_child(strategy: Any, with_it: str) -> None:
    assert restart_set(strategy, "abcde", "c") == list(with_it)


def test_restarts_are_counted_within_a_window() -> None:
    intensity = Intensity(2, 10)
    assert [intensity.admits(now) for now in (0, 5, 9, 10, 14, 15)] == [
        True,
        True,
        False,
        True,
        False,
        True,
    ]
    intensity.clear()
    assert intensity.admits(15)
    assert not Intensity(0, 10).admits(0)


def test_the_four_limits_are_those_that_can_be_used_up() -> None:
    assert set(usage(AgentQuota()).percentages) == set(LIMITS)
