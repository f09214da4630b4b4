"""Traces: what happened in every run, recorded from the event bus.

```
what one can ask    SupervisorTrace (recorder), Trace (model), analyze_traces (analysis)
what is heard       the levels (levels); a trace is read from its notes (reading)
where they stand    MemoryShelf (memory), FileShelf (files), within limits (retention)
```
"""

from asterism.tracing.analysis import TraceMetrics, analyze_traces
from asterism.tracing.levels import TraceLevel
from asterism.tracing.model import (
    Trace,
    TraceCall,
    TraceDecision,
    TraceError,
    TraceEvent,
    TraceInteraction,
)
from asterism.tracing.recorder import SupervisorTrace

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
