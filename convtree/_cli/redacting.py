"""`convtree redact`: a log without its secrets; and what `export --redact` and `import --redact` share with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

import click

from convtree._cli import document
from convtree._cli.checking import shown_progress
from convtree._cli.render import count
from convtree._cli.screen import write
from convtree._engine.redact import Redactor
from convtree._model.terminal_text import escape_controls
from convtree._tools.redact_log import Redaction, redact_log, redact_session
from convtree.stores._open import split_url


@click.command("redact")
@click.argument("log")
@click.option("--session", "session_id", metavar="ID", help="LOG is a folder of sessions: redact this one.")
@click.option("--yes", is_flag=True, help="Put the redacted log in the place of LOG. Without this, beside it.")
@click.option("--remove-original", is_flag=True, help="With --yes: do not keep the log as it was.")
@click.option("--email", is_flag=True, help="Take e-mail addresses out, too.")
@click.option("--allow-network", is_flag=True, help="Also on a network file system, when nobody else writes to LOG.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def redact_command(
    log: str, session_id: str | None, yes: bool, remove_original: bool, email: bool, as_json: bool, **options: Any
) -> None:
    """Write a copy of LOG without the secrets in it, with [REDACTED:kind] in the place of each.

    The copy is LOG.redacted; with --yes it takes the place of LOG, which is kept as LOG.original. Ids, parents and
    times stay. Nothing is written when nothing is found.
    """
    if remove_original and not yes:
        raise click.UsageError("--remove-original goes with --yes")
    path = _local(log)
    options |= {"redactor": Redactor(email=email), "in_place": yes, "remove_original": remove_original}
    options["progress"] = shown_progress(path)
    if session_id is not None:
        done = redact_session(path, session_id, **options)
    elif path.is_dir():
        raise click.UsageError("a folder of sessions: say which one (--session ID)")
    else:
        done = redact_log(path, **options)
    write([document.written(document.redacted(done))] if as_json else _lines(done))


def _local(log: str) -> Path:
    """Returns the path of a log or a folder; lines in a database are never rewritten."""
    try:
        scheme, path = split_url(log)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if scheme != "file":
        message = "a session in a database cannot be redacted there: `convtree copy URL FOLDER --id ID`, redact that, "
        raise click.UsageError(message + "then `convtree rm` it here and copy it back; or `convtree export --redact`")
    return Path(path)


def redacting(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options that take secrets out, and as `redactor` what does it, None where none is asked."""

    @wraps(command)
    def run(*arguments: Any, redact: bool, email: bool, **named: Any) -> None:
        if email and not redact:
            raise click.UsageError("--email goes with --redact")
        command(*arguments, redactor=Redactor(email=email) if redact else None, **named)

    run = click.option("--email", is_flag=True, help="With --redact: take e-mail addresses out, too.")(run)
    return click.option("--redact", is_flag=True, help="Put [REDACTED:kind] in the place of every secret found.")(run)


def tell_redacted(redactor: Redactor | None) -> None:
    """Says on stderr how many secrets of which kind were taken out, if any should be."""
    if redactor is None:
        return
    click.echo(f"{count(redactor.counts.total(), 'secrets')} redacted", err=True)
    for line in _kinds(redactor.counts):
        click.echo(line, err=True)


def _kinds(kinds: Mapping[str, int]) -> Iterator[str]:
    return (f"  {number:,} {kind}" for kind, number in sorted(kinds.items()))


def _lines(done: Redaction) -> Iterator[str]:
    path = escape_controls(done.path)
    if not done.lines:
        yield f"{path}: nothing to redact"
    elif done.copy is not None:
        yield f"{path}: {count(done.lines, 'lines')} redacted in {escape_controls(done.copy)}; --yes puts it in place"
    else:
        kept = "removed" if done.original is None else f"kept as {escape_controls(done.original)}"
        yield f"{path}: {count(done.lines, 'lines')} redacted; the log as it was: {kept}"
    yield from _kinds(done.kinds)
    yield from (f"  not looked into: {escape_controls(name)}" for name in done.beside)
