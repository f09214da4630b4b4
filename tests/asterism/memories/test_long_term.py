"""Long-term memory: found again, by nobody else, until it is forgotten."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from asterism import LongTermMemory, open_store
from asterism.errors import ConfigurationError, InvalidMemoryError
from asterism.memories.long_term import forget_everywhere, period_of
from asterism.testing import WordEmbeddings
from tests.processes import run
from tests.recall_set import recall_set

NOW = datetime(2026, 3, 18, 15, tzinfo=UTC)  # a Wednesday


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(params=["words", "meaning"])
def store(request: pytest.FixtureRequest, url: str) -> Iterator[BaseStore]:
    embeddings = WordEmbeddings() if request.param == "meaning" else None
    with open_store(url, embeddings=embeddings) as opened:
        yield opened


def test_what_was_remembered_is_recalled(store: BaseStore) -> None:
    notes = LongTermMemory(store=store, team="trips", clock=Clock())
    key = notes.remember("  Ann wants a window seat ", user="ann")
    (found,) = notes.recall("Which seat does she want?", user="ann")
    assert (found.key, found.text, found.at, found.participant) == (
        key,
        "Ann wants a window seat",
        NOW,
        None,
    )
    assert found.found_by == store.ranking  # type: ignore[attr-defined]  # of SearchStore
    assert found.score > 0


def test_the_same_text_is_remembered_once_and_a_key_names_what_is_replaced(
    store: BaseStore,
) -> None:
    notes = LongTermMemory(store=store, team="t")
    assert notes.remember("A seat", user="u") == notes.remember("A seat ", user="u")
    notes.remember("The seat is 4A", user="u", key="seat")
    notes.remember("The seat is 5B", user="u", key="seat")
    assert sorted(one.text for one in notes.recall("seat", user="u")) == [
        "A seat",
        "The seat is 5B",
    ]


def test_nobody_reads_what_is_anothers(store: BaseStore) -> None:
    notes = LongTermMemory(store=store, team="t")
    users = ["ann", "Ann", "ann.b", "ann/b", "ann%2Eb", "*", "a nn", "ünn", "ann|x", "shared"]
    for user in users:
        notes.remember(f"seat of <{user}>", user=user)
        notes.remember(f"own seat of <{user}>", user=user, participant="venue")
    for user in users:
        assert [one.text for one in notes.recall("seat", user=user, limit=50)] == [
            f"seat of <{user}>"
        ]
    own = notes.recall("seat", user="ann", participant="venue", limit=50)
    assert {(one.text, one.participant) for one in own} == {
        ("seat of <ann>", None),
        ("own seat of <ann>", "venue"),
    }
    assert notes.recall("seat", user="ann", participant="food", limit=50)[0].participant is None
    assert LongTermMemory(store=store, team="t2").recall("seat", user="ann") == []


@pytest.mark.parametrize(
    "user",
    ["", "  ", "a\nb", "x" * 256, 7, True, ["ann"], "\ud800"],
    ids=lambda user: repr(user)[:9],
)
def test_a_user_has_a_name(store: BaseStore, user: str) -> None:
    notes = LongTermMemory(store=store, team="t")
    for use in (lambda: notes.remember("x", user=user), lambda: notes.recall("x", user=user)):
        with pytest.raises(InvalidMemoryError, match="The user of the memory is"):
            use()


def test_without_a_user_nothing_is_done(store: BaseStore) -> None:
    notes = LongTermMemory(store=store, team="t")
    with pytest.raises(InvalidMemoryError, match=r'config=\{"configurable": \{"user_id"'):
        notes.recall("x")
    for_all = LongTermMemory(store=store, team="t", per_user=False)
    for_all.remember("The seat is 4A")
    assert len(for_all.recall("seat")) == 1
    with pytest.raises(InvalidMemoryError, match="one for all"):
        for_all.recall("seat", user="ann")


@pytest.mark.parametrize("text", ["", " \n", "x" * 4001], ids=["empty", "blank", "too long"])
def test_what_cannot_be_remembered_is_refused(store: BaseStore, text: str) -> None:
    with pytest.raises(InvalidMemoryError, match="1 to 4000 characters"):
        LongTermMemory(store=store, team="t").remember(text, user="u")


def test_forgetting_by_key_by_user_and_everything(store: BaseStore) -> None:
    notes = LongTermMemory(store=store, team="t")
    other = LongTermMemory(store=store, team="other")
    other.remember("seat", user="ann")
    key = notes.remember("a seat", user="ann")
    notes.remember("another seat", user="ann", participant="venue")
    notes.remember("a seat", user="bob")
    assert [notes.forget(key, user="ann"), notes.forget(key, user="ann")] == [True, False]
    assert len(notes.recall("seat", user="bob")) == 1
    for number in range(600):
        notes.remember(f"seat {number}", user="ann")
    assert notes.forget_user("ann") == 601
    assert notes.recall("seat", user="ann", participant="venue") == []
    assert notes.forget_all() == 1
    assert len(other.recall("seat", user="ann")) == 1
    assert store.search(("memory", "t")) == []


async def test_async_methods_do_the_same(store: BaseStore) -> None:
    notes = LongTermMemory(store=store, team="t")
    key = await notes.aremember("a seat", user="ann")
    assert [one.key for one in await notes.arecall("seat", user="ann")] == [key]
    assert await notes.aforget(key, user="ann")
    await notes.aremember("a seat", user="ann")
    assert [await notes.aforget_user("ann"), await notes.aforget_all()] == [1, 0]


def test_a_store_that_cannot_rank_is_refused() -> None:
    notes = LongTermMemory(store=InMemoryStore(), team="t")
    notes.remember("a seat", user="u")
    with pytest.raises(ConfigurationError, match=r"does not rank.*open_store\(url\)"):
        notes.recall("seat", user="u")
    ranking = InMemoryStore(index={"dims": 512, "embed": WordEmbeddings(), "fields": ["text"]})
    notes = LongTermMemory(store=ranking, team="t")
    notes.remember("a seat", user="u")
    assert notes.recall("seat", user="u")[0].found_by == "semantic"


def test_without_a_store_it_is_said_where_to_give_one() -> None:
    with pytest.raises(ConfigurationError, match=r"\.build\(store=store\)"):
        LongTermMemory(team="t").recall("x", user="u")


def test_what_was_decided_last_week_comes_first(store: BaseStore) -> None:
    clock = Clock()
    notes = LongTermMemory(store=store, team="t", clock=clock)
    for days, text in [
        (40, "We decided to look for a hall"),
        (6, "The venue is Harbour Hall"),
        (1, "Boris called about the caterer"),
    ]:
        clock.now = NOW - timedelta(days=days)
        notes.remember(text, user="u")
    clock.now = NOW
    found = notes.recall("What did we decide last week?", user="u")
    assert {one.text for one in found[:2]} == {
        "The venue is Harbour Hall",
        "Boris called about the caterer",
    }
    assert found[2].text == "We decided to look for a hall"


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("What did we decide today?", "2026-03-18", "2026-03-18"),
        ("And Yesterday", "2026-03-17", "2026-03-17"),
        ("last week", "2026-03-09", "2026-03-18"),
        ("this week", "2026-03-16", "2026-03-18"),
        ("in the past month", "2026-02-01", "2026-03-18"),
        ("last year", "2025-01-01", "2026-03-18"),
        ("three days ago", "2026-03-15", "2026-03-15"),
        ("a week ago", "2026-03-11", "2026-03-17"),
    ],
    ids=lambda value: value,
)
def test_times_are_read(text: str, first: str, last: str) -> None:
    period = period_of(text, NOW)
    assert period is not None
    start, end = period
    assert [f"{start:%F}", f"{end - timedelta(microseconds=1):%F}"] == [first, last]


def test_a_text_without_a_time_names_none() -> None:
    assert period_of("the week of the fair, in days", NOW) is None


@pytest.mark.parametrize("url", ["memory", "postgres"], indirect=True)
@pytest.mark.parametrize("embeddings", [None, WordEmbeddings()], ids=["words", "meaning"])
def test_fifty_questions_find_their_facts_among_a_thousand(
    embeddings: WordEmbeddings | None, url: str
) -> None:
    facts, questions = recall_set()
    assert [len(facts), len(set(facts.values())), len(questions)] == [1000, 1000, 50]
    with open_store(url, embeddings=embeddings) as store:
        notes = LongTermMemory(store=store, team="t", per_user=False, limit=5)
        for key, fact in facts.items():
            notes.remember(fact, key=key)
        hits = [key in [one.key for one in notes.recall(question)] for question, key in questions]
    assert sum(hits) / len(hits) >= 0.9


def test_a_user_is_forgotten_by_all_teams(store: BaseStore) -> None:
    for team in ("trips", "parties"):
        for user in ("ann", "bob"):
            LongTermMemory(store=store, team=team).remember(f"{user} likes tea", user=user)
    assert forget_everywhere(store, "ann") == 2
    for team in ("trips", "parties"):
        notes = LongTermMemory(store=store, team=team)
        assert notes.recall("tea", user="ann") == []
        assert len(notes.recall("tea", user="bob")) == 1


SCRIPT = """
import sys
from asterism import LongTermMemory, open_store
with open_store(sys.argv[1]) as store:
    notes = LongTermMemory(store=store, team="t")
    if len(sys.argv) > 2:
        notes.remember(sys.argv[2], user="ann")
    print([one.text for one in notes.recall("Which hall?", user="ann")])
"""


def test_memory_outlives_the_process(lasting: str) -> None:
    def in_a_new_process(*words: str) -> str:
        return run(SCRIPT, lasting, *words, check=True).stdout.strip()

    in_a_new_process("Harbour Hall was chosen")
    assert in_a_new_process() == "['Harbour Hall was chosen']"


async def test_the_tools_work_for_the_user_of_the_run(store: BaseStore) -> None:
    notes = LongTermMemory(store=store, team="t")
    remember, recall = notes.tools()
    assert [*remember.args, *recall.args] == ["text", "question"]
    ann: RunnableConfig = {"configurable": {"user_id": "ann"}}
    assert remember.invoke({"text": "Ann likes </memory> tea"}, ann).startswith("Remembered")
    told = await recall.ainvoke({"question": "tea?"}, ann)
    assert told.startswith("<memory>\n- 20")
    assert told.count("</memory>") == 1
    bob: RunnableConfig = {"configurable": {"user_id": "bob"}}
    assert recall.invoke({"question": "tea?"}, bob) == "Nothing is remembered that fits."
    assert "1 to 4000 characters" in await remember.ainvoke({"text": " "}, bob)
    with pytest.raises(InvalidMemoryError, match="user"):
        recall.invoke({"question": "tea?"})
