"""The sessions of a store as a folder of HTML pages, with a list of them.

A page is written if its session has changed, by its last record, or if this version makes other pages. A file in the
folder, `pages.json`, says for which state each page was written, and which words the list finds it by. Pages of
sessions that the store no longer has are removed. The page of a session that cannot be read now is kept.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from convtree._catalogue.types import SessionInfo
from convtree._engine.redact import Redact, Redactor
from convtree._formats.common.base import Exported
from convtree._formats.common.ids import derive_id
from convtree._formats.documents import html
from convtree._logs.atomic_file import write_atomically
from convtree._model.errors import ConvtreeError
from convtree._model.findings import FINDING_CODES
from convtree._tools.exporting import plain_name
from convtree._tools.gaps import whole_or_mended
from convtree._tools.redact_log import RedactedSession
from convtree.stores._session_store import SessionStore
from convtree.stores.base import Progress

LIST = "index.html"
_STATE = "pages.json"
_ENDING = ".html"


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """The page of a session: what it was made of, where it is, how the list finds it, and whether it is redacted."""

    stamp: str
    title: str
    words: list[str]
    redacted: bool = False


class PagesRedacted(ValueError):
    """Pages with secrets would replace redacted ones."""


class Pages(msgspec.Struct, frozen=True, kw_only=True):
    """What `export_pages` did.

    Attributes:
        index: the list of sessions.
        written: ids of the sessions whose pages were written.
        unchanged: how many pages were left as they were.
        removed: names of pages whose sessions are gone.
        failed: what is wrong with a session, by its id or its place in the store. An earlier page of it is kept.
    """

    index: Path
    written: list[str]
    unchanged: int
    removed: list[str]
    failed: dict[str, str]


def export_pages(
    store: SessionStore,
    folder: Path,
    *,
    redact: Redact | None = None,
    allow_gaps: bool = False,
    progress: Progress | None = None,
) -> Pages:
    """Writes a page for each session of a store into a folder, and the list of them.

    Reads the sessions without a lock. Each file is replaced as a whole. With `allow_gaps`, the page of a damaged
    session shows the gaps in their places; without it, such a session is one of `failed`.

    Raises:
        ImportError: the extra `html` is not installed.
        PagesRedacted: the pages in the folder are redacted, and these would not be.
        OSError: the folder cannot be written to.
    """
    html.check_installed()
    from convtree._formats.documents.html.index_page import Listed, index_page

    before, made = _read_state(folder / _STATE), dict[str, Written]()
    if redact is None and any(page.redacted for page in before.values()):
        raise PagesRedacted(f"{folder}: the pages there are redacted, and these would not be")
    how = _how(redact, allow_gaps)
    folder.mkdir(parents=True, exist_ok=True)
    done = Pages(index=folder / LIST, written=[], unchanged=0, removed=[], failed={})
    sessions = store.list(archived=None, tasks=True, limit=None).sessions
    done.failed.update((each.place, FINDING_CODES.get(each.code, ("", each.code))[1]) for each in store.findings)
    listed: list[Listed] = []
    unchanged = 0
    names = _names_of([info.id for info in sessions], redact)
    for number, info in enumerate(sessions):
        if progress is not None:
            progress(number, len(sessions))
        name = names[info.id]
        try:
            page, is_new = _page(store, info.id, folder / name, before.get(name), redact, allow_gaps, how)
            if info.id in done.failed:
                done.failed[info.id] += "; the page has the rest"
            unchanged += not is_new
            done.written.extend([info.id] if is_new else [])
        except (ConvtreeError, ValueError) as error:
            done.failed[info.id] = str(error)
            if name not in before:
                continue
            page = before[name]
        made[name] = page
        listed.append(Listed(f"./{quote(name)}", page.title, _redacted(info, redact), page.words))
    done.removed.extend(_remove(folder, before.keys() - made.keys()))
    if progress is not None and sessions:
        progress(len(sessions), len(sessions))
    write_atomically(done.index, index_page("Conversations", listed), replace=True)
    write_atomically(folder / _STATE, [msgspec.json.encode(made)], replace=True)
    return msgspec.structs.replace(done, unchanged=unchanged)


def _page(
    store: SessionStore,
    id: str,
    path: Path,
    before: Written | None,
    redact: Redact | None,
    allow_gaps: bool,
    how: str,
) -> tuple[Written, bool]:
    """Returns the page of a session, and whether it had to be written. `how` says how pages are made."""
    from convtree._formats.documents.html.page import page_of, page_title
    from convtree._formats.documents.html.words import words_of

    with store.open(id, read_only=True) as opened:
        whole = whole_or_mended(opened, allow_gaps)
        stamp = sha256(f"{opened.revision} {len(opened.findings)} {how}".encode()).hexdigest()[:32]
        if before is not None and before.stamp == stamp and path.is_file():
            return before, False
        session: Exported = whole if redact is None else RedactedSession(whole, redact)
        write_atomically(path, page_of(session, home=LIST), replace=True)
        title = page_title(session)
        words = words_of(session.records(), title, *session.labels.values())
        return Written(stamp=stamp, title=title, words=words, redacted=redact is not None), True


def _how(redact: Redact | None, allow_gaps: bool) -> str:
    """Returns how pages are made: by this version, with these patterns of secrets, with gaps or not."""
    from convtree._formats.documents.html.page import version

    patterns = repr(redact)  # of a function, this is another one in every process: its pages are always written again
    if isinstance(redact, Redactor):
        patterns = repr(sorted((kind, each.pattern, each.flags) for kind, each in redact.patterns.items()))
    return f"{version()} {allow_gaps} {patterns}"


def _names_of(ids: Sequence[str], redact: Redact | None) -> dict[str, str]:
    """Returns the names of sessions' pages, by id. An id that is a secret is in no name.

    No two names differ only by case, which some file systems do not tell apart, and none is that of the list.
    """
    plain = {id: plain_name(f"{id}{_ENDING}") for id in ids}
    taken = Counter([LIST, *(name.casefold() for name in plain.values())])
    is_used = {id: taken[plain[id].casefold()] == 1 and (redact is None or redact(id) == id) for id in ids}
    return {id: name if is_used[id] else f"{derive_id(id)}{_ENDING}" for id, name in plain.items()}


def _redacted(info: SessionInfo, redact: Redact | None) -> SessionInfo:
    if redact is None:
        return info
    models = tuple(map(redact, info.models))
    return msgspec.structs.replace(info, id=redact(info.id), cwd=info.cwd and redact(info.cwd), models=models)


def _read_state(path: Path) -> dict[str, Written]:
    """Returns what the folder says of its pages; nothing if it says nothing that can be read."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, Written])
    except (OSError, msgspec.MsgspecError):
        return {}
    return {name: page for name, page in found.items() if name.endswith(_ENDING) and plain_name(name) == name}


def _remove(folder: Path, names: Any) -> Iterator[str]:
    for name in sorted(names):
        try:
            os.unlink(folder / name)
        except FileNotFoundError:
            continue
        yield name
