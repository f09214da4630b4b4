"""What models are sent: the same script on the peers and on Asterism, in one run.

Participants are asked one after the other, or in one plan, for each request; each calls a tool
whose result has 2,000 tokens and reports in 300; the answer has 300 tokens everywhere. All run
with their defaults where the row names nothing else; the peers in environments of their own.
Counted are the tokens of all messages that any model is sent, by LangChain's approximate counter.
"""

import json
import subprocess
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.messages.utils import count_tokens_approximately
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command

from asterism import ContextManager, Participant, SupervisorWorkflowBuilder
from asterism.prompts import load_prompt
from benchmarks.contenders.scripted import ROUTE
from benchmarks.counting import (
    DUTY,
    REPORT,
    SHAPES,
    TOPICS,
    CountingModel,
    call,
    look_up,
    request,
    work,
)
from benchmarks.environments import made
from benchmarks.peer import since_request

ROOT = Path(__file__).parents[1]
DECISION = "SupervisorDecision"
Tokens = dict[str, dict[str, int]]
Names = Sequence[str]


class Found(NamedTuple):
    """What the models of one contender were sent."""

    tokens: Tokens
    prompts: Sequence[list[BaseMessage]] = ()
    """Those of the supervisor."""


def reported(messages: list[BaseMessage]) -> set[str]:
    """Who has reported on the latest request, as Asterism shows it."""
    latest = max(i for i, m in enumerate(messages) if m.text.startswith("Please work"))
    fenced = [m.text for m in messages[latest:] if m.text.startswith("<report")]
    return {text.split('"')[1] for text in fenced}


def in_turn(names: Names, messages: list[BaseMessage]) -> AIMessage:
    """One after the other."""
    if messages[0].text.startswith(load_prompt("synthesize")[:50]):
        return AIMessage(REPORT)
    for name in names:
        if name not in reported(messages):
            return call(DECISION, next_agent=name, instruction=f"Find out all about the {name}.")
    return call(DECISION, next_agent=None)


def at_once(names: Names, messages: list[BaseMessage]) -> AIMessage:
    """All in one decision."""
    if messages[0].text.startswith(load_prompt("synthesize")[:50]) or reported(messages):
        return in_turn(names, messages)
    tasks = [
        {"task_id": n, "agent_id": n, "task_description": f"Find out all about the {n}."}
        for n in names
    ]
    return call(DECISION, next_agent=None, tasks=tasks)


def talk(graph: Any, turns: int, supervisor: CountingModel, models: Any) -> Found:
    """Send all requests, and return what the models were sent."""
    for turn in range(turns):
        given = {"messages": [("user", request(turn))]}
        graph.invoke(given, {"configurable": {"thread_id": "1"}})
    found = {"supervisor": supervisor.tokens(), **{n: m.tokens() for n, m in models.items()}}
    for name, model in models.items():
        if found[name]["calls"] != 2 * turns:
            raise AssertionError(f"{name} was called {found[name]['calls']} times: {model}")
    return Found(found, supervisor.prompts)


def ours(
    participants: int,
    turns: int,
    route: Callable[[Names, list[BaseMessage]], AIMessage] = in_turn,
    *,
    memory: ContextManager | None = None,
    **options: Any,
) -> Found:
    """Run the script on Asterism."""
    names = TOPICS[:participants]
    supervisor = CountingModel(answer=partial(route, names))
    models = {name: CountingModel(answer=work) for name in names}
    team = {
        name: Participant(
            model=model, tools=[look_up], prompt=DUTY.format(name=name), context=memory
        )
        for name, model in models.items()
    }
    workflow = (
        SupervisorWorkflowBuilder("Bench", model=supervisor, **options)
        .participants(**team)
        .build(checkpointer=InMemorySaver())
    )
    return talk(workflow, turns, supervisor, models)


def by_hand(participants: int, turns: int, *, remembers: bool) -> Found:
    """Run the script on a star as LangGraph's documentation has one write it."""
    names = TOPICS[:participants]

    def decide(messages: list[BaseMessage]) -> AIMessage:
        done = {m.name for m in since_request(messages)}
        left = [name for name in names if name not in done]
        return call("route", next_agent=left[0]) if left else AIMessage(REPORT)

    supervisor = CountingModel(answer=decide)
    models = {name: CountingModel(answer=work) for name in names}
    deciding = supervisor.bind_tools([ROUTE])
    rules = SystemMessage(f"You are the supervisor of a team: {', '.join(names)}.")

    def supervise(state: MessagesState) -> Command[Any]:
        said = deciding.invoke([rules, *state["messages"]])
        if not said.tool_calls:
            return Command(goto=END, update={"messages": [said]})
        return Command(goto=said.tool_calls[0]["args"]["next_agent"])

    def node(name: str) -> Callable[[MessagesState], dict[str, Any]]:
        agent = create_agent(
            models[name],
            [look_up],
            system_prompt=DUTY.format(name=name),
            checkpointer=True if remembers else None,
        )

        def run(state: MessagesState) -> dict[str, Any]:
            asked = next(m for m in reversed(state["messages"]) if m.type == "human")
            result = agent.invoke({"messages": [HumanMessage(asked.content)]})
            return {"messages": [AIMessage(result["messages"][-1].content, name=name)]}

        return run

    star = StateGraph(MessagesState)
    star.add_node("supervisor", supervise, destinations=(*names, END))
    star.add_edge(START, "supervisor")
    for name in names:
        star.add_node(name, node(name))
        star.add_edge(name, "supervisor")
    return talk(star.compile(checkpointer=InMemorySaver()), turns, supervisor, models)


def peer(name: str, participants: int, turns: int) -> Found:
    """Run the script on a peer, in its own environment."""
    done = subprocess.run(
        [str(made(name)), "-m", "benchmarks.peer", name, str(participants), str(turns)],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=1_200,
    )  # fmt: skip
    tokens: Tokens = json.loads(done.stdout)
    return Found(tokens)


def prefix(prompts: Sequence[list[BaseMessage]]) -> float:
    """The part of the tokens of each prompt with which the next one begins."""
    shared = total = 0
    for before, after in pairwise(prompts):
        same = 0
        for one, other in zip(before, after, strict=False):
            if (one.type, one.content, one.name) != (other.type, other.content, other.name):
                break
            same += 1
        shared += count_tokens_approximately(before[:same])
        total += count_tokens_approximately(before)
    return shared / total


FORGETFUL = ContextManager(max_tokens=2_150, compression_ratio=0.1)
CASES: dict[str, Callable[[int, int], Found]] = {
    "langgraph-supervisor": partial(peer, "langgraph-supervisor"),
    "deepagents": partial(peer, "deep-agents"),
    "by hand, participants remember": partial(by_hand, remembers=True),
    "by hand, participants forget": partial(by_hand, remembers=False),
    "Asterism": ours,
    "Asterism, all in one plan": partial(ours, route=at_once),
    'Asterism, finish="forward"': partial(ours, finish="forward"),
    "Asterism, one plan, a window for participants": partial(
        ours, route=at_once, finish="forward", memory=FORGETFUL
    ),
    "and digests from 50 tokens": partial(
        ours, route=at_once, finish="forward", memory=FORGETFUL, digest_tokens=50
    ),
}


def main() -> None:
    warnings.simplefilter("ignore")
    for participants, turns in SHAPES:
        print(f"\n{participants} participants, {turns} requests\n")
        print("| case | calls | tokens of messages | ratio | of tools | prefix |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        base = 0
        for name, run in CASES.items():
            tokens, prompts = run(participants, turns)
            calls, messages, tools = (
                sum(one[key] for one in tokens.values()) for key in ("calls", "messages", "tools")
            )
            base = base or messages
            part = f"{prefix(prompts):.0%}" if prompts else ""
            print(
                f"| {name} | {calls} | {messages:,} | {messages / base:.2f} | {tools:,} | {part} |"
            )
    print("\nratio: to langgraph-supervisor")
    print("prefix: the part of each prompt of the supervisor with which the next one begins")


if __name__ == "__main__":
    main()
