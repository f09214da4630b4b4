"""Visits that find no end by themselves: they end with what they have found."""

from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import create_react_agent  # pyright: ignore[reportDeprecated]
from langgraph.types import RetryPolicy, interrupt

from asterism import (
    Agent,
    AgentOrchestrator,
    Budget,
    CircuitBreaker,
    Participant,
    SupervisorWorkflowBuilder,
    Usage,
    lines_of,
    resume,
)
from asterism.core.messages import history_fault
from asterism.core.run_types import WorkflowInput
from asterism.errors import WorkflowBuildError
from asterism.nodes.engine_keys import chosen_limit
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.plans import drive, plan, task
from tests.teams import follow

REQUEST: WorkflowInput = {"messages": [("user", "What does it cost?")]}
WAYS = pytest.mark.parametrize("way", ["sync", "async"])
DECIDERS = {"a visit": follow(["trains"]), "a task": plan(task("t", "trains"))}
EITHER = pytest.mark.parametrize("decide", DECIDERS.values(), ids=DECIDERS)


def price(city: str) -> str:
    """Tell a price."""
    return f"{city} costs {len(city)} dollars"


def babbler(city: Callable[[int], str] = lambda n: "x" * n, text: str = "") -> ScriptedChatModel:
    """A model that calls a tool for ever."""

    def call(n: int) -> Any:
        return ScriptedReply(text=text, tool_calls=[("price", {"city": city(n)})])

    return ScriptedChatModel(script=[call(n) for n in range(1, 300)])


class Hooked(AgentMiddleware[Any, Any, Any]):
    """Adds engine steps to every model call of an agent."""

    def before_model(self, state: Any, runtime: Any) -> None: ...
    def after_model(self, state: Any, runtime: Any) -> None: ...


def graph(runs: Any) -> Participant:
    return Participant(runs=runs, description="T.")


def looped(model: ScriptedChatModel) -> Any:
    """A graph of one node that goes to itself for ever."""
    builder = StateGraph(MessagesState)

    def loop(state: MessagesState) -> dict[str, Any]:
        return {"messages": model.invoke(state["messages"])}

    builder.add_node("loop", loop)  # pyright: ignore[reportUnknownMemberType]
    builder.add_edge(START, "loop").add_edge("loop", "loop")
    return graph(builder.compile())


KINDS: dict[str, Callable[[ScriptedChatModel], Any]] = {
    "an agent of ours": lambda model: Participant(model=model, tools=[price], description="T."),
    "create_agent": lambda model: graph(create_agent(model, [price])),
    "hooks": lambda model: graph(create_agent(model, [price], middleware=[Hooked()])),
    "a participant within one": lambda model: graph(graph(create_agent(model, [price]))),
    "create_react_agent": lambda model: graph(create_react_agent(model, [price])),  # pyright: ignore[reportDeprecated]
}
ALL = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


def team(decide: Any, saver: Any = None, **members: Any) -> Any:
    options = {key: members.pop(key) for key in ("max_steps", "budget") if key in members}
    builder = SupervisorWorkflowBuilder("Trip", finish="forward", **options)
    return builder.participants(**members).with_manager(decide).build(checkpointer=saver)


@WAYS
@EITHER
@ALL
@pytest.mark.parametrize("stored", [True, False], ids=["stored", "not stored"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_visit_ends_at_its_limit_with_what_it_has_found(
    make: Any, decide: Any, way: str, stored: bool, thread: RunnableConfig
) -> None:
    model = babbler()
    saver = InMemorySaver() if stored else None
    workflow = team(decide, saver, trains=make(model), max_steps=6)
    result = await drive(workflow, way, REQUEST, thread)
    [report] = result["reports"]
    assert (report["status"], report["kind"]) == ("limit", "limit_reached")
    assert len(model.calls) <= 6
    assert "x costs 1 dollars" in report["text"]
    assert "xxx costs 3 dollars" in report["text"]
    assert Usage.of(u for u in lines_of(result) if "model" in u).calls == len(model.calls)
    assert "x costs 1 dollars" in result["messages"][-1].text


@ALL
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_visit_that_ends_in_time_may_make_as_many_calls_as_the_limit_says(make: Any) -> None:
    script = [*babbler().script[:3], "It costs 9 dollars."]
    result = team(
        follow(["trains"]), trains=make(ScriptedChatModel(script=script)), max_steps=4
    ).invoke(REQUEST)
    assert [(r["status"], r["text"]) for r in result["reports"]] == [("ok", "It costs 9 dollars.")]


@pytest.mark.parametrize("make", [KINDS["an agent of ours"], KINDS["create_agent"], looped])
def test_there_is_a_limit_where_nobody_sets_one(make: Any) -> None:
    model = babbler()
    result = team(follow(["trains"]), trains=make(model)).invoke(REQUEST)
    assert [r.get("kind") for r in result["reports"]] == ["limit_reached"]
    assert "max_steps=50" in result["reports"][0]["error"]
    assert len(model.calls) <= 101  # a graph of one node may take two steps a call


@WAYS
async def test_what_was_said_is_kept_rather_than_what_tools_gave(way: str) -> None:
    model = ScriptedChatModel(
        script=[
            ScriptedReply(text=f"Step {n}.", tool_calls=[("price", {"city": "x" * n})])
            for n in range(1, 9)
        ]
    )
    spec = Participant(model=model, tools=[price], description="T.", max_steps=3)
    result = await drive(team(follow(["trains"]), trains=spec), way, REQUEST, None)
    assert result["reports"][0]["text"] == "Step 1.\n\nStep 2.\n\nStep 3."


@pytest.mark.parametrize("steps", [1, 2])
def test_a_graph_without_tools_may_end_with_its_last_node(steps: int) -> None:
    builder = StateGraph(MessagesState)
    for name in ("read", "think", "write"):
        builder.add_node(name, lambda state: {"messages": AIMessage("Done.")})  # pyright: ignore[reportUnknownMemberType]
    builder.add_edge(START, "read").add_edge("read", "think").add_edge("think", "write")
    spec = Participant(runs=builder.compile(), description="T.", max_steps=steps)
    assert team(follow(["p"]), p=spec).invoke(REQUEST)["reports"][0]["status"] == "ok"


def test_the_latest_of_much_is_kept() -> None:
    model = babbler(lambda n: str(n) * 3_000)
    spec = Participant(model=model, tools=[price], description="T.", max_steps=9)
    text = team(follow(["trains"]), trains=spec).invoke(REQUEST)["reports"][0]["text"]
    assert len(text) < 8_100
    assert "8" * 3_000 in text
    assert "1" * 3_000 not in text


def test_the_nearest_limit_holds() -> None:
    models = babbler(), babbler()
    near = Participant(model=models[0], tools=[price], description="T.", max_steps=3)
    far = Participant(runs=create_agent(models[1], [price]), description="T.", max_steps=5)
    team(follow(["near", "far"]), near=near, far=far, max_steps=7).invoke(REQUEST)
    assert [len(model.calls) for model in models] == [3, 5]


@pytest.mark.parametrize(
    ("own", "run", "calls"),
    [
        pytest.param(10, None, 5, id="the graph's own"),
        pytest.param(None, 22, 11, id="that of the run"),
        pytest.param(10, 22, 5, id="both"),
        pytest.param(None, None, 2, id="none"),
    ],
)
def test_a_graph_keeps_a_recursion_limit_that_somebody_has_chosen(
    own: int | None, run: int | None, calls: int
) -> None:
    model = babbler()
    agent: Any = create_agent(model, [price])
    if own:
        agent = agent.with_config(recursion_limit=own)
    workflow = team(follow(["trains"]), trains=graph(agent), max_steps=2)
    result = workflow.invoke(REQUEST, {"recursion_limit": run} if run else None)
    assert [r.get("kind") for r in result["reports"]] == ["limit_reached"]
    assert len(model.calls) == calls


def test_the_defaults_of_recursion_limit_are_nobodys_choice() -> None:
    found: list[RunnableConfig] = []
    builder = StateGraph(MessagesState)

    def note(state: MessagesState, config: RunnableConfig) -> None:
        found.append(config)

    builder.add_node("note", note)  # pyright: ignore[reportUnknownMemberType]
    builder.add_edge(START, "note").compile().invoke({"messages": []})
    assert chosen_limit(found[0]) is None
    assert chosen_limit(create_agent(babbler(), [price]).config) is None
    assert chosen_limit({"recursion_limit": 12}) == 12


@WAYS
async def test_the_limit_of_a_workflow_holds_for_its_own_participants(way: str) -> None:
    models = babbler(), babbler()

    def spec(model: ScriptedChatModel) -> Participant:
        return Participant(model=model, tools=[price], description="T.")

    inner = (
        SupervisorWorkflowBuilder("Inner", finish="forward", description="T.", max_steps=3)
        .participants(deep=spec(models[0]))
        .with_manager(follow(["deep"]))
        .build()
    )
    outer = team(follow(["inner", "plain"]), inner=inner, plain=spec(models[1]), max_steps=4)
    await drive(outer, way, REQUEST, None)
    assert [len(model.calls) for model in models] == [3, 4]


@WAYS
async def test_agents_of_an_orchestrator_and_created_ones_are_limited(way: str) -> None:
    models = babbler(), babbler()
    new = {"agent_id": "new", "description": "N.", "system_prompt": "N.", "tools": ["price"]}
    tasks = [
        {"task_id": name, "agent_id": name, "task_description": "Look."} for name in ("old", "new")
    ]
    boss = ScriptedChatModel(
        script=[
            {"next_agent": None, "subagents": [new], "tasks": tasks},
            {"next_agent": None, "answer": "Done."},
        ]
    )
    main = Agent(agent_id="main", model=boss)
    orchestrator = AgentOrchestrator(
        main, [price], subagent_model=models[1], max_steps=3, max_retries=2, retry_delay=0
    )
    orchestrator.register_subagent(Agent(agent_id="old", model=models[0], tools=["price"]))
    result = await drive(
        orchestrator.graph, way, REQUEST, {"configurable": {"thread_id": orchestrator.thread_id}}
    )
    assert {r["participant"]: r.get("kind") for r in result["reports"]} == {
        "old": "limit_reached",
        "new": "limit_reached",
    }
    assert [len(model.calls) for model in models] == [3, 3]  # no attempt is made again


@WAYS
async def test_an_agent_that_asks_does_not_start_to_count_anew(
    way: str, thread: RunnableConfig
) -> None:
    def price(city: str) -> str:
        """Ask for a price."""
        return str(interrupt({"prompt": f"What does {city} cost?"}))

    model = babbler()
    spec = Participant(model=model, tools=[price], description="T.", max_steps=3)
    workflow = team(follow(["trains"]), InMemorySaver(), trains=spec)
    result = await drive(workflow, way, REQUEST, thread)
    asked = 0
    while "__interrupt__" in result:
        asked += 1
        result = resume(workflow, thread, f"{asked} dollars")
    assert (asked, len(model.calls)) == (2 + 1, 3)
    assert result["reports"][0]["kind"] == "limit_reached"
    assert "2 dollars" in result["reports"][0]["text"]


def test_each_visit_is_counted_for_itself_and_the_history_stays_valid(
    thread: RunnableConfig,
) -> None:
    model = ScriptedChatModel(script=[*babbler().script[:2], *babbler().script[:1], "Done."])
    spec = Participant(model=model, tools=[price], description="T.", max_steps=2)
    workflow = team(follow(["trains", "trains"]), InMemorySaver(), trains=spec)
    result = workflow.invoke(REQUEST, thread)
    assert [r["status"] for r in result["reports"]] == ["limit", "ok"]
    assert [history_fault(call.messages) for call in model.calls] == [None] * 4


def test_a_limit_is_no_fault_of_the_service_and_is_not_tried_again() -> None:
    model = babbler()
    breaker = CircuitBreaker(failure_threshold=1, service="prices")
    spec = Participant(
        model=model,
        tools=[price],
        description="T.",
        max_steps=2,
        policies=[RetryPolicy(max_attempts=3, retry_on=Exception, initial_interval=0), breaker],
    )
    result = team(follow(["trains", "trains"]), trains=spec).invoke(REQUEST)
    assert [r.get("kind") for r in result["reports"]] == ["limit_reached"] * 2
    assert len(model.calls) == 4


@pytest.mark.parametrize("bad", [0, -1, True, 2.0, "3"], ids=repr)
def test_a_limit_that_is_none_is_refused_with_the_other_faults(bad: Any) -> None:
    member = Participant(model="offline", tools=[price], description="T.", max_steps=bad)
    with pytest.raises(WorkflowBuildError) as refused:
        team(follow([]), trains=member, finish=price, max_steps=bad)
    text = str(refused.value)
    assert f"max_steps is {bad!r}; it must be a whole number of at least 1" in text
    assert f"'trains' has max_steps={bad!r}; it must be a whole number of at least 1" in text
    with pytest.raises(WorkflowBuildError, match="max_steps is"):
        AgentOrchestrator(Agent(agent_id="main", model=babbler()), max_steps=bad)


@pytest.mark.parametrize("kind", ["a function", "a workflow"])
def test_a_limit_that_could_not_hold_is_refused(kind: str) -> None:
    inner = team(follow([]), trains=price)
    runs = price if kind == "a function" else inner
    with pytest.raises(WorkflowBuildError, match=r"'p' has `max_steps` and makes .*budget=Budget"):
        team(follow([]), p=Participant(runs=runs, description="P.", max_steps=3))


# ---- budgets


@WAYS
@EITHER
@pytest.mark.parametrize("make", [KINDS["an agent of ours"], KINDS["create_agent"]])
@pytest.mark.parametrize("stored", [True, False], ids=["stored", "not stored"])
async def test_a_breach_of_the_runs_budget_keeps_what_the_visit_has_found(
    make: Any, decide: Any, way: str, stored: bool, thread: RunnableConfig
) -> None:
    model = babbler()
    saver = InMemorySaver() if stored else None
    workflow = team(decide, saver, trains=make(model), budget=Budget(max_calls=4))
    result = await drive(workflow, way, REQUEST, thread)
    assert result["status"] == "limit"
    assert "the budget of the run is used up" in result["reason"]
    [report] = result["reports"]
    assert (report["status"], report["kind"]) == ("limit", "budget_exceeded")
    assert "xx costs 2 dollars" in report["text"]
    assert Usage.of(u for u in lines_of(result) if "model" in u).calls == len(model.calls) == 4


@WAYS
@EITHER
async def test_a_breach_below_keeps_what_was_found_there(decide: Any, way: str) -> None:
    spec = Participant(model=babbler(), tools=[price], description="T.")
    inner = (
        SupervisorWorkflowBuilder("Inner", finish="forward", description="T.")
        .participants(deep=spec)
        .with_manager(follow(["deep"]))
        .build()
    )
    result = await drive(team(decide, trains=inner, budget=Budget(max_calls=4)), way, REQUEST, None)
    [report] = result["reports"]
    assert (result["status"], report["kind"]) == ("limit", "budget_exceeded")
    assert "xx costs 2 dollars" in report["text"]


@WAYS
async def test_a_plan_begins_nothing_more_after_a_breach(way: str) -> None:
    done: list[str] = []

    def book(messages: Any) -> str:
        """Books."""
        done.append("booked")
        return "booked"

    spec = Participant(model=babbler(), tools=[price], description="T.")
    decide = plan(task("a", "trains"), task("b", "book", "a"))
    workflow = team(decide, trains=spec, book=book, budget=Budget(max_calls=2))
    result = await drive(workflow, way, REQUEST, None)
    assert (result["status"], done) == ("limit", [])
    assert "x costs 1 dollars" in result["reports"][0]["text"]


# ---- the same call again and again


def told(model: ScriptedChatModel) -> list[bool]:
    """Whether each prompt of a model holds the complaint."""
    return [
        any("same result each time" in m.text for m in call.messages if isinstance(m, HumanMessage))
        for call in model.calls
    ]


@WAYS
@EITHER
@pytest.mark.parametrize("stored", [True, False], ids=["stored", "not stored"])
async def test_the_same_call_three_times_is_told_once_and_then_ends_the_visit(
    decide: Any, way: str, stored: bool, thread: RunnableConfig
) -> None:
    ran: list[str] = []

    def price(city: str) -> str:
        """Tell a price."""
        ran.append(city)
        return "9 dollars"

    model = babbler(lambda n: "Rome")
    spec = Participant(model=model, tools=[price], description="T.")
    workflow = team(decide, InMemorySaver() if stored else None, trains=spec)
    result = await drive(workflow, way, REQUEST, thread)
    [report] = result["reports"]
    assert (report["status"], report["kind"]) == ("failed", "stalled")
    assert report["text"] == "price: 9 dollars"
    assert 'price {"city": "Rome"}' in report["error"]
    assert (told(model), ran) == ([False, False, False, True], ["Rome"] * 3)
    assert [history_fault(call.messages) for call in model.calls] == [None] * 4


@WAYS
async def test_a_model_that_listens_goes_on(way: str, thread: RunnableConfig) -> None:
    script = [*babbler(lambda n: "Rome").script[:3], *babbler().script[:1], "9 dollars.", "Yes."]
    model = ScriptedChatModel(script=script)
    spec = Participant(model=model, tools=[price], description="T.")
    workflow = team(follow(["trains", "trains"]), InMemorySaver(), trains=spec)
    result = await drive(workflow, way, REQUEST, thread)
    assert [r["text"] for r in result["reports"]] == ["9 dollars.", "Yes."]
    assert told(model) == [False, False, False, True, False, False]  # it is shown, not stored


def both(*cities: str) -> ScriptedReply:
    return ScriptedReply(tool_calls=[("price", {"city": city}) for city in cities])


@pytest.mark.parametrize(
    ("script", "results", "stalls"),
    [
        pytest.param([both("a", "b")] * 4, "same", True, id="parallel calls are one round"),
        pytest.param(
            [both("a", "b"), both("b", "a")] * 2, "same", True, id="their order does not count"
        ),
        pytest.param([both("a", "a")] * 2, "same", False, id="twice in two messages"),
        pytest.param([both("a")] * 6, "other", False, id="other results"),
        pytest.param([both("a"), both("b")] * 4, "same", False, id="other arguments"),
        pytest.param([both("a")] * 2 + [both("b")] + [both("a")] * 2, "same", False, id="reset"),
    ],
)
def test_only_the_same_calls_with_the_same_results_running_are_a_stall(
    script: list[Any], results: str, stalls: bool
) -> None:
    ran: list[str] = []

    def price(city: str) -> str:
        """Tell a price."""
        ran.append(city)
        return str(len(ran)) if results == "other" else city

    model = ScriptedChatModel(script=[*script, "Done."])
    spec = Participant(model=model, tools=[price], description="T.")
    [report] = team(follow(["trains"]), trains=spec).invoke(REQUEST)["reports"]
    assert report.get("kind") == ("stalled" if stalls else None)


def test_calls_whose_ids_are_always_the_same_are_told_apart() -> None:
    def call(messages: Any) -> AIMessage:
        return AIMessage("", tool_calls=[{"name": "price", "args": {"city": "a"}, "id": "1"}])

    numbers = iter(range(9))

    def price(city: str) -> str:
        """Tell a price."""
        return str(next(numbers))

    model = ScriptedChatModel(script=[call] * 5 + ["Done."])
    spec = Participant(model=model, tools=[price], description="T.")
    [report] = team(follow(["trains"]), trains=spec).invoke(REQUEST)["reports"]
    assert report["text"] == "Done."


def test_the_second_model_is_told_as_well() -> None:
    first = ScriptedChatModel(script=[*babbler(lambda n: "Rome").script[:3], RuntimeError("down")])
    second = ScriptedChatModel(script=["9 dollars."])
    spec = Participant(model=first, fallback_model=second, tools=[price], description="T.")
    [report] = team(follow(["trains"]), trains=spec).invoke(REQUEST)["reports"]
    assert (report["text"], told(second)) == ("9 dollars.", [True])
