"""Routes of the page, and the server that answers them on this machine."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import uvicorn
from pydantic import SecretStr, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from uvicorn.protocols.http.h11_impl import H11Protocol

from asterism.apps.stored_threads import open_database, origin_of
from asterism.apps.ui.operations import read_operations, steer_run
from asterism.apps.ui.origin_guard import OriginGuard
from asterism.apps.ui.responses import (
    AnswerBody,
    ForkBody,
    MessageBody,
    RenameBody,
    RetryBody,
    RunBody,
    SearchBody,
    SteerBody,
    ThreadBody,
    answer,
    encode_json,
    on_error,
    read_body,
)
from asterism.apps.ui.run_list import RunList
from asterism.apps.ui.run_manager import RunManager, StartRun
from asterism.apps.ui.thread_watch import STREAM_SECONDS, ThreadWatch, config_at
from asterism.core.continuation import areopen
from asterism.core.interrupts import answer_command, apending_requests
from asterism.core.steering import add_steering
from asterism.core.sync_async import arun_steps
from asterism.errors import AsterismError, ConfigurationError
from asterism.graphs.catalog import models_of
from asterism.graphs.request_checks import check_thread
from asterism.graphs.shipped import SHIPPED
from asterism.graphs.steering import read_message
from asterism.storage.open import open_checkpointer

STATIC = Path(__file__).with_name("static")
THREADS_SHOWN = 50
"""How many threads the page lists at once."""


def create_app(
    *,
    db: str | None = None,
    graphs: Sequence[str] = (),
    teams: Mapping[str, Any] = MappingProxyType({}),
    model: str | None = None,
    pace: float = 0.0,
    stream_seconds: float = STREAM_SECONDS,
    token: SecretStr | None = None,
) -> Starlette:
    """Create the page and what it asks for, as an ASGI app.

    Args:
        db: The database, as `--db` names it.
        graphs: Graphs as `module:attribute`, besides those that are shipped.
        teams: Graphs and builders by name; they stand first.
        model: The model that graphs of new threads are built with. None: their own.
        pace: Seconds that a reply of the offline model takes.
        stream_seconds: How long one stream of events lasts; the page asks for the next one.
        token: What a browser has to bring once, as `?token=`. None: whoever is on this machine
            may use the page.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        opened = open_checkpointer(open_database(db))
        saver = await asyncio.to_thread(opened.__enter__)
        named = [*teams, *SHIPPED, *graphs]
        hub = RunManager(saver, named, teams=teams, model=model, pace=pace)
        app.state.hub, app.state.database = hub, open_database(db)
        app.state.runs = RunList(saver, lambda thread: hub.run(thread) is not None)
        app.state.watch, app.state.stream_seconds = ThreadWatch(hub), stream_seconds
        try:
            yield
        finally:
            await hub.close()
            await asyncio.to_thread(opened.__exit__, None, None, None)

    routes = [
        Route("/api/graphs", _graphs),
        Route("/api/threads", _threads, methods=["GET", "POST"]),
        Route("/api/thread", _thread),
        Route("/api/history", _history),
        Route("/api/memory", _memory),
        Route("/api/visits", _visits),
        Route("/api/state", _state),
        Route("/api/messages", _messages),
        Route("/api/compare", _compare),
        Route("/api/operations", _operations),
        Route("/api/operations", _steer, methods=["POST"]),
        Route("/api/events", _events),
        Route("/api/run", _run, methods=["POST"]),
        Route("/api/answer", _answer, methods=["POST"]),
        Route("/api/proceed", _proceed, methods=["POST"]),
        Route("/api/stop", _stop, methods=["POST"]),
        Route("/api/steer", _steer_thread, methods=["POST"]),
        Route("/api/fork", _fork, methods=["POST"]),
        Route("/api/retry", _retry, methods=["POST"]),
        Route("/api/rename", _rename, methods=["POST"]),
        Route("/api/delete", _delete, methods=["POST"]),
        Route("/agui/info", _agui),
        Route("/agui/{graph:path}", _agui, methods=["POST"]),
        Mount("/", StaticFiles(directory=STATIC, html=True)),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(OriginGuard, token=token)],
        exception_handlers=dict.fromkeys((AsterismError, HTTPException, ValidationError), on_error),
        lifespan=lifespan,
    )


# ---- reading


async def _graphs(request: Request) -> Response:
    hub: RunManager = request.app.state.hub
    opened = [(name, await hub.graph(name, hub.model)) for name in hub.graphs]
    found = [{**_about(name, graph), "models": models_of(graph)} for name, graph in opened]
    return answer({"graphs": found})


async def _threads(request: Request) -> Response:
    body = SearchBody() if request.method == "GET" else await read_body(request, SearchBody)
    return answer(await request.app.state.runs.page(limit=THREADS_SHOWN, **body.model_dump()))


async def _thread(request: Request) -> Response:
    watch: ThreadWatch = request.app.state.watch
    checkpoint, thread = request.query_params.get("checkpoint"), _graph_in(request)
    return answer(await (watch.at(thread, checkpoint) if checkpoint else watch.now(thread)))


async def _history(request: Request) -> Response:
    return answer(await request.app.state.watch.history(_graph_in(request)))


async def _visits(request: Request) -> Response:
    checkpoint = request.query_params.get("checkpoint")
    return answer(await request.app.state.watch.visits(_graph_in(request), checkpoint))


async def _state(request: Request) -> Response:
    checkpoint = request.query_params.get("checkpoint")
    return answer(await request.app.state.watch.state(_graph_in(request), checkpoint))


async def _messages(request: Request) -> Response:
    before, checkpoint = (
        request.query_params.get("before", "0"),
        request.query_params.get("checkpoint"),
    )
    if not (before.isascii() and before.isdigit() and len(before) < 10):
        raise HTTPException(400, f"before is {before[:20]!r}; allowed: a number of messages.")
    watch: ThreadWatch = request.app.state.watch
    return answer(await watch.messages(_graph_in(request), int(before), checkpoint))


async def _compare(request: Request) -> Response:
    places = [request.query_params.get(name, "") for name in ("a", "b")]
    return answer(await request.app.state.watch.compare(_graph_in(request), *places))


async def _operations(request: Request) -> Response:
    return answer(await asyncio.to_thread(read_operations, request.app.state.hub.saver))


async def _memory(request: Request) -> Response:
    participant = request.query_params.get("participant", "")
    return answer(await request.app.state.watch.memory(_graph_in(request), participant))


async def _events(request: Request) -> Response:
    watch: ThreadWatch = request.app.state.watch
    thread = _graph_in(request)
    await watch.now(thread)  # a thread that is not there is an error, not an empty stream
    frames = watch.frames(thread, seconds=request.app.state.stream_seconds)

    async def lines() -> AsyncGenerator[bytes]:
        yield b"retry: 300\n\n"
        with suppress(AsterismError):  # the thread was deleted meanwhile; asked again, it is told
            async for frame in frames:
                yield b"data: " + encode_json(frame) + b"\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream")


# ---- acting


async def _run(request: Request) -> Response:
    hub: RunManager = request.app.state.hub
    body = await read_body(request, RunBody)
    thread = None if body.thread is None else _validate_thread(body.thread)
    return answer({"thread": await hub.ask(body.request, graph=body.graph, thread=thread)}, 202)


async def _answer(request: Request) -> Response:
    hub: RunManager = request.app.state.hub
    body = await read_body(request, AnswerBody)
    graph, config = await hub.of(_validate_thread(body.thread))

    async def ready() -> StartRun:
        return config, answer_command(await apending_requests(graph, config), body.answers)

    await hub.start(graph, config, ready)
    return answer({"thread": body.thread}, 202)


async def _proceed(request: Request) -> Response:
    hub: RunManager = request.app.state.hub
    body = await read_body(request, ThreadBody)
    graph, config = await hub.of(_validate_thread(body.thread))

    async def ready() -> StartRun:
        await areopen(graph, config)
        return config, None

    await hub.start(graph, config, ready)
    return answer({"thread": body.thread}, 202)


async def _stop(request: Request) -> Response:
    body = await read_body(request, ThreadBody)
    return answer({"stopping": request.app.state.hub.stop(_validate_thread(body.thread))}, 202)


async def _steer_thread(request: Request) -> Response:
    """Store a message beside a thread, for the run that is under way, or the next one."""
    body = await read_body(request, MessageBody)
    thread, message = _validate_thread(body.thread), read_message(body.message)
    saver = request.app.state.hub.saver
    await origin_of(saver, thread)
    await arun_steps(add_steering(saver, thread, message))
    return answer({"thread": thread}, 202)


async def _fork(request: Request) -> Response:
    hub: RunManager = request.app.state.hub
    body = await read_body(request, ForkBody)
    graph, config = await hub.of(_validate_thread(body.thread))

    async def ready() -> StartRun:
        await request.app.state.watch.at(body.thread, body.checkpoint)
        decision = {"decision": body.decision.model_dump()}
        at = config_at(config, body.checkpoint)
        fork = await graph.aupdate_state(at, decision, "supervisor")
        return {**config, "configurable": fork.get("configurable") or {}}, None

    await hub.start(graph, config, ready)
    return answer({"thread": body.thread}, 202)


async def _retry(request: Request) -> Response:
    """Run a visit again from the checkpoint that it began after, and what follows."""
    hub: RunManager = request.app.state.hub
    body = await read_body(request, RetryBody)
    graph, config = await hub.of(_validate_thread(body.thread))

    async def ready() -> StartRun:
        await request.app.state.watch.at(body.thread, body.checkpoint)
        return config_at(config, body.checkpoint), None

    await hub.start(graph, config, ready)
    return answer({"thread": body.thread}, 202)


async def _steer(request: Request) -> Response:
    body = await read_body(request, SteerBody)
    await steer_run(request.app.state.database, _validate_thread(body.thread), body.action)
    return answer({"thread": body.thread}, 202)


async def _rename(request: Request) -> Response:
    body = await read_body(request, RenameBody)
    await request.app.state.hub.rename(_validate_thread(body.thread), body.title)
    return answer({"thread": body.thread}, 202)


async def _delete(request: Request) -> Response:
    body = await read_body(request, ThreadBody)
    await request.app.state.hub.delete(_validate_thread(body.thread))
    return answer({"deleted": body.thread}, 202)


async def _agui(request: Request) -> Response:
    try:
        from asterism.apps.ui.agui import handle
    except ImportError as error:
        raise ConfigurationError("AG-UI needs: pip install 'asterism-agents[agui]'.") from error
    return await handle(request, request.app.state.hub)


# ---- what a request says


def _about(name: str, graph: object) -> dict[str, Any]:
    facts: Any = getattr(graph, "facts", None)
    shipped = SHIPPED.get(name)
    described = {"description": shipped.description, "example": shipped.example} if shipped else {}
    return {
        "name": name,
        "description": getattr(graph, "description", None) or "",
        "example": "",
        "participants": [*facts.participants] if facts else [],
        **described,
    }


def _graph_in(request: Request) -> str:
    return _validate_thread(request.query_params.get("thread"))


def _validate_thread(thread: str | None) -> str:
    return check_thread({"configurable": {"thread_id": thread}})


ADDRESS = "127.0.0.1"
"""Where it listens: what is on this machine alone can call it."""


HEADERS_SECONDS = 10.0
"""Seconds that a connection has to say what it wants."""
CONNECTIONS = 200
"""How many connections may be open at once."""


class Prompt(H11Protocol):
    """A connection that is closed where nothing is asked for long."""

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self.loop.call_later(HEADERS_SECONDS, self._look)

    def _look(self) -> None:
        cycle: object = vars(self).get("cycle")
        if cycle is None and not self.transport.is_closing():
            self.transport.close()


class Server(uvicorn.Server):
    """A server that ends the streams of the page first, so that nobody waits for them."""

    def __init__(self, app: Starlette) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Prompt,
                limit_concurrency=CONNECTIONS,
                log_level="warning",
                server_header=False,
            )
        )
        self._page = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then the server; the runs end with the app."""
        self._page.state.hub.end()
        await super().shutdown(sockets)


async def serve(app: Starlette, port: int, ready: Callable[[int], None]) -> None:
    """Serve until the process is told to end.

    Args:
        app: The page.
        port: The port; 0: any that is free.
        ready: Is told the port when it is open.

    Raises:
        ConfigurationError: The port is taken.
    """
    try:
        opened = socket.create_server((ADDRESS, port))
    except OSError as error:
        raise ConfigurationError(
            f"The port {port} cannot be opened: {error.strerror}. Choose another with --port; "
            "--port 0 takes any that is free."
        ) from error
    with opened:
        ready(opened.getsockname()[1])
        await Server(app).serve(sockets=[opened])


__all__: Sequence[str] = ("ADDRESS", "Server", "serve")
