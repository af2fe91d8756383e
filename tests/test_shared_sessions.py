"""Shared sessions: how many stay open, what is never closed, and what happens when opening goes wrong."""

import os
import random
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from helpers import assistant, user
from loops import Run, begin, gather, in_thread, sleep

from convtree import Session, SessionClosed, SessionFailed, SessionNotFound, aio, open_store, session_key
from convtree._session.client import Client
from convtree.stores._session_store import SessionStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "sessions"


@pytest.fixture
def store(folder: Path) -> Iterator[SessionStore]:
    """A store with the sessions a to e that keeps two open."""
    with open_store(folder, durability="process", keep_open=2) as opened:
        for id in "abcde":
            with opened.create(id=id) as session:
                session.append(user(id))
        yield opened


def is_open(session: Session) -> bool:
    try:
        session.path()
    except SessionClosed:
        return False
    return True


def use(store: SessionStore, *ids: str) -> list[Session]:
    """Uses some sessions one after the other."""
    used = []
    for id in ids:
        with store.session(id) as session:
            used.append(session)
    return used


def test_the_least_recently_used_are_closed(store: SessionStore) -> None:
    """Two stay open that nobody uses; using one again makes it a recent one."""
    a, b = use(store, "a", "b")
    assert (is_open(a), is_open(b)) == (True, True)
    assert use(store, "a") == [a]
    (c,) = use(store, "c")
    assert [is_open(each) for each in (a, b, c)] == [True, False, True]
    (again,) = use(store, "b")
    assert again is not b
    assert [is_open(each) for each in (a, again, c)] == [False, True, True]


def test_a_session_in_use_is_never_closed(store: SessionStore) -> None:
    """However many there are; the limit counts those that nobody uses."""
    with store.session("a") as a, store.session("b") as b, store.session("c") as c, store.session("d") as d:
        assert [is_open(each) for each in (a, b, c, d, *use(store, "e"))] == [True] * 5
        with store.session("a"):
            pass
        assert is_open(a)
    assert [is_open(each) for each in (a, b, c, d)] == [True, True, False, False]  # a was given back last


def test_a_limit_of_none_closes_at_once(folder: Path) -> None:
    """`keep_open=0` closes a session when its last user is done."""
    with open_store(folder, keep_open=0) as store:
        with store.session("a", create=True) as session:
            session.append(user("a"))
            assert use(store, "a") == [session]
            assert is_open(session)
        assert not is_open(session)


@pytest.mark.parametrize(("value", "error"), [(-1, ValueError), ("5", TypeError), (None, TypeError)])
def test_the_limit_is_checked(value: Any, error: type[Exception]) -> None:
    """It is a number from 0 on."""
    with pytest.raises(error, match="keep_open: expected"):
        open_store("memory:", keep_open=value)


def test_arguments_and_misuse(store: SessionStore) -> None:
    """What is used without `with` says so."""
    with pytest.raises(TypeError, match="create: expected True or False"):
        store.session("a", create="yes")  # type: ignore[arg-type]
    with pytest.raises(AttributeError, match=r"use `with store\.session"):
        store.session("a").append(user("a"))  # type: ignore[attr-defined]
    entering = store.session("a")
    with entering as one, entering as two:
        assert one is two


def test_a_session_of_a_key_that_begins_is_described(store: SessionStore) -> None:
    """The header is written with the first record. A session that exists keeps its own."""
    people = ("user@example.com", "日本")
    with store.session(key=people, create=True, name="Trip", owner="kim", metadata={"app": "x"}) as session:
        assert session.id == session_key(*people)
    with pytest.raises(SessionNotFound), store.session(key=people):
        pass
    with store.session(key=people, create=True, name="Other") as again:
        assert again is session
        again.append(user("q"))
    with store.session(key=people, create=True, name="Other") as third:
        header = third.header
        assert (header.name, header.owner, header.metadata, header.key) == ("Trip", "kim", {"app": "x"}, list(people))
    with pytest.raises(TypeError, match="name describes a new session; pass create=True"):
        store.session("a", name="x")
    with pytest.raises(TypeError, match="takes the id of a session, or key="):
        store.session()
    with pytest.raises(TypeError, match="either an id or a key"):
        store.session("a", key="a")


def test_an_error_in_the_block_gives_the_session_back(store: SessionStore) -> None:
    """It can be closed to make room."""
    with pytest.raises(KeyError), store.session("a") as a:
        raise KeyError
    use(store, "b", "c")
    assert not is_open(a)


def test_a_session_that_was_closed_by_hand_is_opened_again(store: SessionStore) -> None:
    """The next call for it does; also while its other users have not noticed."""
    with store.session("a") as a:
        a.close()
        (again,) = use(store, "a")
        assert (again is a, is_open(again)) == (False, True)
    with store.session("b") as b:
        b.close()
    assert is_open(*use(store, "b"))


def test_a_failed_session_is_opened_again(store: SessionStore) -> None:
    """After a write of which nobody knows what it left, the next user gets a new one. The others keep theirs."""
    with store.session("a") as a:
        a._client.journal.log.failed = True  # type: ignore[misc]  # as after an error of the disk
        with store.session("a") as again:
            assert again is not a
            again.append(user("b"))
        with pytest.raises(SessionFailed):
            a.append(user("c"))
        assert is_open(a)
    assert (is_open(a), is_open(again)) == (False, True)


def test_opening_fails_for_one_and_works_for_the_next(store: SessionStore) -> None:
    """An error is raised to who asked; nothing of it is kept."""
    failing = patch.object(SessionStore, "open", side_effect=OSError("no more files"))
    with failing, pytest.raises(OSError, match="no more files"):
        use(store, "a")
    assert is_open(*use(store, "a"))
    with patch.object(Client, "refresh", side_effect=OSError("gone")), pytest.raises(OSError, match="gone"):
        use(store, "a")
    assert is_open(*use(store, "a"))


def test_a_store_that_is_closed_while_a_session_opens(store: SessionStore) -> None:
    """The session is closed, too, and the caller gets an error."""
    opened = []

    def open_slowly(self: SessionStore, *_: Any, **__: Any) -> Session:
        opened.append(Session.memory())
        self.close()
        return opened[0]

    with patch.object(SessionStore, "open", open_slowly), pytest.raises(SessionClosed, match="store is closed"):
        use(store, "a")
    assert not is_open(opened[0])


def test_an_error_of_closing_is_nobodys(store: SessionStore) -> None:
    """What was appended is stored already."""
    (a,) = use(store, "a")
    with patch.object(a._client.journal.log, "close", side_effect=OSError("late")):
        use(store, "b", "c")
        store.close()


def _descriptors() -> Iterator[str]:
    """What the descriptors of this process lead to."""
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of the list itself
            yield os.readlink(f"/proc/self/fd/{number}")


def test_deleted_sessions_leave_no_file_and_no_descriptor(store: SessionStore, folder: Path) -> None:
    """A shared session that nobody uses is closed with the deletion, and saves no index."""
    (a,) = use(store, "a")
    assert [link for link in _descriptors() if "a.jsonl" in link] != []
    a.append_many(user(str(number)) for number in range(5000))
    store.delete("a")
    store.prune(keep=0, dry_run=False)
    assert not is_open(a)
    assert [each.name for each in folder.iterdir() if each.name.endswith((".jsonl", ".index"))] == []
    assert [link for link in _descriptors() if "a.jsonl" in link] == []


def test_sub_agents_go_with_their_parent(store: SessionStore) -> None:
    """Their shared sessions are closed as well."""
    from convtree import ParentSession

    with store.create(id="t", parent_session=ParentSession(id="a", kind="task")) as session:
        session.append(user("t"))
    a, t = use(store, "a", "t")
    assert store.delete("a") == ["t", "a"]
    assert (is_open(a), is_open(t)) == (False, False)


def test_threads_open_a_session_once(store: SessionStore) -> None:
    """A call that comes while it is being opened waits, and gets the same."""
    opened = []
    begun, go = threading.Event(), threading.Event()
    real = SessionStore.open

    def open_slowly(self: SessionStore, id: str, **arguments: Any) -> Session:
        begun.set()
        assert go.wait(20)
        opened.append(real(self, id, **arguments))
        return opened[-1]

    got: list[Session] = []

    def ask() -> None:
        with store.session("a") as session:
            got.append(session)

    with patch.object(SessionStore, "open", open_slowly):
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for each in threads:
            each.start()
        assert begun.wait(20)
        go.set()
        for each in threads:
            each.join(20)
    assert (len(opened), got) == (1, opened * 4)


def test_a_block_gives_back_what_its_thread_entered(store: SessionStore) -> None:
    """One object, entered by two threads, the session deleted and begun again in between."""
    shared = store.session("a")
    entered, leave = threading.Event(), threading.Event()
    found: list[bool] = []

    def work() -> None:
        with shared as new:
            new.append(user("new"))
            entered.set()
            assert leave.wait(20)
            found.append(is_open(new))

    with shared as old:
        store.delete("a")
        with store.create(id="a") as again:
            again.append(user("again"))
        other = threading.Thread(target=work)
        other.start()
        assert entered.wait(20)
    assert not is_open(old)
    leave.set()
    other.join()
    assert found == [True]


def test_a_block_may_end_in_another_thread(store: SessionStore) -> None:
    shared = store.session("a")
    session = shared.__enter__()
    other = threading.Thread(target=shared.__exit__, args=(None, None, None))
    other.start()
    other.join()
    assert is_open(session)
    assert list(store._pool._idle) == [(None, "a")]


def test_random_threads_never_meet_a_closed_session(folder: Path) -> None:
    """With room for one session, all are evicted all the time. Every append is stored once."""
    errors: list[BaseException] = []
    with open_store(folder, durability="process", keep_open=1) as store:

        def work(number: int) -> None:
            chance = random.Random(number)
            try:
                for step in range(30):
                    with store.session(chance.choice("abcd"), create=True) as session:
                        entry = session.append(user("x"), id=f"e{number}-{step}")
                        assert session.entry(entry.id) == entry
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(60)
        assert errors == []
        assert sum(info.messages for info in store.list()) == 150
        assert len(store._pool._by_id) == len(store._pool._idle) == len(store._pool._live) == 1


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_opens_its_own(store: SessionStore) -> None:
    """The parent's sessions are not handed out there, and stay open in the parent."""
    with store.session("a") as a:
        child = os.fork()
        if child == 0:
            try:
                with store.session("a") as own:
                    own.append(user("child"))
                    os._exit(0 if own is not a else 1)
            except BaseException:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        assert [entry.text for entry in a.refresh() if hasattr(entry, "text")] == ["child"]
    assert use(store, "a") == [a]


def test_after_a_fork_the_pool_is_empty(store: SessionStore) -> None:
    """Without a fork: what was handed out before is closed when it is given back, and not handed out again."""
    with store.session("a") as a:
        store._pool._after_fork()
        (own,) = use(store, "a")
        assert own is not a
    assert (is_open(a), is_open(own)) == (False, True)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_block_that_a_child_inherits_ends_there(store: SessionStore) -> None:
    """What the child gives back is closed in the child only."""
    child = None
    with store.session("a") as a:
        child = os.fork()
    if child == 0:
        os._exit(0 if not store._pool._idle else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert is_open(a)


# --- asyncio ---


def test_async_programs_share_sessions(folder: Path, run: Run) -> None:
    """Requests get the same object, refreshed; its calls run in order. Evicting waits for nobody's call."""

    async def main() -> None:
        async with aio.open_store(folder, durability="process", keep_open=1) as store:
            seen = set()

            async def request(number: int) -> None:
                async with store.session("s", create=True) as session:
                    seen.add(session)
                    question = await session.append(user(f"q{number}"))
                    await sleep(0)
                    await session.append(assistant(f"a{number}"), reply_to=question.id)

            await gather(*(request(number) for number in range(10)))
            assert len(seen) == 1
            assert (await store.info("s")).messages == 20
            async with store.session("s") as session:
                assert session in seen
                async with store.session(key=("t", 1), create=True, name="Trip") as other:
                    await other.append(user("t"))
                    assert (other.id, other.header.name) == (session_key("t", 1), "Trip")
                async with store.session("u", create=True) as third:
                    await third.append(user("u"))
                assert await session.path(last=1)
            with pytest.raises(SessionClosed):
                await other.path()
            assert (await store.delete("s")) == ["s"]
            with pytest.raises(SessionNotFound):
                async with store.session("s"):
                    pass
            with pytest.raises(TypeError, match="async with"), store.session("t"):  # type: ignore[attr-defined]
                pass
        with pytest.raises(SessionClosed):
            await third.path()

    run(main)


def test_a_block_gives_back_what_its_task_entered(folder: Path, run: Run) -> None:
    """As with threads: one object, entered by two tasks, the session deleted and begun again in between."""

    async def main() -> None:
        async with aio.open_store(folder, durability="process") as store:
            async with await store.create(id="a") as begun:
                await begun.append(user("old"))
            shared = store.session("a")
            entered = left = False

            async def work() -> None:
                nonlocal entered
                async with shared as new:
                    entered = True
                    while not left:
                        await sleep(0.001)
                    assert (await new.build_context()).messages == [user("again")]

            async with shared:
                await store.delete("a")
                async with await store.create(id="a") as again:
                    await again.append(user("again"))
                task = await begin(work())
                while not entered:
                    await sleep(0.001)
            left = True
            await task

    run(main)


def test_a_cancelled_request_gives_its_session_back(folder: Path, run: Run) -> None:
    """While it waits for the session, or for a call: an append that has begun is stored before others have it."""
    begun, go = threading.Event(), threading.Event()
    real = SessionStore.open

    def open_slowly(self: SessionStore, id: str, **arguments: Any) -> Session:
        begun.set()
        assert go.wait(20)
        return real(self, id, **arguments)

    async def main() -> None:
        async with aio.open_store(folder, durability="process", keep_open=0) as store:

            async def request() -> None:
                async with store.session("s", create=True) as session:
                    await session.append(user("a"))

            with patch.object(SessionStore, "open", open_slowly):
                task = await begin(request())
                await in_thread(begun.wait, 20)
                task.cancel()
                await task.ended()
                assert task.cancelled()
                go.set()
                while store._sync._pool._live:
                    await sleep(0.01)
            slow, on = threading.Event(), threading.Event()

            def redact(value: Any) -> Any:
                slow.set()
                assert on.wait(20)
                return value

            store._sync._redact = redact
            task = await begin(request())
            await in_thread(slow.wait, 20)
            task.cancel()
            await sleep(0.01)
            on.set()
            await task.ended()
            assert task.cancelled()
            assert store._sync._pool._live == set()
            assert (await store.info("s")).messages == 1

    run(main)
