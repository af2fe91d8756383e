"""The codes of findings, each with its severity and a text for people. Codes are stable; the texts may change.

A text says what is wrong and, where it is not obvious, what convtree did about it.
"""

from __future__ import annotations

from convtree._model.entries import Severity

LOST = "lines_lost"
FINDING_LIMIT = 10_000  # a hostile file must not fill the memory with findings

#: findings in a log
LOG: dict[str, tuple[Severity, str]] = {
    "torn_tail": ("warning", "unfinished write at the end; the next writer moves it to LOG.torn"),
    "line_too_long": ("error", "line longer than 64 MiB; skipped"),
    "bad_seal": ("error", "checksum mismatch: the line has changed since it was written"),
    "bad_line": ("error", "not a record: no JSON object, or a required key is missing"),
    "nul_bytes": ("error", "zero bytes instead of a line, typical after a power cut"),
    "bad_header": ("error", "the header is damaged"),
    "second_header": ("error", "a second header: two logs in one file"),
    "prev_mismatch": ("error", "lines before this one are missing, repeated or out of order"),
    "duplicate": ("warning", "repeats a record that is already in the log; ignored"),
    "id_conflict": ("error", "id already used by a record with other content; ignored"),
    "bad_body": ("error", "content does not fit its type, or cannot be read any more"),
    "bad_kept": ("error", "first_kept_entry_id is not an ancestor of the compaction"),
    "bad_replaces": ("error", "the message replaces an entry that is not its ancestor; nothing is replaced"),
    "usage_unknown": ("warning", "token usage in an unknown spelling; it counts as 0"),
    "orphan": ("error", "parent entry not found earlier in the log"),
    "lost_entry": ("error", "a damaged entry was here; the true one can be put back"),
    "bad_vacuum": ("error", "a vacuum entry that is not the first record, or has a parent; it has no effect"),
    "bad_target": ("error", "target entry not found earlier in the log; ignored"),
    "bad_group": ("error", "a group mark inside another group, or without a count from 2 to 65,536; ignored"),
    LOST: ("error", "the log used to be longer: lines at its end are missing"),
    "wrong_size": ("warning", "the database names another size of the log than its lines have; none is missing"),
    "wrong_end": ("error", "the last line is not the one that the database names: lines at the end were replaced"),
    "unsealed": ("info", "the log has no checksums, so damage in it cannot be detected"),
    "carriage_return": ("info", "lines end in CRLF"),
    "byte_order_mark": ("info", "the file starts with a byte order mark"),
    "newer_version": ("warning", "written by a newer version; opened read-only"),
    "critical_unknown": ("warning", "unknown type that changes the context; opened read-only"),
}

#: findings in another tool's file, during an import
SOURCE: dict[str, tuple[Severity, str]] = {
    "source_bad_line": ("error", "not a JSON object; skipped"),
    "source_torn_tail": ("warning", "unfinished last line; skipped"),
    "source_line_too_long": ("error", "line longer than 64 MiB; skipped"),
    "source_nul_bytes": ("warning", "zero bytes between or inside lines; skipped"),
    "source_glued": ("warning", "several objects on one line; each is imported"),
    "source_second_header": ("warning", "a second header; skipped"),
    "source_bad_record": ("warning", "required fields missing or of the wrong type; kept as extension data"),
    "source_not_understood": ("warning", "a record, a message, or a part of one, that no reader knows; kept as it is"),
    "source_bad_target": ("warning", "refers to an entry that is not there; reference dropped"),
    "source_unsupported": ("warning", "changes what the other tool's model sees, but not the context here"),
    "source_usage_unknown": ("warning", "token usage in an unknown spelling; kept, but it counts as 0"),
    "source_field_dropped": ("info", "unknown field dropped"),
    "source_duplicate": ("warning", "id used twice; the later record is kept under a new id"),
    "source_contradicted": ("info", "repeated with other content; kept as a branch beside the first"),
    "source_orphan": ("error", "parent not found; starts a tree of its own"),
    "source_torn_off": ("error", "it continues a file that was not found; starts a tree of its own"),
    "source_cycle": ("error", "its own ancestor; link to the parent dropped, starts a tree of its own"),
    "source_second_root": ("warning", "several empty roots; the entries below each start their own tree"),
    "source_no_session": ("warning", "its session record is missing; imported as a session of its own"),
    "source_left_out": ("error", "belongs to a record that is missing; left out"),
    "source_database": ("error", "the database cannot be read beyond this point: damaged or locked"),
    "source_journal": ("warning", "the journal of the database cannot be read in place, and a copy is too large"),
    "source_forward": ("info", "the parent comes later in the source"),
    "source_shrunk": ("info", "messages of this session that were imported before are not in this source; they stay"),
    "value_replaced": ("warning", "value that a log cannot hold; replaced by the closest one that fits"),
}

#: findings about a session, while it is written for another tool
EXPORT: dict[str, tuple[Severity, str]] = {
    "export_left_out": ("warning", "not in the exported file: the format has no place for it"),
    "export_reworded": ("info", "in the exported file in another form"),
    "export_gaps": ("warning", "the log is damaged, so the exported file is incomplete"),
}

#: findings about a store: its files, the log of a session, and the tables beside it in a database
STORE: dict[str, tuple[Severity, str]] = {
    "not_a_log": ("error", "not a convtree log; move it out of the folder, `convtree import` reads other formats"),
    "unreadable": ("error", "cannot be read: see its permissions, or try again"),
    "bad_name": ("warning", "the name cannot be the id of a session; rename the file, or move it out of the folder"),
    "bad_ledger": ("error", "lines are damaged: some usage of deleted sessions is missing in sums"),
    "session_copy": ("warning", "a copy of another session; `convtree rm` deletes one of them"),
    "wrong_column": ("warning", "does not say what the lines say; a repair writes it anew"),
    "missing_row": ("warning", "a row that the lines call for is missing; a repair adds it"),
    "extra_row": ("warning", "a row that follows from no line; a repair removes it"),
    "wrong_index": ("warning", "the index of words does not have the words of the lines; a repair makes it anew"),
}

_OTHERS: dict[str, tuple[Severity, str]] = {
    "too_many": ("error", f"more than {FINDING_LIMIT:,} findings; the rest are not listed")
}

FINDING_CODES = LOG | SOURCE | EXPORT | STORE | _OTHERS
