"""`convtree redact`: a log without its secrets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from convtree.cli import document
from convtree.cli.render import count
from convtree.cli.screen import write
from convtree.redacting import Redaction, redact_log
from convtree.redaction import Redactor
from convtree.safe_text import harmless


@click.command("redact")
@click.argument("log", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Put the redacted log in the place of LOG. Without this, beside it.")
@click.option("--remove-original", is_flag=True, help="With --yes: do not keep the log as it was.")
@click.option("--email", is_flag=True, help="Take e-mail addresses out, too.")
@click.option("--allow-network", is_flag=True, help="Also on a network file system, when nobody else writes to LOG.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def redact_command(
    log: Path, yes: bool, remove_original: bool, email: bool, allow_network: bool, as_json: bool
) -> None:
    """Write a copy of LOG without the secrets in it, with [REDACTED:kind] in the place of each.

    The copy is LOG.redacted; with --yes it takes the place of LOG, which is kept as LOG.original. Ids, parents and
    times stay. Nothing is written when nothing is found.
    """
    if remove_original and not yes:
        raise click.UsageError("--remove-original goes with --yes")
    redactor = Redactor(email=email)
    done = redact_log(
        log, redactor=redactor, in_place=yes, remove_original=remove_original, allow_network=allow_network
    )
    write([document.written(document.redacted(done))] if as_json else _lines(done))


def _lines(done: Redaction) -> Iterator[str]:
    path = harmless(done.path)
    if not done.lines:
        yield f"{path}: nothing to redact"
    elif done.copy is not None:
        yield f"{path}: {count(done.lines, 'lines')} redacted in {harmless(done.copy)}; --yes puts it in place"
    else:
        kept = "removed" if done.original is None else f"kept as {harmless(done.original)}"
        yield f"{path}: {count(done.lines, 'lines')} redacted; the log as it was: {kept}"
    yield from (f"  {number:,} {kind}" for kind, number in done.kinds.items())
    yield from (f"  not looked into: {harmless(name)}" for name in done.beside)
