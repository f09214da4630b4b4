"""Programs: a team from a configuration that works on tasks, retries them, and is traced.

Open it for `BaseSupervisor`, and for how the agents and results of a program are made.
Tests: tests/graphs/test_programs.py.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from contextvars import ContextVar
from inspect import getdoc, isawaitable
from typing import Any, Self, TypedDict, cast

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphBubbleUp

from asterism.core.agent_spec import resolve_model
from asterism.core.config_files import raise_faults
from asterism.core.continuation import is_unfinished
from asterism.core.interrupts import answer_command, open_requests
from asterism.core.run_types import RunInput
from asterism.core.values import describe_error
from asterism.errors import (
    AsterismError,
    ConfigurationError,
    ProgramStateError,
    TaskFailedError,
)
from asterism.events import EventBus
from asterism.graphs.builder import SupervisorWorkflowBuilder
from asterism.graphs.task_values import (
    failure_of,
    is_mistake,
    is_worth_retrying,
    iter_interactions,
    task_values,
)
from asterism.graphs.workflow import Workflow
from asterism.nodes.engine_keys import resolve_checkpointer
from asterism.nodes.participant_spec import Participant
from asterism.observability import SupervisorTrace, Trace, TraceMetrics
from asterism.programs.config import AgentSettings, ModelSettings, ProgramConfig, read_config
from asterism.programs.tasks import (
    InflightTasks,
    Life,
    ProgramState,
    ProgramTask,
    TaskResult,
    new_task_id,
    read_task,
    result_of,
    run_with_retries,
)


def create_model(settings: ModelSettings) -> Runnable[object, AIMessage]:
    """Make the chat model that settings name.

    Raises:
        ModelNotFoundError: There is none, or its package or key is missing.
    """
    if settings.temperature is None:
        return resolve_model(settings.model)
    return resolve_model(settings.model, temperature=settings.temperature)


def create_agent_from_settings(
    name: str, settings: AgentSettings, default: ModelSettings | None
) -> Participant:
    """Make the agent that settings describe.

    Args:
        name: Its id.
        settings: What it is like.
        default: Its model, where it has none of its own.

    Raises:
        ConfigurationError: It has no model, or one that cannot be used.
    """
    model = settings.llm_config or default
    if model is None:
        raise ConfigurationError(
            "it has no llm_config, and nobody else has; give it one, or create it in _create_agent"
        )
    first = next(iter(settings.system_message.strip().splitlines()), "")
    called = settings.name or name
    return Participant(
        model=create_model(model),
        prompt=settings.system_message or None,
        description=f"{called}: {first}" if first and called != name else first or called,
    )


class ErrorContext(TypedDict):
    """Where an attempt failed."""

    task: ProgramTask
    attempt: int
    """Which attempt it was, from 1."""


_CONTEXT: ContextVar[ErrorContext | None] = ContextVar("attempt", default=None)


def _read_program(values: Mapping[str, Any]) -> ProgramConfig:
    """Read a program from plain values, with its name around them or without."""
    return read_config({"program": values} if "agents" in values else values)


def _participant(name: str, agent: Any) -> Any:
    """Return an agent as a participant: one that has only a `run` is called by it."""
    run = getattr(agent, "run", None)
    allowed: tuple[type, ...] = (Participant, Runnable)
    if callable(agent) or not callable(run) or isinstance(agent, allowed):
        return cast(object, agent)

    async def answer(messages: Sequence[BaseMessage]) -> Any:
        found = run(messages[-1].text)
        return await found if isawaitable(found) else found

    return Participant(runs=answer, description=getdoc(agent) or name)


class GroupChat:
    """The workflow of a program: a message goes in, the state after its run comes out."""

    def __init__(self, run_graph: Callable[..., Awaitable[dict[str, Any]]]) -> None:
        self._run_graph = run_graph

    async def run(self, message: str | BaseMessage) -> dict[str, Any]:
        """Send a message on the thread of the task that is worked on here.

        Raises:
            ProgramStateError: No task is worked on here.
        """
        if (found := _CONTEXT.get()) is None:
            raise ProgramStateError(
                "The group chat works on no task here; call run() inside _process_task_internal, "
                "or process_task(task)."
            )
        sent = HumanMessage(message) if isinstance(message, str) else message
        return await self._run_graph(found["task"], {"messages": [sent]})


class BaseSupervisor:
    """A program: the agents of a configuration, joined to a supervisor, which work on tasks.

    Its graph is the star of every workflow; each task is a thread of it, named by the task's
    id. Override `_create_agent` to bring agents of your own, `_task_to_message` and
    `_message_to_task` to say what they are sent and what comes back, `_create_builder` to let
    something else than the model decide.

    Args:
        config: What `load_config` returned, or the same as plain values; `{agents, supervisor,
            tracing}` without a name around is the program `program`.
        checkpointer: Where threads are stored: a saver, or a database. None: in memory.
            With one that lasts, a task that a dead process left is gone on with when it is given
            again.
        trace: Records what happens in tasks. None: as the configuration says.
        events: A bus that is told what happens in the workflow.
        clock: Seconds, to tell how long a task took.
        sleep: Waits so many seconds before a retry.
        name_it: Makes the id of a task that has none.

    Raises:
        ConfigurationError: The configuration cannot be used.
    """

    def __init__(
        self,
        config: ProgramConfig | Mapping[str, Any],
        *,
        checkpointer: BaseCheckpointSaver[Any] | str | None = None,
        trace: SupervisorTrace | None = None,
        events: EventBus | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        name_it: Callable[[], str] = new_task_id,
    ) -> None:
        self.config = config if isinstance(config, ProgramConfig) else _read_program(config)
        self.trace = self.config.tracing.open() if trace is None else trace
        """What was recorded of its tasks, each under its id."""
        self.events = events
        self._saver = resolve_checkpointer(checkpointer) or InMemorySaver()
        self._clock, self._sleep, self._name_it = clock, sleep, name_it
        self._life = Life(program=self.config.name)
        self._changing = asyncio.Lock()
        self._underway: InflightTasks[TaskResult] = InflightTasks()
        self._graph: Workflow | None = None
        self._created: Mapping[str, Any] = {}

    @property
    def state(self) -> ProgramState:
        """Where it is in its life."""
        return self._life.state

    @property
    def graph(self) -> Workflow:
        """The workflow of its agents; there is none before it was started."""
        if self._graph is None:
            self._life.require(True, "show its graph")
        return cast(Workflow, self._graph)

    # ---- life

    async def start(self) -> Self:
        """Create the agents and take tasks from now on.

        Raises:
            ProgramStateError: It runs already.
            ConfigurationError: Agents cannot be created; the message lists every fault.
        """
        async with self._changing:
            self._life.require(False, "be started")
            agents: dict[str, Any] = {}
            faults: list[str] = []
            cause: Exception | None = None
            for name, settings in self.config.agents.items():
                try:
                    agents[name] = await self._create_agent(name, settings)
                except GraphBubbleUp:
                    raise
                except Exception as error:  # noqa: BLE001 - named with its agent
                    said = str(error) if isinstance(error, AsterismError) else describe_error(error)
                    faults.append(f"{self.config.name}.agents.{name}: {said}")
                    cause = cause or error
            try:
                raise_faults(f"The program {self.config.name!r}", faults)
            except ConfigurationError as error:
                raise error from cause
            self._created = agents
            self.trace.agents = {**self.trace.agents, **agents}
            team = {name: _participant(name, agent) for name, agent in agents.items()}
            self._graph = self._create_builder(team).build(checkpointer=self._saver)
            self._life.state = "running"
        return self

    async def stop(self, *, grace: float | None = None) -> None:
        """Take no more tasks, and wait for those under way. What is stopped stays stopped.

        Args:
            grace: Seconds to wait for them; those that are not over then are cancelled, and
                can be gone on with. None: until they are over.
        """
        async with self._changing:
            if self.state != "running":
                return
            self._life.state = "stopping"
            try:
                await self._underway.over(grace)
            finally:
                self._life.state = "stopped"

    async def __aenter__(self) -> Self:
        """Start."""
        return await self.start()

    async def __aexit__(self, *error: object) -> None:
        """Stop; after an error, at once."""
        await self.stop(grace=None if error[0] is None else 0)

    # ---- tasks

    async def process_task(self, task: ProgramTask | Mapping[str, Any]) -> TaskResult:
        """Work on a task to its result, or to the next question to a person.

        Args:
            task: `{id?, type, content, metadata?}`. A task that was broken off is gone on with
                when it is given again with its id.

        Raises:
            ProgramStateError: The program does not run, or was stopped meanwhile.
            InvalidRequestError: It is no task, or is worked on already.
            TaskFailedError: Every attempt failed.
        """
        self._life.require(True, "process a task")
        read = read_task(task, self._name_it)
        work = self._run_attempts(read, lambda: self._process_task_internal(read))
        return await self._underway.do(read.id, work)

    async def answer_task(self, task_id: str, answers: Any) -> TaskResult:
        """Answer what a task waits for, and go on with it.

        Args:
            task_id: The task.
            answers: One value where one question is open, or `{id: value}`.

        Raises:
            AnswerError: An answer is refused; the question stays open.
        """
        self._life.require(True, "take an answer")
        place: RunnableConfig = {"configurable": {"thread_id": task_id}}
        found = await self.graph.aget_state(place, subgraphs=True)
        command = answer_command(open_requests(found), answers)
        kind = (found.metadata or {}).get("task_type", "answer")
        read = read_task({"id": task_id, "type": kind, "content": {"answers": answers}})
        attempts = 0

        async def answered() -> dict[str, Any]:
            nonlocal attempts
            attempts += 1
            return await self._run(read, command if attempts == 1 else None)

        return await self._underway.do(task_id, self._run_attempts(read, answered))

    async def handle_error(self, error: Exception, context: ErrorContext) -> None:
        """Decide what follows a failed attempt: wait and return to try again, or raise.

        Args:
            error: What it raised.
            context: The `task`, and which `attempt` failed, from 1.

        Raises:
            TaskFailedError: It was tried `max_retries` times more, or trying is of no use.
        """
        rules, task, attempt = self.config.supervisor, context["task"], context["attempt"]
        said = describe_error(error)
        if is_worth_retrying(error) and attempt <= rules.max_retries:
            self.trace.trace_decision(task.id, "retry", reason=said)
            await self._retry_operation(context)
            return
        decision = "max_retries_exceeded" if is_worth_retrying(error) else "not_retried"
        self.trace.trace_decision(task.id, decision, reason=said)
        raise TaskFailedError(
            f"The task {task.id!r} failed after {attempt} of {rules.max_retries + 1} attempts "
            f"({decision}): {said}",
            task=task.id,
            decision=decision,
            attempts=attempt,
        ) from error

    @property
    def agents(self) -> Mapping[str, Any]:
        """What `_create_agent` returned, by name; none before it was started."""
        return self._created

    @property
    def group_chat_manager(self) -> "GroupChat":
        """The agents and their supervisor: `await group_chat_manager.run(message)`."""
        return GroupChat(self._run_graph)

    @property
    def max_retries(self) -> int:
        """How often a task that failed is tried again."""
        return self.config.supervisor.max_retries

    @property
    def error_count(self) -> int:
        """How many attempts of the task that is worked on here have failed."""
        found = _CONTEXT.get()
        return 0 if found is None else found["attempt"]

    async def _retry_operation(self, context: ErrorContext) -> None:
        """Wait as long as the configuration says before the next attempt."""
        await self._sleep(self.config.supervisor.retry_delay)

    # ---- reading

    def get_trace(self, trace_id: str) -> Trace | None:
        """Return the trace of a task; see `SupervisorTrace`, also for the next three."""
        return self.trace.get_trace(trace_id)

    def get_all_traces(self) -> list[Trace]:
        """Return the traces of all tasks that are kept."""
        return self.trace.get_all_traces()

    def get_trace_metrics(self) -> TraceMetrics:
        """Return what the traces have in common, and what they take."""
        return self.trace.get_trace_metrics()

    def clear_traces(self) -> None:
        """Forget all traces."""
        self.trace.clear_traces()

    # ---- to override

    async def _create_agent(self, name: str, config: AgentSettings) -> Any:
        """Create an agent: anything that can be a participant, or has a `run` of a text.

        Here: a model with its prompt.
        """
        return create_agent_from_settings(name, config, self.config.model_settings())

    def _create_builder(self, agents: Mapping[str, Any]) -> SupervisorWorkflowBuilder:
        """Create the builder of the workflow. Here: a model decides and writes the answer."""
        settings = self.config.model_settings()
        return SupervisorWorkflowBuilder(
            self.config.name,
            model=None if settings is None else create_model(settings),
            events=self.events,
        ).participants(**agents)

    def _task_to_message(self, task: ProgramTask) -> str | BaseMessage:
        """Say what the agents are sent for a task. Here: its content."""
        return self._read(task).text()

    def _message_to_task(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Make the result of a task from the workflow's state: parts of a `TaskResult`."""
        return task_values(result)

    async def _process_task_internal(self, task: ProgramTask) -> dict[str, Any]:
        """Make one attempt. A run that was broken off for the same message is gone on with."""
        task = self._read(task)
        said = self._task_to_message(task)
        message = HumanMessage(said) if isinstance(said, str) else said
        found = await self.graph.aget_state(self._place(task))
        brief: Sequence[str] = found.values.get("brief") or ()
        goes_on = is_unfinished(found) and list(brief[:1]) == [str(message.text)]
        return await self._run(task, None if goes_on else {"messages": [message]})

    # ---- inside

    async def _run(self, task: ProgramTask, given: RunInput) -> dict[str, Any]:
        """Run the workflow on a task's thread, and make the result of the task."""
        return self._message_to_task(await self._run_graph(task, given))

    async def _run_graph(self, task: ProgramTask, given: RunInput) -> dict[str, Any]:
        """Return the state after a run on a task's thread; record who says what to whom."""
        place = self._place(task)
        updates: Any = self.graph.astream(given, place, stream_mode="updates")
        async with aclosing(updates):
            async for update in updates:
                for sender, recipient, content in iter_interactions(update):
                    self.trace.trace_agent_interaction(task.id, sender, recipient, content)
        snapshot = await self.graph.aget_state(place, subgraphs=True)
        values = {**snapshot.values, "pending": open_requests(snapshot)}
        if failure := failure_of(values):
            decision = "not_retried" if is_mistake(values) else ""
            raise TaskFailedError(failure, task=task.id, decision=decision)
        return values

    async def _run_attempts(
        self, task: ProgramTask, attempt: Callable[[], Awaitable[Mapping[str, Any]]]
    ) -> TaskResult:
        """Try until there is a result; record the beginning, the errors and the end."""
        begun = self._clock()
        _CONTEXT.set(ErrorContext(task=task, attempt=0))
        facts = {"thread_id": task.id, "task_type": task.type, "team": self.config.content_hash}
        self.trace.start_trace(task.id, name=self.config.name, **facts)
        self.trace.trace_agent_interaction(task.id, "user", "supervisor", task.text())
        try:
            attempts, found = await run_with_retries(
                attempt,
                limit=self.config.supervisor.timeout,
                failed=lambda error, number: self._create_failure(error, task, number),
            )
        except asyncio.CancelledError:
            self.trace.end_trace(task.id, status="cancelled", reason="it was stopped")
            raise
        except Exception as error:
            self.trace.end_trace(task.id, status="failed", reason=describe_error(error))
            raise
        result = result_of(task, found, attempts=attempts, seconds=self._clock() - begun)
        self.trace.end_trace(task.id, status=result["status"], reason=result["reason"] or "")
        return result

    async def _create_failure(self, error: Exception, task: ProgramTask, attempt: int) -> None:
        self.trace.trace_error(task.id, error)
        context = ErrorContext(task=task, attempt=attempt)
        _CONTEXT.set(context)
        await self.handle_error(error, context)

    def _read(self, task: ProgramTask | Mapping[str, Any]) -> ProgramTask:
        """Read a task, which without an id is that of the trace that was begun here."""
        return read_task(task, lambda: self.trace.current or self._name_it())

    def _place(self, task: ProgramTask) -> RunnableConfig:
        made_by = {"program": self.config.name, "version": self.config.version}
        return {
            "configurable": {"thread_id": task.id},
            "metadata": {**made_by, "team": self.config.content_hash, "task_type": task.type},
        }
