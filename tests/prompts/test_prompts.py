"""Prompts: their variables are filled, and their rendered text is reviewed."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages.utils import count_tokens_approximately

from asterism.core.digests import CHARACTERS_PER_TOKEN
from asterism.nodes.deciders.model_decider import ModelDecider
from asterism.prompts import list_prompts, load_prompt, render, variables
from asterism.testing import ScriptedChatModel

ROOT = Path(__file__).parents[2]
VARIABLES = {
    "digest": {"id", "report", "tokens"},
    "earlier": {"left_out", "summary"},
    "earlier_result": {"id", "result"},
    "left_out": {"count", "reports"},
    "summarize": {"words"},
    "creation": {"tools"},
    "designer": {"names", "tools"},
    "improve": {"complaints", "score", "threshold"},
    "judge": {"criteria"},
    "lead": {"team"},
    "read_source": {"path", "question"},
    "vote": {"answers", "before", "name", "names"},
    "orchestrator": {"creation", "instructions", "participants", "way"},
    "message_waits": {"participants"},
    "participant": {"description", "name"},
    "personality": {"rules", "style", "traits"},
    "review": {"criteria"},
    "review_again": {"fault"},
    "recalled": {"memories", "request"},
    "repair": {"fault", "shape"},
    "repeated": {"calls", "times"},
    "results": {"reports"},
    "steered": {"message", "request"},
    "steered_to": {"message", "participant"},
    "skills": {"skills"},
    "structured": {"schema"},
    "supervisor": {"ending", "example", "instructions", "participants", "plans"},
    "visit": {"instruction", "request"},
}


@pytest.mark.parametrize("name", list_prompts())
def test_the_variables_of_a_prompt_are_these(name: str) -> None:
    assert variables(name) == VARIABLES.get(name, set())


@pytest.mark.parametrize("name", list_prompts())
def test_every_prompt_is_used(name: str) -> None:
    code = "".join(p.read_text() for f in ("nodes", "graphs") for p in (ROOT / f).rglob("*.py"))
    pattern = re.sub(r"^event_(?!planning)\w+", "event_{name}", name)
    assert f'"{pattern}"' in code


def test_values_are_not_read_as_variables() -> None:
    assert render("visit", request="$5 {x} $request", instruction="$$") == (
        "$5 {x} $request\n\nYour part: $$"
    )


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(KeyError, match="instruction"):
        render("visit", request="x")


def test_an_unknown_prompt_is_an_error_that_lists_those_there_are() -> None:
    with pytest.raises(FileNotFoundError, match=r"no prompt 'nothing'; there are: .*supervisor"):
        load_prompt("nothing")


def test_the_supervisors_prompt_reads_as_reviewed() -> None:
    from asterism import SupervisorView

    decider = ModelDecider(ScriptedChatModel(), "- venue: Finds venues.\n- food: Cooks.")
    view = SupervisorView(
        messages=[], participants={"venue": "", "food": ""}, reports=[], iterations=0
    )
    reviewed = (Path(__file__).parent / "supervisor.txt").read_text()
    assert decider.prompt(view)[0].text + "\n" == reviewed


def test_a_small_request_is_sent_in_few_tokens() -> None:
    from asterism import Participant, SupervisorWorkflowBuilder

    route = [{"next_agent": n, "instruction": f"Price {n} to Rome."} for n in ("trains", "hotels")]
    model = ScriptedChatModel(script=[*route, {"next_agent": None}, "Both cost $370."])
    workflow = SupervisorWorkflowBuilder("Trip", model=model).participants(
        trains=Participant(runs=lambda messages: "$240", description="Prices train tickets."),
        hotels=Participant(runs=lambda messages: "$130", description="Finds hotels."),
    )
    workflow.build().invoke({"messages": [("user", "Two tickets to Rome and a hotel")]})
    model.assert_finished()
    tools = [json.dumps(call.options.get("tools") or []) for call in model.calls]
    messages = [count_tokens_approximately(call.messages) for call in model.calls]
    assert sum(map(len, tools)) // CHARACTERS_PER_TOKEN <= 720
    assert sum(messages) <= 1_050


def test_a_model_without_tools_is_told_the_shape_of_a_decision() -> None:
    from asterism import SupervisorView
    from asterism.offline import OfflineChatModel

    class NoTools(OfflineChatModel):
        def bind_tools(self, *args: Any, **kwargs: Any) -> Any:
            raise NotImplementedError

    view = SupervisorView(
        messages=[], participants={"venue": "", "food": ""}, reports=[], iterations=0
    )
    decider = ModelDecider(NoTools(), "- venue: Finds venues.")
    decider.decide(view)  # the first call shows that there are no tools
    text = decider.prompt(view)[0].text
    assert '"next_agent": "venue" or "food" or null' in text
