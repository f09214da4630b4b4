"""Pictures and files of a request: who is sent them, and which models refuse them."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver

from asterism import Participant, SupervisorWorkflowBuilder
from asterism.errors import WorkflowBuildError
from asterism.testing import ScriptedChatModel
from tests.teams import follow

PICTURE = {"type": "image", "base64": "iVBORw0KGgo=", "mime_type": "image/png"}
SOUND = {"type": "audio", "base64": "AAAA", "mime_type": "audio/wav"}
PDF = {"type": "file", "base64": "AAAA", "mime_type": "application/pdf"}
TABLE = {"type": "file", "base64": "AAAA", "mime_type": "text/csv"}
LINK = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
BLIND: Any = {
    "image_inputs": False,
    "audio_inputs": False,
    "video_inputs": False,
    "pdf_inputs": False,
}


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def invoke(request: pytest.FixtureRequest) -> Callable[..., Any]:
    def run(workflow: Any, *args: Any) -> Any:
        if request.param:
            return asyncio.run(workflow.ainvoke(*args))
        return workflow.invoke(*args)

    return run


@pytest.fixture(params=["routed", "plan"])
def team(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Build a team of one reader."""

    def build(reader: Any) -> Any:
        builder = SupervisorWorkflowBuilder("Office", finish="forward")
        builder = builder.participants(reader=reader)
        if request.param == "plan":
            builder = builder.with_strategy("sequential")
        else:
            builder = builder.with_manager(follow(["reader", None]))
        return builder.build(checkpointer=InMemorySaver())

    return build


def ask(*blocks: Any, text: str = "Read it") -> Any:
    said = [{"type": "text", "text": text}] if text else []
    return {"messages": [HumanMessage([*said, *blocks])]}


THREAD: Any = {"configurable": {"thread_id": "1"}}


@pytest.mark.parametrize(
    ("block", "kind"),
    [(PICTURE, "image"), (LINK, "image_url"), (SOUND, "audio"), (PDF, "pdf")],
    ids=["picture", "link", "sound", "pdf"],
)
def test_a_model_that_cannot_read_it_is_not_called(
    invoke: Callable[..., Any], team: Callable[..., Any], block: Any, kind: str
) -> None:
    model: Any = ScriptedChatModel(script=["never"], profile=BLIND)
    ways: list[dict[str, Any]] = [{"model": model}, {"runs": model}]
    for way in ways:
        reader = Participant(description="Reads.", **way)
        result = invoke(team(reader), ask(block), THREAD)
        report = result["reports"][0]
        assert report["status"] == "failed"
        assert f"The request holds {kind}, which the model" in report["error"]
    assert model.calls == []


@pytest.mark.parametrize("profile", [None, {}, {"image_inputs": True}], ids=str)
@pytest.mark.parametrize("block", [PICTURE, TABLE], ids=["picture", "table"])
def test_a_model_that_may_read_it_is_called(
    invoke: Callable[..., Any], team: Callable[..., Any], profile: Any, block: Any
) -> None:
    model = ScriptedChatModel(script=["a cat"], profile=profile)
    reader = Participant(model=model, description="Reads.")
    result = invoke(team(reader), ask(block), THREAD)
    assert result["reports"][0]["text"] == "a cat"
    assert model.calls[0].messages[-1].content[-1]["type"] == block["type"]  # type: ignore[index]


def test_a_participant_may_be_sent_the_text_alone(
    invoke: Callable[..., Any], team: Callable[..., Any]
) -> None:
    model = ScriptedChatModel(script=["one", "two"], profile=BLIND)
    reader = Participant(model=model, media="none", description="Reads.")
    office = team(reader)
    assert invoke(office, ask(PICTURE), THREAD)["reports"][0]["text"] == "one"
    content = model.calls[0].messages[-1].content
    assert isinstance(content, str) and "Read it" in content


def test_media_is_all_or_none() -> None:
    media: Any = "some"
    with pytest.raises(WorkflowBuildError, match="has media='some'; allowed: 'all', 'none'"):
        SupervisorWorkflowBuilder("x", model="offline").participants(
            a=Participant(media=media, description="Reads.")
        ).build()
