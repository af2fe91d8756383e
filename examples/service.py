"""A web service that keeps conversations; any number of its workers and machines may serve the same tree.

    python -c "import convtree; convtree.open_store('postgresql://…', create=True)"            # once
    CONVTREE_URL=postgresql://… uvicorn --app-dir examples --workers 4 --timeout-graceful-shutdown 3 service:app

    POST /sessions/ID/messages   {"message": {…}, "parent_id": …}  appends below an entry (null: another beginning)
                                 {"message": {…}, "leaf_id": …}    goes on behind the leaf that the client has seen
    GET  /sessions/ID/context    what a model should see at the leaf, or at ?leaf=…
    GET  /sessions/ID/branches   where the conversation can be gone on with
    GET  /sessions/ID/events     what is appended from now on, or since Last-Event-ID, as server-sent events

An `id` beside the message makes it safe to send again. 409 means that somebody else has moved the leaf: the answer
says to where. A session is opened for every request and knows nothing of the one before: the store does.
"""

import json
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from convtree import (
    ConvtreeError,
    Entry,
    EntryNotFound,
    IdConflict,
    InvalidMessage,
    Mark,
    MessageEntry,
    SessionLocked,
    SessionNotFound,
    StaleLeaf,
    aio,
)

STATUS: dict[type[Exception], int] = {
    json.JSONDecodeError: 400,
    StaleLeaf: 409,
    IdConflict: 409,
    EntryNotFound: 404,
    SessionNotFound: 404,
    InvalidMessage: 422,
    SessionLocked: 503,
}


def store_of(request: Request) -> aio.SessionStore:
    store: aio.SessionStore = request.app.state.store
    return store


def shown(entry: Entry | Mark) -> dict[str, Any]:
    parent = {"parent_id": entry.parent_id} if isinstance(entry, Entry) else {}
    said = {"message": entry.message} if isinstance(entry, MessageEntry) else {}
    return {"id": entry.id, "type": entry.type, "timestamp": entry.timestamp, **parent, **said}


async def is_stored(session: aio.Session, id: str | None) -> bool:
    if id is None:
        return False
    try:
        await session.entry(id)
    except EntryNotFound:
        return False
    return True


async def append(request: Request) -> Response:
    body = await request.json()
    if not isinstance(body, dict) or not isinstance(message := body.get("message"), dict):
        raise InvalidMessage("a message is an object")
    id = body.get("id")
    async with store_of(request).open(request.path_params["id"], create=True) as session:
        if "parent_id" in body:
            entry = await session.append(message, id=id, parent_id=body["parent_id"])
        else:
            seen = body.get("leaf_id")
            if session.leaf_id != seen and not await is_stored(session, id):
                raise StaleLeaf("somebody else moved the leaf", expected=seen, actual=session.leaf_id)
            entry = await session.append(message, id=id)  # raises StaleLeaf if it was moved since we opened
    return JSONResponse(shown(entry), 201)


async def get_context(request: Request) -> Response:
    async with store_of(request).open(request.path_params["id"], read_only=True) as session:
        leaf = request.query_params.get("leaf", session.leaf_id)
        context = await session.build_context(leaf=leaf)
    return JSONResponse({"leaf_id": leaf, "model": context.model, "messages": context.messages})


async def list_branches(request: Request) -> Response:
    async with store_of(request).open(request.path_params["id"], read_only=True) as session:
        leaves = await session.leaves()
        return JSONResponse({"leaf_id": session.leaf_id, "branches": [shown(leaf) for leaf in leaves]})


async def follow(request: Request) -> Response:
    session = await store_of(request).open(request.path_params["id"], read_only=True)
    news = session.follow()  # from here on, however long the client takes to read
    return StreamingResponse(
        events(session, news, request.headers.get("last-event-id")), media_type="text/event-stream"
    )


async def events(
    session: aio.Session, news: AsyncGenerator[Entry | Mark, None], last_id: str | None
) -> AsyncIterator[str]:
    async with session, aclosing(news):
        if last_id is not None:
            missed = False
            async for _, record in session.records():
                if missed:
                    yield event(record)
                missed = missed or record.id == last_id
        async for record in news:
            yield event(record)


def event(record: Entry | Mark) -> str:
    return f"id: {record.id}\nevent: {record.type}\ndata: {json.dumps(shown(record))}\n\n"


async def refuse(_: Request, error: Exception) -> Response:
    status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), 500)
    where = {"leaf_id": error.actual} if isinstance(error, StaleLeaf) else {}
    return JSONResponse({"error": type(error).__name__, "says": str(error), **where}, status)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with aio.open_store(os.environ["CONVTREE_URL"]) as store:
        app.state.store = store
        yield


app = Starlette(
    routes=[
        Route("/sessions/{id}/messages", append, methods=["POST"]),
        Route("/sessions/{id}/context", get_context),
        Route("/sessions/{id}/branches", list_branches),
        Route("/sessions/{id}/events", follow),
    ],
    exception_handlers={ConvtreeError: refuse, json.JSONDecodeError: refuse},
    lifespan=lifespan,
)

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")), timeout_graceful_shutdown=3)
