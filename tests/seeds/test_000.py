"""Supervisor in practice, as its users write it: programs, tasks and traces as mappings."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from asterism import BaseSupervisor, SupervisorTrace, analyze_traces, load_config
from asterism.errors import ConfigurationError, InvalidRequestError, TaskFailedError
from asterism.programs.config import AgentSettings

OFFLINE = {"model": "offline"}
INNER: dict[str, Any] = {
    "agents": {"clerk": {"system_message": "You tell prices.", "llm_config": {"model": "offline"}}},
    "supervisor": {"max_retries": 2, "retry_delay": 0.5},
}
TASK = {"id": "t", "type": "price", "content": "What is it?", "metadata": {"shop": "Rome"}}


class Clerk:
    """Tells prices."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    async def run(self, message: str) -> str:
        if self.error is not None:
            raise self.error
        return f"3 dollars for {message!r}"


class Shop(BaseSupervisor):
    def __init__(self, config: Any = None, *, error: Exception | None = None) -> None:
        self.naps: list[float] = []
        super().__init__(config or {"shop": INNER}, sleep=self._nap)
        self.error = error

    async def _nap(self, seconds: float) -> None:
        self.naps.append(seconds)

    async def _create_agent(self, name: str, config: AgentSettings) -> Any:
        return Clerk(self.error)


async def work(shop: BaseSupervisor, task: Mapping[str, Any] = TASK) -> Any:
    async with shop:
        return await shop.process_task(task)


# ---- configurations and tasks


async def test_a_program_is_taken_from_its_file_by_name(tmp_path: Path) -> None:
    path = tmp_path / "global_config.json"
    path.write_text(json.dumps({"shop": INNER}))
    config = load_config(path)
    assert config["shop"] is config
    assert config["agents"]["clerk"].get("system_message") == "You tell prices."
    assert config["supervisor"].get("nonsense", 7) == 7
    with pytest.raises(KeyError):
        config["bakery"]
    assert json.loads(json.dumps(config.as_json()))["supervisor"]["max_retries"] == 2
    assert (await work(Shop(config["shop"])))["status"] == "completed"


async def test_the_inner_table_alone_is_a_program() -> None:
    shop = Shop(INNER)
    assert (await work(shop))["status"] == "completed"
    assert shop.config.name == "program"


def test_of_several_programs_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "global_config.json"
    path.write_text(json.dumps({"shop": INNER, "bakery": INNER}))
    with pytest.raises(ConfigurationError, match=r"load_config\(path, 'shop'\)"):
        load_config(path)


@pytest.mark.parametrize("named", [True, False], ids=["of the program", "of the file"])
def test_what_was_read_is_not_changed(tmp_path: Path, named: bool) -> None:
    path = tmp_path / "global_config.json"
    path.write_text(json.dumps({"shop": INNER}))
    config: Any = load_config(path)
    with pytest.raises(TypeError, match="set 'level' in the file, or in the plain values"):
        (config["shop"] if named else config)["tracing"]["level"] = "DEBUG"
    plain: Any = json.loads(path.read_text())["shop"]
    plain["tracing"] = {"level": "DEBUG"}
    assert Shop(plain).config["tracing"]["level"] == "detailed"


async def test_a_task_reads_as_a_mapping_and_an_agent_is_whatever_runs() -> None:
    class Told(Shop):
        def _task_to_message(self, task: Any) -> str:
            where = task.get("metadata", {}).get("shop", "nowhere")
            return f"{super()._task_to_message(task)} In {where}, {dict(task)['type']}."

    shop = Told()
    assert "3 dollars for 'What is it? In Rome, price." in (await work(shop))["content"]
    assert list(shop.agents) == ["clerk"]


# ---- traces


async def test_the_supervisor_hands_its_traces_on_as_mappings() -> None:
    shop = Shop()
    await work(shop)
    trace = shop.get_trace("t")
    assert trace is not None
    assert json.loads(json.dumps(trace)) == json.loads(json.dumps(trace.as_json())) == dict(trace)
    assert (trace["status"], trace["id"]) == (trace.status, trace.id) == ("completed", "t")
    taken = datetime.fromisoformat(trace["end_time"]) - datetime.fromisoformat(trace["start_time"])
    assert taken == trace.ended_at - trace.started_at  # type: ignore[operator]
    assert trace["agent_interactions"][0]["sender"] == "user"
    metrics = shop.get_trace_metrics()
    assert metrics["total_tasks"] == 1
    assert metrics["agent_interactions"]["supervisor->clerk"] >= 1
    assert json.loads(json.dumps(metrics))["stored_bytes"] > 0
    assert shop.get_all_traces() == [trace]
    shop.clear_traces()
    assert (shop.get_all_traces(), shop.get_trace_metrics().stored_bytes) == ([], 0)


async def test_traces_are_analyzed_as_plain_values_too() -> None:
    shop = Shop(error=ConnectionError("down"))
    with pytest.raises(TaskFailedError):
        await work(shop)
    traces = shop.get_all_traces()
    found = analyze_traces(traces)
    assert found == analyze_traces([json.loads(json.dumps(trace)) for trace in traces])
    assert (found["success_rate"], found["error_types"]) == (0.0, {"TaskFailedError": 3})
    (error, *_) = [event for event in traces[0]["events"] if event["type"] == "error"]
    assert error["error_type"] == "TaskFailedError"


def test_traces_of_others_are_analyzed_by_their_events() -> None:
    trace = {
        "status": "failed",
        "start_time": "2026-01-01T00:00:00",
        "end_time": "2026-01-01T00:00:04",
        "events": [{"type": "error", "error_type": "ValueError"}, {"type": "routed"}],
        "agent_interactions": [{"sender": "a", "recipient": "b"}],
    }
    found = analyze_traces([trace])
    assert (found.average_duration, found.error_types) == (4.0, {"ValueError": 1})
    assert found.agent_interactions == {"a->b": 1}


# ---- telling a trace


def test_everything_is_filed_under_the_task_that_was_begun() -> None:
    with SupervisorTrace() as recorder:
        recorder.start_trace(TASK)
        recorder.trace_decision("error_handling", {"error": "no", "context": {"n": 1}})
        recorder.trace_agent_interaction("clerk", "driver", "Take it")
        recorder.trace_error(ValueError("no"), {"task": TASK, "attempt": 2})
        recorder.end_trace({"content": "done", "status": "limit", "reason": "enough"})
        (trace,) = recorder.get_all_traces()
        assert (trace.id, trace.status, trace.reason) == ("t", "limit", "enough")
        (decision,), (sent,), (error,) = trace.decisions, trace.interactions, trace.errors
        assert (decision.decision, decision.reason) == ("error_handling", "no")
        assert (sent.sender, sent.recipient, sent.content) == ("clerk", "driver", "Take it")
        assert (error.type, error.message) == ("ValueError", "no")
        assert trace.events[3].facts["context"] == {"attempt": 2}


def test_a_task_or_a_result_names_its_trace() -> None:
    with SupervisorTrace() as recorder:
        recorder.start_trace("a")
        recorder.start_trace("b")
        recorder.trace_error(ValueError("no"), {"task": {"id": "a"}})
        recorder.end_trace({"id": "a", "status": "failed"})
        recorder.trace_decision("go")
        assert [len(t.errors) for t in recorder.get_all_traces()] == [1, 0]
        assert [t.status for t in recorder.get_all_traces()] == ["failed", "running"]
        assert [len(t.decisions) for t in recorder.get_all_traces()] == [0, 1]


def test_an_error_that_is_told_with_its_task_ends_the_trace() -> None:
    def traced(work: Callable[[], str]) -> None:
        try:
            recorder.start_trace(TASK)
            recorder.end_trace({"content": work()})
        except ValueError as error:
            recorder.trace_error(error, {"task": TASK})

    def fails() -> str:
        raise ValueError("no")

    with SupervisorTrace() as recorder:
        traced(fails)
        (trace,) = recorder.get_all_traces()
        assert (trace["status"], trace["reason"], len(trace.errors)) == ("failed", "no", 1)
        assert datetime.fromisoformat(trace["end_time"]) == trace.ended_at
        assert recorder.get_trace_metrics()["success_rate"] == 0
        traced(lambda: "done")
        (trace,) = recorder.get_all_traces()
        assert (trace["status"], len(trace.errors)) == ("completed", 1)


async def test_agents_are_named_as_in_the_configuration() -> None:
    class Pair(Shop):
        async def _process_task_internal(self, task: Any) -> Any:
            self.trace.trace_agent_interaction(
                self.agents["sender"], self.agents["recipient"], self._task_to_message(task)
            )
            return await super()._process_task_internal(task)

    shop = Pair({"agents": {"sender": {}, "recipient": {}}, "supervisor": {"llm_config": OFFLINE}})
    await work(shop)
    assert isinstance(shop.agents["sender"], Clerk)
    trace: Any = shop.get_trace("t")
    told = [(one["sender"], one["recipient"]) for one in trace["agent_interactions"]]
    assert ("sender", "recipient") in told


NOWHERE: Mapping[str, Callable[[Any], None]] = {
    "an end": lambda recorder: recorder.end_trace({"status": "completed"}),
    "an error": lambda recorder: recorder.trace_error(ValueError("no"), {"n": 1}),
    "a decision": lambda recorder: recorder.trace_decision("go", {"n": 1}),
    "an interaction": lambda recorder: recorder.trace_agent_interaction("a", "b", "c"),
    "a number": lambda recorder: recorder.start_trace(7),
}


@pytest.mark.parametrize("tell", NOWHERE.values(), ids=NOWHERE)
def test_what_belongs_to_no_trace_is_refused(tell: Any) -> None:
    with SupervisorTrace() as recorder:
        recorder.start_trace("t")
        recorder.end_trace("t")
        with pytest.raises(InvalidRequestError, match=r"start_trace\(task\)|allowed: its id"):
            tell(recorder)
        assert [t.id for t in recorder.get_all_traces()] == ["t"]


@pytest.mark.parametrize(
    ("word", "level"),
    [
        ("DEBUG", "detailed"),
        ("info", "basic"),
        ("WARNING", "errors"),
        ("ERROR", "errors"),
        ("off", "off"),
    ],
)
def test_a_level_of_logging_is_one_of_traces(word: Any, level: str) -> None:
    with SupervisorTrace(level=word) as recorder:
        assert recorder.level == level
    shop = Shop({"shop": {**INNER, "tracing": {"level": word}}})
    assert shop.trace.level == level


# ---- overriding how tasks are worked on


async def test_a_program_may_trace_its_tasks_itself() -> None:
    class Own(Shop):
        async def process_task(self, task: Any) -> Any:
            self.trace.start_trace(task)
            result = await self._process_task_internal(task)
            self.trace.end_trace(result)
            return result

    shop = Own()
    await work(shop, {"type": "price", "content": "What is it?"})
    (trace,) = shop.get_all_traces()
    assert trace.status == "completed"
    assert shop.graph.get_state({"configurable": {"thread_id": trace.id}}).values


async def test_a_program_may_run_the_group_chat_itself() -> None:
    class Own(Shop):
        async def _process_task_internal(self, task: Any) -> Any:
            message = self._task_to_message(task)
            state = await self.group_chat_manager.run(message)
            self.trace.trace_agent_interaction(self.agents["clerk"], "till", message)
            return self._message_to_task(state)

    shop = Own()
    assert "3 dollars" in (await work(shop))["content"]
    assert any(sent.recipient == "till" for sent in shop.get_all_traces()[0].interactions)


async def test_errors_are_handled_with_their_context() -> None:
    seen: list[tuple[int, str]] = []

    class Own(Shop):
        async def handle_error(self, error: Exception, context: Any) -> None:
            seen.append((self.error_count, context["task"]["id"]))
            self.trace.trace_decision("error_handling", {"error": str(error), "context": context})
            if self.error_count > self.max_retries:
                raise error
            await self._retry_operation(context)

    shop = Own(error=ConnectionError("down"))
    with pytest.raises(TaskFailedError, match="down"):
        await work(shop)
    assert seen == [(1, "t"), (2, "t"), (3, "t")]
    assert shop.naps == [0.5, 0.5]
    trace = shop.get_trace("t")
    assert trace is not None
    assert [d.decision for d in trace.decisions] == ["error_handling"] * 3


class Slip(Shop):
    def _task_to_message(self, task: Any) -> str:
        return str(task.nonsense)


@pytest.mark.parametrize(
    "shop",
    [Slip, lambda: Shop(error=AttributeError("'str' object has no attribute 'get'"))],
    ids=["of the program", "of an agent"],
)
async def test_a_mistake_in_the_code_is_not_tried_again(shop: Any) -> None:
    program = shop()
    with pytest.raises(TaskFailedError, match=r"after 1 of 3 attempts \(not_retried\)"):
        await work(program)
    assert program.naps == []


async def test_an_agent_that_cannot_be_imported_is_named_with_its_program() -> None:
    class Broken(Shop):
        async def _create_agent(self, name: str, config: Any) -> Any:
            raise ImportError("no module custom_agent")

    with pytest.raises(ConfigurationError, match=r"shop\.agents\.clerk: ImportError") as caught:
        await Broken().start()
    assert isinstance(caught.value.__cause__, ImportError)
