"""What happened in runs: records read from checkpoints, traces recorded from events, drawings.

```
record              the model: request, round, visit, tool; from_checkpoints reads it
trace, recorder     traces, kept by trace_store; from_events reads one of its notes
render/             flowchart, timeline, tree of tools, Mermaid, SVG, notebook
telemetry/          OpenTelemetry spans and metrics
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
from asterism.observability.telemetry import Metric, MetricsCollector, Tracer
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
    "Metric",
    "MetricsCollector",
    "RequestRecord",
    "RoundRecord",
    "RunRecord",
    "SupervisorTrace",
    "TaskRecord",
    "ToolRecord",
    "Trace",
    "TraceCall",
    "TraceDecision",
    "TraceError",
    "TraceEvent",
    "TraceInteraction",
    "TraceLevel",
    "TraceMetrics",
    "Tracer",
    "VisitRecord",
    "analyze_traces",
    "aread_run",
    "aread_thread",
    "compare_runs",
    "generate_detailed_tool_trace",
    "generate_orchestrator_flowchart",
    "generate_timeline",
    "read_run",
    "saver_of",
]
