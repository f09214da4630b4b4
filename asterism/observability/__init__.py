"""Pictures of what ran: the record of a thread, its drawings, the difference of two.

Traces: what happened in every run, recorded from the event bus.

```
what one can ask    SupervisorTrace (recorder), Trace (model), analyze_traces (analysis)
what is heard       the levels (levels); a trace is read from its notes (reading)
where they stand    MemoryShelf (memory), FileShelf (files), within limits (retention)
```
"""

from asterism.observability.compare import Change, Difference, compare_runs
from asterism.observability.from_checkpoints import aread_run, aread_thread, read_run, saver_of
from asterism.observability.record import (
    RequestRecord,
    RoundRecord,
    RunRecord,
    TaskRecord,
    ToolRecord,
    VisitRecord,
)
from asterism.observability.recorder import SupervisorTrace
from asterism.observability.render.drawings import (
    Format,
    generate_detailed_tool_trace,
    generate_orchestrator_flowchart,
    generate_timeline,
)
from asterism.observability.trace import (
    Trace,
    TraceCall,
    TraceDecision,
    TraceError,
    TraceEvent,
    TraceInteraction,
    TraceLevel,
    TraceMetrics,
    analyze_traces,
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


__all__ = [
    "SupervisorTrace",
    "Trace",
    "TraceCall",
    "TraceDecision",
    "TraceError",
    "TraceEvent",
    "TraceInteraction",
    "TraceLevel",
    "TraceMetrics",
    "analyze_traces",
]
