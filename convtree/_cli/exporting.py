"""`convtree export`: writes a log as another tool's file, or as a document."""

from __future__ import annotations

from pathlib import Path

import click

from convtree._cli.inspect import with_session
from convtree._cli.output import escape_document, write_document, write_stderr
from convtree._cli.redacting import report_redacted, with_redaction
from convtree._cli.render import finding_line
from convtree._cli.sessions import open_log, with_store_for_log
from convtree._cli.terminal import Terminal
from convtree._engine.redact import Redactor
from convtree._formats import WRITERS
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
    type=click.Path(path_type=Path),
    help="The file to write, or the folder for it.  [default: standard output]",
)
@with_store_for_log
@with_session
@click.option("--force", is_flag=True, help="Replace the output file if it exists. A pipe or device is never replaced.")
@with_redaction
def export_command(
    log: str,
    format: str,
    output: Path | None,
    store: SessionStore | None,
    session_id: str | None,
    force: bool,
    redactor: Redactor | None,
) -> None:
    """Write a log as a session of another tool, JSON or Markdown.

    LOG is a convtree log, or a file or folder of another tool. Markdown shows the branch of the leaf, and one line for
    each other branch. In a folder, the file gets the name by which the tool finds it. What the format has no place for
    is named on standard error.

    The output contains the whole conversation. Check it before you share it, or use --redact. Then the number of
    secrets replaced is printed on standard error. On a terminal, controls in it are shown as escapes.
    """
    from convtree._tools.exporting import export_lines, place_of

    is_json = format != "markdown"
    findings: list[Finding] = []
    with open_log(log, store, session_id) as session:
        pieces = export_lines(session, format, redact=redactor, findings=findings)
        output = None if output is None else place_of(session, output, format)
        if output is None:
            write_document(pieces, is_json=is_json)
        elif store is None and output.exists() and output.samefile(log):
            raise click.UsageError("the output file is the log itself; choose another one")
        else:
            if is_terminal(output):
                pieces = (escape_document(piece, is_json=is_json).encode() for piece in pieces)
            write_atomically(output, pieces, replace=force)
    for finding in findings:
        write_stderr(finding_line(finding, Terminal()))
    report_redacted(redactor)
