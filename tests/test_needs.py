"""Lines that need a reader who knows more: opaque and critical, whatever their type; and what they must not touch."""

from pathlib import Path
from typing import Any

import pytest
from helpers import HEADER, codes, contents, log_of, mark, node, user

from convtree import OpaqueEntry, OpaqueMark, ReadOnlySession, Session, UnknownEntry, open_store
from convtree._engine import codec, json_values
from convtree._engine.bulk import read_entry_envelopes
from convtree.exchange import export_lines

A = node("a", None, message=user("a"))
OWN_ID = "0123456789abcdef"
UNKNOWN: list[Any] = [["blobs"], ["blobs", "crypt"], [7], "blobs", {"blobs": 1}, 7, True]


def opened(path: Path, *lines: str, header: str = HEADER) -> Session:
    path.write_bytes(log_of(*lines, header=header))
    return Session.open(path)


def forbids_contexts(session: Session, log_path: Path) -> None:
    """Nor is there a fork or an export, which would not have the mark and so would show something."""
    fork_path = log_path.with_name("fork.jsonl")
    for ask in (session.build_context, lambda: session.fork(fork_path), lambda: export_lines(session, "pi")):
        with pytest.raises(UnknownEntry, match="the program that wrote it"):
            ask()
    assert not fork_path.exists()


@pytest.mark.parametrize("id", ["b", OWN_ID], ids=["foreign", "own"])
@pytest.mark.parametrize("needs", UNKNOWN, ids=str)
def test_entry_with_unknown_needs_is_critical(log_path: Path, needs: Any, id: str) -> None:
    """A message becomes an opaque entry: no context through it, nothing is written; other paths are as before.

    An id of our own form is read in bulk.
    """
    lines = (A, node(id, "a", message=user("b"), needs=needs), node("c", id, message=user("c")))
    with opened(log_path, *lines) as session:
        assert codes(session) == ["critical_unknown"]
        assert session.entry(id) == OpaqueEntry(
            id=id, parent_id="a", unknown_type="message", fields={"message": user("b"), "needs": needs}
        )
        for leaf in (id, "c"):
            with pytest.raises(UnknownEntry):
                session.build_context(leaf=leaf)
        assert contents(session, leaf="a") == ["a"]
        with pytest.raises(ReadOnlySession):
            session.append(user("d"))


@pytest.mark.parametrize("needs", UNKNOWN, ids=str)
def test_mark_with_unknown_needs_forbids_every_context(log_path: Path, needs: Any) -> None:
    """And does nothing itself: a label is not set, the leaf is not moved."""
    lines = (A, node("b", "a", message=user("b")), mark("m", "label", target_id="a", label="x", needs=needs))
    with opened(log_path, *lines, mark("n", "leaf", target_id="a", needs=needs)) as session:
        assert (session.labels, session.leaf_id) == ({}, "b")
        assert [record for _, record in session.records(2)] == [
            OpaqueMark(id="m", unknown_type="label", fields={"target_id": "a", "label": "x", "needs": needs}),
            OpaqueMark(id="n", unknown_type="leaf", fields={"target_id": "a", "needs": needs}),
        ]
        forbids_contexts(session, log_path)
        with pytest.raises(ReadOnlySession):
            session.label("a", "y")


@pytest.mark.parametrize("needs", UNKNOWN, ids=str)
def test_header_with_unknown_needs_forbids_every_context(log_path: Path, needs: Any) -> None:
    """The session is listed by its header and can be walked, and nothing else."""
    header = HEADER.replace('"seal":"crc32"', f'"seal":"crc32","needs":{json_values.dump({"n": needs})[5:-1].decode()}')
    with opened(log_path, A, header=header) as session:
        assert [entry.id for entry in session.path()] == ["a"]
        forbids_contexts(session, log_path)
        with pytest.raises(ReadOnlySession):
            session.append(user("d"))


@pytest.mark.parametrize("needs", [None, []], ids=str)
def test_no_needs_change_nothing(log_path: Path, needs: Any) -> None:
    """An empty list needs nothing."""
    with opened(log_path, A, node("b", "a", message=user("b"), needs=needs)) as session:
        assert (codes(session), contents(session)) == ([], ["a", "b"])


@pytest.mark.parametrize("needs", [*UNKNOWN, None, []], ids=str)
def test_many_envelopes_are_read_like_one(needs: Any) -> None:
    """Reading in bulk leaves a line that has needs to the reader of one line."""
    line = node(OWN_ID, None, message=user("b"), needs=needs).encode()
    assert codec.read_envelope(line).known is (needs in (None, []))
    assert [each is not None for each in read_entry_envelopes([line])] == [needs is None]


def test_store_counts_no_message_that_needs_more(tmp_path: Path) -> None:
    """It is an entry, and neither a message nor searched."""
    (tmp_path / "s1.jsonl").write_bytes(log_of(A, node("b", "a", message=user("needle"), needs=["blobs"])))
    with open_store(tmp_path) as store:
        info = store.info("s1")
        assert (info.entries, info.messages) == (2, 1)
        assert list(store.search("needle")) == []
