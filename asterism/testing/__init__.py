"""Test doubles that ship with the library: scripted, strict, without a network."""

from asterism.testing.scripted import (
    ScriptedCall,
    ScriptedChatModel,
    ScriptedReply,
    UnexpectedModelCallError,
)

__all__ = ["ScriptedCall", "ScriptedChatModel", "ScriptedReply", "UnexpectedModelCallError"]
