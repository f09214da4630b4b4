"""The decider of an orchestrator: a main agent that plans, and a designer of new agents."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, Field, create_model

from asterism.agents import DELEGATE, PLAN_AND_CREATE
from asterism.decisions import is_whole, reports_wanted
from asterism.digests import DIGEST_TOKENS
from asterism.effects import Call, Steps, arun, run
from asterism.nodes.deciders import bind_schema, describe_participants
from asterism.nodes.protocol import Said
from asterism.nodes.view import SPEAKER, SupervisorView, asides, conversation, has_digests
from asterism.prompts import render
from asterism.schemas import decision_schema, team_schema

Way = Literal["structured", "tools"]
"""How a main agent says what it plans: by one object, or by calling tools."""

_DECISION, READ = "SupervisorDecision", "read_report"
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
    """

    def __init__(
        self,
        model: Runnable[Any, AIMessage],
        *,
        way: Way = "structured",
        tools: Iterable[str] | None = None,
        designer: Runnable[Any, AIMessage] | None = None,
        prompt: str = "",
    ) -> None:
        self._model = model
        self._way: Way = way
        self._tools = None if tools is None else tuple(tools)
        self._designer = designer
        self._prompt = prompt
        self._bound: dict[tuple[tuple[str, ...], bool], Runnable[Any, AIMessage]] = {}

    def decide(self, view: SupervisorView) -> Said:
        """Ask the main agent."""
        return run(self._decide(view))

    async def adecide(self, view: SupervisorView) -> Said:
        """Ask the main agent."""
        return await arun(self._decide(view))

    def _decide(self, view: SupervisorView) -> Steps[Said]:
        key = tuple(view.participants), has_digests(view.messages, DIGEST_TOKENS)
        if key not in self._bound:
            self._bound[key] = self._bind(*key)
        model = self._bound[key]
        said: AIMessage = yield Call(model.invoke, model.ainvoke, (self.prompt(view), SPEAKER))
        if self._way == "structured" or reports_wanted(said):
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
            if isinstance(designed, AIMessage):
                return designed
            plans = [designed, *(plan for plan in plans if "objective" not in plan)]
        return joined(plans)

    def prompt(self, view: SupervisorView) -> list[AnyMessage]:
        """Write what the main agent is sent: the rules, the conversation, what was said to it."""
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
        shown = conversation(view.messages, digest_tokens=DIGEST_TOKENS)
        return [SystemMessage(system), *shown, *asides(view, ", ".join(view.participants))]

    def _bind(self, names: tuple[str, ...], reads: bool) -> Runnable[Any, AIMessage]:
        """Bind what the main agent may say to its model."""
        if self._way == "structured":
            schema = decision_schema(names, self._tools, answers=True, reads=reads)
            return bind_schema(self._model, schema, _DECISION)
        tools: list[dict[str, Any]] = []
        if names:
            tools.append(_tool(DELEGATE, team_schema(names, None)))
        if self._designer is not None:
            tools.append(_tool(PLAN_AND_CREATE, Objective))
        elif self._tools is not None:
            tools.append(_tool(PLAN_AND_CREATE, team_schema(names, self._tools)))
        if reads:
            tools.append(_tool(READ, Reading))
        model: Any = self._model
        if not tools:
            return self._model
        return cast(Runnable[Any, AIMessage], model.bind_tools(tools))

    def _design(
        self,
        plans: Iterable[Mapping[str, Any]],
        view: SupervisorView,
        designer: Runnable[Any, AIMessage],
        tools: tuple[str, ...],
    ) -> Steps[AIMessage | Mapping[str, Any]]:
        """Let the designer specify agents and tasks for the objective of the main agent."""
        names = tuple(view.participants)
        objective = "\n\n".join(str(plan["objective"]) for plan in plans if "objective" in plan)
        system = render("designer", tools=", ".join(tools), names=", ".join(names) or "none")
        bound = bind_schema(designer, team_schema(names, tools), "Team")
        messages: list[AnyMessage] = [SystemMessage(system), HumanMessage(objective)]
        messages += [HumanMessage(fault) for _, fault in view.complaints]
        said: AIMessage = yield Call(bound.invoke, bound.ainvoke, (messages, SPEAKER))
        whole = is_whole(said) and not said.invalid_tool_calls and said.tool_calls
        return said.tool_calls[0]["args"] if whole else said


def joined(calls: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Join several calls of the planning tools into one plan."""
    plan: dict[str, Any] = {"tasks": [], "subagents": []}
    for call in calls:
        for key, items in plan.items():
            items += call.get(key) or []
    return plan


def _tool(name: str, schema: type[BaseModel]) -> dict[str, Any]:
    tool = convert_to_openai_tool(create_model(name, __base__=schema, __doc__=schema.__doc__))
    tool["function"]["name"] = name
    return tool
