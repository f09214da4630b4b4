"""The same star with participants that are plain nodes, without a history of their own."""

import asyncio
from functools import partial

from langchain_core.messages import AIMessage

from benchmarks.contenders import by_hand
from benchmarks.contenders.by_hand import VERSIONS, fan, go_on, opened, talk
from benchmarks.work import ANSWER

__all__ = ["VERSIONS", "build", "build_fan", "fan", "go_on", "opened", "talk"]


def plain(seconds: float = 0) -> by_hand.Work:
    async def work() -> AIMessage:
        await asyncio.sleep(seconds)
        return AIMessage(ANSWER)

    return work


build = partial(by_hand.build, visit=plain)
build_fan = partial(by_hand.build_fan, visit=plain)
