"""Threads as each version stored them: `python -m tests.stored` writes those of this one."""

import sqlite3
import tempfile
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.types import interrupt

from asterism import Participant, SupervisorWorkflowBuilder, open_checkpointer, resume
from asterism.core.run_types import WorkflowInput
from asterism.storage.sqlite import FORMAT
from tests.teams import follow

FOLDER = Path(__file__).parent / "data"
FINISHED: RunnableConfig = {"configurable": {"thread_id": "finished"}}
WAITING: RunnableConfig = {"configurable": {"thread_id": "waiting"}}
REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}


def workflow(saver: Any) -> Any:
    """A team whose second participant asks; it counts by its own memory."""

    def venue(messages: list[Any]) -> str:
        return f"venue {len(messages)}"

    def bank(messages: list[Any]) -> str:
        return f"paid: {interrupt({'prompt': 'Pay?'})}"

    return (
        SupervisorWorkflowBuilder("Stored", finish="forward")
        .participants(
            venue=Participant(runs=venue, description="Finds venues."),
            bank=Participant(runs=bank, description="Pays."),
        )
        .with_manager(follow(["venue", "bank"]))
        .build(checkpointer=saver)
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "threads.db"
        with open_checkpointer(f"sqlite:///{path}") as saver:
            built = workflow(saver)
            for thread in (FINISHED, WAITING):
                built.invoke(REQUEST, thread)
            resume(built, FINISHED, "yes")
        with closing(sqlite3.connect(path)) as connection, connection:
            dump = "\n".join(connection.iterdump())
    name = f"threads_v{FORMAT}_of_{version('asterism-agents')}.sql"
    (FOLDER / name).write_text(dump + "\n")


if __name__ == "__main__":
    main()
