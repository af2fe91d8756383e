"""A backend that shows the sessions of one owner only.

It stands between a store and its backend, so every call of a store goes through it. Who owns a session is what its
header says: the catalogue proposes, and the first line of the log decides, whenever the log is read from its beginning.
A session of somebody else does not exist here; only its id cannot be taken.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, Literal

import msgspec

from convtree._catalogue.copies import OwnRecords
from convtree._catalogue.gone import GoneSession
from convtree._catalogue.types import (
    Cursor,
    Filter,
    LedgerRow,
    ListedSession,
    LogStamp,
    Progress,
    RowFinding,
    SearchMatch,
    StoredEntry,
    StoreFinding,
    UsageTotal,
)
from convtree._engine import codec
from convtree._engine.log import Addition, Build, Chunk, Log, Mode
from convtree._model.batches import batched
from convtree._model.entries import Header
from convtree._model.errors import ConvtreeError, InvalidMessage, NotALog, SessionExists, SessionNotFound
from convtree.stores._reader import count_in
from convtree.stores.base import BuildNew, Catalogue, Deletion, Replaced, StoreBackend, Traces


class ScopedBackend:
    """The sessions of one owner in another backend. It belongs to nobody: `close` leaves that open."""

    def __init__(self, backend: StoreBackend, owner: str) -> None:
        self._backend = backend
        self.owner = owner

    @property
    def location(self) -> str:
        """Where the store is."""
        return self._backend.location

    def log(self, id: str, mode: Mode) -> Log:
        """Opens a session's log, if it is this owner's.

        Raises:
            SessionNotFound: there is no such session, or it is somebody else's.
            SessionExists: mode "a" or "x", and it is somebody else's.
        """
        try:
            log = self._backend.log(id, mode)
        except (SessionNotFound, NotALog):
            raise self._not_found(id, mode) from None
        scoped = _ScopedLog(log, self.owner, lambda: self._not_found(id, mode))
        try:
            scoped.check_owner()
        except BaseException:
            log.close()
            raise
        return scoped

    def _not_found(self, id: str, mode: Mode) -> ConvtreeError:
        """Returns the error for a session that is not there, or is somebody else's: both look the same."""
        if mode in ("a", "x"):
            return SessionExists(f"{self.location}: the id {id!r} is taken; choose another one")
        return SessionNotFound(f"{self.location}: there is no session {id!r}")

    def write_new(self, id: str, lines: Iterable[bytes]) -> None:
        """Stores a whole session of this owner."""
        try:
            self._backend.write_new(id, self._checked(lines))
        except (SessionExists, NotALog):
            raise self._not_found(id, "x") from None

    def _checked(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        for number, line in enumerate(lines):
            if number == 0:
                check_owner(line, self.owner)
            yield line

    def delete(self, ids: Sequence[str], expected: Mapping[str, LogStamp] | None = None) -> Deletion:
        """Deletes sessions of this owner. Each is deleted as it was when its owner was looked up."""
        catalogue = _ScopedCatalogue(self._backend.catalogue(), self)
        stamps = {each.info.id: each.stamp for each in catalogue.with_ids(ids)}
        own = [id for id in ids if id in stamps]
        return self._backend.delete(own, stamps | dict(expected or {}))

    @property
    def rewrite(self) -> Callable[[str, BuildNew, bool], Replaced] | None:
        """Replaces the lines of a session of this owner; None if the backend cannot replace lines."""
        replace: Callable[[str, BuildNew, bool], Replaced] | None = getattr(self._backend, "rewrite", None)
        return None if replace is None else partial(self._rewrite, replace)

    def _rewrite(
        self, replace: Callable[[str, BuildNew, bool], Replaced], id: str, build: BuildNew, remove_original: bool
    ) -> Replaced:
        self.log(id, "r").close()  # before the lock: whether somebody else holds that must not show
        missing = self._not_found(id, "r+")

        def build_owned(
            log: Log, held: Callable[[Sequence[str]], set[str]], *, heals: bool = False
        ) -> Sequence[bytes] | None:
            _ScopedLog(log, self.owner, lambda: missing).check_owner()
            lines = build(log, held, heals=heals)
            if lines is not None:
                check_owner(lines[0], self.owner)
            return lines

        return replace(id, build_owned, remove_original)

    @property
    def keeps_original(self) -> bool:
        """Whether the backend keeps a log whose lines are replaced as it was."""
        return bool(getattr(self._backend, "keeps_original", False))

    @property
    def wrong_rows(self) -> Callable[[str], list[RowFinding]] | None:
        """Compares the tables beside a session that is known to be this owner's; None if there are none."""
        return getattr(self._backend, "wrong_rows", None)

    @property
    def note(self) -> Callable[[str, str | None], None] | None:
        """Keeps what was found about a session of this owner; None if the catalogue finds it itself."""
        return getattr(self._backend, "note", None)

    def erase(self, ids: Sequence[str]) -> Traces:
        """Removes what deleted sessions have left."""
        erase: Callable[[Sequence[str]], Traces] | None = getattr(self._backend, "erase", None)
        return Traces([], []) if erase is None else erase(ids)

    def merge_ledger(self, gone: Sequence[GoneSession]) -> None:
        """Adds what another store's ledger has of this owner."""
        self._backend.merge_ledger([each for each in gone if each.owner == self.owner])

    def catalogue(self, progress: Progress | None = None) -> Catalogue:
        """Returns the catalogue of this owner's sessions."""
        return _ScopedCatalogue(self._backend.catalogue(progress), self)

    def owns(self, id: str) -> bool:
        """Returns whether a session is there and this owner's.

        Raises:
            OSError: the storage cannot tell.
        """
        try:
            self.log(id, "r").close()
        except (ConvtreeError, FileNotFoundError, PermissionError):
            return False
        return True

    def close(self) -> None:
        """Does nothing: the backend belongs to the store that this is a part of."""


def check_owner(line: bytes, owner: str) -> None:
    """Raises unless the header on this line, which is to be stored, names the owner.

    Raises:
        InvalidMessage: it names another one, or none, or cannot be read.
    """
    header = _header_on(line)
    if header is None or header.owner != owner:
        raise InvalidMessage(
            f"owner: the header of the session does not name {owner!r}, whose handle this is; use the whole store",
            place="owner",
        )


def first_header(chunks: Iterable[Chunk]) -> Header | None:
    """Returns the header of a log; None if it cannot be read."""
    return next((_header_on(chunk.lines[0]) for chunk in chunks if chunk.lines), None)


def _header_on(line: bytes) -> Header | None:
    try:
        return codec.decode_header(line)
    except codec.DECODE_ERRORS:
        return None


class _ScopedLog:
    """A log that is read as long as its first line names the owner: another session may get the id."""

    def __init__(self, log: Log, owner: str, not_found: Callable[[], ConvtreeError]) -> None:
        self._log = log
        self._owner = owner
        self._not_found = not_found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def check_owner(self) -> None:
        """Reads the first line, if there is one."""
        for _ in self.read():
            return

    def read(self, position: int = 0) -> Iterator[Chunk]:
        """Yields the lines from a position on.

        Raises:
            SessionNotFound, SessionExists: the session is somebody else's.
        """
        chunks = self._log.read(position)
        yield from chunks if position else self._owned(chunks)

    def _owned(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        is_owned = False
        try:
            for chunk in chunks:
                is_owned = is_owned or self._is_owned(chunk)
                yield chunk
        except NotALog:
            raise self._not_found() from None

    def _is_owned(self, chunk: Chunk) -> bool:
        """Returns whether the first lines of a log are there, which must be the owner's.

        A header that was not written whole is none: the log has not begun.
        """
        if not chunk.lines and chunk.fault == "torn_tail":
            return False
        header = _header_on(chunk.lines[0]) if chunk.lines else None
        if header is None or header.owner != self._owner:
            raise self._not_found()
        return True

    def append(self, position: int, build: Build) -> Chunk:
        """Appends lines. The first ones of a log have a header that names the owner."""

        def build_owned(news: Iterator[Chunk]) -> Addition:
            if position:
                return build(news)
            owned = self._owned(news)
            first = next(owned, None)
            addition = build(owned if first is None else chain([first], owned))
            if (first is None or not first.lines) and addition:
                check_owner(addition[0], self._owner)
            return addition

        return self._log.append(position, build_owned)


class _ScopedCatalogue:
    """The part of a catalogue that is about the sessions of one owner."""

    def __init__(self, catalogue: Catalogue, backend: ScopedBackend) -> None:
        self._catalogue = catalogue
        self._backend = backend
        self._owner = backend.owner

    def sessions(self, filters: Filter, after: Cursor | None = None, limit: int | None = None) -> list[ListedSession]:
        """Returns sessions of the owner that match, last active first."""
        own = self._scoped(filters)
        return [] if own is None else self._catalogue.sessions(own, after, limit)

    def count(self, filters: Filter) -> int:
        """Returns how many sessions of the owner match."""
        own = self._scoped(filters)
        return 0 if own is None else count_in(self._catalogue, own)

    def _scoped(self, filters: Filter) -> Filter | None:
        """Returns the filter with the owner; None if it asks for another one."""
        if filters.owner not in (None, self._owner):
            return None
        return msgspec.structs.replace(filters, owner=self._owner)

    def with_ids(self, ids: Iterable[str]) -> list[ListedSession]:
        """Returns those of these sessions that are the owner's."""
        return [each for some in batched(ids) for each in self.sessions(Filter(ids=tuple(some), tasks=True))]

    def _own(self, ids: Iterable[str]) -> set[str]:
        return {each.info.id for each in self.with_ids(ids)}

    def search(self, text: str, filters: Filter, limit: int) -> list[SearchMatch]:
        """Returns messages in sessions of the owner."""
        own = self._scoped(filters)
        return [] if own is None else self._catalogue.search(text, own, limit)

    def usage(self, ids: Sequence[str]) -> list[UsageTotal]:
        """Returns tokens and cost of those of the sessions that are the owner's."""
        own = self._own(ids)
        return self._catalogue.usage([id for id in ids if id in own])

    def descendants(self, ids: Sequence[str], kind: Literal["fork", "task"]) -> dict[str, str]:
        """Returns the owner's sessions below these, through sessions of the owner only."""
        known = set(ids)
        found: dict[str, str] = {}
        below = self._catalogue.descendants(ids, kind)
        own = self._own(below)
        for id, parent in below.items():
            if id in own and parent in known:
                known.add(id)
                found[id] = parent
        return found

    def own_records(self, id: str) -> OwnRecords:
        """Returns which records of a session count there. A store asks it of a session that it has opened."""
        return self._catalogue.own_records(id)

    def links(self, ids: Collection[str]) -> list[tuple[str, str]]:
        """Returns all links: they lead through sessions of others to the owner's. A store shows only the latter."""
        return self._catalogue.links(ids)

    def entries(self, ids: Sequence[str]) -> list[StoredEntry]:
        """Returns the entries of those of the sessions that are the owner's."""
        own = self._own(ids)
        return self._catalogue.entries([id for id in ids if id in own])

    def sessions_with(self, entry_ids: Sequence[str]) -> list[StoredEntry]:
        """Returns the entries with these ids in the owner's sessions."""
        found = self._catalogue.sessions_with(entry_ids)
        own = self._own({each.session_id for each in found})
        return [each for each in found if each.session_id in own]

    def findings(self) -> list[StoreFinding]:
        """Returns the findings about the owner's sessions. A file whose header cannot be read is nobody's."""
        return [
            each
            for each in self._catalogue.findings()
            if each.id is not None and self._backend.owns(each.id) and (each.of is None or self._backend.owns(each.of))
        ]

    def ledger(self) -> list[LedgerRow]:
        """Returns what deleted sessions of the owner had used."""
        return [row for row in self._catalogue.ledger() if row.owner == self._owner]

    def gone(self) -> list[GoneSession]:
        """Returns the sessions of the owner in the ledger."""
        return [each for each in self._catalogue.gone() if each.owner == self._owner]
