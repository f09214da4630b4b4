"""The members of a team: participants as their workflow runs them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START

from asterism.core.agent_spec import ModelLike
from asterism.core.continuation import Graph, needs_async
from asterism.limits.budgets import Budget
from asterism.limits.failure_policies import Policy, merge_policies
from asterism.memories.long_term import LongTermMemory
from asterism.nodes.engine import chosen_limit, has_graph_inside
from asterism.nodes.grants import Grant
from asterism.nodes.kinds import (
    MAX_STEPS,
    Participant,
    max_steps_of,
    public_description,
    service_of,
)
from asterism.nodes.local import participant_graph
from asterism.nodes.outputs import output_keys, supports_v2_stream

STRUCTURED = "structured_response"
"""Where the state of an agent holds its structured answer."""


@dataclass(frozen=True, kw_only=True)
class ParticipantRuntime:
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
    stores_steps: bool = True
    """Whether each step of its turns is stored, or a turn once, at its end."""
    max_steps: int | None = None
    """How many model calls a visit may make. None: nothing here limits them."""
    counts_calls: bool = False
    """Whether its graph counts them itself."""
    is_workflow: bool = field(init=False)
    collects_leanly: bool = field(init=False)
    needs_async: bool = field(init=False)
    """Whether its graph cannot be run in sync, and is given an event loop of its own."""
    has_messages: bool = field(init=False)
    """Whether its graph's output has messages; else its other output is the answer."""
    answer_keys: tuple[str, ...] = field(init=False)
    """What of its state is an answer besides messages."""

    def __post_init__(self) -> None:
        """Note what its graph is."""
        object.__setattr__(self, "is_workflow", "reports" in self.graph.channels)
        object.__setattr__(self, "collects_leanly", supports_v2_stream(self.graph))
        object.__setattr__(self, "needs_async", needs_async(self.graph))
        outputs = output_keys(self.graph)
        object.__setattr__(self, "has_messages", "messages" in outputs)
        structured = () if self.is_workflow or STRUCTURED not in outputs else (STRUCTURED,)
        keys = structured if "messages" in outputs else outputs
        object.__setattr__(self, "answer_keys", keys)

    def step_limit(self, config: RunnableConfig) -> int | None:
        """Return how many engine steps `max_steps` is, or None where somebody chose a limit.

        From one model call to the next, an agent takes at most one step in each of its nodes: its
        model, its tools, the hooks of its middleware. The engine takes one step more to see that
        nothing is left to do; it fits where a node `tools` has no part in the last round.

        Args:
            config: That of the node that makes the visit.
        """
        chosen = not self.counts_calls and (chosen_limit(self.graph.config) or chosen_limit(config))
        if self.max_steps is None or chosen:
            return None
        nodes = [name for name in self.graph.nodes if name != START]
        return self.max_steps * max(2, len(nodes)) + ("tools" not in nodes)


def create_participant_runtime(
    name: str,
    thing: object,
    default_model: ModelLike | None,
    policies: Sequence[Policy] = (),
    task_budget: Budget | None = None,
    recalls: LongTermMemory | None = None,
    max_steps: int = MAX_STEPS,
) -> ParticipantRuntime:
    """Make a member of a team of anything that may be a participant.

    Args:
        name: The participant's id.
        thing: What `fault_of` finds no fault with.
        default_model: The model of a participant that has none.
        policies: Those of the workflow.
        task_budget: What each of its tasks may take.
        recalls: What is recalled for its visits, where it says nothing itself.
        max_steps: How many model calls a visit may make, where it says nothing itself.
    """
    spec = thing if isinstance(thing, Participant) else Participant()
    steps = max_steps_of(thing, max_steps)
    graph = participant_graph(name, thing, default_model, steps)
    return ParticipantRuntime(
        name=name,
        graph=graph,
        stores_steps=_has_steps(graph, spec.runs if thing is spec else thing),
        max_steps=steps,
        counts_calls=bool(spec.tools),
        description=public_description(thing),
        policies=merge_policies(policies, spec.policies),
        service=service_of(thing, default_model) or name,
        undo=spec.undo,
        budget=spec.budget,
        task_budget=task_budget,
        forgets=spec.memory is not None and not spec.memory.enabled,
        recalls=spec.recalls or recalls,
    )


def _has_steps(graph: Graph, runs: object) -> bool:
    """Whether a turn has steps that a crash must not repeat, so that each of them is stored.

    It has none where a single node does everything: then a turn is stored once, at its end. A
    function or a chain with a graph inside has those of that graph.
    """
    nodes = [name for name in graph.nodes if name != START]
    below: list[Any] = list(cast(Any, graph).get_subgraphs())
    return len(nodes) > 1 or bool(below) or has_graph_inside(runs)
