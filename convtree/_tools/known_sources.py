"""Files and folders of other tools, recognised by their content."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from convtree._engine.codec import BYTE_ORDER_MARK, HEADER_START
from convtree._formats.common.base import Format, SessionRef, Source, SourceSession
from convtree._formats.common.comments import has_comment, without_comments
from convtree._formats.common.files import DATABASE_START, SourceFile
from convtree._model.errors import ConvtreeError, NotALog
from convtree._tools.passed_over import Search

#: what may go wrong with one source and must not stop the import of others
FAILURES = (ConvtreeError, OSError, ImportError)
_BEGINNING = 2**20  # bytes in which a format is recognised
_HEADER = 100  # bytes of the header of a database, which has no lines to look at
_EXPECTED = "; expected one of "


class KnownSource(NamedTuple):
    """A source and its format."""

    form: Format
    source: Source

    @property
    def format(self) -> str:
        """The name of the format."""
        return self.form.NAME

    def sessions(self) -> Iterator[SessionRef]:
        """Lists the sessions of the source."""
        return self.form.sessions(self.source)

    def read(self, ref: SessionRef) -> SourceSession:
        """Reads one of them."""
        return self.form.read(self.source, ref)


class NotImported(NamedTuple):
    """A file or folder that is not read: nothing of a known format ("skipped"), or unreadable ("failed")."""

    status: Literal["skipped", "failed"]
    path: Path
    reason: str


class Place(NamedTuple):
    """Where a source may be: a file or folder, and the folder that is read as a whole."""

    path: Path
    top: Path | None


class DamagedSource(NotALog):
    """A file of a known kind that is too damaged to tell its format. The error says what is wrong."""


def recognise(path: Path, folder: Path | None = None, seen: dict[Any, Any] | None = None) -> KnownSource:
    """Returns a file, or a folder that is one session, with its format; `folder` and `seen` are as for `Source`.

    Raises:
        DamagedSource: It is a database that cannot be read.
        NotALog: It is of no known format.
    """
    from convtree._formats.common.sqlite import error_of
    from convtree._formats.registry import FORMATS

    beginning = b"" if path.is_dir() else _beginning(path)
    if beginning.removeprefix(BYTE_ORDER_MARK).lstrip()[:1] in (b"{", b"[", b"/") and has_comment(beginning):
        beginning = without_comments(beginning)
    source = Source(path, beginning, folder, seen)
    for form in FORMATS:
        if form.recognises(source):
            return KnownSource(form, source)
    if source.beginning.removeprefix(BYTE_ORDER_MARK).startswith(HEADER_START):
        raise NotALog(
            f"{path}: already a convtree log; open it with Session.open, or copy its store with `convtree copy`"
        )
    if (error := error_of(source)) is not None:
        raise DamagedSource(f"{path}: an SQLite database that cannot be read, damaged or encrypted: {error}")
    if path.is_dir():
        raise NotALog(f"{path}: a folder, not a session of a known format; import the files in it into a store")
    known = ", ".join(form.NAME for form in FORMATS)
    raise NotALog(f"{path}: not a session of a known format{_EXPECTED}{known}")


def _beginning(path: Path) -> bytes:
    with SourceFile(path) as file:
        start = file.read(_HEADER)
        return start if start.startswith(DATABASE_START) else start + file.read(_BEGINNING - len(start))


def find_sources(top: Path) -> Iterator[KnownSource]:
    """Yields the sources of a known format in a file or folder.

    Raises:
        NotALog: there is none.
    """
    if not top.is_dir():
        yield recognise(top)
        return
    has_some = False
    for each in walk_sources(top):
        if isinstance(each, KnownSource):
            has_some = True
            yield each
    if not has_some:
        raise NotALog(_nothing_in(top))


def _nothing_in(top: Path) -> str:
    hint = f"; it is a convtree store, see `convtree ls --store {top}`" if is_store_folder(top) else ""
    return f"{top}: no session of a known format in this folder{hint}"


def is_store_folder(folder: Path) -> bool:
    """Returns whether there are logs of convtree in a folder."""
    return any(_is_log(path) for path in folder.glob("*.jsonl"))


def _is_log(path: Path) -> bool:
    try:
        return _beginning(path).startswith(HEADER_START)
    except OSError:
        return False


def walk_sources(
    top: Path, search: Search | None = None, is_wanted: Callable[[Path], bool] = lambda _: True
) -> Iterator[KnownSource | NotImported]:
    """Yields the sources in a folder and its subfolders, in sorted order. A folder can itself be a source.

    `search` says which folders are not entered; one search over several folders enters none twice. What is not wanted
    is not looked at, with all that is below it.
    """
    seen: dict[Any, Any] = {}
    for each in _walk(top, search or Search(), is_wanted):
        yield recognised(each.path, top, seen) if isinstance(each, Place) else each


def places_in(tops: Iterable[Path]) -> Iterator[Place | NotImported]:
    """Yields where the sources in files and folders are, in the order of `sources_in`; no file is opened.

    Raises:
        NotALog: a file that was named is of no known format.
    """
    search = Search()
    for top in tops:
        if not top.is_dir():
            recognise(top)
            yield Place(top, None)
            continue
        for each in _walk(top, search, lambda _: True):
            yield Place(each.source.path, top) if isinstance(each, KnownSource) else each


def _walk(top: Path, search: Search, is_wanted: Callable[[Path], bool]) -> Iterator[Place | KnownSource | NotImported]:
    """Yields folders that are sources, the places of files, and what is not entered."""
    waiting = [top]
    seen: dict[Any, Any] = {}
    while waiting:
        path = waiting.pop()
        if not is_wanted(path):
            continue
        if path.is_symlink() and path != top:
            yield NotImported("skipped", path, "links are not followed")
            continue
        try:
            if path.is_dir() and (refusal := search.refusal(path, is_top=path == top)) is not None:
                yield NotImported("skipped", path, refusal)
                continue
            if not path.is_dir():
                yield Place(path, top)
                continue
            try:
                found = recognise(path, top, seen)
                yield found
                waiting.extend(_others_in(found))
            except NotALog:
                waiting.extend(sorted(path.iterdir(), reverse=True))
        except FAILURES as error:
            if path == top:
                raise
            yield NotImported("failed", path, str(error))


def recognised(path: Path, top: Path | None = None, seen: dict[Any, Any] | None = None) -> KnownSource | NotImported:
    """Returns a source, or why it is not imported; `top` and `seen` are as for `Source`."""
    try:
        return recognise(path, top, seen)
    except NotALog as error:
        reason, _, _ = str(error).removeprefix(f"{path}: ").partition(_EXPECTED)
        return NotImported("skipped", path, reason)
    except FAILURES as error:
        return NotImported("failed", path, str(error))


def recogniser() -> Callable[[Place], KnownSource | NotImported]:
    """Returns a function that recognises what is at a place. All sources of one folder look around them once."""
    seen: dict[Path | None, dict[Any, Any]] = {}
    return lambda place: recognised(place.path, place.top, seen.setdefault(place.top, {}))


def sources_in(tops: Iterable[Path], search: Search | None = None) -> Iterator[KnownSource | NotImported]:
    """Yields the sources in files and folders that were named. A folder inside of another is searched once.

    `search` has the folders that were searched before.

    Raises:
        NotALog: a file that was named is of no known format.
    """
    search = search or Search()
    for top in tops:
        if top.is_dir():
            yield from walk_sources(top, search)
        else:
            yield recognise(top)


def _others_in(found: KnownSource) -> list[Path]:
    """Returns what a folder that is a source holds beside it, in the order in which it is to be visited, last first."""
    path = found.source.path
    if not path.is_dir():
        return []
    return sorted((each for each in path.iterdir() if not belongs_to(found, each)), reverse=True)


def belongs_to(found: KnownSource, path: Path) -> bool:
    """Returns whether a file or folder is read with the folder that is a source."""
    folder = found.source.path
    if folder not in path.parents:
        return False
    belongs: Callable[[Source, str], bool] | None = getattr(found.form, "belongs", None)
    return belongs is None or belongs(found.source, path.relative_to(folder).parts[0])


def size_of(path: Path) -> int:
    """Returns the size of a file, or of all files in a folder."""
    try:
        status = path.stat()
        if not stat.S_ISDIR(status.st_mode):
            return status.st_size
        return sum(each.lstat().st_size for each in path.rglob("*"))
    except OSError:
        return 0  # it is gone; reading it reports the error
