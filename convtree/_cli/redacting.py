"""`convtree redact`, and the redaction options of `export` and `import`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

import click

from convtree._cli import json_output
from convtree._cli.checking import log_progress
from convtree._cli.output import tell, write
from convtree._cli.render import count
from convtree._engine.redact import Redactor
from convtree._model.terminal_text import escape_controls
from convtree._tools.redact_log import Redaction, redact_log, redact_session
from convtree.stores._open import split_url


@click.command("redact")
@click.argument("log")
@click.option("--session", "session_id", metavar="ID", help="Choose a session if LOG is a folder of them.")
@click.option("--yes", is_flag=True, help="Replace LOG with the redacted log. Without this, LOG is unchanged.")
@click.option("--remove-original", is_flag=True, help="With --yes: delete the log with the secrets.")
@click.option("--email", is_flag=True, help="Also replace e-mail addresses.")
@click.option(
    "--pattern", "patterns", metavar="KIND=REGEX", multiple=True, help="Also replace what matches. Repeatable."
)
@click.option("--explain", is_flag=True, help="Print where each secret is, and of which kind; never the secret.")
@click.option(
    "--allow-network", is_flag=True, help="Allow a network file system. Only if no other machine writes to LOG."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def redact_command(
    log: str,
    session_id: str | None,
    yes: bool,
    remove_original: bool,
    email: bool,
    patterns: tuple[str, ...],
    explain: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Replace secrets in a log by [REDACTED:kind].

    Secrets are API keys, tokens, passwords and the like. The redacted copy is written to LOG.redacted. With --yes, it
    replaces LOG, and the log with the secrets is kept as LOG.original. Ids, parents and times do not change. If no
    secrets are found, nothing is written.
    """
    if remove_original and not yes:
        raise click.UsageError("--remove-original needs --yes")
    path = _local(log)
    redactor = Redactor(email=email, patterns=_compiled(patterns), explain=explain)
    options |= {"redactor": redactor, "in_place": yes, "remove_original": remove_original}
    options["progress"] = log_progress(path)
    if session_id is not None:
        done = redact_session(path, session_id, **options)
    elif path.is_dir():
        raise click.UsageError("LOG is a folder of sessions; choose one with --session ID")
    else:
        done = redact_log(path, **options)
    write([json_output.to_text(json_output.redacted(done))] if as_json else _lines(done))


def _compiled(patterns: tuple[str, ...]) -> dict[str, re.Pattern[str]]:
    """Returns the patterns of `--pattern` by kind."""
    compiled = {}
    for each in patterns:
        kind, sign, pattern = each.partition("=")
        if not sign or not re.fullmatch(r"[a-z0-9_-]{1,32}", kind):
            expected = "KIND=REGEX; a kind has up to 32 lower-case letters, digits, `_` and `-`"
            raise click.UsageError(f"--pattern {each!r}: expected {expected}")
        try:
            compiled[kind] = re.compile(pattern)
        except re.error as error:
            raise click.UsageError(f"--pattern {kind}: not a regular expression of Python: {error}") from None
    return compiled


def _local(log: str) -> Path:
    """Returns the path of a log or a folder. A session in a database is refused: its lines are never rewritten."""
    try:
        scheme, path = split_url(log)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if scheme != "file":
        message = "a session in a database cannot be redacted in place. Copy it to a folder (`convtree copy URL FOLDER "
        message += "--id ID`), redact it there, delete it here with `convtree rm`, and copy it back. Or use "
        raise click.UsageError(message + "`convtree export --redact`.")
    return Path(path)


def with_redaction(command: Callable[..., None]) -> Callable[..., None]:
    """Decorates a command with `--redact` and its options. It receives `redactor`, None without `--redact`."""

    @wraps(command)
    def run(*arguments: Any, redact: bool, email: bool, patterns: tuple[str, ...], **named: Any) -> None:
        if (email or patterns) and not redact:
            raise click.UsageError(f"{'--email' if email else '--pattern'} needs --redact")
        redactor = Redactor(email=email, patterns=_compiled(patterns)) if redact else None
        command(*arguments, redactor=redactor, **named)

    run = click.option(
        "--pattern", "patterns", metavar="KIND=REGEX", multiple=True, help="With --redact: also replace what matches."
    )(run)
    run = click.option("--email", is_flag=True, help="With --redact: also replace e-mail addresses.")(run)
    return click.option("--redact", is_flag=True, help="Replace secrets by [REDACTED:kind].")(run)


def report_redacted(redactor: Redactor | None) -> None:
    """Prints on stderr how many secrets of each kind were replaced. Does nothing without a redactor."""
    if redactor is None:
        return
    tell(f"{count(redactor.counts.total(), 'secrets')} redacted")
    for line in _counts_by_kind(redactor.counts):
        tell(line)


def _counts_by_kind(counts: Mapping[str, int]) -> Iterator[str]:
    return (f"  {number:,} {kind}" for kind, number in sorted(counts.items()))


def _lines(done: Redaction) -> Iterator[str]:
    path = escape_controls(done.path)
    if not done.lines:
        yield f"{path}: nothing to redact"
    elif done.copy is not None:
        copy = escape_controls(done.copy)
        yield f"{path}: {count(done.lines, 'lines')} redacted in {copy}; add --yes to replace the log"
    else:
        kept = "deleted" if done.original is None else f"kept as {escape_controls(done.original)}"
        yield f"{path}: {count(done.lines, 'lines')} redacted; the log with the secrets: {kept}"
    yield from _counts_by_kind(done.kinds)
    for place in done.places:
        where = escape_controls(f"record {place.record:,} ({place.id}): {place.path}")
        yield f"  {where}, character {place.start:,}: {place.kind}"
    yield from (f"  may still contain secrets: {escape_controls(name)}" for name in done.beside)
    others = (each for each in done.copies if each not in done.beside)
    yield from (f"  may still contain secrets: the session {escape_controls(id)}" for id in others)
