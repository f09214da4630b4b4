"""`Service`: a participant behind HTTP, and the graph that calls it.

Tests: tests/graphs/test_services.py.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import httpx
from langchain_core.messages import AnyMessage
from pydantic import SecretStr, ValidationError

from asterism.core.continuation import Graph
from asterism.core.messages import clean_text
from asterism.core.numbers import count_faults, raise_number_faults, seconds_faults
from asterism.core.supervisor_decision import HumanFeedbackRequest
from asterism.core.sync_async import Call, Steps, sync_async_pair
from asterism.core.values import redact
from asterism.errors import (
    ConfigurationError,
    InvalidRequestError,
    RemoteFailedError,
    RemoteReplyError,
)
from asterism.moved import hint_foreign_names
from asterism.nodes.remote.contract import (
    REPLY,
    ServiceAnswer,
    ServiceAsks,
    ServiceDone,
    ServiceMessage,
    ServiceReply,
    ServiceRequest,
)
from asterism.nodes.remote.http_client import (
    Host,
    is_allowed,
    origin,
    post_json,
    read_host,
    read_url,
)
from asterism.nodes.remote.remote_call import RemoteReply, RemoteTask, create_remote_call_graph

OURS = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "host",
        "idempotency-key",
        "transfer-encoding",
    }
)
"""Headers that a call has already."""

_NAME = re.compile(r"[A-Za-z0-9_-]+")

Secret = SecretStr | Callable[[], str]
"""A header's value that is stored nowhere: hidden, or fetched for each call."""


@hint_foreign_names(
    "give it url, and policies to Participant(runs=Service(url), policies=[...]); "
    "asterism.compat.massgen.MicroserviceAgent takes them",
    *("name", "backend", "service_url", "circuit_breaker", "retry_policy"),
)
@dataclass(frozen=True)
class Service:
    """A participant behind HTTP, which is sent a `ServiceRequest` and answers a `ServiceReply`.

    Retries, time-outs and circuit breakers are those of `Participant(policies=[...])`.

    Args:
        url: Where it is: http or https, without a user or a password.
        description: What the supervisor is told about it.
        headers: Headers such as `authorization`, sent to the host of `url` alone.
        hosts: The hosts that may be called, as `host` or `host:port`. Empty: that of `url`
            alone.
        timeout: Seconds that one call may take, from its first byte to the last of the answer.
        max_bytes: How many bytes an answer may have.
        history: Whether earlier requests and answers are sent along, for services that keep
            nothing.

    Raises:
        ConfigurationError: A value is not allowed; the message names it.
    """

    url: str
    _: KW_ONLY
    description: str | None = None
    headers: Mapping[str, Secret] = field(default_factory=dict[str, Secret], repr=False)
    hosts: Sequence[str] = ()
    timeout: float = 60.0
    max_bytes: int = 1_000_000
    history: bool = False

    def __post_init__(self) -> None:
        url = read_url(self.url)
        if not is_allowed(url, self.allowed):
            raise ConfigurationError(
                f"The host of {origin(url)} is none of hosts={list(self.hosts)!r}; add it, with "
                "its port where that is not the standard one."
            )
        for name, value in self.headers.items():
            check_header(name, value)
        faults = [
            *seconds_faults("timeout", self.timeout, above_zero=True),
            *count_faults("max_bytes", self.max_bytes),
        ]
        raise_number_faults(faults, ConfigurationError)

    @property
    def origin(self) -> str:
        """The scheme, the host and the port: what a circuit breaker watches."""
        return origin(httpx.URL(self.url))

    @property
    def allowed(self) -> frozenset[Host]:
        """The hosts that may be called."""
        return frozenset(map(read_host, self.hosts or [httpx.URL(self.url).netloc.decode()]))

    def create_graph(self, name: str) -> Graph:
        """Create the graph of the participant `name`, which calls the service."""
        ask = sync_async_pair(self.call)

        def send(task: RemoteTask) -> Steps[RemoteReply]:
            if kinds := ", ".join(dict.fromkeys(block["type"] for block in task.media)):
                raise InvalidRequestError(
                    f"The request holds {kinds}, and the service {self.origin} is sent text "
                    "alone. Let a participant describe it first, in a request of its own."
                )
            asked = ServiceRequest(
                conversation_id=task.conversation,
                idempotency_key=task.key,
                request=task.request,
                answers=[
                    ServiceAnswer(
                        question_id=given["id"], prompt=given["prompt"], value=given["value"]
                    )
                    for given in task.answers
                ],
                history=_history(task.earlier) if self.history else [],
            )
            reply: ServiceReply = yield Call(*ask, (asked,))
            return _read_reply(name, reply)

        return create_remote_call_graph(name, send)

    async def call(self, asked: ServiceRequest) -> ServiceReply:
        """Make one call.

        Raises:
            RemoteError: There is no answer that can be used; its kind says why.
            ConfigurationError: A header cannot be sent.
        """
        body = await post_json(
            httpx.URL(self.url),
            asked.model_dump_json().encode(),
            headers={"idempotency-key": asked.idempotency_key},
            secrets={name: header_value(name, value) for name, value in self.headers.items()},
            hosts=self.allowed,
            max_bytes=self.max_bytes,
            seconds=self.timeout,
        )
        try:
            return REPLY.validate_json(body)
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
                for fault in error.errors()[:3]
            )
            raise RemoteReplyError(
                f"{self.origin} answered what is no ServiceReply: {redact(faults)[:500]}"
            ) from None


def _read_reply(name: str, reply: ServiceReply) -> RemoteReply:
    usage = [line.entry() for line in reply.usage]
    if isinstance(reply, ServiceDone):
        return RemoteReply(text=reply.text, usage=usage)
    if isinstance(reply, ServiceAsks):
        asks = reply.question
        request = HumanFeedbackRequest(
            prompt=clean_text(asks.prompt),
            context=asks.context,
            request_type=asks.request_type,
            requesting_agent=name,
        )
        return RemoteReply(
            questions=[(asks.id, request.model_dump(), asks.response_schema)], usage=usage
        )
    said = clean_text(reply.text)
    failure = RemoteFailedError(redact(reply.error)[:2_000], kind=reply.kind, said=said)
    return RemoteReply(failure=failure, usage=usage)


def _history(messages: Sequence[AnyMessage]) -> list[ServiceMessage]:
    return [
        ServiceMessage(
            role="user" if message.type == "human" else "assistant", content=message.text
        )
        for message in messages
    ]


def check_header(name: str, value: Any) -> None:
    """Refuse a header that a call has already, or whose value would be shown.

    Raises:
        ConfigurationError: The header cannot be sent.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"{name!r} is no name of a header; allowed: letters, digits, '-'.")
    if name.lower() in OURS:
        raise ConfigurationError(f"The header {name!r} is set by the call itself; leave it out.")
    if not isinstance(value, SecretStr) and not callable(value):
        raise ConfigurationError(
            f"The header {name!r} has a value that would be shown; allowed: "
            "SecretStr('...') of pydantic, or a function that returns the value."
        )


def header_value(name: str, value: Secret) -> str:
    """Return a header's value; an error of httpx about it would quote it."""
    text: Any = value.get_secret_value() if isinstance(value, SecretStr) else value()
    if not (isinstance(text, str) and text.isascii() and text.isprintable()):
        raise ConfigurationError(
            f"The value of the header {name!r} cannot be sent; allowed: printable ASCII "
            "characters. A line break at its end is the usual cause: strip() it."
        )
    return text
