"""An append to a session of PostgreSQL as one call of a function on the server: row, lines and usage. SQL text only.

Pure. The update of the row takes the lock and has the conditions; if another writer was faster, nothing is changed. The
function is written in PL/pgSQL, which keeps the plans of its statements for each connection of the server. So nothing
is planned again for each append, and the client need not prepare anything, which poolers make difficult.

The function is called by unqualified name and names tables the same way: both follow the search path.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import orjson

from convtree._catalogue.tables import ADD_TO_USAGE, IS_AFTER, UPDATE_ROW, Values

_CHANGES = {
    **dict.fromkeys(("session_id", "leaf_id", "name", "name_words", "first_user", "last_user"), "TEXT"),
    **dict.fromkeys(("grown", "crc", "entries", "messages", "ms", "slot_end", "said_before"), "BIGINT"),
    **dict.fromkeys(("after_size", "after_crc", "after_position", "created_ms", "rewrites"), "BIGINT"),
    **dict.fromkeys(("moved", "renamed", "archived"), "INTEGER"),
}
_LINE = {
    "position": "BIGINT",
    **dict.fromkeys(("id", "parent_id", "type", "role"), "TEXT"),
    **dict.fromkeys(("time_ms", "said_ms"), "BIGINT"),
    **dict.fromkeys(("visible_to", "excerpt", "words", "line"), "TEXT"),
}
_TOKENS = ("answers", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
_USAGE = {
    **dict.fromkeys(("model_key", "provider", "model"), "TEXT"),
    **dict.fromkeys(_TOKENS, "BIGINT"),
    "cost": "DOUBLE PRECISION",
}
#: that nobody has replaced the session or its lines, and that it is not being copied
_IS_SAME = """
  AND COALESCE(created_ms, -1) = :created_ms AND rewrites = :rewrites AND copying_to IS NULL"""


def _record(columns: dict[str, str]) -> str:
    return f"AS r ({', '.join(f'{name} {kind}' for name, kind in columns.items())})"


def _insert(table: str, columns: dict[str, str], rows: str) -> str:
    """Returns a statement that inserts rows of JSON."""
    return (
        f"INSERT INTO {table} (session_id, {', '.join(columns)}) "
        f"SELECT given.session_id, r.* FROM json_to_recordset({rows}) {_record(columns)}"
    )


_UPDATE = re.sub(r":(\w+)", r"given.\1", UPDATE_ROW.format(condition=IS_AFTER + _IS_SAME))
#: A version of the tables that changes it gives it another name, so that writers of this one that are still running
#: fail. Its plans are for any values, and go by an index even if they were made when the tables were small.
APPEND_FUNCTION = f"""
CREATE OR REPLACE FUNCTION ct_append(changes JSON, lines JSON, used JSON) RETURNS BOOLEAN LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $function$
DECLARE given RECORD;
BEGIN
  SELECT * INTO given FROM json_to_record(changes) {_record(_CHANGES)};
  {_UPDATE.strip()};
  IF NOT FOUND THEN RETURN FALSE; END IF;
  {_insert("ct_lines", _LINE, "lines")};
  IF used IS NOT NULL THEN
    {_insert("ct_usage", _USAGE, "used")} {ADD_TO_USAGE.strip()};
  END IF;
  RETURN TRUE;
END $function$
"""
_SELECT_FUNCTION = "SELECT 1 FROM pg_proc WHERE proname = 'ct_append' AND pronargs = 3 AND pg_function_is_visible(oid)"
#: whether the function is there, and this role may call it
CAN_APPEND = f"EXISTS ({_SELECT_FUNCTION} AND has_function_privilege(oid, 'EXECUTE'))"
SELECT_LANGUAGE = "SELECT 1 FROM pg_language WHERE lanname = 'plpgsql'"
"""Returns a row if the server has the language of the function."""
#: a row if the function is missing, and this role may add it
SELECT_MISSING = f"""
{SELECT_LANGUAGE} AND NOT EXISTS ({_SELECT_FUNCTION})
  AND has_schema_privilege(current_schema(), 'CREATE') AND has_table_privilege('ct_schema', 'UPDATE')
"""
_APPEND = "SELECT TRUE WHERE ct_append(CAST(:changes AS JSON), CAST(:lines AS JSON), CAST(:used AS JSON))"


def append_statement(changes: Values, lines: Sequence[Values], usage: Sequence[Values]) -> tuple[str, Values]:
    """Returns the statement of an append and its values. It returns a row if its conditions hold.

    Args:
        changes: how the row of the session changes, and the values of the conditions.
        lines: the rows of the lines.
        usage: the rows of their usage.
    """
    values: dict[str, Any] = {
        "changes": orjson.dumps(changes).decode(),
        "lines": orjson.dumps(lines).decode(),
        "used": orjson.dumps(usage).decode() if usage else None,
    }
    return _APPEND, values
