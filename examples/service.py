"""A web service for conversations. Any number of workers and machines can serve the same tree.

Needs the extra `postgres` (or `sql`, or a folder) and a web framework: pip install '.[postgres]' starlette uvicorn

    python -c "import convtree; convtree.open_store('postgresql://…', create=True)"            # once
    CONVTREE_URL=postgresql://… uvicorn --app-dir examples --workers 4 --timeout-graceful-shutdown 3 service:app

    POST /sessions/ID/messages   {"message": {…}, "reply_to": …}   appends the reply to an entry: never a conflict
                                 {"message": {…}, "parent_id": …}  appends below an entry (null: a new root)
                                 {"message": {…}, "leaf_id": …}    appends at the leaf that the client has seen
    GET  /sessions/ID/context    the context at the leaf, or at ?leaf=…
    GET  /sessions/ID/branches   the leaves of all branches
    GET  /sessions/ID/events     new records, from now on or since Last-Event-ID, as server-sent events

Send an `id` with the message to make a retry safe. Status 409 means that another client, or another tab, moved the
leaf; the answer has the new one. The leaf is compared under the log's lock, so of two tabs one is refused. A reply
continues below notes that landed while the model thought, and becomes a sibling of what somebody said meanwhile. Each
request opens the session anew, so the workers share no state but the store.
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


def to_json(entry: Entry | Mark) -> dict[str, Any]:
    parent = {"parent_id": entry.parent_id} if isinstance(entry, Entry) else {}
    message = {"message": entry.message} if isinstance(entry, MessageEntry) else {}
    return {"id": entry.id, "type": entry.type, "timestamp": entry.timestamp, **parent, **message}


def id_in(body: dict[str, Any], name: str) -> str | None:
    if not isinstance(id := body.get(name), str | None):
        raise InvalidMessage(f"`{name}` is the id of an entry, or null")
    return id


async def append(request: Request) -> Response:
    body = await request.json()
    if not isinstance(body, dict) or not isinstance(message := body.get("message"), dict):
        raise InvalidMessage("the body needs `message`, a JSON object")
    id = id_in(body, "id")
    async with store_of(request).open(request.path_params["id"], create=True) as session:
        if (answered := id_in(body, "reply_to")) is not None:
            entry = await session.append(message, id=id, reply_to=answered)
        elif "parent_id" in body:
            entry = await session.append(message, id=id, parent_id=id_in(body, "parent_id"))
        else:  # StaleLeaf if another tab was faster
            entry = await session.append(message, id=id, expect_leaf=id_in(body, "leaf_id"))
    return JSONResponse(to_json(entry), 201)


async def get_context(request: Request) -> Response:
    async with store_of(request).open(request.path_params["id"], read_only=True) as session:
        leaf = request.query_params.get("leaf", session.leaf_id)
        context = await session.build_context(leaf=leaf)
    return JSONResponse({"leaf_id": leaf, "model": context.model, "messages": context.messages})


async def list_branches(request: Request) -> Response:
    async with store_of(request).open(request.path_params["id"], read_only=True) as session:
        leaves = await session.leaves()
        return JSONResponse({"leaf_id": session.leaf_id, "branches": [to_json(leaf) for leaf in leaves]})


async def follow(request: Request) -> Response:
    session = await store_of(request).open(request.path_params["id"], read_only=True)
    records = session.follow()  # starts here, however slowly the client reads
    return StreamingResponse(
        events(session, records, request.headers.get("last-event-id")), media_type="text/event-stream"
    )


async def events(
    session: aio.Session, new_records: AsyncGenerator[Entry | Mark, None], last_id: str | None
) -> AsyncIterator[str]:
    async with session, aclosing(new_records):
        if last_id is not None:
            is_new = False
            async for _, record in session.records():
                if is_new:
                    yield event(record)
                is_new = is_new or record.id == last_id
        async for record in new_records:
            yield event(record)


def event(record: Entry | Mark) -> str:
    return f"id: {record.id}\nevent: {record.type}\ndata: {json.dumps(to_json(record))}\n\n"


async def error_response(_: Request, error: Exception) -> Response:
    status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), 500)
    leaf = {"leaf_id": error.actual} if isinstance(error, StaleLeaf) else {}
    return JSONResponse({"error": type(error).__name__, "says": str(error), **leaf}, status)


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
    exception_handlers={ConvtreeError: error_response, json.JSONDecodeError: error_response},
    lifespan=lifespan,
)

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")), timeout_graceful_shutdown=3)
