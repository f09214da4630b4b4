"""Middleware for agents: prompts, step limits, context policies, and errors of tools.

Open it for which tool errors a model sees and which end the visit.
Tests: tests/nodes/test_participant.py, tests/graphs/test_context.py.
"""

import logging
from bisect import insort
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from functools import wraps
from inspect import getdoc
from itertools import takewhile
from typing import TYPE_CHECKING, Annotated, Any, NotRequired, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableBinding
from langchain_core.tools import BaseTool, StructuredTool
from langchain_core.tools import tool as create_tool
from langgraph.config import get_config
from langgraph.errors import GraphRecursionError, NodeCancelledError, is_invalid_resume
from langgraph.types import Command

from asterism.core.agent_spec import MemoryConfig
from asterism.core.continuation import AFTER, HANDOFF
from asterism.core.digests import digest, is_long
from asterism.core.model_input import prepare_messages, without_reasoning
from asterism.core.sync_async import (
    Steps,
    arun_steps,
    is_async,
    no_exit,
    run_coroutine,
    run_steps,
)
from asterism.core.values import describe_error, log_failure
from asterism.errors import (
    AbandonedError,
    BudgetExceededError,
    CircuitOpenError,
    StalledError,
    StorageError,
)
from asterism.nodes.participant_spec import tool_name
from asterism.nodes.report import json_text
from asterism.nodes.run_context import workflow_path
from asterism.nodes.structured_output import bind_inside
from asterism.prompts import render

if TYPE_CHECKING:
    from langchain.agents.middleware import AgentMiddleware

    from asterism.memories.context_policies import Compaction, ContextManager

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


REPEATS = 3
"""How often running the same tool calls may give the same results."""


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
        usual = vars(BaseTool)["_arun"]
        own = getattr(request.tool.__class__, "_arun", usual)
        if isinstance(error, NotImplementedError) and own is not usual:
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


READ_RESULT = "read_result"
"""The tool by which an agent reads a result again that is sent shortened."""


def short_results(
    tools: Sequence[Any], memory: MemoryConfig | None
) -> "list[AgentMiddleware[Any, Any, Any]]":
    """Return the middleware that shortens results of earlier visits, where there can be any.

    Args:
        tools: The agent's tools; one of the name `read_result` is its own.
        memory: What it remembers. None: the default.
    """
    memory = memory or MemoryConfig()
    taken = READ_RESULT in map(tool_name, tools)
    if not tools or not memory.enabled or memory.result_tokens is None or taken:
        return []
    return [earlier_results_middleware(memory.result_tokens)]


def earlier_results_middleware(tokens: int) -> "AgentMiddleware[Any, Any, Any]":
    """Send an agent's model the results of tools of earlier visits shortened.

    Most of what a conversation with tools costs are old results that are sent again and again.
    The history keeps them whole.

    Args:
        tokens: Above how many tokens a result is shortened.
    """
    from langchain.agents.middleware import AgentMiddleware
    from langchain.tools import ToolRuntime

    def read_result(call_id: str, runtime: ToolRuntime[Any, Any]) -> str:
        """Read a result of an earlier task again, whole."""
        for message in runtime.state["messages"]:
            if isinstance(message, ToolMessage) and message.tool_call_id == call_id:
                return message.text
        return f"There is no result {call_id!r}; take the id as it stands under a result."

    class EarlierResultsMiddleware(AgentMiddleware[Any, Any, Any]):
        tools = (create_tool(read_result),)

        def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
            return handler(shorten(request))

        async def awrap_model_call(
            self, request: Any, handler: Callable[[Any], Awaitable[Any]]
        ) -> Any:
            return await handler(shorten(request))

    def shorten(request: Any) -> Any:
        messages: list[Any] = request.messages
        earlier = messages[: len(messages) - len(_in_this_visit(messages))]
        shown = [_shorten_result(message, tokens) for message in earlier]
        if any(short is not whole for short, whole in zip(shown, earlier, strict=True)):
            return request.override(messages=[*shown, *messages[len(earlier) :]])
        tools = [tool for tool in request.tools if getattr(tool, "name", "") != READ_RESULT]
        return request.override(tools=tools)

    return cast("AgentMiddleware[Any, Any, Any]", EarlierResultsMiddleware())


def _shorten_result(message: Any, tokens: int) -> Any:
    if not isinstance(message, ToolMessage) or not isinstance(message.content, str):
        return message
    if not is_long(message.content, tokens):
        return message
    result = digest(message.content, tokens)
    shown = render("earlier_result", result=result, id=message.tool_call_id)
    return message.model_copy(update={"content": shown})


def end_middleware(max_steps: int | None) -> "AgentMiddleware[Any, Any, Any]":
    """End a visit whose model calls tools without end.

    The calls are counted in its history, so that the count goes on after a crash and after an
    answer of a person.

    Args:
        max_steps: How many model calls a visit may make. None: any number.

    Raises:
        GraphRecursionError: It has made as many as it may.
        StalledError: It repeats what it was told not to repeat.
    """
    from langchain.agents.middleware import AgentMiddleware

    class EndMiddleware(AgentMiddleware[Any, Any, Any]):
        def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
            checked, repeated = check(request)
            return refused(handler(checked), repeated)

        async def awrap_model_call(
            self, request: Any, handler: Callable[[Any], Awaitable[Any]]
        ) -> Any:
            checked, repeated = check(request)
            return refused(await handler(checked), repeated)

    def check(request: Any) -> tuple[Any, Sequence[str]]:
        said = _in_this_visit(request.state["messages"])
        if max_steps and sum(isinstance(message, AIMessage) for message in said) >= max_steps:
            raise GraphRecursionError(limit_text(max_steps))
        repeated = _find_repeated_calls(said)
        if not repeated:
            return request, ()
        calls = ", ".join(dict.fromkeys(call.partition(" ")[0] for call in repeated))
        complaint = HumanMessage(render("repeated", calls=calls, times=str(REPEATS)))
        return request.override(messages=[*request.messages, complaint]), repeated

    def refused(response: Any, repeated: Sequence[str]) -> Any:
        if repeated and any(
            _calls(message) == repeated
            for message in response.result
            if isinstance(message, AIMessage)
        ):
            raise StalledError(
                f"it called {', '.join(repeated)} again, which had given the same result "
                f"{REPEATS} times"
            )
        return response

    return cast("AgentMiddleware[Any, Any, Any]", EndMiddleware())


def limit_text(max_steps: int | None) -> str:
    """Say that a visit has taken as many steps as it may, and how it may take more."""
    return (
        f"it reached max_steps={max_steps}, the limit of model calls in one visit, and had no "
        "answer; a higher one is set by Participant(max_steps=...), or for all in the builder"
    )


def _in_this_visit(messages: Sequence[Any]) -> list[Any]:
    """Return the messages since the request of the visit that is under way."""
    marks: Mapping[str, Any] = get_config().get("metadata") or {}
    starts = {marks.get(AFTER), marks.get(HANDOFF)} - {None}
    if not any(message.id in starts for message in messages):  # it was trimmed away
        starts = {m.id for m in messages if isinstance(m, HumanMessage)}
    return [*takewhile(lambda message: message.id not in starts, reversed(messages))][::-1]


def _find_repeated_calls(messages: Sequence[Any]) -> list[str]:
    """Return the tool calls that the last rounds have in common, results too, where enough do.

    The calls of one message are one round.
    """
    rounds: list[tuple[list[str], list[str]]] = []
    for message in messages:
        if isinstance(message, AIMessage) and message.tool_calls:
            rounds.append((_calls(message), []))
        elif isinstance(message, ToolMessage) and rounds:
            insort(rounds[-1][1], f"{message.name} {message.status} {message.content}")
    last = rounds[-REPEATS:]
    return last[0][0] if len(last) == REPEATS and all(one == last[0] for one in last) else []


def _calls(message: AIMessage) -> list[str]:
    """Write the tool calls of a message so that the same calls are the same texts."""
    return sorted(f"{c['name']} {json_text(c['args'])}" for c in message.tool_calls)


class _ToolsInside(RunnableBinding[Any, AIMessage]):
    """A model that keeps its bound arguments, config, retries and fallbacks with tools as well."""

    def bind_tools(self, tools: Sequence[Any], **options: Any) -> Any:
        """Bind tools to the chat model that lies inside."""
        return bind_inside(self.bound, lambda model: model.bind_tools(tools, **options))


def with_tools_inside(model: Any) -> Any:
    """Return a model to which an agent can bind tools without losing what is bound already.

    `create_agent` would reach through to the chat model inside.
    """
    return model if isinstance(model, BaseChatModel) else _ToolsInside(bound=model)


def prepare_tool(tool: Any) -> Any:
    """Return a tool that a model can be offered, sync and async, and that ends no process.

    A function without a docstring is described by its name. asyncio hands a SystemExit past every
    handler to whoever runs the event loop.
    """
    if not isinstance(tool, BaseTool) and callable(tool):
        if not getdoc(tool) and (name := getattr(tool, "__name__", "")):
            tool = create_tool(tool, description=name.replace("_", " "))
        elif is_async(tool):
            tool = create_tool(tool)
    if not (isinstance(tool, StructuredTool) and tool.coroutine is not None):
        return tool
    coroutine = tool.coroutine

    @wraps(coroutine)
    async def acall(*args: Any, **kwargs: Any) -> Any:
        with no_exit():
            return await coroutine(*args, **kwargs)

    @wraps(coroutine)
    def call(*args: Any, **kwargs: Any) -> Any:
        return run_coroutine(acall(*args, **kwargs))

    return tool.model_copy(update={"func": tool.func or call, "coroutine": acall})


def context_middleware(
    manager: "ContextManager", model: Any = None
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

    from asterism.nodes.compaction import Compactor

    policy = manager.with_model_made()

    class ContextState(AgentState[Any]):
        compaction: NotRequired[Annotated[dict[str, Any] | None, PrivateStateAttr]]

    class ContextMiddleware(AgentMiddleware[Any, Any, Any]):
        state_schema = ContextState

        def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
            shorter, compaction = run_steps(fitted(request))
            return extended(handler(shorter), compaction)

        async def awrap_model_call(
            self, request: Any, handler: Callable[[Any], Awaitable[Any]]
        ) -> Any:
            shorter, compaction = await arun_steps(fitted(request))
            return extended(await handler(shorter), compaction)

    def fitted(request: Any) -> "Steps[tuple[Any, Compaction | None]]":
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

    def extended(response: Any, compaction: "Compaction | None") -> Any:
        if compaction is None:
            return response
        update: Command[Any] = Command(update={"compaction": compaction})
        return ExtendedModelResponse(response, update)

    return cast("AgentMiddleware[Any, Any, Any]", ContextMiddleware())
