"""Budgets and the gate, without a model."""

import asyncio
import math
import threading
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asterism.core.usage import Usage, UsageEntry
from asterism.errors import BudgetExceededError
from asterism.limits.budgets import (
    Budget,
    BudgetLedger,
    BudgetScope,
    Measure,
    measured_amount,
    scopes_of,
)


def tokens(count: int) -> Usage:
    return Usage(input_tokens=count)


def scope(name: str = "/", **limits: Any) -> BudgetScope:
    return BudgetScope(name=name, owner="outer", budget=Budget(**limits))


def test_there_is_one_warning_for_each_limit() -> None:
    gate, warned = BudgetLedger(), []
    gate.on_warning = lambda *facts: warned.append(facts)
    gate.add(BudgetScope(name="/", owner="", budget=Budget(max_tokens=100, max_calls=10)))
    for number in range(11):
        gate.spend(["/"], Usage(calls=1, input_tokens=9), number)
    assert warned == [("/", "calls", Decimal("0.9")), ("/", "tokens", Decimal("0.9"))]


async def test_who_waits_for_room_is_let_in_or_refused_when_there_is_none() -> None:
    gate = BudgetLedger()
    gate.add(BudgetScope(name="/", owner="", budget=Budget(max_tokens=100)))
    small, large = Usage(input_tokens=10), Usage(input_tokens=90)
    await gate.aenter("a", ["/"], small, large)
    waits = [asyncio.create_task(gate.aenter(n, ["/"], small, large)) for n in ("b", "c")]
    thread = asyncio.to_thread(gate.enter, "d", ["/"], small, large)
    waits.append(asyncio.create_task(thread))
    await asyncio.sleep(0.05)
    assert not any(wait.done() for wait in waits)
    gate.spend(["/"], Usage(input_tokens=50), "a")
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(0.05)
    assert sum(wait.done() for wait in waits) == 1
    gate.spend(["/"], Usage(input_tokens=45), "b" if waits[0].done() else "c")
    if waits[2].done():
        gate.spend(["/"], Usage(), "d")
    done, _ = await asyncio.wait(waits, timeout=20)
    refused = [w for w in done if isinstance(w.exception(), BudgetExceededError)]
    assert len(done) == 3
    assert len(refused) == 2


WHOLE = "it must be a whole number of at least 0"
BAD: dict[str, tuple[str, list[Any]]] = {
    "max_tokens": (WHOLE, [-1, True, False, 1.5, 2.0, "2", math.nan, 10**400]),
    "max_calls": (WHOLE, [-1, True, False, 1.5, 2.0, "2", math.nan, 10**400]),
    "max_seconds": (
        "it must be a number of seconds, 0 or more",
        [-1, -0.5, True, "2", math.nan, math.inf, -math.inf, 10**400],
    ),
    "max_cost_usd": (
        "it must be a number of US dollars, 0 or more",
        [-1, "-0.01", True, "much", "", math.nan, "Infinity", Decimal("sNaN"), object()],
    ),
    "on_breach": ("allowed: 'end', 'ask'", ["shout", "END", None, True]),
    "warn_at": ("it must be above 0 and at most 1", [0, -0.1, 1.01, 2, True, "1", math.nan, None]),
}


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [(name, value, allowed) for name, (allowed, values) in BAD.items() for value in values],
    ids=lambda value: repr(value)[:20],
)
def test_bad_limits_are_refused(name: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} is ") as caught:
        Budget(**{name: value})
    assert str(caught.value) == f"{name} is {value!r}; {allowed}"


@pytest.mark.parametrize(
    ("fields", "limits"),
    [
        ({}, {}),
        ({"on_breach": "ask", "warn_at": 1}, {}),
        ({"max_cost_usd": 0.1}, {"cost_usd": Decimal("0.1")}),
        ({"max_cost_usd": "0.10"}, {"cost_usd": Decimal("0.1")}),
        ({"max_cost_usd": Decimal("1e-30")}, {"cost_usd": Decimal("1e-30")}),
        ({"max_cost_usd": "0"}, {"cost_usd": Decimal(0)}),
        ({"max_tokens": 0, "max_calls": 0}, {"tokens": Decimal(0), "calls": Decimal(0)}),
        ({"max_calls": 10**300}, {"calls": Decimal(10**300)}),
        ({"max_seconds": 0}, {"seconds": Decimal(0)}),
        ({"max_seconds": 0.3}, {"seconds": Decimal("0.3")}),
    ],
    ids=repr,
)
def test_limits_are_exact_numbers(fields: Any, limits: Any) -> None:
    assert Budget(**fields).limits() == limits


SPENT = Usage(cost_usd=Decimal("0.2"), input_tokens=3, output_tokens=2, calls=2, seconds=0.25)
LEAST = Usage(cost_usd=Decimal("0.1"), input_tokens=1, output_tokens=1, calls=1, seconds=0.125)
EXACTLY: dict[Measure, tuple[str, Any, Any, str]] = {
    "cost_usd": ("max_cost_usd", "0.3", "0.29", "0.2"),
    "tokens": ("max_tokens", 7, 6, "5"),
    "calls": ("max_calls", 3, 2, "2"),
    "seconds": ("max_seconds", 0.375, 0.37, "0.25"),
}
"""The field, a limit that the next call meets exactly, one that it exceeds, what was spent."""


@pytest.mark.parametrize("measure", EXACTLY)
@pytest.mark.parametrize("on_breach", ["end", "ask"])
def test_a_call_may_use_a_budget_up_but_not_exceed_it(measure: Measure, on_breach: Any) -> None:
    field, met, exceeded, spent = EXACTLY[measure]
    fits = scope("p", **{field: met})
    fits.spent = SPENT
    assert fits.breach(LEAST) is None
    assert fits.has_room(LEAST)
    full = BudgetScope(
        name="p", owner="outer", budget=Budget(**{field: exceeded}, on_breach=on_breach)
    )
    full.spent = SPENT
    assert not full.has_room(LEAST)
    breach = full.breach(LEAST)
    assert breach is not None
    assert breach.facts() == {
        "scope": "p",
        "owner": "outer",
        "measure": measure,
        "limit": str(exceeded),
        "spent": spent,
        "asks": on_breach == "ask",
    }


def test_any_limit_of_several_can_be_the_one_that_is_reached() -> None:
    for measure, (field, _, exceeded, _) in EXACTLY.items():
        others = {name: met for name, met, _, _ in EXACTLY.values()}
        full = scope(**{**others, field: exceeded})
        full.spent = SPENT
        breach = full.breach(LEAST)
        assert breach is not None
        assert breach.measure == measure
        assert not full.has_room(LEAST)


@pytest.mark.parametrize(
    ("path", "task", "names"),
    [
        ("team/venue", "t", "/ team team/ team/venue team/venue/ team/venue#t"),
        ("team/venue", None, "/ team team/ team/venue team/venue/"),
        ("supervisor", None, "/ supervisor supervisor/"),
    ],
)
def test_a_call_is_put_down_to_everybody_above(path: str, task: str | None, names: str) -> None:
    assert scopes_of(path, task) == names.split()


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_a_run_took_and_what_was_raised_is_restored(when: str) -> None:
    """The budgets that hold are added before or after that."""

    def line(by: str, tokens: int, **more: Any) -> UsageEntry:
        numbers = {"cached_input_tokens": 0, "output_tokens": 0, "seconds": 0.5}
        entry = {"by": by, "calls": 1, "input_tokens": tokens, "cost_usd": "0.5", "model": "m"}
        return {**entry, **numbers, **more}  # type: ignore[typeddict-item]  # parts

    values = {
        "usage": [line("supervisor", 1)],
        "reports": [{"usage": [line("team/venue", 10, task="t"), line("team/venue", 100)]}],
        "limits": {"/": {"tokens": "5000", "calls": "7"}, "team/venue#t": {"tokens": "20"}},
    }
    budget = {"max_tokens": 1000}
    names = ["/", "supervisor", "supervisor/", "team", "team/venue", "team/venue#t", "team/other"]
    scopes = {name: scope(name, **budget) for name in names}
    gate = BudgetLedger()
    if when == "after":
        gate.restore(values)
    for one in scopes.values():
        gate.add(one)
    if when == "before":
        gate.restore(values)
    used = {name: (one.spent.tokens, one.spent.calls) for name, one in scopes.items()}
    assert used == {
        "/": (111, 3),
        "supervisor": (1, 1),
        "supervisor/": (1, 1),
        "team": (110, 2),
        "team/venue": (110, 2),
        "team/venue#t": (10, 1),
        "team/other": (0, 0),
    }
    raised = {name: one.limits()["tokens"] for name, one in scopes.items()}
    expected: dict[str, Any] = {**dict.fromkeys(names, 1000), "/": 5000}
    assert raised == expected, "a limit that was raised to less than it is, is not lowered"
    assert set(scopes["/"].limits()) == {"tokens"}, "raising makes no new limit"


def test_a_run_without_a_past_starts_at_zero() -> None:
    gate = BudgetLedger()
    gate.restore({})
    gate.add(scope(max_tokens=1))
    gate.enter("a", ["/"], tokens(1), tokens(1))


def test_a_limit_that_was_raised_lets_calls_pass_and_is_warned_of_anew() -> None:
    gate, warned = BudgetLedger(), list[Any]()
    gate.on_warning = lambda *facts: warned.append(facts)
    gate.add(scope(max_tokens=10, max_calls=1))
    gate.spend(["/"], Usage(input_tokens=10, calls=1))
    with pytest.raises(BudgetExceededError, match="10 of 10 tokens"):
        gate.enter("a", ["/"], tokens(1), tokens(1))
    gate.raise_limit("/", "tokens", "20")
    assert len(warned) == 2
    gate.enter("a", ["/"], tokens(1), tokens(1))
    gate.spend(["/"], tokens(8), "a")
    assert warned[2:] == [("/", "tokens", Decimal("0.9"))], "calls were not raised"
    gate.raise_limit("nobody", "tokens", "20")


async def test_who_waits_is_let_in_when_the_limit_is_raised() -> None:
    gate = BudgetLedger()
    gate.add(scope(max_tokens=10))
    await gate.aenter("a", ["/"], tokens(1), tokens(10))
    waits = asyncio.create_task(gate.aenter("b", ["/"], tokens(1), tokens(10)))
    await asyncio.sleep(0)
    gate.raise_limit("/", "tokens", "20")
    await asyncio.wait_for(waits, 20)


def test_who_waited_in_a_loop_that_is_closed_holds_nobody_up() -> None:
    gate = BudgetLedger()
    gate.add(scope(max_tokens=10))
    gate.enter("a", ["/"], tokens(1), tokens(10))

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(gate.aenter("b", ["/"], tokens(1), tokens(10)), 0.01)

    asyncio.run(give_up())
    gate.spend(["/"], tokens(5), "a")
    gate.enter("c", ["/"], tokens(1), tokens(5))


def test_calls_that_fit_side_by_side_do_not_wait() -> None:
    gate = BudgetLedger()
    gate.add(scope(max_tokens=100))
    gate.enter("a", ["/"], tokens(1), tokens(60))
    gate.enter("b", ["/"], tokens(1), tokens(40))


def test_a_call_is_limited_by_its_own_budgets_only() -> None:
    gate = BudgetLedger()
    gate.add(scope("team", max_calls=0))
    gate.enter("a", ["/", "other"], Usage(calls=1), Usage(calls=1))
    with pytest.raises(BudgetExceededError) as caught:
        gate.enter("a", ["/", "team"], Usage(calls=1), Usage(calls=1))
    assert caught.value.scope == "team"


def test_a_budget_that_holds_already_stays_as_it_is() -> None:
    gate = BudgetLedger()
    gate.add(scope(max_calls=1))
    gate.add(scope(max_calls=5))
    gate.spend(["/"], Usage(calls=1), None)
    with pytest.raises(BudgetExceededError, match="1 of 1 calls"):
        gate.enter("a", ["/"], Usage(calls=1), Usage(calls=1))


def test_a_gate_tells_whether_anything_and_whether_money_is_limited() -> None:
    gate = BudgetLedger()
    assert not gate
    gate.add(scope("a", max_cost_usd=1))
    gate.add(scope("b", max_tokens=1, max_calls=1))
    assert gate
    asked: list[list[str]] = [["a"], ["b"], ["b", "a"], ["c"], []]
    assert [gate.limits_money(names) for names in asked] == [True, False, True, False, False]


@pytest.mark.parametrize(
    ("budget", "spent", "warned"),
    [
        ({"max_tokens": 10}, 8, []),
        ({"max_tokens": 10}, 9, [("/", "tokens", Decimal("0.9"))]),
        ({"max_tokens": 10}, 12, [("/", "tokens", Decimal("1.2"))]),
        ({"max_tokens": 10, "warn_at": 0.25}, 2, []),
        ({"max_tokens": 10, "warn_at": 0.25}, 3, [("/", "tokens", Decimal("0.3"))]),
        ({"max_tokens": 10, "warn_at": 1}, 9, []),
        ({"max_tokens": 10, "warn_at": 1}, 10, [("/", "tokens", Decimal(1))]),
        ({"max_tokens": 0}, 0, [("/", "tokens", Decimal(1))]),
        ({"max_tokens": 0}, 3, [("/", "tokens", Decimal(1))]),
        ({"max_calls": 10}, 10, []),
    ],
    ids=repr,
)
def test_a_warning_tells_the_part_that_is_used(budget: Any, spent: int, warned: list[Any]) -> None:
    gate, told = BudgetLedger(), list[Any]()
    gate.on_warning = lambda *facts: told.append(facts)
    gate.add(scope(**budget))
    gate.spend(["/", "elsewhere"], tokens(spent))
    gate.spend(["/", "elsewhere"], tokens(0))
    assert told == warned


def test_each_budget_that_a_call_is_put_down_to_warns() -> None:
    gate, told = BudgetLedger(), list[Any]()
    gate.on_warning = lambda *facts: told.append(facts)
    for name in ("/", "p", "q"):
        gate.add(scope(name, max_tokens=1))
    gate.spend(["/", "p"], tokens(1))
    assert told == [("/", "tokens", Decimal(1)), ("p", "tokens", Decimal(1))]


def test_a_budget_that_was_raised_before_it_holds_stays_raised() -> None:
    gate, given = BudgetLedger(), scope(max_tokens=1, max_calls=1)
    given.raised["tokens"] = "2"
    gate.raise_limit("/", "calls", "3")
    gate.add(given)
    assert given.limits() == {"tokens": Decimal(2), "calls": Decimal(3)}


def test_nobody_has_to_listen_to_warnings() -> None:
    gate = BudgetLedger()
    gate.add(scope(max_tokens=1))
    gate.spend(["/"], tokens(1))


def test_amounts_are_exact() -> None:
    assert measured_amount(Usage(seconds=0.1), "seconds") == Decimal("0.1")
    assert measured_amount(Usage(cost_usd=Decimal("0.1")), "cost_usd") == Decimal("0.1")
    assert measured_amount(Usage(input_tokens=1, output_tokens=2), "tokens") == 3


@st.composite
def call_plans(draw: st.DrawFn) -> list[tuple[list[str], int, int, int, int]]:
    """Calls: whom they are put down to, what they take at least, at most and really, how long."""
    calls: list[tuple[list[str], int, int, int, int]] = []
    for _ in range(draw(st.integers(1, 8))):
        names = draw(st.sampled_from([["a"], ["b"], ["a", "b"], ["b", "free"], ["free"]]))
        least, taken, most = sorted(draw(st.tuples(*[st.integers(0, 60)] * 3)))
        calls.append((names, least, most, taken, draw(st.integers(0, 3))))
    return calls


LIMITS = {"a": 100, "b": 60}


@given(call_plans())
def test_calls_side_by_side_keep_to_their_budgets_and_none_waits_for_ever(
    calls: Sequence[tuple[list[str], int, int, int, int]],
) -> None:
    gate = BudgetLedger()
    scopes = {name: scope(name, max_tokens=limit) for name, limit in LIMITS.items()}
    for one in scopes.values():
        gate.add(one)
    spent, inside = dict.fromkeys(LIMITS, 0), dict[int, int]()

    async def call(number: int) -> None:
        names, least, most, taken, turns = calls[number]
        limited = [name for name in names if name in LIMITS]
        try:
            await gate.aenter(number, names, tokens(least), tokens(most))
        except BudgetExceededError as breach:
            assert spent[breach.scope] + least > LIMITS[breach.scope]
            assert breach.scope in limited
            return
        for name in limited:
            others = [size for other, size in inside.items() if name in calls[other][0]]
            assert spent[name] + least <= LIMITS[name]
            assert not others or spent[name] + sum(others) + most <= LIMITS[name]
        inside[number] = most
        for _ in range(turns):
            await asyncio.sleep(0)
        del inside[number]
        for name in limited:
            spent[name] += taken
        gate.spend(names, tokens(taken), number)

    async def run() -> None:
        await asyncio.wait_for(asyncio.gather(*map(call, range(len(calls)))), 20)

    asyncio.run(run())
    assert {name: one.spent.tokens for name, one in scopes.items()} == spent
    assert not any(one.reserved for one in scopes.values())


def test_a_hung_sync_call_that_waits_for_room_goes_on_when_there_is_some() -> None:
    gate, entered = BudgetLedger(), threading.Event()
    gate.add(BudgetScope(name="/", owner="", budget=Budget(max_calls=2)))
    one = Usage(calls=1)
    gate.enter("a", ["/"], one, Usage(calls=2))

    def second() -> None:
        gate.enter("b", ["/"], one, Usage(calls=2))
        entered.set()

    thread = threading.Thread(target=second, daemon=True)
    thread.start()
    assert not entered.wait(0.05)
    gate.spend(["/"], one, "a")
    assert entered.wait(20)
    thread.join(20)
