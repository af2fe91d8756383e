"""The codec: records to lines and back, one at a time. Pure: it reads no log, and knows no tree.

A *payload* is a line without its seal and its closing brace. It is made once, and can be sealed anew in another place:
a sealed line is never parsed to be written again. `bulk` does for many lines what this module does for one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any, cast
from zlib import crc32

import msgspec
import orjson
from msgspec import UNSET

from convtree._engine.envelope import (
    Envelope,
    OpaqueEnvelope,
    decode_envelope,
    decode_opaque_envelope,
    has_unknown_needs,
)
from convtree._engine.json_values import dump
from convtree._model.entries import (
    ENTRY_CLASSES,
    GROUP,
    ID,
    LABEL_LIMIT,
    MARK_CLASSES,
    TYPE,
    BranchSummaryEntry,
    Entry,
    Header,
    LabelMark,
    LostEntry,
    Mark,
    MessageEntry,
    ModelChangeEntry,
    OpaqueEntry,
    OpaqueMark,
    Record,
    VacuumEntry,
    VisibilityMark,
)
from convtree._model.unicode_text import check_text, invalid

GROUP_LIMIT = 65_536  # lines of a group
LINE_LIMIT = 16 * 2**20  # bytes a writer may put on a line, its newline included
SEAL_LENGTH = 36
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CRC = b',"crc":"%08x"}'
HEADER_START = b'{"type":"session","format":"convtree"'

_ENVELOPE = frozenset({"id", "parent_id", "timestamp"})
_HEADER_FIELDS = ("cwd", "git_root", "owner", "name", "parent_session", "metadata", "copied_to", "arrived", "key")
_LINE_CRC = "[0-9a-f]{8}"


# --- the seal -----------------------------------------------------------------------------------------------------


def seal(payload: bytes, prev: int) -> bytes:
    """Makes the line of a payload that follows the line whose CRC is `prev` (0 for a header)."""
    return seal_line(payload, prev)[0]


def seal_line(payload: bytes, prev: int) -> tuple[bytes, int]:
    """Makes a line as `seal` does, and returns its CRC, too."""
    chained = b'%b,"prev":"%08x"' % (payload, prev)
    crc = crc32(chained)
    end = _CRC % crc32(b"}", crc)
    return chained + end, crc32(end, crc)


def entry_line(id: str, parent_id: str, type: str, timestamp: str, members: bytes, prev: int) -> tuple[bytes, int]:
    """Makes the line of an entry, without its newline, and returns its CRC, too: `assemble` and `seal_line` in one.

    `members` are the output of `encode_fields` without the braces. The entry is not the first one of its log.
    """
    chained = b'%b%b,"prev":"%08x"' % (
        f'{{"id":"{id}","parent_id":"{parent_id}","type":"{type}","timestamp":"{timestamp}",'.encode(),
        members,
        prev,
    )
    crc = crc32(chained)
    end = _CRC % crc32(b"}", crc)
    return chained + end, crc32(end, crc)


def leaf_line(id: str, target_id: str, timestamp: str, prev: int) -> tuple[bytes, int]:
    """Makes the line of a leaf mark as `entry_line` does that of an entry."""
    return seal_line(f'{{"id":"{id}","type":"leaf","timestamp":"{timestamp}","target_id":"{target_id}"'.encode(), prev)


class Seal(msgspec.Struct, frozen=True, gc=False):
    """The seal of a verified line: its `prev`, and the CRC of the whole line, which the next line repeats as `prev`."""

    prev: int
    crc: int


def verify_seal(line: bytes) -> Seal | None:
    """Verifies a line on its raw bytes; None if it has no valid seal."""
    chained = crc32(line[:-18])
    if line[-18:] != b',"crc":"%08x"}' % crc32(b"}", chained) or line[-36:-27] != b',"prev":"':
        return None
    digits = line[-27:-19]
    if digits.strip(b"0123456789abcdef"):
        return None
    return Seal(int(digits, 16), crc32(line[-18:], chained))


def looks_sealed(line: bytes) -> bool:
    """Returns whether a line ends in a seal, valid or not. One of its members is enough: the other may be damaged."""
    return line[-18:-10] == b',"crc":"' or line[-36:-27] == b',"prev":"'


def strip_line_prefix(line: bytes) -> bytes:
    """Removes what may precede an undamaged header: a byte order mark, or zeros left by a crash."""
    return line.removeprefix(BYTE_ORDER_MARK).lstrip(b"\0")


def payload_of(line: bytes) -> bytes:
    """Returns the payload of a verified line, to be sealed anew elsewhere."""
    return line[:-SEAL_LENGTH]


# --- writing ------------------------------------------------------------------------------------------------------


def encode(record: Record) -> bytes:
    """Returns the payload of an entry or a mark.

    Raises:
        InvalidMessage: the record holds a value the format does not allow; `place` names it.
    """
    check_id(record.id, "id")
    parent_id = record.parent_id if isinstance(record, Entry) else None
    if parent_id is not None:
        check_id(parent_id, "parent_id")
    return assemble(record, encode_fields(record), record.id, parent_id, record.timestamp)


def encode_fields(record: Record) -> bytes:
    """Encodes the fields of a record that do not depend on its place in the log, which are nearly all."""
    _check_fields(record)
    return dump(_fields(record))


def assemble(record: Record, fields: bytes, id: str, parent_id: str | None, timestamp: str | None) -> bytes:
    """Makes a payload: the envelope, its keys in the order that is parsed fastest, and the fields.

    The caller has checked the ids.
    """
    parent = f',"parent_id":"{parent_id}"' if parent_id is not None else ""
    if parent_id is None and isinstance(record, Entry):
        parent = ',"parent_id":null'
    try:
        time = orjson.dumps(timestamp)
    except TypeError:
        time = dump({"timestamp": timestamp})  # raises InvalidMessage
    start = b'%b,"timestamp":%b' % (f'{{"id":"{id}"{parent},"type":"{record.type}"'.encode(), time)
    payload = b"%b,%b" % (start, fields[1:-1]) if len(fields) > 2 else start
    check_length(payload)
    return payload


def with_fields(payload: bytes, **changed: Any) -> bytes:
    """Returns a payload with other values of some fields; UNSET removes one.

    All others keep their bytes, also those that this version does not know.
    """
    fields = msgspec.json.decode(payload + b"}", type=dict[str, msgspec.Raw])
    for name, value in changed.items():
        if value is UNSET:
            fields.pop(name, None)
        else:
            fields[name] = msgspec.Raw(dump(value))
    changed_payload = msgspec.json.encode(fields)[:-1]
    check_length(changed_payload)
    return changed_payload


def encode_group(id: str, timestamp: str, count: int) -> bytes:
    """Returns the payload of the mark before a group of `count` lines."""
    return f'{{"id":"{id}","type":"{GROUP}","timestamp":"{timestamp}","count":{count}'.encode()


def check_length(data: bytes) -> None:
    """Raises InvalidMessage if a line with these bytes and a seal would be longer than a line may be."""
    length = len(data) + SEAL_LENGTH + 1
    if length > LINE_LIMIT:
        raise invalid("the record", f"the line would have {length} bytes, the limit is {LINE_LIMIT}")


def check_timestamp(value: Any) -> None:
    """Raises InvalidMessage unless the value is None or a text that can be stored. The text need not be a time."""
    if value is not None:
        if not isinstance(value, str):
            raise invalid("timestamp", f"a timestamp is a text or None, not a {type(value).__name__}")
        check_text(value, "timestamp")


def encode_header(header: Header) -> bytes:
    """Returns the payload of a header. It declares the seal."""
    check_id(header.id, "id")
    fields = {
        name: msgspec.to_builtins(value) if name == "parent_session" else value
        for name in _HEADER_FIELDS
        if (value := getattr(header, name)) is not None
    }
    first = {"type": "session", "format": "convtree", "version": header.version, "id": header.id}
    start = orjson.dumps(first | {"timestamp": header.timestamp, "seal": "crc32"})[:-1]
    rest = dump(fields)
    payload = start + b"," + rest[1:-1] if fields else start
    check_length(payload)
    try:
        decode_header(payload + b"}")
    except msgspec.ValidationError as error:
        raise invalid("the header", str(error)) from None
    return payload


def same_content(payload: bytes, line: bytes) -> bool:
    """Returns whether two records have equal type and fields. Parent, time, seal and JSON spelling may differ."""
    try:
        return _content(payload + b"}") == _content(line)
    except (TypeError, orjson.JSONDecodeError):
        return False  # deeper than anything we write, or damaged


def _content(line: bytes) -> bytes:
    fields = orjson.loads(line)
    for name in ("parent_id", "timestamp", "prev", "crc"):
        fields.pop(name, None)
    return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)


def _fields(record: Record) -> dict[str, Any]:
    table = _FIELDS[type(record)]
    if table is None:
        return _opaque_fields(record)
    fields = {}
    for name, optional in table:
        value = getattr(record, name)
        if value is None and optional:
            continue
        if value is not UNSET and (value != "all" or name != "visible_to" or type(record) is VisibilityMark):
            fields[name] = value
    return fields


def _opaque_fields(record: Record) -> dict[str, Any]:
    if not isinstance(record, OpaqueEntry | OpaqueMark):
        raise TypeError(f"{type(record).__name__} is not one of the format's entries and marks")
    source_id = getattr(record, "source_id", None)
    return record.fields if source_id is None else record.fields | {"source_id": source_id}


class _FieldTables(dict[type[Record], list[tuple[str, bool]] | None]):
    """A class's own fields in the order in which they are written, and whether a None is left out.

    None for a class that is none of the format's. Made when the first record is written: most are never needed.
    """

    def __missing__(self, cls: type[Record]) -> list[tuple[str, bool]] | None:
        if _CLASSES.get(cls.type) is not cls:
            return None
        fields = [field for field in msgspec.structs.fields(cls) if field.name not in _ENVELOPE]
        fields.sort(key=lambda field: field.name == "source_id")
        found = self[cls] = [(field.name, field.default is None) for field in fields]
        return found


_CLASSES: dict[str, type[Entry] | type[Mark]] = {**ENTRY_CLASSES, **MARK_CLASSES}
_FIELDS = _FieldTables()


def _check_fields(record: Record) -> None:
    """Checks what the types of the fields do not say."""
    match record:
        case MessageEntry():
            if not record.message:
                raise invalid("message", "a message is a JSON object with at least one member")
            _check_optional_ids(record, "replaces", "reply_to")
        case OpaqueEntry() | OpaqueMark():
            _check_opaque(record)
        case LabelMark():
            if isinstance(record.label, str) and len(record.label) > LABEL_LIMIT:
                raise invalid("label", f"a label has at most {LABEL_LIMIT} characters, this has {len(record.label)}")
        case ModelChangeEntry():
            if not record.model:
                raise invalid("model", "a model change must name a model")
        case BranchSummaryEntry():
            _check_optional_ids(record, "from_id")
        case LostEntry():
            if isinstance(record.line_crc, str) and not re.fullmatch(_LINE_CRC, record.line_crc):
                raise invalid("line_crc", "a checksum is 8 lower-case hexadecimal digits")
        case VisibilityMark():
            if record.visible_to is UNSET and record.pinned is UNSET:
                raise invalid("visible_to", "a visibility mark changes `visible_to`, `pinned` or both")


def _check_optional_ids(record: Record, *names: str) -> None:
    for name in names:
        if getattr(record, name) is not None:
            check_id(getattr(record, name), name)


def _check_opaque(record: OpaqueEntry | OpaqueMark) -> None:
    if not TYPE.fullmatch(record.unknown_type) or "." not in record.unknown_type:
        raise invalid("unknown_type", "a type of your own is in lower case and has a dot, as in tool.kind")
    taken = _ENVELOPE.union({"type", "prev", "crc"}).intersection(record.fields)
    if taken:
        raise invalid(f"fields.{min(taken)}", "this name belongs to the envelope of the line")


def is_own_id(id: str) -> bool:
    """Returns whether an id has the form of the ids that convtree makes. Such an id needs no further check."""
    return len(id) == 16 and id.isalnum() and id.isascii()


def check_id(value: Any, place: str) -> None:
    """Raises InvalidMessage unless the value is an id."""
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise invalid(place, "an id is 1 to 128 letters, digits, '.', '_', ':' or '-', the first a letter or digit")


# --- reading ------------------------------------------------------------------------------------------------------


_KNOWN = frozenset({*_CLASSES, GROUP})

#: the errors that the decoders raise for a line that is not a record
DECODE_ERRORS = (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError, ValueError)


def read_envelope(line: bytes) -> Envelope | OpaqueEnvelope:
    """Parses the envelope of a line.

    Raises:
        ValueError: the line is not a record (one of `DECODE_ERRORS`).
    """
    envelope: Envelope | OpaqueEnvelope
    try:
        envelope = decode_envelope(line)
        if envelope.type not in _KNOWN or has_unknown_needs(envelope.needs):
            envelope = decode_opaque_envelope(line)
    except msgspec.ValidationError:  # perhaps because of a field that means nothing in this type
        envelope = decode_opaque_envelope(line)
    if envelope.type not in _KNOWN or has_unknown_needs(envelope.needs):
        if not TYPE.fullmatch(envelope.type):
            raise ValueError("not a type")
    elif (envelope.parent_id is UNSET) is (envelope.type in ENTRY_CLASSES):
        raise ValueError("an entry has a parent_id, a mark has none")
    elif isinstance(envelope, OpaqueEnvelope):
        if envelope.type == GROUP:
            return Envelope(envelope.id, GROUP)
        envelope = envelope_of(decode_as(envelope.type, line))
    if not is_own_id(envelope.id) and not ID.fullmatch(envelope.id):
        raise ValueError("not an id")
    return envelope


def group_count(line: bytes) -> int | None:
    """Returns how many lines belong to a group mark; None for any other line, and for a mark that is not valid."""
    if b'"group"' not in line and b"\\u00" not in line:  # the letters of a type may be escaped
        return None
    try:
        envelope = read_envelope(line)
        count = orjson.loads(line).get("count") if envelope.type == GROUP and envelope.known else None
    except DECODE_ERRORS:
        return None
    return count if type(count) is int and 2 <= count <= GROUP_LIMIT else None


def envelope_of(record: Entry | Mark) -> Envelope:
    """Returns the envelope of a record of a known type, as `read_envelope` does of its line."""
    if isinstance(record, MessageEntry):
        return Envelope(
            record.id,
            "message",
            record.parent_id,
            record.provider,
            record.model,
            visible_to=record.visible_to,
            pinned=record.pinned,
            replaces=record.replaces,
        )
    parent_id = record.parent_id if isinstance(record, Entry) else UNSET
    if isinstance(record, ModelChangeEntry | VacuumEntry):
        settings: dict[str, msgspec.Raw] | None = None if record.settings is None else {}
        return Envelope(record.id, record.type, parent_id, record.provider, record.model, settings)
    return Envelope(record.id, record.type, parent_id)


def decode(line: bytes) -> Entry | Mark:
    """Decodes a whole line.

    Raises:
        ValueError: the line is not a record (one of `DECODE_ERRORS`).
    """
    envelope = read_envelope(line)
    return decode_as(envelope.type, line) if envelope.known else _decode_opaque(line)


@cache  # made when the first line of its type is read: most are never needed
def decoder(kind: str) -> Callable[[bytes], Entry | Mark]:
    """Returns the decoder for lines of a known type."""
    return cast(Callable[[bytes], Entry | Mark], msgspec.json.Decoder(_CLASSES[kind]).decode)


def make_decoders() -> None:
    """Makes the decoders that reading nearly every log takes; otherwise the first log in a process waits for them."""
    decoder("message")
    decoder("compaction")
    msgspec.json.Decoder(Header)  # what it is made of is kept by the class


def decode_as(kind: str, line: bytes) -> Entry | Mark:
    """Decodes a whole line whose type is known to be `kind`."""
    return decoder(kind)(line) if kind in _CLASSES else _decode_opaque(line)


def _decode_opaque(line: bytes) -> OpaqueEntry | OpaqueMark:
    fields = orjson.loads(line)
    envelope = {name: fields.pop(name) for name in ("id", "parent_id", "timestamp") if name in fields}
    unknown_type = fields.pop("type")
    for name in ("prev", "crc"):
        fields.pop(name, None)
    cls = OpaqueEntry if "parent_id" in envelope else OpaqueMark
    if cls is OpaqueEntry and isinstance(fields.get("source_id"), str):
        envelope["source_id"] = fields.pop("source_id")
    return cls(unknown_type=unknown_type, fields=fields, **envelope)


def decode_fields(record: Record, fields: bytes) -> Entry | Mark:
    """Decodes the output of `encode_fields`: the record as it will be read back, without parent and time.

    Raises:
        msgspec.ValidationError: a value is not of its field's type.
    """
    if isinstance(record, MessageEntry) and not record.id:  # nearly all of them
        return decoder("message")(b'{"id":"","parent_id":null,%b' % fields[1:])
    parent = ',"parent_id":null' if isinstance(record, Entry) else ""
    end = b",%b" % fields[1:] if len(fields) > 2 else b"}"
    start = f'{{"id":"{record.id}"{parent},"type":"{record.type}"'.encode()
    return decode_as(record.type, start + end)


def decode_header(line: bytes) -> Header | None:
    """Decodes the first line of a log; None if it is not a convtree header."""
    try:
        start = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(start, dict) or (start.get("type"), start.get("format")) != ("session", "convtree"):
        return None
    return msgspec.json.decode(line, type=Header)


def is_header(line: bytes) -> bool:
    """Returns whether a line is a convtree header. A damaged one counts if its beginning is undamaged."""
    try:
        return line.startswith(HEADER_START) or decode_header(line) is not None
    except DECODE_ERRORS:
        return False


def begins_header(data: bytes) -> bool:
    """Returns whether these bytes can be a first line cut by a crash: nothing, zeros, or the beginning of a header."""
    data = data.removeprefix(BYTE_ORDER_MARK).rstrip(b"\0")
    return HEADER_START.startswith(data) or is_header(data)
