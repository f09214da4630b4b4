"""Many requests to one graph, each on a thread of its own."""

from asterism.programs.batch.batch import abatch_process, batch_process
from asterism.programs.batch.item import BatchOutcome, BatchProgress

__all__ = ["BatchOutcome", "BatchProgress", "abatch_process", "batch_process"]
