"""Importing costs little: heavy parts are imported when they are used."""

import subprocess
import sys
from functools import cache

import pytest

HEAVY = ["langchain", "langchain_openai", "openai", "rich", "typer", "langgraph.pregel"]


@cache
def modules_after(statement: str) -> frozenset[str]:
    """The modules that a statement loads, in a process of its own."""
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], timeout=60, capture_output=True, text=True, check=True
    )
    return frozenset(done.stdout.split())


@pytest.mark.parametrize("module", HEAVY)
def test_importing_asterism_does_not_import(module: str) -> None:
    assert module not in modules_after("import asterism")


@pytest.mark.parametrize("module", ["langchain_openai", "openai", "typer", "jsonschema"])
def test_the_builder_does_not_import(module: str) -> None:
    assert module not in modules_after("from asterism import SupervisorWorkflowBuilder")


@pytest.mark.parametrize("module", ["langgraph", "langchain_core", "openai", "starlette"])
def test_asking_the_command_line_for_help_loads_no_engine(module: str) -> None:
    assert module not in modules_after("import asterism.apps.cli.app")


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
