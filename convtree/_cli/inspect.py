"""`convtree inspect`: look into a log. Takes no lock and changes nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

import click

from convtree._cli import graphs, json_output
from convtree._cli.leaf_view import LeafView
from convtree._cli.render import Drawing, draw_context
from convtree._cli.terminal import Terminal, write
from convtree._model.errors import NotALog, SessionNotFound, SeveralSessions
from convtree._model.terminal_text import escape_controls
from convtree._session.session import Session
from convtree.exchange import ImportReport, list_foreign, read_foreign

FOUND = 1  # the exit code when something is wrong with the log
with_session = click.option(
    "--session", "session_id", metavar="ID", help="Of a source with several sessions, this one."
)
_OPTIONS = (
    click.option("--leaf", "leaf_id", metavar="ID", help="Look from this entry instead of the session's leaf."),
    click.option("--context", "part", flag_value="context", help="What a model would see."),
    click.option("--path", "part", flag_value="path", help="The entries from the first to the leaf."),
    click.option("--full", is_flag=True, help="Every entry, with all its text."),
    click.option(
        "--json", "form", flag_value="json", help="One JSON document; with --context, the messages as they are."
    ),
    click.option("--dot", "form", flag_value="dot", help="The tree of runs for Graphviz."),
    click.option("--mermaid", "form", flag_value="mermaid", help="The tree of runs for Mermaid."),
)


class Look(NamedTuple):
    """What is to be shown of a session, and in which form."""

    leaf_id: str | None
    part: str | None
    full: bool
    form: str | None


def looking(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of `Look`, which it gets as its last argument."""

    @wraps(command)
    def run(*arguments: Any, leaf_id: str | None, part: str | None, full: bool, form: str | None, **named: Any) -> None:
        if form in ("dot", "mermaid") and (part or full):
            raise click.UsageError(f"--{form} shows the tree of runs; it does not go with --context, --path or --full")
        command(*arguments, look=Look(leaf_id, part, full, form), **named)

    for option in reversed(_OPTIONS):
        run = option(run)
    return run


@click.command("inspect")
@click.argument("log", type=click.Path(path_type=Path))
@with_session
@looking
@click.pass_context
def inspect_command(ctx: click.Context, log: Path, session_id: str | None, look: Look) -> None:
    """Show what is in LOG: a summary, the tree, and what is wrong with it, if anything.

    The tree reads downwards. The branch of the leaf goes on in its line, the others beside it; of a long stretch
    without a fork only the ends are shown. LOG may also be a session of another tool, shown as it would be imported;
    of a file or a folder of several, it is shown which there are, and with --session one of them.
    """
    try:
        session, source = _opened(log, session_id)
    except SeveralSessions as error:
        if look._replace(form=None) != Look(None, None, False, None) or look.form in ("dot", "mermaid"):
            raise _unchosen(error) from None
        write(_listed(log, as_json=look.form == "json"))
        return
    with session:
        size = None if log.is_dir() else log.stat().st_size
        show(ctx, LeafView(session, look.leaf_id, str(log), size, source), look)


def show(ctx: click.Context, view: LeafView, look: Look) -> None:
    """Writes what is to be shown, and ends the command."""
    match look.form:
        case "json":
            write([json_output.to_text(_document(view, look.leaf_id, look.part, look.full))])
        case "dot":
            write(graphs.dot(view))
        case "mermaid":
            write(graphs.mermaid(view))
        case _:
            write(_text(view, look.leaf_id, look.part, look.full))
    sys.stdout.flush()
    ctx.exit(0 if view.is_sound else FOUND)


def opened_for_reading(log: Path, session_id: str | None = None) -> tuple[Session, ImportReport | None]:
    """Opens a log for reading, or a session of another tool; then says how."""
    try:
        return _opened(log, session_id)
    except SeveralSessions as error:
        raise _unchosen(error) from None


def _unchosen(error: SeveralSessions) -> click.UsageError:
    return click.UsageError(f"{error} (--session ID); `convtree inspect` lists them")


def _listed(source: Path, *, as_json: bool) -> Iterator[str]:
    """Yields the sessions of a source, one on a line: how to choose it, when it began, how long it is, and its name."""
    found = list_foreign(source)
    if as_json:
        yield json_output.to_text(json_output.store_document("sources", sessions=list(found)))
        return
    terminal = Terminal()
    for each in found:
        when = (each.begun or "")[:16].replace("T", " ")
        facts = f"{escape_controls(each.id):<32}  {when:16}  {each.messages:>6,}  "
        title = terminal.cut(
            escape_controls(each.name or each.first_user_message or ""), max(terminal.width - len(facts), 16)
        )
        place = f"  {escape_controls(os.path.relpath(each.source, source))}" if source.is_dir() else ""
        yield terminal.paint(facts, "dim") + title + terminal.paint(place, "dim")
    yield terminal.paint("several sessions: --session ID shows one", "note")


def _opened(log: Path, session_id: str | None) -> tuple[Session, ImportReport | None]:
    if log.is_dir():
        return read_foreign(log, session_id=session_id)
    try:
        session = Session.open(log, mode="r")
    except NotALog:
        try:
            return read_foreign(log, session_id=session_id)
        except NotALog:
            raise NotALog(f"{log}: neither a convtree log nor a session of a known format") from None
    if session_id not in (None, session.id):
        session.close()
        raise SessionNotFound(f"{log}: no session {session_id!r} here; it has {session.id}")
    return session, None


def _text(view: LeafView, leaf_id: str | None, part: str | None, full: bool) -> Iterator[str]:
    terminal = Terminal()
    drawing = Drawing(view, terminal, full=full)
    if part == "context":
        yield from draw_context(_context(view, leaf_id), terminal, full=full)
    else:
        lines = drawing.path(view.path()) if part == "path" else drawing.graph()
        yield from drawing.summary()
        yield ""
        yield from lines
    if not view.is_sound or view.findings:
        yield ""
        yield from drawing.findings()


def _document(view: LeafView, leaf_id: str | None, part: str | None, full: bool) -> dict[str, Any]:
    known = json_output.session_document(view)
    if part == "context":
        return known | json_output.context_document(_context(view, leaf_id))
    if part == "path":
        return known | {"entries": json_output.entries(view, view.path())}
    known["runs"] = json_output.runs(view)
    if full:
        nodes = (row for row in range(len(view.outline.tree)) if view.outline.tree.is_node(row))
        known["entries"] = json_output.entries(view, nodes)
    return known


def _context(view: LeafView, leaf_id: str | None) -> Any:
    view.check_certain()
    return view.session.build_context() if leaf_id is None else view.session.build_context(leaf=leaf_id)
