"""When the index of a log is worth saving. Pure.

At a close: when the part of the log that the last snapshot lacks is longer than a scan of it should be, and not much
shorter than the rest. A close per request costs nothing then, and a long log is not copied for every few thousand
entries.

While a log grows: at thresholds of its length. Of several writers, the one that crosses a threshold saves. Thresholds
are a step apart, counted in units of the work of a scan: a row, or 4 KiB of the log. A step is `_STEP_UNITS`, or
between a sixteenth and an eighth of all, so that all saves together write at most 16 times as much as the last.

A log's length is given as its rows and the position of its end.
"""

from __future__ import annotations

_TAIL_ROWS, _TAIL_BYTES, _TAIL_PART = 1024, 2**20, 1 / 64
_STEP_UNITS, UNIT_BYTES = 1024, 4096

Length = tuple[int, int]
"""Rows, and the position of the end."""


def is_due_at_close(length: Length, saved: Length) -> bool:
    """Returns whether a log of this length, of which the last snapshot covers `saved`, is worth saving at a close."""
    (rows, end), (saved_rows, saved_end) = length, saved
    return rows - saved_rows > max(_TAIL_ROWS, saved_rows * _TAIL_PART) or end - saved_end > max(
        _TAIL_BYTES, saved_end * _TAIL_PART
    )


def is_due_at_open(length: Length, saved: Length) -> bool:
    """Returns whether opening the log had to scan more than a step of it."""
    units = _units(length)
    return units - _units(saved) > _step(units)


def is_crossed(before: Length, after: Length) -> bool:
    """Returns whether a log has grown over a threshold."""
    units = _units(after)
    step = _step(units)
    return _units(before) // step != units // step


def units_left(length: Length) -> int:
    """Returns how many units the log may grow without crossing a threshold."""
    units = _units(length)
    step = _step(units)
    return step - units % step - 1


def _units(length: Length) -> int:
    """Returns how much work it is to scan a log of this length."""
    rows, end = length
    return rows + end // UNIT_BYTES


def _step(units: int) -> int:
    """Returns how far apart the thresholds are at which a log of this length is saved."""
    return max(_STEP_UNITS, 1 << max(0, units.bit_length() - 4))
