"""Test doubles and testers that ship with the library: scripted, strict, without a network."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asterism.testing.agent_tester import AgentTester
    from asterism.testing.cassette import Cassette, CassetteChatModel, CassetteMismatchError
    from asterism.testing.conformance import (
        ConformanceReport,
        acheck_participant,
        check_participant,
    )
    from asterism.testing.orchestrator_tester import OrchestratorTester
    from asterism.testing.scripted_model import (
        MockBackend,
        ScriptedCall,
        ScriptedChatModel,
        ScriptedReply,
        UnexpectedModelCallError,
        WordEmbeddings,
    )
    from asterism.testing.team_model import TeamChatModel

__all__ = [
    "AgentTester",
    "Cassette",
    "CassetteChatModel",
    "CassetteMismatchError",
    "ConformanceReport",
    "MockBackend",
    "OrchestratorTester",
    "ScriptedCall",
    "ScriptedChatModel",
    "ScriptedReply",
    "TeamChatModel",
    "UnexpectedModelCallError",
    "WordEmbeddings",
    "acheck_participant",
    "check_participant",
]

_NAMES = {
    "agent_tester": "AgentTester",
    "cassette": "Cassette CassetteChatModel CassetteMismatchError",
    "conformance": "ConformanceReport acheck_participant check_participant",
    "orchestrator_tester": "OrchestratorTester",
    "scripted_model": "MockBackend ScriptedCall ScriptedChatModel ScriptedReply "
    "UnexpectedModelCallError WordEmbeddings",
    "team_model": "TeamChatModel",
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: every run of pytest loads this package."""
    if name not in _HOMES:
        raise AttributeError(f"module 'asterism.testing' has no attribute {name!r}")
    value = getattr(import_module(f"asterism.testing.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
