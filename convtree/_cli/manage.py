"""The commands that change a store: `fork`, `archive`, `hold`, `rm`, `prune`, `copy`, `upgrade`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import timedelta

import click

from convtree._cli import json_output, times
from convtree._cli.choosing import open_existing_store, session_id_of, session_ids_of, with_store
from convtree._cli.completing import complete_entry, complete_session
from convtree._cli.exit_codes import FOUND
from convtree._cli.gap_advice import explained_for_writing
from convtree._cli.last_list import remember_list
from convtree._cli.number_types import Count
from convtree._cli.output import confirm, write, write_stderr
from convtree._cli.progress import counted, progress
from convtree._cli.render import count, pending_line
from convtree._cli.session_table import counts_by_arrival, ids_shown, judged_lines, title_text
from convtree._cli.sessions import as_json
from convtree._cli.terminal import Terminal, readable_size
from convtree._cli.time_options import age_option, with_utc
from convtree._cli.typed_input import confirmed
from convtree._logs.sql_errors import TablesOutdated
from convtree._model.findings import FINDING_CODES
from convtree._model.terminal_text import escape_controls
from convtree.stores._open import open_store
from convtree.stores._results import Pruned
from convtree.stores._session_store import SessionStore

_SKIPPED = "it, or a sub-agent's session, was written to meanwhile or cannot be judged; see `convtree verify`"


@click.command("fork")
@click.argument("id", shell_complete=complete_session)
@click.argument("entry", required=False, shell_complete=complete_entry)
@with_store
@as_json
def fork_command(store: SessionStore, id: str, entry: str | None, as_json: bool) -> None:
    """Copy a path into a new session and print its id.

    The copy holds the entries of session ID from the root to ENTRY, or to the leaf if ENTRY is omitted.
    """
    id = session_id_of(store, id)
    with store.open(id, read_only=True) as session, explained_for_writing(session):
        place = () if entry is None else (session.resolve(entry),)
        with store.fork(id, *place) as forked:
            new_id = forked.id
    write([json_output.to_text(json_output.store_document("fork", id=new_id)) if as_json else new_id])


@click.command("archive")
@click.argument("ids", metavar="ID...", nargs=-1, required=True, shell_complete=complete_session)
@click.option("--undo", is_flag=True, help="Restore archived sessions.")
@with_store
@as_json
def archive_command(store: SessionStore, ids: tuple[str, ...], undo: bool, as_json: bool) -> None:
    """Archive sessions, so that `ls` hides them.

    `ls --all` shows archived sessions.
    """
    found = session_ids_of(store, ids)
    for id in found:
        store.archive(id, not undo)
    if as_json:
        write([json_output.to_text(json_output.store_document("archive", ids=found, archived=not undo))])
    else:
        confirm(f"{count(len(found), 'sessions')} {'restored' if undo else 'archived'}")


@click.command("hold")
@click.argument("ids", metavar="ID...", nargs=-1, required=True, shell_complete=complete_session)
@click.option("--undo", is_flag=True, help="Release sessions from their hold.")
@with_store
@as_json
def hold_command(store: SessionStore, ids: tuple[str, ...], undo: bool, as_json: bool) -> None:
    """Keep sessions from `rm` and `prune` until released.

    `ls --held` lists the sessions on hold.
    """
    found = session_ids_of(store, ids)
    for id in found:
        store.hold(id, not undo)
    if as_json:
        write([json_output.to_text(json_output.store_document("hold", ids=found, held=not undo))])
    else:
        confirm(f"{count(len(found), 'sessions')} {'released' if undo else 'on hold'}")


@click.command("move")
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@with_store
@as_json
def move_command(store: SessionStore, old: str, new: str, as_json: bool) -> None:
    """Move the sessions of a directory that was renamed.

    Sessions of OLD, and of directories below it, belong to NEW from now on. Their ids are printed. The directories
    themselves are not touched.
    """
    ids = store.move_directory(old, new)
    if as_json:
        write([json_output.to_text(json_output.store_document("move", ids=ids))])
    else:
        write(map(escape_controls, ids))
        if not ids:
            write_stderr(f"{escape_controls(store.location)}: no sessions of {escape_controls(old)}, or below it")


@click.command("rm")
@click.argument("ids", metavar="ID...", nargs=-1, required=True, shell_complete=complete_session)
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
@with_store
@as_json
def rm_command(store: SessionStore, ids: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Delete sessions permanently.

    Sessions of their sub-agents are deleted, too. The ids of the deleted sessions are printed. What they said is
    overwritten; files that another process is reading, and sessions with a copy, are listed. A session on hold is
    refused. If you answer no, nothing is deleted, and the exit code is 0.
    """
    found = session_ids_of(store, ids)
    infos = [store.info(id) for id in found]
    if not yes:
        terminal = Terminal()
        shown = ids_shown(store, found, terminal, whole=not terminal.is_terminal)
        for info in infos:
            line = f"{shown[info.id]}  {count(info.messages, 'messages')}  {title_text(info)}".rstrip()
            write_stderr(terminal.cut(line, terminal.width) if terminal.is_terminal else line)
        question = f"Permanently delete {count(len(infos), 'sessions')}?"
        if not confirmed(question, "give --yes to delete without a question"):
            write_stderr("nothing was deleted")
            return
    with progress("deleting") as report:
        done = [store.delete(id) for id in counted(found, report)]
    deleted = [id for each in done for id in each]
    pending = [name for name in _distinct(each.pending for each in done) if name not in done[-1].complete]
    left = {
        "complete": [name for name in _distinct(each.complete for each in done) if name not in pending],
        "pending": pending,
        "copies": [id for id in _distinct(each.copies for each in done) if id not in deleted],
    }
    if as_json:
        write([json_output.to_text(json_output.store_document("rm", ids=deleted, **left))])
        return
    write(map(escape_controls, deleted))
    for name in left["pending"]:
        write_stderr(pending_line(name))
    for id in left["copies"]:
        write_stderr(f"{escape_controls(id)} holds a copy and is kept")


def _distinct(lists: Iterable[Iterable[str]]) -> list[str]:
    """Returns the items of several lists, each once."""
    return list(dict.fromkeys(item for some in lists for item in some))


@click.command("prune")
@click.option(
    "--max-age",
    metavar="AGE",
    help="Delete sessions inactive for longer, or since before a time: 30 (days), '6 weeks', 'last year', 2026-01.",
)
@click.option("--keep", type=Count(), metavar="N", help="Keep only the N most recently active sessions.")
@click.option("--owner", metavar="NAME", help="Only sessions of this owner.")
@click.option("--yes", is_flag=True, help="Delete them. Without this, only list them.")
@click.option("--dry-run", is_flag=True, help="Only list them. This is the default.")
@with_utc
@with_store
@as_json
def prune_command(
    store: SessionStore,
    max_age: str | None,
    keep: int | None,
    owner: str | None,
    yes: bool,
    dry_run: bool,
    utc: bool,
    as_json: bool,
) -> None:
    """Delete old sessions; without --yes, only list them.

    Give --max-age, --keep or both. With both, a session is deleted if either applies. The age of a session counts from
    its last activity, or from the time when it was imported into this store if that was later. So a session that was
    imported today is kept as a new one. The list shows the time since the last activity as AGE, as `ls` does, and the
    time since the import as ARRIVED where that counts. `ls` has the order of the last activity, --keep that of the
    later time. Sessions of sub-agents are deleted with theirs, are not counted by --keep, and their activity counts as
    activity of it. Sessions on hold are kept.
    """
    if max_age is None and keep is None:
        raise click.UsageError("give --max-age AGE, --keep N, or both")
    if yes and dry_run:
        raise click.UsageError("--dry-run contradicts --yes")
    now = times.now(times.zone_of(utc))
    age = None if max_age is None else age_option("--max-age", max_age, now, "day")
    if age is not None and age <= timedelta(0):
        raise click.UsageError("--max-age must be greater than 0; to delete all sessions, use --keep 0")
    try:
        with progress("pruning" if yes else "looking for old sessions"):
            pruned = store.prune(max_age=age, keep=keep, owner=owner, dry_run=not yes)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        parts = {"sessions": pruned, "held": pruned.held, "skipped": pruned.skipped, "judged": pruned.judged}
        parts |= {"arrived": pruned.arrived}
        write([json_output.to_text(json_output.store_document("prune", done=yes, **parts))])
        return
    if yes:
        write(escape_controls(info.id) for info in pruned)
    else:
        terminal = Terminal()
        listed = [info.id for info in pruned]
        if pruned:
            remember_list(store.location, listed)
        ids = ids_shown(store, listed, terminal)
        write(judged_lines(pruned, pruned.judged, ids, now, terminal))
    for info in pruned.held:
        write_stderr(f"{escape_controls(info.id)} is on hold and is kept")
    for info in pruned.skipped:
        write_stderr(f"{escape_controls(info.id)} is kept: {_SKIPPED}")
    _explain_arrival(pruned, max_age, keep)
    if not pruned:
        write_stderr("no sessions deleted" if yes else "no sessions would be deleted")
        return
    size = sum(pruned.judged[info.id].size for info in pruned)
    sessions = f"{count(len(pruned), 'sessions')} ({readable_size(size)})"
    write_stderr(f"{sessions} deleted" if yes else f"{sessions} would be deleted; add --yes to delete")


def _explain_arrival(pruned: Pruned, max_age: str | None, keep: int | None) -> None:
    """Says on stderr which sessions stay, or are listed in another order than that of `ls`, for their arrival."""
    if pruned.arrived and keep is None and max_age is not None:
        within = f"{max_age} days" if max_age.isdecimal() else "that time"
        is_one = len(pruned.arrived) == 1
        older = f"{count(len(pruned.arrived), 'sessions')} {'is' if is_one else 'are'} older"
        write_stderr(f"{older} but arrived within {within}, and {'is' if is_one else 'are'} kept")
    elif pruned.arrived:
        kept = f"{count(len(pruned.arrived), 'sessions')} kept because of a later arrival"
        write_stderr(f"{kept}: unlike `ls`, prune counts from the import where that is later than the last activity")
    if any(counts_by_arrival(each) for each in pruned.judged.values()):
        write_stderr("ARRIVED counts where it is shown: it is later than the last activity")


@click.command("upgrade")
@click.argument("url")
@as_json
def upgrade_command(url: str, as_json: bool) -> None:
    """Migrate a database to this version of convtree.

    The migration is one transaction, and lines are not changed. Earlier versions refuse the database from then on. Does
    nothing if the tables are of this version already. On a server, the role must own the tables.
    """
    try:
        open_store(url, create=False).close()
        migrated = False
    except TablesOutdated:
        with progress("migrating tables"):
            open_store(url, create=True).close()
        migrated = True
    except (ValueError, ImportError) as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        write([json_output.to_text(json_output.store_document("upgrade", migrated=migrated))])
    else:
        write_stderr("tables migrated" if migrated else "nothing to do")


def _reason(text: str | None) -> str:
    """Returns why a session was not copied in words: the reason may be the code of a finding."""
    return FINDING_CODES[text][1] if text in FINDING_CODES else text or ""


@click.command("copy")
@click.argument("source", callback=open_existing_store)
@click.argument("target")
@click.option(
    "--id",
    "ids",
    metavar="ID",
    multiple=True,
    shell_complete=complete_session,
    help="Copy this session. Can be repeated.  [default: all]",
)
@as_json
@click.pass_context
def copy_command(ctx: click.Context, source: SessionStore, target: str, ids: tuple[str, ...], as_json: bool) -> None:
    """Copy sessions from one store to another.

    SOURCE and TARGET are folders or URLs. TARGET is created if needed. The copies are identical, byte for byte. Run
    the command again to continue an interrupted copy, or to copy what was added since. SOURCE may be in use: each
    session is copied as it was at one moment. A copy of all sessions takes the usage ledger along. A session that was
    changed in TARGET is refused.
    """
    try:
        into = open_store(target, create=True)
    except (ValueError, ImportError) as error:
        raise click.UsageError(str(error)) from None
    with into, progress(f"copying to {target}") as report:
        done = source.copy_to(into, session_ids_of(source, ids) or None, progress=report)
    if as_json:
        write([json_output.to_text(json_output.store_document("copy", sessions=done))])
    else:
        for status in ("copied", "continued", "unchanged", "refused"):
            if some := [each for each in done if each.status == status]:
                write([f"{count(len(some), 'sessions')} {status}"])
        if not done:
            write([f"{escape_controls(source.location)}: no sessions to copy"])
        write(
            f"  {escape_controls(each.id)}: {escape_controls(_reason(each.reason))}"
            for each in done
            if each.status == "refused"
        )
    sys.stdout.flush()
    ctx.exit(FOUND if any(each.status == "refused" for each in done) else 0)
