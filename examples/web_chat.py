"""A chat in the browser: two tabs, streaming, stop, regenerate, a "2/3" switcher, and sub-agents.

Needs a web framework, but no key: pip install starlette uvicorn. Store and errors are those of service.py.

    CONVTREE_URL=chats python examples/web_chat.py        # then open http://127.0.0.1:8000

A question is stored before the model is asked. A reply is stored once, when it is complete, or as far as it was said
when it is stopped. A tab gets one stream of events: `token` while a model speaks, `changed` when anybody has stored
something. Every write names the leaf that its tab has seen; a tab that is behind gets 409. There are no accounts.
"""

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from html import escape
from secrets import token_hex
from typing import Any

import service
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from convtree import Context, ConvtreeError, EntryNotFound, InvalidMessage, MessageEntry, aio

SYSTEM = "You are a friendly assistant. Delegate research."
PACE_S = float(os.environ.get("PACE_S", "0.1"))  # of the model below, for each word

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Chat</title>
<style>body { max-width: 40em; margin: 2em auto; font: 1em sans-serif } .user { font-weight: bold }</style>
<a href="/">All chats</a> <div id="path"></div> <p id="error"></p>
<form><input id="text" size="60" placeholder="hello, or: research owls" autocomplete="off"><button>Send</button></form>
<script>
const at = id => document.getElementById(id), here = location.pathname
const make = (tag, fields, ...inside) => {
  const made = Object.assign(document.createElement(tag), fields)
  made.append(...inside)  // text is shown as text: nothing that was said becomes HTML
  return made
}
const button = (text, onclick) => make("button", {onclick, disabled: !onclick}, text)
let seen = null, said = {}, loads = 0, id = crypto.randomUUID()

async function post(call, body) {
  const answer = await fetch(`${here}/${call}`, {method: "POST", body: JSON.stringify(body)})
  at("error").textContent = answer.ok ? "" : (await answer.json()).says
  if (!answer.ok) await load()
  return answer.ok
}
const go = id => id && (() => post("switch", {entry_id: id, leaf_id: seen}))
const switcher = entry =>
  [button("<", go(entry.previous)), ` ${entry.number}/${entry.of} `, button(">", go(entry.next))]
const draw = entry => make("p", {className: entry.role}, `${entry.text} ${entry.status ?? ""} `,
  ...entry.of > 1 ? switcher(entry) : [],
  ...entry.role == "user" ? [button("answer again", () => post("replies", {reply_to: entry.id}))] : [],
  ...entry.tasks.map(task => make("a", {href: task.id}, `sub-agent: ${task.name} `)))
const drawSaid = () => at("said").replaceChildren(...Object.entries(said).map(([id, text]) =>
  make("p", {}, `${text} `, button("stop", () => post("stop", {reply_to: id})))))

async function load() {
  const number = ++loads, view = await (await fetch(`${here}/view`)).json()
  if (number != loads) return  // a later one is on its way
  seen = view.leaf_id; said = view.said
  at("path").replaceChildren(...view.entries.map(draw), make("div", {id: "said"}))
  drawSaid()
}
document.querySelector("form").onsubmit = async event => {
  event.preventDefault()
  const sent = await post("messages", {text: at("text").value, id, leaf_id: seen})
  id = crypto.randomUUID()  // there was an answer; without one, the next try is the same message
  if (sent) at("text").value = ""
}
const events = new EventSource(`${here}/events`)
events.addEventListener("changed", load)
events.addEventListener("token", event => {
  const token = JSON.parse(event.data), before = said[token.reply_to] ?? ""
  if (token.at > before.length) return load()  // it came while the view was on its way
  said[token.reply_to] = before.slice(0, token.at) + token.text
  drawSaid()
})
</script></html>
"""


async def model(context: Context) -> AsyncIterator[str | dict[str, Any]]:
    """Yields a reply in pieces: text, and calls of the tool `research`.

    A real one goes here, as `client.messages.stream(**context.to("anthropic"), model=…, tools=…)`.
    """
    last = context.to("openai-chat")["messages"][-1]
    delegates = last["role"] == "user" and last["content"].startswith("research ")
    for word in ("I ask a sub-agent." if delegates else f"You said: {last['content']}").split():
        await asyncio.sleep(PACE_S)
        yield f"{word} "
    if delegates:
        arguments = json.dumps({"topic": last["content"].removeprefix("research ")})
        yield {
            "id": f"call-{token_hex(4)}",
            "type": "function",
            "function": {"name": "research", "arguments": arguments},
        }


class Live:
    """A conversation in this process: the tabs that watch it, and by question what is being said, and by which task."""

    def __init__(self) -> None:
        self.tabs = set[asyncio.Queue[str | None]]()
        self.said = dict[str, str]()
        self.tasks = dict[str, asyncio.Task[None]]()

    def tell(self, event: str, **data: Any) -> None:
        for tab in self.tabs:
            tab.put_nowait(f"event: {event}\ndata: {json.dumps(data)}\n\n")


LIVE = defaultdict[str, Live](Live)  # by session id


async def answer(store: aio.SessionStore, session: aio.Session, question: str, live: Live) -> MessageEntry:
    """Has the model and its sub-agents answer, and stores what they say. Cancelled, it stores what was said so far."""
    asked = question
    while True:
        reply: dict[str, Any] = {"role": "assistant", "content": ""}
        try:
            async for piece in model(await session.build_context(leaf=asked)):
                if isinstance(piece, dict):
                    reply.setdefault("tool_calls", []).append(piece)
                else:
                    live.tell("token", reply_to=question, at=len(reply["content"]), text=piece)
                    reply["content"] += piece
                    live.said[question] = reply["content"]
        except asyncio.CancelledError:
            if reply["content"]:
                await session.append(reply, reply_to=asked, status="interrupted")
            raise
        entry = await asyncio.shield(session.append(reply, reply_to=asked, provider="none", model="parrot"))
        live.said[question] = ""
        if "tool_calls" not in reply:
            return entry
        results = [await delegate(store, session, entry, call) for call in reply["tool_calls"]]
        asked = (await session.append_many(results, reply_to=entry.id))[-1].id


async def delegate(
    store: aio.SessionStore, parent: aio.Session, asked: MessageEntry, call: dict[str, Any]
) -> dict[str, Any]:
    """Has a sub-agent do the work of a call, in a session of its own, and returns the result."""
    topic = json.loads(call["function"]["arguments"])["topic"]
    async with store.create_task(parent.id, asked.id, name=topic) as task:
        await task.set_system("You are a researcher. Answer in one sentence.")
        question = await task.append({"role": "user", "content": f"What is known about {topic}?"})
        LIVE[parent.id].tell("changed")
        found = await answer(store, task, question.id, Live())  # shown when it is stored, not word by word
    return {"role": "tool", "tool_call_id": call["id"], "content": found.text}


def start_reply(store: aio.SessionStore, id: str, question: str) -> None:
    """Has a question answered, in a task that no closed tab stops. Does nothing if one is at work already."""
    live = LIVE[id]

    async def run() -> None:
        try:
            async with store.open(id) as session:
                await answer(store, session, question, live)
        finally:
            del live.said[question], live.tasks[question]
            live.tell("changed")

    if question not in live.tasks:
        live.said[question] = ""
        live.tasks[question] = asyncio.create_task(run())
        live.tell("changed")


# --- where a request meets the session ---


def opened(request: Request, *, read_only: bool = False) -> aio.AwaitableContext[aio.Session]:
    return service.store_of(request).open(request.path_params["id"], read_only=read_only)


async def is_stored(session: aio.Session, id: str) -> bool:
    try:
        await session.entry(id)
    except EntryNotFound:
        return False
    return True


async def body_of(request: Request, *texts: str) -> dict[str, Any]:
    body = await request.json()
    if not isinstance(body, dict) or not all(isinstance(body.get(name), str) for name in texts):
        raise InvalidMessage(f"the body needs {' and '.join(texts)}, as text")
    return body


# --- requests ---


async def list_chats(request: Request) -> Response:
    chats = await service.store_of(request).list(limit=20)
    links = "".join(f'<li><a href="/{each.id}">{escape(each.first_user_message or "New chat")}</a>' for each in chats)
    return HTMLResponse(f'<!doctype html><title>Chats</title><form method="post"><button>New</button></form>{links}')


async def begin_chat(request: Request) -> Response:
    async with service.store_of(request).create() as session:
        await session.set_system(SYSTEM)
    return RedirectResponse(f"/{session.id}", 303)


async def show_page(request: Request) -> Response:
    async with opened(request, read_only=True):  # or 404
        return HTMLResponse(PAGE)


async def view(request: Request) -> Response:
    """Returns the path to the leaf with its sub-agents, and what is being said."""
    said = dict(LIVE[request.path_params["id"]].said)  # before the path: what was said meanwhile is in one of them
    async with opened(request, read_only=True) as session:
        tasks = defaultdict[str | None, list[Any]](list)
        for info in await service.store_of(request).children(session.id):
            if info.parent_session and info.parent_session.kind == "task":
                tasks[info.parent_session.entry_id].append({"id": info.id, "name": info.name})
        entries = [
            {
                "id": entry.id,
                "role": entry.role,
                "text": entry.text,
                "status": entry.status,
                "number": each.number,
                "of": each.of,
                "previous": each.previous,
                "next": each.next,
                "tasks": tasks[entry.id],
            }
            for each in await session.view()
            if isinstance(entry := each.entry, MessageEntry) and entry.role in ("user", "assistant")
        ]
        return JSONResponse({"leaf_id": session.leaf_id, "entries": entries, "said": said})


async def say(request: Request) -> Response:
    """Stores a message and has it answered. The id makes a retry safe."""
    body = await body_of(request, "text", "id")
    async with opened(request) as session:
        seen = service.id_in(body, "leaf_id")
        if is_new := not await is_stored(session, body["id"]):
            system = await session.set_system(SYSTEM, expect_leaf=seen)  # new if the chat is older than this text
            seen = system.id if system.id == session.leaf_id else seen
        question = await session.append({"role": "user", "content": body["text"]}, id=body["id"], expect_leaf=seen)
    if is_new:
        start_reply(service.store_of(request), session.id, question.id)
    return JSONResponse({"id": question.id}, 201)


async def regenerate(request: Request) -> Response:
    """Has a question answered again: the new reply is a sibling of the one before."""
    body = await body_of(request, "reply_to")
    async with opened(request, read_only=True) as session:
        question = await session.entry(body["reply_to"])
    start_reply(service.store_of(request), session.id, question.id)
    return JSONResponse({"id": question.id}, 202)


async def switch(request: Request) -> Response:
    """Goes to another alternative, and there to what was said last."""
    body = await body_of(request, "entry_id")
    async with opened(request) as session:
        await session.checkout(body["entry_id"], expect_leaf=service.id_in(body, "leaf_id"))
        return JSONResponse({"leaf_id": session.leaf_id})


async def stop(request: Request) -> Response:
    """Stops a reply. What was said is stored when this returns."""
    body = await body_of(request, "reply_to")
    task = LIVE[request.path_params["id"]].tasks.get(body["reply_to"])
    if task is not None:
        task.cancel()
        await asyncio.wait([task])
    return JSONResponse({"stopped": task is not None})


async def events(request: Request) -> Response:
    session = await opened(request, read_only=True)
    return StreamingResponse(watch(session), media_type="text/event-stream")


async def watch(session: aio.Session) -> AsyncGenerator[str, None]:
    """Yields what this process says in a conversation, and that anybody has stored something."""
    tab: asyncio.Queue[str | None] = asyncio.Queue()
    changed = "event: changed\ndata: {}\n\n"

    async def relay() -> None:
        try:
            async with aclosing(session.follow()) as records:
                async for _ in records:
                    tab.put_nowait(changed)
        finally:
            tab.put_nowait(None)  # the chat was deleted

    relaying = asyncio.create_task(relay())
    LIVE[session.id].tabs.add(tab)
    try:
        yield changed  # while the tab was away
        while (event := await tab.get()) is not None:
            yield event
    finally:
        LIVE[session.id].tabs.remove(tab)
        relaying.cancel()
        await asyncio.gather(relaying, return_exceptions=True)
        await session.close()


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Opens the store. At the end, stops what is being said."""
    async with service.lifespan(app):
        yield
        running = [task for live in LIVE.values() for task in live.tasks.values()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


app = Starlette(
    routes=[
        Route("/", list_chats),
        Route("/", begin_chat, methods=["POST"]),
        Route("/{id}", show_page),
        Route("/{id}/view", view),
        Route("/{id}/events", events),
        Route("/{id}/messages", say, methods=["POST"]),
        Route("/{id}/replies", regenerate, methods=["POST"]),
        Route("/{id}/switch", switch, methods=["POST"]),
        Route("/{id}/stop", stop, methods=["POST"]),
    ],
    exception_handlers={ConvtreeError: service.error_response, json.JSONDecodeError: service.error_response},
    lifespan=lifespan,
)

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")), timeout_graceful_shutdown=3)
