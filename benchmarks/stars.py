"""The same scripted work on different stars: a model that costs nothing, answers of 1,600 bytes."""

from collections.abc import Callable
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command

ANSWER = "x" * 1_600
INSTRUCTION = "Do your part"


def names_of(participants: int) -> list[str]:
    return [f"p{place}" for place in range(participants)]


def participant() -> Any:
    """A graph with a history of its own that answers at once."""

    async def respond(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(ANSWER)]}

    graph = StateGraph(MessagesState)
    graph.add_node("respond", respond)
    graph.add_edge(START, "respond")
    graph.add_edge("respond", END)
    return graph.compile(checkpointer=True)


def hand_written(saver: Any, turns: int, participants: int) -> Any:
    """The star as LangGraph's documentation has one write it, with private participants."""
    names = names_of(participants)

    class State(MessagesState):
        turns: int

    async def supervisor(state: State) -> Command[Any]:
        turn = state.get("turns", 0)
        if turn >= turns:
            return Command(goto=END)
        return Command(goto=names[turn % len(names)], update={"turns": turn + 1})

    def visit(name: str) -> Callable[..., Any]:
        graph = participant()

        async def node(state: State) -> dict[str, Any]:
            result = await graph.ainvoke({"messages": [HumanMessage(INSTRUCTION)]})
            return {"messages": [AIMessage(result["messages"][-1].content, name=name)]}

        return node

    star = StateGraph(State)
    star.add_node("supervisor", supervisor, destinations=(*names, END))
    star.add_edge(START, "supervisor")
    for name in names:
        star.add_node(name, visit(name))
        star.add_edge(name, "supervisor")
    return star.compile(checkpointer=saver)


def asterism(saver: Any, turns: int, participants: int, events: Any = None) -> Any:
    """The same star, built by Asterism; `events` is told what happens."""
    from asterism import Participant, SupervisorDecision, SupervisorView, SupervisorWorkflowBuilder

    names = names_of(participants)

    async def decide(view: SupervisorView) -> SupervisorDecision:
        if view.iterations >= turns:
            return SupervisorDecision(next_agent=None)
        name = names[view.iterations % len(names)]
        instruction = f"{INSTRUCTION} {view.iterations}"
        return SupervisorDecision(next_agent=name, instruction=instruction)

    team = {name: Participant(runs=participant(), description="Answers.") for name in names}
    return (
        SupervisorWorkflowBuilder(
            "Bench", max_iterations=turns + 1, finish="forward", events=events
        )
        .participants(**team)
        .with_manager(decide)
        .build(checkpointer=saver)
    )


STARS = {"hand-written": hand_written, "asterism": asterism}
