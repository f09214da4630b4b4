"""What `help()` and a notebook's completion show of public names: short, and with arguments."""

import inspect
import re
import subprocess
import sys
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

import asterism
from asterism import (
    AgentQuota,
    Budget,
    ContextManager,
    Participant,
    ResourceManager,
    Service,
    SupervisorConfig,
    SupervisorWorkflowBuilder,
)


@pytest.mark.parametrize(
    "made_by_users",
    [AgentQuota, Budget, ContextManager, Participant, ResourceManager, Service, SupervisorConfig],
    ids=lambda kind: kind.__name__,
)
def test_the_docstring_of_a_dataclass_explains_its_arguments(made_by_users: Any) -> None:
    assert is_dataclass(made_by_users)
    explained = inspect.getdoc(made_by_users) or ""
    for field in fields(made_by_users):
        assert field.name.startswith("_") or f"{field.name}: " in explained.split("Args:")[1]


def test_signatures_and_representations_are_short() -> None:
    signature = str(inspect.signature(SupervisorWorkflowBuilder))
    assert len(signature) < 2_000 and "mappingproxy" not in signature
    builder = SupervisorWorkflowBuilder("Trip", model="offline").participants(work=len)
    assert repr(builder) == (
        "SupervisorWorkflowBuilder('Trip', model='offline', participants=['work'])"
    )


def test_the_version_is_known() -> None:
    assert asterism.__version__.split(".")[0].isdigit()


def test_the_help_of_the_package_is_short_and_names_what_exists() -> None:
    code = "from asterism import *\nimport asterism\nhelp(asterism)"  # all names are loaded
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "SupervisorWorkflowBuilder" in shown.stdout
    assert len(shown.stdout) < 10_000
    listed = re.findall(r"^[A-Z][a-z ]+: {2,}(.*)$", asterism.__doc__ or "", re.M)
    names = [name for line in listed for name in line.split(", ")]
    assert len(names) > 25
    for name in names:
        assert name == "asterism.testing" or name in asterism.__all__, name
    assert set(asterism.__all__) <= set(dir(asterism))
