"""`convtree verify` and `convtree repair`: look closely at logs, and make a whole one of a damaged one."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from convtree._cli import json_output
from convtree._cli.render import count, finding_line
from convtree._cli.terminal import Terminal, readable_size, telling, write
from convtree._model.errors import NotALog, SessionNotFound
from convtree._model.terminal_text import escape_controls
from convtree.repair import Repair, Report, repair, verify
from convtree.stores.base import Progress

FOUND, NOT_FOUND, DAMAGED = 1, 3, 5
_LONG = 128 * 2**20  # bytes to look at from which on progress is shown; each is looked at twice
_SHOWN = 1000  # pieces taken out that are listed


@click.command("verify")
@click.argument("logs", metavar="LOG...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON document for all logs.")
@click.pass_context
def verify_command(ctx: click.Context, logs: tuple[Path, ...], as_json: bool) -> None:
    """Check each LOG to the last byte; take no lock, change nothing.

    Exit codes: 0 nothing found, 1 something that does no harm, such as a torn tail, 3 no log there, 5 damage.
    """
    terminal = Terminal()
    reports: list[Report] = []
    failed: dict[str, str] = {}
    worst = 0
    for log in logs:
        try:
            report = verify(log, progress=shown_progress(log))
        except (NotALog, SessionNotFound, OSError) as error:
            if len(logs) == 1 and not as_json:
                raise
            failed[str(log)] = str(error)
            click.echo(f"convtree: {escape_controls(str(error))}", err=True)
            worst = max(worst, NOT_FOUND if isinstance(error, SessionNotFound) else DAMAGED)
            continue
        reports.append(report)
        worst = max(worst, _grade(report))
        if not as_json:
            write(_lines(report, terminal))
    if as_json:
        write([json_output.to_text(json_output.verified(reports, failed))])
    sys.stdout.flush()
    ctx.exit(worst)


@click.command("repair")
@click.argument("log", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Do it. Without this, only say what would be done.")
@click.option("--allow-network", is_flag=True, help="Also on a network file system, when nobody else writes to LOG.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.pass_context
def repair_command(ctx: click.Context, log: Path, yes: bool, allow_network: bool, as_json: bool) -> None:
    """Take out of LOG what is damaged, and seal the rest anew; without --yes, only say so.

    The log as it was is kept as LOG.original, what was taken out goes to LOG.quarantine with its offsets.
    Exit codes: 0 nothing is wrong any more, 1 something would be, or was, repaired and something remains.
    """
    done = repair(log, dry_run=not yes, allow_network=allow_network, progress=shown_progress(log))
    if as_json:
        write([json_output.to_text(json_output.repaired(done))])
    else:
        terminal = Terminal()
        write([_verdict(done)])
        write(f"  taken out: {finding_line(finding, terminal)}" for finding in done.removed[:_SHOWN])
        if len(done.removed) > _SHOWN:
            write([f"  and {count(len(done.removed) - _SHOWN, 'more pieces')}"])
        write(f"  remains: {finding_line(finding, terminal)}" for finding in done.remaining)
        if done.leaf_uncertain:
            write(["  remains: what is lost may have moved the leaf; branch(id) settles it"])
    sys.stdout.flush()
    remains = done.leaf_uncertain or any(finding.severity != "info" for finding in done.remaining)
    ctx.exit(FOUND if remains or (done.needed and done.original is None) else 0)


def _grade(report: Report) -> int:
    if report.damaged:
        return DAMAGED
    return FOUND if report.findings else 0


def _lines(report: Report, terminal: Terminal) -> list[str]:
    verdict = "damaged" if report.damaged else "good"
    counts = f"{count(report.entries, 'entries')}, {count(report.marks, 'marks')}, {readable_size(report.size_bytes)}"
    first = (
        f"{escape_controls(report.path)}: {terminal.paint(verdict, 'bad' if report.damaged else 'active')} ({counts})"
    )
    return [first, *(f"  {finding_line(finding, terminal)}" for finding in report.findings)]


def _verdict(done: Repair) -> str:
    path = escape_controls(done.path)
    if not done.needed:
        return f"{path}: nothing to repair"
    counts = f"{count(done.kept, 'records')} kept, {count(len(done.removed), 'pieces')} taken out"
    if done.original is None:
        return f"{path}: would be repaired ({counts}); --yes does it"
    where = f"the log as it was: {escape_controls(done.original)}"
    if done.quarantine is not None:
        where += f", what was taken out: {escape_controls(done.quarantine)}"
    return f"{path}: repaired ({counts}); {where}"


def shown_progress(log: Path) -> Progress | None:
    """Shows how far a long log has been read."""
    return telling(lambda done, of: f"{escape_controls(log.name)}: {100 * done // of} %", _LONG)
