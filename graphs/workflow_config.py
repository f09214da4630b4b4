"""The configuration of a workflow: what the builder has decided, and runs read.

Tests: tests/graphs/test_workflow.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from pydantic import BaseModel

from asterism.core.steering import OnBusy
from asterism.events import EventBus
from asterism.limits.budgets import Budget
from asterism.limits.prices import DEFAULT_PRICES, PriceTable
from asterism.nodes.team import Team
from asterism.prompts import prompts_hash, text_hash

if TYPE_CHECKING:
    from asterism.limits.contracts import Contract, RunContracts


TEAM, VERSION = "team_id", "team_version"
"""The keys of metadata under which checkpoints name the team that stored them, and its version."""


@dataclass(frozen=True, kw_only=True)
class WorkflowConfig:
    """The configuration of a workflow."""

    id: str
    description: str | None
    version: str = ""
    """The version of the team, which its threads name; empty: it has none."""
    migrations: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """How threads of earlier versions come to the next one, by version, the oldest first."""
    made_of: Callable[[], Mapping[str, str]] = dict
    """Returns the hashes of what is asked of models, by participant; see `hashes_of`."""
    team: Team
    """The participants."""
    response_format: type[BaseModel] | None = None
    """The model of `structured_response`, where one was asked for."""
    thread_wait: float = 0.0
    """Seconds that a call waits for a thread that another one drives."""
    on_busy: OnBusy = "steer"
    """What a message does on a thread that is driven."""
    budget: Budget | None = None
    """The budget of one run."""
    contracts: "Sequence[Contract]" = ()
    """What all runs of somebody may take together."""
    events: EventBus | None = None
    """The bus that events are emitted on."""
    prices: PriceTable = DEFAULT_PRICES
    """The prices of tokens."""
    instructions: tuple[str, ...] = ()
    """The texts of its own prompts, by which traces tell versions apart."""
    prompts: str = field(default_factory=prompts_hash)
    """The hash of the library's prompts, taken when it is built: a run must not list files."""
    debug: bool = False
    """Whether the exception of a participant is raised rather than reported."""
    find_models: Callable[[], tuple[str, ...]] = tuple
    """Names the chat models that it calls, those of its participants included."""
    remade: Callable[[str, Any], Any] | None = None
    """Builds the workflow anew with another participant under a name, where that can be done."""

    def __post_init__(self) -> None:
        if self.contracts:
            from asterism.limits.contracts import check_contracts

            check_contracts(self.contracts)

    def open_contracts(
        self, saver: object, config: RunnableConfig | None, context: object, *, counts_run: bool
    ) -> "RunContracts | None":
        """Find the accounts of a run, where the workflow has contracts; see `open_contracts`."""
        if not self.contracts:
            return None
        from asterism.limits.contracts import open_contracts
        from asterism.storage.contract_ledger import ContractLedger
        from asterism.storage.transactions import transactions_of

        is_stored = isinstance(saver, BaseCheckpointSaver)
        return open_contracts(
            self.contracts,
            ContractLedger(transactions_of(saver if is_stored else self)),
            team=self.id,
            config=config,
            context=context,
            counts_run=counts_run,
        )

    @property
    def participants(self) -> Mapping[str, str]:
        """The participants from the beginning: id and description."""
        return self.team.descriptions

    @cached_property
    def labels(self) -> Mapping[str, str]:
        """What its checkpoints are labelled with."""
        return {TEAM: self.id, VERSION: self.version} if self.version else {TEAM: self.id}

    @cached_property
    def types(self) -> frozenset[type]:
        """The types that the state schemas of its participants name."""
        from asterism.storage.serializers import types_in_state

        graphs: list[Any] = [member.graph for member in self.team.members.values()]
        below = [inner for each in graphs for _, inner in each.get_subgraphs(recurse=True)]
        return frozenset(found for graph in (*graphs, *below) for found in types_in_state(graph))

    def versions(self) -> dict[str, str]:
        """Return hashes of what the workflow is made of: its prompts and its team."""
        team = (part for pair in self.participants.items() for part in pair)
        return {
            "prompts": self.prompts,
            "instructions": text_hash(*self.instructions),
            "team": text_hash(*team),
        }
