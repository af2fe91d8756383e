"""The group of all commands. The only place where errors become messages and exit codes."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Any, NoReturn

import click

from convtree import __version__
from convtree._cli.browsing import browse_command
from convtree._cli.checking import repair_command, verify_command
from convtree._cli.comparing import diff_command
from convtree._cli.creating import init_command
from convtree._cli.exporting import export_command
from convtree._cli.importing import import_command
from convtree._cli.inspect import inspect_command
from convtree._cli.manage import (
    archive_command,
    copy_command,
    fork_command,
    hold_command,
    move_command,
    prune_command,
    rm_command,
    upgrade_command,
)
from convtree._cli.output import guarded, write_stderr
from convtree._cli.redacting import redact_command
from convtree._cli.sessions import (
    latest_command,
    ls_command,
    resume_command,
    search_command,
    show_command,
    usage_command,
)
from convtree._cli.vacuuming import vacuum_command
from convtree._logs.filesystems import NO_SPACE
from convtree._model.errors import (
    AmbiguousId,
    ConvtreeError,
    EntryNotFound,
    IdConflict,
    SessionExists,
    SessionHeld,
    SessionLocked,
    SessionNotFound,
    SeveralSessions,
)
from convtree._model.terminal_text import escape_controls

NOT_FOUND, CONFLICT, UNREADABLE, INTERRUPTED, CLOSED_PIPE = 3, 4, 5, 130, 141
_SECTIONS = {
    "One conversation": (inspect_command, browse_command, diff_command, import_command, export_command),
    "Damage and secrets": (verify_command, repair_command, redact_command, vacuum_command),
    "Look into a store": (ls_command, show_command, search_command, latest_command, resume_command, usage_command),
    "Change a store": (
        init_command,
        fork_command,
        archive_command,
        hold_command,
        move_command,
        rm_command,
        prune_command,
        copy_command,
        upgrade_command,
    ),
}


class App(click.Group):
    """A group of commands that prints each error as one line on stderr."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Runs with guarded output, so that errors in the arguments are escaped, too."""
        with guarded():
            return super().main(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command and turns its errors into exit codes."""
        try:
            super().invoke(ctx)
            sys.stdout.flush()
        except click.UsageError as error:
            raise click.UsageError(escape_controls(error.format_message()), error.ctx) from None
        except KeyboardInterrupt:
            _discard_stdout()
            raise click.exceptions.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            _discard_stdout()
            raise click.exceptions.Exit(CLOSED_PIPE) from None
        except (SessionNotFound, EntryNotFound, FileNotFoundError) as error:
            _fail(error, NOT_FOUND)
        except (AmbiguousId, SessionExists, SessionHeld, SeveralSessions, SessionLocked, IdConflict) as error:
            _fail(error, CONFLICT)
        except (ConvtreeError, OSError, ImportError) as error:  # ImportError: the message names the missing extra
            _fail(error, UNREADABLE)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # click's
        """Lists the commands by section."""
        limit = formatter.width - 6 - max(map(len, self.commands))
        for title, commands in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(command.name or "", command.get_short_help_str(limit)) for command in commands])


def _fail(error: Exception, code: int) -> NoReturn:
    text = str(error)
    if isinstance(error, OSError) and error.filename:
        text = f"{error.filename}: {error.strerror}"
    elif isinstance(error, OSError) and error.errno in NO_SPACE:  # every file that is written has a name
        text = f"standard output: {error.strerror}"
        _discard_stdout()
    write_stderr(f"convtree: {escape_controls(text)}")
    raise click.exceptions.Exit(code) from None


def _discard_stdout() -> None:
    """Sends buffered output to /dev/null, so that Python's flush at exit cannot fail once more."""
    null = os.open(os.devnull, os.O_WRONLY)
    with suppress(io.UnsupportedOperation):
        os.dup2(null, sys.stdout.fileno())
    os.close(null)


@click.group(cls=App, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="convtree")
def app() -> None:
    """Store, inspect and convert conversations that branch.

    A log is a file with one conversation. A store is a folder or a database with many. `convtree COMMAND --help`
    explains a command.

    \b
    Exit codes:
      0    success
      1    finished, but problems were found; the output lists them
      2    wrong usage
      3    log, session or entry not found
      4    conflict: it exists already, is locked or on hold, or has several sessions
      5    cannot be read; for `verify`: damaged
      130  interrupted
    """  # noqa: D301  # click wants the control character


for _commands in _SECTIONS.values():
    for _command in _commands:
        app.add_command(_command)
