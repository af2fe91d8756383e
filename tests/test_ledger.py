"""The ledger of a folder: what crashes, damage and backups do to it. `convtree.testing` has what every store does."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from unittest.mock import patch

import pytest
from helpers import assistant, user
from test_session_copies import copy, counted, spend

from convtree import SessionLocked, SessionStore, open_store
from convtree._engine import codec
from convtree._logs.ledger_file import LedgerFile
from convtree.stores._folder import FolderBackend


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SessionStore]:
    """A folder."""
    with open_store(tmp_path, durability="process", lock_timeout_s=0.1) as opened:
        yield opened


def in_ledger(store: SessionStore) -> int:
    return sum(row.usage.output_tokens for row in store.ledger())


def ledger_of(store: SessionStore) -> Path:
    return Path(store.location, ".ledger")


def test_lines_of_the_ledger(store: SessionStore) -> None:
    """They name the session and what it used, and nothing that was said."""
    with store.create(id="a", owner="ann", name="Trip", cwd="/home/ann") as session:
        session.append(user("a secret question"))
        session.append(assistant("a secret"), provider="p", model="m", usage={"output_tokens": 1, "cost": 0.5})
    day = store.info("a").created[:10]  # type: ignore[index]
    first = codec.verify_seal(Path(store.location, "a.jsonl").read_bytes().split(b"\n")[0])
    assert first is not None
    store.delete("a")
    (line,) = ledger_of(store).read_bytes().splitlines()
    assert codec.verify_seal(line) is not None
    assert {name: value for name, value in json.loads(line).items() if name not in ("prev", "crc")} == {
        "id": "a",
        "header": f"{first.crc:08x}",
        "owner": "ann",
        "used": [{"day": day, "provider": "p", "model": "m", "output_tokens": 1, "cost": 0.5}],
    }
    assert ledger_of(store).stat().st_mode & 0o777 == 0o600
    assert store.findings == []


def test_a_session_that_used_nothing_has_no_line(store: SessionStore) -> None:
    """Unless it leads to a parent."""
    for id in ("a", "b"):
        with store.create(id=id) as session:
            session.append(user("q"))
    store.fork("b", new_id="f").close()
    store.delete("a")
    assert (ledger_of(store).read_bytes(), store.ledger()) == (b"", [])
    store.delete("f")
    assert json.loads(ledger_of(store).read_bytes())["parent"] == "b"
    assert store.ledger() == []


def test_a_process_that_dies_before_the_file_is_gone(store: SessionStore) -> None:
    """The session counts itself. When it is deleted at last, it counts once, with what came meanwhile."""
    spend(store, "a", 1)
    with patch.object(FolderBackend, "_remove", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        store.delete("a")
    assert (counted(store), in_ledger(store)) == ({"a": 1}, 0)
    spend(store, "a", 10)
    store.delete("a")
    assert (counted(store), in_ledger(store)) == ({}, 11)


def test_a_session_that_is_restored_counts_itself(store: SessionStore) -> None:
    """While it is there."""
    spend(store, "a", 1)
    path, backup = Path(store.location, "a.jsonl"), Path(store.location, "backup")
    shutil.copy(path, backup)
    store.delete("a")
    assert in_ledger(store) == 1
    shutil.copy(backup, path)
    assert (counted(store), in_ledger(store)) == ({"a": 1}, 0)
    path.write_bytes(b"")
    assert in_ledger(store) == 1
    path.unlink()
    path.mkdir()
    assert in_ledger(store) == 1


def test_the_catalogue_is_only_a_cache(store: SessionStore) -> None:
    """Without it, the ledger still says what is gone, and where forks come from."""
    spend(store, "a", 1)
    for parent, id in (("a", "f"), ("f", "g")):
        store.fork(parent, new_id=id).close()
        spend(store, id, 10)
    store.delete("f")
    store.close()
    for path in Path(store.location).glob(".catalogue*"):
        path.unlink()
    with open_store(store.location) as again:
        assert (counted(again), in_ledger(again)) == ({"a": 1, "g": 20}, 0)


def test_what_a_copy_shares_is_not_gone(store: SessionStore) -> None:
    """Of two files with one header, the rest of the deleted one is."""
    spend(store, "s1", 1)
    copy(store, "s1", "t")
    spend(store, "s1", 10)
    spend(store, "t", 100)
    store.delete("s1")
    assert (counted(store), in_ledger(store)) == ({"t": 101}, 10)
    store.delete("t")
    assert (counted(store), in_ledger(store)) == ({}, 111)


def test_a_fork_of_a_copied_file_that_is_gone(store: SessionStore) -> None:
    """What it copied counts in the log that the file was copied from; without the catalogue, too."""
    spend(store, "s1", 1)
    copy(store, "s1", "t")
    store.fork("t", new_id="f").close()
    spend(store, "f", 10)
    store.delete("t")
    assert (counted(store), in_ledger(store)) == ({"s1": 1, "f": 10}, 0)
    store.close()
    for path in Path(store.location).glob(".catalogue*"):
        path.unlink()
    with open_store(store.location) as again:
        assert (counted(again), in_ledger(again)) == ({"s1": 1, "f": 10}, 0)
        again.delete("s1")
        assert (counted(again), in_ledger(again)) == ({"f": 11}, 0)
        again.delete("f")
        assert (counted(again), in_ledger(again)) == ({}, 11)


def test_a_copied_file_that_goes_together_with_its_fork(store: SessionStore) -> None:
    """What both share with the log that stays is not gone."""
    spend(store, "s1", 1)
    copy(store, "s1", "t")
    store.fork("t", new_id="f").close()
    spend(store, "f", 10)
    store._backend.delete(["t", "f"])
    assert (counted(store), in_ledger(store)) == ({"s1": 1}, 10)


@pytest.mark.parametrize("tail", [b'{"id":"torn', b"\0\0\0", b'{"id":"a","header":"x"}'])
def test_a_torn_tail_is_cut_off(tail: bytes, store: SessionStore) -> None:
    """The session of that line was not deleted."""
    spend(store, "a", 1)
    store.delete("a")
    with ledger_of(store).open("ab") as file:
        file.write(tail)
    assert in_ledger(store) == 1
    spend(store, "b", 10)
    store.delete("b")
    assert (in_ledger(store), ledger_of(store).read_bytes().count(b"\n"), tail in ledger_of(store).read_bytes()) == (
        11,
        2,
        False,
    )


def test_lines_that_cannot_be_read_are_passed_over(store: SessionStore) -> None:
    """Damaged ones, empty ones, and those of a later version."""
    for id, tokens in (("a", 1), ("b", 10)):
        spend(store, id, tokens)
        store.delete(id)
    damaged = ledger_of(store).read_bytes().replace(b'"output_tokens":1,', b'"output_tokens":7,', 1)
    damaged = damaged.replace(b'"output_tokens":1}', b'"output_tokens":7}', 1)
    later = codec.seal(b'{"version":9,"id":7', 0)
    ledger_of(store).write_bytes(damaged + b"\n\xff\n" + later + b"\n")
    assert in_ledger(store) == 10
    assert [(finding.code, finding.place) for finding in store.findings] == [("bad_ledger", ".ledger")]


def test_a_disk_that_fails_deletes_nothing(store: SessionStore) -> None:
    """Nor does it leave a part of a line."""
    spend(store, "a", 1)
    spend(store, "b", 10)
    store.delete("a")
    failing = OSError(errno.EIO, "no luck")
    with patch("convtree._logs.ledger_file.syncing.sync", side_effect=failing), pytest.raises(OSError, match="no luck"):
        store.delete("b")
    assert (counted(store), in_ledger(store)) == ({"b": 10}, 1)
    assert ledger_of(store).read_bytes().count(b"\n") == 1
    store.delete("b")
    assert in_ledger(store) == 11


def test_a_disk_that_gets_full_within_a_line(tmp_path: Path) -> None:
    """No part of the line stays, though a part of it fits."""
    ledger = LedgerFile(tmp_path / ".ledger", 1.0)
    ledger.append([b"a" * 100])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            ledger.append([b"b" * 350])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(tmp_path / ".ledger"))
    assert (tmp_path / ".ledger").read_bytes() == b"a" * 100 + b"\n"
    ledger.append([b"c"])
    assert ledger.read() == [b"a" * 100, b"c"]


@pytest.mark.parametrize("known", [True, False], ids=["with a ledger", "without one"])
def test_a_full_disk_can_be_emptied(known: bool, tmp_path: Path) -> None:
    """What is deleted makes the space for the line that says what it had used."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(mounted.stderr.decode(errors="replace").strip())
    try:
        with open_store(place, durability="process") as store:
            if known:
                spend(store, "z", 1)
                store.delete("z")
            spend(store, "a", 10)
            with suppress(OSError), (place / "ballast").open("wb", buffering=0) as file:
                while True:
                    file.write(b"x" * 512)
            store.delete("a")
            assert (counted(store), in_ledger(store)) == ({}, 10 + known)
        assert [path.name for path in place.glob("a.jsonl*")] == []
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_disk_that_stays_full(store: SessionStore) -> None:
    """Somebody else takes the space at once: the error says what is not recorded."""
    spend(store, "a", 1)
    full = OSError(errno.ENOSPC, "no space")
    with (
        patch("convtree._logs.ledger_file.syncing.sync", side_effect=full),
        pytest.raises(OSError, match="deleted, but") as error,
    ):
        store.delete("a")
    assert (error.value.errno, error.value.filename) == (errno.ENOSPC, str(ledger_of(store)))
    assert (counted(store), in_ledger(store)) == ({}, 0)


def test_deletes_take_turns(store: SessionStore) -> None:
    """A session and its fork are deleted at once by two processes: the answers of both are in the ledger."""
    spend(store, "a", 1)
    store.fork("a", new_id="f").close()
    with open_store(store.location) as other:
        threads = [Thread(target=one.delete, args=(id,)) for one, id in ((store, "a"), (other, "f"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (counted(other), in_ledger(other), in_ledger(store)) == ({}, 1, 1)
    held = LedgerFile(ledger_of(store), 1.0)
    spend(store, "b", 10)
    held.lock()
    with pytest.raises(SessionLocked):
        store.delete("b")
    held.unlock()
    assert counted(store) == {"b": 10}


def test_a_ledger_that_is_removed_is_empty(store: SessionStore) -> None:
    """It is the only place of what it held."""
    spend(store, "a", 1)
    store.delete("a")
    assert in_ledger(store) == 1
    os.unlink(ledger_of(store))
    assert in_ledger(store) == 0
