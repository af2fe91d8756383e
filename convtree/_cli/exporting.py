"""`convtree export`: write a log as another tool's file, or as a document."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from convtree._cli.inspect import with_session
from convtree._cli.redacting import redacting, tell_redacted
from convtree._cli.sessions import opened_log, with_store_for_log
from convtree._engine.redact import Redactor
from convtree._formats import WRITERS
from convtree.stores._session_store import SessionStore


@click.command("export")
@click.argument("log")
@click.option("--to", "format", type=click.Choice(tuple(WRITERS)), required=True, help="What is to be written.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file to write.  [default: stdout]")
@with_store_for_log
@with_session
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@redacting
def export_command(
    log: str,
    format: str,
    output: Path | None,
    store: SessionStore | None,
    session_id: str | None,
    force: bool,
    redactor: Redactor | None,
) -> None:
    """Write LOG as a file that pi or kit opens, as JSON, or as Markdown. LOG may also be a session of another tool.

    What is written is all that was said: mind who gets it. With --redact it is without secrets, and what was taken out
    is told by kind.
    """
    from convtree.exchange import export_file, export_lines

    with opened_log(log, store, session_id) as session:
        if output is not None:
            if store is None and output.exists() and output.samefile(log):
                raise click.UsageError("a log is not written over by its own export")
            export_file(session, output, format, replace=force, redact=redactor)
        else:
            for piece in export_lines(session, format, redact=redactor):
                sys.stdout.buffer.write(piece)
            sys.stdout.flush()
    tell_redacted(redactor)
