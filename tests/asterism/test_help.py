"""What `help()` and a notebook's completion show of public names: short, and with arguments."""

import inspect
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
