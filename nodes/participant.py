"""The visit of a participant: one focused request in, one report out; and the node that makes it.

Open it to see how a visit is started, resumed or reused, and how a failure becomes a report.
Tests: tests/nodes/test_participant.py, tests/nodes/test_recall.py, tests/graphs/test_turns.py.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from langchain_core.messages import HumanMessage, RemoveMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs, var_child_runnable_config
from langgraph.errors import (
    GraphBubbleUp,
    GraphInterrupt,
    GraphRecursionError,
    ParentCommand,
    is_invalid_resume,
)
from langgraph.graph import END
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Command, Send

from asterism.core.continuation import CALLS, HANDOFF, Graph, counter
from asterism.core.messages import fold_history, with_media
from asterism.core.state import VisitRequest
from asterism.core.sync_async import (
    Call,
    NodeSteps,
    Steps,
    StepsNode,
    run_coroutine,
    without_exit,
)
from asterism.core.usage import UsageEntry, lines_of
from asterism.core.values import as_dict, describe_error, log_failure, traceback_of
from asterism.errors import (
    AbandonedError,
    BudgetExceededError,
    CircuitOpenError,
    RemoteFailedError,
)
from asterism.events import WorkflowEventType, emit
from asterism.limits.budgets import BudgetScope, task_scope
from asterism.limits.failure_policies import ENDLESS, FailureKind, failure_kind
from asterism.nodes.engine_keys import (
    answers_others,
    at_breakpoint,
    has_saver,
    is_resuming,
    keys_of_earlier_turns,
    new_turn_config,
    participant_place,
    resume_turn_config,
    stored_answers,
    streams_subgraphs,
    without_replay,
)
from asterism.nodes.middleware import limit_text
from asterism.nodes.participant_runtime import ParticipantRuntime, collect_output, invoke_options
from asterism.nodes.policies import (
    AttemptContext,
    VisitResult,
    apply_compensation,
    apply_policies,
    emit_retry,
)
from asterism.nodes.report import (
    failure_report,
    found_in,
    last_answer_in,
    new_messages,
    report_from_state,
    report_message,
    visit_metadata,
)
from asterism.nodes.routing import visit_in
from asterism.nodes.run_context import (
    is_debugged,
    is_traced,
    meter_of,
    participant_path,
    visit_span_config,
    workflow_path,
)
from asterism.nodes.steering import VisitSteering
from asterism.prompts import render

_log = logging.getLogger(__name__)


@dataclass
class StateCollector:
    """A graph whose state is kept step by step, for what was said before a failure."""

    graph: Graph
    state: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def invoke(self, request: Any, config: RunnableConfig) -> Mapping[str, Any]:
        """Run the graph to its end and return its state."""
        for state in self.graph.stream(request, config, stream_mode="values"):
            self.state = state
        return self.state

    async def ainvoke(self, request: Any, config: RunnableConfig) -> Mapping[str, Any]:
        """Run the graph to its end and return its state."""
        async for state in self.graph.astream(request, config, stream_mode="values"):
            self.state = state
        return self.state


@dataclass(kw_only=True)
class Visit:
    """A visit: one focused request to a participant in, one report out.

    The participant sees its own history and the request, nothing else; the workflow gets one
    labelled text, nothing else. A failure becomes a report, so siblings and the run go on.
    """

    runtime: ParticipantRuntime
    request: VisitRequest
    config: RunnableConfig
    """The config of the node that makes the visit."""
    overrides: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Entries of `configurable` that the participant's run gets besides or instead."""
    resumes: bool = False
    """Whether the visit may have begun before."""
    attempts: int = 0
    """The number of attempts so far; `attempt` alone writes it."""

    def __post_init__(self) -> None:
        """Look up what holds for all attempts."""
        self._meter = meter_of(self.config)
        self._path = participant_path(self.config, self.runtime.name)
        self._facts = {
            "path": self._path,
            "handoff": self.request["id"],
            "task": self.request.get("task"),
        }
        self._steering = VisitSteering(self.request, self.runtime.graph, self._path, self.config)
        self._collector = StateCollector(self.runtime.graph)
        self._lines: list[UsageEntry] = []  # what a workflow counts for itself, where not stored

    @classmethod
    def from_state(
        cls, runtime: ParticipantRuntime, state: Mapping[str, Any], config: RunnableConfig
    ) -> "Visit":
        """Create the visit that the decision in the workflow's state asks for."""
        grant = runtime.grant
        if grant is not None:
            request = visit_in(state, runtime.name)
            request["state_input"] = grant.state_input(runtime.name, request["id"], state)
        elif "participant" in state:  # a thread of an older version waits for what it was sent
            request = cast(VisitRequest, state)
        else:
            request = visit_in(state, runtime.name)
        resumes = request.get("resumes", False)
        return cls(runtime=runtime, request=request, config=config, resumes=resumes)

    def run(self) -> Steps[VisitResult]:
        """Make the visit under its budgets and policies; a failure becomes a report."""
        scopes = self._start()
        failure: Exception | None = None
        try:
            attempt = apply_policies(
                self.runtime.policies, self.attempt, self.runtime.service, self._emit_retry
            )
            context = AttemptContext(config=self.config, overrides=self.overrides)
            result = yield from attempt(context)
        except ParentCommand as sent:
            result = yield from self._refuse_handover(cast(Any, sent.args[0]))
        except GraphInterrupt as stop:
            if not stop.args[0]:  # a breakpoint of its own graph asks nothing by itself
                raise at_breakpoint(self.config, self.runtime.name) from None
            for asked in stop.args[0]:
                prompt = as_dict(asked.value).get("prompt")
                facts = {"request": asked.id, "prompt": prompt, **self._facts}
                emit(self.config, WorkflowEventType.ASKED, **facts)
            raise
        except (GraphBubbleUp, AbandonedError):
            raise
        except CircuitOpenError as error:
            yield from self._keep_question_open()
            result = self._failure("circuit_open", describe_error(error), attempts=0)
        except Exception as error:
            if is_invalid_resume(error):
                raise  # a person's answer was refused; the question is still open
            if isinstance(error, BudgetExceededError) and error.asks:
                raise
            if is_debugged(self.config) and not isinstance(error, BudgetExceededError):
                raise
            failure = error
            left = yield from self._last_state()
            self._steering.note(left, anew=True)
            self._meter.put_back(lines_of(left) or self._lines)
            breach: dict[str, Any] | None = None
            if isinstance(error, BudgetExceededError):
                error.found = self._last_words(left, error)
                if error.scope not in scopes:
                    if error.owner != workflow_path(self.config):
                        raise  # a budget of a workflow further up, which sees to it
                    breach = error.facts()
            result = self._report_error(error, left)._replace(breach=breach)
        finally:
            self._meter.over(self._path)
        return self._finish(result, failure)

    def attempt(self, context: AttemptContext) -> Steps[VisitResult]:
        """Make one attempt: run a turn and read it into a report."""
        self._meter.put_back(self._lines)  # of a workflow that begins anew
        self._lines.clear()
        self.attempts += 1
        self._collector = StateCollector(self.runtime.graph)
        values = yield from self.run_turn(context)
        self._steering.note(values)
        report = report_from_state(self.request, values)
        report["attempts"] = self.attempts
        if self.runtime.grant is None:
            return VisitResult(report)
        return VisitResult(report, {**values, "messages": new_messages(self.request, values)})

    def run_turn(self, context: AttemptContext) -> Steps[Mapping[str, Any]]:
        """Run one turn: start it, resume it, or reuse it when it was finished before."""
        config = context.config
        is_retry = self.attempts > 1
        may_resume = is_retry or self.resumes
        turn: dict[str, Any] = new_turn_config() if is_retry else {}
        is_known = False
        if (may_resume and has_saver(config)) or is_resuming(config):
            last = yield from self._last_snapshot(config)
            if (last.metadata or {}).get(HANDOFF) != self.request["id"]:
                turn = new_turn_config()
                messages = last.values.get("messages") or ()
                is_known = self.request["id"] in {getattr(m, "id", None) for m in messages}
            else:
                self._steering.note(last.values, anew=True)
                if not is_retry:  # an earlier attempt is counted already
                    self._count_earlier(last.values)
                if answers_others(config, last):
                    raise GraphInterrupt(last.interrupts)
                if not last.tasks and last.metadata.get("source") == "loop":
                    return (yield from self._output(last.values, config))
                turn = resume_turn_config() if may_resume else {}
                if is_retry:
                    turn |= yield from stored_answers(config, self.runtime.name, last)
        before = [RemoveMessage(REMOVE_ALL_MESSAGES)] if self.runtime.forgets else []
        if is_known:
            before.append(RemoveMessage(self.request["id"]))  # else it would stay at its old place
        request = yield from self._turn_input(before)
        request = yield from self._steering.add_to_input(request)
        values = yield from self._run_graph(request, self._turn_config(context, turn), config)
        return (yield from self._output(values, config))

    def _start(self) -> list[str]:
        """Open the budgets of the visit and emit its start; return the names of the budgets."""
        runtime, owner = self.runtime, workflow_path(self.config)
        task = self.request.get("task")
        scopes: list[BudgetScope] = []
        if runtime.budget is not None:
            scopes.append(BudgetScope(name=self._path, owner=owner, budget=runtime.budget))
        if runtime.task_budget is not None and task is not None:
            name = task_scope(self._path, task)
            scopes.append(BudgetScope(name=name, owner=owner, budget=runtime.task_budget))
        for scope in scopes:
            self._meter.gate.add(scope)
        if runtime.is_workflow and not has_saver(self.config):
            self._meter.note_taken(self._path, self._lines)
        asked = self.request["request"] or None
        emit(self.config, WorkflowEventType.TASK_STARTED, request=asked, **self._facts)
        return [scope.name for scope in scopes]

    def _finish(self, result: VisitResult, failure: Exception | None) -> VisitResult:
        """Complete the report with usage and compensation, log a failure, and emit the end."""
        report, grant = result.report, self.runtime.grant
        if lines := [*self._meter.take(self._path), *report.get("usage", ())]:
            report["usage"] = lines
        if report["status"] != "ok" and report.get("kind") != "budget_exceeded":
            words = "the visit of %s failed in attempt %d: %s"
            said = report.get("error") or ""
            log_failure(_log, words, self._path, report["attempts"], said, error=failure)
        report = apply_compensation(report, self.runtime.policies)
        emit(
            self.config,
            WorkflowEventType.TASK_COMPLETED
            if report["status"] == "ok"
            else WorkflowEventType.TASK_FAILED,
            status=report["status"],
            kind=report.get("kind"),
            attempts=report["attempts"],
            text=report["text"] or None,
            error=report.get("error"),
            **self._facts,
        )
        if grant is None:
            update: Mapping[str, Any] = {"messages": [report_message(report)]}
        else:
            update = grant.state_update(report, result.state, self.request.get("state_input") or {})
        return result._replace(report=report, update=self._steering.add_to_update(update))

    def _turn_config(self, context: AttemptContext, turn: Mapping[str, Any]) -> RunnableConfig:
        """Create the config of a turn."""
        runtime, config = self.runtime, context.config
        task = self.request.get("task")
        place = participant_place(config, runtime.name) if self.attempts > 1 else {}
        number = self.request["round"]
        inner = visit_span_config(config, runtime.name, runtime.description, task, number)
        inner["configurable"] = {
            **place,
            **context.overrides,
            **without_replay(config),
            CALLS: counter(),
            **turn,
        }
        inner["metadata"] = {
            "participant": runtime.name,
            "participant_path": self._path,
            **visit_metadata(self.request),
            **({} if task is None else {"task": task}),
        }
        if (limit := runtime.step_limit(config)) is not None:
            inner["recursion_limit"] = limit
        return inner

    def _turn_input(self, before: list[RemoveMessage]) -> Steps[dict[str, Any]]:
        """Write the input of a turn: the request with what is recalled, or the granted state."""
        request, memory = self.request, self.runtime.recalls
        if "state_input" in request:
            given = request["state_input"]
            return {**given, "messages": [*before, *given["messages"]]}
        text = request["request"]
        if memory is not None:
            from asterism.memories.namespaces import user_of
            from asterism.memories.recall_tools import recollections_text

            user = user_of(self.config) if memory.per_user else None
            found = yield from memory.recalling(text, user, self.runtime.name)
            if found:
                text = render("recalled", request=text, memories=recollections_text(found))
        media = self.runtime.media.choose(request.get("media") or ())
        content = with_media(text if text.strip() or media else "(no text)", media)
        return {"messages": [*before, HumanMessage(content, id=request["id"])]}

    def _run_graph(
        self, request: dict[str, Any], inner: RunnableConfig, config: RunnableConfig
    ) -> Steps[Mapping[str, Any]]:
        """Run the participant's graph to its end, and return its state."""
        runtime, is_stored = self.runtime, has_saver(config)
        if runtime.respond and not (is_stored or is_traced(config) or streams_subgraphs(config)):
            return (yield from self._respond(runtime.respond, request, inner, config))
        runner: Any = runtime.graph
        kwargs: dict[str, Any] = {}
        options = kwargs
        if not is_stored and runtime.collects_leanly:
            runner = self._collector
        else:
            if is_stored and not runtime.stores_steps:
                kwargs = {"durability": "exit"}
            options = invoke_options(kwargs) if runtime.collects_leanly else kwargs
        invoke = partial(_invoke_in_loop, runner) if runtime.needs_async else runner.invoke
        found = yield Call(without_exit(invoke), runner.ainvoke, (request, inner), options)
        return collect_output(found, kwargs) or {}  # None: no output was written

    def _respond(
        self,
        respond: NodeSteps,
        request: dict[str, Any],
        inner: RunnableConfig,
        config: RunnableConfig,
    ) -> Steps[Mapping[str, Any]]:
        """Take the one step of a participant without a run of a graph, as nobody would see it."""
        messages = fold_history([], [request["messages"]])
        whole = merge_configs(config, inner)
        token = var_child_runnable_config.set(whole)
        try:
            update = yield from respond({"messages": messages}, whole)
        finally:
            var_child_runnable_config.reset(token)
        return {"messages": fold_history(messages, [update["messages"]])}

    def _output(
        self, values: Mapping[str, Any], config: RunnableConfig
    ) -> Steps[Mapping[str, Any]]:
        """Return the output of a turn: the state without answers that earlier turns left in it."""
        runtime = self.runtime
        keys = {key for key in runtime.answer_keys if values.get(key) is not None}
        if keys and has_saver(config):
            old = yield from keys_of_earlier_turns(config, runtime.name, keys)
            values = {key: value for key, value in values.items() if key not in old}
        if runtime.has_messages:
            return values
        return {key: values[key] for key in runtime.answer_keys if key in values}

    def _last_snapshot(self, config: RunnableConfig) -> Steps[Any]:
        """Read the latest checkpoint of the participant."""
        place = {"configurable": participant_place(config, self.runtime.name)}
        graph = self.runtime.graph
        return (yield Call(graph.get_state, graph.aget_state, (place,)))

    def _last_state(self) -> Steps[Mapping[str, Any]]:
        """Return the state that the participant had reached when it failed."""
        if not has_saver(self.config):
            return self._collector.state
        last = yield from self._last_snapshot(self.config)
        return last.values if (last.metadata or {}).get(HANDOFF) == self.request["id"] else {}

    def _last_words(self, values: Mapping[str, Any], error: Exception | None = None) -> str:
        """Return what the participant had said when it failed, given the state that it left."""
        if isinstance(error, RemoteFailedError) and error.said:
            return error.said
        if isinstance(error, BudgetExceededError) and error.found:
            return error.found
        read = found_in if isinstance(error, (BudgetExceededError, *ENDLESS)) else last_answer_in
        try:
            return read(self.request, values)
        except (TypeError, ValueError):  # what stands under `messages` may be the very fault
            return ""

    def _count_earlier(self, values: Mapping[str, Any]) -> None:
        """Count what an earlier process has spent on this visit."""
        if self.runtime.is_workflow:
            self._meter.gate.restore(values)  # a workflow keeps the ledger itself
            return
        messages = new_messages(self.request, values)
        self._meter.recall(self._path, self.request.get("task"), messages)

    def _keep_question_open(self) -> Steps[None]:
        """Interrupt again where the visit waits for an answer that cannot be used now."""
        if has_saver(self.config):
            last = yield from self._last_snapshot(self.config)
            if last.interrupts and (last.metadata or {}).get(HANDOFF) == self.request["id"]:
                raise GraphInterrupt(last.interrupts)

    def _refuse_handover(self, sent: Command[Any]) -> Steps[VisitResult]:
        """Report that the participant sent a command to its parent graph.

        The results of other tools of the same message are kept in its history.
        """
        goto: Any = sent.goto
        targets: list[Any] = [goto] if isinstance(goto, str | Send) else list(goto or ())
        names = ", ".join(t.node if isinstance(t, Send) else str(t) for t in targets)
        error = "it sent a command to its parent graph" + (
            f", to go to {names}. A participant cannot hand over by itself: let the supervisor "
            "decide, or make the team with asterism.compat.langgraph_supervisor"
            if names
            else ""
        )
        text = self._last_words((yield from self._last_state()))
        if has_saver(self.config):
            graph = self.runtime.graph
            place = {"configurable": participant_place(self.config, self.runtime.name)}
            yield Call(graph.update_state, graph.aupdate_state, (place, None, END))
        return self._failure("agent_failed", error, text=text, attempts=self.attempts)

    def _report_error(self, error: Exception, left: Mapping[str, Any]) -> VisitResult:
        """Report what the visit raised, with what was said before."""
        why = describe_error(error)
        limit = self.runtime.step_limit(self.config)
        if isinstance(error, GraphRecursionError) and limit is not None:
            why = limit_text(self.runtime.max_steps)
        text = self._last_words(left, error)
        attempts = max(1, self.attempts)
        result = self._failure(failure_kind(error), why, text=text, attempts=attempts)
        result.report["traceback"] = traceback_of(error)
        return result

    def _failure(
        self, kind: FailureKind, error: str, *, text: str = "", attempts: int
    ) -> VisitResult:
        return VisitResult(failure_report(self.request, kind, error, text=text, attempts=attempts))

    def _emit_retry(self, error: Exception, seconds: float) -> None:
        emit_retry(self.config, error, seconds, attempts=self.attempts, **self._facts)


def _invoke_in_loop(runner: Any, *args: Any, **options: Any) -> Any:
    """Run a graph that has no sync way in the event loop that such graphs share."""
    return run_coroutine(runner.ainvoke(*args, **options))


def create_participant_node(runtime: ParticipantRuntime) -> StepsNode:
    """Create the node that visits a participant."""

    def visit(state: Any, config: RunnableConfig) -> Steps[dict[str, Any]]:
        try:
            result = yield from Visit.from_state(runtime, state, config).run()
        except BudgetExceededError as error:
            if error.owner != workflow_path(config):
                raise
            return {"breach": error.facts()}
        update: dict[str, Any] = {"reports": [result.report], **result.update}
        return update if result.breach is None else {**update, "breach": result.breach}

    return StepsNode(visit, name=runtime.name, graphs=(runtime.graph,))
