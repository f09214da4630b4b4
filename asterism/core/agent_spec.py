"""Specs of agents: personality, chat model by name, memory, tools; each can be written as JSON."""

import difflib
import re
from collections.abc import Awaitable, Collection, Coroutine, Mapping, Sequence
from typing import Annotated, Any, Protocol, cast
from weakref import WeakSet

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableWithFallbacks
from langchain_core.runnables.base import RunnableBindingBase
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from asterism.core.defaults import OFFLINE, Method
from asterism.core.sync_async import Started
from asterism.core.values import as_dict, is_number, normal_name
from asterism.errors import ModelNotFoundError
from asterism.moved import NAMES_PAGE

_TRAIT = re.compile(r"^[^\W\d_][\w -]{0,39}$")
_LEVELS = (
    (0.0, "not at all", "no"),
    (0.2, "hardly", "hardly any"),
    (0.4, "a little", "a little"),
    (0.6, "fairly", "a fair amount of"),
    (0.8, "very", "a great deal of"),
    (1.0, "extremely", "exceptional"),
)
"""Up to which value a trait is shown how strongly, before an adjective and before a noun."""
_NOUN = re.compile(
    r"(?:ity|ness|ism|asm|ence|ance|tion|sion|ship|pathy|\w{3}(?:ency|ancy|acy)"
    r"|\b(?:charm|courage|courtesy|curiosity|discipline|drive|focus|honesty|humou?r|initiative"
    r"|loyalty|modesty|rigou?r|warmth|wit))$"
)
"""How the name of a trait ends that is a noun: `creativity`, `openness`, `humor`."""


class Personality(BaseModel):
    """What somebody is like, and how they speak; it becomes a part of their prompt.

    Example:
        ```python
        Personality(traits={"thorough": 0.9, "humorous": 0.2}, style="short, formal sentences")
        ```

    Raises:
        pydantic.ValidationError: A trait has no name, or is not from 0 to 1. It is a
            `ValueError`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    traits: dict[str, float] = Field(
        default_factory=dict[str, float],
        validation_alias=AliasChoices("traits", "personality"),
    )
    """How strongly each trait is shown, from 0 to 1, under an adjective or a noun: `"patient"`,
    `"creativity"`. `personality` is another name for it."""
    style: str = Field(
        default="",
        max_length=500,
        validation_alias=AliasChoices("style", "communication_style"),
    )
    """How they communicate; `communication_style` is another name for it."""

    @field_validator("traits", mode="before")
    @classmethod
    def _within_bounds(cls, traits: object) -> object:
        for name, value in as_dict(traits).items():
            if not _TRAIT.match(str(name)):
                raise ValueError(
                    f"the trait {name!r} has no usable name; allowed: a letter, then letters, "
                    "digits, spaces and hyphens, at most 40"
                )
            if not is_number(value) or not 0 <= value <= 1:
                raise ValueError(f"the trait {name!r} is {value!r}; allowed: 0 to 1")
        return traits

    @field_validator("style")
    @classmethod
    def _one_line(cls, style: str) -> str:
        return " ".join(style.split())

    def sentences(self) -> list[str]:
        """Say what they are like, strongest trait first: the same values, the same words."""
        ordered = sorted(self.traits.items(), key=lambda trait: (-trait[1], trait[0]))
        return [_describe_trait(name.replace("_", "-"), value) for name, value in ordered]


def _describe_trait(name: str, value: float) -> str:
    adverb, amount = next(words for bound, *words in _LEVELS if value <= bound)
    is_noun = _NOUN.search(name.lower())
    return f"You show {amount} {name}." if is_noun else f"You are {adverb} {name}."


ModelLike = str | BaseChatModel | Runnable[Any, AIMessage]
"""A chat model, also with fallbacks or bound arguments, or the name of one."""

_CHAIN: type[Any] = RunnableWithFallbacks
_BINDING: type[Any] = RunnableBindingBase


def resolve_model(model: ModelLike, **options: Any) -> Runnable[Any, AIMessage]:
    """Return the chat model that `model` names.

    Args:
        model: A chat model, which is used as it is, but for `with_stream_usage`; `"offline"`; or
            `"provider:model"`, as `langchain.chat_models.init_chat_model` reads it.
        **options: What a named model is made with, as `temperature`; the offline one has none.

    Raises:
        ModelNotFoundError: The name means nothing, or its package or key is missing.
    """
    if not isinstance(model, str):
        return cast(Runnable[Any, AIMessage], with_stream_usage(model))
    if model == OFFLINE:
        from asterism.offline import OfflineChatModel

        return OfflineChatModel()
    from langchain.chat_models import init_chat_model

    if not model.rpartition(":")[2].strip():
        raise ModelNotFoundError(f"The model {model!r} cannot be used: it has no name. {_NAMES}")
    try:
        made: BaseChatModel = cast(Any, init_chat_model)(model, **options)
    except ImportError as error:
        raise ModelNotFoundError(f"The model {model!r} needs a package: {error}") from error
    except ValueError as error:
        said = str(error).partition("\n")[0]
        said += f" Did you mean {meant!r}?" if (meant := _similar_name(model)) else ""
        raise ModelNotFoundError(f"The model {model!r} cannot be used: {said} {_NAMES}") from error
    except Exception as error:  # each provider has its own for a key that is missing
        raise ModelNotFoundError(f"The model {model!r} cannot be used: {error}") from error
    if variable := _missing_key(made):
        raise ModelNotFoundError(
            f"The model {model!r} cannot be used: it has no key. Set {variable}, or pass api_key."
        )
    return cast(BaseChatModel, with_stream_usage(made))


_NAMES = "Names look like 'openai:gpt-5-mini'; 'offline' needs no key."
_KNOWN_MODELS = (
    "offline openai:gpt-5 openai:gpt-5-mini openai:gpt-5-nano openai:gpt-4.1 openai:gpt-4.1-mini "
    "openai:gpt-4o openai:gpt-4o-mini openai:o3 openai:o4-mini anthropic:claude-opus-4-1 "
    "anthropic:claude-sonnet-4-5 anthropic:claude-haiku-4-5 google_genai:gemini-2.5-pro "
    "google_genai:gemini-2.5-flash mistralai:mistral-large-latest ollama:llama3.2 ollama:qwen3"
).split()
"""Names that a misspelt one is compared with; any other one may be used as well."""


def _similar_name(name: str) -> str | None:
    """Return the known model, or the provider with the same model, that a name is close to."""
    provider, _, model = name.rpartition(":")
    if provider:
        providers = {known.partition(":")[0] for known in _KNOWN_MODELS if ":" in known}
        close = difflib.get_close_matches(provider.lower(), providers, 1)
        if close and close[0] != provider:
            return f"{close[0]}:{model}"
    plain = {_letters(known.rpartition(":")[2]): known for known in reversed(_KNOWN_MODELS)}
    close = difflib.get_close_matches(_letters(model), plain, 1, 0.75)
    return plain[close[0]] if close else None


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _missing_key(model: BaseChatModel) -> str | None:
    """Return the variable of a provider's key where its client would only miss it when called."""
    for name, about in type(model).model_fields.items():
        value = getattr(model, name, None)
        is_key = "api_key" in (name, about.alias)
        if is_key and isinstance(value, SecretStr) and not value.get_secret_value():
            return "its API key" if name == "api_key" else str(name).upper()
    return None


def innermost_model(model: Any) -> Any:
    """Return the chat model inside of fallbacks and bound arguments, in any order."""
    for attribute in ("runnable", "bound"):
        if (inner := getattr(model, attribute, None)) is not None:
            return innermost_model(inner)
    return model


def label_of_model(model: object) -> str:
    """Name a model for people: `provider:model` as it was given, or as the model tells it."""
    if isinstance(model, str):
        return model
    model = innermost_model(model)
    name = getattr(model, "name_of_model", None)  # a model without a provider
    if isinstance(name, str):
        return name
    name = getattr(model, "model_name", None) or getattr(model, "model", None)
    if not isinstance(model, BaseChatModel) or not isinstance(name, str):
        return type(model).__name__
    return f"{cast(Any, model)._get_ls_params().get('ls_provider')}:{name.removeprefix('models/')}"


def with_stream_usage(model: Any) -> Any:
    """Return a model that asks for its usage when it is streamed, unless it was told not to.

    langchain-openai asks for it at OpenAI's own host alone. A model that is changed is a copy;
    those inside of fallbacks and bound arguments are changed as well.
    """
    if isinstance(model, _CHAIN):
        inner = [with_stream_usage(one) for one in model.runnables]
        if all(new is old for new, old in zip(inner, model.runnables, strict=True)):
            return model
        return model.model_copy(update={"runnable": inner[0], "fallbacks": inner[1:]})
    if isinstance(model, _BINDING):
        bound = with_stream_usage(model.bound)
        return model if bound is model.bound else model.model_copy(update={"bound": bound})
    if isinstance(model, BaseChatModel) and "stream_usage" in type(model).model_fields:
        value: bool | None = getattr(model, "stream_usage", None)
        chosen = "stream_usage" in model.model_fields_set and value is not None
        return model if value or chosen else model.model_copy(update={"stream_usage": True})
    return model


DELEGATE, PLAN_AND_CREATE = "delegate_to_subagents", "plan_and_create_subagents"
"""The tools by which a main agent plans."""
PLANNING = frozenset({DELEGATE, PLAN_AND_CREATE})

AGENT_ID = re.compile(r"^[^\W\d_][\w-]{0,63}$")
"""What somebody who takes part may be called. Providers refuse longer names."""
ID_RULE = "use a letter, then letters, digits, '_' and '-', at most 64 characters"
"""The same, as whoever gave another name is told."""

RESERVED = frozenset({"begin", "supervisor", "dispatch", "human", "undo", "finish"})
"""Names of the workflow's own nodes, which nobody else may have."""


def _validate_id(name: str) -> str:
    if not AGENT_ID.fullmatch(name):
        plain = re.sub(r"\W+", "_", name).strip("_0123456789")[:64]
        as_in = f", as in {plain!r}" if AGENT_ID.fullmatch(plain) else ""
        raise ValueError(f"the name {name[:100]!r} is not allowed; {ID_RULE}{as_in}")
    return name


AgentId = Annotated[
    str,
    AfterValidator(_validate_id),  # pydantic takes 30 ms to make its own check of such a pattern
    WithJsonSchema({"type": "string", "pattern": AGENT_ID.pattern}),
]
"""A name that an agent may have."""


class MemoryConfig(BaseModel):
    """What an agent remembers of its earlier tasks."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool = True
    """Whether it remembers them at all."""
    token_threshold: int | None = Field(default=None, ge=100)
    """From how many tokens on the older messages are summarised. None: never."""
    preserve_last_n_messages: int = Field(default=20, ge=1)
    """How many of the latest messages stay as they are."""
    summary_max_tokens: int = Field(default=1_000, ge=50)
    """How many tokens a summary is made of, at most."""
    result_tokens: int | None = Field(default=200, ge=1)
    """Above how many tokens the result of a tool is sent shortened in later tasks. It is stored
    whole, and the agent reads it again by a tool, `read_result`. None: never."""


class Home(Protocol):
    """An orchestrator, as its agents know it."""

    def has_spec(self, agent: "Agent") -> bool:
        """Whether this very agent is registered."""
        ...

    def forget(self, agent_id: str) -> Coroutine[Any, Any, None]:
        """Let an agent forget its conversation."""
        ...


HOMES: "WeakSet[Home]" = WeakSet()
"""The orchestrators that there are."""


_OF_PARTICIPANTS = ("memory", "long_term_memory", "context_manager", "cache", "circuit_breaker")


class Agent(BaseModel):
    """An agent as it is specified: a model, a prompt and tools. It can be written as JSON."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, populate_by_name=True)

    agent_id: AgentId = Field(
        description="A short name.", validation_alias=AliasChoices("agent_id", "name")
    )
    """What it is called; `name` is another name for it."""
    provider: str | None = None
    """Whose model it is, as `"openai"`. None: as `model` says."""
    model: Any = Field(default=None, validation_alias=AliasChoices("model", "backend"))
    """The model's name, with or without the provider, or a chat model. None: the default.
    `backend` is another name for it."""
    system_prompt: str = Field(
        default="",
        description="Who the agent is and how it works.",
        validation_alias=AliasChoices("system_prompt", "role", "system_message"),
    )
    """Who it is and how it works; `role` and `system_message` are other names for it."""
    tools: list[Any] = Field(
        default_factory=list[Any], description="The names of the tools that it may call."
    )
    """Names of tools that are available, or tools."""
    description: str | None = Field(
        default=None, description="One line on what it can do, for whoever plans."
    )
    personality: Personality | None = None
    """What it is like."""
    decisions: Method | None = None
    """How its model is asked for plans, where it plans. None: as the orchestrator says."""
    memory_config: MemoryConfig = Field(default_factory=MemoryConfig)

    @model_validator(mode="before")
    @classmethod
    def _name_the_way(cls, given: object) -> object:
        if strangers := [name for name in _OF_PARTICIPANTS if name in as_dict(given)]:
            raise ValueError(
                f"{', '.join(strangers)}: an Agent is a plain spec and takes none. A Participant "
                "has memory, context, recalls and circuit_breaker, and "
                f"asterism.compat.massgen.Agent takes these words; {NAMES_PAGE}"
            )
        return given

    def model_like(self) -> str | BaseChatModel | None:
        """Return the model that it names, or None."""
        if not isinstance(self.model, str) or not self.provider or self.provider == self.model:
            return cast(str | BaseChatModel | None, self.model)
        return f"{self.provider}:{self.model}"

    def clear_memory(self) -> Awaitable[None]:
        """Let it forget the conversations of the orchestrators that it is registered with.

        It need not be awaited. An agent that is registered nowhere remembers nothing.
        """
        homes = [home for home in HOMES if home.has_spec(self)]
        return Started([home.forget(self.agent_id) for home in homes])

    def summary(self) -> str:
        """Describe it in one line."""
        first = self.system_prompt.strip().splitlines()
        return self.description or (first[0].strip() if first else self.agent_id)


def agent_faults(
    agents: Sequence[Agent],
    *,
    taken: Collection[str],
    reserved: Collection[str],
    tools: Mapping[str, Any],
    limit: int,
    may_plan: bool,
) -> list[str]:
    """Return everything that is wrong with agents that a model wants to create.

    Args:
        agents: Their specs.
        taken: The names that are in use.
        reserved: The names that nobody may have.
        tools: What they may call.
        limit: How many there may be in all.
        may_plan: Whether they may create agents themselves.
    """
    faults: list[str] = []
    names: set[str] = {normal_name(name) for name in taken}
    for agent in agents:
        if not isinstance(agent.model, str | None):
            faults.append(f"the model of the agent {agent.agent_id!r} is no name; name it")
        if agent.agent_id in reserved:
            faults.append(
                f"the name {agent.agent_id!r} is reserved for the workflow's own node; reserved "
                f"are {', '.join(sorted(reserved))}"
            )
        elif normal_name(agent.agent_id) in names:
            faults.append(f"there is an agent {agent.agent_id!r} already; choose another name")
        names.add(normal_name(agent.agent_id))
        for tool in agent.tools:
            if not isinstance(tool, str):
                faults.append(f"a tool of the agent {agent.agent_id!r} is no name; name it")
            elif tool in PLANNING and not may_plan:
                faults.append(
                    f"the agent {agent.agent_id!r} wants the tool {tool!r}, but created agents "
                    "may not create agents"
                )
            elif tool not in tools and tool not in PLANNING:
                listed = ", ".join(tools) or "none"
                faults.append(
                    f"the agent {agent.agent_id!r} wants the tool {tool!r}, which is not "
                    f"available; available are: {listed}"
                )
    if agents and len(names) > limit:
        faults.append(f"there would be {len(names)} agents; at most {limit} are allowed")
    return faults
