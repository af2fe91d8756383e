"""Runs FORMAT.md: its lines are a log, byte for byte as the engine writes it."""

import json
import re
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

import convtree
from convtree._engine import codec
from convtree._model.entries import ENTRY_CLASSES, MARK_CLASSES, Header

PAGE = (Path(convtree.__file__).parent / "docs" / "FORMAT.md").read_text(encoding="utf-8")
LOGS = [block.encode().splitlines() for block in re.findall(r"^```json\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL)]
LINES = LOGS[0]
CLASSES: dict[str, Any] = {"session": Header, **ENTRY_CLASSES, **MARK_CLASSES}


def payload_of(line: bytes) -> bytes:
    """A line, decoded and encoded again."""
    fields = json.loads(line)
    if fields["type"] == "session":
        header = codec.decode_header(line)
        assert header is not None
        return codec.encode_header(header)
    if fields["type"] == "group":
        return codec.encode_group(fields["id"], fields["timestamp"], fields["count"])
    return codec.encode(codec.decode(line))


@pytest.mark.parametrize("log", LOGS)
def test_every_line_decodes_and_encodes_to_the_same_bytes(log: list[bytes]) -> None:
    """Decoding and encoding a line of the page gives the same bytes."""
    prev = 0
    for line in log:
        assert codec.seal(payload_of(line), prev) == line
        prev = crc32(line)


def test_page_shows_every_type() -> None:
    """The header, the seven entry types, an unknown one and the five mark types are there."""
    seen = dict.fromkeys(json.loads(line)["type"] for log in LOGS for line in log)
    assert set(seen) == {"session", *ENTRY_CLASSES, "tool.note", *MARK_CLASSES, "group"}


def test_page_shows_every_field() -> None:
    """Every field of every class is on the page, but for those of the format's older rows that are alike."""
    shown = {(fields["type"], name) for log in LOGS for fields in map(json.loads, log) for name in fields}
    missing = {
        (name, field) for name, cls in CLASSES.items() for field in cls.__struct_fields__ if (name, field) not in shown
    }
    assert missing == {
        ("session", "git_root"),
        ("session", "owner"),
        ("session", "name"),
        ("session", "metadata"),
        ("session", "needs"),
        ("message", "visible_to"),
        ("message", "pinned"),
        ("compaction", "tokens_after"),
        ("compaction", "messages_removed"),
        ("compaction", "read_files"),
        ("compaction", "modified_files"),
        ("compaction", "details"),
        ("branch_summary", "details"),
        ("branch_summary", "usage"),
        ("branch_summary", "provider"),
        ("branch_summary", "model"),
        ("extension_data", "usage"),
        ("extension_data", "provider"),
        ("extension_data", "model"),
        ("session_info", "archived"),
        *((name, "source_id") for name in ENTRY_CLASSES),
    }


def test_page_is_a_log(tmp_path: Path) -> None:
    """The lines, written to a file, open without a finding and give the expected tree."""
    log = tmp_path / "page.jsonl"
    log.write_bytes(b"".join(line + b"\n" for line in LINES))
    with convtree.Session.open(log, mode="r") as session:
        assert {finding.code for finding in session.findings} == {"lost_entry"}
        assert (session.id, session.name, session.leaf_id) == ("s1", "trip", "a2")
        assert session.labels == {"a1": "start"}
        assert [entry.id for entry in session.path("a7")] == ["a1", "a3", "a4", "a5", "a6", "a7"]
        assert session.build_context().messages == [
            {"role": "user", "content": "Where to?"},
            {"role": "assistant", "content": "Rome?"},
        ]


def test_numbers_in_the_text() -> None:
    """The length and checksums in the text are those of the first line."""
    header = LINES[0]
    facts = (str(len(header) - 18), f"{crc32(header[:-18] + b'}'):08x}", f"{crc32(header):08x}")
    prose = PAGE.rpartition("```")[2]
    assert re.findall(r"\b(\d{3}) bytes|`([0-9a-f]{8})`", prose) == [(facts[0], ""), ("", facts[1]), ("", facts[2])]
