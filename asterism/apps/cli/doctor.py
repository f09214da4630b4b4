"""What a model and its server are able to do: some short calls, and the settings that follow."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage
from pydantic import BaseModel
from rich.table import Table

from asterism.apps.cli.options import FAILED, print_json, print_text, text_of
from asterism.core.agent_spec import ModelLike, resolve_model
from asterism.core.decision_schema import decision_schema
from asterism.core.defaults import METHODS, Method
from asterism.core.supervisor_decision import read_decision
from asterism.core.sync_async import run_steps
from asterism.core.values import describe_error, shorten
from asterism.nodes.request import fields_in_call, read_fields
from asterism.nodes.structured_output import StructuredOutput

TEAM = ("clerk",)
_RULES = "You lead a team: the clerk, who tells prices. Answer with a SupervisorDecision."
_DECIDE: list[AnyMessage] = [SystemMessage(_RULES), HumanMessage("What does a pen cost?")]
_NAMES: dict[Method, str] = {
    "tool": "decide by a forced tool",
    "json_schema": "decide by a JSON schema",
    "json": "decide in JSON text",
}
_CALL, _STREAM, _FILL = "call a tool", "count a stream's tokens", "fill in an object"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was tried, and what was wrong with it."""

    name: str
    works: bool
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What a model is able to do; `decisions` is the first way to decide that works."""

    model: str
    decisions: Method | None
    checks: list[Check]
    settings: list[str]


class Booking(BaseModel):
    """A table that is booked."""

    city: str
    people: int


def price(item: str) -> str:
    """Tell what an item costs."""
    return f"A {item} costs 3 dollars."


def examine(model: ModelLike) -> Examination:
    """Try what a workflow needs of a model, by six calls.

    Args:
        model: The model, or its name.

    Raises:
        ModelNotFoundError: The model cannot be used; the message says why.
    """
    chat = resolve_model(model)
    name = model if isinstance(model, str) else type(model).__name__
    checks = [_try(_NAMES[method], partial(_decide, chat, method)) for method in METHODS]
    decisions: Method | None = next(
        (m for m, c in zip(METHODS, checks, strict=True) if c.works), None
    )
    checks.append(_try(_CALL, partial(_call_tool, chat)))
    checks.append(_try(_STREAM, partial(_stream, chat)))
    checks.append(_try(_FILL, partial(_fill, chat, decisions)))
    settings = list(_settings(chat, decisions, {c.name for c in checks if not c.works}))
    return Examination(model=name, decisions=decisions, checks=checks, settings=settings)


def report(found: Examination, *, as_json: bool) -> int:
    """Print what was found, and return the exit code: 0 where a way to decide works."""
    if as_json:
        print_json(asdict(found))
        return 0 if found.decisions else FAILED
    table = Table("check", "works", "error", box=None)
    for check in found.checks:
        table.add_row(check.name, "yes" if check.works else "no", check.error or "")
    print_text(f"{found.model}\n{text_of(table)}\n")
    print_text("\n".join(f"- {setting}" for setting in found.settings) or "Nothing has to be set.")
    return 0 if found.decisions else FAILED


def _try(name: str, check: Callable[[], None]) -> Check:
    try:
        check()
    except Exception as error:  # noqa: BLE001 - whatever a provider raises is what is looked for
        said = shorten(" ".join(describe_error(error).split()), 200)
        return Check(name=name, works=False, error=said)
    return Check(name=name, works=True)


def _decide(model: Any, method: Method) -> None:
    schema = decision_schema(TEAM)
    said = run_steps(StructuredOutput(model, method).ask(_DECIDE, schema, strict=True))
    if method == "tool":
        _check_called(said)
    read_decision(said, TEAM)


def _call_tool(model: Any) -> None:
    _check_called(model.bind_tools([price]).invoke("Call price for the item 'pen'."))


def _check_called(said: AIMessage) -> None:
    if not said.tool_calls:
        raise ValueError(f"no tool was called; the answer was {shorten(said.text, 60)!r}")


def _stream(model: Any) -> None:
    if not any(chunk.usage_metadata for chunk in model.stream("Say hello.")):
        raise ValueError("the stream said nothing of tokens")


def _fill(model: Any, method: Method | None) -> None:
    request = HumanMessage("Fill in a Booking: 2 people in Rome.")
    said = run_steps(StructuredOutput(model, method).ask([request], Booking))
    read_fields(Booking, fields_in_call(said, Booking.__name__))


def _settings(model: Any, decisions: Method | None, failed: set[str]) -> Iterator[str]:
    """Yield what follows for whoever uses the model."""
    if decisions is None:
        yield "No way to decide works: take another model, or another server."
    elif decisions != "tool":
        yield f"decisions={decisions!r}; on the command line: --decisions {decisions}"
    if _CALL in failed:
        yield "Participants on this model get no tools: it does not call them."
    if _STREAM in failed:
        yield "Tokens of streams are estimated: the server does not tell, or stream_usage=False."
    if _FILL in failed and decisions is not None:
        yield "finish='synthesize' or 'forward', no pydantic model: it is not filled in."
