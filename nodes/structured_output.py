"""Asking a chat model for one object: by a tool that it has to call, a JSON schema, or JSON text.

Providers and servers differ in what they enforce, so the method is learned: what a model refuses,
or its server ignores, is tried once. Tests: tests/nodes/test_structured_output.py.
"""

import logging
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AnyMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.errors import GraphBubbleUp
from pydantic import ValidationError

from asterism.core.agent_spec import innermost_model
from asterism.core.decision_schema import describe_shape, flat_schema, strict_schema
from asterism.core.defaults import METHOD_VARIABLE, METHODS, Method
from asterism.core.model_input import prepare_messages
from asterism.core.supervisor_decision import check_call_names, is_whole
from asterism.core.sync_async import Call, Steps
from asterism.core.values import describe_error
from asterism.errors import AsterismError, BadDecisionError, ConfigurationError
from asterism.limits.failure_policies import status_of
from asterism.nodes.view import SUPERVISOR_RUN_CONFIG

log = logging.getLogger(__name__)

_REFUSALS = ("tool", "function", "response_format", "json_schema", "structured", "schema")
"""Words of a status 400 that say the method is not supported, and not the request."""


class StructuredOutput:
    """A chat model that answers with one object, by the first method that it is able to use.

    Args:
        model: The chat model, also with fallbacks or bound arguments.
        method: How it is asked. None: what its profile says, then what it shows in the run.
    """

    def __init__(self, model: Runnable[Any, AIMessage], method: Method | None = None) -> None:
        self.model = model
        self._inner = innermost_model(model)
        self._needs_cache_mark = all(_is_a(one, "ChatAnthropic") for one in _all_inside(model))
        chosen = method or os.environ.get(METHOD_VARIABLE)
        if chosen and chosen not in METHODS:
            raise ConfigurationError(f"decisions is {chosen!r}; allowed: {', '.join(METHODS)}.")
        self._chosen: Method | None = next((m for m in METHODS if m == chosen), None)
        self._usual: Method = _usual_method(self._inner)
        self._bound: dict[tuple[Method, int], tuple[Any, Runnable[Any, AIMessage]]] = {}

    @property
    def method(self) -> Method:
        """The method of the next call."""
        return self._chosen or _learned.get(id(self._inner)) or self._usual

    def ask(
        self,
        messages: Sequence[AnyMessage],
        schema: Any,
        *,
        strict: bool = False,
        config: RunnableConfig | None = SUPERVISOR_RUN_CONFIG,
    ) -> Steps[AIMessage]:
        """Ask the model for an object, and change to the next method where this one fails.

        Args:
            messages: The prompt.
            schema: A JSON schema with a title, or a pydantic model.
            strict: Whether the schema may be rewritten for providers that enforce it.
            config: That of the call.

        Raises:
            BadDecisionError: The answer cannot be read, or the model called another tool.
            Exception: What the model raised.
        """
        while True:
            method = self.method
            try:
                bound = self._bind(schema, strict)
                said = yield from call_model(bound, self.prompt_for(messages, schema), config)
            except (GraphBubbleUp, AsterismError):
                raise
            except Exception as error:
                if not self._is_refused(error):
                    raise
                log.info("the model refused %r: %s", method, describe_error(error))
                self._change_method(method)
                continue
            if method == "tool" and not self._chosen and _is_prose(said):
                self._change_method(method)
            check_call_names(said, [_name(schema)])
            return said

    def prompt_for(self, messages: Sequence[AnyMessage], schema: Any) -> list[AnyMessage]:
        """Write a prompt as this model needs it.

        It names the fields of the object where nothing else does, and has a mark where a cache
        asks for one.
        """
        return self.with_cache_mark(self._with_shape(messages, schema))

    def with_cache_mark(self, messages: Sequence[AnyMessage]) -> list[AnyMessage]:
        """Mark the rules of a prompt for Anthropic's cache, which keeps nothing by itself.

        What stands before the mark is kept: the tools, which come first there, and the rules.
        """
        first = messages[0] if messages else None
        if not self._needs_cache_mark or not isinstance(first, SystemMessage):
            return list(messages)
        if not isinstance(first.content, str):
            return list(messages)
        block: dict[str, Any] = {"type": "text", "text": first.content}
        marked = [{**block, "cache_control": {"type": "ephemeral"}}]
        return [first.model_copy(update={"content": marked}), *messages[1:]]

    def _with_shape(self, messages: Sequence[AnyMessage], schema: Any) -> list[AnyMessage]:
        if self.method != "json":
            return list(messages)
        shape = describe_shape(_parameters(schema))
        text = f"Answer with one JSON object and nothing else: {shape}"
        first = messages[0] if messages else None
        if isinstance(first, SystemMessage):
            return [SystemMessage(f"{first.text}\n\n{text}"), *messages[1:]]
        return [SystemMessage(text), *messages]

    def _bind(self, schema: Any, strict: bool) -> Runnable[Any, AIMessage]:
        """Bind a schema to the model, once for each method."""
        key = self.method, id(schema)
        if key not in self._bound:
            bound = bind_inside(
                self.model, lambda model: bind_method(model, self.method, schema, strict=strict)
            )
            self._bound[key] = schema, bound  # the schema is kept, so that its id stays its own
        return self._bound[key][1]

    def _is_refused(self, error: Exception) -> bool:
        """Whether a model or its server does not know the method."""
        if self._chosen or self.method == "json":
            return False
        if isinstance(error, MethodRefusedError):
            return True
        words = str(error).lower()
        return status_of(error) in (400, 422, 501) and any(word in words for word in _REFUSALS)

    def _change_method(self, failed: Method) -> None:
        """Go on with the next method, unless another call of the model has done so already."""
        if self.method != failed:
            return
        following = METHODS[METHODS.index(failed) + 1 :]
        inner = self._inner
        if id(inner) not in _learned:
            weakref.finalize(inner, _learned.pop, id(inner), None)
        _learned[id(inner)] = next(m for m in following if m == "json" or _has_schemas(inner))


_learned: dict[int, Method] = {}
"""The methods that models have shown to need, by the id of the model while it lives."""

_UNREADABLE = (ValidationError, OutputParserException, LookupError, TypeError, AttributeError)
"""What clients raise for an answer that is not in the form of their provider."""


def call_model(
    model: Runnable[Any, AIMessage],
    messages: Sequence[AnyMessage],
    config: RunnableConfig | None = SUPERVISOR_RUN_CONFIG,
) -> Steps[AIMessage]:
    """Call a model, and make an answer that its client cannot read one that can be repaired.

    Raises:
        BadDecisionError: The answer is not in the form of the provider.
        Exception: What else the model raised.
    """
    try:
        sent = prepare_messages(messages)
        said: AIMessage = yield Call(model.invoke, model.ainvoke, (sent, config))
    except (GraphBubbleUp, AsterismError):
        raise
    except _UNREADABLE as error:
        if status_of(error) is not None:
            raise
        log.warning("an answer of the model could not be read", exc_info=True)
        fault = f"the answer could not be read ({describe_error(error)})"
        raise BadDecisionError(fault) from error
    return said


def _is_a(model: Any, name: str) -> bool:
    """Whether a model is of a class that need not be installed."""
    return any(kind.__name__ == name for kind in type(model).__mro__)


def _all_inside(model: Any) -> list[Any]:
    """Return the chat models inside of fallbacks and bound arguments."""
    if (first := getattr(model, "runnable", None)) is not None:
        return [one for part in (first, *model.fallbacks) for one in _all_inside(part)]
    bound = getattr(model, "bound", None)
    return [model] if bound is None else _all_inside(bound)


class MethodRefusedError(Exception):
    """The class of a model does not offer a method."""


def _usual_method(model: Any) -> Method:
    """Choose the first method by the model's profile, where it has one."""
    profile: Mapping[str, Any] = getattr(model, "profile", None) or {}
    if profile.get("tool_calling", True) and profile.get("tool_choice", True):
        return "tool"
    return "json_schema" if profile.get("structured_output") and _has_schemas(model) else "json"


def bind_method(
    model: Any, method: Method, schema: Any, *, strict: bool
) -> Runnable[Any, AIMessage]:
    """Bind a schema to a chat model by one method.

    Raises:
        MethodRefusedError: The model's class does not offer the method.
    """
    bound: Runnable[Any, AIMessage] = model
    if method == "json":
        return bound
    enforced = strict and _is_strict(model)
    if strict and _is_a(model, "ChatOllama"):
        schema = flat_schema(schema)
    if enforced:
        schema = strict_schema(schema)
    name = _name(schema)
    options: dict[str, Any] = {"strict": True} if enforced else {}
    try:
        if method == "tool":
            tool = convert_to_openai_tool(schema)
            tool["function"] |= {"name": name, **options}
            bound = model.bind_tools([tool], tool_choice=name)
        else:
            options |= {"method": "json_schema", "include_raw": True}
            bound = model.with_structured_output(schema, **options) | itemgetter("raw")
        return bound
    except (NotImplementedError, AttributeError, ValueError, TypeError) as error:
        raise MethodRefusedError(describe_error(error)) from error


def bind_inside(model: Any, bind: Callable[[Any], Runnable[Any, AIMessage]]) -> Any:
    """Bind the model that lies inside of fallbacks and bound arguments, which are kept."""
    if hasattr(model, "runnable"):  # with fallbacks
        inner = [bind_inside(one, bind) for one in (model.runnable, *model.fallbacks)]
        return model.model_copy(update={"runnable": inner[0], "fallbacks": inner[1:]})
    if hasattr(model, "bound"):  # with bound arguments, a config, retries
        own = {k: v for k, v in model.kwargs.items() if k not in ("tools", "tool_choice")}
        return model.model_copy(update={"bound": bind_inside(model.bound, bind), "kwargs": own})
    return bind(model)


def _has_schemas(model: Any) -> bool:
    """Whether a model's class has a method of its own for JSON schemas."""
    from langchain_core.language_models import BaseChatModel

    own = getattr(innermost_model(model).__class__, "with_structured_output", None)
    return own not in (None, BaseChatModel.with_structured_output)


def _is_strict(model: Any) -> bool:
    """Whether a model's provider enforces strict schemas: OpenAI and Azure, by their profile."""
    names = {kind.__name__ for kind in type(model).__mro__}
    profile: Mapping[str, Any] = getattr(model, "profile", None) or {}
    other_host = getattr(model, "openai_api_base", None) or os.environ.get("OPENAI_BASE_URL")
    own_host = "AzureChatOpenAI" in names or not other_host
    return "BaseChatOpenAI" in names and own_host and bool(profile.get("structured_output"))


def _is_prose(said: AIMessage) -> bool:
    """Whether a whole answer calls no tool although it had to."""
    return not said.tool_calls and not said.invalid_tool_calls and is_whole(said)


def _name(schema: Any) -> str:
    return str(getattr(schema, "__name__", None) or schema["title"])


def _parameters(schema: Any) -> Mapping[str, Any]:
    parameters: Mapping[str, Any] = convert_to_openai_tool(schema)["function"].get("parameters", {})
    return parameters
