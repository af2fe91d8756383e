"""From matches in the catalogue to hits: adds what only the log of a session knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from convtree._catalogue.record_summary import snippet_of, words_of
from convtree._catalogue.types import Filter, SearchMatch
from convtree._engine.leaf import LEAF
from convtree._engine.plain_log import PlainLog
from convtree._model.entries import Entry, Mark, MessageEntry
from convtree._model.errors import ConvtreeError
from convtree._session.session import Session
from convtree._session.view import SessionView
from convtree.stores._results import Hit
from convtree.stores.base import Catalogue


def matches_in(
    catalogue: Catalogue, text: str, filters: Filter, limit: int
) -> tuple[list[SearchMatch], dict[str, str | None]]:
    """Returns the messages that contain all words of a text, best first, and the titles of their sessions."""
    matches = catalogue.search(text, filters, limit)
    ids = sorted({each.session_id for each in matches})
    found = catalogue.sessions(Filter(ids=tuple(ids), tasks=True)) if ids else []
    return matches, {each.info.id: each.info.title for each in found}


def hits_of(
    matches: Sequence[SearchMatch],
    titles: Mapping[str, str | None],
    text: str,
    read_plain: Callable[[str], PlainLog | None],
    open_reader: Callable[[str], Session],
) -> list[Hit]:
    """Returns a hit for each match, in their order. Leaves out those that changed since the catalogue read them.

    `read_plain` reads a log by its id if it is plain and that is fast, `open_reader` opens a session. Each log is
    opened once.
    """
    words = words_of(text)
    by_session: dict[str, list[SearchMatch]] = {}
    for each in matches:
        by_session.setdefault(each.session_id, []).append(each)
    hits = {}
    for id, some in by_session.items():
        for hit in _hits_in(id, titles.get(id), some, words, read_plain, open_reader):
            hits[id, hit.entry_id] = hit
    return [hits[each[:2]] for each in matches if each[:2] in hits]


def _hits_in(
    id: str,
    title: str | None,
    matches: Sequence[SearchMatch],
    words: Sequence[str],
    read_plain: Callable[[str], PlainLog | None],
    open_reader: Callable[[str], Session],
) -> Iterator[Hit]:
    """Yields the hits in one session."""
    scores = {each.entry_id: each.score for each in matches}
    try:
        plain = read_plain(id)
        if plain is not None:
            name, path = plain.name, plain.path()
            found = [(each, each.id in path) for each in plain.records if each.id in scores]
        else:
            with open_reader(id) as session:
                name, found = session.name, session._client.ask(_entries, list(scores))
    except (ConvtreeError, FileNotFoundError, PermissionError):
        return  # deleted or replaced since the catalogue read it, or no longer for this user
    for entry, on_path in found:
        if isinstance(entry, Entry):
            yield Hit(
                session_id=id,
                session_name=name,
                session_title=title,
                entry_id=entry.id,
                role=entry.role if isinstance(entry, MessageEntry) else None,
                timestamp=entry.timestamp,
                snippet=snippet_of(entry.text if isinstance(entry, MessageEntry) else "", words),
                on_path=on_path,
                score=scores[entry.id],
            )


def _entries(view: SessionView, ids: Sequence[str]) -> list[tuple[Entry | Mark, bool]]:
    """Returns entries, and whether each is on the path to the leaf. Leaves out what was damaged meanwhile."""
    found = [row for id in ids if (row := view.index.node(id)) is not None]
    path = set(view.index.tree.path(view.row(LEAF, allow_uncertain=True)))
    return [(entry, row in path) for row, entry in view.numbered_records(found)]
