"""A message whose content is not understood is kept whole, never cut down to its role."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from foreign import KIT, claude_line, claude_said, encoded, kit_line, kit_said
from foreign_stores import write_database
from test_formats_exports import claude_chat, claude_message
from test_formats_stores import GOOSE, GOOSE_SESSION, goose_row

from convtree import MessageEntry, NotALog
from convtree.exchange import ImportReport, read_foreign

ODD = "words of another shape"


def kept(path: Path) -> tuple[ImportReport, str]:
    """The report of a source, and all its records as JSON."""
    session, report = read_foreign(path)
    return report, b"".join(msgspec.json.encode(record) for _, record in session.records()).decode()


def kit(folder: Path) -> Path:
    (folder / "source").write_bytes(encoded(KIT[0], kit_said("a", None, "a"), kit_line("message", "b", "a", text=ODD)))
    return folder / "source"


def claude_code(folder: Path) -> Path:
    lines = claude_said("u1", None, "a"), claude_line("user", "u2", "u1", message={"role": "user", "parts": [ODD]})
    (folder / "source").write_bytes(encoded(*lines))
    return folder / "source"


def claude_ai(content: Any) -> Any:
    """A conversation with this content in its only message."""

    def write(folder: Path) -> Path:
        message = claude_message("a", "", "human", "", 1) | {"content": content}
        (folder / "source").write_text(json.dumps([claude_chat(message)]))
        return folder / "source"

    return write


def goose(folder: Path) -> Path:
    row = goose_row(1, "user") | {"content_json": json.dumps([ODD])}
    return write_database(folder / "source", GOOSE, sessions=[GOOSE_SESSION], messages=[row])


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (kit, ["source_bad_record"]),
        (claude_code, ["source_bad_record"]),
        (claude_ai(ODD), []),
        (claude_ai([ODD]), []),
        (claude_ai([{"said": ODD}]), []),
        (goose, []),
    ],
)
def test_its_words_are_there(write: Any, expected: list[str], tmp_path: Path) -> None:
    """As data with a finding, or in a message."""
    report, records = kept(write(tmp_path))
    assert (records.count(ODD), [finding.code for finding in report.findings]) == (1, expected)


def test_the_envelope_of_claude_code_is_not_enough(tmp_path: Path) -> None:
    """Other tools write it, too."""
    lines = [claude_line(kind, "u1", None, message={"role": "user", "parts": [ODD]}) for kind in ("user", "result")]
    (tmp_path / "source").write_bytes(encoded(*lines))
    with pytest.raises(NotALog):
        read_foreign(tmp_path / "source")


def test_claude_code_says_who_wrote_a_message_and_where(tmp_path: Path) -> None:
    """Of a message that no model wrote, and of a line that another session wrote."""
    answer = {"role": "assistant", "content": [{"type": "text", "text": "b"}], "model": "<synthetic>"}
    lines = claude_said("u1", None, "a"), claude_line("assistant", "u2", "u1", message=answer, sessionId="another")
    (tmp_path / "source").write_bytes(encoded(*lines))
    session, _ = read_foreign(tmp_path / "source")
    entry = session.entry("u2")
    assert isinstance(entry, MessageEntry)
    assert (entry.model, entry.extra) == (None, {"sessionId": "another", "message": {"model": "<synthetic>"}})
