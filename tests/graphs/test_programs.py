"""Programs: their life, their tasks, what happens when these fail, and what is recorded."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from langgraph.types import interrupt

from asterism import BaseSupervisor, ProgramTask, SupervisorTrace, ToyExampleSupervisor
from asterism.errors import (
    AgentTimeoutError,
    AnswerError,
    AsterismError,
    ConfigurationError,
    InvalidRequestError,
    NothingPendingError,
    ProgramStateError,
    TaskFailedError,
)
from asterism.graphs.builder import SupervisorWorkflowBuilder
from asterism.graphs.programs import ErrorContext
from asterism.nodes.deciders.strategies import sequential_decider
from asterism.programs.config import AgentSettings
from asterism.storage.open import aopen_checkpointer

TASK = {"id": "t", "type": "question", "content": "What does it cost?"}
Work = Callable[[Sequence[Any]], Any]


def config(*names: str, **supervisor: Any) -> dict[str, Any]:
    return {"shop": {"agents": {n: {} for n in names or ("clerk",)}, "supervisor": supervisor}}


class Naps:
    """A sleep that takes no time, and remembers how long it would have been."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)


class Shop(BaseSupervisor):
    """A program of functions, which work in turn."""

    def __init__(self, work: Mapping[str, Work], given: Any = None, **options: Any) -> None:
        super().__init__(config(*work) if given is None else given, **options)
        self._agents = work

    async def _create_agent(self, name: str, config: AgentSettings) -> Any:
        return described(self._agents[name])

    def _create_builder(self, agents: Mapping[str, Any]) -> SupervisorWorkflowBuilder:
        return super()._create_builder(agents).with_manager(sequential_decider)


def described(work: Work) -> Any:
    from asterism import Participant

    return Participant(runs=work, description="Works.")


def failing(times: int, error: Exception) -> tuple[Work, list[int]]:
    """Work that fails so many times, and the list of its turns."""
    turns: list[int] = []

    def work(messages: Sequence[Any]) -> str:
        turns.append(len(turns) + 1)
        if len(turns) <= times:
            raise error
        return "3 dollars"

    return work, turns


# ---- life


CALLS: dict[str, Callable[[BaseSupervisor], Any]] = {
    "start": lambda program: program.start(),
    "stop": lambda program: program.stop(),
    "process": lambda program: program.process_task(TASK),
    "answer": lambda program: program.answer_task("t", "yes"),
}
LIFE = [
    ("created", [], "process", r"cannot process a task: it was not started; await start\(\)"),
    ("created", [], "answer", "cannot take an answer: it was not started"),
    ("created", [], "stop", None),
    ("created", [], "start", None),
    ("running", ["start"], "start", "cannot be started: it is running already"),
    ("running", ["start"], "process", None),
    ("stopped", ["start", "stop"], "process", r"it is stopped; await start\(\) to let it work"),
    ("stopped", ["start", "stop"], "stop", None),
    ("running", ["start", "stop", "start"], "process", None),
]


@pytest.mark.parametrize(
    ("state", "before", "call", "refused"), LIFE, ids=[f"{s}: {c}" for s, _, c, _ in LIFE]
)
async def test_life(state: str, before: list[str], call: str, refused: str | None) -> None:
    program = ToyExampleSupervisor()
    for name in before:
        await CALLS[name](program)
    assert program.state == state
    if refused is None:
        await CALLS[call](program)
    else:
        with pytest.raises(ProgramStateError, match=refused):
            await CALLS[call](program)
        assert program.state == state
    await program.stop()


async def test_two_starts_at_once_start_it_once() -> None:
    program = ToyExampleSupervisor()
    found = await asyncio.gather(program.start(), program.start(), return_exceptions=True)
    assert [type(one) for one in found] == [ToyExampleSupervisor, ProgramStateError]
    await program.stop()


def test_a_program_has_no_graph_before_it_was_started() -> None:
    with pytest.raises(ProgramStateError, match="cannot show its graph: it was not started"):
        _ = ToyExampleSupervisor().graph


async def test_a_start_that_fails_lists_every_agent_and_can_be_made_again() -> None:
    broken = {
        "a": {"llm_config": {"model": "nonsense:x"}},
        "b": {"llm_config": {"model": "offline"}},
        "c": {"llm_config": {"model": "x y z", "temperature": 0.5}},
    }
    program = BaseSupervisor({"shop": {"agents": broken}})
    with pytest.raises(
        ConfigurationError,
        match=r"(?s)'shop' cannot be used:\n  1\. shop\.agents"
        r"\.a: The model 'nonsense:x' cannot.*\n  2\. shop\.agents\.c: ",
    ):
        await program.start()
    assert program.state == "created"
    with pytest.raises(ConfigurationError, match="it has no llm_config, and nobody else has"):
        await BaseSupervisor(config("clerk")).start()


async def test_stopping_waits_for_what_is_under_way() -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def work(messages: Sequence[Any]) -> str:
        begun.set()
        await go.wait()
        return "done"

    program = await Shop({"clerk": work}).start()
    task = asyncio.create_task(program.process_task(TASK))
    await begun.wait()
    stopping = asyncio.create_task(program.stop())
    while program.state != "stopping":
        await asyncio.sleep(0)
    with pytest.raises(ProgramStateError, match="it is being stopped"):
        await program.process_task({**TASK, "id": "other"})
    go.set()
    await stopping
    assert (await task)["content"] == "done"


async def test_what_takes_too_long_is_stopped_and_gone_on_with() -> None:
    begun, go = asyncio.Event(), asyncio.Event()
    turns: list[str] = []

    async def first(messages: Sequence[Any]) -> str:
        turns.append("first")
        return "one"

    async def second(messages: Sequence[Any]) -> str:
        turns.append("second")
        begun.set()
        await go.wait()
        return "two"

    program = await Shop({"first": first, "second": second}).start()
    task = asyncio.create_task(program.process_task(TASK))
    await begun.wait()
    await program.stop(grace=0)
    with pytest.raises(ProgramStateError, match="'t' was stopped with its program; give it again"):
        await task
    trace = program.trace.get_trace("t")
    assert trace is not None and trace.status == "cancelled"
    go.set()
    await program.start()
    assert (await program.process_task(TASK))["content"] == "one\n\ntwo"
    assert turns == ["first", "second", "second"]
    await program.stop()


async def test_a_caller_who_is_cancelled_cancels_the_task_alone() -> None:
    begun = asyncio.Event()

    async def work(messages: Sequence[Any]) -> str:
        begun.set()
        await asyncio.Event().wait()
        return "never"

    async with Shop({"clerk": work}) as program:
        task = asyncio.create_task(program.process_task(TASK))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert program.state == "running"


async def test_an_error_in_the_block_stops_at_once() -> None:
    begun = asyncio.Event()

    async def work(messages: Sequence[Any]) -> str:
        begun.set()
        await asyncio.Event().wait()
        return "never"

    with pytest.raises(KeyError):
        async with Shop({"clerk": work}) as program:
            task = asyncio.create_task(program.process_task(TASK))
            await begun.wait()
            raise KeyError("mine")
    with pytest.raises(ProgramStateError):
        await task


# ---- tasks


WRONG: dict[str, tuple[Any, list[str]]] = {
    "no table": ("do it", ["it must be a table"]),
    "nothing": ({}, ["task.type: it is missing", "task.content: it is missing"]),
    "an empty content": (
        {"type": "a", "content": " "},
        ["task.content: it is ' '; it is empty"],
    ),
    "no content": ({"type": "a", "content": None}, ["task.content: it is None; it is empty"]),
    "an empty list": ({"type": "a", "content": []}, ["task.content: it is empty"]),
    "a type of white space": (
        {"type": "\t", "content": "x"},
        ["task.type: it is '\\t'; it must be"],
    ),
    "an id of two lines": ({"id": "a\nb", "type": "a", "content": "x"}, ["task.id: it is 'a\\nb'"]),
    "an id that is a number": ({"id": 7, "type": "a", "content": "x"}, ["task.id: it is 7; input"]),
    "an endless id": ({"id": "a" * 201, "type": "a", "content": "x"}, ["at most 200 characters"]),
    "a strange key": (
        {"type": "a", "content": "x", "prio": 1},
        ["task.prio: there is no such key; allowed: id, type, content, metadata"],
    ),
    "metadata that are no values": (
        {"type": "a", "content": "x", "metadata": {"a": object()}},
        ["task.metadata.a"],
    ),
    "content that is no value": ({"type": "a", "content": {1, 2}}, ["task.content"]),
}


@pytest.mark.parametrize(("task", "faults"), WRONG.values(), ids=WRONG)
async def test_what_is_no_task_is_refused(task: Any, faults: list[str]) -> None:
    async with ToyExampleSupervisor() as program:
        with pytest.raises(InvalidRequestError) as caught:
            await program.process_task(task)
        assert program.trace.get_all_traces() == []
    for fault in faults:
        assert fault in str(caught.value)


async def test_a_task_without_an_id_is_given_one_and_its_metadata_come_back() -> None:
    clock = iter([10.0, 12.5]).__next__
    async with ToyExampleSupervisor(name_it=lambda: "made", clock=clock) as program:
        result = await program.process_task(
            {"type": "text", "content": "It is is (done", "metadata": {"from": "me"}}
        )
    assert result == {
        "id": "made",
        "type": "text",
        "content": "Words: 4\nSentences: 1\nParagraphs: 1\n"
        "Most frequent: no word comes twice\n\nTo read: 1 s\nTo speak: 2 s\n\n"
        "Line 1: 'is' stands twice\nLine 1: '(' is never closed",
        "status": "completed",
        "reason": "the supervisor found the request complete",
        "metadata": {
            "from": "me",
            "iterations": 4,
            "agents": ["counter", "timer", "proofreader"],
            "failed": {},
        },
        "pending": [],
        "attempts": 1,
        "seconds": 2.5,
    }


async def test_the_hooks_say_what_goes_in_and_what_comes_out() -> None:
    class Loud(ToyExampleSupervisor):
        def _task_to_message(self, task: ProgramTask) -> str:
            return f"{task.type}: {super()._task_to_message(task)}".upper()

        def _message_to_task(self, result: Mapping[str, Any]) -> dict[str, Any]:
            asked = result["messages"][0].text
            return {**super()._message_to_task(result), "content": {"asked": asked}}

    async with Loud() as program:
        result = await program.process_task({"type": "plan", "content": {"day": "may"}})
    assert result["content"] == {"asked": 'PLAN: {\n  "DAY": "MAY"\n}'}


async def test_an_attempt_of_ones_own_needs_no_graph() -> None:
    class Own(ToyExampleSupervisor):
        async def _process_task_internal(self, task: ProgramTask) -> dict[str, Any]:
            return {"content": 42}

    async with Own() as program:
        result = await program.process_task(TASK)
    assert (result["content"], result["status"], result["attempts"]) == (42, "completed", 1)


async def test_agents_of_a_configuration_and_of_ones_own_work_together() -> None:
    class Mixed(BaseSupervisor):
        async def _create_agent(self, name: str, config: AgentSettings) -> Any:
            if name == "clerk":
                return described(lambda messages: "3 dollars")
            return await super()._create_agent(name, config)

    told = "You pack things.\nBe careful."
    agents = {"clerk": {}, "packer": {"system_message": told, "llm_config": {"model": "offline"}}}
    async with Mixed({"shop": {"agents": agents}}) as program:
        assert program.graph.facts.participants == {"clerk": "Works.", "packer": "You pack things."}
        result = await program.process_task({"type": "order", "content": "Prepare the book"})
    assert result["status"] == "completed"
    assert result["metadata"]["agents"] == ["clerk", "packer"]
    assert "3 dollars" in result["content"]


async def test_many_tasks_at_once_stay_apart() -> None:
    async with ToyExampleSupervisor() as program:
        texts = ["one " * n for n in range(1, 9)]
        found = await asyncio.gather(
            *(program.process_task({"type": "text", "content": text}) for text in texts)
        )
    assert [result["content"].splitlines()[0] for result in found] == [
        f"Words: {n}" for n in range(1, 9)
    ]
    assert len({result["id"] for result in found}) == 8


async def test_a_task_that_is_worked_on_is_not_begun_again() -> None:
    go = asyncio.Event()

    async def work(messages: Sequence[Any]) -> str:
        await go.wait()
        return "done"

    async with Shop({"clerk": work}) as program:
        task = asyncio.create_task(program.process_task(TASK))
        await asyncio.sleep(0)
        with pytest.raises(InvalidRequestError, match="'t' is worked on already"):
            await program.process_task(TASK)
        go.set()
        assert (await task)["content"] == "done"
        assert (await program.process_task(TASK))["content"] == "done"


# ---- failures


async def test_a_task_is_tried_again_after_a_delay() -> None:
    work, turns = failing(2, ValueError("no price"))
    naps = Naps()
    rules = config("clerk", max_retries=2, retry_delay=0.5)
    async with Shop({"clerk": work}, rules, sleep=naps) as program:
        result = await program.process_task(TASK)
    assert (result["content"], result["attempts"]) == ("3 dollars", 3)
    assert (turns, naps.taken) == ([1, 2, 3], [0.5, 0.5])
    trace = program.trace.get_trace("t")
    assert trace is not None
    assert [d.decision for d in trace.decisions] == ["retry", "retry"]
    assert trace.status == "completed"


@pytest.mark.parametrize("retries", [0, 1, 3])
async def test_after_the_last_retry_there_is_a_decision_and_an_error(retries: int) -> None:
    work, turns = failing(99, ValueError("no price, api_key=abcdef123"))
    naps = Naps()
    async with Shop({"clerk": work}, config(max_retries=retries), sleep=naps) as program:
        with pytest.raises(TaskFailedError, match=r"max_retries_exceeded.*no price") as caught:
            await program.process_task(TASK)
        trace = program.trace.get_trace("t")
    error = caught.value
    assert (error.task_id, error.attempts) == ("t", retries + 1)
    assert error.decision == "max_retries_exceeded"
    assert (len(turns), naps.taken) == (retries + 1, [1.0] * retries)
    assert "abcdef123" not in str(error)
    assert trace is not None
    decisions = [decision.decision for decision in trace.decisions]
    assert decisions == ["retry"] * retries + ["max_retries_exceeded"]
    assert trace.status == "failed"
    assert len([e for e in trace.errors if e.type == "TaskFailedError"]) == retries + 1


@pytest.mark.parametrize(
    "error", [ConfigurationError("wrong key"), InvalidRequestError("no request")]
)
async def test_what_cannot_pass_is_not_tried_again(error: AsterismError) -> None:
    class Wrong(ToyExampleSupervisor):
        async def _process_task_internal(self, task: ProgramTask) -> dict[str, Any]:
            raise error

    async with Wrong(sleep=Naps()) as program:
        with pytest.raises(TaskFailedError, match="after 1 of 4 attempts") as caught:
            await program.process_task(TASK)
    assert (caught.value.decision, caught.value.__cause__) == ("not_retried", error)


async def test_an_attempt_that_hangs_is_stopped_and_finished_work_is_not_repeated() -> None:
    turns: list[str] = []

    async def quick(messages: Sequence[Any]) -> str:
        turns.append("quick")
        return "one"

    async def hangs(messages: Sequence[Any]) -> str:
        turns.append("hangs")
        if turns.count("hangs") < 3:
            await asyncio.Event().wait()
        return "two"

    rules = config("quick", "hangs", timeout=0.3)
    async with Shop({"quick": quick, "hangs": hangs}, rules, sleep=Naps()) as program:
        result = await program.process_task(TASK)
    assert (result["content"], result["attempts"]) == ("one\n\ntwo", 3)
    assert turns == ["quick", "hangs", "hangs", "hangs"]


async def test_a_task_that_always_hangs_ends_with_the_error_of_its_time() -> None:
    async def hangs(messages: Sequence[Any]) -> str:
        await asyncio.Event().wait()
        return "never"

    rules = config(timeout=0.05, max_retries=1)
    async with Shop({"clerk": hangs}, rules, sleep=Naps()) as program:
        with pytest.raises(TaskFailedError, match=r"no result within 0\.05 seconds") as caught:
            await program.process_task(TASK)
    assert isinstance(caught.value.__cause__, AgentTimeoutError)


async def test_handle_error_can_be_overridden() -> None:
    class Patient(Shop):
        async def handle_error(self, error: Exception, context: ErrorContext) -> None:
            if context["attempt"] > 5:
                raise error

    work, turns = failing(99, ValueError("no"))
    async with Patient({"clerk": work}) as program:
        with pytest.raises(TaskFailedError, match="clerk"):
            await program.process_task(TASK)
    assert len(turns) == 6


# ---- people, restarts, traces


def asks(messages: Sequence[Any]) -> str:
    return f"for {interrupt({'prompt': 'For whom?'})}"


async def test_a_task_waits_for_a_person_and_is_answered() -> None:
    async with Shop({"clerk": asks}) as program:
        waiting = await program.process_task(TASK)
        assert (waiting["status"], waiting["content"]) == ("waiting", "For whom?")
        assert [request["participant"] for request in waiting["pending"]] == ["clerk"]
        again = await program.process_task(TASK)
        assert again["pending"] == waiting["pending"]
        with pytest.raises(AnswerError, match="is empty"):
            await program.answer_task("t", " ")
        result = await program.answer_task("t", "Ann")
        with pytest.raises(NothingPendingError):
            await program.answer_task("t", "Bob")
    assert (result["status"], result["content"], result["type"]) == (
        "completed",
        "for Ann",
        "question",
    )
    trace = program.trace.get_trace("t")
    assert trace is not None and trace.status == "completed"


async def test_a_task_goes_on_in_another_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'tasks.db'}"
    async with aopen_checkpointer(url) as saver, Shop({"clerk": asks}, checkpointer=saver) as one:
        assert (await one.process_task(TASK))["status"] == "waiting"
    async with aopen_checkpointer(url) as saver, Shop({"clerk": asks}, checkpointer=saver) as two:
        assert (await two.answer_task("t", "Ann"))["content"] == "for Ann"
        place: Any = {"configurable": {"thread_id": "t"}}
        metadata = (await two.graph.aget_state(place)).metadata or {}
    assert metadata["program"] == "shop"  # type: ignore[typeddict-item]  # ours
    assert metadata["team"] == two.config.content_hash  # type: ignore[typeddict-item]  # ours


async def test_a_trace_tells_who_said_what() -> None:
    trace = SupervisorTrace(level="detailed")
    async with ToyExampleSupervisor(trace=trace) as program:
        await program.process_task({"id": "t", "type": "text", "content": "A short text."})
    found = trace.get_trace("t")
    assert found is not None
    assert (found.name, found.status) == ("toy_example", "completed")
    assert [(i.sender, i.recipient) for i in found.interactions] == [
        ("user", "supervisor"),
        ("supervisor", "counter"),
        ("counter", "supervisor"),
        ("supervisor", "timer"),
        ("timer", "supervisor"),
        ("supervisor", "proofreader"),
        ("proofreader", "supervisor"),
    ]
    assert found.interactions[-1].content == "Nothing found."
    assert trace.get_trace_metrics().success_rate == 1.0


async def test_the_configuration_says_how_much_is_recorded(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'traces.db'}"
    for level, kept in (("off", 0), ("errors", 1)):
        given = {**config("counter")["shop"], "tracing": {"level": level, "url": url}}
        async with ToyExampleSupervisor({"toy": given}) as program:
            await program.process_task(TASK)
        assert len(program.trace.get_all_traces()) == kept
        program.trace.close()
