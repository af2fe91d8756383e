"""Turns the summaries of a path into messages. Pure.

A caller's `render` makes any number of messages of a summary. It may also make none: then the context has the messages
that a compaction stands for. Only in that case the path is read further up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import msgspec

from convtree._engine import tree
from convtree._engine.tree import Tree
from convtree._model.entries import BranchSummaryEntry, CompactionEntry, Entry

if TYPE_CHECKING:
    from convtree._engine.path_rows import Arranged, EntryCache

Message = Mapping[str, Any]
Render = Callable[[CompactionEntry | BranchSummaryEntry], Message | Sequence[Message] | str | None]


def default_render(entry: CompactionEntry | BranchSummaryEntry) -> dict[str, Any]:
    """Returns a summary as a user message, which every provider accepts."""
    if isinstance(entry, CompactionEntry):
        start = "This conversation began earlier. Summary of the part that is not shown any more:"
    else:
        start = "Before this point another way was tried and left. Summary of what happened there:"
    return {"role": "user", "content": f"{start}\n\n<summary>\n{entry.summary}\n</summary>"}


class Rendered:
    """The messages of summaries, by row. Each summary is rendered once."""

    def __init__(self, render: Render) -> None:
        self._render = render
        self.rows: dict[int, Sequence[Any]] = {}

    def messages(self, row: int, entry: Entry) -> Sequence[Any]:
        """Returns the messages of a summary. A branch summary without text has none.

        Raises:
            TypeError: `render` returned something else than messages.
        """
        if row not in self.rows:
            assert isinstance(entry, CompactionEntry | BranchSummaryEntry)
            is_blank = isinstance(entry, BranchSummaryEntry) and not entry.summary
            self.rows[row] = () if is_blank else _as_messages(entry, self._render(entry))
        return self.rows[row]


def _as_messages(entry: Entry, rendered: object) -> Sequence[Any]:
    if rendered is None:
        return ()
    if isinstance(rendered, str):
        return ({"role": "user", "content": rendered},)
    if isinstance(rendered, dict | Mapping):  # the former is known at once
        return (rendered,)
    what = f"a {type(rendered).__name__}"
    if isinstance(rendered, Sequence) and not isinstance(rendered, bytes | bytearray):
        wrong = [type(each).__name__ for each in rendered if not isinstance(each, Mapping)]
        if not wrong:
            return rendered
        what += f" with a {wrong[0]}"
    reason = f"entry {entry.id!r} was rendered as {what}"
    raise TypeError(f"{reason}; render must return a message or a text, messages in a list, or None")


class Applied(msgspec.Struct, frozen=True):
    """The compaction that a context begins with.

    Attributes:
        row: its row; NONE if the context has none.
        passed_over: the first compaction behind it, which is not rendered; NONE without one.
    """

    row: int
    passed_over: int


def applied_compaction(columns: Tree, leaf: int, rendered: Rendered, cache: EntryCache) -> Applied:
    """Returns the last compaction above a leaf that has messages. One that cannot be read is applied without any."""
    row, passed_over = columns.nearest(columns.compactions, leaf), tree.NONE
    while row != tree.NONE:
        cache.load([row])
        if row not in cache.entries or rendered.messages(row, cache.entries[row]):
            break
        row, passed_over = columns.nearest(columns.compactions, columns.parents[row]), row
    return Applied(row, passed_over)


def spread(arranged: Arranged, rendered: Rendered, read: Mapping[int, Any]) -> tuple[Arranged, list[Any]]:
    """Returns the rows of a context, one for each message, and the messages. A summary may have several."""
    summaries, edited = rendered.rows, arranged.messages
    if all(len(group) == 1 for group in summaries.values()):
        other = {**edited, **{row: group[0] for row, group in summaries.items()}}
        return arranged, [other[row] if row in other else read[row].message for row in arranged.rows]
    groups = [
        summaries[row] if row in summaries else (edited[row] if row in edited else read[row].message,)
        for row in arranged.rows
    ]
    messages = [message for group in groups for message in group]
    rows = [row for row, group in zip(arranged.rows, groups, strict=True) for _ in group]
    before = list(accumulate(map(len, groups), initial=0))  # how many messages are before a row
    together = ((before[first], None if behind is None else before[behind]) for first, behind in arranged.together)
    return arranged._replace(rows=rows, together=tuple(together)), messages
