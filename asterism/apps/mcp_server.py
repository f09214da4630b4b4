"""Serve a team as a tool of an MCP server: progress as notifications, questions by elicitation.

Needs `mcp`: pip install 'asterism-agents[mcp]'.
Tests: tests/asterism/apps/test_mcp_server.py.
"""

import asyncio
import json
import re
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import uvicorn
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from mcp import types
from mcp.server.fastmcp import Context, FastMCP
from pydantic import SecretStr

from asterism.apps.serving import HOSTS, CallGuard
from asterism.core.continuation import Graph
from asterism.core.interrupts import (
    PendingRequest,
    answer_command,
    apending_requests,
    is_approval,
)
from asterism.core.values import as_dict
from asterism.errors import AnswerError, ConfigurationError
from asterism.events import BUS, Event, EventBus, WorkflowEventType

TRIES = 3
"""How often a question is asked again after an answer that does not fit."""
PROGRESS = (WorkflowEventType.TASK_STARTED, WorkflowEventType.TASK_COMPLETED)
_PLAIN = ("string", "number", "integer", "boolean")


def create_mcp_server(
    team: Graph, *, name: str | None = None, labels: Mapping[str, Any] | None = None
) -> "FastMCP[Any]":
    """Create an MCP server with a team as a tool, and a tool that answers its questions.

    A client that supports elicitation is asked the questions of the team while the tool runs.
    Others get them as the result, and answer by the second tool. `server.run()` serves stdio,
    `server.streamable_http_app()` is an ASGI app.

    Args:
        team: A workflow or another compiled graph, with a checkpointer.
        name: What the tool is called. None: the name of the team.
        labels: Metadata of its threads.

    Raises:
        ConfigurationError: The team has no checkpointer.
    """
    if not isinstance(team.checkpointer, BaseCheckpointSaver):
        raise ConfigurationError(
            "A team that is served keeps conversations, so it needs a checkpointer: build it "
            "with build(checkpointer=...)."
        )
    called = re.sub(r"\W+", "_", name or team.name).strip("_").lower() or "team"
    about = str(getattr(team, "description", None) or "").strip()
    server: FastMCP[Any] = FastMCP(called, instructions=about or None, log_level="WARNING")

    async def ask(
        request: str, ctx: Context[Any, Any, Any], thread: str | None = None
    ) -> types.CallToolResult:
        call = _TeamCall(team, thread or uuid.uuid4().hex[:8], ctx, labels)
        return await call.run({"messages": [("user", request)]})

    async def answer(thread: str, answer: Any, ctx: Context[Any, Any, Any]) -> types.CallToolResult:
        call = _TeamCall(team, thread, ctx, labels)
        pending = await apending_requests(team, call.config)
        return await call.run(answer_command(pending, answer))

    said = f"{about or f'Ask the team {called}.'} Pass `thread` to go on with a conversation."
    server.add_tool(ask, name=called, description=said)
    more = "Answer the open question of a thread; {id: answer} where it has several."
    server.add_tool(answer, name=f"{called}_answer", description=more)
    return server


class _TeamCall:
    """A call of the tool: runs of one thread until the end, or until nobody answers."""

    def __init__(
        self,
        team: Graph,
        thread: str,
        ctx: Context[Any, Any, Any],
        labels: Mapping[str, Any] | None,
    ) -> None:
        self._team = team
        self._thread = thread
        self._ctx = ctx
        own: EventBus | None = getattr(getattr(team, "facts", None), "events", None)
        self._bus = own or EventBus(history=0)
        self.config: RunnableConfig = {
            "configurable": {"thread_id": thread, BUS: self._bus},
            "metadata": {**(labels or {})},
        }
        self._loop = asyncio.get_running_loop()
        self._told: list[asyncio.Task[None]] = []

    async def run(self, given: Any) -> types.CallToolResult:
        """Run the team, and ask the client what it asks."""
        while True:
            hear = self._bus.on(
                PROGRESS, self._hear, where=lambda event: event.source == self._thread
            )
            try:
                values = as_dict(await self._team.ainvoke(given, self.config))
            finally:
                self._bus.off(hear)
            await asyncio.gather(*self._told)
            pending = await apending_requests(self._team, self.config)
            answers = await self._ask_all(pending) if pending else {}
            if not answers:
                return self._result(values, pending)
            given = answer_command(pending, answers)

    def _hear(self, event: Event) -> None:
        self._loop.call_soon_threadsafe(self._report, event)

    def _report(self, event: Event) -> None:
        """Tell the client how far the team is; a client that does not ask for it hears nothing."""
        done = "works" if event.type is WorkflowEventType.TASK_STARTED else "is done"
        said = f"{event.facts.get('path')} {done}"
        told = self._ctx.report_progress(len(self._told) + 1, message=said)
        self._told.append(self._loop.create_task(told))

    async def _ask_all(self, pending: Sequence[PendingRequest]) -> dict[str, Any]:
        """Ask the client all open questions; nothing where it cannot be asked, or does not say."""
        wanted = types.ClientCapabilities(elicitation=types.ElicitationCapability())
        if not self._ctx.session.check_client_capability(wanted):
            return {}
        found = {request.id: await self._ask(request) for request in pending}
        return {name: answer for name, answer in found.items() if answer is not None}

    async def _ask(self, request: PendingRequest) -> Any:
        """Ask one question; None: it stays open."""
        fault = ""
        for _ in range(TRIES):
            said = await self._ctx.session.elicit_form(
                f"{request.prompt}{fault}", _form(request), self._ctx.request_id
            )
            if said.action == "decline" and is_approval(request.value):
                return {"type": "reject"}
            if said.action != "accept":
                return None
            answer = _read_form(request, said.content or {})
            try:
                answer_command([request], {request.id: answer})
            except AnswerError as error:
                fault = f"\n{error}"
            else:
                return answer
        return None

    def _result(
        self, values: Mapping[str, Any], pending: Sequence[PendingRequest]
    ) -> types.CallToolResult:
        """Write what a client gets: the answer, or the open questions."""
        messages: Sequence[BaseMessage] = values.get("messages") or ()
        status = "waiting" if pending else str(values.get("status") or "completed")
        facts = {"thread": self._thread, "status": status}
        if pending:
            asked = [request.as_json() for request in pending]
            text = json.dumps({**facts, "questions": asked}, ensure_ascii=False, default=str)
            return types.CallToolResult(
                content=[types.TextContent(type="text", text=text)],
                structuredContent={**facts, "questions": asked},
            )
        content: list[types.ContentBlock] = []
        text = messages[-1].text if messages else ""
        failed = status != "completed"
        if failed:
            text = f"{status}: {values.get('reason')}\n\n{text}".strip()
        content.append(types.TextContent(type="text", text=text))
        content += filter(None, map(_block, messages[-1].content_blocks if messages else ()))
        return types.CallToolResult(
            content=content,
            structuredContent={**facts, "answer": text},
            isError=failed,
        )


async def serve_http(
    server: "FastMCP[Any]", port: int, token: SecretStr | None, ready: Callable[[int], None]
) -> None:
    """Serve by streamable HTTP on this machine until the process is told to end.

    Args:
        server: What `create_mcp_server` returns.
        port: The port; 0: any that is free.
        token: What callers send as `authorization: Bearer ...`. None: nothing.
        ready: Is told the port when it is open.

    Raises:
        ConfigurationError: The port is taken.
    """
    app = CallGuard(server.streamable_http_app(), token=token, hosts=HOSTS)
    try:
        opened = socket.create_server((server.settings.host, port))
    except OSError as error:
        raise ConfigurationError(
            f"The port {port} cannot be opened: {error.strerror}. Choose another with --port."
        ) from error
    with opened:
        ready(opened.getsockname()[1])
        settings = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3)
        await uvicorn.Server(settings).serve(sockets=[opened])


def _block(block: Any) -> types.ContentBlock | None:
    """Write a picture or a sound of an answer; a text, or what is sent by a URL, is none."""
    kind, data = block["type"], block.get("base64")
    if data and kind == "image":
        return types.ImageContent(type="image", data=data, mimeType=block["mime_type"])
    if data and kind == "audio":
        return types.AudioContent(type="audio", data=data, mimeType=block["mime_type"])
    return None


def _form(request: PendingRequest) -> dict[str, Any]:
    """Write the form of a question: clients show fields of plain values, and nothing deeper."""
    if is_approval(request.value):
        words = ["approve", "reject"]
        fields: dict[str, Any] = {
            "decision": {"type": "string", "enum": words},
            "message": {"type": "string", "description": "Why it is rejected."},
        }
        return {"type": "object", "properties": fields, "required": ["decision"]}
    schema = as_dict(request.schema)
    if _is_flat(schema):
        return schema
    if schema.get("type") in _PLAIN:
        return _one_field(schema)
    described = f"JSON: {json.dumps(schema)[:1_000]}" if schema else ""
    return _one_field({"type": "string", **({"description": described} if described else {})})


def _one_field(field: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {"answer": dict(field)}, "required": ["answer"]}


def _is_flat(schema: Mapping[str, Any]) -> bool:
    """Whether a schema is a form of plain values."""
    fields = as_dict(schema.get("properties"))
    plain = (as_dict(field).get("type") in _PLAIN for field in fields.values())
    return schema.get("type") == "object" and bool(fields) and all(plain)


def _read_form(request: PendingRequest, content: Mapping[str, Any]) -> Any:
    """Read a filled form as the answer that the team waits for."""
    if is_approval(request.value):
        decision: dict[str, Any] = {"type": content.get("decision")}
        if decision["type"] == "reject" and content.get("message"):
            decision["message"] = content["message"]
        return decision
    schema = as_dict(request.schema)
    if _is_flat(schema):
        return dict(content)
    answer = content.get("answer")
    if schema and schema.get("type") not in _PLAIN and isinstance(answer, str):
        try:
            return json.loads(answer)
        except ValueError:
            return answer
    return answer
