"""Sources that are read in other processes, while this one writes what was read before.

Reading is about half of an import, and no source depends on another. Each process reads a share of the sources, in
order, and sends what it reads in pieces. A thread for each process puts the pieces into a bounded queue, so a process
is ahead by some megabytes at most. The sources are consumed in their order, so the result is that of an import in one
process. If a process dies, the source that it was reading has failed, and another process reads the rest of its share.
"""

from __future__ import annotations

import pickle
import queue
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from threading import Event, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any

from convtree._formats.common.base import SessionRef, Source, SourceSession
from convtree._model.entries import Finding, Record
from convtree._model.errors import NotALog
from convtree._tools.known_sources import FAILURES, KnownSource, NotImported, Place, recognise, recogniser

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

_PIECE = 2**18  # bytes of records that are sent at once, but for one that is larger
_AHEAD = 32  # pieces of each process that may wait here


# --- in the other process: each message is a kind and a value, in the order of `_Reading` ---


def read_all(places: Sequence[Place], pipe: Connection) -> None:
    """Reads sources and sends what is in them. Runs in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that writes is interrupted, and ends this one
    recognise_at = recogniser()
    with suppress(BrokenPipeError):
        for place in places:
            found = recognise_at(place)
            if isinstance(found, NotImported):
                _send(pipe, "not imported", found)
                continue
            _send(pipe, "format", found.format)
            with found.source:
                _send_sessions(found, pipe)


def _send_sessions(found: KnownSource, pipe: Connection) -> None:
    try:
        for ref in found.sessions():
            _send(pipe, "session", ref._replace(content=None))
            try:
                read = found.read(ref)
                _send(pipe, "header", (read.header, list(read.findings)))
                _send_records(read, pipe)
                _send(pipe, "end", list(read.findings))
            except FAILURES as error:
                _send(pipe, "failed session", str(error))
    except FAILURES as error:
        _send(pipe, "failed", str(error))
    else:
        _send(pipe, "done", None)


def _send_records(read: SourceSession, pipe: Connection) -> None:
    records, size = list[bytes](), 0
    for record in read.records:
        records.append(pickle.dumps(record, pickle.HIGHEST_PROTOCOL))
        size += len(records[-1])
        if size >= _PIECE:
            _send(pipe, "records", (records, _position(read), list(read.findings)))
            records, size = [], 0
    _send(pipe, "records", (records, _position(read), list(read.findings)))


def _position(read: SourceSession) -> int:
    return 0 if read.position is None else read.position()


def _send(pipe: Connection, kind: str, value: Any) -> None:
    pipe.send_bytes(pickle.dumps((kind, value), pickle.HIGHEST_PROTOCOL))


# --- in this process ---


class Readers:
    """Processes that read sources. With n processes, each reads every n-th source."""

    def __init__(self, places: Sequence[Place], processes: int) -> None:
        self._shares = [_Share(places[number::processes]) for number in range(min(processes, len(places)))]
        self._next = 0

    def next(self) -> SourceElsewhere:
        """Returns the next source, in the order of the places."""
        share = self._shares[self._next % len(self._shares)]
        self._next += 1
        return share.next()

    def __enter__(self) -> Readers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for share in self._shares:
            share.stop()


class _Share:
    """The sources that one process reads after each other, and the process."""

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = places
        self._begun = 0
        self._last: SourceElsewhere | None = None
        self._start()

    def next(self) -> SourceElsewhere:
        """Returns its next source. What was not consumed of the one before is passed over."""
        if self._last is not None and not self._last.skip_rest():
            self.stop()
            self._start()
        place = self._places[self._begun]
        self._begun += 1
        self._last = SourceElsewhere(place, self._pieces, self._process)
        return self._last

    def _start(self) -> None:
        from multiprocessing import get_context

        context = get_context("spawn")
        receiving, sending = context.Pipe(duplex=False)
        self._process = context.Process(target=read_all, args=(self._places[self._begun :], sending), daemon=True)
        self._process.start()
        sending.close()
        self._pieces: queue.Queue[bytes | None] = queue.Queue(_AHEAD)
        self._stopped = Event()
        Thread(target=_receive, args=(receiving, self._pieces, self._stopped), daemon=True).start()

    def stop(self) -> None:
        """Ends the process."""
        self._stopped.set()
        self._process.terminate()
        self._process.join()
        with suppress(queue.Empty):
            while True:
                self._pieces.get_nowait()  # the thread may wait for a place in the queue


def _receive(pipe: Connection, pieces: queue.Queue[bytes | None], stopped: Event) -> None:
    """Takes what a process sends into a queue, until it ends; then None."""
    with pipe:
        try:
            while not stopped.is_set():
                pieces.put(pipe.recv_bytes())
        except (EOFError, OSError):
            pieces.put(None)


class SourceElsewhere:
    """A source that another process reads. It is imported as a `KnownSource` is."""

    def __init__(self, place: Place, pieces: queue.Queue[bytes | None], process: BaseProcess) -> None:
        self.source = Source(place.path, b"", place.top)
        self.format: str | None = None
        self._place = place
        self._pieces = pieces
        self._process = process
        self._is_over = False
        self._is_dead = False
        self._in_session = False
        self._given = set[str]()

    def begin(self) -> NotImported | None:
        """Returns why the source is not imported; None if it is of a known format."""
        try:
            kind, value = self._receive()
        except NotALog as error:
            return NotImported("failed", self._place.path, str(error))
        if kind == "not imported":
            self._is_over = True
            found: NotImported = value
            return found
        self.format = value
        return None

    def sessions(self) -> Iterator[SessionRef]:
        """Yields its sessions, each before its records."""
        while True:
            kind, value = self._receive()
            if kind == "session":
                self._in_session = True
                yield value
                if self._is_dead:  # which was the error of this session
                    return
                while self._in_session:  # what the import did not take
                    self._receive()
            elif kind == "failed":
                raise NotALog(value)
            elif kind == "done":
                return

    def read(self, ref: SessionRef) -> SourceSession:
        """Returns the session that was listed last. A session that is read again is read in this process."""
        if ref.id in self._given:
            return self._read_here(ref)
        self._given.add(ref.id)
        kind, value = self._receive()
        if kind == "failed session":
            raise NotALog(value)
        header, found = value
        findings: list[Finding] = found
        position = [0]
        return SourceSession(header, self._records(findings, position), findings, lambda: position[0])

    def _records(self, findings: list[Finding], position: list[int]) -> Iterator[Record]:
        while True:
            kind, value = self._receive()
            if kind == "failed session":
                raise NotALog(value)
            if kind == "end":
                findings[:] = value
                return
            records, position[0], findings[:] = value
            for record in records:
                yield pickle.loads(record)

    def _read_here(self, ref: SessionRef) -> SourceSession:
        found = recognise(self._place.path, self._place.top)
        self.source.share(lambda _: found.source)  # is closed with this one
        again = next(each for each in found.sessions() if each.id == ref.id)
        return found.read(again)

    def skip_rest(self) -> bool:
        """Passes over what was not consumed; returns whether the process lives."""
        with suppress(NotALog):
            while not self._is_over:
                self._receive()
        return not self._is_dead

    def _receive(self) -> tuple[str, Any]:
        piece = None if self._is_dead else self._pieces.get()
        if piece is None:
            self._process.join()
            self._is_over = self._is_dead = True
            self._in_session = False
            raise NotALog(f"the process that read it ended with exit code {self._process.exitcode}")
        kind, value = pickle.loads(piece)
        self._is_over = kind in ("done", "failed", "not imported")
        self._in_session = self._in_session and kind not in ("end", "failed session", "done", "failed")
        return kind, value
