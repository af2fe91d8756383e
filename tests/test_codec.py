"""Encoding, sealing and decoding of lines, against bytes and checksums worked out by hand."""

import math
from collections.abc import Mapping
from datetime import datetime
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple
from zlib import crc32

import pytest
from helpers import HEADER, nested, node, seal_by_hand
from hypothesis import given
from hypothesis import strategies as st

from convtree import (
    BranchSummaryEntry,
    CompactionEntry,
    ExtensionDataEntry,
    Header,
    InvalidMessage,
    LabelMark,
    LeafMark,
    MessageEntry,
    ModelChangeEntry,
    OpaqueEntry,
    OpaqueMark,
    ParentSession,
    SessionInfoMark,
)
from convtree._engine import codec
from convtree._model.entries import Record

TIME = "2026-01-02T03:04:05.678901Z"
E = '{"id":"a1","parent_id":"p1","type":"%s","timestamp":"2026-01-02T03:04:05.678901Z"'
M = '{"id":"m1","type":"%s","timestamp":null'


def entry(cls: type[Any], **fields: Any) -> Record:
    record: Record = cls(id="a1", parent_id="p1", timestamp=TIME, **fields)
    return record


EXACT: list[tuple[Record, str]] = [
    (
        entry(MessageEntry, message={"role": "user", "content": "é\n"}),
        E % "message" + ',"message":{"role":"user","content":"é\\n"}',
    ),
    (
        entry(
            MessageEntry,
            message={"z": 1, "a": 2},
            shape="gemini",
            provider="google",
            model="g",
            usage={"in": 1},
            visible_to="user",
            pinned=True,
            source_id="x/1",
        ),
        E % "message" + ',"message":{"z":1,"a":2},"shape":"gemini","provider":"google","model":"g","usage":{"in":1},'
        '"visible_to":"user","pinned":true,"source_id":"x/1"',
    ),
    (
        entry(CompactionEntry, summary="S", first_kept_entry_id=None),
        E % "compaction" + ',"summary":"S","first_kept_entry_id":null',
    ),
    (
        entry(
            CompactionEntry,
            summary="S",
            first_kept_entry_id="k",
            tokens_before=9,
            tokens_after=3,
            messages_removed=2,
            read_files=["r"],
            modified_files=[],
            details={"d": None},
        ),
        E % "compaction" + ',"summary":"S","first_kept_entry_id":"k","tokens_before":9,"tokens_after":3,'
        '"messages_removed":2,"read_files":["r"],"modified_files":[],"details":{"d":null}',
    ),
    (
        entry(BranchSummaryEntry, from_id=None, summary="", details=0),
        E % "branch_summary" + ',"from_id":null,"summary":"","details":0',
    ),
    (
        entry(ModelChangeEntry, provider=None, model="m", settings={}),
        E % "model_change" + ',"provider":null,"model":"m","settings":{}',
    ),
    (
        entry(ExtensionDataEntry, ext_type="tool.x", data=None),
        E % "extension_data" + ',"ext_type":"tool.x","data":null',
    ),
    (entry(OpaqueEntry, unknown_type="tool.note", fields={"b": 1}), E % "tool.note" + ',"b":1'),
    (entry(OpaqueEntry, unknown_type="tool.note", fields={}), E % "tool.note"),
    (
        entry(OpaqueEntry, unknown_type="tool.note", fields={"b": 1}, source_id="s"),
        E % "tool.note" + ',"b":1,"source_id":"s"',
    ),
    (LeafMark(id="m1", target_id=None), M % "leaf" + ',"target_id":null'),
    (LabelMark(id="m1", target_id="a1", label="L"), M % "label" + ',"target_id":"a1","label":"L"'),
    (LabelMark(id="m1", target_id="a1", label=None), M % "label" + ',"target_id":"a1","label":null'),
    (SessionInfoMark(id="m1"), M % "session_info"),
    (
        SessionInfoMark(id="m1", name=None, archived=False, metadata={"k": None}),
        M % "session_info" + ',"name":null,"archived":false,"metadata":{"k":null}',
    ),
    (OpaqueMark(id="m1", unknown_type="tool.mark", fields={"x": []}), M % "tool.mark" + ',"x":[]'),
]


@pytest.mark.parametrize(("record", "payload"), EXACT, ids=lambda value: getattr(value, "type", ""))
def test_records_have_the_bytes_of_the_format(record: Record, payload: str) -> None:
    """Each entry and mark is written byte for byte as the format says, and read back equal."""
    assert codec.encode(record).decode() == payload
    assert codec.decode((payload + "}").encode()) == record
    assert codec.decode(seal_by_hand(payload + "}", 7)) == record


def test_the_parent_of_a_root_is_null() -> None:
    """The parent of a first entry is written as null, never left out."""
    record = ExtensionDataEntry(id="a1", ext_type="a.b", data=1)
    expected = b'{"id":"a1","parent_id":null,"type":"extension_data","timestamp":null,"ext_type":"a.b","data":1'
    assert codec.encode(record) == expected


def test_the_header_has_the_bytes_of_the_format() -> None:
    """Header fields have the order of the format; absent ones are left out."""
    full = Header(
        id="s1",
        timestamp=TIME,
        cwd="/w",
        git_root="/",
        owner="ann",
        name="trip",
        parent_session=ParentSession(id="p", entry_id=None, kind="task"),
        metadata={"a": 1},
    )
    assert codec.encode_header(full).decode() == (
        '{"type":"session","format":"convtree","version":1,"id":"s1","timestamp":"2026-01-02T03:04:05.678901Z",'
        '"seal":"crc32","cwd":"/w","git_root":"/","owner":"ann","name":"trip",'
        '"parent_session":{"id":"p","entry_id":null,"kind":"task"},"metadata":{"a":1}'
    )
    assert codec.encode_header(Header(id="s1")).decode() == HEADER[:-1]
    decoded = codec.decode_header(seal_by_hand(HEADER, 0))
    assert decoded == Header(id="s1", seal="crc32")


@pytest.mark.parametrize("line", [b"", b"[]", b"42", b'{"type":"session"}', b'{"type":"session","format":"pi"}', b"{"])
def test_other_lines_are_not_a_header(line: bytes) -> None:
    """A first line of any other kind decodes to None."""
    assert codec.decode_header(line) is None


# --- the seal ---


@given(st.binary(max_size=60), st.integers(0, 2**32 - 1))
def test_the_seal_has_the_bytes_of_the_format(payload: bytes, prev: int) -> None:
    """The last 36 bytes of a line are prev and crc, in lower case and padded with zeros."""
    line = codec.seal(payload, prev)
    assert line[:-36] == payload
    assert line[-36:-18] == b',"prev":"%08x"' % prev
    assert line[-18:] == b',"crc":"%08x"}' % crc32(line[:-18] + b"}")
    assert codec.verify_seal(line) == codec.Seal(prev, crc32(line))
    assert codec.payload_of(line) == payload


def test_a_flipped_bit_breaks_the_seal() -> None:
    """No line that differs in one bit from a sealed line verifies."""
    line = seal_by_hand(node("a1", None), 0xFEDCBA98)
    for position in range(len(line) * 8):
        damaged = bytearray(line)
        damaged[position // 8] ^= 1 << position % 8
        assert codec.verify_seal(bytes(damaged)) is None


def test_a_lost_byte_breaks_the_seal() -> None:
    """No beginning or end of a sealed line verifies, nor the line without one of its bytes."""
    line = seal_by_hand(node("a1", None), 1)
    for position in range(len(line)):
        assert codec.verify_seal(line[:position]) is None
        assert codec.verify_seal(line[position + 1 :]) is None
        assert codec.verify_seal(line[:position] + line[position + 1 :]) is None


@pytest.mark.parametrize(
    "prev", ['"FEDCBA98"', '"+edcba98"', '" edcba98"', '"fedc_a98"', '"fedcba98', '"0xdcba98"', '"gggggggg"']
)
def test_prev_has_eight_lower_case_digits(prev: str) -> None:
    """A seal whose prev has another spelling is invalid, even with the right crc."""
    with_prev = b'{"id":"a1","prev":' + prev.encode()
    line = with_prev + b',"crc":"%08x"}' % crc32(with_prev + b"}")
    assert codec.verify_seal(line) is None


def test_an_upper_case_crc_is_invalid() -> None:
    """The digits of the crc are lower case, too."""
    line = seal_by_hand(node("a1", None), 3)
    assert line[-10:-2].upper() != line[-10:-2]
    assert codec.verify_seal(line[:-10] + line[-10:-2].upper() + b'"}') is None


# --- values that a writer accepts ---


def refused(message: Mapping[Any, Any]) -> str:
    with pytest.raises(InvalidMessage) as caught:
        codec.encode(MessageEntry(id="a1", message=dict(message)))
    assert caught.value.place in str(caught.value)
    return caught.value.place


class Odd(Enum):
    NAN = math.nan


class Pair(NamedTuple):
    a: Any
    b: Any


@pytest.mark.parametrize(
    ("message", "place"),
    [
        ({"a": [1, {"b": math.nan}]}, "message.a[1].b"),
        ({"a": math.inf}, "message.a"),
        ({"a": (None, -math.inf)}, "message.a[1]"),
        ({"a": 2**64}, "message.a"),
        ({"a": -(2**63) - 1}, "message.a"),
        ({"a": 10**5000}, "message.a"),
        ({"a": ["\ud800"]}, "message.a[0]"),
        ({"a": {"\udfff": 1}}, "a key of message.a"),
        ({"\ud83d": 1}, "a key of message"),
        ({"a": {1: 2}}, "message.a"),
        ({None: 1}, "message"),
        ({"a": {1, 2}}, "message.a"),
        ({"a": b"x"}, "message.a"),
        ({"a": [datetime(2026, 1, 2)]}, "message.a[0]"),
        ({"a": object()}, "message.a"),
        ({"a": MappingProxyType({"b": [math.nan]})}, "message.a.b[0]"),
        ({"a": Odd.NAN}, "message.a"),
        ({}, "message"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_values_outside_json_are_refused(message: dict[Any, Any], place: str) -> None:
    """A value that would be read back as a different one is refused, and the error names its path."""
    assert refused(message) == place


def test_a_circular_reference_is_refused() -> None:
    """It is reported as nested too deep."""
    circle: dict[str, Any] = {}
    circle["a"] = [circle]
    assert refused(circle).startswith("message.a[0].a[0].a[0]")


def test_the_depth_limit_counts_the_whole_line() -> None:
    """A line can have 128 levels of nesting, including its own object, but not 129."""
    allowed = MessageEntry(id="a1", message=dict(nested(127)))
    assert codec.decode(codec.encode(allowed) + b"}") == allowed
    assert refused(nested(128)).startswith("message.a.a")
    with pytest.raises(InvalidMessage, match="levels of nesting"):
        codec.encode_header(Header(id="s1", metadata=dict(nested(128))))
    lists: list[Any] = []
    for _ in range(100_000):
        lists = [lists]
    assert refused({"a": lists}).startswith("message.a[0][0]")


def test_brackets_in_text_do_not_count_as_depth() -> None:
    """Only real nesting counts towards the limit."""
    record = MessageEntry(id="a1", message={"content": "{[" * 1000, "flat": [[] for _ in range(500)]})
    assert codec.decode(codec.encode(record) + b"}") == record


def test_the_length_limit_is_16_mib() -> None:
    """The limit includes the seal and the newline."""
    empty = len(codec.seal(codec.encode(MessageEntry(id="a1", message={"c": ""})), 0)) + 1
    room = 16 * 2**20 - empty
    line = codec.seal(codec.encode(MessageEntry(id="a1", message={"c": "x" * room})), 0)
    assert len(line) + 1 == 16 * 2**20
    with pytest.raises(InvalidMessage, match="16777217 bytes"):
        codec.encode(MessageEntry(id="a1", message={"c": "x" * (room + 1)}))
    with pytest.raises(InvalidMessage, match="bytes, the limit is 16777216"):
        codec.encode_header(Header(id="s1", cwd="x" * 2**24))


@pytest.mark.parametrize(
    ("record", "place"),
    [
        (LabelMark(id="m1", target_id="a1", label="x" * 257), "label"),
        (ModelChangeEntry(id="a1", provider=None, model=""), "model"),
        (OpaqueEntry(id="a1", unknown_type="note", fields={}), "unknown_type"),
        (OpaqueEntry(id="a1", unknown_type="Tool.x", fields={}), "unknown_type"),
        (OpaqueMark(id="m1", unknown_type="tool.x", fields={"crc": 1}), "fields.crc"),
        (OpaqueMark(id="m1", unknown_type="tool.x", fields={"parent_id": 1}), "fields.parent_id"),
        (LeafMark(id="", target_id=None), "id"),
        (LeafMark(id="-a", target_id=None), "id"),
        (LeafMark(id="a" * 129, target_id=None), "id"),
        (LeafMark(id="a\n", target_id=None), "id"),
        (LeafMark(id="ä", target_id=None), "id"),
        (ExtensionDataEntry(id="a1", parent_id='p"', ext_type="a.b", data=1), "parent_id"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_invalid_fields_are_refused_by_name(record: Record, place: str) -> None:
    """Ids, labels, types and models have a form, and the error names the field that breaks it."""
    with pytest.raises(InvalidMessage) as caught:
        codec.encode(record)
    assert caught.value.place == place


def test_an_error_hides_content() -> None:
    """The text of a message does not appear in an error."""
    with pytest.raises(InvalidMessage) as caught:
        codec.encode(MessageEntry(id="a1", message={"content": "secret", "n": [math.nan, "secret"]}))
    assert "secret" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@pytest.mark.no_cover
@given(st.dictionaries(st.text(), JSON, min_size=1, max_size=5), JSON)
def test_any_json_value_is_read_back_unchanged(message: dict[str, Any], data: Any) -> None:
    """An accepted value is read back equal, with the same types and key order, from one line."""
    for record in (
        MessageEntry(id="a1", message=message),
        ExtensionDataEntry(id="a1", ext_type="a.b", data=data),
    ):
        payload = codec.encode(record)
        again = codec.decode(payload + b"}")
        assert repr(again) == repr(record)
        assert codec.encode(again) == payload
        assert b"\n" not in payload


def test_tuples_and_mappings_become_lists_and_objects() -> None:
    """A tuple is stored as an array, and any mapping as an object."""
    payload = codec.encode(MessageEntry(id="a1", message={"a": (1, MappingProxyType({"b": 2}))}))
    assert payload.endswith(b'"message":{"a":[1,{"b":2}]}')


# --- lines that a reader accepts ---


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"42",
        b"null",
        b'"x"',
        b"[]",
        b"{",
        b"\xff\xfe",
        b'{"id":"a1"}',
        b'{"id":5,"type":"label","target_id":"a","label":null}',
        b'{"id":"a b","type":"tool.x"}',
        b'{"id":"","type":"tool.x"}',
        b'{"id":"a1","type":"Tool"}',
        b'{"id":"a1","type":""}',
        b'{"id":"a1","type":"message","message":{"a":1}}',  # an entry without parent_id
        b'{"id":"a1","parent_id":null,"type":"label","target_id":"a","label":null}',  # a mark with one
        b'{"id":"a1","parent_id":[],"type":"tool.x"}',
        b'{"id":"a1","parent_id":{},"type":"message","message":{"a":1}}',
        b'{"id":"a1","parent_id":null,"type":"message","message":{"a":NaN}}',
        b'{"id":"a1","parent_id":null,"type":"message","message":"text"}',
        b'{"id":"a1","parent_id":null,"type":"compaction","summary":"S"}',
        b'{"id":"a1","type":"leaf"}',
        b"[" * 100_000,
        b'{"id":"a1","parent_id":null,"type":"extension_data","ext_type":"x.y","data":' + b"[" * 100_000,
    ],
    ids=lambda value: str(value[:60]),
)
def test_invalid_lines_raise_documented_errors(line: bytes) -> None:
    """Decoding a line that is not a record raises one of `DECODE_ERRORS`."""
    with pytest.raises(codec.DECODE_ERRORS):
        codec.decode(line)


def test_any_key_order_and_white_space_are_read() -> None:
    """Lines of other writers can have another key order, white space and unknown fields."""
    line = b' { "message" : {"a":1} , "later":[1],"type":"message", "parent_id":null,"id":"\\u0061b" } '
    assert codec.decode(line) == MessageEntry(id="ab", message={"a": 1})


def test_critical_counts_for_unknown_types_only() -> None:
    """A record is critical if its type is unknown and its `critical` is exactly `true`."""
    assert codec.read_envelope(b'{"id":"a1","type":"x","critical":true}').critical
    assert not codec.read_envelope(b'{"id":"a1","type":"x","critical":1}').critical
    assert not codec.read_envelope(b'{"id":"a1","type":"leaf","target_id":null,"critical":true}').critical


def test_an_unknown_type_can_have_any_fields() -> None:
    """The fields of an unknown type have no fixed types: its `model` can be an object."""
    line = b'{"id":"a1","parent_id":"p","type":"tool.x","model":{"a":1},"pinned":"yes"}'
    assert codec.decode(line) == OpaqueEntry(
        id="a1", parent_id="p", unknown_type="tool.x", fields={"model": {"a": 1}, "pinned": "yes"}
    )


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"", True),
        (b"\0\0\0", True),
        (b"{", True),
        (b'{"type":"session","for', True),
        (b'{"type":"session","for\0\0', True),
        (b'{"type":"session","format":"convtree","version":1,"id":"x', True),
        (b"hello", False),
        (b'{"type":"session","version":3', False),
        (b"\0\0{", False),
    ],
)
def test_a_torn_header_is_recognised(data: bytes, answer: bool) -> None:
    """Only bytes that a crash can leave of a header count as its beginning."""
    assert codec.begins_header(data) is answer


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ('{"id":"a1","parent_id":"q","type":"x.y","timestamp":"T","a":1,"b":[1.5,"x"]}', True),
        ('{"b":[1.5,"x"],"type":"x.y","a":1,"id":"a1"}', True),
        ('{"id":"a1","type":"x.y","a":1,"b":["x",1.5]}', False),
        ('{"id":"a1","type":"x.z","a":1,"b":[1.5,"x"]}', False),
        ('{"id":"a1","type":"x.y","a":1,"b":[1.5,"x"],"c":null}', False),
    ],
)
def test_same_content_compares_values(other: str, same: bool) -> None:
    """Type and fields count, in any order. Parent, time and seal do not."""
    payload = b'{"id":"a1","parent_id":"p","type":"x.y","timestamp":null,"a":1,"b":[1.5,"x"]'
    assert codec.same_content(payload, seal_by_hand(other, 9)) is same
    assert codec.same_content(payload, other.encode()) is same


class Role(StrEnum):
    """A class of strings that are not of type `str` itself."""

    USER = "user"


def test_a_key_of_a_string_subclass_is_refused() -> None:
    """A key must be a plain `str`; an enum member is not accepted."""
    with pytest.raises(InvalidMessage, match="key must be str") as caught:
        codec.encode(entry(MessageEntry, message={Role.USER: "x"}))
    assert caught.value.place == "the record"


def test_a_known_type_with_invalid_fields_is_refused() -> None:
    """It is not decoded as a record of an unknown type."""
    with pytest.raises(ValueError, match="pinned"):
        codec.decode(node("a", None, pinned=5).encode())


def test_a_header_with_invalid_fields() -> None:
    """It decodes to None in any key order. If it begins as we write it, it counts as a damaged header."""
    assert codec.is_header(b'{"format":"convtree","type":"session","version":1,"id":"s1"}')
    assert not codec.is_header(b'{"format":"convtree","type":"session","version":"x","id":"s1"}')
    assert codec.is_header(b'{"type":"session","format":"convtree","version":"x","id":"s1"}')


def test_an_invalid_timestamp_is_refused() -> None:
    """The error names the field."""
    message = entry(MessageEntry, message={"role": "user", "content": "x"})
    with pytest.raises(InvalidMessage) as caught:
        codec.assemble(message, codec.encode_fields(message), "a", None, object())  # type: ignore[arg-type]
    assert caught.value.place == "timestamp"
