"""What a workflow knows of itself."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel

from asterism.budgets import Budget
from asterism.nodes.team import Team
from asterism.prices import DEFAULT_PRICES, PriceTable


@dataclass(frozen=True, kw_only=True)
class WorkflowFacts:
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
    prices: PriceTable = DEFAULT_PRICES
    """What tokens cost."""

    @property
    def participants(self) -> Mapping[str, str]:
        """Who takes part from the beginning: id and description."""
        return self.team.descriptions
