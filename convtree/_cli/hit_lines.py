"""The hits of a search: two lines each on a terminal, a row of a table each in a pipe. Pure but for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import tzinfo

from convtree._catalogue.record_summary import snippet_of, word_spans, words_of
from convtree._cli.table import Column, table_lines
from convtree._cli.terminal import Terminal
from convtree._cli.times import time_text
from convtree._model.terminal_text import escape_controls
from convtree.stores._results import Hit

_INDENT = "  "
_LONGEST_ROLE = 9  # "assistant"
_FEWEST = 10  # columns of a title or an excerpt on the narrowest terminal
_SIDE_BRANCH = "(side branch)"


def hit_lines(
    hits: Sequence[Hit], text: str, ids: Mapping[str, str], zone: tzinfo | None, terminal: Terminal
) -> Iterator[str]:
    """Yields the lines for some hits of a search for a text.

    On a terminal, the first line of a hit has its number, the ids of session and entry, the time, who said it, and the
    title of the session. The second one has the excerpt around the first word that was found. `ids` has what stands for
    the id of each session.
    """
    if terminal.is_piped:
        yield from _rows(hits, ids, zone, terminal)
        return
    words = words_of(text)
    cells = max((terminal.cells(ids[hit.session_id]) for hit in hits), default=0)
    digits = len(str(len(hits)))
    for number, hit in enumerate(hits, 1):
        begun = f"{number:>{digits}}  {escape_controls(ids[hit.session_id]).ljust(cells)}"
        yield from _on_two_lines(hit, begun, words, zone, terminal)


def _on_two_lines(hit: Hit, begun: str, words: Sequence[str], zone: tzinfo | None, terminal: Terminal) -> Iterator[str]:
    further = [time_text(hit.timestamp, zone), _role(hit).ljust(_LONGEST_ROLE)]
    first = f"{begun}  {escape_controls(hit.entry_id)}"
    for fact in filter(str.strip, further):  # what does not fit is left out
        if terminal.cells(first) + len(fact) + 2 <= terminal.width:
            first += f"  {fact}"
    room = terminal.width - terminal.cells(first) - 2
    title = terminal.cut(_title(hit), room) if room >= _FEWEST else ""
    yield (terminal.paint(terminal.cut(first, terminal.width), "dim") + (title and f"  {title}")).rstrip()
    branch = "" if hit.on_path else f" {_SIDE_BRANCH}"
    room = max(terminal.width - len(_INDENT) - len(branch), _FEWEST)
    shown = terminal.cut(escape_controls(snippet_of(hit.snippet, words, room - 2)), room)
    yield _INDENT + _highlighted(shown, words, terminal) + (branch and terminal.paint(branch, "note"))


def _rows(hits: Sequence[Hit], ids: Mapping[str, str], zone: tzinfo | None, terminal: Terminal) -> Iterator[str]:
    columns = [
        Column(header="SESSION", texts=[escape_controls(ids[hit.session_id]) for hit in hits]),
        Column(header="ENTRY", texts=[escape_controls(hit.entry_id) for hit in hits]),
        Column(header="TIME", texts=[time_text(hit.timestamp, zone) for hit in hits]),
        Column(header="ROLE", texts=[_role(hit) for hit in hits]),
        Column(header="TITLE", texts=[_title(hit) for hit in hits]),
        Column(header="", texts=["" if hit.on_path else _SIDE_BRANCH for hit in hits]),
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
