"""Who may come in, and from where: Host, password, the origin of a change, and the headers of every answer.

An ASGI layer around the whole dashboard; what a visitor may do once inside is asked of `Rights`.
"""

import base64
import binascii
import hmac
import inspect
from collections.abc import Awaitable, Callable, Collection
from typing import Final, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Action: TypeAlias = Literal["look", "pause", "cancel", "requeue", "edit", "delete", "enqueue"]
"""What a visitor may do. `pause` is also resume, for queues and crons; `enqueue` is run again and run now."""
Authorise: TypeAlias = Callable[[Request, Action], bool | Awaitable[bool]]

ACTIONS: Final[tuple[Action, ...]] = get_args(Action)
WHO: Final = "surefoot.who"
BODY_LIMIT: Final = 2 * 1024 * 1024

_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: with it a browser says `Origin: null` of its own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


class Rights:
    """What one visitor may do: nothing but look in read-only mode, else what the application says."""

    def __init__(self, *, read_only: bool, authorise: Authorise | None) -> None:
        self.read_only = read_only
        self._authorise = authorise

    async def may(self, request: Request, action: Action) -> bool:
        """Whether this request may do that."""
        if self.read_only and action != "look":
            return False
        if self._authorise is None:
            return True
        answer = self._authorise(request, action)
        return bool(await answer) if inspect.isawaitable(answer) else bool(answer)

    async def all(self, request: Request) -> set[str]:
        """All that this request may do: for buttons. Each change asks again."""
        return {action for action in ACTIONS if await self.may(request, action)}


class Guard:
    """Lets in who comes to a known host, with the password if there is one; a change only from a page of ours.

    `hosts`: the names by which the dashboard is reached; None leaves that to the application it is mounted in.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str] | None, password: str | None) -> None:
        self._app = app
        self._hosts = None if hosts is None else {host.lower() for host in hosts}
        self._password = None if password is None else password.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope, Headers(scope=scope))

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        await (refusal or self._app)(scope, receive, guarded)

    def _refusal(self, scope: Scope, headers: Headers) -> PlainTextResponse | None:
        host = _hostname(headers.get("host", ""))
        if self._hosts is not None and host not in self._hosts:
            return _refused(400, "This dashboard is not reached by that host name.")
        if self._password is not None:
            user, password = _credentials(headers.get("authorization", ""))
            if not hmac.compare_digest(password, self._password):
                answer = _refused(401, "A password is needed.")
                answer.headers["WWW-Authenticate"] = 'Basic realm="surefoot", charset="UTF-8"'
                return answer
            scope[WHO] = user
        if scope["method"] in ("GET", "HEAD"):
            return None
        if scope["method"] != "POST":
            return _refused(405, "There is nothing here that answers to this method.")
        return _foreign(headers) or _body_refused(headers)


def _foreign(headers: Headers) -> PlainTextResponse | None:
    """A change must come from a page of ours. Browsers say so in headers that no page can write."""
    site, origin, host = headers.get("sec-fetch-site"), headers.get("origin"), headers.get("host", "")
    if site is not None and site != "same-origin":
        return _refused(403, "This change does not come from a page of the dashboard.")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        return _refused(403, "This change comes from a page of another origin than the dashboard's own.")
    if site is None and origin is None:
        return _refused(403, "This change does not say what page it comes from (no Sec-Fetch-Site, no Origin).")
    return None


def _body_refused(headers: Headers) -> PlainTextResponse | None:
    if headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        return _refused(415, "A change is sent as a form.")
    length = headers.get("content-length", "")
    if not length.isdigit():
        return _refused(411, "A change says how long it is.")
    if int(length) > BODY_LIMIT:
        return _refused(413, f"A change has at most {BODY_LIMIT:,} bytes.")
    return None


def _refused(status: int, sentence: str) -> PlainTextResponse:
    return PlainTextResponse(f"{sentence}\n", status)


def _hostname(host: str) -> str:
    """The name in a Host header, without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _credentials(header: str) -> tuple[str, bytes]:
    scheme, _, coded = header.partition(" ")
    if scheme.lower() != "basic":
        return "", b""
    try:
        user, _, password = base64.b64decode(coded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return "", b""
    return user.decode(errors="replace"), password
