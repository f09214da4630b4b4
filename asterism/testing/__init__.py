"""Test doubles and testers that ship with the library: scripted, strict, without a network."""

from asterism.testing.agent_tester import AgentTester
from asterism.testing.cassette import Cassette, CassetteChatModel
from asterism.testing.conformance import (
    ConformanceReport,
    acheck_participant,
    check_participant,
)
from asterism.testing.orchestrator_tester import OrchestratorTester
from asterism.testing.scripted_model import (
    ScriptedCall,
    ScriptedChatModel,
    ScriptedReply,
    UnexpectedModelCallError,
    WordEmbeddings,
)
from asterism.testing.tape import CassetteMismatchError
from asterism.testing.team_model import TeamChatModel

__all__ = [
    "AgentTester",
    "Cassette",
    "CassetteChatModel",
    "CassetteMismatchError",
    "ConformanceReport",
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
