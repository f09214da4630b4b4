"""A peer with its defaults on the script of `benchmarks.counting`: prints JSON.

`python -m benchmarks.peer langgraph-supervisor 3 5`: three participants, five requests.
"""

import json
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langgraph.checkpoint.memory import InMemorySaver

from benchmarks.counting import (
    DUTY,
    REPORT,
    TOPICS,
    CountingModel,
    call,
    look_up,
    request,
    work,
)

Models = Mapping[str, CountingModel]
Build = Callable[[CountingModel, Models], Any]
Decide = Callable[[Sequence[str], list[BaseMessage]], AIMessage]


def since_request(messages: list[BaseMessage]) -> list[BaseMessage]:
    latest = max(place for place, m in enumerate(messages) if m.type == "human")
    return messages[latest:]


def hand_over(names: Sequence[str], messages: list[BaseMessage]) -> AIMessage:
    """Send one after the other to work, as a supervisor of langgraph-supervisor."""
    reported = {m.name for m in since_request(messages) if m.type == "ai"}
    for name in names:
        if name not in reported:
            return call(f"transfer_to_{name}")
    return AIMessage(REPORT)


def delegate(names: Sequence[str], messages: list[BaseMessage]) -> AIMessage:
    """Give one task after the other, as a deep agent."""
    done = sum(m.type == "tool" for m in since_request(messages))
    if done < len(names):
        name = names[done]
        return call("task", subagent_type=name, description=f"Find out all about the {name}.")
    return AIMessage(REPORT)


def langgraph_supervisor(supervisor: CountingModel, models: Models) -> Any:
    from langchain.agents import create_agent
    from langgraph_supervisor import create_supervisor

    agents: list[Any] = [
        create_agent(model, [look_up], system_prompt=DUTY.format(name=name), name=name)
        for name, model in models.items()
    ]
    rules = (
        f"You are the supervisor of a team: {', '.join(models)}. Send each to work on what the "
        "user asks for, one after the other. When all have reported, answer."
    )
    return create_supervisor(agents, model=supervisor, prompt=rules).compile(InMemorySaver())


def deep_agents(supervisor: CountingModel, models: Models) -> Any:
    from deepagents import create_deep_agent

    subagents: list[Any] = [
        {
            "name": name,
            "description": f"Finds out all about the {name}.",
            "system_prompt": DUTY.format(name=name),
            "tools": [look_up],
            "model": model,
        }
        for name, model in models.items()
    ]
    return create_deep_agent(model=supervisor, subagents=subagents, checkpointer=InMemorySaver())


PEERS: Mapping[str, tuple[Build, Decide]] = {
    "langgraph-supervisor": (langgraph_supervisor, hand_over),
    "deep-agents": (deep_agents, delegate),
}


def main(peer: str, participants: int, turns: int) -> None:
    build, decide = PEERS[peer]
    names = TOPICS[:participants]
    supervisor = CountingModel(answer=lambda messages: decide(names, messages))
    models = {name: CountingModel(answer=work) for name in names}
    graph = build(supervisor, models)
    for turn in range(turns):
        given = {"messages": [("user", request(turn))]}
        graph.invoke(given, {"configurable": {"thread_id": "1"}})
    found = {"supervisor": supervisor.tokens(), **{n: m.tokens() for n, m in models.items()}}
    for name, tokens in found.items():
        if name != "supervisor" and tokens["calls"] != 2 * turns:
            raise AssertionError(f"{name} was called {tokens['calls']} times")
    print(json.dumps(found))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
