"""A desk for tests of what models are sent: one clerk, and a supervisor that follows a script."""

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig

from asterism import EventBus, Participant, SupervisorWorkflowBuilder

WORDS = "word " * 60


def plain(messages: Sequence[BaseMessage]) -> list[tuple[str, str]]:
    return [(m.type, m.text) for m in messages]


def answer(messages: Any) -> str:
    """A long answer that is never the same."""
    return f"{WORDS}{len(messages)} {messages[-1].text[-12:]}"


def decisions(visits: int) -> list[Any]:
    made = [{"next_agent": "clerk", "instruction": f"Do part {n}"} for n in range(visits)]
    return [*made, {"next_agent": None}]


def desk(model: Any, saver: Any, bus: EventBus | None = None, **options: Any) -> Any:
    clerk = Participant(runs=answer, description="Works.", context=options.pop("memory", None))
    options = {"finish": "forward", **options}
    return (
        SupervisorWorkflowBuilder("Desk", model=model, events=bus, **options)
        .participants(clerk=clerk)
        .build(checkpointer=saver)
    )


def ask(workflow: Any, thread: RunnableConfig, times: int = 1) -> Any:
    for number in range(times):
        result = workflow.invoke({"messages": [("user", f"Request {number}")]}, thread)
    return result
