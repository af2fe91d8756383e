"""`convtree import`: imports sessions of other tools into a log or a store."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import click
from click.core import ParameterSource

from convtree._cli import json_output
from convtree._cli.choosing import default_url
from convtree._cli.exit_codes import FOUND
from convtree._cli.import_targets import is_log, is_store, is_url, refuse_source, sources_and_target
from convtree._cli.number_types import Count, Seconds
from convtree._cli.output import write, write_stderr
from convtree._cli.progress import progress
from convtree._cli.redacting import report_redacted, with_redaction
from convtree._cli.render import FINDINGS_SHOWN, count, finding_lines
from convtree._cli.terminal import Terminal, readable_size
from convtree._engine.redact import Redactor
from convtree._model.errors import NotALog, SessionNotFound
from convtree._model.terminal_text import escape_controls
from convtree._tools.passed_over import FOLDER_REASONS
from convtree.exchange import ImportReport, KnownPlace
from convtree.stores._open import open_store

if TYPE_CHECKING:
    from convtree.stores._session_store import SessionStore


@click.command("import")
@click.argument("paths", metavar="SOURCE... [TARGET]", nargs=-1)
@click.option("--discover", is_flag=True, help="List the known places of all tools; import them with TARGET or --all.")
@click.option("--all", "imports_all", is_flag=True, help="With --discover: import them all. TARGET may be left out.")
@click.option("--watch", is_flag=True, help="Go on importing what is new until Ctrl-C. TARGET is a store.")
@click.option(
    "--interval",
    "interval_s",
    type=Seconds(above_zero=True),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="With --watch: the time between two checks.",
)
@click.option(
    "--workers",
    type=Count(1, example=2),
    metavar="NUMBER",
    help="Processes that read sources while this one writes. Default: one for each processor.",
)
@with_redaction
@click.option("-v", "--verbose", is_flag=True, help="List every file that is passed over, and every finding.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def import_command(
    ctx: click.Context,
    paths: tuple[str, ...],
    discover: bool,
    imports_all: bool,
    watch: bool,
    interval_s: float,
    workers: int | None,
    redactor: Redactor | None,
    verbose: bool,
    as_json: bool,
) -> None:
    """Import sessions of other tools into a log or a store.

    SOURCE is a session of another tool, or a folder of them, up to a home directory. It is only read. Import it again
    later to add what is new.

    TARGET is a log or a store. A store is a URL, an existing folder, or a path that ends with a slash. Several sessions
    need a store. With one SOURCE, TARGET may be left out: the sessions go to the default store, which is created if
    needed. That is the store of CONVTREE_URL, else the folder of sessions in your data directory. Standard error says
    where it is. Files in an unknown format are passed over, as are packages, caches and version control.

    With --discover, there is no SOURCE. The command lists the places in which the tools on this machine keep their
    sessions. It imports them if there is a TARGET, which is a store; with --all or --watch, into the default store if
    there is none. Tools that keep files in a project (aider, Crush) are looked for in the current directory and above.

    With --watch, the command goes on importing and prints a line for each change. It reads only what has changed, and a
    file that is being written only when it is whole. With --json, each line is a document.

    With --redact, secrets are replaced on the way, and their number is printed. Pass --redact again when you import the
    source again.
    """
    output = _Output(as_json, verbose, interval_s if watch else None, workers or os.cpu_count() or 1)
    _refuse_unused(ctx, watch)
    if imports_all and not discover:
        raise click.UsageError("--all needs --discover")
    if discover:
        _discover(ctx, paths, redactor, output, imports=bool(paths) or imports_all or watch)
        return
    sources, target = sources_and_target(paths)
    if target is None or len(sources) > 1 or watch or is_store(sources[0], target):
        _import_many(ctx, sources, target, redactor, output)
    from convtree.exchange import import_file

    with progress(f"importing {sources[0].name}", "bytes") as report_progress:
        report = import_file(sources[0], target, progress=report_progress, redact=redactor)
    if as_json:
        write([json_output.to_text(json_output.imported(report))])
    else:
        write(_lines(report, Terminal(), verbose=True))
    report_redacted(redactor)
    _exit(ctx, [report])


def _refuse_unused(ctx: click.Context, watch: bool) -> None:
    """Raises UsageError for an option that would mean nothing."""
    given = {
        name for name in ("interval_s", "workers") if ctx.get_parameter_source(name) == ParameterSource.COMMANDLINE
    }
    if "interval_s" in given and not watch:
        raise click.UsageError("--interval needs --watch")
    if "workers" in given and watch:
        raise click.UsageError("--watch reads in one process; leave out --workers")


class _Output(NamedTuple):
    """How several sources are imported, and how the results are printed. `interval_s` is set for a watch."""

    as_json: bool
    verbose: bool
    interval_s: float | None
    workers: int
    places: Sequence[KnownPlace] | None = None

    def print(self, reports: Sequence[ImportReport]) -> None:
        """Prints them to standard output."""
        if self.as_json:
            write([json_output.to_text(json_output.imported_into(reports, self.places))])
            return
        terminal, has_several = Terminal(), len(reports) > 1
        for report in reports:
            if self.verbose or not has_several or _is_news(report):
                write(_lines(report, terminal, with_source=has_several, verbose=self.verbose))
        if not self.verbose and has_several:
            write(_passed_over_lines(reports))
        write(_total_line(reports))


def _discover(
    ctx: click.Context, paths: tuple[str, ...], redactor: Redactor | None, output: _Output, *, imports: bool
) -> None:
    """Lists the known places of all tools, and imports them if that is wanted."""
    from convtree.exchange import discover

    if len(paths) > 1 or "" in paths:
        raise click.UsageError("--discover takes no SOURCE, and at most one TARGET, a store")
    if paths:
        refuse_source(paths[0])
    with progress("looking for sessions of other tools"):
        places = discover()
    if not places:
        raise SessionNotFound("no tool has kept sessions in a known place of this machine")
    if not output.as_json:
        write(_place_lines(places))
        if not imports:
            write_stderr("import them: convtree import --discover --all")
    if imports:
        target = paths[0] if paths else None
        _import_many(ctx, [Path(place.path) for place in places], target, redactor, output._replace(places=places))
    if output.as_json:
        write([json_output.to_text(json_output.store_document("places", places=places))])


def _place_lines(places: Sequence[KnownPlace]) -> Iterator[str]:
    width = max(len(place.tool) for place in places)
    for place in places:
        facts = f"{count(place.sessions, 'sessions'):>14} {readable_size(place.size_bytes):>5}"
        failed = f" ({count(place.failed, 'files')} cannot be read)" if place.failed else ""
        yield f"{place.tool:<{width}} {facts}  {escape_controls(place.path)}{failed}"


def _is_news(report: ImportReport) -> bool:
    """Returns whether a report of several has a line of its own; the others are counted."""
    if report.status == "skipped":
        return False
    return report.status == "failed" or report.written > 0 or bool(report.findings)


def _import_many(
    ctx: click.Context, sources: Sequence[Path], target: str | None, redactor: Redactor | None, output: _Output
) -> NoReturn:
    """Imports sources into a store, prints the results, and ends the command. None stands for the default store."""
    from convtree.exchange import import_into

    if target is not None and is_log(target) and not is_url(target) and not Path(target).is_dir():
        raise click.UsageError(f"{target}: a log; several sources, --discover and --watch need a store")
    for source in sources:
        source.stat()  # raises FileNotFoundError before a store is created
    is_new = target is not None and not is_url(target) and not Path(target).exists()
    try:
        store = open_store(default_url() if target is None else target)
    except (ValueError, ImportError) as error:
        raise click.UsageError(str(error)) from None
    with _left_in(store, is_new):
        if target is None:
            write_stderr(f"importing into {escape_controls(store.location)}")
        if output.interval_s is not None:
            _watch(sources, store, redactor, output)
            ctx.exit(0)
        with progress("importing", "bytes") as report:
            reports = import_into(sources, store, progress=report, redact=redactor, workers=output.workers)
    output.print(reports)
    report_redacted(redactor)
    if all(report.status == "skipped" for report in reports):
        names = ", ".join(map(str, sources))
        if not any(source.is_dir() for source in sources):
            raise NotALog(f"{names}: no session of a known format")
        where = "this folder" if len(sources) == 1 else "these folders"
        raise SessionNotFound(f"{names}: no session of a known format in {where}")
    _exit(ctx, reports)


@contextmanager
def _left_in(store: SessionStore, is_new: bool) -> Iterator[None]:
    """Closes a store after the block. A folder that was made for it, and got nothing, is removed."""
    try:
        with store:
            yield
    finally:
        if is_new:
            with suppress(OSError):  # it is not empty
                os.rmdir(store.location)


def _watch(sources: Sequence[Path], store: SessionStore, redactor: Redactor | None, output: _Output) -> None:
    """Prints each change, until the command is interrupted."""
    from convtree.exchange import watch

    terminal = Terminal()
    for report in watch(sources, store, interval_s=output.interval_s or 0, redact=redactor):
        if output.as_json:
            write([json_output.to_text(json_output.imported_into([report]))])
        else:
            lines = _lines(report, terminal, with_source=True, verbose=True)
            write(lines if output.verbose else islice(lines, 1))
        sys.stdout.flush()


def _exit(ctx: click.Context, reports: Sequence[ImportReport]) -> NoReturn:
    sys.stdout.flush()
    has_problems = any(finding.severity != "info" for report in reports for finding in report.findings)
    has_problems |= any(report.status == "failed" for report in reports)
    ctx.exit(FOUND if has_problems else 0)


def _lines(report: ImportReport, terminal: Terminal, *, with_source: bool = False, verbose: bool) -> Iterator[str]:
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
    shown = report.findings if verbose else report.findings[:FINDINGS_SHOWN]
    for finding in shown:
        yield from finding_lines(finding, terminal)
    if len(report.findings) > len(shown):
        yield f"{terminal.dots} {len(report.findings) - len(shown):,} more findings; list them with -v"


def _passed_over_lines(reports: Sequence[ImportReport]) -> Iterator[str]:
    """Yields a line for each reason for which files were passed over, the most frequent first."""
    reasons = Counter(report.reason or "" for report in reports if report.status == "skipped")
    for reason, number in reasons.most_common():
        noun = "folders" if reason in FOLDER_REASONS else "files"
        yield f"passed over {count(number, noun)}: {escape_controls(reason)}"


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
