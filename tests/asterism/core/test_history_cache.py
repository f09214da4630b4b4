"""Histories that were read are kept; nobody can tell, but by the time it takes."""

import copy
import itertools
import operator
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple, cast

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from asterism import Participant, SupervisorWorkflowBuilder, open_checkpointer
from asterism.core.history_cache import HistoryCache, SharedList, Step, StoredWrites, deep_copy
from asterism.core.state import fold_list
from asterism.core.thread_lease import take_lease
from asterism.storage.postgres.steps import PostgresLineage
from asterism.storage.sqlite.steps import SqliteLineage
from tests.teams import follow

THREAD: Any = {"configurable": {"thread_id": "t"}}
CHANNELS = ("messages", "reports", "brief")


@pytest.fixture
def url(lasting: str) -> str:
    return lasting


def read_stock(saver: Any, **asked: Any) -> Any:
    """Read a history as LangGraph's own saver of the database does."""
    if isinstance(saver, SqliteSaver):
        return SqliteSaver.get_delta_channel_history(saver, **asked)
    return saver.steadily(
        lambda found: PostgresSaver(found, serde=saver.serde).get_delta_channel_history(**asked)
    )


@contextmanager
def driven(saver: Any) -> Iterator[None]:
    """Hold the lease of the thread: in Postgres, only who has it keeps histories."""
    release = take_lease(saver, "t")
    assert release is not None
    yield
    release()


def team(saver: Any, order: list[str] | None = None) -> Any:
    """A participant that counts what it remembers, and spoils what it is given."""

    def clerk(messages: list[AnyMessage]) -> AIMessage:
        seen = [str(message.content) for message in messages]
        for message in messages[:-1]:  # the last one is not stored yet
            message.content = "spoilt"
            message.additional_kwargs["spoilt"] = True
        return AIMessage(f"{len(seen)}: {'spoilt' in seen}")

    return (
        SupervisorWorkflowBuilder("Kept", finish="forward")
        .participants(clerk=Participant(runs=clerk, description="Counts."))
        .with_manager(follow(order or ["clerk"] * 3))
        .build(checkpointer=saver)
    )


def asked(workflow: Any, config: Any = THREAD) -> list[str]:
    result = workflow.invoke({"messages": [("user", "Count")]}, config)
    return [report["text"] for report in result["reports"]]


def same_as_stored(saver: Any) -> Iterator[int]:
    """Compare what is handed out with what LangGraph's saver reads, for all that is stored."""
    for namespace in ("", "clerk"):
        config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": namespace}}
        stored = [item.config for item in saver.list(config)]
        with driven(saver):
            for one in (*stored, *reversed(stored), *stored[::3]):
                kept = saver.get_delta_channel_history(config=one, channels=CHANNELS)
                read = read_stock(saver, config=one, channels=CHANNELS)
                for channel in CHANNELS:
                    assert [*kept[channel]["writes"]] == read[channel]["writes"]
                    assert kept[channel].get("seed") == read[channel].get("seed")
                yield len(read["messages"]["writes"])


def test_what_a_participant_does_to_its_messages_is_not_remembered(url: str) -> None:
    with open_checkpointer(url) as saver:
        workflow = team(saver)
        assert asked(workflow) == ["1: False", "3: False", "5: False"]
        assert asked(workflow) == ["7: False", "9: False", "11: False"]


def test_it_is_what_is_stored(url: str) -> None:
    with open_checkpointer(url) as saver:
        for _ in range(3):
            asked(team(saver))
        assert max(same_as_stored(saver)) > 9


def test_what_another_process_adds_is_seen(url: str) -> None:
    with open_checkpointer(url) as one, open_checkpointer(url) as other:
        counts = [asked(team(saver, ["clerk"])) for saver in (one, one, other, one, other)]
        assert [*itertools.chain(*counts)] == [f"{n}: False" for n in (1, 3, 5, 7, 9)]
        assert max(same_as_stored(one)) == max(same_as_stored(other))


def test_another_branch_has_its_own_history(url: str) -> None:
    with open_checkpointer(url) as saver:
        workflow = team(saver)
        asked(workflow)
        before = next(
            item.config
            for item in workflow.get_state_history(THREAD)
            if item.next == ("supervisor",) and len(item.values["reports"]) == 1
        )
        assert [r["text"] for r in workflow.invoke(None, before)["reports"]][:2] == [
            "1: False",
            "3: False",
        ]
        assert max(same_as_stored(saver)) > 3


def test_a_thread_that_is_deleted_is_forgotten(url: str) -> None:
    with open_checkpointer(url) as saver:
        workflow = team(saver)
        asked(workflow)
        saver.delete_thread("t")
        assert asked(workflow) == ["1: False", "3: False", "5: False"]


def test_a_history_that_is_known_is_not_read_again(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    for kind in (SqliteLineage, PostgresLineage):
        back: Any = kind.back

        def counting(self: Any, back: Any = back) -> Iterator[Step]:
            for step in back(self):
                looked.append(step.id)
                yield step

        monkeypatch.setattr(kind, "back", counting)
    with open_checkpointer(url) as saver:
        workflow = team(saver, ["clerk"])
        steps = []
        for _ in range(12):
            asked(workflow)
            steps.append(len(looked))
            looked.clear()
        assert steps[-1] == steps[2] > 0  # each of them has its lease, and nobody else had one
        with open_checkpointer(url) as other:
            asked(team(other, ["clerk"]))
        looked.clear()
        asked(workflow)
        assert len(looked) > steps[-1]


def test_what_another_connection_changes_is_read_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'threads.db'}"
    with open_checkpointer(url) as one, open_checkpointer(url) as other:
        asked(team(one))
        last = one.get_tuple(THREAD)
        assert last is not None
        before = one.get_delta_channel_history(config=last.config, channels=CHANNELS)
        assert before["messages"]["writes"]
        assert isinstance(other, SqliteSaver)
        with other.cursor() as cursor:
            cursor.execute("DELETE FROM writes")
        after = one.get_delta_channel_history(config=last.config, channels=CHANNELS)
        assert not after["messages"]["writes"]


def counted(saver: Any, turns: int) -> list[Any]:
    """Let one channel grow that is stored whole now and then, and one that never is."""

    class State(TypedDict):
        often: Annotated[list[int], DeltaChannel(fold_list, snapshot_frequency=3)]
        never: Annotated[list[int], DeltaChannel(fold_list, snapshot_frequency=1_000)]

    def count(state: State) -> dict[str, list[int]]:
        number = len(state["often"])
        return {"often": [number], "never": [number] if number % 2 else []}

    builder = StateGraph(State)
    builder.add_node("count", count)
    builder.add_edge(START, "count")
    graph: Any = builder.compile(saver)
    for _ in range(turns):
        graph.invoke({"often": []}, THREAD)
    return [item.config for item in saver.list(THREAD)]


def same_in_both(saver: Any, config: Any) -> int:
    """Compare what two channels are made of with what LangGraph's saver reads."""
    asked = {"config": config, "channels": ["often", "never"]}
    kept = saver.get_delta_channel_history(**asked)
    read = read_stock(saver, **asked)
    for channel, history in read.items():
        assert [*kept[channel]["writes"]] == history["writes"]
        assert kept[channel].get("seed") == history.get("seed")
    return sum("seed" in history for history in read.values())


@pytest.mark.parametrize("order", [1, -1, 3, -4], ids=["back", "on", "leaps back", "leaps on"])
def test_channels_that_are_stored_whole_at_other_times_are_what_is_stored(
    url: str, order: int
) -> None:
    with open_checkpointer(url) as saver:
        stored = counted(saver, 8)
        with driven(saver):
            assert {same_in_both(saver, config) for config in stored[::order]} == {0, 1}


def test_a_checkpoint_that_was_stored_again_after_its_child_ends_the_way(url: str) -> None:
    with open_checkpointer(url) as saver:
        last, *_ = counted(saver, 2)
        *_, second, first = saver.list(THREAD)
        saver.put(second.config, first.checkpoint, first.metadata, {})
    with open_checkpointer(url) as saver:
        assert same_in_both(saver, last) == 1
        assert same_in_both(saver, second.config) == 0


class Stored:
    """One checkpoint, and what was written after it."""

    def __init__(self) -> None:
        self.reads = 0

    def back(self) -> Generator[Step]:
        yield Step("0", lambda: cast(Any, {"channel_values": {}}))

    def writes(self, steps: Any, channels: Any) -> dict[str, list[Any]]:
        self.reads += 1
        return {"0": [("task", "messages", [n]) for n in range(3)]}


def test_only_so_much_is_kept() -> None:
    cache = HistoryCache(limit=5)
    lines = {"a": Stored(), "b": Stored()}

    def read(thread: str) -> list[Any]:
        return [*cache.read((thread, ""), "1", ["messages"], lines[thread])["messages"]["writes"]]

    expected = [("task", "messages", [n]) for n in range(3)]
    assert [read(thread) for thread in ("a", "a", "b", "b", "a")] == [expected] * 5
    assert {thread: line.reads for thread, line in lines.items()} == {"a": 2, "b": 1}


class Snapshot(NamedTuple):
    """As the engine stores a channel whole."""

    value: list[AnyMessage]


def test_a_snapshot_is_copied_without_the_slow_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("copy.deepcopy")
    assert deep_copy(Snapshot([HumanMessage("d", id="2")])).value[0].content == "d"


def test_copies_share_nothing() -> None:
    call = {"name": "look", "args": {"at": ["x"]}, "id": "1", "type": "tool_call"}
    given: list[Any] = [
        HumanMessage([{"type": "text", "text": "a"}], id="1"),
        AIMessage("b", tool_calls=[call], response_metadata={"a": {"b": [1]}}),
        ToolMessage("c", tool_call_id="1", artifact={"name": "x", "rows": [1]}),
        {"plain": ["json", None, 1.5, True, ("a", ["b"])]},
        Snapshot([HumanMessage("d", id="2")]),
    ]
    copied = deep_copy(given)
    assert copied == given
    assert type(copied[4]) is Snapshot
    copied[4].value[0].content = "spoilt"
    copied[0].content[0]["text"] = copied[1].tool_calls[0]["args"]["at"][0] = "spoilt"
    copied[1].response_metadata["a"]["b"].append("spoilt")
    copied[1].additional_kwargs["spoilt"] = copied[2].artifact["rows"] = "spoilt"
    copied[3]["plain"][4][1].append("spoilt")
    assert "spoilt" not in repr(given)
    assert "spoilt" not in repr([*StoredWrites([("task", "messages", given)])])


@pytest.mark.parametrize(
    "take",
    [
        lambda items: items[0],
        lambda items: items[-2],
        lambda items: items[:1][0],
        lambda items: next(iter(items)),
        lambda items: [*reversed(items)][-1],
        lambda items: items.copy()[0],
        lambda items: operator.add(items, [])[0],
        lambda items: operator.add([], items)[0],
        lambda items: (items * 2)[0],
        lambda items: next(item for item in items),
        lambda items: tuple(items).__getitem__(0),
        lambda items: copy.copy(items)[0],
        lambda items: copy.deepcopy(items)[0],
        lambda items: deep_copy(items)[0],
        lambda items: items.pop(0),
        lambda items: sorted(items, key=lambda message: message.id)[0],
    ],
)
def test_whoever_takes_from_a_shared_list_gets_a_copy(take: Any) -> None:
    kept = [HumanMessage("a", id="1"), AIMessage("b", id="2")]
    taken = take(SharedList(kept))
    assert (taken.id, taken.content) == ("1", "a")
    taken.content = "spoilt"
    assert kept[0].content == "a"


def test_a_shared_list_gives_the_same_copy_each_time_and_keeps_what_is_put_in() -> None:
    kept = [HumanMessage(str(place), id=str(place)) for place in range(4)]
    items, added = SharedList(kept), HumanMessage("4", id="4")
    items.append(added)
    items[1] = added
    assert items[0] is items[0] is next(iter(items)) is not kept[0]
    assert items[1] is items[4] is added
    assert items == [kept[0], added, *kept[2:], added]
    items[1:3] = []
    del items[0]
    items.insert(0, added)
    assert [item.id for item in items] == ["4", "3", "4"]
    assert [item.id for item in kept] == ["0", "1", "2", "3"]
