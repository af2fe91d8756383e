"""An append to a session of PostgreSQL as one statement: its row, its lines and their usage. SQL text only. Pure.

The update of the row takes the lock and has the conditions; the lines follow from the row that it returns. So the
statement is as atomic as a transaction of several, and if another writer was faster, it changes nothing and returns no
row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from convtree._catalogue.tables import ADD_TO_USAGE, IS_AFTER, UPDATE_ROW, Values

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


def _insert(table: str, columns: dict[str, str], rows: str) -> str:
    """Returns a statement that inserts rows of JSON, or without `rows` one row of values, beside the changed row."""
    names = ", ".join(columns)
    if rows:
        given = f"r.* FROM changed, json_to_recordset(CAST(:{rows} AS JSON)) AS r ({{}})".format(
            ", ".join(f"{name} {kind}" for name, kind in columns.items())
        )
    else:
        given = ", ".join(f"CAST(:{name} AS {kind})" for name, kind in columns.items()) + " FROM changed"
    return f"INSERT INTO {table} (session_id, {names}) SELECT session_id, {given}"


def _statement(lines: str, usage: str) -> str:
    update = UPDATE_ROW.format(condition=IS_AFTER + _IS_SAME)
    used = f", used AS ({_insert('ct_usage', _USAGE, usage)} {ADD_TO_USAGE})" if usage else ""
    return (
        f"WITH changed AS ({update}RETURNING session_id){used}, "
        f"added AS ({_insert('ct_lines', _LINE, lines)}) SELECT 1 FROM changed"
    )


_STATEMENTS = {
    (is_one, is_used): _statement("" if is_one else "lines", "usage" if is_used else "")
    for is_one in (True, False)
    for is_used in (True, False)
}


def append_statement(changes: Values, lines: Sequence[Values], usage: Sequence[Values]) -> tuple[str, Values]:
    """Returns the statement of an append and its values. It returns a row if its conditions hold.

    Args:
        changes: how the row of the session changes, and the values of the conditions.
        lines: the rows of the lines.
        usage: the rows of their usage.
    """
    values: dict[str, Any] = dict(changes)
    if len(lines) == 1:
        values.update(lines[0])
    else:
        values["lines"] = orjson.dumps(lines).decode()
    if usage:
        values["usage"] = orjson.dumps(usage).decode()
    return _STATEMENTS[len(lines) == 1, bool(usage)], values
