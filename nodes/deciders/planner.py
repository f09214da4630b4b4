"""The decider of an orchestrator: a main agent that plans, and a designer of new agents.

Tests: tests/graphs/test_orchestrator.py.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, Field

from asterism.core.agent_spec import DELEGATE, PLAN_AND_CREATE
from asterism.core.decision_schema import Schema, decision_schema, team_schema
from asterism.core.defaults import Method
from asterism.core.digests import DIGEST_TOKENS
from asterism.core.supervisor_decision import (
    check_call_names,
    is_whole,
    read_objects,
    reports_wanted,
)
from asterism.core.sync_async import Steps, arun_steps, run_steps
from asterism.nodes.decider import DeciderOutput
from asterism.nodes.deciders.model_decider import describe_participants
from asterism.nodes.structured_output import (
    StructuredOutput,
    bind_inside,
    call_model,
)
from asterism.nodes.view import (
    DECIDE,
    Renderer,
    SupervisorView,
    one_time_notes,
    supervisor_run_config,
)
from asterism.prompts import render

Way = Literal["structured", "tools"]
"""How a main agent says what it plans: by one object, or by calling tools."""

READ = "read_report"
_WAYS: Mapping[Way, str] = {
    "structured": "Answer with a SupervisorDecision: tasks to give out, or a question to the user "
    "in user_prompt with user_input_needed, or your answer in answer with next_agent null.",
    "tools": f"Call {DELEGATE} to give tasks to the team, or write the answer as plain text.",
}


class Objective(BaseModel):
    """Let a designer create agents for an objective, and give them tasks."""

    objective: str = Field(description="What is to be reached, with every fact that is needed.")


class Reading(BaseModel):
    """Read reports whole that are shown as digests, before anything is decided."""

    read_report: list[str] = Field(description="Their ids.")


class PlanningDecider:
    """Asks a main agent for a plan: one call for each plan.

    Args:
        model: The main agent's model.
        way: How it says what it plans.
        tools: What agents may call that it creates. None: it may not create any.
        designer: The model that designs new agents. None: the main agent does it itself.
        prompt: The main agent's own instructions.
        decisions: How models are asked for objects. None: as each of them is able to.
    """

    def __init__(
        self,
        model: Runnable[Any, AIMessage],
        *,
        way: Way = "structured",
        tools: Iterable[str] | None = None,
        designer: Runnable[Any, AIMessage] | None = None,
        prompt: str = "",
        decisions: Method | None = None,
    ) -> None:
        self._output = StructuredOutput(model, decisions)
        self._way: Way = way
        self._tools = None if tools is None else tuple(tools)
        self._designer = None if designer is None else StructuredOutput(designer, decisions)
        self._prompt = prompt
        self._renderer = Renderer(digest_tokens=DIGEST_TOKENS)
        self._bound: dict[tuple[str, ...], Runnable[Any, AIMessage]] = {}

    def decide(self, view: SupervisorView) -> DeciderOutput:
        """Ask the main agent."""
        return run_steps(self._decide(view))

    async def adecide(self, view: SupervisorView) -> DeciderOutput:
        """Ask the main agent."""
        return await arun_steps(self._decide(view))

    def _decide(self, view: SupervisorView) -> Steps[DeciderOutput]:
        config = supervisor_run_config(DECIDE, view.iterations + 1)
        if self._way == "structured":
            schema = self._schema(view)
            return (yield from self._output.ask(self._messages(view), schema, config=config))
        names = tuple(view.participants)
        offered = self._planning_tools(names)
        if names not in self._bound:
            self._bound[names] = bind_inside(
                self._output.model, lambda model: model.bind_tools(offered)
            )
        said = yield from call_model(self._bound[names], self.prompt(view), config)
        check_call_names(said, [tool["function"]["name"] for tool in offered])
        if reports_wanted(said):
            return said
        if said.invalid_tool_calls:
            return said.model_copy(update={"tool_calls": []})  # so that it is complained of
        if not said.tool_calls:
            whole = is_whole(said) and said.text.strip()
            return {"next_agent": None, "answer": said.text} if whole else said
        plans: list[Mapping[str, Any]] = [call["args"] for call in said.tool_calls]
        if any("objective" in plan for plan in plans):
            if self._designer is None or self._tools is None:
                return said
            designed = yield from self._design(plans, view, self._designer, self._tools)
            plans = [designed, *(plan for plan in plans if "objective" not in plan)]
        return merge_plan_calls(plans)

    def prompt(self, view: SupervisorView) -> list[AnyMessage]:
        """Write what the main agent is sent: the rules, the conversation, what was said to it."""
        messages = self._messages(view)
        if self._way == "tools":
            return self._output.with_cache_mark(messages)
        return self._output.prompt_for(messages, self._schema(view))

    def _messages(self, view: SupervisorView) -> list[AnyMessage]:
        creation = ""
        if self._tools is not None:
            creation = render("creation", tools=", ".join(self._tools) or "none")
        system = render(
            "orchestrator",
            participants=describe_participants(view.participants) or "(nobody yet)",
            creation=creation,
            instructions=self._prompt,
            way=_WAYS[self._way],
        )
        while "\n\n\n" in system:
            system = system.replace("\n\n\n", "\n\n")
        shown = self._renderer.render(view.messages)
        return [SystemMessage(system), *shown, *one_time_notes(view, self._schema(view))]

    def _schema(self, view: SupervisorView) -> Schema:
        return decision_schema(tuple(view.participants), self._tools, answers=True, reads=True)

    def _planning_tools(self, names: tuple[str, ...]) -> list[dict[str, Any]]:
        """Write the tools by which the main agent plans."""
        tools: list[dict[str, Any]] = []
        if names:
            tools.append(_tool(DELEGATE, team_schema(names, None)))
        if self._designer is not None:
            tools.append(_tool(PLAN_AND_CREATE, Objective))
        elif self._tools is not None:
            tools.append(_tool(PLAN_AND_CREATE, team_schema(names, self._tools)))
        return [*tools, _tool(READ, Reading)]

    def _design(
        self,
        plans: Iterable[Mapping[str, Any]],
        view: SupervisorView,
        designer: StructuredOutput,
        tools: tuple[str, ...],
    ) -> Steps[Mapping[str, Any]]:
        """Let the designer specify agents and tasks for the objective of the main agent."""
        names = tuple(view.participants)
        objective = "\n\n".join(str(plan["objective"]) for plan in plans if "objective" in plan)
        system = render("designer", tools=", ".join(tools), names=", ".join(names) or "none")
        messages: list[AnyMessage] = [SystemMessage(system), HumanMessage(objective)]
        messages += [HumanMessage(fault) for _, fault in view.complaints]
        schema = team_schema(names, tools)
        config = supervisor_run_config("supervisor.design", view.iterations + 1)
        said = yield from designer.ask(messages, schema, config=config)
        return read_objects(said, str(schema["title"]))[-1]


def merge_plan_calls(calls: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Join several calls of the planning tools into one plan."""
    plan: dict[str, Any] = {"tasks": [], "subagents": []}
    for call in calls:
        for key, items in plan.items():
            items += call.get(key) or []
    return plan


def _tool(name: str, schema: Any) -> dict[str, Any]:
    tool = convert_to_openai_tool(schema)
    tool["function"]["name"] = name
    return tool
