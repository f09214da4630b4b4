"""An agent that pays five times, whose process dies in the fourth payment, and its callers.

What happens is noted in a file: `model 1`, `pay 1`, ... In another process the same call goes on.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import BaseTool, tool

from asterism import (
    Agent,
    AgentOrchestrator,
    Participant,
    SupervisorWorkflowBuilder,
    aproceed,
    open_checkpointer,
    proceed,
)
from asterism.core.run_types import WorkflowInput
from asterism.supervision import AgentSupervisor
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.plans import plan, task
from tests.teams import follow

THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}
REQUEST: WorkflowInput = {"messages": [("user", "Pay five times")]}
PAYMENTS, FATAL = 5, 4
EACH_ONCE = [f"{what} {n}" for n in range(1, PAYMENTS + 1) for what in ("model", "pay")]
"""What is noted where nothing stops it, before the last answer."""
EXPECTED = sorted([*EACH_ONCE, f"model {PAYMENTS + 1}", f"pay {FATAL}"])
"""What is noted where only the payment that was under way is made again."""


def note(folder: Path, line: str) -> None:
    with (folder / "log").open("a") as log:
        log.write(f"{line}\n")


def payer(folder: Path) -> tuple[BaseChatModel, list[BaseTool]]:
    """The model and the tool of the agent."""

    @tool
    def pay(number: int) -> str:
        """Pay."""
        note(folder, f"pay {number}")
        if number == FATAL and not (folder / "died").exists():
            (folder / "died").touch()
            os._exit(9)
        return f"paid {number}"

    def say(messages: list[Any]) -> Any:
        number = sum(message.type == "tool" for message in messages) + 1
        note(folder, f"model {number}")
        if number > PAYMENTS:
            return "All is paid."
        return ScriptedReply(tool_calls=[("pay", {"number": number})])

    return ScriptedChatModel(script=[say] * 20), [pay]


class Desk:
    """Calls an agent from a method."""

    def __init__(self, agent: Any) -> None:
        self.agent = agent

    def __call__(self, messages: Any) -> Any:
        return self.agent.invoke({"messages": messages})


def as_agent(folder: Path) -> Any:
    return create_agent(*payer(folder))


def as_spec(folder: Path) -> Any:
    model, tools = payer(folder)
    return Participant(model=model, tools=tools, prompt="Pay.")


def as_function(folder: Path) -> Any:
    agent = as_agent(folder)
    return lambda messages: agent.invoke({"messages": messages})


def as_chain(folder: Path) -> Any:
    return RunnableLambda(lambda messages: {"messages": messages}) | as_agent(folder)


def as_tool(folder: Path) -> Any:
    agent = as_agent(folder)

    @tool
    def delegate() -> str:
        """Delegate."""
        return str(agent.invoke({"messages": [("user", "Pay")]})["messages"][-1].text)

    first = ScriptedReply(tool_calls=[("delegate", {})])
    model = ScriptedChatModel(
        script=[lambda m: "All is paid." if m[-1].type == "tool" else first] * 9
    )
    return create_agent(model, [delegate])


def as_workflow(folder: Path) -> Any:
    return (
        SupervisorWorkflowBuilder("Inner", finish="forward")
        .participants(deep=Participant(runs=as_agent(folder), description="Pays."))
        .with_manager(follow(["deep"]))
        .build()
    )


FORMS: Mapping[str, Callable[[Path], Any]] = {
    "agent": as_agent,
    "spec": as_spec,
    "function": as_function,
    "method": lambda folder: Desk(as_agent(folder)),
    "chain": as_chain,
    "tool": as_tool,
    "workflow": as_workflow,
}
"""What the participant is that pays."""


def team(folder: Path, saver: Any, form: str, decide: Any) -> Any:
    thing = FORMS[form](folder)
    payer = thing if isinstance(thing, Participant) else Participant(runs=thing, description="Pays")
    return (
        SupervisorWorkflowBuilder("Payments", finish="forward")
        .participants(payer=payer)
        .with_manager(decide)
        .build(checkpointer=saver)
    )


def orchestrated(folder: Path, saver: Any) -> Any:
    model, tools = payer(folder)
    tasks = [{"task_id": "a", "agent_id": "payer", "task_description": "Pay"}]
    planned = {"next_agent": None, "tasks": tasks}
    answered = {"next_agent": None, "answer": "All is paid."}
    script: list[Any] = [answered] if (folder / "died").exists() else [planned, answered]
    main = Agent(agent_id="main", model=ScriptedChatModel(script=script))
    orchestrator = AgentOrchestrator(main, checkpointer=saver)
    orchestrator.register_subagent(
        Agent(agent_id="payer", model=model, system_prompt="Pay.", tools=tools)
    )
    return orchestrator.graph


def run(url: str, folder: Path, form: str, way: str) -> None:
    """Make the request, or go on with it."""
    with open_checkpointer(url) as saver:
        if form == "orchestrator":
            workflow = orchestrated(folder, saver)
        elif form == "task":
            workflow = team(folder, saver, "agent", plan(task("t", "payer")))
        else:
            workflow = team(folder, saver, form, follow(["payer"]))
        begun = workflow.get_state(THREAD).values
        if way == "sync":
            result = proceed(workflow, THREAD) if begun else workflow.invoke(REQUEST, THREAD)
        else:
            going = aproceed(workflow, THREAD) if begun else workflow.ainvoke(REQUEST, THREAD)
            result = asyncio.run(going)
        assert result["status"] == "completed"
        assert [report["text"] for report in result["reports"]] == ["All is paid."]
        note(folder, "completed")


def supervise(url: str, folder: Path) -> None:
    """Let a supervised child pay, or adopt it and let it go on."""

    async def supervised() -> None:
        with open_checkpointer(url) as saver:
            workflow = team(folder, saver, "agent", follow(["payer"]))
            async with AgentSupervisor() as parent:
                if (folder / "died").exists():
                    child = await parent.adopt("t", workflow)
                    await parent.resume_child(child)
                else:
                    child = await parent.spawn("payer", "Pay", workflow, thread_id="t")
                result: Any = await parent.await_child(child)
                assert result["status"] == "completed"
        note(folder, "completed")

    asyncio.run(supervised())
