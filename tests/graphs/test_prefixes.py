"""What stays the same from prompt to prompt: all that was sent, until there is a cut."""

import asyncio
import os
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import BaseMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from asterism import (
    ContextManager,
    EventBus,
    Importance,
    Participant,
    Summary,
    SupervisorWorkflowBuilder,
)
from asterism.core.messages import history_fault
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.desks import WORDS, ask, decisions, desk, plain

EXAMPLES = int(os.environ.get("ASTERISM_EXAMPLES", "6"))
LIMIT = 900
TEAM = ("agent", "clerk", "writer")
ROUTES = st.lists(
    st.lists(st.sampled_from([*TEAM, "all"]), min_size=1, max_size=4), min_size=1, max_size=3
)
POLICIES: dict[str, Any] = {
    "none": None,
    "window": ContextManager(max_tokens=LIMIT),
    "little at a time": ContextManager(max_tokens=LIMIT, compression_ratio=0.9),
    "importance": ContextManager(max_tokens=LIMIT, strategy=Importance()),
    "summary": ContextManager(max_tokens=LIMIT, strategy=Summary(keep_last=4)),
}


@tool
def look_up(what: str) -> str:
    """Look something up."""
    return f"{what} " * 25


def short(messages: Sequence[BaseMessage]) -> bool:
    """Whether a summary is asked for."""
    return "You shorten a conversation" in messages[0].text


class Office:
    """A team of three kinds under one policy; all that its models are sent is kept."""

    def __init__(self, routes: Sequence[Sequence[str]], policy: ContextManager | None) -> None:
        self.bus, self.said, self.sent = EventBus(), 0, list[list[BaseMessage]]()
        steps = iter([step for route in routes for step in [*map(self.decision, route), None]])

        def decide(messages: list[BaseMessage]) -> Any:
            return self.word() if short(messages) else (next(steps) or {"next_agent": None})

        def work(messages: list[BaseMessage]) -> Any:
            if short(messages) or messages[-1].type == "tool":
                return self.word()
            calls = [("look_up", {"what": self.word(1)}) for _ in range(2)]
            return ScriptedReply(tool_calls=calls)

        def clerk(messages: list[BaseMessage]) -> str:
            self.sent.append(messages)
            return self.word()

        self.models = {
            "supervisor": ScriptedChatModel(script=[decide] * 99),
            "agent": ScriptedChatModel(script=[work] * 99),
            "writer": ScriptedChatModel(script=[lambda messages: self.word()] * 99),
        }
        given: Any = {"prompt": "Be brief.", "context": policy}
        self.workflow = (
            SupervisorWorkflowBuilder(
                "Office",
                model=self.models["supervisor"],
                finish="forward",
                events=self.bus,
                context=policy,
            )
            .participants(
                agent=Participant(model=self.models["agent"], tools=[look_up], **given),
                writer=Participant(model=self.models["writer"], **given),
                clerk=Participant(runs=clerk, description="Works.", context=policy),
            )
            .build(checkpointer=InMemorySaver())
        )

    def word(self, times: int = 40) -> str:
        """A text that is never the same."""
        self.said += 1
        return f"said-{self.said} " * times

    def decision(self, step: str) -> Any:
        names = TEAM if step == "all" else (step,)
        tasks = [{"task_id": n, "agent_id": n, "task_description": self.word(1)} for n in names]
        if step == "all":
            return {"next_agent": None, "tasks": tasks}
        return {"next_agent": step, "instruction": self.word(1)}

    def prompts(self, name: str) -> list[list[BaseMessage]]:
        calls = self.models[name].calls if name in self.models else []
        return [c.messages for c in calls if not short(c.messages)] or (
            self.sent if name == "clerk" else []
        )

    def cuts(self, name: str) -> int:
        told = [event.facts for event in self.bus.history() if event.type == "context_compacted"]
        return sum(facts["path"] == name for facts in told)


@settings(max_examples=EXAMPLES, deadline=None)
@given(ROUTES, st.sampled_from(sorted(POLICIES)), st.booleans())
def test_every_prompt_goes_on_from_the_one_before_until_a_cut(
    routes: list[list[str]], policy: str, in_async: bool
) -> None:
    office = Office(routes, POLICIES[policy])
    thread: Any = {"configurable": {"thread_id": "t"}}
    reported: set[str] = set()
    for number in range(len(routes)):
        request: Any = {"messages": [("user", f"Request {number}")]}
        if in_async:
            result = asyncio.run(office.workflow.ainvoke(request, thread))
        else:
            result = office.workflow.invoke(request, thread)
        assert result["status"] == "completed"
        reported |= {report["text"] for report in result["reports"]}
    for name in ("supervisor", *TEAM):
        prompts = office.prompts(name)
        shown = list(map(plain, prompts))
        broken = sum(after[: len(before)] != before for before, after in pairwise(shown))
        assert broken == office.cuts(name)
        assert all(history_fault(prompt) is None for prompt in prompts)
        if POLICIES[policy]:
            assert max(map(count_tokens_approximately, prompts), default=0) <= LIMIT
    for prompt in map(plain, office.prompts("supervisor")):
        long = [text for kind, text in prompt if kind == "human"]
        assert len(long) == len(set(long)), "nothing is sent twice"
    stored = {m.text for m in office.workflow.get_state(thread).values["messages"]}
    assert stored >= reported, "the history is whole"


def test_an_answer_that_hands_a_report_on_is_not_sent_again(thread: RunnableConfig) -> None:
    model = ScriptedChatModel(script=decisions(1) * 2)
    workflow = desk(model, InMemorySaver())
    ask(workflow, thread, 2)
    last = [m.text for m in model.calls[-1].messages]
    assert "(That report, as it was written.)" in last
    assert len([text for text in last if WORDS in text]) == 2
