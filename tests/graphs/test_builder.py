"""The builder: every fault at once, in any order of calls, and the star that comes out."""

from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.runtime import get_runtime
from pydantic import BaseModel, ValidationError
from typing_extensions import TypedDict

from asterism import Participant, SupervisorWorkflowBuilder
from asterism.errors import WorkflowBuildError
from asterism.testing import ScriptedChatModel
from tests.teams import Turns, follow, star


class NoMessages(TypedDict):
    text: str


class Plan(BaseModel):
    venue: str


def ok(messages: Any) -> str:
    """Answer."""
    return "ok"


def graph_of(schema: Any, **options: Any) -> Any:
    graph: Any = StateGraph(schema)
    graph.add_node("n", lambda state: {})
    graph.add_edge(START, "n")
    graph.add_edge("n", END)
    return graph.compile(**options)


def faults(team: dict[str, Any] | None = None, **options: Any) -> tuple[str, ...]:
    options = {"model": ScriptedChatModel(), **options}
    builder = SupervisorWorkflowBuilder("Test", **options)
    builder.participants(**({"venue": ok} if team is None else team))
    with pytest.raises(WorkflowBuildError, match="'Test' cannot be built") as caught:
        builder.build()
    return caught.value.faults


@pytest.mark.parametrize(
    ("team", "options", "fault"),
    [
        pytest.param({}, {}, "there are no participants", id="nobody"),
        pytest.param({"supervisor": ok}, {}, "'supervisor' is reserved", id="reserved"),
        pytest.param({"Human": ok}, {}, "'Human' is reserved", id="reserved in another case"),
        pytest.param({"a|b": ok}, {}, "'a|b' is not allowed", id="a bar breaks namespaces"),
        pytest.param({"a:b": ok}, {}, "'a:b' is not allowed", id="a colon breaks namespaces"),
        pytest.param({"a b": ok}, {}, "'a b' is not allowed", id="a space"),
        pytest.param({"": ok}, {}, "'' is not allowed", id="an empty name"),
        pytest.param({"__x": ok}, {}, "'__x' is not allowed", id="underscores in front"),
        pytest.param({"7": ok}, {}, "'7' is not allowed", id="a number"),
        pytest.param({"x" * 65: ok}, {}, "at most 64 characters", id="a long name"),
        pytest.param({"a": ok, "A": ok}, {}, "'a', 'A' have the same name", id="same but for case"),
        pytest.param({"a": 7}, {}, "'a' is a int", id="a number is no participant"),
        pytest.param({"a": "venue"}, {}, "'a' is a str", id="a text is no participant"),
        pytest.param({"a": None}, {}, "'a' is a NoneType", id="None is no participant"),
        pytest.param({"a": Plan}, {}, "is the class Plan; give an instance", id="a class is none"),
        pytest.param(
            {"a": StateGraph(MessagesState)}, {}, "is a StateGraph", id="a graph not yet compiled"
        ),
        pytest.param(
            {"a": graph_of(NoMessages)},
            {},
            "without a `messages` key; it has text",
            id="a graph without messages",
        ),
        pytest.param(
            {"a": graph_of(MessagesState, checkpointer=InMemorySaver())},
            {},
            "compile it without one",
            id="a graph with a saver",
        ),
        pytest.param(
            {"a": graph_of(MessagesState, checkpointer=False)},
            {},
            "checkpointer=False",
            id="a graph that refuses memory",
        ),
        pytest.param(
            {"a": Participant(runs=ok, prompt="x")}, {}, "one or the other", id="runs and prompt"
        ),
        pytest.param({"venue": ok}, {"model": None}, "nobody decides", id="no model, no manager"),
        pytest.param(
            {"venue": ok}, {"model": "nonsense"}, "the model of the workflow", id="unknown model"
        ),
        pytest.param(
            {"venue": Participant(model="no:such", description="x")},
            {},
            "the model of the participant 'venue'",
            id="a participant's unknown model",
        ),
        pytest.param({"venue": ok}, {"finish": "stop"}, "finish is 'stop'", id="unknown finish"),
        pytest.param({"venue": ok}, {"finish": Turns}, "finish is", id="finish of another class"),
        pytest.param(
            {"venue": ok}, {"fallback": "nobody"}, "fallback is 'nobody'", id="unknown fallback"
        ),
        *(
            pytest.param({"venue": ok}, {"max_iterations": bad}, "max_iterations is", id=str(bad))
            for bad in (0, -1, True, 1.5, float("nan"), float("inf"), "3", None)
        ),
        *(
            pytest.param({"venue": ok}, {"max_repairs": bad}, "max_repairs is", id=f"repairs {bad}")
            for bad in (-1, False, 0.5, None)
        ),
    ],
)
def test_a_fault_is_named(team: dict[str, Any], options: dict[str, Any], fault: str) -> None:
    (found,) = faults(team, **options)
    assert fault in found


def test_all_faults_are_found_at_once() -> None:
    found = faults({"human": ok, "a|b": 7}, model=None, max_iterations=0, finish="x", fallback="y")
    assert len(found) == 7


def test_a_participant_without_any_model_is_a_fault() -> None:
    builder = SupervisorWorkflowBuilder("Test").with_manager(follow([]))
    builder.participants(venue=Participant(prompt="x"))
    with pytest.raises(WorkflowBuildError, match="has no model, and the workflow has none either"):
        builder.build()


def test_a_model_to_fill_in_needs_a_model() -> None:
    builder = SupervisorWorkflowBuilder("Test", finish=Plan).with_manager(follow([]))
    with pytest.raises(WorkflowBuildError, match="finish=Plan is filled in by a model"):
        builder.participants(venue=ok).build()


def test_the_same_name_given_twice_is_a_fault() -> None:
    builder = star(Turns(), ["venue"]).with_participants(venue=ok)
    with pytest.raises(WorkflowBuildError, match="'venue', 'venue' have the same name"):
        builder.build()


def test_the_order_of_calls_does_not_matter() -> None:
    manager = follow(["venue", "food"])
    orders = [
        SupervisorWorkflowBuilder("A").participants(venue=ok, food=ok).with_manager(manager),
        SupervisorWorkflowBuilder("A").with_manager(manager).with_participants(venue=ok, food=ok),
        SupervisorWorkflowBuilder("A").participants(venue=ok).with_manager(manager),
    ]
    orders[2].participants(food=ok)
    drawings = {builder.build().get_graph().draw_mermaid() for builder in orders}
    assert len(drawings) == 1


def test_a_builder_can_build_twice() -> None:
    builder = star(Turns(), ["venue"])
    one, two = builder.build(), builder.build()
    assert one is not two
    assert one.invoke({"messages": "x"})["status"] == two.invoke({"messages": "x"})["status"]


def test_the_star_is_drawn_with_both_directions_and_no_orphans() -> None:
    drawing = star(Turns(), ["venue", "food"]).build().get_graph()
    edges = {(edge.source, edge.target) for edge in drawing.edges}
    assert edges == {
        ("__start__", "begin"),
        ("begin", "supervisor"),
        ("supervisor", "venue"),
        ("supervisor", "food"),
        ("supervisor", "dispatch"),
        ("supervisor", "human"),
        ("supervisor", "finish"),
        ("dispatch", "supervisor"),
        ("venue", "supervisor"),
        ("food", "supervisor"),
        ("human", "supervisor"),
        ("finish", "__end__"),
    }
    assert {name for edge in edges for name in edge} == set(drawing.nodes)


def test_xray_shows_the_participants_insides() -> None:
    inner = star(Turns(), ["food"], description="Eats.").build()
    drawing = star(Turns(), ["venue"]).participants(team=inner).build().get_graph(xray=True)
    assert {"venue:respond", "team:supervisor", "team:food:respond"} <= set(drawing.nodes)


def test_descriptions_are_found() -> None:
    inner = star(Turns(), ["x"], description="Plans parties.").build()
    graph = graph_of(MessagesState)
    workflow = (
        star(Turns(), ["venue"])
        .participants(
            function=ok,
            given=Participant(runs=ok, description=" Answers well. "),
            prompted=Participant(model=ScriptedChatModel(), prompt="\nYou cook.\nBe nice."),
            workflow=inner,
            graph=Participant(runs=graph, description="A graph."),
        )
        .build()
    )
    assert workflow.facts.participants == {
        "venue": "Answers as venue.",
        "function": "Answer.",
        "given": "Answers well.",
        "prompted": "You cook.",
        "workflow": "Plans parties.",
        "graph": "A graph.",
    }


def test_a_missing_description_warns() -> None:
    builder = star(Turns(), ["venue"]).participants(graph=graph_of(MessagesState))
    with pytest.warns(UserWarning, match="'graph' has no description"):
        assert builder.build().facts.participants["graph"] == "graph"


def test_ids_are_made_of_names() -> None:
    assert star(Turns(), ["venue"]).build().facts.id == "test"
    named = SupervisorWorkflowBuilder("My Trip!", id=None).participants(venue=ok)
    assert named.with_manager(follow([])).build().facts.id == "my-trip"


class _Customer(BaseModel):
    name: str = "nobody"


def _who_asks(messages: Any) -> str:
    """Says who asks."""
    return f"{get_runtime(_Customer).context.name} asks."


async def test_participants_read_the_context_of_a_run() -> None:
    builder = SupervisorWorkflowBuilder("Desk", model="offline").participants(desk=_who_asks)
    workflow = builder.with_context_schema(_Customer).build()
    given: Any = {"messages": [("user", "Who asks?")]}
    for result in (
        workflow.invoke(given, context={"name": "Ann"}),
        await workflow.ainvoke(given, context={"name": "Ann"}),
    ):
        assert result["reports"][0]["text"] == "Ann asks."
    with pytest.raises(ValidationError):
        workflow.invoke(given, context={"name": ["Ann"]})


def test_a_copy_with_a_prompt_leaves_the_builder_alone() -> None:
    model = ScriptedChatModel(script=[{"next_agent": None}, "Fertig."])
    builder = SupervisorWorkflowBuilder(
        "Desk", model=model, prompt="Be polite.", answer_prompt="Be brief."
    ).participants(desk=_who_asks)
    workflow = builder.with_prompt("Answer in German.").with_prompt("Use no tables.").build()
    workflow.invoke({"messages": [("user", "Hello")]})
    decided, answered = (str(call) for call in model.calls)
    for text in ("Answer in German.", "Use no tables."):
        assert text in decided and text in answered
    assert "Be polite." in decided and "Be brief." in answered
    assert builder.build().facts.instructions == ("Be polite.", "Be brief.")
