"""Routes, stops, questions and answers in any order: a state machine finds what tables miss.

`make torture` runs it with many more examples.
"""

import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from langchain_core.messages import AnyMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import interrupt

from asterism import (
    Participant,
    SupervisorDecision,
    SupervisorView,
    SupervisorWorkflowBuilder,
    pending_requests,
    proceed,
    resume,
)
from asterism.core.run_types import WorkflowInput
from asterism.errors import AnswerError, NothingPendingError
from tests.graphs.test_memory import is_valid
from tests.teams import said

EXAMPLES = int(os.environ.get("ASTERISM_EXAMPLES", "8"))
NAMES = ("venue", "food", "asker")
steps = st.sampled_from([*NAMES, "ask the user"])
plans = st.lists(steps, max_size=5)
stops = st.sets(st.sampled_from([*NAMES, "supervisor", "finish"]))


class Runs(RuleBasedStateMachine):
    """One thread, driven by rules; what it should hold is counted beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.thread: RunnableConfig = {"configurable": {"thread_id": "t"}}
        self.plan: list[str] = []
        self.turns = dict.fromkeys(NAMES, 0)
        self.seen: dict[str, str] = {}
        builder = SupervisorWorkflowBuilder("Machine", finish="forward", on_stall="replan")
        builder.participants(
            venue=self.counting("venue"), food=self.counting("food"), asker=self.asking()
        )
        self.workflow = builder.with_manager(self.decide).build(checkpointer=InMemorySaver())

    def counting(self, name: str) -> Participant:
        def answer(messages: list[AnyMessage]) -> str:
            assert is_valid(messages)
            self.turns[name] += 1
            return f"{name} {self.turns[name]}"

        return Participant(runs=answer, description="Counts.")

    def asking(self) -> Participant:
        def answer(messages: list[AnyMessage]) -> str:
            word = interrupt({"prompt": "Go on?"})
            self.turns["asker"] += 1
            return f"asker {self.turns['asker']} {word}"

        return Participant(runs=answer, description="Asks.")

    def decide(self, view: SupervisorView) -> SupervisorDecision:
        step = self.plan[view.iterations] if view.iterations < len(self.plan) else None
        if step == "ask the user":
            return SupervisorDecision(next_agent=None, user_input_needed=True, user_prompt="What?")
        instruction = f"step {view.iterations}"
        return SupervisorDecision(next_agent=step, instruction=instruction)

    @property
    def state(self) -> Any:
        return self.workflow.get_state(self.thread)

    @rule(plan=plans, before=stops)
    def ask_for_something(self, plan: list[str], before: set[str]) -> None:
        """A request, also while another one is under way."""
        self.plan = plan
        request: WorkflowInput = {"messages": [("user", "Please")]}
        self.workflow.invoke(request, self.thread, interrupt_before=sorted(before))

    @precondition(lambda self: self.state.next and not self.state.interrupts)
    @rule(before=stops)
    def go_on(self, before: set[str]) -> None:
        self.workflow.invoke(None, self.thread, interrupt_before=sorted(before))

    @precondition(lambda self: self.state.interrupts)
    @rule(word=st.sampled_from(["yes", "no"]))
    def answer(self, word: str) -> None:
        resume(self.workflow, self.thread, word)

    @precondition(lambda self: self.state.interrupts)
    @rule(word=st.sampled_from([None, "", "  "]))
    def answer_badly(self, word: str | None) -> None:
        before = self.state
        try:
            resume(self.workflow, self.thread, word)
        except AnswerError:
            assert self.state == before
        else:
            raise AssertionError("a bad answer was taken")

    @precondition(lambda self: not self.state.interrupts)
    @rule()
    def answer_nobody(self) -> None:
        try:
            resume(self.workflow, self.thread, "yes")
        except NothingPendingError:
            return
        raise AssertionError("an answer to nothing was taken")

    @precondition(lambda self: self.state.next and not self.state.interrupts)
    @rule(name=st.sampled_from([*NAMES, None]))
    def decide_otherwise(self, name: str | None) -> None:
        """An edit of the decision, wherever the run stands."""
        if self.state.values.get("status") != "running" or "begin" in self.state.next:
            return
        self.workflow.update_state(self.thread, {"decision": {"next_agent": name}}, "supervisor")
        assert self.state.next == (name or "finish",)

    @precondition(lambda self: self.state.next and not self.state.interrupts)
    @rule()
    def run_to_the_end(self) -> None:
        proceed(self.workflow, self.thread)

    @invariant()
    def every_report_is_that_of_a_turn_that_ran(self) -> None:
        values = self.state.values
        for report in values.get("reports", ()):
            assert self.seen.setdefault(report["id"], report["text"]) == report["text"]
        texts = [" ".join(text.split()[:2]) for text in self.seen.values()]
        assert len(texts) == len(set(texts)), texts
        for name in NAMES:
            reported = sum(text.startswith(name) for text in texts)
            assert reported == self.turns[name], (name, texts, self.turns)

    @invariant()
    def waiting_is_said_exactly_when_somebody_waits(self) -> None:
        state = self.state
        waits = bool(pending_requests(self.workflow, self.thread))
        assert waits == bool(state.interrupts)
        assert waits == (state.values.get("status") == "waiting" and bool(state.next))

    @invariant()
    def an_end_is_an_end(self) -> None:
        state = self.state
        if state.values and not state.next:
            assert state.values["status"] == "completed"
            assert state.values["reason"]

    @invariant()
    def memories_are_valid_and_private(self) -> None:
        for name in NAMES:
            place: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": name}}
            messages = (self.workflow.get_state(place).values or {}).get("messages", [])
            assert is_valid(messages)
            answers = [m.text for m in messages if m.type == "ai"]
            assert all(text.startswith(name) for text in answers)
            assert len(answers) == self.turns[name]


class ManyRuns(Runs):
    """The same, under a name that pytest collects."""


TestRuns = ManyRuns.TestCase
TestRuns.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=12,
    suppress_health_check=list(HealthCheck),
)


def test_the_counts_are_those_of_a_simple_run() -> None:
    machine = Runs()
    machine.ask_for_something(["venue", "asker"], set())
    machine.answer("yes")
    assert said(machine.state.values) == ["venue 1", "asker 1 yes"]
