"""Runs FORMAT.md: its lines are a log, byte for byte as the engine writes it."""

import json
import re
from pathlib import Path
from zlib import crc32

import convtree
from convtree._engine import codec

PAGE = (Path(convtree.__file__).parent / "docs" / "FORMAT.md").read_text(encoding="utf-8")
LINES = [line.encode() for line in re.findall(r"^\{.*\}$", PAGE, re.MULTILINE)]


def test_every_line_decodes_and_encodes_to_the_same_bytes() -> None:
    """Decoding and encoding a line of the page gives the same bytes."""
    prev = 0
    for number, line in enumerate(LINES):
        if number == 0:
            header = codec.decode_header(line)
            assert header is not None
            body = codec.encode_header(header)
        else:
            body = codec.encode(codec.decode(line))
        assert codec.seal(body, prev) == line
        prev = crc32(line)


def test_page_shows_every_type() -> None:
    """The header, the five entry types, an unknown one and the three mark types are there."""
    assert [json.loads(line)["type"] for line in LINES] == [
        "session",
        "message",
        "message",
        "model_change",
        "extension_data",
        "branch_summary",
        "compaction",
        "tool.note",
        "label",
        "session_info",
        "leaf",
    ]


def test_page_is_a_log(tmp_path: Path) -> None:
    """The lines, written to a file, open without a finding and give the expected tree."""
    log = tmp_path / "page.jsonl"
    log.write_bytes(b"".join(line + b"\n" for line in LINES))
    with convtree.Session.open(log, mode="r") as session:
        assert session.findings == ()
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
