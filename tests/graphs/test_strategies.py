"""Strategies: teams that work in a fixed order, and votes."""

from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import interrupt

from asterism import (
    Agent,
    AskPerson,
    Compensation,
    Delegate,
    Participant,
    SupervisorWorkflowBuilder,
    UseCached,
    pending_requests,
    proceed,
    resume,
)
from asterism.core.run_types import WorkflowInput
from asterism.errors import RoutingError, WorkflowBuildError
from asterism.nodes.deciders.strategies import Vote, count_votes, read_vote
from asterism.testing import ScriptedChatModel
from tests.plans import drive, part
from tests.teams import follow

Saver = BaseCheckpointSaver[str]
REQUEST: WorkflowInput = {"messages": [("user", "Where do we meet?")]}
WAYS = pytest.mark.parametrize("way", ["sync", "async"])
TRIO = ("ann", "bob", "cid")


def voter(name: str, *votes: str, answer: str | None = None) -> Participant:
    """Answers, then votes as told."""
    said = iter([answer or f"{name}'s place", *votes])
    return Participant(runs=lambda messages: next(said), description=f"Is {name}.")


def team(strategy: Any, saver: Any = None, *, options: Any = None, **members: Any) -> Any:
    return (
        SupervisorWorkflowBuilder("Team", finish="forward", description="Decides together.")
        .participants(**members)
        .with_strategy(strategy, **(options or {}))
        .build(checkpointer=saver)
    )


def noted(seen: dict[str, list[str]], name: str) -> Participant:
    def work(messages: Any) -> str:
        seen.setdefault(name, []).append(messages[-1].text)
        return f"{name} says {len(seen[name])}"

    return Participant(runs=work, description=f"Is {name}.")


@WAYS
async def test_sequential_hands_on_what_was_done_before(way: str) -> None:
    seen: dict[str, list[str]] = {}
    built = team("sequential", **{name: noted(seen, name) for name in TRIO})
    result = await drive(built, way, REQUEST, None)
    assert [r["participant"] for r in result["reports"]] == list(TRIO)
    assert "ann says 1" in seen["bob"][0]
    assert "ann says 1" in seen["cid"][0] and "bob says 1" in seen["cid"][0]
    assert (result["status"], result["iterations"]) == ("completed", 2)


@WAYS
async def test_parallel_lets_each_work_for_itself(way: str) -> None:
    seen: dict[str, list[str]] = {}
    built = team("parallel", **{name: noted(seen, name) for name in TRIO})
    result = await drive(built, way, REQUEST, None)
    assert {r["participant"] for r in result["reports"]} == set(TRIO)
    assert not any("says" in text for texts in seen.values() for text in texts)


@WAYS
async def test_hierarchical_lets_the_first_lead(way: str) -> None:
    seen: dict[str, list[str]] = {}
    built = team("hierarchical", **{name: noted(seen, name) for name in TRIO})
    result = await drive(built, way, REQUEST, None)
    assert result["reports"][0]["participant"] == "ann"
    assert "bob, cid" in seen["ann"][0]
    assert all("ann says 1" in seen[name][0] for name in ("bob", "cid"))
    assert "bob says 1" in seen["ann"][1] and "cid says 1" in seen["ann"][1]
    assert result["messages"][-1].text == "ann says 2"


@WAYS
async def test_consensus_names_the_winner_the_votes_and_the_dissent(way: str) -> None:
    built = team(
        "consensus",
        ann=voter("ann", "vote: bob\nIt is near."),
        bob=voter("bob", '{"vote": "bob", "reason": "It is mine."}'),
        cid=voter("cid", "Vote: cid\nMy place has a garden."),
    )
    result = await drive(built, way, REQUEST, None)
    assert result["structured_response"] == {
        "winner": "bob",
        "answer": "bob's place",
        "votes": {"ann": "bob", "bob": "bob", "cid": "cid"},
        "dissent": {"cid": "cid: My place has a garden."},
    }
    assert result["messages"][-1].text == (
        "bob's place\n\nWinner: bob, with 2 of 3 votes (ann for bob, bob for bob, cid for cid).\n"
        "Dissent: \n- cid: cid: My place has a garden."
    )
    assert (result["status"], result["iterations"]) == ("completed", 3)


def test_without_a_winner_there_is_a_second_vote() -> None:
    built = team(
        "consensus",
        ann=voter("ann", "vote: ann", "vote: bob"),
        bob=voter("bob", "vote: bob", "vote: bob"),
    )
    result = built.invoke(REQUEST)
    assert result["structured_response"]["winner"] == "bob"
    assert result["iterations"] == 4


@pytest.mark.parametrize("tie", ["revote", "fail"])
def test_no_agreement_is_a_failure_with_its_kind(tie: str) -> None:
    votes = ["vote: ann"] * 2, ["vote: bob"] * 2
    built = team("consensus", options={"tie": tie}, ann=voter("ann", *votes[0]),
                 bob=voter("bob", *votes[1]))  # fmt: skip
    result = built.invoke(REQUEST)
    assert result["status"] == "failed"
    assert result["reason"] == "consensus_failed: ann for ann, bob for bob"
    assert result["iterations"] == (4 if tie == "revote" else 3)


def test_the_first_of_the_best_may_win() -> None:
    built = team("consensus", options={"tie": "first"}, ann=voter("ann", "vote: ann"),
                 bob=voter("bob", "vote: bob"))  # fmt: skip
    assert built.invoke(REQUEST)["structured_response"]["winner"] == "ann"


def test_a_failed_consensus_of_an_inner_team_can_be_made_up_for() -> None:
    def outer(*policies: Any) -> Any:
        inner = team("consensus", options={"tie": "fail"}, ann=voter("ann", "vote: ann"),
                     bob=voter("bob", "vote: bob"))  # fmt: skip
        return (
            SupervisorWorkflowBuilder("Outer", finish="forward")
            .participants(team=Participant(runs=inner, policies=policies))
            .with_manager(follow(["team"]))
            .build()
            .invoke(REQUEST)["reports"][0]
        )

    assert (outer()["status"], outer()["kind"]) == ("failed", "consensus_failed")
    made_up = outer(Compensation({"consensus_failed": UseCached("the town hall")}))
    assert (made_up["status"], made_up["text"]) == ("ok", "the town hall")


def test_who_failed_is_no_candidate_and_one_answer_is_no_consensus() -> None:
    def fails(messages: Any) -> str:
        raise RuntimeError("away")

    bad = Participant(runs=fails, description="Fails.")
    result = team("consensus", ann=voter("ann", "vote: bob"), bob=voter("bob", "vote: bob"),
                  bad=bad).invoke(REQUEST)  # fmt: skip
    assert result["structured_response"]["votes"] == {"ann": "bob", "bob": "bob", "bad": None}
    alone = team("consensus", ann=voter("ann", "vote: ann"), bad=bad).invoke(REQUEST)
    assert alone["reason"] == "consensus_failed: 1 of 2 answered (RuntimeError: away)"


@WAYS
async def test_a_question_in_the_middle_of_a_vote(
    saver: Saver, thread: RunnableConfig, way: str
) -> None:
    said = iter(["ann's place"])

    def asks(messages: Any) -> str:
        for answer in said:
            return answer
        return f"vote: {interrupt({'prompt': 'whom?'})}"

    built = team("consensus", saver, ann=Participant(runs=asks, description="Asks."),
                 bob=voter("bob", "vote: bob"))  # fmt: skip
    await drive(built, way, REQUEST, thread)
    assert [request.path for request in pending_requests(built, thread)] == ["ann"]
    result = resume(built, thread, "bob")
    assert result["structured_response"]["winner"] == "bob"


def test_a_strategy_is_picked_for_each_request_and_kept(
    saver: Saver, thread: RunnableConfig
) -> None:
    picked: list[str] = []

    def select(request: str) -> Any:
        picked.append(request)
        return "sequential" if "in turn" in request else "parallel"

    built = team(select, saver, ann=voter("ann", "x"), bob=voter("bob", "x"))
    result = built.invoke({"messages": [("user", "Work in turn")]}, thread)
    assert [r["task"] for r in result["reports"]] == ["sequential.answer.ann",
                                                     "sequential.answer.bob"]  # fmt: skip
    result = built.invoke({"messages": [("user", "Go")]}, thread)
    assert {r["task"].split(".")[0] for r in result["reports"]} == {"parallel"}
    assert picked == ["Work in turn", "Go"]


def test_the_team_is_chosen_for_each_request() -> None:
    seen: dict[str, list[str]] = {}
    built = team(
        "sequential",
        options={"create_agents_for_task": lambda request: ["cid", "ann"]},
        **{name: noted(seen, name) for name in TRIO},
    )
    result = built.invoke(REQUEST)
    assert [r["participant"] for r in result["reports"]] == ["cid", "ann"]


def test_agents_are_created_for_a_request() -> None:
    model = ScriptedChatModel(script=["from a new one"])
    spec = Agent(agent_id="new", system_prompt="You are new.")
    built = (
        SupervisorWorkflowBuilder("Team", model=model, finish="forward")
        .participants(ann=voter("ann"))
        .with_strategy("sequential", create_agents_for_task=lambda request: ["ann", spec])
        .build()
    )
    result = built.invoke(REQUEST)
    assert [r["text"] for r in result["reports"]] == ["ann's place", "from a new one"]
    assert model.calls[0].messages[0].text == "You are new."


def test_a_bad_choice_is_an_error_that_says_so() -> None:
    with pytest.raises(WorkflowBuildError, match="the strategy is 'chaos'; allowed: sequential"):
        team("chaos", ann=voter("ann"))
    with pytest.raises(WorkflowBuildError, match="majority is 1; it must be a share"):
        team("consensus", options={"majority": 1}, ann=voter("ann"))
    with pytest.raises(WorkflowBuildError, match="tie is 'toss'; allowed: 'revote'"):
        team("consensus", options={"tie": "toss"}, ann=voter("ann"))
    with pytest.raises(RoutingError, match="the strategy is 'chaos'; allowed: sequential"):
        team(lambda request: "chaos", ann=voter("ann")).invoke(REQUEST)
    for members in ({"ann": voter("ann")}, {}):
        nobody: Any = {"create_agents_for_task": lambda request: []}
        result = team("parallel", options=nobody, **members).invoke(REQUEST)
        assert result["status"] == "failed"
        assert "chose nobody for 'Where do we meet" in result["reason"]


@WAYS
@pytest.mark.parametrize(
    ("action", "answer"),
    [
        (UseCached("the town hall"), "the town hall"),
        (Delegate("eve"), "eve's place"),
        (AskPerson("Which?"), "Winner: ann, with 2 of 2 votes"),
    ],
    ids=["cached", "delegated", "asked"],
)
async def test_a_failed_consensus_is_made_up_for_where_it_fails(
    way: str, action: Any, answer: str, saver: Saver, thread: RunnableConfig
) -> None:
    def eve(messages: Any) -> str:
        asked = messages[-1].text
        agrees = "Answered: ann" in asked
        return f"vote: {'ann' if agrees else 'eve'}" if "vote" in asked else "eve's place"

    members = {
        "ann": voter("ann", "vote: ann", "vote: ann"),
        "eve": Participant(runs=eve, description="Votes."),
    }
    builder = SupervisorWorkflowBuilder(
        "Vote", finish="forward", policies=[Compensation({"consensus_failed": action})]
    )
    built = builder.participants(**members).with_strategy("consensus", tie="fail")
    workflow = built.build(checkpointer=saver)
    result = await drive(workflow, way, REQUEST, thread)
    if isinstance(action, AskPerson):
        assert (result["status"], pending_requests(workflow, thread)[0].prompt) == (
            "waiting",
            "Which?",
        )
        result = resume(workflow, thread, "ann")
    assert result["status"] == "completed"
    assert answer in result["messages"][-1].text


def test_a_consensus_fails_where_what_makes_up_for_it_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    policy = Compensation({"consensus_failed": lambda: None})
    members = {name: voter(name, f"vote: {name}") for name in ("ann", "eve")}
    builder = SupervisorWorkflowBuilder("Vote", finish="forward", policies=[policy])
    built = builder.participants(**members).with_strategy("consensus", tie="fail").build()
    result = built.invoke(REQUEST)
    assert (result["status"], str(result["reason"])[:17]) == ("failed", "consensus_failed:")
    assert "the compensation of consensus_failed failed" in caplog.text


@pytest.mark.parametrize(
    ("said", "choice", "reason"),
    [
        ("vote: ann\nbecause", "ann", "because"),
        ("**Vote:** Ann — she is right", "ann", ""),
        ('Sure! {"vote": "bob", "reason": "near"}', "bob", "near"),
        ("bob", "bob", "bob"),
        ("I vote for cid.\nFine.", "cid", "Fine."),
        ("ann or bob, I cannot say", None, "ann or bob, I cannot say"),
        ("vote: nobody", None, "vote: nobody"),
        ("vote: bobby", None, "vote: bobby"),
        ("", None, ""),
        ("I like it.\nMy vote: bob", "bob", "I like it."),
        ('{"vote": broken', None, '{"vote": broken'),
    ],
)
def test_a_vote_is_read(said: str, choice: str | None, reason: str) -> None:
    assert read_vote(said, TRIO) == Vote(choice, reason)


@pytest.mark.parametrize(
    ("choices", "majority", "first_wins", "winner"),
    [
        (["a", "a", "b"], 0.5, False, "a"),
        (["a", "b"], 0.5, False, None),
        (["a", "b"], 0.5, True, "a"),
        (["b", "a"], 0.5, True, "a"),
        (["a", "a", None, None], 0.5, False, None),
        (["a", "a", "b"], 0.7, False, None),
        ([None, None], 0.5, True, None),
        (["b", "b", "b"], 0.99, False, "b"),
    ],
)
def test_votes_are_counted(
    choices: Any, majority: float, first_wins: bool, winner: str | None
) -> None:
    votes = {f"v{place}": Vote(choice, "") for place, choice in enumerate(choices)}
    ballot = count_votes(votes, ["a", "b"], majority=majority, first_wins=first_wins)
    assert ballot.winner == winner


def test_a_consensus_goes_on_after_a_stop(saver: Saver, thread: RunnableConfig) -> None:
    stops = iter([KeyboardInterrupt()])
    replies = iter(["ann's place", "vote: ann"])

    def stop(messages: Any) -> str:
        if "Vote for" in part(messages):
            for error in stops:
                raise error
        return next(replies)

    built = team("consensus", saver, ann=Participant(runs=stop, description="Stops."),
                 bob=voter("bob", "vote: ann"))  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        built.invoke(REQUEST, thread)
    assert proceed(built, thread)["structured_response"]["winner"] == "ann"
