"""The commands that change a store: `fork`, `archive`, `rm`, `prune`, `copy`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import timedelta

import click

from convtree._cli import document
from convtree._cli.render import count
from convtree._cli.screen import write
from convtree._cli.sessions import as_json, opened, telling_progress, with_store
from convtree._model.terminal_text import escape_controls
from convtree.stores._open import open_store
from convtree.stores._session_store import SessionStore

REFUSED = 1  # the exit code when something could not be copied


@click.command("fork")
@click.argument("id")
@click.argument("entry", required=False)
@with_store
@as_json
def fork_command(store: SessionStore, id: str, entry: str | None, as_json: bool) -> None:
    """Copy the path of session ID, up to ENTRY or to its leaf, into a session of its own; print the new id."""
    with store.fork(id) if entry is None else store.fork(id, entry) as forked:
        new_id = forked.id
    write([document.written(document.of_store("fork", id=new_id)) if as_json else new_id])


@click.command("archive")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--undo", is_flag=True, help="Take them back.")
@with_store
@as_json
def archive_command(store: SessionStore, ids: tuple[str, ...], undo: bool, as_json: bool) -> None:
    """Put sessions away, where lists do not show them unless asked."""
    for id in ids:
        store.archive(id, not undo)
    if as_json:
        write([document.written(document.of_store("archive", ids=ids, archived=not undo))])


@click.command("rm")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@with_store
@as_json
def rm_command(store: SessionStore, ids: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Delete sessions for good, and their sub-agents' sessions with them."""
    infos = [store.info(id) for id in ids]
    if not yes:
        for info in infos:
            title = info.name or info.first_user_message or ""
            click.echo(
                f"{escape_controls(info.id)}  {count(info.messages, 'messages')}  {escape_controls(title)}",
                err=True,
            )
        click.confirm(f"Delete {count(len(infos), 'sessions')} for good?", abort=True, err=True)
    deleted = [gone for id in ids for gone in store.delete(id)]
    _tell("rm", deleted, as_json)


@click.command("prune")
@click.option("--max-age", type=float, metavar="DAYS", help="What was not active for so long.")
@click.option("--keep", type=click.IntRange(min=0), metavar="N", help="What is not among the last N active.")
@click.option("--owner", metavar="NAME", help="Of this owner only.")
@click.option("--yes", is_flag=True, help="Do it. Without this, only say what would go.")
@with_store
@as_json
def prune_command(
    store: SessionStore, max_age: float | None, keep: int | None, owner: str | None, yes: bool, as_json: bool
) -> None:
    """Delete sessions by age and by number; without --yes, only list them."""
    age = None if max_age is None else timedelta(days=max_age)
    try:
        doomed = store.prune(max_age=age, keep=keep, owner=owner, dry_run=not yes)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        write([document.written(document.of_store("prune", done=yes, sessions=doomed))])
    else:
        _tell("prune", [info.id for info in doomed], False)
        click.echo(f"{count(len(doomed), 'sessions')} {'deleted' if yes else 'would go; --yes does it'}", err=True)


@click.command("copy")
@click.argument("source", callback=opened)
@click.argument("target")
@click.option("--id", "ids", multiple=True, help="This session; may be given several times.  [default: all]")
@as_json
@click.pass_context
def copy_command(ctx: click.Context, source: SessionStore, target: str, ids: tuple[str, ...], as_json: bool) -> None:
    """Copy sessions from one store to another, byte for byte; doing it again goes on where it was."""
    try:
        into = open_store(target, create=True)
    except (ValueError, ImportError) as error:
        raise click.UsageError(str(error)) from None
    with into:
        done = source.copy_to(into, ids or None, progress=telling_progress())
    if as_json:
        write([document.written(document.of_store("copy", sessions=done))])
    else:
        for status in ("copied", "continued", "unchanged", "refused"):
            if some := [each for each in done if each.status == status]:
                write([f"{count(len(some), 'sessions')} {status}"])
        write(
            f"  {escape_controls(each.id)}: {escape_controls(each.reason or '')}"
            for each in done
            if each.status == "refused"
        )
    sys.stdout.flush()
    ctx.exit(REFUSED if any(each.status == "refused" for each in done) else 0)


def _tell(schema: str, ids: Iterable[str], as_json: bool) -> None:
    listed = list(ids)
    write([document.written(document.of_store(schema, ids=listed))] if as_json else map(escape_controls, listed))
