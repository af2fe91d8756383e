"""The shape of a conversation: who is whose parent. Pure.

One invariant carries this module: a parent is added before its child, so a parent's row is always smaller than its
child's. Hence no cycle can exist, and no walk needs a visited set, a depth limit or recursion. Everything is kept in
plain columns, a few dozen bytes a row, one row per record of the log.

Each row also links to the nearest row at or above it that matters for a context (a compaction, a pinned message, a
model, settings, extension data, a fault), so that a context costs what it holds, not the length of its history.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from hashlib import blake2b

ROOT = -1  # the parent of a first entry
MISSING = -2  # the parent of an orphan
NONE = -1  # no such row

KIND = 0b0000_0111  # the part of a row's kind that says what it is
MESSAGE, COMPACTION, BRANCH_SUMMARY, MODEL_CHANGE, EXTENSION_DATA, OPAQUE, MARK = range(7)
HIDDEN = 0b0000_1000  # a message that is not for the model
PINNED = 0b0001_0000
NAMES_MODEL = 0b0010_0000
HAS_SETTINGS = 0b0100_0000
CRITICAL = 0b1000_0000

_64_BITS = 2**64 - 1


class Tree:
    """Columns over the records of a log. `same_id(row, id)` answers from the log whether a row has that id.

    `salt` is a secret number: without it, who chooses ids chooses where they collide.
    """

    def __init__(self, same_id: Callable[[int, str], bool], salt: int = 0x9E37_79B9_7F4A_7C15) -> None:
        self._same_id = same_id
        self._salt = salt | 1
        self.offsets = array("Q")
        self.lengths = array("I")
        self.kinds = array("B")
        self.parents = array("i")
        self.compactions = array("i")
        self.pins = array("i")
        self.models = array("i")
        self.settings = array("i")
        self.states = array("i")
        self.faults = array("i")
        self._links = (self.compactions, self.pins, self.models, self.settings, self.states, self.faults)
        self._hashes = array("Q")
        self._slots = array("i", [NONE]) * 64
        self._shift = 64 - 6  # the slots are numbered by the upper bits of a product
        self._last_child = array("i")
        self._older_sibling = array("i")
        self._newest_root = NONE

    def __len__(self) -> int:
        return len(self.parents)

    # --- growing ---

    def add(self, id: str, parent: int, kind: int, offset: int, length: int) -> int:
        """Adds a record below the row `parent`; returns its row. The caller has made sure that the id is new."""
        row = len(self.parents)
        self.offsets.append(offset)
        self.lengths.append(length)
        self.kinds.append(kind)
        self.parents.append(parent)
        for column in self._links:  # as the parent has it
            column.append(column[parent] if parent >= 0 else NONE)
        if kind or parent == MISSING:  # most rows are plain messages, which nothing links to
            self._link(row, parent, kind)
        self._remember(id, row)
        return row

    def _link(self, row: int, parent: int, kind: int) -> None:
        """Links a row to itself in the columns of what it is."""
        what = kind & KIND
        matters = (
            what == COMPACTION,
            kind & PINNED,
            kind & NAMES_MODEL,
            kind & HAS_SETTINGS,
            what == EXTENSION_DATA,
            parent == MISSING or kind & CRITICAL,
        )
        for column, here in zip(self._links, matters, strict=True):
            if here:
                column[row] = row

    # --- finding ---

    def find(self, id: str) -> int | None:
        """Returns the row of an id, entry or mark."""
        hashed = _hash(id)
        slots, hashes = self._slots, self._hashes
        slot = (hashed * self._salt & _64_BITS) >> self._shift
        while (row := slots[slot]) != NONE:
            if hashes[row] == hashed and self._same_id(row, id):
                return row
            slot = (slot + 1) % len(slots)
        return None

    def is_node(self, row: int) -> bool:
        """Tells an entry from a mark."""
        return self.kinds[row] & KIND != MARK

    def _remember(self, id: str, row: int) -> None:
        self._hashes.append(_hash(id))
        if 2 * len(self._hashes) > len(self._slots):
            self._slots = array("i", [NONE]) * (2 * len(self._slots))
            self._shift -= 1
            for each in range(row):
                self._place(each)
        self._place(row)

    def _place(self, row: int) -> None:
        slots = self._slots
        slot = (self._hashes[row] * self._salt & _64_BITS) >> self._shift
        while slots[slot] != NONE:
            slot = (slot + 1) % len(slots)
        slots[slot] = row

    # --- walking ---

    def walk_up(self, row: int) -> Iterator[int]:
        """Yields the row, its parent, and so on; ends at a first entry or at an orphan."""
        parents = self.parents
        while row >= 0:
            yield row
            row = parents[row]

    def path(self, row: int) -> list[int]:
        """Returns the rows from the first entry down to `row`."""
        rows = list(self.walk_up(row))
        rows.reverse()
        return rows

    def is_ancestor(self, above: int, row: int) -> bool:
        """Tells whether `above` lies on the path to `row`, itself included."""
        while row > above:
            row = self.parents[row]
        return row == above

    def common_ancestor(self, a: int, b: int) -> int:
        """Returns the last row that two paths share, or ROOT."""
        parents = self.parents
        while a != b:
            if a < 0 or b < 0:
                return ROOT
            if a > b:
                a = parents[a]
            else:
                b = parents[b]
        return max(a, ROOT)

    def children(self, row: int) -> list[int]:
        """Returns the children in log order; ROOT has the first entries. Orphans are nobody's children."""
        self._index_children()
        child = self._newest_root if row == ROOT else self._last_child[row]
        rows = []
        while child != NONE:
            rows.append(child)
            child = self._older_sibling[child]
        rows.reverse()
        return rows

    def leaves(self) -> list[int]:
        """Returns the entries without children, in log order."""
        self._index_children()
        last_child = self._last_child
        return [row for row in range(len(last_child)) if last_child[row] == NONE and self.is_node(row)]

    def tip(self, row: int) -> int:
        """Returns the last added row at or below `row`; it has no children, because a child is added later."""
        self._index_children()
        newest, stack = row, [row]
        while stack:
            row = stack.pop()
            newest = max(newest, row)
            child = self._last_child[row]
            while child != NONE:
                stack.append(child)
                child = self._older_sibling[child]
        return newest

    def siblings(self, row: int) -> list[int]:
        """Returns the messages with the same nearest message above as `row`, itself included, in log order."""
        above = self.parents[row]
        while above >= 0 and self.kinds[above] & KIND != MESSAGE:
            above = self.parents[above]
        if above == MISSING:
            return [row]
        found, stack = [], self.children(above)
        while stack:
            each = stack.pop()
            if self.kinds[each] & KIND == MESSAGE:
                found.append(each)
            else:
                stack.extend(self.children(each))
        return sorted(found)

    def _index_children(self) -> None:
        """Brings the columns of children up to date; they are not built before someone asks."""
        last_child, older_sibling, parents = self._last_child, self._older_sibling, self.parents
        for row in range(len(last_child), len(parents)):
            last_child.append(NONE)
            parent = parents[row]
            if parent >= 0:
                older_sibling.append(last_child[parent])
                last_child[parent] = row
            elif parent == ROOT and self.is_node(row):
                older_sibling.append(self._newest_root)
                self._newest_root = row
            else:
                older_sibling.append(NONE)


def _hash(id: str) -> int:
    """Returns 64 bits of an id: its own value when it has our form, else a digest."""
    if len(id) == 16 and id.islower() and id.isalnum():  # AbC, a_bc and abc must not share a hash: ids are hostile
        try:
            return int(id, 16)
        except ValueError:
            pass
    return int.from_bytes(blake2b(id.encode(errors="replace"), digest_size=8).digest())
