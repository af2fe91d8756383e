"""Usage of copied entries: it counts once, in a session that is there. And the ledger of those that are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from convtree._catalogue.types import LedgerRow
from convtree._model.entries import Header, MessageEntry, ParentSession, VacuumEntry
from convtree._model.errors import SessionLocked
from convtree._model.usage import Usage
from convtree.stores._session_store import SessionStore
from convtree.testing._base import Clock, StoreTests, append_to, assistant, racing, user


def spend(store: SessionStore, id: str, *tokens: int) -> str:
    """Appends an answer for each number of output tokens, and returns the id of the last one."""
    with store.open(id, create=True) as session:
        return [
            session.append(assistant("x"), provider="p", model="m", usage={"output_tokens": each}).id for each in tokens
        ][-1]


def counted(store: SessionStore) -> dict[str, int]:
    """Returns the output tokens of each session. The sum by model must be the same."""
    listed = {info.id: info.usage.output_tokens for info in store.list(archived=None, limit=None)}
    assert sum(row.usage.output_tokens for row in store.usage(by="model")) == sum(listed.values())
    return listed


def in_ledger(store: SessionStore) -> int:
    """Returns the output tokens of deleted sessions."""
    return sum(row.usage.output_tokens for row in store.ledger())


class CopyTests(StoreTests):
    """Usage of copied entries."""

    def test_a_copy_counts_when_its_parent_is_deleted(self, store: SessionStore) -> None:
        """The fork counts what it has copied, also by branch. What only the parent had is gone."""
        last = spend(store, "a", 1, 10)
        spend(store, "a", 100)
        store.fork("a", last, new_id="f").close()
        spend(store, "f", 1000)
        assert counted(store) == {"a": 111, "f": 1000}
        store.delete("a")
        assert counted(store) == {"f": 1011}
        assert [row.usage.output_tokens for row in store.usage("f", by="branch")] == [1011]
        assert store.info("f").models == ("m",)

    def test_copies_of_a_session_that_is_gone_count_once(self, store: SessionStore) -> None:
        """Forks of different places share a part of the path; it counts in the first one by id."""
        first = spend(store, "a", 1)
        second = spend(store, "a", 10)
        for id, place in (("f", first), ("h", second), ("g", second)):
            store.fork("a", place, new_id=id).close()
            spend(store, id, 1000)
        store.delete("a")
        assert counted(store) == {"f": 1001, "g": 1010, "h": 1000}
        store.delete("f")
        assert counted(store) == {"g": 1011, "h": 1000}

    def test_copies_count_once_whatever_the_ids_are(self, store: SessionStore) -> None:
        """A fork past one that is gone is before the session it leads to, by id."""
        spend(store, "m", 1)
        for parent, id in (("m", "z"), ("z", "y"), ("y", "b"), ("m", "c")):
            store.fork(parent, new_id=id).close()
        store.delete("y")
        store.delete("m")
        assert counted(store) == {"b": 0, "c": 1, "z": 0}
        store.delete("c")
        assert counted(store) == {"b": 0, "z": 1}
        store.delete("z")
        assert (counted(store), in_ledger(store)) == ({"b": 1}, 0)

    def test_the_middle_of_a_chain_is_deleted(self, store: SessionStore) -> None:
        """A fork of a fork finds the session that both come from, past the one that is gone."""
        spend(store, "a", 1)
        for parent, id, tokens in (("a", "f", 10), ("f", "g", 100), ("g", "h", 1000), ("f", "e", 10_000)):
            store.fork(parent, new_id=id).close()
            spend(store, id, tokens)
        store.delete("f")
        assert counted(store) == {"a": 1, "e": 10_010, "g": 100, "h": 1000}
        by_branch = {id: [row.usage.output_tokens for row in store.usage(id, by="branch")] for id in "aegh"}
        assert by_branch == {"a": [1], "e": [10_010], "g": [100], "h": [1000]}
        store.delete("g")
        assert counted(store) == {"a": 1, "e": 10_010, "h": 1100}
        store.delete("a")
        assert counted(store) == {"e": 10_011, "h": 1100}

    def test_a_new_session_under_the_id_of_a_parent(self, store: SessionStore, clock: Clock) -> None:
        """It began after the fork, so the fork has copied nothing of it."""
        spend(store, "a", 1)
        store.fork("a", new_id="f").close()
        store.delete("a")
        clock.pass_by(minutes=1)
        spend(store, "a", 10)
        assert counted(store) == {"a": 10, "f": 1}

    def test_sessions_that_name_each_other_as_parent(self, store: SessionStore) -> None:
        """Such headers can be written. The store answers, and counts what neither has copied."""
        for id, parent in (("a", "b"), ("b", "a"), ("c", "b"), ("d", "d")):
            entries = [
                MessageEntry(
                    id=str(number), parent_id=None, message=assistant("x"), model="m", usage={"output_tokens": 1}
                )
                for number in range(3)
            ]
            header = Header(id=id, parent_session=ParentSession(id=parent), copied_to="1")
            with store.open_or_create(header) as session:
                session.extend(entries)
        found = {info.id: info.usage.output_tokens for info in store.list()}
        assert all(1 <= tokens <= 3 for tokens in found.values())


class LedgerTests(StoreTests):
    """What deleted sessions had used."""

    def test_the_ledger_has_what_is_gone(self, store: SessionStore, clock: Clock) -> None:
        """Per day, owner and model, in order; the store's usage is without it."""
        assert store.ledger() == []
        for day, owner in ((1, "ann"), (1, None), (2, "ann")):
            with store.create(id=f"{owner}{day}", owner=owner) as session:
                session.append(user("q"))
                session.append(assistant("1"), provider="p", model="m", usage={"output_tokens": 1, "cost": 0.25})
                session.append(assistant("2"), provider="p", model="m", usage={"output_tokens": 2})
                session.append(assistant("4"), model="n", usage={"input_tokens": 4})
                session.append(assistant("no usage"), provider="p", model="m")
            clock.pass_by(days=1 if owner is None else 0)
        for id in ("ann1", "None1", "ann2"):
            store.delete(id)
        one = {"provider": "p", "model": "m", "usage": Usage(output_tokens=3, cost=0.25)}
        other = {"provider": None, "model": "n", "usage": Usage(input_tokens=4)}
        expected = [
            LedgerRow(day=day, owner=owner, **each)
            for day, owner in (("2030-01-01", None), ("2030-01-01", "ann"), ("2030-01-02", "ann"))
            for each in (other, one)
        ]
        assert store.ledger() == expected
        assert store.ledger(owner="ann") == [row for row in expected if row.owner == "ann"]
        assert (store.ledger(owner="bob"), store.usage()) == ([], [])

    def test_usage_and_ledger_add_up(self, store: SessionStore) -> None:
        """Whatever is deleted, and in whichever order. What a fork holds is not gone with its parent."""
        spend(store, "a", 1)
        middle = spend(store, "a", 10)
        spend(store, "a", 100)
        store.fork("a", middle, new_id="f").close()
        spend(store, "f", 1000)
        store.fork("f", new_id="g").close()
        spend(store, "g", 10_000)
        steps = [("a", {"f": 1011, "g": 10_000}, 100), ("f", {"g": 11_011}, 100), ("g", {}, 11_111)]
        for id, left, gone in steps:
            store.delete(id)
            assert (counted(store), in_ledger(store)) == (left, gone)

    def test_prune_fills_the_ledger(self, store: SessionStore, clock: Clock) -> None:
        """With the sessions of sub-agents. A dry run adds nothing, nor does a session on hold."""
        spend(store, "a", 1)
        with store.create(id="t", parent_session=ParentSession(id="a", kind="task")) as session:
            session.append(assistant("x"), model="m", usage={"output_tokens": 10})
        spend(store, "b", 100)
        store.hold("b")
        clock.pass_by(days=1)
        spend(store, "c", 1000)
        store.prune(max_age=3600)
        assert in_ledger(store) == 0
        store.prune(max_age=3600, dry_run=False)
        assert (counted(store), in_ledger(store)) == ({"b": 100, "c": 1000}, 11)

    def test_a_delete_that_is_refused_adds_nothing(self, store: SessionStore, clock: Clock) -> None:
        """The session is still there, and counts itself."""
        spend(store, "a", 1)
        with pytest.raises(SessionLocked):
            racing(store, clock, lambda: append_to(store, "a", "meanwhile")).delete("a")
        assert (counted(store), in_ledger(store)) == ({"a": 1}, 0)
        store.delete("a")
        assert (counted(store), in_ledger(store)) == ({}, 1)

    def test_an_id_that_is_used_again(self, store: SessionStore, clock: Clock) -> None:
        """Each of its sessions counts: in the store, or in the ledger."""
        for number, expected in enumerate((1, 11, 111)):
            spend(store, "a", 10**number)
            clock.pass_by(seconds=1)
            assert sum(counted(store).values()) + in_ledger(store) == expected
            store.delete("a")
            assert in_ledger(store) == expected

    def test_a_session_that_only_names_a_parent_has_copied_nothing(self, store: SessionStore) -> None:
        """All of it is gone with it, whatever the parent holds."""
        entries = [
            MessageEntry(id="1", parent_id=None, message=assistant("x"), model="m", usage={"output_tokens": 1}),
        ]
        for id, parent in (("a", None), ("f", ParentSession(id="a", entry_id="9"))):
            with store.open_or_create(Header(id=id, parent_session=parent)) as session:
                session.extend(entries)
        assert counted(store) == {"a": 1, "f": 1}
        store.delete("f")
        assert (counted(store), in_ledger(store)) == ({"a": 1}, 1)

    def test_what_a_vacuum_dropped_is_in_the_ledger(self, store: SessionStore) -> None:
        """On the day of the vacuum, or on none."""
        totals = [{"provider": "p", "model": "m", "answers": 2, "output_tokens": 2, "cost": 0.5}]
        for id, time in (("a", "2031-02-03T04:05:06Z"), ("b", None)):
            with store.create(id=id) as session:
                session.extend([VacuumEntry(id="v", parent_id=None, timestamp=time, usage=totals)])
            store.delete(id)
        used = Usage(output_tokens=2, cost=0.5)
        assert store.ledger() == [
            LedgerRow(provider="p", model="m", usage=used),
            LedgerRow(day="2031-02-03", provider="p", model="m", usage=used),
        ]

    def test_the_ledger_lasts(self, tmp_path: Path, clock: Clock) -> None:
        """It is there when the store is opened again."""
        if not self.lasting:
            pytest.skip("nothing of the store lasts")
        with self.open_store(tmp_path, clock) as store:
            spend(store, "a", 1)
            store.fork("a", new_id="f").close()
            spend(store, "f", 10)
            store.fork("f", new_id="g").close()
            store.delete("f")
        with self.open_store(tmp_path, clock) as store:
            assert (counted(store), in_ledger(store)) == ({"a": 1, "g": 10}, 0)
            store.delete("g")
        with self.open_store(tmp_path, clock) as store:
            assert (counted(store), in_ledger(store)) == ({"a": 1}, 10)
