"""How much a trace keeps."""

from collections.abc import Mapping
from typing import Literal

from asterism.events import CALLS, TYPES, EventType, SupervisionEventType, WorkflowEventType

TraceLevel = Literal["off", "errors", "basic", "detailed"]
"""Nothing; beginnings, ends and errors; what happened; also the calls and the longer texts."""

_ENDS_AND_ERRORS: frozenset[EventType] = frozenset(
    {
        WorkflowEventType.RUN_STARTED,
        WorkflowEventType.RUN_ENDED,
        WorkflowEventType.TASK_FAILED,
        SupervisionEventType.SPAWNED,
        SupervisionEventType.STARTED,
        SupervisionEventType.PAUSED,
        SupervisionEventType.RESUMED,
        SupervisionEventType.COMPLETED,
        SupervisionEventType.FAILED,
        SupervisionEventType.KILLED,
    }
)
_ALL = frozenset(TYPES.values())

HEARD: Mapping[TraceLevel, frozenset[EventType]] = {
    "off": frozenset(),
    "errors": _ENDS_AND_ERRORS,
    "basic": _ALL - CALLS - {SupervisionEventType.HEARTBEAT},
    "detailed": _ALL,
}
"""The events that each level listens to."""

TEXT: Mapping[TraceLevel, int] = {"off": 0, "errors": 200, "basic": 200, "detailed": 4_000}
"""How many characters of each text a level keeps."""
