"""Keeps other sites out: the page is for the browser on this machine, and its own pages only."""

import re
from collections.abc import Iterable, Sequence

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asterism.ui.answers import on_error, refusal

HOSTS = ("127.0.0.1", "localhost", "[::1]")
"""The names by which the server may be called. Any other is a site that has pointed its own
name at this machine."""
_HOST = re.compile(rf"({'|'.join(map(re.escape, HOSTS))})(:\d{{1,5}})?", re.ASCII | re.IGNORECASE)

BODY_LIMIT = 256 * 1024
"""How many bytes a request may have."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
Headers = Sequence[tuple[bytes, bytes]]


class Guard:
    """Refuses what does not come from the page itself, and tells browsers to be strict.

    Args:
        app: What it guards.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        started = False

        async def strictly(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                kept = [(k, v) for k, v in message["headers"] if k.decode().lower() not in _HEADERS]
                ours = [(k.encode(), v.encode()) for k, v in _HEADERS.items()]
                message = {**message, "headers": [*kept, *ours]}
            await send(message)

        if fault := fault_of(scope["method"], scope["headers"]):
            status, said = fault
            await refusal(status, "refused", said)(scope, receive, strictly)
            return
        try:
            await self._app(scope, receive, strictly)
        except Exception as error:
            if started:
                raise
            await (await on_error(Request(scope), error))(scope, receive, strictly)


def fault_of(method: str, headers: Headers) -> tuple[int, str] | None:
    """Return what speaks against a request, as a status and a sentence.

    A browser names the site that a request comes from in `Origin` or `Sec-Fetch-Site`. What
    changes something has to come from the page itself, and to be JSON, which no form of
    another site can send.
    """
    host, origin = _only(headers, b"host"), _only(headers, b"origin")
    if host is None or not _HOST.fullmatch(host):
        return 403, f"The server answers only as {', '.join(HOSTS)}, not as {host!r}."
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        return 403, f"A request from {origin!r} is refused; allowed: the page itself."
    if not (_is_own(headers) or _opens_the_page(method, headers)):
        return 403, "A request from another site is refused; allowed: the page itself."
    if method in ("GET", "HEAD"):
        return None
    if origin is None:
        return 403, "A request that changes something needs the page's own Origin."
    if (_only(headers, b"content-type") or "").split(";")[0].strip() != "application/json":
        return 415, "The body must be JSON, with the content type application/json."
    length = _only(headers, b"content-length") or "0"
    if not length.isdigit() or int(length) > BODY_LIMIT:
        return 413, f"The body has {length} bytes; allowed: {BODY_LIMIT}."
    return None


def _is_own(headers: Headers) -> bool:
    return _only(headers, b"sec-fetch-site") in (None, "same-origin", "none")


def _opens_the_page(method: str, headers: Headers) -> bool:
    """Whether a link of another site is followed to the page, which harms nobody."""
    wants = (_only(headers, b"sec-fetch-mode"), _only(headers, b"sec-fetch-dest"))
    return method == "GET" and wants == ("navigate", "document")


def _only(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    """Return a header; one that is given twice reads as neither."""
    found = [value.decode("latin-1") for key, value in headers if key.lower() == name]
    return ", ".join(found) if found else None
