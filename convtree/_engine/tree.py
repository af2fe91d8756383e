"""The tree: parent links between the records of a log, in columns. Pure; it has no text and reads no line.

Invariant: a parent is added before its child, so its row is smaller. Hence there is no cycle, and no walk needs a
visited set, a depth limit or recursion. One row per record of the log, a few dozen bytes each.

Each row also links to the nearest row at or above it that matters for a context (a compaction, a pinned message, a
model, settings, extension data, a fault), so the cost of a context depends on its own length, not on that of its
history. Most rows have the links of their parent. So links have columns of their own, and a row has the number of its
links there. The pinned messages of a path are a linked list whose cells are never changed: the link of a row is the
number of its first cell, and a row that replaces a pinned message has a list without it.

Nearly all rows continue the entry before them. Rows that do so without a break are a chain, and each chain has a jump
to a chain further up, as in a skew-binary list. So ancestors are found in a time logarithmic in the number of chains.
Chains are found when someone asks for an ancestor, and when a snapshot is saved.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from operator import itemgetter

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
CHAINS = ("chain_starts", "chain_depths", "chain_jumps")
PINS = ("pin_rows", "pin_nexts")  # the cells of the lists of pinned messages
REPLACEMENTS = ("replacing", "replaced")
COLUMN_TYPES = ROWS | dict.fromkeys((*LINKS, *CHAINS, *PINS, *REPLACEMENTS), "i")  # every column, with its C type
_OF_GROUPS: list[Callable[[Mapping[str, Column]], tuple[Column, ...]]] = [
    itemgetter(*names) for names in (ROWS, LINKS, CHAINS, PINS, REPLACEMENTS)
]


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
        self._chained = self.size  # rows that the chains cover
        self._chain_count = len(self.chain_starts)
        self._replacers: dict[int, list[int]] = {}  # the rows that replace a row
        self._replacers_read = 0  # how many replacements the dict above has
        self._last_child = array("i")
        self._older_sibling = array("i")
        self._newest_root = NONE
        self._indexed = 0  # rows that the three above cover

    def _use(self, columns: Mapping[str, Column]) -> None:
        self.columns = columns
        rows, links, chains, pins, replacements = [group(columns) for group in _OF_GROUPS]
        self.offsets, self.lengths, self.kinds, self.parents, self.links, _ = rows
        self.compactions, self.pins, self.models, self.settings, self.extension_data, self.faults = links
        self.chain_starts, self.chain_depths, self.chain_jumps = chains
        self.pin_rows, self.pin_nexts = pins
        self.replacing, self.replaced = replacements
        if not len(self.compactions):
            for name in LINKS:
                columns[name].append(NONE)  # links number 0: to nothing

    def __len__(self) -> int:
        return self.size

    def load(self) -> None:
        """Fetches every page that is not in memory yet. After that, no query raises SnapshotDamaged."""
        for column in self.columns.values():
            column.load()

    # --- growing ---

    def add(self, id: str, parent: int, kind: int, offset: int, length: int, replaced: int = NONE) -> int:
        """Adds a record below the row `parent`; returns its row.

        The caller has made sure that the id is new, and that the row `replaced` is above the new one.
        `bulk.add_plain` adds many at once.
        """
        row = self.size
        links = 0 if parent < 0 else self.newest_links if parent == row - 1 else self.links[parent]
        if kind or parent == MISSING:  # most rows are plain messages, which nothing links to
            if replaced != NONE:
                self.replacing.append(row)
                self.replaced.append(replaced)
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

    def replace(self, row: int, kind: int, offset: int, length: int, replaced: int = NONE) -> None:
        """Puts another record with the same id and parent in the place of a row; `replaced` is as in `add`.

        Makes every link anew, because those of the rows below may change. This takes as long as the log is.
        """
        own = {"kinds": kind, "offsets": offset, "lengths": length}
        columns = {name: Column(COLUMN_TYPES[name]) for name in (*own, "links", *LINKS, *PINS, *REPLACEMENTS)}
        for name, value in own.items():
            columns[name].tail.extend(self.columns[name])
            columns[name].tail[row] = value
        pairs = list(zip(self.replacing, self.replaced, strict=True))
        if replaced != NONE:
            pairs = sorted([*pairs, (row, replaced)])
        for each, other in pairs:
            columns["replacing"].append(each)
            columns["replaced"].append(other)
        self._use({**self.columns, **columns})
        self._replacers, self._replacers_read = {}, 0
        for each, (parent, what) in enumerate(zip(self.parents, self.kinds, strict=True)):
            links = 0 if parent < 0 else self.links[parent]
            self.links.append(self._link(each, links, parent, what) if what or parent == MISSING else links)
        self.newest_links = self.links[self.size - 1]

    def links_below(self, parent: int) -> int:
        """Returns the number of the links that a plain message below the row `parent` has."""
        return 0 if parent < 0 else self.newest_links if parent == self.size - 1 else self.links[parent]

    def fetch_links(self, parent: int) -> None:
        """Fetches what the links of an entry below the row `parent` are made of, so that making them cannot fail."""
        links = self.links_below(parent)
        for column in (self.compactions, self.pins, self.models, self.settings, self.extension_data, self.faults):
            column[links]

    def _link(self, row: int, links: int, parent: int, kind: int) -> int:
        """Adds the links of a row that other rows link to; returns their number."""
        what = kind & KIND
        pins = before = self.pins[links]
        if kind & REPLACES:
            pins = self._pins_without(self.replaced_by(row), pins)
        if kind & PINNED:
            pins = self._add_pin(row, pins)
        has_data = what in (EXTENSION_DATA, VACUUM)
        broken = parent == MISSING or what == LOST or kind & CRITICAL
        if not (kind & (NAMES_MODEL | HAS_SETTINGS) or what == COMPACTION or has_data or broken or pins != before):
            return links
        self.compactions.append(row if what == COMPACTION else self.compactions[links])
        self.pins.append(pins)
        self.models.append(row if kind & NAMES_MODEL else self.models[links])
        self.settings.append(row if kind & HAS_SETTINGS else self.settings[links])
        self.extension_data.append(row if has_data else self.extension_data[links])
        self.faults.append(row if broken else self.faults[links])
        return len(self.compactions) - 1

    def _add_pin(self, row: int, pins: int) -> int:
        """Puts a row in front of a list of pinned messages; returns the number of the new list's first cell."""
        self.pin_rows.append(row)
        self.pin_nexts.append(pins)
        return len(self.pin_rows) - 1

    def _pins_without(self, row: int, pins: int) -> int:
        """Returns a list of pinned messages without a row. The cells in front of the row are copied."""
        newer: list[int] = []
        for cell in self.pin_nexts.follow(pins):
            pinned = self.pin_rows[cell]
            if pinned <= row:
                if pinned < row:
                    break
                pins = self.pin_nexts[cell]
                for each in reversed(newer):
                    pins = self._add_pin(each, pins)
                break
            newer.append(pinned)
        return pins

    # --- finding ---

    def find(self, id: str) -> int | None:
        """Returns the row of an id, entry or mark."""
        return self.ids.find(id)

    def is_node(self, row: int) -> bool:
        """Returns whether a row is an entry, not a mark."""
        return self.kinds[row] & KIND != MARK

    def hideable(self, id: str) -> int:
        """Returns the row of an entry that visibility marks can have as their target; NONE if the id is of no such one.

        A lost entry may have been a message. If it is put back, it is hidden again.
        """
        row = self.find(id)
        known = row is not None and self.kinds[row] & KIND in (MESSAGE, BRANCH_SUMMARY, LOST)
        return row if row is not None and known else NONE

    def nearest(self, what: Column, row: int) -> int:
        """Returns the nearest row at or above `row` in a column of links (`compactions`, `models`, …), or NONE."""
        return what[self.links[row]] if row >= 0 else NONE

    def pinned(self, row: int) -> list[int]:
        """Returns the pinned messages at or above `row`, last first, without those that are replaced on the way."""
        return self.pin_rows.take(list(self.pin_nexts.follow(self.nearest(self.pins, row))))

    # --- walking ---

    def walk_up(self, row: int) -> Iterator[int]:
        """Returns the row, its parent, and so on; ends at a first entry or at an orphan."""
        return self.parents.follow(row)

    def linked_up(self, what: Column, row: int) -> Iterator[int]:
        """Yields the rows at and above `row` in a column of links (`compactions`, `extension_data`, …), last first."""
        while (row := self.nearest(what, row)) != NONE:
            yield row
            row = self.parents[row]

    def path(self, row: int, least: int = 0) -> list[int]:
        """Returns the rows from the first entry down to `row`, without those below `least`."""
        return self.parents.path_down(row, least)

    def is_ancestor(self, above: int, row: int) -> bool:
        """Returns whether the entry `above` is `row` or an ancestor of it."""
        self.index_chains()
        return self._last_shared(self._chain_of(above), row) >= above

    def common_ancestor(self, a: int, b: int) -> int:
        """Returns the last row that two paths share, or ROOT."""
        self.index_chains()
        while a >= 0 and b >= 0:
            chain = self._chain_of(a)
            shared = self._last_shared(chain, b)
            if shared != NONE:
                return min(a, shared)
            while (jump := self.chain_jumps[chain]) != NONE and self._last_shared(jump, b) == NONE:
                chain = min(jump, chain - 1)
            a = self.parents[self.chain_starts[chain]]
        return ROOT

    def index_chains(self) -> None:
        """Brings the chains up to date."""
        if self._chained == self.size:
            return
        columns = (self.chain_starts, self.chain_depths, self.chain_jumps)
        for column in columns:
            del column.tail[self._chain_count - column.persisted :]  # a signal may have come in between
        parents, kinds = self.parents, self.kinds
        newest = self._chained - 1
        while newest >= 0 and kinds[newest] == MARK:
            newest -= 1
        # `replace` takes the kinds into memory, so that the two may be persisted up to different rows
        tails = (column.tail[self._chained - column.persisted :] for column in (parents, kinds))
        for row, parent, kind in zip(range(self._chained, self.size), *tails, strict=True):
            if parent != newest or parent < 0:
                if kind == MARK:
                    continue
                depth, jump = self._chain_below(parent)
                for column, value in zip(columns, (row, depth, jump), strict=True):
                    column.append(value)
            newest = row
        self._chain_count = len(self.chain_starts)
        self._chained = self.size

    def _chain_below(self, parent: int) -> tuple[int, int]:
        """Returns the depth of a chain below the row `parent`, and the chain to which it jumps."""
        if parent < 0:
            return 0, NONE
        above, depths, jumps = self._chain_of(parent), self.chain_depths, self.chain_jumps
        further = jumps[above]
        furthest = jumps[further] if further != NONE else NONE
        depth = depths[above]
        is_even = furthest != NONE and depth - depths[further] == depths[further] - depths[furthest]
        return depth + 1, furthest if is_even else above

    def _chain_of(self, row: int) -> int:
        """Returns the number of the chain that an entry is in."""
        starts = self.chain_starts
        if starts.tail and row >= starts.tail[0]:
            return starts.persisted + bisect_right(starts.tail, row) - 1
        return bisect_right(starts, row, 0, starts.persisted) - 1

    def _last_shared(self, chain: int, row: int) -> int:
        """Returns the last row of a chain that is on the path to an entry; NONE if none is."""
        own, jumps = self._chain_of(row), self.chain_jumps
        while own > chain:
            jump = min(jumps[own], own - 1)  # a forged page could make this loop endless
            if jump > chain:
                own = jump
                continue
            row = self.parents[self.chain_starts[own]]
            if row < 0:
                return NONE
            own = min(self._chain_of(row), own - 1)
        return row if own == chain else NONE

    # --- replaced messages ---

    def replaced_by(self, row: int) -> int:
        """Returns the row whose place an entry takes, or NONE."""
        number = bisect_left(self.replacing, row)
        known = number < len(self.replacing) and self.replacing[number] == row
        return self.replaced[number] if known else NONE

    def is_replaced(self, row: int, leaf: int) -> bool:
        """Returns whether an entry on the path to `leaf` takes the place of the row."""
        for number in range(self._replacers_read, len(self.replacing)):
            self._replacers.setdefault(self.replaced[number], []).append(self.replacing[number])
        self._replacers_read = len(self.replacing)
        return any(self.is_ancestor(each, leaf) for each in self._replacers.get(row, ()))

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

    def children_behind(self, row: int, behind: int, limit: int) -> list[int]:
        """Returns up to `limit` children with a row above `behind`, in log order. Looks at the rows in between only."""
        first = max(row, behind) + 1
        children = (each for each, parent in enumerate(self.parents.since(first), first) if parent == row)
        return list(islice(filter(self.is_node, children), limit))

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

    def tips(self) -> array[int]:
        """Returns for each row the last added row at or below it, as `tip` does."""
        parents, tips = self.parents, array("i", range(self.size))
        for row in range(self.size - 1, -1, -1):
            parent = parents[row]
            if parent >= 0:
                tips[parent] = max(tips[parent], tips[row])
        return tips

    def siblings(self, row: int) -> list[int]:
        """Returns the messages with the same nearest message above as `row`, itself included, in log order."""
        above = self.message_above(row)
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

    def siblings_behind(self, row: int, behind: int, limit: int) -> list[int]:
        """Returns up to `limit` siblings with a row above `behind`, in log order. Looks at the rows in between only."""
        above = self.message_above(row)
        if above == MISSING:
            return [row] if row > behind else []
        first, found = max(above, behind) + 1, list[int]()
        below = {above: True, MISSING: False}  # whether what continues a row has this message above it
        for each, parent in enumerate(self.parents.since(first), first):
            if parent not in below:
                is_message = parent >= 0 and self.kinds[parent] & KIND == MESSAGE
                below[parent] = parent >= 0 and not is_message and self.message_above(parent) == above
            if below[parent] and self.kinds[each] & KIND == MESSAGE:
                found.append(each)
                if len(found) == limit:
                    break
        return found

    def message_above(self, row: int) -> int:
        """Returns the nearest message above a row; ROOT if there is none, MISSING if a parent is missing."""
        above = self.parents[row]
        while above >= 0 and self.kinds[above] & KIND != MESSAGE:
            above = self.parents[above]
        return above

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
