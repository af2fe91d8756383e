"""The group of all commands. The only place where errors become messages and exit codes."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Any, NoReturn

import click

from convtree import __version__
from convtree._cli.adding import append_command, new_command
from convtree._cli.advice import in_options
from convtree._cli.browsing import browse_command
from convtree._cli.changing import (
    branch_command,
    checkout_command,
    compact_command,
    hide_command,
    label_command,
    rename_command,
)
from convtree._cli.checking import repair_command, verify_command
from convtree._cli.choosing import URL_VARIABLE
from convtree._cli.comparing import diff_command
from convtree._cli.creating import init_command
from convtree._cli.exit_codes import CLOSED_PIPE, EXIT_CODES, EXPECTED_ERRORS, INTERRUPTED, code_of
from convtree._cli.exporting import export_command
from convtree._cli.following import follow_command
from convtree._cli.help_format import Context
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
from convtree._cli.output import guarded, write, write_stderr
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
from convtree._cli.viewing import view_command
from convtree._logs.filesystems import NO_SPACE
from convtree._model.terminal_text import escape_controls

#: what people want, and the commands for it
_SECTIONS = {
    "Look": (inspect_command, show_command, view_command, browse_command, follow_command, diff_command),
    "Find": (ls_command, search_command, latest_command, resume_command, usage_command),
    "Change": (
        new_command,
        append_command,
        label_command,
        rename_command,
        branch_command,
        checkout_command,
        hide_command,
        compact_command,
        fork_command,
        archive_command,
        hold_command,
    ),
    "Move": (import_command, export_command, copy_command, move_command),
    "Care": (
        verify_command,
        repair_command,
        redact_command,
        vacuum_command,
        rm_command,
        prune_command,
        init_command,
        upgrade_command,
    ),
}


class App(click.Group):
    """A group of commands that prints each error as one line on stderr."""

    context_class = Context

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Runs with guarded output, so that errors in the arguments are escaped, too."""
        with guarded():
            return super().main(*arguments, **options)

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Reads the arguments. `--help` and the like are printed here."""
        try:
            return super().make_context(*arguments, **options)
        except BrokenPipeError:
            _discard_stdout()
            raise click.exceptions.Exit(CLOSED_PIPE) from None
        except OSError as error:
            _fail(error, code_of(error))

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command and turns its errors into exit codes."""
        try:
            super().invoke(ctx)
            sys.stdout.flush()
        except click.UsageError as error:
            raise click.UsageError(escape_controls(in_options(error.format_message())), error.ctx) from None
        except KeyboardInterrupt:
            _discard_stdout()
            raise click.exceptions.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            _discard_stdout()
            raise click.exceptions.Exit(CLOSED_PIPE) from None
        except EXPECTED_ERRORS as error:
            _fail(error, code_of(error))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command. Options that choose one thing exclude each other; no argument may be empty."""
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and not ctx.resilient_parsing:
            _refuse_arguments(command, click.Context(command, parent=ctx, info_name=name), rest)
        return name, command, rest

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Adds a command, with the help of this program."""
        cmd.context_class = Context
        super().add_command(cmd, name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # click's
        """Lists the commands by section, with their first lines whole."""
        for title, commands in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(command.name or "", command.get_short_help_str(1000)) for command in commands])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # click's
        """Lists the exit codes."""
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(each.code), each.meaning) for each in EXIT_CODES])


def _refuse_arguments(command: click.Command, ctx: click.Context, args: list[str]) -> None:
    """Raises UsageError if two options set one value, or an argument is empty.

    click would take the last of two options. An empty path would be the current directory.
    """
    try:
        values, _, order = command.make_parser(ctx).parse_args(list(args))
    except click.UsageError:
        return  # reported when the command parses them
    for param in order:
        value = values.get(param.name)
        if isinstance(param, click.Argument) and (value == "" or (isinstance(value, tuple) and "" in value)):
            name = param.make_metavar(ctx).replace("[", "").replace("]", "").removesuffix("...")
            raise click.UsageError(f"the argument {name} is empty", ctx)
    given: dict[str | None, click.Parameter] = {}
    for param in order:
        if isinstance(param, click.Option) and given.setdefault(param.name, param) is not param:
            raise click.UsageError(f"{given[param.name].opts[-1]} and {param.opts[-1]} exclude each other", ctx)


def _fail(error: Exception, code: int) -> NoReturn:
    text = str(error)
    if isinstance(error, OSError) and error.filename:
        text = f"{error.filename}: {error.strerror}"
    elif isinstance(error, OSError) and error.errno in NO_SPACE:  # every file that is written has a name
        text = f"standard output: {error.strerror}"
        _discard_stdout()
    write_stderr(f"convtree: {escape_controls(in_options(text))}")
    raise click.exceptions.Exit(code) from None


def _discard_stdout() -> None:
    """Sends buffered output to /dev/null, so that Python's flush at exit cannot fail once more."""
    null = os.open(os.devnull, os.O_WRONLY)
    with suppress(io.UnsupportedOperation):
        os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _print_manual(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:  # noqa: ARG001  # click's
    if wanted and not ctx.resilient_parsing:
        from convtree._cli.manual import manual

        assert isinstance(ctx.command, click.Group)
        write(manual(ctx.command, _SECTIONS, __version__))
        sys.stdout.flush()
        ctx.exit()


_MAN_HELP = "Print the manual page, for man(1), and exit."
_HELP = f"""Store, inspect and convert conversations that branch.

A log is a file with one conversation. A store is a folder or a database with many; the default is {URL_VARIABLE}, else
the folder of sessions in your data directory. In place of an id, give its first 4 characters or more. For a session,
`@latest` is the last active one, and `1` the first row of the last list. For an entry, give a label, `@` (the leaf)
or `@~3` (its third ancestor). `convtree COMMAND --help` explains a command.
"""


@click.group(cls=App, help=_HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="convtree")
@click.option("--man", is_flag=True, is_eager=True, expose_value=False, callback=_print_manual, help=_MAN_HELP)
def app() -> None:
    """The program."""


for _commands in _SECTIONS.values():
    for _command in _commands:
        app.add_command(_command)
