"""Looking: what a decider is shown of the state, kept to the policy there is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from langchain_core.messages import AnyMessage
from langchain_core.runnables import RunnableConfig

from asterism.core.sync_async import Steps
from asterism.memories.context_policies import Compaction
from asterism.nodes.compacting import Compactor
from asterism.nodes.context import participant_path
from asterism.nodes.protocol import AnyDecider
from asterism.nodes.routing import SUPERVISOR
from asterism.nodes.team import Team
from asterism.nodes.view import SupervisorView, conversation, pinned_message_ids

ViewAndCompaction = tuple[SupervisorView, Compaction | None]
"""What a decider is shown, and what stands for the rest if that is new."""

ViewBuilder = Callable[[Mapping[str, Any], RunnableConfig], Steps[ViewAndCompaction]]
"""Looks at the state for a decider."""


def create_view_builder(
    decider: AnyDecider, team: Team, compactor: Compactor | None
) -> ViewBuilder:
    """Make what shows a decider the state.

    Args:
        decider: Who decides. Where it has a method `prompt`, that is what must fit.
        team: Who takes part.
        compactor: Keeps its prompts short, if anything does.
    """
    prompt: Any = getattr(decider, "prompt", None)

    def look(state: Mapping[str, Any], config: RunnableConfig) -> Steps[ViewAndCompaction]:
        view = _view(state, team)
        if compactor is None:
            return view, None

        def write(messages: list[AnyMessage]) -> list[AnyMessage]:
            return prompt(replace(view, messages=messages)) if prompt else conversation(messages)

        messages, compaction = yield from compactor.fit(
            cast(Sequence[AnyMessage], view.messages),
            state.get("compaction"),
            config,
            path=participant_path(config, SUPERVISOR),
            write=write,
            pinned=pinned_message_ids,
        )
        return replace(view, messages=messages), compaction

    return look


def _view(state: Mapping[str, Any], team: Team) -> SupervisorView:
    """Show a decider the state."""
    return SupervisorView(
        messages=state["messages"],
        participants=team.live(state),
        reports=state.get("reports") or (),
        iterations=state.get("iterations") or 0,
        request="\n\n".join(state.get("brief") or ()),
        state=state,
    )
