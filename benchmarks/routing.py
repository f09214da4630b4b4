"""How well a decider routes: who works for a request, against who should.

Each request of `routing.json` is run through a real workflow whose participants answer at once.
A request is right when exactly those have worked who should, `person` meaning that the user is
asked; it is reached when they have, and others perhaps, too. Without a model no network is used.

`python -m benchmarks.routing [--model NAME] [--wrong]`
"""

import json
import sys
import uuid
import warnings
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver
from langsmith import Client, evaluate, tracing_context
from langsmith.schemas import Example

from asterism import Participant, SupervisorDecision, SupervisorView, SupervisorWorkflowBuilder
from asterism.prompts import load_prompt

DATA = Path(__file__).with_name("routing.json")
TEAM = uuid.UUID(int=0)
"""Stands for the data set: nothing is uploaded, so it has no id."""

Team = Mapping[str, Any]
Build = Callable[[Team], SupervisorWorkflowBuilder]
"""Makes the builder of a team, with the decider that is judged."""


def by_model(model: str) -> Build:
    """Let a model decide."""

    def build(team: Team) -> SupervisorWorkflowBuilder:
        prompt = {"prompt": load_prompt(team["prompt"])} if team["prompt"] else {}
        return SupervisorWorkflowBuilder("Routing", model=model, finish="forward", **prompt)

    return build


def by_keywords(team: Team) -> SupervisorWorkflowBuilder:
    """Let a rule decide: whoever has a word of the request, in order; nobody: ask."""

    def decide(view: SupervisorView) -> SupervisorDecision:
        said = {word.strip(".,;:?!").lower() for word in view.request.split()}
        due = [name for name, words in team["keywords"].items() if said & set(words)]
        done = {report["participant"] for report in view.reports}
        if not due:
            question = "What should be done?"
            return SupervisorDecision(next_agent=None, user_input_needed=True, user_prompt=question)
        return SupervisorDecision(next_agent=next((n for n in due if n not in done), None))

    return SupervisorWorkflowBuilder("Routing", finish="forward").with_manager(decide)


def target(team: Team, build: Build) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return what is evaluated: from a request to those who worked for it."""
    team_of_stubs = {
        name: Participant(runs=lambda messages: "Done, nothing is missing.", description=text)
        for name, text in team["participants"].items()
    }
    built = build(team).participants(**team_of_stubs)

    def route(inputs: dict[str, Any]) -> dict[str, Any]:
        thread = {"configurable": {"thread_id": uuid.uuid4().hex}}
        workflow = built.build(checkpointer=InMemorySaver())
        with tracing_context(enabled=False):  # else LangChain's part of the run is uploaded
            result = workflow.invoke({"messages": [("user", inputs["asks"])]}, thread)
        person = ["person"] if result["status"] == "waiting" else []
        return {"who": sorted({r["participant"] for r in result["reports"]} | set(person))}

    return route


def right(outputs: dict[str, Any], reference_outputs: dict[str, Any]) -> bool:
    """Whether exactly those have worked who should; a run that failed is wrong."""
    return (outputs or {}).get("who") == sorted(reference_outputs["who"])


def reached(outputs: dict[str, Any], reference_outputs: dict[str, Any]) -> bool:
    """Whether all have worked who should, whoever else has."""
    return set((outputs or {}).get("who") or ()) >= set(reference_outputs["who"])


@dataclass(frozen=True, kw_only=True)
class Judged:
    """How a request was routed."""

    asks: str
    wanted: list[str]
    got: list[str] | None
    """None: the run failed."""
    right: bool
    reached: bool


def judge(team: Team, build: Build) -> list[Judged]:
    """Evaluate a decider on a team."""
    examples = [
        Example(
            id=uuid.uuid4(),
            dataset_id=TEAM,
            inputs={"asks": case["asks"]},
            outputs={"who": case["who"]},
        )
        for case in team["requests"]
    ]
    client = Client(api_url="http://127.0.0.1:9", api_key="none", auto_batch_tracing=False, info={})
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")  # `upload_results` is in beta
        found = evaluate(
            target(team, build),
            data=examples,
            evaluators=[right, reached],
            upload_results=False,
            client=client,
        )
    return [
        Judged(
            asks=row["example"].inputs["asks"],
            wanted=(row["example"].outputs or {})["who"],
            got=(row["run"].outputs or {}).get("who"),
            **{score.key: bool(score.score) for score in row["evaluation_results"]["results"]},
        )
        for row in found
    ]


def main(arguments: list[str] | None = None) -> dict[tuple[str, str], list[Judged]]:
    """Print how well each decider routes for each team, and return it."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append", default=[], help="a model to judge, too")
    parser.add_argument("--wrong", action="store_true", help="show what was routed wrongly")
    options = parser.parse_args(arguments)
    teams: dict[str, Team] = json.loads(DATA.read_text())
    deciders: dict[str, Build] = {"offline": by_model("offline"), "keywords": by_keywords}
    deciders |= {name: by_model(name) for name in options.model}
    found: dict[tuple[str, str], list[Judged]] = {}
    print(f"{'decider':<24} {'team':<16} {'right':>6} {'reached':>8} {'requests':>9}")
    for decider, build in deciders.items():
        for name, team in teams.items():
            judged = found[decider, name] = judge(team, build)
            good, all_ = sum(j.right for j in judged), sum(j.reached for j in judged)
            count = len(judged)
            print(f"{decider:<24} {name:<16} {good / count:6.0%} {all_ / count:8.0%} {count:9}")
            for case in judged:
                if options.wrong and not case.right:
                    print(f"    {case.asks!r}: {case.got}, not {case.wanted}")
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
