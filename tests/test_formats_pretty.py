"""JSON as people and programs print it: records over several lines, comments, commas behind the last item."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from foreign import PI, SAMPLES, encoded, pi_said
from hypothesis import given
from hypothesis import strategies as st

from convtree import Session
from convtree._formats.common.base import Findings
from convtree._formats.common.comments import Uncommented, has_comment, without_comments, without_extras
from convtree._formats.common.json_arrays import read_items
from convtree._formats.common.jsonl import read_objects
from convtree.exchange import ImportReport, read_foreign

Printer = Callable[[list[dict[str, Any]]], str]


def indented(objects: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(each, indent=2) + "\n" for each in objects)


def with_tabs(objects: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(each, indent="\t") + "\r\n\r\n" for each in objects)


def without_last_newline(objects: list[dict[str, Any]]) -> str:
    return indented(objects).rstrip("\n")


def mixed(objects: list[dict[str, Any]]) -> str:
    """Every second record is on one line."""
    return "".join(json.dumps(each, indent=3 if at % 2 else None) + "\n" for at, each in enumerate(objects))


def commented(objects: list[dict[str, Any]]) -> str:
    """Comments stand between records and inside of them, with quotes and brackets, and commas behind the last item."""
    text = indented(objects)
    text = re.sub(r"([^{\[,])\n( *)([}\]])", r"\1, // it's \"the\" last {\n\2\3", text)
    return "// a [comment\n" + text.replace("\n  ", '\n  /* [ \n" */ ', 1).replace("\n}\n", "\n}\n/* { */\n// {\n")


def comma_behind_each(objects: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(each)[:-1] + ",}  // {\n" for each in objects)


PRINTERS = [indented, with_tabs, without_last_newline, mixed, commented, comma_behind_each]


def opened(text: str | bytes, folder: Path) -> tuple[Session, ImportReport]:
    path = folder / "any"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_foreign(path)


def stored(session: Session) -> list[bytes]:
    """Returns what a session holds, without the names of its files."""
    return [msgspec.json.encode(record) for _, record in session.records()]


# --- records over several lines ---


@pytest.mark.parametrize("printer", PRINTERS)
@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_however_it_is_printed_it_is_the_same(name: str, printer: Printer, tmp_path: Path) -> None:
    """The same format, the same records, and no finding more."""
    plain, expected = opened(encoded(*SAMPLES[name]), tmp_path)
    session, report = opened(printer(SAMPLES[name]), tmp_path)
    assert (report.format, stored(session)) == (expected.format, stored(plain))
    assert [each.code for each in report.findings] == [each.code for each in expected.findings]


def test_the_place_of_a_record_over_several_lines(tmp_path: Path) -> None:
    """Its first line, and the bytes of all its lines."""
    broken = json.dumps({"type": "message", "id": 7, "timestamp": "x", "message": 1}, indent=1) + "\n"
    before = indented([PI[0], pi_said("a", None, "a")])
    _, report = opened(before + broken, tmp_path)
    place = before.count("\n") + 1, len(before), len(broken)
    assert {(each.line, each.offset, each.length) for each in report.findings} == {place}


MESSAGES = [pi_said("a", None, "a"), pi_said("b", "a", "b"), pi_said("c", "b", "c")]


@pytest.mark.parametrize("indent", [None, 2])
def test_a_record_that_is_cut_off_costs_itself(indent: int | None, tmp_path: Path) -> None:
    """Wherever it is cut, and whether lines or records over several lines come behind it."""
    texts = [json.dumps(each, indent=indent) + "\n" for each in (PI[0], *MESSAGES)]
    for cut in range(1, len(texts[2]) - 2):
        session, report = opened("".join([*texts[:2], texts[2][:cut].rstrip() + "\n", texts[3]]), tmp_path)
        assert {"a", "c"} <= {record.id for _, record in session.records()}, cut
        assert report.findings


def test_damaged_lines_are_reported_one_by_one(tmp_path: Path) -> None:
    """Whether they leave brackets open, or end as the first line of a record over several lines does."""
    for damaged in ('{"type": no json\n', '{"type": {\n', '{"a": [1,\n', "{\n"):
        session, report = opened(
            indented([PI[0], *MESSAGES]) + damaged * 25 + encoded(pi_said("d", "c", "d")).decode(), tmp_path
        )
        assert [entry.id for entry in session.path()] == ["a", "b", "c", "d"]
        assert [each.code for each in report.findings] == ["source_bad_line"] * 25


def test_records_without_indentation(tmp_path: Path) -> None:
    """Each bracket and each key is on a line of its own, at the margin."""
    text = "".join(json.dumps(each, indent=0) + "\n" for each in (PI[0], *MESSAGES))
    session, report = opened(text, tmp_path)
    assert ([entry.id for entry in session.path()], report.findings) == (["a", "b", "c"], ())


def test_a_file_that_ends_inside_of_a_record(tmp_path: Path) -> None:
    """That record is missing, and reported once."""
    text = indented([PI[0], *MESSAGES])
    session, report = opened(text[:-10], tmp_path)
    assert [entry.id for entry in session.path()] == ["a", "b"]
    assert [each.code for each in report.findings] == ["source_torn_tail"]


def test_what_is_too_long_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record over several lines has at most as many bytes as a line."""
    monkeypatch.setattr("convtree._formats.common.jsonl.LINE_LIMIT", 600)
    long = pi_said("b", "a", "b") | {"more": list(range(100))}
    session, report = opened(indented([PI[0], MESSAGES[0], long, pi_said("c", "a", "c")]), tmp_path)
    assert [entry.id for entry in session.path()] == ["a", "c"]
    assert {each.code for each in report.findings} == {"source_bad_line"}


def lines_read(text: bytes) -> list[Any]:
    return [each.fields for each in read_objects(io.BytesIO(text), Findings(), lambda _: False)]


OBJECTS = st.dictionaries(
    st.text(max_size=4),
    st.recursive(
        st.none() | st.integers(-9, 9) | st.text('{}[]",:/*\\ \n', max_size=6),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=6,
    ),
    min_size=1,
    max_size=4,
)


@given(st.lists(st.tuples(OBJECTS, st.sampled_from([None, 1, 4, "\t"])), max_size=5))
def test_any_objects_printed_in_any_way(given: list[tuple[dict[str, Any], Any]]) -> None:
    """Brackets, quotes and what looks like a comment in strings included."""
    text = "".join(json.dumps(each, indent=indent) + "\n" for each, indent in given)
    assert lines_read(text.encode()) == [each for each, _ in given]


@pytest.mark.parametrize(
    "unit", [b"{\n", b'{\n "a":\n', b"[\n{\n", b"/*\n", b'{ "a" /*\n', b"//\n", b'{,"\\"\n', b"{}\n{"]
)
def test_a_hostile_file_takes_time_in_proportion_to_its_size(unit: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line is looked at a bounded number of times, counted in bytes that are searched for brackets and parsed."""
    work: list[int] = []
    feed, parse = "convtree._formats.common.lines._Brackets.feed", "convtree._formats.common.jsonl.parse"
    kept_feed, kept_parse = _at(feed), _at(parse)

    def counted_feed(self: Any, line: bytes) -> None:
        work.append(len(line))
        kept_feed(self, line)

    def counted_parse(text: bytes, *rest: Any, **more: Any) -> Any:
        work.append(len(text))
        return kept_parse(text, *rest, **more)

    monkeypatch.setattr(feed, counted_feed)
    monkeypatch.setattr(parse, counted_parse)
    data = unit * 400
    lines_read(data)
    assert sum(work) <= 3 * len(data)


def _at(name: str) -> Any:
    from pkgutil import resolve_name

    module, _, member = name.rpartition(".")
    return getattr(resolve_name(module), member)


# --- comments in documents ---


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (b'{"a": 1, // one\n "b": 2}', b'{"a": 1,       \n "b": 2}'),
        (b'{"a": "// no", /* x\n */ "b": "\\"/*"}', b'{"a": "// no",     \n    "b": "\\"/*"}'),
        (b'{"a": 1} // end', b'{"a": 1}       '),
        (b'{"a": 1} /* end', b'{"a": 1}       '),
        (b'{"a": "cut // off', b'{"a": "cut // off'),
        (b'{"a": /** x **/ 1 / 2}', b'{"a":           1 / 2}'),
    ],
)
def test_comments_become_spaces(text: bytes, plain: bytes) -> None:
    """At once, and in pieces of every size; other bytes stay at their places."""
    assert (without_comments(text), has_comment(text)) == (plain, plain != text)
    for size in range(1, len(text) + 1):
        file = io.BytesIO(text)
        stream = Uncommented(file.read, file.read(size))
        assert b"".join(iter(lambda stream=stream, size=size: stream.read(size), b"")) == plain  # type: ignore[misc]


def test_commas_behind_the_last_item() -> None:
    """They go, wherever a comment stands; others stay."""
    assert without_extras(b"[1, 2, /* a */ ] // b") == b"[1, 2          ]     "
    assert without_extras(b'{"a": "x,}"}') is None
    assert without_extras(b"[1, 2]") is None


@pytest.mark.parametrize("unit", [b"/*", b"//", b'"\\', b",/**/", b", ", b"/", b"*", b'/*"*/'])
def test_a_hostile_text_is_cleaned_in_one_pass(unit: bytes) -> None:
    """Of a hundred kilobytes, so that a square would be noticed."""
    text = b"[" + unit * 100_000
    assert len(without_extras(text) or text) == len(text)
    assert len(without_comments(text)) == len(text)
    stream = Uncommented(io.BytesIO(text[1:]).read, b"[")
    assert len(b"".join(iter(lambda: stream.read(1000), b""))) == len(text)


def test_a_document_with_comments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export that somebody has edited, also where a comment is cut by the end of a chunk."""
    nodes: dict[str, Any] = {
        "n1": {"id": "n1", "parentId": None, "childrenIds": [], "role": "user", "content": "http://a /* b */"}
    }
    chat = {"history": {"messages": nodes, "currentId": "n1"}, "title": "T"}
    chats = [{"id": id, "title": "T", "chat": chat} for id in ("c1", "c2")]
    text = "// edited {\n" + json.dumps(chats, indent=1).replace('"T"\n', '"T", /* [ */\n').replace(
        "}\n]", "},\n// ]\n]"
    )
    for size in (7, 64, 2**18):
        monkeypatch.setattr("convtree._formats.common.json_arrays._CHUNK", size)
        (tmp_path / "chats.json").write_text(text)
        session, report = read_foreign(tmp_path / "chats.json", session_id="c2")
        assert (report.format, report.findings) == ("openwebui", ())
        assert [getattr(entry, "text", None) for entry in session.path()] == ["http://a /* b */"]


def test_a_list_of_messages_with_comments() -> None:
    """Each item is at its place in the file."""
    text = b'/* all */ [\n {"a": 1}, // one\n {"a": 2,},\n]'
    found = list(read_items(io.BytesIO(text), Findings(), lambda _: False))
    assert [(each.fields, each.span.line, text[each.span.offset]) for each in found] == [
        ({"a": 1}, 2, ord("{")),
        ({"a": 2}, 3, ord("{")),
    ]
