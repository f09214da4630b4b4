"""The layout holds: who may import whom, what is public, how long a file may be."""

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import asterism

ROOT = Path(__file__).parents[1]
FOLDERS = ("graphs", "nodes", "prompts", "asterism")

LAYERS = [
    {
        "budgets",
        "defaults",
        "errors",
        "ledger",
        "markup",
        "plain",
        "quoting",
        "redaction",
    },
    {"personality", "vectors"},
    {"agents", "compaction", "digests", "files", "historycache", "messages", "tasks", "underway"},
    {"decisions", "model_input"},
    {"schemas"},
    {"state"},
    {"core"},
    {
        "approvals",
        "checkpoints",
        "effects",
        "fences",
        "idempotency",
        "leases",
        "models",
        "offline",
        "people",
        "retries",
        "runs",
    },
    {
        "batch",
        "breaker",
        "capacity",
        "context",
        "events",
        "gates",
        "posting",
        "prices",
        "pricetable",
        "resilience",
        "services",
        "turnstile",
    },
    {"metering", "takings", "telemetry", "usage"},
    {"pictures", "supervision"},
    {"remembering"},
    {
        "postgres",
        "ranked",
        "searchstore",
        "serializers",
        "sqlite",
        "storage",
    },
    {"caching"},
    {"retention", "tracing"},
    {"config"},
    {"programs"},
    {"prompts"},
    {"nodes"},
    {"graphs"},
    {"compat", "threads", "workers"},
    {"cli", "notebook", "serving", "testing", "ui", "__main__", "__init__"},
    {"pytest_plugin"},
]
"""Bottom up: a module imports from its own layer and those before it."""

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
    "ChildStatus",
    "CircuitBreaker",
    "Compensation",
    "ContextManager",
    "Delegate",
    "Difference",
    "Event",
    "EventBus",
    "ExecutionMode",
    "HumanFeedbackRequest",
    "Importance",
    "LongTermMemory",
    "Participant",
    "ParticipantMemory",
    "PendingRequest",
    "Personality",
    "PriceTable",
    "ProgramConfig",
    "ProgramTask",
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
    "SupervisorTrace",
    "SupervisorView",
    "SupervisorWorkflowBuilder",
    "TaskResult",
    "Timeout",
    "ToyExampleSupervisor",
    "Trace",
    "UndoAll",
    "UpdateManifestSupervisor",
    "Usage",
    "UseCached",
    "Workflow",
    "WorkflowEventType",
    "abatch_process",
    "analyze_traces",
    "aopen_checkpointer",
    "aopen_store",
    "apending_requests",
    "aproceed",
    "aread_run",
    "aresume",
    "awhat_if",
    "batch_process",
    "compare_runs",
    "context_middleware",
    "convert_tool_content_to_text",
    "create_reviewer",
    "create_service_app",
    "create_supervisor_agent",
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
    "resume",
    "show",
    "show_progress",
    "total_cost_breakdown",
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


def _layer(module: str) -> int:
    top = module.split(".")[0]
    return next(place for place, layer in enumerate(LAYERS) if top in layer)


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_only(module: str) -> None:
    if module in ("__init__", "__main__"):
        return
    for imported in _imports(MODULES[module]):
        assert _layer(imported) <= _layer(module), f"{module} imports {imported}"


def test_nothing_imports_in_a_circle() -> None:
    lazy = {"models"}  # the offline model is imported when it is asked for
    order = TopologicalSorter(
        {
            name: {used for used in _imports(path) if used != name}
            for name, path in MODULES.items()
            if name not in lazy and name != "__init__"
        }
    )
    order.prepare()


@pytest.mark.parametrize("module", MODULES)
def test_a_file_is_at_most_500_lines(module: str) -> None:
    assert len(MODULES[module].read_text().splitlines()) <= 500


@pytest.mark.parametrize("module", MODULES)
def test_imports_are_absolute_and_name_the_package(module: str) -> None:
    for node in _nodes(MODULES[module]):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert (node.module or "").split(".")[0] not in FOLDERS[:3]
            assert not (node.module or "").startswith("langgraph._internal")
        elif isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] in FOLDERS[:3] for alias in node.names)


def test_the_private_keys_of_the_engine_stand_in_one_file() -> None:
    holders = {name for name, path in MODULES.items() if "__pregel" in path.read_text()}
    assert holders == {"nodes.engine"}


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
