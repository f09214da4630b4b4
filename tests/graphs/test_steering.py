"""A running team is steered: each message is seen once, by whom it is for, and none is lost."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AnyMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import interrupt

from asterism import (
    Participant,
    SupervisorDecision,
    SupervisorView,
    SupervisorWorkflowBuilder,
    Workflow,
    aproceed,
    asteer,
    create_steer_tool,
    generate_detailed_tool_trace,
    generate_orchestrator_flowchart,
    proceed,
    read_run,
    resume,
    steer,
    what_if,
)
from asterism.core.run_types import WorkflowInput
from asterism.core.steering import SteeringMessage, add_steering, steering_store
from asterism.core.sync_async import run_steps
from asterism.errors import (
    ConfigurationError,
    InvalidRequestError,
    NothingPendingError,
    ThreadBusyError,
    UnknownParticipantError,
    WorkflowBuildError,
)
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.graphs.test_memory import is_valid
from tests.plans import task
from tests.teams import Turns, follow, star

Saver = BaseCheckpointSaver[str]
REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}


def thread_of(thread: RunnableConfig) -> str:
    return str((thread.get("configurable") or {})["thread_id"])


def history(workflow: Workflow, thread: RunnableConfig) -> list[str]:
    return [message.text for message in workflow.get_state(thread).values["messages"]]


def waiting(workflow: Workflow, thread: RunnableConfig) -> list[Any]:
    store = steering_store(workflow.checkpointer)
    return [message.content for message in store.steering(thread_of(thread))]


class Team:
    """A team of functions; each does what it is told to do at a visit, and keeps its prompts."""

    def __init__(self, saver: Any, route: list[str | None], **options: Any) -> None:
        self.prompts: dict[str, list[str]] = {}
        self.views: list[list[str]] = []
        self.at: dict[str, list[Callable[[], Any]]] = {}
        """What happens in the visits of a participant, one after the other."""
        names = sorted({name for name in route if name})
        self.workflow = (
            SupervisorWorkflowBuilder("Test", finish="forward", **options)
            .participants(**{name: self.participant(name) for name in names})
            .with_manager(self.decider(route))
            .build(checkpointer=saver)
        )

    def participant(self, name: str) -> Participant:
        def work(messages: list[AnyMessage]) -> str:
            self.prompts.setdefault(name, []).append(messages[-1].text)
            if acts := self.at.get(name):
                acts.pop(0)()
            return f"{name} {len(self.prompts[name])}"

        return Participant(runs=work, description="Works.")

    def decider(self, route: list[str | None]) -> Any:
        script = follow(route)

        def decide(view: SupervisorView) -> SupervisorDecision:
            self.views.append([m.text for m in view.messages if m.type == "human"])
            return script(view)

        return decide


# ---- the supervisor's boundary


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_the_supervisor_takes_a_message_in_at_its_next_decision(
    saver: Saver, thread: RunnableConfig, way: str
) -> None:
    team = Team(saver, ["venue", "food"])
    team.at["venue"] = [lambda: steer(team.workflow, thread, "In French")]
    if way == "sync":
        result = team.workflow.invoke(REQUEST, thread)
    else:
        result = await team.workflow.ainvoke(REQUEST, thread)
    assert result["status"] == "completed"
    assert team.views == [["Plan it"], ["Plan it", "In French"], ["Plan it", "In French"]]
    assert team.prompts["food"] == ["Plan it\n\nIn French\n\nYour part: step 2"]
    assert [str(m.text) for m in result["messages"]].count("In French") == 1
    assert waiting(team.workflow, thread) == []


def test_what_comes_while_the_supervisor_decides_to_finish_is_seen_before_it_does(
    saver: Saver, thread: RunnableConfig
) -> None:
    team = Team(saver, ["venue"])
    decide: Any = team.decider(["venue"])
    seen: list[list[str]] = []

    def late(view: SupervisorView) -> SupervisorDecision:
        seen.append([m.text for m in view.messages if m.type == "human"])
        if len(seen) == 2:
            steer(workflow, thread, "Wait")
        return decide(view)  # type: ignore[no-any-return]

    workflow = (
        SupervisorWorkflowBuilder("Test", finish="forward")
        .participants(venue=team.participant("venue"))
        .with_manager(late)
        .build(checkpointer=saver)
    )
    workflow.invoke(REQUEST, thread)
    assert seen == [["Plan it"], ["Plan it"], ["Plan it", "Wait"]]


def test_a_message_after_a_question_is_taken_in_with_the_answer(
    saver: Saver, thread: RunnableConfig
) -> None:
    def decide(view: SupervisorView) -> SupervisorDecision:
        if view.iterations == 0:
            return SupervisorDecision(next_agent=None, user_input_needed=True, user_prompt="When?")
        return SupervisorDecision(next_agent="venue" if view.iterations == 1 else None)

    turns = Turns()
    workflow = (
        SupervisorWorkflowBuilder("Test", finish="forward")
        .participants(venue=turns.participant("venue"))
        .with_manager(decide)
        .build(checkpointer=saver)
    )
    assert workflow.invoke(REQUEST, thread)["status"] == "waiting"
    steer(workflow, thread, "In French")
    resume(workflow, thread, "In May")
    assert history(workflow, thread)[:4] == ["Plan it", "When?", "In May", "In French"]
    assert "In French" in turns.prompts["venue"][0][-1].text


# ---- the participants' boundaries


def test_a_function_takes_a_message_in_at_its_next_visit(
    saver: Saver, thread: RunnableConfig
) -> None:
    team = Team(saver, ["venue", "food", "venue"])
    team.at["venue"] = [lambda: steer(team.workflow, thread, "No cellar", to="venue")]
    result = team.workflow.invoke(REQUEST, thread)
    assert ["No cellar" in prompt for prompt in team.prompts["venue"]] == [False, True]
    assert "No cellar" not in team.prompts["food"][0]
    shown = [str(message.text) for message in result["messages"]]
    assert shown.index("No cellar") == shown.index("venue 2") - 1
    assert waiting(team.workflow, thread) == []


def agent_team(
    saver: Any, thread: RunnableConfig, made: str, visits: int = 1
) -> tuple[Workflow, list[list[AnyMessage]]]:
    """A team of one agent, whose tool is where a message to it comes in."""
    prompts: list[list[AnyMessage]] = []

    @tool
    def look() -> str:
        """Look."""
        if len(prompts) == 1:
            steer(workflow, thread, "No cellar", to="venue")
        return "found"

    def say(messages: list[AnyMessage]) -> Any:
        assert is_valid(messages), messages
        prompts.append(messages)
        return ScriptedReply(tool_calls=[("look", {})]) if len(prompts) % 3 else "a hall"

    model = ScriptedChatModel(script=[say] * 9)
    agent = (
        Participant(runs=create_agent(model, [look]), description="Finds venues.")
        if made == "create_agent"
        else Participant(model=model, tools=[look], description="Finds venues.")
    )
    workflow = (
        SupervisorWorkflowBuilder("Test", finish="forward")
        .participants(venue=agent)
        .with_manager(follow(["venue"] * visits))
        .build(checkpointer=saver)
    )
    return workflow, prompts


@pytest.mark.parametrize("made", ["create_agent", "tools"])
@pytest.mark.parametrize("way", ["sync", "async"])
async def test_an_agent_takes_a_message_in_at_its_next_model_call(
    saver: Saver, thread: RunnableConfig, made: str, way: str
) -> None:
    workflow, prompts = agent_team(saver, thread, made, visits=2)
    if way == "sync":
        result = workflow.invoke(REQUEST, thread)
    else:
        result = await workflow.ainvoke(REQUEST, thread)
    counts = [[str(m.text) for m in prompt].count("No cellar") for prompt in prompts]
    assert counts == [0, 1, 1, 1, 1, 1]
    assert prompts[1][-1].text == "No cellar"
    assert [str(m.text) for m in result["messages"]].count("No cellar") == 1
    assert result["reports"][0]["text"] == "a hall"
    assert waiting(workflow, thread) == []


def test_a_workflow_inside_takes_its_messages_in_and_its_participants_theirs(
    saver: Saver, thread: RunnableConfig
) -> None:
    inside = Team(None, ["one", "two", "two"], description="Works in turn.")
    inside.workflow = (
        SupervisorWorkflowBuilder("Inner", finish="forward", description="Works in turn.")
        .participants(one=inside.participant("one"), two=inside.participant("two"))
        .with_manager(inside.decider(["one", "two", "two"]))
        .build()
    )
    workflow = (
        SupervisorWorkflowBuilder("Outer", finish="forward")
        .participants(team=inside.workflow)
        .with_manager(follow(["team"]))
        .build(checkpointer=saver)
    )

    def both() -> None:
        steer(workflow, thread, "For the team", to="team")
        steer(workflow, thread, "For two", to="team/two")

    inside.at["one"] = [both]
    workflow.invoke(REQUEST, thread)
    assert [view.count("For the team") for view in inside.views] == [0, 1, 1, 1]
    assert ["For two" in prompt for prompt in inside.prompts["two"]] == [True, False]
    shown = history(workflow, thread)
    assert (shown.count("For the team"), shown.count("For two")) == (1, 1)
    assert waiting(workflow, thread) == []


def test_a_supervisor_model_is_told_whom_a_message_was_for(
    saver: Saver, thread: RunnableConfig
) -> None:
    prompts: list[str] = []

    def decide(messages: list[AnyMessage]) -> Any:
        prompts.append("\n".join(message.text for message in messages))
        return {"next_agent": "venue" if len(prompts) == 1 else None, "instruction": "work"}

    turns = Turns()
    workflow = (
        SupervisorWorkflowBuilder(
            "Test", model=ScriptedChatModel(script=[decide] * 3), finish="forward"
        )
        .participants(venue=turns.participant("venue"), food=turns.participant("food"))
        .build(checkpointer=saver)
    )
    steer(workflow, thread, "No cellar", to="venue")
    workflow.invoke(REQUEST, thread)
    assert "(The user to venue, who has seen it: No cellar)" in prompts[1]
    assert turns.prompts["venue"][0][-1].text.count("No cellar") == 1


# ---- plans


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_a_plan_is_made_anew_and_what_is_finished_is_not_repeated(
    saver: Saver, thread: RunnableConfig, way: str
) -> None:
    turns, seen = Turns(), list[list[str]]()

    def decide(view: SupervisorView) -> SupervisorDecision:
        seen.append([m.text for m in view.messages if m.type == "human"])
        done = {report["participant"] for report in view.reports}
        if "In French" in seen[-1]:
            left = [task("c", "food")] if "food" not in done else []
        else:
            left = [task("a", "first"), task("b", "catering", "a"), task("c", "food", "b")]
        return SupervisorDecision(next_agent=None, tasks=left or None)

    def first(messages: list[AnyMessage]) -> str:
        steer(workflow, thread, "In French")
        return "first"

    workflow = (
        SupervisorWorkflowBuilder("Test", finish="forward")
        .participants(
            first=Participant(runs=first, description="Works."),
            catering=turns.participant("catering"),
            food=turns.participant("food"),
        )
        .with_manager(decide)
        .build(checkpointer=saver)
    )
    if way == "sync":
        result = workflow.invoke(REQUEST, thread)
    else:
        result = await workflow.ainvoke(REQUEST, thread)
    assert [report["participant"] for report in result["reports"]] == ["first", "food"]
    assert turns.taken == {"food": 1}
    assert result["status"] == "completed"


# ---- nobody runs, or the run ends first


@pytest.mark.parametrize("how", ["invoke", "proceed", "aproceed", "message", "stream"])
async def test_what_nobody_took_in_is_the_next_request(
    saver: Saver, thread: RunnableConfig, how: str
) -> None:
    team = Team(saver, ["venue"])
    team.workflow.invoke(REQUEST, thread)
    steer(team.workflow, thread, "In French")
    steer(team.workflow, thread, "And cheaper", when="idle")
    if how == "invoke":
        team.workflow.invoke(None, thread)
    elif how == "proceed":
        proceed(team.workflow, thread)
    elif how == "aproceed":
        await aproceed(team.workflow, thread)
    elif how == "stream":
        assert [*team.workflow.stream(None, thread)]
    else:
        team.workflow.invoke({"messages": [("user", "Now")]}, thread)
    new = ["In French", "And cheaper", *(["Now"] if how == "message" else [])]
    asked = "\n\n".join(new)
    assert team.prompts["venue"] == [
        "Plan it\n\nYour part: step 1",
        f"{asked}\n\nYour part: step 1",
    ]
    assert history(team.workflow, thread)[4:] == [*new, "→ venue: step 1", "venue 2", "venue 2"]
    assert waiting(team.workflow, thread) == []
    with pytest.raises(NothingPendingError):
        proceed(team.workflow, thread)


def test_a_message_to_a_participant_waits_for_its_visit_which_may_be_asked_for(
    saver: Saver, thread: RunnableConfig
) -> None:
    team = Team(saver, ["venue"])
    team.workflow.invoke(REQUEST, thread)
    steer(team.workflow, thread, "No cellar", to="venue")
    team.workflow.invoke({"messages": [("user", "Now")]}, thread)
    assert team.prompts["venue"][1].startswith("Now\n\nYour part: step 1\n\nThe user has added")
    steer(team.workflow, thread, "No attic", to="venue")
    team.workflow.invoke(None, thread)
    assert "a message to venue" in team.views[-1][-2]
    assert team.prompts["venue"][2].count("No attic") == 1
    assert waiting(team.workflow, thread) == []


def test_an_idle_message_waits_for_the_end_of_the_run(saver: Saver, thread: RunnableConfig) -> None:
    team = Team(saver, ["venue", "food"])
    team.at["venue"] = [lambda: steer(team.workflow, thread, "Next", when="idle")]
    team.workflow.invoke(REQUEST, thread)
    assert all("Next" not in view for view in team.views)
    assert waiting(team.workflow, thread) == ["Next"]
    team.workflow.invoke(None, thread)
    assert team.prompts["venue"][1].startswith("Next\n\n")


def test_a_message_before_the_first_run_is_its_request(
    saver: Saver, thread: RunnableConfig
) -> None:
    team = Team(saver, ["venue"])
    steer(team.workflow, thread, "Plan it")
    assert team.workflow.invoke(None, thread)["status"] == "completed"
    assert team.prompts["venue"] == ["Plan it\n\nYour part: step 1"]


def test_a_message_to_somebody_who_left_the_team_is_for_the_supervisor(
    saver: Saver, thread: RunnableConfig
) -> None:
    team = Team(saver, ["venue"])
    run_steps(
        add_steering(saver, thread_of(thread), SteeringMessage(content="No cellar", to="old"))
    )
    team.workflow.invoke(REQUEST, thread)
    assert "No cellar" in team.views[0]


# ---- exactly once


def test_a_stored_message_whose_row_is_left_is_not_taken_in_again(
    saver: Saver, thread: RunnableConfig
) -> None:
    team = Team(saver, ["venue", "venue"])
    rows: list[SteeringMessage] = []
    store = steering_store(saver)

    def both() -> None:
        for to in (None, "venue"):
            steer(team.workflow, thread, f"to {to}", to=to)
        rows.extend(store.steering(thread_of(thread)))

    team.at["venue"] = [both]
    team.workflow.invoke(REQUEST, thread)
    for row in rows:  # as after a crash between the checkpoint and the deletion
        store.steering(thread_of(thread), row)
    with pytest.raises(NothingPendingError):
        proceed(team.workflow, thread)
    for row in rows:
        store.steering(thread_of(thread), row)
    team.workflow.invoke({"messages": [("user", "Again")]}, thread)
    assert [prompt.count("to venue") for prompt in team.prompts["venue"]] == [0, 1, 0, 0]
    assert history(team.workflow, thread).count("to None") == 1
    assert waiting(team.workflow, thread) == []


def test_a_fork_before_a_message_sees_the_history_as_it_was(
    saver: Saver, thread: RunnableConfig
) -> None:
    team = Team(saver, ["venue", "food", "venue"])

    def both() -> None:
        steer(team.workflow, thread, "In French")
        steer(team.workflow, thread, "No cellar", to="venue")

    team.at["venue"] = [both]
    team.workflow.invoke(REQUEST, thread)
    states = [*team.workflow.get_state_history(thread)]
    before = next(s for s in states if s.next == ("venue",) and s.values["iterations"] == 1)
    team.views.clear()
    team.prompts.clear()
    result = team.workflow.invoke(None, before.config)
    assert result["status"] == "completed"
    assert not any("In French" in view for view in team.views)
    assert not any("No cellar" in prompt for prompt in team.prompts["venue"])


def test_what_if_does_not_take_messages_in_twice(saver: Saver, thread: RunnableConfig) -> None:
    team = Team(saver, ["venue", "food"])
    team.at["venue"] = [lambda: steer(team.workflow, thread, "In French")]
    team.workflow.invoke(REQUEST, thread)
    found = what_if(
        team.workflow,
        thread,
        round=2,
        decision=SupervisorDecision(next_agent="venue", instruction="again"),
    )
    shown = [message.text for message in found.result["messages"]]
    assert shown.count("In French") <= 1
    assert history(team.workflow, thread).count("In French") == 1


def test_a_question_of_a_participant_does_not_repeat_what_it_took_in(
    saver: Saver, thread: RunnableConfig
) -> None:
    prompts: list[list[str]] = []

    @tool
    def ask() -> str:
        """Ask."""
        return str(interrupt({"prompt": "Which?"}))

    def say(messages: list[AnyMessage]) -> Any:
        prompts.append([message.text for message in messages])
        return ScriptedReply(tool_calls=[("ask", {})]) if len(prompts) == 1 else "done"

    agent = create_agent(ScriptedChatModel(script=[say] * 4), [ask])
    workflow = (
        SupervisorWorkflowBuilder("Test", finish="forward")
        .participants(venue=Participant(runs=agent, description="Asks."))
        .with_manager(follow(["venue"]))
        .build(checkpointer=saver)
    )
    steer(workflow, thread, "No cellar", to="venue")
    assert workflow.invoke(REQUEST, thread)["status"] == "waiting"
    steer(workflow, thread, "No attic", to="venue")
    assert resume(workflow, thread, "The hall")["status"] == "completed"
    words = [[prompt.count(w) for w in ("No cellar", "No attic")] for prompt in prompts]
    assert words == [[1, 0], [1, 1]]
    assert [history(workflow, thread).count(w) for w in ("No cellar", "No attic")] == [1, 1]


def test_a_visit_that_fails_has_taken_in_the_message_where_that_is_stored(
    saver: Saver, thread: RunnableConfig
) -> None:
    team = Team(saver, ["venue", "venue"])

    def fail() -> None:
        raise ValueError("no")

    team.at["venue"] = [fail]
    steer(team.workflow, thread, "No cellar", to="venue")
    result = team.workflow.invoke(REQUEST, thread)
    assert [report["status"] for report in result["reports"]] == ["failed", "ok"]
    assert ["No cellar" in prompt for prompt in team.prompts["venue"]] == [True, False]
    assert history(team.workflow, thread).count("No cellar") == 1
    assert waiting(team.workflow, thread) == []


# ---- a second message on a busy thread


def run_aside(workflow: Workflow, thread: RunnableConfig, begun: threading.Event) -> Any:
    results: list[Any] = []
    run = threading.Thread(target=lambda: results.append(workflow.invoke(REQUEST, thread)))
    run.start()
    assert begun.wait(60)
    return run, results


@pytest.mark.parametrize(
    ("on_busy", "status"),
    [pytest.param("steer", "steered", id="steer"), pytest.param("queue", "queued", id="queue")],
)
def test_a_second_message_on_a_busy_thread_is_handed_over(
    saver: Saver, thread: RunnableConfig, on_busy: Any, status: str
) -> None:
    team, begun, go = Team(saver, ["venue", "food"], on_busy=on_busy), *_events()
    team.at["venue"] = [lambda: _hold(begun, go)]
    run, results = run_aside(team.workflow, thread, begun)
    handed = team.workflow.invoke({"messages": [("user", "In French")]}, thread)
    assert (handed["status"], handed["reports"]) == (status, [])
    assert [m.text for m in handed["messages"]][:1] == ["Plan it"]
    go.set()
    run.join()
    seen = [message.text for message in results[0]["messages"]].count("In French")
    assert seen == (on_busy == "steer")
    assert waiting(team.workflow, thread) == ([] if seen else ["In French"])


def _hold(begun: threading.Event, go: threading.Event) -> None:
    begun.set()
    assert go.wait(60)


def _events() -> tuple[threading.Event, threading.Event]:
    return threading.Event(), threading.Event()


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        pytest.param({}, "steer", id="as usual"),
        pytest.param({"stream_mode": "values"}, "status", id="values"),
        pytest.param({"stream_mode": ["updates"]}, ("updates",), id="a list"),
        pytest.param({"stream_mode": "updates", "subgraphs": True}, ((),), id="with subgraphs"),
        pytest.param(
            {"stream_mode": ["values"], "subgraphs": True}, ((), "values"), id="a list with them"
        ),
        pytest.param({"stream_mode": "updates", "version": "v2"}, "type", id="the second version"),
    ],
)
async def test_a_stream_says_that_the_message_was_handed_over(
    thread: RunnableConfig, options: dict[str, Any], shown: Any
) -> None:
    team, begun, go = Team(InMemorySaver(), ["venue"]), *_events()
    team.at["venue"] = [lambda: _hold(begun, go)]
    run, _ = await asyncio.to_thread(run_aside, team.workflow, thread, begun)
    request: WorkflowInput = {"messages": [("user", "In French")]}
    (part,) = await asyncio.to_thread(lambda: [*team.workflow.stream(request, thread, **options)])
    (same,) = [part async for part in team.workflow.astream(request, thread, **options)]
    go.set()
    await asyncio.to_thread(run.join)
    for found in (part, same):
        if isinstance(shown, tuple):
            assert found[:-1] == shown
        else:
            assert shown in found
        assert "steered" in str(found)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"messages": [("ai", "I said"), ("user", "x")]}, id="of the assistant"),
        pytest.param({"messages": [{"role": "user", "content": "x", "id": "7"}]}, id="with an id"),
        pytest.param(None, id="going on"),
    ],
)
def test_what_is_no_plain_message_is_refused_on_a_busy_thread(
    thread: RunnableConfig, given: Any
) -> None:
    team, begun, go = Team(InMemorySaver(), ["venue"]), *_events()
    team.at["venue"] = [lambda: _hold(begun, go)]
    run, _ = run_aside(team.workflow, thread, begun)
    try:
        with pytest.raises(ThreadBusyError):
            team.workflow.invoke(given, thread)
    finally:
        go.set()
        run.join()


# ---- what is shown of it


def test_records_and_pictures_show_what_steered_the_run(
    saver: Saver, thread: RunnableConfig
) -> None:
    team = Team(saver, ["venue", "venue"])

    def both() -> None:
        steer(team.workflow, thread, "In French")
        steer(team.workflow, thread, "No cellar", to="venue")

    team.at["venue"] = [both]
    team.workflow.invoke(REQUEST, thread)
    record = read_run(team.workflow, thread)
    (request,) = record.requests
    assert request.request == "Plan it"
    assert [decided.steering for decided in request.rounds] == [(), ("In French",), ()]
    assert [visit.steering for visit in request.visits()] == [(), ("No cellar",)]
    for draw in (generate_orchestrator_flowchart, generate_detailed_tool_trace):
        for format in ("ascii", "mermaid"):
            picture = " ".join(draw(record, format=format).split())
            assert "In French" in picture and "No cellar" in picture


# ---- what is refused; the tool


def test_what_cannot_be_taken_in_is_refused(thread: RunnableConfig) -> None:
    team = Team(InMemorySaver(), ["venue"])
    with pytest.raises(InvalidRequestError, match=r"The message is ' '. Allowed: a text."):
        steer(team.workflow, thread, " ")
    with pytest.raises(UnknownParticipantError, match=r"'hotel', who takes no part"):
        steer(team.workflow, thread, "x", to="hotel")
    bad: Any = "soon"
    with pytest.raises(ConfigurationError, match="when is 'soon'; allowed: 'asap', 'idle'"):
        steer(team.workflow, thread, "x", when=bad)
    with pytest.raises(ConfigurationError, match="stores no threads"):
        steer(Team(None, ["venue"]).workflow, thread, "x")
    with pytest.raises(WorkflowBuildError, match="on_busy is 'wait'; allowed: 'steer', 'queue'"):
        Team(None, ["venue"], on_busy="wait")


async def test_another_agent_steers_with_a_tool(thread: RunnableConfig) -> None:
    team = Team(InMemorySaver(), ["venue"])
    tool = create_steer_tool(team.workflow)
    tool.invoke({"thread_id": thread_of(thread), "message": "In French"})
    await tool.ainvoke({"thread_id": thread_of(thread), "message": "Cheap", "to": "venue"})
    await asteer(team.workflow, thread, "Now")
    assert waiting(team.workflow, thread) == ["In French", "Cheap", "Now"]
    await team.workflow.ainvoke(None, thread)
    assert team.prompts["venue"] == [
        "In French\n\nNow\n\nYour part: step 1\n\nThe user has added since: Cheap"
    ]


def test_a_run_that_is_not_stored_reads_no_messages() -> None:
    assert star(Turns(), ["venue"]).build().invoke(REQUEST)["status"] == "completed"
