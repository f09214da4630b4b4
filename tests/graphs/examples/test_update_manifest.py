"""The manifest of a folder: what is in it, what is asked, what hostile folders do to it."""

import hashlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver

from asterism import UpdateManifestSupervisor, pending_requests, resume
from asterism.core.run_types import WorkflowInput
from asterism.errors import AnswerError, ConfigurationError, TaskFailedError
from asterism.graphs.catalog import open_graph
from asterism.graphs.examples.update_manifest import create_update_manifest
from asterism.nodes.examples.manifest import manifest_file as storing
from asterism.nodes.examples.manifest import scan as scanning
from asterism.nodes.examples.manifest.dependencies import read_declared_dependencies
from asterism.nodes.examples.manifest.manifest_file import Manifest, read_manifest, write_manifest
from asterism.nodes.examples.manifest.scan import is_excluded, read_rules, scan_project
from asterism.nodes.examples.manifest.team import MANIFEST
from tests.plans import drive

ROOT = Path(__file__).parents[3]
ASK: WorkflowInput = {"messages": [("user", "Update the manifest")]}
TASK = {"id": "t", "type": "update", "content": "Update the manifest"}
FILES = {
    "src/app.py": "print('hello')\n",
    "docs/guide.md": "# Guide\n",
    "pyproject.toml": '[project]\nname = "shop"\ndependencies = ["httpx>=0.28"]\n',
    ".venv/lib/x.py": "cached\n",
    "src/__pycache__/app.pyc": "cached\n",
    ".git/HEAD": "ref\n",
}
WAYS = pytest.mark.parametrize("way", ["sync", "async"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        write(tmp_path / "shop" / name, text)
    return tmp_path / "shop"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def kept(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    return found


async def updated(folder: Path, **options: Any) -> str:
    async with UpdateManifestSupervisor(root=folder, **options) as program:
        result = await program.process_task(TASK)
    assert result["status"] == "completed"
    return str(result["content"])


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# ---- the work


@WAYS
async def test_a_manifest_is_written_whole(folder: Path, way: str) -> None:
    result = await drive(create_update_manifest(root=folder).build(), way, ASK, None)
    assert result["status"] == "completed"
    project = FILES["pyproject.toml"]
    assert kept(folder) == {
        "format": 1,
        "files": {
            "docs/guide.md": {"kind": "document", "size": 8, "sha256": sha("# Guide\n")},
            "pyproject.toml": {"kind": "config", "size": len(project), "sha256": sha(project)},
            "src/app.py": {"kind": "python", "size": 15, "sha256": sha("print('hello')\n")},
        },
        "dependencies": [
            {
                "name": "httpx",
                "ecosystem": "pypi",
                "group": "main",
                "wants": ">=0.28",
                "declared_in": "pyproject.toml",
            }
        ],
    }
    answer = result["messages"][-1].text
    assert "3 files and 1 dependencies" in answer
    assert (
        "4 new: docs/guide.md, pyproject.toml, pyproject.toml//httpx (main), src/app.py" in answer
    )
    assert answer.endswith("The manifest is valid: 3 files and 1 dependencies.")


async def test_a_second_run_with_nothing_changed_writes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await updated(folder)
    before = (folder / MANIFEST).stat()

    def never(*_: object) -> None:
        raise AssertionError("it is written again")

    monkeypatch.setattr(storing, "_replace", never)
    answer = await updated(folder)
    assert "Nothing has changed." in answer and "Nothing to write" in answer
    after = (folder / MANIFEST).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


async def test_what_is_new_or_changed_is_written_without_a_question(folder: Path) -> None:
    await updated(folder)
    write(folder / "src/app.py", "print('bye')\n")
    write(folder / "new.txt", "new")
    write(folder / "pyproject.toml", FILES["pyproject.toml"].replace("0.28", "0.29"))
    answer = await updated(folder)
    assert "1 new: new.txt" in answer
    assert "3 changed: pyproject.toml, pyproject.toml//httpx (main), src/app.py" in answer
    assert kept(folder)["files"]["src/app.py"]["sha256"] == sha("print('bye')\n")
    assert kept(folder)["dependencies"][0]["wants"] == ">=0.29"


async def test_this_repository_has_a_manifest(tmp_path: Path) -> None:
    place = tmp_path / "manifest.json"
    first = await updated(ROOT, manifest=place)
    found = Manifest.model_validate_json(place.read_bytes())
    assert found.files["asterism/graphs"].kind == "link"
    assert found.files["graphs/examples/update_manifest.py"].kind == "python"
    assert {"langgraph", "pathspec", "hatchling"} <= {d.name for d in found.dependencies}
    assert not any(part in path for path in found.files for part in ("__pycache__", ".git/"))
    text = (ROOT / "LICENSE").read_bytes()
    assert found.files["LICENSE"].sha256 == hashlib.sha256(text).hexdigest()
    assert "The manifest is valid" in first
    assert "Nothing has changed." in await updated(ROOT, manifest=place)


# ---- removals


@pytest.fixture
def shrunk(folder: Path) -> Path:
    create_update_manifest(root=folder).build().invoke(ASK)
    (folder / "docs/guide.md").unlink()
    write(folder / "pyproject.toml", "[project]\nname = 'shop'\n")
    write(folder / "new.txt", "new")
    return folder


GONE = ["docs/guide.md", "pyproject.toml//httpx (main)"]


@pytest.mark.parametrize("answer", ["yes", "Y", "no", "No"])
async def test_a_person_is_asked_before_entries_are_removed(shrunk: Path, answer: str) -> None:
    before = (shrunk / MANIFEST).read_bytes()
    async with UpdateManifestSupervisor(root=shrunk) as program:
        waiting = await program.process_task(TASK)
        assert waiting["status"] == "waiting"
        assert waiting["content"].startswith(f"2 in the manifest, but gone: {', '.join(GONE)}.")
        assert (shrunk / MANIFEST).read_bytes() == before
        result = await program.answer_task("t", answer)
    files, needs = kept(shrunk)["files"], kept(shrunk)["dependencies"]
    removes = answer.lower().startswith("y")
    assert ("docs/guide.md" in files, bool(needs)) == (not removes, not removes)
    assert "new.txt" in files
    word = "Removed" if removes else "Kept, though they are gone"
    assert f"{word}: {', '.join(GONE)}" in result["content"]
    assert "The manifest is valid" in result["content"]


@pytest.mark.parametrize("answer", ["maybe", "yes please", "", 1])
def test_an_answer_that_is_none_leaves_the_question_open(
    shrunk: Path, saver: BaseCheckpointSaver[str], thread: RunnableConfig, answer: Any
) -> None:
    built = create_update_manifest(root=shrunk).build(checkpointer=saver)
    built.invoke(ASK, thread)
    (request,) = pending_requests(built, thread)
    assert (request.participant, request.request_type) == ("keeper", "removal")
    assert request.value["context"]["gone"] == GONE
    with pytest.raises(AnswerError):
        resume(built, thread, answer)
    assert [found.id for found in pending_requests(built, thread)] == [request.id]
    assert resume(built, thread, "yes")["status"] == "completed"


def test_what_is_gone_only_after_the_question_is_kept(
    shrunk: Path, saver: BaseCheckpointSaver[str], thread: RunnableConfig
) -> None:
    built = create_update_manifest(root=shrunk).build(checkpointer=saver)
    built.invoke(ASK, thread)
    (shrunk / "src/app.py").unlink()
    write(shrunk / "docs/guide.md", "# Guide\n")  # it is back
    resume(built, thread, "yes")
    assert "src/app.py" in kept(shrunk)["files"] and "docs/guide.md" in kept(shrunk)["files"]
    again = built.invoke(ASK, thread)
    assert again["status"] == "waiting"
    (request,) = pending_requests(built, thread)
    assert request.value["context"]["gone"] == ["src/app.py"]


def test_where_nobody_can_be_asked_nothing_is_removed(shrunk: Path) -> None:
    before = (shrunk / MANIFEST).read_bytes()
    try:
        with pytest.warns(UserWarning, match="nothing is stored"):
            result = create_update_manifest(root=shrunk).build().invoke(ASK)
        assert result["status"] != "completed"
    finally:
        assert (shrunk / MANIFEST).read_bytes() == before


def test_a_first_manifest_may_be_refused(folder: Path) -> None:
    builder = create_update_manifest(root=folder, asks_first=True)
    built = builder.build(InMemorySaver())
    built.invoke(ASK, {"configurable": {"thread_id": "1"}})
    result = resume(built, "1", "no")
    assert result["status"] == "completed"
    assert "There is no manifest" in result["reports"][-1]["text"]
    assert not (folder / MANIFEST).exists()


def test_what_is_left_out_from_now_on_is_asked_about(shrunk: Path) -> None:
    write(shrunk / ".gitignore", "src/\n")
    scan = scan_project(shrunk.resolve(), lambda path: False)
    assert "src/app.py" not in scan.files and scan.covers("src/app.py")


# ---- writing


@pytest.mark.parametrize("point", ["fsync", "fchmod", "replace"])
def test_an_interruption_leaves_the_old_manifest_and_no_rubbish(
    folder: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    create_update_manifest(root=folder).build().invoke(ASK)
    before = (folder / MANIFEST).read_bytes()
    write(folder / "new.txt", "new")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        owner: Any = Path if point == "replace" else os
        patched.setattr(owner, point, stop)
        scan = scan_project(folder.resolve(), lambda path: False)
        with pytest.raises(KeyboardInterrupt):
            write_manifest(folder / MANIFEST, scan.manifest())
    assert (folder / MANIFEST).read_bytes() == before
    assert sorted(path.name for path in folder.glob(f"*{MANIFEST}*")) == [MANIFEST]


async def test_a_full_disk_is_an_error_and_a_retry_finishes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync
    calls: list[int] = []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 1:
            raise OSError(28, "No space left on device")
        real(handle)

    async def nap(seconds: float) -> None:
        assert not (folder / MANIFEST).exists()

    monkeypatch.setattr(os, "fsync", full)
    async with UpdateManifestSupervisor(root=folder, sleep=nap) as program:
        result = await program.process_task(TASK)
    assert result["attempts"] == 2
    trace = program.trace.get_trace("t")
    assert trace is not None and "No space left on device" in trace.errors[0].message


def test_what_a_killed_writer_left_is_no_file_of_the_project(folder: Path) -> None:
    write(folder / f".{MANIFEST}.abc.tmp", "{")
    create_update_manifest(root=folder).build().invoke(ASK)
    assert not any(MANIFEST in path for path in kept(folder)["files"])


def test_the_mode_of_a_manifest_stays(folder: Path) -> None:
    create_update_manifest(root=folder).build().invoke(ASK)
    (folder / MANIFEST).chmod(0o600)
    write(folder / "new.txt", "new")
    create_update_manifest(root=folder).build().invoke(ASK)
    assert (folder / MANIFEST).stat().st_mode & 0o777 == 0o600


ENTRY = {"kind": "text", "size": 1, "sha256": "0" * 64}
BROKEN: dict[str, tuple[str, str]] = {
    "no JSON": ("{", "invalid JSON"),
    "something else": ('{"name": "app", "icons": []}', "files: it is missing"),
    "another format": ('{"format": 2, "files": {}, "dependencies": []}', "format: it is 2"),
    "a path that leads out": (
        json.dumps({"format": 1, "files": {"../x": ENTRY}, "dependencies": []}),
        "'../x' is no path below the folder",
    ),
    "a path from the root": (
        json.dumps({"format": 1, "files": {"/etc/passwd": ENTRY}, "dependencies": []}),
        "'/etc/passwd' is no path below the folder",
    ),
    "a short checksum": (
        json.dumps({"format": 1, "files": {"x": {**ENTRY, "sha256": "0"}}, "dependencies": []}),
        "files.x.sha256: ",
    ),
}


@pytest.mark.parametrize(("text", "said"), BROKEN.values(), ids=BROKEN)
async def test_what_is_no_manifest_is_not_written_over(folder: Path, text: str, said: str) -> None:
    write(folder / MANIFEST, text)
    async with UpdateManifestSupervisor(root=folder, sleep=_no_nap) as program:
        with pytest.raises(TaskFailedError, match="is no manifest: ") as caught:
            await program.process_task(TASK)
    assert said in str(caught.value)
    assert (folder / MANIFEST).read_text() == text


async def _no_nap(seconds: float) -> None:
    pass


def test_a_manifest_that_is_a_link_or_a_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / MANIFEST).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="is no file; move it away"):
        read_manifest(folder / MANIFEST)
    with pytest.raises(ConfigurationError, match="is no folder; give one that exists"):
        create_update_manifest(root=folder, manifest=tmp_path / "nowhere" / "m.json")
    with pytest.raises(ConfigurationError, match="nowhere"):
        UpdateManifestSupervisor(root=tmp_path / "nowhere")


# ---- hostile folders


def scanned(folder: Path, **options: Any) -> scanning.Scan:
    return scan_project(folder.resolve(), lambda path: path == MANIFEST, **options)


def test_links_never_lead_out(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "secret/key.py", "secret")
    (folder / "out").symlink_to(tmp_path / "secret")
    (folder / "out.py").symlink_to(tmp_path / "secret/key.py")
    (folder / "up").symlink_to("../secret/key.py")
    (folder / "in.py").symlink_to("src/app.py")
    (folder / "docs/self").symlink_to("../docs")
    (folder / "loop").symlink_to("loop")
    (folder / "requirements.txt").symlink_to(tmp_path / "secret/key.py")
    scan = scanned(folder)
    assert {path for path, entry in scan.files.items() if entry.kind == "link"} == {
        "docs/self",
        "in.py",
    }
    assert scan.files["in.py"].sha256 == sha("src/app.py")
    said = "the link leads out of the folder, or nowhere; left out"
    names = ("loop", "out", "out.py", "requirements.txt", "up")
    assert scan.problems == sorted(f"{name}: {said}" for name in names)
    assert sha("secret") not in {entry.sha256 for entry in scan.files.values()}


def test_a_file_that_becomes_a_link_is_not_followed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "secret.py", "secret")
    real = Path.lstat

    def swapped(path: Path) -> os.stat_result:
        found = real(path)
        if path.name == "app.py":
            path.unlink()
            path.symlink_to(tmp_path / "secret.py")
        return found

    monkeypatch.setattr(Path, "lstat", swapped)
    scan = scanned(folder)
    assert "src/app.py" not in scan.files
    assert scan.problems[0].startswith("src/app.py: it cannot be read: ")


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Names that cannot be opened; a test may run as somebody who may read everything."""
    names: set[str] = set()
    opened, listed = os.open, os.scandir

    def open_(path: Any, *rest: Any, **more: Any) -> int:
        if Path(path).name in names:
            raise PermissionError(13, "Permission denied")
        return opened(path, *rest, **more)

    def scandir(path: Any) -> Any:
        if Path(path).name in names:
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(os, "scandir", scandir)
    yield names


async def test_what_cannot_be_read_is_reported_and_its_entry_stays(
    folder: Path, unreadable: set[str]
) -> None:
    await updated(folder)
    before = kept(folder)
    unreadable.update({"app.py", "docs", "pyproject.toml"})
    answer = await updated(folder)
    assert "Problem: src/app.py: it cannot be read: Permission denied" in answer
    assert "Problem: docs: it cannot be read: Permission denied" in answer
    assert "4 not readable, left as they were: docs/guide.md, pyproject.toml, " in answer
    assert kept(folder) == before


async def test_dependencies_are_not_gone_when_their_file_is_broken(folder: Path) -> None:
    await updated(folder)
    write(folder / "pyproject.toml", "[project")
    answer = await updated(folder)
    assert "1 not readable, left as they were: pyproject.toml//httpx (main)" in answer
    assert [d["name"] for d in kept(folder)["dependencies"]] == ["httpx"]


def test_a_file_that_vanishes_is_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def vanish(path: Any, *rest: Any, **more: Any) -> int:
        if Path(path).name == "app.py":
            Path(path).unlink()
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", vanish)
    scan = scanned(folder)
    assert scan.problems == ["src/app.py: it vanished while the folder was read"]
    assert "docs/guide.md" in scan.files


def test_strange_names_and_things_that_are_no_files(folder: Path) -> None:
    longest = "n" * 251 + ".txt"
    for name in (longest, "ünï cödé.md", "a'b\"c;$(x).sh", "-rf", "name with , comma"):
        write(folder / name, "x")
    write(folder / "two\nlines.txt", "x")
    with open(os.fsencode(folder) + b"/bad\xff.txt", "wb"):  # noqa: PTH123 - no text
        pass
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(folder)  # the path of a socket is short
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
        scan = scanned(folder)
    assert {longest, "ünï cödé.md", "a'b\"c;$(x).sh", "-rf"} <= scan.files.keys()
    assert scan.problems == [
        "'bad\\udcff.txt': it cannot be read: its name cannot be printed",
        "'two\\nlines.txt': it cannot be read: its name cannot be printed",
        "pipe: it is no file (a pipe, a socket, a device); left out",
        "socket: it is no file (a pipe, a socket, a device); left out",
    ]
    assert scan.manifest().text().encode()


def test_a_deep_folder_is_read_to_where_paths_end(folder: Path) -> None:
    here = os.open(folder, os.O_RDONLY)
    for _ in range(25):  # 5,000 characters
        os.mkdir("d" * 200, dir_fd=here)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    scan = scanned(folder)
    assert "src/app.py" in scan.files
    assert len(scan.problems) == 1
    assert "it cannot be read: File name too long" in scan.problems[0]


def test_too_many_files_and_too_large_ones(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="more than 2 files; name what can be left out"):
        scanned(folder, max_files=2)
    with (folder / "huge.bin").open("wb") as file:
        file.truncate(10_000)
    monkeypatch.setattr(scanning, "MAX_SIZE", 5_000)
    scan = scanned(folder)
    assert scan.problems == ["huge.bin: it cannot be read: it has more than 5,000 bytes"]
    assert not scan.covers("huge.bin")


# ---- excludes and dependencies


RULES = [("", ["*.log", "/build", "data/", "!keep.log"]), ("sub/", ["!*.log", "own"])]
EXCLUDED = [
    ("a.log", False, True),
    ("x/y/a.log", False, True),
    ("keep.log", False, False),
    ("build", True, True),
    ("x/build", True, False),
    ("data", True, True),
    ("data", False, False),
    ("sub/a.log", False, False),
    ("sub/own", False, True),
    ("own", False, False),
    ("readme", False, False),
]


@pytest.mark.parametrize(("path", "is_folder", "left_out"), EXCLUDED)
def test_excludes(path: str, is_folder: bool, left_out: bool) -> None:
    rules = [read_rules(folder, lines)[0] for folder, lines in RULES]
    fitting = [rule for rule in rules if path.startswith(rule.folder)]
    assert is_excluded(path, fitting, is_folder=is_folder) is left_out


def test_gitignore_files_hold_in_their_folders(folder: Path) -> None:
    write(folder / ".gitignore", "\ufeff*.tmp\nout/\n!/.venv\n")
    write(folder / "src/.gitignore", "!keep.tmp\n")
    for name in ("a.tmp", "src/keep.tmp", "src/b.tmp", "out/x.py", "docs/out/x.py"):
        write(folder / name, "x")
    found = scanned(folder)
    assert sorted(path for path in found.files if path not in FILES) == [
        ".gitignore",
        "src/.gitignore",
        "src/keep.tmp",
    ]
    assert ".venv/lib/x.py" in found.files  # who wants it, has it


def test_a_pattern_that_is_none_is_reported(folder: Path) -> None:
    write(folder / ".gitignore", "*.tmp\n!\n")
    assert scanned(folder).problems == [".gitignore: '!' is no pattern"]
    (folder / ".gitignore").write_bytes(b"\xff\xfe")
    assert "nothing is left out for it" in scanned(folder).problems[0]


DECLARED: dict[str, tuple[str, str, list[tuple[str, str, str]], list[str]]] = {
    "a pyproject": (
        "pyproject.toml",
        '[build-system]\nrequires = ["hatchling"]\n'
        '[project]\ndependencies = ["HTTPX[http2] >=0.28; python_version > \\"3.11\\""]\n'
        '[project.optional-dependencies]\nx = ["a.b~=1.0"]\n'
        '[dependency-groups]\ndev = ["pytest", {include-group = "x"}, 7]\n',
        [
            ("a-b", "~=1.0", "x"),
            ("hatchling", "", "build"),
            ("httpx", '[http2]>=0.28 ; python_version > "3.11"', "main"),
            ("pytest", "", "dev"),
        ],
        ["pyproject.toml: 7 is no requirement"],
    ),
    "requirements": (
        "sub/requirements-dev.txt",
        "# tools\n-r base.txt\n--hash x\nruff==0.1 # style\nuv \\\n  >=0.4 --hash=sha256:0\n???\n"
        "own @ https://me:hunter22@host/own.whl\n",
        [
            ("own", "https://me:[redacted]@host/own.whl", "main"),
            ("ruff", "==0.1", "main"),
            ("uv", ">=0.4", "main"),
        ],
        ["sub/requirements-dev.txt: '???' is no requirement"],
    ),
    "a package.json": (
        "package.json",
        '{"dependencies": {"react": "^18", "odd": 3}, "devDependencies": {"@types/x": "1"}}',
        [("@types/x", "1", "dev"), ("react", "^18", "main")],
        ["package.json: dependencies.odd: 3 is no version"],
    ),
    "nothing": ("requirements.txt", "", [], []),
}


@pytest.mark.parametrize(("path", "text", "needs", "problems"), DECLARED.values(), ids=DECLARED)
def test_declared_dependencies(
    path: str, text: str, needs: list[tuple[str, str, str]], problems: list[str]
) -> None:
    found, said = read_declared_dependencies(path, text.encode())
    assert (sorted((d.name, d.wants, d.group) for d in found), said) == (needs, problems)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("pyproject.toml", b"[project"),
        ("package.json", b"{"),
        ("package.json", b"[" * 100_000),
        ("requirements.txt", b"\xff"),
    ],
)
def test_a_file_that_cannot_be_read_declares_nothing(path: str, content: bytes) -> None:
    with pytest.raises(ValueError):
        read_declared_dependencies(path, content)


def test_the_folder_comes_from_the_environment(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASTERISM_PROJECT", str(folder))
    monkeypatch.setenv("ASTERISM_MANIFEST", str(tmp_path / "m.json"))
    thread: Any = {"configurable": {"thread_id": "1"}}
    opened = open_graph("update_manifest", model="offline", checkpointer=InMemorySaver())
    assert opened.invoke(ASK, thread)["status"] == "waiting"
    assert not (tmp_path / "m.json").exists()
    result = resume(opened, "1", "yes")
    assert result["status"] == "completed"
    assert (tmp_path / "m.json").exists() and not (folder / MANIFEST).exists()
