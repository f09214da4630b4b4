"""Middleware for agents, and what becomes of the errors of their tools."""

import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, NotRequired, cast

from langchain_core.messages import SystemMessage
from langchain_core.tools import BaseTool, StructuredTool
from langchain_core.tools import tool as create_tool
from langgraph.config import get_config
from langgraph.errors import NodeCancelledError, is_invalid_resume
from langgraph.types import Command

from asterism.compaction import Compaction
from asterism.context import ContextManager
from asterism.effects import Steps, arun, is_async, run, run_coroutine
from asterism.errors import AbandonedError, BudgetExceededError, CircuitOpenError, StorageError
from asterism.model_input import prepare_messages, without_reasoning
from asterism.nodes.compacting import Compactor
from asterism.nodes.context import workflow_path
from asterism.redaction import describe_error, log_failure
from asterism.runs import is_async_tool

if TYPE_CHECKING:
    from langchain.agents.middleware import AgentMiddleware

_log = logging.getLogger(__name__)

ENDS_VISIT = (
    AbandonedError,
    BudgetExceededError,
    CancelledError,
    CircuitOpenError,
    ConnectionError,
    MemoryError,
    NodeCancelledError,
    RuntimeError,
    StorageError,
    TimeoutError,
)
"""The errors of tools that no model can mend: they end the visit. Interrupts do so anyhow.

What is down or broken stays so however the tool is called; a `RetryPolicy` sees to that.
"""


def tool_error_text(error: Exception, name: str = "") -> str:
    """Write what a model is told of a tool that failed, so that it may try again or say so.

    Raises:
        Exception: The error itself, where it ends the visit.
    """
    from langgraph.prebuilt.tool_node import ToolInvocationError

    if isinstance(error, ToolInvocationError):
        return str(error.message)
    if isinstance(error, ENDS_VISIT) or is_invalid_resume(error):
        raise error
    log_failure(_log, "the tool %s failed", name or "of an agent", error=error)
    return f"Error: {describe_error(error)}"


def tool_errors_middleware() -> "AgentMiddleware[Any, Any, Any]":
    """Give the errors of an agent's tools to its model, as the results of its calls.

    A tool whose result is the answer (`return_direct`) has no model after it, so its errors end
    the visit; those of a tool that cannot be called in sync do so as well.
    """
    from langchain.agents.middleware import ToolErrorMiddleware

    def text(error: Exception, request: Any) -> str | None:
        tool = request.tool
        if tool is not None and tool.return_direct:
            return None
        return tool_error_text(error, request.tool_call["name"])

    def text_in_sync(error: Exception, request: Any) -> str | None:
        own = getattr(type(request.tool), "_arun", BaseTool._arun)
        if isinstance(error, NotImplementedError) and own is not BaseTool._arun:
            raise NotImplementedError(f"{error} Call the workflow with ainvoke.") from error
        return text(error, request)

    async def text_in_async(error: Exception, request: Any) -> str | None:
        return text(error, request)

    return ToolErrorMiddleware(text_in_sync, aon_error=text_in_async)


def prompt_middleware(model: Any) -> "AgentMiddleware[Any, Any, Any]":
    """Send an agent's prompts as every provider accepts them.

    Args:
        model: The agent's own model; another one is not sent its thoughts.
    """
    from langchain.agents.middleware import AgentMiddleware

    class PromptMiddleware(AgentMiddleware[Any, Any, Any]):
        def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
            return handler(prepared(request))

        async def awrap_model_call(
            self, request: Any, handler: Callable[[Any], Awaitable[Any]]
        ) -> Any:
            return await handler(prepared(request))

    def prepared(request: Any) -> Any:
        given: list[Any] = request.messages
        if request.model is not model:
            given = without_reasoning(given, "")
        rules = [] if request.system_message is None else [request.system_message]
        first, *rest = [*prepare_messages([*rules, *given])]
        if isinstance(first, SystemMessage):
            return request.override(messages=rest, system_message=first)
        return request.override(messages=[first, *rest])

    return cast("AgentMiddleware[Any, Any, Any]", PromptMiddleware())


def callable_in_sync(tool: Any) -> Any:
    """Return a tool that can be called in sync as well, where its function is async alone."""
    if not isinstance(tool, BaseTool) and callable(tool) and is_async(tool):
        tool = create_tool(tool)
    if not (isinstance(tool, StructuredTool) and is_async_tool(tool)):
        return tool
    coroutine: Callable[..., Any] = cast(Any, tool).coroutine

    @wraps(coroutine)
    def call(*args: Any, **kwargs: Any) -> Any:
        return run_coroutine(coroutine(*args, **kwargs))

    return tool.model_copy(update={"func": call})


def context_middleware(
    manager: ContextManager, model: Any = None
) -> "AgentMiddleware[Any, Any, Any]":
    """Keep the prompts of an agent of your own to a policy; its history stays whole.

    Args:
        manager: The policy.
        model: Who counts and writes summaries. None: the agent's model.

    Example:
        ```python
        agent = create_agent(
            "openai:gpt-5-mini",
            tools,
            middleware=[context_middleware(ContextManager(max_tokens=8_000))],
        )
        ```
    """
    from langchain.agents.middleware import AgentMiddleware, AgentState, ExtendedModelResponse
    from langchain.agents.middleware.types import PrivateStateAttr

    policy = manager.with_model_made()

    class ContextState(AgentState[Any]):
        compaction: NotRequired[Annotated[dict[str, Any] | None, PrivateStateAttr]]

    class ContextMiddleware(AgentMiddleware[Any, Any, Any]):
        state_schema = ContextState

        def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
            shorter, compaction = run(fitted(request))
            return extended(handler(shorter), compaction)

        async def awrap_model_call(
            self, request: Any, handler: Callable[[Any], Awaitable[Any]]
        ) -> Any:
            shorter, compaction = await arun(fitted(request))
            return extended(await handler(shorter), compaction)

    def fitted(request: Any) -> Steps[tuple[Any, Compaction | None]]:
        config = get_config()
        compactor = Compactor(policy, model if model is not None else request.model)
        rules = [] if request.system_message is None else [request.system_message]
        messages, compaction = yield from compactor.fit(
            request.messages,
            request.state.get("compaction"),
            config,
            path=workflow_path(config),
            write=lambda shown: [*rules, *shown],
        )
        return request.override(messages=messages), compaction

    def extended(response: Any, compaction: Compaction | None) -> Any:
        if compaction is None:
            return response
        update: Command[Any] = Command(update={"compaction": compaction})
        return ExtendedModelResponse(response, update)

    return cast("AgentMiddleware[Any, Any, Any]", ContextMiddleware())
