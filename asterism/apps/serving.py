"""Serve a participant to workflows elsewhere, by the contract of `asterism.nodes.remote`."""

import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import StateSnapshot
from pydantic import SecretStr, ValidationError

from asterism.core.continuation import aproceed, is_unfinished
from asterism.core.interrupts import apending_requests, aresume
from asterism.core.messages import with_media
from asterism.core.usage import lines_of
from asterism.core.values import describe_error
from asterism.errors import AsterismError, ConfigurationError, ThreadBusyError
from asterism.graphs.builder import SupervisorWorkflowBuilder
from asterism.graphs.workflow import Workflow
from asterism.limits.failure_policies import failure_kind
from asterism.nodes.deciders.strategies import sequential_decider
from asterism.nodes.participant_spec import Participant
from asterism.nodes.remote.contract import (
    ServiceAsks,
    ServiceDone,
    ServiceFailed,
    ServiceQuestion,
    ServiceReply,
    ServiceRequest,
    ServiceUsage,
)
from asterism.nodes.report import failure_kind_of_status

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

HOSTS = ("127.0.0.1", "localhost", "[::1]")
"""The names by which this machine calls itself. Any other is a site that may have pointed its own
name at this machine."""
Headers = Sequence[tuple[bytes, bytes]]
BODY_LIMIT = 4 * 1024 * 1024
"""How many bytes a request may have."""
REQUEST = "request-"
"""How the id of a request's message begins; the rest is its idempotency key."""


def create_service_app(
    thing: Any,
    *,
    checkpointer: BaseCheckpointSaver[str] | None = None,
    token: SecretStr | None = None,
    hosts: Sequence[str] = (),
) -> "Starlette":
    """Create an ASGI app that answers `POST /` as a service that is a participant elsewhere.

    A conversation is a thread, so it is remembered, and a call that is repeated, also after a
    crash, runs nothing twice that is finished.

    Args:
        thing: A workflow with a checkpointer, or anything else that may be a participant.
        checkpointer: Where conversations are stored, for anything else.
        token: What callers send as `authorization: Bearer ...`. None: anybody on this machine
            may call, by one of its own names.
        hosts: The names by which the service may be called, without ports. Empty: any with a
            token, else those of this machine.

    Raises:
        ConfigurationError: There is nowhere to store conversations.
        WorkflowBuildError: `thing` cannot be a participant.
    """
    try:
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
        from starlette.requests import Request
        from starlette.responses import JSONResponse, Response
        from starlette.routing import Route
    except ImportError as error:
        raise ImportError("Serving needs packages: pip install 'asterism-agents[ui]'.") from error

    workflow = served_workflow(thing, checkpointer)

    async def answer(request: Request) -> Response:
        if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
            return _refusal(415, "The body must be JSON, with the content type application/json.")
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_LIMIT:
                return _refusal(413, f"The body has more than {BODY_LIMIT} bytes.")
        try:
            asked = ServiceRequest.model_validate_json(bytes(body))
            reply = await _handle_request(workflow, asked)
        except ValidationError as error:
            faults = error.errors(include_url=False, include_input=False, include_context=False)
            return JSONResponse({"error": "This is no ServiceRequest.", "faults": faults}, 422)
        except ThreadBusyError:
            return _refusal(409, "This conversation is being worked on.", {"retry-after": "1"})
        return Response(reply.model_dump_json(), media_type="application/json")

    return Starlette(
        routes=[Route("/", answer, methods=["POST"])],
        middleware=[Middleware(CallGuard, token=token, hosts=hosts)],
    )


class CallGuard:
    """Refuses calls of pages of other sites, and calls without the token.

    Args:
        app: What it guards.
        token: What callers send as `authorization: Bearer ...`. None: they send nothing.
        hosts: The names that the server may be called by. Empty: any with a token, else those of
            this machine.
    """

    def __init__(
        self, app: "ASGIApp", *, token: SecretStr | None = None, hosts: Sequence[str] = ()
    ) -> None:
        self._app = app
        self._token = token
        self._hosts = hosts or (HOSTS if token is None else ())

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Let a call through, or refuse it."""
        if scope["type"] == "http":
            headers: Headers = scope["headers"]
            if said := stranger(headers, self._hosts):
                return await _refusal(403, said)(scope, receive, send)
            if self._token is not None and not is_token(bearer(headers), self._token):
                refusal = _refusal(401, "The token is missing or wrong.")
                return await refusal(scope, receive, send)
        return await self._app(scope, receive, send)


def served_workflow(thing: Any, checkpointer: BaseCheckpointSaver[str] | None) -> Workflow:
    """Return a workflow that keeps conversations, made of anything that may be a participant.

    Raises:
        ConfigurationError: There is nowhere to store conversations.
        WorkflowBuildError: `thing` cannot be a participant.
    """
    is_one = isinstance(thing, Workflow)
    workflow: Workflow = cast(Workflow, thing) if is_one else _workflow(thing, checkpointer)
    if not isinstance(workflow.checkpointer, BaseCheckpointSaver):
        raise ConfigurationError(
            "A service keeps conversations, so it needs a checkpointer: build the workflow with "
            "one, or give checkpointer= for anything else."
        )
    return workflow


def _workflow(thing: Any, checkpointer: BaseCheckpointSaver[str] | None) -> Workflow:
    given = thing if isinstance(thing, Participant) else Participant(runs=thing)
    alone = replace(given, description=given.description or "Does what is asked.")
    return (
        SupervisorWorkflowBuilder("Service", finish="forward")
        .participants(service=alone)
        .with_manager(sequential_decider)
        .build(checkpointer=checkpointer)
    )


async def _handle_request(workflow: Workflow, asked: ServiceRequest) -> ServiceReply:
    """Do what is asked, as far as it is not done already."""
    thread: RunnableConfig = {"configurable": {"thread_id": asked.conversation_id}}
    try:
        await run_request(workflow, thread, asked)
        return await read_reply(workflow, thread, await workflow.aget_state(thread))
    except ThreadBusyError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, whoever asked is told
        return ServiceFailed(error=describe_error(error), kind=failure_kind(error))


async def run_request(
    workflow: Workflow,
    thread: RunnableConfig,
    asked: ServiceRequest,
    media: Sequence[dict[str, Any]] = (),
) -> None:
    """Begin the request, answer its question, or go on with it: whichever is left to do."""
    state = await workflow.aget_state(thread)
    sent, own = _request_ids(state), REQUEST + asked.idempotency_key
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
        message = HumanMessage(with_media(asked.request, media), id=own)
        await workflow.ainvoke({"messages": [message]}, thread)
        return
    if is_unfinished(state) and not state.interrupts:
        await aproceed(workflow, thread)


def _request_ids(state: StateSnapshot) -> list[str]:
    """Return the ids of the requests that a conversation was sent."""
    messages: Sequence[BaseMessage] = cast(Any, state.values or {}).get("messages") or ()
    return [message.id for message in messages if message.id and message.id.startswith(REQUEST)]


async def read_reply(
    workflow: Workflow, thread: RunnableConfig, state: StateSnapshot
) -> ServiceReply:
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
    kind = failure_kind_of_status(status, reason)
    return ServiceFailed(error=f"{status}: {reason}", kind=kind, text=text, usage=usage)


def stranger(headers: Headers, hosts: Sequence[str]) -> str | None:
    """Say what speaks against a call that a page of another site may have made.

    A browser names the site that a request comes from in `Origin` or `Sec-Fetch-Site`.

    Args:
        headers: Those of the call.
        hosts: The names that the server may be called by. Empty: any.
    """
    host, origin = header(headers, b"host"), header(headers, b"origin")
    named = "|".join(map(re.escape, hosts)) or r"[\w.:\[\]-]+"
    if host is None or not re.fullmatch(rf"({named})(:\d{{1,5}})?", host, re.ASCII | re.IGNORECASE):
        return f"The server answers only as {', '.join(hosts) or 'one host'}, not as {host!r}."
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        return f"A request from {origin!r} is refused; allowed: the page itself."
    if header(headers, b"sec-fetch-site") not in (None, "same-origin", "none"):
        return "A request from another site is refused; allowed: the page itself."
    return None


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    """Return a header; one that is given twice reads as neither."""
    found = [value.decode("latin-1") for key, value in headers if key.lower() == name]
    return ", ".join(found) if found else None


def is_token(given: str | None, token: SecretStr) -> bool:
    """Whether a token is the right one."""
    return hmac.compare_digest((given or "").encode(), token.get_secret_value().encode())


def bearer(headers: Headers) -> str | None:
    """Return the bearer token of a call; the name of the scheme has no case."""
    scheme, _, given = (header(headers, b"authorization") or "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else None


def _refusal(status: int, said: str, headers: dict[str, str] | None = None) -> "Response":
    from starlette.responses import JSONResponse

    return JSONResponse({"error": said}, status, headers)
