"""What is stored never runs: the graph and the model of a thread, a job or a file are data."""

import importlib
import json
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from asterism import SupervisorWorkflowBuilder, graph_factory, open_checkpointer
from asterism.apps.cli.app import app
from asterism.apps.stored_threads import check_model_label
from asterism.apps.ui.run_manager import RunManager
from asterism.apps.workers.job import JobArguments
from asterism.apps.workers.worker import Worker
from asterism.errors import ConfigurationError, StorageError
from asterism.graphs.catalog import allowed_graphs, check_named, open_graph
from asterism.graphs.shipped import SHIPPED
from asterism.storage.retention import export_thread, import_thread
from tests.teams import Turns, star

PARTY = "Plan a corporate holiday party for 50 people in Seattle on December 15th"
MODULE = "named_by_a_row"
EXAMPLES = int(os.environ.get("ASTERISM_EXAMPLES", "6"))
OWN = {"asterism", "langgraph", "langchain_core", "rich", "typer"}
"""What may be loaded late: LangGraph rebuilds messages of a row by the names of its own types."""
COMMANDS = (
    ["threads"],
    ["show", "t"],
    ["trace", "t"],
    ["resume", "t"],
    ["resume", "t", "an answer"],
    ["export", "t"],
    ["prune", "--keep-last", "9"],
)
LABELS = st.one_of(
    st.sampled_from(
        [
            *("os:system", "builtins:exec", "subprocess:getoutput", "antigravity:fly", "../evil:x"),
            *(f"{MODULE}:{name}" for name in ("build", "model", "graph", "nothing", "")),
            *("os", ":", ":x", "x:", "os.path:join", "asterism.apps.cli:main", " event_planning"),
        ]
    ),
    st.text(max_size=40),
    st.from_regex(r"[a-z_.]{1,20}:[a-z_]{1,20}", fullmatch=True),
    st.none() | st.integers() | st.booleans() | st.lists(st.text(), max_size=2),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
).filter(lambda label: label not in [*SHIPPED])


@contextmanager
def nothing_imported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail where a module of the working folder, or any that was not loaded, is imported."""
    marker = folder / "ran"
    (folder / f"{MODULE}.py").write_text(f"open({str(marker)!r}, 'w')\ndef build(model): ...\n")
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        before = set(sys.modules)
        asked = list[str]()

        def watch(name: str, *package: Any) -> Any:
            if name.partition(".")[0] not in OWN:
                asked.append(name)
            return load(name, *package)

        load = importlib.import_module
        patch.setattr(importlib, "import_module", watch)
        yield
        assert not asked and not marker.exists()
        new = {name.split(".")[0] for name in set(sys.modules) - before}
        assert not new - OWN - set(sys.stdlib_module_names), new
        assert MODULE not in sys.modules


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a database with a finished thread."""
    path = tmp_path_factory.mktemp("stored") / "threads.db"
    done = CliRunner().invoke(app, ["run", "event_planning", PARTY, "--db", str(path), *THREAD])
    assert done.exit_code == 0
    for command in COMMANDS:  # whatever they load is loaded
        CliRunner().invoke(app, [*command, "--db", str(path)])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


THREAD = ["--thread", "t"]


def labelled(path: Path, graph: Any, model: Any) -> None:
    """Forge the labels of every checkpoint of a file."""
    with closing(sqlite3.connect(path)) as connection, connection:
        rows = connection.execute("SELECT rowid, metadata FROM checkpoints").fetchall()
        for number, metadata in rows:
            facts = {**json.loads(metadata), "graph": graph, "model": model}
            values = (json.dumps(facts).encode(), number)
            connection.execute("UPDATE checkpoints SET metadata = ? WHERE rowid = ?", values)


def cli(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@given(graph=LABELS, model=LABELS)
@settings(max_examples=EXAMPLES)
def test_labels_of_rows_import_and_call_nothing(
    graph: Any, model: Any, stored: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("forged")
    path = folder / "threads.db"
    path.write_bytes(stored.read_bytes())
    labelled(path, graph, model)
    monkeypatch = pytest.MonkeyPatch()
    with nothing_imported(folder, monkeypatch):
        for command in COMMANDS:
            done = cli(*command, "--db", str(path))
            assert done.exception is None or isinstance(done.exception, SystemExit), command
            if command[0] == "resume":
                assert done.exit_code == 1, done.output


@given(graph=LABELS.map(str), model=LABELS.map(str))
@settings(max_examples=EXAMPLES)
async def test_labels_of_jobs_import_and_call_nothing(
    graph: str, model: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("job")
    work: Any = JobArguments(key="k", thread="t", graph=graph, model=model, request="Go")
    worker: Any = object.__new__(Worker)
    worker._named, worker._graphs = allowed_graphs(), {}
    with open_checkpointer("memory:") as saver, nothing_imported(folder, pytest.MonkeyPatch()):
        worker._within = saver
        with pytest.raises(ConfigurationError):
            await worker._graph(work)
        with pytest.raises(ConfigurationError):
            await RunManager(saver, allowed_graphs()).graph(graph, "offline")


@pytest.mark.parametrize("graph", ["os:system", f"{MODULE}:build"])
def test_an_imported_thread_runs_nothing(graph: str, tmp_path: Path, stored: Path) -> None:
    (tmp_path / "threads.db").write_bytes(stored.read_bytes())
    with open_checkpointer(f"sqlite:///{tmp_path}/threads.db") as saver:
        data = export_thread(saver, "t")
    for checkpoint in data["checkpoints"]:
        checkpoint["metadata"] |= {"graph": graph, "model": f"touch {tmp_path}/ran"}
    (tmp_path / "thread.json").write_text(json.dumps(data))
    db = ["--db", str(tmp_path / "new.db")]
    with nothing_imported(tmp_path, pytest.MonkeyPatch()):
        imported = cli("import", str(tmp_path / "thread.json"), *db)
        assert imported.exit_code == 0, imported.output
        refused = cli("resume", "t", *db)
        assert (refused.exit_code, "--graph module:attribute" in refused.stderr) == (1, True)
        assert PARTY in cli("show", "t", *db).stdout
        assert graph in cli("threads", *db).stdout
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("label", [7, ["os:system"], {"a": 1}, "a\x1b[2Jb", "x" * 256, None])
def test_labels_that_are_no_names_are_not_imported(
    label: object, tmp_path: Path, stored: Path
) -> None:
    (tmp_path / "threads.db").write_bytes(stored.read_bytes())
    with open_checkpointer(f"sqlite:///{tmp_path}/threads.db") as saver:
        data = export_thread(saver, "t")
        data["checkpoints"][0]["metadata"]["graph"] = label
        with pytest.raises(StorageError):
            import_thread(saver, data, thread_id="other")


@pytest.mark.parametrize(
    "name",
    [
        *("os:system", "builtins:exec", "subprocess:getoutput", "os:abort", "site:main"),
        *("sys:exit", "pty:spawn", "webbrowser:open", "code:interact", "shutil:rmtree"),
        *("posix:system", "builtins:eval", "runpy:run_path", "asterism.apps.cli:main"),
    ],
)
def test_a_function_that_makes_no_graph_is_refused_without_a_call(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = list[str]()
    monkeypatch.setattr("asterism.graphs.catalog._accepts", calls.append)
    with pytest.raises(ConfigurationError, match="allowed: a SupervisorWorkflowBuilder"):
        open_graph(name, model="touch /tmp/ran")
    assert not calls


@pytest.mark.parametrize("name", ["../evil:x", "a b:x", ".a:x", "a:b.c", "a..b:x", "a:", "\x1b:x"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be opened|There is no graph"):
        open_graph(name, model="offline")


def made(model: Any) -> Any:
    return star(Turns(), ["venue"])


def annotated() -> SupervisorWorkflowBuilder:
    return star(Turns(), ["venue"])


def annotated_as_text() -> "SupervisorWorkflowBuilder":
    return star(Turns(), ["venue"])


@graph_factory
def marked(llm: Any, route: Any = ("venue",)) -> Any:
    return star(Turns(), route)


builder = star(Turns(), ["venue"])
compiled = builder.build()


@pytest.mark.parametrize(
    "name", ["made", "annotated", "annotated_as_text", "marked", "builder", "compiled"]
)
def test_what_makes_a_graph_is_opened(name: str) -> None:
    assert "venue" in open_graph(f"{__name__}:{name}", model="offline").nodes


def test_a_graph_of_the_project_is_named_in_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert allowed_graphs(["a:b"]) == (*SHIPPED, "a:b")
    (tmp_path / "asterism.toml").write_text('graphs = ["my:team"]')
    check_named("my:team", allowed_graphs())
    with pytest.raises(ConfigurationError, match="stored data alone names it"):
        check_named("my:other", allowed_graphs())
    (tmp_path / "asterism.toml").write_text("graphs = [7]\nother = 1")
    with pytest.raises(ConfigurationError, match=r"(?s)other.*must be a list of names"):
        allowed_graphs()


@pytest.mark.parametrize("call", [check_model_label])
def test_the_label_of_a_model_is_a_name(call: Callable[[str], str]) -> None:
    for name in ("offline", "openai:gpt-5-mini", "ollama:llama3:8b", "bedrock:a.b/c-v1:0"):
        assert call(name) == name
    for name in ("touch F", "", "a\nb", "$(x)", "\x1b[2J"):
        with pytest.raises(ConfigurationError, match="Choose one with --model"):
            call(name)
