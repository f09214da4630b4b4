"""The graphs that `langgraph.json` names: compiled without storage, which the server brings.

A run or an assistant chooses the model and further instructions by LangGraph's `context`. Without
a choice, the model is the one that the environment variable `ASTERISM_MODEL` names, or the offline
model. Tests: tests/graphs/test_studio.py.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any

from langchain_core.runnables import RunnableConfig
from pydantic import BaseModel, Field

from asterism.core.defaults import OFFLINE
from asterism.graphs.shipped import SHIPPED
from asterism.graphs.workflow import Workflow

MODEL = os.environ.get("ASTERISM_MODEL", OFFLINE)


class StudioContext(BaseModel):
    """The settings of a run or an assistant."""

    model: str = Field(MODEL, description="The chat model: provider:model, or offline.")
    prompt: str = Field("", description="Further instructions for the supervisor.")


def _create_factory(name: str) -> Callable[[RunnableConfig], Awaitable[Workflow[Any]]]:
    """Create the function that a server calls for the graph of each run."""

    @lru_cache(maxsize=32)  # a server asks for the graph at each request
    def build(model: str, prompt: str) -> Workflow[Any]:
        builder = SHIPPED[name].create(model or MODEL).with_context_schema(StudioContext)
        return (builder.with_prompt(prompt) if prompt else builder).build()

    async def open_graph(config: RunnableConfig) -> Workflow[Any]:
        """Open the graph with the settings of a run: a server copies `context` to them."""
        context = StudioContext.model_validate(config.get("configurable") or {})
        return await asyncio.to_thread(build, context.model, context.prompt)  # it reads files

    return open_graph


event_planning = _create_factory("event_planning")
research = _create_factory("research")
consensus = _create_factory("consensus")
toy_example = _create_factory("toy_example")
update_manifest = _create_factory("update_manifest")
