"""Which other sessions of a store hold a copy of what a session says.

Two logs hold the same words if one header says that it copied from the other (`copied_to`), or if both have the same
header id: a log that was copied as a file. Copies of copies count, in both directions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from convtree._engine import codec
from convtree._engine.log import Log, LogReplaced
from convtree._model.entries import Header, ParentSession
from convtree._model.errors import ConvtreeError
from convtree.stores.base import Catalogue


def copies_among(headers: Mapping[str, Header], ids: Iterable[str]) -> list[str]:
    """Returns those of the sessions that hold a copy of what the sessions `ids` say, without these, sorted."""
    ids = set(ids)
    linked = defaultdict[str, set[str]](set)  # a fork names its parent by the id it is stored under, or by its header's
    for id, header in headers.items():
        for other in (header.id, _copied_from(header)):
            if other is not None:
                linked[id].add(other)
                linked[other].add(id)
    waiting = list(ids)
    found = set(ids)
    while waiting:
        new = linked[waiting.pop()] - found
        found |= new
        waiting.extend(new)
    return sorted(found & headers.keys() - ids)


def related_headers(catalogue: Catalogue, open_log: Callable[[str], Log], ids: Iterable[str]) -> dict[str, Header]:
    """Returns the headers of sessions, of those that they were forked from, and of the forks of all of these."""
    found: dict[str, Header] = {}
    waiting = list(ids)
    while waiting:
        id = waiting.pop()
        if id not in found and (header := _header_of(open_log, id)) is not None:
            found[id] = header
            if (parent := _copied_from(header)) is not None:
                waiting.append(parent)
    parents = {parent for header in found.values() if (parent := _copied_from(header)) is not None}
    for id, parent in catalogue.descendants(sorted({*found, *parents}), "fork").items():
        # A header that cannot be read may say that it copied.
        unknown = Header(id=id, parent_session=ParentSession(id=parent), copied_to="")
        found[id] = _header_of(open_log, id) or unknown
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
