"""A compiled workflow: threads, requests, status, edits, people."""

import asyncio
import itertools
import uuid
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from asterism import (
    Participant,
    SupervisorDecision,
    SupervisorView,
    SupervisorWorkflowBuilder,
    aresume,
    pending_requests,
    proceed,
    resume,
)
from asterism.core.continuation import aproceed
from asterism.core.interrupts import apending_requests
from asterism.core.run_types import WorkflowInput
from asterism.core.thread_lease import take_lease
from asterism.errors import (
    AnswerError,
    BadDecisionError,
    ConfigurationError,
    InvalidRequestError,
    InvalidThreadError,
    NothingPendingError,
    ThreadBusyError,
    UnknownRequestError,
)
from tests.plans import drive
from tests.teams import Turns, follow, said, star

REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}
WAYS = pytest.mark.parametrize("way", ["sync", "async"])
Saver = BaseCheckpointSaver[str]


def asking(view: SupervisorView) -> SupervisorDecision:
    """Ask when, then send the venue to work, then finish."""
    if view.reports:
        return SupervisorDecision(next_agent=None)
    if any(m.type == "human" for m in view.messages[1:]):
        return SupervisorDecision(next_agent="venue", instruction="Find a hall")
    return SupervisorDecision(next_agent=None, user_input_needed=True, user_prompt="When?")


def waiting(saver: Any, thread: RunnableConfig) -> tuple[Turns, Any]:
    """A workflow that waits for the answer to its question."""
    turns = Turns()
    workflow = star(turns, ["venue"]).with_manager(asking).build(checkpointer=saver)
    assert workflow.invoke(REQUEST, thread)["status"] == "waiting"
    return turns, workflow


# ---- threads and requests


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(None, id="no config"),
        pytest.param({}, id="an empty config"),
        pytest.param({"configurable": {"thread_id": None}}, id="None"),
        pytest.param({"configurable": {"thread_id": ""}}, id="an empty text"),
        pytest.param({"configurable": {"thread_id": "  "}}, id="white space"),
        pytest.param({"configurable": {"thread_id": "a\x00b"}}, id="a null character"),
        pytest.param({"configurable": {"thread_id": "a\nb"}}, id="a line break"),
        pytest.param({"configurable": {"thread_id": "x" * 256}}, id="too long"),
        pytest.param({"configurable": {"thread_id": ["a"]}}, id="a list"),
    ],
)
def test_a_thread_id_is_checked_before_anything_runs(config: Any) -> None:
    turns = Turns()
    workflow = star(turns, ["venue"]).build(checkpointer=InMemorySaver())
    with pytest.raises(InvalidThreadError, match="The thread id is"):
        workflow.invoke(REQUEST, config)
    assert turns.taken == {}


@pytest.mark.parametrize("thread_id", ["1", 1, uuid.uuid4(), "ünï/../code"])
def test_usual_thread_ids_are_allowed(thread_id: Any) -> None:
    workflow = star(Turns(), ["venue"]).build(checkpointer=InMemorySaver())
    config: RunnableConfig = {"configurable": {"thread_id": thread_id}}
    assert workflow.invoke(REQUEST, config)["status"] == "completed"


def test_without_a_checkpointer_no_thread_is_needed() -> None:
    assert star(Turns(), ["venue"]).build().invoke(REQUEST)["status"] == "completed"


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"messages": []}, id="no messages"),
        pytest.param({"messages": [("user", "")]}, id="an empty message"),
        pytest.param({"messages": [("assistant", "hi")]}, id="no message of the user"),
        pytest.param({"messages": [7]}, id="not a message"),
        pytest.param({"messages": [("nobody", "hi")]}, id="an unknown role"),
    ],
)
def test_a_request_is_checked_before_anything_runs(given: Any, thread: RunnableConfig) -> None:
    workflow = star(Turns(), ["venue"]).build(checkpointer=InMemorySaver())
    with pytest.raises(InvalidRequestError, match="The input"):
        workflow.invoke(given, thread)
    assert workflow.get_state(thread).values == {}


@pytest.mark.parametrize(
    "messages",
    [
        "Plan it",
        ["Plan it"],
        [("user", "Plan it")],
        [{"role": "user", "content": "Plan it"}],
        HumanMessage("Plan it"),
        [("system", "Be kind"), ("user", "Hi"), ("assistant", "Hello"), ("user", "Plan it")],
    ],
)
def test_messages_may_have_any_form(messages: Any, thread: RunnableConfig) -> None:
    turns = Turns()
    workflow = star(turns, ["venue"]).build(checkpointer=InMemorySaver())
    workflow.invoke({"messages": messages}, thread)
    assert turns.prompts["venue"][0][-1].text == "Plan it\n\nYour part: step 1"
    ids = [m.id for m in workflow.get_state(thread).values["messages"]]
    assert ids == [m.id for m in workflow.get_state(thread).values["messages"]]


def test_durability_exit_is_refused(thread: RunnableConfig) -> None:
    workflow = star(Turns(), ["venue"]).build(checkpointer=InMemorySaver())
    with pytest.raises(ConfigurationError, match="durability='exit' loses"):
        workflow.invoke(REQUEST, thread, durability="exit")
    assert workflow.invoke(REQUEST, thread, durability="async")["status"] == "completed"


async def test_batches_run(thread: RunnableConfig) -> None:
    workflow = star(Turns(), ["venue"]).build(checkpointer=InMemorySaver())
    configs: list[RunnableConfig] = [{"configurable": {"thread_id": str(n)}} for n in range(3)]
    results = await workflow.abatch([REQUEST] * 3, configs)
    assert [result["status"] for result in results] == ["completed"] * 3


# ---- people


def test_a_question_waits_and_is_answered(saver: Saver, thread: RunnableConfig) -> None:
    turns, workflow = waiting(saver, thread)
    (request,) = pending_requests(workflow, thread)
    assert (request.participant, request.path, request.request_type) == (
        "supervisor",
        "",
        "question",
    )
    assert request.prompt == "When?"
    assert request.schema is not None and request.schema["type"] == "string"
    assert request.value["context"]["request"] == "Plan it"
    assert request.value["conversation"][-1]["content"] == "When?"
    result = resume(workflow, thread, "Tomorrow")
    assert result["status"] == "completed"
    assert turns.prompts["venue"][0][-1].text == (
        "Plan it\n\nAsked: When?\nAnswered: Tomorrow\n\nYour part: Find a hall"
    )


async def test_a_question_is_answered_in_async(thread: RunnableConfig) -> None:
    turns = Turns()
    workflow = star(turns, ["venue"]).with_manager(asking).build(checkpointer=InMemorySaver())
    await workflow.ainvoke(REQUEST, thread)
    (request,) = await apending_requests(workflow, thread)
    result = await aresume(workflow, thread, {request.id: "Tomorrow"})
    assert (result["status"], turns.taken) == ("completed", {"venue": 1})


def test_a_plain_command_answers_too(thread: RunnableConfig) -> None:
    _, workflow = waiting(InMemorySaver(), thread)
    assert workflow.invoke(Command(resume="Tomorrow"), thread)["status"] == "completed"


def test_the_decision_to_ask_is_not_made_again(thread: RunnableConfig) -> None:
    decisions: list[int] = []

    def counting(view: SupervisorView) -> SupervisorDecision:
        decisions.append(view.iterations)
        return asking(view)

    workflow = star(Turns(), ["venue"]).with_manager(counting).build(checkpointer=InMemorySaver())
    workflow.invoke(REQUEST, thread)
    resume(workflow, thread, "Tomorrow")
    assert decisions == [0, 1, 2]


@pytest.mark.parametrize(
    ("answers", "error", "words"),
    [
        pytest.param(None, AnswerError, "is empty", id="None"),
        pytest.param("", AnswerError, "is empty", id="an empty text"),
        pytest.param(" \n", AnswerError, "is empty", id="white space"),
        pytest.param(7, AnswerError, "7 is not of type 'string'. Allowed", id="a number"),
        pytest.param({"a": 1}, AnswerError, "is not of type 'string'", id="an object"),
        pytest.param({"f" * 32: "x"}, UnknownRequestError, "No open request", id="unknown id"),
    ],
)
def test_a_bad_answer_is_refused_and_nothing_is_lost(
    answers: Any, error: type[Exception], words: str, thread: RunnableConfig
) -> None:
    _, workflow = waiting(InMemorySaver(), thread)
    before = workflow.get_state(thread)
    with pytest.raises(error, match=words):
        resume(workflow, thread, answers)
    assert workflow.get_state(thread) == before
    assert resume(workflow, thread, "Tomorrow")["status"] == "completed"


def test_nothing_pending_is_an_error(thread: RunnableConfig) -> None:
    _, workflow = waiting(InMemorySaver(), thread)
    resume(workflow, thread, "Tomorrow")
    with pytest.raises(NothingPendingError, match="Nobody is waiting"):
        resume(workflow, thread, "Tomorrow")
    with pytest.raises(NothingPendingError, match="Nobody is waiting"):
        resume(workflow, {"configurable": {"thread_id": "unknown"}}, "Tomorrow")


def test_an_answer_is_checked_by_who_holds_the_thread(thread: RunnableConfig) -> None:
    saver = InMemorySaver()
    turns, workflow = waiting(saver, thread)
    release = take_lease(saver, str(thread["configurable"]["thread_id"]))
    assert release is not None
    with pytest.raises(ThreadBusyError):
        resume(workflow, thread, "In May")
    release()
    with pytest.raises(AnswerError):
        resume(workflow, thread, " ")
    assert resume(workflow, thread, "In May")["status"] == "completed"
    assert turns.taken == {"venue": 1}
    with pytest.raises(NothingPendingError):
        resume(workflow, thread, "In June")


async def test_of_two_who_answer_at_once_one_is_heard(thread: RunnableConfig) -> None:
    turns, workflow = waiting(InMemorySaver(), thread)
    both = [aresume(workflow, thread, when) for when in ("In May", "In June")]
    found = await asyncio.gather(*both, return_exceptions=True)
    (refused,) = (one for one in found if isinstance(one, Exception))
    assert isinstance(refused, ThreadBusyError | NothingPendingError)
    assert turns.taken == {"venue": 1}


def test_a_plain_message_instead_of_an_answer_keeps_the_request(thread: RunnableConfig) -> None:
    turns, workflow = waiting(InMemorySaver(), thread)
    result = workflow.invoke({"messages": [("user", "Tomorrow")]}, thread)
    assert result["status"] == "completed"
    assert [m.text for m in result["messages"]][:4] == [
        "Plan it",
        "When?",
        "(withdrawn by a new message: supervisor asked 'When?')",
        "Tomorrow",
    ]
    assert turns.prompts["venue"][0][-1].text.startswith("Plan it\n\nTomorrow\n\nYour part")


def test_a_request_that_is_given_again_is_a_new_one(saver: Saver, thread: RunnableConfig) -> None:
    workflow = star(Turns(), ["venue"]).build(checkpointer=saver)
    request: WorkflowInput = {"messages": [HumanMessage("Plan it")]}
    for _ in range(2):
        result = workflow.invoke(request, thread)
    shown = [message.text for message in result["messages"]]
    assert shown == [
        *("Plan it", "→ venue: step 1", "venue 1", "venue 1"),
        *("Plan it", "→ venue: step 1", "venue 2", "venue 2"),
    ]


def test_an_answer_of_a_model_that_repeats_its_ids_is_a_new_one(thread: RunnableConfig) -> None:
    model = GenericFakeChatModel(messages=itertools.cycle([AIMessage("Done.")]))
    workflow = star(Turns(), ["venue"], model=model, finish="synthesize").build(
        checkpointer=InMemorySaver()
    )
    for count in (1, 2):
        texts = [str(message.text) for message in workflow.invoke(REQUEST, thread)["messages"]]
        assert (texts[-1], texts.count("Done.")) == ("Done.", count)


# ---- status


def test_status_is_waiting_wherever_it_is_read(thread: RunnableConfig) -> None:
    _, workflow = waiting(InMemorySaver(), thread)
    assert workflow.get_state(thread).values["status"] == "waiting"
    inner = star(Turns(), ["venue"], description="Asks.").with_manager(asking).build()
    outer = star(Turns(), []).participants(team=inner).with_manager(follow(["team"]))
    built = outer.build(checkpointer=InMemorySaver())
    assert built.invoke(REQUEST, thread)["status"] == "waiting"
    assert built.get_state(thread).values["status"] == "waiting"
    (request,) = pending_requests(built, thread)
    assert (request.participant, request.path) == ("team", "team")
    assert resume(built, thread, "Tomorrow")["status"] == "completed"


async def test_status_is_true_in_async(thread: RunnableConfig) -> None:
    workflow = star(Turns(), ["venue"]).with_manager(asking).build(checkpointer=InMemorySaver())
    assert (await workflow.ainvoke(REQUEST, thread))["status"] == "waiting"
    assert (await workflow.aget_state(thread)).values["status"] == "waiting"
    output = await workflow.ainvoke(Command(resume="x"), thread, version="v2")
    assert output.value["status"] == "completed"


# ---- going on


async def test_proceed_goes_on_with_what_was_stopped_and_nothing_else(
    thread: RunnableConfig,
) -> None:
    turns = Turns()
    workflow = star(turns, ["venue", "food"]).build(checkpointer=InMemorySaver())
    with pytest.raises(NothingPendingError, match="Nothing is unfinished"):
        proceed(workflow, thread)
    workflow.invoke(REQUEST, thread, interrupt_before=["food"])
    assert said(await aproceed(workflow, thread)) == ["venue 1", "food 1"]
    with pytest.raises(NothingPendingError, match="Nothing is unfinished"):
        await aproceed(workflow, thread)
    _, asking_workflow = waiting(InMemorySaver(), thread)
    with pytest.raises(NothingPendingError, match="waits for a person"):
        proceed(asking_workflow, thread)


# ---- edits


def paused(turns: Turns, thread: RunnableConfig, saver: Any = None) -> Any:
    """A workflow that was stopped before its first visit."""
    workflow = star(turns, ["venue", "food"]).build(checkpointer=saver or InMemorySaver())
    workflow.invoke(REQUEST, thread, interrupt_before=["venue", "food"])
    assert workflow.get_state(thread).next == ("venue",)
    return workflow


def test_an_edited_decision_is_routed(saver: Saver, thread: RunnableConfig) -> None:
    turns = Turns()
    workflow = paused(turns, thread, saver)
    workflow.update_state(thread, {"decision": {"next_agent": "FOOD", "instruction": "Cook"}})
    assert workflow.get_state(thread).next == ("food",)
    result = proceed(workflow, thread)
    assert said(result)[0] == "food 1"
    assert turns.prompts["food"][0][-1].text == "Plan it\n\nYour part: Cook"


async def test_an_edited_decision_is_routed_in_async(thread: RunnableConfig) -> None:
    workflow = paused(Turns(), thread)
    values = {"decision": {"next_agent": "food"}}
    await workflow.aupdate_state(thread, values, as_node="supervisor")
    assert (await workflow.aget_state(thread)).next == ("food",)


@pytest.mark.parametrize(
    ("decision", "target"),
    [
        ({"next_agent": None}, "finish"),
        ({}, "finish"),
        ({"user_input_needed": True, "user_prompt": "Sure?"}, "human"),
    ],
)
def test_a_decision_can_be_edited_to_any_target(
    decision: dict[str, Any], target: str, thread: RunnableConfig
) -> None:
    workflow = paused(Turns(), thread)
    workflow.update_state(thread, {"decision": decision})
    assert workflow.get_state(thread).next == (target,)


def test_an_edit_that_names_nobody_is_refused(thread: RunnableConfig) -> None:
    workflow = paused(Turns(), thread)
    with pytest.raises(BadDecisionError, match="'cook', which is not a participant"):
        workflow.update_state(thread, {"decision": {"next_agent": "cook"}})
    assert workflow.get_state(thread).next == ("venue",)


@WAYS
@pytest.mark.parametrize("depth", [1, 2])
async def test_an_edited_decision_is_followed_in_a_workflow_that_is_a_participant(
    depth: int, way: str, saver: Saver, thread: RunnableConfig
) -> None:
    def ask_first(view: SupervisorView) -> SupervisorDecision:
        asks = view.iterations == 0
        return SupervisorDecision(next_agent=None, user_input_needed=asks, user_prompt="When?")

    workflow = star(Turns(), ["venue", "food"], description="Asks.").with_manager(ask_first).build()
    for level in range(depth):
        outer = SupervisorWorkflowBuilder("Outer", finish="forward", description="Asks, too.")
        outer.participants(team=workflow).with_manager(follow(["team"]))
        workflow = outer.build(checkpointer=saver if level == depth - 1 else None)
    place: Any = {
        "configurable": {**thread["configurable"], "checkpoint_ns": "|".join(["team"] * depth)}
    }
    for visit in (1, 2):
        assert (await drive(workflow, way, REQUEST, thread))["status"] == "waiting"
        await workflow.aupdate_state(place, {"decision": {"next_agent": "food"}})
        assert workflow.get_state(place).next == ("food",)
        result = await drive(workflow, way, None, thread)
        assert (result["status"], said(result)) == ("completed", [f"food {visit}"])


@WAYS
async def test_an_edit_of_a_participants_state_does_not_begin_its_visit_anew(
    way: str, saver: Saver, thread: RunnableConfig
) -> None:
    looked: list[str] = []

    def look(state: MessagesState) -> Any:
        looked.append("once")
        return {"messages": [("ai", "Looked.")]}

    def pay(state: MessagesState) -> Any:
        return {"messages": [("ai", f"{len(state['messages'])}: {interrupt({'prompt': 'Pay?'})}")]}

    graph = StateGraph(MessagesState)
    graph.add_sequence([("look", look), ("pay", pay)])
    graph.add_edge(START, "look")
    workflow = (
        SupervisorWorkflowBuilder("Test", finish="forward")
        .participants(bank=Participant(runs=graph.compile(), description="Pays."))
        .with_manager(follow(["bank"]))
        .build(checkpointer=saver)
    )
    await drive(workflow, way, REQUEST, thread)
    place: Any = {"configurable": {**thread["configurable"], "checkpoint_ns": "bank"}}
    await workflow.aupdate_state(place, {"messages": [("user", "Be careful.")]}, as_node="look")
    assert (await drive(workflow, way, None, thread))["status"] == "waiting"
    result = await aresume(workflow, thread, "yes")
    assert (looked, said(result)) == (["once"], ["3: yes"])


def test_other_edits_do_not_lose_where_the_run_goes(thread: RunnableConfig) -> None:
    workflow = paused(Turns(), thread)
    workflow.update_state(thread, {"messages": [("user", "And be quick")]})
    assert workflow.get_state(thread).next == ("venue",)
    assert said(proceed(workflow, thread)) == ["venue 1", "food 1"]


@WAYS
@pytest.mark.parametrize("taken_back", [False, True], ids=["a new decision", "an earlier one"])
async def test_the_same_edit_in_another_request_is_another_visit(
    way: str, taken_back: bool, saver: Saver, thread: RunnableConfig
) -> None:
    workflow = star(Turns(), ["venue", "food"]).build(checkpointer=saver)
    edit: dict[str, Any] = {"next_agent": "food"}
    reports: list[dict[str, Any]] = []
    for _ in range(3):
        await drive(workflow, way, REQUEST, thread, interrupt_before=["venue"])
        workflow.update_state(thread, {"decision": edit})
        if taken_back:
            edit = workflow.get_state(thread).values["decision"]
        result = await drive(workflow, way, None, thread)
        reports += result["reports"]
    assert [report["text"] for report in reports] == [f"food {n + 1}" for n in range(6)]
    assert len({report["id"] for report in reports}) == 6
    shown = [m.text for m in result["messages"] if m.name == "food"]
    assert shown == [report["text"] for report in reports]


def test_a_decision_that_is_taken_again_and_again_is_visited_each_time(
    saver: Saver, thread: RunnableConfig
) -> None:
    workflow = star(Turns(), ["venue"]).build(checkpointer=saver)
    workflow.invoke(REQUEST, thread, interrupt_after=["venue"])
    for _ in range(3):
        decision = workflow.get_state(thread).values["decision"]
        workflow.update_state(thread, {"decision": decision}, as_node="supervisor")
        workflow.invoke(None, thread, interrupt_after=["venue"])
    reports = workflow.get_state(thread).values["reports"]
    assert [report["text"] for report in reports] == [f"venue {n + 1}" for n in range(4)]
    assert len({report["id"] for report in reports}) == 4


def test_an_edit_of_an_earlier_decision_forks(thread: RunnableConfig) -> None:
    turns = Turns()
    workflow = star(turns, ["venue", "food"]).build(checkpointer=InMemorySaver())
    workflow.invoke(REQUEST, thread)
    past = next(s for s in workflow.get_state_history(thread) if s.next == ("venue",))
    fork = workflow.update_state(past.config, {"decision": {"next_agent": "food"}})
    result = workflow.invoke(None, fork)
    assert said(result) == ["food 2", "food 3"]
    sizes = [len(prompt) for prompt in turns.prompts["food"]]
    assert sizes == [1, 1, 3]  # the fork's first visit does not remember the other branch's


def test_a_replay_runs_the_turn_again(thread: RunnableConfig) -> None:
    turns = Turns()
    workflow = star(turns, ["venue", "venue"]).build(checkpointer=InMemorySaver())
    workflow.invoke(REQUEST, thread)
    second = next(s for s in workflow.get_state_history(thread) if s.next == ("venue",))
    result = workflow.invoke(None, second.config)
    assert said(result) == ["venue 1", "venue 3"]
    assert [len(prompt) for prompt in turns.prompts["venue"]] == [1, 3, 3]


class OutageError(Exception):
    pass


def _breaks(messages: Any) -> str:
    """Breaks down."""
    raise OutageError("no connection")


def _debugged(kind: str, *, debug: bool) -> Any:
    """Return a workflow whose participant raises, in one of the ways in which it may be sent."""
    builder = SupervisorWorkflowBuilder("Team", model="offline", debug=debug)
    if kind == "nested":
        inner = SupervisorWorkflowBuilder("Inner", model="offline", description="Breaks down.")
        return builder.participants(breaks=inner.participants(breaks=_breaks).build()).build()
    builder.participants(breaks=_breaks, other=_breaks)
    return (builder.with_strategy("parallel") if kind == "plan" else builder).build()


ASK_ALL = {"messages": [("user", "Prepare everything")]}


@pytest.mark.parametrize("kind", ["routed", "plan", "nested"])
async def test_debug_raises_what_a_participant_raises(kind: str) -> None:
    workflow = _debugged(kind, debug=True)
    with pytest.raises(OutageError, match="no connection"):
        workflow.invoke(ASK_ALL)
    with pytest.raises(OutageError):
        [*workflow.stream(ASK_ALL)]
    with pytest.raises(OutageError):
        await workflow.ainvoke(ASK_ALL)
    with pytest.raises(OutageError):
        [part async for part in workflow.astream(ASK_ALL)]


@pytest.mark.parametrize("kind", ["routed", "plan", "nested"])
async def test_without_debug_a_failure_is_a_report(kind: str) -> None:
    workflow = _debugged(kind, debug=False)
    for result in (workflow.invoke(ASK_ALL), await workflow.ainvoke(ASK_ALL)):
        assert result["status"] == "failed"
        assert "no connection" in result["reports"][0]["error"]


class CountingSaver(InMemorySaver):
    """Counts how often the history of the thread itself is read."""

    reads = 0

    def get_delta_channel_history(self, **asked: Any) -> Any:
        self.reads += not asked["config"]["configurable"].get("checkpoint_ns")
        return super().get_delta_channel_history(**asked)


def test_a_next_request_reads_the_history_of_its_thread_once(thread: RunnableConfig) -> None:
    saver = CountingSaver()
    workflow = star(Turns(), ["venue"]).build(checkpointer=saver)
    for _ in range(3):
        workflow.invoke(REQUEST, thread)
    assert saver.reads <= 2, "the first request of a thread reads nothing"
    workflow.update_state(thread, {"reason": "looked at"})
    assert len(workflow.invoke(REQUEST, thread)["messages"]) == 4 * 4
