"""Runs that wait with each kind of decision: `python -m tests.decisions 2` stores those."""

import gzip
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from asterism import (
    Agent,
    AgentOrchestrator,
    Compensation,
    Participant,
    SupervisorDecision,
    SupervisorWorkflowBuilder,
    UndoAll,
    open_checkpointer,
    resume,
)
from asterism.compat.langgraph_supervisor import create_supervisor
from asterism.core.run_types import WorkflowInput
from asterism.core.supervisor_decision import AnswerDecision
from asterism.limits.budgets import Budget
from asterism.testing import ScriptedChatModel
from tests.asterism.compat.teams import agent, hand_over
from tests.graphs.test_budgets import team as budgeted
from tests.graphs.test_budgets import worker
from tests.teams import Turns, follow, star

Saver = BaseCheckpointSaver[str]
FOLDER = Path(__file__).parent / "data"
REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}


def on_thread(name: str) -> RunnableConfig:
    return {"configurable": {"thread_id": name}}


THREAD = on_thread("1")


def visits(saver: Saver) -> Any:
    return star(Turns(), ["venue", "food"]).build(checkpointer=saver)


def plans(saver: Saver) -> Any:
    builder = SupervisorWorkflowBuilder("Test", finish="forward")
    builder.participants(venue=Turns().participant("venue"), food=Turns().participant("food"))
    return builder.with_strategy("sequential").build(checkpointer=saver)


def decides(decide: Callable[[Any], Any], **options: Any) -> Callable[[Saver], Any]:
    def build(saver: Saver) -> Any:
        builder = SupervisorWorkflowBuilder("Test", **{"finish": "forward", **options})
        builder.participants(venue=Turns().participant("venue")).with_manager(decide)
        return builder.build(checkpointer=saver)

    return build


def asks_once(view: Any) -> SupervisorDecision:
    asks = view.iterations == 0
    return SupervisorDecision(next_agent=None, user_input_needed=asks, user_prompt="When?")


def answers(view: Any) -> SupervisorDecision:
    return AnswerDecision(next_agent=None, answer="42", fields={"n": 42})


def exceeds(saver: Saver) -> Any:
    _, spec = worker(9)
    budget = Budget(max_calls=2, on_breach="ask")
    return budgeted(follow(["p"]), saver, budget=budget, p=spec)


def undoes(saver: Saver) -> Any:
    policy = Compensation({"empty_answer": UndoAll()})
    builder = SupervisorWorkflowBuilder("Test", finish="forward")
    builder.participants(
        one=Participant(runs=lambda m: "booked", description="Books.", undo=lambda report: None),
        bad=Participant(runs=lambda m: "", description="Fails.", policies=[policy]),
    )
    return builder.with_strategy("sequential").build(checkpointer=saver)


def records(saver: Saver) -> Any:
    """A team whose supervisor writes the answer into the history itself."""
    model = ScriptedChatModel(script=[hand_over("clerk"), "All done."])
    return create_supervisor([agent("clerk", "Yes")], model=model).compile(saver)


def orchestrates(saver: Saver) -> Any:
    task = {"task_id": "a", "agent_id": "reader", "task_description": "Read it"}
    main = ScriptedChatModel(script=[{"tasks": [task]}, {"next_agent": None, "answer": "Done."}])
    reader = ScriptedChatModel(script=["Read."])
    orchestrator = AgentOrchestrator(Agent(agent_id="main", model=main), checkpointer=saver)
    orchestrator.register_subagent(Agent(agent_id="reader", model=reader))
    return orchestrator.graph


def run_until(*nodes: str) -> Callable[[Any, RunnableConfig], None]:
    """Run until before one of `nodes`, or until a person is asked."""
    return lambda workflow, thread: workflow.invoke(REQUEST, thread, interrupt_before=nodes)


def raise_limit(workflow: Any, thread: RunnableConfig) -> None:
    """Raise the limit; the visit has not gone on yet."""
    workflow.invoke(REQUEST, thread)
    [asked] = workflow.get_state(thread).interrupts
    workflow.invoke(Command(resume={asked.id: "99"}), thread, interrupt_after=["human"])


def go_on(workflow: Any, thread: RunnableConfig) -> None:
    """Raise the limit; the visit is about to go on."""
    raise_limit(workflow, thread)
    workflow.invoke(None, thread, interrupt_before=["p"])


WAITING: Mapping[str, tuple[Callable[[Saver], Any], Callable[[Any, RunnableConfig], None]]] = {
    "visit": (visits, run_until("venue")),
    "plan": (plans, run_until("dispatch")),
    "ask": (decides(asks_once), run_until()),
    "answer": (decides(answers), run_until("finish")),
    "end": (decides(follow(["venue", "venue"]), max_iterations=1), run_until("finish")),
    "raise_limit": (exceeds, run_until()),
    "continue": (exceeds, raise_limit),
    "continued": (exceeds, go_on),
    "undo": (undoes, run_until("undo")),
    "recorded": (records, run_until("finish")),
    "orchestrated": (orchestrates, run_until("finish")),
}
"""How a workflow is built, and how it comes to wait with a decision of each kind."""


def waiting(kind: str, saver: Saver | None = None, thread: RunnableConfig = THREAD) -> Any:
    """A workflow that waits with a decision of a kind."""
    build, run = WAITING[kind]
    workflow = build(saver or InMemorySaver())
    run(workflow, thread)
    return workflow


def run_to_the_end(workflow: Any, thread: RunnableConfig = THREAD) -> dict[str, Any]:
    """Go on, give what is asked for, and say what came of it."""
    result = workflow.invoke(None, thread)
    if result["status"] == "waiting":
        [asked] = workflow.get_state(thread).interrupts
        budget = asked.value["request_type"] == "budget"
        result = resume(workflow, thread, "99" if budget else "Tomorrow")
    return {
        "status": result["status"],
        "reason": result["reason"],
        "reports": [(r["participant"], r["status"], r["text"]) for r in result["reports"]],
        "answer": [m.text for m in result["messages"] if m.type == "ai"][-1],
        "fields": result["structured_response"],
    }


def main(version: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "threads.db"
        with open_checkpointer(f"sqlite:///{path}") as saver:
            for kind in WAITING:
                waiting(kind, saver, on_thread(kind))
        with closing(sqlite3.connect(path)) as connection, connection:
            dump = "\n".join(connection.iterdump()).encode()
    (FOLDER / f"decisions_v{version}.sql.gz").write_bytes(gzip.compress(dump, mtime=0))


if __name__ == "__main__":
    main(sys.argv[1])
