"""`convtree follow`: prints what is appended to a conversation while an agent writes it. Takes no lock."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from itertools import chain, islice

import click
import msgspec

from convtree._cli import json_output
from convtree._cli.choosing import open_written_log, with_store_for_log
from convtree._cli.completing import complete_log
from convtree._cli.describe import describe
from convtree._cli.entry_times import EntryTimes, day_of
from convtree._cli.gap_advice import left_out
from convtree._cli.look_options import with_gaps
from convtree._cli.number_types import Count, Seconds
from convtree._cli.output import write, write_stderr
from convtree._cli.terminal import Terminal
from convtree._cli.time_options import with_utc
from convtree._model.entries import Entry, Mark
from convtree._model.terminal_text import escape_controls
from convtree._tools.gaps import MendedSession
from convtree.stores._session_store import SessionStore

_KIND_CELLS, _MIN_TEXT_CELLS = 10, 8


@click.command("follow")
@click.argument("log", shell_complete=complete_log)
@with_store_for_log
@click.option(
    "-n",
    "--last",
    type=Count(),
    default=10,
    show_default=True,
    metavar="N",
    help="Print the last N entries first.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=Seconds(),
    metavar="SECONDS",
    help="End after SECONDS without a new entry.  [default: go on until Ctrl-C]",
)
@with_gaps
@with_utc
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each entry and mark.")
def follow_command(
    log: str,
    store: SessionStore | None,
    last: int,
    timeout_s: float | None,
    allow_gaps: bool,
    utc: bool,
    as_json: bool,
) -> None:
    """Print entries as they are appended, a line each.

    The last entries of the log come first, whatever their branch. Where the day changes, a line names it. Ctrl-C ends
    the command. With --json, marks are printed as well, such as moves of the leaf.

    Damaged lines are left out, and their number is printed on standard error. With --allow-gaps, those of which the
    place is known are shown there.
    """
    with open_written_log(log, store) as session:
        news = session.follow(timeout_s=timeout_s)
        shown = MendedSession(session).session if allow_gaps else session
        if not allow_gaps and (remark := left_out(session)) is not None:
            write_stderr(remark)
        records = (record for _, record in shown.records(reverse=True))
        old = list(islice((each for each in records if as_json or isinstance(each, Entry)), last))[::-1]
        for line in _json_lines(chain(old, news)) if as_json else _lines(chain(old, news), EntryTimes(utc=utc)):
            write([line])
            sys.stdout.flush()


def _json_lines(records: Iterable[Entry | Mark]) -> Iterator[str]:
    for record in records:
        fields = record.to_dict() if isinstance(record, Entry) else {"type": record.type} | msgspec.to_builtins(record)
        yield json_output.to_text(json_output.store_document("follow", record=fields))


def _lines(records: Iterable[Entry | Mark], times: EntryTimes) -> Iterator[str]:
    """Yields a line for each entry, and one with the day before the first entry of a day that is not today."""
    terminal = Terminal()
    shown: date | None = times.today()
    for entry in records:
        if not isinstance(entry, Entry):
            continue
        time = times.read(entry.timestamp)
        if time is not None and time.date() != shown:
            shown = time.date()
            yield terminal.paint(day_of(time), "dim")
        yield _line(entry, time, terminal)


def _line(entry: Entry, time: datetime | None, terminal: Terminal) -> str:
    described = describe(entry)
    facts = f"{' ' * 8 if time is None else f'{time:%H:%M:%S}'}  "
    kind = terminal.paint(terminal.cut(escape_controls(described.kind), _KIND_CELLS, fill=True), described.kind)
    room = max(terminal.width - len(facts) - _KIND_CELLS - 1, _MIN_TEXT_CELLS)
    return f"{terminal.paint(facts, 'dim')}{kind} {terminal.cut(escape_controls(described.gist), room)}"
