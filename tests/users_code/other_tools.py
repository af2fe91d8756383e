"""A program that imports, exports, checks, repairs and redacts, with the type that a user sees."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import assert_type

from convtree import Finding, Redactor, Session, open_store, redact
from convtree.exchange import (
    ForeignSession,
    ImportReport,
    export_file,
    export_lines,
    import_file,
    import_into,
    list_foreign,
    read_foreign,
)
from convtree.repair import Redaction, Repair, Report, redact_log, redact_session, repair, verify

STAMP = "2026-01-02T03:04:05.678Z"
PI: list[dict[str, object]] = [
    {"type": "session", "version": 3, "id": "8f14e45f", "timestamp": STAMP, "cwd": "/home/ann"},
    {"type": "message", "id": "0000000a", "parentId": None, "message": {"role": "user", "content": "Hello"}},
]


def exchange(source: Path, folder: Path) -> None:
    """In and out."""
    report = import_file(source, folder / "log.jsonl", durability="process", progress=print, redact=redact)
    assert_type(report, ImportReport)
    assert_type((report.format, report.written, report.findings), tuple[str | None, int, tuple[Finding, ...]])
    with open_store(folder / "store") as store:
        assert_type(import_into(source, store), list[ImportReport])
        (info,) = store.list().sessions
        assert_type(redact_session(folder / "store", info.id), Redaction)
    found: Iterator[ForeignSession] = list_foreign(source)
    for foreign in found:
        assert_type((foreign.id, foreign.name, foreign.messages), tuple[str, str | None, int])
    session, _ = read_foreign(source, session_id="8f14e45f")
    assert_type(session, Session)
    export_file(session, folder / "out.jsonl", "pi", replace=True, redact=Redactor())
    assert b"".join(export_lines(session, "pi"))


def look_after(path: Path) -> None:
    """Checks, repairs and redacts a log."""
    report = verify(path, progress=lambda done, of: print(f"{done} of {of}"))
    assert_type(report, Report)
    assert_type((report.damaged, report.entries, report.size_bytes), tuple[bool, int, int])
    planned = repair(path, dry_run=True)
    assert_type(planned, Repair)
    assert_type((planned.needed, planned.original), tuple[bool, str | None])
    redaction = redact_log(path, redactor=Redactor(email=True), in_place=False)
    assert_type((redaction.kinds, redaction.copy), tuple[dict[str, int], str | None])


def main(folder: Path) -> None:
    """Runs it all."""
    source = folder / "pi.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in PI))
    exchange(source, folder)
    look_after(folder / "log.jsonl")
