"""A line of the tree in words: what kind of entry it is, its first words, remarks, and when. Pure.

The words of a group of tools are the names of the tools and how long they took.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from convtree._cli.browse.blocks import blocks_of, text_of_blocks
from convtree._cli.browse.shape import Kind
from convtree._cli.describe import describe
from convtree._cli.render import count
from convtree._engine.outline import Changed
from convtree._messages.reading import read
from convtree._model.entries import Entry, MessageEntry
from convtree._model.terminal_text import escape_controls

_NAMES = {
    Kind.PROMPT: "you",
    Kind.ANSWER: "answer",
    Kind.TALK: "answer",
    Kind.STEP: "calls",
    Kind.RESULT: "result",
    Kind.SYSTEM: "system",
    Kind.MODEL: "model",
    Kind.DAMAGED: "damaged",
}
_STYLES = {Kind.PROMPT: "user", Kind.ANSWER: "assistant", Kind.TALK: "assistant", Kind.DAMAGED: "bad"}
_GIST = 1000  # characters kept of the first words
_LEAD = 20  # characters shown before what was searched for


class Words(NamedTuple):
    """A line in words; `style` is a name of a style, `time` a timestamp as it is stored."""

    kind: str
    style: str
    gist: str
    remarks: str = ""
    time: str | None = None


def words_of(entry: Entry | None, kind: int, changed: Changed, remarks: Sequence[str], sought: str = "") -> Words:
    """Returns an entry in words. Of a search, the words around what was `sought` are shown."""
    if entry is None:
        return Words("damaged", "bad", "this entry cannot be read")
    described = describe(entry, changed)
    remarks = [*remarks, *described.remarks]
    name = _NAMES.get(Kind(kind), described.kind)
    is_plain = isinstance(entry, MessageEntry) and kind not in _NAMES
    name = f"({described.kind})" if is_plain else name
    first = (
        next((block.text for block in blocks_of(entry) if block.text), "") if kind == Kind.RESULT else described.gist
    )
    gist = escape_controls(_around(sought, first[:_GIST], entry)[:_GIST])
    return Words(name, _STYLES.get(Kind(kind), "entry"), gist, ", ".join(remarks), entry.timestamp)


def group_words(entries: Sequence[Entry | None], calls: int, is_whole: bool) -> Words:
    """Returns a group of tools in words. `entries` are its first ones; `is_whole` if they are all."""
    names: Counter[str] = Counter()
    times = [entry.timestamp for entry in entries if entry is not None and entry.timestamp]
    for entry in entries:
        if isinstance(entry, MessageEntry):
            names.update(call.name or "?" for call in read(entry.message, entry.shape).calls)
    said = [name if number == 1 else f"{name} \N{MULTIPLICATION SIGN}{number}" for name, number in names.items()]
    gist = ", ".join(said) + ("" if is_whole else ", …")
    facts = [count(calls, "tools")] if calls else ["thinking"]
    if is_whole and (spent := _seconds(times)) is not None:
        facts.append(spent)
    return Words(facts[0], "dim", gist, ", ".join(facts[1:]), times[0] if times else None)


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


def _seconds(times: Sequence[str]) -> str | None:
    """Returns how long a group took, or None if that is unknown."""
    moments = [moment for time in times if (moment := moment_of(time)) is not None]
    if len(moments) < 2:
        return None
    spent = round((max(moments) - min(moments)).total_seconds())
    if spent < 60:
        return f"{spent} s"
    return f"{spent // 60} min" if spent < 3600 else f"{spent / 3600:.1f} h"


def moment_of(time: str | None) -> datetime | None:
    """Returns a stored timestamp as a local time; None if it is none."""
    if time is None:
        return None
    try:
        return datetime.fromisoformat(time).astimezone()
    except (ValueError, OverflowError, OSError):
        return None
