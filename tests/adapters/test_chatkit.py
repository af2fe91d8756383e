"""`ConvtreeStore` for ChatKit: threads as a store in memory has them, and trees for everybody else."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import example, printed

import convtree
from convtree import MessageEntry, open_store

pytest_plugins = ["stores"]

pytest.importorskip("chatkit")
adapter: Any = pytest.importorskip("convtree.adapters.chatkit")
Store: Any = adapter.ConvtreeStore
types: Any = pytest.importorskip("chatkit.types")
NotFound: Any = pytest.importorskip("chatkit.store").NotFoundError

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def run(running: Callable[[Any], Any]) -> Callable[[Callable[[Any], Awaitable[None]]], None]:
    """Runs an async function with a store, and closes that."""
    made: Callable[[Callable[[Any], Awaitable[None]]], None] = running(Store)
    return made


def thread(id: str = "thr_1", minutes: int = 0, **fields: Any) -> Any:
    return types.ThreadMetadata(id=id, created_at=START + timedelta(minutes=minutes), **fields)


def user(id: str, text: str, **fields: Any) -> Any:
    content = [types.UserMessageTextContent(text=text)]
    own = {"id": id, "thread_id": "thr_1", "created_at": START, "inference_options": types.InferenceOptions()}
    return types.UserMessageItem(content=content, **own, **fields)


def reply(id: str, text: str) -> Any:
    content = [types.AssistantMessageContent(text=text)]
    return types.AssistantMessageItem(id=id, thread_id="thr_1", created_at=START, content=content)


def call(id: str, **fields: Any) -> Any:
    own = {"id": id, "thread_id": "thr_1", "created_at": START, "call_id": f"call_{id}", "name": "look"}
    return types.ClientToolCallItem(arguments={"at": 1}, **own, **fields)


def end(id: str) -> Any:
    return types.EndOfTurnItem(id=id, thread_id="thr_1", created_at=START)


async def shown(store: Any, thread_id: str = "thr_1") -> list[Any]:
    page: Any = await store.load_thread_items(thread_id, None, 100, "asc", None)
    found: list[Any] = page.data
    return found


# --- a law: a store in memory ---

IDS = st.sampled_from(["i1", "i2", "i3", "é /.."])
ITEMS = st.builds(user, IDS, st.text(max_size=4)) | st.builds(reply, IDS, st.text(max_size=4)) | st.builds(end, IDS)
ITEMS |= st.builds(call, IDS) | st.builds(
    lambda name, out: call(name, status="completed", output=out), IDS, st.integers()
)
THREADS = st.sampled_from(["t1", "t 2"])
STEPS = st.lists(
    st.tuples(st.just("save_thread"), THREADS, st.integers(0, 3))
    | st.tuples(st.just("save_item"), THREADS, ITEMS)
    | st.tuples(st.just("save_item"), THREADS, ITEMS)
    | st.tuples(st.just("delete_thread_item"), THREADS, IDS)
    | st.tuples(st.just("delete_thread"), THREADS, st.none())
    | st.tuples(st.just("page"), THREADS, st.tuples(st.integers(1, 3), st.none() | IDS, st.booleans())),
    max_size=20,
)


@settings(max_examples=80, deadline=None)
@given(steps=STEPS)
def test_threads_are_those_of_a_store_in_memory(steps: list[tuple[str, str, Any]]) -> None:
    """Items stay in the order in which they came; a changed one keeps its place."""

    async def main() -> None:
        store, threads, contents = Store("memory:"), dict[str, Any](), dict[str, dict[str, Any]]()
        for kind, id, value in steps:
            known = contents.get(id)
            if kind == "save_thread":
                threads[id] = thread(id, minutes=threads[id].created_at.minute if id in threads else value)
                threads[id].title = f"title {value}"
                contents.setdefault(id, {})
                await store.save_thread(threads[id], None)
            elif kind == "delete_thread":
                await store.delete_thread(id, None)
                threads.pop(id, None)
                contents.pop(id, None)
            elif known is None:
                with pytest.raises(NotFound):
                    await store.add_thread_item(id, user("x", "x"), None)
            elif kind == "save_item":
                await store.save_item(id, value, None)
                known[value.id] = value
            elif kind == "delete_thread_item":
                await store.delete_thread_item(id, value, None)
                known.pop(value, None)
            elif value[1] is None or value[1] in known:
                await check_page(store, id, [*known.values()], *value)
            for each, items in contents.items():
                assert await shown(store, each) == [*items.values()]
                assert await store.load_thread(each, None) == threads[each]
            listed = (await store.load_threads(9, None, "asc", None)).data
            assert {each.id for each in listed} == set(threads)
            assert [each.created_at for each in listed] == sorted(each.created_at for each in threads.values())
        store.close()

    asyncio.run(main())


async def check_page(store: Any, id: str, expected: list[Any], limit: int, after: str | None, backwards: bool) -> None:
    ordered = expected[::-1] if backwards else expected
    start = 0 if after is None else [item.id for item in ordered].index(after) + 1
    page = await store.load_thread_items(id, after, limit, "desc" if backwards else "asc", None)
    assert page.data == ordered[start : start + limit]
    assert page.has_more == (len(ordered) > start + limit)
    assert page.after == (page.data[-1].id if page.has_more else None)


# --- what a tree adds ---


def test_a_retry_keeps_the_other_answer(run: Callable[[Any], None]) -> None:
    """ChatKit deletes the items behind the question, the last first."""

    async def main(store: Any) -> None:
        await store.save_thread(thread(title="Trip"), None)
        for item in (user("u1", "Where to?"), reply("a1", "Rome"), end("e1")):
            await store.add_thread_item("thr_1", item, None)
        for id in ("e1", "a1"):
            await store.delete_thread_item("thr_1", id, None)
        await store.add_thread_item("thr_1", reply("a2", "Oslo"), None)
        assert await shown(store) == [user("u1", "Where to?"), reply("a2", "Oslo")]
        with store.log("thr_1") as log:
            assert log.name == "Trip"
            assert [entry.text for entry in log.children("u1")] == ["Rome", "Oslo"]
        assert len(await store.branches("thr_1")) == 2
        await store.checkout("thr_1", "a1")
        assert [item.id for item in await shown(store)] == ["u1", "a1", "e1"]
        await store.branch("thr_1", "u1")
        assert [item.id for item in await shown(store)] == ["u1"]
        await store.branch("thr_1", None)
        assert await shown(store) == []
        with pytest.raises(convtree.EntryNotFound):
            await store.branch("thr_1", "nowhere")

    run(main)


def test_items_are_messages(run: Callable[[Any], None]) -> None:
    """A call and its result, an edited question, hidden context; an item deleted in the middle is sent to nobody."""

    async def main(store: Any) -> None:
        await store.save_thread(thread(), None)
        await store.add_thread_item("thr_1", user("u1", "Where?", quoted_text="a city"), None)
        await store.add_thread_item("thr_1", reply("a0", "Hm"), None)
        await store.add_thread_item("thr_1", call("c1"), None)
        await store.save_item("thr_1", call("c1", status="completed", output={"city": "Rome"}), None)
        hidden = types.SDKHiddenContextItem(id="h", thread_id="thr_1", created_at=START, content="It was cancelled.")
        await store.add_thread_item("thr_1", hidden, None)
        await store.add_thread_item("thr_1", end("e1"), None)
        await store.delete_thread_item("thr_1", "a0", None)
        await store.save_item("thr_1", user("u1", "Where to?"), None)
        assert [item.id for item in await shown(store)] == ["u1", "c1", "h", "e1"]
        with store.log("thr_1") as log:
            messages = log.build_context().to("openai-chat")["messages"]
            assert [message["role"] for message in messages] == ["assistant", "tool", "user", "user"]
            assert [message["content"] for message in messages][1:] == [
                *('{"city": "Rome"}', "It was cancelled.", "Where to?")
            ]
            assert log.entry("u1").text == "> a city\n\nWhere?"
            assert log.entry("h").visible_to == "model"
            log.hide("h")
        assert (await store.load_item("thr_1", "c1", None)).output == {"city": "Rome"}
        with pytest.raises(NotFound):
            await store.load_item("thr_1", "a0", None)
        assert [item.id for item in await shown(store)] == ["u1", "c1", "e1"]

    run(main)


# --- what is stored ---


def test_names_that_json_cannot_hold_are_cleaned(tmp_path: Path) -> None:
    """Half an emoji in names, bytes that are not UTF-8: cleaned, with a finding. What has no end is refused."""

    async def main() -> None:
        store = Store(tmp_path)
        odd, clean = {"k\ud83d": 1, "k\\ud83d": b"\xff"}, {"k\\ud83d_": 1, "k\\ud83d": "\\xff"}
        await store.save_thread(thread("t", metadata={"m": odd}), None)
        assert (await store.load_thread("t", None)).metadata == {"m": clean}
        findings = [
            "a name with a lone surrogate was escaped",
            "bytes that are not UTF-8 were escaped",
        ]
        with store.log("t") as log:
            assert log.metadata["chatkit.cleaned"] == [
                *(f"metadata.m: {findings[0]}", f"metadata.m.k\\ud83d: {findings[1]}")
            ]
        made = call("c1", status="completed", output=odd).model_copy(update={"arguments": {"a": odd}})
        await store.add_thread_item("t", made, None)
        item = await store.load_item("t", "c1", None)
        assert (item.arguments, item.output) == ({"a": clean}, clean)
        with store.log("t") as log:
            assert (log.path(type=MessageEntry)[0].extra or {})["cleaned"] == [
                *(f"arguments.a: {findings[0]}", f"arguments.a.k\\ud83d: {findings[1]}"),
                *(f"output: {findings[0]}", f"output.k\\ud83d: {findings[1]}"),
            ]
        circle: list[Any] = [1]
        circle.append({"x": circle})
        with pytest.raises(convtree.InvalidMessage, match=r"^output\[1\]\.x: the value contains itself"):
            await store.add_thread_item("t", call("c2", status="completed").model_copy(update={"output": circle}), None)
        with pytest.raises(convtree.InvalidMessage, match=r"^metadata\.m\[1\]\.x: the value contains itself"):
            await store.save_thread(thread("u", metadata={"m": circle}), None)
        await store.save_thread(thread("t", metadata={"m": [1]}), None)  # and nothing was changed in this one
        loaded = await store.load_thread("t", None)
        loaded.metadata["m"].append("a change that was not saved")
        assert (await store.load_thread("t", None)).metadata == {"m": [1]}
        with store.log("t") as log:
            assert "chatkit.cleaned" not in log.metadata
        store.close()

    asyncio.run(main())


def test_attachments_owners_and_odd_values(tmp_path: Path) -> None:
    """Threads and attachments of others are not found; half an emoji is cleaned; attachments are in no list."""

    async def main() -> None:
        with open_store(tmp_path) as given_store:
            store = Store(given_store, owner=lambda context: context)
            await store.save_thread(thread("a/b", title="half \ud83d", metadata={"n": float("nan")}), "ada")
            await store.add_thread_item("a/b", user("u 1", "half \ud83d"), "ada")
            await store.add_thread_item("a/b", call("c1", status="completed", output={1, 2}), "ada")
            assert (await store.load_thread("a/b", "ada")).title == "half \ufffd"
            (item, _) = (await store.load_thread_items("a/b", None, 9, "asc", "ada")).data
            assert item.content[0].text == "half \ufffd"
            file = types.FileAttachment(id="f 1", name="map.pdf", mime_type="application/pdf")
            await store.save_attachment(file, "ada")
            await store.save_attachment(file.model_copy(update={"thread_id": "a/b"}), "ada")
            assert (await store.load_attachment("f 1", "ada")).thread_id == "a/b"
            assert len(given_store.list().sessions) == 1
            for asked in (
                store.load_thread("a/b", "bob"),
                store.load_thread_items("a/b", None, 9, "asc", "bob"),
                store.load_attachment("f 1", "bob"),
            ):
                with pytest.raises(NotFound):
                    await asked
            assert (await store.load_threads(9, None, "desc", "bob")).data == []
            await store.delete_attachment("f 1", "ada")
            with pytest.raises(NotFound):
                await store.load_attachment("f 1", "ada")
            with pytest.raises(convtree.InvalidMessage, match="limit"):
                await store.add_thread_item("a/b", user("u2", "x" * 17_000_000), "ada")
            store.close()
            with pytest.raises(RuntimeError, match="ConvtreeStore is closed"):
                await store.load_thread("a/b", "ada")
            assert len(given_store.list().sessions) == 1

    asyncio.run(main())


def test_pages_of_threads(run: Callable[[Any], None]) -> None:
    """By the time of the thread, not of its last item; a cursor that is gone is not found."""

    async def main(store: Any) -> None:
        for number in (3, 1, 2):
            await store.save_thread(thread(f"t{number}", minutes=number), None)
        first = await store.load_threads(2, None, "desc", None)
        assert ([each.id for each in first.data], first.has_more, first.after) == (["t3", "t2"], True, "t2")
        rest = await store.load_threads(2, first.after, "desc", None)
        assert ([each.id for each in rest.data], rest.has_more, rest.after) == (["t1"], False, None)
        await store.delete_thread("t2", None)
        with pytest.raises(NotFound):
            await store.load_threads(2, "t2", "desc", None)

    run(main)


# --- at the same time, crashes and cancelling ---

WRITER = """
import asyncio, sys
from datetime import datetime, UTC
from chatkit.types import *
from convtree.adapters.chatkit import ConvtreeStore
async def main(where, name, count):
    store = ConvtreeStore(where)
    for number in range(count):
        own = {"id": f"{name}-{number}", "thread_id": "thr_1", "created_at": datetime.now(UTC)}
        output = {"call_id": f"c{number}", "name": "look", "arguments": {}, "status": "completed", "output": 1}
        await store.add_thread_item("thr_1", ClientToolCallItem(**own, **output), None)
        print(number, flush=True)
asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def test_killed_and_parallel_writers_lose_nothing(place: str) -> None:
    """Items of two processes follow each other; a killed one has stored each call with its result, or neither."""

    def start(name: str, count: int) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", WRITER, place, name, str(count)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    async def main() -> None:
        store = Store(place)
        await store.save_thread(thread(), None)
        assert [process.wait() for process in [start("a", 10), start("b", 10)]] == [0, 0]
        ids = [item.id for item in await shown(store)]
        for name in "ab":
            assert [id for id in ids if id[0] == name] == [f"{name}-{number}" for number in range(10)]
        writer = start("c", 10_000)
        assert writer.stdout is not None
        for _ in range(5):
            writer.stdout.readline()
        writer.kill()
        acknowledged = max([4, *map(int, writer.stdout.read().split())])
        writer.wait()
        ids = [item.id for item in (await store.load_thread_items("thr_1", None, 10_000, "asc", None)).data]
        assert ids[20:] == [f"c-{number}" for number in range(len(ids) - 20)]
        assert len(ids) - 20 > acknowledged
        with store.log("thr_1") as log:
            roles = [entry.role for entry in log.path(type=MessageEntry)]
        assert roles == ["assistant", "tool"] * len(ids)
        store.close()

    asyncio.run(main())


def test_a_cancelled_caller_waits_for_the_outcome(place: str) -> None:
    """So when the cancellation arrives, the item is stored or will never be."""

    async def main() -> None:
        store, outcomes = Store(place), set()
        await store.save_thread(thread(), None)
        for number in range(20):
            task = asyncio.create_task(store.add_thread_item("thr_1", user(f"{number}", "x"), None))
            for _ in range(number % 3):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            seen = await shown(store)
            await asyncio.sleep(0.002)
            assert await shown(store) == seen
            outcomes.add(f"{number}" in [item.id for item in seen])
        assert True in outcomes
        store.close()

    asyncio.run(main())


def test_a_server_of_chatkit(tmp_path: Path) -> None:
    """A thread, a retry and a list through ChatKit's own server; people can read the result."""
    server_type: Any = pytest.importorskip("chatkit.server").ChatKitServer
    answers = iter(["Rome", "Oslo"])

    class Server(server_type):  # type: ignore[misc]
        async def respond(self, thread: Any, input_user_message: Any, context: Any) -> Any:
            del input_user_message
            id = self.store.generate_item_id("message", thread, context)
            item = reply(id, f"To {next(answers)}, by train.").model_copy(update={"thread_id": thread.id})
            yield types.ThreadItemDoneEvent(item=item)

    async def ask(server: Any, type: str, **params: Any) -> bytes:
        adapter: Any = pytest.importorskip("pydantic").TypeAdapter(types.ChatKitReq)
        request = adapter.validate_python({"type": type, "params": params})
        result = await server.process(request.model_dump_json(), None)
        if hasattr(result, "json"):
            found: bytes = result.json
            return found
        return b"".join([chunk async for chunk in result])

    async def main() -> str:
        store = Store(tmp_path)
        server = Server(store=store)
        text = {"type": "input_text", "text": "Where shall we go?"}
        asked = {"content": [text], "attachments": [], "inference_options": {}}
        assert b"To Rome" in await ask(server, "threads.create", input=asked)
        (info,) = (await store.load_threads(9, None, "desc", None)).data
        question, _ = await shown(store, info.id)
        assert b"To Oslo" in await ask(server, "threads.retry_after_item", thread_id=info.id, item_id=question.id)
        assert b"To Oslo" in await ask(server, "threads.get_by_id", thread_id=info.id)
        assert [branch.leaf.text for branch in await store.branches(info.id)] == [
            "To Rome, by train.",
            "To Oslo, by train.",
        ]
        store.close()
        thread_id: str = info.id
        return thread_id

    path = str(tmp_path / f"{asyncio.run(main())}.jsonl")
    for command, expected in (
        (["inspect", path], "Where shall we go?"),
        (["search", "-s", str(tmp_path), "Oslo"], "by train"),
        (["export", path, "--to", "markdown"], "To Oslo, by train."),
    ):
        assert expected in printed(*command)


def test_the_example_runs() -> None:
    """It has a client's tool, a retry, an edit and a crash, and shows the result."""
    done = example("chatkit_adapter.py")
    assert "all are kept: ['To the sea.', 'To the hills.', 'To a museum.']" in done.stdout
    assert "4 prompts, 5 tool calls" in done.stdout
