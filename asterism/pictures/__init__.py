"""Pictures of what ran: the record of a thread, its drawings, the difference of two."""

from asterism.pictures.difference import Change, Difference, compare_runs
from asterism.pictures.drawing import (
    Format,
    generate_detailed_tool_trace,
    generate_orchestrator_flowchart,
    generate_timeline,
)
from asterism.pictures.reading import aread_run, aread_thread, read_run, saver_of
from asterism.pictures.record import (
    RequestRecord,
    RoundRecord,
    RunRecord,
    TaskRecord,
    ToolRecord,
    VisitRecord,
)

__all__ = [
    "Change",
    "Difference",
    "Format",
    "RequestRecord",
    "RoundRecord",
    "RunRecord",
    "TaskRecord",
    "ToolRecord",
    "VisitRecord",
    "aread_run",
    "aread_thread",
    "compare_runs",
    "generate_detailed_tool_trace",
    "generate_orchestrator_flowchart",
    "generate_timeline",
    "read_run",
    "saver_of",
]
