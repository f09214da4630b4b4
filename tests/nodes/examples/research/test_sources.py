"""What a folder of sources holds, and that nothing outside it is read."""

import os
from pathlib import Path
from typing import Any

import pytest

from asterism.errors import ConfigurationError
from asterism.nodes.examples.research import answer_from_source, create_reader_tools
from asterism.nodes.examples.research.sources import Folder
from tests.nodes.examples.research.helpers import Use, places


@pytest.mark.parametrize("name", ["missing", "file.txt"])
def test_a_folder_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "file.txt").touch()
    with pytest.raises(ConfigurationError, match=r"which is no folder\. Give one that exists"):
        create_reader_tools(tmp_path / name)


HOSTILE = [
    *("../secret.txt", "notes/../../secret.txt", "..", "..\\secret.txt", "notes\\..\\..\\x"),
    *("/etc/passwd", "//etc/passwd", "C:\\secret.txt", "\\\\server\\share\\x", "~/secret.txt"),
    *("file:///etc/passwd", "link.txt", "linked/secret.txt", "circle.txt", "nowhere.txt"),
    *(".env", ".git/config", "alias.txt", "notes/.hidden.md"),
    *("", "   ", "a\x00b", "a\nb", "\ud800", "x" * 5_000, "a/" * 3_000, "🎉", "missing.md"),
    *("notes/wheat.md/more", "notes", ".", "pipe"),
]


@pytest.fixture
def trapped(root: Path) -> Path:
    """A folder with ways out of it, and a secret outside and hidden inside."""
    (root.parent / "secret.txt").write_text("SECRET wheat")
    (root / ".env").write_text("SECRET wheat")
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("SECRET wheat")
    (root / "notes" / ".hidden.md").write_text("SECRET wheat")
    for link, target in {
        "link.txt": "../secret.txt",
        "linked": "..",
        "circle.txt": "circle.txt",
        "nowhere.txt": "gone.txt",
        "alias.txt": ".env",
    }.items():
        (root / link).symlink_to(target)
    os.mkfifo(root / "pipe")
    return root


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes in folders")
@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: ascii(path)[:24])
def test_no_path_leads_out_of_the_folder(path: str, trapped: Path, use: Use) -> None:
    answer = use("read_lines", path=path)
    assert answer.startswith("Cannot read source: ") and answer.endswith(".")
    assert "SECRET" not in answer and len(answer) < 400
    with pytest.raises(ValueError, match="Give "):
        answer_from_source(trapped, path, "wheat")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes in folders")
def test_nothing_hidden_is_listed(trapped: Path, use: Use) -> None:
    (trapped / "inner.md").symlink_to("notes/wheat.md")  # a link that stays inside is fine
    (trapped / "new\nline.txt").write_text("SECRET wheat")
    listed = [source.path for source in Folder.at(trapped).sources()]
    assert listed == ["inner.md", "page.html", "prices.csv", "notes/wheat.md"]
    assert use("read_lines", path="inner.md").startswith("notes/wheat.md, lines 1 to 19")


def test_a_near_name_is_offered(use: Use) -> None:
    said = "Cannot read source: there is no file 'wheat.md'. Did you mean 'notes/wheat.md'?"
    assert use("read_lines", path="wheat.md").startswith(said)


def test_lines_are_read_with_their_numbers(use: Use) -> None:
    assert use("read_lines", path="notes/wheat.md", start_line=14, lines=2).splitlines() == [
        "notes/wheat.md, lines 14 to 15 of 19:",
        "14: - Rye was cheaper than wheat.",
        "15: - Oats cost half.",
        "(go on with start_line=16)",
    ]
    assert use("read_lines", path="notes/wheat.md", start_line=19).splitlines()[-1] == (
        "19: Barley: see e.g. the table."
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"start_line": 0}, "start_line 0 is not a line of prices.csv. Give one from 1 to 5."),
        ({"start_line": 6}, "start_line 6 is not a line"),
        ({"lines": 0}, "lines 0 is not allowed. Give 1 to 1,000."),
        ({"lines": 1_001}, "lines 1001 is not allowed"),
        ({"lines": "many"}, "Cannot read the arguments: lines 'many'"),
        ({"path": None}, "Cannot read the arguments: path None"),
    ],
)
def test_a_wrong_number_is_answered(arguments: dict[str, Any], words: str, use: Use) -> None:
    assert words in use("read_lines", **{"path": "prices.csv", **arguments})


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        pytest.param("\ufeffgrüße\r\n小麦\r🎉\n".encode(), ["grüße", "小麦", "🎉"], id="unicode"),
        pytest.param(b"caf\xe9 au lait", ["caf� au lait"], id="a byte that is not UTF-8"),
        pytest.param(b"a\x1b[31mb\x07", ["a�[31mb�"], id="control characters"),
        pytest.param("a\u2028b\x0bc".encode(), ["a\u2028b�c"], id="only real line breaks count"),
        pytest.param(b"\n\nx", ["", "", "x"], id="blank lines"),
    ],
)
def test_text_is_read_as_it_is(data: bytes, lines: list[str], root: Path, use: Use) -> None:
    (root / "x.txt").write_bytes(data)
    read = use("read_lines", path="x.txt").split("\n")[1:]
    assert read == [f"{number}: {line}" for number, line in enumerate(lines, 1)]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"text\x00text", id="zero byte"),
        pytest.param("text".encode("utf-16"), id="UTF-16"),
        pytest.param(bytes(range(128, 256)) * 4, id="bytes"),
    ],
)
def test_what_is_no_text_is_refused(data: bytes, root: Path, use: Use) -> None:
    (root / "x.txt").write_bytes(data)
    assert "'x.txt' is binary or not UTF-8. Use a text file" in use("read_lines", path="x.txt")
    assert not [place for place in places(root, "text wheat") if place.startswith("x.txt")]


def test_a_file_that_is_too_large_is_refused_and_named(root: Path, use: Use) -> None:
    (root / "big.txt").write_bytes(b"wheat \n" * 300_000)
    assert "has 2,100,000 bytes; at most 2,000,000 are read" in use("read_lines", path="big.txt")
    assert not [place for place in places(root, "wheat") if place.startswith("big.txt")]


def test_a_long_line_and_a_long_text_are_cut(root: Path, use: Use) -> None:
    (root / "line.json").write_text(f'{{"x": "{"y" * 1_000_000} wheat"}}')
    assert len(use("read_lines", path="line.json")) < 2_100
    assert "wheat" in answer_from_source(root, "line.json", "wheat")
    (root / "long.txt").write_text("z" * 100 + "\n" + ("word " * 100 + "\n") * 900)
    read = use("read_lines", path="long.txt", lines=1_000)
    assert len(read) < 42_000 and read.splitlines()[-1].startswith("(go on with start_line=8")


def test_html_is_read_as_what_it_shows(use: Use) -> None:
    assert use("read_lines", path="page.html").splitlines()[1:] == [
        "1: Crops & more",
        "2: # Harvest <1>",
        "3: Wheat is grown here. Rye is not.",
        "4: ",
        "5: ",
        "6: Café €",
    ]
