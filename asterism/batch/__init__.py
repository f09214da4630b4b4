"""Many requests to one graph, each on a thread of its own."""

from asterism.batch.outcomes import BatchOutcome, BatchProgress
from asterism.batch.processing import abatch_process, batch_process

__all__ = ["BatchOutcome", "BatchProgress", "abatch_process", "batch_process"]
