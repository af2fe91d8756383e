"""`convtree export`: writes a log as another tool's file, or as a document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import SpooledTemporaryFile, mkdtemp
from typing import Any

import click

from convtree._cli.advice import in_options
from convtree._cli.choosing import open_default_store, open_log, with_store_for_log
from convtree._cli.completing import complete_entry, complete_log
from convtree._cli.exit_codes import FOUND
from convtree._cli.gap_advice import explained, left_out
from convtree._cli.inspect import with_session
from convtree._cli.look_options import with_gaps
from convtree._cli.output import escape_document, write_document, write_stderr
from convtree._cli.progress import progress
from convtree._cli.redacting import report_redacted, with_redaction
from convtree._cli.render import count, finding_line
from convtree._cli.terminal import Terminal
from convtree._cli.times import zone_of
from convtree._engine.leaf import LEAF
from convtree._engine.redact import Redactor
from convtree._formats import ALL_LEAVES, PUBLISHED, WRITERS, ZONED
from convtree._logs.atomic_file import write_atomically
from convtree._logs.streams import is_terminal
from convtree._model.entries import Finding
from convtree._model.terminal_text import escape_controls
from convtree.stores._session_store import SessionStore

_IN_MEMORY = 16 << 20  # bytes of a document


@click.command("export")
@click.argument("log", required=False, shell_complete=complete_log)
@click.option(
    "--to",
    "format",
    type=click.Choice(tuple(WRITERS)),
    required=True,
    metavar="FORMAT",
    help=f"The format to write: {', '.join(WRITERS)}.",
)
@click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(),
    metavar="PATH",
    help="The file to write, or the folder for it, which may end with a slash.  [default: standard output]",
)
@with_store_for_log
@with_session
@with_gaps
@click.option(
    "--leaf", metavar="ENTRY", shell_complete=complete_entry, help="Use this entry instead of the session's leaf."
)
@click.option("--force", is_flag=True, help="Replace the output file if it exists. A pipe or device is never replaced.")
@click.option("--all-leaves", is_flag=True, help="With --to atif: write a file for each leaf into the output folder.")
@click.option("--utc", is_flag=True, help="With --to markdown: write times in UTC.  [default: local time]")
@with_redaction
@click.option("--no-redact", is_flag=True, help="With --to hf-traces: keep secrets.")
@click.option("--open", "is_opened", is_flag=True, help="With --to html: open the page in a browser.")
def export_command(
    log: str | None,
    format: str,
    target: str | None,
    store: SessionStore | None,
    session_id: str | None,
    allow_gaps: bool,
    leaf: str | None,
    force: bool,
    all_leaves: bool,
    utc: bool,
    redactor: Redactor | None,
    no_redact: bool,
    is_opened: bool,
) -> None:
    """Write a log for another tool, or as a document.

    The output is a session that another tool continues, a data set, or a document. LOG is a convtree log, a session of
    a store, or a file or folder of another tool. pi, kit, claude-code and json hold all branches, openai-jsonl the
    context of each, the others the branch of the leaf; markdown has a line for each other branch. html is a page with
    all branches that loads nothing, to read and to send. In a folder, the file gets the name by which the tool finds
    it. What the format has no place for is named on standard error.

    Without LOG, --to html -o FOLDER/ writes a page for each session of the store, and index.html with a list
    and a search. Pages of sessions that have not changed are left as they are. A folder of redacted pages takes
    redacted pages only.

    The output contains the whole conversation. Check it before you share it, or use --redact. Then the number of
    secrets replaced is printed on standard error. Session traces for Hugging Face (hf-traces) are redacted unless you
    pass --no-redact. On a terminal, controls in the output are shown as escapes.

    If messages are missing from what would be written, because the log is damaged, nothing is. With --allow-gaps, it is
    written as far as it can be read: markdown and html show the gaps in their places, and standard error counts them.
    """
    from convtree._tools.exporting import export_file, export_lines, place_of

    _refuse_contradictions(format, target, leaf, force, all_leaves, utc, redactor is not None, no_redact, is_opened)
    if redactor is None and format in PUBLISHED and not no_redact:
        redactor = Redactor()
    redact: Redactor | bool = False if redactor is None else redactor
    if is_opened:
        target = target or f"{mkdtemp(prefix='convtree-')}/"
    if log is None:
        _export_store(store, target, format, redactor, allow_gaps, is_opened)
        return
    findings: list[Finding] = []
    with open_log(log, store, session_id) as session, explained(session):
        at = LEAF if leaf is None else session.resolve(leaf)
        output = None if target is None else _place(target, is_folder=all_leaves)
        if output is not None and all_leaves:
            with progress(f"exporting {log}"):
                findings += export_file(
                    session, output, format, replace=force, redact=redact, all_leaves=True, allow_gaps=allow_gaps
                )
        else:
            options: dict[str, Any] = {"redact": redact, "findings": findings, "allow_gaps": allow_gaps}
            pieces = export_lines(session, format, leaf=at, zone=zone_of(utc), **options)
            place = None if output is None else place_of(session, output, format, redact=redact)
            _write(pieces, place, format, log, store, force)
            if is_opened and place is not None:
                open_page(place.resolve().as_uri())
        damage = None if allow_gaps else left_out(session)
    for finding in findings:
        write_stderr(finding_line(finding, Terminal()))
    if damage is not None:
        write_stderr(damage)
    report_redacted(redactor)


def _refuse_contradictions(
    format: str,
    target: str | None,
    leaf: str | None,
    force: bool,
    all_leaves: bool,
    utc: bool,
    redacts: bool,
    no_redact: bool,
    is_opened: bool,
) -> None:
    """Raises UsageError if an option does not fit the format or another option. The arguments are the options."""
    reasons = {
        f"--no-redact is for --to {', '.join(PUBLISHED)}; other formats keep secrets anyway": no_redact
        and format not in PUBLISHED,
        "--no-redact contradicts --redact": no_redact and redacts,
        f"--open is for --to html, not for --to {format}": is_opened and format != "html",
        "--all-leaves needs a folder: -o FOLDER": all_leaves and target is None,
        "--leaf and --all-leaves exclude each other": all_leaves and leaf is not None,
        "--force is about the output file; give -o PATH with it": force and target is None,
        f"--utc is for --to {', '.join(ZONED)}; other formats keep times as they are": utc and format not in ZONED,
        f"--leaf: the format {format} holds the contexts of all leaves": leaf is not None and format in ALL_LEAVES,
    }
    for reason, applies in reasons.items():
        if applies:
            raise click.UsageError(reason)


def open_page(address: str) -> None:
    """Opens a page in a browser, or says where it is."""
    import webbrowser

    if not webbrowser.open(address):
        write_stderr(f"no browser was found; the page is {address}")


def _export_store(
    store: SessionStore | None,
    target: str | None,
    format: str,
    redactor: Redactor | None,
    allow_gaps: bool,
    is_opened: bool,
) -> None:
    """Writes a page for each session of a store. The exit code says whether some could not be written."""
    from convtree._tools.pages import PagesRedacted, export_pages

    if format != "html":
        raise click.UsageError("missing LOG; without it, --to html writes a page for each session of the store")
    if target is None:
        raise click.UsageError("the pages of a store need a folder: -o FOLDER/")
    source = open_default_store(click.get_current_context()) if store is None else store
    try:
        with progress("writing pages") as report:
            done = export_pages(source, Path(target), redact=redactor, allow_gaps=allow_gaps, progress=report)
    except PagesRedacted as error:
        raise click.UsageError(f"{error}; pass --redact, or choose another folder") from None
    counts = [f"{count(len(done.written), 'pages')} written", f"{done.unchanged} unchanged"]
    write_stderr(", ".join(counts + ([f"{len(done.removed)} removed"] if done.removed else [])))
    for place, reason in done.failed.items():
        write_stderr(escape_controls(f"{place}: {in_options(reason, place)}"))
    if is_opened:
        open_page(done.index.resolve().as_uri())
    report_redacted(redactor)
    click.get_current_context().exit(FOUND if done.failed else 0)


def _whole(pieces: Iterator[bytes], what: str) -> Iterator[bytes]:
    """Yields a document after all of it was made: if that fails, nothing is written. A long one waits in a file."""
    with SpooledTemporaryFile(_IN_MEMORY) as held:
        with progress(what):
            held.writelines(pieces)
        held.seek(0)
        yield from held


def _place(target: str, *, is_folder: bool) -> Path:
    """Returns the file or folder to write. One that must be a folder is made if it is not there."""
    if is_folder or target.endswith("/"):
        Path(target).mkdir(exist_ok=True)
    return Path(target)


def _write(
    pieces: Iterator[bytes], output: Path | None, format: str, log: str, store: SessionStore | None, force: bool
) -> None:
    """Writes a document.

    Args:
        pieces: the document.
        output: the file; None for standard output.
        format: its format.
        log: the log that is exported, which is never written over.
        store: the store that the log is in, if it is no file.
        force: whether a file is replaced.
    """
    is_json = format not in ("markdown", "html")
    if output is None:
        write_document(_whole(pieces, f"exporting {log}"), is_json=is_json)
        return
    if store is None and output.exists() and Path(log).exists() and output.samefile(log):
        raise click.UsageError("the output file is the log itself; choose another one")
    if is_terminal(output):
        pieces = (escape_document(piece, is_json=is_json).encode() for piece in pieces)
    with progress(f"exporting {log}"):
        write_atomically(output, pieces, replace=force)
