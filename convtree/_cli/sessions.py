"""The commands that read a store: `ls`, `show`, `search`, `latest`, `resume`, `usage`. They change nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, Literal

import click

from convtree._catalogue.types import LedgerRow, SessionInfo
from convtree._cli import json_output
from convtree._cli.choosing import session_id_of, session_id_or_text, with_listed_store, with_store
from convtree._cli.inspect import show_stored
from convtree._cli.last_list import remember_list
from convtree._cli.look_options import LookOptions, with_look_options
from convtree._cli.output import progress_on_stderr, write
from convtree._cli.render import count
from convtree._cli.terminal import Terminal
from convtree._logs.directories import find_git_root
from convtree._model.errors import SessionNotFound
from convtree._model.terminal_text import escape_controls
from convtree._model.usage import Usage
from convtree.stores._results import Hit, Page, UsageRow
from convtree.stores._session_store import SessionStore
from convtree.stores.base import Progress, StoreFinding

FOUND = 1  # exit code: a file in the store is not a complete session
_ID_CELLS, _TIME_CELLS, _MIN_TITLE_CELLS = 32, 16, 16
_MANY = 1000  # progress is printed from this number of sessions on


as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.command("ls")
@with_listed_store
@click.option("--cwd", metavar="DIR", help="Only sessions of this directory.")
@click.option("--owner", metavar="NAME", help="Only sessions of this owner.")
@click.option("--all", "everything", is_flag=True, help="Include archived sessions.")
@click.option("--held", is_flag=True, default=None, help="Only sessions on hold.")
@click.option("--tasks", is_flag=True, help="Include sessions of sub-agents.")
@click.option("--parent", metavar="ID", help="Only forks of this session; with --tasks, its sub-agents too.")
@click.option("--text", metavar="WORDS", help="Only sessions with all these words in the name or in one message.")
@click.option("--since", metavar="TIME", help="Only sessions active at TIME or later, as in 2026-01-31T00:00:00Z.")
@click.option("--until", metavar="TIME", help="Only sessions last active before TIME.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="The most to list."
)
@click.option("--cursor", metavar="CURSOR", help="Continue a list; the end of a page shows its cursor.")
@as_json
@click.pass_context
def ls_command(ctx: click.Context, /, store: SessionStore, everything: bool, as_json: bool, **filters: Any) -> None:
    """List sessions, most recently active first.

    The columns are id, time of the last activity (UTC), number of messages, and the name or else the first question.
    The last line says how many sessions of sub-agents would be listed with --tasks.
    """
    if filters["parent"] is not None:
        filters["parent"] = session_id_or_text(store, filters["parent"])
    filters |= {"archived": None if everything else False}
    try:
        page = store.list(progress=session_progress(), **filters)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    hidden = 0 if filters["tasks"] else _hidden_tasks(store, page, filters)
    findings = store.findings
    if as_json:
        parts: dict[str, Any] = {"sessions": page.sessions, "cursor": page.cursor, "findings": findings}
        parts["hidden_tasks"] = hidden
        write([json_output.to_text(json_output.store_document("ls", **parts))])
    else:
        remember_list(store.location, [info.id for info in page])
        terminal = Terminal()
        id_cells = max((len(info.id) for info in page), default=0)
        write(_session_line(info, terminal, max(id_cells, _ID_CELLS)) for info in page)
        if page.cursor is not None:
            write([terminal.paint(f"more: --cursor {escape_controls(page.cursor)}", "dim")])
        if hidden:
            them = "it" if hidden == 1 else "them"
            write([terminal.paint(f"{count(hidden, 'sub-agents')} not shown; --tasks shows {them}", "dim")])
        write(_finding_lines(findings, terminal))
    sys.stdout.flush()
    ctx.exit(FOUND if findings else 0)


@click.command("show")
@click.argument("id")
@with_store
@with_look_options
@click.pass_context
def show_command(ctx: click.Context, store: SessionStore, id: str, look: LookOptions) -> None:
    """Show a session of a store.

    The output is that of `convtree inspect`, with the session's sub-agents.
    """
    show_stored(ctx, store, session_id_of(store, id), look)


@click.command("search")
@click.argument("words", nargs=-1, required=True)
@with_store
@click.option("--cwd", metavar="DIR", help="Only sessions of this directory.")
@click.option("--owner", metavar="NAME", help="Only sessions of this owner.")
@click.option("--tasks", is_flag=True, help="Search sessions of sub-agents, too.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="The most to list."
)
@as_json
def search_command(store: SessionStore, words: tuple[str, ...], as_json: bool, **filters: Any) -> None:
    """Find messages that contain all WORDS.

    All branches are searched, archived sessions too. The best match comes first. Each line shows the session id, the
    entry id, the role and an excerpt.
    """
    hits = store.search(" ".join(words), **filters)
    if as_json:
        write([json_output.to_text(json_output.store_document("search", hits=hits))])
    else:
        remember_list(store.location, [hit.session_id for hit in hits])
        terminal = Terminal()
        write(_hit_line(hit, terminal) for hit in hits)


@click.command("latest")
@with_store
@click.option("--cwd", metavar="DIR", help="Only sessions of this directory.")
@click.option("--owner", metavar="NAME", help="Only sessions of this owner.")
@as_json
def latest_command(store: SessionStore, as_json: bool, **filters: Any) -> None:
    """Print the id of the most recently active session.

    Archived sessions do not count.
    """
    found = store.latest(**filters)
    if found is not None and sys.stdout.isatty():  # a program that asks for the id does not change what numbers mean
        remember_list(store.location, [found.id])
    _print_session(store, found, as_json)


@click.command("resume")
@with_store
@click.option("--cwd", default=os.getcwd, metavar="DIR", help="Sessions of this directory.  [default: the current one]")
@click.option("--git-root", metavar="DIR", help="Sessions of this repository, too.  [default: that of --cwd]")
@click.option("--owner", metavar="NAME", help="Only sessions of this owner.")
@click.option(
    "--max-age", type=float, default=60, show_default=True, metavar="MINUTES", help="Only sessions active since then."
)
@as_json
def resume_command(
    store: SessionStore, cwd: str, git_root: str | None, owner: str | None, max_age: float, as_json: bool
) -> None:
    """Print the id of the session to continue here.

    That is the most recently active session of this directory or of its git repository. Archived sessions do not
    count.
    """
    root = git_root or find_git_root(cwd)
    found = store.resumable(cwd=cwd, git_root=root, owner=owner, max_age=timedelta(minutes=max_age))
    _print_session(store, found, as_json)


@click.command("usage")
@click.argument("id", required=False)
@with_store
@click.option(
    "--by",
    type=click.Choice(["session", "model", "branch"]),
    default="session",
    show_default=True,
    help="Print one line for each of these.",
)
@click.option("--cwd", metavar="DIR", help="Only sessions of this directory.")
@click.option("--owner", metavar="NAME", help="Only sessions of this owner.")
@as_json
def usage_command(
    store: SessionStore, id: str | None, by: Literal["session", "model", "branch"], as_json: bool, **filters: Any
) -> None:
    """Sum up tokens and cost, of one session or of all.

    The columns are input tokens, output tokens, tokens read from the cache, tokens written to the cache, and cost.
    `--by branch` needs an ID. Without ID and `--cwd`, what deleted sessions had used is a line of its own.
    """
    try:
        rows = store.usage(None if id is None else session_id_of(store, id), by=by, **filters)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    deleted = store.ledger(owner=filters["owner"]) if id is None and filters["cwd"] is None else []
    if as_json:
        write([json_output.to_text(json_output.store_document("usage", by=by, rows=rows, deleted=deleted))])
    else:
        write(_usage_lines(rows, deleted))


def _print_session(store: SessionStore, found: SessionInfo | None, as_json: bool) -> None:
    if found is None:
        raise SessionNotFound(f"{store.location}: no matching session")
    write([json_output.to_text(json_output.store_document("session", session=found)) if as_json else found.id])


def _hidden_tasks(store: SessionStore, page: Page, filters: dict[str, Any]) -> int:
    """Returns how many sessions of sub-agents `--tasks` would add to the list that `page` is a part of."""
    counted = {name: value for name, value in filters.items() if name not in ("limit", "cursor")}
    is_whole = page.cursor is None and filters["cursor"] is None
    shown = len(page) if is_whole else store.count(**counted)
    return max(store.count(**counted | {"tasks": True}) - shown, 0)  # others may have deleted some meanwhile


def _session_line(info: SessionInfo, terminal: Terminal, id_cells: int) -> str:
    title = info.name or info.first_user_message or ""
    flags = (" (archived)" if info.archived else "") + (" (held)" if info.held else "")
    when = (info.last_activity or "")[:_TIME_CELLS].replace("T", " ")
    id = terminal.cut(escape_controls(info.id), id_cells, fill=True)
    facts = f"{id}  {when:{_TIME_CELLS}}  {info.messages:>6,}  "
    room = max(terminal.width - len(facts) - len(flags), _MIN_TITLE_CELLS)
    return terminal.paint(facts, "dim") + terminal.cut(escape_controls(title), room) + flags


def _hit_line(hit: Hit, terminal: Terminal) -> str:
    branch = "" if hit.on_path else terminal.paint(" (side branch)", "note")
    ids = terminal.paint(f"{escape_controls(hit.session_id)} {escape_controls(hit.entry_id)}", "dim")
    return f"{ids} {escape_controls(hit.role or '')}: {escape_controls(hit.snippet)}{branch}"


def _finding_lines(findings: Iterable[StoreFinding], terminal: Terminal) -> Iterator[str]:
    for each in findings:
        of = "" if each.of is None else f" (of {escape_controls(each.of)})"
        yield f"{terminal.paint(escape_controls(each.code), 'warning')}: {escape_controls(each.place)}{of}"


def _usage_lines(rows: Iterable[UsageRow], deleted: Sequence[LedgerRow]) -> Iterator[str]:
    total = Usage()
    for row in rows:
        name = row.leaf_id or row.session_id or " ".join(filter(None, (row.provider, row.model))) or "unknown model"
        yield f"{_usage_columns(row.usage)}  {escape_controls(name)}"
        total += row.usage
    if deleted:
        gone = sum((row.usage for row in deleted), Usage())
        yield f"{_usage_columns(gone)}  deleted sessions"
        total += gone
    yield f"{_usage_columns(total)}  total"


def _usage_columns(usage: Usage) -> str:
    cached = f"{usage.cache_read_tokens:>12,} {usage.cache_write_tokens:>12,}"
    return f"{usage.input_tokens:>12,} {usage.output_tokens:>12,} {cached} {usage.cost:>10.4f}"


def session_progress() -> Progress | None:
    """Returns a callback that prints how many sessions are done; None if stderr is not a terminal."""
    return progress_on_stderr(lambda done, total: f"{count(done, 'sessions')} of {total:,}", _MANY)
