"""Marks that change what the tables say about earlier lines, or about the session. SQL text only. Pure.

They are rare, so an append runs these statements only if it has such a mark. The caller holds the lock of the session's
row and has inserted the lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import UNSET

from convtree._catalogue.record_summary import HIDDEN_FROM_USER, RecordSummary
from convtree._catalogue.tables import Execute, change_metadata
from convtree._catalogue.texts import stored

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


_KINDS = ("visibility", "session_info")


def has_marks(summaries: Iterable[RecordSummary]) -> bool:
    """Returns whether some of these records are such marks."""
    return not {each.type for each in summaries}.isdisjoint(_KINDS)


def apply_marks(
    execute: Execute, session_id: str, positions: Sequence[int], summaries: Sequence[RecordSummary | None]
) -> None:
    """Applies those of some lines that hide or show messages, change directories or metadata, or hold the session."""
    seen: list[dict[str, Any]] = []
    changes: dict[str, Any] = {}
    for position, each in zip(positions, summaries, strict=True):
        if each is None or each.type not in _KINDS:
            continue  # nearly every line
        if each.target is not None and each.visible_to is not None:
            values = {"target": stored(each.target), "visible_to": each.visible_to, "position": position}
            seen.append({"session_id": session_id, **values})
        texts = {"cwd": each.cwd, "git_root": each.git_root}
        info = {"held": each.held} | {name: t if t is UNSET else stored(t) for name, t in texts.items()}
        if each.metadata is not None:
            change_metadata(execute, session_id, each.metadata)
        changes |= {name: value for name, value in info.items() if value is not UNSET}
    if seen:
        execute(_SHOW_OR_HIDE, seen)
        execute(_UPDATE_EXCERPTS, {"session_id": session_id})
    if changes:
        if "held" in changes:
            changes["held"] = int(changes["held"])
        assigned = ", ".join(f"{name} = :{name}" for name in changes)
        execute(_UPDATE_INFO.format(changes=assigned), {"session_id": session_id} | changes)
