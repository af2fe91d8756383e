"""The commands that change a conversation: `label`, `rename`, `branch`, `checkout`, `hide`, `compact`."""

from __future__ import annotations

from typing import Any, BinaryIO, Literal

import click

from convtree._cli import json_output
from convtree._cli.choosing import with_store_for_log
from convtree._cli.completing import complete_entry, complete_log
from convtree._cli.gap_advice import writing_to
from convtree._cli.number_types import Count
from convtree._cli.output import write, write_stderr
from convtree._cli.sessions import as_json
from convtree._cli.typed_input import label_of, refusing, text_of
from convtree._model.entries import CompactionEntry
from convtree._model.terminal_text import escape_controls
from convtree._session.session import Session
from convtree.stores._session_store import SessionStore

with_summary = click.option(
    "--summary-file",
    "summary",
    type=click.File("rb"),
    metavar="FILE",
    help="The file with the summary; `-` is standard input.",
)


@click.command("label")
@click.argument("log", shell_complete=complete_log)
@click.argument("entry", shell_complete=complete_entry)
@click.argument("text", required=False)
@click.option("--remove", is_flag=True, help="Remove the label of ENTRY.")
@with_store_for_log
@as_json
def label_command(
    log: str, entry: str, text: str | None, remove: bool, store: SessionStore | None, as_json: bool
) -> None:
    """Set a label on an entry: a name for it.

    A label that only one entry has can be used in place of its id, and `checkout` moves to it. An entry has at most one
    label: a new one replaces it.
    """
    if (text is None) != remove:
        raise click.UsageError("give TEXT, or --remove" if text is None else "--remove takes no TEXT")
    label_of(text)
    with writing_to(log, store) as session:
        id = session.resolve(entry)
        with refusing():
            session.label(id, text)
        _done(session, as_json, "label", entry_id=id, label=text)


@click.command("rename")
@click.argument("log", shell_complete=complete_log)
@click.argument("name", required=False)
@click.option("--remove", is_flag=True, help="Remove the name.")
@with_store_for_log
@as_json
def rename_command(log: str, name: str | None, remove: bool, store: SessionStore | None, as_json: bool) -> None:
    """Change the name of a session.

    The name is what lists show. Ids do not change.
    """
    if (name is None) != remove:
        raise click.UsageError("give NAME, or --remove" if name is None else "--remove takes no NAME")
    with writing_to(log, store) as session:
        with refusing():
            session.rename(name)
        _done(session, as_json, "rename", name=name)


@click.command("branch")
@click.argument("log", shell_complete=complete_log)
@click.argument("entry", required=False, shell_complete=complete_entry)
@click.option("--root", is_flag=True, help="Move to the place before the first entry.")
@with_summary
@with_store_for_log
@as_json
def branch_command(
    log: str,
    entry: str | None,
    root: bool,
    summary: BinaryIO | None,
    store: SessionStore | None,
    as_json: bool,
) -> None:
    """Move the leaf to an entry, to go on from there.

    The next append begins a new branch. With --summary-file, a summary of the branch you leave is stored below ENTRY,
    and becomes the leaf.
    """
    if (entry is None) != root:
        raise click.UsageError("give ENTRY, or --root" if entry is None else "--root takes no ENTRY")
    text = None if summary is None else text_of(summary.read(), "summary")
    with writing_to(log, store) as session:
        id = None if entry is None else session.resolve(entry)
        with refusing():
            session.branch(id, summary=text)
        _done(session, as_json, "branch", session.leaf_id, leaf_id=session.leaf_id)


@click.command("checkout")
@click.argument("log", shell_complete=complete_log)
@click.argument("entry", shell_complete=complete_entry)
@with_store_for_log
@as_json
def checkout_command(log: str, entry: str, store: SessionStore | None, as_json: bool) -> None:
    """Move the leaf to the newest leaf below an entry.

    Use it to continue a branch where it ended. ENTRY may be a label.
    """
    with writing_to(log, store) as session:
        session.checkout(session.resolve(entry))
        _done(session, as_json, "checkout", session.leaf_id, leaf_id=session.leaf_id)


@click.command("hide")
@click.argument("log", shell_complete=complete_log)
@click.argument("entries", metavar="ENTRY...", nargs=-1, required=True, shell_complete=complete_entry)
@click.option("--undo", is_flag=True, help="Show hidden messages again.")
@click.option(
    "--visible-to",
    type=click.Choice(["user", "model", "nobody"]),
    help="Who still sees the messages.  [default: user]",
)
@with_store_for_log
@as_json
def hide_command(
    log: str,
    entries: tuple[str, ...],
    undo: bool,
    visible_to: Literal["user", "model", "nobody"] | None,
    store: SessionStore | None,
    as_json: bool,
) -> None:
    """Hide messages from the model, or from the user.

    They stay in the log. Results of hidden calls are hidden with them.
    """
    if undo and visible_to is not None:
        raise click.UsageError("--undo shows the messages to all; leave out --visible-to")
    with writing_to(log, store) as session:
        ids = [session.resolve(entry) for entry in entries]
        with refusing():
            for id in ids:
                if undo:
                    session.show(id)
                else:
                    session.hide(id, visible_to=visible_to or "user")
        _done(session, as_json, "hide", entry_ids=ids, visible_to="all" if undo else visible_to or "user")


@click.command("compact")
@click.argument("log", shell_complete=complete_log)
@with_summary
@click.option("--keep", metavar="ENTRY", shell_complete=complete_entry, help="Keep the entries from this one on.")
@click.option("--keep-tokens", type=Count(example=4000), metavar="N", help="Keep about the last N tokens.")
@with_store_for_log
@as_json
def compact_command(
    log: str,
    summary: BinaryIO | None,
    keep: str | None,
    keep_tokens: int | None,
    store: SessionStore | None,
    as_json: bool,
) -> None:
    """Put a summary in the place of old messages.

    Give --keep or --keep-tokens. The model sees the summary in place of everything before the messages that are kept.
    Nothing is deleted: `branch` moves back. Prints the id of the summary's entry, or nothing if there was nothing to
    compact.
    """
    if summary is None:
        raise click.UsageError("Missing option '--summary-file'; `-` is standard input.")
    if (keep is None) == (keep_tokens is None):
        raise click.UsageError("give either --keep ENTRY or --keep-tokens N")
    text = text_of(summary.read(), "summary")
    with writing_to(log, store) as session, refusing():
        entry: CompactionEntry | None
        if keep is None:
            entry = session.compact(lambda _: text, keep_tokens=keep_tokens)
        else:
            entry = session.append(CompactionEntry(summary=text, first_kept_entry_id=session.resolve(keep)))
        id = None if entry is None else entry.id
        if id is None:
            write_stderr("nothing to compact: there is nothing before the messages that are kept")
        _done(session, as_json, "compact", id, entry_id=id)


def _done(session: Session, as_json: bool, schema: str, printed: str | None = None, **parts: Any) -> None:
    """Prints the document of a change; without `--json`, an id or nothing."""
    if as_json:
        write([json_output.to_text(json_output.store_document(schema, id=session.id, **parts))])
    elif printed is not None:
        write([escape_controls(printed)])
