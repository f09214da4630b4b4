"""Pictures of what ran: the record of a thread, and its drawings."""

from asterism.pictures.reading import aread_run, read_run
from asterism.pictures.record import RequestRecord, RoundRecord, RunRecord, ToolRecord, VisitRecord

__all__ = [
    "RequestRecord",
    "RoundRecord",
    "RunRecord",
    "ToolRecord",
    "VisitRecord",
    "aread_run",
    "read_run",
]
