"""A Postgres whose disk is full, or that is gone in the middle: a clear error, nothing lost."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from langchain_core.messages import AnyMessage
from langchain_core.runnables import RunnableConfig

from asterism import Participant, open_checkpointer, proceed
from asterism.core.run_types import WorkflowInput
from asterism.errors import StorageError
from asterism.storage.postgres.lease_connections import retry_until_connected
from tests.databases import Server, serving
from tests.teams import Turns, said, star

THREAD: RunnableConfig = {"configurable": {"thread_id": "party"}}
ASKED: WorkflowInput = {"messages": [("user", "Go")]}
FULL = """
CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'could not extend file "base/1/2": No space left on device'
        USING ERRCODE = 'disk_full';
END $$;
CREATE TRIGGER no_room BEFORE INSERT ON {table} EXECUTE FUNCTION no_room()
"""


@contextmanager
def full_disk(url: str, table: str) -> Generator[None]:
    """Let a table take no more rows, with the error of a server whose disk is full."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(FULL.format(table=table).encode())
        yield
        connection.execute("DROP FUNCTION no_room CASCADE")


async def go(workflow: Any, way: str, given: Any = ASKED) -> Any:
    if way == "sync":
        return workflow.invoke(given, THREAD)
    return await workflow.ainvoke(given, THREAD)


@pytest.mark.parametrize("table", ["checkpoints", "checkpoint_writes"])
@pytest.mark.parametrize("way", ["sync", "async"])
async def test_a_run_on_a_full_disk_names_its_thread_and_goes_on_later(
    table: str, way: str, postgres: str
) -> None:
    with open_checkpointer(postgres) as saver:
        workflow = star(Turns(), ["ann", "bob"]).build(checkpointer=saver)
        await go(workflow, way)
        before = workflow.get_state(THREAD).values
        with full_disk(postgres, table):
            with pytest.raises(StorageError, match="Make room on the server's disk") as caught:
                await go(workflow, way)
            assert "A step of the thread 'party' is not stored." in str(caught.value)
            assert workflow.get_state(THREAD).values["reports"] == before["reports"]
            assert [*saver.list(THREAD)]
        assert (await go(workflow, way))["status"] == "completed"


class Stopping(Turns):
    """Whose bob stops the server at his first visit."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.stops: list[Callable[[], Any]] = [server.halt]

    def participant(self, name: str) -> Participant:
        answer: Any = super().participant(name).runs

        def work(messages: list[AnyMessage]) -> Any:
            if name == "bob" and self.stops:
                self.stops.pop()()
            return answer(messages)

        return Participant(runs=work, description=f"Answers as {name}.")


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_a_run_whose_server_stays_away_says_so_and_goes_on_later(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry_until_connected, "__defaults__", (0.2,))
    with serving() as own:
        url, turns = own.create(), Stopping(own)
        with open_checkpointer(url) as saver:
            workflow = star(turns, ["ann", "bob", "ann"]).build(checkpointer=saver)
            with pytest.raises(StorageError, match=r"cannot be used: .*Start the server"):
                await go(workflow, way)
        own.resume()
        with open_checkpointer(url) as saver:
            workflow = star(turns, ["ann", "bob", "ann"]).build(checkpointer=saver)
            assert said(proceed(workflow, THREAD)) == ["ann 1", "bob 2", "ann 2"]
