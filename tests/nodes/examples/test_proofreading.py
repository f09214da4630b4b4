"""What is told of a text: its length, its time, its faults."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asterism.nodes.examples.proofreading import (
    LONG_SENTENCE,
    MAX_FAULTS,
    count,
    proofread,
    reading_time,
)

FAULTS = [
    ("Fine.", "Nothing found."),
    ("", "Nothing found."),
    ("One\nthe the two", "Line 2: 'the' stands twice"),
    ("The\nthe", "Line 2: 'the' stands twice"),
    ("No, no. No!", "Nothing found."),
    ("a (b", "Line 1: '(' is never closed"),
    ("a\nb)", "Line 2: ')' closes nothing"),
    ("([)]", "Line 1: ')' closes nothing\nLine 1: '(' is never closed"),
    (
        "Short.\n\n" + "word next " * (LONG_SENTENCE // 2) + "end.",
        f"Line 3: a sentence of {LONG_SENTENCE + 1} words",
    ),
]


@pytest.mark.parametrize(("text", "said"), FAULTS)
def test_faults_have_their_lines(text: str, said: str) -> None:
    assert sorted(proofread(text).splitlines()) == sorted(said.splitlines())


def test_a_text_full_of_faults_is_told_in_part() -> None:
    said = proofread("(" * (MAX_FAULTS + 7)).splitlines()
    assert (len(said), said[-1]) == (MAX_FAULTS + 1, "... and 7 more")


def test_length_and_time() -> None:
    text = "It's a well-known word. A word!\n\nAnother paragraph about the word word?"
    assert count(text) == ("Words: 12\nSentences: 3\nParagraphs: 2\nMost frequent: word (4)")
    assert reading_time("word " * 300) == "To read: 1 min 16 s\nTo speak: 2 min 0 s"


@given(st.text(alphabet=st.sampled_from("ab the(.)[\n “”"), max_size=200))
def test_any_text_can_be_told_of(text: str) -> None:
    assert count(text) and reading_time(text) and proofread(text)
