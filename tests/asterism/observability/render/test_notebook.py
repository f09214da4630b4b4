"""What a notebook shows, and a terminal in its place: made here, whatever stands in it."""

import socket
import sys
from typing import Any
from xml.etree import ElementTree

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from asterism import (
    AgentProgress,
    AgentQuota,
    AgentQuotaUsage,
    AsterismError,
    EventBus,
    Participant,
    SupervisorTrace,
    SupervisorWorkflowBuilder,
    Usage,
    Workflow,
    compare_runs,
    lines_of,
    read_run,
    show,
    show_progress,
)
from asterism.core.run_types import WorkflowInput
from asterism.core.text_tables import HTML, PLAIN, SVG
from asterism.errors import ConfigurationError
from asterism.observability.render.svg import draw_svg

SVG_NAMES = {"svg": "http://www.w3.org/2000/svg"}
HOSTILE = "</pre><script>alert(1)</script>\n| not a column & <b>bold</b>\u202e"
REQUEST: WorkflowInput = {"messages": [("user", "Plan everything")]}


def team(saver: Any = None, bus: EventBus | None = None) -> Workflow:
    def says(text: str) -> Participant:
        return Participant(runs=lambda messages: text, description="Works.")

    inner = (
        SupervisorWorkflowBuilder("Inner", model="offline", description="Works inside.")
        .participants(cook=says("soup"))
        .build()
    )
    return (
        SupervisorWorkflowBuilder("Party", model="offline", events=bus)
        .participants(venue=says(HOSTILE), kitchen=inner)
        .build(checkpointer=saver)
    )


class Displayed:
    """Stands in for IPython's `display`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shown: list[dict[str, str]] = []
        monkeypatch.setattr("IPython.get_ipython", lambda: self)
        monkeypatch.setattr("IPython.display.display", self.display)

    def display(self, bundle: dict[str, str], *, raw: bool, display_id: bool = False) -> Any:
        assert raw
        self.shown.append(bundle)
        return self

    def update(self, bundle: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.shown[-1] = bundle


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> Displayed:
    pytest.importorskip("IPython.display")
    return Displayed(monkeypatch)


def texts(svg: str) -> list[str]:
    found = ElementTree.fromstring(svg).iterfind("svg:text", SVG_NAMES)
    return [text.text or "" for text in found]


def lines(svg: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(svg).findall("svg:polyline", SVG_NAMES)


# ---- drawings


def test_the_star_is_drawn_with_everybody_and_both_directions() -> None:
    drawing = draw_svg(team().get_graph())
    assert sorted(texts(drawing)) == sorted(
        "START begin supervisor venue kitchen dispatch human finish END".split()
    )
    both = [line for line in lines(drawing) if "marker-start" in line.attrib]
    assert len(both) == 4  # venue, kitchen, dispatch, human: there and back
    assert len(lines(drawing)) == 8  # and START, begin, finish, END


def test_a_graph_is_shown_as_mermaid_without_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "grandalf.graphs", None)
    flow = team()
    show(flow)
    assert "supervisor -.-> kitchen" in capsys.readouterr().out
    assert list(flow._repr_mimebundle_()) == ["text/plain"]


def test_the_insides_are_drawn_below_the_name_of_whose_they_are() -> None:
    shown = texts(draw_svg(team().get_graph(xray=True)))
    assert "kitchen / cook" in shown
    assert shown.count("supervisor") == 2


def test_boxes_do_not_overlap_and_stand_within_the_picture() -> None:
    picture = ElementTree.fromstring(draw_svg(team().get_graph(xray=True)))
    left, top, width, height = map(float, picture.attrib["viewBox"].split())
    boxes = [
        tuple(float(box.attrib[name]) for name in ("x", "y", "width", "height"))
        for box in picture.iterfind("svg:rect", SVG_NAMES)
    ]
    for number, (x, y, w, h) in enumerate(boxes):
        assert left <= x and x + w <= left + width
        assert top <= y and y + h <= top + height
        for other_x, other_y, other_w, other_h in boxes[number + 1 :]:
            apart = x + w <= other_x or other_x + other_w <= x
            assert apart or y + h <= other_y or other_y + other_h <= y


class State(TypedDict):
    told: str


def test_any_graph_is_drawn_also_one_in_parts_and_with_odd_names() -> None:
    graph = StateGraph(State)
    for name in ("a<b> & 'c'", "alone", "next"):
        graph.add_node(name, lambda state: {"told": "x"})
    graph.add_edge(START, "a<b> & 'c'").add_edge("alone", "next").add_edge("next", "next")
    drawing = draw_svg(graph.compile().get_graph())
    assert {"a<b> & 'c'", "alone", "next"} <= set(texts(drawing))


def test_a_workflow_draws_itself_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: object) -> None:
        raise AssertionError("a drawing wants the network")

    monkeypatch.setattr(socket.socket, "connect", refused)
    bundle = team()._repr_mimebundle_()
    assert bundle[PLAIN] == "Workflow('Party', participants=['venue', 'kitchen'])"
    assert "venue" in texts(bundle[SVG])
    assert set(bundle) == {PLAIN, SVG}


# ---- show


def test_a_notebook_is_shown_a_graph_a_run_and_a_result(
    displayed: Displayed, thread: RunnableConfig
) -> None:
    workflow = team(InMemorySaver())
    result = workflow.invoke(REQUEST, thread)
    show(workflow)
    show(workflow, thread)
    show(result)
    drawing, run, answer = displayed.shown
    assert "venue" in texts(drawing[SVG])
    assert "supervisor, round 1" in run[HTML]
    assert "<td" in run[HTML]
    assert "completed" in answer[PLAIN]
    for bundle in (run, answer):
        assert "<script" not in bundle[HTML]
        assert "<b>bold" not in bundle[HTML]


def test_a_terminal_is_shown_the_same_as_text(
    capsys: pytest.CaptureFixture[str], thread: RunnableConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    workflow = team(InMemorySaver())
    result = workflow.invoke(REQUEST, thread)
    show(workflow, xray=True)
    assert "| supervisor |" in capsys.readouterr().out
    show(read_run(workflow, thread))
    printed = capsys.readouterr().out
    assert "supervisor, round 1" in printed
    assert "1.2    kitchen" in printed
    show(result)
    printed = capsys.readouterr().out
    assert printed.startswith("completed: ")
    assert "2 reports; in all" in printed


def test_a_result_without_reports_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show({"status": "failed", "reason": "nobody came", "messages": []})
    assert capsys.readouterr().out.startswith("failed: nobody came\n")


def test_what_cannot_be_shown_is_refused_with_what_can(thread: RunnableConfig) -> None:
    with pytest.raises(ConfigurationError, match=r"A int cannot be shown; .*RunRecord"):
        show(3)
    with pytest.raises(ConfigurationError, match="has no checkpointer"):
        show(team(), thread)
    with pytest.raises(AsterismError, match="there is nothing"):
        show(team(InMemorySaver()), thread)


# ---- values that show themselves


def test_values_show_themselves_in_a_notebook(thread: RunnableConfig) -> None:
    bus = EventBus()
    trace = SupervisorTrace(bus=bus, level="detailed")
    workflow = team(InMemorySaver(), bus)
    result = workflow.invoke(REQUEST, thread)
    run = read_run(workflow, thread)
    found = trace.get_all_traces()
    values: dict[str, Any] = {
        "Party, thread ": run,
        "model calls": Usage.of(lines_of(result)),
        "Party: completed": found[0],
        "100%": trace.get_trace_metrics(),
        "The runs do not differ.": compare_runs(run, run),
    }
    for said, value in values.items():
        bundle = value._repr_mimebundle_()
        assert said in bundle[PLAIN]
        assert "<script" not in bundle[HTML]
    trace.trace_error(found[0].id, TimeoutError("too late"))
    assert "TimeoutError" in trace.get_all_traces()[0]._repr_mimebundle_()[PLAIN]


def test_quotas_show_how_much_of_them_is_used() -> None:
    usage = AgentQuotaUsage(
        elapsed_seconds=1.5,
        cost_usd=Usage().cost_usd,
        tokens=45,
        iterations=2,
        heartbeats=3,
        restarts=0,
        quota=AgentQuota(max_tokens=50),
    )
    shown = usage._repr_mimebundle_()[PLAIN].splitlines()
    assert [line.split() for line in shown if "max_tokens" in line] == [
        ["max_tokens", "45", "50", "90", "%"]
    ]
    assert "0 children, 0 % completed" in AgentProgress()._repr_mimebundle_()[PLAIN]


# ---- progress


def test_progress_is_one_table_that_changes_in_place(displayed: Displayed) -> None:
    bus = EventBus()
    workflow = team(bus=bus)
    with show_progress(bus):
        workflow.invoke(REQUEST)
    workflow.invoke(REQUEST)  # nobody is told of this one
    (table,) = displayed.shown
    rows = [line.split()[:3] for line in table[PLAIN].splitlines()[1:]]
    assert rows == [["venue", "✓", "done"], ["kitchen", "✓", "done"], ["kitchen/cook", "✓", "done"]]
    assert bus.failures() == []


def test_progress_is_a_line_for_each_change_in_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    bus = EventBus()
    with show_progress(bus):
        team(bus=bus).invoke(REQUEST)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[0].startswith("● works venue: Plan everything")
    assert "✓ done kitchen/cook: soup" in said.err
