"""LangGraph Studio: the real development server, driven as Studio drives it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient
from llmock.pytest_plugin import LLMock
from llmock.testing import LLMockServer

from tests.graphs.servers import dev_server

ROOT = Path(__file__).parents[2]
PARTY = "Plan a corporate holiday party for 50 people in Seattle on December 15th"


@pytest.fixture(scope="module")
def client(
    tmp_path_factory: pytest.TempPathFactory, llmock_server: LLMockServer
) -> Iterator[SyncLangGraphClient]:
    """The server, started with every graph of langgraph.json; OpenAI is a double."""
    folder = tmp_path_factory.mktemp("server")
    project = folder / "project"
    project.mkdir()
    (project / "notes.txt").write_text("Some notes.")
    environment = {
        "ASTERISM_DB": str(folder / "threads.db"),
        "ASTERISM_PROJECT": str(project),
        "ASTERISM_SOURCES": "",
        **LLMock(llmock_server).env(),
    }
    with (
        dev_server(ROOT / "langgraph.json", folder, environment) as url,
        get_sync_client(url=url, api_key=None) as connected,
    ):
        yield connected


def run(client: SyncLangGraphClient, thread: str, request: str | None, **options: Any) -> Any:
    given: dict[str, Any] | None = (
        {"messages": [{"role": "user", "content": request}]} if request else None
    )
    return client.runs.wait(thread, "event_planning", input=given, **options)


def new_thread(client: SyncLangGraphClient) -> str:
    return client.threads.create()["thread_id"]


def test_the_server_lists_every_graph(client: SyncLangGraphClient) -> None:
    found = {assistant["graph_id"] for assistant in client.assistants.search()}
    assert found == {
        "consensus",
        "event_planning",
        "research",
        "toy_example",
        "update_manifest",
    }


def test_schemas_make_an_input_form(client: SyncLangGraphClient) -> None:
    (assistant,) = client.assistants.search(graph_id="event_planning")
    schemas = client.assistants.get_schemas(assistant["assistant_id"])
    assert schemas["input_schema"] and schemas["output_schema"] and schemas["state_schema"]
    assert list(schemas["input_schema"]["properties"]) == ["messages"]
    assert {"messages", "status", "reason", "reports"} <= set(
        schemas["output_schema"]["properties"]
    )
    assert {"decision", "brief"} <= set(schemas["state_schema"]["properties"])


@pytest.mark.parametrize("graph", ["event_planning", "research", "update_manifest"])
def test_the_settings_of_a_run_make_a_form(client: SyncLangGraphClient, graph: str) -> None:
    (assistant,) = client.assistants.search(graph_id=graph)
    schema: Any = client.assistants.get_schemas(assistant["assistant_id"])["context_schema"]
    assert list(schema["properties"]) == ["model", "prompt"]
    assert schema["properties"]["model"]["default"] == "offline"
    assert all(field["description"] for field in schema["properties"].values())


@pytest.mark.parametrize("by", ["assistant", "run"])
def test_a_model_and_a_prompt_are_chosen(
    client: SyncLangGraphClient, llmock: LLMock, by: str
) -> None:
    llmock.call_tool("SupervisorDecision", {"next_agent": None})
    llmock.reply("Fertig.")
    chosen = {"model": "openai:gpt-5-mini", "prompt": "Answer in German."}
    context = chosen if by == "assistant" else None
    assistant = client.assistants.create("event_planning", context=context)["assistant_id"]
    given: dict[str, Any] = {"messages": [{"role": "user", "content": PARTY}]}
    options: Any = {} if by == "assistant" else {"context": chosen}
    result: Any = client.runs.wait(new_thread(client), assistant, input=given, **options)
    client.assistants.delete(assistant)
    assert result["messages"][-1]["content"] == "Fertig."
    decided, answered = (str(one.body) for one in llmock.requests)
    assert "gpt-5-mini" in decided
    assert "Answer in German." in decided and "Answer in German." in answered


def test_an_empty_field_of_the_form_keeps_the_default(client: SyncLangGraphClient) -> None:
    result = run(client, new_thread(client), PARTY, context={"model": "", "prompt": ""})
    assert result["status"] == "completed"


def test_a_model_that_cannot_be_used_is_named(client: SyncLangGraphClient) -> None:
    thread = new_thread(client)
    with pytest.raises(Exception, match="nonsense"):
        run(client, thread, PARTY, context={"model": "nonsense"})
    assert run(client, thread, PARTY)["status"] == "completed"


def test_the_graph_is_drawn_with_its_insides(client: SyncLangGraphClient) -> None:
    (assistant,) = client.assistants.search(graph_id="event_planning")
    drawing = client.assistants.get_graph(assistant["assistant_id"], xray=True)
    nodes = {node["id"] for node in drawing["nodes"]}
    assert {"supervisor", "human", "finish"} <= nodes
    assert any(str(node).startswith("venue:") for node in nodes)
    linked = {end for edge in drawing["edges"] for end in (edge["source"], edge["target"])}
    assert linked == nodes


def test_a_run_streams_who_speaks(client: SyncLangGraphClient) -> None:
    thread = new_thread(client)
    given: dict[str, Any] = {"messages": [{"role": "user", "content": PARTY}]}
    events = list(
        client.runs.stream(
            thread,
            "event_planning",
            input=given,
            stream_mode=["updates", "messages-tuple"],
            stream_subgraphs=True,
        )
    )
    kinds = {event.event.split("|")[0] for event in events}
    assert {"metadata", "updates", "messages"} <= kinds
    assert [event.data for event in events if event.event.startswith("error")] == []
    # The client says that data is always an object; of messages it is a pair.
    sent: list[Any] = [event.data for event in events if event.event.startswith("messages")]
    speakers = {data[1].get("participant") for data in sent if isinstance(data, list)}
    assert {"supervisor", "venue", "catering", "budget", "logistics"} <= speakers
    values: Any = client.threads.get_state(thread)["values"]
    assert values["status"] == "completed"


def test_a_question_pauses_the_run_and_the_answer_resumes_it(client: SyncLangGraphClient) -> None:
    thread = new_thread(client)
    run(client, thread, "Plan a party")
    state: Any = client.threads.get_state(thread)
    assert state["values"]["status"] == "waiting"
    (interrupt,) = state["interrupts"]
    assert interrupt["value"]["prompt"].startswith("To go on I need")
    result = run(client, thread, None, command={"resume": "Denver, 40 people, May 5th"})
    assert result["status"] == "completed"
    assert ", Denver" in result["reports"][0]["text"] + result["reports"][1]["text"]


@pytest.mark.parametrize(
    ("graph", "question", "answer"),
    [
        ("research", "What do my notes say about insurance?", "insurance.md"),
        ("consensus", "Which of the offers should we take?", "Winner:"),
        ("toy_example", "This is is a text.", "is"),
        ("update_manifest", "Update the manifest", "1 files"),
    ],
)
def test_every_other_graph_runs_and_forks(
    client: SyncLangGraphClient, graph: str, question: str, answer: str
) -> None:
    thread = new_thread(client)
    given: dict[str, Any] = {"messages": [{"role": "user", "content": question}]}
    result: Any = client.runs.wait(thread, graph, input=given)
    if graph == "update_manifest":
        assert "be written? Answer yes or no." in str(result["__interrupt__"])
        result = client.runs.wait(thread, graph, command={"resume": "yes"})
    assert (result["status"], result.get("__error__")) == ("completed", None)
    assert answer in str(result["reports"]) + str(result["messages"])
    history: Any = client.threads.get_history(thread, limit=50)
    past = next(state for state in history if state["next"] == ["supervisor"])
    again: Any = client.runs.wait(thread, graph, input=None, checkpoint=past["checkpoint"])
    assert again["status"] == "completed"


def test_an_edited_decision_is_routed(client: SyncLangGraphClient) -> None:
    thread = new_thread(client)
    run(client, thread, PARTY, interrupt_before=["venue"])
    state: Any = client.threads.get_state(thread)
    assert state["next"] == ["venue"]
    edit = {"decision": {"next_agent": "catering", "instruction": "Only the menu"}}
    client.threads.update_state(thread, edit, as_node="supervisor")
    assert client.threads.get_state(thread)["next"] == ["catering"]
    result = run(client, thread, None)
    assert next(report["participant"] for report in result["reports"]) == "catering"


def test_an_edited_decision_of_the_past_forks(client: SyncLangGraphClient) -> None:
    thread = new_thread(client)
    run(client, thread, PARTY)
    history: Any = client.threads.get_history(thread, limit=50)
    past = next(state for state in history if state["next"] == ["venue"])
    edit = {"decision": {"next_agent": None}}
    fork: Any = client.threads.update_state(
        thread, edit, as_node="supervisor", checkpoint=past["checkpoint"]
    )
    result = run(client, thread, None, checkpoint=fork["checkpoint"])
    assert (result["status"], result["reports"]) == ("completed", [])


def test_a_thread_takes_a_second_run(client: SyncLangGraphClient) -> None:
    thread = new_thread(client)
    first = run(client, thread, PARTY)
    second = run(client, thread, "Which venues are there for 90 people?")
    assert (second["status"], second["iterations"]) == ("completed", 2)
    assert len(second["messages"]) > len(first["messages"])
    capacity = re.search(r"Venue capacity: (\d+)", second["reports"][0]["text"])
    assert capacity and int(capacity[1]) >= 90


def test_a_participants_memory_can_be_read(client: SyncLangGraphClient) -> None:
    thread = new_thread(client)
    run(client, thread, PARTY)
    inside: Any = {"thread_id": thread, "checkpoint_ns": "venue"}
    memory: Any = client.threads.get_state(thread, checkpoint=inside)["values"]
    assert [message["type"] for message in memory["messages"]] == ["human", "ai", "tool", "ai"]


def test_the_page_is_served_beside_it(client: SyncLangGraphClient) -> None:
    place = str(client.http.client.base_url).rstrip("/")
    act = {"origin": place}
    with httpx.Client(base_url=f"{place}/asterism", follow_redirects=True, timeout=60) as page:
        assert "<title>Asterism</title>" in page.get(place + "/asterism").text
        body = {"graph": "event_planning", "request": "Plan a party"}
        assert page.post("api/run", json=body).status_code == 403
        assert page.get("api/graphs", headers={"origin": "http://evil.com"}).status_code == 403
        begun = page.post("api/run", json=body, headers=act)
        assert begun.status_code == 202, begun.text
        thread = begun.json()["thread"]
        view: Any = _settled(page, thread)
        answers = {view["questions"][0]["id"]: "Denver, 40 people, May 5th"}
        page.post("api/answer", json={"thread": thread, "answers": answers}, headers=act)
        assert _settled(page, thread)["status"] == "completed"


def _settled(page: httpx.Client, thread: str) -> Any:
    """What the stream of the page tells last, when the run is over."""
    with page.stream("GET", "api/events", params={"thread": thread}) as stream:
        for line in stream.iter_lines():
            frame = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
            if "view" in frame and frame["view"]["driven"] is None:
                return frame["view"]
    raise AssertionError("the run did not end")
