"""Handles on the sessions of one owner, over folders: damage, files that are no logs, and locks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import user

from convtree import InvalidMessage, ParentSession, Session, SessionExists, SessionNotFound, aio, open_store
from convtree.stores._session_store import SessionStore
from convtree.testing import begin, ids


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SessionStore]:
    """A folder with sessions of two owners."""
    with open_store(tmp_path, durability="process", lock_timeout_s=0.05) as opened:
        for owner in ("ann", "bob"):
            begin(opened, owner[0], "one", "two", owner=owner)
        yield opened


def damage(path: Path, text: bytes) -> None:
    path.write_bytes(path.read_bytes().replace(text, text.upper()))


def test_findings_of_an_owner(store: SessionStore, tmp_path: Path) -> None:
    """Damaged sessions and copies of the owner's. Of what cannot be read, nobody knows whose it is."""
    (tmp_path / "nothing.jsonl").write_text("no log\n")
    (tmp_path / "b ad.jsonl").write_text("no id\n")
    (tmp_path / "acopy.jsonl").write_bytes((tmp_path / "a.jsonl").read_bytes())
    (tmp_path / "bcopy.jsonl").write_bytes((tmp_path / "b.jsonl").read_bytes())
    for id in ("a", "b"):
        damage(tmp_path / f"{id}.jsonl", b"two")
    assert [(each.place, each.of) for each in store.findings] == [
        ("b ad.jsonl", None),
        ("a", None),
        ("b", None),
        ("nothing", None),
        ("acopy", "a"),
        ("bcopy", "b"),
    ]
    ann = store.scoped(owner="ann")
    assert [(each.place, each.of) for each in ann.findings] == [("a", None), ("acopy", "a")]
    damage(tmp_path / "a.jsonl", b"ann")
    assert [(each.place, each.of) for each in ann.findings] == []
    for id in ("a", "nothing"):
        with pytest.raises(SessionNotFound, match="there is no session"):
            ann.open(id)
        with pytest.raises(SessionExists, match="is taken"):
            ann.open(id, create=True)


def test_a_file_that_begins_with_a_line_that_is_too_long(store: SessionStore, tmp_path: Path) -> None:
    """It belongs to nobody, whatever comes behind."""
    lines = (tmp_path / "a.jsonl").read_bytes().splitlines(keepends=True)
    for begin_of in (b"x", lines[0][:-40]):
        (tmp_path / "long.jsonl").write_bytes(begin_of + b"x" * (2**26 + 9) + b"\n" + b"".join(lines))
        with pytest.raises(SessionNotFound):
            store.scoped(owner="ann").open("long")


def test_a_header_that_was_not_written_whole(store: SessionStore, tmp_path: Path) -> None:
    """The session has not begun, so its id is free."""
    header = (tmp_path / "b.jsonl").read_bytes().splitlines()[0]
    (tmp_path / "torn.jsonl").write_bytes(header[:-9])
    with store.scoped(owner="ann").open("torn", create=True) as session:
        session.append(user("x"))
    assert store.info("torn").owner == "ann"
    (tmp_path / "b2.jsonl").write_bytes(header[:-9])
    with open_store("memory:") as whole:
        begin(whole, "b2", owner="bob")
        assert [each.status for each in whole.copy_to(store.scoped(owner="ann"))] == ["refused"]


def test_a_header_that_cannot_be_decoded(store: SessionStore, tmp_path: Path) -> None:
    """Nobody knows whose it is."""
    (tmp_path / "bad.jsonl").write_text('{"type":"session","format":"convtree","id":5}\n')
    with pytest.raises(SessionNotFound):
        store.scoped(owner="ann").open("bad")


def test_sessions_of_others_are_not_taken_in(store: SessionStore) -> None:
    """A copy, or a fork whose header names somebody else, is refused with the reason."""
    with open_store("memory:") as whole:
        part = whole.scoped(owner="ann")
        found = {each.id: (each.status, each.reason) for each in store.copy_to(part)}
        assert found["a"] == ("copied", None)
        assert found["b"][0] == "refused"
        assert "owner: the header of the session does not name 'ann'" in str(found["b"][1])
        assert ids(whole.list()) == ["a"]
        with store.open("b") as session, pytest.raises(InvalidMessage, match="whose handle this is"):
            session.copy_path(part._write_new, id="stolen")


def test_a_locked_session_of_an_owner_is_skipped(store: SessionStore, tmp_path: Path) -> None:
    """The others are erased. It goes with the next call."""
    begin(store, "a2", owner="ann")
    begin(store, "t", owner="ann", parent_session=ParentSession(id="a", kind="task"))
    with Session.open(tmp_path / "t.jsonl", exclusive=True) as session:
        session.append(user("busy"))
        erased = store.erase(owner="ann")
        assert (erased, sorted(erased.skipped), erased.held) == (["a2"], ["a", "t"], ())
    assert sorted(store.scoped(owner="ann").erase(owner="ann")) == ["a", "t"]
    assert ids(store.list(tasks=True)) == ["b"]


def test_owners_in_async_programs() -> None:
    """Handles share the sessions of their owner, and give them to no other."""

    async def run() -> None:
        async with (
            aio.open_store("memory:") as store,
            store.scoped(owner="ann") as ann,
            ann.scoped(owner="ann") as same,
        ):
            async with ann.session("a", create=True) as session, same.session("a", create=True) as again:
                assert again is session
                await again.append(user("x"))
            assert [ann.owner, store.owner, (await store.info("a")).owner] == ["ann", None, "ann"]
            async with store.scoped(owner="bob") as bob:
                with pytest.raises(SessionNotFound):
                    async with bob.session("a"):
                        pass
                with pytest.raises(SessionNotFound):
                    await bob.vacuum("a")
            assert (await ann.vacuum("a")).kept == 1

    asyncio.run(run())


def test_a_task_of_a_parent_that_cannot_be_read(store: SessionStore, tmp_path: Path) -> None:
    """It begins, without an owner."""
    (tmp_path / "empty.jsonl").touch()
    begin(store, "t", parent_session=ParentSession(id="empty", kind="task"))
    assert store.info("t").owner is None


def test_a_vacuum_with_nothing_to_drop_in_a_scope(tmp_path: Path) -> None:
    """Nothing is written."""
    with open_store(f"sqlite:///{tmp_path}/s.db") as store:
        mine = store.scoped(owner="ann")
        with mine.create(id="a") as session:
            session.append(user("a"))
        assert not mine.vacuum("a", dry_run=False).done
        assert not mine.redact_session("a", dry_run=False).done
