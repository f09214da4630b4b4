"""Specs of agents: plain values, which a program, a file or a model can write."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, cast

from langchain_core.language_models import BaseChatModel
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from asterism.defaults import Method
from asterism.personality import Personality
from asterism.plain import normal_name

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
        raise ValueError(f"the name {name[:100]!r} is not allowed; {ID_RULE}")
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


class Agent(BaseModel):
    """An agent as it is specified: a model, a prompt and tools. It can be written as JSON."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    agent_id: AgentId = Field(description="A short name.")
    provider: str | None = None
    """Whose model it is, as `"openai"`. None: as `model` says."""
    model: Any = None
    """The model's name, with or without the provider, or a chat model. None: the default."""
    system_prompt: str = Field(default="", description="Who the agent is and how it works.")
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

    def model_like(self) -> str | BaseChatModel | None:
        """Return the model that it names, or None."""
        if not isinstance(self.model, str) or not self.provider or self.provider == self.model:
            return cast(str | BaseChatModel | None, self.model)
        return f"{self.provider}:{self.model}"

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
