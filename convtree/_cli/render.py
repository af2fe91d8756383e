"""What `inspect` prints around a tree: a summary, the findings, and the messages of a context."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from convtree._catalogue.types import RowFinding
from convtree._cli.describe import brief, describe, describe_message
from convtree._cli.leaf_view import LeafView, SubAgent
from convtree._cli.terminal import Terminal, readable_size, wrap
from convtree._engine.context import Context
from convtree._formats.documents.markdown import message_paragraphs
from convtree._model.entries import Finding, MessageEntry
from convtree._model.findings import FINDING_CODES
from convtree._model.terminal_text import escape_controls

FINDINGS_SHOWN = 20
TASKS_SHOWN = 5
_KIND_CELLS = 10
_SHORT_ID, _LONG_ID = 16, 36  # an id of convtree, and a UUID, the id of most other tools


class Frame:
    """What stands above and below a tree. With `full`, nothing is left out."""

    def __init__(self, view: LeafView, terminal: Terminal, *, full: bool = False) -> None:
        self._view = view
        self._terminal = terminal
        self._full = full

    def summary(self) -> Iterator[str]:
        """Yields the name of the session and what it contains."""
        view, paint = self._view, self._terminal.paint
        session, counts = view.session, view.counts
        origin = session.header.parent_session
        if session.name:
            yield paint(self._terminal.cut(escape_controls(session.name), self._terminal.width), "title")
        facts = [f"session {session.id or 'unknown'}"]
        facts += ["archived"] if session.archived else []
        facts += ["on hold"] if session.held else []
        facts += [f"{origin.kind} of {origin.id}"] if origin else []
        yield from self._wrapped(facts)
        facts = [count(number, noun) for noun, number in counts.items() if number or noun != "compactions"]
        facts += [readable_size(view.size_bytes)] if view.size_bytes is not None else []
        facts += [" ".join(filter(None, view.model))] if any(view.model) else []
        if not view.is_certain:
            facts.append("leaf uncertain")
        else:
            facts.append("before the first entry" if view.leaf_id is None else f"leaf {view.leaf_id}")
        yield from self._wrapped(facts)
        if view.note is not None:
            yield from (paint(line, "note") for line in wrap(escape_controls(view.note), self._terminal.width))
        yield from self._tasks(view.tasks or ())

    def _wrapped(self, facts: Sequence[str]) -> list[str]:
        return wrap(escape_controls(", ".join(facts)), self._terminal.width)

    def findings(self) -> Iterator[str]:
        """Yields the problems."""
        view = self._view
        if not view.is_certain:
            yield self._terminal.paint(f"leaf uncertain: {view.doubt}", "bad")
        if view.unreadable:
            yield self._terminal.paint(f"unreadable: {count(view.unreadable, 'entries')}", "bad")
        shown = view.findings if self._full else view.findings[:FINDINGS_SHOWN]
        for finding in shown:
            yield from finding_lines(finding, self._terminal)
        if len(view.findings) > len(shown):
            more = len(view.findings) - len(shown)
            yield f"{self._terminal.dots} {more:,} more findings; show them with --full"

    def _tasks(self, tasks: Sequence[SubAgent]) -> Iterator[str]:
        """Yields the sub-agents: id, the entry at which it began, and its title."""
        shown = tasks if self._full else tasks[:TASKS_SHOWN]
        for each in shown:
            at = "" if each.entry_id is None else f" at {escape_controls(each.entry_id)}"
            title = escape_controls(each.title or "")
            text = self._terminal.cut(
                f"sub-agent {escape_controls(each.id)}{at}" + (title and f": {title}"), self._terminal.width
            )
            yield self._terminal.paint(text, "dim")
        if len(tasks) > len(shown):
            more = count(len(tasks) - len(shown), "more sub-agents")
            yield f"{self._terminal.dots} {more}; show them with --full"


def draw_context(
    context: Context, terminal: Terminal, gaps: Mapping[int, list[str]], *, full: bool = False
) -> Iterator[str]:
    """Yields the messages of a context, its model and settings, its open calls, and what no reader knows.

    `gaps` are the words for what is missing, by the number of the message that follows.
    """
    facts = [count(len(context.messages), "messages"), *filter(None, (context.provider, context.model))]
    facts += [brief(context.settings)] if context.settings else []
    yield terminal.paint(escape_controls(", ".join(facts)), "title")
    yield ""
    cells = id_cells(entry.id for entry in context.entries)
    for number, (entry, message) in enumerate(zip(context.entries, context.messages, strict=True)):
        yield from (terminal.paint(words, "bad") for words in gaps.get(number, ()))
        shape = entry.shape if isinstance(entry, MessageEntry) else None
        described = describe_message(message, shape)
        kind = terminal.paint(terminal.cut(escape_controls(described.kind), _KIND_CELLS, fill=True), described.kind)
        source = "" if isinstance(entry, MessageEntry) else f"({describe(entry).kind}) "
        if full:
            yield f"{kind} {terminal.paint(source, 'note')}{escape_controls(entry.id)}"
            for paragraph in message_paragraphs(message, shape) or [described.whole]:
                for line in escape_controls(paragraph, lines=True).split("\n"):
                    pieces = wrap(line, terminal.width - 2) if terminal.is_terminal else [line]
                    yield from (f"  {piece}".rstrip() for piece in pieces)
                yield ""
        else:
            id_width = min(cells, terminal.width // 2)
            room = terminal.width - _KIND_CELLS - 1 - 2 - id_width
            source = terminal.cut(source, room)
            id = terminal.cut(escape_controls(entry.id), id_width)
            gist = terminal.cut(escape_controls(described.gist), room - terminal.cells(source), fill=True)
            yield f"{kind} {terminal.paint(source, 'note')}{gist}  {terminal.paint(id, 'dim')}"
    yield from (terminal.paint(words, "bad") for words in gaps.get(len(context.messages), ()))
    for call in context.open_calls:
        text = f"open call: {call.name} ({call.id or 'no id'}) in entry {call.entry_id}"
        yield terminal.paint(escape_controls(text), "warning")
    for part in context.unknown:
        yield terminal.paint(escape_controls(f"unknown: {part.why} in entry {part.entry_id}"), "warning")


def id_cells(ids: Iterable[str]) -> int:
    """Returns the width of a column of ids. A UUID is shown whole, so that it can be copied."""
    return _LONG_ID if any(len(id) > _SHORT_ID for id in ids) else _SHORT_ID


def finding_line(finding: Finding, terminal: Terminal) -> str:
    """Returns a finding on one line: severity, code, place, text, what it is about and how often."""
    style, what, rest = _finding_parts(finding)
    return terminal.paint(what, style) + rest


def finding_lines(finding: Finding, terminal: Terminal, indent: str = "", fate: str = "") -> Iterator[str]:
    """Yields a finding; on a terminal, its line is broken before the edge. `fate` is what comes first."""
    style, what, rest = _finding_parts(finding)
    room = max(terminal.width - 2 * len(indent), 1)
    first, *others = wrap(fate + what + rest, room) if terminal.is_terminal else [fate + what + rest]
    yield indent + first.replace(what, terminal.paint(what, style), 1)
    yield from (2 * indent + line for line in others)


def _finding_parts(finding: Finding) -> tuple[str, str, str]:
    """Returns the style of a finding, its severity and code, and the rest of its line."""
    style = {"error": "bad", "warning": "warning"}.get(finding.severity, "dim")
    places = [f"line {finding.line}, offset {finding.offset}, {finding.length} bytes"] if finding.line else []
    places += [f"entry {escape_controls(finding.entry_id)}"] if finding.entry_id else []
    words = FINDING_CODES[finding.code][1] if finding.code in FINDING_CODES else ""
    words += f": {escape_controls(finding.about)}" if finding.about is not None else ""
    words += f" ({count(finding.times, 'times')})" if finding.times > 1 else ""
    return style, f"{finding.severity} {escape_controls(finding.code)}", f": {', '.join(places) or 'session'}: {words}"


def row_line(finding: RowFinding, terminal: Terminal) -> str:
    """Returns a finding about the tables beside a log on one line: severity, code, place, text."""
    place = f"{finding.table}.{finding.column}" if finding.column else finding.table
    place += f", position {finding.position}" if finding.position is not None else ""
    place += f", {escape_controls(finding.key)}" if finding.key else ""
    return (
        f"{terminal.paint(f'{finding.severity} {finding.code}', 'warning')}: {place}: {FINDING_CODES[finding.code][1]}"
    )


def pending_line(name: str) -> str:
    """Returns what is printed about a file that was to be emptied or removed."""
    return f"{escape_controls(name)} may still hold some of it: another process reads it, or it cannot be removed"


def count(number: int, noun: str) -> str:
    """Returns a number with its noun. The noun is passed in the plural."""
    if number == 1:
        noun = {"entries": "entry", "branches": "branch"}.get(noun, noun.removesuffix("s"))
    return f"{number:,} {noun}"
