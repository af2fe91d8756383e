"""Which store, session and entry a command is about: the options, the default place, and what people type for an id.

Without `--store`, the store is that of the environment variable CONVTREE_URL, else a folder in the user's data
directory. A LOG is a path. If there is no such file, it is a session of that store. `SessionStore.resolve` and
`Session.resolve` turn texts into ids, and the command line adds one way: the number of a row in the last list.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import click

from convtree._cli.command_lines import remember_store
from convtree._cli.last_list import is_number, listed_id, remembered_list
from convtree._cli.opening import open_for_reading
from convtree._model.entries import ID
from convtree._model.errors import SessionNotFound
from convtree._model.references import LATEST, is_prefix
from convtree._session.session import Session
from convtree.stores._open import open_store
from convtree.stores._session_store import SessionStore

URL_VARIABLE = "CONVTREE_URL"


# --- the store ---


def default_url() -> str:
    """Returns the store that is used without `--store`."""
    return os.environ.get(URL_VARIABLE) or default_place()


def default_place() -> str:
    """Returns the folder of sessions in the user's data directory. It need not exist."""
    from platformdirs import user_data_path

    return str(user_data_path("convtree") / "sessions")


def nothing_yet(place: str) -> str:
    """Returns what to tell a person who has no sessions yet."""
    return (
        f"no sessions in {place} yet; `convtree new` makes one, `convtree import --discover` finds those of other tools"
    )


def open_existing_store(ctx: click.Context, param: click.Parameter, url: str | None) -> SessionStore | None:
    """Opens the store that an option or argument names; None if it names none. It is closed when the command ends."""
    if url is None:
        return None
    if ctx.resilient_parsing:
        return url  # type: ignore[return-value]  # a shell completes a word; `completing` opens what it needs
    try:
        store = open_store(url, create=False)
    except (ValueError, ImportError) as error:
        raise click.BadParameter(str(error), ctx, param) from None
    ctx.call_on_close(store.close)
    if isinstance(param, click.Option):
        remember_store(ctx, url)
    return store


def open_chosen_store(ctx: click.Context, param: click.Parameter, url: str | None) -> SessionStore | None:
    """Opens the store that the option names, or else the default one."""
    if url is not None or ctx.resilient_parsing:
        return open_existing_store(ctx, param, url)
    return open_default_store(ctx)


def open_default_store(ctx: click.Context) -> SessionStore:
    """Opens the store that is used without `--store`.

    Raises:
        SessionNotFound: nothing is in the default place yet.
    """
    store = _default_store(ctx)
    if store is None:
        raise SessionNotFound(nothing_yet(default_place()))
    return store


def _open_listed_store(ctx: click.Context, param: click.Parameter, url: str | None) -> SessionStore | None:
    """Opens the store to list: an empty one if nothing is in the default place yet."""
    if url is not None or ctx.resilient_parsing:
        return open_existing_store(ctx, param, url)
    return _default_store(ctx) or open_store("memory:")


def why_empty(store: SessionStore) -> str | None:
    """Returns what makes sessions, if the default place has none; None if it has some, or the store is another one."""
    place = Path(default_place())
    is_default = not os.environ.get(URL_VARIABLE) and store.location in ("memory", str(place))
    return nothing_yet(str(place)) if is_default and next(place.glob("*.jsonl"), None) is None else None


def _default_store(ctx: click.Context) -> SessionStore | None:
    """Opens the store that is used without `--store`; None if nothing is in the default place yet."""
    if url := os.environ.get(URL_VARIABLE):
        try:
            store = open_store(url, create=False)
        except (ValueError, ImportError) as error:
            raise click.UsageError(f"{URL_VARIABLE}: {error}", ctx) from None
    else:
        try:
            store = open_store(Path(default_place()), create=False)
        except SessionNotFound:
            return None
    ctx.call_on_close(store.close)
    return store


def store_option(callback: Callable[..., Any], help: str) -> Callable[..., Any]:
    """Makes the option `--store`."""
    return click.option("-s", "--store", callback=callback, metavar="URL", help=help)


_URLS = "a folder, sqlite:///FILE or postgresql://…"
_DEFAULT = f"  [default: {URL_VARIABLE}, else the folder of sessions in your data directory]"
with_store = store_option(open_chosen_store, f"The store: {_URLS}{_DEFAULT}")
with_listed_store = store_option(_open_listed_store, f"The store: {_URLS}{_DEFAULT}")
with_store_for_log = store_option(open_existing_store, "LOG is a session of this store, not a path.")
with_store_for_logs = store_option(
    open_existing_store, "Each LOG is a session of this store, not a path; without LOG, all sessions."
)


# --- the session ---


def session_id_of(store: SessionStore, text: str) -> str:
    """Returns the id of the session that a text stands for, as `resolve` does, or a row of the last list of the store.

    Raises:
        SessionNotFound, AmbiguousId: as `resolve`.
    """
    try:
        return store.resolve(text)
    except SessionNotFound:
        if not is_number(text):
            raise
        if (listed := listed_id(store.location, text)) is None:
            rows = remembered_list(store.location)
            number = "1 row" if len(rows) == 1 else f"{len(rows):,} rows"
            known = f"the last list has {number}" if rows else "no list was printed yet, or it had no rows"
            raise SessionNotFound(f"{store.location}: there is no session {text!r}, and {known}") from None
        return listed


def session_id_or_text(store: SessionStore, text: str) -> str:
    """Returns the id of the session that a text stands for, or the text if there is none: the store may know more.

    Rows in a database may be those of no session, and forks those of one that was deleted.
    """
    try:
        return session_id_of(store, text)
    except SessionNotFound:
        if is_number(text) and not is_prefix(text):  # of a row that no list has
            raise
        return text


def session_ids_of(store: SessionStore, texts: Iterable[str]) -> list[str]:
    """Returns the ids of the sessions that some texts stand for, each once."""
    return list(dict.fromkeys(session_id_of(store, text) for text in texts))


def located(log: str, store: SessionStore | None) -> tuple[SessionStore | None, str]:
    """Returns the store and the id of a session, or None and the path of a log.

    Without a store, a text that is no path of anything and may be an id is looked for in the default store.

    Raises:
        SessionNotFound, AmbiguousId: as `session_id_of`.
    """
    if store is not None:
        return store, session_id_of(store, log)
    default = default_store_for([log])
    if default is None:
        return None, log
    try:
        return default, session_id_of(default, log)
    except SessionNotFound as error:
        raise SessionNotFound(f"{log}: there is no log here; {error}") from None


def default_store_for(logs: Iterable[str]) -> SessionStore | None:
    """Returns the default store if none of some texts can be a path; None if one can, or there is no such store."""
    if not all(map(_is_no_path, logs)):
        return None
    try:
        return _default_store(click.get_current_context())
    except (SessionNotFound, FileNotFoundError):  # the text is a path, then
        return None


def _is_no_path(log: str) -> bool:
    may_be_id = log == LATEST or (ID.fullmatch(log.replace("…", ".")) is not None and not log.endswith(".jsonl"))
    return may_be_id and not os.path.lexists(log)


def open_log(log: str, store: SessionStore | None, session_id: str | None = None) -> Session:
    """Opens a log, another tool's session, or a session of a store, for reading."""
    return opener_of(*located(log, store), session_id)()


def opener_of(store: SessionStore | None, name: str, session_id: str | None = None) -> Callable[[], Session]:
    """Returns a function that opens what `located` has found, for reading. It may be called in any thread."""
    if store is None:
        return partial(open_for_reading, Path(name), session_id)
    refuse_session(session_id)
    return partial(store.open, name, read_only=True)


def refuse_session(session_id: str | None) -> None:
    """Raises UsageError if a session was chosen with `--session`, though LOG is one of a store."""
    if session_id is not None:
        raise click.UsageError("--session chooses from a file or folder; a session of a store is chosen by its id")


def open_for_writing(log: str, store: SessionStore | None) -> Session:
    """Opens a log, or a session of a store, which must exist, to write to it."""
    found, name = located(log, store)
    return Session.open(Path(name), mode="r+") if found is None else found.open(name)


def open_written_log(log: str, store: SessionStore | None) -> Session:
    """Opens a log, or a session of a store, for reading; no session of another tool."""
    found, name = located(log, store)
    return Session.open(Path(name), mode="r") if found is None else found.open(name, read_only=True)
