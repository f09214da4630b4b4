"""Teams on several models for the command line: a builder, compiled graphs, a function."""

from typing import Any

from langgraph.types import interrupt

from asterism import Participant, SupervisorWorkflowBuilder
from asterism.core.agent_spec import ModelLike


def price(item: str) -> str:
    """Tell what an item costs."""
    return f"Price: $2.00 for {item}"


def _team(model: ModelLike | None, **own: Any) -> SupervisorWorkflowBuilder:
    clerk = Participant(tools=[price], description="Tells what a pen costs.", **own)
    return SupervisorWorkflowBuilder("Shop", model=model).participants(clerk=clerk)


def make(model: Any) -> SupervisorWorkflowBuilder:
    """Make a team on a model."""
    return _team(model)


builder = _team("offline")
compiled = builder.build()
paid = _team("openai:gpt-5-mini")
mixed = _team("offline", fallback_model="openai:gpt-5-mini")


def _breaks(messages: Any) -> str:
    """Breaks down."""
    raise RuntimeError("no connection: password=hunter2")


def _works(messages: Any) -> str:
    """Works."""
    return "done"


broken = SupervisorWorkflowBuilder("Broken", model="offline").participants(breaks=_breaks)
half = SupervisorWorkflowBuilder("Half", model="offline").participants(breaks=_breaks, works=_works)


def _asks(messages: Any) -> str:
    """Asks for a colour."""
    return f"It is {interrupt('Which?')}."


asking = (
    SupervisorWorkflowBuilder("Asking", model="offline")
    .participants(hall=_asks, menu=_asks)
    .with_strategy("parallel")
)
