"""The screens of the page in a real browser: home, timeline, branches, keys, themes, sizes."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.ui.test_page import PARTY, Picture, Visit, begin, go_to, status

pytestmark = pytest.mark.browser

AXE = """() => axe.run(document, {
  runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}).then(({ violations }) => violations
  .filter(({ impact }) => ["serious", "critical"].includes(impact))
  .map(({ id, nodes }) => [id, nodes.map(({ html }) => html.slice(0, 160))]))"""


def test_a_team_is_chosen_by_its_example(visit: Visit, picture: Picture) -> None:
    page = visit()
    begin(page, "Go to Rome", "trips")
    status(page, "Needs you")
    page.get_by_role("link", name="Home").click()
    asking = page.get_by_role("region", name="1 run needs you.")
    asking.get_by_text("Which trip?").wait_for()
    card = page.locator("#teams li", has_text="Event planning")
    assert card.locator(".chips span").all_inner_texts() == [
        "venue", "catering", "budget", "logistics",
    ]  # fmt: skip
    picture(page, "20-home", full_page=True)
    card.get_by_role("button", name="Plan a corporate holiday party").click()
    page.locator("#request:focus").wait_for()
    assert page.locator("#request").input_value() == PARTY
    assert page.get_by_role("combobox", name="Team").input_value() == "event_planning"
    page.keyboard.press("Control+Enter")
    status(page, "Completed")
    page.get_by_role("link", name="Home").click()
    row = page.locator("#recent-rows tr", has_text=PARTY)
    row.get_by_text("Completed").wait_for()
    assert row.locator("td").nth(3).inner_text() == "4"
    asking.get_by_role("link", name="Go to Rome").click()
    page.get_by_role("heading", name="Go to Rome", level=1).wait_for()
    assert "Rome" not in page.url


def test_only_what_failed_is_retried_and_the_branches_compared(
    visit: Visit, picture: Picture
) -> None:
    page = visit()
    begin(page, "Count", "flaky")
    status(page, "Completed, 1 failure")
    card = page.get_by_role("region", name="stock failed")
    assert "the stock is out of reach" in card.inner_text()
    card.locator("summary").click()
    assert "teams.py" in card.locator("pre").inner_text()
    card.get_by_role("button", name="Retry stock").click()
    page.locator("#visits > li", has_text="stock 2").wait_for()
    status(page, "Completed")
    card.wait_for(state="detached")
    texts = page.locator("#visits .what").all_inner_texts()
    assert texts == ["counted 1", "stock 2", "checked 2"]
    page.locator("#steps li", has_text="other branch").first.wait_for()
    go_to(page, "Completed")  # the end of the branch that was left
    page.get_by_role("button", name="Compare with latest").click()
    compared = page.get_by_role("region", name="Compare", exact=True)
    compared.locator("h2:focus").wait_for()
    changed = compared.locator(".change", has_text="stock, turn 1")
    assert changed.locator("ins").all_inner_texts() == ["✓", "ok:", "2"]
    assert changed.locator("del").all_inner_texts()[-1] == "reach"
    picture(page, "21-compare", full_page=True)
    page.get_by_role("button", name="Return to latest").click()
    compared.wait_for(state="hidden")


def test_what_failed_is_retried_with_another_instruction(visit: Visit) -> None:
    page = visit()
    begin(page, "Count", "flaky")
    status(page, "Completed, 1 failure")
    page.get_by_role("button", name="Retry with changes").click()
    page.locator("#fork-words:focus").wait_for()
    assert page.get_by_label("Next participant").input_value() == "to stock"
    page.get_by_label("Instruction").fill("Look twice")
    page.get_by_role("button", name="Continue on a new branch").click()
    page.locator("#visits > li", has_text="stock 2").wait_for()
    status(page, "Completed")
    texts = page.locator("#visits .what").all_inner_texts()
    assert texts == ["counted 1", "stock 2", "checked 2"]
    page.locator("#visits summary", has_text="stock").click()
    page.get_by_text("Instruction: Look twice").wait_for()


def at(seconds: int) -> str:
    return f"2026-01-01T00:{seconds // 60:02}:{seconds % 60:02}+00:00"


def bar(began: int, ended: int, **facts: Any) -> dict[str, Any]:
    return {"began": at(began), "ended": at(ended), **facts}


def test_the_timeline_leaves_out_waiting(visit: Visit) -> None:
    page = visit()
    page.locator("#request:focus").wait_for()
    answered = {"questions": [{"prompt": "Pay?"}], "usage": {"seconds": 2}}
    record = {
        "decisions": [bar(0, 1, asks=True), bar(61, 62, asks=False)],
        "visits": [
            bar(62, 64, participant="venue", status="ok", questions=[], usage={"seconds": 0}),
            bar(64, 124, participant="bank", status="failed", **answered),
        ],
    }
    draw = "async (record) => (await import(location.origin + '/timeline.js')).drawTimeline(record)"
    page.evaluate(draw, record)
    timeline = page.locator("#timeline")
    described = timeline.get_attribute("aria-label")
    assert described == "supervisor 2.0 s, venue 2.0 s, bank 2.0 s"
    assert page.locator("#timeline .axis").last.text_content() == "6.0 s"
    assert page.locator("#waited").text_content() == "Waiting for you is left out: 1:58"
    places = page.locator("#timeline .bar").evaluate_all(
        "(bars) => bars.map((one) => [Number(one.getAttribute('x')), one.getAttribute('class')])"
    )
    assert [round((x - 92) / 172 * 6, 1) for x, _ in places] == [0.0, 1.0, 2.0, 4.0]
    assert [kind for _, kind in places] == ["bar idle", "bar idle", "bar ok", "bar failed"]


def test_a_bar_of_the_timeline_opens_its_visit(visit: Visit) -> None:
    page = visit()
    begin(page, PARTY)
    status(page, "Completed")
    page.locator("#timeline .bar.ok").nth(3).click()  # the last one, when it is over
    page.locator("#visits details[open]", has_text="logistics").wait_for()


def test_keys_act_only_where_nobody_types_and_never_spend_money(visit: Visit) -> None:
    page = visit()
    page.locator("#request:focus").wait_for()
    page.keyboard.type("n?c/")
    assert page.locator("#request").input_value() == "n?c/"
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    dialog.wait_for()
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    begin(page, "Pay", "teller")
    page.locator(".approval:focus").wait_for()
    page.keyboard.press("a")
    page.locator("[data-kind=approve]:focus").wait_for()
    status(page, "Needs you")  # nothing is spent yet
    page.keyboard.press("e")
    page.locator("button.edit:focus").wait_for()
    page.keyboard.press("r")
    page.locator("[data-kind=reject]:focus").wait_for()
    page.keyboard.press("a")
    page.keyboard.press("Enter")
    status(page, "Completed")
    page.locator("#steps [aria-current]", has_text="Completed").wait_for()
    page.keyboard.press("[")
    page.get_by_text("Viewing an earlier step").wait_for()
    page.keyboard.press("l")
    status(page, "Completed")
    page.keyboard.press("j")
    page.locator("#threads a:focus").wait_for()
    page.keyboard.press("/")
    page.locator("#search:focus").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("o")
    page.get_by_role("heading", name="Operations", level=1).wait_for()
    page.keyboard.press("?")
    dialog.get_by_label("Turn off single-key shortcuts").check()
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    assert page.get_by_role("heading", name="Operations", level=1).is_visible()


def test_the_theme_is_kept(visit: Visit) -> None:
    page = visit(color_scheme="light")
    ground = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    button = page.get_by_role("button", name="Theme")
    assert button.inner_text() == "Theme: System"
    button.click()
    button.click()
    assert button.inner_text() == "Theme: Dark"
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    button.filter(has_text="Dark").wait_for()
    assert page.evaluate(ground) == dark


def test_the_skip_link_comes_first(visit: Visit) -> None:
    page = visit()
    page.locator("#request:focus").wait_for()
    page.keyboard.press("Escape")
    page.evaluate("() => document.activeElement.blur()")
    page.locator("#skip").focus()
    page.keyboard.press("Enter")
    page.locator("main:focus").wait_for()
    assert page.locator("[role=status], [aria-live=polite]").count() == 1


def test_where_there_is_no_queue_one_sentence_says_so(visit: Visit, picture: Picture) -> None:
    page = visit()
    page.get_by_role("link", name="Operations").click()
    page.get_by_text("This database has no queue.").wait_for()
    assert page.locator("#queue").is_hidden()
    picture(page, "22-operations")


def test_a_long_thread_shows_its_latest_messages_first(visit: Visit, address: str) -> None:
    page = visit()
    begin(page, "Speak", "long")
    status(page, "Completed")
    page.reload()
    status(page, "Completed")
    page.get_by_text("Conversation").click()
    talk = page.locator("#talk > li")
    assert talk.count() == 100
    earlier = page.get_by_role("button", name="Show earlier")
    count = int(re.sub(r"\D", "", earlier.inner_text()))
    earlier.click()
    page.locator("#older > li").nth(199).wait_for()
    assert page.locator("#older > li").count() == 200
    assert int(re.sub(r"\D", "", earlier.inner_text())) == count - 200
    assert page.evaluate("() => document.querySelectorAll('*').length") < 8000


def test_the_first_view_asks_for_little(visit: Visit, address: str) -> None:
    page = visit()
    page.locator("#teams li").first.wait_for()
    asked = page.evaluate("() => performance.getEntriesByType('resource').map((one) => one.name)")
    files = [name for name in asked if "/api/" not in name]
    assert len(asked) + 1 <= 25, asked
    assert {Path(name).name for name in files} >= {"page.js", "page.css", "theme.js"}
    page.reload()
    page.locator("#teams li").first.wait_for()
    sizes = page.evaluate(
        "() => performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('.js'))"
        ".map(({ responseStatus }) => responseStatus)"
    )
    assert set(sizes) <= {200, 304}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_no_serious_violation(
    width: int, scheme: str, visit: Visit, packages: Path, picture: Picture
) -> None:
    page = visit(viewport={"width": width, "height": 900}, color_scheme=scheme)
    source = (packages / "axe-core" / "axe.min.js").read_text()

    def check(screen: str) -> None:
        picture(page, f"30-{screen}-{width}-{scheme}", full_page=True)
        page.evaluate(source)
        assert (screen, page.evaluate(AXE)) == (screen, [])

    page.locator("#request:focus").wait_for()
    check("home")
    begin(page, "Plan a party")
    page.locator("form.question").wait_for()
    check("question")
    page.locator("form.question").get_by_label("Your answer").fill("Denver, 40 people, May 5th")
    page.get_by_role("button", name="Send answer").click()
    status(page, "Completed")
    page.locator("#timeline .lane").first.wait_for()
    page.evaluate("() => document.querySelectorAll('main details').forEach((d) => (d.open = true))")
    check("finished")
    go_to(page, "venue reported")
    page.locator("#fork").wait_for()
    page.get_by_role("button", name="Compare with latest").click()
    page.locator("#compare").wait_for()
    check("history")
    for graph in ("bank", "flaky"):
        page.get_by_role("link", name="New run").click()
        begin(page, "Pay", graph)
        page.locator(".approval, #failures button").first.wait_for()
        if graph == "bank":
            page.get_by_role("button", name="Edit").first.click()
        check(graph)
    page.get_by_role("link", name="Home").click()
    page.locator("#recent-rows tr").first.wait_for()
    check("home-full")
    page.get_by_role("link", name="Operations").click()
    page.get_by_text("This database has no queue.").wait_for()
    check("operations")
    page.get_by_role("button", name="Keyboard shortcuts").click()
    check("keys")
