"""`A2AAgent`: a participant that is an agent elsewhere, called by the A2A protocol.

Needs `a2a-sdk`: pip install 'asterism-agents[a2a]'.
Tests: tests/nodes/remote/test_a2a.py.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import httpx
from a2a.client import A2AClientError, Client, ClientConfig, create_client
from a2a.types import GetTaskRequest, Message, Role, SendMessageRequest, Task, TaskState
from a2a.utils.errors import A2AError

from asterism.core.continuation import Graph
from asterism.core.messages import clean_text
from asterism.core.numbers import raise_number_faults, seconds_faults
from asterism.core.supervisor_decision import HumanFeedbackRequest
from asterism.core.sync_async import Call, Steps, sync_async_pair
from asterism.core.values import as_dict, describe_error, redact
from asterism.errors import (
    ConfigurationError,
    RemoteConnectionError,
    RemoteFailedError,
    RemoteRedirectError,
    RemoteReplyError,
    RemoteTimeoutError,
)
from asterism.nodes.remote.a2a_parts import answer_parts, data_in, media_in, text_in, to_parts
from asterism.nodes.remote.http_client import (
    Host,
    describe_refusal,
    is_allowed,
    name_http_error,
    origin,
    read_host,
    read_url,
)
from asterism.nodes.remote.remote_call import RemoteReply, RemoteTask, create_remote_call_graph
from asterism.nodes.remote.service import Secret, check_header, header_value

ASKS = (TaskState.TASK_STATE_INPUT_REQUIRED, TaskState.TASK_STATE_AUTH_REQUIRED)
WORKS = (TaskState.TASK_STATE_SUBMITTED, TaskState.TASK_STATE_WORKING)
POLL_SECONDS = 0.5
"""Seconds between two looks at a task that an agent has not finished at once."""


@dataclass(frozen=True)
class A2AAgent:
    """A participant that is an agent of the A2A protocol, version 1.0 or 0.3.

    One local thread is one context of the agent. What the agent asks (`input-required`) is a
    question of the participant; the answer continues its task.

    Args:
        url: Where its card is: the part before `/.well-known/agent-card.json`.
        description: What the supervisor is told about it.
        card: The path of the card, where it is another one.
        headers: Headers such as `authorization`, as of a `Service`.
        hosts: The hosts that may be called, as `host` or `host:port`: those that its card names.
            Empty: that of `url` alone.
        timeout: Seconds that a task may take until its end or its next question.

    Raises:
        ConfigurationError: A value is not allowed; the message names it.
    """

    url: str
    _: KW_ONLY
    description: str | None = None
    card: str | None = None
    headers: Mapping[str, Secret] = field(default_factory=dict[str, Secret], repr=False)
    hosts: Sequence[str] = ()
    timeout: float = 60.0

    def __post_init__(self) -> None:
        url = read_url(self.url)
        if not is_allowed(url, self._allowed):
            raise ConfigurationError(
                f"The host of {origin(url)} is none of hosts={list(self.hosts)!r}; add it."
            )
        for name, value in self.headers.items():
            check_header(name, value)
        faults = seconds_faults("timeout", self.timeout, above_zero=True)
        raise_number_faults(faults, ConfigurationError)

    @property
    def origin(self) -> str:
        """The scheme, the host and the port: what a circuit breaker watches."""
        return origin(httpx.URL(self.url))

    @property
    def _allowed(self) -> frozenset[Host]:
        return frozenset(map(read_host, self.hosts or [httpx.URL(self.url).netloc.decode()]))

    def create_graph(self, name: str) -> Graph:
        """Create the graph of the participant `name`, which calls the agent."""
        ask = sync_async_pair(self._send)

        def send(task: RemoteTask) -> Steps[RemoteReply]:
            reply: Task | Message = yield Call(*ask, (task,))
            return _read_reply(name, reply)

        return create_remote_call_graph(name, send)

    async def _send(self, task: RemoteTask) -> Task | Message:
        """Send a request or answers, and wait for the end of the task or for its question."""
        try:
            async with asyncio.timeout(self.timeout), self._http() as http:
                config = ClientConfig(streaming=False, httpx_client=http)
                client = await create_client(self.url, config, relative_card_path=self.card)
                return await _finish(client, _write_message(task))
        except TimeoutError:
            raise RemoteTimeoutError(
                f"{self.origin} has not finished its task within {self.timeout:g} s"
            ) from None
        except (A2AError, httpx.HTTPError, ValueError) as error:
            raise self._name_error(error) from None

    def _http(self) -> httpx.AsyncClient:
        allowed = self._allowed

        async def check(request: httpx.Request) -> None:
            if not is_allowed(request.url, allowed):
                raise RemoteRedirectError(
                    f"the card of {self.origin} leads to {origin(request.url)}, which is not "
                    "allowed; if it is right, add its host to hosts=[...]"
                )

        headers = {name: header_value(name, value) for name, value in self.headers.items()}
        return httpx.AsyncClient(headers=headers, timeout=None, event_hooks={"request": [check]})

    def _name_error(self, error: Exception) -> Exception:
        """Return our error for one of the client; its cause tells what the network did."""
        known: BaseException | None = error
        while known is not None and not isinstance(known, httpx.HTTPError):
            known = known.__cause__
        if isinstance(known, httpx.HTTPStatusError):
            return describe_refusal(self.origin, known.response)
        if known is not None:
            return name_http_error(known, self.origin)
        said = f"{self.origin}: {redact(describe_error(error))[:500]}"
        if isinstance(error, A2AClientError):
            return RemoteConnectionError(said)
        return RemoteReplyError(said)


def _write_message(task: RemoteTask) -> Message:
    message = Message(message_id=task.key, context_id=task.conversation, role=Role.ROLE_USER)
    if not task.answers:
        message.parts.extend(to_parts(task.request, task.media))
        return message
    there = task.answers[-1]["id"].rpartition("/")[0]
    answers = [
        (name, answer["value"])
        for answer in task.answers
        for place, _, name in [answer["id"].rpartition("/")]
        if place == there
    ]
    message.task_id = there
    message.parts.extend(answer_parts(answers))
    return message


async def _finish(client: Client, message: Message) -> Task | Message:
    """Send a message, and wait until the agent has nothing more to do for it."""
    async for response in client.send_message(SendMessageRequest(message=message)):
        if response.HasField("message"):
            return response.message
        task = response.task
        while task.status.state in WORKS:
            await asyncio.sleep(POLL_SECONDS)
            task = await client.get_task(GetTaskRequest(id=task.id))
        return task
    raise RemoteReplyError("the agent answered nothing")


def _read_reply(name: str, reply: Task | Message) -> RemoteReply:
    if isinstance(reply, Message):
        return RemoteReply(text=text_in(reply.parts), media=media_in(reply.parts))
    state, said = reply.status.state, reply.status.message.parts
    parts = [part for artifact in reply.artifacts for part in artifact.parts]
    if state in ASKS:
        asked = [as_dict(value) for value in data_in([*said, *parts])]
        questions = [
            (f"{reply.id}/{one.get('id') or ''}", one["value"], one.get("response_schema"))
            for one in asked
            if "value" in one
        ]
        return RemoteReply(questions=questions or [_plain_question(name, reply.id, text_in(said))])
    text = clean_text(text_in(parts) or text_in(said))
    if state == TaskState.TASK_STATE_COMPLETED:
        return RemoteReply(text=text, media=media_in(parts) or media_in(said))
    ended = TaskState.Name(state).removeprefix("TASK_STATE_").lower()
    error = f"the agent ended its task as {ended}: {redact(text_in(said))[:2_000]}"
    return RemoteReply(failure=RemoteFailedError(error, said=clean_text(text_in(parts))))


def _plain_question(name: str, task: str, prompt: str) -> tuple[str, Any, dict[str, Any] | None]:
    request = HumanFeedbackRequest(
        prompt=clean_text(prompt) or "The agent needs an answer to go on.",
        context={},
        request_type="question",
        requesting_agent=name,
    )
    return f"{task}/", request.model_dump(), None
