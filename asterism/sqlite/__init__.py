"""Sqlite files: checkpoints that share transactions, and histories that are read once."""

from asterism.sqlite.files import faults, prepare
from asterism.sqlite.saver import FORMAT, GroupCommitSaver

__all__ = ["FORMAT", "GroupCommitSaver", "faults", "prepare"]
