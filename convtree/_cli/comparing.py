"""`convtree diff`: compares two branches of a log. Takes no lock and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import click

from convtree._cli import json_output
from convtree._cli.choosing import open_log, with_store_for_log
from convtree._cli.completing import complete_entry, complete_log
from convtree._cli.describe import describe
from convtree._cli.gap_advice import explained
from convtree._cli.inspect import with_session
from convtree._cli.look_options import with_gaps
from convtree._cli.output import write
from convtree._cli.render import count
from convtree._cli.sessions import as_json
from convtree._cli.short_ids import entry_ids
from convtree._cli.terminal import Terminal, cost_text, wrap
from convtree._engine.diff import BranchDelta, Diff
from convtree._model.entries import Entry
from convtree._model.terminal_text import escape_controls
from convtree._session.session import Session
from convtree._tools.gaps import MendedSession
from convtree.stores._session_store import SessionStore

_KIND_CELLS, _MIN_TEXT_CELLS = 10, 8


@click.command("diff")
@click.argument("log", shell_complete=complete_log)
@click.argument("a", shell_complete=complete_entry)
@click.argument("b", required=False, shell_complete=complete_entry)
@with_store_for_log
@with_session
@with_gaps
@as_json
def diff_command(
    log: str,
    a: str,
    b: str | None,
    store: SessionStore | None,
    session_id: str | None,
    allow_gaps: bool,
    as_json: bool,
) -> None:
    """Compare two branches of a log.

    The branches end at the entries with the ids A and B. If B is omitted, the second one ends at the leaf. The output
    shows their last common entry, and the entries, models and tokens that each branch adds to it.

    LOG is a convtree log, or a file or folder of another tool.
    """
    with open_log(log, store, session_id) as session, explained(session):
        a, b = session.resolve(a), None if b is None else session.resolve(b)
        found, source = _compare(session, a, b, allow_gaps)
        write([json_output.to_text(json_output.compared(found))] if as_json else _lines(source, found))


def _compare(session: Session, a: str, b: str | None, allow_gaps: bool) -> tuple[Diff, Session]:
    """Returns the difference of two branches, and the session to read their last common entry from."""
    if allow_gaps:
        mended = MendedSession(session)
        return mended.diff(a, b), mended.session
    return session.diff(a) if b is None else session.diff(a, b), session


def _lines(session: Session, found: Diff) -> Iterator[str]:
    terminal = Terminal()
    shared = [] if found.ancestor_id is None else [session.entry(found.ancestor_id)]
    ids = entry_ids((entry.id for entry in (*shared, *found.a.entries, *found.b.entries)), terminal)
    yield from (f"both {_line(entry, terminal, 5, ids)}" for entry in shared)
    if not shared:
        yield "nothing in common"
    for name, branch in (("A", found.a), ("B", found.b)):
        yield ""
        facts = f"{name}: {_facts(branch)}"
        lines = [facts] if terminal.is_piped else wrap(facts, terminal.width)
        yield from (terminal.paint(line, "title") for line in lines)
        yield from (f"  {_line(entry, terminal, 2, ids)}" for entry in branch.entries)


def _facts(branch: BranchDelta) -> str:
    """Returns the entries, tokens, cost and models of one branch in words."""
    facts = [count(len(branch.entries), "entries")]
    facts += [f"{count(branch.usage.total_tokens, 'tokens')}"] if branch.usage.total_tokens else []
    facts += [f"cost {cost}"] if (cost := cost_text(branch.usage.cost, 4)) else []
    for each in branch.models:
        name = " ".join(filter(None, (each.provider, each.model))) or "unknown model"
        facts.append(
            f"{escape_controls(name)} ({each.usage.total_tokens:,})"
            if len(branch.models) > 1
            else escape_controls(name)
        )
    return ", ".join(facts)


def _line(entry: Entry, terminal: Terminal, indent_cells: int, ids: Mapping[str, str]) -> str:
    described = describe(entry)
    id, cells = ids[entry.id], max(map(terminal.cells, ids.values()))
    kind = terminal.paint(terminal.cut(escape_controls(described.kind), _KIND_CELLS, fill=True), described.kind)
    room = max(terminal.width - indent_cells - _KIND_CELLS - 1 - 2 - cells, _MIN_TEXT_CELLS)
    return f"{kind} {terminal.cut(escape_controls(described.gist), room, fill=True)}  {terminal.paint(id, 'dim')}"
