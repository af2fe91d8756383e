"""`convtree verify` and `convtree repair`: find damage in a log, and build a good log from the lines that are left."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from convtree._cli import json_output
from convtree._cli.choosing import default_store_for, session_id_or_text, with_store_for_logs
from convtree._cli.completing import complete_log
from convtree._cli.exit_codes import EXPECTED_ERRORS, FOUND, NOT_FOUND, UNREADABLE, code_of
from convtree._cli.output import write, write_stderr
from convtree._cli.progress import progress
from convtree._cli.render import count, finding_lines, row_line
from convtree._cli.terminal import Terminal, readable_size
from convtree._model.errors import NotALog, SessionNotFound
from convtree._model.terminal_text import escape_controls
from convtree._tools.repair import found_in, lost_ids, put_back
from convtree.repair import Repair, Report, repair, verify
from convtree.stores._session_store import SessionStore

_SHOWN = 1000  # removed pieces that are listed
_NO_LOG = "Missing argument 'LOG': the path of a log, or --store URL for the sessions of a store."
_INDENT = "  "


@click.command("verify")
@click.argument("logs", metavar="[LOG]...", nargs=-1, shell_complete=complete_log)
@with_store_for_logs
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document for all logs.")
@click.pass_context
def verify_command(ctx: click.Context, logs: tuple[str, ...], store: SessionStore | None, as_json: bool) -> None:
    """Check logs for damage, to the last byte.

    Takes no lock and changes nothing. Every problem is listed with its line and offset. With --store, the tables of a
    database are compared with the lines, and a whole store lists the sessions with problems only.

    Exit codes: 0 no problems, 1 harmless problems such as an unfinished last line or a column that a repair writes
    anew, 3 no such log, 5 it is damaged or cannot be read.
    """
    if store is None and logs:
        store = default_store_for(logs)
    if store is not None:
        ctx.exit(_verify_store(store, [session_id_or_text(store, log) for log in logs], as_json))
    if not logs:
        raise click.UsageError(_NO_LOG)
    ctx.exit(_verify_files([Path(log) for log in logs], as_json))


def _verify_store(store: SessionStore, ids: Sequence[str], as_json: bool) -> int:
    terminal = Terminal()
    with progress("verifying") as report_progress:
        reports = store.verify(ids or None, progress=report_progress)
    if as_json:
        failed = {report.path: report.error for report in reports if report.error is not None}
        write([json_output.to_text(json_output.verified([each for each in reports if each.error is None], failed))])
    else:
        wrong = [report for report in reports if ids or report.findings or report.rows]
        for report in wrong:
            write(_lines(report, terminal))
        if not ids:
            write([f"{count(len(reports), 'sessions')} checked, {len(wrong):,} with problems"])
    sys.stdout.flush()
    return max(map(_exit_code, reports), default=0)


def _verify_files(logs: Sequence[Path], as_json: bool) -> int:
    terminal = Terminal()
    reports: list[Report] = []
    failed: dict[str, str] = {}
    worst = 0
    for log in logs:
        try:
            with progress(f"verifying {log.name}", "bytes") as report_progress:
                report = verify(log, progress=report_progress)
        except (NotALog, SessionNotFound, OSError) as error:
            if len(logs) == 1 and not as_json:
                raise
            failed[str(log)] = str(error)
            write_stderr(f"convtree: {escape_controls(str(error))}")
            worst = max(worst, NOT_FOUND if isinstance(error, SessionNotFound) else UNREADABLE)
            continue
        reports.append(report)
        worst = max(worst, _exit_code(report))
        if not as_json:
            write(_lines(report, terminal))
    if as_json:
        write([json_output.to_text(json_output.verified(reports, failed))])
    sys.stdout.flush()
    return worst


@click.command("repair")
@click.argument("logs", metavar="[LOG]...", nargs=-1, shell_complete=complete_log)
@with_store_for_logs
@click.option("--yes", is_flag=True, help="Repair the log. Without this, only show what would be done.")
@click.option(
    "--rejoin", is_flag=True, help="Keep the place of a damaged entry in the tree if its id and parent are certain."
)
@click.option(
    "--from", "copy", metavar="COPY", type=click.Path(exists=True), help="Put lost entries back from an intact copy."
)
@click.option(
    "--originals",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="With --store: write each damaged log there, as it was. A database needs this if lines are to be removed.",
)
@click.option(
    "--allow-network", is_flag=True, help="Allow a network file system. Only if no other machine writes to LOG."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def repair_command(
    ctx: click.Context,
    logs: tuple[str, ...],
    store: SessionStore | None,
    yes: bool,
    rejoin: bool,
    copy: str | None,
    originals: Path | None,
    allow_network: bool,
    as_json: bool,
) -> None:
    """Repair a damaged log; without --yes, only show how.

    Damaged lines are removed. The other lines are kept and get new checksums. The damaged log is kept as LOG.original.
    The removed lines are written to LOG.quarantine, with their offsets.

    With --rejoin, the branches below a damaged entry stay in the tree. A lost entry takes its place, until the true one
    is put back from a copy.

    With --from, the log is repaired as with --rejoin, and lost entries come back from a copy of it. An entry of the
    copy that is not the one that was lost is refused.

    With --store, sessions of a store are repaired: the LOGs named, or all that need it. In a database, the tables are
    written anew from the lines as well.

    Exit codes: 0 no problems are left, 1 a log needs a repair, or problems remain after it: the output lists them, such
    as the places of lost entries that --rejoin keeps.
    """
    if store is None and logs:
        store = default_store_for(logs)
    if store is None and not logs:
        raise click.UsageError(_NO_LOG)
    for option, is_given in (("--allow-network", allow_network), ("--from", copy is not None)):
        if store is not None and is_given:
            raise click.UsageError(f"{option} is for a LOG that is a file; leave it out with --store")
    if store is None and originals is not None:
        raise click.UsageError("--originals needs --store; a file is kept as LOG.original")
    if copy is not None and len(logs) > 1:
        raise click.UsageError("--from takes one LOG: COPY is a copy of it")
    if store is None:
        ctx.exit(_repair_files(logs, copy, as_json, yes=yes, rejoin=rejoin, allow_network=allow_network))
    ids = [session_id_or_text(store, log) for log in logs]
    with progress("repairing" if yes else "looking for damage"):
        done = store.repair(ids or None, dry_run=not yes, rejoin=rejoin, originals=originals)
    _write_repairs(done, lambda: json_output.repaired_in(done), as_json)
    ctx.exit(_repair_code(done))


def _repair_files(
    logs: Sequence[str], copy: str | None, as_json: bool, *, yes: bool, rejoin: bool, allow_network: bool
) -> int:
    """Repairs files, or shows what would be done, and returns the exit code. One that fails stops no others."""
    done: list[Repair] = []
    failed: dict[str, str] = {}
    code = 0
    for log in map(Path, logs):
        try:
            with progress(f"repairing {log.name}", "bytes") as report:
                options: dict[str, Any] = {"allow_network": allow_network, "progress": report}
                if copy is not None and yes:
                    one, back = put_back(log, copy, **options)
                else:
                    one = repair(log, dry_run=not yes, rejoin=rejoin or copy is not None, **options)
                    back = [] if copy is None else [entry.id for entry in found_in(copy, lost_ids(one.remaining))]
        except EXPECTED_ERRORS as error:
            if len(logs) == 1:
                raise
            failed[str(log)] = str(error)
            write_stderr(f"convtree: {escape_controls(str(error))}")
            code = max(code, code_of(error))
            continue
        done.append(one)
        if not as_json:
            _write_repairs([one], dict, as_json)
    if as_json:
        document = json_output.repaired(done[0]) if len(logs) == 1 else json_output.repaired_in(done, failed)
        _write_repairs(done, lambda: document, as_json)
    if copy is not None:
        said = f"put back from {escape_controls(copy)}"
        write_stderr(f"{count(len(back), 'entries')} {said if yes else f'can be {said}; add --yes'}")
    return max(code, _repair_code(done))


def _repair_code(done: Sequence[Repair]) -> int:
    return FOUND if any(map(_needs_more, done)) else 0


def _write_repairs(done: Sequence[Repair], document: Callable[[], dict[str, Any]], as_json: bool) -> None:
    terminal = Terminal()
    if as_json:
        write([json_output.to_text(document())])
    elif not done:
        write(["nothing to repair"])
    else:
        for each in done:
            write(_repair_lines(each, terminal))
    sys.stdout.flush()


def _repair_lines(done: Repair, terminal: Terminal) -> Iterator[str]:
    yield _verdict(done)
    fates = _fates(done)
    for each in done.removed[:_SHOWN]:
        yield from finding_lines(each, terminal, _INDENT, f"{fates[each.offset]}: ")
    if len(done.removed) > _SHOWN:
        yield f"  and {count(len(done.removed) - _SHOWN, 'more pieces')}"
    if done.rejoinable:
        yield f"  {_rejoin_advice(done)}"
    word = "written anew" if done.done else "to write anew"
    yield from (f"  {word}: {row_line(row, terminal)}" for row in done.rows[:_SHOWN])
    if len(done.rows) > _SHOWN:
        yield f"  and {count(len(done.rows) - _SHOWN, 'more rows')}"
    for each in done.remaining:
        yield from finding_lines(each, terminal, _INDENT, "remains: ")
    if done.leaf_uncertain:
        yield "  remains: a lost line may have moved the leaf; `convtree branch` chooses it"


def _rejoin_advice(done: Repair) -> str:
    """Returns what keeps the places of removed lines: before they are removed, or afterwards."""
    number = f"{done.rejoinable:,} of them" if done.rejoinable < len(done.removed) else "them"
    if not done.done:
        return f"with --rejoin, the repair keeps the places of {number}, so that the branches below stay joined"
    if done.original is None:
        return f"a repair of a copy with --rejoin would have kept the places of {number}"
    return f"`{rejoin_command(done.original)}` keeps the places of {number} in the log as it was"


def rejoin_command(log: str | Path) -> str:
    """Returns the command that keeps the places of the damaged lines of a log."""
    return escape_controls(f"convtree repair {shlex.quote(str(log))} --rejoin --yes")


def _needs_more(done: Repair) -> bool:
    remains = done.leaf_uncertain or any(finding.severity != "info" for finding in done.remaining)
    return remains or (done.needed and not done.done)


def _exit_code(report: Report) -> int:
    if report.damaged:
        return UNREADABLE
    return FOUND if report.findings or report.rows else 0


def _lines(report: Report, terminal: Terminal) -> list[str]:
    verdict = "damaged" if report.damaged else "good"
    counts = f"{count(report.entries, 'entries')}, {count(report.marks, 'marks')}, {readable_size(report.size_bytes)}"
    verdict = terminal.paint(verdict, "bad" if report.damaged else "active")
    first = f"{escape_controls(report.path)}: {verdict} ({counts})"
    if report.error is not None:
        return [f"{escape_controls(report.path)}: {escape_controls(report.error)}"]
    found = (line for finding in report.findings for line in finding_lines(finding, terminal, _INDENT))
    return [first, *found, *(f"  {row_line(row, terminal)}" for row in report.rows)]


def _fates(done: Repair) -> dict[int, str]:
    """Returns what becomes of the removed lines, by offset."""
    words = ("removed", "rejoined", "recovered") if done.done else ("to remove", "to rejoin", "to recover")
    groups = (done.removed, done.rejoined, done.recovered)  # the later ones are parts of the first
    return {finding.offset: word for word, group in zip(words, groups, strict=True) for finding in group}


def _verdict(done: Repair) -> str:
    path = escape_controls(done.path)
    if done.error is not None:
        return f"{path}: not repaired: {escape_controls(done.error)}"
    if not done.needed:
        return f"{path}: nothing to repair"
    counts = f"{count(done.kept, 'records')} kept, {count(len(done.removed), 'pieces')} removed"
    numbers = {"rejoined": len(done.rejoined), "recovered": len(done.recovered), "restored": done.restored}
    counts += "".join(f", {number:,} {word}" for word, number in numbers.items() if number)
    if done.rows:
        counts += f", {count(len(done.rows), 'places')} of tables"
    if not done.done:
        return f"{path}: would be repaired ({counts}); add --yes to repair"
    if done.done and _needs_more(done):
        remaining = [finding for finding in done.remaining if finding.severity != "info"]
        counts += f", {count(len(remaining) + done.leaf_uncertain, 'problems')} left"
    if done.original is None:
        return f"{path}: repaired ({counts})"
    where = f"the damaged log: {escape_controls(done.original)}"
    if done.quarantine is not None:
        where += f", the removed pieces: {escape_controls(done.quarantine)}"
    return f"{path}: repaired ({counts}); {where}"
