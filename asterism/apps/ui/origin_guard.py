"""Keeps other sites out: the page is for the browser on this machine, and its own pages only."""

from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asterism.apps.serving import HOSTS, Headers, bearer, header, is_token, stranger
from asterism.apps.ui.responses import BODY_LIMIT, error_response, on_error

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
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


class OriginGuard:
    """Refuses what does not come from the page itself, and tells browsers to be strict.

    Args:
        app: What it guards.
        token: What a browser brings once in the address, and keeps in a cookie. None: nothing.
    """

    def __init__(self, app: ASGIApp, token: SecretStr | None = None) -> None:
        self._app = app
        self._token = token

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
                is_file = any(k.lower() == b"etag" for k, _ in kept)  # it is asked for, and kept
                given = {**_HEADERS, **({"cache-control": "no-cache"} if is_file else {})}
                ours = [(k.encode(), v.encode()) for k, v in given.items()]
                message = {**message, "headers": [*kept, *ours]}
            await send(message)

        if fault := find_origin_fault(scope["method"], scope["headers"]):
            status, said = fault
            await error_response(status, "refused", said)(scope, receive, strictly)
            return
        if self._token is not None and (answer := _admission(Request(scope), self._token)):
            await answer(scope, receive, strictly)
            return
        try:
            await self._app(scope, receive, strictly)
        except Exception as error:
            if started:
                raise
            await (await on_error(Request(scope), error))(scope, receive, strictly)


def _admission(request: Request, token: SecretStr) -> Response | None:
    """Answer whoever has no token yet, or brings it in the address; None: go on."""
    name = f"asterism-{request.url.port or 80}"  # cookies do not know ports
    if is_token(request.cookies.get(name) or bearer(request.headers.raw), token):
        return None
    if request.method != "GET" or not is_token(request.query_params.get("token"), token):
        return error_response(
            401,
            "token",
            "The token is missing or wrong; open the address that was "
            "printed when the page was started.",
        )
    answer = RedirectResponse(str(request.url.remove_query_params("token")), 303)
    secret = token.get_secret_value()
    answer.set_cookie(name, secret, httponly=True, samesite="strict", path="/")
    return answer


def find_origin_fault(method: str, headers: Headers) -> tuple[int, str] | None:
    """Return what speaks against a request, as a status and a sentence.

    A browser names the site that a request comes from in `Origin` or `Sec-Fetch-Site`. What
    changes something has to come from the page itself, and to be JSON, which no form of
    another site can send.
    """
    if _opens_the_page(method, headers):
        headers = [(name, value) for name, value in headers if name.lower() != b"sec-fetch-site"]
    if said := stranger(headers, HOSTS):
        return 403, said
    if method in ("GET", "HEAD"):
        return None
    if header(headers, b"origin") is None:
        return 403, "A request that changes something needs the page's own Origin."
    if (header(headers, b"content-type") or "").split(";")[0].strip() != "application/json":
        return 415, "The body must be JSON, with the content type application/json."
    length = header(headers, b"content-length") or "0"
    if not length.isdigit() or int(length) > BODY_LIMIT:
        return 413, f"The body has {length} bytes; allowed: {BODY_LIMIT}."
    return None


def _opens_the_page(method: str, headers: Headers) -> bool:
    """Whether a link of another site is followed to the page, which harms nobody."""
    wants = (header(headers, b"sec-fetch-mode"), header(headers, b"sec-fetch-dest"))
    return method == "GET" and wants == ("navigate", "document")
