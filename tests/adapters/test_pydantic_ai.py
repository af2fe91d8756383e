"""`ConvtreeConversationStore` for pydantic-ai: the store in memory is the law, and its own agents run on it."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from crashing import KINDS, killed_while_writing
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import example, printed

import convtree
from convtree import MessageEntry, open_store, session_key

pytest_plugins = ["stores"]

pytest.importorskip("pydantic_ai.conversation_store")
conversations: Any = pytest.importorskip("pydantic_ai.conversation_store")
m: Any = pytest.importorskip("pydantic_ai.messages")
adapter: Any = pytest.importorskip("convtree.adapters.pydantic_ai")
ai: Any = pytest.importorskip("pydantic_ai")
Conversation: Any = pytest.importorskip("pydantic_ai.conversation").Conversation
ConversationTypeAdapter: Any = pytest.importorskip("pydantic_ai.conversation").ConversationTypeAdapter
FunctionModel: Any = pytest.importorskip("pydantic_ai.models.function").FunctionModel
RequestUsage: Any = pytest.importorskip("pydantic_ai.usage").RequestUsage
Deferred: Any = pytest.importorskip("pydantic_ai.tools").DeferredToolRequests
Store: Any = adapter.ConvtreeConversationStore
Conflict: Any = conversations.ConversationConflict

run: Callable[[Any], Any] = asyncio.run


def user(text: str) -> Any:
    return m.ModelRequest(parts=[m.UserPromptPart(text)])


def answer(text: str) -> Any:
    usage = RequestUsage(input_tokens=10, output_tokens=1)
    return m.ModelResponse(parts=[m.TextPart(text)], usage=usage, model_name="gpt-5", provider_name="openai")


def texts(conversation: Any) -> list[str]:
    return [message.parts[0].content for message in conversation.messages]


# --- the law: whatever is done, the answers are those of InMemoryConversationStore ---

IDS = ["trip", "user@example.com", "a/b", "日本", "x" * 200, "", session_key("a/b")]
SCOPES = [None, "ann", "ann@example.com", ""]
POOL = [user("q"), answer("a"), user("q"), m.ModelResponse(parts=[m.ToolCallPart("look", {"at": [1]}, "c1")])]
POOL += [m.ModelRequest(parts=[m.ToolReturnPart("look", {"found": [1.5, None, "é"]}, "c1")]), answer("b")]

id_ = st.sampled_from([*IDS[:1] * 8, *IDS[1:3] * 2, *IDS[3:]])
scope_ = st.sampled_from([*[None] * 9, *SCOPES])
copy_ = st.sampled_from([*[-1] * 6, -2, -2, -3, 0, 1, 2])  # of those that were loaded or saved, however stale
place_ = st.integers(0, 4)
entry_ = st.integers(-12, 30)
some_ = st.lists(st.integers(0, len(POOL) - 1), max_size=3)
limit_ = st.sampled_from([*[None] * 6, -1, 0, 1, 2, 3])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), id_, some_, scope_),
        st.tuples(st.just("load"), id_, limit_, scope_),
        st.tuples(st.just("entries"), id_, limit_, scope_),
        st.tuples(st.just("extend"), copy_, some_, scope_),
        st.tuples(st.just("rewrite"), copy_, place_, st.integers(0, len(POOL) - 1)),
        st.tuples(st.just("serialize"), copy_, some_),
        st.tuples(st.just("defer"), copy_),
        st.tuples(st.just("branch"), copy_, place_, scope_),
        st.tuples(st.just("branch to"), copy_, entry_),
        st.tuples(st.just("fork"), id_, st.none() | place_, st.none() | id_, scope_, scope_),
        st.tuples(st.just("fork from"), id_, entry_, st.none() | id_),
        st.tuples(st.just("list"), scope_, limit_),
        st.tuples(st.just("delete"), id_, scope_),
        st.tuples(st.just("entry"), entry_),
    ),
    min_size=6,
    max_size=24,
)


class Both:
    """A store in memory and one of convtree, and what they have in common under different ids."""

    def __init__(self, store: Any) -> None:
        self.stores = (conversations.InMemoryConversationStore(), store)
        self.same: dict[str, str] = {}  # the id in memory for one in convtree
        self.copies: list[tuple[Any, Any]] = []
        self.entries: list[tuple[str, str]] = [("nowhere", "nowhere")]
        self.known: dict[str, int] = {}

    async def do(self, call: Callable[[Any, int], Awaitable[Any]]) -> tuple[Any, Any]:
        """Makes a call of both stores. Both return the same, or raise the same."""
        results: list[Any] = []
        shown: list[Any] = []
        for side, store in enumerate(self.stores):
            try:
                results.append(await call(store, side))
            except (conversations.UserError, KeyError) as error:
                results.append(None)
                shown.append((type(error), self.translated(str(error))))
            else:
                if isinstance(results[-1], list):
                    for entry in results[-1]:
                        self.note(entry, side)
                shown.append(self.plain(results[-1]))
        assert shown[0] == shown[1]
        return results[0], results[1]

    def note(self, entry: Any, side: int) -> None:
        """Learns which entries are the same: those that the two stores return at the same place."""
        if not isinstance(entry, conversations.ConversationEntry) or entry.id in self.known:
            return
        self.known[entry.id] = side
        if side == 0:
            self.entries.append((entry.id, ""))
        else:
            place = next(index for index, pair in enumerate(self.entries) if pair[1] == "")
            self.entries[place] = (self.entries[place][0], entry.id)
            self.same[entry.id] = self.entries[place][0]

    def translated(self, text: str) -> str:
        for ours, theirs in self.same.items():
            text = text.replace(ours, theirs)
        return text

    def plain(self, value: Any) -> Any:
        """Returns what has to be equal: all but revisions and times."""
        if isinstance(value, list):
            return [self.plain(each) for each in value]
        if isinstance(value, conversations.ConversationEntry):
            return (self.same.get(value.id, value.id), self.same.get(value.parent_id, value.parent_id), value.message)
        if isinstance(value, conversations.ConversationRecord):
            ends = [self.same.get(id, id) for id in (value.head_id, value.forked_at, *value.branches)]
            pending = value.deferred_tool_requests
            return (value.conversation_id, ends, value.usage, pending, value.scope, value.forked_from)
        if isinstance(value, Conversation):
            assert value.revision is not None
            pending = value.deferred_tool_requests
            return (value.conversation_id, value.messages, value.usage, pending, value.new_message_index)
        return value

    async def step(self, name: str, *given: Any) -> None:
        if name in ("begin", "extend", "rewrite", "serialize", "defer"):
            await self.save(name, *given)
        elif name in ("branch", "branch to"):
            await self.branch(name, *given)
        elif name == "load":
            id, limit, scope = given
            self.keep(await self.do(lambda store, _: store.load(id, limit=limit, scope=scope)))
        elif name == "entries":
            id, limit, scope = given
            await self.do(lambda store, _: store.load_entries(id, limit=limit, scope=scope))
        elif name == "fork":
            id, at, new_id, scope, source = given
            new_id = f"fork {len(self.copies)}" if new_id is None else new_id
            how = {"at": at, "new_conversation_id": new_id, "scope": scope, "source_scope": source}
            self.keep(await self.do(lambda store, _: store.fork(id, **how)))
        elif name == "fork from":
            id, place, new_id = given
            new_id = f"fork {len(self.copies)}" if new_id is None else new_id
            pair = self.entries[place % len(self.entries)]
            self.keep(
                await self.do(lambda store, side: store.fork(id, from_entry=pair[side], new_conversation_id=new_id))
            )
        elif name == "list":
            scope, limit = given
            await self.do(lambda store, _: store.list_conversations(scope=scope, limit=limit))
        elif name == "delete":
            id, scope = given
            await self.do(lambda store, _: store.delete(id, scope=scope))
        else:
            pair = self.entries[given[0] % len(self.entries)]
            found = [await entry_or_none(store, pair[side]) for side, store in enumerate(self.stores)]
            assert self.plain(found[0]) == self.plain(found[1])

    async def save(self, name: str, which: Any, *given: Any) -> None:
        scope = None
        if name == "begin":
            some, scope = given
            new = [POOL[each] for each in some]
            pair = (Conversation(conversation_id=which, messages=new), Conversation(conversation_id=which))
            pair[1].messages = list(new)
            self.copies.append(pair)
        elif not self.copies:
            return
        else:
            which %= len(self.copies)
            pair = self.copies[which]
        for side, conversation in enumerate(pair):
            if name in ("extend", "serialize"):
                conversation.messages += [POOL[each] for each in given[0]]
            if name == "rewrite" and conversation.messages:
                conversation.messages[given[0] % len(conversation.messages)] = POOL[given[1]]
            if name == "defer":
                conversation.usage.tool_calls += 1
                conversation.usage.details["x"] = 2
                conversation.deferred_tool_requests = Deferred(
                    calls=[m.ToolCallPart("look", {"at": 1}, "c9")], metadata={"c9": {"why": [1]}}
                )
            if name == "serialize":  # as an application does that keeps it in a session of its own
                written = ConversationTypeAdapter.dump_json(conversation)
                read = ConversationTypeAdapter.validate_json(written)
                self.copies[which] = (read, pair[1]) if side == 0 else (self.copies[which][0], read)
        pair = self.copies[-1] if name == "begin" else self.copies[which]
        if name == "extend":
            scope = given[1]
        await self.do(lambda store, side: store.save(pair[side], scope=scope))

    async def branch(self, name: str, which: int, place: int, scope: str | None = None) -> None:
        if not self.copies:
            return
        pair = self.copies[which % len(self.copies)]
        entry = self.entries[place % len(self.entries)]

        def call(store: Any, side: int) -> Awaitable[Any]:
            where = {"at": place, "scope": scope} if name == "branch" else {"from_entry": entry[side]}
            id, revision = pair[side].conversation_id, pair[side].revision
            branched: Awaitable[Any] = store.branch(id, expected_revision=revision, **where)
            return branched

        self.keep(await self.do(call))

    def keep(self, pair: tuple[Any, Any]) -> None:
        if pair[0] is not None:
            self.copies.append(pair)


async def entry_or_none(store: Any, id: str) -> Any:
    try:
        return await store.read_entry(id)
    except KeyError:
        return None


def check_law(where: str, steps: list[tuple[Any, ...]]) -> None:
    async def main() -> None:
        store = Store(where)
        both = Both(store)
        for step in (("begin", "trip", [0, 1, 2, 3], None), *steps):
            await both.step(*step)
        await both.step("list", None, None)
        for id in IDS:
            await both.step("entries", id, None, None)
            await both.step("load", id, 2, None)
        store.close()

    run(main())


@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
def test_it_answers_as_the_store_in_memory(steps: list[tuple[Any, ...]]) -> None:
    """Twelve kinds of operation and more: stale copies, windows, rewrites, forks into existing ids, odd ids."""
    check_law("memory:", steps)


@pytest.mark.parametrize("kind", KINDS)
def test_it_answers_so_elsewhere(kind: str, new_place: Callable[[str], str]) -> None:
    """On a disk and on a server."""

    @settings(max_examples=12, deadline=None)
    @given(steps=STEPS)
    def check(steps: list[tuple[Any, ...]]) -> None:
        check_law(new_place(kind), steps)

    check()


# --- several writers ---


def test_racing_saves_lose_nothing(place: str) -> None:
    """Two stores on one folder, each with two tasks: the loser of a race loads again, and every message is there."""
    writers, each = 4, 15

    async def main() -> None:
        stores = [Store(open_store(place, create=True)), Store(open_store(place, create=True))]
        await stores[0].save(Conversation(conversation_id="s", messages=[user("begin")]))
        conflicts = 0

        async def write(writer: int) -> None:
            nonlocal conflicts
            for number in range(each):
                while True:
                    conversation = await stores[writer % 2].load("s")
                    conversation.messages += [user(f"{writer}-{number}")]
                    try:
                        await stores[writer % 2].save(conversation)
                        break
                    except Conflict:
                        conflicts += 1

        await asyncio.gather(*map(write, range(writers)))
        said = texts(await stores[0].load("s"))
        assert said[0] == "begin"
        assert sorted(said[1:]) == sorted(f"{writer}-{number}" for writer in range(writers) for number in range(each))
        for writer in range(writers):
            own = [text for text in said if text.startswith(f"{writer}-")]
            assert own == [f"{writer}-{number}" for number in range(each)]
        assert (await stores[1].read_record("s")).branches == []
        assert conflicts > 0

    run(main())


RACER = """
import asyncio, sys
from convtree.adapters.pydantic_ai import ConvtreeConversationStore
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationConflict
from pydantic_ai.messages import ModelRequest, UserPromptPart
async def main(place, name):
    store = ConvtreeConversationStore(place)
    for number in range(10):
        while True:
            conversation = await store.load("s") or Conversation(conversation_id="s")
            conversation.messages += [ModelRequest(parts=[UserPromptPart(f"{name}-{number}")])]
            try:
                await store.save(conversation)
                break
            except ConversationConflict:
                pass
    store.close()
asyncio.run(main(*sys.argv[1:]))
"""


def test_racing_processes_lose_nothing(place: str) -> None:
    """Two of them begin and continue one conversation."""
    racers = [subprocess.Popen([sys.executable, "-c", RACER, place, name]) for name in "ab"]
    assert [racer.wait() for racer in racers] == [0, 0]

    async def main() -> None:
        store = Store(place)
        said = texts(await store.load("s"))
        assert [text for text in said if text[0] == "a"] == [f"a-{number}" for number in range(10)]
        assert [text for text in said if text[0] == "b"] == [f"b-{number}" for number in range(10)]
        assert len(said) == 20
        store.close()

    run(main())


@pytest.mark.parametrize("operation", ["begin", "save", "branch", "delete", "fork"])
def test_of_two_racing_calls_one_wins(operation: str, place: str) -> None:
    """The other one is told of a conflict, whatever both do."""

    async def main() -> None:
        stores = [Store(open_store(place, create=True)), Store(open_store(place, create=True))]
        for turn in range(8):
            id = f"s {turn}"
            conversation = Conversation(conversation_id=id, messages=[user("q"), answer("a")])
            if operation != "begin":
                await stores[0].save(conversation)
            copies = [deepcopy(conversation), deepcopy(conversation)]
            for number, copy in enumerate(copies):
                copy.messages.append(user(str(number)))

            def call(number: int, id: str = id, copies: list[Any] = copies) -> Awaitable[Any]:
                store, copy = stores[number], copies[number]
                calls = {
                    "begin": lambda: store.save(copy),
                    "save": lambda: store.save(copy),
                    "branch": lambda: store.branch(id, at=number, expected_revision=copy.revision),
                    "delete": lambda: store.delete_record(id, expected_revision=copy.revision),
                    "fork": lambda: store.fork(id, at=number, new_conversation_id=f"{id} fork"),
                }
                made: Awaitable[Any] = calls[operation]()
                return made

            results = await asyncio.gather(call(0), call(1), return_exceptions=True)
            assert sorted(isinstance(result, Conflict) for result in results) == [False, True], results
            winner = 0 if isinstance(results[1], Conflict) else 1
            left = await stores[1 - winner].load(f"{id} fork" if operation == "fork" else id)
            if operation == "delete":
                assert left is None
            else:
                kept = ["q", "a"][:winner] if operation in ("branch", "fork") else texts(copies[winner])
                assert texts(left) == kept

    run(main())


WRITER = """
import asyncio, sys
from convtree.adapters.pydantic_ai import ConvtreeConversationStore
from pydantic_ai.conversation import Conversation
from pydantic_ai.messages import ModelRequest, UserPromptPart
async def main():
    store = ConvtreeConversationStore(sys.argv[1])
    conversation = Conversation(conversation_id="s")
    for number in range(100000):
        conversation.messages += [ModelRequest(parts=[UserPromptPart(f"{number}-{part}")]) for part in range(3)]
        conversation.usage.requests = number + 1
        await store.save(conversation)
        print(number, flush=True)
asyncio.run(main())
"""


def test_a_killed_writer_loses_nothing_and_stores_no_half(place: str) -> None:
    """A save that was acknowledged is there, and every save is there with its record or not at all."""
    acknowledged = killed_while_writing(WRITER, place)

    async def main() -> None:
        store = Store(place)
        conversation = await store.load("s")
        saves = conversation.usage.requests
        assert saves > acknowledged
        assert texts(conversation) == [f"{number}-{part}" for number in range(saves) for part in range(3)]
        conversation.messages.append(user("after"))
        assert len(await store.save(conversation)) == 1
        store.close()

    run(main())


def test_a_cancelled_caller_waits_for_the_outcome(place: str) -> None:
    """So when the cancellation arrives, the messages are stored or will never be."""
    writing = threading.Event()

    def slowly(value: Any) -> Any:
        writing.set()
        time.sleep(0.01)
        return value

    async def main() -> None:
        given = open_store(place, create=True, redact=slowly)
        store = Store(given)
        conversation = Conversation(conversation_id="s")
        for number in range(5):
            conversation.messages.append(user(str(number)))
            writing.clear()
            task = asyncio.create_task(store.save(conversation))
            while not writing.is_set():
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            conversation = await store.load("s")
            assert texts(conversation) == [str(each) for each in range(number + 1)]
        given.close()

    run(main())


def test_it_runs_on_trio(where: str) -> None:
    """As on asyncio."""
    trio = pytest.importorskip("trio")

    async def main() -> None:
        store = Store(where)
        await store.save(Conversation(conversation_id="s", messages=[user("q")]))
        assert texts(await store.load("s")) == ["q"]
        store.close()

    trio.run(main)


# --- what a tree adds ---


def test_edit_and_regenerate_keep_the_sibling(where: str) -> None:
    """A question asked again is a second branch; the first can be gone back to, by an entry or a label."""

    async def main() -> None:
        store = Store(where)
        first = Conversation(conversation_id="trip", messages=[user("Where?"), answer("Rome")])
        await store.save(first)
        first.messages += [user("How long?"), answer("A week")]
        await store.save(first)
        with store.log("trip") as log:
            assert [entry.text for entry in log.path(type=MessageEntry)] == ["Where?", "Rome", "How long?", "A week"]
            log.label(log.path(type=MessageEntry)[-1].id, "a week")
        second = await store.branch("trip", at=2, expected_revision=first.revision)
        assert [branch.leaf.text for branch in await store.branches("trip")] == ["A week", "Rome"]
        second.messages.append(user("By train?"))
        await store.save(second)
        branches = await store.branches("trip")
        assert [(branch.leaf.text, branch.labels) for branch in branches] == [
            ("A week", ("a week",)),
            ("By train?", ()),
        ]
        back = await store.checkout("trip", "a week")
        assert texts(back) == ["Where?", "Rome", "How long?", "A week"]
        assert sorted(branch.leaf.text for branch in await store.branches("trip")) == ["A week", "By train?"]
        with store.log("trip") as log:
            assert len(log.leaves()) == 2
        with pytest.raises(Conflict):
            await store.save(second, scope=None)
        assert texts(await store.checkout("trip", branches[1].leaf.id)) == ["Where?", "Rome", "By train?"]
        with pytest.raises(convtree.EntryNotFound):
            await store.checkout("trip", "nowhere")
        with pytest.raises(convtree.SessionNotFound):
            await store.checkout("nowhere", "a week")
        with pytest.raises(convtree.SessionNotFound):
            await store.branches("nowhere")
        store.close()

    run(main())


def test_what_others_do_to_the_session_counts(where: str) -> None:
    """A move of the leaf, and messages of another program; both are seen as changes. Notes are none."""

    async def main() -> None:
        store = Store(where)
        conversation = Conversation(conversation_id="s", messages=[user("q"), answer("a"), user("r")])
        await store.save(conversation)
        with store.log("s") as log:
            log.rename("A name")
            log.append(convtree.ModelChangeEntry(provider="p", model="m"))
        conversation.messages.append(answer("b"))
        (entry,) = await store.save(conversation)
        with store.log("s") as log:
            first, second = log.path(type=MessageEntry)[:2]
            log.branch(second.id)
        moved = await store.load("s")
        assert texts(moved) == ["q", "a"]
        assert (await store.read_record("s")).branches == [entry.id]
        with pytest.raises(Conflict):
            await store.save(conversation)
        moved.messages.append(user("s"))
        await store.save(moved)
        assert texts(await store.load("s")) == ["q", "a", "s"]
        assert texts(await store.branch("s", from_entry=entry.id, expected_revision=moved.revision))[-1] == "b"
        with store.log("s") as log:
            log.append({"role": "user", "content": "of another shape"})
        with pytest.raises(conversations.UserError, match="another tool wrote it"):
            await store.load("s")
        with store.log("s") as log:
            log.branch(first.id)
        assert texts(await store.load("s")) == ["q"]
        store.close()

    run(main())


def test_a_message_that_is_hidden_later_is_not_loaded(where: str) -> None:
    """Until it is shown again; what is loaded can be gone on with."""

    async def main() -> None:
        store = Store(where)
        await store.save(Conversation(conversation_id="s", messages=[user("q"), answer("a"), user("r"), answer("b")]))
        with store.log("s") as log:
            hidden = log.path(type=MessageEntry)[1]
            log.hide(hidden)
        loaded = await store.load("s")
        assert texts(loaded) == ["q", "r", "b"]
        loaded.messages.append(user("s"))
        await store.save(loaded)
        assert texts(await store.load("s")) == ["q", "r", "b", "s"]
        with store.log("s") as log:
            log.show(hidden)
        assert texts(await store.load("s")) == ["q", "a", "r", "b", "s"]
        store.close()

    run(main())


def test_an_import_and_a_copy_are_conversations(tmp_path: Path) -> None:
    """Messages that came without a record go on, and so does a fork that convtree made."""
    messages = m.ModelMessagesTypeAdapter.dump_python([user("q"), answer("a")], mode="json")

    async def main() -> None:
        with open_store(tmp_path) as given:
            with given.create(id="import", owner="ann") as log:
                log.append_many(messages, shape="pydantic-ai")
            store = Store(given)
            conversation = await store.load("import", scope="ann")
            assert texts(conversation) == ["q", "a"]
            conversation.messages.append(user("r"))
            await store.save(conversation)
            assert [record.conversation_id for record in await store.list_conversations()] == ["import"]
            with store.log("import") as log:
                given.fork("import", log.path(type=MessageEntry)[1].id, new_id="fork").close()
                given.copy("import", "copy").close()
            found = {record.conversation_id for record in await store.list_conversations(scope="ann")}
            assert found == {"import", "fork", "copy"}
            assert texts(await store.load("fork")) == ["q", "a"]
            copy = await store.load("copy")
            copy.messages.append(answer("b"))
            await store.save(copy)
            assert [len((await store.load(id)).messages) for id in ("import", "fork", "copy")] == [3, 2, 4]

    run(main())


def test_scopes_are_owners(where: str) -> None:
    """So an owner's conversations can be erased; a fork for somebody else is theirs."""

    async def main() -> None:
        given = open_store(where, create=True)
        store = Store(given)
        await store.save(Conversation(conversation_id="s", messages=[user("q")]), scope="ann")
        await store.fork("s", new_conversation_id="f", scope="bob")
        assert {info.id: info.owner for info in given.list()} == {"s": "ann", "f": "bob"}
        theirs = Store(given.scoped(owner="bob"))
        assert [record.conversation_id for record in await theirs.list_conversations()] == ["f"]
        assert await theirs.load("s") is None
        with pytest.raises(Conflict):
            await theirs.save(Conversation(conversation_id="s", messages=[user("mine")]))
        record = await store.read_record("s")
        record.scope = "eve"
        with pytest.raises(conversations.UserError, match="fork it instead"):
            await store.write_record(record, expected_revision=record.revision)
        assert given.erase(owner="ann") == ["s"]
        assert await store.load("s") is None
        assert texts(await store.load("f")) == ["q"]
        given.hold("f")
        with pytest.raises(convtree.SessionHeld):
            await store.delete("f")
        store.close()
        given.close()

    run(main())


# --- what is stored ---


def test_what_json_cannot_hold_never_ends_a_run(where: str) -> None:
    """Half an emoji, NaN, an integer of 70 bits and an object of a class are cleaned, and the entry says so."""

    class Thing:
        def __repr__(self) -> str:
            return "a thing"

    async def main() -> None:
        store = Store(where)
        content = {"half": "\ud83d", "n": [2**70, float("nan")], "object": Thing(), "bytes": b"\xff"}
        result = m.ModelRequest(parts=[m.ToolReturnPart("look", content, "c1")])
        conversation = Conversation(conversation_id="s", messages=[user("q"), result])
        conversation.deferred_tool_requests = Deferred(metadata={"c": {"half": "\ud83d", "object": Thing()}})
        await store.save(conversation)
        loaded = await store.load("s")
        clean = {"half": "\ufffd", "n": ["1180591620717411303424", None], "object": "a thing", "bytes": "_w=="}
        assert loaded.messages[1].parts[0].content == clean
        assert loaded.deferred_tool_requests.metadata == {"c": {"half": "\ufffd", "object": "a thing"}}
        with store.log("s") as log:
            first, second = log.path(type=MessageEntry)
        assert first.extra is None
        assert second.extra == {
            "cleaned": [
                "a Thing became a text",
                "parts[0].content.half: a lone surrogate became U+FFFD",
                "parts[0].content.n[0]: an integer beyond 64 bits became a text",
                "parts[0].content.n[1]: nan became null",
            ]
        }
        fork = await store.fork("s", new_conversation_id="f")  # the record is cleaned again
        fork.messages.append(user("x" * 17_000_000))
        with pytest.raises(convtree.InvalidMessage, match="limit"):
            await store.save(fork)
        assert len((await store.load("f")).messages) == 2
        store.close()

    run(main())


def test_names_that_json_cannot_hold_are_cleaned(where: str) -> None:
    """Half an emoji in names; of two that become one both stay. What has no end is refused, with its place."""

    async def main() -> None:
        store = Store(where)
        odd, clean = {"k\ud83d": 1, "k\\ud83d": {"\udc00": b"a"}}, {"k\\ud83d_": 1, "k\\ud83d": {"\\udc00": "YQ=="}}
        call = m.ModelResponse(parts=[m.ToolCallPart("look", {"a": odd}, "c1")])
        result = m.ModelRequest(parts=[m.ToolReturnPart("look", odd, "c1", metadata=odd)])
        await store.save(Conversation(conversation_id="s", messages=[user("q"), call, result]))
        _, called, returned = (await store.load("s")).messages
        assert called.parts[0].args == {"a": clean}
        assert (returned.parts[0].content, returned.parts[0].metadata) == (clean, clean)
        with store.log("s") as log:
            assert (log.path(type=MessageEntry)[1].extra or {})["cleaned"] == [
                "parts[0].args.a: a name with a lone surrogate was escaped",
                "parts[0].args.a.k\\ud83d: a name with a lone surrogate was escaped",
            ]
            assert len((log.path(type=MessageEntry)[2].extra or {})["cleaned"]) == 4
        circle: list[Any] = [1]
        circle.append({"x": circle})
        deep: Any = 1
        for _ in range(5000):
            deep = [deep]
        for value, error in (
            (circle, r"^parts\[0\]\.args\.a\[1\]\.x: the value contains itself"),
            (deep, r"^parts\[0\]\.args\.a\[0\].*more than 128 levels"),
        ):
            endless = m.ModelResponse(parts=[m.ToolCallPart("look", {"a": value}, "c1")])
            with pytest.raises(convtree.InvalidMessage, match=error):
                await store.save(Conversation(conversation_id="t", messages=[user("q"), endless]))
        assert await store.load("t") is None
        store.close()

    run(main())


def test_entry_ids_may_be_any_text(where: str) -> None:
    """pydantic-ai makes its own; a program that writes records may have others."""

    async def main() -> None:
        store = Store(where)
        ids = ["user 1", "x" * 200, "plain"]
        entries = [
            conversations.ConversationEntry(id=id, parent_id=parent, message=user(id))
            for id, parent in zip(ids, [None, *ids], strict=False)
        ]
        record = conversations.ConversationRecord(conversation_id="s", head_id="plain", revision="rev 1")
        with pytest.raises(conversations.UserError, match="each has to follow"):
            await store.write_record(record, new_entries=entries[::-1], expected_revision=None)
        await store.write_record(record, new_entries=entries, expected_revision=None)
        assert await store.read_record("s") == record
        assert await store.read_history("plain") == entries
        assert await store.read_history("x" * 200, limit=1) == entries[1:2]
        assert await store.read_entry("user 1") == entries[0]
        with pytest.raises(KeyError):
            await store.read_entry("user 2")
        record.usage.requests = 5  # the same revision once more
        await store.write_record(record, expected_revision="rev 1")
        assert (await store.read_record("s")).usage.requests == 5
        lost = conversations.ConversationRecord(conversation_id="t", head_id="nowhere")
        with pytest.raises(Conflict):
            await store.write_record(lost, expected_revision=None)
        store.close()

    run(main())


def test_a_store_that_was_given_stays_open(tmp_path: Path) -> None:
    """One that was opened by path is closed with its last user, and a closed object says so."""

    async def main() -> None:
        with open_store(tmp_path) as given:
            store = Store(given)
            await store.save(Conversation(conversation_id="s", messages=[user("q")]))
            store.close()
            store.close()
            assert given.info("s").messages == 1
            for call in (store.load("s"), store.list_conversations(), store.branches("s"), store.delete("s")):
                with pytest.raises(RuntimeError, match="ConvtreeConversationStore is closed"):
                    await call
            with pytest.raises(RuntimeError):
                store.log("s")
        one, two = Store(tmp_path), Store(tmp_path)
        one.close()
        assert texts(await two.load("s")) == ["q"]
        two.close()

    run(main())


def test_no_private_method_of_the_base_is_replaced() -> None:
    """Its public methods are made of private ones, and a release may add more: only our own underscore is used."""
    own = {name for name in vars(Store) if not name.startswith("__")}
    assert {name for name in own if name.startswith("_")} <= {"_abc_impl"}
    assert own & set(vars(conversations.ConversationStore)) - {"_abc_impl"} == {
        *("read_record", "read_records", "write_record", "delete_record", "read_entry", "read_history")
    }


def test_a_run_with_a_tool(where: str) -> None:
    """pydantic-ai's agent goes on where it was stored; usage is counted, and every provider can read it."""
    replies = [
        m.ModelResponse(
            parts=[m.ToolCallPart("weather", {"city": "Rome"}, "c1")],
            usage=RequestUsage(input_tokens=10, output_tokens=1),
            model_name="gpt-5",
            provider_name="openai",
        ),
        answer("It is sunny."),
        answer("Rome."),
    ]
    agent = ai.Agent(FunctionModel(lambda *_: replies.pop(0), model_name="gpt-5"))

    @agent.tool_plain  # type: ignore[untyped-decorator]
    def weather(city: str) -> str:
        """Returns the weather."""
        return f"sunny in {city}"

    async def main() -> None:
        store = Store(where)
        first = await agent.run("Weather in Rome?", conversation=Conversation(conversation_id="trip"))
        assert first.output == "It is sunny."
        assert len(await store.save(first)) == 4
        second = await agent.run("Which city?", conversation=await store.load("trip"))
        assert len(await store.save(second)) == 2
        loaded = await store.load("trip")
        assert (loaded.usage.requests, loaded.usage.tool_calls, loaded.usage.input_tokens) == (3, 1, 30)
        with store.log("trip") as log:
            path = log.path(type=MessageEntry)
            assert [entry.role for entry in path] == ["user", "assistant", "tool", "assistant", "user", "assistant"]
            assert [entry.model for entry in path if entry.role == "assistant"] == ["gpt-5"] * 3
            for shape in ("anthropic", "openai-chat", "openai-responses", "gemini"):
                request = str(log.build_context().to(shape))
                assert all(text in request for text in ("Weather in Rome?", "sunny in Rome", "Which city?", "Rome."))
        store.close()

    run(main())


def test_people_can_read_it(tmp_path: Path) -> None:
    """`convtree inspect`, `search`, `usage` and `export` show a conversation of pydantic-ai."""

    async def main() -> None:
        store = Store(tmp_path)
        await store.save(
            Conversation(conversation_id="trip", messages=[user("Where shall we go?"), answer("To Rome, by train.")])
        )
        store.close()

    run(main())
    for command, text in (
        (["inspect", str(tmp_path / "trip.jsonl")], "Where shall we go?"),
        (["search", "-s", str(tmp_path), "train"], "by train"),
        (["export", str(tmp_path / "trip.jsonl"), "--to", "markdown"], "To Rome, by train."),
    ):
        assert text in printed(*command)
    with open_store(tmp_path) as store:
        (row,) = store.usage(by="model")
        assert (row.usage.input_tokens, row.usage.output_tokens) == (10, 1)


def test_the_example_runs() -> None:
    """It shows both branches, and what a process that died has said."""
    done = example("pydantic_ai_adapter.py")
    assert "both are kept: ['It is sunny in Rome.', 'It is sunny in Oslo.']" in done.stdout
    inspected = done.stdout[done.stdout.index("session trip") :]
    assert all(f"sunny in {city}" in inspected for city in ("Rome", "Oslo", "Pisa", "Bari"))
