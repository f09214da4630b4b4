"""LangGraph's private config keys, in the one file that knows them.

Open it when LangGraph changes, or to see how a turn is kept from being resumed by mistake:
LangGraph hands `RESUMING=True` to every subgraph of a resumed run. A graph compiled with
`checkpointer=True` always has a checkpoint, so when its turn N was scheduled but not yet
begun, it takes its finished turn N-1 for the thing to resume: it does not run, and its old
report is delivered as the new one (langchain-ai/langgraph#3206). A canary test tells when
LangGraph mends it. Tests: tests/graphs/test_steps.py, tests/graphs/test_turns.py.
"""

from collections.abc import Collection, Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import DEFAULT_RECURSION_LIMIT as LANGCHAIN_LIMIT
from langgraph.errors import GraphInterrupt
from langgraph.graph import START
from langgraph.pregel import _utils
from langgraph.types import Interrupt, StateSnapshot

from asterism.core.continuation import is_runnable
from asterism.core.sync_async import Call, Steps
from asterism.core.thread_lease import WriteFence

_engine_utils: Any = _utils  # its functions are not typed
find_subgraph_pregel = _engine_utils.find_subgraph_pregel
get_function_nonlocals = _engine_utils.get_function_nonlocals

_DURABILITY = "__pregel_durability"
_RESUMING = "__pregel_resuming"
_REPLAY = "__pregel_replay_state"
_SAVER = "__pregel_checkpointer"
_ANSWERS = "__pregel_resume_map"
_RESUME = "__resume__"
_SCRATCHPAD = "__pregel_scratchpad"
_STREAM = "__pregel_stream"
_PLACE = "checkpoint_ns"
_SENDS, _BRANCH = "__pregel_tasks", "branch:to:"
UNCHOSEN = (None, LANGCHAIN_LIMIT, 10_007, 9_999)
"""Values of `recursion_limit` that nobody has chosen: the defaults of LangChain, LangGraph and
`create_agent`."""


def is_resuming(config: RunnableConfig) -> bool:
    """Whether the engine would take a participant's last turn for the one to resume."""
    return bool(_configurable(config).get(_RESUMING))


def without_replay(config: RunnableConfig) -> dict[str, Any]:
    """Return the config entries that let a participant go on with what it stored last.

    In a fork the engine would look for what it stored before the fork by the clock, so among all
    branches; what it stored on this one has been made the latest before the run began.
    """
    return {} if _configurable(config).get(_REPLAY) is None else {_REPLAY: None}


def new_turn_config() -> dict[str, Any]:
    """Return the config entries that make a participant start a turn rather than resume one."""
    return {_RESUMING: False}


def resume_turn_config() -> dict[str, Any]:
    """Return the config entries that make a participant go on with a turn that has begun."""
    return {_RESUMING: True}


def participant_place(config: RunnableConfig, name: str) -> dict[str, Any]:
    """Return the config entries that run a participant from another node, or once more.

    A participant's history has its name for a place. The engine would add the calling node
    and, from the second call on, a number; the counter of those calls stands in the
    scratchpad of the calling node, so that is left out.
    """
    configurable = _configurable(config)
    return {**configurable, _PLACE: place_of(config, name), _SCRATCHPAD: None}


def place_of(config: RunnableConfig, name: str) -> str:
    """Return the namespace of a participant, seen from a node of its workflow."""
    above = str(_configurable(config).get(_PLACE) or "").split("|")[:-1]
    return "|".join([*(part.split(":")[0] for part in above if not part.isdigit()), name])


def stored_answers(config: RunnableConfig, name: str, last: StateSnapshot) -> Steps[dict[str, Any]]:
    """Return the config entries that leave out the answers which an attempt has used.

    The engine hands all answers of a resumed run to each attempt, and gives one that was used
    to the next question, too.
    """
    answers: dict[str, Any] = _configurable(config).get(_ANSWERS) or {}
    place = place_of(config, name)
    if not answers or not has_saver(config):
        return {}
    found = yield from _read_latest(config, place)
    writes: list[tuple[str, str, Any]] = (found and found.pending_writes) or []
    used = {task for task, channel, _ in writes if channel == _RESUME}
    gone = {
        Interrupt.from_ns(None, f"{place}|{task.name}:{task.id}").id
        for task in last.tasks
        if task.id in used
    }
    return {_ANSWERS: {key: value for key, value in answers.items() if key not in gone}}


def keys_of_earlier_turns(
    config: RunnableConfig, name: str, keys: Collection[str]
) -> Steps[set[str]]:
    """Return those of the keys of a participant's state that its latest turn has not written.

    A turn begins by writing the channel of its input; what was written since has a later version.
    """
    found = yield from _read_latest(config, place_of(config, name))
    versions: Mapping[str, Any] = found.checkpoint["channel_versions"] if found else {}
    began = versions.get(START)
    return {key for key in keys if began is not None and key in versions and versions[key] <= began}


def _read_latest(config: RunnableConfig, place: str) -> Steps[Any]:
    """Read the latest checkpoint at a place of the run's thread."""
    saver = parent_checkpointer(config)
    at = {"configurable": {"thread_id": _configurable(config)["thread_id"], _PLACE: place}}
    return (yield Call(saver.get_tuple, saver.aget_tuple, (at,)))


def answers_others(config: RunnableConfig, last: StateSnapshot) -> bool:
    """Whether a participant asks, and the answers of the run are to questions of others."""
    answers: dict[str, Any] | None = _configurable(config).get(_ANSWERS)
    asked = {interrupt.id for interrupt in last.interrupts}
    return bool(answers and asked) and not asked.intersection(answers or ())


def at_breakpoint(config: RunnableConfig, name: str) -> GraphInterrupt:
    """Return the question by which a participant that rests at a breakpoint is seen to wait."""
    prompt = f"{name} rests at a breakpoint. Let it go on?"
    value = {"prompt": prompt, "request_type": "breakpoint"}
    return GraphInterrupt([Interrupt.from_ns(value, place_of(config, name))])


def parent_checkpointer(config: RunnableConfig) -> Any:
    """Return the saver that a workflow inside a workflow was lent, or None."""
    return _configurable(config).get(_SAVER)


def participant_config(config: RunnableConfig, saver: Any, name: str) -> RunnableConfig:
    """Return the config that reads what a participant stored, from that of its workflow."""
    above = _configurable(config)
    place = "|".join(filter(None, (above.get(_PLACE), name)))
    thread = {"thread_id": above.get("thread_id")}
    return {"configurable": {**thread, _SAVER: saver, _PLACE: place}}


def with_write_fence(
    config: RunnableConfig, overrides: Mapping[str, Any], fence: WriteFence
) -> dict[str, Any]:
    """Return `config` and `overrides` with the saver put behind a fence."""
    saver = overrides.get(_SAVER) or _configurable(config).get(_SAVER)
    if saver is None:
        return {"config": config, "overrides": overrides}
    behind = {_SAVER: fence.saver(saver)}
    inside: RunnableConfig = {**config, "configurable": {**_configurable(config), **behind}}
    return {"config": inside, "overrides": {**overrides, **behind}}


def without_checkpointer() -> dict[str, Any]:
    """Return the config entries that let a graph inside a node run without being stored.

    Compiled with `checkpointer=False` it would fail under the durability `sync` of the run.
    """
    return {_SAVER: None, _DURABILITY: "async", _RESUMING: False}


def has_graph_inside(runs: Any) -> bool:
    """Whether a function or a chain runs a graph, as far as can be seen from outside.

    Looked at is what a function reaches by name, and what the object of a method holds.
    """
    if is_runnable(runs):
        return find_subgraph_pregel(runs) is not None
    owner = getattr(runs, "__self__", runs)
    held = [*getattr(owner, "__dict__", {}).values(), owner]
    for function in (runs, getattr(runs.__class__, "__call__", None)):  # noqa: B004 - its class has it
        held += get_function_nonlocals(function)
    found = (getattr(thing, "__self__", thing) for thing in held)
    return any(is_runnable(thing) and find_subgraph_pregel(thing) is not None for thing in found)


def chosen_limit(config: RunnableConfig | None) -> int | None:
    """Return the `recursion_limit` that somebody has chosen, or None."""
    limit = (config or {}).get("recursion_limit")
    return None if limit in UNCHOSEN else limit


def resolve_checkpointer(given: Any) -> Any:
    """Return the saver that is given, or open the one whose database is named."""
    if not isinstance(given, str):
        return given
    from asterism.storage.open import keep_open, open_checkpointer

    return keep_open(open_checkpointer(given))


def has_saver(config: RunnableConfig) -> bool:
    """Whether the run is stored; a durability may be given only then."""
    return _configurable(config).get(_SAVER) is not None


def streams_subgraphs(config: RunnableConfig) -> bool:
    """Whether what happens inside of participants is streamed, too."""
    return _configurable(config).get(_STREAM) is not None


def nodes_sent_to(values: Mapping[str, Any]) -> list[str]:
    """Return the nodes that a checkpoint has sent to, given its channel values."""
    named = [key.removeprefix(_BRANCH) for key in values if key.startswith(_BRANCH)]
    return named + [str(send.node) for send in values.get(_SENDS) or ()]


def _configurable(config: RunnableConfig) -> dict[str, Any]:
    return config.get("configurable") or {}
