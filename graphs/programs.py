"""Programs: a team from a configuration that works on tasks, retries them, and is traced.

Open it for `BaseSupervisor`, and for how the agents and results of a program are made.
Tests: tests/graphs/test_programs.py.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Self, cast

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import BaseModel

from asterism.core.agent_spec import resolve_model
from asterism.core.config_files import raise_faults
from asterism.core.continuation import is_unfinished
from asterism.core.decision import RunPlan, VisitNext, load_decision
from asterism.core.interrupts import PendingRequest, answer_command, open_requests
from asterism.core.state import Report
from asterism.core.values import as_dict, as_list, describe_error
from asterism.errors import (
    AsterismError,
    ConfigurationError,
    InvalidRequestError,
    TaskFailedError,
    WorkflowBuildError,
)
from asterism.events import EventBus
from asterism.graphs.builder import SupervisorWorkflowBuilder
from asterism.graphs.workflow import Workflow
from asterism.limits.failure_policies import can_pass, is_api_error
from asterism.nodes.participant_spec import Participant
from asterism.nodes.request import failure_texts
from asterism.nodes.routing import SUPERVISOR
from asterism.observability import SupervisorTrace
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


def task_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Put the state of a workflow into plain values.

    Args:
        values: The state, and under `pending` its open requests.
    """
    pending: Sequence[PendingRequest] = values.get("pending") or ()
    structured = values.get("structured_response")
    content: Any = values["messages"][-1].text
    if pending:
        content = pending[0].prompt
    elif structured is not None:
        content = structured.model_dump(mode="json") if _is_model(structured) else structured
    reports: Sequence[Report] = values.get("reports") or ()
    return {
        "content": content,
        "status": values["status"],
        "reason": values.get("reason"),
        "metadata": {
            "iterations": values.get("iterations"),
            "agents": list(dict.fromkeys(report["participant"] for report in reports)),
            "failed": {
                report["participant"]: report.get("error", report["status"])
                for report in reports
                if report["status"] != "ok"
            },
        },
        "pending": [
            {
                "id": request.id,
                "participant": request.participant,
                "prompt": request.prompt,
                "schema": request.schema,
            }
            for request in pending
        ],
    }


def failure_of(values: Mapping[str, Any]) -> str | None:
    """Say why a run came to no result, or return None.

    It failed where it says so, and where everybody who was sent to work has failed.
    """
    if values.get("status") == "failed":
        return str(values.get("reason") or "it failed")
    reports: Sequence[Report] = values.get("reports") or ()
    if values.get("pending") or not reports or any(r["status"] == "ok" for r in reports):
        return None
    return failure_texts(reports)


def is_worth_retrying(error: Exception) -> bool:
    """Whether another attempt may succeed after an error."""
    if isinstance(error, ConfigurationError | InvalidRequestError | WorkflowBuildError):
        return False
    return can_pass(error) or not is_api_error(error)


def iter_interactions(update: object) -> Iterator[tuple[str, str, str]]:
    """Yield who says what to whom in an update of a run: sender, recipient, words."""
    for node, change in as_dict(update).items():
        found = as_dict(change)
        match load_decision(found.get("decision")) if node == SUPERVISOR else None:
            case VisitNext(next_agent=name, instruction=instruction):
                yield SUPERVISOR, name, instruction or ""
            case RunPlan(tasks=tasks):
                for task in tasks:
                    yield SUPERVISOR, task["agent_id"], task["task_description"]
            case _:
                pass
        reports = as_list(found.get("reports"))
        for report in filter(None, map(as_dict, reports)):  # no report: an Overwrite, or None
            yield report["participant"], SUPERVISOR, report["text"] or report.get("error", "")


def _is_model(value: object) -> bool:
    return isinstance(value, BaseModel)


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


class BaseSupervisor:
    """A program: the agents of a configuration, joined to a supervisor, which work on tasks.

    Its graph is the star of every workflow; each task is a thread of it, named by the task's
    id. Override `_create_agent` to bring agents of your own, `_task_to_message` and
    `_message_to_task` to say what they are sent and what comes back, `_create_builder` to let
    something else than the model decide.

    Args:
        config: What `load_config` returned, or the same as plain values.
        checkpointer: Where threads are stored. None: in memory. With one that lasts, a task
            that a dead process left is gone on with when it is given again.
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
        checkpointer: BaseCheckpointSaver[Any] | None = None,
        trace: SupervisorTrace | None = None,
        events: EventBus | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        name_it: Callable[[], str] = new_task_id,
    ) -> None:
        self.config = config if isinstance(config, ProgramConfig) else read_config(config)
        self.trace = self.config.tracing.open() if trace is None else trace
        """What was recorded of its tasks, each under its id."""
        self.events = events
        self._saver = InMemorySaver() if checkpointer is None else checkpointer
        self._clock, self._sleep, self._name_it = clock, sleep, name_it
        self._life = Life(program=self.config.name)
        self._changing = asyncio.Lock()
        self._underway: InflightTasks[TaskResult] = InflightTasks()
        self._graph: Workflow | None = None

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
            for name, settings in self.config.agents.items():
                try:
                    agents[name] = await self._create_agent(name, settings)
                except AsterismError as error:
                    faults.append(f"{self.config.name}.agents.{name}: {error}")
            raise_faults(f"The program {self.config.name!r}", faults)
            self._graph = self._create_builder(agents).build(checkpointer=self._saver)
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

    async def handle_error(self, error: Exception, task: ProgramTask, attempt: int) -> None:
        """Decide what follows a failed attempt: wait and return to try again, or raise.

        Raises:
            TaskFailedError: It was tried `max_retries` times more, or trying is of no use.
        """
        rules = self.config.supervisor
        said = describe_error(error)
        if is_worth_retrying(error) and attempt <= rules.max_retries:
            self.trace.trace_decision(task.id, "retry", reason=said)
            await self._sleep(rules.retry_delay)
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

    # ---- to override

    async def _create_agent(self, name: str, config: AgentSettings) -> Any:
        """Create an agent: anything that can be a participant. Here: a model with its prompt."""
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
        return task.text()

    def _message_to_task(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Make the result of a task from the workflow's state: parts of a `TaskResult`."""
        return task_values(result)

    async def _process_task_internal(self, task: ProgramTask) -> dict[str, Any]:
        """Make one attempt. A run that was broken off for the same message is gone on with."""
        said = self._task_to_message(task)
        message = HumanMessage(said) if isinstance(said, str) else said
        found = await self.graph.aget_state(self._place(task))
        brief: Sequence[str] = found.values.get("brief") or ()
        goes_on = is_unfinished(found) and list(brief[:1]) == [str(message.text)]
        return await self._run(task, None if goes_on else {"messages": [message]})

    # ---- inside

    async def _run(
        self, task: ProgramTask, given: dict[str, Any] | Command[Any] | None
    ) -> dict[str, Any]:
        """Run the workflow on a task's thread, and record who says what to whom."""
        place = self._place(task)
        updates: Any = self.graph.astream(given, place, stream_mode="updates")
        async with aclosing(updates):
            async for update in updates:
                for sender, recipient, content in iter_interactions(update):
                    self.trace.trace_agent_interaction(task.id, sender, recipient, content)
        snapshot = await self.graph.aget_state(place, subgraphs=True)
        values = {**snapshot.values, "pending": open_requests(snapshot)}
        if failure := failure_of(values):
            raise TaskFailedError(failure, task=task.id)
        return self._message_to_task(values)

    async def _run_attempts(
        self, task: ProgramTask, attempt: Callable[[], Awaitable[Mapping[str, Any]]]
    ) -> TaskResult:
        """Try until there is a result; record the beginning, the errors and the end."""
        begun = self._clock()
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
        await self.handle_error(error, task, attempt)

    def _place(self, task: ProgramTask) -> RunnableConfig:
        made_by = {"program": self.config.name, "version": self.config.version}
        return {
            "configurable": {"thread_id": task.id},
            "metadata": {**made_by, "team": self.config.content_hash, "task_type": task.type},
        }
