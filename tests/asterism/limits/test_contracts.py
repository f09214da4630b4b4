"""Contracts: limits across runs and processes, on each database, with a clock of the test."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Command

from asterism import (
    Agent,
    AgentOrchestrator,
    Contract,
    EventBus,
    SupervisorWorkflowBuilder,
    WorkflowEventType,
    open_checkpointer,
)
from asterism.core.usage import Usage, UsageEntry
from asterism.errors import (
    BudgetExceededError,
    ConfigurationError,
    InvalidRequestError,
    RoutingError,
)
from asterism.limits.contracts import Term, period_name
from asterism.limits.prices import PriceTable
from asterism.storage.contract_ledger import RESERVED_SECONDS, ContractLedger
from asterism.storage.open import open_transactions
from asterism.testing import ScriptedChatModel
from tests.databases import url_of
from tests.processes import Process

START = datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp()  # a Sunday
DAY = 86_400.0


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ContractLedger]:
    with closing(open_transactions(url_of(request.param, request, tmp_path))) as opened:
        yield ContractLedger(opened, clock=lambda: START)


def term(account: str = "user=ann", **limits: Any) -> Term:
    return Term(account=account, contract=Contract(per="user", **limits))


def spent(tokens: int = 10, **facts: Any) -> UsageEntry:
    entry: UsageEntry = {
        "by": "clerk",
        "model": "m",
        "calls": 1,
        "input_tokens": tokens,
        "cached_input_tokens": 0,
        "output_tokens": 0,
        "seconds": 1.5,
        "cost_usd": "0.25",
    }
    entry.update(facts)  # type: ignore[typeddict-item]
    return entry


def call(tokens: int = 10, cost: str = "0.25") -> Usage:
    return Usage(calls=1, input_tokens=tokens, cost_usd=Decimal(cost))


@pytest.mark.parametrize(
    ("limits", "measure"),
    [
        ({"max_calls": 1}, "calls"),
        ({"max_tokens": 15}, "tokens"),
        ({"max_cost_usd": "0.3"}, "cost_usd"),
        ({"max_runs": 1}, "runs"),
        ({"max_hours": 1 / 3600}, "hours"),
    ],
)
def test_what_is_used_up_refuses_the_next_call(
    ledger: ContractLedger, limits: dict[str, Any], measure: str
) -> None:
    terms = [term(**limits)]
    assert ledger.reserve("1", terms, call(), call(), 1)
    ledger.settle("1", terms, spent(), "shop", True)
    with pytest.raises(BudgetExceededError) as refused:
        ledger.reserve("2", terms, call(), call(), 1)
    assert refused.value.measure == measure and "user=ann (2026-11)" in str(refused.value)
    assert ledger.reserve("3", [term("user=bob", **limits)], call(), call(), 1), "another account"


def test_a_call_waits_for_those_under_way_and_never_overspends(ledger: ContractLedger) -> None:
    terms = [term(max_tokens=100)]
    assert ledger.reserve("1", terms, call(5), call(90), 1)
    assert not ledger.reserve("2", terms, call(5), call(90), 0)
    ledger.settle("1", terms, spent(50), "shop", True)
    assert ledger.reserve("2", terms, call(5), call(50), 0)
    ledger.settle("2", terms, None, "shop", True)
    assert ledger.reserve("3", terms, call(5), call(50), 0), (
        "a call that was not made is given back"
    )


@pytest.mark.parametrize(("period", "days"), [("day", 1), ("week", 7), ("month", 31)])
def test_each_period_begins_at_zero(ledger: ContractLedger, period: Any, days: int) -> None:
    terms = [term(period=period, max_calls=1)]
    assert ledger.reserve("1", terms, call(), call(), 1)
    ledger._clock = lambda: START + days * DAY  # settled in the next period, counted in its own
    ledger.settle("1", terms, spent(), "shop", True)
    assert ledger.reserve("2", terms, call(), call(), 1)
    ledger._clock = lambda: START
    with pytest.raises(BudgetExceededError):
        ledger.reserve("3", terms, call(), call(), 1)


def test_what_a_killed_process_had_reserved_counts_as_spent(ledger: ContractLedger) -> None:
    terms = [term(max_tokens=100)]
    assert ledger.reserve("lost", terms, call(5), call(60), 1)
    ledger._clock = lambda: START + RESERVED_SECONDS + 1
    assert ledger.reserve("2", terms, call(5), call(40), 1)
    ledger.settle("lost", terms, spent(60), "shop", True)  # it was only slow: not counted twice
    with pytest.raises(BudgetExceededError) as refused:
        ledger.reserve("3", terms, call(41), call(41), 1)
    assert refused.value.spent == "60"


def test_a_raised_limit_holds_for_its_period(ledger: ContractLedger) -> None:
    terms = [term(max_calls=1)]
    ledger.reserve("1", terms, call(), call(), 1)
    ledger.settle("1", terms, spent(), "shop", True)
    ledger.raise_limit("user=ann", "2026-11", "calls", "2")
    ledger.raise_limit("user=ann", "2026-11", "calls", "1")  # lower: passed over
    assert ledger.reserve("2", terms, call(), call(), 1)


def test_there_is_one_warning_in_a_period(ledger: ContractLedger) -> None:
    terms = [term(max_calls=4, warn_at=0.5)]
    warned = []
    for number in range(4):
        ledger.reserve(str(number), terms, call(), call(), 0)
        warned.append(ledger.settle(str(number), terms, spent(), "shop", True))
    assert warned == [[], [("user=ann (2026-11)", "calls", Decimal("0.5"))], [], []]


def test_spending_is_told_apart_by_what_is_asked(ledger: ContractLedger) -> None:
    terms = [term(max_calls=9), Term(account="team=shop", contract=Contract(max_calls=9))]
    for number, model in enumerate(("big", "small", "big")):
        ledger.reserve(str(number), terms, call(), call(), 0)
        ledger.settle(str(number), terms, spent(model=model), "shop", True)
    found = ledger.spending(("model",))
    assert [(row["model"], row["calls"], row["cost_usd"]) for row in found] == [
        ("big", 2, "0.5"),
        ("small", 1, "0.25"),
    ]
    assert {row["account"] for row in ledger.spending()} == {"user=ann", "team=shop"}
    assert ledger.spending(since="2026-11-30") == []
    with pytest.raises(ValueError, match="weather; allowed: account, team"):
        ledger.spending(("weather",))


def test_the_names_of_periods() -> None:
    names = [period_name(period, START) for period in ("day", "week", "month")]
    assert names == ["2026-11-29", "2026-W48", "2026-11"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "limits nothing; give one of max_cost_usd, max_tokens"),
        ({"max_calls": -1}, "max_calls is -1"),
        ({"max_cost_usd": "much"}, "max_cost_usd is 'much'"),
        ({"max_hours": "long"}, "max_hours is 'long'"),
        ({"max_calls": 1, "period": "year"}, "'day', 'week', 'month'"),
        ({"max_calls": 1, "on_limit": "cry"}, "'stop', 'ask'"),
        ({"max_calls": 1, "warn_at": 2}, "warn_at is 2"),
        ({"max_calls": 1, "per": " "}, "per is ' '"),
    ],
)
def test_a_contract_that_means_nothing_is_refused(given: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Contract(**given)


def test_two_contracts_of_one_account_and_period_are_refused() -> None:
    both = [Contract(max_calls=1), Contract(max_tokens=1)]
    with pytest.raises(ConfigurationError, match="two contracts per team and month"):
        shop(None, *both)


# ---- in a workflow


def hotels(messages: Any) -> str:
    """Finds hotels."""
    return "Hotel Mira"


def shop(saver: Any, *contracts: Contract, **options: Any) -> Any:
    script = [{"next_agent": "hotels", "instruction": "one"}, {"next_agent": None}] * 20
    return (
        SupervisorWorkflowBuilder(
            "Shop",
            model=ScriptedChatModel(script=script),
            finish="forward",
            contracts=contracts,
            **options,
        )
        .participants(hotels=hotels)
        .build(checkpointer=saver)
    )


def run(workflow: Any, thread: str, how: str, given: Any = None, **facts: str) -> Any:
    given = given or {"messages": [("user", "A hotel")]}
    config = {"configurable": {"thread_id": thread, **facts}}
    if how == "async":
        return asyncio.run(workflow.ainvoke(given, config))
    return workflow.invoke(given, config)


@pytest.mark.parametrize("how", ["sync", "async"])
def test_runs_of_a_user_share_a_limit(how: str, tmp_path: Path) -> None:
    with open_checkpointer(f"sqlite:///{tmp_path}/a.db") as saver:
        ends = []
        for number in range(3):  # a new workflow each time, as a new process has
            workflow = shop(saver, Contract(per="user", max_calls=5))
            ends.append(run(workflow, str(number), how, user_id="ann"))
        other = run(workflow, "b", how, user_id="bob")
    assert [end["status"] for end in ends] == ["completed", "completed", "limit"]
    assert "user=ann" in ends[2]["reason"] and other["status"] == "completed"


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_person_raises_the_limit_and_the_run_goes_on(how: str) -> None:
    workflow = shop(InMemorySaver(), Contract(max_calls=1, on_limit="ask"))
    waiting = run(workflow, "1", how)
    assert waiting["status"] == "waiting"
    done = run(workflow, "1", how, Command(resume="9"))
    assert done["status"] == "completed" and done["messages"][-1].text == "Hotel Mira"


def test_the_limit_of_runs_counts_requests_and_not_their_continuation() -> None:
    asks = [
        {"next_agent": None, "user_input_needed": True, "user_prompt": "Where?"},
        {"next_agent": None},
    ] * 2
    workflow = (
        SupervisorWorkflowBuilder(
            "Shop",
            model=ScriptedChatModel(script=asks),
            finish="forward",
            contracts=[Contract(max_runs=1)],
        )
        .participants(hotels=hotels)
        .build(checkpointer=InMemorySaver())
    )
    assert run(workflow, "1", "sync")["status"] == "waiting"
    assert run(workflow, "1", "sync", Command(resume="Oslo"))["status"] == "completed"
    assert run(workflow, "2", "sync")["status"] == "limit"


def test_a_run_that_does_not_say_whom_it_is_for_is_refused() -> None:
    workflow = shop(None, Contract(per="tenant", max_calls=5))
    with pytest.raises(InvalidRequestError, match="say it: config="):
        workflow.invoke({"messages": [("user", "x")]})
    asked = {"messages": [("user", "x")]}
    assert workflow.invoke(asked, context={"tenant_id": "acme"})["status"] == "completed"


def test_a_model_without_a_price_is_refused_where_money_is_limited() -> None:
    unknown = PriceTable({}, dated=date(2026, 1, 1), source="a test")
    workflow = shop(None, Contract(max_cost_usd=1), prices=unknown)
    with pytest.raises(RoutingError, match="the price of the model 'scripted' is not known"):
        workflow.invoke({"messages": [("user", "x")]})


def test_a_warning_is_an_event() -> None:
    bus, warned = EventBus(), []
    bus.on(WorkflowEventType.BUDGET_WARNING, lambda event: warned.append(event.facts))
    run(shop(InMemorySaver(), Contract(max_calls=2), events=bus), "1", "sync")
    assert warned[0]["scope"].startswith("team=shop (") and warned[0]["measure"] == "calls"


def test_an_orchestrator_and_a_plain_saver_of_langgraph_have_contracts(tmp_path: Path) -> None:
    with SqliteSaver.from_conn_string(f"{tmp_path}/a.db") as saver:
        assert run(shop(saver, Contract(max_calls=1)), "1", "sync")["status"] == "limit"
    with closing(open_transactions(f"{tmp_path}/a.db")) as opened:
        assert ContractLedger(opened).spending(("team",))[0]["calls"] == 1
    agent = Agent(agent_id="main", model=ScriptedChatModel(script=["Four."]))
    team = AgentOrchestrator(agent, contracts=[Contract(max_calls=0)])
    assert asyncio.run(team.process("What is 2 + 2?")).status == "limit"


SPEND = """
import sys, uuid
from asterism import Contract
from asterism.core.usage import Usage
from asterism.errors import BudgetExceededError
from asterism.limits.contracts import Term
from asterism.storage.contract_ledger import ContractLedger
from asterism.storage.open import open_transactions
ledger = ContractLedger(open_transactions(sys.argv[1]))
terms = [Term(account="team=shop", contract=Contract(max_tokens=1000))]
while True:
    call = uuid.uuid4().hex
    try:
        while not ledger.reserve(call, terms, Usage(calls=1), Usage(calls=1, input_tokens=30), 0):
            pass
    except BudgetExceededError:
        break
    entry = {"by": "x", "model": "m", "calls": 1, "input_tokens": 30, "cached_input_tokens": 0,
             "output_tokens": 0, "seconds": 0.0, "cost_usd": None}
    ledger.settle(call, terms, entry, "shop", True)
ledger.close()
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_twenty_processes_overspend_by_one_call_at_most(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = url_of(kind, request, tmp_path)
    crowd = [Process(SPEND, url) for _ in range(20)]
    ends = [process.wait(120) for process in crowd]
    assert ends == [0] * 20, crowd[0].err.read_text()
    with closing(open_transactions(url)) as opened:
        total = ContractLedger(opened).spending(("account",))[0]
    assert 1000 <= total["tokens"] <= 1030 and total["calls"] * 30 == total["tokens"]
