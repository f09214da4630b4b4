"""The lifetime of a run: its event bus is told when it begins and how it ends."""

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphBubbleUp, GraphDrained

from asterism.core.messages import clean_text
from asterism.core.values import as_dict, describe_error
from asterism.events import BUS, EventScope, WorkflowEventType, emit
from asterism.nodes.background import RunContext
from asterism.nodes.context import BACKGROUND

WAITING_REASON = "it waits for a person, or rests at a breakpoint"


class RunEvents:
    """Tells the event bus of a run when it begins and how it ends: `with Lifetime(...):`.

    Args:
        config: The config of the run.
        background: Its background. A workflow inside another has no lifetime of its own.
        name: The name of the workflow.
        given: The input; answers in it are told.
        versions: Tells hashes of what the workflow is made of.
    """

    def __init__(
        self,
        config: RunnableConfig,
        background: RunContext,
        *,
        name: str,
        given: object,
        versions: Callable[[], Mapping[str, str]],
    ) -> None:
        line: EventScope | None = as_dict(config.get("configurable")).get(BUS)
        self._own = line is not None and line.owner is background
        self._config = config
        self._background = background
        self._name = name
        self._given = given
        self._versions = versions

    def __enter__(self) -> None:
        if self._own:
            emit(
                self._config,
                WorkflowEventType.RUN_STARTED,
                workflow=self._name,
                resumed=not isinstance(self._given, dict),
                request=_request(as_dict(self._given).get("messages") or ()) or None,
                versions=self._versions(),
            )
        for request, said in as_dict(getattr(self._given, "resume", None)).items():
            answer = said if isinstance(said, str) and said else None
            emit(self._config, WorkflowEventType.ANSWERED, request=request, answer=answer)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._own:
            end = run_end_event(error, self._background.end)
            emit(self._config, WorkflowEventType.RUN_ENDED, **end)


def note_end(config: RunnableConfig, end: Mapping[str, str]) -> None:
    """Note the status and the reason that the last node of a workflow writes."""
    background: RunContext | None = as_dict(config.get("configurable")).get(BACKGROUND)
    if background is not None:
        background.end = end


def run_end_event(error: BaseException | None, end: Mapping[str, str] | None) -> dict[str, Any]:
    """Say how a run ended.

    Args:
        error: What it raised, if anything.
        end: What its last node wrote, if it was reached.
    """
    if isinstance(error, GraphDrained):
        return {"status": "waiting", "reason": f"it was asked to stop: {error.reason}"}
    if isinstance(error, GraphBubbleUp):
        return {"status": "waiting", "reason": WAITING_REASON}
    if isinstance(error, Exception):
        kind = type(error).__name__
        return {"status": "failed", "reason": clean_text(describe_error(error)), "kind": kind}
    if end is not None:  # also where whoever follows the stream has seen the end and goes away
        return dict(end)
    if error is not None:
        return {"status": "cancelled", "reason": f"it was stopped: {type(error).__name__}"}
    return {"status": "waiting", "reason": WAITING_REASON}


def _request(messages: Sequence[BaseMessage]) -> str:
    return "\n\n".join(message.text for message in messages if message.type == "human")
