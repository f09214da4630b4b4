"""Importing costs little: heavy parts are imported when they are used."""

import subprocess
import sys

import pytest

HEAVY = ["langchain", "langchain_openai", "openai", "rich", "typer", "langgraph.pregel"]


@pytest.mark.parametrize("module", HEAVY)
def test_importing_asterism_does_not_import(module: str) -> None:
    code = f"import asterism, sys; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


@pytest.mark.parametrize("module", ["langchain_openai", "openai", "typer", "jsonschema"])
def test_the_builder_does_not_import(module: str) -> None:
    code = (
        "import sys; from asterism import SupervisorWorkflowBuilder;"
        f"sys.exit({module!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


@pytest.mark.parametrize("module", ["langgraph", "langchain_core", "openai", "starlette"])
def test_asking_the_command_line_for_help_loads_no_engine(module: str) -> None:
    code = f"import asterism.apps.cli.app, sys; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_all_names_are_imported_without_extras() -> None:
    blocked = ("starlette", "uvicorn", "psycopg", "procrastinate", "Crypto", "IPython")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked!r}))\n"
        "from asterism import *\n"
        "try: create_service_app(None)\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "pip install 'asterism-agents[ui]'" in done.stdout
