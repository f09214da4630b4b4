"""One measurement in one process: prints JSON.

`python -m benchmarks.one STAR TURNS PARTICIPANTS none|sqlite [THREADS]`
"""

import asyncio
import json
import resource
import sys
import tempfile
import time
import warnings
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Any

from benchmarks.stars import ANSWER, STARS

AT_ONCE = 50
"""How many threads of one process run at once."""


def _saver(star: str, path: Path) -> AbstractAsyncContextManager[Any]:
    """Each star's own saver: LangGraph's with its defaults, and the one Asterism opens."""
    if star == "asterism":
        from asterism import aopen_checkpointer

        return aopen_checkpointer(f"sqlite:///{path}")
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    return AsyncSqliteSaver.from_conn_string(str(path))


async def measure(
    star: str, turns: int, participants: int, stored: bool, threads: int = 1
) -> dict[str, float]:
    """Run so many threads, some at once; times are those of one turn."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "threads.db"
        async with _saver(star, path) if stored else nullcontext(None) as saver:
            graph = STARS[star](saver, turns, participants)
            options = {"durability": "sync"} if stored else {}
            room = asyncio.Semaphore(AT_ONCE)

            async def converse(number: int) -> int:
                config = {"configurable": {"thread_id": f"t{number}"}} if stored else {}
                async with room:
                    given = {"messages": [("user", "go")]}
                    result = await graph.ainvoke(given, config, **options)
                answers = (m for m in result["messages"] if m.content == ANSWER)
                return sum(answer.name != "supervisor" for answer in answers)

            await STARS[star](None, 3, participants).ainvoke({"messages": [("user", "warm up")]})
            cpu, wall = time.process_time(), time.perf_counter()
            answers = sum(await asyncio.gather(*map(converse, range(threads))))
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
    turns *= threads
    if answers != turns:
        raise AssertionError(f"{answers} answers, not {turns}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"cpu": cpu / turns * 1e3, "wall": wall / turns * 1e3, "bytes": size, "peak": peak}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    _, star, turns, participants, where, *threads = sys.argv
    stored, numbers = where == "sqlite", map(int, threads or ["1"])
    found = asyncio.run(measure(star, int(turns), int(participants), stored, *numbers))
    print(json.dumps(found))
