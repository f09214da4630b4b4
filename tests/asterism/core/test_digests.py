"""Digests: short, the same at every reading, with what matters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asterism.core.digests import digest, is_long

LONG = "\n\n".join(f"## Part {n}\n\n{'word ' * 200}" for n in range(6))


def test_only_what_is_longer_is_long() -> None:
    assert not is_long("x" * 400, 100)
    assert is_long("x" * 401, 100)
    assert not is_long("x" * 10_000, None)


def test_a_digest_is_the_beginning_the_headings_and_the_end() -> None:
    short = digest(f"Begins here. {LONG} Ends here.", 800)
    assert short.startswith("Begins here. ## Part 0")
    assert "characters left out; it has: Part 1 · Part 2" in short
    assert short.endswith(" Ends here.")


@pytest.mark.parametrize(
    "heading",
    ["## Summary\n\n", "# Executive summary\n", "**Summary:** ", "TL;DR: ", "In short: "],
)
def test_a_summary_of_its_own_is_the_digest(heading: str) -> None:
    text = f"{LONG}\n\n{heading}It costs 4,200.\n\n## Notes\n\n{LONG}"
    assert digest(text, 800).startswith("It costs 4,200.")
    assert "word word" not in digest(text, 800)


def test_a_summary_that_is_long_itself_is_none() -> None:
    text = f"## Summary\n\n{'long ' * 900}\n\n## Rest\n\n{LONG}"
    assert digest(text, 800).startswith("## Summary")


@given(st.text(min_size=1), st.integers(1, 40), st.integers(8, 300))
def test_a_digest_is_short_and_always_the_same(text: str, times: int, tokens: int) -> None:
    whole = text * times
    short = digest(whole, tokens)
    assert short == digest(whole, tokens)
    assert len(short) <= tokens + 120  # a quarter of the limit, and the words of the gap
