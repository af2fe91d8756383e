"""`convtree view`: shows a log or a store in a browser, and follows what is appended."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec

import click

from convtree._cli.choosing import located, open_default_store, opener_of, with_store_for_log
from convtree._cli.completing import complete_log
from convtree._cli.exporting import open_page
from convtree._cli.inspect import with_session
from convtree._cli.look_options import with_gaps
from convtree._cli.number_types import Count
from convtree._cli.output import write
from convtree._session.session import Session
from convtree.stores._session_store import SessionStore

_NEEDS = ("starlette", "uvicorn", "anyio", "jinja2", "markdown_it", "pygments")
_HERE = "127.0.0.1"


@click.command("view")
@click.argument("log", required=False, shell_complete=complete_log)
@with_store_for_log
@with_session
@with_gaps
@click.option("--port", type=Count(0, 65535, example=8000), default=0, help="The port.  [default: a free one]")
@click.option("--no-open", is_flag=True, help="Print the address only; open no browser.")
@click.pass_context
def view_command(
    ctx: click.Context,
    log: str | None,
    store: SessionStore | None,
    session_id: str | None,
    allow_gaps: bool,
    port: int,
    no_open: bool,
) -> None:
    """Show a log or a store in a browser, live.

    LOG is a convtree log, a session of a store, or a file or folder of another tool. Without LOG, the sessions of the
    store are listed: --store URL, CONVTREE_URL, or else the one in your data directory. What others append is shown as
    it comes. Ctrl-C ends it.

    The address is on this machine only. It has a token in it: anyone who has the address can read everything. Other
    users of the machine may see it in the command line of the browser; use --no-open there, and paste it. Nothing is
    ever written.

    A damaged conversation is shown with --allow-gaps only: its page has a remark where an entry is missing.
    """
    if missing := [name for name in _NEEDS if find_spec(name) is None]:
        raise ImportError(f"view needs {', '.join(missing)}: pip install 'convtree[view]'")
    if log is None and store is None:
        store = open_default_store(ctx)
    opener = None
    if log is not None:
        found, name = located(log, store)
        store = found or store
        opener = opener_of(found, name, session_id)
        opener().close()  # says what is wrong before there is a server
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((_HERE, port))
        except OSError as error:
            raise click.UsageError(f"--port {port}: {os.strerror(error.errno or 0)}; choose another one") from None
        _serve(listening, opener, store, allow_gaps, not no_open)


def _serve(
    listening: socket.socket,
    opener: Callable[[], Session] | None,
    store: SessionStore | None,
    allow_gaps: bool,
    is_opened: bool,
) -> None:
    import uvicorn
    from uvicorn.server import logger

    from convtree._tools.view_app import view_app

    port, token = listening.getsockname()[1], secrets.token_urlsafe(24)
    address = f"http://{_HERE}:{port}/{token}/"
    app = view_app(token, (f"{_HERE}:{port}", f"localhost:{port}"), opener, store, allow_gaps=allow_gaps)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=1,
    )
    listening.listen(128)
    write([address])
    sys.stdout.flush()
    if is_opened:
        open_page(address)
    server = uvicorn.Server(config)
    # Streams are still open when a person ends it. That they are cut off then is no error.
    logger.addFilter(lambda _: not server.should_exit)
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listening])
