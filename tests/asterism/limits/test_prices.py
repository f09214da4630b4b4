"""What calls cost: exact, by the right name, and unknown rather than free."""

import json
import os
import re
import subprocess
import sys
from datetime import date
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from asterism.errors import ConfigurationError
from asterism.limits.prices import (
    DEFAULT_PRICES,
    LongRates,
    Price,
    PriceTable,
)

EXAMPLES = int(os.environ.get("ASTERISM_EXAMPLES", "40"))
DAY = date(2026, 11, 21)
PLAIN = Price(input=Decimal("0.25"), output=Decimal(2))
FULL = Price(
    input=Decimal(3),
    cached_input=Decimal("0.3"),
    cache_write=Decimal("3.75"),
    output=Decimal(15),
    long=LongRates(
        above=1000, input=Decimal(6), cached_input=Decimal("0.6"), output=Decimal("22.5")
    ),
)


def table(**prices: Price) -> PriceTable:
    return PriceTable(prices, dated=DAY, source="a test")


TABLE = table(plain=PLAIN, full=FULL)


@pytest.mark.parametrize(
    ("model", "tokens", "dollars"),
    [
        pytest.param("plain", {}, "0", id="nothing"),
        pytest.param("plain", {"input_tokens": 1}, "0.00000025", id="one token of input"),
        pytest.param("plain", {"output_tokens": 1}, "0.000002", id="one token of output"),
        pytest.param(
            "plain", {"input_tokens": 10**6, "output_tokens": 10**6}, "2.25", id="a million each"
        ),
        pytest.param(
            "plain",
            {"input_tokens": 100, "cached_input_tokens": 60, "cache_write_tokens": 30},
            "0.000025",
            id="a cache without a price of its own costs as input",
        ),
        pytest.param(
            "full",
            {"input_tokens": 1000, "cached_input_tokens": 600, "cache_write_tokens": 300},
            "0.001605",
            id="cached and written tokens are part of the input",
        ),
        pytest.param("full", {"input_tokens": 1000, "output_tokens": 10}, "0.00315", id="not long"),
        pytest.param(
            "full", {"input_tokens": 1001, "output_tokens": 10}, "0.006231", id="just long"
        ),
        pytest.param(
            "full",
            {"input_tokens": 2000, "cached_input_tokens": 1500, "cache_write_tokens": 100},
            "0.0039",
            id="long with a cache, of which writing has no price of its own",
        ),
    ],
)
def test_a_call_costs(model: str, tokens: dict[str, int], dollars: str) -> None:
    assert TABLE.cost(model, **tokens) == Decimal(dollars)


def test_a_model_that_is_not_known_is_not_free() -> None:
    assert TABLE.cost("else", input_tokens=5) is None
    assert TABLE.cost("else") is None
    assert TABLE.find("else") is None


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("gpt-5", "gpt-5"),
        ("openai:gpt-5", "gpt-5"),
        ("openai/gpt-5", "gpt-5"),
        ("azure_openai:gpt-5", "gpt-5"),
        ("google_genai:models/gemini-2.5-pro", "gemini-2.5-pro"),
        ("models/gemini-2.5-pro", "gemini-2.5-pro"),
        ("gpt-5-2025-08-07", "gpt-5"),
        ("gpt-5-mini-2025-08-07", "gpt-5-mini"),
        ("openai:gpt-5-mini-2025-08-07", "gpt-5-mini"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("anthropic/claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),
        ("openai:gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("azure:gpt-4o", "azure:gpt-4o"),
        ("azure:gpt-4o-2024-08-06", "azure:gpt-4o"),
        ("gpt-5-nano", None),
        ("gpt-5-mini-high", None),
        ("gpt", None),
        ("gpt-", None),
        ("GPT-5", None),
        ("gpt-5-", None),
        ("gpt-55", None),
        ("chatgpt-5", None),
        ("my-gpt-5", None),
        ("gpt-5-99999999", None),
        ("gpt-5-2025-13-07", None),
        ("gpt-5-2025-08", None),
        ("gpt-5-2025-08-07-preview", None),
        ("ft:gpt-5", None),
        ("ft:gpt-5-2025-08-07:me::id", None),
        ("openai:ft:gpt-5", None),
        ("openrouter/openai/gpt-5", None),
        ("openrouter:openai/gpt-5", None),
        ("gpt-5:free", None),
        ("openai:", None),
        ("", None),
        (" gpt-5", None),
    ],
)
def test_a_name_is_looked_up_exactly_but_for_its_provider_and_its_date(
    name: str, found: str | None
) -> None:
    names = (
        *("gpt-5", "gpt-5-mini", "gpt-4o", "gpt-4o-2024-05-13", "azure:gpt-4o"),
        *("claude-sonnet-4-5", "gemini-2.5-pro"),
    )
    prices = {
        name: Price(input=Decimal(place), output=Decimal(1)) for place, name in enumerate(names)
    }
    assert table(**prices).find(name) is (None if found is None else prices[found])


@pytest.mark.parametrize("value", [-1, True, 1.0, "1", None, Decimal(1)])
@pytest.mark.parametrize(
    "name", ["input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens"]
)
def test_what_is_no_number_of_tokens_is_refused(name: str, value: Any) -> None:
    for model in ("plain", "else"):
        with pytest.raises(ValueError, match=rf"^{name} is {re.escape(repr(value))}; it must be"):
            TABLE.cost(model, **{name: value})


@pytest.mark.parametrize(("cached", "written"), [(11, 0), (0, 11), (6, 5)])
def test_more_cached_than_there_is_is_refused(cached: int, written: int) -> None:
    with pytest.raises(
        ValueError, match=rf"^{cached} cached and {written} written .* the 10 input"
    ):
        TABLE.cost("plain", input_tokens=10, cached_input_tokens=cached, cache_write_tokens=written)


dollars = st.decimals(0, 1_000_000, places=12)
tokens = st.integers(0, 10**15)


@settings(max_examples=EXAMPLES)
@given(
    rates=st.tuples(dollars, st.none() | dollars, st.none() | dollars, dollars),
    calls=st.lists(st.tuples(tokens, tokens, tokens, tokens), max_size=5),
)
def test_the_parts_add_up_exactly(
    rates: tuple[Decimal, Decimal | None, Decimal | None, Decimal],
    calls: list[tuple[int, int, int, int]],
) -> None:
    """Against whole numbers of billionths of billionths of a dollar, and as one big call."""
    price = Price(input=rates[0], cached_input=rates[1], cache_write=rates[2], output=rates[3])
    prices = table(model=price)

    def units(rate: Decimal | None) -> int:
        with localcontext(prec=60):
            return int((rates[0] if rate is None else rate) * 10**12)

    expected, parts = 0, Decimal(0)
    with localcontext(prec=100):
        for plain, cached, written, output in calls:
            whole: dict[str, int] = {
                "input_tokens": plain + cached + written,
                "cached_input_tokens": cached,
                "cache_write_tokens": written,
                "output_tokens": output,
            }
            cost = prices.cost("model", **whole)
            assert cost is not None
            parts += cost
            for count, rate in zip((plain, cached, written, output), rates, strict=True):
                expected += count * units(rate)
        assert parts * 10**18 == expected
        sums = [sum(column) for column in zip(*calls, strict=True)] or [0] * 4
        assert parts == prices.cost(
            "model",
            input_tokens=sum(sums[:3]),
            cached_input_tokens=sums[1],
            cache_write_tokens=sums[2],
            output_tokens=sums[3],
        )


def test_the_callers_precision_does_not_matter() -> None:
    with localcontext(prec=2):
        cost = TABLE.cost("plain", input_tokens=123_456_789, output_tokens=987_654_321)
    assert cost == Decimal("2006.17283925")


@pytest.mark.parametrize(
    "value",
    [-1, "-0.01", True, False, None, "a", "NaN", "Infinity", 10**7, "0.0000000000001", 0.1 + 0.2],
    ids=repr,
)
@pytest.mark.parametrize("name", ["input", "output", "cached_input", "cache_write"])
def test_what_is_no_price_is_refused(name: str, value: Any) -> None:
    if value is None and name in ("cached_input", "cache_write"):
        return
    rates: dict[str, Any] = {"input": 1, "output": 1, name: value}
    with pytest.raises(ValidationError, match=rf"\n{name}\n"):
        Price.model_validate(rates)


def test_prices_are_values() -> None:
    assert Price(input=Decimal("0.50"), output=Decimal(1)) == Price(
        input=Decimal("0.5"), output=Decimal(1)
    )
    with pytest.raises(ValidationError, match="frozen"):
        PLAIN.input = Decimal(0)
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Price.model_validate({"input": 1, "output": 1, "ouput": 1})


def test_a_table_cannot_be_changed() -> None:
    prices = {"a": PLAIN}
    made = PriceTable(prices, dated=DAY, source="a test")
    prices["b"] = PLAIN
    assert made.find("b") is None
    with pytest.raises(TypeError, match="does not support item assignment"):
        made.prices["b"] = PLAIN  # type: ignore[index]  # pyright: ignore[reportIndexIssue]  # read-only


@pytest.mark.parametrize("prices", [{"": PLAIN}, {" ": PLAIN}, {3: PLAIN}, {"a": 0.5}, {"a": None}])
def test_a_table_of_something_else_is_refused(prices: Any) -> None:
    with pytest.raises(ValueError, match=r"is no name of a model$|it must be a Price$"):
        PriceTable(prices, dated=DAY, source="a test")


def test_a_table_can_be_extended() -> None:
    later = date(2026, 12, 1)
    more = TABLE.extended({"mine": FULL}, dated=later, source="me")
    assert more == PriceTable(
        {"plain": PLAIN, "full": FULL, "mine": FULL}, dated=later, source="me"
    )
    same = TABLE.extended({"mine": FULL})
    assert (same.dated, same.source, TABLE.find("mine")) == (DAY, "a test", None)
    with pytest.raises(ValueError, match=r"^there are prices already: plain\. Use replaced\(\)$"):
        TABLE.extended({"plain": FULL, "mine": FULL})


def test_prices_can_be_replaced() -> None:
    other = TABLE.replaced({"plain": FULL}, source="me")
    assert other == PriceTable({"plain": FULL, "full": FULL}, dated=DAY, source="me")
    with pytest.raises(ValueError, match=r"^there are no prices yet: plian\. Use extended\(\)$"):
        TABLE.replaced({"plian": FULL})


TOML = """
dated = 2026-11-21
source = "a test"

[models.plain]
input = 0.25
output = 2

[models.full]
input = "3"
cached_input = 0.3
cache_write = 3.75
output = 15
[models.full.long]
above = 1000
input = 6
cached_input = 0.6
output = 22.5
"""
JSON = """{"dated": "2026-11-21", "source": "a test", "models": {
    "plain": {"input": 0.25, "output": 2},
    "full": {"input": "3", "cached_input": 0.3, "cache_write": 3.75, "output": 15, "long":
        {"above": 1000, "input": 6, "cached_input": 0.6, "output": 22.5}}}}"""


@pytest.mark.parametrize(("name", "text"), [("p.toml", TOML), ("p.json", JSON)])
def test_a_table_is_read_from_a_file(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert PriceTable.load(path) == PriceTable.load(str(path)) == TABLE


def test_numbers_in_files_are_read_as_they_are_written(tmp_path: Path) -> None:
    exact = "0.100000000001"
    (tmp_path / "p.toml").write_text(
        f'dated = 2026-11-21\nsource = "x"\n[models.a]\ninput = {exact}\noutput = 0'
    )
    price = PriceTable.load(tmp_path / "p.toml").find("a")
    assert price is not None
    assert str(price.input) == exact


def test_every_fault_of_a_file_is_listed_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    models = {
        "gpt-4.1": {"input": -1, "output": "much", "cached": 1},
        "b": {"input": True},
        "c": {"input": 1, "output": 1, "long": {"above": 0.5, "input": 1, "output": 1}},
        "d": 3,
        "": {"input": 1, "output": 1},
    }
    path.write_text(json.dumps({"dated": 5, "models": models, "more": 1}))
    with pytest.raises(ConfigurationError) as caught:
        PriceTable.load(path)
    head, *faults = str(caught.value).splitlines()
    assert head == f"The file {str(path)!r} cannot be used:"
    assert [re.sub(r"^  \d+\. ", "", fault).split(": ")[0] for fault in faults] == [
        "dated",
        "source",
        "models.gpt-4.1.input",
        "models.gpt-4.1.output",
        "models.gpt-4.1.cached",
        "models.b.input",
        "models.b.output",
        "models.c.long.above",
        "models.d",
        "models.",
        "more",
    ]
    assert faults[1] == "  2. source: Field required"
    assert faults[2] == (
        "  3. models.gpt-4.1.input: Input should be greater than or equal to 0 (it is -1)"
    )


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.toml", "dated = ", r"is no TOML: Invalid value \(at end of document\)"),
        ("p.json", '{"dated": }', r"is no JSON: Expecting value: line 1 column 11 \(char 10\)"),
        ("p.json", "[]", r"1\. the file: Input should be"),
        ("p.json", '{"models": {"a": {}, "a": {}}}', "a table has two keys 'a'"),
        ("p.json", '{"models": {"a": {"input": NaN}}}', "NaN is no number of JSON"),
        ("p.yaml", "models: {a: {input: .nan}}", r"models\.a\.input: .*finite"),
        ("p.toml", None, "cannot be read: .*No such file or directory"),
    ],
)
def test_a_file_that_is_none_is_refused(
    tmp_path: Path, name: str, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError, match=rf"^The file .*p\.\w+'[\s\S]*{message}"):
        PriceTable.load(tmp_path / name)


def test_the_models_that_need_no_network_are_known_to_cost_nothing() -> None:
    for name in ("offline", "scripted"):
        assert DEFAULT_PRICES.cost(name, input_tokens=10**9, output_tokens=10**9) == 0


@pytest.mark.parametrize(
    ("model", "tokens", "expected"),
    [
        pytest.param("gpt-5-mini", {}, "0.00225", id="a bare name"),
        pytest.param("openai:gpt-5-mini", {}, "0.00225", id="with its provider"),
        pytest.param("openai/gpt-5-mini", {}, "0.00225", id="with a slash"),
        pytest.param("azure_openai:gpt-5-mini", {}, "0.00225", id="at another provider"),
        pytest.param("gpt-4.1-nano-2025-04-14", {}, "0.0005", id="with its date"),
        pytest.param("gpt-4o-2024-05-13", {}, "0.02", id="of a day with its own price"),
        pytest.param("gpt-4o", {"cached_input_tokens": 400}, "0.012", id="cached"),
        pytest.param("o3", {}, "0.01", id="o3"),
        pytest.param(
            "claude-opus-4-5",
            {"cached_input_tokens": 400, "cache_write_tokens": 200},
            "0.02845",
            id="cached and written",
        ),
        pytest.param("anthropic:claude-sonnet-4-5-20250929", {}, "0.018", id="a plain date"),
        pytest.param("claude-haiku-4-5", {}, "0.006", id="haiku"),
        pytest.param("google_genai:models/gemini-2.5-pro", {}, "0.01125", id="a path"),
        pytest.param("gemini-2.5-pro", {"input_tokens": 200_000}, "0.26", id="not long"),
        pytest.param("gemini-2.5-pro", {"input_tokens": 200_001}, "0.5150025", id="long"),
        pytest.param("gpt-5-turbo", {}, None, id="no such model"),
        pytest.param("claude-sonnet-4-5-mine", {}, None, id="a name that only begins alike"),
        pytest.param("claude", {}, None, id="the beginning of a name"),
        pytest.param("openai:ft:gpt-4o:me::id", {}, None, id="a fine-tuned model"),
        pytest.param("ollama:gpt-5", {}, None, id="a provider that sells nothing"),
        pytest.param("llama3:8b", {}, None, id="a size"),
        pytest.param("text-embedding-3-small", {}, None, id="not a chat model"),
        pytest.param("perplexity:sonar", {}, None, id="charged by request, too"),
        pytest.param("", {}, None, id="no name"),
    ],
)
def test_well_known_models_cost(model: str, tokens: dict[str, int], expected: str | None) -> None:
    call = {"input_tokens": 1000, "output_tokens": 1000} | tokens
    assert DEFAULT_PRICES.cost(model, **call) == (None if expected is None else Decimal(expected))


def test_own_prices_go_before_those_of_the_package() -> None:
    for own in (DEFAULT_PRICES.extended, DEFAULT_PRICES.replaced):
        table = own({"gpt-5": PLAIN})
        assert table.find("openai:gpt-5-2025-08-07") == PLAIN
        assert table.find("gpt-5-mini") == DEFAULT_PRICES.find("gpt-5-mini")
    with pytest.raises(ValueError, match=r"^there are no prices yet: gpt-5-turbo"):
        DEFAULT_PRICES.replaced({"gpt-5-turbo": PLAIN})


def test_every_price_of_the_package_can_be_read() -> None:
    """Long prompts in one step or two, in any order, and models that are not priced by token."""
    from genai_prices.data_snapshot import get_snapshot

    for provider in get_snapshot().providers:
        for model in provider.models:
            DEFAULT_PRICES.cost(f"{provider.id}:{model.id}", input_tokens=10**6)


def test_the_package_is_loaded_by_the_first_model_that_needs_it() -> None:
    code = (
        "import sys; from asterism.limits.prices import DEFAULT_PRICES as prices; "
        "assert prices.cost('offline') == 0; assert 'genai_prices' not in sys.modules; "
        "assert prices.cost('gpt-5', input_tokens=10**6) > 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
