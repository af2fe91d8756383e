"""What a list says about files of a store that are damaged, copies, or no sessions. Pure but for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from convtree._cli.choosing import default_url
from convtree._cli.command_lines import command_line
from convtree._cli.terminal import Terminal, wrap
from convtree._model.findings import FINDING_CODES, LOG
from convtree._model.terminal_text import escape_controls
from convtree.stores.base import StoreFinding

_NAMED = 3  # damaged sessions that the commands name; with more, the commands are about the whole store


def store_finding_lines(findings: Sequence[StoreFinding], terminal: Terminal) -> Iterator[str]:
    """Yields the problems of a store, and then the commands that show the damage and mend it.

    Texts are wrapped. A command is one line, so that it can be copied from a terminal of any width.
    """
    for each in findings:
        yield from _wrapped(each, terminal)
    damaged = [each.place for each in findings if each.code in LOG]
    if damaged:
        names, store = (damaged, None) if len(damaged) <= _NAMED else ([], default_url())
        yield "To see the damage, and then what a repair would do:"
        yield f"  {escape_controls(command_line('verify', *names, store=store))}"
        yield f"  {escape_controls(command_line('repair', *names, '--rejoin', store=store))}"


def _wrapped(finding: StoreFinding, terminal: Terminal) -> Iterator[str]:
    text = FINDING_CODES[finding.code][1] if finding.code in FINDING_CODES else finding.code
    what = "damaged: " if finding.code in LOG else ""
    of = "" if finding.of is None else f" (of {escape_controls(finding.of)})"
    line = f"{escape_controls(finding.place)}: {what}{text}{of}"
    pieces = wrap(line, max(terminal.width - 2, 1)) if terminal.is_terminal else [line]
    yield from (terminal.paint(f"  {piece}" if number else piece, "warning") for number, piece in enumerate(pieces))
