"""What every store must do, as tests: subclass `StoreContract`, say how to open a store, and have pytest run it.

    class TestMine(StoreContract):
        def open_store(self, place: Path) -> SessionStore:
            return convtree.open_store(f"mine://{place}")

Expected values are stated by hand, and everything goes through the calls of `SessionStore`: a store may be built in
any way. `pytest.register_assert_rewrite("convtree.testing")` in your conftest.py has failures say what was found.
`store_machine` compares a store with a plain model over random sequences of calls. It needs pytest
and hypothesis.
"""

from __future__ import annotations

import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Thread
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from convtree import session as session_module
from convtree import store as store_module
from convtree.catalogue import SessionInfo
from convtree.digest import Usage
from convtree.entries import ModelChangeEntry, ParentSession
from convtree.errors import (
    ConvtreeError,
    EntryNotFound,
    InvalidMessage,
    ReadOnlySession,
    SessionClosed,
    SessionExists,
    SessionNotFound,
    StaleLeaf,
)
from convtree.store import Hit, SessionStore

NOT_IDS = (
    "",
    ".",
    "..",
    "../up",
    "a/b",
    "a\\b",
    "/etc/passwd",
    "-a",
    ".a",
    "a b",
    "ä",
    "a\0",
    "a\n",
    "x" * 129,
    "\udc80",
)
ODD = "naïve \0 \x1b[31m \u202e ' \" \\ % _ ; -- 🦊 \U0010ffff"
PROVIDERS: dict[str, tuple[dict[str, Any], Usage]] = {
    "openai-chat": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "total_tokens": 120,
            "prompt_tokens_details": {"cached_tokens": 60, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 5},
        },
        Usage(input_tokens=40, output_tokens=20, cache_read_tokens=60),
    ),
    "openai-responses": (
        {
            "input_tokens": 100,
            "input_tokens_details": {"cached_tokens": 30},
            "output_tokens": 7,
            "output_tokens_details": {"reasoning_tokens": 3},
            "total_tokens": 107,
        },
        Usage(input_tokens=70, output_tokens=7, cache_read_tokens=30),
    ),
    "anthropic": (
        {
            "input_tokens": 10,
            "cache_creation_input_tokens": 200,
            "cache_read_input_tokens": 3000,
            "output_tokens": 40,
            "service_tier": "standard",
        },
        Usage(input_tokens=10, output_tokens=40, cache_read_tokens=3000, cache_write_tokens=200),
    ),
    "gemini": (
        {
            "prompt_token_count": 50,
            "cached_content_token_count": 20,
            "candidates_token_count": 8,
            "thoughts_token_count": 4,
            "tool_use_prompt_token_count": 6,
            "total_token_count": 68,
        },
        Usage(input_tokens=36, output_tokens=12, cache_read_tokens=20),
    ),
    "gemini by REST": (
        {
            "promptTokenCount": 50,
            "cachedContentTokenCount": 20,
            "candidatesTokenCount": 8,
            "thoughtsTokenCount": 4,
            "totalTokenCount": 62,
        },
        Usage(input_tokens=30, output_tokens=12, cache_read_tokens=20),
    ),
    "pi": (
        {
            "input": 3,
            "output": 5,
            "cacheRead": 7,
            "cacheWrite": 11,
            "totalTokens": 26,
            "cost": {"input": 0.1, "output": 0.2, "cacheRead": 0, "cacheWrite": 0, "total": 0.5},
        },
        Usage(input_tokens=3, output_tokens=5, cache_read_tokens=7, cache_write_tokens=11, cost=0.5),
    ),
    "nothing that is known": ({"tokens": "many", "input": None, "output": -3, "cost": float(2**60)}, Usage()),
}


class Clock:
    """A clock that stands still: sessions and stores ask it while it is `held`."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)

    def pass_by(self, **time: float) -> None:
        """Lets time pass, or with negative numbers come back."""
        self.now += timedelta(**time)

    def text(self) -> str:
        """Returns the time as lists have it."""
        return self.now.isoformat(timespec="milliseconds")[:-6] + "Z"

    def _ns(self) -> int:
        return (self.now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000

    def held(self) -> ExitStack:
        """Has everybody ask this clock."""
        stack = ExitStack()
        for module in (session_module, store_module):
            stack.enter_context(patch.object(module, "time_ns", self._ns))
        return stack


def user(text: str) -> dict[str, Any]:
    """A user message."""
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    """An assistant message."""
    return {"role": "assistant", "content": text}


def ids(listed: Any) -> list[str]:
    """The ids of listed sessions."""
    return [info.id for info in listed]


def begin(store: SessionStore, id: str, *texts: str, **header: Any) -> str:
    """Begins a session in which the user says something."""
    with store.create(id=id, **header) as session:
        for text in texts or ("hello",):
            session.append(user(text))
    return id


def asked(store: SessionStore, text: str, **arguments: Any) -> list[tuple[str, str]]:
    """What a search finds: session and entry, in no order."""
    return sorted((hit.session_id, hit.entry_id) for hit in store.search(text, **arguments))


class StoreContract(ABC):
    """Tests over `self.open_store(place)`: a handle on the one store of that place.

    `shared` is False where a place has one handle only, `lasting` where a store does not outlive its handle.
    """

    shared = True
    lasting = True

    @abstractmethod
    def open_store(self, place: Path) -> SessionStore:
        """Opens a store, the same for the same place; the place is an empty directory of its own."""

    @pytest.fixture(autouse=True)
    def clock(self) -> Iterator[Clock]:
        """What time it is for everybody."""
        clock = Clock()
        with clock.held():
            yield clock

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[SessionStore]:
        """A new store."""
        with self.open_store(tmp_path) as opened:
            yield opened

    @pytest.fixture
    def other(self, tmp_path: Path, store: SessionStore) -> Iterator[SessionStore]:  # noqa: ARG002  # opened before
        """Another handle on the same store."""
        if not self.shared:
            pytest.skip("a store of one handle")
        with self.open_store(tmp_path) as opened:
            yield opened

    # --- create and open ---

    def test_a_new_store_is_empty(self, store: SessionStore) -> None:
        """It lists nothing, finds nothing, and has nothing to complain about."""
        assert list(store.list()) == []
        assert (store.latest(), store.resume(cwd="/a"), store.usage(), store.search("a")) == (None, None, [], [])
        assert store.findings == []
        assert store.location
        assert store.location in repr(store)

    def test_nothing_is_stored_before_the_first_record(self, store: SessionStore) -> None:
        """A session that nobody spoke in was never there; with its first record it is."""
        with store.create(id="s") as session:
            assert list(store.list()) == []
            with pytest.raises(SessionNotFound):
                store.open("s")
            session.append(user("hello"))
            assert ids(store.list()) == ["s"]
        with store.open("s") as session:
            assert session.id == "s"
            assert [entry.message for entry in session.path()] == [user("hello")]  # type: ignore[attr-defined]

    def test_a_session_begins_with_what_describes_it(self, store: SessionStore) -> None:
        """Whatever `create` is given is in the header, and comes back."""
        parent = ParentSession(id="p", entry_id="e", kind="task")
        header: dict[str, Any] = {
            "name": "N",
            "cwd": "/c",
            "git_root": "/g",
            "owner": "o",
            "metadata": {"k": [1, None]},
        }
        begin(store, "s", **header, parent_session=parent)
        with store.open("s", read_only=True) as session:
            assert {key: getattr(session.header, key) for key in header} == header
            assert session.header.parent_session == parent
            assert (session.name, session.metadata) == ("N", {"k": [1, None]})

    def test_an_id_is_made_up_when_none_is_given(self, store: SessionStore) -> None:
        """Two sessions never get the same."""
        with store.create() as one, store.create() as two:
            assert one.id != two.id
            one.append(user("1"))
            two.append(user("2"))
        assert sorted(ids(store.list())) == sorted([one.id, two.id])

    def test_a_session_can_only_be_created_once(self, store: SessionStore) -> None:
        """At the latest, its first append says so; nothing of it is stored."""
        begin(store, "s", "first")
        with pytest.raises(SessionExists), store.create(id="s") as session:
            session.append(user("second"))
        assert store.info("s").messages == 1

    def test_two_may_create_it_and_one_has(self, store: SessionStore) -> None:
        """Of two that found nothing, the second to append is told."""
        with store.create(id="s") as one, store.create(id="s") as two:
            one.append(user("first"))
            with pytest.raises(SessionExists):
                two.append(user("second"))
            one.append(user("third"))
        assert store.info("s").messages == 2

    def test_what_does_not_exist_is_not_found(self, store: SessionStore) -> None:
        """Every call that needs a session says so, and makes none."""
        calls: list[Callable[[str], object]] = [
            store.open,
            lambda each: store.open(each, read_only=True),
            store.fork,
            lambda each: store.rename(each, "n"),
            store.archive,
            store.unarchive,
            store.delete,
            store.info,
            store.usage,
            lambda each: store.usage(each, by="model"),
            lambda each: store.usage(each, by="branch"),
        ]
        for call in calls:
            with pytest.raises(SessionNotFound):
                call("nobody")
        assert (store.children("nobody"), list(store.list())) == ([], [])

    @pytest.mark.parametrize("id", NOT_IDS)
    def test_what_is_no_id_is_refused(self, store: SessionStore, id: str) -> None:
        """Ids are on an allow-list; none is ever a path."""
        for call in (store.open, store.fork, store.delete, store.info, store.archive, store.usage):
            with pytest.raises(InvalidMessage):
                call(id)
        with pytest.raises(InvalidMessage):
            store.create(id=id)
        with pytest.raises(InvalidMessage):
            store.open(id, create=True)
        begin(store, "s")
        with pytest.raises(InvalidMessage):
            store.fork("s", new_id=id)
        assert ids(store.list()) == ["s"]

    @pytest.mark.parametrize("id", ["0", "A", "a.b", "a:b-c_d", "x" * 128, "CON", "a.jsonl", "a..b"])
    def test_what_is_an_id_names_a_session(self, store: SessionStore, id: str) -> None:
        """Whatever the grammar allows."""
        begin(store, id)
        begin(store, f"b{id}"[:128])
        assert sorted(ids(store.list())) == sorted([id, f"b{id}"[:128]])
        assert store.delete(id) == [id]
        assert ids(store.list()) == [f"b{id}"[:128]]

    def test_open_creates_when_told_to(self, store: SessionStore) -> None:
        """Under the caller's id; who comes later finds it, and its own description does not matter."""
        with store.open("s", create=True, name="first", owner="o") as session:
            session.append(user("hello"))
        with store.open("s", create=True, name="second") as session:
            session.append(user("again"))
            assert (session.name, session.header.owner) == ("first", "o")
        assert store.info("s").messages == 2

    def test_several_may_begin_the_same_session(self, store: SessionStore, other: SessionStore) -> None:
        """Of two workers that open with `create`, both write to one session, and both know it."""
        with store.open("s", create=True) as one, other.open("s", create=True, on_stale="rebase") as two:
            first = one.append(user("first"))
            second = two.append(user("second"))
            assert second.parent_id == first.id
            assert [entry.id for entry in one.refresh()] == [second.id]
        assert store.info("s").messages == other.info("s").messages == 2

    def test_arguments_that_make_no_sense_together(self, store: SessionStore) -> None:
        """Reading creates nothing, and nothing describes a session that exists."""
        begin(store, "s")
        with pytest.raises(ValueError, match="create goes with writing"):
            store.open("s", create=True, read_only=True)
        with pytest.raises(TypeError, match="name"):
            store.open("s", name="n")
        with pytest.raises(TypeError, match="colour"):
            store.open("t", create=True, colour="red")
        with pytest.raises(ValueError, match="on_stale"):
            store.open("s", on_stale="never")  # type: ignore[arg-type]

    def test_a_reader_changes_nothing(self, store: SessionStore) -> None:
        """Every write is refused."""
        begin(store, "s")
        before = store.info("s")
        with store.open("s", read_only=True) as session:
            for write in (lambda: session.append(user("x")), lambda: session.rename("x"), session.archive):
                with pytest.raises(ReadOnlySession):
                    write()
        assert store.info("s") == before

    def test_what_cannot_be_stored_is_refused(self, store: SessionStore) -> None:
        """A lone surrogate is no text, in a message or a header; nothing is there afterwards."""
        for header in ({"name": "\udc80"}, {"cwd": "\ud800"}, {"metadata": {"a": float("nan")}}):
            with pytest.raises(InvalidMessage):
                store.create(**header)
        with store.create() as session, pytest.raises(InvalidMessage):
            session.append(user("\ud800"))
        assert list(store.list()) == []

    # --- what a list says ---

    def test_what_a_list_says_of_a_session(self, store: SessionStore, clock: Clock) -> None:
        """Every field."""
        created = clock.text()
        parent = ParentSession(id="p", entry_id=None, kind="fork")
        header: dict[str, Any] = {"name": "Trip", "cwd": "/c", "git_root": "/g", "owner": "o"}
        with store.create(id="s", **header, parent_session=parent) as session:
            session.append({"role": "system", "content": "be kind"})
            session.append(user("  where\nto? "))
            session.append(ModelChangeEntry(provider="anthropic", model="opus"))
            session.append(assistant("Rome"), provider="openai", model="gpt", usage={"input_tokens": 3})
            session.append(assistant("Oslo"), provider="openai", model="gpt", usage={"output_tokens": 4})
            clock.pass_by(seconds=90)
            last = session.append(user("thanks"))
            session.label(last.id, "end")
        expected = SessionInfo(
            id="s",
            **header,
            created=created,
            last_activity=clock.text(),
            entries=6,
            messages=5,
            first_user_message="where to?",
            last_user_message="thanks",
            models=("gpt", "opus"),
            usage=Usage(input_tokens=3, output_tokens=4),
            parent_session=parent,
            leaf_id=last.id,
        )
        assert list(store.list()) == [expected]
        assert store.info("s") == store.latest() == expected

    def test_what_a_list_leaves_out(self, store: SessionStore) -> None:
        """Long messages are cut, and what only the model sees is not what the user said."""
        with store.create(id="s") as session:
            session.append(user("é" * 5000))
            session.append(user("an hour has passed"), visible_to="model")
        info = store.info("s")
        assert info.first_user_message == info.last_user_message == "é" * 200

    def test_the_leaf_is_where_it_was_moved(self, store: SessionStore) -> None:
        """A list knows it without opening the session."""
        with store.create(id="s") as session:
            first = session.append(user("1"))
            session.append(user("2"))
            session.branch(first.id)
            assert store.info("s").leaf_id == first.id
            session.branch(None)
            assert store.info("s").leaf_id is None
            third = session.append(user("3"))
        assert (store.info("s").leaf_id, store.info("s").entries) == (third.id, 3)

    def test_odd_characters_come_back_or_are_spaced(self, store: SessionStore) -> None:
        """In names, owners, labels and messages; a NUL, which not every database takes, is listed as a space."""
        shown = ODD.replace("\0", " ")
        with store.create(id="s", name=ODD, owner=ODD, cwd=ODD) as session:
            session.label(session.append(user(ODD), provider=ODD, model=ODD, usage={"input_tokens": 1}).id, ODD)
            assert (session.name, list(session.labels.values())) == (ODD, [ODD])
        (info,) = store.list(owner=ODD, cwd=ODD)
        assert (info.name, info.owner, info.cwd, info.models) == (shown, shown, shown, (shown,))
        assert info.first_user_message == " ".join(shown.split())
        store.rename("s", f"again {ODD}")
        assert store.info("s").name == f"again {shown}"
        with store.open("s", read_only=True) as session:
            assert (session.name, session.header.owner) == (f"again {ODD}", ODD)

    # --- lists ---

    def test_lists_are_in_the_order_of_activity(self, store: SessionStore, clock: Clock) -> None:
        """Last active first, whatever was created when."""
        for id in "abc":
            begin(store, id)
            clock.pass_by(seconds=1)
        with store.open("a") as session:
            session.append(user("again"))
        assert ids(store.list()) == ["a", "c", "b"]
        latest = store.latest()
        assert latest is not None
        assert latest.id == "a"

    def test_every_filter(self, store: SessionStore, clock: Clock) -> None:
        """Each alone, and all together."""
        start = clock.now
        begin(store, "a", "plans for Rome", cwd="/x", git_root="/g", owner="ann")
        clock.pass_by(minutes=30)
        begin(store, "b", "plans for Oslo", cwd="/x", owner="bob")
        clock.pass_by(minutes=30)
        begin(store, "c", "nothing", cwd="/y", git_root="/g", owner="ann", name="Roman holiday")
        store.archive("b")
        found = {
            "": ids(store.list()),
            "cwd": ids(store.list(cwd="/x")),
            "git_root": ids(store.list(git_root="/g")),
            "owner": ids(store.list(owner="ann")),
            "archived": ids(store.list(archived=True)),
            "any": ids(store.list(archived=None)),
            "since": ids(store.list(since=start + timedelta(minutes=1), archived=None)),
            "since, as text": ids(store.list(since="2030-01-01T00:30:00Z", archived=None)),
            "until": ids(store.list(until=start + timedelta(minutes=30))),
            "text": ids(store.list(text="ROME")),
            "text in a name": ids(store.list(text="holiday roman")),
            "all": ids(store.list(cwd="/x", git_root="/g", owner="ann", text="rome plans", since=start)),
            "none": ids(store.list(cwd="/x", owner="nobody")),
        }
        assert found == {
            "": ["c", "a"],
            "cwd": ["a"],
            "git_root": ["c", "a"],
            "owner": ["c", "a"],
            "archived": ["b"],
            "any": ["c", "b", "a"],
            "since": ["c", "b"],
            "since, as text": ["c", "b"],
            "until": ["a"],
            "text": ["a"],
            "text in a name": ["c"],
            "all": ["a"],
            "none": [],
        }

    def test_since_is_inclusive_and_until_is_not(self, store: SessionStore, clock: Clock) -> None:
        """So that days in a row neither overlap nor leave gaps; a time without a zone is one in UTC."""
        begin(store, "a")
        now = clock.now
        assert ids(store.list(since=now)) == ids(store.list(since=now.replace(tzinfo=None))) == ["a"]
        assert ids(store.list(until=now)) == ids(store.list(since=now + timedelta(milliseconds=1))) == []
        assert ids(store.list(until=now + timedelta(milliseconds=1))) == ["a"]
        with pytest.raises(ValueError, match="RFC 3339"):
            store.list(since="yesterday")

    def test_text_in_names_is_compared_by_words(self, store: SessionStore) -> None:
        """In any order and case, with or without accents; wildcards and quotes are none."""
        begin(store, "a", name="Größe & ÄPFEL_100%")
        begin(store, "b", name="x")
        for text in ("äpfel", "apfel", "ÄPFEL größe", "grösse", "100%", "100"):
            assert ids(store.list(text=text)) == ["a"]
        for text in ("%fel", "_00", "pfel", "apfel x", "' OR 1=1 --"):
            assert ids(store.list(text=text)) == []
        for text in ("", " ", "%", "_", "'\"*"):  # no word that could be missing
            assert sorted(ids(store.list(text=text))) == ["a", "b"]

    def test_pages_follow_each_other(self, store: SessionStore, clock: Clock) -> None:
        """Without gap or overlap, also among sessions of the same moment and across hours."""
        for number in range(11):
            begin(store, f"s{number:02}")
            if number % 4 == 3:
                clock.pass_by(minutes=7)
        whole = ids(store.list(limit=None))
        assert whole == [f"s{number:02}" for number in range(10, -1, -1)]
        for limit in (1, 3, 4, 11, 12):
            found: list[str] = []
            cursor = None
            while True:
                page = store.list(limit=limit, cursor=cursor)
                assert len(page) == len(page.sessions) <= limit
                found += ids(page)
                cursor = page.cursor
                if cursor is None:
                    break
            assert found == whole

    def test_a_cursor_outlives_its_session(self, store: SessionStore, clock: Clock) -> None:
        """It is a place, not a session: what comes behind it comes, whatever happened to what was there."""
        for id in "abcd":
            begin(store, id)
            clock.pass_by(seconds=1)
        page = store.list(limit=2)
        assert ids(page) == ["d", "c"]
        store.delete("c")
        begin(store, "e")
        assert ids(store.list(limit=2, cursor=page.cursor)) == ["b", "a"]

    @pytest.mark.parametrize("cursor", ["", "a", "1", "1:", ":a", "1:a'b", "x:a", "9" * 30 + ":a", "1:../a", "1:a\n"])
    def test_what_is_no_cursor_is_refused(self, store: SessionStore, cursor: str) -> None:
        """A cursor comes from a page."""
        with pytest.raises(ValueError, match="cursor"):
            store.list(cursor=cursor)

    def test_limits_are_at_least_one(self, store: SessionStore) -> None:
        """Zero sessions are no page."""
        with pytest.raises(ValueError, match="limit"):
            store.list(limit=0)
        with pytest.raises(ValueError, match="limit"):
            store.search("a", limit=0)

    def test_times_before_1970_are_times(self, store: SessionStore, clock: Clock) -> None:
        """And can be paged over."""
        clock.now = datetime(1969, 7, 20, 20, 17, 40, tzinfo=UTC)
        begin(store, "eagle")
        begin(store, "apollo")
        page = store.list(limit=1)
        assert (ids(page), ids(store.list(cursor=page.cursor))) == (["eagle"], ["apollo"])
        assert store.info("eagle").last_activity == "1969-07-20T20:17:40.000Z"

    # --- resume ---

    def test_resume_opens_the_last_session_of_a_directory(self, store: SessionStore, clock: Clock) -> None:
        """Same directory or same git root; the last active one."""
        begin(store, "a", cwd="/x", git_root="/g")
        clock.pass_by(seconds=1)
        begin(store, "b", cwd="/y", git_root="/g")
        clock.pass_by(seconds=1)
        begin(store, "c", cwd="/z")

        def resumed(**place: Any) -> str | None:
            session = store.resume(**place)
            if session is None:
                return None
            with session:
                return session.id

        assert resumed(cwd="/x") == "a"
        assert resumed(cwd="/x", git_root="/g") == "b"
        assert resumed(cwd="/new", git_root="/g") == "b"
        assert resumed(cwd="/new") is None
        assert resumed(cwd=None) is None
        assert resumed(cwd="/x", owner="ann") is None

    def test_resume_leaves_what_is_old_archived_or_a_task(self, store: SessionStore, clock: Clock) -> None:
        """And what is exactly as old as it may be is taken; no age means never."""
        begin(store, "a", cwd="/x")
        begin(store, "t", cwd="/x", parent_session=ParentSession(id="a", kind="task"))
        clock.pass_by(hours=1)
        hour: list[Any] = [timedelta(hours=1), 3600, float("inf"), timedelta.max]
        for age in hour:
            session = store.resume(cwd="/x", max_age=age)
            assert session is not None
            assert session.id == "a"
            session.close()
        never: list[Any] = [timedelta(0), 0, -1, timedelta(days=-1), float("-inf"), 3599.9]
        assert [store.resume(cwd="/x", max_age=age) for age in never] == [None] * len(never)
        with pytest.raises(ValueError, match="age"):
            store.resume(cwd="/x", max_age=float("nan"))
        store.archive("a")
        assert store.resume(cwd="/x", max_age=timedelta(days=1)) is None

    def test_resume_changes_nothing_by_looking(self, store: SessionStore, clock: Clock) -> None:
        """Only a note does, which the model sees and the user does not."""
        begin(store, "a", "hello", cwd="/x")
        before = store.info("a")
        clock.pass_by(minutes=5)
        session = store.resume(cwd="/x")
        assert session is not None
        session.close()
        assert store.info("a") == before
        session = store.resume(cwd="/x", note="5 minutes later")
        assert session is not None
        with session:
            assert session.build_context().messages == [user("hello"), user("5 minutes later")]
            assert [entry.visible_to for entry in session.path()] == ["all", "model"]  # type: ignore[attr-defined]
        after = store.info("a")
        assert (after.messages, after.last_user_message, after.last_activity) == (2, "hello", clock.text())

    # --- rename, archive, delete, prune ---

    def test_rename_and_take_the_name_away(self, store: SessionStore) -> None:
        """A name is found by its words, and gone when it is gone."""
        begin(store, "a", name="first")
        store.rename("a", "second try")
        assert (store.info("a").name, ids(store.list(text="try")), ids(store.list(text="first"))) == (
            "second try",
            ["a"],
            [],
        )
        store.rename("a", None)
        assert (store.info("a").name, ids(store.list(text="try"))) == (None, [])

    def test_archive_and_take_back(self, store: SessionStore) -> None:
        """What is archived is in no list unless asked for, and still there."""
        begin(store, "a")
        store.archive("a")
        store.archive("a")
        assert (ids(store.list()), store.latest(), ids(store.list(archived=True))) == ([], None, ["a"])
        assert store.info("a").archived
        with store.open("a") as session:
            assert session.archived
        store.unarchive("a")
        assert (ids(store.list()), ids(store.list(archived=True))) == (["a"], [])
        assert not store.info("a").archived

    def test_delete_takes_sub_agents_along_and_leaves_forks(self, store: SessionStore) -> None:
        """At any depth; the ids of all that are gone come back, the session's own last."""
        begin(store, "a")
        begin(store, "t", parent_session=ParentSession(id="a", kind="task"))
        begin(store, "u", parent_session=ParentSession(id="t", kind="task"))
        store.fork("a", new_id="f").close()
        begin(store, "v", parent_session=ParentSession(id="f", kind="task"))
        assert store.delete("a") == ["u", "t", "a"]
        assert sorted(ids(store.list(tasks=True))) == ["f", "v"]
        for id in "atu":
            with pytest.raises(SessionNotFound):
                store.open(id)
        with store.open("f") as session:
            assert len(session.path()) == 1

    def test_sub_agents_of_each_other_end_nothing(self, store: SessionStore) -> None:
        """Nobody should make such a ring; whoever does, sees every call end."""
        begin(store, "a", parent_session=ParentSession(id="b", kind="task"))
        begin(store, "b", parent_session=ParentSession(id="a", kind="task"))
        assert ids(store.children("a")) == ["b"]
        assert store.usage("a")[0].session_id == "a"
        assert store.delete("a") == ["b", "a"]

    def test_deleting_what_is_not_there_deletes_nothing(self, store: SessionStore) -> None:
        """Not the sub-agents of a session that was never stored, either."""
        begin(store, "t", parent_session=ParentSession(id="a", kind="task"))
        with pytest.raises(SessionNotFound):
            store.delete("a")
        assert ids(store.list(tasks=True)) == ["t"]

    def test_an_id_can_be_used_again(self, store: SessionStore) -> None:
        """What was deleted leaves no trace in what comes after it under its name."""
        for text in ("first", "other"):
            begin(store, "a", text, name=text)
            info = store.info("a")
            assert (info.messages, info.first_user_message, info.name) == (1, text, text)
            assert len(store.search(text)) == 1
            store.delete("a")
            assert (list(store.list()), store.search(text)) == ([], [])

    def test_who_has_a_deleted_session_open_is_told(self, store: SessionStore) -> None:
        """Nothing is written into nowhere."""
        begin(store, "a")
        with store.open("a") as session:
            store.delete("a")
            with pytest.raises(ConvtreeError):
                session.append(user("is anybody there?"))
        assert list(store.list(archived=None, tasks=True)) == []

    def test_prune_by_age_and_number(self, store: SessionStore, clock: Clock) -> None:
        """It first says what would go; sub-agents go with theirs, and other owners' sessions stay."""
        for id in "abcde":
            begin(store, id, owner="ann")
            clock.pass_by(days=1)
        begin(store, "z", owner="bob")
        begin(store, "t", parent_session=ParentSession(id="a", kind="task"))
        store.archive("e")  # archived sessions count as well, and this was activity
        assert ids(store.prune(keep=3)) == ["c", "b", "a"]
        assert ids(store.prune(max_age=timedelta(days=3.5), owner="ann")) == ["b", "a"]
        assert ids(store.prune(max_age=timedelta(days=3.5).total_seconds(), owner="ann")) == ["b", "a"]
        assert ids(store.prune(max_age=timedelta(days=9), keep=4, owner="ann")) == ["a"]
        assert ids(store.prune(keep=0, owner="bob")) == ["z"]
        assert len(store.list(archived=None)) == 6
        assert ids(store.prune(max_age=timedelta(days=3.5), owner="ann", dry_run=False)) == ["b", "a"]
        assert sorted(ids(store.list(archived=None, tasks=True))) == ["c", "d", "e", "z"]

    def test_prune_deletes_nothing_by_mistake(self, store: SessionStore) -> None:
        """It needs a rule, and a rule that says something."""
        begin(store, "a")
        wrong: list[dict[str, Any]] = [{}, {"keep": -1}, {"max_age": 0}, {"max_age": timedelta(days=-1)}]
        for rules in wrong:
            with pytest.raises(ValueError, match=r"prune|keep|max_age"):
                store.prune(**rules, dry_run=False)
        assert ids(store.prune(keep=1, dry_run=False)) == ids(store.prune(max_age=1, dry_run=False)) == []
        assert ids(store.list()) == ["a"]

    # --- forks and sub-agents ---

    def test_fork_a_whole_session(self, store: SessionStore, clock: Clock) -> None:
        """Entries keep their ids; labels, name and description go along; both go on apart."""
        with store.create(id="a", name="N", cwd="/x", owner="o", metadata={"k": 1}) as session:
            first = session.append(user("1"))
            second = session.append(assistant("2"))
            session.label(first.id, "start")
        clock.pass_by(seconds=1)
        with store.fork("a", new_id="f") as fork:
            assert [entry.id for entry in fork.path()] == [first.id, second.id]
            assert (fork.id, fork.name, fork.labels, fork.metadata) == ("f", "N", {first.id: "start"}, {"k": 1})
            assert fork.header.parent_session == ParentSession(id="a", entry_id=second.id, kind="fork")
            third = fork.append(user("3"))
        info = store.info("f")
        assert (info.name, info.cwd, info.owner, info.entries, info.leaf_id) == ("N", "/x", "o", 3, third.id)
        assert (info.created, store.info("a").entries) == (clock.text(), 2)
        assert ids(store.list()) == ["f", "a"]

    def test_fork_up_to_an_entry(self, store: SessionStore) -> None:
        """Only the path to it is copied, and only the labels on that."""
        with store.create(id="a") as session:
            first = session.append(user("1"))
            session.append(user("2"))
            third = session.append(user("3"), parent_id=first.id)
            for entry, text in ((first, "one"), (third, "three")):
                session.label(entry.id, text)
            session.branch(None)
        with store.fork("a", first.id) as one, store.fork("a", third.id) as two, store.fork("a", None) as none:
            assert [entry.id for entry in one.path()] == [first.id]
            assert [entry.id for entry in two.path()] == [first.id, third.id]
            assert (one.labels, two.labels) == ({first.id: "one"}, {first.id: "one", third.id: "three"})
            assert none.path() == []
        with store.fork("a") as at_leaf:  # which is before the first entry
            assert at_leaf.path() == []

    def test_a_fork_is_there_whole_or_not_at_all(self, store: SessionStore) -> None:
        """What cannot be copied leaves nothing, and nothing is overwritten."""
        begin(store, "a", "1")
        begin(store, "b", "2", "3")
        with pytest.raises(EntryNotFound):
            store.fork("a", "nothing", new_id="f")
        with pytest.raises(SessionExists):
            store.fork("a", new_id="b")
        assert sorted(ids(store.list())) == ["a", "b"]
        assert store.info("b").messages == 2

    def test_a_long_session_is_forked_whole(self, store: SessionStore) -> None:
        """More entries than anybody takes at once."""
        with store.create(id="a") as session:
            session.append_many([user(str(number)) for number in range(1200)])
            label = session.leaf_id
            assert label is not None
            session.label(label, "end")
        with store.fork("a", new_id="f") as fork:
            assert [entry.text for entry in fork.path()] == [str(number) for number in range(1200)]  # type: ignore[attr-defined]
        assert (store.info("f").entries, store.info("f").last_user_message) == (1200, "1199")

    def test_children_are_forks_and_sub_agents(self, store: SessionStore, clock: Clock) -> None:
        """Those of one session, last active first; `list` tells them apart."""
        begin(store, "a")
        begin(store, "t", parent_session=ParentSession(id="a", kind="task"))
        clock.pass_by(seconds=1)
        store.fork("a", new_id="f").close()
        store.fork("f", new_id="g").close()
        assert ids(store.children("a")) == ["f", "t"]
        assert ids(store.list(parent="a")) == ["f"]
        assert ids(store.list(parent="a", tasks=True)) == ["f", "t"]
        assert [info.parent_session and info.parent_session.kind for info in store.children("a")] == ["fork", "task"]

    def test_sub_agents_stay_out_unless_asked_for(self, store: SessionStore, clock: Clock) -> None:
        """Of lists, of `latest`, of searches."""
        begin(store, "a", "plan", cwd="/x")
        clock.pass_by(seconds=1)
        begin(store, "t", "plan", cwd="/x", parent_session=ParentSession(id="a", kind="task"))
        assert (ids(store.list()), ids(store.list(tasks=True))) == (["a"], ["t", "a"])
        latest = store.latest(cwd="/x")
        assert latest is not None
        assert latest.id == "a"
        assert [hit.session_id for hit in store.search("plan")] == ["a"]
        assert sorted(hit.session_id for hit in store.search("plan", tasks=True)) == ["a", "t"]
        assert store.info("t").id == "t"

    # --- search ---

    def test_search_finds_messages_with_all_words(self, store: SessionStore) -> None:
        """In any order and case, punctuation or not; never parts of words."""
        with store.create(id="a") as session:
            one = session.append(user("Where shall we go: Rome, or Oslo?")).id
            two = session.append(assistant("To ROME!")).id
        begin(store, "b", "nothing of the kind")
        expected = {
            "rome": [one, two],
            "ROME oslo": [one],
            "oslo, rome.": [one],
            '"rome" -oslo': [one],
            "rome paris": [],
            "rom": [],
            "": [],
            "?!": [],
        }
        for text, found in expected.items():
            assert asked(store, text) == sorted(("a", id) for id in found)

    @pytest.mark.parametrize(
        ("text", "finds", "not_found"),
        [
            ("Größe und STRASSE", ["größe", "GRÖSSE", "straße", "grosse"], ["groß"]),
            ("le caf\u00e9 cre\u0300me", ["café", "cafe\u0301", "CAFE", "crème"], ["caf"]),
            ("東京に行きたい", ["東京", "行き", "京に"], ["大阪"]),
            ("ガイドを見た", ["ガイド", "カ\u3099イト\u3099"], ["ハイト"]),
            ("한국어 문장", ["한국어", "문장"], ["국어"]),
            ("ภาษาไทย", ["ภาษา"], ["ฟ"]),
            ("Привет, мир", ["привет", "МИР"], ["ми"]),
            ("fox 🦊 and 🐺 wolf", ["🦊 fox", "fox wolf"], ["🐈 cat"]),
            ("a AND b OR NOT c NEAR(d) e*", ["and or not near", "NEAR(d)", "e*", "OR"], ["zebra OR a"]),
            ('say "hello" {x: 1} ^start col:umn', ['"hello', "^start", "col:umn", "{x:"], ['"bye"', "x:2"]),
            ("Robert'); DROP TABLE ct_lines;--", ["Robert');", "drop table"], ["' OR '1'='1", "--"]),
            ("100% of snake_case", ["100%", "snake", "snake_case", "_case"], ["%", "1%"]),
            ("x \U0001e900 ᦰ y", ["\U0001e900", "ᦰ"], ["ᦱ"]),
            ("\0nul\0", ["nul", "\0nul"], ["\0x"]),
        ],
    )
    def test_text_is_only_ever_text(
        self, store: SessionStore, text: str, finds: list[str], not_found: list[str]
    ) -> None:
        """Any script, in any encoding of it, and operators of anybody's query language."""
        begin(store, "a", text)
        begin(store, "b", "something else altogether")
        assert [query for query in finds if [hit.session_id for hit in store.search(query)] != ["a"]] == []
        assert [query for query in not_found if store.search(query)] == []

    def test_what_a_hit_says(self, store: SessionStore, clock: Clock) -> None:
        """Every field; the snippet is cut around the first word that was found."""
        with store.create(id="a", name="N") as session:
            entry = session.append(assistant("so " * 200 + "here is the\nneedle, " + "and " * 200))
        (hit,) = store.search("NEEDLE")
        assert hit == Hit(
            session_id="a",
            session_name="N",
            entry_id=entry.id,
            role="assistant",
            timestamp=entry.timestamp,
            snippet=hit.snippet,
            on_path=True,
            score=hit.score,
        )
        assert "here is the needle, and" in hit.snippet
        assert hit.snippet[0] == hit.snippet[-1] == "…"
        assert len(hit.snippet) <= 200
        assert clock.text()[:19] in (hit.timestamp or "")

    def test_hits_on_side_branches_say_so(self, store: SessionStore) -> None:
        """What does not lead to the leaf lies on a side branch, until the leaf moves there."""
        with store.create(id="a") as session:
            root = session.append(user("needle root")).id
            side = session.append(user("needle side")).id
            main = session.append(user("needle main"), parent_id=root).id
        assert {hit.entry_id: hit.on_path for hit in store.search("needle")} == {root: True, side: False, main: True}
        with store.open("a") as session:
            session.branch(None)
        assert {hit.on_path for hit in store.search("needle")} == {False}

    def test_better_hits_come_first(self, store: SessionStore) -> None:
        """Scores never grow, and the limit keeps the best."""
        begin(store, "much", "needle needle needle")
        begin(store, "less", "needle " + "hay " * 300)
        begin(store, "none", "hay")
        hits = store.search("needle")
        assert [hit.session_id for hit in hits] == ["much", "less"]
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert store.search("needle", limit=1) == hits[:1]

    def test_search_can_be_narrowed(self, store: SessionStore) -> None:
        """By directory, owner and archive; archived sessions are searched unless told otherwise."""
        begin(store, "a", "needle", cwd="/x", owner="ann")
        begin(store, "b", "needle", cwd="/y", owner="bob")
        store.archive("b")
        everywhere: list[tuple[dict[str, Any], list[str]]] = [
            ({}, ["a", "b"]),
            ({"cwd": "/x"}, ["a"]),
            ({"owner": "bob"}, ["b"]),
            ({"archived": False}, ["a"]),
            ({"archived": True, "owner": "ann"}, []),
        ]
        for narrowed, found in everywhere:
            assert sorted(hit.session_id for hit in store.search("needle", **narrowed)) == found

    def test_long_questions_and_long_messages(self, store: SessionStore) -> None:
        """A message of a megabyte is found by its first words, and a question of thousands of words is answered."""
        text = "needle " + " ".join(f"w{number}" for number in range(150_000))
        begin(store, "a", text)
        assert asked(store, "needle w1")[0][0] == "a"
        assert asked(store, " ".join(f"w{number}" for number in range(5000)))[0][0] == "a"
        assert asked(store, "needle " * 5000)[0][0] == "a"
        assert store.search(" ".join(f"x{number}" for number in range(5000))) == []

    # --- usage ---

    @pytest.mark.parametrize("provider", PROVIDERS)
    def test_every_providers_usage_is_understood(self, store: SessionStore, provider: str) -> None:
        """No token is counted twice; what is not understood is nothing."""
        usage, expected = PROVIDERS[provider]
        with store.create(id="a") as session:
            session.append(assistant("hi"), usage=usage)
        assert [(row.session_id, row.usage) for row in store.usage("a")] == [("a", expected)]
        assert store.info("a").usage == expected

    def test_usage_by_session_model_and_branch(self, store: SessionStore) -> None:
        """Sums of one session, and of all."""
        with store.create(id="a", owner="ann") as session:
            root = session.append(user("?"))
            one = session.append(assistant("1"), provider="p", model="m", usage={"output_tokens": 1, "cost": 0.25})
            two = session.append(
                assistant("2"), provider="p", model="n", usage={"output_tokens": 2, "cost": 0.5}, parent_id=root.id
            )
        with store.create(id="b") as session:
            session.append(assistant("3"), provider="p", model="m", usage={"output_tokens": 4})
        by_session = {row.session_id: row.usage for row in store.usage()}
        assert by_session == {"a": Usage(output_tokens=3, cost=0.75), "b": Usage(output_tokens=4)}
        by_model = [(row.provider, row.model, row.usage) for row in store.usage(by="model")]
        assert by_model == [
            ("p", "m", Usage(output_tokens=5, cost=0.25)),
            ("p", "n", Usage(output_tokens=2, cost=0.5)),
        ]
        assert [(row.model, row.usage.output_tokens) for row in store.usage("b", by="model")] == [("m", 4)]
        assert [(row.leaf_id, row.usage) for row in store.usage("a", by="branch")] == [
            (one.id, Usage(output_tokens=1, cost=0.25)),
            (two.id, Usage(output_tokens=2, cost=0.5)),
        ]
        assert [row.session_id for row in store.usage(owner="ann")] == ["a"]
        with pytest.raises(ValueError, match="branches"):
            store.usage(by="branch")
        with pytest.raises(ValueError, match="by"):
            store.usage(by="day")  # type: ignore[arg-type]

    def test_sub_agents_are_part_of_their_session(self, store: SessionStore) -> None:
        """At any depth, by session and by model; asked for alone, they answer for themselves."""
        parents = {"a": None, "t": "a", "u": "t", "v": "a"}
        for number, (id, parent) in enumerate(parents.items()):
            origin = None if parent is None else ParentSession(id=parent, kind="task")
            with store.create(id=id, parent_session=origin) as session:
                session.append(assistant("x"), model=f"m{number}", usage={"output_tokens": 10**number})
        assert [(row.session_id, row.usage.output_tokens) for row in store.usage()] == [("a", 1111)]
        assert [(row.session_id, row.usage.output_tokens) for row in store.usage("t")] == [("t", 110)]
        assert [(row.model, row.usage.output_tokens) for row in store.usage(by="model")] == [
            ("m3", 1000),
            ("m2", 100),
            ("m1", 10),
            ("m0", 1),
        ]
        assert store.info("a").usage.output_tokens == 1

    def test_what_a_fork_has_copied_is_counted_once(self, store: SessionStore) -> None:
        """In the session that paid for it; a fork of a fork, and what a fork spends itself, too."""
        with store.create(id="a") as session:
            for number in range(3):
                session.append(assistant(str(number)), model="m", usage={"output_tokens": 10**number})
        for origin, fork, spent in (("a", "f", 1000), ("f", "g", 10_000)):
            with store.fork(origin, new_id=fork) as session:
                session.append(assistant("more"), model="m", usage={"output_tokens": spent})
        store.fork("g", new_id="h").close()
        expected = {"a": 111, "f": 1000, "g": 10_000, "h": 0}
        assert {row.session_id: row.usage.output_tokens for row in store.usage()} == expected
        assert {info.id: info.usage.output_tokens for info in store.list()} == expected
        assert sum(row.usage.output_tokens for row in store.usage(by="model")) == 11_111
        by_branch = {id: [row.usage.output_tokens for row in store.usage(id, by="branch")] for id in expected}
        assert by_branch == {id: [tokens] for id, tokens in expected.items()}

    def test_who_only_says_to_be_a_fork_pays_for_itself(self, store: SessionStore) -> None:
        """A session whose header names an entry that it has no copy of has copied nothing."""
        with store.create(id="a", parent_session=ParentSession(id="p", entry_id="e", kind="fork")) as session:
            session.append(assistant("x"), model="m", usage={"output_tokens": 7})
        assert store.info("a").usage.output_tokens == store.usage("a")[0].usage.output_tokens == 7
        assert store.usage("a", by="branch")[0].usage.output_tokens == 7

    def test_absurd_numbers_spoil_no_sum(self, store: SessionStore) -> None:
        """A provider that counts wrong must not break what comes after it."""
        with store.create(id="a") as session:
            for number in (2**63, -1, 2**64 - 1, 1e300, 5):
                session.append(assistant("x"), model="m", usage={"output_tokens": number, "cost": number})
        assert store.usage("a")[0].usage == Usage(output_tokens=5, cost=5.0)

    # --- two handles, and the end ---

    def test_what_one_handle_writes_the_other_lists(self, store: SessionStore, other: SessionStore) -> None:
        """At once, and all of it."""
        begin(store, "a", "needle", name="N")
        assert other.info("a") == store.info("a")
        assert len(other.search("needle")) == 1
        other.rename("a", "M")
        assert store.info("a").name == "M"
        with other.open("a") as session:
            session.append(assistant("thread"), usage={"output_tokens": 3})
        assert (store.info("a").messages, store.usage("a")[0].usage.output_tokens) == (2, 3)
        assert len(store.search("thread")) == 1
        store.delete("a")
        assert (list(other.list()), other.search("needle")) == ([], [])

    def test_sessions_of_two_handles_are_two_parties(self, store: SessionStore, other: SessionStore) -> None:
        """Who has not seen the last word is told before anything is written."""
        begin(store, "a")
        with store.open("a") as one, other.open("a") as two:
            first = one.append(user("one"))
            with pytest.raises(StaleLeaf) as caught:
                two.append(user("two"))
            assert caught.value.actual == first.id
            assert [entry.id for entry in two.refresh()] == [first.id]
            assert two.append(user("two")).parent_id == first.id
        assert (store.info("a").messages, other.info("a").messages) == (3, 3)

    def test_two_handles_cannot_both_create(self, store: SessionStore, other: SessionStore) -> None:
        """The second to append is told, also across handles."""
        with store.create(id="a") as one, other.create(id="a") as two:
            two.append(user("first"))
            with pytest.raises(SessionExists):
                one.append(user("second"))
        assert store.info("a").first_user_message == "first"

    def test_a_store_outlives_its_handle(self, store: SessionStore, tmp_path: Path) -> None:
        """What was in it is there when it is opened again."""
        if not self.lasting:
            pytest.skip("gone with its handle")
        begin(store, "a", "needle", name="N")
        before = store.info("a")
        store.close()
        with self.open_store(tmp_path) as again:
            assert list(again.list()) == [before]
            assert len(again.search("needle")) == 1

    def test_threads_share_a_store(self, store: SessionStore) -> None:
        """Each with a session of its own, and all lists true at the end."""
        start, failed = Barrier(4), []

        def run(name: str) -> None:
            try:
                start.wait()
                for number in range(5):
                    begin(store, f"{name}{number}", f"needle {name}")
                    assert store.info(f"{name}{number}").messages == 1
                    assert len(store.search(name)) == number + 1
                store.delete(f"{name}0")
            except BaseException as error:
                failed.append(error)

        threads = [Thread(target=run, args=(f"t{number}x",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert len(store.list()) == 16

    def test_a_closed_store_says_so(self, store: SessionStore) -> None:
        """Closing twice is closing once; sessions that are open stay open."""
        with store.create(id="a") as session:
            session.append(user("1"))
            store.close()
            store.close()
            session.append(user("2"))
            assert len(session.path()) == 2
        calls: list[Callable[[], object]] = [
            store.list,
            store.latest,
            lambda: store.open("a"),
            store.create,
            lambda: store.search("1"),
            lambda: store.delete("a"),
            lambda: store.findings,
        ]
        for call in calls:
            with pytest.raises(SessionClosed):
                call()


# --- a store against a model --------------------------------------------------------------------------------------


class _Model:
    """What a machine knows of a session."""

    def __init__(self, moment: int, name: str | None) -> None:
        self.name, self.archived, self.active = name, False, moment
        self.entries: list[str] = []
        self.parents: dict[str, str | None] = {}
        self.texts: dict[str, str] = {}
        self.spent: dict[str, int] = {}
        self.copied: frozenset[str] = frozenset()
        self.leaf: str | None = None

    def path(self, entry: str | None) -> list[str]:
        found = []
        while entry is not None:
            found.append(entry)
            entry = self.parents[entry]
        return found[::-1]


_IDS = st.sampled_from(["a", "b", "c", "d.e"])
_NAMES = st.none() | st.sampled_from(["Rome", "Oslo trip", "100%"])
_WORDS = st.lists(st.sampled_from(["rome", "Oslo", "trip", "É", "東"]), min_size=1, max_size=3).map(" ".join)


class StoreMachine(RuleBasedStateMachine):
    """Compares a store, through two handles, with a model of it; `store_machine` makes the class."""

    open_store: Callable[[Path], SessionStore]
    shared = True

    @initialize()
    def begin(self) -> None:
        """Opens the handles."""
        self.place = Path(tempfile.mkdtemp(prefix="convtree-store-"))
        self.clock, self.held = Clock(), ExitStack()
        self.held.enter_context(self.clock.held())
        first = type(self).open_store(self.place)
        self.stores = [first, type(self).open_store(self.place) if self.shared else first]
        self.models: dict[str, _Model] = {}
        self.moment = 0

    def teardown(self) -> None:
        """Closes them."""
        if hasattr(self, "stores"):
            for store in self.stores:
                store.close()
            self.held.close()
            shutil.rmtree(self.place)

    def _tick(self) -> int:
        self.clock.pass_by(minutes=3)
        self.moment += 1
        return self.moment

    @rule(handle=st.integers(0, 1), id=_IDS, name=_NAMES, text=_WORDS, spent=st.integers(0, 3))
    def speak(self, handle: int, id: str, name: str | None, text: str, spent: int) -> None:
        """Begins a session, or goes on with it."""
        moment = self._tick()
        with self.stores[handle].open(id, create=True, name=name) as session:
            model = self.models.setdefault(id, _Model(moment, name))
            entry = session.append(user(text), model="m", usage={"output_tokens": spent})
        assert entry.parent_id == model.leaf
        self._say(model, moment, entry.id, text, spent)

    def _say(self, model: _Model, moment: int, entry: str, text: str, spent: int) -> None:
        model.entries.append(entry)
        model.parents[entry], model.leaf = model.leaf, entry
        model.texts[entry], model.spent[entry], model.active = text, spent, moment

    @rule(handle=st.integers(0, 1), id=_IDS, at=st.integers(0, 9))
    def branch(self, handle: int, id: str, at: int) -> None:
        """Moves the leaf, which is activity when it moves."""
        if (model := self.models.get(id)) is None:
            return
        target = [None, *model.entries][at % (len(model.entries) + 1)]
        moment = self._tick()
        with self.stores[handle].open(id) as session:
            session.branch(target)
        if target != model.leaf:
            model.leaf, model.active = target, moment

    @rule(handle=st.integers(0, 1), id=_IDS, name=_NAMES)
    def rename(self, handle: int, id: str, name: str | None) -> None:
        """Gives a session another name, if there is one."""
        self._change(handle, id, lambda store: store.rename(id, name), name=name)

    @rule(handle=st.integers(0, 1), id=_IDS, archived=st.booleans())
    def archive(self, handle: int, id: str, archived: bool) -> None:
        """Puts a session away, or takes it back, if there is one."""
        self._change(handle, id, lambda store: store.archive(id, archived), archived=archived)

    def _change(self, handle: int, id: str, change: Callable[[SessionStore], None], **facts: Any) -> None:
        moment = self._tick()
        if id not in self.models:
            with pytest.raises(SessionNotFound):
                change(self.stores[handle])
            return
        change(self.stores[handle])
        vars(self.models[id]).update(facts, active=moment)

    @rule(handle=st.integers(0, 1), id=_IDS)
    def delete(self, handle: int, id: str) -> None:
        """Deletes a session, if there is one."""
        if self.models.pop(id, None) is None:
            with pytest.raises(SessionNotFound):
                self.stores[handle].delete(id)
        else:
            assert self.stores[handle].delete(id) == [id]

    @rule(handle=st.integers(0, 1), id=_IDS, new_id=_IDS, at=st.integers(0, 9))
    def fork(self, handle: int, id: str, new_id: str, at: int) -> None:
        """Copies a path, if there is one and its place is free."""
        model = self.models.get(id)
        if model is None or new_id in self.models:
            with pytest.raises(SessionNotFound if model is None else SessionExists):
                self.stores[handle].fork(id, new_id=new_id)
            return
        target = [None, *model.entries][at % (len(model.entries) + 1)]
        path = model.path(target)
        if not path and model.name is None:
            return  # a fork of nothing is a log without a record
        moment = self._tick()
        self.stores[handle].fork(id, target, new_id=new_id).close()
        copy = self.models[new_id] = _Model(moment, model.name)
        for entry in path:
            self._say(copy, model.active, entry, model.texts[entry], model.spent[entry])
        copy.copied = frozenset(path)
        copy.active = moment  # what was copied is older, and was no activity in the fork

    @rule(handle=st.integers(0, 1), text=_WORDS)
    def search(self, handle: int, text: str) -> None:
        """Finds the messages that have all the words."""
        words = set(text.lower().split())
        expected = {
            (id, entry): entry in model.path(model.leaf)
            for id, model in self.models.items()
            for entry, said in model.texts.items()
            if words <= set(said.lower().split())
        }
        hits = self.stores[handle].search(text, limit=1000)
        assert {(hit.session_id, hit.entry_id): hit.on_path for hit in hits} == expected

    @invariant()
    def lists_are_true(self) -> None:
        """Both handles list every session as it is, last active first."""
        if not hasattr(self, "stores"):
            return
        expected = [
            (id, model.name, model.archived, len(model.entries), model.leaf, self._own(model))
            for id, model in sorted(self.models.items(), key=lambda each: (-each[1].active, each[0]))
        ]
        for store in self.stores:
            listed = store.list(archived=None, limit=None)
            found = [
                (info.id, info.name, info.archived, info.entries, info.leaf_id, info.usage.output_tokens)
                for info in listed
            ]
            assert found == expected
            assert store.findings == []

    @staticmethod
    def _own(model: _Model) -> int:
        return sum(spent for entry, spent in model.spent.items() if entry not in model.copied)


def store_machine(open_store: Callable[[Path], SessionStore], *, shared: bool = True) -> type[StoreMachine]:
    """Makes a state machine over stores that `open_store(place)` opens; its `TestCase` is what pytest runs.

    With `shared`, the same place is opened twice and both handles are used. How many examples and steps it makes is
    up to the settings of its `TestCase`.
    """
    made = type("Machine", (StoreMachine,), {"open_store": staticmethod(open_store), "shared": shared})
    assert issubclass(made, StoreMachine)
    return made
