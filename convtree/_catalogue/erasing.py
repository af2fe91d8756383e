"""What a deleted session leaves in the tables of SQLite, and the statements that remove it. SQL text only. Pure.

SQLite overwrites deleted rows with zeros (`SECURE_DELETE`). Its full text index does not: it notes words as deleted in
a new segment, and drops them when that is merged with all older ones. So all segments are merged here. Newer versions
of FTS5 could remove words one by one (`secure-delete`), but that changes the file: SQLite before 3.42 can no longer
write to it, and both may use one file.
"""

from __future__ import annotations

from convtree._catalogue.tables import Database, Execute

SECURE_DELETE = "PRAGMA secure_delete = ON"
TABLES = ("ct_sessions", "ct_lines", "ct_usage", "ct_snapshots")

_PAGES = 1000  # of the index, in one transaction: other writers wait for about 0.1 s
_MERGE = "INSERT INTO ct_terms (ct_terms, rank) VALUES ('merge', :pages)"
# A word that was added and deleted by one transaction is in one segment, and a single segment is not merged. So there
# is a second one: of a row that is added and deleted again.
_ADD_SEGMENT = (
    "INSERT INTO ct_terms (rowid, words) VALUES (-1, 'x')",
    "INSERT INTO ct_terms (ct_terms, rowid, words) VALUES ('delete', -1, 'x')",
)


def drop_deleted_words(database: Database) -> None:
    """Removes the words of deleted rows from the full text index of SQLite, in several transactions."""

    def begin(execute: Execute) -> bool:
        for statement in _ADD_SEGMENT:
            execute(statement)
        return _merge(execute, -_PAGES)  # negative: all segments become one

    more = database.write(begin)
    while more:
        more = database.write(lambda execute: _merge(execute, _PAGES))


def _merge(execute: Execute, pages: int) -> bool:
    """Merges up to so many pages, and returns whether there may be more to do."""
    ((before,),) = execute("SELECT total_changes()")
    execute(_MERGE, {"pages": pages})
    ((after,),) = execute("SELECT total_changes()")
    return bool(after - before > 1)
