"""Serving a participant by the contract of `asterism.services`, for workflows elsewhere."""

import hmac
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import StateSnapshot
from pydantic import SecretStr, ValidationError

from asterism.errors import AsterismError, ConfigurationError, ThreadBusyError
from asterism.graphs.builder import SupervisorWorkflowBuilder
from asterism.graphs.workflow import Workflow
from asterism.ledger import lines_of
from asterism.nodes.in_turn import in_turn
from asterism.nodes.kinds import Participant
from asterism.nodes.reports import inner_kind
from asterism.people import apending_requests, aresume
from asterism.redaction import describe_error
from asterism.resilience import failure_kind
from asterism.runs import aproceed, is_unfinished
from asterism.services import (
    ServiceAsks,
    ServiceDone,
    ServiceFailed,
    ServiceQuestion,
    ServiceReply,
    ServiceRequest,
    ServiceUsage,
)

try:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route
except ImportError as error:
    raise ImportError("Serving needs packages: pip install 'asterism[ui]'.") from error

BODY_LIMIT = 4 * 1024 * 1024
"""How many bytes a request may have."""
REQUEST = "request-"
"""How the id of a request's message begins; the rest is its idempotency key."""


def create_service_app(
    thing: Any,
    *,
    checkpointer: BaseCheckpointSaver[str] | None = None,
    token: SecretStr | None = None,
) -> Starlette:
    """Create an ASGI app that answers `POST /` as a service that is a participant elsewhere.

    A conversation is a thread, so it is remembered, and a call that is repeated, also after a
    crash, runs nothing twice that is finished.

    Args:
        thing: A workflow with a checkpointer, or anything else that may be a participant.
        checkpointer: Where conversations are stored, for anything else.
        token: What callers send as `authorization: Bearer ...`. None: anybody may call.

    Raises:
        ConfigurationError: There is nowhere to store conversations.
        WorkflowBuildError: `thing` cannot be a participant.
    """
    workflow = thing if isinstance(thing, Workflow) else _workflow(thing, checkpointer)
    if not isinstance(workflow.checkpointer, BaseCheckpointSaver):
        raise ConfigurationError(
            "A service keeps conversations, so it needs a checkpointer: build the workflow with "
            "one, or give checkpointer= for anything else."
        )

    async def answer(request: Request) -> Response:
        if token is not None and not _is_known(request, token):
            return _refusal(401, "The token is missing or wrong.")
        if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
            return _refusal(415, "The body must be JSON, with the content type application/json.")
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_LIMIT:
                return _refusal(413, f"The body has more than {BODY_LIMIT} bytes.")
        try:
            asked = ServiceRequest.model_validate_json(bytes(body))
            reply = await _answered(workflow, asked)
        except ValidationError as error:
            faults = error.errors(include_url=False, include_input=False, include_context=False)
            return JSONResponse({"error": "This is no ServiceRequest.", "faults": faults}, 422)
        except ThreadBusyError:
            return _refusal(409, "This conversation is being worked on.", {"retry-after": "1"})
        return Response(reply.model_dump_json(), media_type="application/json")

    return Starlette(routes=[Route("/", answer, methods=["POST"])])


def _workflow(thing: Any, checkpointer: BaseCheckpointSaver[str] | None) -> Workflow:
    given = thing if isinstance(thing, Participant) else Participant(runs=thing)
    alone = replace(given, description=given.description or "Does what is asked.")
    return (
        SupervisorWorkflowBuilder("Service", finish="forward")
        .participants(service=alone)
        .with_manager(in_turn)
        .build(checkpointer=checkpointer)
    )


async def _answered(workflow: Workflow, asked: ServiceRequest) -> ServiceReply:
    """Do what is asked, as far as it is not done already."""
    thread: RunnableConfig = {"configurable": {"thread_id": asked.conversation_id}}
    try:
        await _driven(workflow, thread, asked)
        return await _reply(workflow, thread, await workflow.aget_state(thread))
    except ThreadBusyError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, whoever asked is told
        return ServiceFailed(error=describe_error(error), kind=failure_kind(error))


async def _driven(workflow: Workflow, thread: RunnableConfig, asked: ServiceRequest) -> None:
    """Begin the request, answer its question, or go on with it: whichever is left to do."""
    state = await workflow.aget_state(thread)
    sent, own = _sent(state), REQUEST + asked.idempotency_key
    if asked.answers:
        if not sent:
            raise AsterismError("the question is not known here; make the request anew")
        given = {answer.question_id: answer.value for answer in asked.answers}
        waiting = [request.id for request in await apending_requests(workflow, thread)]
        if answers := {name: given[name] for name in waiting if name in given}:
            await aresume(workflow, thread, answers)
            return
    elif own in sent[:-1]:
        raise AsterismError("a later request of this conversation was taken in already")
    elif own not in sent:
        message = HumanMessage(asked.request, id=own)
        await workflow.ainvoke({"messages": [message]}, thread)
        return
    if is_unfinished(state) and not state.interrupts:
        await aproceed(workflow, thread)


def _sent(state: StateSnapshot) -> list[str]:
    """Return the ids of the requests that a conversation was sent."""
    messages: Sequence[BaseMessage] = cast(Any, state.values or {}).get("messages") or ()
    return [message.id for message in messages if message.id and message.id.startswith(REQUEST)]


async def _reply(workflow: Workflow, thread: RunnableConfig, state: StateSnapshot) -> ServiceReply:
    """Write what came of it: the first open question, the answer, or the failure."""
    values = cast(dict[str, Any], state.values)
    for request in await apending_requests(workflow, thread):
        question = ServiceQuestion(
            id=request.id,
            prompt=request.prompt,
            request_type=request.request_type,
            response_schema=request.schema,
            context={"path": request.path},
        )
        return ServiceAsks(question=question)
    usage = [ServiceUsage.model_validate(line) for line in lines_of(values)]
    text = values["messages"][-1].text
    if values["status"] == "completed":
        return ServiceDone(text=text, usage=usage)
    status, reason = values["status"], values.get("reason")
    kind = inner_kind(status, reason)
    return ServiceFailed(error=f"{status}: {reason}", kind=kind, text=text, usage=usage)


def _is_known(request: Request, token: SecretStr) -> bool:
    given = request.headers.get("authorization", "").encode("latin-1")
    return hmac.compare_digest(given, f"Bearer {token.get_secret_value()}".encode())


def _refusal(status: int, said: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": said}, status, headers)
