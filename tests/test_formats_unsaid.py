"""A field that no reader knows is kept, at any depth, in every format; what is of another type crashes nothing."""

from __future__ import annotations

import copy
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from foreign import claude_line, encoded
from foreign_whole import SAMPLES

from convtree import open_store
from convtree._formats.common.unsaid import unsaid
from convtree._messages.parts import Unknown
from convtree._messages.said import read
from convtree._model.entries import ExtensionDataEntry, MessageEntry
from convtree.exchange import import_into, read_foreign

ODD = "words of another version"
WRONG: list[Any] = [{"a": {"b": 1}}, ["x", {"y": 1}]]
Place = tuple[Any, ...]


def objects_in(value: Any, place: Place = ()) -> Iterator[Place]:
    """The places of all objects in a value; None leads into JSON in a text."""
    if isinstance(value, dict):
        yield place
    if isinstance(value, dict | list):
        for name, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from objects_in(each, (*place, name))
    elif isinstance(value, str) and value.startswith("{"):
        with suppress(ValueError):
            yield from objects_in(json.loads(value), (*place, None))


def at(value: Any, place: Place) -> Any:
    """What is at a place."""
    for name in place:
        value = json.loads(value) if name is None else value[name]
    return value


def put(value: Any, place: Place, fields: dict[str, Any]) -> Any:
    """The value with these fields added to the object at a place."""
    if not place:
        return value | fields
    first, *rest = place
    if first is None:
        return json.dumps(put(json.loads(value), tuple(rest), fields))
    changed = copy.copy(value)
    changed[first] = put(value[first], tuple(rest), fields)
    return changed


class Document(NamedTuple):
    """A document of a sample, or the JSON lines of one, and how another one is written in its place."""

    name: str
    value: Any
    write: Callable[[Any], object]


def write_lines(path: Path, lines: Any) -> None:
    """Writes JSON lines."""
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))


def write_cell(path: Path, cell: tuple[str, str, int], value: Any) -> None:
    """Writes JSON into a row of a table, as bytes if it was bytes."""
    table, column, row = cell
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f'update "{table}" set "{column}" = ? where rowid = ?', (value, row))
        connection.commit()


def cells_of(path: Path) -> Iterator[Document]:
    """The objects and lists in the cells of a database."""
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("select name from sqlite_master where type = 'table' and name not like 'sqlite%'")
        for (table,) in tables.fetchall():
            rows = connection.execute(f'select rowid, * from "{table}"')
            names = [each[0] for each in rows.description][1:]
            for row, *cells in rows.fetchall():
                for column, cell in zip(names, cells, strict=True):
                    if isinstance(cell, str | bytes) and cell[:1] in ("{", "[", b"{", b"["):
                        encode = str.encode if isinstance(cell, bytes) else str
                        place = (table, column, row)
                        yield Document(
                            column,
                            json.loads(cell),
                            lambda value, place=place, encode=encode: write_cell(  # type: ignore[misc]
                                path, place, encode(json.dumps(value))
                            ),
                        )


def documents_of(folder: Path) -> Iterator[Document]:
    """The documents in a folder."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".db", ".vscdb"):
            yield from cells_of(path)
        elif path.suffix in (".json", ".jsonl"):
            said = path.read_text()
            try:
                yield Document(
                    path.name,
                    json.loads(said),
                    lambda value, path=path: path.write_text(json.dumps(value)),  # type: ignore[misc]
                )
            except ValueError:
                lines = [json.loads(line) for line in said.splitlines()]
                yield Document(path.name, lines, partial(write_lines, path))


def source_of(name: str, folder: Path) -> Document:
    """The only document of a sample."""
    SAMPLES[name].write(folder)
    (document,) = [each for each in documents_of(folder) if not isinstance(each.value, dict) or "steps" in each.value]
    return document


def stored(folder: Path) -> tuple[str, set[str], int]:
    """All records of the sessions in a folder as JSON, the names in the findings, and how many problems there are."""
    store = open_store("memory:")
    reports = import_into(folder, store)
    findings = [finding for report in reports for finding in report.findings]
    said = []
    for id in store.list():
        with store.open(id.id) as session:
            said += [msgspec.json.encode((record, session.header)).decode() for _, record in session.records()]
    failed = sum(report.status != "imported" for report in reports)
    count = sum(finding.times for finding in findings if finding.about is None)
    return "\n".join(said), {str(finding.about) for finding in findings}, count + 1000 * failed


@pytest.mark.parametrize("name", SAMPLES)
def test_an_unknown_field_at_any_depth_is_kept_or_named(name: str, tmp_path: Path) -> None:
    """In the entry, whatever the reader of the format looks at. All fields are added at once, and each is another."""
    SAMPLES[name].write(tmp_path)
    added: dict[str, tuple[Place, int, str]] = {}
    for document in list(documents_of(tmp_path)):
        value = document.value
        for place in objects_in(document.value):
            number = 770_000_000_000_000 + len(added)
            added[f"odd-{len(added):03}"] = place, number, document.name
            value = put(value, place, {f"odd-{len(added) - 1:03}": f"words {number}.", "n" + str(number): number})
        document.write(value)
    said, named, _ = stored(tmp_path)
    lost = [
        (place, missing)
        for field, (place, number, document_name) in added.items()
        for name, missing in ((field, f"words {number}."), (f"n{number}", f"{number},"))
        if named.isdisjoint((name, document_name)) and missing not in said.replace("}", ",").replace("]", ",")
    ]
    assert lost == []


@pytest.mark.parametrize("name", SAMPLES)
def test_a_value_of_another_type_is_kept_or_named(name: str, tmp_path: Path) -> None:
    """At each kind of place once: an object in the place of a text, a number or a truth."""
    SAMPLES[name].write(tmp_path)
    lost, seen = [], set()
    problems = stored(tmp_path)[2]
    for number, document in enumerate(list(documents_of(tmp_path))):
        for place in objects_in(document.value):
            for field, value in at(document.value, place).items():
                kind = (*("*" if isinstance(each, int) else each for each in place), field, type(value))
                if isinstance(value, dict | list) or (number if number < 2 else 2, kind) in seen:
                    continue
                seen.add((number if number < 2 else 2, kind))
                document.write(put(document.value, place, {field: {"another": ODD}}))
                said, named, found = stored(tmp_path)
                if ODD not in said and named.isdisjoint((field, "another", document.name)) and found <= problems:
                    lost.append((*place, field))
        document.write(document.value)
    assert lost == []


@pytest.mark.parametrize("name", ["codex", "atif"])
def test_a_value_of_another_type_crashes_nothing(name: str, tmp_path: Path) -> None:
    """Wherever it is."""
    _, value, write = source_of(name, tmp_path)
    for place in objects_in(value):
        for field in at(value, place):
            for wrong in WRONG:
                write(put(value, place, {field: wrong}))
                import_into(tmp_path, open_store("memory:"))


def test_words_that_are_not_understood_are_reported(tmp_path: Path) -> None:
    """A message is not cut down to its role: it is data with all of its words, and a warning."""
    message = {"messageId": "m", "isCreatedByUser": True, "content": [{"type": "text", "x": ODD}]}
    (tmp_path / "c.json").write_text(json.dumps({"conversationId": "c", "title": "t", "messages": [message]}))
    session, report = read_foreign(tmp_path / "c.json")
    (entry,) = session.path()
    assert isinstance(entry, ExtensionDataEntry)
    assert entry.data == {"role": "user", "/content/0/x": ODD}
    assert [finding.code for finding in report.findings] == ["source_bad_record"]


def test_what_is_said_in_another_form_is_said() -> None:
    """A time, JSON in a text, an id of the tree; short texts, small numbers and names of kinds are not looked for."""
    fields = {
        "time": 1_700_000_000_123,
        "arguments": '{"path": "notes.md", "n": 1}',
        "parent": "parent-id",
        "type": "an odd kind",
        "n": 99,
        "short": "abc",
        "list": [{"deep": "left over"}, 100],
    }
    call = {"type": "tool_use", "id": "c", "name": "read", "input": {"path": "notes.md", "n": 1}}
    said = [{"role": "assistant", "content": [call]}, "2023-11-14T22:13:20.123Z"]
    found = unsaid(fields, said, frozenset({"parent-id"}))
    assert found == {"/list/0/deep": "left over", "/list/1": 100}
    assert unsaid(fields, said, frozenset({"parent-id"}), frozenset({"list"})) == {}


@pytest.mark.parametrize("in_json", [False, True])
def test_what_is_too_much_to_look_for_is_kept(in_json: bool) -> None:
    """A hostile node may have very many texts, each of which would be searched for in all that is said."""
    texts = [f"part {number}" for number in range(3000)]
    fields = {"many": [*texts[2000:], json.dumps(texts[:2000])] if in_json else texts}
    found = unsaid(fields, " ".join(texts))
    assert (len(found), found["/many/0"]) == (1001 if in_json else 2000, fields["many"][0])


def test_a_part_that_no_reader_knows_is_a_warning(tmp_path: Path) -> None:
    """It names what is not known and how often, once; the message is kept as it is."""
    odd = {"type": "hologram", "frames": ODD}
    lines: list[dict[str, Any]] = [
        claude_line("user", "u1", None, message={"role": "user", "content": [odd, odd]}),
        claude_line("user", "u2", "u1", message={"role": "user", "content": [odd]}),
        claude_line("user", "u3", "u2", message={"role": "user", "content": [{"type": "text", "text": "plain"}]}),
    ]
    (tmp_path / "c.jsonl").write_bytes(encoded(*lines))
    session, report = read_foreign(tmp_path / "c.jsonl")
    assert [(each.code, each.about, each.times) for each in report.findings] == [
        ("source_not_understood", "a block of the type 'hologram'", 2)
    ]
    entry = session.entry("u2")
    assert isinstance(entry, MessageEntry)
    assert entry.message["content"] == [odd]


@pytest.mark.parametrize(
    "content",
    [{"words": [{"type": "input_text", "text": ODD}]}, {"content": [{"type": "input_text", "words": ODD}]}],
)
def test_an_item_of_responses_is_not_read_as_nothing(content: dict[str, Any]) -> None:
    """Neither in its content nor in a block of it."""
    (part,) = read({"type": "message", "role": "user"} | content, "openai-responses").parts
    assert isinstance(part, Unknown)
    assert ODD in json.dumps(part.value)
