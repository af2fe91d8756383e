"""Every code a finding can have: how bad it is, and what it says in words. Codes are for ever; words may change."""

from __future__ import annotations

from convtree._model.entries import Severity

LOST = "lines_lost"
FINDING_LIMIT = 10_000  # findings kept one by one; a hostile file must not turn into memory

#: what can be found in a log
LOG: dict[str, tuple[Severity, str]] = {
    "torn_tail": ("warning", "a write that did not finish; the next writer sets it aside"),
    "line_too_long": ("error", "over 64 MiB: skipped"),
    "bad_seal": ("error", "not what its writer wrote"),
    "bad_line": ("error", "not a record: no JSON object, or without what a record needs"),
    "nul_bytes": ("error", "zeros where a line should be, as a power cut leaves them"),
    "bad_header": ("error", "the header is damaged"),
    "second_header": ("error", "a header in the middle: two logs in one file"),
    "prev_mismatch": ("error", "lines were dropped, doubled or moved before this one"),
    "duplicate": ("warning", "the same record again: ignored"),
    "id_conflict": ("error", "the id is taken by a record with other content: ignored"),
    "bad_body": ("error", "not what its type says, or not there any more"),
    "bad_kept": ("error", "keeps entries from one that is not above it"),
    "orphan": ("error", "the parent is not above it: missing, below, or itself"),
    "bad_target": ("error", "names an entry that is not above it: ignored"),
    LOST: ("error", "the log was longer once: lines at its end are gone"),
    "unsealed": ("info", "a log without checksums: damage in it cannot be seen"),
    "carriage_return": ("info", "lines end in CRLF"),
    "byte_order_mark": ("info", "the file begins with a byte order mark"),
    "newer_version": ("warning", "made by a newer version: read-only"),
    "critical_unknown": ("warning", "changes the context in a way not known here: read-only"),
}

#: what can be found in another tool's file while it is imported
SOURCE: dict[str, tuple[Severity, str]] = {
    "source_bad_line": ("error", "not JSON, or no object: it could not be read"),
    "source_torn_tail": ("warning", "the last line was not finished"),
    "source_line_too_long": ("error", "over 64 MiB: skipped"),
    "source_nul_bytes": ("warning", "zeros between or inside lines: passed over"),
    "source_glued": ("warning", "several objects on one line: taken one by one"),
    "source_second_header": ("warning", "a header in the middle: passed over"),
    "source_bad_record": ("warning", "without what its type needs: kept as extension data"),
    "source_bad_target": ("warning", "names an entry that is not where it should be: the reference is left out"),
    "source_unsupported": ("warning", "changes what the other tool's model sees, and not what ours sees"),
    "source_field_dropped": ("info", "has a field for which there is no place"),
    "source_duplicate": ("warning", "an id again: the later one is kept under an id of its own"),
    "source_orphan": ("error", "the parent is nowhere: begins a tree of its own"),
    "source_cycle": ("error", "its own ancestor: cut, and begins a tree of its own"),
    "source_second_root": ("warning", "more than one beginning that is none: each is cut"),
    "source_no_session": ("warning", "its session is not in the source: a session of its own"),
    "source_left_out": ("error", "belongs to what is not in the source: left out"),
    "source_database": ("error", "the database cannot be read any further: damaged, or locked"),
    "source_forward": ("info", "the parent stands further down"),
    "value_replaced": ("warning", "a value that no log can hold: something close to it stands there"),
}

FINDING_CODES: dict[str, tuple[Severity, str]] = LOG | SOURCE | {"too_many": ("error", "more findings than are kept")}
