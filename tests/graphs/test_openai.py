"""The real model path: `ChatOpenAI` over HTTP, against a server that is scripted."""

from typing import Any

import httpx2
import pytest
from langchain.chat_models import init_chat_model
from langchain_core.messages import AIMessageChunk
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import RetryPolicy
from llmock.pytest_plugin import LLMock

from asterism import SupervisorWorkflowBuilder
from asterism.core.run_types import WorkflowInput
from asterism.errors import RoutingError
from asterism.graphs.examples.event_planning import create_event_planning
from asterism.limits.failure_policies import can_pass
from tests.teams import Turns, said

MODEL = "openai:gpt-5-mini"
QUICK = RetryPolicy(initial_interval=0.05, jitter=False, retry_on=can_pass)
REQUEST: WorkflowInput = {"messages": [("user", "A party for 50 people in Seattle on 2026-12-15")]}
FACTS = {"city": "Seattle", "head_count": 50, "date": "2026-12-15"}


def decide(server: LLMock, next_agent: str | None, **fields: Any) -> None:
    server.call_tool("SupervisorDecision", {"next_agent": next_agent, **fields})


def visit(server: LLMock, name: str, tool: str, args: dict[str, Any], answer: str) -> None:
    decide(server, name, instruction=f"Do the {name}")
    server.call_tool(tool, args)
    server.reply(answer)


def script(server: LLMock) -> None:
    """One model call after the other, as the whole event planning makes them."""
    visit(server, "venue", "search_venues", FACTS, "The Copper Loft, $2,400.00")
    menu = {"head_count": 50, "diets": ["12 vegetarian"], "style": "buffet"}
    visit(server, "catering", "plan_menu", menu, "A buffet, $2,400.00")
    sums = {"head_count": 50, "venue_cost": 2400, "catering_cost": 2400}
    visit(server, "budget", "make_budget", sums, "Total $7,458.00")
    calendar = {"event_title": "Party", "city": "Seattle", "date": "2026-12-15"}
    visit(server, "logistics", "make_calendar", calendar, "party.ics")
    decide(server, None)
    server.reply("The whole plan.")


def offered(body: Any) -> list[str]:
    return [tool["function"]["name"] for tool in body.get("tools") or ()]


def test_the_whole_event_planning_over_http(llmock: LLMock, thread: RunnableConfig) -> None:
    script(llmock)
    workflow = create_event_planning(MODEL).build(checkpointer=InMemorySaver())
    result = workflow.invoke(REQUEST, thread)
    assert result["status"] == "completed"
    assert result["messages"][-1].text == "The whole plan."
    assert said(result) == [
        "The Copper Loft, $2,400.00",
        "A buffet, $2,400.00",
        "Total $7,458.00",
        "party.ics",
    ]
    assert result["reports"][3]["files"][0]["name"] == "party.ics"
    bodies = [record.body for record in llmock.requests]
    assert len(bodies) == 14
    assert offered(bodies[0]) == ["SupervisorDecision"]
    assert bodies[0]["tool_choice"]["function"]["name"] == "SupervisorDecision"
    assert offered(bodies[1]) == ["search_venues"]
    assert bodies[2]["messages"][-1]["role"] == "tool"
    assert "Venue cost: $2,400.00" in bodies[2]["messages"][-1]["content"]
    assert "tools" not in bodies[-1]
    for body in bodies:
        assert all(m["role"] != "tool" for m in body["messages"] if not offered(body))


async def test_tokens_are_streamed(llmock: LLMock, thread: RunnableConfig) -> None:
    script(llmock)
    heard: dict[str, str] = {}
    # LangChain caches its own client, with connections of event loops that other tests closed.
    async with httpx2.AsyncClient() as client:
        model = init_chat_model(MODEL, http_async_client=client)
        workflow = create_event_planning(model).build(checkpointer=InMemorySaver())
        events = workflow.astream(REQUEST, thread, stream_mode="messages", subgraphs=True)
        async for _, (message, facts) in events:
            if isinstance(message, AIMessageChunk):
                heard[facts["participant"]] = heard.get(facts["participant"], "") + message.text
    assert heard == {
        "supervisor": "The whole plan.",
        "venue": "The Copper Loft, $2,400.00",
        "catering": "A buffet, $2,400.00",
        "budget": "Total $7,458.00",
        "logistics": "party.ics",
    }
    assert all(record.stream for record in llmock.requests)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_the_responses_api(streamed: bool, llmock: LLMock, thread: RunnableConfig) -> None:
    """Its answers have a status, and no reason for which they ended."""
    script(llmock)
    async with httpx2.AsyncClient() as client:
        model = init_chat_model(MODEL, use_responses_api=True, http_async_client=client)
        workflow = create_event_planning(model).build(checkpointer=InMemorySaver())
        if streamed:
            async for _ in workflow.astream(REQUEST, thread, stream_mode="messages"):
                pass
            result = (await workflow.aget_state(thread)).values
        else:
            result = await workflow.ainvoke(REQUEST, thread)
    assert (result["status"], result["messages"][-1].text) == ("completed", "The whole plan.")
    assert [report["status"] for report in result["reports"]] == ["ok"] * 4
    assert {record.stream for record in llmock.requests} == {streamed}
    assert all("input" in record.body for record in llmock.requests)


def small(thread: RunnableConfig) -> Any:
    builder = SupervisorWorkflowBuilder("Test", model=MODEL, finish="forward")
    workflow = builder.participants(venue=Turns().participant("venue"))
    return workflow.build(checkpointer=InMemorySaver()).invoke(REQUEST, thread)


@pytest.mark.parametrize(
    "status", [pytest.param(429, id="too many requests"), pytest.param(503, id="unavailable")]
)
def test_a_passing_fault_of_the_provider_is_retried(
    status: int, llmock: LLMock, thread: RunnableConfig
) -> None:
    llmock.fail(status, retry_after=0.1 if status == 429 else None)
    decide(llmock, "venue")
    decide(llmock, None)
    assert said(small(thread)) == ["venue 1"]
    assert [record.status for record in llmock.requests] == [status, 200, 200]
    llmock.assert_resilient()


def test_an_invalid_decision_is_repaired(llmock: LLMock, thread: RunnableConfig) -> None:
    decide(llmock, "kitchen")
    decide(llmock, "VENUE")
    decide(llmock, None)
    assert said(small(thread)) == ["venue 1"]
    complaint = llmock.requests[1].body["messages"][-1]
    assert complaint["role"] == "user"
    assert "'kitchen', which is not a participant. Allowed: venue" in complaint["content"]


def test_arguments_that_are_not_json_are_repaired(llmock: LLMock, thread: RunnableConfig) -> None:
    llmock.break_tool_call("malformed_arguments")
    small(thread)
    assert (
        "plain text, not a SupervisorDecision" in llmock.requests[1].body["messages"][-1]["content"]
    )


def streamed(llmock: LLMock, thread: RunnableConfig) -> Any:
    """Run so that the model is asked for streams."""
    model = init_chat_model(MODEL, max_retries=0, timeout=2)
    builder = SupervisorWorkflowBuilder("Test", model=model, finish="forward", retry=QUICK)
    workflow = builder.participants(venue=Turns().participant("venue"))
    built = workflow.build(checkpointer=InMemorySaver())
    for _ in built.stream(REQUEST, thread, stream_mode="messages"):
        pass
    return built.get_state(thread).values


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda server: server.disconnect(after_chunks=2), id="connection lost"),
        pytest.param(lambda server: server.corrupt(after_chunks=2), id="a chunk that is no JSON"),
        pytest.param(lambda server: server.fail(500), id="500"),
        pytest.param(lambda server: server.fail(503), id="503"),
        pytest.param(lambda server: server.rate_limit(retry_after=0.1), id="429"),
        pytest.param(lambda server: server.delay(5), id="no answer in time"),
        pytest.param(lambda server: server.stall(after_chunks=2, seconds=5), id="a stalled stream"),
    ],
)
def test_a_fault_that_can_pass_is_tried_again(
    fault: Any, llmock: LLMock, thread: RunnableConfig
) -> None:
    fault(llmock)
    decide(llmock, "venue", instruction="Find a hall with room for everybody")
    decide(llmock, "venue", instruction="Find a hall with room for everybody")
    decide(llmock, None)
    values = streamed(llmock, thread)
    assert values["status"] == "completed"
    assert said(values)[0] == "venue 1"


def test_a_stream_that_ends_early_is_not_taken_for_a_decision(
    llmock: LLMock, thread: RunnableConfig
) -> None:
    llmock.truncate(after_chunks=3)
    decide(llmock, "venue", instruction="Find a hall with room for everybody")
    decide(llmock, "venue", instruction="Find a hall with room for everybody")
    decide(llmock, None)
    values = streamed(llmock, thread)
    assert said(values) == ["venue 1"]
    assert "cut off" in llmock.requests[1].body["messages"][-1]["content"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_fault_that_stays_is_one_error_without_secrets(
    status: int, llmock: LLMock, thread: RunnableConfig
) -> None:
    llmock.fail(status, message="no access with key sk-abcdefghijklmnop", times=None)
    with pytest.raises(RoutingError, match="Nothing is lost") as caught:
        streamed(llmock, thread)
    assert "sk-abc" not in str(caught.value)
    assert len(llmock.requests) == 1
