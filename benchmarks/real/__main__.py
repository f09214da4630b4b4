"""Teams on a small real model, on this machine: `make real`. Properties hold, whatever it says.

SmolLM2 with 135 million parameters routes at random: no word of it is checked. What is checked
of each scenario: it ends within some calls, its status is one that exists, the tokens are those
that the server has counted, each request is valid, each prompt of the supervisor begins with the
one before, and no report whose text was cut off says that it is whole.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from openai.types.chat.completion_create_params import ResponseFormat
from pydantic import BaseModel, SecretStr, TypeAdapter

from asterism import (
    Budget,
    Participant,
    SupervisorWorkflowBuilder,
    Usage,
    lines_of,
    pending_requests,
    resume,
)
from asterism.apps.cli.doctor import examine
from asterism.core.state import Status
from asterism.testing import Cassette
from benchmarks.real.proxy import Exchange, proxy
from tests.graphs.servers import free_port

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venvs" / "real" / "bin" / "python"
REQUEST = {"messages": [("user", "Two train tickets to Rome and a hotel there")]}
MOST_CALLS = 12
SUPERVISOR, COMPLAINT = "You are the supervisor", "That does not work"
MESSAGES = TypeAdapter[Any](ChatCompletionMessageParam)
TOOLS = TypeAdapter[Any](list[ChatCompletionToolParam])
FORMAT = TypeAdapter[Any](ResponseFormat)


class Trip(BaseModel):
    """A trip."""

    city: str
    travellers: int


def ticket_price(city: str, travellers: int) -> str:
    """Tell what train tickets to a city cost."""
    return f"${120 * travellers}"


@dataclass
class Served:
    """The endpoints, and what went through them."""

    url: str
    log: list[Exchange] = field(default_factory=list[Exchange])
    cassette: Cassette | None = None
    """Where answers are recorded, or played back from."""

    def model(self, way: str, **options: Any) -> Any:
        """A client of one of the endpoints: `"plain"` or `"tools"`."""
        model = ChatOpenAI(
            model="smollm2",
            base_url=f"{self.url}/{way}/v1",
            api_key=SecretStr("none"),
            temperature=0,
            seed=1,
            max_retries=0,
            timeout=600,
            **{"max_completion_tokens": 80, **options},
        )
        return model if self.cassette is None else self.cassette.wrap(model)


def team(model: Any, *, tools: bool = False, **options: Any) -> SupervisorWorkflowBuilder:
    limits: dict[str, Any] = {"max_iterations": 2, "max_repairs": 1, "fallback": "finish"}
    return SupervisorWorkflowBuilder("Trip", model=model, **{**limits, **options}).participants(
        trains=Participant(
            prompt="You price train tickets.",
            tools=[ticket_price] if tools else [],
            description="Prices train tickets.",
        ),
        hotels=Participant(prompt="You find hotels. Be brief.", description="Finds hotels."),
    )


def server_ignores_tools(served: Served) -> Any:
    return team(served.model("plain"), finish="forward").build().invoke(REQUEST)


def by_schema(served: Served) -> Any:
    builder = team(served.model("plain"), decisions="json_schema", max_iterations=1)
    return builder.build().invoke(REQUEST)


def tools_enforced(served: Served) -> Any:
    model = served.model("tools", max_completion_tokens=120)
    limit = Budget(max_calls=5)  # it calls the tool again and again
    builder = team(model, tools=True, max_iterations=1, finish="forward", budget=limit)
    return builder.build().invoke(REQUEST)


def streamed(served: Served) -> Any:
    model = served.model("plain", stream_usage=True)
    built = team(model, decisions="json_schema", max_iterations=1, finish="forward").build()
    last: Any = None
    for mode, part in built.stream(REQUEST, stream_mode=["messages", "values"]):
        last = part if mode == "values" else last
    return last


def budget(served: Served) -> Any:
    options: dict[str, Any] = {"decisions": "json_schema", "finish": "forward"}
    limit = Budget(max_tokens=700)
    builder = team(served.model("plain"), budget=limit, max_iterations=9, **options)
    result = builder.build().invoke(REQUEST)
    expect("700 tokens" in str(result["reason"]), f"the budget ends it: {result['reason']}")
    return result


def structured(served: Served) -> Any:
    builder = team(served.model("tools", max_completion_tokens=120), finish=Trip, max_iterations=1)
    result = builder.with_strategy("sequential").build().invoke(REQUEST)
    found = result.get("structured_response")
    expect(isinstance(found, Trip) or result["status"] != "completed", "the object is filled in")
    return result


def a_person_is_asked(served: Served) -> Any:
    builder = team(served.model("plain"), decisions="json", fallback="ask_user", max_iterations=1)
    workflow = builder.build(checkpointer=InMemorySaver())
    place: Any = {"configurable": {"thread_id": "1"}}
    result = workflow.invoke(REQUEST, place)
    waits = bool(pending_requests(workflow, place))
    expect(waits == (result["status"] == "waiting"), "it waits where somebody is asked")
    return resume(workflow, place, "Two people, to Rome") if waits else result


def doctor(served: Served) -> Any:
    found = examine(served.model("plain"))
    expect(found.decisions != "tool", "no tool is forced here")
    works = {check.name: check.works for check in found.checks}
    expect(works["decide by a JSON schema"], "schemas are enforced here")
    return {"status": "completed", "reports": []}


SCENARIOS: Sequence[Callable[[Served], Any]] = (
    server_ignores_tools,
    by_schema,
    tools_enforced,
    streamed,
    budget,
    structured,
    a_person_is_asked,
    doctor,
)
RECORDED = (server_ignores_tools, structured)
"""Those whose answers the tests play back."""


def expect(holds: bool, what: str) -> None:
    if not holds:
        raise AssertionError(what)


def check(result: Mapping[str, Any], exchanges: Sequence[Exchange]) -> None:
    """Check what holds of every run."""
    expect(0 < len(exchanges) <= MOST_CALLS, f"it ends within {MOST_CALLS} calls")
    expect(result["status"] in get_args(Status), f"{result['status']!r} is a status")
    if "usage" in result:
        counted = Usage.of(lines_of(result))
        served = [sum(numbers) for numbers in zip(*(e.usage for e in exchanges), strict=True)]
        expect(counted.calls == len(exchanges), f"{counted.calls} calls are counted")
        told = [counted.input_tokens, counted.output_tokens]
        expect(told == served, f"{told} tokens are counted, and {served} were used")
    for exchange in exchanges:
        check_body(exchange.body)
    prompts = [kept(e.body) for e in exchanges if said_by(e.body["messages"][0], SUPERVISOR)]
    for before, after in pairwise(prompts):
        expect(after[: len(before)] == before, "each prompt begins with the one before")
    cut = {exchange.text.strip() for exchange in exchanges if exchange.is_cut}
    for report in result.get("reports") or ():
        whole = report["status"] == "ok" and report["text"].strip() in cut
        expect(not whole, f"the report of {report['participant']} says that it was cut off")


def check_body(body: Mapping[str, Any]) -> None:
    """Check that a request is one that OpenAI would take."""
    for message in body["messages"]:
        MESSAGES.validate_python(message)
        empty = not message.get("content") and not message.get("tool_calls")
        expect(not empty, f"a message of {message['role']} says something")
    TOOLS.validate_python(body.get("tools", []))
    if "response_format" in body:
        FORMAT.validate_python(body["response_format"])


def said_by(message: Mapping[str, Any], begin: str) -> bool:
    return str(message.get("content") or "").startswith(begin)


def kept(body: Mapping[str, Any]) -> list[Any]:
    """The messages of a prompt that stay: without complaints and the answers complained of.

    How the object looks is told in the rules once the model is asked in words; that is left out.
    """
    messages = list(body["messages"])
    rules = {**messages[0], "content": messages[0]["content"].split("\n\nAnswer with one")[0]}
    for place, message in enumerate(messages):
        if said_by(message, COMPLAINT):
            end = place - 1 if messages[place - 1]["role"] == "assistant" else place
            return [rules, *messages[1:end]]
    return [rules, *messages[1:]]


@contextmanager
def llama() -> Iterator[int]:
    """Start llama.cpp's server in its own environment."""
    port = free_port()
    command = [str(PYTHON), str(Path(__file__).with_name("serve.py")), str(port)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        expect(any(line.startswith("ready") for line in server.stdout), "the server starts")
        yield port
    finally:
        server.terminate()
        server.wait(timeout=30)


def row(scenario: Callable[[Served], Any], served: Served) -> tuple[str, bool]:
    """Run a scenario and write its row of the table."""
    begin, start, status, fault = len(served.log), time.monotonic(), "", ""
    try:
        result = scenario(served)
        status = str(result["status"])
        check(result, served.log[begin:])
    except Exception as error:  # noqa: BLE001 - whatever it is, the other scenarios are run
        fault = f"{type(error).__name__}: {error}"
    exchanges = served.log[begin:]
    read, written = (sum(e.usage[i] for e in exchanges) for i in (0, 1))
    name, seconds = scenario.__name__.replace("_", " "), time.monotonic() - start
    told = " ".join(fault.split())[:300] or "yes"
    return (
        f"| {name} | {status} | {len(exchanges)} | {read:,} | {written} | {seconds:.0f} | {told} |",
        not fault,
    )


CASSETTES = Path(__file__).parents[2] / "tests" / "benchmarks" / "cassettes"


def record() -> None:
    """Record the answers that the tests play back: `python -m benchmarks.real --record`."""
    with llama() as port, proxy(port) as (url, log):
        for scenario in RECORDED:
            path = CASSETTES / f"{scenario.__name__}.json"
            with Cassette(path, mode="record") as cassette:
                scenario(Served(url, log, cassette))
            own = str(PYTHON.parents[1])  # the server names its model by its file
            path.write_text(path.read_text().replace(own, ""))


def main() -> int:
    if "--record" in sys.argv:
        record()
        return 0
    chosen = [s for s in SCENARIOS if not sys.argv[1:] or s.__name__ in sys.argv[1:]]
    print("| scenario | status | calls | tokens read | written | seconds | holds |")
    print("| --- | --- | ---: | ---: | ---: | ---: | --- |", flush=True)
    well = True
    with llama() as port, proxy(port) as (url, log):
        for scenario in chosen:
            line, held = row(scenario, Served(url, log))
            well = well and held
            print(line, flush=True)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
