"""An upper bound of a session's last activity, for indexes: it changes less often than the time itself. Pure.

PostgreSQL updates a row in place only if no index is concerned, and every append changes the time. The bound is the
time itself; or the end of its slot, if something else was said in that slot after the session began. From then on, it
stays until the slot is over: it changes twice in a slot at most.

It follows from the times of the lines, whatever was appended together.
"""

from __future__ import annotations

from collections.abc import Collection

SLOT_MS = 20_000
"""Length of a slot. A list may read all sessions in which several things were said in one slot, so it must be short."""

_MS, _END, _BEFORE = (f"CAST(:{name} AS BIGINT)" for name in ("ms", "slot_end", "said_before"))
_HAS_SAID = "active_ms <> COALESCE(created_ms, 0)"  # something, after it began
BOUND = f"""CASE
    WHEN {_MS} IS NULL OR {_MS} <= created_ms OR {_HAS_SAID} AND active_ms >= {_END} THEN activity_bound
    WHEN {_BEFORE} > COALESCE(created_ms, {_BEFORE} - 1)
      OR {_HAS_SAID} AND active_ms <> {_MS} AND active_ms >= {_END} - {SLOT_MS} THEN {_END}
    WHEN {_HAS_SAID} AND active_ms >= {_MS} THEN activity_bound
    ELSE {_MS} END"""
"""The new bound, from the row before an append. `values` has the parameters."""


def values(said: Collection[int]) -> dict[str, int | None]:
    """Returns the parameters of `BOUND` for the times at which something was said.

    These are the last time, the end of its slot, and the last time before it in that slot.
    """
    if not said:
        return {"ms": None, "slot_end": None, "said_before": None}
    last = max(said)
    start = last // SLOT_MS * SLOT_MS
    before = max((ms for ms in said if start <= ms < last), default=None)
    return {"ms": last, "slot_end": start + SLOT_MS, "said_before": before}
