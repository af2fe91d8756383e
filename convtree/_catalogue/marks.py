"""Marks that change what the tables say about earlier lines, or about the session. SQL text only. Pure.

They are rare, so an append runs these statements only if it has such a mark. The caller holds the lock of the session's
row and has inserted the lines.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET

from convtree._catalogue.record_summary import HIDDEN_FROM_USER, RecordSummary
from convtree._catalogue.tables import Execute

# The last mark for a target counts. A mark that stands before its target has no effect.
_SHOW_OR_HIDE = """
UPDATE ct_lines SET visible_to = :visible_to WHERE session_id = :session_id AND id = :target AND position < :position
"""
_EXCERPT = f"""
(SELECT excerpt FROM ct_lines WHERE session_id = :session_id AND excerpt <> ''
  AND visible_to NOT IN ({", ".join(map(repr, HIDDEN_FROM_USER))}) ORDER BY position {{order}} LIMIT 1)
"""
_UPDATE_EXCERPTS = f"""
UPDATE ct_sessions SET first_user = {_EXCERPT.format(order="")}, last_user = {_EXCERPT.format(order="DESC")}
WHERE session_id = :session_id
"""
_UPDATE_INFO = "UPDATE ct_sessions SET {changes} WHERE session_id = :session_id"


def apply_marks(
    execute: Execute, session_id: str, positions: Sequence[int], summaries: Sequence[RecordSummary | None]
) -> None:
    """Applies those of some lines that hide or show messages, change the directories, or hold the session."""
    seen = [
        {"session_id": session_id, "target": each.target, "visible_to": each.visible_to, "position": position}
        for position, each in zip(positions, summaries, strict=True)
        if each is not None and each.target is not None and each.visible_to is not None
    ]
    if seen:
        execute(_SHOW_OR_HIDE, seen)
        execute(_UPDATE_EXCERPTS, {"session_id": session_id})
    changes = {
        name: value
        for each in summaries
        if each is not None
        for name, value in (("cwd", each.cwd), ("git_root", each.git_root), ("held", each.held))
        if value is not UNSET
    }
    if changes:
        assigned = ", ".join(f"{name} = :{name}" for name in changes)
        values = {name: int(value) if isinstance(value, bool) else value for name, value in changes.items()}
        execute(_UPDATE_INFO.format(changes=assigned), {"session_id": session_id} | values)
