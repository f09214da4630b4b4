"""What is found in sources, and what one of them says about a question."""

import time
from pathlib import Path

import pytest

from asterism.nodes.examples.research import answer_from_source
from asterism.nodes.examples.research import search as search_module
from tests.nodes.examples.research.helpers import PAGE, Use, places


def test_a_search_stops_at_its_limit(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "MAX_SEARCHED", len(PAGE))
    assert {place.partition(":")[0] for place in places(root, "wheat")} == {"page.html"}


def test_html_on_one_line_is_searched_too(root: Path) -> None:
    page = "<h1>Crops</h1><p>Wheat.</p><h2>Rye</h2><p>Oats &amp; barley</p><!-- never closed"
    (root / "one.htm").write_text(page)
    assert "Rye Oats & barley [one.htm:1]" in answer_from_source(root, "one.htm", "barley")


def test_the_best_passage_comes_first(root: Path) -> None:
    first, *others = places(root, "What was the price of wheat in 1901, please?")
    assert first == "notes/wheat.md:3"
    assert set(others) == {
        *("notes/wheat.md:14", "notes/wheat.md:19", "page.html:3"),
        *("prices.csv:2", "prices.csv:3", "prices.csv:5"),
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param("PRICES", "notes/wheat.md:3", id="case and ending"),
        pytest.param("cafe", "page.html:6", id="accents"),
        pytest.param("小麦の価格", "jp.txt:1", id="no spaces"),
        pytest.param("Straße", "jp.txt:3", id="sharp s"),
        pytest.param("bread_crumb-size", "jp.txt:5", id="joined words"),
    ],
)
def test_words_are_found_however_they_are_written(query: str, found: str, root: Path) -> None:
    (root / "jp.txt").write_text("昨日の小麦の価格。\n\nSTRASSE\n\nThe bread crumb\n")
    assert found in places(root, query)


@pytest.mark.parametrize("query", ["", "what is it", "?!", "_ _"])
def test_a_question_without_a_word_is_answered(query: str, use: Use) -> None:
    said = use("quote_source", path="page.html", question=query)
    assert said == (
        f"Cannot quote source: the question {query!r} has no word to look for. "
        "Name what you want to know."
    )


def test_the_rows_of_a_table_carry_the_names_of_its_columns(root: Path) -> None:
    (root / "bare.tsv").write_text("1\t2\n3\tsix\n")
    assert "3; six [bare.tsv:2]" in answer_from_source(root, "bare.tsv", "six")
    (root / "broken.csv").write_text('a,b\n1,"' + "x" * 200_000 + "\nwheat,2\n")
    assert "wheat,2" in answer_from_source(root, "broken.csv", "wheat")


@pytest.mark.parametrize(
    ("path", "question", "quotes"),
    [
        pytest.param(
            "notes/wheat.md",
            "What was the price of wheat in 1901?",
            ["The price of wheat rose to 12.5 euros in 1901. [notes/wheat.md:3]"],
            id="one sentence",
        ),
        pytest.param(
            "notes/wheat.md",
            "Whom did the Society blame?",
            [
                "Dr. Smith, of the Royal Society, blamed the drought! [notes/wheat.md:3]",
            ],
            id="a sentence over two lines, with an abbreviation",
        ),
        pytest.param(
            "notes/wheat.md",
            "Which oats or rye?",
            [
                "Rye was cheaper than wheat. [notes/wheat.md:14]",
                "Oats cost half. [notes/wheat.md:15]",
            ],
            id="items of a list below a heading that is there twice",
        ),
        pytest.param(
            "notes/wheat.md",
            "barley table",
            ["Barley: see e.g. the table. [notes/wheat.md:19]"],
            id="below an underlined heading",
        ),
        pytest.param(
            "prices.csv",
            "What is the price in Rome?",
            ["city: Rome; price: 9; note: two lines [prices.csv:3]"],
            id="a row of a table",
        ),
        pytest.param(
            "page.html",
            "Is rye grown?",
            [
                "Wheat is grown here. [page.html:3]",
                "Rye is not. [page.html:3]",
            ],
            id="a page",
        ),
    ],
)
def test_a_question_is_answered_in_the_words_of_the_file(
    path: str, question: str, quotes: list[str], root: Path
) -> None:
    answer = answer_from_source(root, path, question)
    assert answer.splitlines() == [f"From {path}:", *(f"- {quote}" for quote in quotes)]
    assert answer == answer_from_source(root, path, question)


@pytest.mark.parametrize(
    "question", ["Who was the king of France?", "How do I rebuild an engine of 1950?"]
)
def test_a_file_that_holds_nothing_about_it_says_so(question: str, root: Path) -> None:
    answer = answer_from_source(root, "notes/wheat.md", question)
    assert answer.startswith("notes/wheat.md holds nothing about this question (looked for: ")


def test_a_long_answer_is_bounded(root: Path) -> None:
    (root / "many.txt").write_text(". ".join(f"Wheat {'so ' * 300}much" for _ in range(40)))
    answer = answer_from_source(root, "many.txt", "wheat")
    assert answer.count("\n- ") == 5 and len(answer) < 5 * 550


def test_an_empty_file_holds_nothing(root: Path, use: Use) -> None:
    (root / "empty.md").write_text("\n")
    assert "holds nothing" in answer_from_source(root, "empty.md", "wheat")
    (root / "none.md").touch()
    assert use("read_lines", path="none.md") == "none.md is empty."


def test_each_repeated_heading_is_cited_where_it_stands(root: Path) -> None:
    (root / "years.md").write_text("".join(f"## Rain\n\nIn {y} much.\n\n" for y in (1, 2, 3)))
    assert places(root, "rain") == [f"years.md:{n}" for n in (3, 7, 11)]
    assert answer_from_source(root, "years.md", "rain in 2").splitlines()[1:] == [
        "- In 2 much. [years.md:7]"
    ]


@pytest.mark.parametrize("unit", ["...", ". ", "#", "# #x", "<!--", "<a", '"', "```\n", "a, "])
def test_no_content_takes_long(unit: str, root: Path) -> None:
    for ending in ("md", "html", "csv"):
        (root / f"x.{ending}").write_text(unit * (60_000 // len(unit)) + " wheat")
        begun = time.process_time()
        answer_from_source(root, f"x.{ending}", "wheat")
        assert time.process_time() - begun < 5
