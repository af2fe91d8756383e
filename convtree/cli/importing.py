"""`convtree import`: bring a session of another tool into a log."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from convtree.cli import document
from convtree.cli.render import count, finding_line
from convtree.cli.screen import Screen, write
from convtree.safe_text import harmless

FOUND = 1  # the exit code when the source was not all well


@click.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("log", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.pass_context
def import_command(ctx: click.Context, source: Path, log: Path, as_json: bool) -> None:
    """Import SOURCE, a session of another tool, into LOG. Doing it again adds only what is new."""
    from convtree.exchange import import_file

    report = import_file(source, log)
    if as_json:
        write([document.written(document.imported(report))])
    else:
        counts = f"{count(report.written, 'records')} written, {report.already_there:,} already there"
        counts += f", {count(len(report.findings), 'findings')}"
        write([f"{harmless(report.format)} session {harmless(report.session_id)}: {counts}"])
        screen = Screen()
        write(finding_line(finding, screen) for finding in report.findings)
    sys.stdout.flush()
    ctx.exit(0 if all(finding.severity == "info" for finding in report.findings) else FOUND)
