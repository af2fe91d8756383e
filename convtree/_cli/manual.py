r"""The manual page of the program, made of the help of its commands: `convtree --man`.

It is in the macros of man(7), so it is read with `convtree --man | man -l -`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import click

from convtree._cli.exit_codes import EXIT_CODES

_FILES = (
    ("$XDG_DATA_HOME/convtree/sessions", "The store without --store and CONVTREE_URL. On macOS, below ~/Library."),
    ("$XDG_STATE_HOME/convtree/last-lists.json", "The ids of the last lists, for their numbers."),
)
_VARIABLES = (
    ("CONVTREE_URL", "The store that is used without --store: a folder, sqlite:///FILE or postgresql://…"),
    ("NO_COLOR, FORCE_COLOR", "Colours are off, or on."),
    ("COLUMNS", "The width of the output."),
)


def manual(program: click.Group, sections: Mapping[str, Sequence[click.Command]], version: str) -> Iterator[str]:
    """Yields the lines of the page."""
    yield f'.TH CONVTREE 1 "" "convtree {_escaped(version)}" "User Commands"'
    yield from (".SH NAME", r"convtree \- store, inspect and convert conversations that branch")
    yield from (".SH SYNOPSIS", r".B convtree", r".I COMMAND", "[OPTIONS] [ARGUMENTS]")
    yield ".SH DESCRIPTION"
    yield from _paragraphs(program.help or "")
    yield ".SH OPTIONS"
    yield from _options(program, click.Context(program, info_name="convtree"))
    yield from _table([("-h, --help", "Show the help of the program, or of a command, and exit.")])
    for title, commands in sections.items():
        yield f".SH {_quoted(f'COMMANDS: {title}'.upper())}"
        for command in commands:
            yield from _command(command)
    yield ".SH EXIT STATUS"
    yield from _table((str(each.code), each.meaning) for each in EXIT_CODES)
    yield ".SH ENVIRONMENT"
    yield from _table(_VARIABLES)
    yield ".SH FILES"
    yield from _table(_FILES)


def _command(command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=f"convtree {command.name}")
    yield f".SS {_quoted(command.name or '')}"
    yield r"\fB" + _escaped(context.command_path) + r"\fR " + _escaped(" ".join(command.collect_usage_pieces(context)))
    yield ".PP"
    yield from _paragraphs(command.help or "")
    yield from _options(command, context)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    options = (param for param in command.params if isinstance(param, click.Option))
    yield from _table(filter(None, (option.get_help_record(context) for option in options)))


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        if paragraph.strip():
            yield _escaped(" ".join(paragraph.split()))
            yield ".PP"


def _table(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, said in rows:
        yield from (".TP", r"\fB" + _escaped(name) + r"\fR", _escaped(" ".join(said.split())) or r"\&")


def _escaped(text: str) -> str:
    r"""Returns a text as roff reads it: backslashes and dashes are escaped, and no line is a request."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("…", "...")
    return r"\&" + text if text.startswith((".", "'")) else text


def _quoted(text: str) -> str:
    return '"' + _escaped(text).replace('"', r"\(dq") + '"'
