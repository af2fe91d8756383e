"""What `edit_data` writes, line by line, and that a wrong new log is not written. What it is for: convtree.testing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import assistant, user

from convtree import CorruptLog, ExtensionDataEntry, open_store
from convtree._engine import codec
from convtree._engine.write_batch import reseal
from convtree._session import data_edits


def data(id: str, value: object) -> ExtensionDataEntry:
    return ExtensionDataEntry(id=id, ext_type="snapshot", data=value)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The log "a" of a store, where the leaf was moved to a snapshot. Every line has a field of a later version."""
    with open_store(tmp_path / "store") as store, store.create(id="a") as session:
        session.append(user("Where?"), id="q")
        for number in (1, 2):
            session.append(data(f"s{number}", {"n": number}))
        session.append(assistant("Rome"), id="r")
        session.branch("s2")
    path = tmp_path / "store" / "a.jsonl"
    header, *payloads = [codec.payload_of(line) + b',"shade":"viridian"' for line in path.read_bytes().splitlines()]
    path.write_bytes(b"".join(line + b"\n" for line in reseal(header, payloads)))
    return path


def bodies(path: Path) -> list[bytes]:
    return [codec.payload_of(line) for line in path.read_bytes().splitlines()]


def test_what_is_not_understood_stays(log: Path) -> None:
    """Data and references are replaced in their lines. All other fields keep their bytes."""
    header, question, first, _, answer, leaf = bodies(log)
    with open_store(log.parent) as store:
        store.edit_data("a", change={"s1": {"n": 9}}, drop=["s2"], dry_run=False, remove_original=True)
    assert bodies(log) == [
        header,
        question,
        first.replace(b'{"n":1}', b'{"n":9}'),
        answer.replace(b'"parent_id":"s2"', b'"parent_id":"s1"'),
        leaf.replace(b'"target_id":"s2"', b'"target_id":"s1"'),
    ]


def test_of_a_fork_the_header_names_what_is_left(log: Path) -> None:
    """The last entry that was copied and is still there."""
    with open_store(log.parent) as store:
        with store.fork("a", "s1", new_id="b") as fork:
            assert fork.header.copied_to == "s1"
        store.edit_data("b", drop=["s1"], dry_run=False)
        with store.open("b") as fork:
            assert (fork.header.copied_to, [each.id for each in fork.path()]) == ("q", ["q"])


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (lambda body: body.replace(b"Rome", b"Oslo"), "records"),
        (lambda body: b"" if b"Rome" in body else body, "bad_target|records|leaf"),
        (lambda body: body.replace(b'"parent_id":"q"', b'"parent_id":null'), "records"),
    ],
)
def test_a_new_log_that_says_something_else_is_not_written(
    wrong: Callable[[bytes], bytes], what: str, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another text, a lost record, or another parent is found before anything is replaced."""
    before = log.read_bytes()
    made = data_edits._Writer.bodies
    monkeypatch.setattr(data_edits._Writer, "bodies", lambda self: filter(None, map(wrong, made(self))))
    with (
        open_store(log.parent) as store,
        pytest.raises(CorruptLog, match=f"another one .({what}).*nothing was changed"),
    ):
        store.edit_data("a", change={"s1": {"n": 9}}, drop=["s2"], dry_run=False)
    assert log.read_bytes() == before
