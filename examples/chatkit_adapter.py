"""OpenAI's ChatKit over convtree: a client tool, an answer retried, an edit, a crash, and a look at what is stored.

Needs `pip install 'convtree[cli,chatkit]'`. Scripted answers stand for a model's, so no key is needed.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from chatkit.server import ChatKitServer, StreamingResult
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageItem,
    ChatKitReq,
    ClientToolCallItem,
    ThreadItemDoneEvent,
    ThreadMetadata,
    ThreadStreamEvent,
    UserMessageItem,
)
from pydantic import TypeAdapter

from convtree import MessageEntry
from convtree.adapters.chatkit import ConvtreeStore

CRASHED = 9


class Server(ChatKitServer[Any]):  # type: ignore[misc]  # where it is not installed
    """Asks the user's browser where they are, and then says what comes next in the script."""

    def __init__(self, store: ConvtreeStore, *answers: str) -> None:
        super().__init__(store=store)
        self.answers = iter(answers)

    async def respond(
        self, thread: ThreadMetadata, input_user_message: UserMessageItem | None, context: Any
    ) -> AsyncIterator[ThreadStreamEvent]:
        """Yields a call of the browser's tool for a question, and an answer for what that returned."""
        own: dict[str, Any] = {"thread_id": thread.id, "created_at": datetime.now(UTC)}
        if input_user_message is not None:
            id = self.store.generate_item_id("tool_call", thread, context)
            call = ClientToolCallItem(id=id, call_id=f"call-{id}", name="locate", arguments={"precise": False}, **own)
            yield ThreadItemDoneEvent(item=call)
            return
        id = self.store.generate_item_id("message", thread, context)
        content = [AssistantMessageContent(text=next(self.answers))]
        yield ThreadItemDoneEvent(item=AssistantMessageItem(id=id, content=content, **own))


async def send(server: Server, type: str, **params: Any) -> None:
    """What a web server does with the request of a browser. Here, nobody reads the stream."""
    request: Any = TypeAdapter(ChatKitReq).validate_python({"type": type, "params": params})
    result = await server.process(request.model_dump_json(), None)
    assert isinstance(result, StreamingResult)
    async for _ in result:
        pass


def said(text: str) -> dict[str, Any]:
    return {"content": [{"type": "input_text", "text": text}], "attachments": [], "inference_options": {}}


async def ask(server: Server, thread_id: str, question: str) -> None:
    """Asks, and answers the call of the browser's tool."""
    await send(server, "threads.add_user_message", thread_id=thread_id, input=said(question))
    await send(server, "threads.add_client_tool_output", thread_id=thread_id, result={"city": "Rome"})
    page = await server.store.load_thread_items(thread_id, None, 1, "desc", None)
    print(f"{question} {page.data[0].content[0].text}", flush=True)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = ConvtreeStore(folder)
        server = Server(store, "To the sea.", "To the hills.", "To a museum.")
        await store.save_thread(ThreadMetadata(id="thr_1", created_at=datetime.now(UTC), title="A day out"), None)
        await ask(server, "thr_1", "Where shall we go?")

        # ChatKit deletes the items behind the question, and has it answered anew. The first answer is still there.
        question = (await store.load_thread_items("thr_1", None, 1, "asc", None)).data[0]
        await send(server, "threads.retry_after_item", thread_id="thr_1", item_id=question.id)
        await send(server, "threads.add_client_tool_output", thread_id="thr_1", result={"city": "Rome"})

        await store.branch("thr_1", None)  # edit the question
        await ask(server, "thr_1", "Where shall we go, if it rains?")
        leaves = [branch.leaf for branch in await store.branches("thr_1")]
        print("all are kept:", [leaf.text for leaf in leaves if isinstance(leaf, MessageEntry)], flush=True)
        store.close()

        # A process that dies behind its answer loses nothing; the next one goes on.
        died = subprocess.run([sys.executable, __file__, folder], check=False)
        assert died.returncode == CRASHED
        store = ConvtreeStore(folder)
        await ask(Server(store, "A tram."), "thr_1", "And how do we get there?")
        store.close()

        subprocess.run([sys.executable, "-m", "convtree", "inspect", f"{folder}/thr_1.jsonl"], check=True)


async def die(folder: str) -> None:
    """The process that dies."""
    await ask(Server(ConvtreeStore(folder), "Pasta."), "thr_1", "And what shall we eat?")
    os._exit(CRASHED)


if __name__ == "__main__":
    asyncio.run(die(sys.argv[1]) if len(sys.argv) > 1 else main())
