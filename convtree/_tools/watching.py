"""Watches sources, and imports what is new in them.

The file system is polled, because that works on every kind of it and with many small files. A poll lists names, sizes,
times and inodes. It reads what has changed again: each changed file, and each source for which that file was opened the
last time. A file that is being written is read when it is whole, or when it has not changed for one interval.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from convtree._engine.codec import BYTE_ORDER_MARK
from convtree._engine.redact import Redact
from convtree._formats.common.files import DATABASE_START, recording_opened
from convtree._formats.common.jsonl import LINE_LIMIT
from convtree._formats.common.parsing import is_json
from convtree._model.arguments import checked
from convtree._model.entries import Finding
from convtree._tools.importing import ImportReport, import_sessions, paths_of, report_not_imported
from convtree._tools.known_sources import FAILURES, KnownSource, NotImported, belongs_to, recognise, walk_sources
from convtree._tools.passed_over import Search
from convtree.stores._session_store import SessionStore

GONE = "gone; what was imported stays"
_SIDES = ("-wal", "-journal")  # where SQLite writes before it writes to the database
_LOOK = 2**16  # bytes in which the first line of a file should end


class _Stamp(NamedTuple):
    """What changes when a file does."""

    size: int
    time_ns: int
    inode: int


@checked
def watch(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    store: SessionStore,
    *,
    interval_s: float = 5.0,
    redact: Redact | None = None,
    wait: Callable[[float], object] = time.sleep,
) -> Iterator[ImportReport]:
    """Imports every session of the sources, and goes on importing what is new; yields a report for each change.

    It never ends by itself: break the loop, or let `wait` return something true. Sources that vanish are reported once
    as "skipped"; they may come back. Files of no known format, and imports without news, are not reported.

    Args:
        source: As for `import_into`.
        store: The store to import into.
        interval_s: Seconds between two looks at the sources.
        redact: As for `import_into`.
        wait: Called with `interval_s` between two looks; `threading.Event().wait` makes the watch end with the event.

    Raises:
        NotALog: A file that was named is of no known format.
        OSError: A source cannot be read at the beginning.
        ValueError: `interval_s` is not above 0.
    """
    if interval_s <= 0:
        raise ValueError(f"interval_s: expected more than 0 seconds, not {interval_s!r}")
    tops = paths_of(source)
    for top in tops:
        top.stat()
        if not top.is_dir():
            recognise(top)
    return _watch(_Watch(tops, store, redact), interval_s, wait)


def _watch(watch: _Watch, interval_s: float, wait: Callable[[float], object]) -> Iterator[ImportReport]:
    yield from watch.poll()
    while not wait(interval_s):
        yield from watch.poll()


class _Watch:
    """What was seen of the sources so far."""

    def __init__(self, tops: list[Path], store: SessionStore, redact: Redact | None) -> None:
        self._tops = tops
        self._store = store
        self._redact = redact
        self._stamps: dict[Path, _Stamp] = {}
        self._waiting: dict[Path, _Stamp] = {}  # files that were not whole, as they were
        self._read: dict[Path, set[Path]] = {}  # sources with sessions, each with the files that were opened for it
        self._reported: dict[tuple[str, str | None], tuple[Finding | str | None, ...]] = {}

    def poll(self) -> Iterator[ImportReport]:
        """Looks at all sources once; yields what is to be reported."""
        stamps = dict(_scan(self._tops))
        changed = {path for path, stamp in stamps.items() if self._stamps.get(path) != stamp}
        gone = self._stamps.keys() - stamps.keys()
        self._waiting = {path: stamp for path, stamp in self._waiting.items() if path in stamps}
        changed |= self._waiting.keys()
        changed |= {path for each in changed for path in _database_of(each) if path in stamps}
        touched = changed | gone
        changed |= {path for path, opened in self._read.items() if path in stamps and not opened.isdisjoint(touched)}
        self._stamps = stamps
        yield from self._report_gone()
        yield from self._import_changed(changed)

    def _report_gone(self) -> Iterator[ImportReport]:
        for path in [path for path in self._read if path not in self._stamps and not path.is_dir()]:
            del self._read[path]
            yield ImportReport(format=None, session_id=None, source=str(path), status="skipped", reason=GONE)

    def _import_changed(self, changed: set[Path]) -> Iterator[ImportReport]:
        """Imports the sources in which something has changed."""
        folders = {folder for path in changed for folder in path.parents}
        done, beside = set[Path](), set[Path]()
        for found in self._sources(lambda path: path in changed or path in folders):
            if isinstance(found, NotImported):
                yield from self._news(report_not_imported(found))
            elif self._is_whole(found, changed):
                done.add(found.source.path)
                reports, opened = self._import(found)
                for report in reports:
                    yield from self._news(report)
                if not reports:  # it belongs to a session of another source
                    beside |= opened & self._read.keys()
        for path in sorted(beside - done):
            for report in self._import_again(path):
                yield from self._news(report)

    def _sources(self, is_wanted: Callable[[Path], bool]) -> Iterator[KnownSource | NotImported]:
        search = Search()
        for top in self._tops:
            try:
                if top.is_dir():
                    yield from walk_sources(top, search, is_wanted)
                elif top.exists() and is_wanted(top):
                    yield recognise(top)
            except FAILURES as error:
                yield NotImported("failed", top, str(error))

    def _import(self, found: KnownSource) -> tuple[list[ImportReport], set[Path]]:
        """Imports a source; returns what came of it, and the files that were opened for it."""
        with recording_opened() as opened, found.source:
            reports = list(import_sessions(found, self._store, _no_progress, self._redact))
        if reports:
            self._read[found.source.path] = opened - {found.source.path}
        return reports, opened

    def _import_again(self, path: Path) -> list[ImportReport]:
        """Imports a source that was read before."""
        top = next((top for top in self._tops if top in path.parents), None)
        try:
            return self._import(recognise(path, top))[0]
        except FAILURES as error:
            return [report_not_imported(NotImported("failed", path, str(error)))]

    def _is_whole(self, found: KnownSource, changed: set[Path]) -> bool:
        """Returns whether a source can be read now; else it is looked at again in the next poll."""
        path = found.source.path
        files = [each for each in changed if belongs_to(found, each)] if path.is_dir() else [path]
        for each in files:
            stamp = self._stamps.get(each)
            if stamp is not None and self._waiting.get(each) != stamp and not is_whole(each):
                self._waiting[each] = stamp
                return False
            self._waiting.pop(each, None)
        return bool(files)

    def _news(self, report: ImportReport) -> Iterator[ImportReport]:
        """Yields a report if it says something new about its session."""
        if report.status == "skipped" or (report.status == "failed" and not os.path.lexists(report.source)):
            return  # what vanished while it was read is reported as gone
        place, said = (report.source, report.session_id), (*report.findings, report.reason)
        is_new = self._reported.get(place, (None,)) != said
        self._reported[place] = said
        if report.written or is_new:
            yield report


def _no_progress(_: int) -> None:
    """Reports nothing: a watch has no end to show the way to."""


def _database_of(path: Path) -> Iterator[Path]:
    """Yields the database that a journal belongs to."""
    for side in _SIDES:
        if path.name.endswith(side):
            yield path.with_name(path.name.removesuffix(side))


def _scan(tops: list[Path]) -> Iterator[tuple[Path, _Stamp]]:
    """Yields the files in which sessions may be. What vanishes while they are listed is left out."""
    search = Search()
    for top in tops:
        waiting = [top]
        while waiting:
            path = waiting.pop()
            try:
                if not path.is_dir():
                    yield path, _stamp_of(path.stat())
                elif search.refusal(path, is_top=path == top) is None:
                    with os.scandir(path) as entries:
                        for entry in entries:
                            if entry.is_dir(follow_symlinks=False):
                                waiting.append(Path(entry.path))
                            elif entry.is_file(follow_symlinks=False):
                                yield Path(entry.path), _stamp_of(entry.stat(follow_symlinks=False))
            except OSError:
                continue


def _stamp_of(status: os.stat_result) -> _Stamp:
    return _Stamp(status.st_size, status.st_mtime_ns, status.st_ino)


def is_whole(path: Path) -> bool:
    """Returns whether a file looks as its writer leaves it: its last line, or its document, is complete.

    A database is always whole. Of a compressed file, nothing is known.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_LOOK)
            if start.startswith(DATABASE_START):
                return True
            first, newline, _ = start.removeprefix(BYTE_ORDER_MARK).lstrip().partition(b"\n")
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 1, 0))
            ends_line = file.read(1) == b"\n"
            is_open = first.startswith((b"{", b"[")) and newline != b"" and not is_json(first)
            if ends_line and not is_open:
                return True
            if size > LINE_LIMIT:
                return False
            file.seek(0)
            data = file.read(LINE_LIMIT)
            return is_json(data.removeprefix(BYTE_ORDER_MARK)) or is_json(data[data.rfind(b"\n") + 1 :])
    except OSError:
        return True  # reading it says why it cannot be read
