"""A line of the tree in words: what kind of entry it is, its first words, remarks, and when. Pure.

The words of a group of tools are the names of the tools and how long they took.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from convtree._cli.browse.blocks import blocks_of, text_of_blocks
from convtree._cli.browse.shape import Kind
from convtree._cli.describe import describe
from convtree._cli.render import count
from convtree._engine.outline import Changed
from convtree._formats.documents.turns import Turn, Turns, line_of_message
from convtree._model.entries import Entry, MessageEntry
from convtree._model.terminal_text import escape_controls

_NAMES = {
    Kind.PROMPT: "you",
    Kind.ANSWER: "answer",
    Kind.TALK: "answer",
    Kind.STEP: "calls",
    Kind.RESULT: "result",
    Kind.MODEL: "model",
}
_STYLES = {Kind.PROMPT: "user", Kind.ANSWER: "assistant", Kind.TALK: "assistant"}
_GIST = 1000  # characters kept of the first words
_LEAD = 20  # characters shown before what was searched for


class Words(NamedTuple):
    """A line in words; `style` is a name of a style, `time` a timestamp as it is stored."""

    kind: str
    style: str
    gist: str
    remarks: str = ""
    time: str | None = None


def missing_words(gap: str, remarks: Sequence[str]) -> Words:
    """Returns the words for an entry that is lost, or that cannot be read."""
    return Words("missing", "bad", gap, escape_controls(", ".join(remarks)))


def words_of(entry: Entry, kind: int, changed: Changed, remarks: Sequence[str], sought: str = "") -> Words:
    """Returns an entry in words. Of a search, the words around what was `sought` are shown."""
    described = describe(entry, changed)
    remarks = [*remarks, *described.remarks]
    name = _NAMES.get(Kind(kind), described.kind)
    gist = escape_controls(_around(sought, _first_words(entry, kind, described.gist)[:_GIST], entry)[:_GIST])
    return Words(name, _STYLES.get(Kind(kind), "entry"), gist, ", ".join(remarks), entry.timestamp)


def _first_words(entry: Entry, kind: int, gist: str) -> str:
    """Returns the beginning of what an entry says; of a result, that of its text."""
    if not isinstance(entry, MessageEntry):
        return gist
    if (line := line_of_message(entry)) or kind != Kind.RESULT:
        return line or gist
    return next((block.text for block in blocks_of(entry) if block.text), "")


def group_words(rows: Sequence[int], entries: Sequence[Entry | None], calls: int) -> Words:
    """Returns a group of tools in words. `entries` are those of the first rows."""
    names: Counter[str] = Counter()
    seconds: float | None = None
    failed = 0
    for turn in Turns({}).group(zip(rows, entries, strict=False)):
        if isinstance(turn, Turn):
            names.update(turn.tools)
            failed += turn.failed
            seconds = seconds if turn.tool_seconds is None else (seconds or 0) + turn.tool_seconds
    said = [name if number == 1 else f"{name} \N{MULTIPLICATION SIGN}{number}" for name, number in names.items()]
    is_whole = len(entries) == len(rows)
    facts = [] if seconds is None or not is_whole else [_duration(seconds)]
    facts += [f"{failed} failed"] if failed else []
    gist = escape_controls(", ".join(said) + ("" if is_whole else ", …"))
    time = next((entry.timestamp for entry in entries if entry is not None), None)
    return Words(count(calls, "tools") if calls else "thinking", "dim", gist, ", ".join(facts), time)


def _around(sought: str, gist: str, entry: Entry) -> str:
    """Returns the words around what was sought; the first words if it is among these, or nowhere."""
    if not sought or sought in gist[:_LEAD].casefold():
        return gist
    text = text_of_blocks(blocks_of(entry))
    at = text.casefold().find(sought)
    if at < 0:
        return gist
    start = max(at - _LEAD, 0)
    return ("…" if start else "") + text[start : start + _GIST]


def _duration(seconds: float) -> str:
    """Returns a time span in words."""
    spent = round(seconds)
    if spent < 60:
        return f"{spent} s"
    return f"{spent // 60} min" if spent < 3600 else f"{spent / 3600:.1f} h"
