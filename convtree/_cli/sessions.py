"""The commands that read a store: `ls`, `show`, `search`, `latest`, `resume`, `usage`. They change nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import click

from convtree._catalogue.types import SessionInfo
from convtree._cli import json_output, times
from convtree._cli.choosing import session_id_of, session_id_or_text, why_empty, with_listed_store, with_store
from convtree._cli.completing import complete_session
from convtree._cli.exit_codes import FOUND
from convtree._cli.hit_ids import hit_ids
from convtree._cli.hit_lines import HitIds, hit_lines
from convtree._cli.inspect import show_stored
from convtree._cli.last_list import remember_list
from convtree._cli.look_options import LookOptions, with_look_options
from convtree._cli.number_types import Count
from convtree._cli.output import write, write_stderr
from convtree._cli.progress import progress
from convtree._cli.render import count
from convtree._cli.session_table import ids_shown, session_lines
from convtree._cli.short_ids import entry_ids
from convtree._cli.store_findings import store_finding_lines
from convtree._cli.terminal import Terminal, wrap
from convtree._cli.time_options import Range, age_option, with_range, with_utc
from convtree._cli.usage_table import deleted_between, usage_lines
from convtree._logs.directories import find_git_root
from convtree._model.errors import SessionNotFound
from convtree._model.terminal_text import escape_controls
from convtree.stores._results import Page
from convtree.stores._session_store import SessionStore
from convtree.stores.base import StoreFinding

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.command("ls")
@with_listed_store
@click.option("--cwd", metavar="DIR", help="Only sessions of this directory.")
@click.option("--owner", metavar="NAME", help="Only sessions of this owner.")
@click.option("--all", "everything", is_flag=True, help="Include archived sessions.")
@click.option("--held", is_flag=True, default=None, help="Only sessions on hold.")
@click.option("--tasks", is_flag=True, help="Include sessions of sub-agents.")
@click.option(
    "--parent",
    metavar="ID",
    shell_complete=complete_session,
    help="Only forks of this session; with --tasks, its sub-agents too.",
)
@click.option("--text", metavar="WORDS", help="Only sessions with all these words in the name or in one message.")
@with_range("sessions last active")
@click.option("--limit", type=Count(1), default=50, show_default=True, metavar="N", help="The most to list.")
@click.option("--cursor", metavar="CURSOR", help="Continue a list; the end of a page shows its cursor.")
@click.option("-v", "--verbose", is_flag=True, help="Show whole ids and the time of the last activity.")
@click.option("-q", "--quiet", is_flag=True, help="Print ids only.")
@as_json
@click.pass_context
def ls_command(
    ctx: click.Context,
    /,
    store: SessionStore,
    everything: bool,
    when: Range,
    verbose: bool,
    quiet: bool,
    as_json: bool,
    **filters: Any,
) -> None:
    """List sessions, most recently active first.

    A title is the name of a session, or else the first thing that was asked in it. AGE is the time since its last
    activity, MSGS the number of its messages on all branches. On a terminal, ids are shortened to a unique beginning,
    and columns that do not fit are left out. Commands take the number of a row in place of its id. The last line says
    how many sessions of sub-agents would be listed with --tasks. In a pipe, nothing is cut, and what is said below the
    table goes to standard error.

    TIME is understood in local time. A day, a week, a month or a year counts whole: `--since yesterday --until
    yesterday` is all of that day.
    """
    if quiet and (verbose or as_json):
        raise click.UsageError(f"--quiet and {'--json' if as_json else '--verbose'} exclude each other")
    if filters["parent"] is not None:
        filters["parent"] = session_id_or_text(store, filters["parent"])
    filters |= {"archived": None if everything else False, "since": when.start, "until": when.end}
    with store._one_look():
        findings = _write_list(store, when, verbose, quiet, as_json, filters)
    sys.stdout.flush()
    ctx.exit(FOUND if findings else 0)


def _write_list(
    store: SessionStore, when: Range, verbose: bool, quiet: bool, as_json: bool, filters: dict[str, Any]
) -> list[StoreFinding]:
    """Writes the sessions, and what is wrong with files of the store. Returns the latter."""
    try:
        with progress("reading what has changed") as report:
            page = store.list(progress=report, **filters)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    hidden = 0 if filters["tasks"] else _hidden_tasks(store, page, filters)
    findings = store.findings
    if as_json:
        parts: dict[str, Any] = {"sessions": page.sessions, "cursor": page.cursor, "findings": findings}
        parts["hidden_tasks"] = hidden
        write([json_output.to_text(json_output.store_document("ls", **parts))])
    elif quiet:
        write(escape_controls(info.id) for info in page)
    else:
        remember_list(store.location, [info.id for info in page])
        terminal = Terminal()
        ids = ids_shown(store, [info.id for info in page], terminal, whole=verbose)
        write(session_lines(page.sessions, ids, when.now, terminal, verbose=verbose))
        remarks = _remarks(page, hidden, findings, terminal)
        if terminal.is_piped:
            for line in remarks:
                write_stderr(line)
        else:
            write(remarks)
        if not page:
            none = f"{escape_controls(store.location)}: no sessions match{when.understood('that were active')}"
            write_stderr(why_empty(store) or none)
    return findings


def _remarks(page: Page, hidden: int, findings: Sequence[StoreFinding], terminal: Terminal) -> Iterator[str]:
    if page.cursor is not None:
        yield terminal.paint(f"more: --cursor {escape_controls(page.cursor)}", "dim")
    if hidden:
        them = "it" if hidden == 1 else "them"
        note = f"{count(hidden, 'sub-agents')} not shown; --tasks shows {them}"
        yield from (
            terminal.paint(line, "dim") for line in ([note] if terminal.is_piped else wrap(note, terminal.width))
        )
    yield from store_finding_lines(findings, terminal)


@click.command("show")
@click.argument("id", shell_complete=complete_session)
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
@with_range("messages")
@click.option("--limit", type=Count(1), default=20, show_default=True, metavar="N", help="The most to list.")
@click.option("-v", "--verbose", is_flag=True, help="Show whole ids.")
@as_json
def search_command(
    store: SessionStore, words: tuple[str, ...], when: Range, verbose: bool, as_json: bool, **filters: Any
) -> None:
    """Find messages that contain all WORDS.

    All branches are searched, archived sessions too. The best match comes first. Each hit shows the session id, the
    entry id, the local time, the role, the title of the session, and an excerpt. On a terminal, ids are shortened; on a
    narrow one, the number of a hit stands for its session. Numbers of rows mean the hits from then on, until another
    list is printed. In a pipe, a hit is one line, and nothing is cut. TIME is that of the message.
    """
    text = " ".join(words)
    with progress("searching"), store._one_look():
        hits = store.search(text, since=when.start, until=when.end, **filters)
        found = [hit.session_id for hit in hits]
        terminal = Terminal()
        if not as_json:
            entries = hit_ids(store, hits, terminal, whole=verbose)
            ids = HitIds(ids_shown(store, found, terminal, whole=verbose), entries)
    if as_json:
        write([json_output.to_text(json_output.store_document("search", hits=hits))])
        return
    remember_list(store.location, found)
    write(hit_lines(hits, text, ids, when.now.tzinfo, terminal, verbose=verbose))
    if not hits:
        more = "" if filters["tasks"] else "; --tasks searches the sessions of sub-agents, too"
        range = when.understood("in messages")
        write_stderr(f"{escape_controls(store.location)}: no message has all these words{range}{more}")


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
    "--max-age",
    default="60",
    show_default=True,
    metavar="AGE",
    help="Only sessions active since: minutes, or '3 days'.",
)
@with_utc
@as_json
def resume_command(
    store: SessionStore, cwd: str, git_root: str | None, owner: str | None, max_age: str, utc: bool, as_json: bool
) -> None:
    """Print the id of the session to continue here.

    That is the most recently active session of this directory or of its git repository. Archived sessions do not
    count.
    """
    root = git_root or find_git_root(cwd)
    age = age_option("--max-age", max_age, times.now(times.zone_of(utc)), "minute")
    found = store.resumable(cwd=cwd, git_root=root, owner=owner, max_age=age)
    _print_session(store, found, as_json)


@click.command("usage")
@click.argument("id", required=False, shell_complete=complete_session)
@with_store
@click.option(
    "--by",
    type=click.Choice(["session", "model", "branch", "day", "directory"]),
    default="session",
    show_default=True,
    metavar="WHAT",
    help="Print a line for each session, model, branch, day or directory.",
)
@click.option("--cwd", metavar="DIR", help="Only sessions of this directory.")
@click.option("--owner", metavar="NAME", help="Only sessions of this owner.")
@with_range("answers")
@click.option("-v", "--verbose", is_flag=True, help="Show whole ids.")
@as_json
def usage_command(
    store: SessionStore,
    id: str | None,
    by: Literal["session", "model", "branch", "day", "directory"],
    when: Range,
    verbose: bool,
    as_json: bool,
    **filters: Any,
) -> None:
    """Sum up tokens and cost, of one session or of all.

    The tokens of the input are those that did not come from a cache. `--by branch` needs an ID. Days and TIME are
    local; a day, a week, a month or a year counts whole. Without ID and `--cwd`, the usage of deleted sessions is one
    line, counted by whole days in UTC. A cost that is unknown is left blank. On a narrow terminal, columns are left
    out; in a pipe, nothing is cut.
    """
    if id is not None and (filters["cwd"] is not None or filters["owner"] is not None):
        raise click.UsageError("--cwd and --owner choose among all sessions; leave them out with an ID")
    span: dict[str, Any] = {"since": when.start, "until": when.end, "zone": when.now.tzinfo}
    chosen = None if id is None else session_id_of(store, id)
    try:
        with progress("adding up") as report:
            rows = store.usage(chosen, by=by, progress=report, **span, **filters)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    deleted = store.ledger(owner=filters["owner"]) if id is None and filters["cwd"] is None else []
    deleted = deleted_between(deleted, when.start, when.end)
    if as_json:
        write([json_output.to_text(json_output.store_document("usage", by=by, rows=rows, deleted=deleted))])
        return
    terminal = Terminal()
    shown = [row.session_id for row in rows if row.session_id is not None] if by == "session" else []
    if shown and id is None:
        remember_list(store.location, shown)
    if by == "branch":
        leaves = [row.leaf_id for row in rows if row.leaf_id is not None]
        ids = {id: escape_controls(id) for id in leaves} if verbose else entry_ids(leaves, terminal)
    else:
        ids = ids_shown(store, shown, terminal, whole=verbose)
    write(usage_lines(rows, deleted, by, ids, terminal))
    if not rows and not deleted:
        write_stderr(f"{escape_controls(store.location)}: no usage{when.understood('of answers')}")


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
