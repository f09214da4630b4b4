"""The offline model on teams that it has never seen: how many requests end as they should."""

import json
import sys
from collections.abc import Mapping
from functools import wraps
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver

from asterism import Participant, SupervisorWorkflowBuilder, resume
from asterism.offline import OfflineChatModel
from asterism.offline.tool_choice import changing_verbs
from tests.asterism.offline.newcomers import CASES, TEAMS, TODAY, Case, Team

NEEDED = 0.8
"""The share of the requests that has to be right."""
MOST_ANSWERS = 4


def build(team: Team, made: list[tuple[str, dict[str, Any]]]) -> Any:
    """Build a team whose tools write down their calls."""

    def noted(function: Any) -> Any:
        @wraps(function)
        def call(**given: Any) -> str:
            plain = {k: getattr(v, "value", v) for k, v in given.items()}
            made.append((function.__name__, plain))
            return str(function(**given))

        return call

    members = {
        name: Participant(tools=[noted(tool) for tool in tools], description=description)
        for name, (description, tools) in team.members.items()
    }
    model = OfflineChatModel(today=lambda: TODAY)
    builder = SupervisorWorkflowBuilder(team.name, model=model).participants(**members)
    return builder.build(checkpointer=InMemorySaver())


def run(case: Case) -> tuple[list[tuple[str, dict[str, Any]]], list[str], Any]:
    """Run a request; return the calls, the questions and the result."""
    made: list[tuple[str, dict[str, Any]]] = []
    workflow = build(TEAMS[case.team], made)
    thread: Any = {"configurable": {"thread_id": "1"}}
    result = workflow.invoke({"messages": [("user", case.request)]}, thread)
    asked: list[str] = []
    answers = iter(case.answers)
    while result["status"] == "waiting" and len(asked) < MOST_ANSWERS:
        asked.append(result["__interrupt__"][0].value["prompt"])
        result = resume(workflow, thread, next(answers, "I do not know"))
    return made, asked, result


def fault_of(case: Case) -> str | None:
    """Say what went otherwise than it must, or return None."""
    made, asked, result = run(case)
    changing = {
        tool.__name__
        for _, tools in TEAMS[case.team].members.values()
        for tool in tools
        if changing_verbs({"name": tool.__name__, "description": tool.__doc__ or ""})
    }
    if failed := [report["text"] for report in result["reports"] if report["status"] != "ok"]:
        return f"failed: {failed}"
    if result["status"] == "waiting":
        return f"endless questions: {asked}"
    wanted = [call for call in case.calls if not any(_fits(call, one) for one in made)]
    surplus = [
        one
        for one in made
        if one[0] in changing and not any(_fits(call, one) for call in case.calls)
    ]
    if wanted or surplus:
        return f"calls {made}, questions {asked}"
    if not case.calls and made and not case.request.endswith("?"):
        return f"needless calls {made}"
    if len(made) != len({json.dumps(one, sort_keys=True) for one in made}):
        return f"the same twice: {made}"
    if case.asks is None and asked:
        return f"needless questions {asked}"
    if case.asks is not None and (not asked or case.asks not in asked[0]):
        return f"questions {asked}"
    if len(asked) > max(1, len(case.answers)):
        return f"too many questions {asked}"
    answer = result["messages"][-1].text
    assert isinstance(result["messages"][-1], AIMessage)
    missing = [text for text in case.contains if text not in answer]
    return f"the answer lacks {missing}: {answer}" if missing else None


def _fits(wanted: tuple[str, Mapping[str, Any]], made: tuple[str, Mapping[str, Any]]) -> bool:
    return wanted[0] == made[0] and all(made[1].get(k) == v for k, v in wanted[1].items())


def test_most_requests_of_newcomers_end_as_they_should() -> None:
    assert len(CASES) >= 60 and len(TEAMS) >= 12
    faults = {f"{n} {case.team}: {case.request}": fault_of(case) for n, case in enumerate(CASES)}
    wrong = {name: fault for name, fault in faults.items() if fault}
    rate = 1 - len(wrong) / len(CASES)
    said = f"{rate:.0%} of {len(CASES)} requests are right; wrong:"
    sys.stdout.write("\n".join([said, *(f"{name}: {fault}" for name, fault in wrong.items()), ""]))
    assert rate >= NEEDED, wrong
    assert not [fault for fault in wrong.values() if "endless" in fault]
