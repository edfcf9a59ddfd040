"""Dashboard: the ASGI application. Puts pages, changes and the live view together behind the guard."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from pathlib import Path
from typing import Any, Final, NamedTuple, cast
from urllib.parse import parse_qs

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from surefoot import clock
from surefoot.client.queue import Queue
from surefoot.client.who import speaking_as
from surefoot.core.errors import ConfigError, JobNotFound, PayloadError, StoreError, SurefootError, UsageError
from surefoot.dashboard import actions, facts, words
from surefoot.dashboard.actions import DOORS, Asked, Visit
from surefoot.dashboard.fresh import Fresh
from surefoot.dashboard.guard import WHO, Action, Authorise, Guard, Rights
from surefoot.dashboard.history import history
from surefoot.dashboard.house import House
from surefoot.dashboard.operations import Operations

_HERE: Final = Path(__file__).parent
_PING_S: Final = 15
_FIELDS_MOST: Final = 2_000
_PARTS: Final = ("nav", "state", "queue_link", "job_link", "count_link", "card", "error_of", "in_hand", "quantiles")


class _Page(NamedTuple):
    """A page: its template, what it asks of the store, how often while it is open. 0: it is not live."""

    title: str
    facts: Callable[[House, facts.Query], Awaitable[facts.Facts]]
    every_s: float


PAGES: Final = {
    "overview": _Page("Overview", facts.overview, 2),
    "queue": _Page("Queue", facts.one_queue, 2),
    "jobs": _Page("Jobs", facts.jobs, 0),
    "job": _Page("Job", facts.one_job, 2),
    "dead": _Page("Dead letters", facts.dead, 0),
    "workers": _Page("Workers", facts.workers, 5),
    "crons": _Page("Crons", facts.crons, 10),
    "history": _Page("History", history, 15),
    "changes": _Page("Changes by hand", facts.changes, 10),
}


class Dashboard:
    """An ASGI application that shows queues, and lets those who may change them. It opens nothing early.

    `queues`, or `url`: all queues of that store. Read-only unless `read_only=False`. `authorise(request, action)` is
    asked for each look and each change. `password`: of HTTP Basic. `hosts`: the host names by which it is reached.
    """

    def __init__(
        self,
        *queues: Queue,
        url: str | None = None,
        namespace: str | None = None,
        read_only: bool = True,
        authorise: Authorise | None = None,
        password: str | None = None,
        hosts: Collection[str] | None = None,
        title: str = "surefoot",
    ) -> None:
        if password is not None and not password:
            raise ConfigError("Dashboard(password=''): an empty password keeps nobody out; give one, or None.")
        self._house = House(queues, url, namespace)
        self._rights = Rights(read_only=read_only, authorise=authorise)
        self._operations = Operations()
        self._fresh = Fresh()
        self._title = title
        self._templates = _templates()
        inner = Starlette(
            routes=[
                Route("/", self._show),
                Route("/find", self._find),
                Route("/operation", self._operation),
                Route("/live/{page}", self._live),
                Route("/ask", self._ask, methods=["POST"]),
                Route("/do/{door}", self._do, methods=["POST"]),
                Mount("/static", StaticFiles(directory=_HERE / "static")),
                Route("/{page}", self._show),
            ],
            exception_handlers={SurefootError: self._told, 404: self._told, 405: self._told},
        )
        self._guarded = Guard(inner, hosts=hosts, password=password)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        await self._guarded(scope, receive, send)

    async def close(self) -> None:
        """Close the connections of the running loop."""
        await self._house.close()

    # Looking.

    async def _show(self, request: Request) -> Response:
        name = request.path_params.get("page", "overview")
        if name not in PAGES:
            return await self._fault(request, 404, "There is no such page.")
        if not await self._rights.may(request, "look"):
            return await self._fault(request, 403, "You may not look at this dashboard.")
        page = PAGES[name]
        told = await self._facts(name, request)
        return await self._page(request, name, page.title, told, live=bool(page.every_s))

    async def _facts(self, name: str, request: Request) -> facts.Facts:
        """What a page shows. What is live is asked once for all who look within the same moment."""
        page = PAGES[name]
        if not page.every_s:
            return await page.facts(self._house, request.query_params)
        key = (name, tuple(sorted(request.query_params.multi_items())))
        told: facts.Facts = await self._fresh.get(
            key, page.every_s * 0.9, lambda: page.facts(self._house, request.query_params)
        )
        return told

    async def _find(self, request: Request) -> Response:
        if not await self._rights.may(request, "look"):
            return await self._fault(request, 403, "You may not look at this dashboard.")
        id = request.query_params.get("id", "").strip()
        job = await facts.search(self._house, id) if 0 < len(id.encode(errors="replace")) <= 128 else None
        if job is None:
            return await self._fault(request, 404, f"There is no job {words.short(id)}: it ended and keeps no outcome, "
                                     "or it never was.")  # fmt: skip
        return _to(request, "/job", {"queue": job.queue, "id": job.id})

    async def _operation(self, request: Request) -> Response:
        if not await self._rights.may(request, "look"):
            return await self._fault(request, 403, "You may not look at this dashboard.")
        one = self._operations.get(request.query_params.get("id", ""))
        return await self._page(request, "operation", "Operation", {"one": one}, live=one.running)

    async def _live(self, request: Request) -> Response:
        name = request.path_params["page"]
        live = name == "operation" or (name in PAGES and PAGES[name].every_s)
        if not live or not await self._rights.may(request, "look"):
            return await self._fault(request, 404, "There is no such page.")
        return EventSourceResponse(self._stream(name, request), ping=_PING_S)

    async def _stream(self, name: str, request: Request) -> AsyncIterator[ServerSentEvent]:
        """The live part of a page, again and again, only when it has changed."""
        sent = b""
        every_s = PAGES[name].every_s if name in PAGES else 1.0
        while True:
            if not await self._rights.may(request, "look"):
                return
            try:
                if name == "operation":
                    told: facts.Facts = {"one": self._operations.get(request.query_params.get("id", ""))}
                else:
                    told = await self._facts(name, request)
                kind, text = "page", await self._part(request, name, told)
            except SurefootError as fault:
                kind, text = "trouble", words.short(str(fault), 300)
            now = hashlib.blake2b(f"{kind} {text}".encode()).digest()
            if now != sent:
                sent = now
                yield ServerSentEvent(text, event=kind)
            await clock.sleep(every_s)

    # Changing.

    async def _ask(self, request: Request) -> Response:
        visit = await self._visit(request)
        verb = visit.word("do").partition(" ")[0]
        right = actions.BULK.get(verb)
        if right is None or not await self._rights.may(request, cast("Action", right)):
            return await self._fault(request, 403, "You may not do that.")
        asked: Asked = await actions.ask(visit)
        return await self._page(request, "ask", "Confirm", {"asked": asked}, live=False)

    async def _do(self, request: Request) -> Response:
        right, change = DOORS.get(request.path_params["door"], (None, None))
        if right is None or change is None:
            return await self._fault(request, 404, "There is no such change.")
        if not await self._rights.may(request, right):
            return await self._fault(request, 403, f"You may not do that ({right}).")
        visit = await self._visit(request)
        requeues = visit.word("then") == "requeue"
        if requeues and not await self._rights.may(request, "requeue"):
            return await self._fault(request, 403, "You may not do that (requeue).")
        with speaking_as(visit.who):
            path, query = await change(visit)
        self._fresh.forget()
        return _to(request, path, query)

    async def _visit(self, request: Request) -> Visit:
        try:
            form = parse_qs((await request.body()).decode(), keep_blank_values=True, max_num_fields=_FIELDS_MOST)
        except ValueError as fault:
            raise UsageError(f"the form cannot be read: {fault}") from None
        host = request.client.host if request.client else "?"
        user = request.scope.get(WHO) or "dashboard"
        return Visit(self._house, self._operations, f"{words.short(user, 60)}@{host}", form)

    # Pages.

    async def _page(
        self, request: Request, name: str, title: str, told: facts.Facts, *, live: bool, status: int = 200
    ) -> HTMLResponse:
        context = await self._context(request, told)
        context |= {"title": title, "page": name, "live": live}
        template = self._templates.get_template(f"{name}.html")
        return HTMLResponse(template.render(context), status)

    async def _part(self, request: Request, name: str, told: facts.Facts) -> str:
        template = self._templates.get_template(f"{name}.html")
        context = template.new_context({**await self._context(request, told), "page": name})
        return "".join(template.blocks["live"](context))

    async def _context(self, request: Request, told: facts.Facts) -> dict[str, Any]:
        root = request.scope.get("root_path", "")
        return {
            **told,
            "at": lambda path, **query: words.address(root, path, query),
            "may": await self._rights.all(request),
            "read_only": self._rights.read_only,
            "brand": self._title,
            "notice": words.notice(request.query_params),
            "live_query": str(request.url.query),
            "now_ms": clock.wall_ms(),
        }

    async def _told(self, request: Request, fault: Exception) -> Response:
        """A fault of the visitor or of the store as a page with one sentence."""
        if isinstance(fault, StoreError):
            return await self._fault(request, 503, str(fault))
        if isinstance(fault, JobNotFound):
            return await self._fault(request, 404, str(fault))
        if isinstance(fault, SurefootError | PayloadError):
            return await self._fault(request, 400, str(fault))
        return await self._fault(request, 404, "There is no such page.")

    async def _fault(self, request: Request, status: int, sentence: str) -> HTMLResponse:
        return await self._page(request, "fault", "Not done", {"sentence": sentence}, live=False, status=status)


def _to(request: Request, path: str, query: dict[str, Any]) -> RedirectResponse:
    return RedirectResponse(words.address(request.scope.get("root_path", ""), path, query), 303)


def _templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    for name in ("age", "number", "when", "when_ms", "pretty", "short", "cron_words"):
        made.filters[name] = {"when": words.at, "when_ms": words.at_ms}.get(name) or getattr(words, name)
    made.globals.update(counted=words.counted, bar=words.bar)
    # As globals, because a live part is rendered without the rest of its page, which could have imported them.
    parts = made.get_template("parts.html").module
    made.globals.update((name, getattr(parts, name)) for name in _PARTS)
    return made
