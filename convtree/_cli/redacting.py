"""`convtree redact`, and the redaction options of `export` and `import`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial, wraps
from pathlib import Path
from typing import Any

import click

from convtree._cli import json_output
from convtree._cli.choosing import default_store_for, open_existing_store, session_id_or_text, store_option
from convtree._cli.completing import complete_log
from convtree._cli.exit_codes import FOUND
from convtree._cli.gap_advice import repaired_first
from convtree._cli.output import write, write_stderr
from convtree._cli.progress import progress
from convtree._cli.redacting_stores import (
    counts_by_kind,
    place_lines,
    redacted_sessions,
    session_lines,
    sessions_document,
)
from convtree._cli.render import count
from convtree._engine.redact import Redactor
from convtree._model.references import is_prefix, the_only
from convtree._model.terminal_text import escape_controls
from convtree._tools.redact_log import Redaction, redact_log, redact_session
from convtree.stores._open import split_url
from convtree.stores._session_store import SessionStore


@click.command("redact")
@click.argument("names", metavar="LOG | --store URL [ID]...", nargs=-1, shell_complete=complete_log)
@store_option(open_existing_store, "Redact sessions of this store: those with the IDs, or all.")
@click.option("--session", "session_id", metavar="ID", help="Choose a session if LOG is a folder of them.")
@click.option("--yes", is_flag=True, help="Replace LOG, or the sessions. Without this, they are unchanged.")
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
@click.pass_context
def redact_command(
    ctx: click.Context,
    /,
    names: tuple[str, ...],
    store: SessionStore | None,
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

    With --store, the sessions of a folder or a database are redacted: those with the IDs, or all. Without --yes, they
    are only searched. In a database, the lines with the secrets are not kept.
    """
    if remove_original and not yes:
        raise click.UsageError("--remove-original needs --yes")
    compiled = _compiled(patterns)
    if store is None and names:
        store = default_store_for(names)
    if store is not None:
        if session_id is not None or options["allow_network"]:
            raise click.UsageError("--session and --allow-network are about LOG; leave them out with --store")
        make = partial(Redactor, email=email, patterns=compiled, explain=explain)
        ids = [session_id_or_text(store, name) for name in names]
        with progress("redacting" if yes else "looking for secrets") as report:
            found = redacted_sessions(store, ids, make, report, dry_run=not yes, remove_original=remove_original)
        write([sessions_document(found)] if as_json else session_lines(found))
        ctx.exit(FOUND if found.refused else 0)
    if len(names) != 1:
        raise click.UsageError("expected one LOG, or --store URL and the ids of sessions")
    path = _local(names[0])
    redactor = Redactor(email=email, patterns=compiled, explain=explain)
    options |= {"redactor": redactor, "in_place": yes, "remove_original": remove_original}
    if session_id is None and path.is_dir():
        raise click.UsageError("LOG is a folder of sessions; choose one with --session ID")
    with progress(f"redacting {path.name}", "bytes") as report, repaired_first(names[0]):
        options["progress"] = report
        if session_id is None:
            done = redact_log(path, **options)
        else:
            done = redact_session(path, _session_in(path, session_id), **options)
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
    """Returns the path of a log or a folder. Sessions in a database are redacted with `--store`."""
    try:
        scheme, path = split_url(log)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if scheme != "file":
        raise click.UsageError("LOG is the URL of a database; pass it as --store URL, with the ids of the sessions")
    return Path(path)


def _session_in(folder: Path, text: str) -> str:
    """Returns the id of a session in a folder, given by its beginning; the text itself if it begins none.

    Looks at names only: a catalogue of the folder would hold the secrets.
    """
    if not is_prefix(text) or (folder / f"{text}.jsonl").exists():
        return text
    found = sorted(path.stem for path in folder.glob("*.jsonl") if path.name.startswith(text))
    return the_only(text, found, f"{folder}: sessions") if found else text


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
    write_stderr(f"{count(redactor.counts.total(), 'secrets')} redacted")
    for line in counts_by_kind(redactor.counts):
        write_stderr(line)


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
    yield from counts_by_kind(done.kinds)
    yield from place_lines(done.places)
    yield from (f"  may still contain secrets: {escape_controls(name)}" for name in done.beside)
    yield from (f"  cannot be removed and may still contain secrets: {escape_controls(name)}" for name in done.pending)
    others = (each for each in done.copies if each not in done.beside)
    yield from (f"  may still contain secrets: the session {escape_controls(id)}" for id in others)
