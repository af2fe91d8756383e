"""Draws a session by turn: each prompt on a line, and on another one the tools and the last words of the model.

Entries are read as the drawing comes to them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from typing import NamedTuple

from convtree._cli.describe import describe, remarks_of
from convtree._cli.entry_times import EntryTimes, day_of, readable_seconds
from convtree._cli.leaf_view import LeafView
from convtree._cli.line_layout import Layout, Piece
from convtree._cli.render import count
from convtree._cli.strands import Strand, strands
from convtree._engine import tree
from convtree._formats.documents.turns import NO_MODEL, Item, Model, NewModel, Single, Turn, Turns, line_of_message
from convtree._model.batches import batched
from convtree._model.entries import CompactionEntry, Entry, LostEntry, MessageEntry
from convtree._model.terminal_text import escape_controls
from convtree._model.usage import Usage, usage_of, usage_stored_in

_ANSWER = Piece("  ")  # before what the model says
_SHOWN = 1000  # characters of a text that are looked at for a line
_SHORT = 0.95  # seconds that are not worth a word


class _Place(NamedTuple):
    """Where an item is drawn: what stands before the sign of its first line, of others, and of a line above it."""

    lead: str
    indent: str
    above: str
    goes_on: bool  # whether anything follows in this column
    number: str  # which branch of how many begins here; else empty


class TurnLines:
    """The lines of a drawing by turn. Counts what it has drawn, for the last line."""

    def __init__(self, view: LeafView, layout: Layout, times: EntryTimes) -> None:
        self._view = view
        self._layout = layout
        self._times = times
        self._signs = layout.terminal.signs
        self._pieces = {sign: Piece(sign, "" if sign == self._signs.off_path else "active") for sign in self._signs}
        self._models: dict[int, Model] = {}  # at the ends of strands that go on, by their last rows
        self._day: date | None = None
        self._prompts = self._tools = 0
        self._usage = Usage()
        self._last_id: str | None = None  # of the entry that was read last

    def tree(self) -> Iterator[str]:
        """Yields the tree, and a line with the sums."""
        view = self._view
        for number, strand in enumerate(strands(view.outline, view.leaf, view.active, self._signs)):
            if number and strand.parent < 0:
                yield ""
            yield from self._strand(strand)
        yield from self._sums()

    def path(self, rows: list[int]) -> Iterator[str]:
        """Yields the entries of a path, and a line with the sums."""
        if rows:
            yield from self._strand(Strand(rows, "", "", "", False, self._view.outline.tree.parents[rows[0]]))
        yield from self._sums()

    # --- strands ---

    def _strand(self, strand: Strand) -> Iterator[str]:
        turns = Turns(self._view.outline.visibility, self._models.get(strand.parent, NO_MODEL))
        notes: Item | None = None
        waiting: Item | None = None
        lead, above, number = strand.lead, strand.above, strand.number
        if strand.parent == tree.MISSING:
            yield self._layout.fitted([Piece(self._view.gap_above(strand.rows[0]), "bad")])
        for item in turns.group(self._entries(strand.rows)):
            if not self._is_shown(item):
                notes = notes or item
                continue
            if waiting is not None:
                yield from self._item(waiting, _Place(lead, strand.indent, above, True, number))
                lead, above, number = strand.indent, strand.indent + self._signs.vertical, ""
            waiting = item
        if waiting is None and (lead != strand.indent or not strand.goes_on):
            waiting = notes  # a branch of notes alone is a branch
        if waiting is not None:
            yield from self._item(waiting, _Place(lead, strand.indent, above, strand.goes_on, number))
        if strand.goes_on:
            self._models[strand.rows[-1]] = turns.model

    def _entries(self, rows: list[int]) -> Iterator[tuple[int, Entry | None]]:
        for batch in batched(rows):
            for row, entry in zip(batch, self._view.entries(batch), strict=True):
                self._last_id = entry.id if entry is not None else None
                yield row, entry

    def _is_shown(self, item: Item) -> bool:
        """Returns whether an item has a line. Notes alone have none, nor the first model: the summary has it."""
        match item:
            case NewModel(before=before):
                return before != NO_MODEL
            case Turn(is_silent=True, rows=rows):
                return any(row == self._view.leaf or row in self._view.labels for row in rows)
        return True

    # --- items ---

    def _item(self, item: Item, place: _Place) -> Iterator[str]:
        match item:
            case NewModel(row=row, before=before, after=after):
                names = (escape_controls(" ".join(filter(None, each))) for each in (before, after))
                piece = Piece(f"model: {' to '.join(names)}", "dim")
                sign = self._pieces[self._signs.on_path if row in self._view.active else self._signs.off_path]
                yield self._layout.line(place.lead, sign, None, [*_numbered(place), piece])
            case Single():
                yield from self._single(item, place)
            case Turn():
                yield from self._turn(item, place)

    def _single(self, item: Single, place: _Place) -> Iterator[str]:
        row, entry = item
        end = None if place.goes_on else self._last_id
        if entry is None or isinstance(entry, LostEntry):
            pieces = [*_numbered(place), *self._remarks([row], []), Piece(self._view.gap_at(row, entry), "bad")]
            yield self._layout.line(place.lead, self._sign(row), None, pieces, self._layout.tail(None, end))
            return
        time = self._times.read(entry.timestamp)
        yield from self._new_day(time, place.above)
        described = describe(entry, self._view.outline.visibility.get(row, (None, None)))
        text = line_of_message(entry) if isinstance(entry, MessageEntry) else described.gist
        kind = Piece(f"{escape_controls(described.kind)}{_tokens_of(entry)}: ", "entry")
        pieces = [*_numbered(place), *self._remarks([row], described.remarks), kind, Piece(_shown(text))]
        usage = _usage_of(entry)
        self._usage += usage
        yield self._layout.line(place.lead, self._sign(row), time, pieces, self._layout.tail(usage, end))

    def _turn(self, turn: Turn, place: _Place) -> Iterator[str]:
        self._prompts += turn.prompt is not None
        self._tools += sum(turn.tools.values())
        self._usage += turn.usage
        layout, leaf = self._layout, self._view.leaf
        said = self._said(turn)
        tail = layout.tail(turn.usage, None if place.goes_on else self._last_id)
        time = self._times.read(turn.begun)
        yield from self._new_day(time, place.above)
        row = turn.prompt_row
        if turn.prompt is None or row is None:
            sign = self._sign(leaf if leaf in turn.rows else turn.rows[0])
            yield layout.line(place.lead, sign, time, [_ANSWER, *_numbered(place), *said], tail)
            return
        changed = self._view.outline.visibility.get(row, (None, None))
        pieces = [
            *_numbered(place),
            *self._remarks([row], remarks_of(turn.prompt, changed)),
            Piece(_shown(turn.asked) or "(empty)", "user"),
        ]
        yield layout.line(place.lead, self._sign(row), time, pieces, layout.tail(None, turn.prompt.id))
        if said:
            below = Piece((self._signs.vertical if place.goes_on else self._signs.blank)[0])
            sign = self._sign(leaf) if leaf in turn.rows and leaf != row else below
            yield layout.line(place.indent, sign, None, [_ANSWER, *said], tail)

    def _said(self, turn: Turn) -> list[Piece]:
        """Returns what follows a prompt, as pieces of a line; empty if nothing does."""
        facts = _facts(turn)
        text = _shown(turn.answered)
        if turn.answer is not None and not (text or facts or turn.stopped):
            text = "(no text)"
        others = [row for row in turn.rows if row != turn.prompt_row]
        remarks = self._remarks(others, [turn.stopped] if turn.stopped is not None else [])
        return [
            *remarks,
            *([Piece(", ".join(facts) + (": " if text else ""), "dim")] if facts else []),
            *([Piece(text)] if text else []),
        ]

    def _remarks(self, rows: list[int], remarks: list[str]) -> list[Piece]:
        """Returns remarks in brackets: the leaf, labels, and these."""
        view = self._view
        found = ["leaf"] if view.leaf in rows else []
        found += [f'"{view.labels[row]}"' for row in rows if row in view.labels]
        found += remarks
        return [Piece(f"({escape_controls(', '.join(found))}) ", "note")] if found else []

    def _sign(self, row: int) -> Piece:
        return self._pieces[self._view.sign(row, self._signs)]

    # --- lines between and below ---

    def _new_day(self, time: datetime | None, above: str) -> Iterator[str]:
        """Yields a line with the day of a time, if it is another one than before."""
        if time is None or time.date() == self._day:
            return
        is_first, self._day = self._day is None, time.date()
        text = day_of(time) + (f", times in {time:%Z}" if is_first and time.tzname() else "")
        yield self._layout.fitted([Piece(above), Piece(text, "dim")], self._layout.heads() if is_first else "")

    def _sums(self) -> Iterator[str]:
        if self._prompts:
            facts = [count(self._prompts, "prompts")]
            facts += [count(self._tools, "tool calls")] if self._tools else []
            yield ""
            yield self._layout.fitted([Piece(", ".join(facts), "dim")], self._layout.tail(self._usage))


def _numbered(place: _Place) -> list[Piece]:
    return [Piece(f"{place.number} ", "dim")] if place.number else []


def _facts(turn: Turn) -> list[str]:
    """Returns what a turn is about besides its words: tools and how long they took, and what is not shown."""
    facts = []
    if turn.tools:
        facts.append(count(sum(turn.tools.values()), "tools"))
        facts += [f"{turn.failed} failed"] if turn.failed else []
        seconds = turn.tool_seconds or 0.0
        facts += [readable_seconds(seconds)] if seconds > _SHORT else []
    elif turn.results:
        facts.append(count(turn.results, "results"))
    facts += [count(turn.hidden, "hidden messages")] if turn.hidden else []
    facts += [count(len(turn.rows), "notes")] if turn.is_silent else []
    return facts


def _usage_of(entry: Entry) -> Usage:
    spent = usage_stored_in(entry)
    return Usage() if spent is None else usage_of(spent)


def _tokens_of(entry: Entry) -> str:
    """Returns how much shorter a compaction made the context."""
    if not isinstance(entry, CompactionEntry) or entry.tokens_before is None:
        return ""
    after = "" if entry.tokens_after is None else f" to {entry.tokens_after:,}"
    return f" of {entry.tokens_before:,}{after} tokens"


def _shown(text: str) -> str:
    return escape_controls(text[:_SHOWN].strip())
