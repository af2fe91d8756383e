"""Headers of imported sessions, marks with their name and metadata, and sources of several sessions.

A source may hold several sessions. Problems outside of all of them are listed as a leftover: a reference without a
session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import orjson

from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession, SourceSpan
from convtree._formats.common.files import SourceFile
from convtree._formats.common.ids import Ids, Names, derive_id, make_ref, session_id
from convtree._formats.common.json_arrays import read_items
from convtree._formats.common.parsing import Object
from convtree._formats.common.truncate import truncate_to_limit
from convtree._formats.common.values import as_object, as_text, key, moment, objects
from convtree._model.entries import ID, Header, LeafMark, ParentSession, Record, SessionInfoMark

_FACT = 4096  # characters


class Origin(NamedTuple):
    """What a fork comes from: the source's id of the parent session, and of the last entry that was copied."""

    parent: str | None = None
    copied_to: str | None = None


def make_header(
    name: str,
    source_id: str,
    *,
    time: Any = None,
    cwd: Any = None,
    git_root: Any = None,
    parent: str | None = None,
    parent_kind: Literal["fork", "task"] = "fork",
    copied_to: str | None = None,
    **facts: Any,
) -> Header:
    """Makes the header of a session.

    Args:
        name: the name of the format.
        source_id: the source's id of the session.
        time: when it began.
        cwd: its directory.
        git_root: the root of its repository.
        parent: the source's id of the session it was forked from, or is a task of.
        parent_kind: which of the two.
        copied_to: the last entry that was copied from the parent. One whose id is not valid here is left out.
        facts: more, for the metadata; long texts are cut. So are a time that is none, and a directory that is no text.
    """
    odd = {"time": time} if moment(time) is None else {}
    odd |= {name: value for name, value in (("cwd", cwd), ("git_root", git_root)) if not isinstance(value, str)}
    facts |= {name: as_text(value) for name, value in odd.items() if value not in (None, "")}
    known = {name: value[:_FACT] if isinstance(value, str) else value for name, value in facts.items()}
    known = {name: value for name, value in known.items() if value is not None}
    return Header(
        id=session_id(name, source_id),
        timestamp=moment(time),
        cwd=cwd[:_FACT] if isinstance(cwd, str) else None,
        git_root=git_root[:_FACT] if isinstance(git_root, str) else None,
        parent_session=None if parent is None else ParentSession(id=session_id(name, parent), kind=parent_kind),
        copied_to=copied_to if parent is not None and copied_to is not None and ID.fullmatch(copied_to) else None,
        metadata={"import": {"format": name, "id": source_id[:_FACT]} | known},
    )


def name_mark(ids: Ids, name: Any, span: SourceSpan, findings: Findings) -> Iterator[SessionInfoMark]:
    """Yields a mark with the name of the session, if it has one. A name that is no text is metadata."""
    if isinstance(name, str):
        if name := name.strip():
            yield truncate_to_limit(SessionInfoMark(id=ids.derive("name", name), name=name), span, findings)
    elif name is not None:
        yield from metadata_mark(ids, f"{ids.format}.name", {"name": name}, span, findings)


def metadata_mark(
    ids: Ids, name: str, fields: Mapping[str, Any], span: SourceSpan, findings: Findings
) -> Iterator[SessionInfoMark]:
    """Yields a mark with the other fields of the session as metadata under the tool's name, if there are any."""
    if fields:
        id = ids.derive("facts", orjson.dumps(fields, option=orjson.OPT_SORT_KEYS).decode())
        yield truncate_to_limit(SessionInfoMark(id=id, metadata={name: dict(fields)}), span, findings)


def archived_mark(ids: Ids) -> SessionInfoMark:
    """Makes the mark of an archived session."""
    return SessionInfoMark(id=ids.derive("archived"), archived=True)


# --- sources of several sessions ---


def leaf_mark(ids: Ids, leaf: str | None, last: str | None) -> Iterator[LeafMark]:
    """Yields the mark of a leaf that is not the last entry. Where ids are derived from content, both decide its own."""
    if leaf is not None and leaf != last:
        yield LeafMark(id=ids.derive("leaf", leaf, str(last)), target_id=leaf)


def leftovers(name: str, findings: Findings) -> Iterator[SessionRef]:
    """Yields a reference without a session for problems outside of every session of a source, if there are any."""
    if findings.listed:
        yield make_ref(name, derive_id(name, "outside of every session"), findings)._replace(is_leftover=True)


def read_leftover(name: str, ref: SessionRef) -> SourceSession:
    """Returns a session without records that carries the findings of a leftover."""
    return SourceSession(make_header(name, ref.source_id), iter(()), list(ref.findings))


def list_array(
    source: Source,
    name: str,
    is_session: Callable[[dict[str, Any]], bool],
    id_names: tuple[str, ...],
    nodes: Callable[[dict[str, Any]], Any],
    about: str | None = None,
) -> Iterator[SessionRef]:
    """Lists the sessions of a file that is one session or an array of them. A reference carries its parsed object.

    Args:
        source: the file.
        name: the name of the format.
        is_session: tells a session from any other object.
        id_names: the fields that may hold a session's id; the first that is set counts.
        nodes: returns the nodes of a session. Without an id, it is derived from the names of the first ones, so that
            two sessions never get the same.
        about: the member of a session that has these fields; None if it has them itself.
    """
    outside, names = Findings(), Names(name)
    with SourceFile(source.path) as file:
        for ordinal, found in enumerate(read_items(file, outside, is_session), 1):
            if not is_session(found.fields):
                outside.add("source_bad_record", found.span)
                continue
            findings = Findings()
            fields = found.fields if about is None else as_object(found.fields.get(about))
            own = next((fields[each] for each in id_names if fields.get(each)), None)
            own = own or _id_by_nodes(name, nodes(found.fields))
            yield make_ref(name, names.claim(own, ordinal, found.span, findings), findings, found)
    yield from leftovers(name, outside)


def read_item(
    ref: SessionRef,
    name: str,
    header: Callable[[str, dict[str, Any]], Header],
    records: Callable[[Object, Ids, Findings], Iterator[Record]],
) -> SourceSession:
    """Reads a session that `list_array` has listed."""
    if ref.is_leftover:
        return read_leftover(name, ref)
    found: Object = ref.content
    findings = Findings(ref.findings)
    made = records(found, Ids(name, ref.source_id), findings)
    return SourceSession(header(ref.source_id, found.fields), made, findings.listed)


def _id_by_nodes(name: str, nodes: Any) -> str | None:
    """Returns an id derived from the names of the first nodes of a session; None if they have none."""
    if isinstance(nodes, dict):
        first = list(nodes)[:2]
    else:
        first = [key(message.get(own)) for message in objects(nodes)[:1] for own in ("uuid", "messageId", "id")]
    return derive_id(name, *first) if any(first) else None
