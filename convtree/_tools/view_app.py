"""The pages of a log or a store as a web application for one person on one machine. It only reads.

Every address begins with a token that nobody can guess, and the name of the host is checked. So another user of the
machine cannot read it, and neither can a web page that the person visits, even if its name is made to lead here. Who
sees the address can: whatever starts a browser with it shows it to the machine. All answers are made by the exporter of
pages, and hold its policy.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote

import anyio
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from convtree._formats.documents.html.index_page import Listed, index_page
from convtree._formats.documents.html.live import News
from convtree._formats.documents.html.page import page_of
from convtree._model.errors import ConvtreeError, InvalidMessage, SessionNotFound
from convtree._session.session import Session
from convtree._tools.gaps import MendedSession, is_damaged
from convtree.stores._session_store import SessionStore

POLL_S = 0.2  # between two looks at a log
_QUIET_S = 15.0  # after which a connection gets a sign of life
_HITS = 1000  # that a search over the store reads
_ROW = re.compile(r"[0-9]{1,15}")
_RELOAD = b'{"reload":true}'
_HEADERS = {
    b"cache-control": b"no-store",
    b"content-security-policy": b"frame-ancestors 'none'",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
}
Open = Callable[[], Session]


def view_app(
    token: str, hosts: tuple[str, ...], log: Open | None, store: SessionStore | None, *, allow_gaps: bool = False
) -> ASGIApp:
    """Returns the application.

    Args:
        token: what every address begins with.
        hosts: names under which it may be asked.
        log: opens the log that is shown; None shows the store.
        store: the store that is listed and searched; None if there is only the log.
        allow_gaps: whether damaged entries keep their places in the tree. The page of a damaged session is not live.
    """
    viewer = Viewer(log, store, allow_gaps)
    base = f"/{token}"
    routes = [Route(f"{base}/", viewer.first), Route(f"{base}/events", viewer.events)]
    if store is not None:
        routes += [
            Route(f"{base}/all/", viewer.list),
            Route(f"{base}/all/search", viewer.search),
            Route(f"{base}/all/s/{{id}}/", viewer.page),
            Route(f"{base}/all/s/{{id}}/events", viewer.events),
        ]
    return Guard(Starlette(routes=routes, exception_handlers={ConvtreeError: _failed}), token, hosts)


class Guard:
    """Refuses every request that does not come from the page: wrong host, wrong token, anything but GET."""

    def __init__(self, app: ASGIApp, token: str, hosts: tuple[str, ...]) -> None:
        self._app, self._token = app, token.encode()
        self._hosts = {host.encode() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS.items()]
            await send(message)

        refused = self._refusal(scope)
        app = self._app if refused is None else refused
        await app(scope, receive, send_safely)

    def _refusal(self, scope: Scope) -> Response | None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return PlainTextResponse("unknown host", 421)
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("only GET is answered", 405, {"allow": "GET, HEAD"})
        given = scope["path"].removeprefix("/").partition("/")[0].encode()
        if not secrets.compare_digest(given, self._token):
            return PlainTextResponse("not found", 404)
        return None


class Viewer:
    """Answers requests: each opens what it reads, and closes it again."""

    def __init__(self, log: Open | None, store: SessionStore | None, allow_gaps: bool) -> None:
        self._log = log
        self._store = store
        self._allow_gaps = allow_gaps

    async def first(self, request: Request) -> Response:
        """Answers with the log, or else with the list of the store."""
        if self._log is None:
            return Response(status_code=307, headers={"location": "all/"})
        return await self.page(request)

    async def list(self, _request: Request) -> Response:
        """Answers with the list of the store's sessions."""
        store = self._of_store()

        def listed() -> bytes:
            infos = store.list(archived=None, tasks=True, limit=None).sessions
            rows = (Listed(_address(each.id), each.title or each.id, each) for each in infos)
            return b"".join(index_page(f"Conversations in {store.location}", rows, connect="search"))

        return Response(await run_sync(listed), media_type="text/html; charset=utf-8")

    async def search(self, request: Request) -> Response:
        """Answers with the addresses of the sessions that have all words of a query in one message."""
        store, query = self._of_store(), request.query_params.get("q", "")
        hits = await run_sync(lambda: store.search(query, tasks=True, limit=_HITS)) if query.strip() else []
        return JSONResponse(sorted({_address(hit.session_id) for hit in hits}))

    async def page(self, request: Request) -> Response:
        """Answers with the page of a session."""
        session = await run_sync(self._open, request)
        home = None if self._store is None else "all/" if "id" not in request.path_params else "../../"

        def pieces() -> Any:
            with session:
                if self._allow_gaps and is_damaged(session):  # its rows are not those of the log, which events name
                    yield from page_of(MendedSession(session), home=home)
                else:
                    yield from page_of(session, connect="events", home=home)

        return StreamingResponse(pieces(), media_type="text/html; charset=utf-8")

    async def events(self, request: Request) -> Response:
        """Answers with what is appended to a session, as it is appended."""
        if request.method == "HEAD":  # it has no body, so nothing would ever end it
            return Response(media_type="text/event-stream")
        session = await run_sync(self._open, request)
        last, id = request.query_params.get("after", ""), request.query_params.get("id", "")
        row = int(last) if _ROW.fullmatch(last) else -1
        headers = {"x-accel-buffering": "no"}
        return StreamingResponse(_news(session, row, id), media_type="text/event-stream", headers=headers)

    def _of_store(self) -> SessionStore:
        assert self._store is not None, "routes of a store without one"
        return self._store

    def _open(self, request: Request) -> Session:
        id = request.path_params.get("id")
        if id is not None:
            return self._of_store().open(id, read_only=True)
        if self._log is None:
            raise SessionNotFound("there is no log here; the list has the sessions")
        return self._log()


async def _news(session: Session, row: int, id: str) -> AsyncIterator[bytes]:
    """Yields events while somebody listens, about what comes after a row, which has the entry with this id.

    The page has to be loaded again if the log was replaced, and the row has another entry.
    """
    replaced = session._client.journal.times_replaced

    def begin() -> News | None:
        is_same = row < 0 or session.outline().row(id) == row
        return News(session, row + 1) if is_same else None

    def look() -> bytes | None:
        session.refresh()
        is_same = news is not None and session._client.journal.times_replaced == replaced
        return news.since() if news is not None and is_same else _RELOAD

    try:
        news = await run_sync(begin)
        quiet_s = 0.0
        yield b": following\n\n"
        while True:
            found = await run_sync(look)
            if found is not None:
                yield b"data: " + found + b"\n\n"
                if found is _RELOAD:
                    return
                quiet_s = 0.0
                continue
            quiet_s += POLL_S
            if quiet_s > _QUIET_S:
                yield b": still here\n\n"
                quiet_s = 0.0
            await anyio.sleep(POLL_S)
    except ConvtreeError:
        return  # the page asks again, and is answered what is wrong
    finally:
        session.close()


def _address(id: str) -> str:
    return f"s/{quote(id, safe='')}/"


async def _failed(_request: Request, error: Exception) -> Response:
    """Answers with what is wrong with a log."""
    return PlainTextResponse(str(error), 404 if isinstance(error, SessionNotFound | InvalidMessage) else 500)
