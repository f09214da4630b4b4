"""A supervision tree: children with quotas, a pause, a kill, a restart, events and progress.

Run it: `python examples/supervision_tree.py`. It needs no key. Page: docs/supervision.md.
"""

import asyncio
from typing import Any

from asterism import (
    AgentQuota,
    AgentSupervisor,
    Participant,
    SupervisionEvent,
    SupervisorConfig,
    SupervisorWorkflowBuilder,
)
from asterism.errors import ChildKilledError


class AgentLoop:
    """An agent of one's own: it goes round, and tells after each round."""

    on_iteration: Any = None

    def __init__(self, rounds: int, breaks: bool = False) -> None:
        self.rounds, self.breaks = rounds, breaks

    async def run(self, task: str, session_id: str | None = None) -> str:
        for number in range(1, self.rounds + 1):
            await self.on_iteration(number, [])
            if self.breaks:
                self.breaks = False
                raise ConnectionError("the network is down")
            await asyncio.sleep(0.01)
        return f"{task}: done in {self.rounds} rounds"


def tell(event: SupervisionEvent) -> None:
    if event.type not in ("heartbeat", "progress"):
        print(f"[{event.child_name}] {event.type.value} {event.message}".rstrip())


def prices(messages: list[Any]) -> str:
    """Tells prices."""
    return "3 dollars"


async def main() -> None:
    config = SupervisorConfig(max_children=20, auto_kill_on_quota=True)
    async with AgentSupervisor(config, on_event=tell) as supervisor:
        child = await supervisor.spawn(
            name="data_analyzer",
            task="Analyze",
            loop_factory=lambda: AgentLoop(3),
            quotas=AgentQuota(max_duration=600, max_cost_usd=2.0),
        )
        print(await supervisor.await_child(child.id, timeout=600))

        # It breaks once, and is restarted.
        broken = AgentLoop(2, breaks=True)
        quota = AgentQuota(max_retries=1, retry_delay=0)
        again = await supervisor.spawn("broken", "Try", agent_loop=broken, quotas=quota)
        print(await supervisor.await_child(again))

        # It would go round for ever, and is killed at its quota.
        runaway = await supervisor.spawn(
            "runaway", "Run", agent_loop=AgentLoop(10**6), quotas=AgentQuota(max_iterations=5)
        )
        try:
            await supervisor.await_child(runaway)
        except ChildKilledError as error:
            print(error)

        # A workflow is a child, too.
        shop = SupervisorWorkflowBuilder("Shop", model="offline").participants(
            clerk=Participant(runs=prices, description="Tells prices.")
        )
        sold = await supervisor.spawn("shop", "What is the price?", shop.build())
        print((await supervisor.await_child(sold))["status"])

        # It rests at its next round, goes on, and is killed by hand.
        endless = await supervisor.spawn("endless", "Run", agent_loop=AgentLoop(10**6))
        await asyncio.sleep(0.05)
        print("paused:", await supervisor.pause_child(endless))
        print("resumed:", await supervisor.resume_child(endless))
        print("killed:", await supervisor.kill_child(endless, reason="enough"))
        print("killed again:", await supervisor.kill_child(endless))

        progress = await supervisor.aggregate_progress()
        print(f"{progress['completed']} of {progress['total_children']} children completed")
        for one in await supervisor.list_children():
            print(f"- {one.name}: {one.status.value}, {one.usage.restarts} restarts")


if __name__ == "__main__":
    asyncio.run(main())
