"""Objects in the state of participants: they come back as what they were, or are refused."""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, NamedTuple, NotRequired, Optional

import pytest
from langchain.agents import AgentState, create_agent
from langchain.tools import ToolRuntime
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import BaseModel

from asterism import Participant, SupervisorWorkflowBuilder, open_checkpointer
from asterism.core.run_types import WorkflowInput
from asterism.errors import StorageError
from asterism.storage.serializers import StrictSerializer
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.plans import drive, plan, task
from tests.teams import follow

REQUEST: WorkflowInput = {"messages": [("user", "A pen")]}


class Phase(Enum):
    OPEN = "open"


class Order(BaseModel):
    item: str
    phase: Phase


@dataclass
class Place:
    city: str
    orders: dict[str, Order]


class Point(NamedTuple):
    x: int
    y: int


class Stranger(BaseModel):
    name: str


ORDER = Order(item="pen", phase=Phase.OPEN)
VALUES: dict[str, tuple[Any, Any]] = {
    "model": (Order, ORDER),
    "dataclass": (Place, Place("Oslo", {"a": ORDER})),
    "enum": (Phase, Phase.OPEN),
    "named-tuple": (Point, Point(1, 2)),
    "in-a-list": (list[Order], [ORDER]),
    "in-a-mapping": (Mapping[str, list[Order]], {"a": [ORDER]}),
    "optional": (Optional[Order], ORDER),  # noqa: UP045 - as older code writes it
    "annotated": (Annotated[Order | None, lambda old, new: new], ORDER),
}


def shop(kind: Any, value: Any, said: list[Any]) -> Participant:
    """An agent that keeps a value in its state, and reads it at its next visit."""

    class Shop(AgentState[Any]):
        kept: NotRequired[kind]

    @tool
    def keep(runtime: ToolRuntime) -> Command[Any]:
        """Keep."""
        answer = ToolMessage("kept", tool_call_id=runtime.tool_call_id)
        return Command(update={"kept": value, "messages": [answer]})

    @tool
    def read(runtime: ToolRuntime) -> str:
        """Read."""
        said.append(runtime.state.get("kept"))
        return "read"

    script: list[Any] = []
    for name in ("keep", "read"):
        script += [ScriptedReply(tool_calls=[(name, {})]), "Done."]
    agent = create_agent(ScriptedChatModel(script=script), [keep, read], state_schema=Shop)
    return Participant(runs=agent, description="Sells.")


def nested(member: Participant) -> Participant:
    inner = (
        SupervisorWorkflowBuilder("Inner", finish="forward")
        .participants(deep=member)
        .with_manager(follow(["deep"]))
        .build()
    )
    return Participant(runs=inner, description="Sells.")


def build(member: Participant, saver: Any, decide: Any = None) -> Any:
    return (
        SupervisorWorkflowBuilder("Shop", finish="forward")
        .participants(clerk=member)
        .with_manager(decide or follow(["clerk"]))
        .build(checkpointer=saver)
    )


@pytest.mark.parametrize(("kind", "value"), VALUES.values(), ids=VALUES)
def test_what_a_state_schema_names_comes_back_as_it_was(
    kind: Any, value: Any, url: str, thread: RunnableConfig
) -> None:
    said: list[Any] = []
    with open_checkpointer(url) as saver:
        workflow = build(shop(kind, value, said), saver)
        for _ in range(2):
            [report] = workflow.invoke(REQUEST, thread)["reports"]
            assert report["status"] == "ok", report
    assert said == [value]
    assert type(said[0]) is type(value)


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("place", ["visit", "task", "nested", "encrypted", "copied", "stock"])
async def test_it_comes_back_wherever_the_participant_works(
    place: str, way: str, thread: RunnableConfig
) -> None:
    said: list[Any] = []
    member = shop(Order, ORDER, said)
    key = b"k" * 16 if place == "encrypted" else None
    with open_checkpointer("memory:", key=key) as saver:
        decide = plan(task("t", "clerk")) if place == "task" else None
        member = nested(member) if place == "nested" else member
        if place == "copied":
            workflow = build(member, None).copy({"checkpointer": saver})
        else:
            workflow = build(member, InMemorySaver() if place == "stock" else saver, decide)
        for _ in range(2):
            [report] = (await drive(workflow, way, REQUEST, thread))["reports"]
            assert report["status"] == "ok", report
    assert said == [ORDER]


def test_what_no_schema_names_is_refused_when_it_is_written(url: str, thread: Any) -> None:
    with open_checkpointer(url) as saver:
        workflow = build(shop(Any, Stranger(name="Ann"), []), saver)
        [report] = workflow.invoke(REQUEST, thread)["reports"]
    assert report["status"] == "failed"
    assert "test_serializers.Stranger is not stored" in report["error"]
    assert "allowed_types=[Stranger]" in report["error"]


def test_a_type_is_allowed_where_the_database_is_opened(url: str, thread: Any) -> None:
    said: list[Any] = []
    with open_checkpointer(url, allowed_types=[Stranger]) as saver:
        workflow = build(shop(Any, Stranger(name="Ann"), said), saver)
        for _ in range(2):
            workflow.invoke(REQUEST, thread)
    assert said == [Stranger(name="Ann")]


def test_a_type_that_cannot_be_found_again_is_refused() -> None:
    class Local(BaseModel):
        name: str

    with pytest.raises(StorageError, match="Define it at the top level of the module"):
        StrictSerializer([Local]).dumps_typed([Local(name="a")])


def test_what_one_workflow_names_loosens_nothing_else() -> None:
    stored = StrictSerializer([Order, Phase, Stranger]).dumps_typed([ORDER, Stranger(name="a")])
    reader = StrictSerializer()
    reader.allow([Order, Phase])
    assert reader.loads_typed(stored) == [ORDER, {"name": "a"}]
    assert StrictSerializer().loads_typed(stored)[0] != ORDER


def test_an_artifact_that_cannot_be_stored_is_left_out_and_the_answer_kept(
    url: str, thread: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @tool(response_format="content_and_artifact")
    def look() -> tuple[str, Any]:
        """Look."""
        return "seen", threading.Lock()

    model = ScriptedChatModel(script=[ScriptedReply(tool_calls=[("look", {})]), "It is there."])
    member = Participant(model=model, tools=[look], description="Looks.")
    with open_checkpointer(url) as saver, caplog.at_level(logging.WARNING):
        workflow = build(member, saver)
        [report] = workflow.invoke(REQUEST, thread)["reports"]
        place = {**thread["configurable"], "checkpoint_ns": "clerk"}
        messages = workflow.get_state({"configurable": place}).values["messages"]
    assert (report["status"], report["text"]) == ("ok", "It is there.")
    assert [message.text for message in messages[2:]] == ["seen", "It is there."]
    assert "The artifact of the tool 'look' is not stored" in caplog.text
