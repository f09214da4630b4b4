"""Tools of MCP servers: one session with a server for as long as a run, questions as interrupts.

Needs `langchain-mcp-adapters`: pip install 'asterism-agents[mcp]'.
Tests: tests/nodes/remote/test_mcp_tools.py.
"""

import asyncio
import json
import os
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import redirect_stderr
from contextvars import Context, copy_context
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tools import BaseTool
from langgraph.errors import GraphBubbleUp
from langgraph.types import interrupt

from asterism.core.supervisor_decision import HumanFeedbackRequest
from asterism.core.sync_async import run_coroutine
from asterism.core.values import as_dict, describe_error, redact
from asterism.errors import RemoteConnectionError
from asterism.nodes.middleware import prepare_tool
from asterism.nodes.run_context import BACKGROUND, RunContext

if TYPE_CHECKING:
    from langchain_mcp_adapters.sessions import Connection
    from mcp.types import CallToolResult, ElicitRequestParams, ElicitResult, ListToolsResult

DECLINE = "decline"
"""The answer by which a person refuses a question of a server."""
CLOSE_SECONDS = 5.0
"""Seconds that a server may take to end a session."""
_WORDS = {"yes": True, "no": False}


def load_mcp_tools(
    servers: "Mapping[str, Connection | Mapping[str, Any]]", *, prefix: bool = False
) -> list[BaseTool]:
    """Load the tools of MCP servers for a participant; they work in sync and async.

    In a run of a workflow, all calls of a server share one session, which ends with the run;
    one call at a time, so that a question of the server belongs to a call. Elsewhere each call
    has a session of its own. What a server asks while a tool runs (elicitation) is an interrupt:
    the call is made again with the answer.

    Args:
        servers: By name, as `MultiServerMCPClient` takes them: `{"transport": "stdio", "command":
            ..., "args": [...]}` or `{"transport": "http", "url": ...}`.
        prefix: Whether the names of the tools begin with the name of their server.

    Raises:
        RemoteConnectionError: A server cannot be reached.
        ImportError: The extra is missing.
    """
    return run_coroutine(aload_mcp_tools(servers, prefix=prefix))


async def aload_mcp_tools(
    servers: "Mapping[str, Connection | Mapping[str, Any]]", *, prefix: bool = False
) -> list[BaseTool]:
    """Load the tools of MCP servers for a participant; see `load_mcp_tools`."""
    try:
        # `mcp` keeps it for servers that it starts; one of a notebook or a test is no real file
        with redirect_stderr(sys.__stderr__):
            from langchain_mcp_adapters.tools import load_mcp_tools as load
    except ImportError as error:
        raise ImportError("MCP needs packages: pip install 'asterism-agents[mcp]'.") from error

    found: list[BaseTool] = []
    for name, connection in servers.items():
        session = cast(Any, _Server(name, as_dict(connection)))
        found += await load(session, server_name=name, tool_name_prefix=prefix)
    return [prepare_tool(tool) for tool in found]


class _Server:
    """A server as the adapters call it: like a session, but with one session for each run."""

    def __init__(self, name: str, connection: dict[str, Any]) -> None:
        self._name = name
        self._connection = connection

    async def list_tools(self, cursor: str | None = None) -> "ListToolsResult":
        session = _Session(self._name, self._connection)
        try:
            found: ListToolsResult = await session.call("list_tools", cursor=cursor)
            return found
        finally:
            await asyncio.wrap_future(session.close())

    async def call_tool(
        self, name: str, arguments: dict[str, Any], progress_callback: Any = None
    ) -> "CallToolResult":
        config = var_child_runnable_config.get() or {}
        run: RunContext | None = as_dict(config.get("configurable")).get(BACKGROUND)
        given = {"name": name, "arguments": arguments, "progress_callback": progress_callback}
        if run is not None:
            session = run.keep(self, lambda: _Session(self._name, self._connection))
            kept: CallToolResult = await session.call("call_tool", **given)
            return kept
        session = _Session(self._name, self._connection)
        try:
            result: CallToolResult = await session.call("call_tool", **given)
            return result
        finally:
            await asyncio.wrap_future(session.close())


@cache
def _session_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop of all sessions: sync and async runs share them."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="asterism mcp", daemon=True).start()
    return loop


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_session_loop.cache_clear)


class _Session:
    """A session with a server, opened by its first call, in a task of its own.

    What opens a session of `mcp` must also close it, so calls of other tasks come here.
    """

    def __init__(self, name: str, connection: dict[str, Any]) -> None:
        self._name = name
        self._connection = connection
        self._loop = _session_loop()
        self._lock = asyncio.Lock()
        self._ended = asyncio.Event()
        self._ready: asyncio.Future[Any] | None = None
        self._owner: asyncio.Task[None] | None = None
        self._context = copy_context()
        self._question: GraphBubbleUp | None = None

    async def call(self, method: str, **arguments: Any) -> Any:
        """Call a method of the session, and raise the interrupt of a question that it asks."""
        work = self._call(copy_context(), method, arguments)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def close(self) -> "Future[None]":
        """End the session; the result tells when it has ended."""
        return asyncio.run_coroutine_threadsafe(self._close(), self._loop)

    async def _call(self, context: Context, method: str, arguments: dict[str, Any]) -> Any:
        from mcp.shared.exceptions import McpError

        async with self._lock:
            if self._owner is None or self._owner.done():
                self._ready = self._loop.create_future()
                self._owner = self._loop.create_task(self._live(self._ready))
            assert self._ready is not None
            session = await asyncio.shield(self._ready)
            self._context, self._question = context, None
            call = asyncio.ensure_future(getattr(session, method)(**arguments))
            try:
                await asyncio.wait({call, self._owner}, return_when=asyncio.FIRST_COMPLETED)
                if not call.done():
                    raise self._lost("the session ended while a call waited")
                result = call.result()
            except McpError as error:
                if self._question is not None:
                    raise self._question from None
                raise (self._lost(str(error)) if self._owner.done() else error) from None
            except (OSError, EOFError) as error:
                raise self._lost(describe_error(error)) from error
            finally:
                call.cancel()
            if self._question is not None:
                raise self._question
            return result

    async def _live(self, ready: "asyncio.Future[Any]") -> None:
        """Open the session and keep it until it is closed."""
        from langchain_mcp_adapters.callbacks import CallbackContext, Callbacks
        from langchain_mcp_adapters.sessions import create_session

        async def elicit(mcp_context: Any, params: Any, context: Any) -> "ElicitResult":
            return self._ask(params)

        about = CallbackContext(server_name=self._name)
        callbacks = Callbacks(on_elicitation=elicit).to_mcp_format(context=about)
        try:
            connection = cast(Any, self._connection)
            async with create_session(connection, mcp_callbacks=callbacks) as session:
                await session.initialize()
                ready.set_result(session)
                await self._ended.wait()
        except Exception as error:  # noqa: BLE001 - raised by the call that waits for the session
            if not ready.done():
                ready.set_exception(self._lost(describe_error(_innermost(error))))

    async def _close(self) -> None:
        self._ended.set()
        if self._owner is not None:
            await asyncio.wait({self._owner}, timeout=CLOSE_SECONDS)
            self._owner.cancel()

    def _ask(self, asked: "ElicitRequestParams") -> "ElicitResult":
        """Answer a question of the server with what a person said, or stop the call to ask."""
        from mcp.types import ElicitResult

        schema = as_dict(getattr(asked, "requestedSchema", None))
        address = getattr(asked, "url", None)
        prompt = f"{asked.message} {address}" if address else asked.message
        request = HumanFeedbackRequest(
            prompt=prompt,
            context={"server": self._name},
            request_type="question",
            requesting_agent=self._name,
        ).model_dump()
        try:
            answer = self._context.run(interrupt, request, response_schema=_answer_schema(schema))
        except GraphBubbleUp as question:
            self._question = question
            return ElicitResult(action="cancel")
        except (KeyError, RuntimeError):  # outside of a run with a checkpointer nobody is asked
            return ElicitResult(action="cancel")
        if isinstance(answer, str) and answer.strip().lower() == DECLINE:
            return ElicitResult(action="decline")
        return ElicitResult(action="accept", content=_answer_content(answer, schema))

    def _lost(self, why: str) -> RemoteConnectionError:
        return RemoteConnectionError(f"the MCP server {self._name!r} cannot be used: {redact(why)}")


def _innermost(error: BaseException) -> BaseException:
    """Return the first error inside of groups of errors."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


def _answer_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Write the schema of an answer: the form, a refusal, or the one value of a form."""
    fields = as_dict(schema.get("properties"))
    text = {"type": "string", "minLength": 1} if len(fields) < 2 else {"const": DECLINE}
    return {"anyOf": [schema, text]} if schema else text


def _answer_content(answer: Any, schema: dict[str, Any]) -> dict[str, Any] | None:
    """Write an answer as the form that the server asked for."""
    fields = as_dict(schema.get("properties"))
    if not isinstance(answer, str) or len(fields) != 1:
        return as_dict(answer) or None
    ((name, about),) = fields.items()
    if as_dict(about).get("type") not in ("boolean", "integer", "number"):
        return {name: answer}
    said = answer.strip().lower()
    try:
        return {name: _WORDS[said] if said in _WORDS else json.loads(said)}
    except ValueError:
        return {name: answer}
