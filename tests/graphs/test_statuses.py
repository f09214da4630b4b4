"""Statuses: a run says how it stands, wherever it is read."""

from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from asterism import Participant, SupervisorWorkflowBuilder, abatch_process, batch_process
from asterism.errors import ChildFailedError
from asterism.supervision import AgentSupervisor, ChildStatus, SupervisorConfig
from asterism.testing import ScriptedChatModel
from tests.plans import drive
from tests.teams import Turns, follow

REQUEST = {"messages": [("user", "Plan it")]}


def broken(messages: Any) -> str:
    """Breaks."""
    raise RuntimeError("the price service is down")


def team(strategy: str, saver: Any = None, **members: Any) -> Any:
    builder = SupervisorWorkflowBuilder("Shop", finish="forward", description="A shop.")
    builder.participants(**members)
    if strategy == "manager":
        builder.with_manager(follow(list(members)))
    else:
        builder.with_strategy(strategy)  # type: ignore[arg-type]  # one of the names
    return builder.build(checkpointer=saver)


STRATEGIES = ["sequential", "parallel", "hierarchical", "consensus", "manager"]


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("count", [1, 2])
async def test_a_run_in_which_everybody_failed_has_failed(
    way: str, strategy: str, count: int
) -> None:
    members = {f"p{number}": broken for number in range(count)}
    result = await drive(team(strategy, **members), way, REQUEST, None)
    assert result["status"] == "failed"
    assert "the price service is down" in result["reason"]


@pytest.mark.parametrize("strategy", ["sequential", "parallel", "manager"])
async def test_a_team_that_failed_is_a_participant_that_failed(strategy: str) -> None:
    outer = team("manager", inner=team(strategy, broken=broken))
    result = await outer.ainvoke(REQUEST)
    assert [report["status"] for report in result["reports"]] == ["failed"]
    assert result["status"] == "failed"


@pytest.mark.parametrize("strategy", ["parallel", "manager"])
def test_a_run_in_which_some_failed_says_who(strategy: str) -> None:
    fine = Turns().participant("fine")
    result = team(strategy, fine=fine, broken=broken).invoke(REQUEST)
    assert result["status"] == "completed"
    assert "not all could do their part: broken: RuntimeError" in result["reason"]


@pytest.mark.parametrize("strategy", ["sequential", "parallel", "hierarchical"])
async def test_a_task_of_a_batch_in_which_everybody_failed_is_tried_again(strategy: str) -> None:
    down = [True]

    def flaky(messages: Any) -> str:
        """Breaks, and works again."""
        return broken(messages) if down[0] else "42"

    built = team(strategy, InMemorySaver(), flaky=flaky)
    [outcome] = batch_process(built, ["Plan it"], batch_id="1")
    assert (outcome.status, outcome.reused) == ("failed", False)
    assert "the price service is down" in str(outcome.error)
    down.clear()
    down.append(False)
    [outcome] = await abatch_process(built, ["Plan it"], batch_id="1")
    assert (outcome.status, outcome.error) == ("completed", None)
    assert outcome.values["messages"][-1].text == "42"


async def test_a_child_in_whose_run_everybody_failed_is_tried_again_and_fails() -> None:
    calls: list[Any] = []

    def noted(messages: Any) -> str:
        """Breaks."""
        calls.append(messages)
        return broken(messages)

    config = SupervisorConfig(max_restarts=1, cooldown_period=0)
    supervisor = AgentSupervisor(config)
    built = team("parallel", InMemorySaver(), noted=noted)
    child = await supervisor.spawn("shop", REQUEST, built)
    with pytest.raises(ChildFailedError, match="the price service is down"):
        await supervisor.await_child(child)
    assert supervisor.child(child).status == ChildStatus.FAILED
    await supervisor.shutdown()
    assert len(calls) == 2


def test_words_about_a_failure_make_no_success() -> None:
    model = ScriptedChatModel(script=[{"next_agent": "broken"}, {"next_agent": None}, "Sorry."])
    builder = SupervisorWorkflowBuilder("Shop", model=model)
    builder.participants(broken=Participant(runs=broken, description="Breaks."))
    result = builder.build().invoke(REQUEST)
    assert (result["status"], result["messages"][-1].text) == ("failed", "Sorry.")
