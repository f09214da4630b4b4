"""`Workflow`: a compiled LangGraph graph that checks requests, holds its thread, stores each step.

Open it for the order of things around a run: checks, lease, run config, events, cancellation.
Tests: tests/graphs/test_workflow.py.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing, closing, suppress
from typing import Any, Self, Unpack, cast, overload

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, Durability, GraphOutput, StateSnapshot, StateUpdate

from asterism.core.checkpoints import check_state, reading, thread_of
from asterism.core.continuation import is_unfinished
from asterism.core.interrupts import (
    PendingAnswers,
    answering,
    open_requests,
)
from asterism.core.run_types import Returns, RunInput, RunOptions, T, WorkflowResult
from asterism.core.steering import HandedOver, read_steering
from asterism.core.sync_async import Call, Steps, arun_steps, run_steps, running_loop
from asterism.core.thread_lease import Release, wait_for_lease
from asterism.core.values import as_dict
from asterism.errors import ConfigurationError, ThreadBusyError
from asterism.graphs.clocks import read_latest_state, wait_past_checkpoint
from asterism.graphs.request_checks import (
    CANCELLED,
    cancellation_notes,
    check_pending,
    check_thread,
    check_thread_readable,
    find_addressee,
    is_at_rest,
    is_new_request,
    record_cancellation,
    resent,
    validate_request,
    warn_unanswerable,
    with_plan_visits,
)
from asterism.graphs.workflow_config import WorkflowConfig
from asterism.nodes.engine_keys import parent_checkpointer
from asterism.nodes.participant_runtime import INTERRUPT, collect_output, invoke_options
from asterism.nodes.request import read_fields
from asterism.nodes.run_context import RunContext, create_run_config, run_events


def _message_filter(asked: Mapping[str, Any]) -> Callable[[Any], Any] | None:
    """Create what shows each message of a stream once; None where no messages are asked for."""
    if "messages" not in (asked.get("stream_mode") or ()):
        return None
    from asterism.graphs.speech import hearing

    return hearing(asked)


class Workflow(Returns[T], CompiledStateGraph[Any, Any, Any, Any]):
    """A compiled supervisor workflow. Use it as any LangGraph graph.

    `Workflow[Model]` is one that was built with `finish=Model`: type checkers know that its
    `structured_response` is a `Model`.

    Beyond that: threads and requests are checked before anything runs, one caller at a time
    drives a thread, each step is stored before the next one starts (`durability="sync"`),
    `status` is true wherever it is read, and a decision that is edited with `update_state` is
    followed.
    """

    def __init__(self, *, facts: WorkflowConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.facts = facts
        if isinstance(self.checkpointer, BaseCheckpointSaver):
            from asterism.storage.serializers import allow_types, stores_named_types, types_in_state

            saver = cast(Any, self.checkpointer)
            if stores_named_types(saver):
                allow_types(saver, facts.types | types_in_state(self))

    @property
    def checks_answers(self) -> bool:
        """Whether `PendingAnswers` may be its input: it is stored, so there may be questions."""
        return isinstance(self.checkpointer, BaseCheckpointSaver)

    @classmethod
    def of(cls, compiled: CompiledStateGraph[Any, Any, Any, Any], facts: WorkflowConfig) -> Self:
        """Make a workflow of a compiled star, as `copy` makes one of another."""
        attributes = {k: v for k, v in vars(compiled).items() if k != "__orig_class__"}
        return cls(facts=facts, **attributes)

    @property
    def description(self) -> str | None:
        """The description of the workflow."""
        return self.facts.description

    # ---- running

    def stream(
        self,
        input: RunInput,
        config: RunnableConfig | None = None,
        *,
        durability: Durability | None = None,
        **kwargs: Any,
    ) -> Iterator[Any]:
        """Run and yield what happens, as LangGraph's `stream` does."""
        try:
            given, durability, release, values = run_steps(
                self._check_and_lease(input, config, durability)
            )
        except HandedOver as handed:
            yield from handed.parts(self.stream_mode, kwargs)
            return
        background = RunContext()
        try:
            config = self._run_config(config, background, values, kwargs, held=running_loop())
            parts: Any = super().stream(given, config, durability=durability, **kwargs)
            hear = _message_filter(kwargs)
            with self._run_events(config, background, given), closing(parts):
                for part in parts:
                    shown = hear(part) if hear else part
                    if hear is None or shown is not None:
                        yield shown
        except Exception:
            raise
        except BaseException:  # it was stopped from outside
            with suppress(Exception):
                run_steps(self._record_cancellation(config, background))
            raise
        finally:
            try:
                background.close()
                if background.taken:
                    run_steps(self._drop_taken(config, background.taken))
            finally:
                release()

    async def astream(
        self,
        input: RunInput,
        config: RunnableConfig | None = None,
        *,
        durability: Durability | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """Run and yield what happens, as LangGraph's `astream` does."""
        try:
            given, durability, release, values = await arun_steps(
                self._check_and_lease(input, config, durability)
            )
        except HandedOver as handed:
            for part in handed.parts(self.stream_mode, kwargs):
                yield part
            return
        background = RunContext()
        try:
            config = self._run_config(config, background, values, kwargs)
            parts: Any = super().astream(given, config, durability=durability, **kwargs)
            hear = _message_filter(kwargs)
            with self._run_events(config, background, given):
                async with aclosing(parts):
                    async for part in parts:
                        shown = hear(part) if hear else part
                        if hear is None or shown is not None:
                            yield shown
        except Exception:
            raise
        except BaseException:  # it was stopped from outside
            with suppress(Exception):
                await arun_steps(self._record_cancellation(config, background))
            raise
        finally:
            try:
                await background.aclose()
                if background.taken:
                    await arun_steps(self._drop_taken(config, background.taken))
            finally:
                release()

    @overload  # type: ignore[override] # the usual call has a type, all others are Any
    def invoke(
        self, input: RunInput, config: RunnableConfig | None = None, **kwargs: Unpack[RunOptions]
    ) -> WorkflowResult[T]: ...
    @overload
    def invoke(
        self, input: RunInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Any: ...
    def invoke(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Any:
        """Run to the end or to the next question and return the state."""
        asked = invoke_options(kwargs)
        return self._coerce_output(collect_output(super().invoke(input, config, **asked), kwargs))

    @overload  # type: ignore[override] # as of `invoke`
    async def ainvoke(
        self, input: RunInput, config: RunnableConfig | None = None, **kwargs: Unpack[RunOptions]
    ) -> WorkflowResult[T]: ...
    @overload
    async def ainvoke(
        self, input: RunInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Any: ...
    async def ainvoke(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Any:
        """Run to the end or to the next question and return the state."""
        found = cast(Any, await super().ainvoke(input, config, **invoke_options(kwargs)))
        return self._coerce_output(collect_output(found, kwargs))

    async def run(self, request: Any, config: RunnableConfig | None = None) -> Any:
        """Run a request, a text or messages, as `ainvoke({"messages": ...})` does."""
        given = [("user", request)] if isinstance(request, str) else request
        return await self.ainvoke({"messages": given}, config)

    def _run_config(
        self,
        config: RunnableConfig | None,
        background: RunContext,
        values: Mapping[str, Any],
        options: Mapping[str, Any],
        held: asyncio.AbstractEventLoop | None = None,
    ) -> RunnableConfig:
        """Create the config of a run, with all that its nodes need; see `create_run_config`."""
        facts = self.facts
        saver, context = cast(object, self.checkpointer), options.get("context")
        contracts = facts.open_contracts(saver, config, context, counts_run=not values)
        labels = {**((config or {}).get("metadata") or {}), **facts.labels}
        config = {**(config or {}), "metadata": labels}
        limited = facts.budget is not None or contracts is not None
        return create_run_config(
            config,
            background,
            prices=facts.prices,
            budget=facts.budget,
            contracts=contracts,
            gated=limited or facts.team.has_budgets,
            events=facts.events,
            values=values,
            held=held,
            debug=facts.debug,
        )

    def _run_events(
        self, config: RunnableConfig, background: RunContext, given: Any
    ) -> AbstractContextManager[None]:
        versions = self.facts.versions
        return run_events(config, background, name=self.name, given=given, versions=versions)

    def _check_and_lease(
        self, input: Any, config: RunnableConfig | None, durability: Durability | None
    ) -> Steps[tuple[Any, Durability | None, Release, Mapping[str, Any]]]:
        """Check everything before anything runs, and take the thread."""
        if not isinstance(cast(object, input), Command | PendingAnswers | None):
            input = validate_request(cast(object, input))
        if not isinstance(self.checkpointer, BaseCheckpointSaver):
            return input, durability, lambda: None, {}  # a participant, or a run that is not stored
        if durability == "exit":
            raise ConfigurationError(
                "durability='exit' loses the finished turns of participants in a crash; "
                "use 'sync' (the default) or 'async'"
            )
        try:
            release = yield from self.take_thread_lease(check_thread(config))
        except ThreadBusyError:
            from asterism.graphs.waiting_messages import hand_over

            if (lease := (yield from hand_over(self, input, config))) is None:
                raise
            release, input = lease, None
        try:
            if self.facts.migrations:
                from asterism.graphs.migrations import migrate_thread

                yield from migrate_thread(self, config or {})
            given, values = yield from self._prepare_input(input, config or {})
            yield from self._rewind(config or {})
        except BaseException:
            release()
            raise
        return given, durability or "sync", release, values

    def _rewind(self, config: RunnableConfig) -> Steps[None]:
        """Take participants back to the checkpoint that a config names, if it names one."""
        is_stored = isinstance(self.checkpointer, BaseCheckpointSaver)
        if is_stored and as_dict(config.get("configurable")).get("checkpoint_id"):
            from asterism.graphs.forks import rewind

            yield from rewind(cast(Any, self.checkpointer), config)

    def _prepare_input(
        self, given: Any, config: RunnableConfig
    ) -> Steps[tuple[Any, Mapping[str, Any]]]:
        """Fit an input to the state that it finds, and return that where the run goes on."""
        if (yield from read_steering(self.checkpointer, check_thread(config))):
            from asterism.graphs.waiting_messages import begin_with_waiting

            given = yield from begin_with_waiting(self, given, config)
        if is_new_request(given, config):
            saver = cast(BaseCheckpointSaver[Any], self.checkpointer)
            stored: CheckpointTuple | None = yield Call(
                saver.get_tuple, saver.aget_tuple, (config,)
            )
            if stored is None or is_at_rest(stored):
                yield from wait_past_checkpoint(stored)
                return given, {}
        whole = Call(self.get_state, self.aget_state, (config,), {"subgraphs": True})
        if isinstance(given, PendingAnswers):
            found = yield from read_latest_state(whole)
            given = yield from answering(open_requests(found), given.given, self, config)
        else:
            found = yield from read_latest_state(
                Call(super().get_state, super().aget_state, (config,))
            )
        check_state(thread_of(config), as_dict(found.values))
        request = as_dict(cast(object, given))
        if not request:
            check_pending(found, self.facts.participants)
            if getattr(given, "resume", None) is not None:
                given = yield from find_addressee(self, given, found, whole)
            return given, as_dict(found.values)
        request = resent(request, as_dict(found.values))
        if not is_unfinished(found):
            return request, {}
        found = yield whole
        notes = cancellation_notes(found, self.facts.participants)
        return {**request, "messages": [*notes, *request["messages"]]}, {}

    def _record_cancellation(
        self, config: RunnableConfig | None, background: RunContext
    ) -> Steps[None]:
        """Note a cancellation; steps that were under way are made again when the run goes on."""
        if isinstance(self.checkpointer, BaseCheckpointSaver) and background.end is None:
            thread: RunnableConfig = {"configurable": {"thread_id": check_thread(config)}}
            found = yield Call(super().get_state, super().aget_state, (thread,))
            yield from record_cancellation(self.checkpointer, found)

    def take_thread_lease(self, thread: str) -> Steps[Release]:
        """Take the thread, so that nobody else drives it."""
        return wait_for_lease(self.checkpointer, thread, self.facts.thread_wait)

    def has_waiting(self, config: RunnableConfig) -> bool:
        """Whether messages wait beside a thread, which `invoke(None, config)` would take up."""
        return bool(run_steps(self._find_waiting(config)))

    async def ahas_waiting(self, config: RunnableConfig) -> bool:
        """Whether messages wait beside a thread; see `has_waiting`."""
        return bool(await arun_steps(self._find_waiting(config)))

    def _find_waiting(self, config: RunnableConfig) -> Steps[Sequence[object]]:
        from asterism.graphs.waiting_messages import find_waiting

        return (yield from find_waiting(self, check_thread(config)))

    def _drop_taken(self, config: RunnableConfig | None, taken: set[str]) -> Steps[None]:
        from asterism.graphs.waiting_messages import drop_taken

        yield from drop_taken(self, config, taken)

    # ---- reading

    def get_state(self, config: RunnableConfig, *, subgraphs: bool = False) -> StateSnapshot:
        """Return the state of a thread; its `status` is how it stands now."""
        check_thread_readable(self, config)
        found = super().get_state(config, subgraphs=subgraphs)
        return self._with_true_status(
            run_steps(self._with_plan_visits(found, config)) if subgraphs else found
        )

    async def aget_state(self, config: RunnableConfig, *, subgraphs: bool = False) -> StateSnapshot:
        """Return the state of a thread; its `status` is how it stands now."""
        check_thread_readable(self, config)
        found = await super().aget_state(config, subgraphs=subgraphs)
        return self._with_true_status(
            await arun_steps(self._with_plan_visits(found, config)) if subgraphs else found
        )

    def _with_plan_visits(
        self, found: StateSnapshot, config: RunnableConfig
    ) -> Steps[StateSnapshot]:
        with reading(thread_of(config)):
            saver = cast(Any, parent_checkpointer(config) or self.checkpointer)
            return (yield from with_plan_visits(found, self.facts.team, saver))

    def _with_true_status(self, snapshot: StateSnapshot) -> StateSnapshot:
        values = as_dict(snapshot.values)
        if "iterations" not in values:
            return snapshot
        true = self._rebuild_structured_response(values)
        if snapshot.interrupts:
            true["status"] = "waiting"
        elif errors := [task.error for task in snapshot.tasks if task.error]:
            stopped = all(str(error) == CANCELLED for error in errors)
            true["status"] = "cancelled" if stopped else "failed"
        return snapshot._replace(values=true)

    def _coerce_output(self, output: Any) -> Any:
        if isinstance(output, GraphOutput):
            return GraphOutput(
                value=self._coerce_output(output.value), interrupts=output.interrupts
            )
        if not isinstance(output, dict):
            return output
        values = self._rebuild_structured_response(as_dict(cast(object, output)))
        if values.get(INTERRUPT):
            values["status"] = "waiting"
            if self.checkpointer is None:
                warn_unanswerable(self.name)
        return values

    def _rebuild_structured_response(self, values: dict[str, Any]) -> dict[str, Any]:
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
        return run_steps(self._bulk_update(config, supersteps))

    async def abulk_update_state(
        self, config: RunnableConfig, supersteps: Sequence[Sequence[StateUpdate]]
    ) -> RunnableConfig:
        """Update the state; a decision in it is followed when the run goes on."""
        return await arun_steps(self._bulk_update(config, supersteps))

    def _bulk_update(
        self, config: RunnableConfig, supersteps: Sequence[Sequence[StateUpdate]]
    ) -> Steps[RunnableConfig]:
        if parent_checkpointer(config) is not None:  # its own workflow has the thread
            return (yield from self.edit_leased(config, supersteps))
        release = yield from self.take_thread_lease(check_thread(config))
        try:
            return (yield from self.edit_leased(config, supersteps))
        finally:
            release()

    def edit_leased(
        self, config: RunnableConfig, supersteps: Sequence[Sequence[StateUpdate]]
    ) -> Steps[RunnableConfig]:
        """Update the state of a thread that the caller has leased."""
        from asterism.graphs.workflow_edits import prepare_state_update

        found = yield from read_latest_state(Call(super().get_state, super().aget_state, (config,)))
        names = tuple(self.facts.team.live(as_dict(found.values)))
        edit = prepare_state_update(config, supersteps, found, names, self.nodes)
        yield from self._rewind(config)
        update = (super().bulk_update_state, super().abulk_update_state)
        updated: RunnableConfig = yield Call(*update, edit)
        return updated

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
        from asterism.graphs.workflow_edits import rename_participants

        return run_steps(rename_participants(self, config, names))

    async def arename(
        self, config: RunnableConfig, names: Mapping[str, str | None]
    ) -> RunnableConfig:
        """Let a stored run go on after participants were renamed or removed; see `rename`."""
        from asterism.graphs.workflow_edits import rename_participants

        return await arun_steps(rename_participants(self, config, names))

    def __repr__(self) -> str:
        return f"Workflow({self.name!r}, participants={list(self.facts.participants)})"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Draw the star in Jupyter, offline: the engine's own drawing asks a web service."""
        from asterism.observability.render.svg import svg_bundle  # drawings are not needed to run

        return {"text/plain": repr(self), **svg_bundle(self.get_graph())}
