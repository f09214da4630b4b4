"""The layout holds: the order of the packages, what is public, how long a file may be, names."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import asterism

ROOT = Path(__file__).parents[1]
FOLDERS = ("graphs", "nodes", "prompts", "asterism")

PACKAGES = [
    {"moved"},
    {"errors", "core"},
    {"events"},
    {"offline"},
    {"limits"},
    {"storage"},
    {"memories"},
    {"observability"},
    {"supervision"},
    {"programs"},
    {"prompts"},
    {"nodes"},
    {"graphs"},
    {"testing"},
    {"compat"},
    {"apps"},
    {"__init__", "__main__"},
]
"""Bottom up, as in docs/architecture.md: a package imports from itself and those before it."""

LAZY = {("core.agent_spec", "offline")}
"""Imports inside a function that go up: the offline model, when somebody names it."""

PUBLIC = [
    "Agent",
    "AgentOrchestrator",
    "AgentProgress",
    "AgentQuota",
    "AgentQuotaUsage",
    "AgentSupervisor",
    "AskPerson",
    "AsterismError",
    "BaseSupervisor",
    "BatchOutcome",
    "BatchProgress",
    "Budget",
    "CheckReport",
    "ChildStatus",
    "CircuitBreaker",
    "Compensation",
    "ContextManager",
    "Contract",
    "Delegate",
    "Difference",
    "Event",
    "EventBus",
    "ExecutionMode",
    "HumanFeedbackRequest",
    "Importance",
    "LongTermMemory",
    "MemoryConfig",
    "Migration",
    "Participant",
    "ParticipantMemory",
    "PendingRequest",
    "Personality",
    "PriceTable",
    "ProgramConfig",
    "ProgramTask",
    "QuestionClock",
    "Recollection",
    "ResourceManager",
    "ResponseCache",
    "Review",
    "Reviewer",
    "RunRecord",
    "Service",
    "SharedMemory",
    "SlidingWindow",
    "SubAgentTask",
    "Summary",
    "SupervisedAgent",
    "SupervisionEvent",
    "SupervisionEventType",
    "SupervisorConfig",
    "SupervisorDecision",
    "SupervisorOrchestratorExecutor",
    "SupervisorTrace",
    "SupervisorView",
    "SupervisorWorkflowBuilder",
    "TaskResult",
    "TeamComparison",
    "Timeout",
    "ToyExampleSupervisor",
    "Trace",
    "UndoAll",
    "UpdateManifestSupervisor",
    "Usage",
    "UseCached",
    "Webhook",
    "Workflow",
    "WorkflowEventType",
    "WorkflowInput",
    "WorkflowResult",
    "abatch_process",
    "acheck",
    "acheck_questions",
    "acompare_teams",
    "aevaluate_team",
    "aexamples_from_threads",
    "analyze_traces",
    "aopen_checkpointer",
    "aopen_store",
    "apending_requests",
    "aproceed",
    "aread_run",
    "aresume",
    "asignal",
    "asteer",
    "awatch_questions",
    "awhat_if",
    "batch_process",
    "check",
    "compare_runs",
    "compare_teams",
    "context_middleware",
    "convert_tool_content_to_text",
    "create_review_loop",
    "create_reviewer",
    "create_service_app",
    "create_steer_tool",
    "create_supervisor_agent",
    "evaluate_team",
    "examples_from_threads",
    "generate_detailed_tool_trace",
    "generate_orchestrator_flowchart",
    "generate_timeline",
    "graph_factory",
    "idempotency_key",
    "instrument",
    "lines_of",
    "load_config",
    "memory",
    "open_checkpointer",
    "open_store",
    "pending_requests",
    "proceed",
    "read_run",
    "record_answers",
    "resume",
    "serve",
    "show",
    "show_progress",
    "skills_middleware",
    "steer",
    "total_cost_breakdown",
    "wait_for_event",
    "wait_until",
    "what_if",
]


def _modules() -> dict[str, Path]:
    """Every module by its name below `asterism`."""
    found: dict[str, Path] = {}
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if folder == "asterism" and parts[1:2] and parts[1] in FOLDERS[:3]:
                continue  # the link to a folder that is listed by itself
            if folder == "asterism":
                parts = parts[1:]
            name = ".".join(parts)
            found[name.removesuffix(".__init__") if "." in name else name] = path
    return found


MODULES = _modules()


@cache
def _nodes(path: Path) -> list[ast.AST]:
    """What a file imports, anywhere in it."""
    found = ast.walk(ast.parse(path.read_text()))
    return [node for node in found if isinstance(node, ast.Import | ast.ImportFrom)]


def _imports(path: Path) -> set[str]:
    """The modules of this library that a file imports anywhere in it."""
    found: set[str] = set()
    for node in _nodes(path):
        if isinstance(node, ast.ImportFrom) and node.module:
            within = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [n if _own(n) in MODULES else node.module for n in within]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {_own(name) for name in names}
    return {name for name in found if name in MODULES}


def _own(name: str) -> str:
    return name.removeprefix("asterism.") if name.startswith("asterism.") else ""


def _place(module: str) -> int:
    top = module.split(".")[0]
    return next(place for place, names in enumerate(PACKAGES) if top in names)


def test_imports_go_down_only() -> None:
    up = {
        (module, imported)
        for module, path in MODULES.items()
        for imported in _imports(path)
        if _place(imported) > _place(module)
    }
    assert up == LAZY


def test_no_files_import_each_other_in_a_circle() -> None:
    graph = {
        name: {used for used in _imports(path) if used != name and (name, used) not in LAZY}
        for name, path in MODULES.items()
        if name != "__init__"
    }
    TopologicalSorter(graph).prepare()


def test_a_file_has_at_most_500_lines() -> None:
    lengths = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    assert {name: lines for name, lines in lengths.items() if lines > 500} == {}


def test_imports_are_absolute_and_name_the_package() -> None:
    for path in MODULES.values():
        for node in _nodes(path):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, path
                assert (node.module or "").split(".")[0] not in FOLDERS[:3], path
                assert not (node.module or "").startswith("langgraph._internal"), path
            elif isinstance(node, ast.Import):
                assert not any(a.name.split(".")[0] in FOLDERS[:3] for a in node.names), path


def test_the_private_keys_of_the_engine_stand_in_one_file() -> None:
    holders = {name for name, path in MODULES.items() if "__pregel" in path.read_text()}
    assert holders == {"nodes.engine_keys"}


def test_the_builder_loads_few_modules() -> None:
    code = (
        "import sys\n"
        "from asterism import SupervisorWorkflowBuilder\n"
        "print(*(m for m in sys.modules if m.split('.')[0] == 'asterism'))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len(run.stdout.split()) <= 66, run.stdout


def test_the_public_names_are_these() -> None:
    assert sorted(asterism.__all__) == asterism.__all__ == PUBLIC
    for name in PUBLIC:
        assert getattr(asterism, name) is not None
    assert set(PUBLIC) <= set(dir(asterism))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = asterism.nonsense


def test_the_links_lead_to_the_folders() -> None:
    for folder in FOLDERS[:3]:
        link = ROOT / "asterism" / folder
        if link.is_symlink():  # archives may strip links; then the folders are found beside
            assert link.readlink() == Path("..") / folder
