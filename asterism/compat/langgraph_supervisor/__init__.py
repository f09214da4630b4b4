"""langgraph-supervisor's interface: change the import, keep the rest.

```python
from asterism.compat.langgraph_supervisor import create_supervisor
```

What is different is told in docs/migration.md.
"""

from asterism.compat.langgraph_supervisor.handoff import (
    create_forward_message_tool,
    create_handoff_tool,
)
from asterism.compat.langgraph_supervisor.supervisor import SupervisorGraph, create_supervisor

__all__ = [
    "SupervisorGraph",
    "create_forward_message_tool",
    "create_handoff_tool",
    "create_supervisor",
]
