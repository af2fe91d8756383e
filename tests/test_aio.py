"""convtree.aio: order, cancellation, and an event loop that is never blocked."""

import inspect
import random
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager, suppress
from contextvars import ContextVar
from itertools import pairwise
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from helpers import assistant, contents, ids, user
from loops import Run, Task, all_of, begin, gather, gave_up, in_thread, timeout
from loops import sleep as sleep_here

import convtree
from convtree import (
    EntryNotFound,
    IdConflict,
    InvalidMessage,
    MessageEntry,
    Session,
    SessionClosed,
    SessionExists,
    SessionLocked,
    SessionNotFound,
    StaleLeaf,
    aio,
)
from convtree._model import resources
from convtree.aio import _executor as executor
from convtree.stores._open import open_store
from convtree.stores._session_store import SessionStore

HOLD = """
import sys, convtree
with convtree.Session.open(sys.argv[1], exclusive=True, durability="process"):
    print("held", flush=True)
    sys.stdin.read()
"""


def queues() -> list[executor.SerialQueue]:
    """Every queue that is alive."""
    while True:
        with suppress(RuntimeError):  # a thread has just added one
            return [each for each in list(resources._WATCHED) if isinstance(each, executor.SerialQueue)]


@contextmanager
def held(path: Path) -> Iterator[Callable[[], None]]:
    """Another process holds the lock of a log; the function that it gives lets it go."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"

        def free() -> None:
            holder.communicate(timeout=20)

        try:
            yield free
        finally:
            if holder.poll() is None:
                free()


@pytest.fixture(autouse=True)
def nothing_is_left_running() -> Iterator[None]:
    """No test leaves a call behind that another would have to wait for."""
    yield
    for _ in range(2000):
        if not any(line._running for line in queues()):
            return
        sleep(0.01)
    raise AssertionError("a call is still running")


# --- the same names ---


def sort_of_sync(owner: type, name: str) -> str:
    """What kind of thing a name of a sync class should be for async callers."""
    if isinstance(inspect.getattr_static(owner, name), property):
        return "plain"
    returns = inspect.signature(getattr(owner, name)).return_annotation.removesuffix(" | None")
    if returns.startswith("AbstractContextManager"):
        return "shared"
    if returns in ("Session", "SessionStore"):
        return "opened"
    return "iterated" if returns.startswith("Iterator") else "awaited"


def sort_of(owner: type, name: str) -> str:
    """What kind of thing a name of an async class is."""
    if isinstance(inspect.getattr_static(owner, name), property):
        return "plain"
    returns = str(inspect.signature(getattr(owner, name)).return_annotation)
    if returns.startswith("AsyncGenerator"):
        return "iterated"
    code = getattr(owner, name).__code__
    for maker, sort in (("opening_", "opened"), ("sharing_", "shared")):
        if code.co_qualname.startswith(maker):
            return sort
    return "awaited" if code.co_flags & inspect.CO_COROUTINE else "?"


def public(owner: type) -> set[str]:
    return {name for name in dir(owner) if not name.startswith("_")}


def parameters(owner: type, name: str) -> list[tuple[str, Any, Any]]:
    """The parameters of a method but for what it is bound to."""
    found = inspect.signature(getattr(owner, name)).parameters.values()
    return [(each.name, each.kind, each.default) for each in found if each.name not in ("self", "cls")]


@pytest.mark.parametrize(
    ("sync", "other"), [(Session, aio.Session), (SessionStore, aio.SessionStore)], ids=["session", "store"]
)
def test_every_sync_name_has_an_async_one_of_the_right_kind(sync: type, other: type) -> None:
    """A method added to the sync class and forgotten here fails this test; so does one with other arguments."""
    assert public(other) == public(sync)
    sorts = {name: sort_of_sync(sync, name) for name in public(sync)}
    if sync is SessionStore:
        assert sorts["findings"] == "plain"
        sorts["findings"] = "awaited"  # it looks
    else:
        assert sorts["revision"] == "plain"
        sorts["revision"] = "awaited"  # it may read a line
    assert {name: sort_of(other, name) for name in public(other)} == sorts
    for name, sort in sorts.items():
        thing = inspect.getattr_static(other, name)
        assert (thing.fget if sort == "plain" else getattr(other, name)).__doc__
        if sort != "plain" and name not in ("findings", "revision"):
            assert parameters(other, name) == parameters(sync, name), name


def test_the_openers_take_the_same_arguments() -> None:
    """`open_store`, `Session.open` and `Session.memory`."""
    pairs: list[tuple[Callable[..., Any], Callable[..., Any]]] = [
        (open_store, aio.open_store),
        (Session.open, aio.Session.open),
        (Session.memory, aio.Session.memory),
    ]
    for sync, other in pairs:
        assert inspect.signature(other).parameters == inspect.signature(sync).parameters


def test_the_outline_has_the_same_names(run: Run) -> None:
    """An async outline has what a sync one has."""

    async def main() -> None:
        async with aio.Session.memory() as session:
            question = await session.append(user("a"))
            await session.append(assistant("b"))
            outline = await session.outline()
            sync = await in_thread(session._sync.outline)
            assert {name for name in dir(outline) if name[0] != "_"} == {name for name in dir(sync) if name[0] != "_"}
            assert (outline.leaf, outline.certain, outline.runs) == (sync.leaf, sync.certain, sync.runs)
            assert outline.row(question.id) == 0
            assert await outline.entries([0, 1]) == await session.path()

    run(main)


def test_a_session_is_opened_by_await_and_by_async_with(tmp_path: Path, run: Run) -> None:
    """Also as a task; `async with` closes it."""

    async def main() -> None:
        async with aio.Session.open(tmp_path / "a.jsonl", name="A") as one:
            await one.append(user("1"))
        with pytest.raises(SessionClosed):
            await one.append(user("2"))
        two = await aio.Session.open(tmp_path / "a.jsonl")
        three = await (await begin(aio.Session.open(tmp_path / "a.jsonl", mode="r")))
        async with two, three:
            assert (two.name, two.id, two.leaf_id) == ("A", three.id, one.leaf_id)
            assert repr(two) == f"<aio of {two._sync!r}>"
        with pytest.raises(SessionClosed):
            await three.path()
        opening = aio.Session.memory()
        await (await opening).close()
        with pytest.raises(RuntimeError, match="already awaited"):
            await opening
        unused = aio.Session.memory()
        unused.close()

    run(main)


def test_clock_and_ids_are_passed_on(tmp_path: Path, run: Run) -> None:
    """They are arguments of the async openers, too, and reach the session that a store opens."""
    numbers = iter(range(1000))

    def next_id() -> str:
        return f"id{next(numbers)}"

    async def main() -> None:
        async with (
            aio.Session.open(tmp_path / "a.jsonl", clock=lambda: 10**18, id_source=next_id) as session,
            aio.Session.memory(clock=lambda: 10**18, id_source=next_id) as other,
            aio.open_store("memory:", clock=lambda: 10**18, id_source=next_id) as store,
            store.create() as third,
        ):
            for each in (session, other, third):
                entry = await each.append(user("1"))
                assert (entry.id[:2], entry.timestamp) == ("id", "2001-09-09T01:46:40.000000Z")

    run(main)


def test_a_plain_with_and_a_forgotten_await_are_explained(tmp_path: Path, run: Run) -> None:
    """The error names `async with` and `await`; nothing is opened, and no warning follows."""

    async def main() -> None:
        with pytest.raises(TypeError, match="use `async with`, not `with`"), aio.open_store(tmp_path / "store"):  # type: ignore[attr-defined]
            raise AssertionError
        assert not (tmp_path / "store").exists()
        opening: Any = aio.Session.memory()
        with pytest.raises(AttributeError, match=r"'append' .* not open yet: await it first, or use `async with`"):
            await opening.append(user("1"))
        async with opening as session:
            with pytest.raises(TypeError, match="use `async with`, not `with`"), session:
                raise AssertionError
            await session.append(user("1"))

    run(main)


def test_an_opening_that_fails_says_why(tmp_path: Path, run: Run) -> None:
    """Errors of the sync call come through, with their types."""

    async def main() -> None:
        with pytest.raises(SessionNotFound):
            await aio.Session.open(tmp_path / "none.jsonl", mode="r")
        with pytest.raises(SessionNotFound):
            async with aio.Session.open(tmp_path / "none.jsonl", mode="r+"):
                raise AssertionError
        with pytest.raises(ValueError, match="mode is one of"):
            await aio.Session.open(tmp_path / "none.jsonl", mode="w")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            await aio.Session.memory(nam="x")  # type: ignore[call-arg]
        with pytest.raises(TimeoutError):
            await (await begin(_times_out()))

    run(main)


async def _times_out() -> None:
    async def never() -> aio.Session:
        await sleep_here(60)
        raise AssertionError

    async with timeout(0.01):
        await aio.AwaitableContext(never())


def test_every_call_does_what_the_sync_one_does(log_path: Path, run: Run) -> None:
    """One conversation, call by call; what is stored is what sync callers read."""

    async def main() -> None:
        async with aio.Session.open(log_path, durability="process", metadata={"a": 1}) as session:
            assert (session.location, session.archived, session.findings) == (str(log_path), False, ())
            question = await session.append(user("Where?"), id="q")
            rome, why = await session.append_many([assistant("Rome"), user("Why?")])
            oslo = await session.append(assistant("Oslo"), parent_id="q")
            assert isinstance(oslo, MessageEntry)
            assert await session.siblings(oslo.id) == [rome, oslo]
            assert await session.children("q") == [rome, oslo]
            assert await session.children("q", limit=1, after=rome) == [oslo]
            assert await session.leaves() == [why, oslo]
            assert await session.tip(rome.id) == why.id
            assert await session.common_ancestor(why.id, oslo.id) == "q"
            assert await session.entry("q") == question
            assert await session.branch(rome.id) is None
            assert await session.path() == [question, rome]
            await session.label(rome.id, "warm")
            await session.rename("Trip")
            await session.archive()
            await session.update_metadata(self="key", a=None)
            assert (session.labels, session.name, session.archived) == ({rome.id: "warm"}, "Trip", True)
            await session.hold()
            await session.set_directories(cwd="/here", git_root="/")
            assert (session.held, session.cwd, session.git_root) == (True, "/here", "/")
            assert (session.metadata, session.header.id) == ({"self": "key"}, session.id)
            state = await session.append(convtree.ExtensionDataEntry(ext_type="x.y", data=7))
            assert await session.extension_data() == [state]
            assert await session.state("x.y") == 7
            assert [m["content"] for m in (await session.build_context()).messages] == ["Where?", "Rome"]
            records = [record async for record in session.records()]
            assert [number for number, _ in records] == list(range(len(records)))
            async with session.fork(log_path.with_name("fork.jsonl"), "q") as fork:
                assert await fork.path() == [question]
                assert await fork.extend(record for _, record in records) == len(records) - 1
            with Session.open(log_path) as other:
                added = other.append(user("more"))
            assert await session.refresh() == [added]
            copied: list[bytes] = []
            await session.copy_path(lambda _, lines: copied.extend(lines), "q")
            assert len(copied) >= 2

    run(main)
    with Session.open(log_path, mode="r") as session:
        assert contents(session) == ["Where?", "Rome", "more"]
        assert session.findings == ()


def test_errors_come_through(log_path: Path, run: Run) -> None:
    """With their types and their fields."""

    async def main() -> None:
        async with aio.Session.open(log_path) as session, aio.Session.open(log_path) as other:
            entry = await session.append(user("a"), id="a")
            with pytest.raises(StaleLeaf) as stale:
                await other.append(user("b"))
            assert (stale.value.expected, stale.value.actual) == (None, entry.id)
            with pytest.raises(IdConflict):
                await session.append(user("b"), id="a")
            with pytest.raises(EntryNotFound):
                await session.entry("none")
            with pytest.raises(InvalidMessage):
                await session.append({"role": "user", "content": float("nan")})
            with pytest.raises(TypeError):
                await session.append([user("a")])  # type: ignore[call-overload]
            with pytest.raises(EntryNotFound):
                await gather(session.append(user("c")), session.tip("none"))

    run(main)


# --- order ---


def test_calls_on_one_session_keep_their_order(log_path: Path, run: Run) -> None:
    """What was begun first is stored first, whatever the threads do."""

    async def main() -> None:
        async with aio.Session.open(log_path, durability="process") as session:
            entries = await gather(*(session.append(user(str(number))) for number in range(300)))
            assert ids(await session.path()) == ids(entries)
            assert [entry.text for entry in entries] == [str(number) for number in range(300)]

    run(main)


def test_one_call_at_a_time_on_a_session_and_many_on_many(run: Run) -> None:
    """Calls on one session never overlap; those on different sessions do."""
    most: dict[str, int] = {"one": 0, "all": 0}
    now: dict[str, int] = {}
    lock = threading.Lock()

    async def use(session: aio.Session) -> None:
        def render(_: Any) -> dict[str, Any]:
            with lock:
                now[session.id] = now.get(session.id, 0) + 1
                most["one"] = max(most["one"], now[session.id])
                most["all"] = max(most["all"], sum(now.values()))
            sleep(0.05)
            with lock:
                now[session.id] -= 1
            return user("S")

        question = await session.append(user("a"))
        await session.append(convtree.CompactionEntry(summary="S", first_kept_entry_id=question.id))
        await gather(*(session.build_context(render=render) for _ in range(3)))

    async def main() -> None:
        sessions = [await aio.Session.memory() for _ in range(8)]
        await gather(*map(use, sessions))

    run(main)
    assert most["one"] == 1
    assert most["all"] >= 4


@pytest.mark.no_cover
def test_many_sessions_at_once(tmp_path: Path, run: Run) -> None:
    """More sessions than threads, each with its own order; none waits until another is done."""
    turns: list[int] = []

    async def talk(number: int) -> None:
        async with aio.Session.open(tmp_path / f"{number}.jsonl", durability="process") as session:
            await gather(*(session.append(user(str(each))) for each in range(20)))
            turns.append(number)
            assert [entry.text for entry in await session.path() if isinstance(entry, MessageEntry)] == [
                str(each) for each in range(20)
            ]

    async def main() -> None:
        await gather(*(talk(number) for number in range(60)))

    run(main)
    assert sorted(turns) == list(range(60))


def test_a_busy_session_does_not_delay_the_others(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    """With one thread for all, 500 calls on a session do not hold up a single call on another."""
    written: list[str] = []

    def note(message: Any) -> Any:
        written.append(message["content"])
        return message

    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(executor, "_pool", pool)

        async def main() -> None:
            async with aio.Session.memory(redact=note) as busy, aio.Session.memory(redact=note) as other:
                all_have_begun = threading.Event()
                pool.submit(all_have_begun.wait)
                many = await begin(_gathered(busy.append(user(str(number))) for number in range(500)))
                one = await begin(other.append(user("x")))
                all_have_begun.set()
                await gather(many, one)

        run(main)
    assert written.index("x") == 1


async def _gathered(calls: Iterator[Awaitable[Any]]) -> None:
    await gather(*calls)


def test_a_session_may_be_used_by_several_loops(log_path: Path, run: Run) -> None:
    """One after the other, and at the same time from several threads."""
    session = run(lambda: _opened(log_path))

    async def add(name: str) -> None:
        await gather(*(session.append(user(f"{name}{number}")) for number in range(20)))

    threads = [threading.Thread(target=lambda name=name: run(lambda: add(name))) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = contents(session._sync)
    run(session.close)
    assert len(said) == 80
    for name in "abcd":
        assert [text for text in said if text[0] == name] == [f"{name}{number}" for number in range(20)]


async def _opened(path: Path) -> aio.Session:
    return await aio.Session.open(path, durability="process")


# --- cancellation ---


def test_a_call_cancelled_before_it_starts_does_not_run(log_path: Path, run: Run) -> None:
    """An append that waits behind a lock and is cancelled is not stored."""

    async def main() -> None:
        async with aio.Session.open(log_path, durability="process") as session:
            with held(log_path) as free:
                first = await begin(session.append(user("first")))
                second = await begin(session.append(user("second")))
                third = await begin(session.append(user("third")))
                assert await gave_up(second)
                await in_thread(free)
            await gather(first, third)
            assert await _said(session) == ["first", "third"]

    run(main)


async def _said(session: aio.Session) -> list[Any]:
    return [message["content"] for message in (await session.build_context()).messages]


def test_a_call_cancelled_while_it_runs_is_completed_before_the_next(log_path: Path, run: Run) -> None:
    """A cancelled append is stored before later ones, and its repetition by id adds nothing."""

    async def main() -> None:
        async with aio.Session.open(log_path, durability="process") as session:
            with held(log_path) as free:
                first = await begin(session.append(user("first"), id="first"))
                await sleep_here(0.1)  # it waits for the lock now, in its thread
                assert await gave_up(first)
                second = await begin(session.append(user("second")))
                await sleep_here(0.1)
                assert not second.done()
                await in_thread(free)
            assert (await second).parent_id == "first"
            assert (await session.append(user("first"), id="first")).id == "first"
            assert await _said(session) == ["first", "second"]

    run(main)


def test_a_session_can_be_used_after_a_timeout(log_path: Path, run: Run) -> None:
    """A timeout around a call that waits for a lock."""

    async def main() -> None:
        async with aio.Session.open(log_path, durability="process", lock_timeout_s=0.5) as session:
            with held(log_path):
                with pytest.raises(TimeoutError):
                    async with timeout(0.05):
                        await session.append(user("a"), id="a")
                with pytest.raises(SessionLocked):
                    await session.append(user("b"))
            await session.append(user("a"), id="a")
            assert await _said(session) == ["a"]

    run(main)


@pytest.mark.no_cover
@pytest.mark.parametrize("seed", range(6))
def test_appends_cancelled_at_random_and_repeated_are_stored_once(seed: int, log_path: Path, run: Run) -> None:
    """Appends with ids by several tasks, cancelled at random and repeated until they return."""
    chance = random.Random(seed)

    async def say(session: aio.Session, id: str) -> bool:
        """Tells whether it was cancelled at least once."""
        cancelled = False
        while True:
            task = Task(session.append(user(id), id=id))
            for _ in range(chance.randrange(4)):
                await sleep_here(0 if chance.random() < 0.5 else chance.random() * 0.003)
            if chance.random() < 0.7:
                task.cancel()
            await task.ended()
            if not task.cancelled():
                assert task.result().id == id
                return cancelled
            cancelled = True

    async def speak(session: aio.Session, name: str) -> int:
        return sum([await say(session, f"{name}{number}") for number in range(25)])

    async def main() -> None:
        async with aio.Session.open(log_path, durability="process") as session:
            cancelled = await gather(*(speak(session, name) for name in "abcd"))
            assert sum(cancelled) > 0
            path = await session.path()
            for name in "abcd":
                assert [id for id in ids(path) if id[0] == name] == [f"{name}{number}" for number in range(25)]
            assert len(path) == 100

    run(main)
    with Session.open(log_path, mode="r") as session:
        assert session.findings == ()
        assert len(session.path()) == 100


def test_a_session_opened_by_a_cancelled_call_is_closed(log_path: Path, run: Run) -> None:
    """It would keep the lock."""
    for moment_s in (0.05, 0):

        async def main(moment_s: float = moment_s) -> None:
            with held(log_path) as free:
                opening = await begin(aio.Session.open(log_path, exclusive=True))
                await sleep_here(moment_s)
                assert await gave_up(opening)
                await in_thread(free)
            async with aio.Session.open(log_path, exclusive=True, lock_timeout_s=10) as session:
                await session.append(user("a"), parent_id=None)

        run(main)


def test_a_cancelled_opening_that_fails_is_silent(log_path: Path, run: Run) -> None:
    """It waited for a lock until the timeout."""

    async def main() -> None:
        with held(log_path):
            opening = await begin(aio.Session.open(log_path, exclusive=True, lock_timeout_s=0.3))
            await sleep_here(0.1)
            assert await gave_up(opening)
            while any(line._running for line in queues()):
                await sleep_here(0.01)

    run(main)


@pytest.mark.parametrize("steps", range(5))
def test_a_session_opened_right_before_the_cancellation_is_closed(steps: int, log_path: Path, run: Run) -> None:
    """The cancellation comes after the opening and before the task continues."""

    async def main() -> None:
        task = await begin(aio.Session.open(log_path, exclusive=True))
        while any(line._running for line in queues()):
            sleep(0.001)  # the loop stands still: the session is open, and its task does not know
        for _ in range(steps):
            await sleep_here(0)
        if not await gave_up(task):
            await task.result().close()
        async with aio.Session.open(log_path, exclusive=True, lock_timeout_s=5):
            pass

    run(main)


# --- closing ---


def test_close_waits_for_earlier_calls_and_refuses_later_ones(log_path: Path, run: Run) -> None:
    """Calls made before `close` are stored; later ones raise SessionClosed."""

    async def main() -> None:
        session = await aio.Session.open(log_path, durability="process")
        before = [await begin(session.append(user(str(number)))) for number in range(5)]
        close = await begin(session.close())
        after = [await begin(session.append(user("late"))) for _ in range(3)]
        await close
        assert [entry.text for entry in await gather(*before)] == ["0", "1", "2", "3", "4"]
        for task in after:
            with pytest.raises(SessionClosed):
                await task
        await session.close()

    run(main)
    with Session.open(log_path, mode="r") as session:
        assert contents(session) == ["0", "1", "2", "3", "4"]


def test_closing_cannot_be_cancelled(log_path: Path, run: Run) -> None:
    """The session is closed also if the task that closes it is cancelled."""

    async def main() -> None:
        session = await aio.Session.open(log_path, durability="process")
        with held(log_path) as free:
            append = await begin(session.append(user("a")))
            close = await begin(session.close())
            close.cancel()
            await in_thread(free)
            await close.ended()
        await append
        with pytest.raises(SessionClosed):
            await session.append(user("b"))

    run(main)


def test_a_task_cancelled_in_async_with_closes_its_session(log_path: Path, run: Run) -> None:
    """`async with` ends as it should."""

    async def main() -> None:
        opened: list[aio.Session] = []

        async def work() -> None:
            async with aio.Session.open(log_path, exclusive=True) as session:
                opened.append(session)
                await sleep_here(60)

        task = await begin(work())
        while not opened:
            await sleep_here(0.001)
        assert await gave_up(task)
        async with aio.Session.open(log_path, exclusive=True, lock_timeout_s=0):
            pass

    run(main)


# --- following ---


def test_a_live_writer_is_followed(log_path: Path, run: Run) -> None:
    """Everything comes once and in order while another session writes."""

    async def main() -> None:
        async with aio.Session.open(log_path) as session, aio.Session.open(log_path, durability="process") as other:
            async with aclosing(session.follow(poll_s=0.001)) as news:
                writing = await begin(_gathered(other.append(user(str(number))) for number in range(300)))
                got = [entry async for entry in _first(news, 300)]
            await writing
            assert ids(got) == ids(await other.path())
            assert session.leaf_id is None

    run(main)


async def _first(news: AsyncIterator[Any], count: int) -> AsyncIterator[Any]:
    while count:
        yield await anext(news)
        count -= 1


def test_follow_starts_with_the_call_not_with_the_first_item(run: Run) -> None:
    """An entry stored in between is yielded."""

    async def main() -> None:
        async with aio.Session.memory() as session:
            await session.append(user("before"))
            news = session.follow(timeout_s=0)
            entry = await session.append(user("after"))
            assert [each async for each in news] == [entry]

    run(main)


def test_followers_hold_no_thread(run: Run) -> None:
    """More followers than threads wait, other calls run, and every follower gets the entry."""

    async def main() -> None:
        sessions = [await aio.Session.memory() for _ in range(4 * executor._THREADS)]
        followers = [await begin(anext(session.follow(poll_s=0.3))) for session in sessions]
        for _ in range(500):
            if not any(session._queue._running for session in sessions):
                break
            await sleep_here(0.01)  # some look just now
        else:
            raise AssertionError("a follower holds a thread")
        entries = await gather(*(session.append(user("a")) for session in sessions))
        assert await gather(*followers) == entries

    run(main)


def test_following_ends(log_path: Path, run: Run) -> None:
    """By aclose, cancellation, closing the session, or timeout; a closed session cannot be followed."""

    async def drain(session: aio.Session, **arguments: Any) -> list[Any]:
        return [each async for each in session.follow(**arguments)]

    async def main() -> None:
        session = await aio.Session.open(log_path, durability="process")
        first = await session.append(user("a"))
        news = session.follow(poll_s=0.01)
        added = await session.append(user("b"))
        assert await anext(news) == added
        await news.aclose()
        assert [each async for each in news] == []
        assert await gave_up(await begin(drain(session, poll_s=60)))
        task = await begin(drain(session, poll_s=60))
        await sleep_here(0.1)
        assert await gave_up(task)
        started = monotonic()
        assert await drain(session, poll_s=60, timeout_s=0.05) == []
        assert 0.05 <= monotonic() - started < 10
        task = await begin(drain(session, poll_s=0.01))
        await sleep_here(0.05)
        await session.close()
        assert await task == []
        with pytest.raises(SessionClosed):
            await drain(session)
        assert first.id != added.id

    run(main)


def test_following_a_removed_log_raises(log_path: Path, run: Run) -> None:
    """The error of the sync call."""

    async def main() -> None:
        async with aio.Session.open(log_path) as session:
            await session.append(user("a"))
            news = session.follow(poll_s=0.001)
            log_path.unlink()
            with pytest.raises(SessionNotFound):
                await anext(news)

    run(main)


# --- the event loop ---


def test_the_event_loop_is_never_blocked(log_path: Path, run: Run) -> None:
    """A timer in the loop runs on while calls wait for a lock that another process holds."""
    beats: list[float] = []

    async def beat() -> None:
        while True:
            beats.append(monotonic())
            await sleep_here(0.005)

    async def main() -> None:
        async with aio.Session.open(log_path, durability="process", lock_timeout_s=30) as session:
            await session.append(user("a"))
            with held(log_path) as free:
                heart = await begin(beat())
                calls = [await begin(session.append(user(str(number)))) for number in range(10)]
                calls += [await begin(session.build_context()), await begin(session.refresh())]
                await sleep_here(0.6)
                plain = (session.leaf_id, session.name, session.labels, session.metadata, session.findings)
                assert (repr(session) != "", len(plain)) == (True, 5)
                assert not any(call.done() for call in calls)
                await in_thread(free)
            await gather(*calls)
            assert await gave_up(heart)

    run(main)
    assert len(beats) > 50
    assert max(later - earlier for earlier, later in pairwise(beats)) < 0.3


def test_context_variables_are_passed_to_the_thread(run: Run) -> None:
    """As with `asyncio.to_thread`: what a tracer or a `render` looks up is there."""
    variable: ContextVar[str] = ContextVar("variable")

    def render(entry: Any) -> dict[str, Any]:
        return user(f"{variable.get()}: {entry.summary}")

    async def main() -> None:
        variable.set("here")
        async with aio.Session.memory() as session:
            question = await session.append(user("a"))
            await session.append(convtree.CompactionEntry(summary="S", first_kept_entry_id=question.id))
            assert (await session.build_context(render=render)).messages[0] == user("here: S")

    run(main)


# --- the process ---

FORK = """
import asyncio, os, sys, threading, time
import convtree
from convtree import aio

async def use(path):
    async with aio.Session.open(path, durability="process") as session:
        await session.append({"role": "user", "content": "a"}, parent_id=None)

async def refused(session):
    try:
        await asyncio.wait_for(session.append({"role": "user", "content": "b"}), 10)
    except (convtree.ConvtreeError, OSError) as error:
        return type(error).__name__

async def main():
    blocker = convtree.Session.open(sys.argv[1], exclusive=True, durability="process")
    session = await aio.Session.open(sys.argv[1], durability="process")
    waiting = asyncio.create_task(session.append({"role": "user", "content": "parent"}))
    await asyncio.sleep(0.1)  # in its thread, which the child will not have
    return blocker, session, waiting

loop = asyncio.new_event_loop()
blocker, session, waiting = loop.run_until_complete(main())
child = os.fork()
if not child:
    asyncio._set_running_loop(None)
    asyncio.run(use(sys.argv[2]))
    said = asyncio.run(refused(session))
    print("child", said, flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
blocker.close()
loop.run_until_complete(waiting)
loop.run_until_complete(session.close())
loop.close()
print("parent")
"""

EXIT = """
import asyncio, sys, threading
import convtree
from convtree import aio

blocker = convtree.Session.open(sys.argv[1], exclusive=True, durability="process")
threading.Timer(0.4, blocker.close).start()

async def main():
    session = await aio.Session.open(sys.argv[1], durability="process")
    asyncio.create_task(session.append({"role": "user", "content": "begun"}))
    for _ in range(3):
        asyncio.create_task(session.append({"role": "user", "content": "never begun"}))
    await asyncio.sleep(0.1)

asyncio.run(main())
print("done")
"""

LATE = """
import asyncio, atexit, sys
from convtree import aio

async def main():
    return await aio.Session.open(sys.argv[1], durability="process")

def late():
    for _ in range(2):
        try:
            asyncio.run(session.append({"role": "user", "content": "late"}))
        except RuntimeError as error:
            print("RuntimeError")

atexit.register(late)
session = asyncio.run(main())
"""


def run_program(program: str, *arguments: Path) -> str:
    """Runs a program that must end well, without a word on stderr."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_forked_child_gets_new_threads(tmp_path: Path) -> None:
    """An inherited session raises as the sync one does; the parent goes on."""
    said = run_program(FORK, tmp_path / "a.jsonl", tmp_path / "b.jsonl").splitlines()
    assert said[1:] == ["parent"]
    assert said[0].split() in (["child", "SessionFailed"], ["child", "ReadOnlySession"], ["child", "SessionClosed"])
    for name, expected in (("a", ["parent"]), ("b", ["a"])):
        with Session.open(tmp_path / f"{name}.jsonl", mode="r") as session:
            assert contents(session) == expected


def test_a_queue_is_empty_after_a_fork(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    """The fork hook, called without a fork: waiting calls belong to the parent, and the next call runs at once."""
    stuck, ready = ThreadPoolExecutor(1), threading.Event()
    stuck.submit(ready.wait, 20)

    async def main() -> None:
        async with aio.Session.memory() as session:
            monkeypatch.setattr(executor._pool, "_threads", stuck)
            lost = session._queue.submit(lambda: None)
            for thing in (executor._pool, *queues()):
                thing._after_fork()
            await session.append(user("a"))
            assert await _said(session) == ["a"]
            assert (lost.done(), executor._pool._threads is stuck) == (False, False)

    run(main)
    executor._pool._threads.shutdown()
    stuck.shutdown(wait=False, cancel_futures=True)
    ready.set()


def test_the_end_of_the_program_waits_for_running_calls(log_path: Path) -> None:
    """A running append is stored when the program has ended; waiting ones are not."""
    assert run_program(EXIT, log_path) == "done\n"
    with Session.open(log_path, mode="r") as session:
        assert contents(session) == ["begun"]


def test_a_call_after_the_end_of_the_program_raises(log_path: Path) -> None:
    """At exit the threads are gone; a call raises RuntimeError, also the second time."""
    assert run_program(LATE, log_path) == "RuntimeError\nRuntimeError\n"


def test_a_pool_that_shuts_down_runs_waiting_calls(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    """They do not hang because no new threads start."""

    async def main() -> None:
        pool = ThreadPoolExecutor(1)
        monkeypatch.setattr(executor, "_pool", pool)
        session = aio.Session(Session.memory())
        ready = threading.Event()
        first = session._queue.submit(lambda: ready.wait(20))
        tasks = [await begin(session.append(user(str(number)))) for number in range(5)]
        pool.shutdown(wait=False)
        ready.set()
        await gather(*tasks)
        assert first.result()
        while session._queue._running:
            await sleep_here(0.001)  # the last thread goes
        with pytest.raises(RuntimeError):
            await session.append(user("late"))
        assert len(session._sync.path()) == 5
        monkeypatch.undo()
        await session.close()

    run(main)


# --- stores ---


@pytest.mark.parametrize("kind", ["{}/store", "sqlite:///{}/store.db", "memory:"])
def test_a_store_is_used_as_the_sync_one(kind: str, tmp_path: Path, run: Run) -> None:
    """Every call of a store, over the kinds that need no server."""

    async def main() -> None:
        place = kind.format(tmp_path)
        async with aio.open_store(place, durability="process") as store:
            async with store.create(id="s1", name="Trip", cwd="/home/me") as session:
                question = await session.append(user("Where shall we go?"))
                await session.append(assistant("Rome"), usage={"input_tokens": 3, "output_tokens": 2})
            assert (await store.info("s1")).name == "Trip"
            assert [info.id for info in await store.list(cwd="/home/me")] == ["s1"]
            assert [hit.entry_id for hit in await store.search("shall go")] == [question.id]
            assert [row.usage.total_tokens for row in await store.usage()] == [5]
            async with store.open("s1", read_only=True) as session:
                assert (session.name, await _said(session)) == ("Trip", ["Where shall we go?", "Rome"])
            async with store.fork("s1", question.id, new_id="s2") as fork:
                assert await fork.path() == [question]
            async with store.scoped(owner="ann") as ann, ann.create(id="mine") as mine:
                await mine.append(user("x"))
                async with ann.copy("mine") as copied:
                    assert {*await ann.sessions_with((await copied.path())[0])} == {"mine", copied.id}
                assert (ann.owner, store.owner, len(await ann.list(metadata={"k": None}))) == ("ann", None, 2)
                assert len(await store.erase(owner="ann")) == 2
            assert [info.id for info in await store.children("s1")] == ["s2"]
            await store.rename("s2", "Other")
            await store.archive("s2")
            latest = await store.latest()
            assert (latest and latest.id, await store.findings()) == ("s1", [])
            await store.unarchive("s2")
            await store.hold("s2")
            await store.set_directories("s2", cwd="/home/me")
            assert [info.id for info in await store.list(held=True, cwd="/home/me")] == ["s2"]
            await store.release("s2")
            resumed = await store.resume(cwd="/home/me")
            assert resumed is not None
            assert resumed.id in ("s1", "s2")
            await resumed.close()
            assert await store.resume(cwd="/elsewhere") is None
            async with store.resume(cwd="/elsewhere") as nothing:
                assert nothing is None
            async with store.open("s3", create=True, name="Third") as third:
                await third.append(user("x"))
            assert [info.id for info in await store.prune(keep=2)] == ["s1"]
            assert (await store.vacuum("s1")).entries == 0
            assert [each.path for each in await store.verify("s1")] == ["s1"]
            assert await store.repair() == []
            assert await store.delete("s3") == ["s3"]
            with pytest.raises(SessionNotFound):
                await store.open("s3")
            with pytest.raises(SessionExists):
                await store.create(id="s1")
            assert store.location == place.removesuffix(":")
            async with aio.open_store(tmp_path / "copy") as copy:
                assert {each.status for each in await store.copy_to(copy)} == {"copied"}
                found = await copy.resumable(cwd="/home/me")
                assert found is not None

    run(main)


def test_a_store_serves_many_at_once(tmp_path: Path, run: Run) -> None:
    """Sessions are created, written, listed and read in parallel; every one is complete."""

    async def main() -> None:
        async with aio.open_store(tmp_path / "store", durability="process") as store:

            async def talk(number: int) -> None:
                async with store.create(id=f"s{number}") as session:
                    await session.append(user(f"word{number}"))
                    await store.list(limit=5)
                    assert [hit.session_id for hit in await store.search(f"word{number}")] == [session.id]

            await gather(*(talk(number) for number in range(30)))
            assert {info.id for info in await store.list()} == {f"s{number}" for number in range(30)}

    run(main)


def test_a_slow_store_leaves_threads_to_the_sessions(tmp_path: Path, run: Run) -> None:
    """Its calls take some of the threads, not all."""
    ready = threading.Event()

    async def main() -> None:
        async with aio.open_store(tmp_path / "store") as store, aio.Session.memory() as session:
            slow = [store._queue.submit(lambda: ready.wait(20)) for _ in range(4 * executor._THREADS)]
            async with timeout(10):
                await session.append(user("a"))
            ready.set()
            assert all(await all_of(slow))

    run(main)
