"""Test doubles that ship with the library: scripted, strict, without a network."""

from asterism.testing.conformance import (
    ConformanceReport,
    acheck_participant,
    check_participant,
)
from asterism.testing.embeddings import WordEmbeddings
from asterism.testing.scripted import (
    ScriptedCall,
    ScriptedChatModel,
    ScriptedReply,
    UnexpectedModelCallError,
)

__all__ = [
    "ConformanceReport",
    "ScriptedCall",
    "ScriptedChatModel",
    "ScriptedReply",
    "UnexpectedModelCallError",
    "WordEmbeddings",
    "acheck_participant",
    "check_participant",
]
