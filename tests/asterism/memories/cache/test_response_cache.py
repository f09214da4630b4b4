"""The cache of model calls: the same answer to the same call, and never to another."""

import gc
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.caches import InMemoryCache
from langchain_core.embeddings import Embeddings
from langchain_core.globals import set_llm_cache
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver

from asterism import (
    Event,
    EventBus,
    Participant,
    ResponseCache,
    SupervisorWorkflowBuilder,
    Usage,
    total_cost_breakdown,
)
from asterism.core.run_types import WorkflowInput
from asterism.errors import ConfigurationError, StorageError
from asterism.limits.usage_callbacks import UsageMeter
from asterism.memories.cache.semantic_guard import distinguishing_facts
from asterism.testing import ScriptedChatModel, ScriptedReply, WordEmbeddings
from tests.processes import Process
from tests.teams import follow

DATA = Path(__file__).parents[3] / "data"


def pairs(name: str) -> list[list[str]]:
    lines = (DATA / name).read_text().splitlines()
    return [[part.strip() for part in line.split(" | ")] for line in lines]


NEAR_MISSES, PARAPHRASES = pairs("near_misses.txt"), pairs("paraphrases.txt")
SYNONYMS = {
    **{"inexpensive": "cheap", "automobile": "car", "purchase": "buy", "bicycle": "bike"},
    **{"remove": "delete", "directory": "folder", "photo": "picture", "store": "shop"},
    **{"organise": "organize", "summarise": "summarize", "start": "begin", "1st": "first"},
    **{"tell": "know", "us": "we", "the": "a", "1": "1,", "give": "show"},
}


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'cache.db'}"


@pytest.fixture
def cache(url: str) -> Iterator[ResponseCache]:
    made = ResponseCache(url)
    yield made
    made.close()


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Constant(Embeddings):
    """Everything means the same."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[1.0] for _ in texts]

    def embed_query(self, text: str) -> list[float]:
        return [1.0]


class Broken(Constant):
    def embed_query(self, text: str) -> list[float]:
        raise RuntimeError("no embeddings today")


def scripted(*replies: Any) -> ScriptedChatModel:
    return ScriptedChatModel(script=replies)


async def test_the_same_call_is_answered_once(cache: ResponseCache) -> None:
    model = scripted("one", "two")
    kept = cache.on(model)
    assert [kept.invoke("hi").text, kept.invoke("hi").text] == ["one", "one"]
    assert (await kept.ainvoke("hi")).text == "one"
    assert (await kept.ainvoke("ho")).text == "two"
    assert len(model.calls) == 2
    assert [cache.hits, cache.misses, cache.faults] == [2, 2, 0]
    cache.clear()
    assert cache.lookup("[]", "x") is None


def test_answers_outlive_the_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'cache.db'}"
    first, second = ResponseCache(url), ResponseCache(url)
    script = ["one", "two"]
    assert first.on(scripted(*script)).invoke("hi").text == "one"
    assert second.on(again := scripted(*script)).invoke("hi").text == "one"
    assert again.calls == []
    assert (tmp_path / "cache.db").stat().st_mode & 0o777 == 0o600
    first.close()
    second.close()


def look_up(what: str) -> str:
    """Look something up."""
    return what


def look_further(what: str) -> str:
    """Look something up."""
    return what


OPENAI: dict[str, Any] = {
    "model": "gpt-4o",
    "temperature": 0,
    "base_url": "http://127.0.0.1:9",
    "api_key": "sk-x",
}


@pytest.mark.parametrize(
    "other",
    [
        {"model": "gpt-4o-mini"},
        {"temperature": 0.1},
        {"base_url": "http://127.0.0.1:8"},
        {"max_tokens": 10},
        {"seed": 1},
        {"model_kwargs": {"top_k": 1}},
        {"reasoning_effort": "low"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_model_with_other_parameters_is_another(other: dict[str, Any]) -> None:
    from langchain_openai import ChatOpenAI

    cache = ResponseCache()
    models = [cache.on(ChatOpenAI(**{**OPENAI, **more})) for more in ({}, {}, other)]
    keys = []
    for model in models:
        seen: list[tuple[str, str]] = []
        cache.lookup = lambda *call, seen=seen: seen.append(call)  # type: ignore[method-assign]  # watches the key
        model.cache.lookup("[]", model._get_llm_string())  # type: ignore[union-attr]  # set above
        keys += seen
    assert keys[0] == keys[1] != keys[2]
    cache.close()


def test_another_call_is_not_the_same(cache: ResponseCache) -> None:
    calls: list[Any] = [
        lambda model: model.invoke("hi"),
        lambda model: model.invoke("hi!"),
        lambda model: model.invoke([SystemMessage("Be brief"), HumanMessage("hi")]),
        lambda model: model.invoke([HumanMessage("hi"), AIMessage("ho"), HumanMessage("hi")]),
        lambda model: model.invoke("hi", stop=["."]),
        lambda model: model.invoke("hi", temperature=1),
        lambda model: model.bind_tools([look_up]).invoke("hi"),
        lambda model: model.bind_tools([look_further]).invoke("hi"),
        lambda model: model.bind_tools([look_up], tool_choice="look_up").invoke("hi"),
    ]
    script = [f"answer {number}" for number in range(len(calls))]
    model = scripted(*script)
    kept = cache.on(model)
    for _ in range(2):
        assert [call(kept).text for call in calls] == script
    model.assert_finished()
    assert [cache.hits, cache.misses] == [len(calls), len(calls)]


def test_two_models_of_ones_own_making_do_not_share(cache: ResponseCache) -> None:
    assert cache.on(scripted("one")).invoke("hi").text == "one"
    assert cache.on(scripted("two")).invoke("hi").text == "two"


def test_a_call_whose_parameters_have_no_text_is_not_cached(cache: ResponseCache) -> None:
    model = scripted("one", "two")
    kept = cache.on(model)
    answers = [kept.invoke("hi", response_format=Clock).text for _ in range(2)]
    assert answers == ["one", "two"]
    assert [cache.hits, cache.misses] == [0, 0]


def test_tool_calls_are_kept_and_their_tools_act_each_time(cache: ResponseCache) -> None:
    done: list[str] = []

    def act(what: str) -> str:
        """Act."""
        done.append(what)
        return "done"

    model = scripted(ScriptedReply(tool_calls=[("act", {"what": "x"})]), "finished")
    worker: Any = create_agent(cache.on(model), [act])
    for _ in range(2):
        result = worker.invoke({"messages": [("user", "go")]})
        assert result["messages"][-1].text == "finished"
    assert done == ["x", "x"]
    model.assert_finished()


@pytest.mark.parametrize(
    "reply",
    [
        AIMessage(""),
        AIMessage("cut o", response_metadata={"finish_reason": "length"}),
        AIMessage("cut o", response_metadata={"stop_reason": "max_tokens"}),
        AIMessage("no", response_metadata={"finish_reason": "content_filter"}),
        AIMessage("odd", additional_kwargs={"parsed": Clock()}),
    ],
    ids=["empty", "cut off", "cut off elsewhere", "filtered", "no plain data"],
)
def test_what_is_no_whole_answer_is_not_kept(cache: ResponseCache, reply: AIMessage) -> None:
    kept = cache.on(scripted(reply, "whole"))
    kept.invoke("hi")
    assert kept.invoke("hi").text == "whole"


def test_an_answer_is_good_for_its_time(url: str) -> None:
    clock = Clock()
    cache = ResponseCache(url, ttl=60, clock=clock)
    kept = cache.on(scripted("one", "two"))
    texts = []
    for clock.now in (1_000, 1_059, 1_060, 1_119):
        texts.append(kept.invoke("hi").text)
    assert texts == ["one", "one", "two", "two"]
    cache.close()


def test_what_was_not_used_for_longest_goes_first(url: str) -> None:
    cache = ResponseCache(url, max_size=2)
    kept = cache.on(model := scripted("a", "b", "c", "b again"))
    said = [kept.invoke(text).text for text in ("a", "b", "a", "c", "a", "b")]
    assert said == ["a", "b", "a", "c", "a", "b again"]
    model.assert_finished()
    cache.close()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"ttl": 0}, "ttl is 0"),
        ({"ttl": float("nan")}, "ttl is nan"),
        ({"max_size": True}, "max_size is True"),
        ({"max_size": 0}, "max_size is 0"),
        ({"embeddings": Constant()}, "embeddings need a similarity_threshold"),
        ({"similarity_threshold": 0}, "similarity_threshold is 0"),
        ({"embeddings": Constant(), "similarity_threshold": 1.1}, "similarity_threshold is 1.1"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bad_values_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        ResponseCache(**wrong)


def test_a_bad_url_or_model_is_refused() -> None:
    with pytest.raises(StorageError, match="allowed"):
        ResponseCache("nonsense")
    with pytest.raises(ConfigurationError, match=r"write cache\.on\(model\)\.bind"):
        ResponseCache().on(scripted().bind_tools([look_up]))  # type: ignore[arg-type]  # is refused


# ---- whatever is wrong with it, the call is made


def test_a_file_that_is_no_database_harms_no_call(tmp_path: Path) -> None:
    (tmp_path / "cache.db").write_bytes(b"no database" * 1000)
    cache = ResponseCache(f"sqlite:///{tmp_path / 'cache.db'}")
    kept = cache.on(scripted("one", "two"))
    assert [kept.invoke("hi").text, kept.invoke("hi").text] == ["one", "two"]
    assert cache.faults == 4


def test_a_file_that_breaks_later_harms_no_call(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    cache = ResponseCache(f"sqlite:///{path}")
    kept = cache.on(scripted("one", "two", "three"))
    kept.invoke("hi")
    cache.close()
    other = sqlite3.connect(path)
    other.execute("UPDATE responses SET response = '{not json'")
    other.commit()
    assert kept.invoke("hi").text == "two"  # and is kept in the place of the broken one
    assert kept.invoke("hi").text == "two"
    other.execute(
        "UPDATE responses SET response = ?", (json.dumps([{"message": {"type": "evil"}}]),)
    )
    other.commit()
    other.close()
    assert kept.invoke("hi").text == "three"
    cache.close()


def test_a_locked_file_harms_no_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asterism.memories.cache.response_cache.LOCK_WAIT", 0.01)
    path = tmp_path / "cache.db"
    cache = ResponseCache(f"sqlite:///{path}")
    kept = cache.on(scripted("one", "two", "three"))
    kept.invoke("hi")
    cache.close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert kept.invoke("ho").text == "two"
    assert cache.faults >= 1
    other.execute("ROLLBACK")
    other.close()
    assert kept.invoke("hi").text == "one"
    cache.close()


def test_embeddings_that_fail_harm_no_call() -> None:
    cache = ResponseCache(embeddings=Broken(), similarity_threshold=0.9)
    kept = cache.on(scripted("one", "two"))
    assert [kept.invoke("hi").text, kept.invoke("hi").text] == ["one", "two"]
    cache.close()


SCRIPT = """
import sys
from asterism import ResponseCache
from asterism.testing import ScriptedChatModel
cache = ResponseCache(sys.argv[1], max_size=30)
for number in range(60):
    model = cache.on(ScriptedChatModel(script=[f"answer {number % 40}"]))
    assert model.invoke(f"question {number % 40}").text == f"answer {number % 40}"
print(cache.faults)
"""


def test_processes_may_share_a_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'cache.db'}"
    work = [Process(SCRIPT, url) for _ in range(3)]
    assert [process.wait(120) for process in work] == [0, 0, 0]
    with closing(sqlite3.connect(tmp_path / "cache.db")) as connection, connection:
        (count,) = connection.execute("SELECT count(*) FROM responses").fetchone()
        assert 0 < count <= 30
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


# ---- in workflows


def team(model: Any, bus: EventBus | None = None, saver: Any = None) -> Any:
    return (
        SupervisorWorkflowBuilder(
            "Test",
            finish="forward",
            events=bus,
        )
        .participants(venue=Participant(model=model, prompt="You know.", description="Venues."))
        .with_manager(follow(["venue"]))
        .build(checkpointer=saver)
    )


REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}


def priced(*texts: str) -> ScriptedChatModel:
    usage: Any = {"input_tokens": 1_000, "output_tokens": 1_000, "total_tokens": 2_000}
    named = {"model_name": "gpt-4o"}
    return scripted(*(AIMessage(t, usage_metadata=usage, response_metadata=named) for t in texts))


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_a_hit_is_told_and_costs_nothing(
    cache: ResponseCache, way: str, saver: BaseCheckpointSaver[str]
) -> None:
    bus = EventBus()
    told: list[tuple[str, str, Any]] = []

    @bus.on()
    def tell(event: Event) -> None:
        if event.type.value.startswith("cache"):
            told.append((event.type.value, event.source, dict(event.facts)))

    workflow = team(cache.on(priced("one")), bus, saver)
    results: list[Any] = []
    for thread in ("1", "2"):
        config: RunnableConfig = {"configurable": {"thread_id": thread}}
        call = workflow.ainvoke(REQUEST, config) if way == "async" else None
        results.append(await call if call else workflow.invoke(REQUEST, config))
    assert [result["reports"][0]["text"] for result in results] == ["one", "one"]
    costs = [total_cost_breakdown(result)["total_cost_in_cents"] for result in results]
    assert costs[0] > 0
    assert costs[1] == 0
    assert told == [
        ("cache_miss", "1", {"path": "venue"}),
        ("cache_hit", "2", {"how": "exact", "path": "venue"}),
    ]


def test_what_came_from_a_cache_is_not_counted_when_a_run_goes_on() -> None:
    usage: Any = {"input_tokens": 9, "output_tokens": 9, "total_tokens": 18}
    meter = UsageMeter()
    meter.recall("venue", None, [AIMessage("a", id="1", usage_metadata={**usage, "total_cost": 0})])
    assert meter.total == Usage()
    meter.recall("venue", None, [AIMessage("a", id="2", usage_metadata=usage)])
    assert meter.total.calls == 1


def test_a_bus_of_its_own_is_told_too() -> None:
    bus = EventBus()
    cache = ResponseCache(events=bus)
    kept = cache.on(scripted("one"))
    kept.invoke("hi")
    kept.invoke("hi")
    assert [event.type.value for event in bus.history()] == ["cache_miss", "cache_hit"]
    cache.close()


def test_a_hit_is_streamed_like_an_answer(cache: ResponseCache) -> None:
    model = scripted("one two")
    workflow = team(cache.on(model))
    streams = []
    for _ in range(2):
        parts = workflow.stream(REQUEST, stream_mode="messages", subgraphs=True)
        said = [message for _, (message, _) in parts if isinstance(message, AIMessage)]
        streams.append("".join(m.text for m in said if m.id and "report" not in m.id))
    assert "one two" in streams[0]
    assert "one two" in streams[1]
    model.assert_finished()


def test_the_same_answer_twice_in_one_history_stands_there_twice(cache: ResponseCache) -> None:
    model = cache.on(scripted("one"))

    def ask(messages: list[AnyMessage]) -> AIMessage:
        return model.invoke("always the same")

    workflow = (
        SupervisorWorkflowBuilder("Test", finish="forward")
        .participants(venue=Participant(runs=ask, description="Venues."))
        .with_manager(follow(["venue", "venue"]))
        .build(checkpointer=InMemorySaver())
    )
    place: RunnableConfig = {"configurable": {"thread_id": "1"}}
    workflow.invoke(REQUEST, place)
    inside: RunnableConfig = {"configurable": {"thread_id": "1", "checkpoint_ns": "venue"}}
    messages = workflow.get_state(inside).values["messages"]
    assert [message.type for message in messages] == ["human", "ai", "human", "ai"]


def test_a_visit_is_never_cached(cache: ResponseCache) -> None:
    visits: list[int] = []

    def act(messages: list[AnyMessage]) -> str:
        visits.append(len(messages))
        return "done"

    workflow = (
        SupervisorWorkflowBuilder("Test", finish="forward", model=cache.on(scripted("x")))
        .participants(venue=Participant(runs=act, description="Acts."))
        .with_manager(follow(["venue"]))
        .build()
    )
    for _ in range(2):
        workflow.invoke(REQUEST)
    assert visits == [1, 1]


def test_it_serves_all_models_of_a_process_as_any_cache_of_langchain_does() -> None:
    cache = ResponseCache()
    set_llm_cache(cache)
    try:
        model = scripted("one")
        assert [model.invoke("hi").text, model.invoke("hi").text] == ["one", "one"]
    finally:
        set_llm_cache(InMemoryCache())
        set_llm_cache(None)
    cache.close()


# ---- by meaning


def test_the_sets_are_as_large_as_they_are_said_to_be() -> None:
    assert [len(NEAR_MISSES), len({tuple(pair) for pair in NEAR_MISSES})] == [200, 200]
    assert len(PARAPHRASES) == 30
    assert {kind for kind, _, _ in NEAR_MISSES} == {
        *("number", "date", "name", "negation", "unit", "currency", "ordinal")
    }


@pytest.mark.parametrize(
    "embeddings",
    [Constant(), WordEmbeddings(), None],
    ids=["all means the same", "words", "letters"],
)
def test_a_near_miss_is_never_answered(embeddings: Embeddings | None) -> None:
    cache = ResponseCache(embeddings=embeddings, similarity_threshold=0.01)
    for _, one, other in NEAR_MISSES:
        for first, second in ((one, other), (other, one)):
            cache.clear()
            kept = cache.on(scripted("first", "second"))
            assert [kept.invoke(first).text, kept.invoke(second).text] == ["first", "second"]
    cache.close()


def test_paraphrases_are_answered() -> None:
    near = WordEmbeddings(synonyms=SYNONYMS)
    cache = ResponseCache(embeddings=near, similarity_threshold=0.5)
    missed = []
    for one, other in PARAPHRASES:
        cache.clear()
        kept = cache.on(scripted("first", "second"))
        kept.invoke(one)
        if kept.invoke(other).text != "first":
            missed.append((one, other))
    assert missed == []
    assert cache.hits == 30
    cache.close()


def test_without_embeddings_what_is_written_alike_is_similar() -> None:
    cache = ResponseCache(similarity_threshold=0.95)
    kept = cache.on(scripted("Paris", "two"))
    assert kept.invoke("What is the capital of France?").text == "Paris"
    assert kept.invoke("what is the capital of  France").text == "Paris"
    assert kept.invoke("Please tell me the capital of France").text == "two"
    cache.close()


def test_below_the_threshold_a_paraphrase_is_another_question() -> None:
    cache = ResponseCache(embeddings=WordEmbeddings(), similarity_threshold=0.99)
    kept = cache.on(scripted("one", "two"))
    assert kept.invoke("Find a cheap car").text == "one"
    assert kept.invoke("Find me an inexpensive automobile").text == "two"
    cache.close()


@pytest.mark.parametrize(
    "before",
    [
        [SystemMessage("Another rule")],
        [HumanMessage("hi"), AIMessage("ho")],
    ],
    ids=["other rules", "another history"],
)
def test_only_the_words_of_the_last_request_may_differ(before: list[AnyMessage]) -> None:
    cache = ResponseCache(embeddings=Constant(), similarity_threshold=0.5)
    kept = cache.on(scripted("one", "two", "three", "four"))
    assert kept.invoke("What is the capital of France?").text == "one"
    again = HumanMessage("Tell me the capital of France")
    assert kept.invoke([*before, again]).text == "two"
    assert kept.bind_tools([look_up]).invoke([again]).text == "three"
    assert kept.invoke([again]).text == "one"
    assert kept.invoke([again, AIMessage("Paris")]).text == "four"
    cache.close()


@pytest.mark.parametrize(
    ("text", "weighty"),
    [
        ("Please, what is the capital of France?", ["tell", "capital", "France"]),
        (
            "Couldn't $1,000.50 do it on May 1st?",
            ["could", "not", "1000.50", "$", "it", "on", "may", "1th"],
        ),
        ("", []),
    ],
    ids=["politeness", "numbers", "nothing"],
)
def test_what_a_question_hangs_on(text: str, weighty: list[str]) -> None:
    assert distinguishing_facts(text) == weighty


def test_a_cache_that_nobody_has_any_more_closes_its_file() -> None:
    cache = ResponseCache()
    cache.clear()
    connection = cache._open
    assert connection is not None
    del cache
    gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")
