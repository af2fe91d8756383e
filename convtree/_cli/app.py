"""The commands together, and the one place where what went wrong becomes a message and an exit code."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Any, NoReturn

import click

from convtree import __version__
from convtree._cli.checking import repair_command, verify_command
from convtree._cli.comparing import diff_command
from convtree._cli.exporting import export_command
from convtree._cli.importing import import_command
from convtree._cli.inspect import inspect_command
from convtree._cli.manage import archive_command, copy_command, fork_command, prune_command, rm_command
from convtree._cli.redacting import redact_command
from convtree._cli.sessions import (
    latest_command,
    ls_command,
    resume_command,
    search_command,
    show_command,
    usage_command,
)
from convtree._model.errors import (
    ConvtreeError,
    EntryNotFound,
    IdConflict,
    SessionExists,
    SessionLocked,
    SessionNotFound,
    SeveralSessions,
)
from convtree._model.terminal_text import escape_controls

NOT_FOUND, CONFLICT, UNREADABLE, INTERRUPTED, CLOSED_PIPE = 3, 4, 5, 130, 141


class App(click.Group):
    """A group of commands whose errors are one line on stderr."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # what a terminal cannot show must not end the program
        try:
            super().invoke(ctx)
            sys.stdout.flush()
        except click.UsageError as error:
            raise click.UsageError(escape_controls(error.format_message()), error.ctx) from None
        except KeyboardInterrupt:
            _let_go_of_stdout()
            raise click.exceptions.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            _let_go_of_stdout()
            raise click.exceptions.Exit(CLOSED_PIPE) from None
        except (SessionNotFound, EntryNotFound, FileNotFoundError) as error:
            _fail(error, NOT_FOUND)
        except (SessionExists, SeveralSessions, SessionLocked, IdConflict) as error:
            _fail(error, CONFLICT)
        except (ConvtreeError, OSError, ImportError) as error:  # an extra that is missing says so itself
            _fail(error, UNREADABLE)


def _fail(error: Exception, code: int) -> NoReturn:
    text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
    click.echo(f"convtree: {escape_controls(text)}", err=True)
    raise click.exceptions.Exit(code) from None


def _let_go_of_stdout() -> None:
    """Nobody reads the output any more: what is still buffered goes nowhere, and without a word."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with suppress(io.UnsupportedOperation):
        os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


@click.group(cls=App, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="convtree")
def app() -> None:
    """Look into conversation logs, and bring conversations in from other tools.

    Exit codes: 0 all is well, 1 something was found (damage, for instance), 2 wrong usage, 3 not found, 4 conflict
    with what is there, 5 not readable, 130 interrupted.
    """


for command in (
    *(inspect_command, diff_command, import_command, export_command),
    *(verify_command, repair_command, redact_command),
    *(ls_command, show_command, search_command, latest_command, resume_command, usage_command),
    *(fork_command, archive_command, rm_command, prune_command, copy_command),
):
    app.add_command(command)
