"""`convtree browse`: an application in the terminal. Its parts are in `browse`, and need the extra of that name."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from convtree._cli.choosing import located, open_chosen_store, refuse_session, with_store_for_log
from convtree._cli.completing import complete_log
from convtree._cli.inspect import with_session
from convtree._cli.look_options import with_gaps
from convtree._cli.opening import open_source
from convtree._cli.output import has_terminal
from convtree._model.errors import SeveralSessions
from convtree.stores._session_store import SessionStore

if TYPE_CHECKING:
    from convtree._cli.browse.model import SessionModel
    from convtree._cli.browse.session_lists import SessionList

_EXTRA = ("textual", "markdown_it")
_SWITCH_S = 0.001  # a thread that reads gives way to the screen so soon; 5 ms, Python's default, can be felt


@click.command("browse")
@click.argument("log", required=False, shell_complete=complete_log)
@with_store_for_log
@with_session
@with_gaps
@click.pass_context
def browse_command(
    ctx: click.Context, log: str | None, store: SessionStore | None, session_id: str | None, allow_gaps: bool
) -> None:
    """Look through sessions on the screen.

    LOG is a convtree log, a session of the store, or a file or folder of another tool, whose sessions are listed if it
    holds several. Without LOG, the sessions of the store are listed: --store URL, CONVTREE_URL, or else the one in your
    data directory. `?` shows the keys. Nothing is changed unless you label an entry or fork. Needs a terminal, and the
    extra `browse`.
    """
    if not has_terminal():
        raise click.UsageError("browse needs a terminal; use `convtree inspect`")
    try:
        from convtree._cli.browse.app import Browser
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise ImportError("convtree browse needs textual: pip install 'convtree[browse]'") from None
    if log is None and store is None:
        store = open_chosen_store(ctx, ctx.command.params[1], None)
    what = _opened(log, store, session_id, allow_gaps)
    sys.setswitchinterval(_SWITCH_S)
    gc.freeze()  # what was imported stays; looking through it again and again would make keys wait
    Browser(what).run()


def _opened(
    log: str | None, store: SessionStore | None, session_id: str | None, allow_gaps: bool
) -> SessionList | SessionModel:
    """Opens a session, or what lists several, so that errors are printed before the screen is taken."""
    from convtree._cli.browse.model import SessionModel
    from convtree._cli.browse.session_lists import OfOtherTools, OfStore
    from convtree._cli.browse.source import LogFile, Stored

    if log is None:
        assert store is not None  # the command has opened one
        return OfStore(store, allow_gaps)
    of, name = located(log, store)
    if of is not None:
        refuse_session(session_id)
        return SessionModel(Stored(of, name, allow_gaps), of.open(name, read_only=True))
    path = Path(name)
    try:
        return SessionModel(LogFile(path, session_id, allow_gaps), open_source(path, session_id)[0])
    except SeveralSessions:
        return OfOtherTools(path)
