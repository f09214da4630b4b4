"""Mistakes that people make: each is answered with the value, what is allowed, and the way out."""

from collections.abc import Callable
from typing import Any, cast

import pytest
from langchain_core.messages import AnyMessage
from langchain_core.prompts import ChatPromptTemplate
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt

from asterism import (
    Agent,
    AsterismError,
    Participant,
    SupervisorDecision,
    SupervisorWorkflowBuilder,
    open_checkpointer,
    open_store,
    pending_requests,
    proceed,
    resume,
)
from asterism.core.run_types import WorkflowInput
from asterism.testing import ScriptedChatModel, ScriptedReply

HELLO: WorkflowInput = {"messages": [("user", "Please work")]}


def works(messages: list[AnyMessage]) -> str:
    """Works."""
    return "done"


def asks(messages: list[AnyMessage]) -> str:
    """Asks."""
    return str(interrupt("Which colour?"))


def undocumented(city: str) -> str:
    return city


def price(city: str) -> str:
    """Return a price."""
    return city


def follow(view: Any) -> SupervisorDecision:
    return SupervisorDecision(next_agent=None if view.reports else "p")


class Worker:
    """A class that is called by mistake."""

    def __call__(self, messages: list[AnyMessage]) -> str:
        return "done"


def build(thing: Any = works, *, saver: Any = None, **options: Any) -> Any:
    given: dict[str, Any] = {"model": "offline", **options}
    builder = SupervisorWorkflowBuilder("Trip", **given)
    return builder.participants(p=thing).with_manager(follow).build(saver)


def stored(thing: Any = works) -> Any:
    return build(thing, saver=InMemorySaver())


def uncompiled() -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("n", lambda state: {"messages": []})
    return graph.add_edge(START, "n")


def functional() -> Any:
    @entrypoint()
    def workflow(given: Any) -> str:
        return "done"

    return cast(Any, workflow)


def two_arguments(messages: Any, config: Any) -> str:
    """Takes two."""
    return "done"


def nothing() -> str:
    """Takes nothing."""
    return "done"


def keyword_only(*, messages: Any) -> str:
    """Takes a keyword."""
    return "done"


def tools(*given: Any) -> Callable[[], Any]:
    return lambda: build(Participant(tools=given, description="Prices."))


def answer_wrongly() -> Any:
    workflow = stored(asks)
    workflow.invoke(HELLO, {"configurable": {"thread_id": "1"}})
    return resume(workflow, "1", "")


def decides(found: Any) -> Callable[[], Any]:
    def run() -> Any:
        builder = SupervisorWorkflowBuilder("Trip").participants(p=works)
        return builder.with_manager(lambda view: found).build().invoke(HELLO)

    return run


MISTAKES: list[tuple[str, Callable[[], Any], list[str]]] = [
    ("tool without docstring", tools(undocumented), ["'undocumented'", "no docstring", "add one"]),
    ("tool by name", tools("price"), ["'price'", "a name", "functions or LangChain tools"]),
    ("tool that is a number", tools(3), ["the tool 3", "int", "functions or LangChain tools"]),
    ("two tools of one name", tools(price, price), ["two tools named 'price'", "another name"]),
    (
        "tools as one text",
        lambda: build(Participant(tools="price", description="Prices.")),
        ["tools='price'", "a list of functions"],
    ),
    (
        "approval of an unknown tool",
        lambda: build(Participant(tools=[price], approve=["pay"], description="Prices.")),
        ["'pay' in `approve`", "price"],
    ),
    (
        "approval without decisions",
        lambda: build(Participant(tools=[price], approve={"price": {}}, description="Prices.")),
        ["allowed_decisions", "'approve', 'reject'"],
    ),
    (
        "middleware that is none",
        lambda: build(Participant(tools=[price], middleware=[price], description="Prices.")),
        ["no AgentMiddleware"],
    ),
    (
        "runs and tools",
        lambda: build(Participant(runs=works, tools=[price], description="Prices.")),
        ["`runs`", "`tools`", "one or the other"],
    ),
    ("model that is a number", lambda: build(model=42), ["is 42", "'offline'"]),
    (
        "model of a participant",
        lambda: build(Participant(model=42, prompt="x")),  # type: ignore[arg-type]
        ["'p' is 42", "allowed: a chat model"],
    ),
    ("model that is a class", lambda: build(model=ScriptedChatModel), ["class", "allowed"]),
    ("uncompiled graph", lambda: build(uncompiled()), ["StateGraph", ".compile()"]),
    ("class", lambda: build(Worker), ["the class Worker", "an instance"]),
    ("function of two", lambda: build(two_arguments), ["(messages: Any, config: Any)", "def work"]),
    ("function of nothing", lambda: build(nothing), ["takes ()", "def work(messages)"]),
    ("function of a keyword", lambda: build(keyword_only), ["(*, messages", "def work(messages)"]),
    ("text", lambda: build("venue"), ["is a str", "allowed: a compiled graph"]),
    ("nothing", lambda: build(None), ["NoneType", "allowed: a compiled graph"]),
    ("functional graph", lambda: build(functional()), ["@entrypoint", "wrap it in a function"]),
    (
        "chain of two texts",
        lambda: build(ChatPromptTemplate.from_template("{city} {day}")),
        ["`city`", "`day`", "wrap it"],
    ),
    (
        "list without names",
        lambda: SupervisorWorkflowBuilder("Trip").participants([object()]),
        ["no name", ".participants(name=thing)"],
    ),
    (
        "agent with tools by name",
        lambda: SupervisorWorkflowBuilder("Trip").participants(
            [Agent(agent_id="venue", tools=["price"])]
        ),
        ["'venue'", "'price'", "give functions"],
    ),
    ("reserved name", lambda: build_named("supervisor"), ["'supervisor' is reserved", "begin"]),
    ("name with a space", lambda: build_named("my agent"), ["'my agent'", "letters, digits"]),
    ("nobody", lambda: SupervisorWorkflowBuilder("T", model="offline").build(), [".participants("]),
    (
        "nobody decides",
        lambda: SupervisorWorkflowBuilder("T").participants(p=works).build(),
        ["nobody decides", "with_manager"],
    ),
    ("finish", lambda: build(finish=3), ["finish is 3", "'synthesize'", "pydantic model"]),
    (
        "strategy",
        lambda: SupervisorWorkflowBuilder("T").participants(p=works).with_strategy("swarm").build(),  # type: ignore[arg-type]
        ["'swarm'", "sequential, parallel"],
    ),
    ("no rounds", lambda: build(max_iterations=0), ["max_iterations is 0", "at least 1"]),
    ("stall", lambda: build(on_stall="stop"), ["'stop'", "'replan'"]),
    ("fallback", lambda: build(fallback="q"), ["'q'", "'ask_user'", "'p'"]),
    ("digests of nothing", lambda: build(digest_tokens=0), ["digest_tokens is 0", "at least 1"]),
    ("saver that is a class", lambda: build(saver=InMemorySaver), ["InMemorySaver()", "sqlite://"]),
    ("saver that is a word", lambda: build(saver="memory"), ["'memory'", "./file.db", "memory:"]),
    ("saver elsewhere", lambda: build(saver="mysql://h/db"), ["mysql://h/db", "postgresql://"]),
    ("input that is a text", lambda: build().invoke("hello"), ["'hello'", '{"messages"']),
    ("input that is a list", lambda: build().invoke([("user", "x")]), ["[('user', 'x')]"]),
    ("input with a typo", lambda: build().invoke({"mesages": []}), ["no messages", '{"messages"']),
    ("empty request", lambda: build().invoke({"messages": [("user", " ")]}), ["says anything"]),
    ("no thread", lambda: stored().invoke(HELLO), ["thread id is None", "configurable"]),
    (
        "thread id at the top",
        lambda: stored().invoke(HELLO, {"thread_id": "1"}),
        ["thread id is None", 'config={"configurable"'],
    ),
    ("thread id as config", lambda: stored().invoke(HELLO, "1"), ["'1'", 'config={"configurable"']),
    (
        "question without a saver",
        lambda: pending_requests(build(asks), "1"),
        ["no checkpointer", "build(checkpointer="],
    ),
    ("answer to nobody", lambda: resume(stored(), "1", "x"), ["Nobody is waiting"]),
    ("nothing to go on with", lambda: proceed(stored(), "1"), ["Nothing is unfinished", "invoke"]),
    ("empty answer", answer_wrongly, ["'Which colour?'", "empty"]),
    ("unknown next agent", decides({"next_agent": "q", "instruction": "x"}), ["'q'", "Allowed: p"]),
    ("decision of another kind", decides(3), ["returned int", "SupervisorDecision("]),
]


def build_named(name: str) -> Any:
    return SupervisorWorkflowBuilder("Trip", model="offline").participants({name: works}).build()


@pytest.mark.filterwarnings("ignore:The participant")
@pytest.mark.parametrize(
    ("act", "words"), [each[1:] for each in MISTAKES], ids=[each[0] for each in MISTAKES]
)
def test_a_mistake_is_answered_with_the_way_out(act: Callable[[], Any], words: list[str]) -> None:
    with pytest.raises(AsterismError) as raised:
        act()
    for word in words:
        assert word in str(raised.value)
    assert ".." not in str(raised.value).replace("...", "")


def test_a_question_without_a_checkpointer_is_warned_of() -> None:
    with pytest.warns(UserWarning, match=r"'Trip' waits .* build\(checkpointer=...\)"):
        assert build(asks).invoke(HELLO)["status"] == "waiting"


@pytest.mark.parametrize("found", [3, None], ids=repr)
def test_an_answer_of_another_kind_fails_the_visit(found: object) -> None:
    def answers(messages: list[AnyMessage]) -> Any:
        """Answers wrongly."""
        return found

    result = build(answers).invoke(HELLO)
    assert result["status"] == "failed"
    assert f"returned {type(found).__name__}; allowed: a text" in result["reason"]


def test_an_async_tool_works_under_invoke() -> None:
    async def look(city: str) -> str:
        """Look at a city."""
        return f"sun in {city}"

    model = ScriptedChatModel(
        script=[ScriptedReply(tool_calls=[("look", {"city": "Rome"})]), "It is sunny."]
    )
    spec = Participant(model=model, tools=[look], description="Looks.")
    [report] = build(spec).invoke(HELLO)["reports"]
    assert report["text"] == "It is sunny."
    assert "sun in Rome" in str(model.calls[1].messages)


def test_a_thread_is_named_by_its_id() -> None:
    workflow = stored(asks)
    workflow.invoke(HELLO, {"configurable": {"thread_id": "1"}})
    assert [request.prompt for request in pending_requests(workflow, "1")] == ["Which colour?"]
    assert resume(workflow, "1", "blue")["reports"][0]["text"] == "blue"


@pytest.mark.parametrize("form", ["sqlite:///{}", "{}"])
def test_a_database_is_named_where_a_workflow_is_built(form: str, tmp_path: Any) -> None:
    address = form.format(tmp_path / "threads.db")
    workflow = (
        SupervisorWorkflowBuilder("Trip", model="offline")
        .participants(p=asks)
        .with_manager(follow)
        .build(checkpointer=address, store=address)
    )
    workflow.invoke(HELLO, {"configurable": {"thread_id": "1"}})
    with open_checkpointer(address) as saver, open_store(address):
        assert len(pending_requests(build(asks, saver=saver), "1")) == 1


def test_participants_are_given_as_a_list() -> None:
    model = ScriptedChatModel(script=["A hall"])
    venue = Agent(agent_id="venue", system_prompt="Find venues.", model=model, tools=[price])
    workflow = SupervisorWorkflowBuilder("Trip", model="offline").participants([works, venue])
    assert list(workflow.build().facts.participants) == ["works", "venue"]
