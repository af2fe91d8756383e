"""The commands that look at a store: `ls`, `show`, `search`, `latest`, `resume`, `usage`. They change nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import click

from convtree._catalogue.types import SessionInfo
from convtree._cli import document
from convtree._cli.inspect import Look, looking, opened_for_reading, show
from convtree._cli.render import count
from convtree._cli.screen import Screen, telling, write
from convtree._cli.view import View
from convtree._model.errors import SessionNotFound
from convtree._model.terminal_text import escape_controls
from convtree._model.usage import Usage
from convtree._session.session import Session
from convtree.stores._open import open_store
from convtree.stores._results import Hit, UsageRow
from convtree.stores._session_store import SessionStore
from convtree.stores.base import Progress, StoreFinding

FOUND = 1  # the exit code when something in the store is no whole session
_ID_CELLS, _TIME_CELLS = 32, 16
_MANY = 1000  # sessions from which on it is told how far it is


def opened(ctx: click.Context, param: click.Parameter, url: str | None) -> SessionStore | None:
    """Opens the store at a URL, which must be there, for as long as a command runs."""
    if url is None:
        return None
    try:
        store = open_store(url, create=False)
    except (ValueError, ImportError) as error:
        raise click.BadParameter(str(error), ctx, param) from None
    ctx.call_on_close(store.close)
    return store


with_store = click.option(
    "-s",
    "--store",
    callback=opened,
    envvar="CONVTREE_URL",
    required=True,
    metavar="URL",
    help="A folder, sqlite:///…, postgresql://…; else CONVTREE_URL says it.",
)
with_store_for_log = click.option(
    "-s", "--store", callback=opened, metavar="URL", help="LOG is the id of a session in this store."
)
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document.")


def opened_log(log: str, store: SessionStore | None, session_id: str | None = None) -> Session:
    """Opens a log, another tool's session, or a session in a store, to look at."""
    if store is None:
        return opened_for_reading(Path(log), session_id)[0]
    return store.open(log, read_only=True)


@click.command("ls")
@with_store
@click.option("--cwd", metavar="DIR", help="Begun in this directory.")
@click.option("--owner", metavar="NAME", help="Of this owner.")
@click.option("--all", "everything", is_flag=True, help="Archived sessions, too.")
@click.option("--tasks", is_flag=True, help="Sub-agents' sessions, too.")
@click.option("--text", metavar="WORDS", help="With these words in the name or in one message.")
@click.option("--since", metavar="TIME", help="Active since then (RFC 3339).")
@click.option("--until", metavar="TIME", help="Not active since then.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@click.option("--cursor", help="Go on where an earlier list ended.")
@as_json
@click.pass_context
def ls_command(ctx: click.Context, /, store: SessionStore, everything: bool, as_json: bool, **wanted: Any) -> None:
    """List the sessions of a store, last active first."""
    try:
        page = store.list(archived=None if everything else False, progress=telling_progress(), **wanted)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    findings = store.findings
    if as_json:
        parts: dict[str, Any] = {"sessions": page.sessions, "cursor": page.cursor, "findings": findings}
        write([document.written(document.of_store("ls", **parts))])
    else:
        screen = Screen()
        id_cells = max((len(info.id) for info in page), default=0)
        write(_session_line(info, screen, max(id_cells, _ID_CELLS)) for info in page)
        if page.cursor is not None:
            write([screen.paint(f"more: --cursor {escape_controls(page.cursor)}", "dim")])
        write(_finding_lines(findings, screen))
    sys.stdout.flush()
    ctx.exit(FOUND if findings else 0)


@click.command("show")
@click.argument("id")
@with_store
@looking
@click.pass_context
def show_command(ctx: click.Context, store: SessionStore, id: str, look: Look) -> None:
    """Show a session as `convtree inspect` shows a log."""
    with store.open(id, read_only=True) as session:
        show(ctx, View(session, look.leaf_id, f"{store.location} {id}"), look)


@click.command("search")
@click.argument("words", nargs=-1, required=True)
@with_store
@click.option("--cwd", metavar="DIR", help="In sessions begun in this directory.")
@click.option("--owner", metavar="NAME", help="In sessions of this owner.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@as_json
def search_command(store: SessionStore, words: tuple[str, ...], as_json: bool, **wanted: Any) -> None:
    """Find the messages in which all WORDS occur, on whatever branch, the best first."""
    hits = store.search(" ".join(words), **wanted)
    if as_json:
        write([document.written(document.of_store("search", hits=hits))])
    else:
        screen = Screen()
        write(_hit_line(hit, screen) for hit in hits)


@click.command("latest")
@with_store
@click.option("--cwd", metavar="DIR", help="Begun in this directory.")
@click.option("--owner", metavar="NAME", help="Of this owner.")
@as_json
def latest_command(store: SessionStore, as_json: bool, **wanted: Any) -> None:
    """Print the id of the session that was last active and is not archived."""
    _print_one(store, store.latest(**wanted), as_json)


@click.command("resume")
@with_store
@click.option("--cwd", default=os.getcwd, metavar="DIR", help="Begun in this directory.  [default: this one]")
@click.option("--git-root", metavar="DIR", help="Or under this one.  [default: the repository's, if there is one]")
@click.option("--owner", metavar="NAME", help="Of this owner.")
@click.option("--max-age", type=float, default=60, show_default=True, metavar="MINUTES", help="Active since then.")
@as_json
def resume_command(
    store: SessionStore, cwd: str, git_root: str | None, owner: str | None, max_age: float, as_json: bool
) -> None:
    """Print the id of the session to go on with here."""
    root = git_root or _git_root(Path(cwd))
    found = store.resumable(cwd=cwd, git_root=root, owner=owner, max_age=timedelta(minutes=max_age))
    _print_one(store, found, as_json)


@click.command("usage")
@click.argument("id", required=False)
@with_store
@click.option("--by", type=click.Choice(["session", "model", "branch"]), default="session", show_default=True)
@click.option("--cwd", metavar="DIR", help="Of sessions begun in this directory.")
@click.option("--owner", metavar="NAME", help="Of sessions of this owner.")
@as_json
def usage_command(
    store: SessionStore, id: str | None, by: Literal["session", "model", "branch"], as_json: bool, **wanted: Any
) -> None:
    """Add up the tokens and the stored cost, of the session ID or of all."""
    try:
        rows = store.usage(id, by=by, **wanted)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        write([document.written(document.of_store("usage", by=by, rows=rows))])
    else:
        write(_usage_lines(rows))


def _print_one(store: SessionStore, found: SessionInfo | None, as_json: bool) -> None:
    if found is None:
        raise SessionNotFound(f"{store.location}: there is no such session")
    write([document.written(document.of_store("session", session=found)) if as_json else found.id])


def _git_root(directory: Path) -> str | None:
    return next((str(each) for each in (directory, *directory.parents) if (each / ".git").exists()), None)


def _session_line(info: SessionInfo, screen: Screen, id_cells: int) -> str:
    title = info.name or info.first_user_message or ""
    archived = " (archived)" if info.archived else ""
    when = (info.last_activity or "")[:_TIME_CELLS].replace("T", " ")
    facts = f"{screen.cut(escape_controls(info.id), id_cells, fill=True)}  {when:{_TIME_CELLS}}  {info.messages:>6,}  "
    room = max(screen.width - len(facts) - len(archived), 16)
    return screen.paint(facts, "dim") + screen.cut(escape_controls(title), room) + archived


def _hit_line(hit: Hit, screen: Screen) -> str:
    aside = "" if hit.on_path else screen.paint(" (side branch)", "note")
    place = screen.paint(f"{escape_controls(hit.session_id)} {escape_controls(hit.entry_id)}", "dim")
    return f"{place} {escape_controls(hit.role or '')}: {escape_controls(hit.snippet)}{aside}"


def _finding_lines(findings: Iterable[StoreFinding], screen: Screen) -> Iterator[str]:
    return (
        f"{screen.paint(escape_controls(each.code), 'warning')}: {escape_controls(each.place)}" for each in findings
    )


def _usage_lines(rows: Iterable[UsageRow]) -> Iterator[str]:
    total = Usage()
    for row in rows:
        of = row.leaf_id or row.session_id or " ".join(filter(None, (row.provider, row.model))) or "unknown model"
        yield f"{_usage_words(row.usage)}  {escape_controls(of)}"
        total += row.usage
    yield f"{_usage_words(total)}  in all"


def _usage_words(usage: Usage) -> str:
    cached = f"{usage.cache_read_tokens:>12,} {usage.cache_write_tokens:>12,}"
    return f"{usage.input_tokens:>12,} {usage.output_tokens:>12,} {cached} {usage.cost:>10.4f}"


def telling_progress() -> Progress | None:
    """Shows how far something with many sessions is."""
    return telling(lambda done, of: f"{count(done, 'sessions')} of {of:,}", _MANY)
