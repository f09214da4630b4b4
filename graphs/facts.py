"""What a workflow knows of itself."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from pydantic import BaseModel

from asterism.events import EventBus
from asterism.limits.budgets import Budget
from asterism.limits.prices import DEFAULT_PRICES, PriceTable
from asterism.nodes.run_context import RunContext, create_run_config
from asterism.nodes.team import Team
from asterism.prompts import prompts_hash, text_hash
from asterism.storage.serializers import types_in_state


@dataclass(frozen=True, kw_only=True)
class WorkflowConfig:
    """What a workflow knows of itself."""

    id: str
    description: str | None
    team: Team
    """Who takes part."""
    response_format: type[BaseModel] | None = None
    """The model of `structured_response`, where one was asked for."""
    thread_wait: float = 0.0
    """Seconds that a call waits for a thread that another one drives."""
    budget: Budget | None = None
    """What one run may take."""
    events: EventBus | None = None
    """Is told what happens."""
    prices: PriceTable = DEFAULT_PRICES
    """What tokens cost."""
    instructions: tuple[str, ...] = ()
    """What its own prompts say, for traces to tell one version from another."""
    prompts: str = field(default_factory=prompts_hash)
    """The hash of the library's prompts, taken when it is built: a run must not list files."""
    remade: Callable[[str, Any], Any] | None = None
    """Builds the workflow anew with another participant under a name, where that can be done."""

    @property
    def participants(self) -> Mapping[str, str]:
        """Who takes part from the beginning: id and description."""
        return self.team.descriptions

    @cached_property
    def types(self) -> frozenset[type]:
        """The types that the state schemas of its participants name."""
        graphs = [member.graph for member in self.team.members.values()]
        below: list[Any] = [dict(cast(Any, graph).get_subgraphs(recurse=True)) for graph in graphs]
        found: set[type] = set()
        for graph in (*graphs, *(inner for each in below for inner in each.values())):
            found |= types_in_state(graph)
        return frozenset(found)

    def versions(self) -> dict[str, str]:
        """Return hashes of what the workflow is made of: its prompts and its team."""
        team = (part for pair in self.participants.items() for part in pair)
        return {
            "prompts": self.prompts,
            "instructions": text_hash(*self.instructions),
            "team": text_hash(*team),
        }


def run_config(
    facts: WorkflowConfig,
    config: RunnableConfig | None,
    background: RunContext,
    values: Mapping[str, Any],
    held: asyncio.AbstractEventLoop | None = None,
) -> RunnableConfig:
    """Return the config of a run, with all that its nodes need.

    Args:
        facts: What its workflow knows of itself.
        config: What the caller gave.
        background: The run's own background.
        values: The state that it goes on with.
        held: The event loop that it holds up, because it is a sync one.
    """
    return create_run_config(
        config,
        background,
        prices=facts.prices,
        budget=facts.budget,
        gated=facts.budget is not None or facts.team.has_budgets(),
        events=facts.events,
        values=values,
        held=held,
    )
