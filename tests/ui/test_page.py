"""The page, driven in a real browser: `make ui-test`."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.asterism.apps.ui.teams import CODE, GATE, HERE, HOSTILE

pytestmark = pytest.mark.browser

Visit = Callable[..., Any]
Picture = Callable[..., None]
PARTY = "Plan a corporate holiday party for 50 people in Seattle on December 15th"


def begin(page: Any, request: str, graph: str = "event_planning") -> None:
    name = graph if graph == "event_planning" else f"{HERE}:{graph}"
    page.get_by_role("radio", name=re.compile(f"^{re.escape(name)}")).check()
    page.get_by_label("Request", exact=True).fill(request)
    page.get_by_role("button", name="Start").click()


def status(page: Any, words: str) -> None:
    page.locator("#status", has_text=words).wait_for()


def ids(page: Any) -> list[str]:
    """The messages of the conversation, in order."""
    found: list[str] = page.locator("#talk > li").all_inner_texts()
    return found


def scrub_to(page: Any, label: str) -> None:
    slider = page.locator("#scrub")
    slider.focus()
    for _ in range(50):
        if label in page.locator("#where").inner_text():
            return
        page.keyboard.press("ArrowLeft")
    raise AssertionError(f"no step {label!r}")


def test_an_event_is_planned_and_a_question_answered(visit: Visit, picture: Picture) -> None:
    page = visit()
    picture(page, "1-new")
    begin(page, "Plan a party")
    form = page.get_by_role("region", name="Questions to you")
    form.get_by_label("Your answer").wait_for()
    status(page, "waits for you")
    assert "The supervisor asks you" in form.inner_text()
    assert "asks you: To go on I need the city" in page.get_by_role("status").inner_text()
    picture(page, "2-question")
    form.get_by_role("button", name="Send the answer").click()  # the browser wants an answer
    form.get_by_label("Your answer").fill("   ")
    form.get_by_role("button", name="Send the answer").click()
    form.get_by_role("alert").filter(has_text="is empty").wait_for()
    form.get_by_label("Your answer").fill("Denver, 40 people, May 5th")
    form.get_by_role("button", name="Send the answer").click()
    status(page, "completed")
    assert form.locator("form").count() == 0
    talk = page.locator("#talk")
    talk.get_by_role("heading", name="Logistics").wait_for()
    assert talk.get_by_role("row", name="Total").count() >= 1
    star = page.get_by_role("img", name="Supervisor with venue ok, visited 2 times")
    assert star.locator("line.used").count() == 4
    assert page.locator("#meters").inner_text().split()[:2] == ["Decisions", "7"]
    with page.expect_download() as download:
        page.locator("#files").get_by_role("link").click()
    assert download.value.suggested_filename.endswith(".ics")
    page.get_by_role("heading", name="Plan a party", level=1).wait_for()
    picture(page, "3-completed", full_page=True)


def test_reports_and_memory_are_looked_into(visit: Visit, picture: Picture) -> None:
    page = visit()
    begin(page, PARTY)
    status(page, "completed")
    venue = page.locator("#team details").first
    venue.locator("summary").click()
    assert "Visit 1: ok" in venue.inner_text()
    venue.get_by_role("button", name="What venue remembers").click()
    venue.locator(".memory code", has_text="search_venues(").wait_for()
    assert venue.locator(".memory li.human").count() == 1
    picture(page, "4-memory", full_page=True)


def test_a_reload_in_the_middle_loses_nothing(visit: Visit, picture: Picture) -> None:
    page = visit()
    begin(page, "Work", "gated")
    page.locator(".node.working", has_text="slow").wait_for()
    GATE.open.release()
    page.locator("#talk > li.report", has_text="slow 1").wait_for()
    page.locator(".node.working", has_text="slow").wait_for()
    before = ids(page)
    picture(page, "5-running")
    page.reload()
    page.locator(".node.working", has_text="slow").wait_for()
    assert ids(page) == before
    page.goto("about:blank")  # nobody watches
    GATE.open.release()
    page.go_back()
    status(page, "completed")
    assert ids(page)[: len(before)] == before
    assert GATE.visits == ["slow", "slow"]


def test_two_windows_see_the_same_run_and_one_of_them_stops_it(visit: Visit) -> None:
    page = visit()
    begin(page, "Work", "gated")
    page.get_by_role("button", name="Stop after this step").wait_for()
    other = visit()
    other.locator("#threads a").click()
    other.locator(".node.working", has_text="slow").wait_for()
    other.get_by_role("button", name="Stop after this step").click()
    other.get_by_role("status").filter(has_text="stops after this step").wait_for()
    GATE.open.release()
    status(page, "stopped")
    GATE.open.release()
    page.get_by_role("button", name="Go on").click()
    status(other, "completed")
    assert ids(other) == ids(page)


def test_the_past_is_scrubbed_and_forked_with_an_edited_decision(
    visit: Visit, picture: Picture
) -> None:
    page = visit()
    begin(page, PARTY)
    status(page, "completed")
    page.locator("#where", has_text=": Completed").wait_for()
    before = page.locator("#scrub").get_attribute("max")
    scrub_to(page, "venue reported")
    page.get_by_text("You look at the past.").wait_for()
    page.locator("#status", has_text="past").wait_for()
    form = page.locator("#fork")
    form.get_by_label("Who works next").select_option("logistics")
    form.get_by_label("Instruction").fill("Only the weather")
    picture(page, "6-past", full_page=True)
    form.get_by_role("button", name="Go on from here").click()
    page.locator("#talk > li.report").nth(1).filter(has_text="logistics reports").wait_for()
    status(page, "completed")
    page.locator(f"#scrub:not([max='{before}'])").wait_for()
    page.locator("#where", has_text=": Completed").wait_for()
    reports = page.locator("#talk > li.report").all_inner_texts()
    assert [text.split()[0] for text in reports][:2] == ["venue", "logistics"]
    scrub_to(page, "on another branch")
    page.get_by_role("button", name="Back to now").click()
    status(page, "completed")


def test_tools_are_approved_edited_and_refused(visit: Visit, picture: Picture) -> None:
    page = visit()
    begin(page, "Pay", "bank")
    form = page.locator("form.question")
    form.wait_for()
    assert HOSTILE in form.inner_text()
    first = form.get_by_role("group", name="1. May pay be called?")
    first.get_by_label("Edit").check()
    args = first.get_by_label("Args")
    args.fill("{not json")
    form.get_by_role("group", name="2. May pay be called?").get_by_label("Approve").check()
    form.get_by_role("button", name="Send the answer").click()
    form.get_by_role("alert").filter(has_text="Args is not JSON").wait_for()
    args.fill('{"amount": 1, "to": "Bob"}')
    picture(page, "7-approval", full_page=True)
    form.get_by_role("button", name="Send the answer").click()
    status(page, "completed")
    assert "paid 7 to Ann" in page.locator("#talk").inner_text()


def test_a_form_is_made_of_a_schema(visit: Visit, picture: Picture) -> None:
    page = visit()
    begin(page, "Travel", "trips")
    form = page.locator("form.question")
    form.get_by_label("City").fill("Rome")
    form.get_by_label("Nights").fill("0")
    picture(page, "8-form", full_page=True)
    form.get_by_role("button", name="Send the answer").click()
    assert form.get_by_label("Nights").evaluate("field => field.validity.rangeUnderflow")
    form.get_by_label("Nights").fill("2")
    form.get_by_label("Rail").check()
    form.get_by_role("button", name="Send the answer").click()
    status(page, "completed")
    page.locator("#talk", has_text="booked city='Rome' nights=2 rail=True seat=None").wait_for()


def test_hostile_text_is_shown_as_text(visit: Visit) -> None:
    page = visit()
    begin(page, HOSTILE, "hostile")
    status(page, "completed")
    assert page.get_by_role("heading", level=1, name=HOSTILE).count() == 1
    page.locator("#team summary").click()
    assert page.get_by_text("<img src=x onerror=").count() >= 3
    assert page.locator("script:not([src]), #run img").count() == 0
    assert page.evaluate("() => window.hacked") is None


def test_markdown_is_shown_as_it_was_meant(visit: Visit, picture: Picture) -> None:
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    begin(page, "Write", "markdown")
    status(page, "completed")
    shown = page.locator(".prose", has=page.get_by_role("heading", name="Result")).last
    link = shown.get_by_role("link", name="the sheet")
    assert link.get_attribute("href") == "https://example.org/sheet"
    assert link.get_attribute("rel") == "noopener noreferrer"
    assert shown.locator("a, img, b, script").count() == 1
    assert shown.locator("em").inner_text() == "works"
    cost = shown.get_by_role("cell", name="$2")
    assert cost.evaluate("cell => getComputedStyle(cell).textAlign") == "right"
    assert shown.locator("td code").inner_text() == "a|b"
    assert shown.locator("ol > li").count() == 2
    assert shown.locator("ol > li > ul > li").inner_text() == "within"
    assert shown.locator("blockquote").inner_text() == "quoted"
    assert shown.locator("pre").evaluate("pre => pre.textContent") == CODE
    assert shown.locator("pre .comment").inner_text() == "# twice"
    assert "<b>raw</b> [image: picture] [bad](javascript:" in shown.inner_text()
    shown.get_by_role("button", name="Copy").click()
    shown.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("() => navigator.clipboard.readText()") == CODE
    picture(page, "10-markdown", full_page=True)


def test_everything_can_be_done_with_the_keyboard(visit: Visit) -> None:
    page = visit()
    page.locator("#request:focus").wait_for()
    page.keyboard.type("Plan a party")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator("form.question").wait_for()
    assert page.evaluate("() => document.activeElement.id") == "title"
    page.keyboard.press("Tab")
    page.keyboard.type("Denver, 40 people, May 5th")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    status(page, "completed")
    seen: list[str] = []
    for _ in range(30):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate("() => document.activeElement.id || document.activeElement.tagName")
        )
        drawn = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
        assert drawn == "solid" or seen[-1] == "BODY", seen
    assert {"scrub", "SUMMARY", "next-request"} <= set(seen)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1100, 1900])
def test_it_fits_every_width_in_light_and_dark(
    width: int, scheme: str, visit: Visit, picture: Picture
) -> None:
    page = visit(viewport={"width": width, "height": 800}, color_scheme=scheme)
    begin(page, "Plan a party")
    page.locator("form.question").wait_for()
    picture(page, f"9-{width}-{scheme}-question", full_page=True)
    page.locator("form.question").get_by_label("Your answer").fill("Denver, 40 people, May 5th")
    page.get_by_role("button", name="Send the answer").click()
    status(page, "completed")
    page.locator("#where", has_text=": Completed").wait_for()
    for summary in page.locator("#team summary").all():
        summary.click()
    picture(page, f"9-{width}-{scheme}", full_page=True)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    assert page.evaluate(OVERLAPS) == []
    assert page.evaluate(CONTRASTS) == []


OVERLAPS = """() => {
  const parts = [...document.querySelectorAll("#star .name, #star circle")];
  const boxes = parts.map((node) => [node, node.getBoundingClientRect()]);
  const over = (one, two) => one.left < two.right && two.left < one.right
    && one.top < two.bottom && two.top < one.bottom;
  return boxes.flatMap(([a, one], place) => boxes.slice(place + 1).filter(
    ([, two]) => over(one, two)).map(([b]) => `${a.textContent} and ${b.textContent}`));
}"""
"""The parts of the star that lie over each other."""

CONTRASTS = """() => {
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => numbers(color).slice(0, 3).map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, place) => sum + c * [0.2126, 0.7152, 0.0722][place], 0);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const color = getComputedStyle(node).backgroundColor;
      if ((numbers(color)[3] ?? 1) > 0.9) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const bad = new Set();
  for (const node of document.querySelectorAll("body *:not(svg *, script)")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!own || !node.checkVisibility() || node.disabled) continue;
    const [a, b] = [light(getComputedStyle(node).color), light(ground(node))].sort((x, y) => y - x);
    const what = `${node.tagName}.${node.className}: ${node.textContent.slice(0, 30)}`;
    if ((a + 0.05) / (b + 0.05) < 4.5) bad.add(what);
  }
  return [...bad];
}"""
"""The texts that are hard to read: below the contrast that WCAG AA asks for."""
