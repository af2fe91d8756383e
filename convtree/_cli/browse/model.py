"""A session that is being looked at: reads it, and knows what is listed. No screen; its calls may take long.

Screens call it in threads. It never holds the lock of the session for longer than a batch of entries takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from convtree._catalogue.titles import title_of
from convtree._cli.browse.blocks import Block, blocks_of, text_of_blocks
from convtree._cli.browse.listing import Line, Listing, Look, Mode, build_listing
from convtree._cli.browse.shape import Kind, Shape
from convtree._cli.browse.source import Source
from convtree._cli.browse.words import Words, group_words, missing_words, words_of
from convtree._cli.describe import describe
from convtree._cli.render import count
from convtree._cli.times import LocalTime, time_text
from convtree._engine import tree
from convtree._formats.common.gaps import gaps_in
from convtree._messages.said import read
from convtree._model.batches import batched
from convtree._model.entries import Entry, LostEntry, MessageEntry
from convtree._model.errors import BrokenPath, ConvtreeError
from convtree._model.usage import usage_of
from convtree._session.session import Session
from convtree._tools.gaps import MendedSession

BATCH = 200  # entries that are read at once; meanwhile others wait for the session
_MOST_SEARCHED = 6_400  # entries that a step of a search looks at
_BEGINNING = 40  # entries that are read for a title
_ABOVE = 20  # entries above a result that are read for the name of its tool
_NAMED = 40  # entries of a group that are read for the names of its tools


class Message(NamedTuple):
    """An entry to show: facts about it in lines, and what it says."""

    facts: list[str]
    blocks: list[Block]


class SessionModel:
    """A session, the shape of its tree, and which lines are wanted.

    `shape` and `look` are replaced as a whole, so another thread sees the old or the new one. With gaps allowed,
    `seen` is the session with its gaps in their places; else it is the session itself.
    """

    def __init__(self, source: Source, session: Session, title: str | None = None) -> None:
        self.source = source
        self.session = session
        self._see()
        self.shape = Shape(self.seen.outline())
        self._title = title or self._first_request()
        self.look = Look()
        self.labels = self._labels()

    @property
    def is_damaged(self) -> bool:
        """Whether the log has a problem that was found so far."""
        return any(finding.severity == "error" for finding in self.session.findings)

    @property
    def title(self) -> str:
        """The name of the session, else the title that it was opened with, else its id."""
        return self.session.name or self._title or self.session.id

    @property
    def allows_gaps(self) -> bool:
        """Whether a damaged session is shown as far as it can be read."""
        return self.source.allows_gaps

    def close(self) -> None:
        """Closes the session."""
        self.session.close()

    # --- reading ---

    def look_at(self, rows: list[int]) -> None:
        """Finds out what some entries are."""
        shape = self.shape
        for some in batched(rows, BATCH):
            shape.look_at(some, shape.outline.entries(some))

    def listing(self) -> Listing:
        """Returns the lines that are wanted."""
        return build_listing(self.shape, self.look)

    def refresh(self) -> bool:
        """Reads what was appended since; returns whether that was anything.

        What was known of the entries stays, unless the log was replaced.
        """
        before = self.shape
        columns = before.outline.tree
        appended = self.session.refresh()
        if not appended and len(columns) == len(before.kinds):
            return False
        self._see()
        outline = self.seen.outline()
        is_same = outline.tree is columns
        self.shape = Shape(outline, before if is_same else None)
        self.labels = self._labels()
        if not is_same:
            self.look = Look(self.look.mode)
        self.look_at([row for row in self.shape.rows() if self.shape.kinds[row] == Kind.UNREAD])
        return True

    def words(self, listing: Listing, lines: Iterable[Line], sought: str) -> list[tuple[Line, Words]]:
        """Returns lines in words."""
        shape = self.shape
        outline = shape.outline
        wanted = list(lines)
        singles = [line for line in wanted if not line.is_group]
        entries = outline.entries([line.row for line in singles])
        found = [
            (line, self._words(shape, line.row, entry, sought)) for line, entry in zip(singles, entries, strict=True)
        ]
        for line in wanted:
            if line.is_group:
                rows = listing.groups[line.row]
                calls = sum(shape.calls[row] for row in rows)
                found.append((line, group_words(rows, outline.entries(rows[:_NAMED]), calls)))
        return found

    def message(self, line: Line, listing: Listing) -> Message:
        """Returns the entry of a line with facts about it; for a group of tools, what all its first entries say."""
        rows = listing.groups[line.row] if line.is_group else [line.row]
        entries = self.shape.outline.entries(rows[:_NAMED])
        if entries[0] is None or isinstance(entries[0], LostEntry):
            return self._missing(line.row, entries[0])
        names = self._names(line.row, entries)
        blocks = [block for entry in entries if entry is not None for block in blocks_of(entry, names)]
        if more := len(rows) - len(entries):
            blocks.append(Block("plain", "", f"{count(more, 'entries')} more; space unfolds them"))
        return Message(list(self._facts(line.row, entries[0])), blocks)

    def id_of(self, row: int) -> str:
        """Returns the id of an entry."""
        return _id_in(self.shape, row)

    def sibling(self, row: int, step: int) -> int | None:
        """Returns the row of the alternative that many places after this one, or before; None if there is none."""
        rows = self._siblings(row)
        at = rows.index(row) + step if row in rows else -1
        return rows[at] if 0 <= at < len(rows) else None

    def search(self, text: str) -> Iterator[frozenset[int]]:
        """Yields the entries whose words contain a text, more and more of them. Case does not matter."""
        sought, outline = text.casefold(), self.shape.outline
        found: set[int] = set()
        step = BATCH
        rows = list(self.shape.rows())
        while rows:
            some, rows = rows[-step:], rows[:-step]
            for batch in batched(some, BATCH):
                for row, entry in zip(batch, outline.entries(batch), strict=True):
                    if entry is not None and self._says(row, entry, sought):
                        found.add(row)
            step = min(2 * step, _MOST_SEARCHED)
            yield frozenset(found)

    # --- what is listed ---

    def set_mode(self, mode: Mode) -> None:
        """Chooses which entries are listed."""
        self.look = self.look._replace(mode=mode)

    def toggle(self, line: Line, listing: Listing, fold: bool | None = None) -> bool:
        """Folds or unfolds what begins at a line; with `fold`, only in that direction. Returns whether it changed."""
        if not line.folds:
            return False
        look, row = self.look, line.row
        is_folded = bool(line.hidden)
        if fold is is_folded:
            return False
        if line.is_group:
            opened = frozenset(listing.groups) if look.opened is None else look.opened
            self.look = look._replace(opened=opened ^ {row})
        else:
            self.look = look._replace(folded=look.folded ^ {row})
        return True

    def fold_all(self) -> None:
        """Folds every turn, side branch and group."""
        shape = self.shape
        runs = shape.outline.runs
        prompts = {row for row, kind in enumerate(shape.kinds) if kind == Kind.PROMPT}
        sides = {runs[number].rows[0] for number, is_side in zip(shape.order, shape.sides, strict=True) if is_side}
        self.look = self.look._replace(folded=frozenset(prompts | sides), opened=frozenset())

    def unfold_all(self) -> None:
        """Unfolds everything."""
        self.look = self.look._replace(folded=frozenset(), opened=None)

    # --- changes ---

    def label(self, shape: Shape, row: int, text: str) -> None:
        """Sets the label of an entry; an empty text clears it."""
        self.source.label(self.session, _id_in(shape, row), text or None)
        self.refresh()

    def fork(self, shape: Shape, row: int, path: str) -> SessionModel:
        """Copies the path to an entry into a new session, and opens that."""
        source = self.source.fork(self.session, _id_in(shape, row), path)
        return SessionModel(source, source.open())

    # --- helpers ---

    def _see(self) -> None:
        """Puts gaps in their places, if that is wanted."""
        if self.allows_gaps:
            mended = MendedSession(self.session)
            self.seen, self.gaps = mended.session, mended.gaps
        else:
            self.seen, self.gaps = self.session, gaps_in(self.session.findings)

    def _missing(self, row: int, entry: LostEntry | None) -> Message:
        """Returns what is known of an entry that is lost, or that cannot be read."""
        facts = [self.gaps.in_row(self.shape.outline, row, entry)]
        return Message(facts, []) if entry is None else Message([*facts, f"id {entry.id}"], blocks_of(entry))

    def _first_request(self) -> str | None:
        """Returns what a person asked at the beginning of the log."""
        first = self.shape.outline.entries(list(islice(self.shape.rows(), _BEGINNING)))
        said = (entry for entry in first if isinstance(entry, MessageEntry) and entry.role == "user")
        return title_of(None, (text for entry in said if (text := entry.text.strip())))

    def _labels(self) -> dict[int, str]:
        outline = self.shape.outline
        rows = ((outline.row(id), text) for id, text in self.seen.labels.items())
        return {row: text for row, text in rows if row is not None}

    def _words(self, shape: Shape, row: int, entry: Entry | None, sought: str) -> Words:
        if entry is None or isinstance(entry, LostEntry):
            return missing_words(self.gaps.in_row(shape.outline, row, entry), self._remarks(row))
        changed = shape.outline.visibility.get(row, (None, None))
        return words_of(entry, shape.kinds[row], changed, self._remarks(row), sought)

    def _remarks(self, row: int) -> list[str]:
        """Returns what is known of an entry besides what it says: its label, and what is missing above it."""
        remarks = [f'"{self.labels[row]}"'] if row in self.labels else []
        outline = self.shape.outline
        is_orphan = outline.tree.parents[row] == tree.MISSING
        return [*remarks, self.gaps.above_row(outline, row)] if is_orphan else remarks

    def _names(self, row: int, entries: list[Entry | None]) -> dict[str, str]:
        """Returns the names of the tools that some entries call, and those just above the first one, by call."""
        outline = self.shape.outline
        above = outline.entries(list(islice(outline.tree.walk_up(row), _ABOVE)))
        read_in = (entry for entry in [*above, *entries] if isinstance(entry, MessageEntry))
        calls = (call for entry in read_in for call in read(entry.message, entry.shape).calls)
        return {call.id: call.name for call in calls if call.id is not None}

    def _says(self, row: int, entry: Entry, sought: str) -> bool:
        return sought in self.labels.get(row, "").casefold() or sought in text_of_blocks(blocks_of(entry)).casefold()

    def _siblings(self, row: int) -> list[int]:
        outline = self.shape.outline
        if outline.tree.kinds[row] & tree.KIND != tree.MESSAGE:
            return [row]
        try:
            found = [outline.row(entry.id) for entry in self.seen.siblings(_id_in(self.shape, row))]
        except BrokenPath:  # one of them cannot be read; that must not hide this one
            return [row]
        return [each for each in found if each is not None]

    def _facts(self, row: int, entry: Entry) -> Iterator[str]:
        """Yields lines about an entry: who, when and what it cost; its place; its id."""
        described = describe(entry, self.shape.outline.visibility.get(row, (None, None)))
        facts = [described.kind, time_text(entry.timestamp, LocalTime()) or "no time"]
        if isinstance(entry, MessageEntry):
            facts += filter(None, (" ".join(filter(None, (entry.provider, entry.model))), _usage(entry)))
        yield ", ".join(facts)
        siblings = self._siblings(row)
        place = [f"alternative {siblings.index(row) + 1}/{len(siblings)}"] if len(siblings) > 1 else []
        place += [*self._remarks(row), *described.remarks]
        place += ["the leaf: the next append goes below it"] if row == self.shape.outline.leaf else []
        if place:
            yield ", ".join(place)
        yield f"id {entry.id}"


def _id_in(shape: Shape, row: int) -> str:
    """Returns the id of an entry.

    Raises:
        ConvtreeError: it cannot be read, or the log was replaced since the shape was made.
    """
    (entry,) = shape.outline.entries([row])
    if entry is None:
        raise ConvtreeError("this entry cannot be read; choose another one")
    return entry.id


def _usage(entry: MessageEntry) -> str:
    """Returns the tokens and the cost of an answer in words."""
    if not entry.usage:
        return ""
    used = usage_of(entry.usage)
    cost = f", {used.cost:.4f}" if used.cost else ""
    return f"{count(used.total_tokens, 'tokens')}{cost}" if used.total_tokens or used.cost else ""
