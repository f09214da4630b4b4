"""The HTTP client of services: one POST of JSON to an allowed host, and its errors by name.

Tests: tests/graphs/test_services.py, tests/graphs/test_attacks.py.
"""

import asyncio
import re
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from ssl import SSLContext

import httpx

from asterism.core.values import redact
from asterism.errors import (
    ConfigurationError,
    RemoteConnectionError,
    RemoteError,
    RemoteRedirectError,
    RemoteReplyError,
    RemoteStatusError,
    RemoteTimeoutError,
)
from asterism.limits.failure_policies import retry_after

REDIRECTS = 3
"""How many redirects of one call are followed."""
PORTS = {"http": 80, "https": 443}
"""The schemes that may be used, with their standard ports."""
KEEPS_THE_CALL = (307, 308)
"""The redirects after which a POST is still that POST."""

_HOST = re.compile(rb"[a-zA-Z0-9._-]+|[0-9a-fA-F:.]+")

Host = tuple[bytes, int | None]
"""A host, with its port; without one, the standard port of the scheme."""


def read_host(entry: str) -> Host:
    """Read an entry of an allow-list: `example.com` or `example.com:8443`.

    Raises:
        ConfigurationError: It is something else.
    """
    url = _parse_address(f"http://{entry}")
    bare = url.raw_path in (b"", b"/") and not url.userinfo and not url.fragment
    if not url.host or not bare or "*" in entry or entry.endswith(("/", "?", "#", "@")):
        raise ConfigurationError(
            f"{redact(repr(entry))} is no host; allowed: a name or an address, and a port where "
            "it is not the standard one, such as 'example.com' or 'localhost:8080'"
        )
    return url.raw_host.lower(), url.port or (80 if entry.endswith(":80") else None)


def read_url(url: str) -> httpx.URL:
    """Read the address of a service.

    Raises:
        ConfigurationError: It has a user or a password in it, is not http or https, or is none.
    """
    read = _parse_address(url)
    if read.userinfo:
        raise ConfigurationError(
            f"The address {_public_address(read)!r} has a user or a password in it, which "
            "would be stored "
            'and shown; give it as headers={"authorization": SecretStr(...)}.'
        )
    if read.scheme not in PORTS or not read.host:
        raise ConfigurationError(
            f"{redact(repr(url))} is no address of a service; allowed: http:// or https://, a "
            "host, and a path."
        )
    return read


def _parse_address(url: str) -> httpx.URL:
    """Read an address; what has no host, or no port, that there can be is an empty one."""
    try:
        read = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        return httpx.URL("")
    return read if _HOST.fullmatch(read.raw_host) and (read.port or 0) < 2**16 else httpx.URL("")


def is_allowed(url: httpx.URL, hosts: frozenset[Host]) -> bool:
    """Whether an address may be called."""
    if url.scheme not in PORTS or url.userinfo:
        return False
    host, standard = url.raw_host.lower(), PORTS[url.scheme]
    port = url.port or standard
    return (host, port) in hosts or (port == standard and (host, None) in hosts)


def origin(url: httpx.URL) -> str:
    """Return the scheme, the host and the port of an address."""
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


async def post_json(
    url: httpx.URL,
    body: bytes,
    *,
    headers: Mapping[str, str],
    secrets: Mapping[str, str],
    hosts: frozenset[Host],
    max_bytes: int,
    seconds: float,
) -> bytes:
    """Send JSON and return the body of the answer.

    Args:
        url: Where to; its host has been allowed.
        body: The JSON.
        headers: What is sent to every allowed host that the call is redirected to.
        secrets: Headers that only the origin of `url` is sent.
        hosts: Where redirects may lead.
        max_bytes: How long the answer may be.
        seconds: How long all of it may take.

    Raises:
        RemoteError: There is no answer that can be used; its kind says why.
    """
    plain = {
        "content-type": "application/json",
        "accept": "application/json",
        "accept-encoding": "identity",  # so that the bound holds for what is read
        **headers,
    }
    at, trusted = url, await asyncio.to_thread(_ssl_context)
    try:
        async with (
            asyncio.timeout(seconds),
            httpx.AsyncClient(verify=trusted, timeout=None) as client,
        ):
            for _ in range(REDIRECTS + 1):
                sent = {**plain, **secrets} if origin(at) == origin(url) else plain
                async with client.stream("POST", at, content=body, headers=sent) as answer:
                    if answer.is_redirect:
                        at = _find_redirect(at, answer, hosts)
                        continue
                    _check_status(at, answer)
                    return await _read(at, answer, max_bytes)
    except TimeoutError:
        said = f"{_public_address(at)} gave no complete answer within {seconds:g} s"
        raise RemoteTimeoutError(said) from None
    except httpx.HTTPError as error:  # without the request, which holds the secrets
        raise name_http_error(error, _public_address(at)) from None
    raise RemoteRedirectError(f"{_public_address(url)} redirects more than {REDIRECTS} times")


def name_http_error(error: httpx.HTTPError, where: str) -> RemoteError:
    """Return our error for one of httpx, without the request that the latter carries."""
    if isinstance(error, httpx.HTTPStatusError):
        return describe_refusal(where, error.response)
    if isinstance(error, httpx.TimeoutException):
        return RemoteTimeoutError(f"{where} gave no answer in time ({type(error).__name__})")
    said = f"{where} cannot be reached, or broke off: {type(error).__name__}: {error}"
    return RemoteConnectionError(redact(said))


def describe_refusal(where: str, answer: httpx.Response) -> RemoteStatusError:
    """Return the error that a status is. The body is not told: it may repeat what was sent."""
    status = answer.status_code
    known = status in HTTPStatus.__members__.values()
    phrase = f" {HTTPStatus(status).phrase}" if known else ""
    return RemoteStatusError(
        f"{where} refused the call: {status}{phrase}",
        status_code=status,
        retry_after=retry_after(answer.headers),
    )


def _check_status(url: httpx.URL, answer: httpx.Response) -> None:
    if not answer.is_success:
        raise describe_refusal(_public_address(url), answer)
    coding = answer.headers.get("content-encoding", "identity")
    if coding != "identity":
        raise RemoteReplyError(
            f"{_public_address(url)} answered in the coding {coding!r}; ask for none"
        )


def _find_redirect(url: httpx.URL, answer: httpx.Response, hosts: frozenset[Host]) -> httpx.URL:
    """Return where a call goes on, if it may."""
    if answer.status_code not in KEEPS_THE_CALL:
        raise RemoteRedirectError(
            f"{_public_address(url)} redirects with {answer.status_code}, which would turn "
            "the call into "
            "another one; allowed: 307 and 308, or the right address at once"
        )
    try:
        to = url.join(answer.headers.get("location", ""))
    except httpx.InvalidURL:
        raise RemoteRedirectError(
            f"{_public_address(url)} redirects to what is no address"
        ) from None
    if not is_allowed(to, hosts) or (url.scheme, to.scheme) == ("https", "http"):
        raise RemoteRedirectError(
            f"{_public_address(url)} redirects to {_public_address(to)}, which is not "
            "allowed; if it is right, add "
            "its host to hosts=[...]; from https to http is never allowed"
        )
    return to


async def _read(url: httpx.URL, answer: httpx.Response, max_bytes: int) -> bytes:
    read = bytearray()
    async for chunk in answer.aiter_raw():
        read += chunk
        if len(read) > max_bytes:
            raise RemoteReplyError(
                f"{_public_address(url)} answered with more than {max_bytes:,} bytes; "
                "raise max_bytes "
                "where that is right"
            )
    return bytes(read)


def _public_address(url: httpx.URL) -> str:
    """Write an address without what may be secret: a user, a password, a query."""
    return f"{origin(url)}{url.path}" if url.host else str(url.path)


@cache
def _ssl_context() -> SSLContext:
    """Read the trusted certificates once: that takes longer than many a call."""
    return httpx.create_ssl_context()
