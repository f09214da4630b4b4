"""Participants that are graphs on another LangGraph server.

Each call is one run there, known again by the key in its metadata: a call that is repeated
after a crash joins its run, or goes on with it, and begins no second one.
Tests: tests/graphs/test_remote.py.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import httpx
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage, messages_from_dict
from langgraph.pregel.remote import RemoteGraph

from asterism.core.continuation import Graph
from asterism.core.messages import with_media
from asterism.core.sync_async import Call, Steps
from asterism.core.usage import UsageEntry, lines_of
from asterism.core.values import as_dict, as_list, redact
from asterism.errors import (
    ConfigurationError,
    RemoteFailedError,
    RemoteReplyError,
    RemoteStatusError,
)
from asterism.nodes.remote.contract import ServiceUsage
from asterism.nodes.remote.http_client import name_http_error
from asterism.nodes.remote.remote_call import RemoteReply, RemoteTask, create_remote_call_graph
from asterism.nodes.report import answer_of, failure_kind_of_status, json_text, messages_since

KEY = "asterism_key"
"""Where the metadata of a run there names the call that it answers."""
ACTIVE = ("pending", "running")
"""How a run stands that is not over."""
ONCE: Mapping[str, Any] = {"headers": {"connection": "close"}}
"""No connection outlives its request: one that is kept belongs to an event loop, and a graph is
driven by several, one after the other, wherever `asyncio.run` is called twice."""
RECENT = 10
"""How many of the latest runs of a thread are looked at for that of a call."""


def create_remote_graph(name: str, remote: RemoteGraph) -> Graph:
    """Create the graph of a participant that runs on another server."""
    server = _Server(remote)

    def send(task: RemoteTask) -> Steps[RemoteReply]:
        run = yield from _run_of(server, task)
        if run is not None:
            yield from server.wait(task.conversation, run)
        state = yield from server.state(task.conversation)
        return _read_reply(task, state)

    return create_remote_call_graph(name, send)


def server_and_graph(remote: RemoteGraph) -> str:
    """Return the server and the graph there: what a circuit breaker watches."""
    client: Any = remote.client or remote.sync_client
    return f"{str(client.http.client.base_url).rstrip('/')}/{remote.assistant_id}"


def _run_of(server: "_Server", task: RemoteTask) -> Steps[str | None]:
    """Return the run that answers a call: the one that it has already, or a new one."""
    thread = task.conversation
    yield from server.open(thread)
    runs: Sequence[Mapping[str, Any]] = yield from server.runs(thread)
    own = next((run for run in runs if as_dict(run.get("metadata")).get(KEY) == task.key), None)
    if own is not None and own["status"] in (*ACTIVE, "success"):
        return str(own["run_id"])
    if own is None and not task.answers:
        return (yield from server.begin(task, input=_request(task)))
    state = yield from server.state(thread)
    waiting = {question["id"] for question in _open_interrupts(state)}
    if answers := {a["id"]: a["value"] for a in task.answers if a["id"] in waiting}:
        return (yield from server.begin(task, command={"resume": answers}))
    if own is None:  # it has these answers from an earlier try, or needs them no more
        busy = next((run for run in runs if run["status"] in ACTIVE), None)
        return str(busy["run_id"]) if busy else None
    if waiting:  # the run that was to be joined has got there meanwhile
        return None
    went_in = any(m.get("id") == task.visit for m in _raw_messages(state))
    return (yield from server.begin(task, input=None if went_in else _request(task)))


def _request(task: RemoteTask) -> dict[str, Any]:
    message = {
        "role": "user",
        "content": with_media(task.request, task.media),
        "id": task.visit,
    }
    return {"messages": [message]}


class _Server:
    """Calls the server, in sync and async."""

    def __init__(self, remote: RemoteGraph) -> None:
        self._remote = remote
        self._where = server_and_graph(remote)

    def open(self, thread: str) -> Steps[Any]:
        """Make sure that the thread is there."""
        return self._call("threads", "create", thread_id=thread, if_exists="do_nothing")

    def runs(self, thread: str) -> Steps[Any]:
        """List the latest runs of a thread."""
        return self._call("runs", "list", thread, limit=RECENT)

    def state(self, thread: str) -> Steps[Any]:
        """Read a thread."""
        return self._call("threads", "get_state", thread)

    def begin(self, task: RemoteTask, **given: Any) -> Steps[str]:
        """Begin a run; one that nobody waits for any more is stopped."""
        config: dict[str, Any] = {**(self._remote.config or {})}
        chosen = as_dict(config.get("configurable"))
        config["configurable"] = {k: v for k, v in chosen.items() if k != "thread_id"}
        run = yield from self._call(
            "runs",
            "create",
            task.conversation,
            self._remote.assistant_id,
            config=config,
            metadata={KEY: task.key},
            multitask_strategy="interrupt",
            **given,
        )
        return str(run["run_id"])

    def wait(self, thread: str, run: str) -> Steps[None]:
        """Wait for the end of a run; a wait that is cancelled cancels it.

        Raises:
            RemoteFailedError: It has failed.
        """
        joins = self._methods("runs", "join")
        cancel = self._methods("runs", "cancel")[1]

        async def joined() -> None:
            try:
                await joins[1](thread, run, **ONCE)
            except asyncio.CancelledError:
                await cancel(thread, run, **ONCE)
                raise

        yield from self._create_client(Call(partial(joins[0], thread, run, **ONCE), joined))
        ended = yield from self._call("runs", "get", thread, run)
        if ended["status"] != "success":
            state = yield from self.state(thread)
            errors = [task["error"] for task in state.get("tasks") or () if task.get("error")]
            said = "; ".join(map(str, errors)) or "it tells no reason"
            raise RemoteFailedError(
                f"the run on {self._where} ended as {ended['status']}: {redact(said)[:500]}"
            )

    def _call(self, part: str, method: str, *args: Any, **kwargs: Any) -> Steps[Any]:
        return self._create_client(Call(*self._methods(part, method), args, {**kwargs, **ONCE}))

    def _create_client(self, call: Call) -> Steps[Any]:
        try:
            return (yield call)
        except httpx.HTTPStatusError as error:  # without the request, which holds the key
            known = name_http_error(error, self._where)
            said = getattr(error, "message", None)
            raise RemoteStatusError(
                f"{known}{f' ({redact(str(said))[:200]})' if said else ''}",
                status_code=error.response.status_code,
                retry_after=getattr(known, "retry_after", 0.0),
            ) from None
        except httpx.HTTPError as error:
            raise name_http_error(error, self._where) from None

    def _methods(
        self, part: str, method: str
    ) -> tuple[Callable[..., Any], Callable[..., Awaitable[Any]]]:
        """Return a method of the sync and of the async client."""
        found: Any = [
            getattr(getattr(client, part), method) if client is not None else _missing(kind)
            for client, kind in (
                (self._remote.sync_client, "sync_client"),
                (self._remote.client, "client"),
            )
        ]
        return found[0], found[1]


def _missing(kind: str) -> Callable[..., Any]:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise ConfigurationError(f"The RemoteGraph has no {kind}; give it a url, or {kind}=.")

    return refuse


def _read_reply(task: RemoteTask, state: Mapping[str, Any]) -> RemoteReply:
    """Read what a run has left on its thread."""
    asked = _open_interrupts(state)
    values = as_dict(state.get("values"))
    try:
        raw = _raw_messages(state)
        messages = messages_from_dict([{"type": m["type"], "data": m} for m in raw])
        new = messages_since(messages, task.visit)
        usage = _usage(values, new)
    except (ValueError, LookupError, TypeError) as error:
        raise RemoteReplyError(f"the state there cannot be read: {error}") from error
    if asked:
        return RemoteReply(
            questions=[(q["id"], q["value"], q.get("response_schema")) for q in asked]
        )
    if state.get("next"):
        rests = ", ".join(map(str, as_list(state["next"])))
        raise RemoteFailedError(f"the run there rests before {rests}, at a breakpoint")
    answer = answer_of(new, is_workflow="reports" in values)
    text, structured = answer.text, values.get("structured_response")
    status, reason = values.get("status", "completed"), values.get("reason")
    if "reports" not in values:
        if structured is not None and isinstance(new[-1], ToolMessage):
            return RemoteReply(text=json_text(structured), usage=usage)
        if answer.kind == "agent_failed":
            failure = RemoteFailedError(redact(answer.fault), kind=answer.kind)
            return RemoteReply(failure=failure, usage=usage)
    if "reports" not in values or status == "completed":
        return RemoteReply(text=text, media=answer.media, usage=usage)
    kind = failure_kind_of_status(status, reason)
    failure = RemoteFailedError(redact(f"{status}: {reason}"), kind=kind, said=text)
    return RemoteReply(failure=failure, usage=usage)


def _open_interrupts(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the questions that wait on a thread."""
    return [asked for task in state.get("tasks") or () for asked in task.get("interrupts") or ()]


def _raw_messages(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = as_dict(state.get("values")).get("messages")
    return cast(list[dict[str, Any]], found) if isinstance(found, list) else []


def _usage(values: Mapping[str, Any], new: Sequence[BaseMessage]) -> list[UsageEntry]:
    """Return what a visit there took: a workflow's ledger, or the usage in messages."""
    if "reports" in values:
        lines = [ServiceUsage.model_validate(line) for line in lines_of(values)]
    else:
        answers = [m for m in new if isinstance(m, AIMessage) and m.usage_metadata]
        lines = [_line(answer) for answer in answers]
    return [line.entry() for line in lines]


def _line(answer: AIMessage) -> ServiceUsage:
    usage = as_dict(answer.usage_metadata)
    return ServiceUsage(
        model=str(answer.response_metadata.get("model_name") or "unknown"),
        input_tokens=usage.get("input_tokens") or 0,
        cached_input_tokens=as_dict(usage.get("input_token_details")).get("cache_read") or 0,
        output_tokens=usage.get("output_tokens") or 0,
    )
