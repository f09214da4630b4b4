"""The default decider: a chat model that answers with a `SupervisorDecision`."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, SystemMessage
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool

from asterism.decisions import SupervisorDecision
from asterism.digests import DIGEST_TOKENS
from asterism.models import ModelLike, resolve_model
from asterism.nodes.view import SPEAKER, SupervisorView, asides, conversation, has_digests
from asterism.prompts import render
from asterism.schemas import decision_schema

_TOOL = SupervisorDecision.__name__


class ModelDecider:
    """Asks a chat model for a decision.

    The schema goes to the model as a tool that it has to call, which nearly every provider
    offers; a model without tools is asked for the same object as JSON text. The answer is
    handed on unread: whoever asks checks it.
    """

    def __init__(
        self,
        model: Runnable[Any, AIMessage],
        participants_description_block: str,
        *,
        prompt: str | None = None,
        digest_tokens: int | None = DIGEST_TOKENS,
        once: bool = False,
    ) -> None:
        self._model = model
        self._once = once
        self._block = participants_description_block
        self._instructions = prompt or ""
        self._digest_tokens = digest_tokens
        self._bound: dict[tuple[tuple[str, ...], bool], Runnable[Any, AIMessage]] = {}

    def decide(self, view: SupervisorView) -> AIMessage | SupervisorDecision:
        """Ask the model."""
        if self._is_done(view):
            return SupervisorDecision(next_agent=None)
        return self._for(view).invoke(self.prompt(view), SPEAKER)

    async def adecide(self, view: SupervisorView) -> AIMessage | SupervisorDecision:
        """Ask the model."""
        if self._is_done(view):
            return SupervisorDecision(next_agent=None)
        return await self._for(view).ainvoke(self.prompt(view), SPEAKER)

    def prompt(self, view: SupervisorView) -> list[AnyMessage]:
        """Write what the model is sent: the rules, the conversation, what was said to it."""
        names = ", ".join(view.participants)
        system = render(
            "supervisor",
            participants=self._block,
            instructions=self._instructions,
            shape="" if self._for(view) is not self._model else render("shape", names=names),
        ).replace("\n\n\n", "\n\n")
        shown = conversation(view.messages, digest_tokens=self._digest_tokens)
        return [SystemMessage(system), *shown, *asides(view, names)]

    def _is_done(self, view: SupervisorView) -> bool:
        """Whether nothing is left to decide: all that the model asked for has gone well."""
        well = bool(view.reports) and all(report["status"] == "ok" for report in view.reports)
        return self._once and well and not view.complaints

    def _for(self, view: SupervisorView) -> Runnable[Any, AIMessage]:
        """Bind the schema of the live participants, once for each team."""
        names = tuple(view.participants)
        reads = has_digests(view.messages, self._digest_tokens)
        if (names, reads) not in self._bound:
            schema = decision_schema(names, reads=reads)
            self._bound[names, reads] = bind_schema(self._model, schema, _TOOL)
        return self._bound[names, reads]


def bind_schema(
    model: Runnable[Any, AIMessage], schema: type[Any], name: str
) -> Runnable[Any, AIMessage]:
    """Bind a schema to a model as the one tool that it has to call, where it can."""
    tool = convert_to_openai_tool(schema)
    tool["function"]["name"] = name
    try:
        bound: Runnable[Any, AIMessage] = cast(Any, model).bind_tools([tool], tool_choice=name)
    except (NotImplementedError, AttributeError):
        return model
    return bound


def create_supervisor_agent(
    model: ModelLike,
    participants_description_block: str,
    **kwargs: Any,
) -> ModelDecider:
    """Create the default decider.

    Args:
        model: A chat model, a `"provider:model"` name, or `"offline"`.
        participants_description_block: What the model is told about the team, one line each;
            `describe_participants` writes it.
        **kwargs: `prompt`, further instructions for the supervisor; `digest_tokens`, above how
            many tokens a report is shown as a digest, None for never; `once`, whether the model
            decides once for a request, and is asked again only where something went wrong.

    Raises:
        ModelNotFoundError: The model cannot be used; the message says why.
    """
    return ModelDecider(resolve_model(model), participants_description_block, **kwargs)


def describe_participants(descriptions: Mapping[str, str]) -> str:
    """Write the lines of the prompt that tell who is in the team."""
    return "\n".join(f"- {name}: {text}" for name, text in descriptions.items())


def is_model(thing: object) -> bool:
    """Whether `thing` is a chat model, plain or with fallbacks or bound arguments."""
    inner = thing
    for attribute in ("runnable", "bound"):
        inner = getattr(inner, attribute, inner)
    return isinstance(inner, BaseChatModel)


__all__: Sequence[str] = (
    "ModelDecider",
    "bind_schema",
    "create_supervisor_agent",
    "describe_participants",
    "is_model",
)
