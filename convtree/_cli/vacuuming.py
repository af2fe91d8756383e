"""`convtree vacuum`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from convtree._cli import json_output
from convtree._cli.choosing import located, open_log, with_store_for_log
from convtree._cli.completing import complete_entry, complete_log
from convtree._cli.gap_advice import repaired_first
from convtree._cli.output import write
from convtree._cli.progress import progress
from convtree._cli.render import count, pending_line
from convtree._cli.sessions import as_json
from convtree._cli.terminal import readable_size
from convtree._model.terminal_text import escape_controls
from convtree._tools.vacuum_log import vacuum
from convtree.stores._session_store import SessionStore
from convtree.stores._vacuum import Vacuumed


@click.command("vacuum")
@click.argument("log", shell_complete=complete_log)
@with_store_for_log
@click.option(
    "--keep",
    metavar="ENTRY",
    shell_complete=complete_entry,
    multiple=True,
    help="Keep the context at ENTRY. Can be repeated.  [default: the leaf]",
)
@click.option("--yes", is_flag=True, help="Replace the log. Without this, only show what would be dropped.")
@click.option("--remove-original", is_flag=True, help="With --yes: delete the log as it was.")
@click.option(
    "--allow-network", is_flag=True, help="Allow a network file system. Only if no other machine writes to LOG."
)
@as_json
def vacuum_command(
    log: str,
    store: SessionStore | None,
    keep: tuple[str, ...],
    yes: bool,
    remove_original: bool,
    allow_network: bool,
    as_json: bool,
) -> None:
    """Drop what the contexts of a log no longer need.

    That is every branch but the one of the leaf, and the messages before its last compaction. Without --yes, they are
    only listed. The context at the leaf does not change. Model, settings, state, usage and the dropped ids are kept, so
    that an import brings nothing back. The log as it was is kept as LOG.original; in a database, it is not kept. A
    session on hold is refused.
    """
    if remove_original and not yes:
        raise click.UsageError("--remove-original needs --yes")
    found, name = located(log, store)
    if allow_network and found is not None:
        raise click.UsageError("--allow-network is for a LOG that is a file, not for a session of a store")
    options: dict[str, Any] = {"dry_run": not yes, "remove_original": remove_original}
    ids = _ids_of(keep, name, found)
    try:
        with progress(f"vacuuming {name}"), repaired_first(log):
            if found is not None:
                done = found.vacuum(name, ids, **options)
            else:
                done = vacuum(name, ids, allow_network=allow_network, **options)
    except (ValueError, NotImplementedError) as error:
        raise click.UsageError(str(error)) from None
    document = json_output.store_document("vacuum", **_parts(done))
    write([json_output.to_text(document)] if as_json else _lines(escape_controls(name), done))


def _ids_of(keep: tuple[str, ...], log: str, store: SessionStore | None) -> list[str] | None:
    """Returns the ids of the entries to keep; None if none was named."""
    if not keep:
        return None
    with open_log(log, store) as session:
        return [session.resolve(text) for text in keep]


def _parts(done: Vacuumed) -> dict[str, Any]:
    return {name: getattr(done, name) for name in done.__struct_fields__}


def _lines(name: str, done: Vacuumed) -> Iterator[str]:
    if not done.entries:
        yield f"{name}: nothing to drop"
        return
    sizes = f"{readable_size(done.size_before)} become {readable_size(done.size_after)}"
    counts = f"{count(done.entries, 'entries')}, {count(done.kept, 'entries')} kept, {sizes}"
    yield f"{name}: dropped {counts}" if done.done else f"{name}: would drop {counts}; add --yes to drop them"
    for each in done.branches:
        labels = "".join(f" {escape_controls(label)!r}" for label in each.labels)
        yield f"  branch {escape_controls(each.leaf_id)}{labels}: {count(each.entries, 'entries')}"
    yield from (f"  {pending_line(each)}" for each in done.pending)
    yield from (f"  still holds some of it: {escape_controls(each)}" for each in done.copies)
