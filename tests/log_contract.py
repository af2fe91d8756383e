"""The contract of a log, as tests: every implementation passes them unchanged.

A subclass opens handles on one log. `shared` is False if a log can have one handle only, `lasting` if it does not
outlive its handle, `keeps` if it stores no snapshots.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from zlib import crc32

import pytest
from helpers import HEADER, adding, node, sealed

from convtree._engine.log import Addition, Chunk, Log

LINES = sealed([HEADER, *(node(f"n{number}", f"n{number - 1}" if number else None) for number in range(5))])


def everything(log: Log, position: int = 0) -> list[bytes]:
    """All lines from a position on."""
    return [line for chunk in log.read(position) for line in chunk.lines]


def end_of(log: Log) -> int:
    """The position behind the last line."""
    return max([0, *(chunk.end for chunk in log.read())])


def add(log: Log, *lines: bytes, position: int | None = None) -> Chunk:
    """Appends lines, whatever else is there."""
    start = end_of(log) if position is None else position
    return log.append(start, adding(start, lines))


def kept(log: Log) -> bytes | None:
    """The snapshot of a log."""
    stored = log.snapshot()
    return None if stored is None else stored.read(0, stored.size)


class Refused(Exception):
    """What a builder raises."""


class LogContract(ABC):
    """Tests over `self.open_log(place)`: a handle on the one log of that place."""

    shared = True
    lasting = True
    keeps = True

    @abstractmethod
    def open_log(self, place: Path) -> Log:
        """Opens a handle, on the same log for the same place."""

    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[Log]:
        """One handle on a new log."""
        opened = self.open_log(tmp_path)
        yield opened
        opened.close()

    @pytest.fixture
    def other(self, tmp_path: Path) -> Iterator[Log]:
        """Another handle on the same log."""
        if not self.shared:
            pytest.skip("a log of one handle")
        opened = self.open_log(tmp_path)
        yield opened
        opened.close()

    def test_a_new_log_is_empty(self, log: Log) -> None:
        """It has no lines, has not failed, and says where it is."""
        assert list(log.read()) == []
        assert not log.failed
        assert log.location

    def test_lines_come_back_as_they_went_in(self, log: Log) -> None:
        """In order, at the positions that `append` returned."""
        first = add(log, *LINES[:2])
        second = add(log, *LINES[2:])
        assert [*first.lines, *second.lines] == LINES
        assert everything(log) == LINES
        positions = [*first.positions, *second.positions]
        assert [position for chunk in log.read() for position in chunk.positions] == positions
        assert positions == sorted(set(positions))
        assert all(chunk.fault is None for chunk in log.read())
        assert end_of(log) == second.end

    def test_read_starts_at_a_position(self, log: Log) -> None:
        """The end of one append is where the next begins."""
        ends = [add(log, line).end for line in LINES]
        for number, end in enumerate(ends):
            assert everything(log, end) == LINES[number + 1 :]

    def test_lines_are_read_by_position(self, log: Log) -> None:
        """In any order, one or several, also twice."""
        chunk = add(log, *LINES)
        spans = [(position, len(line)) for position, line in zip(chunk.positions, chunk.lines, strict=True)]
        for wanted in ([0], [5, 0, 3], [1, 2, 3], [2, 2], []):
            assert log.read_at([spans[number] for number in wanted]) == [LINES[number] for number in wanted]

    def test_no_lines_write_nothing(self, log: Log) -> None:
        """`build` may return no lines."""
        assert list(add(log).lines) == []
        add(log, *LINES[:2])
        end = end_of(log)
        assert list(add(log).lines) == []
        assert (everything(log), end_of(log)) == (LINES[:2], end)

    @pytest.mark.parametrize("begun", [False, True])
    def test_an_error_of_build_is_raised_and_nothing_is_written(self, log: Log, begun: bool) -> None:
        """The log can be used afterwards."""
        before = LINES[:2] if begun else []
        if begun:
            add(log, *before)

        def build(_: Iterator[Chunk]) -> Addition:
            raise Refused

        with pytest.raises(Refused):
            log.append(end_of(log), build)
        assert everything(log) == before
        assert not log.failed
        add(log, *LINES[len(before) :])
        assert everything(log) == LINES

    def test_build_sees_what_others_appended(self, log: Log, other: Log) -> None:
        """It gets exactly the lines after the position."""
        position = add(log, *LINES[:2]).end
        add(other, *LINES[2:4])
        seen: list[bytes] = []

        def build(news: Iterator[Chunk]) -> Addition:
            chunks = list(news)
            seen.extend(line for chunk in chunks for line in chunk.lines)
            return Addition(LINES[4:], chunks[-1].end if chunks else position)

        chunk = log.append(position, build)
        assert seen == LINES[2:4]
        assert list(chunk.lines) == LINES[4:]
        assert everything(other) == LINES

    def test_lines_come_after_what_others_appended(self, log: Log, other: Log) -> None:
        """Whatever position the caller knows."""
        add(log, LINES[0])
        add(other, LINES[1])
        log.append(0, adding(0, LINES[2:3]))
        assert everything(log) == LINES[:3]

    def test_two_handles_may_create_a_log(self, log: Log, other: Log) -> None:
        """If both find nothing, `build` of the second is given what the first wrote."""
        assert (everything(log), everything(other)) == ([], [])
        add(log, *LINES[:2], position=0)
        builds: list[int] = []

        def build(news: Iterator[Chunk]) -> Addition:
            chunks = list(news)
            builds.append(sum(len(chunk.lines) for chunk in chunks))
            return Addition(LINES[2:3], chunks[-1].end) if builds[-1] else Addition(LINES[:1], 0)

        other.append(0, build)
        assert builds[-1] == 2
        assert everything(log) == LINES[:3]

    def test_other_handles_see_what_was_appended(self, log: Log, other: Log) -> None:
        """At once, by `read` and by `read_at`."""
        chunk = add(log, *LINES[:3])
        assert everything(other) == LINES[:3]
        assert other.read_at([(chunk.positions[1], len(LINES[1]))]) == [LINES[1]]

    def test_no_line_is_lost_or_torn_between_threads(self, log: Log, other: Log) -> None:
        """Two handles that append at the same time each add all their lines."""
        texts = [sealed([node(f"{name}{number}", None) for number in range(40)]) for name in "ab"]

        def run(handle: Log, lines: list[bytes]) -> None:
            for line in lines:
                handle.append(0, adding(0, [line]))

        threads = [Thread(target=run, args=pair) for pair in zip((log, other), texts, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        written = everything(log)
        assert sorted(written) == sorted(texts[0] + texts[1])
        assert [line for line in written if line in texts[0]] == texts[0]

    def test_a_log_outlives_its_handle(self, log: Log, tmp_path: Path) -> None:
        """Appended lines are there when the log is opened again."""
        if not self.lasting:
            pytest.skip("gone with its handle")
        add(log, *LINES)
        log.close()
        log.close()
        again = self.open_log(tmp_path)
        assert everything(again) == LINES
        again.close()

    def test_lines_may_hold_any_byte_but_a_newline(self, log: Log) -> None:
        """A log knows nothing about JSON."""
        odd = [LINES[0], bytes(byte for byte in range(256) if byte != 10), b"x" * 600_000]
        add(log, *odd)
        assert everything(log) == odd
        assert crc32(b"".join(everything(log))) == crc32(b"".join(odd))

    def test_many_lines_come_in_order(self, log: Log) -> None:
        """Chunks follow each other without gap or overlap."""
        lines = [LINES[0], *(b"%d " % number * (number % 100) for number in range(1, 5000))]
        add(log, *lines)
        end = 0
        for chunk in log.read():
            assert chunk.positions[0] == end
            end = chunk.end
        assert everything(log) == lines

    # --- snapshots ---

    def test_a_new_log_has_no_snapshot(self, log: Log) -> None:
        """One saved for a log without lines may be lost."""
        assert log.snapshot() is None
        log.save_snapshot(0, [b"something"])
        add(log, *LINES)
        assert kept(log) in (None, b"something")

    def test_a_snapshot_comes_back_as_it_was_saved(self, log: Log) -> None:
        """It replaces the one before, whole, and is read from any offset; or there never is one."""
        end = add(log, *LINES).end
        for pieces in ([b"abc", b"", b"def"], [], [bytes(range(256))] * 10_000, [b"x"]):
            log.save_snapshot(end, iter(pieces))
            whole = b"".join(pieces)
            assert kept(log) == (whole if self.keeps else None)
            if (stored := log.snapshot()) is not None:
                assert stored.size == len(whole)
                assert stored.read(1, 3) == whole[1:4]
                assert stored.read(stored.size, 5) == b""
        assert everything(log) == LINES

    def test_an_opened_snapshot_stays_readable(self, log: Log) -> None:
        """Also if another replaces it."""
        end = add(log, *LINES).end
        log.save_snapshot(end, [b"first"])
        stored = log.snapshot()
        log.save_snapshot(end, [b"second, and longer"])
        assert (stored is None) == (not self.keeps)
        assert stored is None or (stored.size, stored.read(0, 100)) == (5, b"first")
        assert kept(log) == (b"second, and longer" if self.keeps else None)

    def test_a_snapshot_is_saved_whole_or_not_at_all(self, log: Log) -> None:
        """If its pieces end with an error, the one before stays, and the log can be used."""
        end = add(log, *LINES[:4]).end
        log.save_snapshot(end, [b"before"])

        def pieces() -> Iterator[bytes]:
            yield b"half"
            raise Refused

        if self.keeps:
            with pytest.raises(Refused):
                log.save_snapshot(end, pieces())
        assert kept(log) == (b"before" if self.keeps else None)
        assert not log.failed
        add(log, *LINES[4:])
        assert everything(log) == LINES

    def test_all_handles_see_the_last_snapshot(self, log: Log, other: Log) -> None:
        """Of two handles that have seen the same lines, the last one wins."""
        end = add(log, *LINES).end
        assert everything(other) == LINES
        for handle in (log, other):
            handle.save_snapshot(end, [str(id(handle)).encode()])
            assert [kept(each) for each in (log, other)] == [str(id(handle)).encode()] * 2

    def test_a_snapshot_outlives_its_handle(self, log: Log, tmp_path: Path) -> None:
        """As the log does."""
        if not self.lasting:
            pytest.skip("gone with its handle")
        log.save_snapshot(add(log, *LINES).end, [b"kept"])
        log.close()
        again = self.open_log(tmp_path)
        assert kept(again) == b"kept"
        again.close()
