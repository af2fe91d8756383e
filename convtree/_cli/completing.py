"""Words that a shell completes: ids of sessions, ids and labels of entries, paths. Reads only, and only when asked.

An error completes nothing: a shell has no place for it. What would have to be quoted is left out.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from convtree._cli.choosing import default_url, session_id_of
from convtree._cli.describe import describe
from convtree._model.errors import ConvtreeError
from convtree._model.terminal_text import escape_controls
from convtree._session.session import Session
from convtree.stores._open import open_store
from convtree.stores._session_store import SessionStore

_SESSIONS, _ENTRIES, _HELP = 100, 20, 60  # how many are offered: the last ones; characters of what is said about each


def complete_session(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001  # click's
    """Returns the last active sessions of the store whose ids begin with a text."""
    return list(_items(_sessions(ctx), incomplete))


def complete_log(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Returns files, and sessions of the store. Without `--store`, sessions are offered once something was typed."""
    if ctx.params.get("store") is not None:
        return complete_session(ctx, param, incomplete)
    found = complete_session(ctx, param, incomplete) if incomplete else []
    return [CompletionItem(incomplete, type="file"), *found]  # first: bash forgets what came before it


def complete_entry(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001  # click's
    """Returns the labels of the session, and the ids of the last entries on the path to its leaf."""
    return list(_items(_entries(ctx), incomplete))


def _items(found: Iterable[tuple[str, str]], incomplete: str) -> Iterator[CompletionItem]:
    with suppress(ConvtreeError, OSError, ValueError, ImportError, click.ClickException):
        for value, said in found:
            if value.startswith(incomplete) and shlex.quote(value) == value:
                yield CompletionItem(value, help=escape_controls(said)[:_HELP])


def _sessions(ctx: click.Context) -> Iterator[tuple[str, str]]:
    with _store(ctx) as store:
        page = store.list(archived=None, limit=_SESSIONS)
    for info in page:
        yield info.id, info.title or ""


def _entries(ctx: click.Context) -> Iterator[tuple[str, str]]:
    with _session(ctx) as session:
        labels = {label: id for id, label in session.labels.items()}
        for label, id in labels.items():
            yield label, describe(session.entry(id)).gist
        for entry in reversed(session.path(last=_ENTRIES)):
            yield entry.id, describe(entry).gist


def _store(ctx: click.Context) -> SessionStore:
    return open_store(ctx.params.get("source") or ctx.params.get("store") or default_url(), create=False)


def _session(ctx: click.Context) -> Session:
    """Opens the session that the words before name."""
    params: dict[str, Any] = ctx.params
    rest = ctx.args[:1] or [""]  # click assigns no arguments if the value of an option is completed
    name = params.get("log") or params.get("id") or rest[0]
    if "log" in params and params.get("store") is None and Path(name).exists():
        return Session.open(Path(name), mode="r")
    with _store(ctx) as store:
        return store.open(session_id_of(store, name), read_only=True)
