"""Lists: their fields, order, filters and pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from convtree._catalogue.types import SessionInfo
from convtree._model.entries import (
    Header,
    LostEntry,
    MessageEntry,
    ModelChangeEntry,
    ParentSession,
    Visibility,
    VisibilityMark,
)
from convtree._model.usage import Usage
from convtree.stores._session_store import SessionStore
from convtree.testing._base import ODD, Clock, StoreTests, assistant, begin, ids, user


class ListTests(StoreTests):
    """Lists: their fields, order, filters and pages."""

    def test_the_fields_of_a_listed_session(self, store: SessionStore, clock: Clock) -> None:
        """All fields of SessionInfo."""
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
            title="Trip",
            first_user_message="where to?",
            last_user_message="thanks",
            models=("gpt", "opus"),
            usage=Usage(input_tokens=3, output_tokens=4),
            parent_session=parent,
            leaf_id=last.id,
        )
        assert list(store.list()) == [expected]
        assert store.info("s") == store.latest() == expected

    def test_short_ids_stand_for_one_session(self, store: SessionStore) -> None:
        """The shortest beginning of that length that no other id has. An id that others begin with stays whole."""
        for id in ("abcd-12", "abcd-13", "abcd", "abcd-2", "x", "other"):
            begin(store, id, owner="ann" if id == "abcd-12" else None)
        ids = ["abcd-12", "abcd", "abcd-2", "x", "not-there"]
        assert store.short_ids(ids, fewest=4) == {
            "abcd-12": "abcd-12",
            "abcd": "abcd",
            "abcd-2": "abcd-2",
            "x": "x",
            "not-there": "not-",
        }
        assert store.short_ids(["other"], fewest=1) == {"other": "o"}
        assert store.short_ids(["abcd-12", "not-there"]) == {"abcd-12": "abcd-12", "not-there": "not-ther"}
        assert store.short_ids([]) == {}
        assert store.scoped(owner="ann").short_ids(["abcd-12"], fewest=2) == {"abcd-12": "ab"}

    def test_excerpts_are_short_and_show_what_the_user_sees(self, store: SessionStore) -> None:
        """Long messages are truncated. Messages that only the model sees are not shown."""
        with store.create(id="s") as session:
            session.append(user("é" * 5000))
            session.append(user("an hour has passed"), visible_to="model")
        info = store.info("s")
        assert info.first_user_message == info.last_user_message == "é" * 200

    def test_the_title_is_what_a_person_asked(self, store: SessionStore) -> None:
        """No slash command, no single word, and nothing that the user does not see. A name is the title."""
        said = {
            "plain": (["where  to?", "and back?"], "where to?"),
            "commands": (["/model opus", "continue", "where to?", "and back?"], "where to?"),
            "a path": (["/home/me is full", "why?"], "/home/me is full"),
            "by a tool": (
                ["<environment_context> in /home/me", "# AGENTS.md instructions for /home/me", "东京"],
                "东京",
            ),
            "no request": (["continue", "/mode"], "continue"),
            "too far below": (["go", *["on"] * 10, "where to?"], "go"),
            "nothing": ([], None),
        }
        for number, (texts, _) in enumerate(said.values()):
            with store.create(id=f"s{number}") as session:
                session.append(user("read by the model"), visible_to="model")
                session.append_many([user(text) for text in texts])
        titles = {info.id: info.title for info in store.list()}
        assert titles == {f"s{number}": expected for number, (_, expected) in enumerate(said.values())}
        with store.open("s0") as session:
            for name, expected in (("Trip", "Trip"), ("", "where to?")):
                session.rename(name)
                assert store.info("s0").title == expected

    def test_excerpts_follow_the_visibility(self, store: SessionStore) -> None:
        """A mark hides a message from the user later, or shows it again. The last mark counts."""
        with store.create(id="s") as session:
            names = [session.append(user(text)).id for text in ("one", "two", "three")]

            def excerpts(number: int, target: int, seen: Visibility) -> tuple[str | None, str | None]:
                session.extend([VisibilityMark(id=f"v{number}", target_id=names[target], visible_to=seen)])
                info = store.info("s")
                return info.first_user_message, info.last_user_message

            assert excerpts(1, 0, "model") == ("two", "three")
            assert excerpts(2, 2, "nobody") == ("two", "two")
            assert excerpts(3, 1, "model") == (None, None)
            assert excerpts(4, 2, "user") == ("three", "three")
            assert excerpts(5, 0, "all") == ("one", "three")
            hidden = session.append(user("four"), visible_to="model").id
            assert store.info("s").last_user_message == "three"
            session.extend(
                [
                    VisibilityMark(id="v6", target_id=hidden, visible_to="all"),
                    VisibilityMark(id="v8", target_id=hidden, pinned=True),
                    VisibilityMark(id="v9", target_id=names[0], visible_to="model"),
                    VisibilityMark(id="v10", target_id=names[0], visible_to="all"),
                ]
            )
        info = store.info("s")
        assert (info.first_user_message, info.last_user_message) == ("one", "four")
        assert (info.messages, info.entries) == (4, 4)

    def test_a_message_and_its_mark_in_one_write(self, store: SessionStore) -> None:
        """The mark counts, although its message comes with it."""
        with store.create(id="s") as session:
            session.extend(
                [
                    MessageEntry(id="a", parent_id=None, message=user("hidden")),
                    MessageEntry(id="b", parent_id="a", message=user("shown")),
                    VisibilityMark(id="late", target_id="a", visible_to="model"),
                ]
            )
        info = store.info("s")
        assert (info.first_user_message, info.last_user_message) == ("shown", "shown")

    def test_a_lost_entry_is_an_entry_without_words(self, store: SessionStore) -> None:
        """It is no message."""
        with store.create(id="s") as session:
            session.extend(
                [
                    MessageEntry(id="a", parent_id=None, message=user("hello")),
                    LostEntry(id="b", parent_id="a", line_crc="0" * 8),
                    MessageEntry(id="c", parent_id="b", message=user("again")),
                ]
            )
        info = store.info("s")
        assert (info.entries, info.messages, info.leaf_id, info.last_user_message) == (3, 2, "c", "again")

    def test_how_a_session_came_here(self, store: SessionStore) -> None:
        """A header's `arrived` and `key` are listed. A fork begins here and has neither."""
        header = Header(id="s", timestamp="2029-01-01T00:00:00Z", key=["chat", {"\0": 2**64 - 1}])
        with store.open_or_create(header, arrives=True) as session:
            session.append(user("hello"))
            assert (session.header.arrived, session.header.key) == ("2030-01-01T00:00:00.000000Z", header.key)
        with store.open_or_create(header) as session:
            session.append(user("again"))
        info = store.info("s")
        assert (info.arrived, info.key) == ("2030-01-01T00:00:00.000Z", header.key)
        store.fork("s", new_id="f").close()
        assert (store.info("f").arrived, store.info("f").key) == (None, None)

    def test_a_list_knows_the_leaf(self, store: SessionStore) -> None:
        """`leaf_id` in a list follows `branch`."""
        with store.create(id="s") as session:
            first = session.append(user("1"))
            session.append(user("2"))
            session.branch(first.id)
            assert store.info("s").leaf_id == first.id
            session.branch(None)
            assert store.info("s").leaf_id is None
            third = session.append(user("3"))
        assert (store.info("s").leaf_id, store.info("s").entries) == (third.id, 3)

    def test_odd_characters_are_kept(self, store: SessionStore) -> None:
        """In names, owners, labels and messages. An excerpt shows a NUL as a space."""
        with store.create(id="s", name=ODD, owner=ODD, cwd=ODD) as session:
            session.label(session.append(user(ODD), provider=ODD, model=ODD, usage={"input_tokens": 1}).id, ODD)
            assert (session.name, list(session.labels.values())) == (ODD, [ODD])
        (info,) = store.list(owner=ODD, cwd=ODD)
        assert (info.name, info.owner, info.cwd, info.models) == (ODD, ODD, ODD, (ODD,))
        assert info.first_user_message == " ".join(ODD.replace("\0", " ").split())
        store.rename("s", f"again {ODD}")
        assert store.info("s").name == f"again {ODD}"
        with store.open("s", read_only=True) as session:
            assert (session.name, session.header.owner) == (f"again {ODD}", ODD)

    def test_lists_are_in_the_order_of_activity(self, store: SessionStore, clock: Clock) -> None:
        """Last active first, whenever they were created."""
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
        """Each filter alone, and all together."""
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
        """A time without a zone is in UTC."""
        begin(store, "a")
        now = clock.now
        assert ids(store.list(since=now)) == ids(store.list(since=now.replace(tzinfo=None))) == ["a"]
        assert ids(store.list(until=now)) == ids(store.list(since=now + timedelta(milliseconds=1))) == []
        assert ids(store.list(until=now + timedelta(milliseconds=1))) == ["a"]
        with pytest.raises(ValueError, match="RFC 3339"):
            store.list(since="yesterday")

    def test_text_in_names_is_compared_by_words(self, store: SessionStore) -> None:
        """In any order and case, with or without accents. Wildcards and quotes have no effect."""
        begin(store, "a", name="Größe & ÄPFEL_100%")
        begin(store, "b", name="x")
        for text in ("äpfel", "apfel", "ÄPFEL größe", "grösse", "100%", "100"):
            assert ids(store.list(text=text)) == ["a"]
        for text in ("%fel", "_00", "pfel", "apfel x", "' OR 1=1 --"):
            assert ids(store.list(text=text)) == []
        for text in ("", " ", "%", "_", "'\"*"):  # no word that could be missing
            assert sorted(ids(store.list(text=text))) == ["a", "b"]

    def test_pages_follow_each_other(self, store: SessionStore, clock: Clock) -> None:
        """Without gap or overlap, also among sessions with the same time."""
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
        """A cursor stays valid after its session was deleted."""
        for id in "abcd":
            begin(store, id)
            clock.pass_by(seconds=1)
        page = store.list(limit=2)
        assert ids(page) == ["d", "c"]
        store.delete("c")
        begin(store, "e")
        assert ids(store.list(limit=2, cursor=page.cursor)) == ["b", "a"]

    @pytest.mark.parametrize("cursor", ["", "a", "1", "1:", ":a", "1:a'b", "x:a", "9" * 30 + ":a", "1:../a", "1:a\n"])
    def test_an_invalid_cursor_is_refused(self, store: SessionStore, cursor: str) -> None:
        """An invalid cursor raises ValueError."""
        with pytest.raises(ValueError, match="cursor"):
            store.list(cursor=cursor)

    def test_limits_are_at_least_one(self, store: SessionStore) -> None:
        """A limit of 0 raises ValueError."""
        with pytest.raises(ValueError, match="limit"):
            store.list(limit=0)
        with pytest.raises(ValueError, match="limit"):
            store.search("a", limit=0)

    def test_times_before_1970(self, store: SessionStore, clock: Clock) -> None:
        """They are listed and paged like others."""
        clock.now = datetime(1969, 7, 20, 20, 17, 40, tzinfo=UTC)
        begin(store, "eagle")
        begin(store, "apollo")
        page = store.list(limit=1)
        assert (ids(page), ids(store.list(cursor=page.cursor))) == (["eagle"], ["apollo"])
        assert store.info("eagle").last_activity == "1969-07-20T20:17:40.000Z"
