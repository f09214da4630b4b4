"""The topology of a workflow: a star of its supervisor and its participants.

```
START -> begin -> supervisor -> {participant..., dispatch, human, undo, finish}
participant -> supervisor ; human -> supervisor ; finish -> END
dispatch -> {dispatch, supervisor} ; undo -> {undo, supervisor}
```
Tests: tests/graphs/test_builder.py.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict, get_type_hints

from asterism.core.state import (
    ParticipantNodeInput,
    WorkflowInputSchema,
    WorkflowOutput,
    WorkflowState,
)
from asterism.nodes.decider import AnyDecider, DecisionRules
from asterism.nodes.human import create_human_node
from asterism.nodes.participant import create_participant_node
from asterism.nodes.plan_runner import create_plan_runner_node
from asterism.nodes.request import Writer, create_begin_node, create_finish_node, create_undo_node
from asterism.nodes.routing import BEGIN, DISPATCH, FINISH, HUMAN, SUPERVISOR, UNDO
from asterism.nodes.supervisor import SupervisorInput, create_supervisor_node
from asterism.nodes.team import Team

if TYPE_CHECKING:
    from asterism.nodes.compaction import Compactor


def create_star(
    team: Team,
    *,
    decider: AnyDecider,
    rules: DecisionRules,
    write: Writer,
    max_parallel_tasks: int,
    compactor: "Compactor | None" = None,
    keys: Mapping[str, Any] | None = None,
    context_schema: type[Any] | None = None,
    made_of: Callable[[], Mapping[str, str]] | None = None,
) -> StateGraph[Any, Any, Any, Any]:
    """Join a team to its supervisor.

    Args:
        team: Who takes part.
        decider: Who decides.
        rules: What holds for every decision.
        write: Writes the answer.
        max_parallel_tasks: How many tasks of a plan may run at once.
        compactor: Keeps the supervisor's prompts short.
        keys: Further keys of the state, for participants with a grant: name and annotation.
        context_schema: What a run is given besides its input.
        made_of: Returns what each request is stored with, as `hashes_of` does.
    """
    whole = extend_state_schema(WorkflowState, keys)
    star: StateGraph[Any, Any, Any, Any] = StateGraph(
        whole,
        context_schema,
        input_schema=extend_state_schema(WorkflowInputSchema, keys),
        output_schema=extend_state_schema(WorkflowOutput, keys),
    )
    undoing = [UNDO] if any(member.undo for member in team.members.values()) else []
    star.add_node(BEGIN, create_begin_node(made_of))
    star.add_node(
        SUPERVISOR,
        create_supervisor_node(decider, team, rules, compactor),
        input_schema=extend_state_schema(SupervisorInput, keys),
        destinations=(*team.members, DISPATCH, HUMAN, *undoing, FINISH),
    )
    for name, member in team.members.items():
        sees = whole if member.grant else ParticipantNodeInput
        star.add_node(name, create_participant_node(member), input_schema=sees)
        star.add_edge(name, SUPERVISOR)
    dispatch = create_plan_runner_node(team, max_parallel_tasks=max_parallel_tasks)
    # A loop from a node to itself breaks the engine's ASCII drawing, so it is not drawn.
    star.add_node(DISPATCH, dispatch, destinations=(SUPERVISOR,))
    for name in undoing:
        star.add_node(name, create_undo_node(team.members), destinations=(SUPERVISOR,))
    star.add_node(HUMAN, create_human_node())
    star.add_node(
        FINISH, create_finish_node(write), input_schema=extend_state_schema(SupervisorInput, keys)
    )
    star.add_edge(START, BEGIN)
    star.add_edge(BEGIN, SUPERVISOR)
    star.add_edge(HUMAN, SUPERVISOR)
    star.add_edge(FINISH, END)
    return star


def extend_state_schema(schema: type[Any], keys: Mapping[str, Any] | None) -> Any:
    """Return a schema of state with further keys."""
    if not keys:
        return schema
    own = get_type_hints(schema, include_extras=True)
    made: Any = TypedDict  # made of a mapping that no type checker knows
    return made(schema.__name__, {**keys, **own})
