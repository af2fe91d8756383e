"""What the importers say of a session as a whole: its header, and marks with its name and all that has no other place.

A source may hold several sessions. What is wrong outside of all of them is told in a reading without records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import orjson

from convtree._formats.common.base import Findings, Source, SourceSession, SourceSpan
from convtree._formats.common.files import SourceFile
from convtree._formats.common.ids import Ids, Names, derive_id, session_id
from convtree._formats.common.json_arrays import read_items
from convtree._formats.common.parsing import Object
from convtree._formats.common.truncate import fit
from convtree._formats.common.values import key, moment, objects
from convtree._model.entries import Header, ParentSession, Record, SessionInfoMark

_FACT = 4096  # characters


def make_header(
    name: str,
    source_id: str,
    *,
    time: Any = None,
    cwd: Any = None,
    git_root: Any = None,
    parent: str | None = None,
    parent_kind: Literal["fork", "task"] = "fork",
    **facts: Any,
) -> Header:
    """Makes the header of a session; `parent` is the source's id of the session it was forked from, or works for.

    The facts are for people: a text without end is cut.
    """
    known = {name: value[:_FACT] if isinstance(value, str) else value for name, value in facts.items()}
    known = {name: value for name, value in known.items() if value is not None}
    return Header(
        id=session_id(name, source_id),
        timestamp=moment(time),
        cwd=cwd[:_FACT] if isinstance(cwd, str) else None,
        git_root=git_root[:_FACT] if isinstance(git_root, str) else None,
        parent_session=None if parent is None else ParentSession(id=session_id(name, parent), kind=parent_kind),
        metadata={"import": {"format": name, "id": source_id[:_FACT]} | known},
    )


def name_mark(ids: Ids, name: Any, place: SourceSpan, findings: Findings) -> Iterator[SessionInfoMark]:
    """Yields a mark with the session's name, if it has one."""
    if isinstance(name, str) and (name := name.strip()):
        yield fit(SessionInfoMark(id=ids.derive("name", name), name=name), place, findings)


def facts_mark(
    ids: Ids, name: str, fields: Mapping[str, Any], place: SourceSpan, findings: Findings
) -> Iterator[SessionInfoMark]:
    """Yields a mark with what the tool says of the whole session and has no other place, under the tool's name."""
    if fields:
        id = ids.derive("facts", orjson.dumps(fields, option=orjson.OPT_SORT_KEYS).decode())
        yield fit(SessionInfoMark(id=id, metadata={name: dict(fields)}), place, findings)


def archived_mark(ids: Ids) -> SessionInfoMark:
    """Makes the mark of a session that the tool has put away."""
    return SessionInfoMark(id=ids.derive("archived"), archived=True)


# --- sources of several ---


def leftovers(name: str, findings: Findings) -> Iterator[SourceSession]:
    """Yields a reading without records for what is wrong outside of every session of a source, if something is."""
    if findings.listed:
        header = make_header(name, derive_id(name, "outside of every session"))
        yield SourceSession(header, iter(()), findings.listed)


def read_array(
    source: Source,
    name: str,
    is_session: Callable[[dict[str, Any]], bool],
    id_names: tuple[str, ...],
    header: Callable[[str, dict[str, Any]], Header],
    records: Callable[[Object, Ids, Findings], Iterator[Record]],
    nodes: Callable[[dict[str, Any]], Any],
) -> Iterator[SourceSession]:
    """Reads a file that is one session or an array of them; the first of the named fields has a session's id.

    Of one without an id, the first of its nodes say which it is, so that two are never taken for one.
    """
    outside, names = Findings(), Names(name)
    with SourceFile(source.path) as file:
        for ordinal, found in enumerate(read_items(file, outside, is_session), 1):
            if not is_session(found.fields):
                outside.add("source_bad_record", found.place)
                continue
            findings = Findings()
            own = next((found.fields[each] for each in id_names if found.fields.get(each)), None)
            own = own or _told_by(name, nodes(found.fields))
            id = names.claim(own, ordinal, found.place, findings)
            yield SourceSession(header(id, found.fields), records(found, Ids(name, id), findings), findings.listed)
    yield from leftovers(name, outside)


def _told_by(name: str, nodes: Any) -> str | None:
    """Returns an id that follows from the first nodes of a session; None where they have no names."""
    if isinstance(nodes, dict):
        first = list(nodes)[:2]
    else:
        first = [key(message.get(own)) for message in objects(nodes)[:1] for own in ("uuid", "messageId", "id")]
    return derive_id(name, *first) if any(first) else None
