"""Draws a session entry by entry: each on one line with its size and id, or with its whole text as Markdown.

The Markdown is that of `export --to markdown`. On a terminal, its lines are broken before they reach the edge, so that
the tree stays whole. In a file or a pipe they stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator

from convtree._cli.describe import describe
from convtree._cli.entry_times import EntryTimes, clock_of
from convtree._cli.leaf_view import LeafView
from convtree._cli.line_layout import fit_columns, id_length, readable_cost, readable_number
from convtree._cli.strands import Strand, strands
from convtree._cli.terminal import Terminal, readable_size, wrap
from convtree._engine import tree
from convtree._engine.outline import Changed, changed_fields
from convtree._formats.documents.markdown import paragraphs
from convtree._model.batches import batched
from convtree._model.entries import BranchSummaryEntry, CompactionEntry, Entry, LostEntry, MessageEntry
from convtree._model.terminal_text import escape_controls
from convtree._model.usage import usage_of, usage_stored_in

_KIND_CELLS, _SIZE_CELLS = 10, 5
_TIME_CELLS, _DAY_CELLS = 6, 17  # `14:03 ` and `2025-11-21 14:03 `
_LONGEST_ID = 36  # that is shown whole: a UUID, the id of most other tools
_MIN_TEXT_CELLS = 8
#: columns of a terminal from which on there are sizes and whole ids, and times; and days, too
_SIZES_FROM, _TIMES_FROM, _DAYS_FROM = 60, 80, 110


class EntryLines:
    """The lines of a drawing by entry. With `full`, every entry has its whole text."""

    def __init__(self, view: LeafView, terminal: Terminal, times: EntryTimes, *, full: bool) -> None:
        self._view = view
        self._terminal = terminal
        self._times = times
        self._full = full
        ids = [entry.id for entry in view.sample]
        self._id_length = None if terminal.width >= _SIZES_FROM else id_length(ids)
        longest = max((terminal.cells(self._short(id)) for id in ids), default=0)
        self._id_cells = min(longest, _LONGEST_ID, terminal.width // 2)

    def tree(self) -> Iterator[str]:
        """Yields the tree."""
        view = self._view
        for number, strand in enumerate(strands(view.outline, view.leaf, view.active, self._terminal.signs)):
            if number and strand.parent < 0:
                yield ""
            yield from self._strand(strand)

    def path(self, rows: list[int]) -> Iterator[str]:
        """Yields the entries of a path."""
        if rows:
            yield from self._strand(Strand(rows, "", "", "", False, self._view.outline.tree.parents[rows[0]]))

    def _strand(self, strand: Strand) -> Iterator[str]:
        signs, lead = self._terminal.signs, strand.lead
        if strand.parent == tree.MISSING:
            yield from self._indented(self._view.gap_above(strand.rows[0]), "", "bad")
        for batch in batched(strand.rows):
            for row, entry in zip(batch, self._view.entries(batch), strict=True):
                goes_on = strand.goes_on or row != strand.rows[-1]
                if self._full:
                    below = strand.indent + (signs.vertical if goes_on else signs.blank)
                    yield from self._whole(row, entry, lead, below)
                else:
                    yield self._line(row, entry, lead)
                lead = strand.indent

    def _line(self, row: int, entry: Entry | None, lead: str) -> str:
        """Returns an entry on one line: sign, time, kind, remarks, text, size and id."""
        terminal = self._terminal
        tail = "" if entry is None else f"  {terminal.cut(self._short(entry.id), self._id_cells, fill=True)}"
        if terminal.width >= _SIZES_FROM:
            tail = f"  {readable_size(self._view.outline.tree.lengths[row]):>{_SIZE_CELLS}}{tail}"
        clock = self._clock(entry)
        lead = fit_columns(lead, terminal)
        room = max(terminal.width - len(lead) - 2 - len(clock) - terminal.cells(tail), 0)
        if entry is None or isinstance(entry, LostEntry):
            said = self._said("", "", self._remarks(row, []), self._view.gap_at(row, entry), room)
        else:
            described = describe(entry, self._changed(row))
            style = described.kind if isinstance(entry, MessageEntry) else "entry"
            said = self._said(described.kind, style, self._remarks(row, described.remarks), described.gist, room)
        return f"{lead}{self._sign(row)} {terminal.paint(clock, 'dim')}{said}{terminal.paint(tail.rstrip(), 'dim')}"

    def _said(self, kind: str, style: str, remarks: str, text: str, room: int) -> str:
        """Returns what the line of an entry says, in exactly so many columns. What is missing has no kind."""
        terminal = self._terminal
        if kind:
            kind = terminal.cut(escape_controls(kind), min(_KIND_CELLS, max(room - 1, 0)), fill=True) + " "
        room -= terminal.cells(kind)
        remarks = terminal.cut(remarks, room)
        text = terminal.cut(escape_controls(text), room - terminal.cells(remarks), fill=True)
        text = text if kind else terminal.paint(text, "bad")
        return f"{terminal.paint(kind, style)}{terminal.paint(remarks, 'note')}{text}"

    def _short(self, id: str) -> str:
        """Returns an id, in a narrow terminal the beginning that is enough to find the entry."""
        return escape_controls(id)[: self._id_length]

    def _clock(self, entry: Entry | None) -> str:
        width = self._terminal.width
        if width < _TIMES_FROM:
            return ""
        time = None if entry is None else self._times.read(entry.timestamp)
        has_day = width >= _DAYS_FROM
        return " " * (_DAY_CELLS if has_day else _TIME_CELLS) if time is None else f"{clock_of(time, day=has_day)} "

    def _whole(self, row: int, entry: Entry | None, lead: str, below: str) -> Iterator[str]:
        """Yields an entry with its whole text: a heading, a line of facts, and its paragraphs."""
        terminal = self._terminal
        heading, style, body = self._document(row, entry)
        mark = " (leaf)" if row == self._view.leaf else ""
        lead, below = fit_columns(lead, terminal), fit_columns(below, terminal)
        yield f"{lead}{self._sign(row)} {terminal.paint(escape_controls(heading), style)}{terminal.paint(mark, 'note')}"
        yield from self._indented(", ".join(self._facts(row, entry)), below, "dim")
        for paragraph in body:
            yield below.rstrip()
            yield from self._indented(paragraph, below)
        yield below.rstrip()

    def _document(self, row: int, entry: Entry | None) -> tuple[str, str, list[str]]:
        """Returns the heading of an entry, its style, and its paragraphs."""
        view = self._view
        if entry is None or isinstance(entry, LostEntry):
            known = [] if entry is None else [describe(entry).whole]
            return "## Missing", "bad", [view.gap_at(row, entry), *known]
        changed = changed_fields(view.outline, row).get("visible_to")
        heading, *body = list(paragraphs(entry, changed, view.labels.get(row))) or [
            f"## {describe(entry).kind.capitalize()}"
        ]
        if isinstance(entry, MessageEntry):
            return heading, entry.role or "", body
        if isinstance(entry, CompactionEntry | BranchSummaryEntry) or not body:
            body = [describe(entry).whole]  # a document leaves out what a summary keeps, and who wrote it
        return heading, "entry", body

    def _facts(self, row: int, entry: Entry | None) -> Iterator[str]:
        if entry is not None:
            yield self._times.text(entry.timestamp)
            yield entry.id
        yield readable_size(self._view.outline.tree.lengths[row])
        if entry is not None and (spent := usage_stored_in(entry)) is not None:
            usage = usage_of(spent)
            yield f"{readable_number(usage.total_tokens)} tokens"
            if usage.cost:
                yield f"cost {readable_cost(usage.cost)}"

    def _indented(self, text: str, below: str, style: str = "") -> Iterator[str]:
        for line in escape_controls(text, lines=True).split("\n"):
            pieces = [line]
            if self._terminal.is_terminal:
                pieces = wrap(line, max(self._terminal.width - len(below), _MIN_TEXT_CELLS))
            yield from (f"{below}{self._terminal.paint(piece, style)}".rstrip() for piece in pieces)

    def _remarks(self, row: int, remarks: list[str]) -> str:
        """Returns remarks on an entry, in brackets."""
        view = self._view
        found = ["leaf"] if row == view.leaf else []
        found += [f'"{view.labels[row]}"'] if row in view.labels else []
        found += remarks
        return f"({escape_controls(', '.join(found))}) " if found else ""

    def _changed(self, row: int) -> Changed:
        return self._view.outline.visibility.get(row, (None, None))

    def _sign(self, row: int) -> str:
        sign = self._view.sign(row, self._terminal.signs)
        return self._terminal.paint(sign, "active") if row in self._view.active else sign
