"""A team that stops in every state, and the changes that people make to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.tools import BaseTool, tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import interrupt
from pydantic import BaseModel

from asterism import Participant, SupervisorWorkflowBuilder
from asterism.testing import ScriptedReply, TeamChatModel

LOG: list[str] = []
"""What code of the user has run."""


@tool
def book(hall: str) -> str:
    """Book a hall."""
    LOG.append(f"book {hall}")
    return f"booked {hall}"


@tool("book")
def book_on(hall: str, day: str) -> str:
    """Book a hall."""
    LOG.append(f"book {hall}")
    return f"booked {hall} on {day}"


@tool("book")
def book_perhaps(hall: str, day: str = "today") -> str:
    """Book a hall."""
    LOG.append(f"book {hall}")
    return f"booked {hall} on {day}"


@tool
def reserve(hall: str) -> str:
    """Book a hall."""
    return f"reserved {hall}"


def bank(messages: list[Any]) -> str:
    """Pays."""
    LOG.append("bank")
    return f"paid: {interrupt({'prompt': 'Pay?'})}"


class Pages(MessagesState):
    pages: int


class MorePages(Pages):
    title: str


class NamedPages(MessagesState):
    pages: Mapping[str, int]


def notes(state: Any = Pages, node: str = "review") -> Any:
    """A graph that has counted pages when it asks."""

    def count(state: Any) -> dict[str, Any]:
        LOG.append("count")
        return {"pages": 3}

    def review(state: Any) -> dict[str, Any]:
        LOG.append("review")
        return {"messages": [("ai", f"fine: {interrupt('Fine?')}")]}

    graph: Any = StateGraph(state)
    graph.add_node("count", count).add_node(node, review)
    return graph.add_edge(START, "count").add_edge("count", node).add_edge(node, END).compile()


class Result(BaseModel):
    city: str


class LongerResult(Result):
    price: int


class OtherModel(TeamChatModel):
    @property
    def name_of_model(self) -> str:
        return "another"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": "another"}


def inner(model: Any, prompt: str | None = None, cook: str = "You cook.") -> Any:
    """A team inside the team."""
    members = {"cook": Participant(description="Cooks.", prompt=cook)}
    builder = SupervisorWorkflowBuilder("Kitchen", "Sees to the food.", model=model, prompt=prompt)
    return builder.participants(members).build()


def create_team(
    model: Any,
    members: Mapping[str, Any] | None = None,
    *,
    without: Sequence[str] = (),
    kitchen: Mapping[str, Any] | None = None,
    **options: Any,
) -> SupervisorWorkflowBuilder:
    """The team as it is, with other members and options."""
    team = {
        "venue": venue(),
        "bank": bank,
        "notes": Participant(runs=notes(), description="Takes notes."),
        "scout": Participant(description="Scouts.", prompt="You scout."),
        "kitchen": inner(model, **(kitchen or {})),
        **(members or {}),
    }
    kept = {name: thing for name, thing in team.items() if name not in without}
    return SupervisorWorkflowBuilder("Party", model=model, **options).participants(kept)


def venue(prompt: str = "You book halls.", tool: BaseTool = book, **options: Any) -> Participant:
    """The participant whose calls are approved."""
    options = {"description": "Books halls.", "approve": [tool.name], **options}
    return Participant(prompt=prompt, tools=[tool], **options)


ASK = {"next_agent": None, "user_input_needed": True, "user_prompt": "Where?"}
PLAN = {
    "next_agent": None,
    "tasks": [
        {"task_id": "a", "agent_id": "bank", "task_description": "pay"},
        {"task_id": "b", "agent_id": "venue", "task_description": "book"},
    ],
}
CALL = ScriptedReply(tool_calls=[("book", {"hall": "A"})])


@dataclass(frozen=True)
class Stop:
    """How a thread comes to the state in which it is stopped."""

    scripts: Mapping[str, Sequence[Any]]
    how: Mapping[str, Any] = field(default_factory=dict[str, Any])


STOPS = {
    "asks": Stop({"supervisor": [ASK]}),
    "approval": Stop({"supervisor": ["venue"], "venue": [CALL]}),
    "question": Stop({"supervisor": ["bank"]}),
    "graph": Stop({"supervisor": ["notes"]}),
    "nested": Stop({"supervisor": ["kitchen"], "kitchen/supervisor": [ASK]}),
    "plan": Stop({"supervisor": [PLAN], "venue": [CALL]}),
    "visit": Stop({"supervisor": ["scout"]}, {"interrupt_before": ["scout"]}),
    "decide": Stop({"supervisor": ["scout"], "scout": ["found"]}, {"interrupt_after": ["scout"]}),
    "finish": Stop(
        {"supervisor": ["scout", None], "scout": ["found"]}, {"interrupt_before": ["finish"]}
    ),
    "done": Stop({"supervisor": ["scout", None, "The end."], "scout": ["found"]}),
}
"""A thread in every state: waiting in each way, stopped before each kind of step, over."""


def store_threads(saver: Any, copies: int = 1, **options: Any) -> None:
    """Store a thread in every state, or several of each."""
    for name, stop in STOPS.items():
        for number in range(copies):
            model = TeamChatModel(scripts=stop.scripts)
            thread: Any = {"configurable": {"thread_id": f"{name}-{number}" if number else name}}
            workflow: Any = create_team(model, **options).build(checkpointer=saver)
            workflow.invoke({"messages": [("user", "A party")]}, thread, **stop.how)
