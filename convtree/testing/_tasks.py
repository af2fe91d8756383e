"""Sub-agents' sessions: how they begin, and where they are listed, counted and found."""

from __future__ import annotations

import pytest

from convtree._model.entries import ParentSession
from convtree._model.errors import EntryNotFound, InvalidMessage, SessionExists, SessionNotFound
from convtree.stores._session_store import SessionStore
from convtree.testing._base import Clock, StoreTests, assistant, begin, ids, user


class TaskTests(StoreTests):
    """Sub-agents' sessions: how they begin, and where they are listed, counted and found."""

    def test_create_task(self, store: SessionStore, clock: Clock) -> None:
        """It begins at an entry of its parent, for the same owner, in the same directories."""
        with store.create(id="a", cwd="/x", git_root="/g", owner="o", name="N", metadata={"k": 1}) as session:
            question = session.append(user("Where?"))
            session.append(assistant("Rome"))
        clock.pass_by(seconds=1)
        with store.create_task("a", question.id, id="t", name="helper", metadata={"m": 2}) as task:
            assert ids(store.list(tasks=True)) == ["a"]  # stored with its first record
            assert task.build_context().messages == []
            task.append(user("look"))
        info = store.info("t")
        assert info.parent_session == ParentSession(id="a", entry_id=question.id, kind="task")
        assert (info.name, info.cwd, info.git_root, info.owner) == ("helper", "/x", "/g", "o")
        with store.open("t", read_only=True) as task:
            assert task.metadata == {"m": 2}
        assert ids(store.children("a")) == ["t"]
        assert store.delete("a") == ["t", "a"]

    def test_the_usage_of_a_sub_agent_whose_parent_is_gone_counts(self, store: SessionStore) -> None:
        """In a row of its own, with the sub-agents below it: nobody else counts it. One that is there counts it all."""
        for id, parent in {"a": None, "t": "gone", "u": "t", "v": "a"}.items():
            above = None if parent is None else ParentSession(id=parent, kind="task")
            with store.create(id=id, owner="ann", parent_session=above) as session:
                session.append(assistant("Rome"), usage={"output_tokens": 1})
        rows = {row.session_id: row.usage.output_tokens for row in store.usage()}
        assert rows == {"a": 2, "t": 2}
        assert [row.session_id for row in store.usage(owner="nobody")] == []
        assert [row.usage.output_tokens for row in store.usage(by="model", owner="ann")] == [4]

    def test_where_a_task_begins(self, store: SessionStore) -> None:
        """Left out, it is the parent's leaf; None is the place before the first entry. Another branch will do."""
        with store.create(id="a") as session:
            first = session.append(user("1"))
            second = session.append(user("2"))
            session.branch(first.id)
        places = []
        for number, place in enumerate([(), (None,), (second.id,)]):
            with store.create_task("a", *place, id=f"t{number}") as task:
                task.append(user("look"))
                assert task.header.parent_session is not None
                places.append(task.header.parent_session.entry_id)
        assert places == [first.id, None, second.id]

    def test_a_task_has_its_own_directory_and_owner_if_they_are_given(self, store: SessionStore) -> None:
        """With either directory, none is the parent's: the other may not belong to it."""
        begin(store, "a", cwd="/x", git_root="/g", owner="o")
        store.set_directories("a", cwd="/y")
        described = []
        for number, given in enumerate(({}, {"cwd": "/z"}, {"git_root": "/z"}, {"owner": "p"})):
            with store.create_task("a", id=f"t{number}", **given) as task:  # type: ignore[arg-type]  # each has its type
                task.append(user("look"))
                described.append((task.cwd, task.git_root, task.header.owner))
        assert described == [("/y", "/g", "o"), ("/z", None, "o"), (None, "/z", "o"), ("/y", "/g", "p")]

    def test_a_task_of_a_task(self, store: SessionStore) -> None:
        """Its parent may be a sub-agent's itself. They are one family."""
        begin(store, "a")
        for id, parent in (("t", "a"), ("u", "t")):
            with store.create_task(parent, id=id) as task:
                task.append(user("look"))
        assert store.delete("a") == ["u", "t", "a"]

    def test_refused_tasks(self, store: SessionStore) -> None:
        """Without its parent, or the entry there, nothing begins. Nothing is stored."""
        begin(store, "a")
        begin(store, "b")
        elsewhere = store.info("b").leaf_id
        with store.create(id="new"), pytest.raises(SessionNotFound, match="append to the parent first"):
            store.create_task("new")
        with pytest.raises(SessionNotFound, match="'nobody'"):
            store.create_task("nobody", elsewhere)
        for entry_id in ("nothing", elsewhere):
            with pytest.raises(EntryNotFound, match=str(entry_id)):
                store.create_task("a", entry_id)
        with pytest.raises(InvalidMessage, match="parent"):
            store.create_task("../up")
        with pytest.raises(InvalidMessage):
            store.create_task("a", id="../up")
        with pytest.raises(SessionExists), store.create_task("a", id="b") as task:
            task.append(user("look"))
        assert sorted(ids(store.list(tasks=True))) == ["a", "b"]

    def test_count(self, store: SessionStore, clock: Clock) -> None:
        """As many as `list` returns without a limit, for the same arguments."""
        begin(store, "a", "plan", cwd="/x", owner="o")
        clock.pass_by(days=9)
        begin(store, "ahead", cwd="/x")  # written with a clock that was wrong
        clock.pass_by(days=-8)
        begin(store, "b", "plan", git_root="/g")
        for id in ("t", "u"):
            with store.create_task("a", id=id) as task:
                task.append(user("plan"))
        store.archive("b")
        store.hold("u")
        now = clock.text()
        for expected, arguments in (
            (2, {}),
            (4, {"tasks": True}),
            (5, {"tasks": True, "archived": None}),
            (1, {"archived": True}),
            (3, {"tasks": True, "cwd": "/x", "owner": "o"}),
            (1, {"archived": None, "git_root": "/g"}),
            (1, {"tasks": True, "held": True}),
            (2, {"tasks": True, "parent": "a"}),
            (3, {"tasks": True, "text": "plan"}),
            (2, {"tasks": True, "since": now}),
            (2, {"tasks": True, "until": now}),
            (0, {"owner": "nobody"}),
        ):
            assert store.count(**arguments) == expected, arguments
            assert len(store.list(limit=None, **arguments)) == expected, arguments
