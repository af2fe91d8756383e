"""`convtree verify` and `convtree repair`: find damage in a log, and build a good log from the lines that are left."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from convtree._cli import json_output
from convtree._cli.output import progress_on_stderr, tell, write
from convtree._cli.render import count, finding_line
from convtree._cli.terminal import Terminal, readable_size
from convtree._model.errors import NotALog, SessionNotFound
from convtree._model.terminal_text import escape_controls
from convtree.repair import Repair, Report, repair, verify
from convtree.stores.base import Progress

FOUND, NOT_FOUND, DAMAGED = 1, 3, 5
_LONG = 128 * 2**20  # progress is printed from this number of bytes on; every byte is counted twice
_SHOWN = 1000  # removed pieces that are listed


@click.command("verify")
@click.argument("logs", metavar="LOG...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document for all logs.")
@click.pass_context
def verify_command(ctx: click.Context, logs: tuple[Path, ...], as_json: bool) -> None:
    """Check logs for damage, to the last byte.

    Takes no lock and changes nothing. Every problem is listed with its line and offset.

    Exit codes: 0 no problems, 1 harmless problems such as an unfinished last line, 3 no such log, 5 damage.
    """
    terminal = Terminal()
    reports: list[Report] = []
    failed: dict[str, str] = {}
    worst = 0
    for log in logs:
        try:
            report = verify(log, progress=log_progress(log))
        except (NotALog, SessionNotFound, OSError) as error:
            if len(logs) == 1 and not as_json:
                raise
            failed[str(log)] = str(error)
            tell(f"convtree: {escape_controls(str(error))}")
            worst = max(worst, NOT_FOUND if isinstance(error, SessionNotFound) else DAMAGED)
            continue
        reports.append(report)
        worst = max(worst, _exit_code(report))
        if not as_json:
            write(_lines(report, terminal))
    if as_json:
        write([json_output.to_text(json_output.verified(reports, failed))])
    sys.stdout.flush()
    ctx.exit(worst)


@click.command("repair")
@click.argument("log", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Repair the log. Without this, only show what would be done.")
@click.option(
    "--rejoin", is_flag=True, help="Keep the place of a damaged entry in the tree if its id and parent are certain."
)
@click.option(
    "--allow-network", is_flag=True, help="Allow a network file system. Only if no other machine writes to LOG."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def repair_command(ctx: click.Context, log: Path, yes: bool, rejoin: bool, allow_network: bool, as_json: bool) -> None:
    """Remove damaged lines from a log; without --yes, only list them.

    The other lines are kept and get new checksums. The damaged log is kept as LOG.original. The removed lines are
    written to LOG.quarantine, with their offsets.

    With --rejoin, the branches below a damaged entry stay in the tree. A lost entry takes its place, until the true one
    is put back from a copy.

    Exit codes: 0 no problems are left, 1 the log needs a repair, or problems remain after it.
    """
    done = repair(log, dry_run=not yes, rejoin=rejoin, allow_network=allow_network, progress=log_progress(log))
    if as_json:
        write([json_output.to_text(json_output.repaired(done))])
    else:
        terminal = Terminal()
        write([_verdict(done)])
        fates = _fates(done)
        write(f"  {fates[each.offset]}: {finding_line(each, terminal)}" for each in done.removed[:_SHOWN])
        if len(done.removed) > _SHOWN:
            write([f"  and {count(len(done.removed) - _SHOWN, 'more pieces')}"])
        write(f"  remains: {finding_line(finding, terminal)}" for finding in done.remaining)
        if done.leaf_uncertain:
            write(["  remains: a lost line may have moved the leaf; choose it with Session.branch(id)"])
    sys.stdout.flush()
    remains = done.leaf_uncertain or any(finding.severity != "info" for finding in done.remaining)
    ctx.exit(FOUND if remains or (done.needed and done.original is None) else 0)


def _exit_code(report: Report) -> int:
    if report.damaged:
        return DAMAGED
    return FOUND if report.findings else 0


def _lines(report: Report, terminal: Terminal) -> list[str]:
    verdict = "damaged" if report.damaged else "good"
    counts = f"{count(report.entries, 'entries')}, {count(report.marks, 'marks')}, {readable_size(report.size_bytes)}"
    verdict = terminal.paint(verdict, "bad" if report.damaged else "active")
    first = f"{escape_controls(report.path)}: {verdict} ({counts})"
    return [first, *(f"  {finding_line(finding, terminal)}" for finding in report.findings)]


def _fates(done: Repair) -> dict[int, str]:
    """Returns what becomes of the removed lines, by offset."""
    words = ("to remove", "to rejoin", "to recover") if done.original is None else ("removed", "rejoined", "recovered")
    groups = (done.removed, done.rejoined, done.recovered)  # the later ones are parts of the first
    return {finding.offset: word for word, group in zip(words, groups, strict=True) for finding in group}


def _verdict(done: Repair) -> str:
    path = escape_controls(done.path)
    if not done.needed:
        return f"{path}: nothing to repair"
    counts = f"{count(done.kept, 'records')} kept, {count(len(done.removed), 'pieces')} removed"
    numbers = {"rejoined": len(done.rejoined), "recovered": len(done.recovered), "restored": done.restored}
    counts += "".join(f", {number:,} {word}" for word, number in numbers.items() if number)
    if done.original is None:
        return f"{path}: would be repaired ({counts}); add --yes to repair"
    where = f"the damaged log: {escape_controls(done.original)}"
    if done.quarantine is not None:
        where += f", the removed pieces: {escape_controls(done.quarantine)}"
    return f"{path}: repaired ({counts}); {where}"


def log_progress(log: Path) -> Progress | None:
    """Returns a callback that prints how much of a long log is done; None if stderr is not a terminal."""
    return progress_on_stderr(lambda done, total: f"{escape_controls(log.name)}: {100 * done // total} %", _LONG)
