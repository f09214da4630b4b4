"""Models that babble: whatever they say, a run ends, its status is true, and its bill is right."""

import asyncio
import json
import os
import random
import threading
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolCall, UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import PrivateAttr

from asterism import Participant, SupervisorWorkflowBuilder, Usage, lines_of
from asterism.core.messages import history_fault
from asterism.core.model_input import prepare_messages
from asterism.core.run_types import WorkflowInput
from tests.plans import drive

EXAMPLES = int(os.environ.get("ASTERISM_EXAMPLES", "15"))
REQUEST: WorkflowInput = {"messages": [("user", "What does a trip to Rome cost?")]}
STATUSES = ("completed", "waiting", "limit", "stalled", "failed", "cancelled")
ITERATIONS, REPAIRS, STEPS, TASKS = 4, 2, 4, 3
WAYS_TO_SAY = (
    *(*["calls"] * 14, "text", "half", "broken", "json", "wrapped", "thought", "prose"),
    *("cut text", "cut calls", "filtered", "several", "unknown", "empty"),
)


class Babbler(BaseChatModel):
    """Says something at random that fits what it is asked for, nearly fits, or does not fit."""

    seed: int
    model_name: str = "babbler"
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)
    _random: random.Random = PrivateAttr(default_factory=random.Random)
    _calls: list[tuple[list[BaseMessage], AIMessage]] = PrivateAttr(default_factory=list[Any])

    def model_post_init(self, context: Any, /) -> None:
        """Begin at the seed."""
        super().model_post_init(context)
        self._random.seed(self.seed)

    @property
    def calls(self) -> list[tuple[list[BaseMessage], AIMessage]]:
        """Every prompt, with what was said to it."""
        return self._calls

    @property
    def _llm_type(self) -> str:
        return "babbler"

    def bind_tools(self, tools: Sequence[Any], *, tool_choice: Any = None, **kwargs: Any) -> Any:
        """Bind tools as providers do."""
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        with self._lock:
            said = self._say(kwargs.get("tools") or [])
            sent = sum(len(message.text.split()) for message in messages)
            length = self._random.randint(1, 9)
            said.usage_metadata = UsageMetadata(
                input_tokens=sent, output_tokens=length, total_tokens=sent + length
            )
            self._calls.append((list(messages), said))
        return ChatResult(generations=[ChatGeneration(message=said)])

    def _say(self, tools: Sequence[Any]) -> AIMessage:
        pick, number = self._random.choice, len(self._calls)
        how, text = pick(WAYS_TO_SAY), f"Babble {self.seed} {number}: it costs 9 dollars."
        calls = [self._call(tools, place) for place in range(3)] if tools else []
        end: dict[str, Any] = {}
        if how.startswith("cut"):
            end = {"finish_reason": "length", "model_provider": "openai"}
        if how == "filtered":
            end = {"finish_reason": "content_filter", "model_provider": "openai"}
        if how in ("calls", "half", "cut calls", "several", "unknown") and calls:
            count = pick([2, 3]) if how == "several" else 1
            for call in calls[:count]:
                if how == "half":
                    self._spoil(call["args"])
                if how == "unknown":
                    call["name"] = "nonsense"
            words = pick(["", text])
            return AIMessage(words, tool_calls=calls[:count], response_metadata=end)
        if how == "broken" and calls:
            broken = {"name": calls[0]["name"], "args": '{"next_agent": ', "id": "b", "error": None}
            return AIMessage(pick(["", text]), invalid_tool_calls=[broken])
        if how in ("json", "wrapped", "thought") and calls:
            plain = json.dumps(calls[0]["args"])
            whole = json.dumps({"name": calls[0]["name"], "arguments": calls[0]["args"]})
            shapes = {"json": plain, "wrapped": f"```json\n{whole}\n```"}
            return AIMessage(shapes.get(how, f"<think>{{maybe}}</think>{text} {plain}"))
        return AIMessage("" if how == "empty" else text, response_metadata=end)

    def _call(self, tools: Sequence[Any], place: int) -> ToolCall:
        function = self._random.choice(tools)["function"]
        ids = (f"{self.seed}-{len(self._calls)}-{place}", f"call_{place}")
        args = self._value(function.get("parameters") or {}, {})
        return ToolCall(name=function["name"], args=args, id=self._random.choice(ids))

    def _value(self, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Any:
        """Make up a value that fits a JSON schema."""
        pick = self._random.choice
        definitions = schema.get("$defs", definitions)
        if "$ref" in schema:
            return self._value(definitions[schema["$ref"].split("/")[-1]], definitions)
        if "enum" in schema:
            return pick(schema["enum"])
        if "anyOf" in schema:
            return self._value(pick(schema["anyOf"]), definitions)
        kind: Any = schema.get("type")
        kind = pick(cast(list[str], kind)) if isinstance(kind, list) else kind
        if kind == "object" or "properties" in schema:
            required = schema.get("required", ())
            return {
                key: self._value(value, definitions)
                for key, value in schema.get("properties", {}).items()
                if key in required or self._random.random() < 0.4
            }
        if kind == "array":
            count = pick([0, 0, 0, 1, 1, 2, TASKS + 1])
            return [self._value(schema.get("items", {}), definitions) for _ in range(count)]
        simple: dict[Any, list[Any]] = {
            "boolean": [True, *[False] * 9],
            "integer": [0, 1, 2],
            "number": [0.5],
            "null": [None],
        }
        return pick(simple.get(kind, ["a", "b", "Look it up.", ""]))

    def _spoil(self, args: dict[str, Any]) -> None:
        for key in list(args):
            change = self._random.randint(0, 3)
            if change == 0:
                del args[key]
            elif change == 1:
                args[key] = self._random.choice([{}, 7, "null", "None", ["x"], "[]"])
        if self._random.random() < 0.3:
            args["thought"] = "why not"


def look_up(city: str) -> str:
    """Look up what a city costs."""
    return f"{city} costs 9 dollars"


def book(city: str, nights: int = 1) -> str:
    """Book a stay."""
    raise OSError(f"{city} is full for {nights}")


class Office:
    """A team whose models all babble."""

    def __init__(self, seed: int, options: Mapping[str, Any]) -> None:
        self.models = [Babbler(seed=seed + place) for place in range(4)]
        boss, agent, plain, graph = self.models
        tools = [look_up, book]
        builder = SupervisorWorkflowBuilder(
            "Office",
            model=boss,
            max_iterations=ITERATIONS,
            max_repairs=REPAIRS,
            max_steps=STEPS,
            max_tasks=TASKS,
            **options,
        ).participants(
            agent=Participant(model=agent, tools=tools, description="Looks up."),
            plain=Participant(model=plain, description="Writes."),
            graph=Participant(runs=create_agent(graph, tools), description="Books."),
        )
        self.workflow = builder.build(checkpointer=InMemorySaver())

    def check(self, result: Mapping[str, Any]) -> None:
        """Check all that must hold at the end of a run."""
        said = [answer for model in self.models for _, answer in model.calls]
        check_end(result)
        check_bill(result, said)
        check_reports(result, said)
        for place, model in enumerate(self.models):
            for prompt, _ in model.calls:
                assert history_fault(prompt) is None
                if place != 3:  # the agent of one's own writes its prompts by itself
                    assert prepare_messages(prompt) == prompt


def check_end(result: Mapping[str, Any]) -> None:
    status, reason, reports = result["status"], result["reason"] or "", result["reports"]
    assert status in STATUSES
    assert result["iterations"] <= ITERATIONS
    assert (status == "waiting") == ("__interrupt__" in result)
    if status == "completed":
        failed = {r["participant"] for r in reports if r["status"] != "ok"}
        worked = {r["participant"] for r in reports if r["status"] == "ok"}
        assert all(name in reason for name in failed - worked)
    elif status == "limit":
        assert f"max_iterations={ITERATIONS}" in reason
        assert result["iterations"] == ITERATIONS
    elif status == "stalled":
        assert "the same answer" in reason
    elif status == "failed":
        everybody = bool(reports) and all(r["status"] != "ok" for r in reports)
        required = any(f"{r['participant']} must answer and did not" in reason for r in reports)
        assert "no valid decision" in reason or required or everybody


def check_bill(result: Mapping[str, Any], said: Sequence[AIMessage]) -> None:
    spent = Usage.of(line for line in lines_of(result) if "model" in line)
    usage = [message.usage_metadata for message in said if message.usage_metadata]
    assert (spent.calls, spent.input_tokens, spent.output_tokens) == (
        len(said),
        sum(one["input_tokens"] for one in usage),
        sum(one["output_tokens"] for one in usage),
    )


def check_reports(result: Mapping[str, Any], said: Sequence[AIMessage]) -> None:
    cut = {message.text for message in said if message.response_metadata} - {""}
    for report in result["reports"]:
        models = (line for line in report.get("usage") or () if "model" in line)
        assert sum(line["calls"] for line in models) <= STEPS
        assert not (report["status"] == "ok" and report["text"] in cut)
        assert (report["status"] == "ok") == (report.get("kind") is None)
        assert report["status"] == "ok" or report["error"]


OPTIONS = st.fixed_dictionaries(
    {
        "finish": st.sampled_from(["synthesize", "forward", "inline"]),
        "fallback": st.sampled_from(["finish", "ask_user", "agent"]),
        "decisions": st.sampled_from([None, "tool", "json"]),
        "require": st.sampled_from([(), ("plain",)]),
        "on_stall": st.sampled_from(["replan", "finish"]),
    }
)


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=EXAMPLES, deadline=None)
@given(seed=st.integers(0, 2**32), options=OPTIONS)
def test_a_run_of_babbling_models_ends_and_tells_the_truth(
    way: str, seed: int, options: Mapping[str, Any]
) -> None:
    office = Office(seed, options)
    place = {"configurable": {"thread_id": "1"}}
    result = asyncio.run(drive(office.workflow, way, REQUEST, place))
    office.check(result)
