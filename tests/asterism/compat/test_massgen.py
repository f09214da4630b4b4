"""MassGen's words on the star: each sample of its guide does what it says, or says why not."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import RetryPolicy
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from asterism import AskPerson
from asterism.compat.massgen import (
    AdaptiveOrchestrator,
    Agent,
    AgentTester,
    CircuitBreaker,
    CompensatingOrchestrator,
    ContextManager,
    DynamicOrchestrator,
    Event,
    EventBus,
    IntelligentCache,
    LongTermMemory,
    MicroserviceAgent,
    MockBackend,
    Orchestrator,
    OrchestratorTester,
    ParallelOrchestrator,
    PersonalityAgent,
    ResourceManager,
    Result,
    SharedMemory,
    SpecializedAgent,
    Tracer,
)
from asterism.errors import (
    ConfigurationError,
    InvalidMemoryError,
    ModelNotFoundError,
    StorageError,
    WorkflowBuildError,
)
from asterism.limits.failure_policies import MODEL_RETRY
from asterism.testing import ScriptedCall, ScriptedReply, WordEmbeddings


def mock(name: str, *responses: Any) -> Agent:
    return Agent(name=name, backend=MockBackend(responses or [f"{name} is done"]))


def calls_of(agent: Agent) -> list[ScriptedCall]:
    assert isinstance(agent.backend, MockBackend)
    return agent.backend.calls


def workers(result: Result) -> list[str]:
    return [report["participant"] for report in result.interactions]


def test_a_coordinator_leads_its_team_and_a_team_may_be_in_a_team() -> None:
    lead = Agent(name="Lead", backend=MockBackend(["Plan.", "Sum."]), role="Coordinator")
    inner = Orchestrator(agents=[mock("Backend Dev"), mock("Tester")], coordinator=lead)
    master = Orchestrator(agents=[mock("Critic")], orchestrators=[inner])
    result = master.run("Build it")
    assert (workers(result), result.success, result) == (
        ["Lead_team", "Critic"],
        True,
        "Critic is done",
    )
    assert calls_of(lead)[0].messages[0].text == "You are Lead. Your role: Coordinator."
    assert "Backend Dev is done" in calls_of(lead)[1].messages[-1].text


def test_without_a_coordinator_the_first_leads() -> None:
    teams = [Orchestrator([mock(name, *[name] * 2)], name=name) for name in ("one", "two")]
    result = Orchestrator(orchestrators=teams, strategy="hierarchical").run("Go")
    assert (workers(result), result) == (["one", "two", "one"], "one")


async def test_a_team_is_run_in_async_too() -> None:
    assert await Orchestrator([mock("a"), mock("b")]).arun("Go") == "b is done"
    assert await mock("a").arun("Go") == "a is done"


class ByTask(DynamicOrchestrator):
    def create_agents_for_task(self, task: str) -> Sequence[Agent]:
        return [mock(word) for word in ("Research", "Code") if word.lower() in task.lower()]


def test_agents_are_created_for_each_task() -> None:
    team = ByTask()
    assert workers(team.run("Research and code it")) == ["Research", "Code"]
    assert workers(team.run("Code it")) == ["Code"]
    assert workers(ByTask(agents=[mock("Always")]).run("Code it")) == ["Always", "Code"]
    nobody = team.run("Sing")
    assert (nobody.status, "chose nobody for 'Sing'" in nobody.reason) == ("failed", True)
    with pytest.raises(NotImplementedError, match="override it"):
        DynamicOrchestrator().run("Go")


@pytest.mark.parametrize(("task", "status"), [("Code it", "completed"), ("Sing", "failed")])
async def test_a_team_that_depends_on_the_task_may_be_in_a_team(task: str, status: str) -> None:
    for way in ("sync", "async"):
        master = Orchestrator(orchestrators=[ByTask(name="dynamic")])
        result = await master.arun(task) if way == "async" else master.run(task)
        assert (result.status, workers(result)) == (status, ["dynamic"])


def test_a_strategy_is_selected_for_each_task() -> None:
    agents = [mock("ann", "The hall.", "vote: ann"), mock("bob", "The park.", "vote: ann")]
    team = AdaptiveOrchestrator(
        agents=agents,
        strategy_selector=lambda task: "consensus" if "decision" in task else "sequential",
    )
    assert team.run("a decision").startswith("The hall.\n\nWinner: ann, with 2 of 2 votes")


def test_notes_are_shared_and_outlive_the_process(tmp_path: Path) -> None:
    place = tmp_path / "memory"
    board = SharedMemory(capacity=10_000, persistence=True, storage_path=str(place))
    call = ScriptedReply(tool_calls=[("write_shared_memory", {"key": "k", "text": "blue"})])
    read = ScriptedReply(tool_calls=[("read_shared_memory", {})])
    writer = Agent(name="W", backend=MockBackend([call, "written"]), memory=board)
    reader = Agent(name="R", backend=MockBackend([read, "read"]))
    assert Orchestrator(agents=[writer, reader], memory=board).run("Go").success
    assert "- k (W): blue" in calls_of(reader)[1].messages[-1].text
    again = SharedMemory(persistence=True, storage_path=place)
    assert again.read("k") == "blue"
    with pytest.raises(InvalidMemoryError, match="capacity"):
        SharedMemory(capacity=2).write("k", "far too much of it")
    with pytest.raises(ConfigurationError, match="needs persistence=True"):
        SharedMemory(storage_path=place)


@pytest.mark.parametrize("backend", ["vector_db", "sql"])
def test_what_was_said_last_week_is_recalled_in_another_session(
    backend: Any, tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "backend": backend,
        "connection_string": f"sqlite:///{tmp_path}/m.db",
        "embedding_model": WordEmbeddings() if backend == "vector_db" else None,
    }
    LongTermMemory(**options).remember("Ann prefers the harbour")
    model = MockBackend(["The harbour."])
    agent = Agent(name="M", backend=model, long_term_memory=LongTermMemory(**options))
    assert agent.run("What did we discuss this week?") == "The harbour."
    assert "Ann prefers the harbour" in model.calls[0].messages[-1].text
    assert model.calls[0].tools == ["remember", "recall"]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"backend": "graph"}, ConfigurationError, "backend is 'graph'; allowed: 'vector_db'"),
        ({"backend": "vector_db"}, ConfigurationError, "needs an embedding_model"),
        ({"connection_string": "..."}, StorageError, r"allowed: sqlite.*names\.md"),
        ({"embedding_model": "nobody:x"}, ModelNotFoundError, r"backend='sql'.*names\.md"),
    ],
    ids=["graph", "no model", "no url", "unknown model"],
)
def test_a_long_term_memory_says_what_is_allowed(
    options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        LongTermMemory(**options)


def test_a_personality_and_a_style_are_part_of_the_prompt() -> None:
    traits = {"creativity": 0.9, "detail_oriented": 0.4}
    agent = PersonalityAgent(
        name="C", backend=MockBackend(["hey"]), personality=traits, communication_style="informal"
    )
    agent.run("Hi")
    prompt = calls_of(agent)[0].messages[0].text
    assert "You show exceptional creativity. You are a little detail-oriented." in prompt
    assert "informal" in prompt


class Reviewer(SpecializedAgent):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.specialization = "code_review"
        self.review_criteria = ["security", "performance"]

    def review_code(self, code: str) -> dict[str, Any]:
        return {name: self.evaluate(code, name) for name in self.review_criteria}


def test_a_specialized_agent_evaluates_by_criteria() -> None:
    scores = [{"criterion_1": {"score": s, "reason": "r"}} for s in (0.2, 0.9)]
    agent = Reviewer(name="Reviewer", backend=MockBackend(scores))
    found = agent.review_code("x = 1")
    assert {name: one.score for name, one in found.items()} == {"security": 0.2, "performance": 0.9}
    assert agent.participant().description == "code review"
    with pytest.raises(ConfigurationError, match="has no backend to evaluate with"):
        Reviewer(name="R").review_code("x")


@pytest.mark.parametrize("threads", [True, False], ids=["threads", "event loop"])
def test_a_batch_gives_a_result_for_each_task(threads: bool) -> None:
    team = ParallelOrchestrator(
        agents=[Agent(name="a", backend="offline"), Agent(name="b", backend="offline")],
        max_concurrent=10,
        batch_size=2,
        use_thread_pool=threads,
    )
    tasks: list[Any] = ["Task 1", "Task 2", "Task 3", ...]
    results = asyncio.run(team.batch_process(tasks))
    assert [result.status for result in results] == ["completed"] * 3 + ["failed"]
    assert "Task 3" in results[2]
    assert "The task is Ellipsis" in results[3].reason


def test_a_run_has_a_priority_at_the_resource_manager_of_all_teams() -> None:
    bus, found = EventBus(), list[Any]()
    manager = ResourceManager(max_concurrent_requests=1, priority_queue=True)
    held = manager.reserve(0)

    @bus.on("waiting_for_capacity")
    def note(event: Event) -> None:
        held.release()
        found.append(event.facts["priority"])

    inner = Orchestrator([mock("a")], name="inner")
    team = Orchestrator(orchestrators=[inner], resource_manager=manager, event_bus=bus)
    assert team.run("Urgent", priority="high").success
    assert {*found} == {10}
    assert inner.resource_manager is None
    with pytest.raises(ValueError, match="priority is 'hihg'; allowed: 'low'"):
        team.run("Urgent", priority="hihg")
    with pytest.raises(ConfigurationError, match=r"no resource_manager.*names\.md"):
        inner.run("Urgent", priority="high")


def test_a_cache_answers_a_call_that_was_made_before() -> None:
    cache = IntelligentCache(strategy="semantic", similarity_threshold=0.95, ttl=3600, max_size=9)
    agent = Agent(name="C", backend=MockBackend(["Paris", "two"]), cache=cache)
    assert agent.run("The capital of France?") == agent.run("the capital of France") == "Paris"
    exact = Agent(name="C", backend=MockBackend(["1", "2"]), cache=IntelligentCache("exact"))
    assert [exact.run("Hello you"), exact.run("hello you")] == ["1", "2"]
    with pytest.raises(ConfigurationError, match="strategy is 'fuzzy'; allowed"):
        IntelligentCache(strategy="fuzzy")  # type: ignore[arg-type]  # is refused


def test_a_circuit_breaker_leaves_a_model_alone() -> None:
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=60, half_open_attempts=3)
    model = MockBackend([ConnectionError("down"), "late"])
    agent = Agent(name="R", backend=model, circuit_breaker=breaker)
    assert [agent.run("Go").status for _ in range(2)] == ["failed", "failed"]
    assert len(model.calls) == 1


def test_a_function_makes_up_for_a_failure() -> None:
    words = {"api_call_failed": lambda: "cached", "consensus_failed": lambda: "a person says"}
    failing = CompensatingOrchestrator([mock("a", ConnectionError("x"))], compensation_map=words)
    assert failing.run("Go") == "cached"
    voters = [mock(name, name, *[f"vote: {name}"] * 2) for name in ("a", "b")]
    team = CompensatingOrchestrator(voters, compensation_map=words, strategy="consensus")
    assert (team.run("Go"), team.run.__name__) == ("a person says", "run")


def test_a_person_may_be_asked_where_threads_are_stored() -> None:
    voters = [mock(name, name, *[f"vote: {name}"] * 2) for name in ("a", "b")]
    actions = {"consensus_failed": AskPerson("Which?")}
    team = CompensatingOrchestrator(
        voters, actions, strategy="consensus", checkpointer=InMemorySaver()
    )
    assert team.run("Go", thread_id="t").status == "waiting"
    with pytest.raises(ConfigurationError, match="a thread_id needs"):
        Orchestrator([mock("a")]).run("Go", thread_id="t")


def test_events_name_their_task() -> None:
    bus, found = EventBus(), list[Any]()
    bus.on("task_completed", lambda event: found.append(event.task_id))
    Orchestrator([mock("a")], event_bus=bus).run("Go")
    assert found == ["sequential.answer.a"]


def test_a_run_is_part_of_a_span() -> None:
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = Tracer(service_name="massgen", tracer_provider=provider)
    try:
        team = Orchestrator([mock("a")], tracer=tracer)
        with tracer.span("complex_task"):
            team.run("Go")
    finally:
        tracer.close()
    spans = kept.get_finished_spans()
    assert len(spans) > 1
    assert len({span.context.trace_id for span in spans}) == 1


def test_a_service_takes_part() -> None:
    with pytest.warns(UserWarning, match="The backend of 'Order Service' is not used"):
        agent = MicroserviceAgent(
            name="Order Service",
            backend="offline",
            service_url="http://order-service:8080",
            circuit_breaker=True,
            retry_policy="exponential",
        )
    spec = agent.participant()
    assert (spec.runs.url, list(spec.policies)) == (
        "http://order-service:8080",
        [MODEL_RETRY, CircuitBreaker()],
    )
    plain = MicroserviceAgent(name="I", service_url="http://127.0.0.1:9")
    assert list(plain.participant().policies) == []
    own = MicroserviceAgent(
        name="I", service_url="http://127.0.0.1:9", retry_policy=RetryPolicy(max_attempts=1)
    )
    result = Orchestrator(agents=[own]).run("Go")
    assert (result.status, result.interactions[0]["attempts"]) == ("failed", 1)
    assert Orchestrator(agents=[agent, plain]).workflow.facts.participants.keys() == {
        "Order_Service",
        "I",
    }
    with pytest.raises(ConfigurationError, match="retry_policy is 'linear'; allowed"):
        MicroserviceAgent(name="I", service_url="http://127.0.0.1:9", retry_policy="linear")


def test_an_agent_is_tested_alone() -> None:
    agent = Agent(name="T", backend=MockBackend(responses=["Mocked response"]))
    assert "Mocked response" in AgentTester(agent).test_response("Test input")


def test_a_team_is_tested_by_scripts_under_its_names() -> None:
    agents = [Agent(name="Agent1"), Agent(name="Agent 2")]
    responses = {"agent1": ["Response 1"], "agent_2": ["Response 2"]}
    result = OrchestratorTester(agents, responses).test_orchestration("Go", expected_interactions=2)
    assert (result.success, [r["text"] for r in result.interactions]) == (
        True,
        ["Response 1", "Response 2"],
    )
    other = OrchestratorTester(agents, responses).test_orchestration("Go", expected_interactions=3)
    assert (other.success, other.reason) == (False, "there were 2 interactions, not 3")
    assert OrchestratorTester(agents, responses).test_orchestration("Go").success
    assert [agent.backend for agent in agents] == [None, None]
    with pytest.raises(ConfigurationError, match="mock_responses name agent3, who take no part"):
        OrchestratorTester(agents, {"agent3": []})


def test_long_prompts_are_kept_short() -> None:
    context = ContextManager(max_tokens=8_000, strategy="sliding_window", compression_ratio=0.5)
    agent = Agent(name="C", backend="offline", context_manager=context)
    assert agent.participant().context is context
    assert agent.run("Hello").success


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: Agent(name="a", mood="x"), TypeError, r"Agent takes no mood\. .*names\.md"),
        (lambda: Orchestrator(crew=[]), TypeError, r"takes no crew\. .*names\.md"),
        (lambda: Orchestrator().run("x"), WorkflowBuildError, "there are no participants"),
        (
            lambda: Orchestrator([Agent(name="a")]).run("x"),
            WorkflowBuildError,
            "'a' has no model",
        ),
        (
            lambda: Orchestrator([mock("a"), mock("A")]).run("x"),
            WorkflowBuildError,
            "have the same name",
        ),
        (
            lambda: Orchestrator([mock("a")], strategy="chaos").run("x"),
            WorkflowBuildError,
            "the strategy is 'chaos'; allowed",
        ),
        (
            lambda: Orchestrator([mock("a")], coordinator=mock("b"), strategy="parallel"),
            ConfigurationError,
            "a coordinator leads",
        ),
    ],
    ids=["agent", "orchestrator", "nobody", "no model", "twice", "strategy", "coordinator"],
)
def test_what_is_not_there_is_refused(make: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        make()
