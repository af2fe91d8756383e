"""The JSON Schema of a line: it says what the record classes say, what FORMAT.md shows, and what convtree writes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import fields as fields_of
from test_format_page import CLASSES, LOGS
from test_vectors import VECTORS, log_of

import convtree
from convtree._engine import codec

jsonschema = pytest.importorskip("jsonschema")  # it comes with the extra `test`
ROOT = Path(__file__).parents[1]
SCHEMA = json.loads((Path(convtree.__file__).parent / "docs" / "format.schema.json").read_text(encoding="utf-8"))
WRITTEN = jsonschema.Draft202012Validator(SCHEMA)
READABLE = jsonschema.Draft202012Validator(SCHEMA | {"oneOf": [{"$ref": "#/$defs/readable"}]})

Json = dict[str, Any]
TIME = "2026-01-02T03:04:05.678901Z"
SEAL = {"prev": "0badcafe", "crc": "00c0ffee"}
USAGE = {"input_tokens": 9}
MADE_BY = {"usage": USAGE, "provider": "openai", "model": "gpt"}


def _entry(type: str, required: Json, optional: Json) -> tuple[Json, Json]:
    return {"id": "b", "parent_id": "a", "type": type, "timestamp": TIME} | required, optional | {"source_id": "x"}


def _mark(type: str, required: Json, optional: Json) -> tuple[Json, Json]:
    return {"id": "m", "type": type, "timestamp": TIME} | required, optional


#: for each type, the keys that a line must have, and those that it may have
LINES: dict[str, tuple[Json, Json]] = {
    "session": (
        {"type": "session", "format": "convtree", "version": 1, "id": "s1", "timestamp": TIME, "seal": "crc32"},
        {
            "cwd": "/home/ann",
            "git_root": "/home",
            "owner": "ann",
            "name": "trip",
            "parent_session": {"id": "s0", "entry_id": None, "kind": "fork"},
            "metadata": {"tag": "fun"},
            "copied_to": "b",
            "arrived": TIME,
            "key": ["ann", 7],
        },
    ),
    "message": _entry(
        "message",
        {"message": {"role": "user"}},
        {
            "shape": "openai-chat",
            **MADE_BY,
            "visible_to": "nobody",
            "pinned": False,
            "replaces": "a",
            "reply_to": "a",
            "status": "interrupted",
            "extra": {"run": 7},
        },
    ),
    "compaction": _entry(
        "compaction",
        {"summary": "s", "first_kept_entry_id": None},
        {
            "tokens_before": 9,
            "tokens_after": 3,
            "messages_removed": 1,
            "read_files": ["a.py"],
            "modified_files": [],
            "details": [1],
            **MADE_BY,
        },
    ),
    "branch_summary": _entry("branch_summary", {"from_id": "a", "summary": ""}, {"details": "d", **MADE_BY}),
    "model_change": _entry("model_change", {"provider": None, "model": "gpt"}, {"settings": {"effort": "low"}}),
    "extension_data": _entry("extension_data", {"ext_type": "tool.todo", "data": None}, {}),
    "lost": _entry("lost", {}, {"line_crc": "0badcafe"}),
    "vacuum": _entry(
        "vacuum",
        {"dropped": 1},
        {
            "provider": "openai",
            "model": "gpt",
            "settings": {"effort": "low"},
            "state": {"tool.todo": ["pack"]},
            "usage": [{"provider": "openai", "answers": 2, "input_tokens": 9}],
            "dropped_ids": "ypeBEsobvco=",
        },
    ),
    "leaf": _mark("leaf", {"target_id": None}, {}),
    "label": _mark("label", {"target_id": "a", "label": None}, {}),
    "visibility": _mark("visibility", {"target_id": "a", "pinned": True}, {"visible_to": "all"}),
    "session_info": _mark(
        "session_info",
        {},
        {"name": None, "archived": True, "metadata": {"a": None}, "cwd": "/", "git_root": None, "hold": False},
    ),
    "group": _mark("group", {"count": 2}, {}),
    "tool.note": _entry("tool.note", {}, {"text": 7, "critical": True}),
    "tool.mark": _mark("tool.mark", {}, {"text": 7, "critical": "x"}),
}

#: for each key, values that no writer writes
NOT_AN_ID: list[Any] = ["", "a b", "-a", "x" * 129, 7]
WRONG: dict[str, list[Any]] = {
    "id": [*NOT_AN_ID, None],
    "parent_id": NOT_AN_ID,
    "type": ["Message", "note", "", 7, None],
    "timestamp": ["2026-01-02T03:04:05Z", "yesterday", 7],
    "prev": ["0BADCAFE", "123", 7, None],
    "crc": ["0BADCAFE", "123", 7, None],
    "source_id": [7, None],
    "needs": ["blobs", [7], None],
    "format": ["pi", None],
    "version": [2, "1", None],
    "seal": ["sha256", None],
    "owner": [7, None],
    "parent_session": ["s0", {"id": "s0"}, {"id": "s0", "entry_id": None, "kind": "copy"}, None],
    "copied_to": ["a b", 7, None],
    "arrived": ["yesterday", 7, None],
    "key": [None],
    "message": [{}, "text", [], None],
    "shape": [7, None],
    "provider": [7, {}],
    "model": [7, None],
    "usage": ["9", 9, None],
    "visible_to": ["everybody", True, None],
    "pinned": ["yes", 1, None],
    "replaces": [*NOT_AN_ID, None],
    "reply_to": [*NOT_AN_ID, None],
    "status": ["stopped", True, None],
    "extra": [[], "x", None],
    "summary": [7, None],
    "first_kept_entry_id": NOT_AN_ID,
    "tokens_before": ["9", 1.5, None],
    "tokens_after": ["9", 1.5, None],
    "messages_removed": ["9", 1.5, None],
    "read_files": ["a.py", [7], None],
    "modified_files": ["a.py", [7], None],
    "details": [None],
    "from_id": NOT_AN_ID,
    "settings": [[], "low", None],
    "ext_type": [7, None],
    "line_crc": ["0BADCAFE", "123", 7, None],
    "state": [[], None],
    "dropped": [-1, "1", 1.5, None],
    "dropped_ids": ["!", "abc", 7, None],
    "target_id": NOT_AN_ID,
    "label": ["x" * 257, 7],
    "name": [7, []],
    "archived": ["yes", 1],
    "metadata": [[], "x"],
    "cwd": [7, []],
    "git_root": [7, []],
    "hold": ["yes", 1],
    "count": [0, 1, 65_537, -2, "2", True, 2.5, None],
}


def sealed(type: str, line: Json) -> Json:
    """A line with its seal; its checksums need not be right."""
    return line | SEAL | ({"prev": "00000000"} if type == "session" else {})


def mutations() -> Iterator[tuple[str, str, Json]]:
    """Lines with one fault each: their type, the fault, and the line."""
    for type, (required, optional) in LINES.items():
        whole = sealed(type, required | optional | {"needs": []})
        for name in [*required, *SEAL]:
            yield type, f"no {name}", {key: value for key, value in whole.items() if key != name}
        for name in whole:
            foreign = "." in type and name in optional and name != "source_id"
            for value in [] if foreign or (type, name) == ("extension_data", "data") else WRONG[name]:
                yield type, f"{name} is {value!r}", whole | {name: value}


MUTATIONS = list(mutations())
NO_FAULTS = {
    ("visibility", "no pinned"),  # there is `visible_to`
    ("tool.note", "no parent_id"),  # a mark
}


@pytest.mark.parametrize("type", LINES)
def test_lines_of_every_type_are_valid(type: str) -> None:
    """With all keys, and with those only that a line must have."""
    required, optional = LINES[type]
    for validator in (WRITTEN, READABLE):
        assert list(validator.iter_errors(sealed(type, required))) == []
        assert list(validator.iter_errors(sealed(type, required | optional))) == []


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(line, id=f"{type}-{fault}"[:60])
        for type, fault, line in MUTATIONS
        if (type, fault) not in NO_FAULTS
    ],
)
def test_a_line_with_a_fault_is_not_valid(line: Json) -> None:
    """A required key is missing, or a value is none that a writer writes."""
    assert not WRITTEN.is_valid(line)


@pytest.mark.parametrize("type", [type for type in LINES if "." not in type])
def test_keys_that_are_not_known(type: str) -> None:
    """No writer writes them, every reader accepts them."""
    line = sealed(type, LINES[type][0]) | {"colour": "red"}
    assert (WRITTEN.is_valid(line), READABLE.is_valid(line)) == (False, True)


def is_read(line: Json) -> bool:
    """Tells whether convtree reads a line as a record or a header."""
    data = json.dumps(line).encode()
    try:
        return codec.decode_header(data) is not None or codec.decode(data) is not None
    except codec.DECODE_ERRORS:
        return False


def test_the_second_schema_is_what_a_reader_accepts() -> None:
    """For every line with a fault, and with a null for a key, convtree reads it exactly if the schema allows it."""
    nulls = [
        (type, f"{name} is null", sealed(type, required | optional | {name: None}))
        for type, (required, optional) in LINES.items()
        for name in {**required, **optional}
    ]
    differ = [(type, fault) for type, fault, line in [*MUTATIONS, *nulls] if READABLE.is_valid(line) != is_read(line)]
    assert differ == []


@pytest.mark.parametrize("type", CLASSES)
def test_schema_and_classes_have_the_same_fields(type: str) -> None:
    """The keys of a line are the fields of its class; those without a default must be there, and `dropped`."""
    names = {field.name for field in fields_of(CLASSES[type])}
    envelope = "sealed" if type == "session" else "an_entry" if "parent_id" in names else "a_mark"
    schema, outer = SCHEMA["$defs"]["header" if type == "session" else type], SCHEMA["$defs"][envelope]
    allowed = {name for each in (schema, outer) for name, value in each["properties"].items() if value is not False}
    added = {"type", "prev", "crc", "needs", *(("format",) if type == "session" else ())}
    assert allowed - set(SEAL) == (names | added) - set(SEAL)
    required = {*schema.get("required", ()), *outer["required"]} - set(SEAL)
    no_default = {field.name for field in fields_of(CLASSES[type]) if field.required}
    always = {"session": {"format", "version", "seal"}, "vacuum": {"dropped"}}.get(type, set())
    written = {"id", "type", "timestamp", *({"parent_id"} & names)}
    assert required == no_default | always | written
    readable = SCHEMA["$defs"]["readable_header" if type == "session" else f"readable_{type}"]
    common = {"id", "timestamp", "parent_id", "source_id", "type"}
    assert set(readable["properties"]) - common == names - common
    assert set(readable.get("required", ())) == no_default - {"id"}


def test_schema_has_every_type() -> None:
    """And the mark of a group, which has no class."""
    listed = [each["$ref"].removeprefix("#/$defs/") for each in SCHEMA["oneOf"]]
    assert sorted(listed) == sorted(
        ["header" if type == "session" else type for type in CLASSES] + ["group", "foreign_entry", "foreign_mark"]
    )


@pytest.mark.parametrize("line", [line for log in LOGS for line in log])
def test_lines_of_the_format_page_are_valid(line: bytes) -> None:
    """FORMAT.md and the schema agree."""
    assert list(WRITTEN.iter_errors(json.loads(line))) == []


def test_lines_that_convtree_writes_are_valid(tmp_path: Path) -> None:
    """A log with every kind of record, by the harnesses' sample writer."""
    program = (
        "import sys; from pathlib import Path; from tests.harness.samples import write; "
        "write(Path(sys.argv[1]), 300, seed=7)"
    )
    log = tmp_path / "log.jsonl"
    subprocess.run([sys.executable, "-c", program, str(log)], cwd=ROOT, check=True)
    lines = log.read_bytes().splitlines()
    assert len(lines) > 300
    assert [error.message for line in lines for error in WRITTEN.iter_errors(json.loads(line))] == []


def test_lines_of_the_good_vectors_are_readable() -> None:
    """Logs without a finding, of any spelling."""
    good = [vector for vector in VECTORS if not vector.get("findings", [1]) and not vector["more_findings"]]
    lines = [(each["name"], line) for each in good for line in log_of(each).splitlines() if line]
    assert len(lines) > 50
    assert [name for name, line in lines if not READABLE.is_valid(json.loads(line))] == []


def test_schema_is_a_schema() -> None:
    """Of the draft that it names."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_a_visibility_mark_changes_something() -> None:
    """A writer writes one of its two keys at least."""
    mark = sealed("visibility", {"id": "m", "type": "visibility", "timestamp": TIME, "target_id": "a"})
    assert (WRITTEN.is_valid(mark), READABLE.is_valid(mark)) == (False, True)
