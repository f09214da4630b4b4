"""The runs of a database, in pages, by status and by words."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from asterism import aresume
from asterism.apps.stored_threads import config_of, read_title, write_title
from asterism.apps.ui.run_list import RunList
from asterism.errors import ConfigurationError
from asterism.storage.open import open_checkpointer
from tests.asterism.apps.ui.teams import bank, failing, markdown, teller, trips

Open = Callable[[], AbstractContextManager[Any]]
TEAMS = {
    "completed": markdown,
    "waiting": trips,
    "failures": failing,
    "bank": bank,
    "teller": teller,
}


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def saver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "memory":
        yield InMemorySaver()
        return
    url = f"sqlite:///{tmp_path / 'threads.db'}"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres")
    with open_checkpointer(url) as opened:
        yield opened


async def run(saver: Any, thread: str, request: str, team: str = "completed") -> None:
    graph = TEAMS[team](None).build(checkpointer=saver)
    await graph.ainvoke({"messages": [("user", request)]}, config_of(thread, team, None))


def names(page: Any) -> list[str]:
    return [row["thread"] for row in page["runs"]]


async def test_runs_are_listed_in_pages_the_latest_first(saver: Any) -> None:
    for number in range(5):
        await run(saver, f"t{number}", f"Request {number}")
    runs = RunList(saver, lambda thread: thread == "t1")
    first = await runs.page(limit=3)
    assert (names(first), first["total"]) == (["t4", "t3", "t2"], 5)
    second = await runs.page(limit=3, before=first["before"])
    assert (names(second), second["before"]) == (["t1", "t0"], None)
    assert [row["driven"] for row in second["runs"]] == [True, False]
    assert [row["status"] for row in second["runs"]] == ["running", "completed"]
    await run(saver, "t0", "Request 0 again")
    assert names(await runs.page(limit=1)) == ["t0"]


async def test_words_and_statuses_are_looked_for_in_the_whole_database(
    saver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(saver, "a", "Paint the\n\nFence", "failures")
    await run(saver, "b", "Go to Rome", "waiting")
    for number in range(3):
        await run(saver, f"t{number}", "Mow the lawn")
    runs = RunList(saver, lambda thread: False)
    assert names(await runs.page(limit=9, words="the fence")) == ["a"]
    assert names(await runs.page(limit=9, words="THE SHEET")) == ["t2", "t1", "t0"]  # the answer
    assert names(await runs.page(limit=9, words="waiting")) == ["b"]  # the name of its team
    assert names(await runs.page(limit=9, status="waiting")) == ["b"]
    assert names(await runs.page(limit=9, status="completed")) == ["t2", "t1", "t0", "a"]
    assert names(await runs.page(limit=9, words="nothing")) == []
    (waits,) = (await runs.page(limit=1, status="waiting"))["runs"]
    assert waits["asks"] == "Which trip?"
    (row,) = (await runs.page(limit=1, words="fence"))["runs"]
    assert (row["visits"], row["failures"], row["cost_usd"]) == (2, 1, "0")
    assert "text" not in row

    monkeypatch.setattr("asterism.apps.ui.run_list.READ_AT_ONCE", 2)
    fresh = RunList(saver, lambda thread: False)
    page = await fresh.page(limit=9, words="fence")
    found, calls = names(page), 1
    while page["before"]:
        page = await fresh.page(limit=9, words="fence", before=page["before"])
        found, calls = found + names(page), calls + 1
    assert (found, calls) == (["a"], 3)


@pytest.mark.parametrize("team", ["bank", "teller"])
async def test_an_approval_names_its_tools(team: str, saver: Any) -> None:
    await run(saver, "a", "Pay", team)
    (row,) = (await RunList(saver, lambda thread: False).page(limit=9))["runs"]
    assert (row["status"], row["asks"]) == ("waiting", "requests approval: pay")


async def test_only_what_has_changed_is_read_again(
    saver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(saver, "over", "Mow the lawn")
    await run(saver, "open", "Go to Rome", "waiting")
    runs, read = RunList(saver, lambda thread: False), []
    whole = RunList._read

    def count(self: RunList, thread: str) -> Any:
        read.append(thread)
        return whole(self, thread)

    monkeypatch.setattr(RunList, "_read", count)
    for _ in range(3):
        await runs.page(limit=9)
    assert read == ["open", "over"]
    graph = trips(None).build(checkpointer=saver)
    await aresume(graph, "open", {"city": "Rome", "nights": 1})
    (first, _) = (await runs.page(limit=9))["runs"]
    assert (first["status"], read) == ("completed", ["open", "over", "open"])


async def test_a_question_is_seen_without_a_checkpoint_of_its_own(saver: Any) -> None:
    graph = trips(None).build(checkpointer=saver)
    config = config_of("t", "waiting", None)
    runs, seen = RunList(saver, lambda thread: False), list[str]()
    async for _ in graph.astream({"messages": [("user", "Go")]}, config, stream_mode="updates"):
        seen += [row["status"] for row in (await runs.page(limit=9))["runs"]]
    (row,) = (await runs.page(limit=9))["runs"]
    assert seen[0] == "running" and row["status"] == "waiting"


async def test_a_title_is_shown_searched_and_deleted_with_its_thread(saver: Any) -> None:
    await run(saver, "a", "Mow the lawn")
    await run(saver, "b", "Paint the fence")
    runs = RunList(saver, lambda thread: False)
    assert [row["title"] for row in (await runs.page(limit=9))["runs"]] == ["", ""]
    for title in ("The garden", "The Meadow"):
        await write_title(saver, "a", title)
    page = await runs.page(limit=9)
    assert [(row["thread"], row["title"]) for row in page["runs"]] == [
        ("b", ""),
        ("a", "The Meadow"),
    ]
    assert (page["total"], names(await runs.page(limit=9, words="MEADOW"))) == (2, ["a"])
    assert names(await runs.page(limit=9, words="lawn")) == ["a"]
    await run(saver, "a", "Mow it again")
    assert (await runs.page(limit=1))["runs"][0]["title"] == "The Meadow"
    await write_title(saver, "a", "")
    assert (await runs.page(limit=1))["runs"][0]["title"] == ""
    await write_title(saver, "a", "Again")
    await saver.adelete_thread("a")
    assert read_title(saver, "a") == "" and names(await runs.page(limit=9)) == ["b"]
    with pytest.raises(ConfigurationError, match="no thread 'a'"):
        await write_title(saver, "a", "Nobody")


async def test_a_title_is_encrypted_as_the_thread_is(tmp_path: Path) -> None:
    file = tmp_path / "threads.db"
    key = b"0123456789abcdef0123456789abcdef"
    with open_checkpointer(f"sqlite:///{file}", key=key) as saver:
        await run(saver, "a", "Mow the lawn")
        await write_title(saver, "a", "The hidden garden")
        assert read_title(saver, "a") == "The hidden garden"
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("threads.db*") if path.is_file())
    assert b"hidden garden" not in stored
