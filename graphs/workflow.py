"""A compiled workflow: a LangGraph graph that keeps a few promises more."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing, suppress
from typing import Any, Self, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, Durability, GraphOutput, StateSnapshot, StateUpdate

from asterism.checkpoints import check_state, thread_of
from asterism.effects import Call, Steps, arun, run, running_loop
from asterism.errors import ConfigurationError
from asterism.graphs.checks import (
    addressed,
    check_pending,
    check_read,
    check_thread,
    checked_request,
    resent,
    stranger,
    withdrawals,
)
from asterism.graphs.clocks import latest
from asterism.graphs.edits import prepared
from asterism.graphs.facts import WorkflowFacts, inside
from asterism.graphs.forks import rewind
from asterism.graphs.plans import seen
from asterism.graphs.renaming import moves, renaming, replanning
from asterism.graphs.speech import hearing
from asterism.leases import Release, leased
from asterism.markup import PLAIN, SVG
from asterism.nodes.background import Background
from asterism.nodes.engine import lender
from asterism.nodes.finish import read_fields
from asterism.nodes.lifetime import Lifetime
from asterism.nodes.outputs import INTERRUPT, as_asked, lean
from asterism.people import (
    ERROR,
    Answers,
    answering,
    asked_before,
    looks_like_ids,
    open_requests,
)
from asterism.plain import as_dict
from asterism.runs import is_unfinished
from asterism.serializers import allow_types, stores_named_types, types_in_state

CANCELLED = "cancelled: the run was stopped from outside"
"""What is stored in the place of an error of a step that was under way then."""


class Workflow(CompiledStateGraph[Any, Any, Any, Any]):
    """A compiled supervisor workflow. Use it as any LangGraph graph.

    Beyond that: threads and requests are checked before anything runs, one caller at a time
    drives a thread, each step is stored before the next one starts (`durability="sync"`),
    `status` is true wherever it is read, and a decision that is edited with `update_state` is
    followed.
    """

    def __init__(self, *, facts: WorkflowFacts, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.facts = facts
        saver = cast(Any, self.checkpointer)
        if stores_named_types(saver):
            allow_types(saver, facts.types | types_in_state(self))

    @property
    def checks_answers(self) -> bool:
        """Whether `Answers` may be its input: it is stored, so there may be questions."""
        return isinstance(self.checkpointer, BaseCheckpointSaver)

    @classmethod
    def of(cls, compiled: CompiledStateGraph[Any, Any, Any, Any], facts: WorkflowFacts) -> Self:
        """Make a workflow of a compiled star, as `copy` makes one of another."""
        attributes = {k: v for k, v in vars(compiled).items() if k != "__orig_class__"}
        return cls(facts=facts, **attributes)

    @property
    def description(self) -> str | None:
        """What the workflow is for."""
        return self.facts.description

    # ---- running

    def stream(
        self,
        input: Any,
        config: RunnableConfig | None = None,
        *,
        durability: Durability | None = None,
        **kwargs: Any,
    ) -> Iterator[Any]:
        """Run and yield what happens, as LangGraph's `stream` does."""
        given, durability, release, values = run(self._begun(input, config, durability))
        background = Background()
        try:
            config = inside(self.facts, config, background, values, held=running_loop())
            parts: Any = super().stream(given, config, durability=durability, **kwargs)
            hear = hearing(kwargs)
            with self._lifetime(config, background, given), closing(parts):
                for part in parts:
                    shown = hear(part) if hear else part
                    if hear is None or shown is not None:
                        yield shown
        except Exception:
            raise
        except BaseException:  # it was stopped from outside
            with suppress(Exception):
                run(self._cancelled(config, background))
            raise
        finally:
            try:
                background.close()
            finally:
                release()

    async def astream(
        self,
        input: Any,
        config: RunnableConfig | None = None,
        *,
        durability: Durability | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """Run and yield what happens, as LangGraph's `astream` does."""
        given, durability, release, values = await arun(self._begun(input, config, durability))
        background = Background()
        try:
            config = inside(self.facts, config, background, values)
            parts: Any = super().astream(given, config, durability=durability, **kwargs)
            hear = hearing(kwargs)
            with self._lifetime(config, background, given):
                async with aclosing(parts):
                    async for part in parts:
                        shown = hear(part) if hear else part
                        if hear is None or shown is not None:
                            yield shown
        except Exception:
            raise
        except BaseException:  # it was stopped from outside
            with suppress(Exception):
                await arun(self._cancelled(config, background))
            raise
        finally:
            try:
                await background.aclose()
            finally:
                release()

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run to the end or to the next question and return the state."""
        asked = lean(kwargs)
        return self._presented(as_asked(super().invoke(input, config, **asked), kwargs))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run to the end or to the next question and return the state."""
        asked = lean(kwargs)
        return self._presented(as_asked(await super().ainvoke(input, config, **asked), kwargs))

    def _lifetime(self, config: RunnableConfig, background: Background, given: Any) -> Lifetime:
        made_of = self.facts.versions
        return Lifetime(config, background, name=self.name, given=given, versions=made_of)

    def _begun(
        self, input: Any, config: RunnableConfig | None, durability: Durability | None
    ) -> Steps[tuple[Any, Durability | None, Release, Mapping[str, Any]]]:
        """Check everything before anything runs, and take the thread."""
        if isinstance(input, Mapping):
            input = checked_request(cast(Mapping[str, Any], input))
        if not isinstance(self.checkpointer, BaseCheckpointSaver):
            return input, durability, lambda: None, {}  # a participant, or a run that is not stored
        if durability == "exit":
            raise ConfigurationError(
                "durability='exit' loses the finished turns of participants in a crash; "
                "use 'sync' (the default) or 'async'"
            )
        release = yield from self.leased(check_thread(config))
        try:
            given, values = yield from self._fitted(input, cast(RunnableConfig, config))
            yield from rewind(cast(Any, self.checkpointer), cast(RunnableConfig, config))
        except BaseException:
            release()
            raise
        return given, durability or "sync", release, values

    def _fitted(self, given: Any, config: RunnableConfig) -> Steps[tuple[Any, Mapping[str, Any]]]:
        """Fit an input to the state that it finds, and return that where the run goes on."""
        whole = Call(self.get_state, self.aget_state, (config,), {"subgraphs": True})
        if isinstance(given, Answers):
            found = yield from latest(whole)
            given = yield from answering(open_requests(found), given.given, self, config)
        else:
            found = yield from latest(Call(super().get_state, super().aget_state, (config,)))
        check_state(thread_of(config), as_dict(found.values))
        if not isinstance(given, dict):
            check_pending(found, self.facts.participants)
            if getattr(given, "resume", None) is not None:
                given = yield from self._addressed(cast(Command[Any], given), found, whole)
            return given, as_dict(found.values)
        request = resent(cast(dict[str, Any], given), as_dict(found.values))
        if not is_unfinished(found):
            return request, {}
        found = yield whole
        notes = withdrawals(found, self.facts.participants)
        return {**request, "messages": [*notes, *request["messages"]]}, {}

    def _addressed(
        self, given: Command[Any], found: StateSnapshot, whole: Call
    ) -> Steps[Command[Any]]:
        """Check who an answer is for, as far as `resume` does that of an answer without a schema.

        Raises:
            NothingPendingError: No request is open.
            UnknownRequestError: It names requests, and none of them is open.
        """
        ids = {interrupt.id for interrupt in found.interrupts}
        if not ids:  # those of a plan that was stopped are known inside of it alone
            ids = {request.id for request in open_requests((yield whole))}
        asked: frozenset[str] = frozenset()
        if looks_like_ids(given.resume) and not ids & as_dict(given.resume).keys():
            asked = yield from asked_before(self, found.config)
        return addressed(given, ids, asked)

    def _cancelled(self, config: RunnableConfig | None, background: Background) -> Steps[None]:
        """Note with the steps that were under way that the run was cancelled.

        They are made again when it goes on, as those that have failed.
        """
        saver = cast(Any, self.checkpointer)
        if not isinstance(saver, BaseCheckpointSaver) or background.end is not None:
            return
        thread: RunnableConfig = {"configurable": {"thread_id": check_thread(config)}}
        found: StateSnapshot = yield Call(super().get_state, super().aget_state, (thread,))
        for task in found.tasks:
            if not task.error and not task.interrupts and task.result is None:
                written = (found.config, [(ERROR, CANCELLED)], task.id)
                yield Call(saver.put_writes, saver.aput_writes, written)

    def leased(self, thread: str) -> Steps[Release]:
        """Take the thread, so that nobody else drives it."""
        return leased(self.checkpointer, thread, self.facts.thread_wait)

    # ---- reading

    def get_state(self, config: RunnableConfig, *, subgraphs: bool = False) -> StateSnapshot:
        """Return the state of a thread; its `status` is how it stands now."""
        check_read(self, config)
        found = super().get_state(config, subgraphs=subgraphs)
        return self._true(run(self._seen(found, config)) if subgraphs else found)

    async def aget_state(self, config: RunnableConfig, *, subgraphs: bool = False) -> StateSnapshot:
        """Return the state of a thread; its `status` is how it stands now."""
        check_read(self, config)
        found = await super().aget_state(config, subgraphs=subgraphs)
        return self._true(await arun(self._seen(found, config)) if subgraphs else found)

    def _seen(self, found: StateSnapshot, config: RunnableConfig) -> Steps[StateSnapshot]:
        return seen(found, self.facts.team, lender(config) or self.checkpointer)

    def _true(self, snapshot: StateSnapshot) -> StateSnapshot:
        values = snapshot.values
        if not isinstance(values, dict) or "iterations" not in values:
            return snapshot
        true = self._revived(cast(dict[str, Any], values))
        if snapshot.interrupts:
            true["status"] = "waiting"
        elif errors := [task.error for task in snapshot.tasks if task.error]:
            stopped = all(str(error) == CANCELLED for error in errors)
            true["status"] = "cancelled" if stopped else "failed"
        return snapshot._replace(values=true)

    def _presented(self, output: Any) -> Any:
        if isinstance(output, GraphOutput):
            return GraphOutput(value=self._presented(output.value), interrupts=output.interrupts)
        if not isinstance(output, dict):
            return output
        values = self._revived(cast(dict[str, Any], output))
        if values.get(INTERRUPT):
            values["status"] = "waiting"
        return values

    def _revived(self, values: dict[str, Any]) -> dict[str, Any]:
        """Turn the stored fields of the answer into the model that was asked for."""
        fields, schema = values.get("structured_response"), self.facts.response_format
        if schema is not None and isinstance(fields, dict):
            return {
                **values,
                "structured_response": read_fields(schema, as_dict(cast(object, fields))),
            }
        return dict(values)

    # ---- editing

    def bulk_update_state(
        self, config: RunnableConfig, supersteps: Sequence[Sequence[StateUpdate]]
    ) -> RunnableConfig:
        """Update the state; a decision in it is followed when the run goes on."""
        return run(self._updated(config, supersteps))

    async def abulk_update_state(
        self, config: RunnableConfig, supersteps: Sequence[Sequence[StateUpdate]]
    ) -> RunnableConfig:
        """Update the state; a decision in it is followed when the run goes on."""
        return await arun(self._updated(config, supersteps))

    def _updated(
        self, config: RunnableConfig, supersteps: Sequence[Sequence[StateUpdate]]
    ) -> Steps[RunnableConfig]:
        if lender(config) is not None:  # its own workflow has the thread
            return (yield from self._edited(config, supersteps))
        release = yield from self.leased(check_thread(config))
        try:
            return (yield from self._edited(config, supersteps))
        finally:
            release()

    def _edited(
        self, config: RunnableConfig, supersteps: Sequence[Sequence[StateUpdate]]
    ) -> Steps[RunnableConfig]:
        found = yield from latest(Call(super().get_state, super().aget_state, (config,)))
        names = tuple(self.facts.team.live(as_dict(found.values)))
        edit = prepared(config, supersteps, found, names, self.nodes)
        if isinstance(self.checkpointer, BaseCheckpointSaver):
            yield from rewind(cast(Any, self.checkpointer), config)
        update = (super().bulk_update_state, super().abulk_update_state)
        return cast(RunnableConfig, (yield Call(*update, edit)))

    def rename(self, config: RunnableConfig, names: Mapping[str, str | None]) -> RunnableConfig:
        """Let a stored run go on after participants were renamed or removed.

        The memory of a renamed participant goes with it; the visit that was under way is made
        to its heir, or decided anew where there is none.

        Args:
            config: The thread.
            names: The old names, each with the new one, or None.

        Returns:
            The config of the thread's latest checkpoint, as `update_state` does.

        Raises:
            UnknownParticipantError: A name is missing, or its heir does not take part.
        """
        run(moves(self, check_thread(config), names))
        found = self.get_state(config)
        update = self._renaming(found, names)
        return self.bulk_update_state(config, [[update]]) if update else found.config

    async def arename(
        self, config: RunnableConfig, names: Mapping[str, str | None]
    ) -> RunnableConfig:
        """Let a stored run go on after participants were renamed or removed; see `rename`."""
        await arun(moves(self, check_thread(config), names))
        found = await self.aget_state(config)
        update = self._renaming(found, names)
        return await self.abulk_update_state(config, [[update]]) if update else found.config

    def _renaming(
        self, found: StateSnapshot, names: Mapping[str, str | None]
    ) -> StateUpdate | None:
        live = tuple(self.facts.participants)
        gone = stranger(found, self.facts.participants)
        if gone is None:
            return replanning(found, names, live)
        return renaming(found, gone, names, live)

    # ---- drawing

    def __repr__(self) -> str:
        return f"Workflow({self.name!r}, participants={list(self.facts.participants)})"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Draw the star in Jupyter, offline: the engine's own drawing asks a web service."""
        from asterism.pictures.svg import draw_svg  # drawings are not needed to run

        return {PLAIN: repr(self), SVG: draw_svg(self.get_graph())}
