"""`convtree diff`: two branches of a log side by side. Takes no lock and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

import click

from convtree._cli import json_output
from convtree._cli.describe import describe
from convtree._cli.inspect import with_session
from convtree._cli.render import count, id_cells
from convtree._cli.sessions import as_json, opened_log, with_store_for_log
from convtree._cli.terminal import Terminal, write
from convtree._engine.diff import BranchDelta, Diff
from convtree._model.entries import Entry
from convtree._model.terminal_text import escape_controls
from convtree._session.session import Session
from convtree.stores._session_store import SessionStore

_KIND_CELLS, _LEAST_CELLS = 10, 20


@click.command("diff")
@click.argument("log")
@click.argument("a")
@click.argument("b", required=False)
@with_store_for_log
@with_session
@as_json
def diff_command(
    log: str, a: str, b: str | None, store: SessionStore | None, session_id: str | None, as_json: bool
) -> None:
    """Compare the branches of LOG that end at the entries A and B, or at A and the leaf.

    Says which entry both have last, and what each has beyond it: entries, models, tokens. LOG may also be a session of
    another tool.
    """
    with opened_log(log, store, session_id) as session:
        found = session.diff(a) if b is None else session.diff(a, b)
        write([json_output.to_text(json_output.compared(found))] if as_json else _lines(session, found))


def _lines(session: Session, found: Diff) -> Iterator[str]:
    terminal = Terminal()
    shared = [] if found.ancestor_id is None else [session.entry(found.ancestor_id)]
    cells = id_cells(entry.id for entry in (*shared, *found.a.entries, *found.b.entries))
    yield from (f"both {_line(entry, terminal, 5, cells)}" for entry in shared)
    if not shared:
        yield "nothing in common"
    for name, side in (("A", found.a), ("B", found.b)):
        yield ""
        yield terminal.paint(f"{name}: {_facts(side)}", "title")
        yield from (f"  {_line(entry, terminal, 2, cells)}" for entry in side.entries)


def _facts(side: BranchDelta) -> str:
    """Returns how much a side has, with which models, at what cost."""
    facts = [count(len(side.entries), "entries")]
    facts += [f"{count(side.usage.total_tokens, 'tokens')}"] if side.usage.total_tokens else []
    facts += [f"cost {side.usage.cost:.4f}"] if side.usage.cost else []
    for each in side.models:
        name = " ".join(filter(None, (each.provider, each.model))) or "unknown model"
        facts.append(
            f"{escape_controls(name)} ({each.usage.total_tokens:,})" if len(side.models) > 1 else escape_controls(name)
        )
    return ", ".join(facts)


def _line(entry: Entry, terminal: Terminal, lead_cells: int, cells: int) -> str:
    told = describe(entry)
    id = terminal.cut(escape_controls(entry.id), cells)
    kind = terminal.paint(terminal.cut(escape_controls(told.kind), _KIND_CELLS, fill=True), told.kind)
    room = max(terminal.width - lead_cells - _KIND_CELLS - 1 - 2 - cells, _LEAST_CELLS)
    return f"{kind} {terminal.cut(escape_controls(told.gist), room, fill=True)}  {terminal.paint(id, 'dim')}"
