"""`convtree import`: imports sessions of other tools into a log or a store."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from convtree._cli import json_output
from convtree._cli.output import progress_on_stderr, write
from convtree._cli.redacting import report_redacted, with_redaction
from convtree._cli.render import count, finding_line
from convtree._cli.terminal import Terminal, readable_size
from convtree._engine.redact import Redactor
from convtree._model.errors import NotALog
from convtree._model.terminal_text import escape_controls
from convtree.exchange import ImportReport
from convtree.stores._open import open_store
from convtree.stores.base import Progress

FOUND = 1  # exit code: a source has problems, or failed
_LARGE = 2**24  # progress is printed from this number of bytes on


@click.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target")
@with_redaction
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def import_command(ctx: click.Context, source: Path, target: str, redactor: Redactor | None, as_json: bool) -> None:
    """Import sessions of other tools into a log or a store.

    SOURCE is a session of another tool, or a folder of them. It is only read. Import it again later to add what is new.

    TARGET is a log or a store. A store is a URL, an existing folder, or a path that ends with a slash. Several sessions
    need a store. Files in an unknown format are skipped.

    With --redact, secrets are replaced on the way, and their number is printed. Pass --redact again when you import the
    source again.
    """
    if not target:
        raise click.UsageError("TARGET is empty")
    if _is_store(source, target):
        _import_many(ctx, source, target, redactor, as_json)
    from convtree.exchange import import_file

    report = import_file(source, target, progress=_byte_progress(), redact=redactor)
    if as_json:
        write([json_output.to_text(json_output.imported(report))])
    else:
        write(_lines(report, Terminal()))
    report_redacted(redactor)
    _exit(ctx, [report])


def _is_store(source: Path, target: str) -> bool:
    is_url = "://" in target or target.startswith(("memory:", "file:"))
    is_log = Path(target).is_file() or target.endswith(".jsonl")
    return is_url or target.endswith(("/", os.sep)) or Path(target).is_dir() or (source.is_dir() and not is_log)


def _import_many(ctx: click.Context, source: Path, target: str, redactor: Redactor | None, as_json: bool) -> None:
    from convtree.exchange import import_into

    if not source.exists():
        source.stat()  # raises FileNotFoundError before a store is created
    try:
        store = open_store(target)
    except (ValueError, ImportError) as error:
        raise click.UsageError(str(error)) from None
    with store:
        reports = import_into(source, store, progress=_byte_progress(), redact=redactor)
    if as_json:
        write([json_output.to_text(json_output.imported_into(reports))])
    else:
        terminal = Terminal()
        write(line for report in reports for line in _lines(report, terminal, with_source=len(reports) > 1))
        write(_total_line(reports))
    report_redacted(redactor)
    if all(report.status == "skipped" for report in reports):
        raise NotALog(f"{source}: no session of a known format in this folder")
    _exit(ctx, reports)


def _exit(ctx: click.Context, reports: Sequence[ImportReport]) -> None:
    sys.stdout.flush()
    has_problems = any(finding.severity != "info" for report in reports for finding in report.findings)
    has_problems |= any(report.status == "failed" for report in reports)
    ctx.exit(FOUND if has_problems else 0)


def _lines(report: ImportReport, terminal: Terminal, with_source: bool = False) -> Iterator[str]:
    if report.status != "imported":
        yield f"{report.status}: {escape_controls(report.source)}: {escape_controls(report.reason or '')}"
    else:
        counts = f"{count(report.written, 'records')} written, {report.already_there:,} already there"
        counts += f", {count(len(report.findings), 'findings')}"
        place = f" ({escape_controls(report.source)})" if with_source else ""
        session = f"{escape_controls(report.format or '')} session {escape_controls(report.session_id or '')}"
        yield f"{session}: {counts}{place}"
    if report.leaf_kept:
        yield "  the session was continued here: the leaf stays, and new records are on another branch"
    for finding in report.findings:
        yield finding_line(finding, terminal)


def _total_line(reports: Sequence[ImportReport]) -> Iterator[str]:
    """Yields one line with the sums of several imports; nothing for one."""
    imported = [report for report in reports if report.status == "imported"]
    if len(reports) > 1 and imported:
        written, there = sum(report.written for report in imported), sum(report.already_there for report in imported)
        counts = [
            f"{count(len(imported), 'sessions')}",
            f"{count(written, 'records')} written",
            f"{there:,} already there",
        ]
        others = Counter(report.status for report in reports if report.status != "imported")
        yield "total: " + ", ".join(counts + [f"{others[status]:,} {status}" for status in sorted(others)])


def _byte_progress() -> Progress | None:
    return progress_on_stderr(lambda done, total: f"{readable_size(done)} of {readable_size(total)}", _LARGE)
