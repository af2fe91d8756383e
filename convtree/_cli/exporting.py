"""`convtree export`: writes a log as another tool's file, or as a document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from convtree._cli.gap_advice import explained
from convtree._cli.inspect import with_session
from convtree._cli.look_options import with_gaps
from convtree._cli.output import escape_document, write_document, write_stderr
from convtree._cli.redacting import report_redacted, with_redaction
from convtree._cli.render import finding_line
from convtree._cli.sessions import open_log, with_store_for_log
from convtree._cli.terminal import Terminal
from convtree._engine.redact import Redactor
from convtree._formats import PUBLISHED, WRITERS
from convtree._logs.atomic_file import write_atomically
from convtree._logs.streams import is_terminal
from convtree._model.entries import Finding
from convtree.stores._session_store import SessionStore


@click.command("export")
@click.argument("log")
@click.option("--to", "format", type=click.Choice(tuple(WRITERS)), required=True, help="The format to write.")
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
@click.option("--force", is_flag=True, help="Replace the output file if it exists. A pipe or device is never replaced.")
@click.option("--all-leaves", is_flag=True, help="With --to atif: write a file for each leaf into the output folder.")
@with_redaction
@click.option("--no-redact", is_flag=True, help="With --to hf-traces: keep secrets.")
def export_command(
    log: str,
    format: str,
    target: str | None,
    store: SessionStore | None,
    session_id: str | None,
    allow_gaps: bool,
    force: bool,
    all_leaves: bool,
    redactor: Redactor | None,
    no_redact: bool,
) -> None:
    """Write a log as a session that another tool continues, as a data set, or as a document.

    LOG is a convtree log, or a file or folder of another tool. pi, kit, claude-code and json hold all branches,
    openai-jsonl the context of each, the others the branch of the leaf; markdown has a line for each other branch. In a
    folder, the file gets the name by which the tool finds it. What the format has no place for is named on
    standard error.

    The output contains the whole conversation. Check it before you share it, or use --redact. Then the number of
    secrets replaced is printed on standard error. Session traces for Hugging Face (hf-traces) are redacted unless you
    pass --no-redact. On a terminal, controls in the output are shown as escapes.

    With --allow-gaps, a damaged log is written as far as it can be read; markdown names the gaps in their places.
    """
    from convtree._tools.exporting import export_file, export_lines, place_of

    if no_redact and redactor is not None:
        raise click.UsageError("--no-redact contradicts --redact")
    if redactor is None and format in PUBLISHED and not no_redact:
        redactor = Redactor()
    redact: Redactor | bool = False if redactor is None else redactor
    if all_leaves and target is None:
        raise click.UsageError("--all-leaves needs a folder: -o FOLDER")
    findings: list[Finding] = []
    with open_log(log, store, session_id) as session, explained(session):
        output = None if target is None else _place(target, is_folder=all_leaves)
        if output is not None and all_leaves:
            findings += export_file(
                session, output, format, replace=force, redact=redact, all_leaves=True, allow_gaps=allow_gaps
            )
        else:
            pieces = export_lines(session, format, redact=redact, findings=findings, allow_gaps=allow_gaps)
            place = None if output is None else place_of(session, output, format, redact=redact)
            _write(pieces, place, format, log, store, force)
    for finding in findings:
        write_stderr(finding_line(finding, Terminal()))
    report_redacted(redactor)


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
    is_json = format != "markdown"
    if output is None:
        write_document(pieces, is_json=is_json)
        return
    if store is None and output.exists() and output.samefile(log):
        raise click.UsageError("the output file is the log itself; choose another one")
    if is_terminal(output):
        pieces = (escape_document(piece, is_json=is_json).encode() for piece in pieces)
    write_atomically(output, pieces, replace=force)
