"""What a person sees of a tree: its entries without what is meant for a model or a program alone. Pure.

A message counts if a person would call it one: who sees it now, marks included, is "all" or "user", and it is not an
instruction (`system`, `developer`). Two such messages are alternatives if the nearest such message above them is the
same, whatever lies in between: a model change, a note for the model, a hidden message. So the switcher between two
answers stays when something else was stored between question and answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, cast

from convtree._engine import tree
from convtree._engine.log_index import Index
from convtree._engine.path_rows import is_seen_by
from convtree._engine.upwards import entries_up
from convtree._model.batches import BATCH
from convtree._model.entries import Entry, MessageEntry
from convtree._model.errors import BrokenPath
from convtree._model.notes import INSTRUCTS

_BATCH_OF_SIBLINGS = 500


class Placed(NamedTuple):
    """An entry of a path, the ids of its alternatives and of itself in log order, and where it is among them."""

    entry: Entry
    siblings: list[str]
    at: int


class Shown:
    """Reads entries, each once, and says whether a person sees them. An entry that cannot be read is None."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self.entries: dict[int, Entry | None] = {}

    def load(self, rows: Iterable[int]) -> None:
        """Reads the messages among some rows."""
        kinds = self._index.tree.kinds
        wanted = [row for row in rows if row not in self.entries and kinds[row] & tree.KIND == tree.MESSAGE]
        try:
            self.entries.update(zip(wanted, self._index.entries(wanted), strict=True))
        except BrokenPath:
            for row in wanted:
                found = cast(list[Entry], self._index.readable_records([row]))
                self.entries[row] = found[0] if found else None

    def is_visible(self, row: int, entry: Entry) -> bool:
        """Returns whether a person may see an entry: it is not hidden from users."""
        return is_seen_by(self._index, row, entry, "user")

    def counts(self, row: int, entry: Entry) -> bool:
        """Returns whether a person would call an entry a message."""
        return isinstance(entry, MessageEntry) and self.is_visible(row, entry) and entry.role not in INSTRUCTS

    def is_end(self, row: int) -> bool:
        """Returns whether nothing can be said of what is below a row: it is lost, or a message that is damaged."""
        return self._index.tree.kinds[row] & tree.KIND == tree.LOST or self.entries.get(row, self) is None


def placed(index: Index, leaf: int, last: int | None) -> list[Placed]:
    """Returns the visible entries of a path with their alternatives, first to last; the last few unless None.

    Raises:
        BrokenPath: among what is looked at, an entry is lost, a parent is missing, or a line was damaged.
    """
    shown, visible = Shown(index), list[tuple[int, Entry]]()
    above: dict[int, int] = {}  # by row of a message that counts, that of the next one above it
    below = tree.NONE
    for row, entry in entries_up(index, leaf, Entry, BATCH if last is None else last + 1):
        shown.entries[row] = entry
        is_enough = last is not None and len(visible) >= last
        if shown.counts(row, entry):
            if below != tree.NONE:
                above[below] = row
            below = tree.NONE if is_enough else row
        if is_enough and below == tree.NONE:
            break
        if not is_enough and shown.is_visible(row, entry):
            visible.append((row, entry))
    if below != tree.NONE:
        above[below] = tree.ROOT
    visible.reverse()
    found: list[Placed] = []
    groups = _siblings(index, shown, set(above.values()))
    for row, entry in visible:
        siblings = groups[above[row]] if row in above else {row: entry.id}
        found.append(Placed(entry, list(siblings.values()), list(siblings).index(row)))
    return found


def _siblings(index: Index, shown: Shown, aboves: Iterable[int]) -> dict[int, dict[int, str]]:
    """Returns for each row, or ROOT, the messages for which it is the nearest message above: ids by row, in order."""
    columns = index.tree
    found: dict[int, dict[int, str]] = {above: {} for above in aboves}
    level = [(above, child) for above in found for child in columns.children(above)]
    while level:
        shown.load(row for _, row in level)
        deeper = []
        for above, row in level:
            entry = shown.entries.get(row)
            if entry is not None and shown.counts(row, entry):
                found[above][row] = entry.id
            elif not shown.is_end(row):
                deeper += [(above, child) for child in columns.children(row)]
        level = deeper
    return {above: dict(sorted(siblings.items())) for above, siblings in found.items()}
