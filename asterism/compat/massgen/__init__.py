"""MassGen's guide to advanced usage: change the import, keep the rest.

```python
from asterism.compat.massgen import Agent, Orchestrator
```

Everything here is a thin layer over `SupervisorWorkflowBuilder`; docs/names.md has the table.
Tests: tests/asterism/compat/test_massgen.py, tests/seeds/test_003.py.
"""

from asterism.compat.massgen.cache import IntelligentCache
from asterism.compat.massgen.integration import MicroserviceAgent
from asterism.compat.massgen.memory import ContextManager, LongTermMemory, SharedMemory
from asterism.compat.massgen.metrics import MetricsCollector
from asterism.compat.massgen.observability import Tracer
from asterism.compat.massgen.resilience import CircuitBreaker
from asterism.compat.massgen.teams import (
    AdaptiveOrchestrator,
    Agent,
    CompensatingOrchestrator,
    DynamicOrchestrator,
    Orchestrator,
    ParallelOrchestrator,
    PersonalityAgent,
    Result,
    SpecializedAgent,
)
from asterism.compat.massgen.testing import AgentTester, MockBackend, OrchestratorTester
from asterism.events import Event, EventBus
from asterism.limits.rate_limits import ResourceManager

__all__ = [
    "AdaptiveOrchestrator",
    "Agent",
    "AgentTester",
    "CircuitBreaker",
    "CompensatingOrchestrator",
    "ContextManager",
    "DynamicOrchestrator",
    "Event",
    "EventBus",
    "IntelligentCache",
    "LongTermMemory",
    "MetricsCollector",
    "MicroserviceAgent",
    "MockBackend",
    "Orchestrator",
    "OrchestratorTester",
    "ParallelOrchestrator",
    "PersonalityAgent",
    "ResourceManager",
    "Result",
    "SharedMemory",
    "SpecializedAgent",
    "Tracer",
]
