"""Housekeeping: what may go goes, what is alive or open stays, threads move whole."""

import copy
import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send, interrupt
from typing_extensions import TypedDict

from asterism import (
    Participant,
    SupervisorWorkflowBuilder,
    open_checkpointer,
    pending_requests,
    proceed,
    resume,
)
from asterism.core import state as state_module
from asterism.core.run_types import WorkflowInput
from asterism.core.thread_lease import take_lease
from asterism.errors import ConfigurationError, StorageError, ThreadBusyError
from asterism.storage.retention import Pruned, export_thread, forget_user, import_thread, prune
from asterism.storage.retention.prune import checkpoint_created_at, is_open
from asterism.storage.retention.rows import open_rows
from asterism.storage.retention.transfer import decode, encode
from tests.stored import workflow as asking
from tests.teams import Turns, said, star

REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}
ROUTE = ["venue", "food", "venue"]
LATER = datetime.now(UTC) + timedelta(days=60)
MONTH = timedelta(days=30)
MEGABYTES = int(os.environ.get("ASTERISM_MEGABYTES", "8"))
Saver = BaseCheckpointSaver[str]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new database of each kind that lasts."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres"))
    return f"sqlite:///{tmp_path / 'threads.db'}"


@pytest.fixture
def saver(url: str) -> Iterator[Saver]:
    with open_checkpointer(url) as opened:
        yield opened


def place(name: str, **facts: str) -> RunnableConfig:
    return {"configurable": {"thread_id": name, **facts}}


def names(saver: Saver) -> set[str]:
    return {(row.config.get("configurable") or {})["thread_id"] for row in saver.list(None)}


# ---- pruning


def test_old_threads_go_and_young_open_and_driven_ones_stay(saver: Saver) -> None:
    built = asking(saver)
    for name in ("finished", "waiting", "driven", "again"):
        built.invoke(REQUEST, place(name))
        if name != "waiting":
            resume(built, place(name), "yes")
    release = take_lease(saver, "driven")
    assert release is not None
    assert prune(saver, older_than=MONTH).threads == 0
    found = prune(saver, older_than=MONTH, now=LATER)
    assert (found.threads, found.busy, found.unfinished) == (2, 1, 1)
    assert names(saver) == {"waiting", "driven"}
    release()
    assert said(resume(built, place("waiting"), "no")) == ["venue 1", "paid: no"]
    assert prune(saver, older_than=MONTH, now=LATER).threads == 2
    assert names(saver) == set()


def test_open_threads_go_where_that_is_asked_for(saver: Saver) -> None:
    asking(saver).invoke(REQUEST, place("waiting"))
    assert prune(saver, older_than=MONTH, now=LATER, unfinished=True).threads == 1


def broken(saver: Saver, cause: Exception | None) -> Any:
    """A workflow whose second participant raises what is no failure of its own."""

    def work(messages: Any) -> str:
        raise KeyboardInterrupt

    def fine(messages: Any) -> str:
        return "fine"

    return (
        SupervisorWorkflowBuilder("Broken", finish="forward")
        .participants(
            a=Participant(runs=fine, description="Works."),
            b=Participant(runs=work, description="Breaks."),
        )
        .with_manager(lambda view: {"next_agent": ("a", "b", None)[view.iterations]})
        .build(checkpointer=saver)
    )


def test_a_run_that_was_cut_off_stays(saver: Saver) -> None:
    with pytest.raises(KeyboardInterrupt):
        broken(saver, None).invoke(REQUEST, place("cut"))
    assert prune(saver, older_than=MONTH, keep_last=1, now=LATER).unfinished == 1


class Plain(TypedDict):
    n: int


def plain(saver: Saver, stop: str = "") -> Any:
    """A graph of LangGraph alone, which may stop before or ask in a node."""

    def ask(state: Plain) -> Plain:
        return {"n": interrupt("How many?") if stop == "asks" else state["n"] + 1}

    graph = StateGraph(Plain)
    graph.add_node("one", lambda state: {"n": state["n"] + 1})
    graph.add_node("left", lambda state: {})
    graph.add_node("right", ask)
    graph.add_node("end", lambda state: {})
    graph.add_edge(START, "one")
    graph.add_conditional_edges("one", lambda state: [Send("left", state), "right"])
    graph.add_edge(["left", "right"], "end")
    graph.add_edge("end", END)
    before = [stop] if stop in ("one", "right", "end") else None
    return graph.compile(checkpointer=saver, interrupt_before=before)


@pytest.mark.parametrize(
    ("stop", "opened"), [("", False), *((s, True) for s in ("one", "right", "end", "asks"))]
)
def test_any_graph_is_known_to_be_open_or_finished(stop: str, opened: bool, saver: Saver) -> None:
    plain(saver, stop).invoke({"n": 1}, place("t"))
    saved = saver.get_tuple(place("t"))
    assert saved is not None and is_open(saved) == bool(stop)


def test_times_are_read_from_checkpoint_ids(saver: Saver) -> None:
    plain(saver).invoke({"n": 1}, place("t"))
    saved = saver.get_tuple(place("t"))
    assert saved is not None
    made = datetime.fromisoformat(saved.checkpoint["ts"])
    assert abs(checkpoint_created_at(saved.checkpoint["id"]) - made) < timedelta(seconds=1)
    assert (
        checkpoint_created_at("x")
        == checkpoint_created_at("0" * 32)
        == datetime.max.replace(tzinfo=UTC)
    )


@pytest.fixture
def snapshots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Growing channels are stored whole at every third write."""
    for fields in (
        state_module.WorkflowState,
        state_module.WorkflowOutput,
        state_module.WorkflowInputSchema,
    ):
        for annotation in fields.__annotations__.values():
            for channel in getattr(annotation, "__metadata__", ()):
                if hasattr(channel, "snapshot_frequency"):
                    monkeypatch.setattr(channel, "snapshot_frequency", 3)


@pytest.mark.usefixtures("snapshots")
@pytest.mark.parametrize("keep", [1, 3, 8])
def test_a_shortened_thread_reads_the_same_and_goes_on(keep: int, saver: Saver) -> None:
    turns = Turns()
    built = star(turns, ROUTE).build(checkpointer=saver)
    for _ in range(6):
        built.invoke(REQUEST, place("t"))
    history = list(built.get_state_history(place("t")))
    found = prune(saver, keep_last=keep)
    assert found.checkpoints > 0
    after = list(built.get_state_history(place("t")))
    assert [s.values for s in after[:keep]] == [s.values for s in history[:keep]]
    turns.prompts.clear()
    assert said(built.invoke(REQUEST, place("t"))) == ["venue 13", "food 7", "venue 14"]
    assert [m.text for m in turns.prompts["food"][0] if m.type == "ai"] == [
        f"food {n}" for n in range(1, 7)
    ]


@pytest.mark.usefixtures("snapshots")
def test_time_travel_to_what_was_kept_finds_the_memory_of_then(saver: Saver) -> None:
    turns = Turns()
    built = star(turns, ROUTE).build(checkpointer=saver)
    for _ in range(5):
        built.invoke(REQUEST, place("t"))
    assert prune(saver, keep_last=6).checkpoints > 0
    state = next(s for s in built.get_state_history(place("t")) if s.next == ("food",))
    turns.prompts.clear()
    assert proceed(built, state.config)["status"] == "completed"
    assert [m.text for m in turns.prompts["food"][0] if m.type == "ai"] == [
        f"food {n}" for n in range(1, 5)
    ]


def test_growing_channels_without_a_snapshot_keep_what_they_are_read_from(saver: Saver) -> None:
    built = star(Turns(), ROUTE).build(checkpointer=saver)
    built.invoke(REQUEST, place("t"))
    before = built.get_state(place("t")).values
    prune(saver, keep_last=1)
    assert built.get_state(place("t")).values == before


def fill(url: str, saver: Any, megabytes: int) -> int:
    """Store many copies of a finished thread with some 1.5 MB; return how many."""
    text: WorkflowInput = {"messages": [("user", os.urandom(100_000).hex())]}
    star(Turns(), ["venue"]).build(checkpointer=saver).invoke(text, place("old"))
    copies = megabytes  # of 1.04 MB each
    if is_file(saver):
        numbers = f"(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {copies})"
        source, tables = f"{numbers} SELECT i FROM n)", ["checkpoints", "writes"]
        connection: Any = sqlite3.connect(saver.path)
    else:
        source = f"generate_series(1, {copies}) i"
        tables = ["checkpoints", "checkpoint_blobs", "checkpoint_writes"]
        connection = psycopg.connect(url)
    for table in tables:
        columns = ", ".join(columns_of(saver, connection.execute, table))
        connection.execute(
            f"INSERT INTO {table} (thread_id, {columns}) SELECT 'old' || i, {columns} "
            f"FROM {table}, {source} WHERE thread_id = 'old'"
        )
    connection.commit()
    connection.close()
    return copies + 1


def columns_of(saver: Any, run: Callable[[str], Any], table: str) -> list[str]:
    if is_file(saver):
        found = [row[1] for row in run(f"PRAGMA table_info({table})").fetchall()]
    else:
        query = "SELECT column_name FROM information_schema.columns WHERE table_name = "
        found = [row[0] for row in run(f"{query}'{table}'").fetchall()]
    return [name for name in found if name != "thread_id"]


def test_pruning_a_big_database_gives_room_back_while_runs_go_on(url: str, saver: Any) -> None:
    waiting = asking(saver)
    waiting.invoke(REQUEST, place("waiting"))
    old = fill(url, saver, MEGABYTES)
    moment = datetime.now(UTC)
    stop = threading.Event()
    results: list[list[str]] = []

    def run() -> None:
        with open_checkpointer(url) as own:
            built = star(Turns(), ROUTE).build(checkpointer=own)
            while not stop.is_set() or not results:
                results.append(said(built.invoke(REQUEST, place(f"new{len(results)}"))))

    runs = threading.Thread(target=run)
    runs.start()
    try:
        begun = time.monotonic()
        found = prune(saver, older_than=timedelta(0), now=moment, full=not is_file(saver))
        seconds = time.monotonic() - begun
    finally:
        stop.set()
        runs.join()
    assert (found.threads, found.unfinished) == (old, 1)
    assert found.bytes_before > MEGABYTES * 1e6
    assert found.bytes_after < found.bytes_before / 2
    assert names(saver) == {"waiting", *(f"new{n}" for n in range(len(results)))}
    assert all([text.split()[0] for text in result] == ROUTE for result in results)
    assert said(resume(waiting, place("waiting"), "yes")) == ["venue 1", "paid: yes"]
    logging.getLogger(__name__).warning(
        f"{found.bytes_before / 1e6:.0f} MB of {found.threads} threads became "
        f"{found.bytes_after / 1e6:.1f} MB in {seconds:.1f} s, while {len(results)} runs went on"
    )


def is_file(saver: Any) -> bool:
    return hasattr(saver, "path")


@pytest.mark.parametrize("options", [{}, {"keep_last": 0}])
def test_pruning_nothing_is_an_error(options: Any, saver: Saver) -> None:
    with pytest.raises(ConfigurationError):
        prune(saver, **options)


def test_memory_needs_no_housekeeping() -> None:
    with open_checkpointer("memory:") as saver, pytest.raises(ConfigurationError, match="needs a"):
        prune(saver, keep_last=1)


def test_what_came_of_pruning_is_zero_where_nothing_is_stored(saver: Saver) -> None:
    found = prune(saver, older_than=MONTH)
    assert found == Pruned(bytes_before=found.bytes_before, bytes_after=found.bytes_after)


# ---- export and import


def through_json(data: Any) -> Any:
    return json.loads(json.dumps(data))


def test_a_thread_moves_whole_to_every_kind_of_database(
    saver: Saver, postgres: str, tmp_path: Path
) -> None:
    built = asking(saver)
    built.invoke(REQUEST, place("t"))
    resume(built, place("t"), "yes")
    built.invoke(REQUEST, place("t"))
    data = through_json(export_thread(saver, "t"))
    for target in (postgres, f"sqlite:///{tmp_path / 'other.db'}"):
        with open_checkpointer(target) as other:
            assert import_thread(other, data, thread_id="u") == "u"
            if is_file(saver) == is_file(other):  # kinds differ in where a whole value is seen
                again = through_json(export_thread(other, "u"))
                assert again == {**data, "thread_id": "u"}
            moved = asking(other)
            assert moved.get_state(place("u")).values == built.get_state(place("t")).values
            (question,) = pending_requests(moved, place("u"))
            assert question.prompt == "Pay?"
            assert said(resume(moved, place("u"), "no")) == ["venue 3", "paid: no"]


def test_an_encrypted_thread_is_exported_in_clear_and_encrypted_again(tmp_path: Path) -> None:
    key = b"0123456789abcdef"
    url = f"sqlite:///{tmp_path / 'secret.db'}"
    with open_checkpointer(url, key=key) as saver:
        built = star(Turns(), ROUTE).build(checkpointer=saver)
        values = built.invoke(REQUEST, place("t"))
        data = through_json(export_thread(saver, "t"))
        import_thread(saver, data, thread_id="u")
        assert built.get_state(place("u")).values["reports"] == values["reports"]
    assert b"Plan it" not in (tmp_path / "secret.db").read_bytes()


def test_an_existing_thread_is_left_as_it_is(saver: Saver) -> None:
    built = star(Turns(), ROUTE).build(checkpointer=saver)
    built.invoke(REQUEST, place("t"))
    data = export_thread(saver, "t")
    with pytest.raises(StorageError, match="There is a thread 't' already"):
        import_thread(saver, data)
    assert export_thread(saver, "t") == data
    release = take_lease(saver, "t")
    assert release is not None
    for call in (lambda: export_thread(saver, "t"), lambda: import_thread(saver, data)):
        with pytest.raises(ThreadBusyError):
            call()
    release()
    with pytest.raises(StorageError, match="no thread 'none'"):
        export_thread(saver, "none")


def at(path: str, value: Any) -> Callable[[Any], None]:
    """Change one place of an exported thread."""

    def change(data: Any) -> None:
        *above, last = [int(part) if part.isdigit() else part for part in path.split("/")]
        for part in above:
            data = data[part]
        data[last] = value

    return change


FORGED: dict[str, Callable[[Any], None]] = {
    "another format": at("format", "asterism-thread/9"),
    "a thread without a name": at("thread_id", ""),
    "no checkpoints": at("checkpoints", []),
    "a field too many": at("evil", 1),
    "an id that is none": at("checkpoints/0/id", "../x"),
    "the id of another checkpoint": at("checkpoints/0/id", "1f0e4d4a-0000-6000-8000-000000000000"),
    "a checkpoint that is none": at("checkpoints/0/checkpoint", {"v": 4}),
    "a checkpoint that is a list": at("checkpoints/0/checkpoint", []),
    "a pickled value": at("checkpoints/0/metadata/x", {"$packed": ["pickle", "gASVAA=="]}),
    "a JSON constructor": at("checkpoints/0/metadata/x", {"$packed": ["json", "e30="]}),
    "a value that is no base64": at("checkpoints/0/metadata/x", {"$packed": ["msgpack", "é"]}),
    "a value of no kind": at("checkpoints/0/metadata/x", {"$packed": 3}),
    "a call in a message": at("checkpoints/0/metadata/x", {"$message": {"type": "os.system"}}),
    "an unknown mark": at("checkpoints/0/metadata/x", {"$call": "os.system"}),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_data_is_refused_and_nothing_is_stored(name: str, saver: Saver) -> None:
    built = star(Turns(), ROUTE).build(checkpointer=saver)
    built.invoke(REQUEST, place("t"))
    data = through_json(export_thread(saver, "t"))
    FORGED[name](data)
    with pytest.raises(StorageError):
        import_thread(saver, data, thread_id="forged")
    assert names(saver) == {"t"}


@pytest.mark.parametrize("data", [None, 3, "x", [], {}, {"format": "asterism-thread/1"}])
def test_what_is_no_thread_at_all_is_refused(data: Any, tmp_path: Path) -> None:
    with (
        open_checkpointer(f"sqlite:///{tmp_path / 'x.db'}") as saver,
        pytest.raises(StorageError, match="is not an exported thread"),
    ):
        import_thread(saver, data)


def test_packed_code_does_not_run(tmp_path: Path) -> None:
    """A packed value that names a callable, as LangGraph's own format allows."""
    import base64

    import ormsgpack

    inner = ormsgpack.packb(("os", "mkdir", [str(tmp_path / "made")], {}, ""))
    packed = ormsgpack.packb(ormsgpack.Ext(2, inner))
    with pytest.raises(StorageError, match="not one that was exported"):
        decode({"$packed": ["msgpack", base64.b64encode(packed).decode()]})
    assert not (tmp_path / "made").exists()


scalars = (
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text() | st.binary()
)
values = st.recursive(
    scalars
    | st.builds(HumanMessage, st.text())
    | st.builds(AIMessage, st.text(), id=st.text(min_size=1))
    | st.builds(ToolMessage, st.text(), tool_call_id=st.text()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(values)
def test_every_value_survives_json(value: Any) -> None:
    shown = encode(value)
    again = decode(through_json(shown))
    assert encode(again) == shown
    assert type(again) is type(value)
    assert repr(again) == repr(value)


def test_what_is_decoded_is_what_was_given() -> None:
    value = {"a": [1, [2, 3], b"x"], "$b": {4}, "m": AIMessage("hi", id="1"), "t": LATER}
    shown = copy.deepcopy(encode(value))
    assert decode(shown) == value


# ---- forgetting


def test_a_user_is_forgotten_and_nobody_else(saver: Saver) -> None:
    built = asking(saver)
    built.invoke(REQUEST, place("a", user_id="ann"))
    built.invoke(REQUEST, {**place("b"), "metadata": {"user": "ann"}})
    built.invoke(REQUEST, place("c", user_id="anna"))
    built.invoke(REQUEST, place("d", tenant="ann"))
    built.invoke(REQUEST, place("e", user_id="ann"))
    release = take_lease(saver, "e")
    assert release is not None
    found = forget_user(saver, "ann")
    assert (sorted(found.threads), found.busy) == (["a", "b"], ("e",))
    release()
    assert forget_user(saver, "ann").threads == ("e",)
    assert names(saver) == {"c", "d"}
    assert forget_user(saver, "ann", keys=("tenant",)).threads == ("d",)
    assert open_rows(saver).writes("a") == []
    with pytest.raises(ConfigurationError):
        forget_user(saver, "")
