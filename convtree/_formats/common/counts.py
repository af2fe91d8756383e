"""Usage that a tool reports more than once for one answer: each report counts for what it adds. Pure."""

from __future__ import annotations

from typing import Any

from convtree._formats.common.values import as_object


class ReportedUsage:
    """The counts reported so far, by answer. A count that is smaller than before adds nothing."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, int]] = {}
        self._others: dict[str, dict[str, Any]] = {}

    def added(self, answer: str, usage: Any) -> dict[str, Any] | None:
        """Returns what a usage object adds to those recorded for the same answer; None if nothing.

        Without one before, the object as it is.
        """
        reported, before = as_object(usage), self._counts.get(answer)
        if before is None:
            return reported or None
        numbers = _numbers(reported)
        return {name: value - before.get(name, 0) for name, value in numbers if value > before.get(name, 0)} or None

    def others(self, answer: str, usage: dict[str, Any]) -> dict[str, Any]:
        """Returns what a usage object has beside counts and the one before, of the same answer, had not."""
        found = {name: value for name, value in usage.items() if type(value) is not int}
        before = self._others.get(answer, found)
        self._others[answer] = found
        return {} if before == found else {name: value for name, value in found.items() if before.get(name) != value}

    def record(self, answer: str, usage: Any) -> dict[str, Any] | None:
        """Records a usage object; returns what it adds."""
        added = self.added(answer, usage)
        if added is not None:
            before = self._counts.setdefault(answer, {})
            for name, value in _numbers(as_object(usage)):
                before[name] = max(value, before.get(name, value))
        return added


def _numbers(usage: dict[str, Any]) -> list[tuple[str, int]]:
    return [(name, value) for name, value in usage.items() if type(value) is int]
