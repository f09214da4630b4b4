"""langgraph-supervisor with its defaults on the script of `benchmarks.counting`: prints JSON.

With the argument `brief` its supervisor answers with one word rather than with the reports.
"""

import json
import sys
import warnings

from langchain_core.messages import AIMessage, BaseMessage
from langgraph.checkpoint.memory import InMemorySaver

from benchmarks.counting import (
    DUTY,
    NAMES,
    REPORT,
    TURNS,
    CountingModel,
    call,
    look_up,
    request,
    work,
)

RULES = (
    "You are the supervisor of a team of three: venue, food and music. Send each to work on what "
    "the user asks for, one after the other. When all have reported, answer."
)


def route(messages: list[BaseMessage]) -> AIMessage:
    latest = max(place for place, m in enumerate(messages) if m.type == "human")
    reported = {m.name for m in messages[latest:] if m.type == "ai" and m.name in NAMES}
    for name in NAMES:
        if name not in reported:
            return call(f"transfer_to_{name}")
    return AIMessage("Done." if "brief" in sys.argv else "\n\n".join([REPORT] * len(NAMES)))


def main() -> None:
    from langgraph.prebuilt import create_react_agent
    from langgraph_supervisor import create_supervisor

    supervisor = CountingModel(answer=route)
    models = {name: CountingModel(answer=work) for name in NAMES}
    agents = [
        create_react_agent(model, [look_up], prompt=DUTY.format(name=name), name=name)
        for name, model in models.items()
    ]
    graph = create_supervisor(agents, model=supervisor, prompt=RULES).compile(InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    for turn in range(TURNS):
        graph.invoke({"messages": [("user", request(turn))]}, config)
    found = {"supervisor": supervisor.tokens(), **{n: m.tokens() for n, m in models.items()}}
    print(json.dumps(found))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
