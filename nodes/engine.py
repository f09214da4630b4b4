"""The private keys of the engine that the guard below needs, in one place.

LangGraph hands `RESUMING=True` to every subgraph of a resumed run. A graph compiled with
`checkpointer=True` always has a checkpoint, so when its turn N was scheduled but not yet
begun, it takes its finished turn N-1 for the thing to resume: it does not run, and its old
report is delivered as the new one (langchain-ai/langgraph#3206). A canary test tells when
LangGraph mends it.
"""

from typing import Any

from langchain_core.runnables import RunnableConfig

_RESUMING = "__pregel_resuming"
_REPLAY = "__pregel_replay_state"
_SAVER = "__pregel_checkpointer"


def is_resuming(config: RunnableConfig) -> bool:
    """Whether the engine would take a participant's last turn for the one to resume.

    In a replay of an earlier checkpoint it does not: there it starts the turn by itself.
    """
    configurable = _configurable(config)
    return bool(configurable.get(_RESUMING)) and configurable.get(_REPLAY) is None


def new_turn() -> dict[str, Any]:
    """Return the config entries that make a participant start a turn rather than resume one."""
    return {_RESUMING: False}


def has_saver(config: RunnableConfig) -> bool:
    """Whether the run is stored; a durability may be given only then."""
    return _configurable(config).get(_SAVER) is not None


def _configurable(config: RunnableConfig) -> dict[str, Any]:
    return config.get("configurable") or {}
