"""Serve a team to agents of the A2A protocol: a context is a thread, a question is input-required.

Needs `a2a-sdk`: pip install 'asterism-agents[a2a]'.
Tests: tests/nodes/remote/test_a2a.py.
"""

import json
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from a2a.helpers import new_data_part, new_task_from_user_message
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes.agent_card_routes import create_agent_card_routes
from a2a.server.routes.jsonrpc_routes import create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskStore, TaskUpdater
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    Part,
)
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.middleware import Middleware

from asterism.apps.serving import CallGuard, read_reply, run_request, served_workflow
from asterism.core.interrupts import PendingRequest, apending_requests
from asterism.core.messages import media_of
from asterism.core.state import Report
from asterism.core.values import as_dict, describe_error, log_failure
from asterism.errors import AnswerError
from asterism.graphs.workflow import Workflow
from asterism.nodes.remote.a2a_parts import RESUME, data_in, media_in, text_in, to_parts
from asterism.nodes.remote.contract import ServiceAnswer, ServiceDone, ServiceFailed, ServiceRequest

_log = logging.getLogger(__name__)

_VERSIONS = ("1.0", "0.3")
_MODES = ("text/plain", "application/json", "image/*", "audio/*", "application/pdf")


def create_a2a_app(
    thing: Any,
    *,
    url: str,
    name: str | None = None,
    checkpointer: BaseCheckpointSaver[str] | None = None,
    token: SecretStr | None = None,
    hosts: Sequence[str] = (),
    task_store: TaskStore | None = None,
) -> Starlette:
    """Create an ASGI app that is an A2A agent: its card, and JSON-RPC at `/`.

    Args:
        thing: A workflow with a checkpointer, or anything else that may be a participant.
        url: The address by which clients reach it; the card names it.
        name: What the card calls it. None: the name of the workflow.
        checkpointer: Where conversations are stored, for anything else.
        token: What callers send as `authorization: Bearer ...`. None: anybody on this machine
            may call, by one of its own names.
        hosts: The names by which it may be called, without ports. Empty: any with a token, else
            those of this machine.
        task_store: Where tasks are stored. None: in memory; conversations outlive the process,
            tasks do not.

    Raises:
        ConfigurationError: There is nowhere to store conversations.
        WorkflowBuildError: `thing` cannot be a participant.
    """
    workflow = served_workflow(thing, checkpointer)
    card = _card(workflow, url, name)
    handler = DefaultRequestHandler(
        agent_executor=_TeamExecutor(workflow),
        task_store=task_store or InMemoryTaskStore(),
        agent_card=card,
    )
    routes = [
        *create_agent_card_routes(card),
        *create_jsonrpc_routes(handler, "/", enable_v0_3_compat=True),
    ]

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        yield
        await handler.aclose()

    guard = Middleware(CallGuard, token=token, hosts=hosts)
    return Starlette(routes=routes, middleware=[guard], lifespan=lifespan)


def _card(workflow: Workflow, url: str, name: str | None) -> AgentCard:
    called = name or workflow.name
    about = workflow.description or f"The team {called}."
    skill = AgentSkill(
        id=called, name=called, description=about, tags=[*workflow.facts.participants] or ["team"]
    )
    return AgentCard(
        name=called,
        description=about,
        version=version("asterism-agents"),
        supported_interfaces=[
            AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version=number)
            for number in _VERSIONS
        ],
        capabilities=AgentCapabilities(streaming=True),
        default_input_modes=_MODES,
        default_output_modes=_MODES,
        skills=[skill],
    )


class _TeamExecutor(AgentExecutor):
    """Runs a workflow for each message; a message to a task that waits is an answer."""

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Run until the end or the next question, and say how the task stands."""
        message = context.message
        assert message is not None and context.task_id and context.context_id
        if context.current_task is None:
            await event_queue.enqueue_event(new_task_from_user_message(message))
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        await updater.start_work()
        thread: RunnableConfig = {"configurable": {"thread_id": context.context_id}}
        pending = await apending_requests(self._workflow, thread)
        is_answer = context.current_task is not None and bool(pending)
        asked = ServiceRequest(
            conversation_id=context.context_id,
            idempotency_key=message.message_id,
            request=text_in(message.parts) or _data_text(message.parts),
            answers=_answers(message.parts, pending) if is_answer else [],
        )
        fault = ""
        try:
            await run_request(self._workflow, thread, asked, media_in(message.parts))
        except AnswerError as error:
            fault = f"{error}\n\n"
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever asked is told
            log_failure(_log, "the task %s failed", context.task_id, error=error)
            await updater.failed(updater.new_agent_message(to_parts(describe_error(error))))
            return
        await self._tell(updater, thread, fault)

    async def _tell(self, updater: TaskUpdater, thread: RunnableConfig, fault: str) -> None:
        """Publish the answer, the open questions, or the failure."""
        if pending := await apending_requests(self._workflow, thread):
            prompts = "\n".join(request.prompt for request in pending)
            parts = [*to_parts(f"{fault}{prompts}"), *map(_question_part, pending)]
            await updater.requires_input(updater.new_agent_message(parts))
            return
        state = await self._workflow.aget_state(thread)
        reply = await read_reply(self._workflow, thread, state)
        if isinstance(reply, ServiceDone):
            reports: Sequence[Report] = state.values.get("reports") or ()
            media = media_of(state.values["messages"][-1]) or [
                block for report in reports[-1:] for block in report.get("media") or ()
            ]
            if parts := to_parts(reply.text, media):
                await updater.add_artifact(parts, name="answer")
            await updater.complete()
        elif isinstance(reply, ServiceFailed):
            if reply.text:
                await updater.add_artifact(to_parts(reply.text), name="answer")
            await updater.failed(updater.new_agent_message(to_parts(reply.error)))

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Say that a task was cancelled; its run has been, with the task that ran it."""
        assert context.task_id and context.context_id
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


def _question_part(request: PendingRequest) -> Part:
    """Write an open question as LangGraph's own endpoint does: its id, its value, its schema."""
    value = {"id": request.id, "value": request.value, "prompt": request.prompt}
    if request.schema is not None:
        value["response_schema"] = request.schema
    return new_data_part(value)


def _answers(parts: Sequence[Part], pending: Sequence[PendingRequest]) -> list[ServiceAnswer]:
    """Read answers: a text or a value for the first question, or `{"resume": {id: value}}`."""
    values = data_in(parts)
    given: Any = values[0] if values else text_in(parts)
    if as_dict(given).keys() == {RESUME}:
        given = given[RESUME]
    by_id = as_dict(given)
    if not by_id.keys() & {request.id for request in pending}:
        by_id = {pending[0].id: given}
    return [ServiceAnswer(question_id=key, prompt="", value=by_id[key]) for key in by_id]


def _data_text(parts: Sequence[Part]) -> str:
    """Write the values of a request that has no text."""
    return "\n".join(json.dumps(value, ensure_ascii=False) for value in data_in(parts))
