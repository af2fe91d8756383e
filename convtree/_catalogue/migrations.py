"""How the tables of earlier versions become those of today, one version after the other. SQL text only. Pure.

Version 2 knows who sees a message, what is on hold, and how a session came here. Version 3 knows when somebody last
said something, and counts copied entries again when the session is gone that they come from. Version 4 knows how often
the lines of a session were replaced, finds sessions by their metadata and by their entries, and tells apart the deleted
sessions that had one id. Version 5 stores texts of any length and with any character. Version 6 had shorter slots of
activity. Version 7 has an upper bound of the last activity instead of them. In version 8, SQLite indexes the words of
new lines in blocks (`words`), and an append to PostgreSQL calls a function on the server (`append_statement`). The new
columns and tables follow from the lines, which do not change. `sql_migration` reads them and fills in what is new.
"""

from __future__ import annotations

from typing import NamedTuple

from convtree._catalogue.activity import SLOT_MS
from convtree._catalogue.tables import COPIED, FINDERS, GONE, LEDGER, LINKS, SESSION_INDEXES, USAGE, Dialect

LOCK = "UPDATE ct_schema SET version = version RETURNING version"
"""Locks the version. Of two processes that migrate at once, the second waits, and finds nothing to do."""
SET_VERSION = "UPDATE ct_schema SET version = :version"

SELECT_COPYING = "SELECT session_id, parent_entry FROM ct_sessions WHERE copying = 1"
LAYOUT = (
    "ALTER TABLE ct_sessions ADD COLUMN held INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE ct_sessions ADD COLUMN copying_to TEXT",
    "ALTER TABLE ct_sessions ADD COLUMN arrived_ms BIGINT",
    "ALTER TABLE ct_sessions ADD COLUMN session_key TEXT",
    # Writers of version 1 that are still running ask for this column. They fail, and leave no new column unfilled.
    "ALTER TABLE ct_sessions DROP COLUMN copying",
    "ALTER TABLE ct_lines ADD COLUMN visible_to TEXT NOT NULL DEFAULT 'all'",
    "ALTER TABLE ct_lines ADD COLUMN excerpt TEXT NOT NULL DEFAULT ''",
)
SELECT_SESSIONS = "SELECT session_id FROM ct_sessions ORDER BY session_id"
SELECT_LINES = """
SELECT position, line FROM ct_lines WHERE session_id = :session_id AND position > :after
  AND (type IN ('session', 'session_info', 'visibility', 'vacuum')
    OR type = 'message' AND (role = 'user' OR line LIKE '%visible_to%'))
ORDER BY position LIMIT :limit
"""
"""The lines that the new columns follow from."""
FILL_LINE = """
UPDATE ct_lines SET visible_to = :visible_to, excerpt = :excerpt, words = :words
WHERE session_id = :session_id AND position = :position
"""
FILL_SESSION = (
    "UPDATE ct_sessions SET arrived_ms = :arrived_ms, session_key = :session_key WHERE session_id = :session_id"
)
FILL_COPYING = "UPDATE ct_sessions SET copying_to = :copying_to WHERE session_id = :session_id"
#: (before, after) the lines are filled in; version 1 stored no words of messages for nobody, so they are not indexed
AROUND_FILLING: dict[Dialect, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "sqlite": (
        (
            "CREATE TRIGGER ct_words_fill AFTER UPDATE OF words ON ct_lines WHEN old.words = '' AND new.words <> '' "
            "BEGIN INSERT INTO ct_words (rowid, words) VALUES (new.row, new.words); END",
        ),
        ("DROP TRIGGER ct_words_fill",),
    ),
    "postgresql": ((), ()),
}

# --- version 3 ----------------------------------------------------------------------------------------------------

LAYOUT_3 = (
    # Renamed, so that writers of version 2 that are still running fail: they would let every record be activity.
    "ALTER TABLE ct_lines RENAME COLUMN ms TO said_ms",
    "ALTER TABLE ct_lines ADD COLUMN time_ms BIGINT",
    "UPDATE ct_lines SET time_ms = said_ms WHERE said_ms IS NOT NULL",
    "UPDATE ct_lines SET said_ms = NULL WHERE said_ms IS NOT NULL "
    "AND (type <> 'message' OR role IN ('system', 'developer'))",
    "ALTER TABLE ct_sessions ADD COLUMN header_id TEXT",
    *LINKS,
    LEDGER,
)
SELECT_MAY_BE_NOTES = """
SELECT position, line FROM ct_lines WHERE session_id = :session_id AND position > :after AND said_ms IS NOT NULL
  AND line LIKE '%visible_to%' ORDER BY position LIMIT :limit
"""
UNSAY = "UPDATE ct_lines SET said_ms = NULL WHERE session_id = :session_id AND position = :position"
SELECT_ACTIVITY = """
SELECT created_ms, (SELECT MAX(said_ms) FROM ct_lines WHERE session_id = :session_id) FROM ct_sessions
WHERE session_id = :session_id
"""
FILL_ACTIVITY = """
UPDATE ct_sessions SET active_ms = :active_ms, activity_bound = :active_ms WHERE session_id = :session_id
"""
SELECT_CHILDREN = "SELECT session_id, copying_to FROM ct_sessions WHERE parent_id IS NOT NULL ORDER BY session_id"
SELECT_ALL_LINES = """
SELECT position, line FROM ct_lines WHERE session_id = :session_id AND position > :after ORDER BY position LIMIT :limit
"""
FORGET_USAGE = "DELETE FROM ct_usage WHERE session_id = :session_id"

# --- version 4 ----------------------------------------------------------------------------------------------------

LAYOUT_4 = (
    "ALTER TABLE ct_sessions ADD COLUMN rewrites BIGINT NOT NULL DEFAULT 0",
    # Renamed, so that writers of version 3 that are still running fail: they would continue a log that was rewritten,
    # and not note changes of the metadata.
    "ALTER TABLE ct_sessions RENAME COLUMN crc TO last_crc",
    "ALTER TABLE ct_sessions RENAME COLUMN messages TO message_count",
    *FINDERS,
    *LINKS,
)
SELECT_INFO = """
SELECT position, line FROM ct_lines WHERE session_id = :session_id AND position > :after
  AND type IN ('session', 'session_info') ORDER BY position LIMIT :limit
"""

# --- version 5 ----------------------------------------------------------------------------------------------------


class Keyed(NamedTuple):
    """A table that has another primary key since version 5.

    Attributes:
        since: the version that it came with.
        create: the statement that creates it.
        kept: the columns that stay as they are; in versions before 4, the ledger had two of them less.
        texts: the columns that the new key follows from.
    """

    since: int
    create: str
    kept: tuple[str, ...]
    texts: tuple[str, ...]


_SUMS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cost")
#: by the end of its name
KEYED = {
    "usage": Keyed(1, USAGE, ("session_id", "answers", *_SUMS), ("provider", "model")),
    "copied": Keyed(3, COPIED, ("session_id", "entry", "answers", *_SUMS), ("provider", "model")),
    "gone": Keyed(3, GONE, ("session_id",), ("session_id", "parent_id")),
    "ledger": Keyed(3, LEDGER, ("session_id", "header", "copied", *_SUMS), ("day", "owner", "provider", "model")),
}
MISSING_IN_3 = {"header": "''", "copied": "0"}
DROP_INDEXES = ("DROP INDEX IF EXISTS ct_copied_by_entry", "DROP INDEX IF EXISTS ct_gone_by_parent")
LAYOUT_5 = (
    # Renamed, so that writers of version 4 that are still running fail: they would store a space in place of NUL.
    "ALTER TABLE ct_sessions RENAME COLUMN leaf TO leaf_id",
    *(f"DROP INDEX IF EXISTS ct_sessions_by_{name}" for name in ("owner", "cwd", "git_root", "parent", "header")),
    *SESSION_INDEXES,
    *LINKS,
)
SELECT_ODD = r"""
SELECT DISTINCT session_id FROM ct_lines WHERE line LIKE '%\u0000%' ESCAPE '!' OR line LIKE '%\u001a%' ESCAPE '!'
  OR line LIKE '%\u001A%' ESCAPE '!' OR line LIKE '\x%' ESCAPE '!' ORDER BY session_id
"""
"""The sessions that may have a NUL or U+001A, which are stored in another way now."""
SELECT_REWRITES = "SELECT rewrites FROM ct_sessions WHERE session_id = :session_id"
FILL_REWRITES = "UPDATE ct_sessions SET rewrites = :rewrites WHERE session_id = :session_id"

# --- version 7 ----------------------------------------------------------------------------------------------------


def layout_7(version: int) -> tuple[str, ...]:
    """Returns the statements that change the layout of tables of an earlier version."""
    slot = "activity_slot" if version == 6 else "active_slot"
    return (
        # Renamed, so that writers of earlier versions that are still running fail: their slots are no bounds.
        f"ALTER TABLE ct_sessions RENAME COLUMN {slot} TO activity_bound",
        "UPDATE ct_sessions SET activity_bound = active_ms",
        *(f"DROP INDEX IF EXISTS ct_sessions_by_{name}" for name in ("activity", "owner", "cwd", "git_root")),
        *SESSION_INDEXES,
    )


_SLOT_END = f"(s.active_ms - (s.active_ms % {SLOT_MS} + {SLOT_MS}) % {SLOT_MS} + {SLOT_MS})"
FILL_BOUNDS = f"""
UPDATE ct_sessions AS s SET activity_bound = {_SLOT_END} WHERE active_ms <> COALESCE(created_ms, 0)
  AND EXISTS (SELECT 1 FROM ct_lines l WHERE l.session_id = s.session_id AND l.said_ms < s.active_ms
    AND l.said_ms >= {_SLOT_END} - {SLOT_MS} AND l.said_ms > COALESCE(s.created_ms, l.said_ms - 1))
"""
"""Fills in the bounds, as `activity` says."""
