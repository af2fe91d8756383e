"""The hits of a search: two lines each on a terminal, a row of a table each in a pipe. Pure but for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import tzinfo
from typing import NamedTuple

from convtree._catalogue.record_summary import snippet_of, word_spans, words_of
from convtree._cli.table import Column, table_lines
from convtree._cli.terminal import Terminal
from convtree._cli.times import time_text
from convtree._model.terminal_text import escape_controls
from convtree.stores._results import Hit

_INDENT = "  "
_WIDE = 72  # columns of a terminal that has room for the session's id, the minute and the role on the first line
_LONGEST_ROLE = 9  # "assistant"
_DAY = 10  # characters of a time that name the day
_FEWEST = 10  # columns of a title or an excerpt on the narrowest terminal
_SIDE_BRANCH, _SIDE = " (side branch)", " (side)"


class HitIds(NamedTuple):
    """What stands for the ids of some hits, escaped.

    Attributes:
        sessions: by the id of the session.
        entries: by the ids of session and entry.
    """

    sessions: Mapping[str, str]
    entries: Mapping[tuple[str, str], str]


def hit_lines(
    hits: Sequence[Hit], text: str, ids: HitIds, zone: tzinfo | None, terminal: Terminal, *, verbose: bool = False
) -> Iterator[str]:
    """Yields the lines for some hits of a search for a text.

    On a terminal, the first line of a hit has its number, the ids of session and entry, the time, who said it, and the
    title of the session. The second one has the excerpt around the first word that was found. On a narrow one, the
    number stands for the session, unless `verbose`; the day for the time; and the second line says who said it.
    """
    if terminal.is_piped:
        yield from _rows(hits, ids, zone, terminal)
        return
    words = words_of(text)
    is_wide = terminal.width >= _WIDE
    columns = [[ids.sessions[hit.session_id] for hit in hits]] if is_wide or verbose else []
    columns += [[ids.entries[hit.session_id, hit.entry_id] for hit in hits]]
    columns += [[time_text(hit.timestamp, zone)[: None if is_wide else _DAY] for hit in hits]]
    columns += [[_role(hit).ljust(_LONGEST_ROLE) for hit in hits]] if is_wide else []
    sizes = [max(map(terminal.cells, column), default=0) for column in columns]
    digits = len(str(len(hits)))
    for number, (hit, *facts) in enumerate(zip(hits, *columns, strict=True), 1):
        first = f"{number:>{digits}}"
        for fact, size in zip(facts, sizes, strict=True):
            if size and terminal.cells(first) + size + 2 <= terminal.width:  # what does not fit is left out
                first += f"  {fact}" + " " * (size - terminal.cells(fact))
        room = terminal.width - terminal.cells(first) - 2
        title = terminal.cut(_title(hit), room) if room >= _FEWEST else ""
        yield (terminal.paint(first, "dim") + (title and f"  {title}")).rstrip()
        yield _excerpt(hit, words, "" if is_wide else _role(hit), terminal)


def _excerpt(hit: Hit, words: Sequence[str], role: str, terminal: Terminal) -> str:
    """Returns the text around the words, after who said it, if that is to be shown."""
    begun = _INDENT + (role and f"{role}: ")
    branch = "" if hit.on_path else _SIDE_BRANCH if terminal.width >= _WIDE else _SIDE
    room = max(terminal.width - len(begun) - len(branch), _FEWEST)
    shown = terminal.cut(escape_controls(snippet_of(hit.snippet, words, room - 2)), room)
    return begun + _highlighted(shown, words, terminal) + (branch and terminal.paint(branch, "note"))


def _rows(hits: Sequence[Hit], ids: HitIds, zone: tzinfo | None, terminal: Terminal) -> Iterator[str]:
    columns = [
        Column(header="SESSION", texts=[ids.sessions[hit.session_id] for hit in hits]),
        Column(header="ENTRY", texts=[ids.entries[hit.session_id, hit.entry_id] for hit in hits]),
        Column(header="TIME", texts=[time_text(hit.timestamp, zone) for hit in hits]),
        Column(header="ROLE", texts=[_role(hit) for hit in hits]),
        Column(header="TITLE", texts=[_title(hit) for hit in hits]),
        Column(header="BRANCH", texts=["active" if hit.on_path else "side" for hit in hits]),
        Column(header="TEXT", texts=[escape_controls(hit.snippet) for hit in hits]),
    ]
    return table_lines(columns, terminal)


def _role(hit: Hit) -> str:
    return escape_controls(hit.role or "")


def _title(hit: Hit) -> str:
    return escape_controls(hit.session_title or "")


def _highlighted(text: str, words: Sequence[str], terminal: Terminal) -> str:
    """Returns a text with the words that were found in colour."""
    pieces, end = list[str](), 0
    for start, stop in word_spans(text, words):
        pieces += [text[end:start], terminal.paint(text[start:stop], "match")]
        end = stop
    return "".join([*pieces, text[end:]])
