"""`convtree import`: bring sessions of other tools into a log or a store."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from convtree._cli import document
from convtree._cli.redacting import redacting, tell_redacted
from convtree._cli.render import count, finding_line
from convtree._cli.screen import Screen, readable_size, telling, write
from convtree._engine.redact import Redactor
from convtree._model.errors import NotALog
from convtree._model.terminal_text import escape_controls
from convtree.exchange import ImportReport
from convtree.stores._open import open_store
from convtree.stores.base import Progress

FOUND = 1  # the exit code when a source was not all well
_LARGE = 2**24  # bytes from which on it is told how far it is


@click.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target")
@redacting
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.pass_context
def import_command(ctx: click.Context, source: Path, target: str, redactor: Redactor | None, as_json: bool) -> None:
    """Import SOURCE, a session of another tool or a folder of them, into TARGET. Doing it again adds what is new.

    TARGET is a log, or a store: a folder (one that is there, or with a slash behind it) or a URL. A folder of sessions,
    or a file of several, goes into a store; files of no known format are passed over.

    With --redact, secrets do not come in, and what was taken out is told by kind; who imports a source again with more
    in it says --redact again.
    """
    if not target:
        raise click.UsageError("TARGET is empty")
    if _is_store(source, target):
        _import_many(ctx, source, target, redactor, as_json)
    from convtree.exchange import import_file

    report = import_file(source, target, progress=_telling(), redact=redactor)
    if as_json:
        write([document.written(document.imported(report))])
    else:
        write(_lines(report, Screen()))
    tell_redacted(redactor)
    _end(ctx, [report])


def _is_store(source: Path, target: str) -> bool:
    is_url = "://" in target or target.startswith(("memory:", "file:"))
    is_log = Path(target).is_file() or target.endswith(".jsonl")
    return is_url or target.endswith(("/", os.sep)) or Path(target).is_dir() or (source.is_dir() and not is_log)


def _import_many(ctx: click.Context, source: Path, target: str, redactor: Redactor | None, as_json: bool) -> None:
    from convtree.exchange import import_into

    if not source.exists():
        source.stat()  # says so, before a store is made
    try:
        store = open_store(target)
    except (ValueError, ImportError) as error:
        raise click.UsageError(str(error)) from None
    with store:
        reports = import_into(source, store, progress=_telling(), redact=redactor)
    if as_json:
        write([document.written(document.imported_into(reports))])
    else:
        screen = Screen()
        write(line for report in reports for line in _lines(report, screen, with_source=len(reports) > 1))
        write(_totals(reports))
    tell_redacted(redactor)
    if all(report.status == "skipped" for report in reports):
        raise NotALog(f"{source}: no session of a known format in this folder")
    _end(ctx, reports)


def _end(ctx: click.Context, reports: Sequence[ImportReport]) -> None:
    sys.stdout.flush()
    is_well = all(finding.severity == "info" for report in reports for finding in report.findings)
    ctx.exit(0 if is_well and all(report.status != "failed" for report in reports) else FOUND)


def _lines(report: ImportReport, screen: Screen, with_source: bool = False) -> Iterator[str]:
    if report.status != "imported":
        yield f"{report.status}: {escape_controls(report.source)}: {escape_controls(report.reason or '')}"
    else:
        counts = f"{count(report.written, 'records')} written, {report.already_there:,} already there"
        counts += f", {count(len(report.findings), 'findings')}"
        place = f" ({escape_controls(report.source)})" if with_source else ""
        session = f"{escape_controls(report.format or '')} session {escape_controls(report.session_id or '')}"
        yield f"{session}: {counts}{place}"
    for finding in report.findings:
        yield finding_line(finding, screen)


def _totals(reports: Sequence[ImportReport]) -> Iterator[str]:
    """Yields what many imports did together."""
    imported = [report for report in reports if report.status == "imported"]
    if len(reports) > 1 and imported:
        written, there = sum(report.written for report in imported), sum(report.already_there for report in imported)
        counts = [
            f"{count(len(imported), 'sessions')}",
            f"{count(written, 'records')} written",
            f"{there:,} already there",
        ]
        others = Counter(report.status for report in reports if report.status != "imported")
        yield "in all: " + ", ".join(counts + [f"{others[status]:,} {status}" for status in sorted(others)])


def _telling() -> Progress | None:
    return telling(lambda done, of: f"{readable_size(done)} of {readable_size(of)}", _LARGE)
