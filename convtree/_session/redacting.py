"""A log without its secrets: the same records with other texts. Pure.

A record without secrets keeps its bytes; all lines get new checksums. A damaged log is refused: what cannot be read
cannot be redacted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from convtree._engine import codec
from convtree._engine.log_index import Index
from convtree._engine.redact import Redactor, redact_payload
from convtree._model.batches import batched
from convtree._model.errors import CorruptLog, ReadOnlySession


class SecretFound(msgspec.Struct, frozen=True, kw_only=True):
    """Where in a log a secret was, and of which kind. Not what it was.

    Attributes:
        record: how many records are in front of its own; 0 is the header.
        id: the id of the record.
        kind: the kind of the secret.
        path: the names and numbers of the members that lead to its text, such as `message.content[0].text`.
        start: the number of characters in front of it in that text, once the ones before it are replaced.
    """

    record: int
    id: str
    kind: str
    path: str
    start: int


def check_sound(index: Index, location: str, *, takes_torn: bool = False) -> None:
    """Checks that all that a log says can be read. With `takes_torn`, a write that was cut off at its end is ignored.

    Raises:
        ReadOnlySession: it was written by a newer version.
        CorruptLog: it is damaged.
    """
    if index.state.read_only is not None and index.header is not None:
        raise ReadOnlySession(f"{location}: {index.state.read_only}, and cannot tell where its text is")
    harmless = ("lost_entry", *(("torn_tail",) if takes_torn else ()))  # a lost entry holds no text
    readable = [finding for finding in index.state.findings if finding.code not in harmless]
    found = [finding for finding in readable if finding.severity != "info"]
    if found or index.header_payload is None:
        what = f"{found[0].code} in line {found[0].line}" if found else "it has no header"
        raise CorruptLog(f"{location}: {what}; repair it first", findings=tuple(index.state.findings))


def payloads(index: Index) -> Iterator[bytes]:
    """Yields the payloads of the header and of all records."""
    assert index.header_payload is not None
    yield index.header_payload
    for rows in batched(range(len(index.tree))):
        yield from index.payloads(rows)


def search(payloads: Iterable[bytes], redactor: Redactor, location: str) -> tuple[int, tuple[SecretFound, ...]]:
    """Returns how many payloads have secrets, and where these are, if the redactor explains."""
    changed, places = 0, []
    for record, payload in enumerate(payloads):
        known = len(redactor.places or ())
        if redacted(payload, redactor, location) is not payload:
            changed += 1
            id = msgspec.json.decode(payload + b"}", type=_Identified).id
            found = () if redactor.places is None else redactor.places[known:]
            places += [SecretFound(record=record, id=id, **msgspec.structs.asdict(place)) for place in found]
    return changed, tuple(places)


class _Identified(msgspec.Struct):
    id: str = ""


def redacted(payload: bytes, redactor: Redactor, location: str) -> bytes:
    """Returns the payload without its secrets; the same object if it has none.

    Raises:
        CorruptLog: it cannot be decoded, though its checksum holds: a text in it is not UTF-8, for example.
    """
    try:
        return redact_payload(payload, redactor, places=True)
    except codec.DECODE_ERRORS as error:
        cannot = f"a record cannot be read ({error}), so its secrets cannot be found; nothing was changed"
        raise CorruptLog(f"{location}: {cannot}", findings=()) from None


def check_same_tree(old: Index, new: Index, location: str) -> None:
    """Compares the redacted log with the old one: the records, their ids, parents, types and times, and the leaf.

    Raises:
        CorruptLog: it is another tree, or the new log is not sound.
    """
    codes = [[each.code for each in index.state.findings if each.code != "torn_tail"] for index in (old, new)]
    frames = [list(map(_frame, payloads(index))) for index in (old, new)]
    leaves = [index.state.leaf.id for index in (old, new)]
    if any(one != other for one, other in (codes, frames, leaves)):
        raise CorruptLog(f"{location}: the redacted log would be another tree; nothing was changed", findings=())


class _Frame(msgspec.Struct):
    type: str
    id: str = ""
    parent_id: str | None = None
    timestamp: str | None = None


def _frame(payload: bytes) -> _Frame:
    return msgspec.json.decode(payload + b"}", type=_Frame)
