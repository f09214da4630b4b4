"""What models are sent: the same script on langgraph-supervisor and on Asterism, in one run.

Three participants, five turns, one tool result of 2,000 tokens and a report of 300 for each.
langgraph-supervisor runs with its defaults in an environment of its own; its
supervisor answers with the three reports, as only it is seen by the user, and once more with one
word, for what that makes of it. Counted are the
tokens of all messages that any model is sent, by LangChain's approximate counter.
"""

import json
import subprocess
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.utils import count_tokens_approximately
from langgraph.checkpoint.memory import InMemorySaver

from asterism import ContextManager, Participant, SupervisorWorkflowBuilder
from benchmarks.counting import DUTY, NAMES, TURNS, CountingModel, call, look_up, request, work
from benchmarks.environments import made

ROOT = Path(__file__).parents[1]
DECISION = "SupervisorDecision"
Tokens = dict[str, dict[str, int]]


def reported(messages: list[BaseMessage]) -> set[str]:
    """Who has reported on the latest request."""
    latest = max(i for i, m in enumerate(messages) if m.text.startswith("Please work"))
    fenced = [m.text for m in messages[latest:] if m.text.startswith("<report")]
    return {text.split('"')[1] for text in fenced}


def in_turn(messages: list[BaseMessage]) -> AIMessage:
    """One after the other, as langgraph-supervisor does it."""
    for name in NAMES:
        if name not in reported(messages):
            return call(DECISION, next_agent=name, instruction=f"Find out all about the {name}.")
    return call(DECISION, next_agent=None)


def at_once(messages: list[BaseMessage]) -> AIMessage:
    """All three in one decision."""
    if reported(messages):
        return call(DECISION, next_agent=None)
    tasks = [
        {"task_id": n, "agent_id": n, "task_description": f"Find out all about the {n}."}
        for n in NAMES
    ]
    return call(DECISION, next_agent=None, tasks=tasks)


def ours(
    route: Callable[[list[BaseMessage]], AIMessage],
    *,
    memory: ContextManager | None = None,
    **options: Any,
) -> tuple[Tokens, list[list[BaseMessage]]]:
    """Run the script and return the tokens, and the prompts of the supervisor."""
    supervisor = CountingModel(answer=route)
    models = {name: CountingModel(answer=work) for name in NAMES}
    team = {
        name: Participant(
            model=model, tools=[look_up], prompt=DUTY.format(name=name), context=memory
        )
        for name, model in models.items()
    }
    workflow = (
        SupervisorWorkflowBuilder("Bench", model=supervisor, finish="forward", **options)
        .participants(**team)
        .build(checkpointer=InMemorySaver())
    )
    for turn in range(TURNS):
        given = {"messages": [("user", request(turn))]}
        result = workflow.invoke(given, {"configurable": {"thread_id": "1"}})
        if len(result["reports"]) != len(NAMES):
            raise AssertionError(f"{len(result['reports'])} reports, not {len(NAMES)}")
    found = {"supervisor": supervisor.tokens(), **{n: m.tokens() for n, m in models.items()}}
    return found, supervisor.prompts


def prefix(prompts: list[list[BaseMessage]]) -> float:
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


def peer(*arguments: str) -> Tokens:
    """Run langgraph-supervisor in its own environment."""
    done = subprocess.run(
        [str(made("langgraph-supervisor")), "-m", "benchmarks.peer", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=600,
    )  # fmt: skip
    found: Tokens = json.loads(done.stdout)
    return found


def row(name: str, found: Tokens, base: int, shared: float | None) -> str:
    calls, messages, tools = (
        sum(one[key] for one in found.values()) for key in ("calls", "messages", "tools")
    )
    part = "" if shared is None else f"{shared:.0%}"
    ratio = messages / base
    return f"| {name} | {calls} | {messages:,} | {ratio:.3f} | {tools:,} | {part} |"


def main() -> None:
    warnings.simplefilter("ignore")
    forgetful = ContextManager(max_tokens=2_150, compression_ratio=0.1)
    theirs = peer()
    base = sum(one["messages"] for one in theirs.values())
    cases: dict[str, tuple[Tokens, list[list[BaseMessage]]]] = {
        "defaults, one after the other": ours(in_turn),
        "defaults, all in one plan": ours(at_once),
        "a window for participants": ours(at_once, memory=forgetful),
        "and digests from 50 tokens": ours(at_once, memory=forgetful, digest_tokens=50),
    }
    print("| case | calls | tokens of messages | ratio | of tools | prefix |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    print(row("langgraph-supervisor", theirs, base, None))
    print(row("the same, answering in a word", peer("brief"), base, None))
    for name, (found, prompts) in cases.items():
        print(row(name, found, base, prefix(prompts)))
    print("\nprefix: the part of each prompt of the supervisor with which the next one begins")


if __name__ == "__main__":
    main()
