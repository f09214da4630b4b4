"""The package: what is packed can be imported, in every way it can be built or checked out."""

import shutil
import subprocess
import sys
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
BUILDS = """
import os, shutil, sys
from hatchling.build import build_sdist, build_wheel  # what pip and build call

checkout, folder = sys.argv[1:]
os.chdir(checkout)
build_wheel(f"{folder}/from-checkout")
shutil.unpack_archive(f"{folder}/{build_sdist(folder)}", f"{folder}/unpacked", filter="data")
(source,) = os.listdir(f"{folder}/unpacked")
os.chdir(f"{folder}/unpacked/{source}")
build_wheel(f"{folder}/from-sdist")
"""
CHECK = """
import asterism
from asterism.graphs.builder import SupervisorWorkflowBuilder
from asterism.graphs.shipped import SHIPPED
from asterism.nodes.routing import route
from asterism.prompts import list_prompts, load_prompt
from asterism.apps.ui.app import STATIC
assert len(list_prompts()) > 5 and load_prompt("supervisor")
assert (STATIC / "index.html").is_file() and (STATIC / "page.js").is_file()
assert asterism.SupervisorWorkflowBuilder is SupervisorWorkflowBuilder
workflow = SHIPPED["event_planning"].create("offline").build()
assert workflow.invoke({"messages": "Plan a party for 20 people in Oslo"})["status"] == "waiting"
print(asterism.__file__)
"""


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the files that are packed, with the links as links."""
    folder = tmp_path_factory.mktemp("checkout") / "project"
    skip = shutil.ignore_patterns(
        ".*", "__pycache__", "*.egg-info", "dist", "build", "out", "benchmarks"
    )
    shutil.copytree(ROOT, folder, symlinks=True, ignore=skip)
    return folder


def import_alone(wheel: Path, tmp_path: Path) -> None:
    """Install a wheel into an environment that has only its dependencies, and use it."""
    home = tmp_path / "env"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    site = Path(
        run(python, "-c", "import site; print(site.getsitepackages()[0])", cwd=tmp_path).strip()
    )
    dependencies = Path(pytest.__file__).parents[1]
    shutil.unpack_archive(wheel, site, "zip")
    (site / "dependencies.pth").write_text(f"{dependencies}\n")
    place = run(python, "-P", "-c", CHECK, cwd=tmp_path)
    assert place.strip() == str(site / "asterism" / "__init__.py")


@pytest.fixture(scope="module")
def built(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with wheels of the checkout and of its sdist, and the sdist unpacked."""
    folder = tmp_path_factory.mktemp("built")
    run(sys.executable, "-c", BUILDS, checkout, folder, cwd=folder)
    return folder


def contents(wheel: Path) -> dict[str, bytes]:
    with ZipFile(wheel) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def test_a_wheel_built_from_the_checkout_works(built: Path, tmp_path: Path) -> None:
    (wheel,) = (built / "from-checkout").iterdir()
    import_alone(wheel, tmp_path)


def test_a_wheel_built_from_the_sdist_is_the_same(built: Path) -> None:
    (source,) = (built / "unpacked").iterdir()
    assert not (source / "asterism" / "graphs").exists()  # links are not packed, folders are
    (wheel,) = (built / "from-checkout").iterdir()
    (again,) = (built / "from-sdist").iterdir()
    assert contents(again) == contents(wheel)


def test_a_checkout_without_links_works(checkout: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    shutil.copytree(checkout, folder, symlinks=True)
    for name in ("graphs", "nodes", "prompts"):
        link = folder / "asterism" / name
        if link.is_symlink():
            link.unlink()
    place = run(sys.executable, "-c", CHECK, cwd=folder)
    assert place.strip() == str(folder / "asterism" / "__init__.py")


def test_the_lock_names_versions_and_nothing_else() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()[1:]
    assert len(lines) > 50
    assert all("==" in line and " " not in line and "/" not in line for line in lines)
