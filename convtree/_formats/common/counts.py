"""Usage that a tool tells more than once for one answer: each telling counts for what it adds. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convtree._formats.common.values import as_object


def added_usage(told: Mapping[str, Any], usage: Any) -> dict[str, Any] | None:
    """Returns what a usage object adds to the one that was told before for the same answer; None if nothing.

    Without one before, the object as it is.
    """
    counts = as_object(usage)
    if not told or not counts:
        return counts or None
    numbers = {name: value for name, value in counts.items() if type(value) is int}
    before = {name: value if type(value := told.get(name)) is int else 0 for name in numbers}
    return {name: value - before[name] for name, value in numbers.items() if value > before[name]} or None
