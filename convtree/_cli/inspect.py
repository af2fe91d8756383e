"""`convtree inspect`: shows a log, or another tool's session. Takes no lock and changes nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from convtree._cli import graphs, json_output
from convtree._cli.choosing import located, refuse_session, with_store_for_log
from convtree._cli.completing import complete_log
from convtree._cli.exit_codes import FOUND
from convtree._cli.leaf_view import LeafView, sub_agents
from convtree._cli.look_options import LookOptions, with_look_options
from convtree._cli.opening import open_source, several
from convtree._cli.output import write
from convtree._cli.render import Drawing, draw_context
from convtree._cli.terminal import Terminal
from convtree._engine.context import Context
from convtree._model.errors import SeveralSessions
from convtree._model.terminal_text import escape_controls
from convtree.exchange import list_foreign
from convtree.stores._session_store import SessionStore

_MIN_TITLE_CELLS = 16
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
    sessions, they are listed; choose one with --session. If there is no such file, it is a session of the store, as for
    `show`.

    The tree reads downwards. The branch of the leaf continues at the left; other branches are indented beside it. Of a
    long stretch without a branching, only the first and last entries are shown.
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
        write(_source_list(path, as_json=look.form == "json"))
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
    match look.form:
        case "json":
            write([json_output.to_text(_document(view, look))])
        case "dot":
            write(graphs.dot(view))
        case "mermaid":
            write(graphs.mermaid(view))
        case _:
            write(_text(view, look))
    sys.stdout.flush()
    ctx.exit(0 if view.is_sound else FOUND)


def _source_list(source: Path, *, as_json: bool) -> Iterator[str]:
    """Yields the sessions of a source, one per line: id, start, number of messages, title."""
    found = list_foreign(source)
    if as_json:
        yield json_output.to_text(json_output.store_document("sources", sessions=list(found)))
        return
    terminal = Terminal()
    for each in found:
        when = (each.begun or "")[:16].replace("T", " ")
        facts = f"{escape_controls(each.id):<32}  {when:16}  {each.messages:>6,}  "
        title = escape_controls(each.title or "")
        title = terminal.cut(title, max(terminal.width - len(facts), _MIN_TITLE_CELLS))
        file = f"  {escape_controls(os.path.relpath(each.source, source))}" if source.is_dir() else ""
        yield terminal.paint(facts, "dim") + title + terminal.paint(file, "dim")
    yield terminal.paint("Several sessions: show one with --session ID.", "note")


def _text(view: LeafView, look: LookOptions) -> Iterator[str]:
    terminal = Terminal()
    drawing = Drawing(view, terminal, full=look.full)
    if look.part == "context":
        yield from draw_context(_context(view, look.leaf_id), terminal, full=look.full)
    else:
        lines = drawing.path(view.path()) if look.part == "path" else drawing.graph()
        yield from drawing.summary()
        yield ""
        yield from lines
    if not view.is_sound or view.findings:
        yield ""
        yield from drawing.findings()


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
    return view.session.build_context() if leaf_id is None else view.session.build_context(leaf=view.leaf_id)
