"""Evaluations: rows, ready evaluators, a user's own, threads apart, nothing sent, uploads."""

import json
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langsmith import Client

from asterism import (
    Participant,
    SupervisorDecision,
    SupervisorView,
    SupervisorWorkflowBuilder,
    aevaluate_team,
    aexamples_from_threads,
    evaluate_team,
    examples_from_threads,
)
from asterism.apps.evaluation import TeamEvaluation, resolve_evaluators
from asterism.apps.evaluation_data import load_examples
from asterism.errors import ConfigurationError
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.graphs.test_usage import Priced
from tests.langsmith_server import langsmith
from tests.plans import plan, task
from tests.teams import Turns, follow, star

Evaluate = Callable[..., Any]


async def _sync(*given: Any, **options: Any) -> TeamEvaluation:
    return evaluate_team(*given, **options)


@pytest.fixture(params=["sync", "async"])
def evaluate(request: pytest.FixtureRequest) -> Evaluate:
    return _sync if request.param == "sync" else aevaluate_team


def by_word(view: SupervisorView) -> SupervisorDecision:
    """Send those to work whom the request names, in order; nobody: ask."""
    due = [name for name in view.request.split() if name in view.participants]
    if not due:
        return SupervisorDecision(next_agent=None, user_input_needed=True, user_prompt="Who?")
    return SupervisorDecision(next_agent=next(iter(due[view.iterations :]), None))


def says(text: str) -> Participant:
    return Participant(runs=lambda messages: text, description=f"Says {text}.")


def desk() -> SupervisorWorkflowBuilder:
    builder = SupervisorWorkflowBuilder("Desk", finish="forward").with_manager(by_word)
    return builder.participants(a=says("Answer A"), b=says("answer  b."))


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every connection and name that is asked for; each is refused."""
    asked: list[object] = []

    def refuse(*given: Any, **options: Any) -> Any:
        asked.append(given)
        raise OSError("the test allows no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return asked


EXAMPLES: list[dict[str, Any]] = [
    {"request": "a b", "answer": "ANSWER B.", "route": ["a", "b"], "max_turns": 2},
    {"request": "b", "answer": "answer", "route": ["a"], "max_turns": 0},
    {"request": "hello", "route": ["person"], "max_cost_usd": 0},
]


async def test_the_ready_evaluators_score_what_an_example_expects(evaluate: Evaluate) -> None:
    names = ["route", "match", "contains", "cost", "turns"]
    found = await evaluate(desk(), EXAMPLES, names)
    assert [row.request for row in found.rows] == ["a b", "b", "hello"]
    assert [dict(row.scores) for row in found.rows] == [
        {"route": 1, "match": 1, "contains": 1, "turns": 1},
        {"route": 0, "match": 0, "contains": 1, "turns": 0},
        {"route": 1, "cost": 1},
    ]
    assert found.means == {
        "route": pytest.approx(2 / 3),
        "match": 0.5,
        "contains": 1,
        "turns": 0.5,
        "cost": 1,
    }
    seen = found.rows[0].outputs
    assert (seen["answer"], seen["status"], seen["route"], seen["turns"], seen["cost_usd"]) == (
        "answer  b.",
        "completed",
        ["a", "b"],
        2,
        0,
    )
    assert found.rows[2].outputs["status"] == "waiting"
    assert found.rows[1].comments["route"] == "route: a"


async def test_nothing_is_sent_without_an_upload(
    evaluate: Evaluate, no_sockets: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGSMITH_TRACING", "true")
    monkeypatch.setenv("LANGSMITH_API_KEY", "a key that must not be used")
    model = ScriptedChatModel(script=[{"next_agent": "a"}, {"next_agent": None}, "done"])
    team = SupervisorWorkflowBuilder("Desk", model=model).participants(a=says("A"))
    judge = ScriptedChatModel(script=[{"criterion_1": {"score": 0.5, "reason": "half of it"}}])
    found = await evaluate(team, [{"request": "a", "route": ["a"]}], judge=judge)
    assert (found.means, found.rows[0].error) == ({"route": 1, "judge": 0.5}, None)
    assert found.rows[0].comments["judge"] == "half of it"
    assert no_sockets == []


def test_the_guard_against_the_network_notices_an_upload(no_sockets: list[object]) -> None:
    client = Client("http://127.0.0.1:9", api_key="none", auto_batch_tracing=False)
    with pytest.raises(Exception, match=r"127\.0\.0\.1"):
        evaluate_team(desk(), EXAMPLES, upload=True, client=client)
    assert no_sockets


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_each_example_has_a_thread_of_its_own(evaluate: Evaluate, concurrency: int) -> None:
    saver, turns = InMemorySaver(), Turns()
    team = star(turns, ["a"]).build(checkpointer=InMemorySaver())
    rows = [{"request": f"request {number}"} for number in range(4)]
    found = await evaluate(team, rows, checkpointer=saver, concurrency=concurrency)
    threads = [row.outputs["thread"] for row in found.rows]
    assert len(set(threads)) == 4
    assert set(threads) == set(saver.storage)
    assert [row.request for row in found.rows] == [row["request"] for row in rows]
    assert all(len(prompt) == 1 for prompt in turns.prompts["a"])  # nobody saw another thread


async def test_a_users_functions_with_langsmiths_signatures_go_through(evaluate: Evaluate) -> None:
    def length(outputs: dict[str, Any]) -> int:
        return len(outputs["answer"])

    def both(run: Any, example: Any) -> dict[str, Any]:
        same = run.outputs["route"] == example.outputs["route"]
        return {"results": [{"key": "same", "score": same}, {"key": "kind", "value": "text"}]}

    async def later(inputs: dict[str, Any], reference_outputs: dict[str, Any]) -> bool:
        return bool(inputs["request"] == "a")

    def broken(outputs: dict[str, Any]) -> bool:
        raise ValueError("no judge today")

    evaluators = [length, both, broken, "route"]
    if evaluate is aevaluate_team:
        evaluators.append(later)
    found = await evaluate(desk(), [{"request": "a", "route": "a"}], evaluators)
    (row,) = found.rows
    assert row.scores["length"] == len("Answer A")
    assert (row.scores["same"], row.scores["route"]) == (1, 1)
    assert "kind" not in row.scores
    assert row.scores["broken"] == 0
    assert "no judge today" in row.comments["broken"]
    assert row.scores.get("later", 1) == 1


async def test_a_run_that_raises_is_a_row_with_its_error(evaluate: Evaluate) -> None:
    def decide(view: SupervisorView) -> SupervisorDecision:
        raise RuntimeError("no decision")

    team = SupervisorWorkflowBuilder("Desk").participants(a=says("A")).with_manager(decide)
    found = await evaluate(team, [{"request": "a", "route": "a", "max_turns": 3}])
    (row,) = found.rows
    assert "no decision" in str(row.error)
    assert dict(row.scores) == {"route": 0, "turns": 0}
    assert len(found.find_shortfalls({})) == 1
    assert "raised" in str(found)


@pytest.mark.parametrize(
    ("due", "score"),
    [
        pytest.param(["b", "a", "c"], 1, id="tasks of a plan in any order"),
        pytest.param(["c", "a", "b"], 0, id="rounds in another order"),
        pytest.param(["a", "b"], 0, id="one too many worked"),
        pytest.param(["a", "b", "c", "d"], 0, id="one is missing"),
    ],
)
def test_a_route_with_a_plan(due: list[str], score: int) -> None:
    def decide(view: SupervisorView) -> Any:
        both = plan(task("1", "b"), task("2", "a"))
        return both(view) if view.iterations == 0 else follow([None, "c", None])(view)

    team = SupervisorWorkflowBuilder("Desk", finish="forward").with_manager(decide)
    team.participants({name: says("done") for name in "abcd"})
    found = evaluate_team(team, [{"request": "go", "route": due}])
    assert found.means == {"route": score}


def test_an_unknown_price_is_no_cost_within_a_limit() -> None:
    model = Priced(script=[ScriptedReply(text="A", usage=(3, 1))], model_name="strange")
    worker = Participant(model=model, prompt="Works.", description="Works.")
    team = SupervisorWorkflowBuilder("Desk", finish="forward").participants(a=worker)
    found = evaluate_team(team.with_manager(by_word), [{"request": "a", "max_cost_usd": 9}])
    assert found.rows[0].outputs["cost_usd"] is None
    assert found.means == {"cost": 0}


@pytest.mark.parametrize("async_only", [False, True], ids=["sync node", "async node"])
async def test_any_compiled_graph_is_a_team(evaluate: Evaluate, async_only: bool) -> None:
    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("pong")]}

    async def aanswer(state: MessagesState) -> dict[str, Any]:
        return answer(state)

    graph = StateGraph(MessagesState).add_node("answer", aanswer if async_only else answer)
    compiled: Any = graph.add_edge(START, "answer").compile()
    found = await evaluate(compiled, [{"request": "ping", "answer": "pong", "max_cost_usd": 1}])
    assert found.means == {"contains": 1, "cost": 0}  # it keeps no usage entries
    assert found.rows[0].outputs["status"] == "completed"


def test_a_shipped_graph_and_a_function_are_teams() -> None:
    found = evaluate_team("toy_example", [{"request": "This is is a text."}])
    assert found.rows[0].outputs["status"] == "completed"

    def make(model: Any) -> SupervisorWorkflowBuilder:
        assert model == "offline"
        return desk()

    assert evaluate_team(make, [{"request": "a", "route": "a"}]).means == {"route": 1}


FILES: Mapping[str, str] = {
    "d.jsonl": '{"request": "a b", "route": ["a", "b"], "max_turns": 2}\n\n{"request": "b"}\n',
    "d.json": '[{"request": "a b", "route": "a > b", "max_turns": 2}, {"request": "b"}]',
    "d.yaml": "- {request: a b, route: [a, b], max_turns: 2}\n- request: b\n",
    "d.csv": "request,answer,route,max_turns\na b,,a > b,2\nb,,,\n",
}


@pytest.mark.parametrize("name", FILES)
def test_examples_are_read_from_files(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(FILES[name], encoding="utf-8-sig")
    first, second = load_examples(str(path))
    assert (first.request, first.answer, first.max_turns) == ("a b", None, 2)
    assert first.route == ["a", "b"]
    assert (second.request, second.route, second.max_turns) == ("b", None, None)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        pytest.param("d.txt", "a", "allowed: .jsonl", id="another kind"),
        pytest.param("d.jsonl", "{", "cannot be read", id="no JSON"),
        pytest.param("d.jsonl", "", "there is no example", id="empty"),
        pytest.param("d.json", "[]", "there is no example", id="an empty list"),
        pytest.param("d.jsonl", '{"reqest": "a"}', "1: reqest: Extra", id="a misspelt key"),
        pytest.param("d.jsonl", '{"request": "a", "max_turns": -1}', "max_turns", id="below 0"),
        pytest.param("d.csv", "request\na,b\n", "without a name", id="a cell too many"),
        pytest.param("d.jsonl", "[1]", "example 1", id="no table"),
    ],
)
def test_examples_that_cannot_be_used_are_refused(
    name: str, text: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        load_examples(tmp_path / name)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_examples(tmp_path / "d.jsonl")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rout", "allowed: route, contains"),
        ("judge", "needs a model"),
        ("json:nothing", "cannot be opened"),
    ],
)
def test_evaluators_that_are_not_there_are_refused(name: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        resolve_evaluators([name], None)


async def test_kept_threads_become_examples() -> None:
    saver = InMemorySaver()
    team = desk().build(checkpointer=saver)
    for thread, request in (("1", "a b"), ("2", "hello"), ("3", "b")):
        team.invoke({"messages": [("user", request)]}, {"configurable": {"thread_id": thread}})
    found = await aexamples_from_threads(saver)
    assert found == examples_from_threads(saver)
    assert {(one.request, one.answer, tuple(one.route or ())) for one in found} == {
        ("a b", "answer  b.", ("a", "b")),
        ("b", "answer  b.", ("b",)),
    }
    (one,) = examples_from_threads(saver, ["3"])
    assert one.request == "b"
    for thread, said in (("2", "is waiting"), ("4", "not there")):
        with pytest.raises(ConfigurationError, match=said):
            examples_from_threads(saver, [thread])
    assert evaluate_team(desk(), found).means == {"route": 1, "contains": 1}


async def test_an_upload_has_the_data_set_the_traces_and_the_scores(evaluate: Evaluate) -> None:
    with langsmith() as (url, stored):
        for _ in range(2):
            client = Client(url, api_key="none", web_url=url)
            found = await evaluate(desk(), EXAMPLES[:2], upload=True, name="desk", client=client)
            client.close()
        assert found.url
    assert list(stored.datasets) == ["desk"]
    assert [one["inputs"] for one in stored.examples] == [{"request": "a b"}, {"request": "b"}]
    assert stored.examples[0]["outputs"] == {
        "answer": "ANSWER B.",
        "route": ["a", "b"],
        "max_turns": 2,
    }
    assert len(stored.sessions) == 2
    runs = stored.runs.values()
    targets = [run for run in runs if run.get("reference_example_id")]
    assert len(targets) == 4
    ids = {one["id"] for one in stored.examples}
    assert {run["reference_example_id"] for run in targets} == ids
    teams = [run for run in runs if run["name"] == "Desk"]
    assert {run["parent_run_id"] for run in teams} == {run["id"] for run in targets}
    told = {(one["key"], one["score"]) for one in stored.feedback}
    assert told == {("route", 1), ("route", 0), ("contains", 1), ("turns", 1), ("turns", 0)}
    assert {one["run_id"] for one in stored.feedback} == {run["id"] for run in targets}


def test_the_result_as_a_table_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = evaluate_team(desk(), EXAMPLES)
    assert capsys.readouterr().out == ""
    head, first, *_, mean = str(found).splitlines()
    assert head.split() == ["request", "status", "route", "turns", "USD", *found.means]
    assert first.split()[:7] == ["a", "b", "completed", "a", ">", "b", "2"]
    assert mean.split()[0] == "mean"
    shown = json.loads(json.dumps(found.as_json()))
    assert shown["means"] == found.means
    assert shown["rows"][0]["outputs"]["answer"] == "answer  b."


def test_shortfalls_name_what_is_too_low_or_missing() -> None:
    found = evaluate_team(desk(), EXAMPLES, ["turns"])
    assert found.find_shortfalls({"turns": 0.5}) == []
    low, missing = found.find_shortfalls({"turns": 0.9, "rout": 0.1})[::-1]
    assert low == "turns is 0.500; at least 0.9 is asked for"
    assert missing == "no evaluator gave a score 'rout'"
