"""A guide to advanced orchestration, in its own words: names, shapes and what they do."""

import importlib
from pathlib import Path
from typing import Any, cast

import pytest
from langgraph.checkpoint.memory import InMemorySaver

import asterism
import asterism.testing
from asterism import (
    Agent,
    CircuitBreaker,
    Compensation,
    ContextManager,
    Event,
    EventBus,
    Importance,
    Participant,
    Personality,
    ResourceManager,
    SlidingWindow,
    Summary,
    SupervisorWorkflowBuilder,
    UseCached,
    batch_process,
)
from asterism.compat import massgen
from asterism.testing import AgentTester, ScriptedChatModel
from tests.processes import run_script

REQUEST: Any = {"messages": [("user", "Do it")]}


def work(messages: list[Any]) -> str:
    """Works."""
    return "done"


def fail(messages: list[Any]) -> str:
    """Fails."""
    raise ConnectionError("no line")


def test_a_context_strategy_may_be_a_name() -> None:
    named = [
        ContextManager(max_tokens=8_000, strategy="sliding_window", compression_ratio=0.5),
        ContextManager(max_tokens=8_000, strategy="summary"),
        ContextManager(max_tokens=8_000, strategy="importance"),
    ]
    assert [type(policy.strategy) for policy in named] == [SlidingWindow, Summary, Importance]
    with pytest.raises(ValueError, match="one of sliding_window, summary, importance"):
        ContextManager(max_tokens=8_000, strategy=cast(Any, "newest"))


def test_a_personality_has_a_communication_style() -> None:
    said = Personality.model_validate({"traits": {"patient": 0.9}, "communication_style": "short"})
    assert said == Personality(traits={"patient": 0.9}, style="short")


def test_limits_of_a_resource_manager_have_a_second_name() -> None:
    manager = ResourceManager(max_tokens_per_minute=100, max_concurrent_requests=2)
    assert (manager.tokens_per_minute, manager.requests_at_once) == (100, 2)
    with pytest.raises(ValueError, match="priority_queue is False"):
        ResourceManager(priority_queue=False)
    with pytest.raises(ValueError, match="tokens_per_minute"):
        ResourceManager(max_tokens_per_minute=0)


@pytest.mark.parametrize("action", [lambda: "late", UseCached(lambda: "late")])
def test_a_compensation_may_be_a_function(action: Any) -> None:
    policy = Compensation({"api_call_failed": action})
    team = SupervisorWorkflowBuilder("T", finish="forward").participants(
        venue=Participant(runs=fail, policies=[policy])
    )
    result = team.with_strategy("sequential").build().invoke(REQUEST)
    assert result["messages"][-1].text == "late"
    assert result["reports"][0]["status"] == "ok"


def test_a_compensation_that_fails_leaves_the_failure() -> None:
    def broken() -> str:
        raise LookupError("nothing kept")

    policy = Compensation({"api_call_failed": broken})
    team = SupervisorWorkflowBuilder("T", finish="forward", policies=[policy])
    built = team.participants(venue=fail).with_strategy("sequential").build()
    [report] = built.invoke(REQUEST)["reports"]
    assert (report["status"], report.get("kind")) == ("failed", "api_call_failed")


def test_a_participant_may_name_its_circuit_breaker() -> None:
    breaker = CircuitBreaker(failure_threshold=5)
    assert Participant(runs=work, circuit_breaker=breaker).policies == (breaker,)


def test_a_selector_may_be_named() -> None:
    team = SupervisorWorkflowBuilder("T", finish="forward").participants(venue=work)
    built = team.with_strategy(strategy_selector=lambda request: "sequential").build()
    assert built.invoke(REQUEST)["status"] == "completed"


def test_a_batch_needs_no_name() -> None:
    team = SupervisorWorkflowBuilder("T", finish="forward").participants(venue=work)
    built = team.with_strategy("sequential").build(checkpointer=InMemorySaver())
    assert [o.status for o in batch_process(built, ["one", "two"])] == ["completed"] * 2
    assert [o.status for o in batch_process(built, ["three"])] == ["completed"]


def test_an_event_names_its_task() -> None:
    bus, found = EventBus(), list[str | None]()

    @bus.on("task_completed")
    def note(event: Event) -> None:
        found.append(event.task_id)

    team = SupervisorWorkflowBuilder("T", finish="forward", events=bus).participants(venue=work)
    report = team.with_strategy("parallel").build().invoke(REQUEST)["reports"][0]
    assert found == [report.get("task")]


def test_a_tester_takes_a_spec_and_returns_the_text() -> None:
    tester = AgentTester(Agent(agent_id="a", system_prompt="You answer."), ["Mocked"])
    assert tester.test_response("Test input") == "Mocked"
    own = Participant(model=ScriptedChatModel(script=["Own"]), description="Answers.")
    assert AgentTester(own).test_response("Test input") == "Own"


@pytest.mark.parametrize("name", massgen.__all__)
def test_a_name_from_elsewhere_leads_to_ours(name: str) -> None:
    if name in asterism.__all__:
        return
    if name in ("AgentTester", "OrchestratorTester", "Result"):
        return  # in asterism.testing; not of the guide
    words = rf"no attribute '{name}'; asterism\.compat\.massgen\.{name} does the same, and .* takes"
    with pytest.raises(AttributeError, match=words):
        getattr(asterism, name)


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("memory", "SharedMemory LongTermMemory ContextManager"),
        ("cache", "IntelligentCache"),
        ("resilience", "CircuitBreaker"),
        ("observability", "Tracer"),
        ("metrics", "MetricsCollector"),
        ("events", "Event EventBus"),
        ("integration", "MicroserviceAgent"),
        ("testing", "MockBackend AgentTester OrchestratorTester"),
    ],
)
def test_each_module_of_the_guide_is_there(module: str, names: str) -> None:
    ours = importlib.import_module(f"asterism.compat.massgen.{module}")
    assert all(getattr(ours, name) is getattr(massgen, name) for name in names.split())


def test_the_module_whose_name_is_taken_says_where_its_classes_are() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"asterism\.compat\.massgen\.memory.*names\.md"):
        importlib.import_module("asterism.memory")
    assert callable(asterism.memory)


FOREIGN: list[tuple[Any, dict[str, Any], str]] = [
    (asterism.SharedMemory, {"capacity": 10, "persistence": True}, "SharedMemory"),
    (asterism.LongTermMemory, {"backend": "vector_db", "embedding_model": "x"}, "LongTermMemory"),
    (asterism.Service, {"name": "O", "service_url": "http://o:8080"}, "MicroserviceAgent"),
    (asterism.ResponseCache, {"strategy": "semantic"}, "IntelligentCache"),
    (asterism.testing.OrchestratorTester, {"agents": []}, "OrchestratorTester"),
    (SupervisorWorkflowBuilder, {"agents": [], "event_bus": None}, "Orchestrator"),
]


@pytest.mark.parametrize(("ours", "words", "way"), FOREIGN, ids=lambda value: str(value)[-40:])
def test_the_words_of_the_guide_name_the_way_out(
    ours: Any, words: dict[str, Any], way: str
) -> None:
    said = rf"takes no {', '.join(words)}; .*asterism\.compat\.massgen\.{way} takes .*names\.md"
    with pytest.raises(TypeError, match=said):
        ours(**words)


def test_the_whole_guide_runs_as_a_program(tmp_path: Path) -> None:
    path = Path(__file__).parents[2] / "examples" / "advanced.py"
    ran = run_script(path, tmp_path, error=Warning)
    assert ran.returncode == 0, ran.stderr
    for said in (
        "hierarchy: completed ['ResearchLead_team', 'DevLead_team', 'ResearchLead_team']",
        "dynamic: completed ['Researcher', 'Coder']",
        "adaptive: The town hall.",
        "it was recalled: True",
        "it is told: True",
        "batch: ['completed', 'completed', 'completed']",
        "cache: 1 hit 1 miss",
        "compensation: from the cache",
        "event: Task sequential.answer.a completed",
        "team test: True 2",
    ):
        assert said in ran.stdout
    assert list(tmp_path.iterdir()) == []
