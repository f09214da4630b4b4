"""What cannot be honoured is refused by name, all of it at once."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel
from typing_extensions import get_type_hints

from asterism.compat.langgraph_supervisor.agents import has_messages
from asterism.compat.langgraph_supervisor.handoff import destinations
from asterism.core.continuation import is_runnable
from asterism.core.state import WorkflowState
from asterism.graphs.validation import count_faults, name_faults
from asterism.nodes.participant_spec import find_participant_fault

_SHARED = ("messages", "remaining_steps", "is_last_step", "structured_response")
"""Keys of a state that each of these workflows has anyhow."""


def participant_id(name: str) -> str:
    """Return the id of the participant that an agent becomes."""
    return re.sub(r"\s+", "_", name.strip())


def state_keys(schema: type[Any] | None) -> dict[str, Any]:
    """Return the further keys of a state, each with its annotation.

    What an agent keeps from its input and its output, as `jump_to` of LangChain's `AgentState`, is
    its own and is none of them.
    """
    if schema is None:
        return {}
    hints = get_type_hints(schema, include_extras=True)
    return {k: hint for k, hint in hints.items() if k not in _SHARED and not _is_private(hint)}


def _is_private(hint: Any) -> bool:
    return any(
        type(fact).__name__ == "OmitFromSchema" and fact.input and fact.output
        for fact in _annotations(hint)
    )


def _annotations(hint: Any) -> tuple[Any, ...]:
    """Return what is annotated to a type, also inside of `NotRequired` and the like."""
    while get_origin(hint) is not Annotated and get_args(hint):
        hint = get_args(hint)[0]
    return get_args(hint)[1:] if get_origin(hint) is Annotated else ()


def arguments_faults(
    *,
    agents: Sequence[Any],
    supervisor_name: str,
    tools: Sequence[Any],
    state_schema: type[Any] | None,
    output_mode: object,
    include_agent_name: object,
    limits: Mapping[str, object],
    others: Mapping[str, Any],
) -> list[str]:
    """Return every fault, each with the way out."""
    return [
        *_agent_faults(agents, supervisor_name),
        *_tool_faults(tools, [getattr(agent, "name", None) for agent in agents]),
        *_state_faults(state_schema),
        *_choice_faults("output_mode", output_mode, ("full_history", "last_message")),
        *_choice_faults("include_agent_name", include_agent_name, (None, "inline")),
        *(fault for name, limit in limits.items() for fault in count_faults(name, limit, least=1)),
        *(f"{name} is not honoured here; leave it out" for name in others),
    ]


def _agent_faults(agents: Sequence[Any], supervisor_name: str) -> Iterator[str]:
    if not agents:
        yield "there are no agents; give at least one"
    names: list[Any] = [getattr(agent, "name", None) for agent in agents]
    for agent, name in zip(agents, names, strict=True):
        if not is_runnable(agent):
            yield f"{agent!r} is no agent; allowed: a compiled graph, or another Runnable"
        elif name is None or name == "LangGraph":
            yield (
                "an agent has no name; give it one with create_agent(..., name=...) or "
                "graph.compile(name=...)"
            )
        elif name == supervisor_name:
            yield f"the agent {name!r} is called as the supervisor; rename one of them"
        else:
            yield from name_faults(participant_id(name))
            if has_messages(agent) and (fault := find_participant_fault(agent, None)):
                yield f"the agent {name!r} {fault}"
    for name, count in Counter(participant_id(name) for name in names if name).items():
        if count > 1:
            yield f"{count} agents are called {name!r}; names have to differ"


def _tool_faults(tools: Sequence[Any], agents: Sequence[str | None]) -> Iterator[str]:
    """Yield agents without a tool that hands over to them, where other agents have one."""
    named = destinations(tools)
    for name in agents if named else ():
        if name not in named:
            yield (
                f"tools have hand-offs of your own and none to the agent {name!r}; add "
                f"create_handoff_tool(agent_name={name!r})"
            )
    for name in named:
        if name not in agents:
            listed = ", ".join(map(repr, agents))
            yield f"a tool hands over to {name!r}, which is no agent; there are {listed}"


def _state_faults(schema: type[Any] | None) -> Iterator[str]:
    if schema is None:
        return
    if issubclass(schema, BaseModel):
        yield "state_schema is a pydantic model; give a TypedDict with the same keys"
        return
    taken = get_type_hints(WorkflowState)
    for name, hint in state_keys(schema).items():
        if name in taken:
            yield f"state_schema has the key {name!r}, which the workflow has itself; rename it"
        elif _has_reducer(hint):
            yield (
                f"state_schema gives the key {name!r} a reducer; use a plain key (the latest "
                "value counts), or keep what adds up in messages or the store"
            )


def _has_reducer(hint: Any) -> bool:
    return any(map(callable, _annotations(hint)))


def _choice_faults(name: str, value: object, allowed: Sequence[object]) -> Iterator[str]:
    if value not in allowed:
        yield f"{name} is {value!r}; allowed: {', '.join(map(repr, allowed))}"
