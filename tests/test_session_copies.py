"""Files that are copies of a session: made by `cp`, by a synchronising tool, or renamed by `mv`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from helpers import assistant, user
from hypothesis import given, settings
from hypothesis import strategies as st

from convtree import ParentSession, SessionNotFound, SessionStore, open_store
from convtree.stores.base import StoreFinding

CONFLICT = "s1.sync-conflict-20261128-101010-ABCDEFG"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SessionStore]:
    """A folder."""
    with open_store(tmp_path, durability="process") as opened:
        yield opened


def spend(store: SessionStore, id: str, *tokens: int) -> None:
    with store.open(id, create=True) as session:
        for each in tokens:
            session.append(assistant("x"), model="m", usage={"output_tokens": each})


def copy(store: SessionStore, id: str, new_id: str) -> None:
    shutil.copy(f"{store.location}/{id}.jsonl", f"{store.location}/{new_id}.jsonl")


def counted(store: SessionStore) -> dict[str, int]:
    return {info.id: info.usage.output_tokens for info in store.list(limit=None)}


def copies(store: SessionStore) -> list[tuple[str, str | None]]:
    assert {finding.code for finding in store.findings} <= {"session_copy"}
    return [(finding.place, finding.of) for finding in store.findings]


def test_a_session_has_the_name_of_its_file(store: SessionStore) -> None:
    """Renamed by `mv`, it is listed, opened and forked under the new one. It is no finding."""
    spend(store, "s1", 1)
    store.fork("s1", new_id="f").close()
    Path(store.location, "s1.jsonl").rename(Path(store.location, "trip.jsonl"))
    assert (counted(store), copies(store)) == ({"trip": 1, "f": 0}, [])
    with store.open("trip") as session:
        assert (session.id, session.header.id) == ("trip", "s1")
        assert "'trip'" in repr(session)
        session.append(user("on"))
    with store.fork("trip", new_id="g") as fork:
        assert fork.header.parent_session == ParentSession(id="trip", entry_id=fork.leaf_id)
    assert counted(store) == {"trip": 1, "f": 0, "g": 0}
    assert [row.session_id for row in store.usage("trip", by="branch")] == ["trip"]


def test_a_copy_that_lacks_what_a_fork_has_does_not_count_it(store: SessionStore) -> None:
    """The file was copied before the rest was said. The fork is of the log that is gone."""
    spend(store, "s1", 1)
    copy(store, "s1", "t")
    spend(store, "s1", 10)
    store.fork("s1", new_id="f").close()
    store.delete("s1")
    assert counted(store) == {"t": 1, "f": 10}
    assert [row.usage.output_tokens for row in store.usage("f", by="branch")] == [10]


def test_a_fork_of_a_copied_fork(store: SessionStore) -> None:
    """What the fork had copied counts in it when its parent is gone, although a copy of it has a fork, too."""
    spend(store, "s1", 1)
    store.fork("s1", new_id="s2").close()
    store.delete("s1")
    copy(store, "s2", "s5")
    store.fork("s5", new_id="a").close()
    assert counted(store) == {"s2": 1, "s5": 0, "a": 0}
    store.delete("s2")
    assert counted(store) == {"s5": 1, "a": 0}


def test_what_copies_share_is_counted_once(store: SessionStore) -> None:
    """What was said in one of them only counts there."""
    spend(store, "s1", 1, 10)
    copy(store, "s1", CONFLICT)
    assert counted(store) == {"s1": 11, CONFLICT: 0}
    assert store.findings == [StoreFinding(code="session_copy", place=CONFLICT, id=CONFLICT, of="s1")]
    assert [row.usage.output_tokens for row in store.usage(CONFLICT, by="branch")] == [0]
    spend(store, "s1", 100)
    spend(store, CONFLICT, 1000)
    assert counted(store) == {"s1": 111, CONFLICT: 1000}
    copy(store, CONFLICT, "t")
    spend(store, "t", 10_000)
    assert counted(store) == {"s1": 111, CONFLICT: 1000, "t": 10_000}
    assert copies(store) == [(CONFLICT, "s1"), ("t", "s1")]
    store.delete("s1")
    assert (counted(store), copies(store)) == ({CONFLICT: 1011, "t": 10_000}, [("t", CONFLICT)])
    store.delete(CONFLICT)
    assert (counted(store), copies(store)) == ({"t": 11_011}, [])


def test_copies_are_seen_by_a_store_that_is_opened_later(store: SessionStore) -> None:
    """And by one that has no file for its tables."""
    spend(store, "s1", 1)
    copy(store, "s1", "t")
    spend(store, "t", 10)
    assert counted(store) == {"s1": 1, "t": 10}
    with open_store(store.location) as other:
        assert (counted(other), copies(other)) == ({"s1": 1, "t": 10}, [("t", "s1")])
        spend(other, "t", 100)
        assert counted(other) == {"s1": 1, "t": 110}


def test_a_copy_of_a_fork(store: SessionStore) -> None:
    """What the fork has copied counts in its parent, or once when that is gone."""
    spend(store, "a", 1)
    store.fork("a", new_id="f").close()
    spend(store, "f", 10)
    copy(store, "f", "g")
    spend(store, "g", 100)
    assert counted(store) == {"a": 1, "f": 10, "g": 100}
    store.delete("a")
    assert counted(store) == {"f": 11, "g": 100}


def test_a_copy_that_became_another_session(store: SessionStore) -> None:
    """Replaced by one of its own, it is a copy no more."""
    spend(store, "s1", 1)
    copy(store, "s1", "t")
    assert counted(store) == {"s1": 1, "t": 0}
    spend(store, "u", 10)
    Path(store.location, "t.jsonl").unlink()
    spend(store, "t", 100)
    assert (counted(store), copies(store)) == ({"s1": 1, "t": 100, "u": 10}, [])


def test_a_damaged_copy(store: SessionStore) -> None:
    """It shares what comes before the damage, and is two findings."""
    spend(store, "s1", 1, 10, 100)
    copy(store, "s1", "t")
    path = Path(store.location, "t.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"output_tokens":10}', b'"output_tokens":99}'))
    assert counted(store) == {"s1": 111, "t": 100}
    assert [(each.code, each.of) for each in store.findings] == [("bad_seal", None), ("session_copy", "s1")]


NAMES = ["a", "b", "c"]
STEPS = st.one_of(
    st.tuples(st.just("spend"), st.sampled_from(NAMES), st.just("")),
    st.tuples(st.just("copy"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.tuples(st.just("move"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.tuples(st.just("delete"), st.sampled_from(NAMES), st.just("")),
)


@given(st.lists(st.tuples(STEPS, st.booleans()), max_size=12))
@settings(max_examples=60, deadline=None)
def test_every_answer_counts_once_however_often_it_was_copied(steps: list[tuple[tuple[str, str, str], bool]]) -> None:
    """The sum over all files is that over the answers in any of them, whatever was copied, renamed and removed."""
    files: dict[str, list[int]] = {}
    with tempfile.TemporaryDirectory() as folder, open_store(folder, durability="process") as store:
        for number, ((kind, name, other), looks) in enumerate(steps):
            if kind == "spend":
                spend(store, name, 2**number)
                files.setdefault(name, []).append(2**number)
            elif name in files and other != name:
                path = Path(folder, f"{name}.jsonl")
                if kind == "copy":
                    Path(folder, f"{other}.jsonl").unlink(missing_ok=True)
                    copy(store, name, other)
                    files[other] = list(files[name])
                elif kind == "move":
                    path.rename(Path(folder, f"{other}.jsonl"))
                    files[other] = files.pop(name)
                else:
                    path.unlink()
                    del files[name]
            if looks or number == len(steps) - 1:
                found = counted(store)
                assert sum(found.values()) == sum({each for spent in files.values() for each in spent})
                assert set(found) == set(files)


def test_a_session_that_vanishes_while_the_ledger_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process deletes it between the look at the folder and the look at its header: what is gone counts."""
    with open_store(tmp_path) as store:
        with store.create(id="s") as session:
            session.append({"role": "assistant", "content": "a"}, model="m", usage={"output_tokens": 7})
        store.delete("s")
        with store.create(id="s") as session:
            session.append(user("another"))
        assert [row.usage.output_tokens for row in store.ledger()] == [7]

        def gone(id: str) -> NoReturn:
            raise SessionNotFound(id)

        monkeypatch.setattr(store._backend.catalogue(), "_open_log", gone)
        assert [row.usage.output_tokens for row in store.ledger()] == [7]
