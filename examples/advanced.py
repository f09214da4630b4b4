"""A guide to advanced orchestration as one program: offline, without a key.

Run it with `python examples/advanced.py`. With `asterism.compat.massgen`, only the imports and the
model's name differ from the guide; docs/names.md says what each name is in Asterism itself.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asterism.compat.massgen import (
    AdaptiveOrchestrator,
    Agent,
    CompensatingOrchestrator,
    DynamicOrchestrator,
    Orchestrator,
    ParallelOrchestrator,
    PersonalityAgent,
    ResourceManager,
    SpecializedAgent,
)
from asterism.compat.massgen.cache import IntelligentCache
from asterism.compat.massgen.events import Event, EventBus
from asterism.compat.massgen.memory import ContextManager, LongTermMemory, SharedMemory
from asterism.compat.massgen.metrics import MetricsCollector
from asterism.compat.massgen.resilience import CircuitBreaker
from asterism.compat.massgen.testing import AgentTester, MockBackend, OrchestratorTester

backend = "offline"  # or "openai:gpt-5-mini", or any chat model of LangChain


def show(title: str, *facts: object) -> None:
    print(f"{title}:", *facts)


def run_hierarchy() -> None:
    """Two teams with a lead each, and a team of these teams."""
    research_lead = Agent(name="ResearchLead", backend=backend, role="Research coordinator")
    dev_lead = Agent(name="DevLead", backend=backend, role="Development coordinator")
    research_team = Orchestrator(
        agents=[
            Agent(name="DataAnalyst", backend=backend),
            Agent(name="MarketResearcher", backend=backend),
        ],
        coordinator=research_lead,
    )
    dev_team = Orchestrator(
        agents=[
            Agent(name="Backend Dev", backend=backend),
            Agent(name="Frontend Dev", backend=backend),
        ],
        coordinator=dev_lead,
    )
    master = Orchestrator(orchestrators=[research_team, dev_team], strategy="hierarchical")
    result = master.run("Design and implement a new feature")
    show("hierarchy", result.status, [report["participant"] for report in result.interactions])


class TaskBasedOrchestrator(DynamicOrchestrator):
    """A team that depends on the task."""

    def create_agents_for_task(self, task: str) -> Sequence[Agent]:
        """Create those whose work the task names."""
        wanted = {"research": "Researcher", "code": "Coder", "review": "Reviewer"}
        return [
            Agent(name=name, backend=backend)
            for word, name in wanted.items()
            if word in task.lower()
        ]


def run_dynamic_team() -> None:
    result = TaskBasedOrchestrator().run("Research and code a solution")
    show("dynamic", result.status, [report["participant"] for report in result.interactions])


def run_adaptive_team() -> None:
    agents = [
        Agent(name="ann", backend=MockBackend(["The town hall.", "vote: ann"])),
        Agent(name="bob", backend=MockBackend(["The park.", "vote: ann"])),
    ]
    orchestrator = AdaptiveOrchestrator(
        agents=agents,
        strategy_selector=lambda task: (
            "parallel"
            if "urgent" in task.lower()
            else "consensus"
            if "decision" in task.lower()
            else "sequential"
        ),
    )
    show("adaptive", orchestrator.run("A decision: where do we meet?").splitlines()[0])


def run_memories(folder: Path) -> None:
    shared_memory = SharedMemory(capacity=10_000, persistence=True, storage_path=folder)
    shared_memory.write("budget", "The budget is $500.", by="Agent1")
    agent1 = Agent(name="Agent1", backend=backend, memory=shared_memory)
    agent2 = Agent(name="Agent2", backend=backend, memory=shared_memory)
    show("shared memory", Orchestrator(agents=[agent1, agent2]).run("What do we know?").status)

    place = f"sqlite:///{folder}/long_term.db"
    LongTermMemory(backend="sql", connection_string=place).remember("We chose the harbour.")
    ltm = LongTermMemory(backend="sql", connection_string=place)
    model = MockBackend(["We chose the harbour."])
    agent = Agent(name="MemoryAgent", backend=model, long_term_memory=ltm)
    show("long-term memory", agent.run("What did we discuss last week?"))
    show("it was recalled", "We chose the harbour." in model.calls[0].messages[-1].text)

    context_manager = ContextManager(
        max_tokens=8_000, strategy="sliding_window", compression_ratio=0.5
    )
    agent = Agent(name="ContextAgent", backend=backend, context_manager=context_manager)
    show("context", agent.run("Hello").status)


class CodeReviewAgent(SpecializedAgent):
    """An agent that reviews code by criteria."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.specialization = "code_review"
        self.review_criteria = ["code_quality", "performance", "security", "maintainability"]

    def review_code(self, code: str) -> dict[str, float]:
        """Give the code a score by each criterion."""
        return {name: self.evaluate(code, name).score for name in self.review_criteria}


def run_characters() -> None:
    model = MockBackend(["Hey, what about a treasure hunt?"])
    creative = PersonalityAgent(
        name="CreativeAgent",
        backend=model,
        personality={
            "creativity": 0.9,
            "analytical": 0.3,
            "risk_taking": 0.7,
            "detail_oriented": 0.4,
        },
        communication_style="informal",
    )
    show("personality", creative.run("An idea for the party?"))
    show("it is told", "You show exceptional creativity." in model.calls[0].messages[0].text)
    reviewer = CodeReviewAgent(name="Reviewer", backend=backend)
    show("review", reviewer.review_code("x = eval(input())"))


async def run_batch() -> None:
    orchestrator = ParallelOrchestrator(
        agents=[Agent(name="a", backend=backend), Agent(name="b", backend=backend)],
        max_concurrent=10,
        batch_size=5,
        use_thread_pool=True,
    )
    results = await orchestrator.batch_process(["Task 1", "Task 2", "Task 3"])
    show("batch", [result.status for result in results])


def run_limits() -> None:
    resource_manager = ResourceManager(
        max_tokens_per_minute=100_000, max_concurrent_requests=20, priority_queue=True
    )
    cache = IntelligentCache(
        strategy="semantic", similarity_threshold=0.95, ttl=3600, max_size=1000
    )
    circuit_breaker = CircuitBreaker(failure_threshold=5, recovery_timeout=60, half_open_attempts=3)
    agent = Agent(name="A", backend=backend, cache=cache, circuit_breaker=circuit_breaker)
    orchestrator = Orchestrator(agents=[agent], resource_manager=resource_manager)
    show("limits", orchestrator.run("Urgent task", priority="high").status)
    orchestrator.run("Urgent task", priority="high")
    show("cache", cache.hits, "hit", cache.misses, "miss")

    failing = Agent(name="Api", backend=MockBackend([ConnectionError("down")]))
    compensating = CompensatingOrchestrator(
        agents=[failing],
        compensation_map={
            "api_call_failed": lambda: "from the cache",
            "agent_timeout": lambda: "from the fallback agent",
            "consensus_failed": lambda: "as a person says",
        },
    )
    show("compensation", compensating.run("Ask the service"))


def run_events_and_metrics() -> None:
    event_bus, metrics = EventBus(), MetricsCollector()

    @event_bus.on("task_completed")
    def handle_completion(event: Event) -> None:
        show("event", f"Task {event.task_id} completed")

    @metrics.track("task_duration")
    def run_task(orchestrator: Orchestrator, task: str) -> str:
        return orchestrator.run(task)

    agents = [Agent(name="a", backend=backend)]
    run_task(Orchestrator(agents=agents, event_bus=event_bus), "Task that triggers events")
    took = metrics.get_metric("task_duration").percentile(95)
    show("metrics", "95 % took less than a minute:", took is not None and took < 60)


def run_tests() -> None:
    agent = Agent(name="TestAgent", backend=MockBackend(responses=["Mocked response"]))
    show("agent test", AgentTester(agent).test_response("Test input"))
    tester = OrchestratorTester(
        agents=[Agent(name="Agent1"), Agent(name="Agent2")],
        mock_responses={"agent1": ["Response 1"], "agent2": ["Response 2"]},
    )
    result = tester.test_orchestration(task="Test task", expected_interactions=2)
    show("team test", result.success, len(result.interactions))


def main() -> None:
    run_hierarchy()
    run_dynamic_team()
    run_adaptive_team()
    with tempfile.TemporaryDirectory() as folder:
        run_memories(Path(folder))
    run_characters()
    asyncio.run(run_batch())
    run_limits()
    run_events_and_metrics()
    run_tests()


if __name__ == "__main__":
    main()
