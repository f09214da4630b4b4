"""The page, driven in a real browser: `make ui-test`."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.asterism.apps.ui.teams import CODE, GATE, HERE, HOSTILE, MARKDOWN

pytestmark = pytest.mark.browser

Visit = Callable[..., Any]
Picture = Callable[..., None]
PARTY = "Plan a corporate holiday party for 50 people in Seattle on December 15th"


def begin(page: Any, request: str, graph: str = "event_planning") -> None:
    name = graph if graph == "event_planning" else f"{HERE}:{graph}"
    page.get_by_role("combobox", name="Team").select_option(name)
    page.get_by_label("Request", exact=True).fill(request)
    page.get_by_role("button", name="Start run").click()


def status(page: Any, words: str) -> None:
    page.locator("#status", has_text=words).wait_for()


def visits(page: Any) -> list[str]:
    """Who reported, in order."""
    found: list[str] = page.locator("#visits > li strong").all_inner_texts()
    return found


def go_to(page: Any, label: str) -> None:
    """Open an earlier step."""
    page.locator("#steps button", has_text=label).first.click()
    page.get_by_text("Viewing an earlier step").wait_for()


def test_an_event_is_planned_and_a_question_answered(visit: Visit, picture: Picture) -> None:
    page = visit()
    page.locator("#request:focus").wait_for()
    picture(page, "1-new")
    begin(page, "Plan a party")
    form = page.get_by_role("region", name="Questions to you")
    form.get_by_label("Your answer").wait_for()
    status(page, "Needs you")
    assert "The supervisor asks you" in form.inner_text()
    page.get_by_role("status").filter(has_text="asks you: To go on I need the city").wait_for()
    picture(page, "2-question")
    form.get_by_role("button", name="Send answer").click()  # the browser wants an answer
    form.get_by_label("Your answer").fill("   ")
    form.get_by_role("button", name="Send answer").click()
    form.get_by_role("alert").filter(has_text="is empty").wait_for()
    form.get_by_label("Your answer").fill("Denver, 40 people, May 5th")
    form.get_by_role("button", name="Send answer").click()
    status(page, "Completed")
    assert form.locator("form").count() == 0
    answer = page.get_by_role("region", name="Answer", exact=True)
    answer.get_by_role("heading", name="Logistics").wait_for()
    assert answer.get_by_role("row", name="Total").count() >= 1
    star = page.get_by_role("group", name="Supervisor with venue ok, visited 2 times")
    assert star.locator("line.used").count() == 4
    assert page.locator("#meters").inner_text().split()[:2] == ["Decisions", "7"]
    with page.expect_download() as download:
        answer.get_by_role("link", name=".ics").click()
    assert download.value.suggested_filename.endswith(".ics")
    page.get_by_role("heading", name="Plan a party", level=1).wait_for()
    picture(page, "3-completed", full_page=True)


def test_visits_and_memory_are_looked_into(visit: Visit, picture: Picture) -> None:
    page = visit()
    begin(page, PARTY)
    status(page, "Completed")
    row = page.locator("#visits > li").first
    row.locator(".tool").wait_for(state="attached")
    assert not row.locator(".tool").is_visible()  # collapsed
    assert re.search(r"venue.+tokens · \$", row.inner_text(), re.DOTALL)
    row.locator("summary").first.click()
    assert "search_venues(" in row.locator(".tool summary").inner_text()
    row.locator(".tool summary").click()
    arguments, result = row.locator(".tool pre").all_inner_texts()
    assert "Seattle" in arguments and result
    venue = page.locator("#team details").first
    venue.locator("summary").click()
    venue.get_by_role("button", name="Memory").click()
    venue.locator(".memory code", has_text="search_venues(").wait_for()
    assert venue.locator(".memory li.human").count() == 1
    picture(page, "4-visits", full_page=True)


@pytest.mark.parametrize("size", [(1440, 900), (390, 844)], ids=["1440", "390"])
def test_the_answer_comes_first(size: tuple[int, int], visit: Visit, picture: Picture) -> None:
    page = visit(viewport={"width": size[0], "height": size[1]})
    begin(page, PARTY)
    status(page, "Completed")
    answer = page.get_by_role("region", name="Answer", exact=True)
    assert answer.bounding_box()["y"] < size[1] / 2
    first = page.locator(".columns .card:visible").first
    assert first.get_attribute("id") == "answer"
    page.get_by_role("status").filter(has_text="Answer ready").wait_for()


def test_a_failed_participant_reads_as_failed(visit: Visit, picture: Picture) -> None:
    page = visit()
    begin(page, "Count", "failing")
    status(page, "Completed, 1 failure")
    assert "fails did not report" in page.locator("#answer").inner_text()
    row = page.locator("#visits .row.failed")
    assert "the warehouse cannot be reached" in row.inner_text()
    assert "failed" in row.inner_text()
    assert page.get_by_role("button", name="fails: failed").count() == 1
    picture(page, "11-failed", full_page=True)


def test_a_reload_in_the_middle_loses_nothing(visit: Visit, picture: Picture) -> None:
    page = visit()
    begin(page, "Work", "gated")
    page.locator(".node.working", has_text="slow").wait_for()
    GATE.open.release()
    page.locator("#visits > li", has_text="slow 1").wait_for()
    page.locator(".node.working", has_text="slow").wait_for()
    picture(page, "5-running")
    page.reload()
    page.locator(".node.working", has_text="slow").wait_for()
    page.locator("#visits > li", has_text="slow 1").wait_for()
    page.goto("about:blank")  # nobody watches
    GATE.open.release()
    page.go_back()
    status(page, "Completed")
    assert visits(page) == ["slow", "slow", "fast"]
    assert GATE.visits == ["slow", "slow"]


def test_two_windows_see_the_same_run_and_one_of_them_stops_it(visit: Visit) -> None:
    page = visit()
    begin(page, "Work", "gated")
    page.get_by_role("button", name="Stop").wait_for()
    other = visit()
    other.locator("#threads a").click()
    other.locator(".node.working", has_text="slow").wait_for()
    other.get_by_role("button", name="Stop").click()
    other.get_by_role("status").filter(has_text="stops after this step").wait_for()
    GATE.open.release()
    status(page, "Stopped")
    GATE.open.release()
    page.get_by_role("button", name="Resume").click()
    status(other, "Completed")
    status(page, "Completed")
    assert visits(other) == visits(page) == ["slow", "slow", "fast"]


def test_an_earlier_step_is_shown_and_its_decision_changed(visit: Visit, picture: Picture) -> None:
    page = visit()
    begin(page, PARTY)
    status(page, "Completed")
    page.locator("#steps [aria-current]", has_text="Completed").wait_for()
    assert page.locator("#fork").is_hidden()
    count = page.locator("#steps li").count()
    go_to(page, "venue reported")
    status(page, "Earlier step")
    form = page.locator("#fork")
    form.wait_for()
    assert visits(page) == ["venue"] and page.locator("#answer").is_hidden()
    following = form.get_by_label("Next participant")
    assert following.input_value() == "to catering"  # what came next, not what is done already
    send = form.get_by_role("button", name="Continue on a new branch")
    assert send.is_disabled()
    following.select_option("logistics")
    form.get_by_label("Instruction").fill("Only the weather")
    picture(page, "6-past", full_page=True)
    send.click()
    status(page, "Completed")
    page.locator(f"#steps li:nth-child({count + 1})").wait_for()
    page.locator("#steps [aria-current]", has_text="Completed").wait_for()
    assert visits(page)[:2] == ["venue", "logistics"]
    assert visits(page).count("venue") == 1
    go_to(page, "other branch")
    page.get_by_role("button", name="Return to latest").click()
    status(page, "Completed")
    assert page.locator("#past").is_hidden()


def test_several_calls_are_approved_edited_and_rejected(visit: Visit, picture: Picture) -> None:
    page = visit()
    begin(page, "Pay", "bank")
    box = page.get_by_role("region", name="Questions to you")
    box.get_by_role("heading", name="bank requests approval: pay").wait_for()
    assert HOSTILE in box.inner_text()
    first = box.get_by_role("form", name="Approve this call: pay (1 of 2)")
    first.get_by_role("button", name="Edit").click()
    amount = first.get_by_label("Amount")
    assert amount.input_value() == "5" and first.locator("textarea.code").count() == 0
    amount.fill("x" if amount.get_attribute("type") == "text" else "")
    first.get_by_role("button", name="Approve with changes").click()
    assert amount.evaluate("field => field.validity.valueMissing")
    amount.fill("1")
    first.get_by_label("To", exact=True).fill("Bob")
    first.get_by_role("button", name="Approve with changes").click()
    first.get_by_text("Approved with changes.").wait_for()
    assert page.locator("#status").inner_text().endswith("Needs you")  # one is open
    picture(page, "7-approval", full_page=True)
    second = box.get_by_role("form", name="Approve this call: pay (2 of 2)")
    second.get_by_label("Message about pay").fill("Ann is paid already")
    second.get_by_role("button", name="Reject").click()
    status(page, "Completed")
    answer = page.locator("#answer").inner_text()
    assert "paid 1 to Bob" in answer and "Ann is paid already" in answer


def test_one_click_approves_a_call(visit: Visit, picture: Picture) -> None:
    page = visit()
    begin(page, "Pay", "teller")
    page.get_by_role("heading", name="teller requests approval: pay").wait_for()
    assert page.get_by_text("Transfers money from the account.").is_visible()
    approve = page.get_by_role("button", name="Approve")
    page.locator(".approval:focus").wait_for()
    page.keyboard.press("Enter")  # a stray key approves nothing
    picture(page, "7-approve")
    approve.click()
    status(page, "Completed")
    page.locator("#answer", has_text="paid 5 to Ann (None)").wait_for()
    page.locator("#title:focus").wait_for()  # the focus is not lost with the question


def test_the_keyboard_sends_an_edited_call_and_never_an_unread_one(visit: Visit) -> None:
    page = visit()
    begin(page, "Pay", "teller")
    message = page.get_by_label("Message about pay")
    message.fill("Too much")
    page.keyboard.press("Control+Enter")  # neither an approval nor a rejection was chosen
    page.get_by_role("button", name="Edit").click()
    page.get_by_label("Amount").fill("3")
    page.get_by_label("Memo").fill("lunch")
    page.keyboard.press("Control+Enter")
    status(page, "Completed")
    page.locator("#answer", has_text="paid 3 to Ann (lunch)").wait_for()


def test_runs_are_searched_filtered_and_deleted(visit: Visit, picture: Picture) -> None:
    page = visit()
    for request, graph in (("Paint the fence", "hostile"), ("Mow the lawn", "trips")):
        page.get_by_role("link", name="New run").click()
        begin(page, request, graph)
        page.locator("#threads a[aria-current]", has_text=request).wait_for()
    status(page, "Needs you")
    shown = page.locator("#threads li")
    shown.filter(has_text="Completed").wait_for()
    page.get_by_label("Search runs").fill("FENCE")
    shown.filter(has_text="Mow the lawn").wait_for(state="detached")
    assert shown.count() == 1 and "Paint the fence" in shown.inner_text()
    page.get_by_label("Search runs").fill("nothing like it")
    page.get_by_text("No run matches.").wait_for()
    page.get_by_label("Search runs").fill("")
    page.get_by_label("Status").select_option("waiting")
    shown.filter(has_text="Mow the lawn").wait_for()
    assert shown.count() == 1
    page.get_by_label("Status").select_option("")
    shown.filter(has_text="Paint the fence").wait_for()
    assert page.locator("#counts").inner_text() == "0 running · 1 finished · 0 failed"
    assert "fence" not in page.url
    address = page.url
    page.once("dialog", lambda asked: asked.dismiss())
    page.get_by_role("button", name="Delete").click()
    assert shown.count() == 2
    page.once("dialog", lambda asked: asked.accept())
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("heading", name="What should the team work on?").wait_for()
    shown.filter(has_text="Mow the lawn").wait_for(state="detached")
    page.goto(address)
    page.get_by_role("alert").filter(has_text="There is no thread").wait_for()
    assert page.locator("#threads [aria-current]").count() == 0
    page.get_by_role("link", name="Show all runs").click()
    page.get_by_role("heading", name="What should the team work on?").wait_for()


def test_the_state_and_the_answer_are_copied(visit: Visit) -> None:
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    begin(page, "Write", "markdown")
    status(page, "Completed")
    page.locator("#answer").get_by_role("button", name="Copy").last.click()
    page.locator("#answer").get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("() => navigator.clipboard.readText()") == MARKDOWN
    page.locator("#state-card summary").click()
    page.locator("#state", has_text='"status": "completed"').wait_for()
    assert page.locator("#state").inner_text().startswith("{")


def test_a_form_is_made_of_a_schema(visit: Visit, picture: Picture) -> None:
    page = visit()
    begin(page, "Travel", "trips")
    form = page.locator("form.question")
    form.get_by_label("City").fill("Rome")
    form.get_by_label("Nights").fill("0")
    picture(page, "8-form", full_page=True)
    form.get_by_role("button", name="Send answer").click()
    assert form.get_by_label("Nights").evaluate("field => field.validity.rangeUnderflow")
    form.get_by_label("Nights").fill("2")
    form.get_by_label("Rail").check()
    form.get_by_role("button", name="Send answer").click()
    status(page, "Completed")
    page.locator("#answer", has_text="booked city='Rome' nights=2 rail=True seat=None").wait_for()


def test_hostile_text_is_shown_as_text(visit: Visit) -> None:
    page = visit()
    begin(page, HOSTILE, "hostile")
    status(page, "Completed")
    assert page.get_by_role("heading", level=1, name=HOSTILE).count() == 1
    page.locator("#visits summary").click()
    page.get_by_text("Conversation").click()
    assert page.get_by_text("<img src=x onerror=").count() >= 3
    assert page.locator("script:not([src]), #run img").count() == 0
    assert page.evaluate("() => window.hacked") is None


def test_markdown_is_shown_as_it_was_meant(visit: Visit, picture: Picture) -> None:
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    begin(page, "Write", "markdown")
    status(page, "Completed")
    shown = page.locator("#answer .prose")
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
    page.keyboard.press("Control+Enter")
    page.locator("form.question textarea:focus").wait_for()
    page.keyboard.type("Denver, 40 people, May 5th")
    page.keyboard.press("Meta+Enter")
    status(page, "Completed")
    page.locator("#steps [aria-current]", has_text="Completed").wait_for()
    page.locator("#title").focus()
    seen: list[str] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("() => document.activeElement.closest('[id]')?.id ?? 'BODY'"))
        drawn = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
        assert drawn == "solid" or page.evaluate("() => document.activeElement === document.body")
    assert {"steps", "visits", "next-request", "answer", "team", "star"} <= set(seen)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 390, 768, 1100, 1440])
def test_it_fits_every_width_in_light_and_dark(
    width: int, scheme: str, visit: Visit, picture: Picture
) -> None:
    page = visit(viewport={"width": width, "height": 800}, color_scheme=scheme)
    begin(page, "Plan a party")
    page.locator("form.question").wait_for()
    picture(page, f"9-{width}-{scheme}-question", full_page=True)
    page.locator("form.question").get_by_label("Your answer").fill("Denver, 40 people, May 5th")
    page.get_by_role("button", name="Send answer").click()
    status(page, "Completed")
    page.locator("#steps [aria-current]", has_text="Completed").wait_for()
    picture(page, f"9-{width}-{scheme}-fold")
    for summary in page.locator("#team summary, #visits > li > details > summary").all():
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


def test_a_run_is_renamed_and_listed_by_day(visit: Visit) -> None:
    page = visit()
    begin(page, PARTY)
    status(page, "Completed")
    page.get_by_role("button", name="Rename").click()
    page.get_by_label("Title", exact=True).fill("The holiday party")
    page.get_by_role("button", name="Save title").click()
    page.get_by_role("heading", name="The holiday party", level=1).wait_for()
    page.reload()
    page.get_by_role("heading", name="The holiday party", level=1).wait_for()
    runs = page.locator("#threads")
    runs.get_by_role("heading", name="Today").wait_for()
    runs.get_by_role("link", name=re.compile("The holiday party")).wait_for()
    assert "holiday" not in page.url
