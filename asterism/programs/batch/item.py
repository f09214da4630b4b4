"""One task of a batch: begun, continued, or taken as stored; and its outcome."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.messages import convert_to_messages
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs
from langgraph.runtime import RunControl
from langgraph.types import StateSnapshot
from pydantic_core import to_jsonable_python

from asterism.core.continuation import (
    CUT_SHORT,
    REOPENS,
    Graph,
    aproceed,
    is_unfinished,
    proceed,
    read_request,
)
from asterism.core.sync_async import Call, Steps
from asterism.core.values import as_dict, as_list, describe_error
from asterism.errors import InvalidRequestError


@dataclass(frozen=True, kw_only=True)
class BatchOutcome:
    """What came of one task."""

    index: int
    """The place of the task, from 0."""
    thread_id: str
    """The thread that it ran on; the config of `resume` and `get_state` takes it."""
    status: str
    """The status of the workflow. For a graph without one: `"completed"`, `"waiting"` for a
    person, or `"running"` where it stopped with work left, as at a breakpoint. `"failed"`
    where it raised."""
    values: Any = None
    """The output of the graph as it is stored, or None where it raised."""
    error: str | None = None
    """The error that was raised, or why the workflow has failed, without secrets."""
    reused: bool = False
    """Whether nothing ran now: it was finished before, or still waits for a person."""


@dataclass(frozen=True, kw_only=True)
class BatchProgress:
    """How far a batch is."""

    done: int
    """How many tasks have an outcome."""
    total: int
    """How many tasks there are."""
    outcome: BatchOutcome
    """The newest one."""


REQUEST = "batch_request"
"""The metadata of a checkpoint that tells which request its thread was begun with."""


@dataclass(frozen=True, kw_only=True)
class BatchItem:
    """One task of a batch."""

    graph: Graph
    task: object
    index: int
    batch_id: str
    config: RunnableConfig
    """What each run is given."""
    control: RunControl
    """Stops the runs of a batch."""

    @property
    def thread_id(self) -> str:
        """The thread that the task runs on."""
        return f"{self.batch_id}/{self.index}"

    def outcome(self) -> Steps[BatchOutcome]:
        """Do the task; what it raises is its outcome."""
        try:
            found, ran = yield from self._run_to_end_or_question()
        except Exception as error:  # noqa: BLE001 - the other tasks go on
            return BatchOutcome(
                index=self.index,
                thread_id=self.thread_id,
                status="failed",
                error=describe_error(error),
            )
        status = status_of(found)
        reason = as_dict(found.values).get("reason") if status == "failed" else None
        return BatchOutcome(
            index=self.index,
            thread_id=self.thread_id,
            status=status,
            values=_output(self.graph, found.values),
            error=reason if isinstance(reason, str) else None,
            reused=not ran,
        )

    def _run_to_end_or_question(self) -> Steps[tuple[StateSnapshot, bool]]:
        """Bring the task to its end or to its next question.

        Returns:
            How its thread stands, and whether anything ran.
        """
        request = read_request(self.task)
        digest = digest_of(request)
        own: RunnableConfig = {
            "configurable": {"thread_id": self.thread_id},
            "metadata": {REQUEST: digest},
        }
        config = merge_configs(self.config, own)
        read = Call(self.graph.get_state, self.graph.aget_state, (config,))
        found: StateSnapshot = yield read
        if found.metadata is None:
            yield self._run(request, config)
        else:
            yield from self._check_origin(found, config, digest)
            if _is_over(self.graph, found):
                return found, False
            if is_unfinished(found):
                yield self._run(None, config)
            else:
                control = {"control": self.control}
                yield Call(proceed, aproceed, (self.graph, config), control)
        found = yield read
        return found, True

    def _run(self, given: dict[str, Any] | None, config: RunnableConfig) -> Call:
        graph: Any = self.graph
        return Call(graph.invoke, graph.ainvoke, (given, config), {"control": self.control})

    def _check_origin(
        self, found: StateSnapshot, config: RunnableConfig, digest: str
    ) -> Steps[None]:
        """Check that the thread was begun with this task.

        The latest run may not say so: whoever answers a question gives another config.

        Raises:
            InvalidRequestError: It was begun with another one.
        """
        if dict(found.metadata or {}).get(REQUEST) == digest:
            return
        earlier = (self.graph, config, {REQUEST: digest})
        if not (yield Call(_has_earlier, _ahas_earlier, earlier)):
            raise InvalidRequestError(
                f"The thread {self.thread_id!r} was not begun with the task {self.index} that "
                f"batch {self.batch_id!r} is given now. Give the tasks that the batch was begun "
                "with, in the same order, or choose another batch_id."
            )


def digest_of(request: Mapping[str, Any]) -> str:
    """Name a request by what it says, not by the ids of its messages."""
    plain = dict(request)
    if "messages" in plain:
        read = convert_to_messages(as_list(plain["messages"]))
        plain["messages"] = [(message.type, message.content) for message in read]
    values = to_jsonable_python(
        plain,
        bytes_mode="base64",
        inf_nan_mode="constants",
        fallback=lambda value: type(value).__qualname__,
    )
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]


def status_of(found: StateSnapshot) -> str:
    """Say how a run stands, also where its graph has no word for it."""
    if found.interrupts:
        return "waiting"
    status = as_dict(found.values).get("status")
    if isinstance(status, str) and status:
        return status
    return "running" if is_unfinished(found) else "completed"


def _is_over(graph: Graph, found: StateSnapshot) -> bool:
    """Whether a run is finished or waits for a person."""
    if found.interrupts:
        return True
    values = as_dict(found.values)
    if REOPENS in graph.nodes and "iterations" in values:  # another graph's status is its own
        return not is_unfinished(found) and values.get("status") not in (*CUT_SHORT, "running")
    return not is_unfinished(found)


def _output(graph: Graph, values: Any) -> Any:
    """Leave out what the graph keeps to itself, as `invoke` does."""
    keys = graph.output_channels
    if isinstance(keys, str) or not isinstance(values, dict):
        return values
    return {key: value for key, value in as_dict(cast(object, values)).items() if key in keys}


def _has_earlier(graph: Graph, config: RunnableConfig, filter: dict[str, Any]) -> bool:
    return any(True for _ in graph.get_state_history(config, filter=filter, limit=1))


async def _ahas_earlier(graph: Graph, config: RunnableConfig, filter: dict[str, Any]) -> bool:
    return bool([_ async for _ in graph.aget_state_history(config, filter=filter, limit=1)])
