"""Any chat model waits for its turn before it is called, and says what the call took."""

import asyncio
import copy
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import pytest
from langchain.agents import create_agent
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langchain_core.load import dumpd
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import ConfigurableField, Runnable, RunnableLambda
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr

from asterism import Agent, Event, Participant, SupervisorWorkflowBuilder, Workflow
from asterism.core.run_types import WorkflowInput
from asterism.errors import CapacityTimeoutError, WorkflowBuildError
from asterism.events import EventBus
from asterism.limits.rate_limited_model import estimate_tokens
from asterism.limits.rate_limits import ResourceManager
from asterism.offline import OfflineChatModel
from asterism.testing import ScriptedChatModel, ScriptedReply

Ask = Callable[[Runnable[Any, Any]], Awaitable[str]]
DOWN = ConnectionError("down")
SAID = ScriptedReply(text="Hello to you", usage=(30, 12))


async def invoke(model: Runnable[Any, Any]) -> str:
    return str((await asyncio.to_thread(model.invoke, "Hi")).text)


async def ainvoke(model: Runnable[Any, Any]) -> str:
    return str((await model.ainvoke("Hi")).text)


async def stream(model: Runnable[Any, Any]) -> str:
    return await asyncio.to_thread(lambda: "".join(chunk.text for chunk in model.stream("Hi")))


async def astream(model: Runnable[Any, Any]) -> str:
    return "".join([chunk.text async for chunk in model.astream("Hi")])


async def abatch(model: Runnable[Any, Any]) -> str:
    (answer,) = await model.abatch(["Hi"])
    return str(answer.text)


async def events(model: Runnable[Any, Any]) -> str:
    said = [event async for event in model.astream_events("Hi", version="v2")]
    return str(said[-1]["data"]["output"].text)


WAYS: list[Ask] = [invoke, ainvoke, stream, astream, abatch, events]
ways = pytest.mark.parametrize("ask", WAYS, ids=lambda way: way.__name__)


is_beta = pytest.mark.filterwarnings(
    "ignore:The method:langchain_core._api.beta_decorator.LangChainBetaWarning"
)


def status(manager: ResourceManager) -> tuple[int, int, int]:
    now = manager.status()
    return now.running, now.tokens, now.requests


async def waiting(manager: ResourceManager, calls: int = 1) -> None:
    """Go on as soon as so many calls wait."""
    async with asyncio.timeout(5):
        while manager.status().waiting != calls:
            await asyncio.sleep(0.001)


@ways
async def test_a_model_waits_before_the_call_and_settles_after_it(ask: Ask) -> None:
    bus = EventBus()
    manager = ResourceManager(requests_at_once=1, tokens_per_minute=10_000, events=bus)
    model = ScriptedChatModel(script=[SAID])
    wrapped = manager.wrap(model, priority=3)
    held = manager.reserve(100)
    call = asyncio.create_task(cast(Any, ask(wrapped)))
    while not bus.history():
        await asyncio.sleep(0.001)
    assert model.calls == []
    held.release()
    assert await call == "Hello to you"
    assert status(manager) == (0, 100 + 42, 2)
    told = [(event.facts["state"], event.facts["priority"]) for event in bus.history()]
    assert told == [("waiting", 3), ("admitted", 3)]
    model.assert_finished()


@ways
async def test_an_error_gives_the_place_back_and_is_passed_on(ask: Ask) -> None:
    manager = ResourceManager(requests_at_once=1, tokens_per_minute=10_000)
    wrapped = manager.wrap(ScriptedChatModel(script=[DOWN, SAID]))
    with pytest.raises(ConnectionError, match="down"):
        await ask(wrapped)
    running, tokens, requests = status(manager)
    assert (running, requests) == (0, 1)
    assert tokens == estimate_tokens(wrapped, [HumanMessage("Hi")], {}), "it may have been counted"
    await ask(wrapped)
    assert status(manager) == (0, tokens + 42, 2)


@ways
async def test_a_model_may_wait_only_so_long(ask: Ask) -> None:
    manager = ResourceManager(requests_at_once=1)
    model = ScriptedChatModel(script=[SAID])
    with manager.reserve(1), pytest.raises(CapacityTimeoutError):
        await ask(manager.wrap(model, timeout=0))
    assert model.calls == []


@pytest.mark.parametrize("ask", [ainvoke, astream, abatch, events], ids=lambda way: way.__name__)
@pytest.mark.parametrize("when", ["it waits", "it is made"])
async def test_a_call_that_is_cancelled_gives_its_place_back(ask: Ask, when: str) -> None:
    manager = ResourceManager(requests_at_once=1)
    reached = asyncio.Event()

    async def hang(_: float) -> None:
        reached.set()
        await asyncio.Event().wait()

    model = ScriptedChatModel(script=[ScriptedReply(delay=1)], asleep=hang)
    held = manager.reserve(1)
    call = asyncio.create_task(cast(Any, ask(manager.wrap(model))))
    await waiting(manager)
    if when == "it is made":
        held.release()
        await reached.wait()
        assert manager.status().running == 1
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    held.release()
    assert (manager.status().waiting, manager.status().running) == (0, 0)
    assert len(model.calls) == (when == "it is made")


def test_a_stream_keeps_its_place_until_it_is_read_or_closed() -> None:
    manager = ResourceManager(requests_at_once=1, tokens_per_minute=10_000)
    wrapped = manager.wrap(ScriptedChatModel(script=[SAID] * 3), estimate=lambda *_: 99)
    chunks = wrapped.stream("Hi")
    next(chunks)
    assert status(manager) == (1, 99, 1)
    assert len(list(chunks)) > 1
    assert status(manager) == (0, 42, 1)
    chunks = wrapped.stream("Hi")
    next(chunks)
    cast(Any, chunks).close()
    assert status(manager) == (0, 42 + 99, 2)
    next(wrapped.stream("Hi"))
    assert status(manager) == (0, 42 + 2 * 99, 3), "it was dropped"


async def test_an_async_stream_keeps_its_place_until_it_is_read_or_closed() -> None:
    manager = ResourceManager(requests_at_once=1, tokens_per_minute=10_000)
    wrapped = manager.wrap(ScriptedChatModel(script=[SAID] * 2), estimate=lambda *_: 99)
    chunks = cast(Any, wrapped.astream("Hi"))
    await anext(chunks)
    assert status(manager) == (1, 99, 1)
    assert len([chunk async for chunk in chunks]) > 1
    assert status(manager) == (0, 42, 1)
    chunks = cast(Any, wrapped.astream("Hi"))
    await anext(chunks)
    await chunks.aclose()
    assert status(manager) == (0, 42 + 99, 2)


async def test_a_reader_of_a_stream_may_call_models_meanwhile() -> None:
    """What happens between the chunks is no part of the call, and has to ask for leave itself."""
    manager = ResourceManager(requests_at_once=2)
    wrapped = manager.wrap(ScriptedChatModel(script=[SAID] * 4))
    for _ in wrapped.stream("Hi"):
        wrapped.invoke("Hi")
        assert manager.status().requests == 2
        break
    async for _ in wrapped.astream("Hi"):
        await wrapped.ainvoke("Hi")
        assert manager.status().requests == 4
        break


class Weather(BaseModel):
    """The weather."""

    city: str


def look_up(city: str) -> str:
    """Look the weather up."""
    return f"Rain in {city}"


@ways
async def test_bound_tools_wait_too(ask: Ask) -> None:
    for bind_first in (True, False):
        manager = ResourceManager(requests_at_once=1)
        model = ScriptedChatModel(script=[SAID])
        bound = (
            manager.wrap(model.bind_tools([look_up]))
            if bind_first
            else manager.wrap(model).bind_tools([look_up])
        )
        assert await ask(bound) == "Hello to you"
        assert (model.calls[0].tools, manager.status().requests) == (["look_up"], 1)


def test_structured_output_waits_too() -> None:
    manager = ResourceManager(requests_at_once=1)
    model = ScriptedChatModel(script=[Weather(city="Rome"), {"city": "Oslo"}])
    wrapped = manager.wrap(model)
    assert wrapped.with_structured_output(Weather).invoke("Where?") == Weather(city="Rome")
    raw = cast(Any, wrapped.with_structured_output(Weather, include_raw=True).invoke("Where?"))
    assert raw["parsed"] == Weather(city="Oslo")
    assert manager.status().requests == 2


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_agents_wait_before_each_call_but_not_for_their_tools(is_async: bool) -> None:
    manager = ResourceManager(requests_at_once=1, tokens_per_minute=10_000)
    running: list[int] = []

    def weather(city: str) -> str:
        """Look the weather up."""
        running.append(manager.status().running)
        return look_up(city)

    model = ScriptedChatModel(
        script=[ScriptedReply(tool_calls=[("weather", {"city": "Rome"})], usage=(20, 5)), SAID]
    )
    agent = cast(Any, create_agent(manager.wrap(model), [weather]))
    asked: WorkflowInput = {"messages": [("user", "Rain?")]}
    result = await agent.ainvoke(asked) if is_async else agent.invoke(asked)
    assert result["messages"][-1].text == "Hello to you"
    assert (running, status(manager)) == ([0], (0, 25 + 42, 2))


def test_retries_and_fallbacks_wait_for_each_call() -> None:
    manager = ResourceManager(requests_at_once=1)
    first, second = ScriptedChatModel(script=[DOWN, DOWN]), ScriptedChatModel(script=[SAID])
    waits: dict[str, Any] = {"stop_after_attempt": 2, "wait_exponential_jitter": False}
    model = first.with_retry(**waits).with_fallbacks([second])
    assert manager.wrap(model).invoke("Hi").text == "Hello to you"
    assert manager.status().requests == 3
    assert manager.status().running == 0


@pytest.mark.parametrize(
    "thing",
    [
        pytest.param(RunnableLambda(look_up), id="a function"),
        pytest.param(ScriptedChatModel().with_structured_output(Weather), id="a chain"),
        pytest.param("openai:gpt-5-mini", id="a name"),
        pytest.param(None, id="None"),
    ],
)
def test_what_is_no_chat_model_is_refused(thing: Any) -> None:
    with pytest.raises(TypeError, match=r"cannot be wrapped; allowed: a chat model, also with"):
        ResourceManager(requests_at_once=1).wrap(thing)


def test_terms_are_checked_when_a_model_is_wrapped() -> None:
    manager = ResourceManager(requests_at_once=1)
    with pytest.raises(ValueError, match=r"^priority is '1'"):
        manager.wrap(ScriptedChatModel(), priority=cast(Any, "1"))
    with pytest.raises(ValueError, match=r"^timeout is -1; it must be a number of seconds"):
        manager.wrap(ScriptedChatModel(), timeout=-1)


def test_the_model_itself_is_left_as_it_was() -> None:
    manager = ResourceManager(requests_at_once=1)
    model = ScriptedChatModel(script=[SAID, SAID])
    wrapped = manager.wrap(model)
    with manager.reserve(1):
        model.invoke("Hi")
    wrapped.invoke("Hi")
    assert manager.status().requests == 2
    assert len(model.calls) == len(wrapped.calls) == 2, "they share what they are made of"


def test_a_wrapped_model_is_still_of_its_class() -> None:
    model = ChatOpenAI(model="gpt-5-mini", api_key=SecretStr("none"), max_retries=0)
    wrapped = ResourceManager(requests_at_once=1).wrap(model)
    assert isinstance(wrapped, ChatOpenAI)
    assert type(wrapped).__name__ == type(wrapped).__qualname__ == "ChatOpenAI"
    assert dumpd(wrapped) == dumpd(model)
    assert wrapped.profile == model.profile
    assert cast(Any, wrapped)._get_ls_params() == cast(Any, model)._get_ls_params()
    assert cast(Any, wrapped)._get_llm_string() == cast(Any, model)._get_llm_string()


def test_copies_of_a_wrapped_model_wait_too() -> None:
    manager = ResourceManager(requests_at_once=1)
    wrapped = manager.wrap(ScriptedChatModel(script=[SAID] * 9))
    copies: list[Runnable[Any, Any]] = [
        wrapped.model_copy(update={"disable_streaming": True}),
        copy.copy(wrapped),
        wrapped.with_config(tags=["a"]),
        wrapped.configurable_fields(script=ConfigurableField(id="script")),
        wrapped.configurable_fields(script=ConfigurableField(id="script")).with_config(
            configurable={"script": ["Hello"]}
        ),
    ]
    for calls, model in enumerate(copies, 1):
        model.invoke("Hi")
        assert manager.status().requests == calls


async def test_an_answer_from_a_cache_does_not_wait() -> None:
    manager = ResourceManager(requests_at_once=1)
    model = ScriptedChatModel(script=[SAID], cache=InMemoryCache())
    wrapped = manager.wrap(model)
    wrapped.invoke("Hi")
    with manager.reserve(1):
        assert wrapped.invoke("Hi").text == (await wrapped.ainvoke("Hi")).text == "Hello to you"


async def test_a_call_is_one_run_with_one_usage() -> None:
    handler = UsageMetadataCallbackHandler()
    runs: list[str] = []

    class Runs(UsageMetadataCallbackHandler):
        def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
            runs.append(serialized["name"])

    wrapped = ResourceManager(requests_at_once=1).wrap(OfflineChatModel())
    answer = await wrapped.ainvoke("Hi", {"callbacks": [handler, Runs()]})
    assert handler.usage_metadata == {"offline": answer.usage_metadata}
    assert runs == ["OfflineChatModel"]


class SyncOnly(BaseChatModel):
    """A model of the least kind: no stream, no async, no run manager, no usage."""

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("Hello to you"))])

    @property
    def _llm_type(self) -> str:
        return "least"


class Stubborn(ScriptedChatModel):
    """A model whose sync call is made of its stream, as some providers' are."""

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        chunks = list(self._stream(messages, **kwargs))
        message = chunks[0].message
        for chunk in chunks[1:]:
            message = cast(Any, message) + chunk.message
        return ChatResult(generations=[ChatGeneration(message=message)])

    _agenerate = BaseChatModel._agenerate
    _astream = BaseChatModel._astream


@ways
@pytest.mark.parametrize("kind", [SyncOnly, Stubborn, FakeListChatModel])
async def test_a_model_whose_methods_call_each_other_asks_once(ask: Ask, kind: Any) -> None:
    manager = ResourceManager(requests_at_once=1)
    made = {SyncOnly: {}, Stubborn: {"script": [SAID]}}.get(kind, {"responses": ["Hello to you"]})
    wrapped = manager.wrap(cast(BaseChatModel, kind(**made)), timeout=1)
    assert await ask(wrapped) == "Hello to you"
    assert (manager.status().requests, manager.status().running) == (1, 0)


async def test_wrapped_twice_it_asks_each_manager_once() -> None:
    one, two = ResourceManager(requests_at_once=1), ResourceManager(requests_at_once=1)
    model = ScriptedChatModel(script=[SAID] * 2)
    wrapped = one.wrap(two.wrap(one.wrap(model)), timeout=1)
    wrapped.invoke("Hi")
    await wrapped.ainvoke("Hi")
    assert one.status().requests == two.status().requests == 2


async def test_what_a_call_leaves_behind_is_no_part_of_it() -> None:
    """A task that was started during a call inherits its context, and may outlive it."""
    manager = ResourceManager(requests_at_once=1)
    later: list[asyncio.Task[Any]] = []
    over = asyncio.Event()

    async def call_again() -> None:
        await over.wait()
        await wrapped.ainvoke("Hi")

    async def leave_behind(_: float) -> None:
        later.append(asyncio.create_task(call_again()))

    replies = [ScriptedReply(text="Hello", delay=1), SAID]
    wrapped = manager.wrap(ScriptedChatModel(script=replies, asleep=leave_behind))
    await wrapped.ainvoke("Hi")
    over.set()
    await later[0]
    assert manager.status().requests == 2


class Chunks(Iterator[Any]):
    """A stream of a provider that is no generator, and has to be closed."""

    def __init__(self, chunks: Iterator[Any], closed: Callable[[], object]) -> None:
        self.chunks, self.close, self.aclose = chunks, closed, self._aclose
        self.closed = closed

    def __next__(self) -> Any:
        return next(self.chunks)

    def __aiter__(self) -> "Chunks":
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self.chunks)
        except StopIteration as error:
            raise StopAsyncIteration from error

    async def _aclose(self) -> None:
        self.closed()


class Closing(ScriptedChatModel):
    """A model whose stream tells when it is closed."""

    closed: Callable[[], object]

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        return Chunks(super()._stream(messages, **kwargs), self.closed)

    def _astream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        return Chunks(super()._stream(messages, **kwargs), self.closed)


async def test_a_stream_is_closed_before_its_place_is_given_back() -> None:
    manager = ResourceManager(requests_at_once=1)
    running: list[int] = []

    def closed() -> None:
        running.append(manager.status().running)

    wrapped = manager.wrap(Closing(script=[SAID] * 4, closed=closed))
    for chunks in (wrapped.stream("Hi"), wrapped.stream("Hi")):
        next(chunks)
        cast(Any, chunks).close()
    for achunks in (wrapped.astream("Hi"), wrapped.astream("Hi")):
        await anext(achunks)
        await cast(Any, achunks).aclose()
    assert (running, manager.status().running) == ([1] * 4, 0)


@is_beta
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_typed_event_streams_wait_too(is_async: bool) -> None:
    manager = ResourceManager(requests_at_once=1, tokens_per_minute=10_000)
    wrapped = cast(Any, manager.wrap(ScriptedChatModel(script=[SAID])))
    if is_async:
        stream = await wrapped.astream_events("Hi", version="v3")
        said = await stream.output
    else:
        said = wrapped.stream_events("Hi", version="v3").output
    assert said.text == "Hello to you"
    assert status(manager) == (0, 42, 1)


class Native(SyncOnly):
    """A model that produces the events of the new protocol itself."""

    def _stream_chat_model_events(self, messages: Any, **_: Any) -> Iterator[Any]:
        yield from self._events()

    async def _astream_chat_model_events(self, messages: Any, **_: Any) -> AsyncIterator[Any]:
        for event in self._events():
            yield event

    def _events(self) -> Iterator[Mapping[str, Any]]:
        text = {"type": "text", "text": "Hello"}
        yield {"event": "message-start", "role": "ai", "id": "1"}
        yield {"event": "content-block-start", "index": 0, "content": {**text, "text": ""}}
        yield {
            "event": "content-block-delta",
            "index": 0,
            "delta": {"type": "text-delta", "text": "Hello"},
        }
        yield {"event": "content-block-finish", "index": 0, "content": text}
        usage = {"input_tokens": 30, "output_tokens": 12, "total_tokens": 42}
        yield {"event": "message-finish", "usage": usage}


@is_beta
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_native_event_streams_wait_too(is_async: bool) -> None:
    manager = ResourceManager(requests_at_once=1, tokens_per_minute=10_000)
    wrapped = cast(Any, manager.wrap(Native()))
    if is_async:
        stream = await wrapped.astream_events("Hi", version="v3")
        said = await stream.output
    else:
        said = wrapped.stream_events("Hi", version="v3").output
    assert said.text == "Hello"
    assert status(manager) == (0, 42, 1)


def test_an_estimate_is_the_prompt_the_tools_and_an_answer() -> None:
    prompt = [HumanMessage("a" * 400)]
    model = ScriptedChatModel()
    base = estimate_tokens(model, prompt, {})
    assert 600 <= base <= 610
    assert estimate_tokens(model, prompt, {"max_tokens": 20}) == base - 480
    assert estimate_tokens(model, prompt, {"max_tokens": 64_000}) == base
    assert estimate_tokens(model, prompt, {"tools": [{"name": "a" * 400}]}) == base + 103
    limited = ChatOpenAI(model="gpt-5-mini", api_key=SecretStr("none"), max_completion_tokens=20)
    assert estimate_tokens(limited, prompt, {}) == base - 480


def test_an_estimate_of_ones_own_is_used_and_never_more_than_may_pass() -> None:
    manager = ResourceManager(tokens_per_minute=100)
    seen: list[Any] = []

    def estimate(messages: Sequence[BaseMessage], options: Mapping[str, Any]) -> int:
        seen.append((messages[0].text, options["stop"], options["seed"]))
        return 5000

    model = ScriptedChatModel(script=[ScriptedReply(text="x", usage=(0, 0))])
    manager.wrap(model, estimate=estimate).bind(seed=3).invoke("Hi", stop=["."])
    assert seen == [("Hi", ["."], 3)]
    assert status(manager) == (0, 100, 1), "a usage of 0 is none"


async def test_threads_tasks_and_streams_are_never_more_than_allowed() -> None:
    manager = ResourceManager(requests_at_once=2)
    inside, worst = [0], [0]
    lock = threading.Lock()

    def reply(_: Any) -> str:
        with lock:
            inside[0] += 1
            worst[0] = max(worst[0], inside[0])
        with lock:
            inside[0] -= 1
        return "Hello"

    model = manager.wrap(ScriptedChatModel(script=[reply] * 60))
    await asyncio.gather(*(ask(model) for _ in range(10) for ask in WAYS))
    assert worst[0] <= 2
    assert (manager.status().waiting, status(manager)) == (0, (0, 120, 60))


HIGH: Any = {"configurable": {"priority": "high"}}
SIX: Any = {"configurable": {"priority": 6}}
REQUEST: Any = {"messages": [("user", "Go")]}


def create_team(manager: ResourceManager, bus: EventBus) -> Workflow:
    """A team whose models are the workflow's, a participant's, an agent's and a created one's."""

    def look(place: str = "here") -> str:
        """Look."""
        return "seen"

    agent = [ScriptedReply(tool_calls=[("look", {})]), "looked"]
    team = SupervisorWorkflowBuilder(
        "T", model=ScriptedChatModel(script=["new", "done"]), resource_manager=manager, events=bus
    )
    team.participants(
        plain=Participant(description="Plain.", model=ScriptedChatModel(script=["one"])),
        tools=Participant(
            description="Tools.", model=ScriptedChatModel(script=agent), tools=[look]
        ),
        bare=Participant(runs=ScriptedChatModel(script=["bare"]), description="Bare."),
    )
    spec = Agent(agent_id="created", system_prompt="You do.")
    everybody: list[str | Agent] = ["plain", "tools", "bare", spec]
    team.with_strategy("parallel", create_agents_for_task=lambda request: everybody)
    return team.build()


@pytest.mark.parametrize(("config", "priority"), [(None, 0), (HIGH, 10), (SIX, 6)])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_a_run_says_the_priority_of_all_its_calls(
    config: Any, priority: int, is_async: bool
) -> None:
    bus, found = EventBus(), list[Any]()
    manager = ResourceManager(max_concurrent_requests=1)
    workflow = create_team(manager, bus)
    held = manager.reserve(0)

    @bus.on("waiting_for_capacity")
    def note(event: Event) -> None:
        found.append(event.facts)
        held.release()

    if is_async:
        result = await workflow.ainvoke(REQUEST, config)
    else:
        result = await asyncio.to_thread(workflow.invoke, REQUEST, config)
    assert [report["status"] for report in result["reports"]] == ["ok"] * 4
    assert {facts["priority"] for facts in found} == {priority}
    assert manager.status().requests == 7  # six calls, and the one that held the place


def test_a_priority_of_another_kind_is_refused() -> None:
    model = ResourceManager(max_concurrent_requests=1).wrap(OfflineChatModel())
    team = SupervisorWorkflowBuilder("T").participants(a=Participant(description="A.", model=model))
    wrong: Any = {"configurable": {"priority": "hihg"}}
    [report] = team.with_strategy("parallel").build().invoke(REQUEST, wrong)["reports"]
    assert "priority is 'hihg'; allowed: 'low', 'normal', 'high'" in report["error"]


def test_a_builder_refuses_what_is_no_resource_manager() -> None:
    team = SupervisorWorkflowBuilder("T", model="offline", resource_manager=cast(Any, 3))
    with pytest.raises(WorkflowBuildError, match="resource_manager is 3; allowed: None, Resource"):
        team.participants(a=Participant(description="A.")).build()
