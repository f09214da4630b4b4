"""Taking a child on."""

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs
from pydantic_core import to_jsonable_python

from asterism.core.continuation import is_unfinished, read_request
from asterism.core.thread_lease import Release, take_lease
from asterism.errors import (
    ConfigurationError,
    NothingPendingError,
    ThreadBusyError,
    UnknownChildError,
)
from asterism.events import SupervisionEventType as Type
from asterism.limits.prices import PriceTable
from asterism.limits.usage_callbacks import UsageMeter
from asterism.supervision.attempt import CURRENT, detached_context, run_detached
from asterism.supervision.child import Child
from asterism.supervision.child_records import read_record
from asterism.supervision.children import ChildRegistry
from asterism.supervision.config import (
    quota_from,
    validate_child_graph,
    validate_child_name,
    validate_child_thread,
    validate_heartbeat,
    validate_quota,
)
from asterism.supervision.quotas import AgentQuota
from asterism.supervision.restart_policy import CHILD, AttemptOutcome, ChildCommand, read_outcome
from asterism.supervision.usage_monitor import ChildUsage


def plain_metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what the user notes of a child as plain JSON values."""
    plain: Any = to_jsonable_python(dict(metadata or {}), fallback=str, serialize_unknown=True)
    return cast(dict[str, Any], plain)


def new_child_id(name: str) -> str:
    """Make the id of a child of its name."""
    plain = re.sub(r"[^\w.-]+", "-", name).strip("-")
    return f"{plain or 'child'}-{uuid.uuid4().hex[:8]}"


def child_run_config(given: RunnableConfig | None, child_id: str, thread_id: str) -> RunnableConfig:
    """Return the config of the runs of a child.

    Raises:
        ConfigurationError: The given one names a run of its own.
    """
    places = (given or {}).get("configurable") or {}
    named = [name for name in ("thread_id", "checkpoint_id", "checkpoint_ns") if name in places]
    if named:
        raise ConfigurationError(
            f"config holds {named[0]!r}, which the supervisor sets; leave it out, and name the "
            "thread with thread_id."
        )
    own: RunnableConfig = {"configurable": {"thread_id": thread_id}, "metadata": {CHILD: child_id}}
    return detached_context().run(
        merge_configs, given, own
    )  # it would merge the run around it as well


async def check_unused(child: Child) -> None:
    """Check that a thread holds no unfinished work, which a new task would drop.

    Raises:
        ConfigurationError: It does.
    """
    if is_unfinished(await run_detached(child.graph.aget_state(child.config))):
        raise ConfigurationError(
            f"The thread {child.thread_id!r} holds unfinished work. Go on with it by "
            "adopt(thread_id, graph), or choose another thread."
        )


async def read_unfinished_outcome(child: Child) -> AttemptOutcome:
    """Return how the unfinished work on a thread stands.

    Raises:
        UnknownChildError: It holds nothing at all.
        NothingPendingError: Everything on it is finished.
    """
    found = await run_detached(child.graph.aget_state(child.config, subgraphs=True))
    if found.metadata is None:
        raise UnknownChildError(
            f"Nothing is stored on the thread {child.thread_id!r}, so there is nothing to adopt; "
            "begin a child with spawn()."
        )
    outcome = read_outcome(child.graph, found)
    if outcome.kind == "completed":
        raise NothingPendingError(f"Nothing is unfinished on the thread {child.thread_id!r}.")
    return outcome


class Spawner:
    """Makes children."""

    def __init__(self, family: ChildRegistry, prices: PriceTable) -> None:
        self._family = family
        self._prices = prices

    async def spawn(
        self, task: object, spec: "Spec", thread_id: str | None, config: RunnableConfig | None
    ) -> Child:
        """Take on a child that begins a task."""
        self._family.check_room()
        child_id = new_child_id(validate_child_name(spec.name))
        thread = child_id if thread_id is None else validate_child_thread(thread_id)
        child = self._create_child(child_id, thread, spec, config, {})
        child.request = read_request(task)
        child.release = take_child_lease(child)
        try:
            if thread_id is not None:
                await check_unused(child)
            self._take_on(child)
        except BaseException:
            child.release()
            raise
        child.start()
        return child

    async def adopt(self, thread_id: str, spec: "Spec", config: RunnableConfig | None) -> Child:
        """Take on a child whose thread was left unfinished."""
        self._family.check_room()
        _, saver = validate_child_graph(spec.graph)
        thread = validate_child_thread(thread_id)
        known = await run_detached(read_record(saver, thread))
        child_id, name = known.get("id") or thread, spec.name or known.get("name") or "adopted"
        if self._family.knows(child_id):
            child_id = new_child_id(name)
        quotas = spec.quotas or quota_from(known.get("quota") or {}, self._family.config.quotas)
        metadata = known.get("metadata") if spec.metadata is None else spec.metadata
        spec = Spec(name=name, graph=spec.graph, quotas=quotas, metadata=metadata)
        child = self._create_child(child_id, thread, spec, config, known)
        take_child_lease(child)()
        outcome = await read_unfinished_outcome(child)
        self._take_on(child)
        child.rest("it was adopted", outcome.questions)
        return child

    def _create_child(
        self,
        child_id: str,
        thread: str,
        spec: "Spec",
        config: RunnableConfig | None,
        known: Mapping[str, Any],
    ) -> Child:
        graph, saver = validate_child_graph(spec.graph)
        quota = validate_quota(spec.quotas, self._family.config.quotas)
        clock = self._family.clock
        return Child(
            id=child_id,
            name=validate_child_name(spec.name),
            thread_id=thread,
            graph=graph,
            saver=saver,
            request=None,
            config=child_run_config(config, child_id, thread),
            metadata=plain_metadata(spec.metadata),
            gauge=ChildUsage(
                quota, UsageMeter(self._prices, clock=clock), clock, known.get("usage")
            ),
            host=self._family,
            retries=int(known.get("retries") or 0),
            on_heartbeat=validate_heartbeat(spec.beat),
        )

    def _take_on(self, child: Child) -> None:
        self._family.check_room()
        if (around := CURRENT.get()) is not None:
            around.inner.append(_killer(child))
        self._family.take_on(child)


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What a child is made of, as the user says."""

    name: Any
    graph: Any
    quotas: AgentQuota | None
    metadata: Mapping[str, Any] | None
    beat: Callable[[], Awaitable[object]] | None = None
    """Is awaited every `heartbeat_interval`."""


def take_child_lease(child: Child) -> Release:
    """Keep other supervisors off the thread of a child.

    Raises:
        ThreadBusyError: One has a child at work there.
    """
    name = f"child\n{child.thread_id}"  # no thread has this name: thread ids are printable
    release = take_lease(child.saver, name)
    if release is None:
        raise ThreadBusyError(
            f"A child is at work on the thread {child.thread_id!r} already. Wait for it, pause "
            "it, or choose another thread."
        )
    return release


def _killer(child: Child) -> Callable[[], None]:
    """Return what kills a child when the attempt in which it was spawned is stopped."""
    loop = asyncio.get_running_loop()
    reason = "the child around it was stopped"
    order = ChildCommand(kind="kill", reason=reason, event=Type.CANCELLED)

    def kill() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(child.send_command, order)

    return kill
