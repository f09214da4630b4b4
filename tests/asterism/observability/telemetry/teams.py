"""Teams whose telemetry is looked at."""

from typing import Any

from langgraph.types import RetryPolicy, interrupt

from asterism import EventBus, Participant, SupervisorWorkflowBuilder
from asterism.core.run_types import WorkflowInput
from asterism.testing import ScriptedChatModel
from asterism.testing.scripted_model import ScriptedReply

SECRET = "the codeword is mulberry"
REQUEST: WorkflowInput = {"messages": [("user", f"Plan it; {SECRET}")]}


def price(city: str) -> str:
    """Look up a price."""
    return f"3 dollars; {SECRET}"


def caterer() -> Participant:
    """A participant that calls a tool, then answers."""
    replies = [
        ScriptedReply(tool_calls=[("price", {"city": SECRET})], usage=(7, 2)),
        ScriptedReply(text=f"done; {SECRET}", usage=(11, 3)),
    ]
    return Participant(
        description="Cooks.",
        model=ScriptedChatModel(script=replies),
        tools=[price],
        prompt=f"You cook. {SECRET}",
    )


def fail(messages: Any) -> str:
    raise ValueError(SECRET)


def ask(messages: Any) -> str:
    return f"told {interrupt({'prompt': SECRET})}"


def flaky(times: int) -> Participant:
    """A participant that fails a number of times before it works."""
    left = [times]

    def work(messages: Any) -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise ConnectionError(SECRET)
        return "at last"

    policy = RetryPolicy(initial_interval=0.001, retry_on=ConnectionError, max_attempts=times + 1)
    return Participant(runs=work, description="Works at last.", policies=[policy])


def team(decide: Any, bus: EventBus | None = None, saver: Any = None, **members: Any) -> Any:
    """A workflow named Party of participants or functions."""
    specs = {
        name: member
        if isinstance(member, Participant)
        else Participant(runs=member, description=name)
        for name, member in members.items()
    }
    return (
        SupervisorWorkflowBuilder("Party", finish="forward", events=bus)
        .participants(**specs)
        .with_manager(decide)
        .build(checkpointer=saver)
    )
