"""Operations in a real browser, on a database with a queue."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from asterism.apps.workers.queue import enqueue
from tests.ui.test_page import Picture, Visit
from tests.ui.test_screens import AXE

pytestmark = pytest.mark.browser


@pytest.fixture
def db(postgres: str) -> str:
    return postgres


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_waits_is_paused_resumed_and_killed(
    scheme: str, visit: Visit, postgres: str, packages: Path, picture: Picture
) -> None:
    with ThreadPoolExecutor() as other:  # the browser's own loop runs in this thread
        for priority in (5, 0):
            work = enqueue(postgres, "event_planning", "Plan", priority=priority)
            other.submit(asyncio.run, work).result()
    page = visit(color_scheme=scheme)
    page.get_by_role("link", name="Operations").click()
    rows = page.locator("#jobs tr")
    rows.nth(1).wait_for()
    assert page.locator("#queue-counts").inner_text().split()[:2] == ["Queued", "2"]
    first = rows.filter(has=page.get_by_role("cell", name="5", exact=True))
    first.get_by_role("button", name="Pause").click()
    first.get_by_text("it was told to pause").wait_for()
    page.get_by_text("No worker is known").wait_for()
    picture(page, f"23-queue-{scheme}")
    page.evaluate((packages / "axe-core" / "axe.min.js").read_text())
    assert page.evaluate(AXE) == []
    first.get_by_role("button", name="Resume").click()
    first.get_by_text("Queued").wait_for()
    page.once("dialog", lambda asked: asked.dismiss())
    first.get_by_role("button", name="Kill").click()
    assert "Queued" in first.inner_text()
    page.once("dialog", lambda asked: asked.accept())
    first.get_by_role("button", name="Kill").click()
    first.get_by_text("it was told to stop").wait_for()
