"""The graphs that come with the library; naming them loads none of them.

Tests: tests/graphs/test_machine.py, tests/asterism/apps/cli/test_app.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asterism.core.agent_spec import ModelLike
    from asterism.graphs.builder import SupervisorWorkflowBuilder


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """A graph that comes with the library."""

    module: str
    """The module in `asterism.graphs.examples` that makes it."""
    function: str
    description: str
    example: str
    """A request to try it with."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def create(self, model: "ModelLike") -> "SupervisorWorkflowBuilder":
        """Load and make its builder."""
        make = getattr(import_module(f"asterism.graphs.examples.{self.module}"), self.function)
        builder: SupervisorWorkflowBuilder = make(model, **self.options)
        return builder


SHIPPED = {
    "event_planning": Shipped(
        module="event_planning",
        function="create_event_planning",
        description="Plans an event: venue, catering, budget and logistics.",
        example="Plan a corporate holiday party for 50 people in Seattle on December 15th",
    ),
    "research": Shipped(
        module="research",
        function="create_research",
        description="Answers a question from the text files of a folder, with its sources.",
        example="What do my notes say about insurance?",
    ),
    "consensus": Shipped(
        module="research",
        function="create_consensus",
        description="Chooses among the documents of a folder by the votes of several judges.",
        example="Which of the offers should we take?",
    ),
    "toy_example": Shipped(
        module="toy_example",
        function="create_toy_example",
        description="Counts, times and proofreads a text.",
        example="This is is a text (with a fault or two.",
    ),
    "update_manifest": Shipped(
        module="update_manifest",
        function="create_update_manifest",
        description="Keeps a manifest of this folder: files, checksums, dependencies.",
        example="Update the manifest",
        options={"asks_first": True},
    ),
}
