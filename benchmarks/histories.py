"""A participant with a long memory: its prompts, its checkpoints and its turns stay small.

It is visited many times on one thread, and a sliding window keeps its prompts short. Bytes are
those of its own checkpoints in the sqlite file. A visit reads the whole history, as LangGraph
loads a state whole, so its CPU time grows with it.
"""

import asyncio
import sqlite3
import tempfile
import time
import warnings
from argparse import ArgumentParser
from contextlib import closing
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.messages.utils import count_tokens_approximately

from asterism import (
    ContextManager,
    Participant,
    SupervisorDecision,
    SupervisorView,
    SupervisorWorkflowBuilder,
    aopen_checkpointer,
)

WINDOW = ContextManager(max_tokens=2_000)
ANSWER = "word " * 60
VISITS = 25
"""How many visits a request makes."""


def own_bytes(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database, database:
        found = [
            database.execute(
                f"SELECT SUM(LENGTH({column})) FROM {table} WHERE checkpoint_ns = 'clerk'"
            ).fetchone()[0]
            for table, column in (("checkpoints", "checkpoint"), ("writes", "value"))
        ]
    return sum(size or 0 for size in found)


async def measure(messages: int, each: int, context: ContextManager | None) -> None:
    longest = 0

    async def clerk(history: list[AnyMessage]) -> list[AIMessage]:
        nonlocal longest
        longest = max(longest, count_tokens_approximately(history))
        return [AIMessage(ANSWER) for _ in range(each - 1)]

    async def decide(view: SupervisorView) -> SupervisorDecision:
        if view.iterations >= VISITS:
            return SupervisorDecision(next_agent=None)
        return SupervisorDecision(next_agent="clerk", instruction=f"Do {view.iterations}")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "threads.db"
        async with aopen_checkpointer(f"sqlite:///{path}") as saver:
            workflow = (
                SupervisorWorkflowBuilder("Bench", max_iterations=VISITS + 1, finish="forward")
                .participants(clerk=Participant(runs=clerk, description="Works.", context=context))
                .with_manager(decide)
                .build(checkpointer=saver)
            )
            done, begun = 0, time.process_time()
            for quarter in range(1, 5):
                while done < messages * quarter / 4:
                    config: Any = {"configurable": {"thread_id": "t"}}
                    await workflow.ainvoke({"messages": [("user", "Go on")]}, config)
                    done += each * VISITS
                spent = (time.process_time() - begun) / (messages / 4 / each) * 1e3
                size = own_bytes(path)
                print(f"| {done:,} | {longest:,} | {size:,} | {size / done:,.0f} | {spent:.1f} |")
                begun = time.process_time()


def main() -> None:
    warnings.simplefilter("ignore")
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--each", type=int, default=20, help="messages that a visit adds")
    given = parser.parse_args()
    print("| messages | longest prompt, tokens | bytes | bytes a message | CPU ms a visit |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    asyncio.run(measure(given.messages, given.each, WINDOW))


if __name__ == "__main__":
    main()
