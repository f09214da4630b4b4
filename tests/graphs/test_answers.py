"""What a participant answers and how it fails, in whole workflows."""

import logging
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ToolStrategy
from langchain.tools import ToolRuntime
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool, StructuredTool, ToolException, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphInterrupt
from langgraph.func import entrypoint
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Interrupt, RetryPolicy
from pydantic import BaseModel
from typing_extensions import TypedDict

from asterism import (
    Agent,
    Compensation,
    Participant,
    Service,
    SupervisorWorkflowBuilder,
    UndoAll,
)
from asterism.compat.langgraph_supervisor import create_supervisor
from asterism.core.messages import history_fault
from asterism.core.run_types import WorkflowInput
from asterism.errors import StorageError, WorkflowBuildError
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.teams import follow

REQUEST: WorkflowInput = {"messages": [("user", "What does a pen cost?")]}
IMAGE = {"type": "image", "base64": "AAAA", "mime_type": "image/png"}
PICTURE: WorkflowInput = {
    "messages": [HumanMessage([{"type": "text", "text": "What is this?"}, IMAGE])]
}
THREAD: Any = {"configurable": {"thread_id": "1"}}
SECRET = "sk-abcdefghijklmnop"
WAYS = pytest.mark.parametrize("way", ["sync", "async"])
SAVERS = pytest.mark.parametrize("saver", [None, InMemorySaver], ids=["unsaved", "saved"])


def team(*visits: str, saver: Any = None, strategy: Any = None, **participants: Any) -> Any:
    """A workflow of participants that are routed, or work by a strategy."""
    built = SupervisorWorkflowBuilder("Shop", finish="forward").participants(**participants)
    built = built.with_strategy(strategy) if strategy else built.with_manager(follow(visits))
    return built.build(checkpointer=saver and saver())


def alone(thing: Any, visits: int = 1, saver: Any = None) -> Any:
    spec = thing if isinstance(thing, Participant) else Participant(runs=thing, description="p")
    return team(*["p"] * visits, saver=saver, p=spec)


async def go(workflow: Any, way: str, request: Any = REQUEST) -> Any:
    if way == "sync":
        return workflow.invoke(request, THREAD)
    return await workflow.ainvoke(request, THREAD)


def calling(*calls: str, text: str = "") -> ScriptedReply:
    return ScriptedReply(text=text, tool_calls=[(name, {}) for name in calls])


def graph_of(node: Callable[..., Any], state: Any = MessagesState, **schemas: Any) -> Any:
    graph: StateGraph[Any, Any, Any, Any] = StateGraph(state, **schemas)
    graph.add_node("n", node)
    graph.add_edge(START, "n")
    graph.add_edge("n", END)
    return graph.compile()


# ---- answers


class Quote(BaseModel):
    """A price."""

    euros: int


@WAYS
@SAVERS
async def test_a_structured_answer_is_that_of_its_own_visit(way: str, saver: Any) -> None:
    filled = ScriptedReply(tool_calls=[("Quote", {"euros": 3})])
    model = ScriptedChatModel(script=[filled, filled])
    agent: Any = create_agent(model, [], response_format=ToolStrategy(Quote))
    result = await go(alone(graph_of(_answers_once(agent), _Structured), 2, saver), way)
    texts = [report["text"] for report in result["reports"]]
    assert texts == ['{"euros": 3}', "I do not know."]
    [report] = (await go(alone(agent), way))["reports"]
    assert (report["status"], report["text"]) == ("ok", '{"euros": 3}')


class _Structured(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    structured_response: Any


def _answers_once(agent: Any) -> Callable[..., Any]:
    """A node that fills in its structured answer in the first visit alone."""
    visits: list[int] = []

    def node(state: Any) -> dict[str, Any]:
        visits.append(1)
        if len(visits) > 1:
            return {"messages": [AIMessage("I do not know.")]}
        found = agent.invoke({"messages": state["messages"]})
        return {"messages": found["messages"], "structured_response": found["structured_response"]}

    return node


class _Text(TypedDict):
    messages: str


class _State(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    answer: str


class _Answer(TypedDict, total=False):
    answer: str


@WAYS
@SAVERS
@pytest.mark.parametrize(
    "graph",
    [
        lambda: graph_of(lambda s: {"messages": [HumanMessage("3", name="clerk")]}),
        lambda: graph_of(lambda s: {"messages": "3"}, _Text),
        lambda: graph_of(lambda s: {"answer": "3"}, _State, output_schema=_Answer),
        lambda: _wrapped_entrypoint(),
        lambda: _async_graph(),
    ],
    ids=["user message", "text as messages", "no messages in the output", "entrypoint", "async"],
)
async def test_graphs_of_other_shapes_answer(graph: Any, way: str, saver: Any) -> None:
    result = await go(alone(graph(), 2, saver), way)
    assert [(r["status"], r["text"]) for r in result["reports"]] == [("ok", "3")] * 2
    assert result["messages"][-1].text == "3"


def _wrapped_entrypoint() -> Any:
    @entrypoint()
    def workflow(state: dict[str, Any]) -> dict[str, Any]:
        return {"messages": [AIMessage("3")]}

    with pytest.raises(WorkflowBuildError, match="wrap it in a function"):
        alone(workflow)
    return lambda messages: workflow.invoke({"messages": messages})


def _async_graph() -> Any:
    async def node(state: Any) -> dict[str, Any]:
        return {"messages": [AIMessage("3")]}

    return graph_of(node)


def test_an_output_of_an_earlier_visit_is_no_answer() -> None:
    visits: list[int] = []

    def node(state: Any) -> dict[str, Any]:
        visits.append(1)
        return {"answer": "3"} if len(visits) == 1 else {"messages": []}

    graph = graph_of(node, _State, output_schema=_Answer)
    reports = alone(graph, 2, InMemorySaver).invoke(REQUEST, THREAD)["reports"]
    assert [report["status"] for report in reports] == ["ok", "empty"]


# ---- pictures


def seen_by(*names: str) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Participants that note the content of their latest request."""
    seen: dict[str, list[Any]] = {}

    def named(name: str) -> Callable[[Any], str]:
        def look(messages: list[AnyMessage]) -> str:
            content = messages[-1].content
            seen[name] = [] if isinstance(content, str) else content[1:]
            return f"{name} has looked"

        return look

    return {n: Participant(runs=named(n), description=n) for n in names}, seen


@WAYS
@pytest.mark.parametrize("strategy", [None, "sequential", "parallel", "hierarchical"])
async def test_the_pictures_of_a_request_reach_everybody(strategy: Any, way: str) -> None:
    people, seen = seen_by("ann", "bob")
    inner, seen_inside = seen_by("cid")
    inner_team = Participant(runs=team("cid", **inner), description="Works inside.")
    built = team("ann", "bob", "nested", strategy=strategy, nested=inner_team, **people)
    await go(built, way, PICTURE)
    assert seen == {"ann": [IMAGE], "bob": [IMAGE]} and seen_inside == {"cid": [IMAGE]}


def test_a_picture_of_an_earlier_request_is_not_sent_again() -> None:
    people, seen = seen_by("ann")
    built = team("ann", saver=InMemorySaver, **people)
    built.invoke(PICTURE, THREAD)
    built.invoke({"messages": [HumanMessage(["One", " more"])]}, THREAD)
    assert seen["ann"] == []


@WAYS
async def test_the_picture_of_an_answer_stays_in_its_report(way: str) -> None:
    def draw(messages: list[AnyMessage]) -> AIMessage:
        return AIMessage([{"type": "text", "text": "A pen."}, IMAGE])

    people, seen = seen_by("critic")
    artist = Participant(runs=draw, description="Draws.")
    result = await go(team(artist=artist, strategy="sequential", **people), way)
    assert result["reports"][0]["media"] == [IMAGE] and result["reports"][0]["text"] == "A pen."
    assert seen["critic"] == [IMAGE]
    shown = next(m for m in result["messages"] if m.name == "artist")
    assert shown.text == "A pen." and IMAGE in shown.content
    alone_again = await go(alone(team("artist", artist=artist)), way)
    assert alone_again["reports"][0]["media"] == [IMAGE]
    assert IMAGE in alone_again["messages"][-1].content


def test_a_service_names_the_picture_that_it_cannot_be_sent() -> None:
    service = Participant(runs=Service("http://127.0.0.1:9/"), description="Far away.")
    [report] = alone(service).invoke(PICTURE)["reports"]
    assert "holds image, and the service http://127.0.0.1:9 is sent text alone" in report["error"]


# ---- tools


def price() -> str:
    """Tell a price."""
    raise ValueError(f"there is no pen, api_key={SECRET}")


def of_a_server() -> str:
    """Tell a price."""
    raise ToolException("there is no pen")


@WAYS
@pytest.mark.parametrize("function", [price, of_a_server], ids=["any error", "ToolException"])
async def test_the_error_of_a_tool_reaches_the_model(
    function: Any, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = ScriptedChatModel(script=[calling(function.__name__), "There is none."])
    spec = Participant(model=model, tools=[function], description="p")
    [report] = (await go(alone(spec), way))["reports"]
    assert (report["status"], report["text"], report["attempts"]) == ("ok", "There is none.", 1)
    told = model.calls[1].messages[-1]
    assert isinstance(told, ToolMessage) and told.status == "error"
    assert "there is no pen" in told.text and SECRET not in told.text
    [record] = caplog.records
    assert (record.name, record.levelno) == ("asterism.nodes.middleware", logging.WARNING)
    assert "Traceback" in caplog.text and SECRET not in caplog.text


def _asks() -> str:
    """Ask."""
    raise GraphInterrupt((Interrupt(value={"prompt": "Sure?"}, id="1"),))


def _no_room() -> str:
    """Store."""
    raise StorageError("the disk is full")


def _down() -> str:
    """Tell a price."""
    raise RuntimeError("the price service is down")


def _unreachable() -> str:
    """Tell a price."""
    raise ConnectionRefusedError("no route")


@tool(return_direct=True)
def _direct() -> str:
    """Tell a price."""
    raise ValueError("no pen")


@WAYS
@pytest.mark.parametrize(
    "function",
    [_no_room, _down, _unreachable, _direct],
    ids=["storage", "a service that is down", "no connection", "direct return"],
)
async def test_what_a_model_cannot_mend_ends_the_visit(function: Any, way: str) -> None:
    name = getattr(function, "name", None) or function.__name__
    model = ScriptedChatModel(script=[calling(name, text="I look.")])
    spec = Participant(model=model, tools=[function], description="p")
    [report] = (await go(alone(spec), way))["reports"]
    assert report["status"] == "failed" and report["text"] == "I look."
    assert "test_answers.py" in report["traceback"]


async def test_a_question_of_a_tool_is_no_error() -> None:
    model = ScriptedChatModel(script=[calling("_asks")])
    spec = Participant(model=model, tools=[_asks], description="p")
    assert "__interrupt__" in await go(alone(spec, saver=InMemorySaver), "async")


@WAYS
async def test_the_error_of_a_supervisors_tool_reaches_its_model(way: str) -> None:
    model = ScriptedChatModel(script=[calling("price"), "There is none."])
    agent: Any = create_agent(ScriptedChatModel(script=[]), [], name="clerk")
    office = create_supervisor([agent], model=model, tools=[price]).compile()
    assert (await go(office, way))["messages"][-1].text == "There is none."


async def sunny() -> str:
    """Tell the weather."""
    return "Sunny."


class AsyncOnly(BaseTool):
    """A tool of a class of its own."""

    name: str = "sunny"
    description: str = "Tell the weather."

    def _run(self) -> str:
        raise NotImplementedError("no sync.")

    async def _arun(self) -> str:
        return "Sunny."


@WAYS
@pytest.mark.parametrize("own", [False, True], ids=["Participant", "agent of one's own"])
@pytest.mark.parametrize(
    "found",
    [
        sunny,
        StructuredTool.from_function(coroutine=sunny, name="sunny", description="Weather."),
    ],
    ids=["function", "tool"],
)
async def test_async_tools_work_in_sync(found: Any, own: bool, way: str) -> None:
    model = ScriptedChatModel(script=[calling("sunny"), lambda m: m[-1].text])
    spec: Any = Participant(model=model, tools=[found], description="p")
    thing = create_agent(model, [found]) if own else spec
    [report] = (await go(alone(thing, saver=InMemorySaver), way))["reports"]
    assert report["text"] == "Sunny.", report


def test_an_async_tool_that_cannot_be_called_in_sync_says_what_to_do() -> None:
    model = ScriptedChatModel(script=[calling("sunny")])
    spec = Participant(model=model, tools=[AsyncOnly()], description="p")
    [report] = alone(spec).invoke(REQUEST)["reports"]
    assert report["status"] == "failed" and "ainvoke" in report["error"]


# ---- failures


@WAYS
@SAVERS
async def test_what_was_said_before_a_failure_is_kept(way: str, saver: Any) -> None:
    model = ScriptedChatModel(script=[calling("price", text="I found hall A so far.")])
    agent = create_agent(model, [price])
    [report] = (await go(alone(agent, saver=saver), way))["reports"]
    assert (report["status"], report["text"]) == ("failed", "I found hall A so far.")
    assert SECRET not in str(report)


@WAYS
async def test_a_hand_over_by_command_says_where_to_and_keeps_the_rest(way: str) -> None:
    def to_bob(runtime: ToolRuntime) -> Command[Any]:
        """Hand over to Bob."""
        done = ToolMessage("transferred", tool_call_id=runtime.tool_call_id)
        sent = [*runtime.state["messages"], done]
        return Command(goto="bob", graph=Command.PARENT, update={"messages": sent})

    def add() -> str:
        """Add."""
        return "It is 12."

    model = ScriptedChatModel(script=[calling("add", "to_bob", text="Easy."), "Hello."])
    built = alone(create_agent(model, [add, to_bob]), saver=InMemorySaver)
    [report] = (await go(built, way))["reports"]
    assert (report["status"], report["text"]) == ("failed", "Easy.") and "bob" in report["error"]
    [report] = (await go(built, way))["reports"]
    assert report["text"] == "Hello."
    sent = model.calls[1].messages
    assert history_fault(sent) is None
    assert "It is 12." in [m.text for m in sent if isinstance(m, ToolMessage)]


class MuteError(Exception):
    """An error whose message cannot be written."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


@WAYS
async def test_an_error_without_a_message_is_a_report(way: str) -> None:
    def fail(messages: list[AnyMessage]) -> str:
        raise MuteError

    [report] = (await go(alone(fail), way))["reports"]
    assert report["error"] == "MuteError: (its message cannot be read)"


@WAYS
async def test_a_traceback_can_be_stored_and_logged(
    way: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(messages: list[AnyMessage]) -> str:
        raise ValueError("half a character \ud800 and \x00")

    [report] = (await go(alone(fail, saver=InMemorySaver), way))["reports"]
    assert "half a character \\ud800 and \\x00" in report["traceback"]
    assert caplog.text.encode() and "\x00" not in caplog.text


# ---- logs


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    caplog.set_level(logging.INFO, "asterism")
    yield caplog
    assert SECRET not in caplog.text


def _fails(*args: Any) -> Any:
    raise ValueError(f"out of order, token={SECRET}")


@WAYS
async def test_a_failing_participant_is_logged(way: str, logged: pytest.LogCaptureFixture) -> None:
    retry = RetryPolicy(max_attempts=2, initial_interval=0.0, jitter=False, retry_on=ValueError)
    spec = Participant(runs=_fails, description="p", policies=[retry])
    [report] = (await go(alone(spec), way))["reports"]
    assert "ValueError: out of order" in report["traceback"]
    assert SECRET not in report["traceback"]
    again, failure = logged.records
    assert (again.name, again.levelname) == ("asterism.nodes.policies", "INFO")
    assert (failure.name, failure.levelname) == ("asterism.nodes.participant", "WARNING")
    assert "the visit of p failed in attempt 2" in failure.getMessage()
    assert "in _fails" in failure.getMessage()


def test_a_failing_decider_is_logged(logged: pytest.LogCaptureFixture) -> None:
    built = SupervisorWorkflowBuilder("T").participants(p=Participant(runs=_fails, description="p"))
    with pytest.raises(RuntimeError):
        built.with_manager(_fails).build().invoke(REQUEST)
    [record] = logged.records
    assert (record.name, record.levelname) == ("asterism.nodes.decider", "WARNING")
    assert "Traceback" in record.getMessage()


def test_a_fallback_is_logged(logged: pytest.LogCaptureFixture) -> None:
    people = {"p": Participant(runs=lambda messages: "x", description="p")}
    model = ScriptedChatModel(script=["nonsense"] * 9)
    built = SupervisorWorkflowBuilder("T", model=model, fallback="finish", max_repairs=1)
    built.participants(**people).build().invoke(REQUEST)
    assert "fallback='finish' is followed" in logged.records[0].getMessage()
    assert logged.records[0].levelname == "WARNING"


def test_a_failing_undo_is_logged(logged: pytest.LogCaptureFixture) -> None:
    undoes = Participant(runs=lambda m: "Booked.", description="Books.", undo=_fails)
    policies = [Compensation({"agent_failed": UndoAll()})]
    fails = Participant(runs=_fails, description="Fails.", policies=policies)
    result = team("books", "fails", books=undoes, fails=fails).invoke(REQUEST)
    [record] = [r for r in logged.records if r.name == "asterism.nodes.request"]
    assert record.levelname == "WARNING" and "the undo of books failed" in record.getMessage()
    [undone] = [report for report in result["reports"] if "undoes" in report]
    assert "in _fails" in undone["traceback"] and SECRET not in str(undone)


def test_an_agent_that_cannot_be_made_is_logged(logged: pytest.LogCaptureFixture) -> None:
    people = {"p": Participant(runs=lambda m: "x", description="p")}
    built = SupervisorWorkflowBuilder("T", model="offline", finish="forward").participants(**people)
    strange = Agent(agent_id="strange", model="no-such-provider:x")
    built.with_strategy("sequential", create_agents_for_task=lambda request: [strange])
    built.build().invoke(REQUEST)
    [record] = [r for r in logged.records if r.name == "asterism.nodes.plan_runner"]
    assert record.levelname == "WARNING"
    assert "the agent strange cannot be made" in record.getMessage()


def test_the_library_is_silent_where_nobody_listens() -> None:
    handlers = logging.getLogger("asterism").handlers
    assert any(isinstance(handler, logging.NullHandler) for handler in handlers)
