"""A log that grows: its snapshot grows with it, so that another process opens it without reading it."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from helpers import HEADER, as_file, contents, ids, node, sealed, user
from hypothesis import given
from hypothesis import strategies as st

import convtree
from convtree import BrokenPath, Header, MessageEntry, Session, SessionStore
from convtree._engine import journal, line_scan, save_points
from convtree._engine.log import Addition, LogReplaced
from convtree._logs.jsonl import JsonlLog
from convtree._logs.memory import MemoryLog
from convtree._logs.sql_database import SqlDatabase
from convtree._model.errors import SessionLocked
from convtree.repair import verify

ENOUGH = 1100  # rows that are more than a step

WRITER = """
import sys
import convtree
with convtree.open_store(sys.argv[1], durability="process", create=True) as store:
    session = store.open("s1", create=True)
    for number in range(int(sys.argv[2])):
        session.append({"role": "user", "content": f"message {number}"})
    print("ready", flush=True)
    sys.stdin.readline()
"""


class Recording(MemoryLog):
    """A log in memory that notes the end of every snapshot, and the reads of single lines."""

    def __init__(self, other: MemoryLog | None = None) -> None:
        super().__init__(other)
        self.ends: list[int] = []
        self.fetched = 0
        self.error: BaseException | None = None

    def save_snapshot(self, end: int, pieces: Iterable[bytes]) -> None:
        del pieces  # made when they are asked for
        self.ends.append(end)
        if self.error is not None:
            raise self.error

    def read_at(self, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        self.fetched += 1
        return super().read_at(spans)


def index_of(path: Path) -> Path:
    return path.with_name(path.name + ".index")


def grow(session: Session, count: int, size: int = 1) -> None:
    """Appends one message after the other."""
    for number in range(count):
        session.append(user(f"{number} {'x' * size}"))


def opened(path: Path, **arguments: Any) -> Session:
    return Session.open(path, durability="process", **arguments)


def persisted(session: Session) -> int:
    """Returns how many rows of a session come from a snapshot."""
    return session._index.tree.ids.hashes.persisted


def step_of(rows: int, least: int) -> int:
    """Returns the step of a log: the least, or the power of two between a sixteenth and an eighth of its rows."""
    step = 1
    while step * 16 <= rows:
        step *= 2
    return max(least, step)


# --- when it is saved ---


@given(batches=st.lists(st.integers(1, 90), max_size=60))
def test_the_rest_is_shorter_than_a_step(batches: list[int]) -> None:
    """After each append, a step at most is not covered, and all saves together wrote at most 16 rows for each row."""
    log = Recording()
    with patch.object(save_points, "_STEP_UNITS", 8):
        session = Session(log, Header(id="s1"))
        rows = 0
        for count in batches:
            session.append_many([user("x")] * count)
            rows += count
            covered = log.ends[-1] - 1 if log.ends else 0
            assert rows - covered < step_of(rows, 8)
        session.close()
    assert sum(log.ends) <= 16 * (rows + 1)


def test_the_thresholds_of_a_long_log() -> None:
    """Rows count, and so does each 4 KiB of the log; below 1,024 of them nothing is saved."""
    log = Recording()
    session = Session(log, Header(id="s1"))
    grow(session, 2100)
    assert log.ends == [1025, 2049]  # the header is a line, not a row


def test_long_lines_count_more(log_path: Path) -> None:
    """Forty lines of 100 KB are a thousand units."""
    with opened(log_path) as session:
        grow(session, 40, 100_000)
        assert not index_of(log_path).exists()
        grow(session, 1, 100_000)
        assert index_of(log_path).exists()


@pytest.mark.no_cover
@pytest.mark.parametrize("asks", ["for nothing", "for the revision", "for the call of a result"])
def test_a_writer_saves_whatever_it_asks_in_between(asks: str, log_path: Path) -> None:
    """Also if each question gives the index what it lacks, so that no run of plain appends is ever long."""
    with Session.open(log_path, durability="process") as session:
        for number in range(1100):
            if asks == "for the call of a result":
                use = {"type": "tool_use", "id": f"t{number}", "name": "f", "input": {}}
                session.append({"role": "assistant", "content": [use]})
                result = {"type": "tool_result", "tool_use_id": f"t{number}", "content": "done"}
                session.append({"role": "user", "content": [result]})
            else:
                session.append(user(str(number)))
                assert asks == "for nothing" or session.revision is not None
        assert index_of(log_path).exists()


def test_only_the_writer_that_crosses_a_threshold_saves() -> None:
    """Two writers take turns. Each threshold is crossed once."""
    first = Recording()
    second = Recording(first)
    writers = [Session(log, Header(id="s1"), on_stale="rebase") for log in (first, second)]
    for number in range(4200):
        writers[number % 3 % 2].append(user("x"))
    assert sorted(first.ends + second.ends) == [1025, 2049, 3073, 4096]  # 4,096 lines are one unit more


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), SessionLocked("locked", holder=None)], ids=["disk", "lock"]
)
def test_a_save_that_fails_fails_no_append(error: Exception) -> None:
    """It is tried again at the next threshold, not at the next append."""
    log = Recording()
    log.error = error
    session = Session(log, Header(id="s1"))
    grow(session, 2100)
    assert len(session.path()) == 2100
    assert log.ends == [1025, 2049]


def test_a_log_replaced_while_its_snapshot_is_saved(tmp_path: Path) -> None:
    """The next call reads the new log, and continues that."""
    path, other = tmp_path / "log.jsonl", tmp_path / "other.jsonl"
    with opened(other, id="s2") as session:
        grow(session, 1500)
    index_of(other).unlink()
    save = JsonlLog.save_snapshot

    def replaced(self: JsonlLog, end: int, pieces: Iterable[bytes]) -> None:
        os.rename(other, path)
        with pytest.raises(LogReplaced):
            save(self, end, pieces)
        raise LogReplaced

    with opened(path, on_stale="rebase") as session:
        with patch.object(JsonlLog, "save_snapshot", replaced):
            grow(session, 1024)
        assert not index_of(path).exists()
        session.append(user("last"))
        assert session.header.id == "s2"
        assert (contents(session)[1499], contents(session)[-1]) == ("1499 x", "last")
    assert verify(path).findings == ()


# --- who reads it ---


@pytest.fixture(params=["folder", "sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The place of a store of each kind whose sessions outlive a process."""
    if request.param == "postgresql":
        given: str = request.getfixturevalue("postgres_url")
        with convtree.open_store(given, create=True) as store:
            if "s1" in [each.id for each in store.list()]:
                store.delete("s1")
        return given
    return str(tmp_path / "store") if request.param == "folder" else f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def store(url: str) -> Iterator[SessionStore]:
    """A store of each kind."""
    with convtree.open_store(url, durability="process", create=True) as found:
        yield found


def spoil_the_first_message(url: str) -> None:
    """Damages the line of the first message in the log of a store."""
    if "://" not in url:
        path = Path(url) / "s1.jsonl"
        path.write_bytes(path.read_bytes().replace(b"message 0", b"massage 0", 1))
        return
    database = SqlDatabase.connect(url)
    with database.writing() as execute:
        execute(
            "UPDATE ct_lines SET line = REPLACE(line, 'message 0', 'massage 0') WHERE session_id = 's1' "
            "AND line LIKE '%message 0\"%'"
        )
    database.close()


@pytest.mark.parametrize("killed", [False, True], ids=["open", "killed"])
def test_another_process_reads_the_rest_only(url: str, killed: bool) -> None:
    """The writer has not closed the log. A damaged line that the snapshot covers is not noticed: nothing reads it."""
    command = [sys.executable, "-c", WRITER, url, str(ENOUGH)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        if killed:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        spoil_the_first_message(url)
        with convtree.open_store(url, create=False) as store, store.open("s1", read_only=True) as session:
            assert session.findings == ()
            assert 900 < persisted(session) < 1024  # 1,024 units, of which the bytes are a few
            last = session.entry(str(session.leaf_id))
            assert isinstance(last, MessageEntry)
            assert last.message == user(f"message {ENOUGH - 1}")
            with pytest.raises(BrokenPath):
                session.path()
        writer.kill()


def test_a_writer_that_had_to_scan_much_saves(log_path: Path) -> None:
    """At once, because nothing says that it will append or close. A reader does not."""
    with opened(log_path) as session:
        grow(session, ENOUGH)
    index_of(log_path).unlink()
    opened(log_path, mode="r").close()
    assert not index_of(log_path).exists()
    again = opened(log_path)
    assert index_of(log_path).exists()
    again.close()
    with opened(log_path, mode="r") as session:
        assert persisted(session) == ENOUGH


def test_a_writer_that_had_to_scan_little_does_not_save(log_path: Path) -> None:
    """The snapshot lacks less than a step, or the log is not longer than that."""
    with opened(log_path) as session:
        grow(session, 900)
    opened(log_path).close()
    assert not index_of(log_path).exists()
    with opened(log_path) as session:
        grow(session, 900)
    before = index_of(log_path).stat().st_ino
    opened(log_path).close()
    assert index_of(log_path).stat().st_ino == before


def test_a_log_that_must_not_be_written_to_gets_no_snapshot(log_path: Path) -> None:
    """A newer version of convtree has written it, however long it is."""
    texts = [HEADER.replace('"version":1', '"version":2'), node("n0", None)]
    texts += [node(f"n{number}", f"n{number - 1}") for number in range(1, ENOUGH)]
    log_path.write_bytes(as_file(sealed(texts)))
    opened(log_path).close()
    assert not index_of(log_path).exists()


def test_a_log_grows_on_from_its_snapshot(log_path: Path) -> None:
    """Each open has the rows of the one before from the snapshot. The ids of all of them are found."""
    entries: list[str] = []
    with patch.object(save_points, "_STEP_UNITS", 16):
        for _ in range(12):
            with opened(log_path) as session:
                entries += [entry.id for entry in session.append_many([user("x")] * 40)]
            with opened(log_path, mode="r") as session:
                assert len(entries) - persisted(session) < step_of(len(entries), 16)
                assert [entry.id for entry in session.path()] == entries
                assert [session.entry(id).id for id in entries] == entries


def test_a_reader_outlives_a_few_snapshots(store: SessionStore) -> None:
    """Its columns stay on disk. What it has not read yet is there when the log has grown."""
    writer = store.create(id="s1")
    with patch.object(save_points, "_STEP_UNITS", 64):
        writer.append_many([user(str(number)) for number in range(64)])
        reader = store.open("s1", read_only=True)
        for _ in range(3):
            writer.append_many([user("x")] * 64)
        with patch.object(journal.Journal, "rescan", side_effect=AssertionError):
            assert contents(reader) == [str(number) for number in range(64)]
        for _ in range(3):
            writer.append_many([user("x")] * 64)
        assert len(reader.refresh()) == 6 * 64
        assert len(reader.path()) == 7 * 64
    reader.close()
    writer.close()


def test_two_processes_that_save_in_turn(log_path: Path) -> None:
    """A snapshot that another log has stored is replaced by one that covers about as much, or more."""
    first = JsonlLog(log_path, durability="process")
    end = first.append(0, lambda _: Addition(sealed([HEADER, node("a", None)]), 0)).end
    second = JsonlLog(log_path, durability="process")
    list(second.read())
    assert second.snapshot() is None
    first.save_snapshot(end, [b"first"])
    first.append(end, lambda _: Addition([b"x" * end], end))
    first.save_snapshot(end, [b"its own, again"])
    assert index_of(log_path).read_bytes() == b"its own, again"
    second.save_snapshot(end, [b"behind"])
    assert index_of(log_path).read_bytes() == b"its own, again"
    list(second.read(end))
    second.save_snapshot(2 * end, [b"as long as the log, but for a byte"])
    assert index_of(log_path).read_bytes() == b"as long as the log, but for a byte"
    first.close()
    second.close()


# --- a log with branches ---


def branching(parents: Iterable[int | None], size: int = 1) -> bytes:
    """Returns a log of entries with the ids n0, n1, …, each below the one with the number that is given."""
    texts = [
        node(f"n{number}", None if parent is None else f"n{parent}", message=user("x" * size))
        for number, parent in enumerate(parents)
    ]
    return as_file(sealed([HEADER, *texts]))


def scanned(data: bytes) -> tuple[Session, int]:
    """Returns a session on a log of these lines, and how often opening it asked the log for single lines."""
    log = Recording()
    log._lines += data.splitlines()
    session = Session(log, Header(id="s1"), read_only=True)
    return session, log.fetched


def test_a_scan_confirms_ids_by_the_lines_it_has() -> None:
    """Each entry is below the one before the last: two branches that alternate."""
    session, fetched = scanned(branching([None, 0, *range(498)]))
    assert fetched == 0
    assert session.findings == ()
    assert [entry.id for entry in session.path()] == ["n0", *(f"n{number}" for number in range(1, 500, 2))]


def test_a_scan_asks_once_for_a_line_that_it_had_before(log_path: Path) -> None:
    """Three hundred entries are below the first one, far behind it, and the log is read in many pieces."""
    log_path.write_bytes(branching([None, *range(99), *[0] * 299], 10_000))
    with (
        patch.object(JsonlLog, "read_at", autospec=True, side_effect=JsonlLog.read_at) as read_at,
        opened(log_path, mode="r") as session,
    ):
        asked = read_at.call_count
        assert len(session.children("n0")) == 300
    assert asked == 1


def test_a_scan_remembers_a_bounded_number_of_ids() -> None:
    """What it has forgotten is confirmed again."""
    parents = [None, 0, *range(98)]
    with patch.object(line_scan, "_CONFIRMED", 3):
        session, _ = scanned(branching(parents))
    for number, parent in enumerate(parents):
        assert session.entry(f"n{number}").parent_id == (None if parent is None else f"n{parent}")


def test_a_scan_tells_ids_apart_that_share_a_hash() -> None:
    """The hash of an id of our own form is the id. A program that chooses ids can choose two with one hash."""
    other = blake2b(b"n0", digest_size=8).hexdigest()
    texts = [node("n0", None), node("n1", "n0"), node(other, "n0"), node("n2", other), node("n3", "n0")]
    log = Recording()
    log._lines += as_file(sealed([HEADER, *texts])).splitlines()
    session = Session(log, Header(id="s1"), read_only=True)
    assert session.findings == ()
    assert ids(session.children("n0")) == ["n1", other, "n3"]
    assert ids(session.children(other)) == ["n2"]
