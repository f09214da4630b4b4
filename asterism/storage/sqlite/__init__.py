"""Sqlite files: checkpoints that share transactions, and histories that are read once."""

from asterism.storage.sqlite.connection import faults, prepare
from asterism.storage.sqlite.saver import FORMAT, GroupCommitSaver

__all__ = ["FORMAT", "GroupCommitSaver", "faults", "prepare"]
