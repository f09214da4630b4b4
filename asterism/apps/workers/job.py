"""A piece of work: go on with a thread, from wherever it stands."""

from collections.abc import Mapping
from typing import Any, Literal

from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.types import StateSnapshot
from pydantic import BaseModel, ConfigDict

from asterism.core.continuation import is_unfinished
from asterism.core.interrupts import answer_command, open_requests
from asterism.core.values import as_dict
from asterism.supervision.config import quota_from
from asterism.supervision.quotas import AgentQuota, Limit

JOB_KEY = "queue_key"
"""The metadata of a checkpoint that tells which piece of work its run belongs to."""
QUOTAS = AgentQuota(max_retries=7)
"""What a run may use where nothing else is said."""


class JobCommand(BaseModel):
    """An order that stands until somebody says otherwise, wherever the work is taken up."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["pause", "kill"]
    reason: str
    asks: Limit | None = None
    """For a pause: the quota that is to be raised."""


class JobArguments(BaseModel):
    """What stands in the queue: plain data."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: str
    """Names the work; the same key is never queued twice."""
    thread: str
    graph: str
    model: str | None = None
    """The model that the graph is built with. None: its own."""
    request: str | None = None
    """What the user says."""
    answers: dict[str, Any] | None = None
    """Answers to open questions, by their ids."""
    quotas: dict[str, Any] | None = None
    """Quotas other than those of the run, or of `QUOTAS`, as fields of `AgentQuota`."""
    order: JobCommand | None = None
    error: str | None = None
    """What went wrong the last time."""

    @property
    def facts(self) -> dict[str, str]:
        """What its runs are labelled with."""
        model = {} if self.model is None else {"model": self.model}
        return {"graph": self.graph, **model, JOB_KEY: self.key}

    @property
    def config(self) -> RunnableConfig:
        """The config of its run."""
        return {"configurable": {"thread_id": self.thread}, "metadata": self.facts}

    def quota(self, known: Mapping[str, Any]) -> AgentQuota:
        """Return what its run may use, by what is known of the run.

        Raises:
            ConfigurationError: A value is not allowed.
        """
        return quota_from({**QUOTAS.as_json(), **known, **(self.quotas or {})}, QUOTAS)


NOTHING = object()
"""The next input of a thread with which nothing is left to do."""


def next_input(work: JobArguments, snapshot: StateSnapshot) -> Any:
    """Return what a graph is to be given next: an answer, None to go on, the request, `NOTHING`.

    Args:
        work: What is to be done.
        snapshot: How the thread stands, read with its subgraphs.
    """
    pending = open_requests(snapshot)
    going = None if is_unfinished(snapshot) and not pending else NOTHING
    if work.answers is not None:
        opened = {request.id for request in pending}
        given = {key: value for key, value in work.answers.items() if key in opened}
        return answer_command(pending, given) if given else going
    if work.request is None or _has_begun(work, snapshot):
        return going
    message = HumanMessage(work.request, id=_message_id(work))
    return {"messages": [message]}


def _has_begun(work: JobArguments, snapshot: StateSnapshot) -> bool:
    """Whether the request was given to the graph before, by this worker or one that is gone."""
    if as_dict(snapshot.metadata).get(JOB_KEY) == work.key:
        return True
    messages: Any = as_dict(snapshot.values).get("messages") or ()
    return any(getattr(message, "id", None) == _message_id(work) for message in messages)


def _message_id(work: JobArguments) -> str:
    return f"request-{work.key}"


def read_work(arguments: Mapping[str, Any]) -> JobArguments:
    """Read what stands in the queue."""
    return JobArguments.model_validate(dict(arguments))
