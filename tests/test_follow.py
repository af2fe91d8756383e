"""Following a log: whole, verified records as they are appended, also when the file is replaced."""

import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from time import monotonic

import pytest
from helpers import HEADER, as_file, ids, log_of, mark, node, sealed, user

from convtree import BrokenPath, Entry, LabelMark, Mark, Session, SessionClosed, SessionNotFound
from convtree.repair import repair

A, B, C = node("a", None), node("b", "a"), node("c", "b")
LINES = sealed((HEADER, A, B, C))


def following(session: Session) -> Iterator[Entry | Mark]:
    """Follows a session and ends as soon as there is no new record."""
    return session.follow(poll_s=0, timeout_s=0)


def test_only_whole_lines_are_yielded(log_path: Path) -> None:
    """A record is yielded once its line verifies and has its newline."""
    log_path.write_bytes(as_file(LINES[:2]))
    with Session.open(log_path, mode="r") as session:
        news = session.follow(poll_s=0, timeout_s=0)
        for at, byte in enumerate(LINES[2]):
            with log_path.open("ab") as log:
                log.write(bytes([byte]))
            if at % 20 == 0:
                assert list(following(session)) == []
        with log_path.open("ab") as log:
            log.write(b"\n" + LINES[3][:50])
        assert ids(news) == ["b"]


def test_a_damaged_line_is_skipped(log_path: Path) -> None:
    """Lines that do not verify or cannot be decoded are left to `verify`. The records behind them are yielded."""
    bad_body = node("x", "a", message="no object")
    first, *rest = sealed((HEADER, A, bad_body, node("y", "a"), node("z", "a")))
    log_path.write_bytes(as_file([first, rest[0]]))
    with Session.open(log_path, mode="r") as session:
        news = following(session)
        with log_path.open("ab") as log:
            log.write(as_file([rest[1], rest[2].replace(b"user", b"usex"), rest[3]]))
        assert ids(news) == ["z"]
        news = following(session)
        with log_path.open("ab") as log:
            log.write(as_file(sealed((bad_body.replace('"x"', '"x2"'),))))
        assert ids(news) == []
        assert ids(following(session)) == []


def test_marks_are_yielded_and_the_leaf_stays(log_path: Path) -> None:
    """Entries and marks come in log order and do not move the follower's leaf."""
    log_path.write_bytes(as_file(LINES[:2]))
    with Session.open(log_path) as session, Session.open(log_path) as other:
        news = following(session)
        entry = other.append(user("new"))
        other.label("a", "L")
        other.branch("a")
        other.rename("Trip")
        got = list(news)
        assert got[0] == entry
        assert isinstance(got[1], LabelMark)
        assert [each.type for each in got] == ["message", "label", "leaf", "session_info"]
        assert (session.leaf_id, session.labels, session.name) == ("a", {"a": "L"}, "Trip")


def test_following_a_log_before_it_exists(log_path: Path) -> None:
    """The first record is yielded, too."""
    with Session.open(log_path) as session:
        news = following(session)
        with Session.open(log_path) as other:
            entry = other.append(user("first"))
        assert list(news) == [entry]


def test_many_new_records_are_all_yielded(log_path: Path) -> None:
    """More records than one look returns come once and in order."""
    log_path.write_bytes(as_file(LINES))
    with Session.open(log_path, mode="r") as session, Session.open(log_path, durability="process") as other:
        news = following(session)
        entries = other.append_many([user(str(n)) for n in range(1300)])
        assert list(news) == entries


def test_following_continues_after_a_repair(log_path: Path) -> None:
    """A repair replaces the log. No record is yielded twice, and later ones are yielded."""
    log_path.write_bytes(as_file([*LINES[:2], LINES[2].replace(b"user", b"usex"), *sealed((node("d", "a"),))]))
    with Session.open(log_path, mode="r") as session:
        news = session.follow(poll_s=0.001, timeout_s=2)
        assert repair(log_path, dry_run=False).needed
        with Session.open(log_path) as other:
            one = other.append(user("one"))
            assert next(news) == one
            other.append(user("two"))
        assert repair(log_path, dry_run=False).needed is False
        assert isinstance(next(news), Entry)
        assert list(following(session)) == []


def test_following_continues_after_a_replacement(log_path: Path) -> None:
    """A copy of the log is followed from the last known record, another log from its first."""
    log_path.write_bytes(log_of(A, B))
    with Session.open(log_path, mode="r") as session:
        news = session.follow(poll_s=0.001, timeout_s=20)
        _put(log_path, log_of(A, B, C))
        assert [next(news).id] == ["c"]
        _put(log_path, log_of(node("x", None), header=HEADER.replace("s1", "s2")))
        assert next(news).id == "x"
        assert session.id == "s2"


def test_a_repair_may_remove_the_last_seen_record(log_path: Path) -> None:
    """The follower finds its place by the records before, and skips none behind it."""
    log_path.write_bytes(log_of(A, B, C))
    with Session.open(log_path, mode="r") as session:
        news = session.follow(poll_s=0.001, timeout_s=20)
        data = log_path.read_bytes()
        log_path.write_bytes(data.replace(b'"c"', b'"d"'))
        assert [finding.code for finding in repair(log_path, dry_run=False).removed] == ["bad_seal"]
        with Session.open(log_path) as writer:
            added = [writer.append(user(text), parent_id="b").id for text in ("one", "two")]
        assert [next(entry.id for entry in news if isinstance(entry, Entry)) for _ in added] == added


def _put(path: Path, data: bytes) -> None:
    new = path.with_name("new")
    new.write_bytes(data)
    new.rename(path)


def test_a_removed_log_raises(log_path: Path) -> None:
    """Without a file, SessionNotFound is raised."""
    log_path.write_bytes(as_file(LINES))
    with Session.open(log_path, mode="r") as session:
        news = session.follow(poll_s=0.001)
        log_path.unlink()
        with pytest.raises(SessionNotFound):
            next(news)


def test_following_ends_after_the_timeout(log_path: Path) -> None:
    """The time counts from the last record, and a longer `poll_s` does not extend it."""
    log_path.write_bytes(as_file(LINES))
    with Session.open(log_path, mode="r") as session:
        started = monotonic()
        assert list(session.follow(poll_s=60, timeout_s=0.05)) == []
        assert 0.05 <= monotonic() - started < 10


def test_following_ends_when_the_session_is_closed(log_path: Path) -> None:
    """This holds for a follower in another thread. Following a closed session raises."""
    log_path.write_bytes(as_file(LINES))
    session = Session.open(log_path, mode="r")
    got: list[Entry | Mark] = []
    thread = threading.Thread(target=lambda: got.extend(session.follow(poll_s=0.005)))
    thread.start()
    session.close()
    thread.join(20)
    assert (thread.is_alive(), got) == (False, [])
    with pytest.raises(SessionClosed):
        session.follow()


def test_following_a_live_writer(log_path: Path) -> None:
    """Every record comes once and in order while another session writes."""
    log_path.write_bytes(as_file(LINES))
    with Session.open(log_path, mode="r") as session, Session.open(log_path, durability="process") as other:
        news = session.follow(poll_s=0.001, timeout_s=20)
        thread = threading.Thread(target=lambda: [other.append(user(str(n))) for n in range(300)])
        thread.start()
        entries = [entry for _, entry in zip(range(300), news, strict=False) if isinstance(entry, Entry)]
        thread.join()
        assert all(later.parent_id == earlier.id for earlier, later in pairwise(entries))
        assert len(entries) == 300


def test_a_line_damaged_after_the_scan_raises(log_path: Path) -> None:
    """A record that was indexed and can no longer be read is an error. It is not skipped silently."""
    log_path.write_bytes(as_file(LINES[:2]))
    with Session.open(log_path, mode="r") as session:
        news = session.follow(poll_s=0.001, timeout_s=20)
        log_path.write_bytes(as_file(LINES))
        session.refresh()
        log_path.write_bytes(as_file([*LINES[:-1], b"x" * 40 + LINES[-1][40:]]))
        with pytest.raises(BrokenPath, match="was damaged after it was read"):
            list(news)


def test_marks_with_an_unknown_target_are_yielded(log_path: Path) -> None:
    """A follower yields every record; whether a mark has an effect is reported as a finding."""
    log_path.write_bytes(as_file(LINES[:2]))
    with Session.open(log_path, mode="r") as session:
        news = following(session)
        log_path.write_bytes(log_of(A, mark("m", "label", target_id="gone", label="L")))
        assert ids(news) == ["m"]
