"""The tree: parent links between the records of a log, in columns. Pure; it has no text and reads no line.

Invariant: a parent is added before its child, so its row is smaller. Hence there is no cycle, and no walk needs a
visited set, a depth limit or recursion. One row per record of the log, a few dozen bytes each.

Each row also links to the nearest row at or above it that matters for a context (a compaction, a pinned message, a
model, settings, extension data, a fault), so the cost of a context depends on its own length, not on that of its
history. Most rows have the links of their parent. So links have columns of their own, and a row has the number of its
links there.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping

from convtree._engine.columns import Column
from convtree._engine.id_table import IdTable

ROOT = -1  # the parent of a first entry
MISSING = -2  # the parent of an orphan
NONE = -1  # no such row

KIND = 0b0000_1111  # the part of a row's kind that says what it is
MESSAGE, COMPACTION, BRANCH_SUMMARY, MODEL_CHANGE, EXTENSION_DATA, LOST, VACUUM, OPAQUE, MARK = range(9)
HIDDEN = 1 << 4  # a message that is not for the model
PINNED = 1 << 5
NAMES_MODEL = 1 << 6  # differs from its parent's, as far as that is known
HAS_SETTINGS = 1 << 7
CRITICAL = 1 << 8
REPLACES = 1 << 9  # a message that takes the place of an entry above it

ROWS = {"offsets": "Q", "lengths": "I", "kinds": "H", "parents": "i", "links": "I", "hashes": "Q"}
LINKS = ("compactions", "pins", "models", "settings", "extension_data", "faults")
COLUMN_TYPES = ROWS | dict.fromkeys(LINKS, "i")  # every column, with its C type


class Tree:
    """Columns over the records of a log. `same_id(row, id)` answers from the log whether a row has that id.

    `salt` is a secret number; without it, a writer could choose ids that collide. `persisted` are the columns of a
    snapshot, the table of its ids (`slots`) among them.
    """

    def __init__(
        self, same_id: Callable[[int, str], bool], salt: int = 0, persisted: Mapping[str, Column] | None = None
    ) -> None:
        columns = persisted or {name: Column(code) for name, code in COLUMN_TYPES.items()}
        self._use(columns)
        self.ids = IdTable(columns["hashes"], same_id, salt, columns.get("slots"))
        self.size = len(self.parents)
        self.newest_links = self.links[self.size - 1] if self.size else 0
        self._last_child = array("i")
        self._older_sibling = array("i")
        self._newest_root = NONE
        self._indexed = 0  # rows that the three above cover

    def _use(self, columns: Mapping[str, Column]) -> None:
        self.columns = columns
        self.offsets, self.lengths, self.kinds, self.parents, self.links, _ = (columns[name] for name in ROWS)
        self.compactions, self.pins, self.models, self.settings, self.extension_data, self.faults = (
            columns[name] for name in LINKS
        )
        self._link_columns = tuple(columns[name] for name in LINKS)
        if not len(self.compactions):
            for column in self._link_columns:
                column.append(NONE)  # links number 0: to nothing

    def __len__(self) -> int:
        return self.size

    def load(self) -> None:
        """Fetches every page that is not in memory yet. After that, no query raises SnapshotDamaged."""
        for column in self.columns.values():
            column.load()

    # --- growing ---

    def add(self, id: str, parent: int, kind: int, offset: int, length: int) -> int:
        """Adds a record below the row `parent`; returns its row.

        The caller has made sure that the id is new. `bulk.add_messages` adds many at once.
        """
        row = self.size
        links = 0 if parent < 0 else self.newest_links if parent == row - 1 else self.links[parent]
        if kind or parent == MISSING:  # most rows are plain messages, which nothing links to
            links = self._link(row, links, parent, kind)
        self.ids.add(id, row)
        self.offsets.append(offset)
        self.lengths.append(length)
        self.kinds.append(kind)
        self.parents.append(parent)
        self.links.append(links)
        self.newest_links = links
        self.size = row + 1
        return row

    def replace(self, row: int, kind: int, offset: int, length: int) -> None:
        """Puts another record with the same id and parent in the place of a row.

        Makes every link anew, because those of the rows below may change. This takes as long as the log is.
        """
        own = {"kinds": kind, "offsets": offset, "lengths": length}
        columns = {name: Column(COLUMN_TYPES[name]) for name in (*own, "links", *LINKS)}
        for name, value in own.items():
            columns[name].tail.extend(self.columns[name])
            columns[name].tail[row] = value
        self._use({**self.columns, **columns})
        for each, (parent, what) in enumerate(zip(self.parents, self.kinds, strict=True)):
            links = 0 if parent < 0 else self.links[parent]
            self.links.append(self._link(each, links, parent, what) if what or parent == MISSING else links)
        self.newest_links = self.links[self.size - 1]

    def links_below(self, parent: int) -> int:
        """Returns the number of the links that a plain message below the row `parent` has."""
        return 0 if parent < 0 else self.newest_links if parent == self.size - 1 else self.links[parent]

    def _link(self, row: int, links: int, parent: int, kind: int) -> int:
        """Adds the links of a row that other rows link to; returns their number."""
        what = kind & KIND
        matters = (
            what == COMPACTION,
            kind & PINNED,
            kind & NAMES_MODEL,
            kind & HAS_SETTINGS,
            what in (EXTENSION_DATA, VACUUM),
            parent == MISSING or what == LOST or kind & CRITICAL,
        )
        if not any(matters):
            return links
        for column, here in zip(self._link_columns, matters, strict=True):
            column.append(row if here else column[links])
        return len(self.compactions) - 1

    # --- finding ---

    def find(self, id: str) -> int | None:
        """Returns the row of an id, entry or mark."""
        return self.ids.find(id)

    def is_node(self, row: int) -> bool:
        """Returns whether a row is an entry, not a mark."""
        return self.kinds[row] & KIND != MARK

    def nearest(self, what: Column, row: int) -> int:
        """Returns the nearest row at or above `row` in a column of links (`compactions`, `pins`, …), or NONE."""
        return what[self.links[row]] if row >= 0 else NONE

    # --- walking ---

    def walk_up(self, row: int) -> Iterator[int]:
        """Returns the row, its parent, and so on; ends at a first entry or at an orphan."""
        return self.parents.follow(row)

    def path(self, row: int) -> list[int]:
        """Returns the rows from the first entry down to `row`."""
        rows = list(self.walk_up(row))
        rows.reverse()
        return rows

    def is_ancestor(self, above: int, row: int) -> bool:
        """Returns whether `above` is `row` or an ancestor of it."""
        return next((each for each in self.walk_up(row) if each <= above), NONE) == above

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
        """Returns the children in log order; ROOT has the first entries. Orphans are not children of any row."""
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
        """Brings the columns of children up to date. They are built when the first query needs them."""
        last_child, older_sibling, parents = self._last_child, self._older_sibling, self.parents
        if len(last_child) != self._indexed:  # a signal came in between: the columns may not fit each other
            del last_child[:], older_sibling[:]
            self._newest_root = NONE
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
        self._indexed = len(last_child)
