"""Where entries are missing from a conversation, and the words for it. Pure.

A log may be damaged, or have lost a line. Then an entry on a path is lost, cannot be read, or has no parent.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import NamedTuple

from convtree._engine.outline import Outline
from convtree._formats.common.base import Exported
from convtree._model.entries import Entry, Finding, LostEntry

_DAMAGED = frozenset({"bad_seal", "bad_line", "nul_bytes", "line_too_long"})
_NAMED = 3  # lines that are named


class Gap(LostEntry, frozen=True, kw_only=True):
    """Stands for entries that are missing from a path. `words` say so to people."""

    words: str


class Unplaced(NamedTuple):
    """What is known of an entry that is missing, and of which no line says where it stood.

    Attributes:
        child_id: the first entry below it.
        before: how many entries of the log stand before that one; none of them is known to be above it.
    """

    child_id: str
    before: int


class Gaps(NamedTuple):
    """What is missing from a log, by the lines of the log as it is.

    Attributes:
        lost: the lines of lost entries, by their ids.
        orphans: the lines of entries without a parent, by their ids.
        loose: the damaged lines whose places in the tree are not known.
        unplaced: the entries that orphans name as their parents, by their ids.
    """

    lost: Mapping[str, int]
    orphans: Mapping[str, int]
    loose: Sequence[int]
    unplaced: Mapping[str, Unplaced] = {}

    def among(self, ids: Container[str]) -> Gaps:
        """Returns what is missing of some entries."""
        unplaced = {id: each for id, each in self.unplaced.items() if id in ids}
        children = {each.child_id for each in unplaced.values()}
        return Gaps(
            {id: line for id, line in self.lost.items() if id in ids},
            {id: line for id, line in self.orphans.items() if id in children},
            self.loose if unplaced else [],
            unplaced,
        )

    def __bool__(self) -> bool:
        return bool(self.lost or self.orphans or self.loose)

    def in_row(self, outline: Outline, row: int, entry: Entry | None) -> str:
        """Returns the words for an entry that is lost, or that cannot be read."""
        if entry is not None:
            return self.at(entry.id)
        return f"[1 message is missing here: the line at offset {outline.tree.offsets[row]} is damaged]"

    def above_row(self, outline: Outline, row: int) -> str:
        """Returns the words for what is missing above an entry without its parent."""
        (entry,) = outline.entries([row])
        return self.above("" if entry is None else entry.id)

    def at(self, entry_id: str) -> str:
        """Returns the words for a lost entry."""
        if (unplaced := self.unplaced.get(entry_id)) is not None:
            return self.above(unplaced.child_id, unplaced.before)
        return words_at([self.lost[entry_id]] if entry_id in self.lost else [])

    def above(self, entry_id: str, before: int = 0) -> str:
        """Returns the words for what is missing above an entry without its parent; `before` is as in `Unplaced`."""
        place = _lines(self.loose)
        if not place and entry_id in self.orphans:
            place = f"above {_lines([self.orphans[entry_id]])}"
        if place and before:
            stand = "entry before it stands" if before == 1 else "entries before it stand"
            place += f"; {before:,} {stand} in the log and cannot be joined to this branch"
        return f"[messages are missing here: {place}]" if place else "[messages are missing here]"


NO_GAPS = Gaps({}, {}, ())


def gaps_of(session: Exported) -> Gaps:
    """Returns what is missing from a session that is read with its gaps. Of any other session, nothing is known."""
    found: Gaps = getattr(session, "gaps", NO_GAPS)
    return found


def words_at(lines: Sequence[int]) -> str:
    """Returns the words for a message that is missing; `lines` are what is known of its place."""
    return f"[1 message is missing here: {_lines(lines)}]" if lines else "[1 message is missing here]"


def gaps_in(findings: Iterable[Finding], placed: Iterable[Finding] = ()) -> Gaps:
    """Returns what is missing by the findings of a log. `placed` are those whose lines have places in the tree."""
    found, known = list(findings), list(placed)
    by_id = {finding.entry_id: finding.line for finding in known if finding.entry_id is not None}
    by_id |= {each.entry_id: each.line for each in found if each.code == "lost_entry" and each.entry_id is not None}
    orphans = {each.entry_id: each.line for each in found if each.code == "orphan" and each.entry_id is not None}
    taken = {finding.offset for finding in known}
    loose = [each.line for each in found if each.code in _DAMAGED and each.offset not in taken]
    return Gaps(by_id, orphans, loose)


def count_missing(gaps: Gaps) -> str:
    """Returns how many entries are missing from a log, and where; empty if the damage has cost no entry.

    A damaged line without a place may be the parent that an orphan names: the larger of both numbers counts.
    """
    number = len(gaps.lost) + max(len(gaps.loose), len(gaps.unplaced))
    lines = sorted({*gaps.lost.values(), *gaps.loose})
    place = _lines(lines)
    if not lines and gaps.orphans:
        place = f"above {_lines(sorted(gaps.orphans.values()))}"
    counted = f"{number:,} {'entry is' if number == 1 else 'entries are'} missing"
    return f"{counted}: {place}" if number else ""


def _lines(lines: Sequence[int]) -> str:
    if not lines:
        return ""
    shown = [f"{line:,}" for line in lines[:_NAMED]]
    more = f" and {len(lines) - _NAMED:,} more" if len(lines) > _NAMED else ""
    return f"{'lines' if len(lines) > 1 else 'line'} {', '.join(shown)}{more}"
