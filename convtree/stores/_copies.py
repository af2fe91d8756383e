"""Which other sessions of a store hold a copy of what a session says.

Two logs hold the same words if one header says that it copied from the other (`copied_to`), or if both have the same
header id: a log that was copied as a file. Copies of copies count, in both directions, and through deleted sessions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping

from convtree._engine import codec
from convtree._engine.log import Log, LogReplaced
from convtree._model.entries import Header, ParentSession
from convtree._model.errors import ConvtreeError
from convtree.stores.base import Catalogue

Links = Callable[[Collection[str]], Iterable[tuple[str, str]]]
"""Returns which session each deleted one had copied from, where one of the two has one of these ids."""


def copies_among(headers: Mapping[str, Header], ids: Iterable[str], gone_links: Links) -> list[str]:
    """Returns those of the sessions that hold a copy of what the sessions `ids` say, without these, sorted."""
    ids = set(ids)
    linked = defaultdict[str, set[str]](set)  # a fork names its parent by the id it is stored under, or by its header's
    for id, header in headers.items():
        for other in (header.id, _copied_from(header)):
            if other is not None:
                linked[id].add(other)
                linked[other].add(id)
    found, level = set[str](), set(ids)
    while level:
        found |= level
        level = {other for id in level for other in linked[id]}.union(*gone_links(sorted(level))) - found
    return sorted(found & headers.keys() - ids)


def related_headers(catalogue: Catalogue, open_log: Callable[[str], Log], ids: Iterable[str]) -> dict[str, Header]:
    """Returns the headers of sessions, of those that they were forked from, and of the forks of all of these."""
    found: dict[str, Header] = {}
    known, level = set[str](), set(ids)
    while level:
        known |= level
        below = catalogue.descendants(sorted(level), "fork")
        for id in level | below.keys():
            if id not in found and (header := _header_of(open_log, id)) is not None:
                found[id] = header
        # A header that cannot be read may say that it copied.
        for id, above in below.items():
            found.setdefault(id, Header(id=id, parent_session=ParentSession(id=above), copied_to=""))
        parents = {parent for id in level & found.keys() if (parent := _copied_from(found[id])) is not None}
        level = (parents | below.keys()).union(*catalogue.gone_links(sorted(level))) - known
    return found


def _copied_from(header: Header) -> str | None:
    """Returns the id of the session that entries were copied from; None if none were."""
    return None if header.parent_session is None or header.copied_to is None else header.parent_session.id


def _header_of(open_log: Callable[[str], Log], id: str) -> Header | None:
    """Returns the header of a session; None if there is none, or it cannot be read."""
    try:
        log = open_log(id)
    except (ConvtreeError, OSError):
        return None
    try:
        line = next((chunk.lines[0] for chunk in log.read() if chunk.lines), b"")
        return codec.decode_header(line)
    except (ConvtreeError, OSError, LogReplaced, *codec.DECODE_ERRORS):
        return None
    finally:
        log.close()
