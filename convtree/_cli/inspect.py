"""`convtree inspect`: shows a log, or another tool's session. Takes no lock and changes nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from convtree._cli import graphs, json_output
from convtree._cli.choosing import located, refuse_session, with_store_for_log
from convtree._cli.completing import complete_log
from convtree._cli.entry_lines import EntryLines
from convtree._cli.entry_times import EntryTimes
from convtree._cli.exit_codes import FOUND
from convtree._cli.gap_advice import explained
from convtree._cli.last_list import remember_list
from convtree._cli.leaf_view import LeafView, sub_agents
from convtree._cli.line_layout import Layout, id_length
from convtree._cli.look_options import LookOptions, with_look_options
from convtree._cli.opening import open_source, several
from convtree._cli.output import write, write_paged
from convtree._cli.render import Frame, draw_context
from convtree._cli.session_table import source_lines
from convtree._cli.terminal import Terminal
from convtree._cli.times import zone_of
from convtree._cli.turn_lines import TurnLines
from convtree._engine.context import Context
from convtree._engine.leaf import LEAF
from convtree._model.errors import SeveralSessions
from convtree._model.usage import usage_stored_in
from convtree.exchange import list_foreign
from convtree.stores._session_store import SessionStore

with_session = click.option(
    "--session", "session_id", metavar="ID", help="Choose a session if the source holds several."
)


@click.command("inspect")
@click.argument("log", shell_complete=complete_log)
@with_store_for_log
@with_session
@with_look_options
@click.pass_context
def inspect_command(
    ctx: click.Context, log: str, store: SessionStore | None, session_id: str | None, look: LookOptions
) -> None:
    """Show a log: a summary, the tree, and any problems.

    LOG is a convtree log, or a file or folder of another tool, shown as it would be imported. If it holds several
    sessions, they are listed; choose one with --session, by its id or its number in the list. If there is no such file,
    it is a session of the store, as for `show`.

    The tree reads downwards. Each prompt has a line with its time and the beginning of its id; the line below has the
    tools and the last words of the model, and the tokens and the cost of the turn. The branch of the leaf stays at the
    left. Other branches hang from the entry at which they leave it.
    """
    found, name = located(log, store)
    if found is not None:
        refuse_session(session_id)
        show_stored(ctx, found, name, look)
        return
    path = Path(name)
    try:
        session, source = open_source(path, session_id)
    except SeveralSessions as error:
        if not look.is_default_text:
            raise several(error) from None
        write(_source_list(path, look))
        return
    with session:
        size = None if path.is_dir() else path.stat().st_size
        show(ctx, LeafView(session, look.leaf_id, name, size, source), look)


def show_stored(ctx: click.Context, store: SessionStore, id: str, look: LookOptions) -> None:
    """Prints a session of a store, with its sub-agents, and ends the command."""
    with store.open(id, read_only=True) as session:
        view = LeafView(session, look.leaf_id, f"{store.location} {id}")
        view.tasks = sub_agents(store.children(id))
        show(ctx, view, look)


def show(ctx: click.Context, view: LeafView, look: LookOptions) -> None:
    """Prints a session in the requested form and ends the command."""
    if look.allow_gaps:
        view.allow_gaps()
    with explained(view.session):
        _print(view, look)
    sys.stdout.flush()
    ctx.exit(0 if view.is_sound else FOUND)


def _print(view: LeafView, look: LookOptions) -> None:
    match look.form:
        case "json":
            write([json_output.to_text(_document(view, look))])
        case "dot":
            write(graphs.dot(view))
        case "mermaid":
            write(graphs.mermaid(view))
        case _:
            (write_paged if look.pager else write)(_text(view, look))


def _source_list(source: Path, look: LookOptions) -> Iterator[str]:
    """Yields the sessions of a source, as the rows of a list whose numbers `--session` takes."""
    found = list(list_foreign(source))
    if look.form == "json":
        yield json_output.to_text(json_output.store_document("sources", sessions=found))
        return
    remember_list(str(source), [each.id for each in found])
    terminal = Terminal()
    yield from source_lines(found, source, zone_of(look.utc), terminal, verbose=look.verbose)
    number = "" if terminal.is_piped else ", or with its number"
    yield terminal.paint(f"Several sessions: show one with --session ID{number}.", "note")


def _text(view: LeafView, look: LookOptions) -> Iterator[str]:
    terminal = Terminal()
    frame = Frame(view, terminal, full=look.full)
    if look.part == "context":
        context = _context(view, look.leaf_id)
        yield from draw_context(context, terminal, view.gaps_in(context), full=look.full)
    else:
        drawing = _drawing(view, terminal, look)
        lines = drawing.path(view.path()) if look.part == "path" else drawing.tree()
        yield from frame.summary()
        yield ""
        yield from lines
    if not view.is_sound or view.findings:
        yield ""
        yield from frame.findings()


def _drawing(view: LeafView, terminal: Terminal, look: LookOptions) -> TurnLines | EntryLines:
    times = EntryTimes(utc=look.utc)
    if look.full or look.verbose:
        return EntryLines(view, terminal, times, full=look.full)
    layout = Layout(
        terminal,
        id_length=id_length(entry.id for entry in view.sample),
        has_times=any(times.read(entry.timestamp) is not None for entry in view.sample),
        has_usage=any(usage_stored_in(entry) is not None for entry in view.sample),
    )
    return TurnLines(view, layout, times)


def _document(view: LeafView, look: LookOptions) -> dict[str, Any]:
    document = json_output.session_document(view)
    if look.part == "context":
        return document | json_output.context_document(_context(view, look.leaf_id))
    if look.part == "path":
        return document | {"entries": json_output.entries(view, view.path())}
    document["runs"] = json_output.runs(view)
    if look.full:
        nodes = (row for row in range(len(view.outline.tree)) if view.outline.tree.is_node(row))
        document["entries"] = json_output.entries(view, nodes)
    return document


def _context(view: LeafView, leaf_id: str | None) -> Context:
    view.check_certain()
    leaf = LEAF if leaf_id is None else view.leaf_id
    return view.session.build_context(leaf=leaf, allow_gaps=view.allows_gaps)
