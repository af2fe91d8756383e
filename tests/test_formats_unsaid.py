"""A field that no reader knows is kept, at any depth, in every format; what is of another type crashes nothing."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from foreign import claude_line, encoded
from foreign_whole import SAMPLES

from convtree import open_store
from convtree._formats.common.unsaid import unsaid
from convtree._messages.parts import Unknown
from convtree._messages.reading import read
from convtree._model.entries import ExtensionDataEntry, MessageEntry
from convtree.exchange import import_into, read_foreign

ODD = "words of another version"
#: samples that are one JSON document, or JSON lines, with nodes that become entries one by one
NODES = ["chatgpt", "claude_ai", "librechat", "copilot-cli"]
WRONG: list[Any] = [{"a": {"b": 1}}, ["x", {"y": 1}]]


def objects_in(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all objects in a value."""
    if isinstance(value, dict):
        yield place
    if isinstance(value, dict | list):
        for name, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from objects_in(each, (*place, name))


def at(value: Any, place: tuple[Any, ...]) -> Any:
    """What is at a place."""
    for name in place:
        value = value[name]
    return value


def source_of(name: str, folder: Path) -> tuple[Any, Callable[[Any], int]]:
    """The documents of a sample, and how others are written in their place."""
    SAMPLES[name].write(folder)
    (path,) = [each for each in folder.rglob("*") if each.suffix in (".json", ".jsonl") and "meta" not in each.name]
    if path.suffix == ".json":
        return json.loads(path.read_text()), lambda value: path.write_text(json.dumps(value))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return lines, lambda value: path.write_text("".join(json.dumps(each) + "\n" for each in value))


def stored(folder: Path) -> str:
    """All records of the sessions in a folder as JSON, and the names in the findings."""
    store = open_store("memory:")
    reports = import_into(folder, store)
    said = [str(finding.about) for report in reports for finding in report.findings]
    for id in store.list():
        with store.open(id.id) as session:
            said += [msgspec.json.encode((record, session.header)).decode() for _, record in session.records()]
    return "\n".join(said)


@pytest.mark.parametrize("name", NODES)
def test_an_unknown_field_at_any_depth_is_kept(name: str, tmp_path: Path) -> None:
    """In the entry, whatever the reader of the format looks at."""
    value, write = source_of(name, tmp_path)
    lost = []
    for place in objects_in(value):
        changed = copy.deepcopy(value)
        at(changed, place)["another"] = ODD
        write(changed)
        if ODD not in stored(tmp_path):
            lost.append(place)
    assert lost == []


@pytest.mark.parametrize("name", ["codex", "atif"])
def test_a_value_of_another_type_crashes_nothing(name: str, tmp_path: Path) -> None:
    """Wherever it is."""
    value, write = source_of(name, tmp_path)
    for place in objects_in(value):
        for field in at(value, place):
            for wrong in WRONG:
                changed = copy.deepcopy(value)
                at(changed, place)[field] = wrong
                write(changed)
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
