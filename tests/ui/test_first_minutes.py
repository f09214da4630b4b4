"""The first ten minutes of a newcomer: a new project, a run in a terminal, the page."""

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

pty = pytest.importorskip("pty")
ASTERISM = Path(sys.executable).with_name("asterism")
SECONDS = 60
COLOURS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\r")


class Ended(NamedTuple):
    """A command that was typed: its exit code, and what the screen showed."""

    code: int
    screen: str


def type_command(folder: Path, *arguments: str, typed: Sequence[tuple[str, str]] = ()) -> Ended:
    """Run a command in a terminal of its own, and type each text when its words are shown."""
    parent, child = pty.openpty()
    environment = {**os.environ, "HOME": str(folder.parent), "TERM": "xterm", "COLUMNS": "100"}
    environment.pop("ASTERISM_DB", None)
    running = subprocess.Popen(
        [ASTERISM, *arguments],
        cwd=folder, env=environment, preexec_fn=lambda: os.login_tty(child),
    )  # fmt: skip
    os.close(child)
    screen, seen, left = "", 0, list(typed)
    deadline = time.monotonic() + SECONDS
    with suppress(OSError):  # Linux says so when the last user of the terminal is gone
        while time.monotonic() < deadline:
            if not select.select([parent], [], [], 1)[0]:
                continue
            screen += os.read(parent, 65536).decode(errors="replace")
            while left and left[0][0] in screen[seen:]:
                seen = len(screen)
                os.write(parent, left.pop(0)[1].encode())
    os.close(parent)
    shown = COLOURS.sub("", screen)
    assert not left, f"nobody asked {left[0][0]!r}:\n{shown}"
    assert time.monotonic() < deadline, f"it did not end:\n{shown}"
    return Ended(running.wait(SECONDS), shown)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a new project."""
    home = tmp_path_factory.mktemp("home")
    made = type_command(home, "new", "my_team")
    assert made.code == 0, made.screen
    assert 'asterism run team:create_team "Price tickets to Rome' in made.screen
    return home / "my_team"


@pytest.fixture(scope="module")
def booked(project: Path) -> str:
    """The thread of a booking: the team asked how many travel and for an approval."""
    answers = [("How many travellers? ", "2\n"), ("respond. ", "approve\n")]
    run = type_command(project, "run", "team:create_team", "Book tickets to Rome", typed=answers)
    assert run.code == 0, run.screen
    assert "Offline model: fixed rules" in run.screen
    assert "Booked 2 tickets to Rome." in run.screen
    assert "?:" not in run.screen and ".:" not in run.screen
    found = re.search(r"Thread (\w+); look at it: asterism trace \1\n", run.screen)
    assert found, run.screen
    return found[1]


@pytest.fixture
def page_address(project: Path) -> Iterator[str]:
    """The address of `asterism ui` in the folder, with its token."""
    running = subprocess.Popen(
        [ASTERISM, "ui", "--port", "0"],
        cwd=project, env={**os.environ, "HOME": str(project.parent)}, text=True,
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert running.stderr is not None
    try:
        said = ""
        while not (found := re.search(r"http://localhost:\d+/\?token=\S+", said)):
            said += (line := running.stderr.readline())
            assert line, said
        yield found[0]
    finally:
        running.terminate()
        running.communicate(timeout=SECONDS)


def test_what_ran_is_listed_and_drawn(project: Path, booked: str) -> None:
    listed = type_command(project, "threads").screen
    assert re.search(rf"{booked} +team:create_team +completed", listed)
    drawn = type_command(project, "trace", booked, "--tools").screen
    assert 'book_tickets(city="Rome", travellers=2)' in drawn


def test_a_long_line_of_progress_does_not_wrap(project: Path) -> None:
    request = "Book tickets to Lima for 2 travellers"
    run = type_command(
        project, "run", "team:create_team", request, typed=[("respond. ", "reject\n")]
    )
    assert "bookings  May these tools be called: book_tickets(city='Lima', travellers=2)?" in (
        run.screen
    )
    assert re.search(r"bookings  May these [^\n]*…\s*\n", run.screen)


@pytest.mark.parametrize(
    ("key", "code"), [pytest.param("\x04", 3, id="ctrl-d"), pytest.param("\x03", 130, id="ctrl-c")]
)
def test_a_question_can_be_left_open(project: Path, key: str, code: int) -> None:
    request, asked = "Book tickets to Oslo", [("How many travellers? ", key)]
    run = type_command(
        project, "run", "team:create_team", request, "--thread", f"left-{code}", typed=asked
    )
    assert run.code == code, run.screen
    assert f"asterism resume left-{code}" in run.screen and "Error" not in run.screen
    answer = [("respond. ", "approve\n")]
    done = type_command(project, "resume", f"left-{code}", "2 travellers", typed=answer)
    assert (done.code, "Booked 2 tickets to Oslo." in done.screen) == (0, True), done.screen


def test_the_page_tells_of_the_same_thread(page_address: str, booked: str) -> None:
    with httpx.Client(follow_redirects=True, timeout=SECONDS) as client:
        assert "<title>Asterism</title>" in client.get(page_address).text
        place = page_address.partition("/?")[0]
        graphs = client.get(f"{place}/api/graphs").text
        assert "team:create_team" in graphs
        rows: list[dict[str, Any]] = client.get(f"{place}/api/threads").json()["runs"]
        assert booked in [row["thread"] for row in rows]
        view = client.get(f"{place}/api/thread", params={"thread": booked}).json()
        assert (view["status"], view["questions"]) == ("completed", [])
        assert "Booked 2 tickets to Rome." in str(view)


@pytest.mark.browser
def test_the_page_shows_the_same_thread(browser: Any, page_address: str, booked: str) -> None:
    window = browser.new_context(viewport={"width": 1360, "height": 900})
    window.set_default_timeout(SECONDS * 1000)
    page = window.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(page_address)
    assert "token" not in page.url
    page.locator("#threads").get_by_text("Book tickets to Rome", exact=True).click()
    page.locator("#status", has_text="Completed").wait_for()
    answer = page.get_by_role("region", name="Answer", exact=True)
    answer.get_by_text("Booked 2 tickets to Rome.").wait_for()
    assert booked in page.url
    window.close()
    assert complaints == []
