"""The members of a team: participants as their workflow runs them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from asterism.budgets import Budget
from asterism.models import ModelLike
from asterism.nodes.grants import Grant
from asterism.nodes.kinds import Participant, public_description, service_of
from asterism.nodes.local import participant_graph
from asterism.nodes.outputs import collects_leanly, output_keys
from asterism.remembering.longterm import LongTermMemory
from asterism.resilience import Policy, together
from asterism.runs import Graph, needs_async

STRUCTURED = "structured_response"
"""Where the state of an agent holds its structured answer."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """A participant as its workflow runs it."""

    name: str
    """Its id."""
    graph: Graph
    """Its graph, compiled with `checkpointer=True` and with a `messages` key."""
    description: str | None = None
    """What it is for, where that is no part of a prompt."""
    policies: Sequence[Policy] = ()
    """What happens when it fails, first = outermost."""
    service: str = ""
    """What its circuit breaker watches, where that names nothing itself."""
    undo: Callable[..., Any] | None = None
    """Takes back what a report tells of."""
    budget: Budget | None = None
    """What its visits for one request may take together."""
    task_budget: Budget | None = None
    """What this task may take."""
    forgets: bool = False
    """Whether each visit begins with an empty history."""
    recalls: LongTermMemory | None = None
    """What is recalled for each visit."""
    grant: Grant | None = None
    """What it sees of the workflow's state. None: its request alone."""
    durability: str | None = field(init=False)
    collects_leanly: bool = field(init=False)
    needs_async: bool = field(init=False)
    """Whether its graph cannot be run in sync, and is given an event loop of its own."""
    has_messages: bool = field(init=False)
    """Whether its graph's output has messages; else its other output is the answer."""
    answer_keys: tuple[str, ...] = field(init=False)
    """What of its state is an answer besides messages."""

    def __post_init__(self) -> None:
        """Choose how its turns are stored.

        A workflow inside a workflow stores each of its steps; a single participant's turn is
        stored once, because a crash within a turn repeats the turn in any case.
        """
        inner = "reports" in self.graph.channels
        object.__setattr__(self, "durability", None if inner else "exit")
        object.__setattr__(self, "collects_leanly", collects_leanly(self.graph))
        object.__setattr__(self, "needs_async", needs_async(self.graph))
        outputs = output_keys(self.graph)
        object.__setattr__(self, "has_messages", "messages" in outputs)
        structured = () if inner or STRUCTURED not in outputs else (STRUCTURED,)
        keys = structured if "messages" in outputs else outputs
        object.__setattr__(self, "answer_keys", keys)


def create_member(
    name: str,
    thing: object,
    default_model: ModelLike | None,
    policies: Sequence[Policy] = (),
    task_budget: Budget | None = None,
    recalls: LongTermMemory | None = None,
) -> Member:
    """Make a member of a team of anything that may be a participant.

    Args:
        name: The participant's id.
        thing: What `fault_of` finds no fault with.
        default_model: The model of a participant that has none.
        policies: Those of the workflow.
        task_budget: What each of its tasks may take.
        recalls: What is recalled for its visits, where it says nothing itself.
    """
    spec = thing if isinstance(thing, Participant) else Participant()
    return Member(
        name=name,
        graph=participant_graph(name, thing, default_model),
        description=public_description(thing),
        policies=together(policies, spec.policies),
        service=service_of(thing, default_model) or name,
        undo=spec.undo,
        budget=spec.budget,
        task_budget=task_budget,
        forgets=spec.memory is not None and not spec.memory.enabled,
        recalls=spec.recalls or recalls,
    )
