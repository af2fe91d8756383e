"""Draws a session on a terminal, in the style of `git log --graph`.

The tree is drawn by runs: chains of entries without a branching. The branch of the leaf continues in its column;
elsewhere the largest one does. Other branches are indented. So the drawing is about log2(entries) levels deep at most,
and one loop makes it without recursion. anytree supplies only the line characters: its own renderer recurses once per
entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from convtree._catalogue.types import RowFinding
from convtree._cli.describe import Description, brief, describe, describe_message
from convtree._cli.leaf_view import LeafView, SubAgent
from convtree._cli.terminal import Terminal, readable_size
from convtree._engine import tree
from convtree._engine.context import Context
from convtree._engine.outline import LinearSegment, main_children
from convtree._model.batches import batched
from convtree._model.entries import Entry, Finding, MessageEntry
from convtree._model.findings import FINDING_CODES
from convtree._model.terminal_text import escape_controls

EDGE = 2  # entries shown at each end of a run
FINDINGS_SHOWN = 20
TASKS_SHOWN = 5
_KIND_CELLS, _SIZE_CELLS = 10, 5
_SHORT_ID, _LONG_ID = 16, 36  # an id of convtree, and a UUID, the id of most other tools
_SAMPLE = 20  # runs that decide the width of the id column
_NAME_CELLS = 60  # the most columns for the name of a session or model
_MIN_TEXT_CELLS = 20  # left for the text of an entry, however deep the drawing
_ALWAYS_SHOWN = frozenset((tree.COMPACTION, tree.BRANCH_SUMMARY, tree.LOST, tree.VACUUM, tree.OPAQUE))


class Drawing:
    """The lines of a drawing. With `full`, every entry is drawn with its whole text."""

    def __init__(self, view: LeafView, terminal: Terminal, *, full: bool = False) -> None:
        self._view = view
        self._terminal = terminal
        self._full = full

    @cached_property
    def _id_cells(self) -> int:
        """The width of the id column, chosen by the first entries of the first runs."""
        outline = self._view.outline
        entries = outline.entries([run.rows[0] for run in outline.runs[:_SAMPLE]])
        return id_cells(entry.id for entry in entries if entry is not None)

    # --- parts ---

    def summary(self) -> Iterator[str]:
        """Yields the name of the session and what it contains."""
        view, paint, cut = self._view, self._terminal.paint, self._terminal.cut
        session, counts = view.session, view.counts
        origin = session.header.parent_session
        names = [paint(cut(escape_controls(session.name), _NAME_CELLS), "title")] if session.name else []
        names.append(f"session {escape_controls(session.id) or 'unknown'}")
        names += ["archived"] if session.archived else []
        names += ["on hold"] if session.held else []
        names += [f"{origin.kind} of {escape_controls(origin.id)}"] if origin else []
        yield ", ".join(names)
        facts = [count(number, noun) for noun, number in counts.items() if number or noun != "compactions"]
        model = cut(escape_controls(" ".join(filter(None, view.model))), _NAME_CELLS)
        facts += [readable_size(view.size_bytes)] if view.size_bytes is not None else []
        facts += [model] if model else []
        if not view.is_certain:
            facts.append(paint("leaf uncertain", "bad"))
        else:
            facts.append("before the first entry" if view.leaf_id is None else f"leaf {escape_controls(view.leaf_id)}")
        yield ", ".join(facts)
        if view.note is not None:
            yield paint(escape_controls(view.note), "note")
        yield from self._tasks(view.tasks or ())

    def graph(self) -> Iterator[str]:
        """Yields the tree."""
        runs = self._view.outline.runs
        continued_by = main_children(runs, self._view.active)
        signs = self._terminal.signs
        stack: list[tuple[int, str, str]] = []
        for first in (number for number, run in enumerate(runs) if run.parent < 0):
            if first:
                yield ""
            stack.append((first, "", ""))
            while stack:
                number, lead, indent = stack.pop()
                yield from self._run(runs[number], lead, indent)
                if continued_by[number] == tree.NONE:
                    continue
                stack.append((continued_by[number], indent, indent))
                for child in reversed(runs[number].children):
                    if child != continued_by[number]:
                        stack.append((child, indent + signs.fork, indent + signs.vertical))

    def path(self, rows: list[int]) -> Iterator[str]:
        """Yields the entries of a path."""
        yield from self._rows(rows, "", "")

    def findings(self) -> Iterator[str]:
        """Yields the problems."""
        view = self._view
        if not view.is_certain:
            yield self._terminal.paint(f"leaf uncertain: {view.doubt}", "bad")
        if view.unreadable:
            yield self._terminal.paint(f"unreadable: {count(view.unreadable, 'entries')}", "bad")
        shown = view.findings if self._full else view.findings[:FINDINGS_SHOWN]
        for finding in shown:
            yield finding_line(finding, self._terminal)
        if len(view.findings) > len(shown):
            more = len(view.findings) - len(shown)
            yield f"{self._terminal.dots} {more:,} more findings; show them with --full"

    def _tasks(self, tasks: Sequence[SubAgent]) -> Iterator[str]:
        """Yields the sub-agents: id, the entry at which it began, and its title."""
        shown = tasks if self._full else tasks[:TASKS_SHOWN]
        for each in shown:
            at = "" if each.entry_id is None else f" at {escape_controls(each.entry_id)}"
            title = self._terminal.cut(escape_controls(each.title or ""), _NAME_CELLS)
            yield self._terminal.paint(f"sub-agent {escape_controls(each.id)}{at}", "dim") + (title and f": {title}")
        if len(tasks) > len(shown):
            more = count(len(tasks) - len(shown), "more sub-agents")
            yield f"{self._terminal.dots} {more}; show them with --full"

    # --- entries ---

    def _run(self, run: LinearSegment, lead: str, indent: str) -> Iterator[str]:
        """Yields the first and last entries of a run, and notable entries between them."""
        rows = run.rows
        if self._full or len(rows) <= 2 * EDGE + 1:
            yield from self._rows(rows, lead, indent)
            return
        middle = rows[EDGE:-EDGE]
        yield from self._rows(rows[:EDGE], lead, indent)
        hidden: list[int] = []
        for row, following in zip(middle, rows[EDGE + 1 :], strict=False):
            if not self._is_notable(row, following):
                hidden.append(row)
                continue
            yield from self._omitted(hidden, indent)
            yield from self._rows([row], indent, indent)
            hidden = []
        yield from self._omitted(hidden, indent)
        yield from self._rows(rows[-EDGE:], indent, indent)

    def _is_notable(self, row: int, following: int) -> bool:
        kinds = self._view.outline.tree.kinds
        kind = kinds[row] & tree.KIND
        if kind == tree.MODEL_CHANGE and kinds[following] & tree.KIND != kind:
            return True  # of several changes in a row, only the last takes effect
        return kind in _ALWAYS_SHOWN or row == self._view.leaf or row in self._view.labels

    def _omitted(self, rows: list[int], indent: str) -> Iterator[str]:
        if len(rows) == 1:
            yield from self._rows(rows, indent, indent)
        elif rows:
            lengths, signs = self._view.outline.tree.lengths, self._terminal.signs
            size = readable_size(sum(lengths[row] for row in rows))
            yield indent + self._terminal.paint(f"{signs.elided} {signs.dots} {len(rows):,} more, {size}", "dim")

    def _rows(self, rows: list[int], lead: str, indent: str) -> Iterator[str]:
        for batch in batched(rows):
            for row, entry in zip(batch, self._view.entries(batch), strict=True):
                if entry is None:
                    place = f"unreadable: the line at offset {self._view.outline.tree.offsets[row]} is damaged"
                    yield lead + self._sign(row) + self._terminal.paint(place, "bad")
                elif self._full:
                    yield from self._full_entry(row, entry, lead, indent)
                else:
                    yield self._line(row, entry, lead)
                lead = indent

    def _line(self, row: int, entry: Entry, lead: str) -> str:
        """Returns an entry on one line: sign, kind, remarks, text, size and id."""
        terminal, described = self._terminal, self._described(row, entry)
        size = readable_size(self._view.outline.tree.lengths[row])
        cells = max(self._id_cells, id_cells([entry.id]))
        tail = f"  {size:>{_SIZE_CELLS}}  {terminal.cut(escape_controls(entry.id), cells)}"
        room = terminal.width - len(lead) - 2 - _KIND_CELLS - 1 - 2 - _SIZE_CELLS - 2 - cells
        room = max(room, _MIN_TEXT_CELLS)
        remarks = terminal.cut(self._remarks(row, entry, described), room)
        gist = terminal.cut(escape_controls(described.gist), room - terminal.cells(remarks), fill=True)
        kind = self._kind(entry, described)
        return f"{lead}{self._sign(row)}{kind} {terminal.paint(remarks, 'note')}{gist}{terminal.paint(tail, 'dim')}"

    def _full_entry(self, row: int, entry: Entry, lead: str, indent: str) -> Iterator[str]:
        """Yields an entry with its whole text."""
        described = self._described(row, entry)
        facts = [entry.id, readable_size(self._view.outline.tree.lengths[row]), entry.timestamp or "no time"]
        if isinstance(entry, MessageEntry):
            facts += filter(None, (entry.provider, entry.model, brief(entry.usage) if entry.usage else None))
        remarks = self._terminal.paint(self._remarks(row, entry, described), "note")
        yield f"{lead}{self._sign(row)}{self._kind(entry, described)} {remarks}{'  '.join(map(escape_controls, facts))}"
        for line in escape_controls(described.whole, lines=True).split("\n"):
            yield f"{indent}  {line}".rstrip()
        yield indent.rstrip()

    def _described(self, row: int, entry: Entry) -> Description:
        return describe(entry, self._view.outline.visibility.get(row, (None, None)))

    def _kind(self, entry: Entry, described: Description) -> str:
        style = described.kind if isinstance(entry, MessageEntry) else "entry"
        return self._terminal.paint(self._terminal.cut(escape_controls(described.kind), _KIND_CELLS, fill=True), style)

    def _remarks(self, row: int, entry: Entry, described: Description) -> str:
        """Returns remarks on an entry, in brackets."""
        view = self._view
        remarks = ["leaf"] if row == view.leaf else []
        remarks += [f'"{view.labels[row]}"'] if row in view.labels else []
        if view.outline.tree.parents[row] == tree.MISSING:
            remarks.append(f"orphan, parent {entry.parent_id} is missing")
        remarks += described.remarks
        return f"({escape_controls(', '.join(remarks))}) " if remarks else ""

    def _sign(self, row: int) -> str:
        signs, view = self._terminal.signs, self._view
        if row not in view.active:
            return signs.off_path + " "
        return self._terminal.paint(signs.leaf if row == view.leaf else signs.on_path, "active") + " "


def draw_context(context: Context, terminal: Terminal, *, full: bool = False) -> Iterator[str]:
    """Yields the messages of a context, its model and settings, its open calls, and what no reader knows."""
    facts = [count(len(context.messages), "messages"), *filter(None, (context.provider, context.model))]
    facts += [brief(context.settings)] if context.settings else []
    yield terminal.paint(escape_controls(", ".join(facts)), "title")
    yield ""
    cells = id_cells(entry.id for entry in context.entries)
    for entry, message in zip(context.entries, context.messages, strict=True):
        described = describe_message(message, entry.shape if isinstance(entry, MessageEntry) else None)
        kind = terminal.paint(terminal.cut(escape_controls(described.kind), _KIND_CELLS, fill=True), described.kind)
        source = "" if isinstance(entry, MessageEntry) else f"({describe(entry).kind}) "
        if full:
            yield f"{kind} {terminal.paint(source, 'note')}{escape_controls(entry.id)}"
            yield from (f"  {line}".rstrip() for line in escape_controls(described.whole, lines=True).split("\n"))
            yield ""
        else:
            room = max(terminal.width - _KIND_CELLS - 1 - len(source) - 2 - cells, _MIN_TEXT_CELLS)
            id = terminal.cut(escape_controls(entry.id), cells)
            gist = terminal.cut(escape_controls(described.gist), room, fill=True)
            yield f"{kind} {terminal.paint(source, 'note')}{gist}  {terminal.paint(id, 'dim')}"
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
    style = {"error": "bad", "warning": "warning"}.get(finding.severity, "dim")
    places = [f"line {finding.line}, offset {finding.offset}, {finding.length} bytes"] if finding.line else []
    places += [f"entry {escape_controls(finding.entry_id)}"] if finding.entry_id else []
    words = FINDING_CODES[finding.code][1] if finding.code in FINDING_CODES else ""
    words += f": {escape_controls(finding.about)}" if finding.about is not None else ""
    words += f" ({count(finding.times, 'times')})" if finding.times > 1 else ""
    what = terminal.paint(f"{finding.severity} {escape_controls(finding.code)}", style)
    return f"{what}: {', '.join(places) or 'session'}: {words}"


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
