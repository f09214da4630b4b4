"""Chains of a prompt as participants: what their variables are filled in with."""

from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder, PromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from asterism import Participant, SupervisorWorkflowBuilder
from asterism.core.run_types import WorkflowInput
from asterism.errors import WorkflowBuildError
from asterism.testing import ScriptedChatModel

REQUEST: WorkflowInput = {"messages": [("user", "What does a pen cost?")]}
RULES = ("system", "You price.")


def clerk(chain: Any) -> Any:
    return (
        SupervisorWorkflowBuilder("Shop", finish="forward")
        .participants(clerk=Participant(runs=chain, description="Prices."))
        .with_strategy("sequential")
        .build()
    )


def sent(messages: list[Any]) -> str:
    return " / ".join(f"{m.type}: {str(m.text).splitlines()[0]}" for m in messages)


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        pytest.param([RULES, ("placeholder", "{messages}")], "pen cost?", id="placeholder"),
        pytest.param([RULES, MessagesPlaceholder("history")], "pen cost?", id="another name"),
        pytest.param([RULES, ("human", "Price: {question}")], "Price: What", id="one text"),
        pytest.param(
            [RULES, ("placeholder", "{chat_history}"), ("human", "{input}")],
            "pen cost?",
            id="history and text",
        ),
    ],
)
@pytest.mark.parametrize("way", ["sync", "async"])
async def test_a_prompt_is_given_the_messages(prompt: Any, text: str, way: str) -> None:
    chain = ChatPromptTemplate.from_messages(prompt) | ScriptedChatModel(script=[sent])
    built = clerk(chain | StrOutputParser())
    result = built.invoke(REQUEST) if way == "sync" else await built.ainvoke(REQUEST)
    [report] = result["reports"]
    assert report["status"] == "ok", report
    assert report["text"].startswith("system: You price. / human: ") and text in report["text"]
    assert report["text"].count("human: ") == 1


def test_a_mapping_and_a_plain_prompt_work() -> None:
    assigned: Any = RunnablePassthrough.assign(n=lambda d: len(d["messages"])) | (
        lambda d: f"{d['n']} message"
    )
    plain: Any = PromptTemplate.from_template("Price: {item}") | (lambda value: value.text)
    assert clerk(assigned).invoke(REQUEST)["reports"][0]["text"] == "1 message"
    assert clerk(plain).invoke(REQUEST)["reports"][0]["text"].startswith("Price: What does")


def test_an_async_function_is_a_runnable_that_works_in_sync() -> None:
    async def price(messages: list[Any]) -> str:
        return "3 dollars"

    chain: Any = RunnableLambda(price) | (lambda text: text.upper())
    assert clerk(chain).invoke(REQUEST)["reports"][0]["text"] == "3 DOLLARS"


def test_a_prompt_that_wants_more_is_refused() -> None:
    chain: Any = ChatPromptTemplate.from_template("{item} in {colour}") | ScriptedChatModel()
    with pytest.raises(WorkflowBuildError, match="list of messages"):
        clerk(chain)


def test_a_picture_that_a_text_cannot_hold_is_named() -> None:
    chain: Any = ChatPromptTemplate.from_template("Price: {item}") | ScriptedChatModel()
    picture = HumanMessage([{"type": "image", "url": "https://example.org/pen.png"}])
    [report] = clerk(chain).invoke({"messages": [picture]})["reports"]
    assert report["status"] == "failed" and "`item` as text alone" in report["error"]
