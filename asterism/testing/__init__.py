"""Test doubles and testers that ship with the library: scripted, strict, without a network."""

from asterism.testing.agents import AgentTester
from asterism.testing.cassettes import Cassette
from asterism.testing.conformance import (
    ConformanceReport,
    acheck_participant,
    check_participant,
)
from asterism.testing.embeddings import WordEmbeddings
from asterism.testing.recording import CassetteChatModel
from asterism.testing.scripted import (
    ScriptedCall,
    ScriptedChatModel,
    ScriptedReply,
    UnexpectedModelCallError,
)
from asterism.testing.speakers import TeamChatModel
from asterism.testing.tapes import CassetteMismatchError
from asterism.testing.teams import OrchestratorTester

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
