"""Middleware for agents: what LangChain has no own for."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, NotRequired, cast

from langgraph.config import get_config
from langgraph.types import Command

from asterism.compaction import Compaction
from asterism.context import ContextManager
from asterism.effects import Steps, arun, run
from asterism.nodes.compacting import Compactor
from asterism.nodes.context import workflow_path

if TYPE_CHECKING:
    from langchain.agents.middleware import AgentMiddleware


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
