"""`convtree browse`: an application in the terminal. Its parts are in `browse`, and need the extra of that name."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import TextIO

import click
from click.core import ParameterSource

from convtree._cli.choosing import located, refuse_session, with_listed_store
from convtree._cli.completing import complete_log
from convtree._cli.inspect import with_session
from convtree.stores._session_store import SessionStore

_EXTRA = ("textual", "markdown_it")
_SWITCH_S = 0.001  # a thread that reads gives way to the screen so soon; 5 ms, Python's default, can be felt


@click.command("browse")
@click.argument("log", required=False, shell_complete=complete_log)
@with_listed_store
@with_session
@click.pass_context
def browse_command(ctx: click.Context, log: str | None, store: SessionStore | None, session_id: str | None) -> None:
    """Browse sessions: a list, the tree of one, its messages.

    LOG is a convtree log, a file or folder of another tool, or a session of the store. Without it, the sessions of the
    store are listed. `?` shows the keys. Nothing is changed unless you label an entry or fork. Needs a terminal, and
    the extra `browse`.
    """
    if not _has_terminal():
        raise click.UsageError("browse needs a terminal; use `convtree inspect`")
    try:
        from convtree._cli.browse.app import Browser
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise ImportError("convtree browse needs textual: pip install 'convtree[browse]'") from None
    from convtree._cli.browse.model import SessionModel
    from convtree._cli.browse.source import LogFile, Source, Stored

    model = None
    if log is not None:
        is_chosen = ctx.get_parameter_source("store") is ParameterSource.COMMANDLINE
        of, name = located(log, store if is_chosen else None)
        if of is not None:
            refuse_session(session_id)
        source: Source = LogFile(Path(name), session_id) if of is None else Stored(of, name)
        model = SessionModel(source, source.open())
    sys.setswitchinterval(_SWITCH_S)
    gc.freeze()  # what was imported stays; looking through it again and again would make keys wait
    Browser(store, model).run()


def _has_terminal() -> bool:
    """Returns whether an application can draw: it reads from standard input and draws on standard error."""
    streams = (sys.stdin, sys.stdout, sys.__stdin__, sys.__stderr__)
    return os.environ.get("TERM") not in (None, "", "dumb") and all(map(_is_terminal, streams))


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty()
