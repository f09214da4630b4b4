"""Stores: opened by URL, ranked searches, and what is deleted is gone."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langgraph.store.base import BaseStore, PutOp
from langgraph.store.postgres import PostgresStore
from langgraph.store.sqlite import SqliteStore

from asterism import aopen_store, open_checkpointer, open_store
from asterism.errors import StorageError
from asterism.storage.open import migrate
from asterism.storage.sqlite.store import SearchStore
from asterism.testing import WordEmbeddings
from tests.databases import Server
from tests.processes import Process

PLACE = ("m", "ann")


@pytest.fixture(params=["words", "meaning"])
def store(request: pytest.FixtureRequest, url: str) -> Iterator[BaseStore]:
    embeddings = WordEmbeddings() if request.param == "meaning" else None
    with open_store(url, embeddings=embeddings) as opened:
        yield opened


def found(
    store: BaseStore, query: str, place: tuple[str, ...] = ("m",), **options: Any
) -> list[str]:
    return [item.key for item in store.search(place, query=query, **options)]


def test_a_search_puts_first_what_fits_best(store: BaseStore) -> None:
    store.put(PLACE, "hall", {"text": "Harbour Hall was booked for the party"})
    store.put(PLACE, "tea", {"text": "She drinks herbal tea", "n": 2})
    store.put(("m", "bob"), "bike", {"text": "Bob rides a bicycle"})
    assert found(store, "which hall did we book?")[0] == "hall"
    assert found(store, "tea or coffee?", filter={"n": {"$gte": 2}}) == ["tea"]
    assert found(store, "a bicycle", place=PLACE)[:1] != ["bike"]
    first, *_ = store.search(("m",), query="bicycle of bob")
    assert first.key == "bike" and first.namespace == ("m", "bob") and (first.score or 0) > 0.1


def test_a_store_says_how_it_ranks() -> None:
    with open_store("memory:") as words, open_store("memory:", embeddings=WordEmbeddings()) as both:
        assert [words.ranking, both.ranking] == ["keyword", "semantic"]  # type: ignore[attr-defined]  # of SearchStore


def test_what_is_changed_is_found_as_it_is_now(store: BaseStore) -> None:
    store.put(PLACE, "where", {"text": "Zanzibar flights"})
    assert found(store, "zanzibar")[:1] == ["where"]
    store.put(PLACE, "where", {"text": "Quito trains"})
    assert [i.value["text"] for i in store.search(PLACE, query="quito")] == ["Quito trains"]
    if isinstance(store, SearchStore) and store.ranking == "keyword":
        assert found(store, "zanzibar") == []


def test_an_item_may_be_kept_out_of_searches(store: BaseStore) -> None:
    store.put(PLACE, "secret", {"text": "Harbour Hall"}, index=False)
    assert found(store, "harbour hall") == []
    assert store.get(PLACE, "secret") is not None


def test_pages_follow_each_other(store: BaseStore) -> None:
    for number in range(7):
        store.put(PLACE, str(number), {"text": f"hall {number}"})
    pages = [found(store, "hall", limit=3, offset=offset) for offset in (0, 3, 6)]
    assert sorted(key for page in pages for key in page) == [str(n) for n in range(7)]


@pytest.mark.parametrize(
    "query", ['"', "AND", "a* OR (", "NEAR(x", "text:x", "--", "é ü", "x" * 5000]
)
def test_a_query_is_words_and_no_syntax(store: BaseStore, query: str) -> None:
    store.put(PLACE, "x", {"text": "something"})
    assert isinstance(store.search(("m",), query=query), list)


async def test_async_calls_do_the_same(url: str) -> None:
    async with aopen_store(url) as store:
        await store.aput(PLACE, "hall", {"text": "Harbour Hall"})
        (item,) = await store.asearch(("m",), query="harbour")
        assert item.value == {"text": "Harbour Hall"}
        await store.adelete(PLACE, "hall")
        assert await store.asearch(("m",), query="harbour") == []


def test_what_is_deleted_is_in_no_table_and_in_no_byte(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with open_store(f"sqlite:///{path}", embeddings=WordEmbeddings()) as store:
        assert isinstance(store, SearchStore)
        for number in range(50):
            store.put(PLACE, str(number), {"text": f"zanzibar {number}"})
        found(store, "zanzibar")
        store.batch([PutOp(PLACE, str(number), None) for number in range(50)])
        assert store.conn.execute("SELECT count(*) FROM store_texts").fetchone() == (0,)
        store.scrub()
        store.put(PLACE, "kept", {"text": "kept"})
    for file in path.parent.glob("store.db*"):
        if file.is_file():
            assert b"zanzi" not in file.read_bytes().lower(), file


def test_a_change_of_embeddings_embeds_anew(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with open_store(url, embeddings=WordEmbeddings(64)) as store:
        store.put(PLACE, "hall", {"text": "Harbour Hall"})
        assert found(store, "hall") == ["hall"]
    larger = WordEmbeddings(128)
    with open_store(url, embeddings=larger) as store:
        assert found(store, "hall") == ["hall"]
        assert found(store, "harbour") == ["hall"]
    assert larger.calls == ["hall", "Harbour Hall", "harbour"]


def test_an_index_is_made_of_what_a_plain_store_has(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with SqliteStore.from_conn_string(str(path)) as plain:
        plain.setup()
        plain.put(PLACE, "hall", {"text": "Harbour Hall"})
    with open_store(f"sqlite:///{path}") as store:
        assert found(store, "harbour") == ["hall"]
    with SqliteStore.from_conn_string(str(path)) as plain:
        plain.put(PLACE, "hall", {"text": "Garden Room"})
    with open_store(f"sqlite:///{path}") as store:
        assert found(store, "harbour") == []
        assert found(store, "garden") == ["hall"]


def test_postgres_ranks_by_meaning_the_same_without_its_extension(postgres: str) -> None:
    """Which many a database does not have, or does not let one create."""
    ranked: list[list[str]] = []
    for there in (True, False):
        if not there:
            with psycopg.connect(postgres) as connection:
                connection.execute("DROP EXTENSION vector")
        with open_store(postgres, embeddings=WordEmbeddings()) as store:
            for number in range(20):
                store.put(PLACE, f"{number}", {"text": f"hall {number} " * (number % 3 + 1)})
            ranked.append([f"{i.key} {i.score:.4f}" for i in store.search(("m",), query="hall 7")])
            assert ranked[-1][0].startswith("7 ")
    assert ranked[0] == ranked[1]


def test_a_postgres_store_needs_its_tables_and_indexes_what_was_there(server: Server) -> None:
    url = server.create(migrated=False)
    with pytest.raises(StorageError, match="Run once: asterism migrate"), open_store(url):
        pass
    with PostgresStore.from_conn_string(url) as plain:
        plain.setup()
        plain.put(PLACE, "hall", {"text": "Oak Hall"})
    for _ in range(2):
        migrate(url)
    with open_store(url) as store:
        assert found(store, "halls") == ["hall"]
    server.drop(url)


def test_a_store_and_a_checkpointer_may_share_a_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'all.db'}"
    with open_checkpointer(url) as saver, open_store(url) as store:
        store.put(PLACE, "x", {"text": "x"})
        assert saver.get_tuple({"configurable": {"thread_id": "1"}}) is None
    assert (tmp_path / "all.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("url", ["mysql://host/db", "nonsense", "sqlite://"])
def test_other_urls_are_refused(url: str) -> None:
    with (
        pytest.raises(StorageError, match="allowed: sqlite:///"),
        open_store(url),
    ):
        pass


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"no database at all" * 100)
    with (
        pytest.raises(StorageError, match="Name another file"),
        open_store(f"sqlite:///{tmp_path}/x.db"),
    ):
        pass


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with open_store(url) as store:
        assert isinstance(store, SearchStore)
        store.conn.execute("UPDATE asterism SET value = '99' WHERE key = 'store format'")
    with pytest.raises(StorageError, match=r"store format 99.*newer version"), open_store(url):
        pass


SCRIPT = """
import sys
from asterism import open_store
with open_store(sys.argv[1]) as store:
    for number in range(40):
        store.put(("m", sys.argv[2]), str(number), {"text": f"hall {number}"})
    print(len(store.search(("m", sys.argv[2]), query="hall", limit=100)))
"""


def test_processes_may_open_and_write_one_database_at_once(lasting: str) -> None:
    work = [Process(SCRIPT, lasting, str(n)) for n in range(3)]
    assert [process.communicate(120) for process in work] == [("40\n", "")] * 3
    with open_store(lasting) as store:
        assert len(store.search(("m",), query="hall", limit=1000)) == 120


def test_threads_may_share_a_store(url: str) -> None:
    with open_store(url, embeddings=WordEmbeddings()) as store:
        faults: list[BaseException] = []

        def work(name: str) -> None:
            try:
                for number in range(25):
                    store.put((name,), str(number), {"text": f"hall {number}"})
                    assert store.search((name,), query="hall", limit=100)
            except BaseException as error:
                faults.append(error)

        threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert faults == []
        assert len(store.search((), query="hall", limit=1000)) == 100
