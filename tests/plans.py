"""Plans for tests: deciders that give one plan, participants that wait or fail."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from langchain_core.messages import AnyMessage

from asterism import Participant, SubAgentTask, SupervisorDecision, SupervisorView


def task(name: str, agent: str, *needs: str, **fields: Any) -> SubAgentTask:
    """A task that is described by its name."""
    return SubAgentTask(
        task_id=name,
        agent_id=agent,
        task_description=f"do {name}",
        dependencies=list(needs),
        **fields,
    )


def plan(*tasks: SubAgentTask) -> Callable[[SupervisorView], SupervisorDecision]:
    """A decider that gives one plan, then finishes."""

    def decide(view: SupervisorView) -> SupervisorDecision:
        if view.iterations:
            return SupervisorDecision(next_agent=None)
        return SupervisorDecision(next_agent=None, tasks=list(tasks))

    return decide


def waiting(name: str, seconds: float) -> Participant:
    """A participant that waits, sync in sync runs and async in async ones."""
    from langchain_core.runnables import RunnableLambda

    def wait(messages: Any) -> str:
        time.sleep(seconds)
        return f"{name} is done"

    async def await_(messages: Any) -> str:
        await asyncio.sleep(seconds)
        return f"{name} is done"

    return Participant(runs=RunnableLambda(wait, await_), description="Waits.")


def part(messages: Sequence[AnyMessage]) -> str:
    """What the last request asks of its participant."""
    return messages[-1].text.split("Your part: ")[-1].split("\n")[0]


async def drive(workflow: Any, way: str, given: Any, config: Any, **options: Any) -> Any:
    """Invoke a workflow the sync or the async way."""
    if way == "sync":
        return await asyncio.to_thread(workflow.invoke, given, config, **options)
    result: Awaitable[Any] = workflow.ainvoke(given, config, **options)
    return await result
