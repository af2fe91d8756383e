"""Opening a store by its path or URL: which backend belongs to which scheme."""

from __future__ import annotations

import os
from collections.abc import Callable
from inspect import signature
from typing import TYPE_CHECKING, Any

from convtree._engine.log import Durability
from convtree._engine.redact import Redact
from convtree._logs.directories import check_no_nul
from convtree._model.arguments import checked
from convtree._model.sources import Clock, IdSource, random_id, system_clock
from convtree.stores._folder import FolderBackend
from convtree.stores._memory import MemoryBackend
from convtree.stores._session_store import SessionStore
from convtree.stores.base import StoreBackend

if TYPE_CHECKING:
    from sqlalchemy import Engine

_DATABASES = (".db", ".sqlite", ".sqlite3")
_PLUGINS = "convtree.stores"  # entry points: URL scheme -> a function that takes the URL and returns a StoreBackend


@checked
def open_store(
    url: str | os.PathLike[str] | Engine,
    *,
    durability: Durability = "power",
    lock_timeout_s: float = 10.0,
    allow_network: bool = False,
    create: bool | None = None,
    redact: Redact | None = None,
    clock: Clock = system_clock,
    id_source: IdSource = random_id,
    keep_open: int = 64,
) -> SessionStore:
    """Opens the store at a path or URL.

    Other schemes than these come from packages with an entry point in the group `convtree.stores`; see
    `convtree.stores.base`.

    Args:
        url: a path (`~` is expanded) or `file:` URL: a folder. `sqlite:///file.db`, `postgresql://…` or an SQLAlchemy
            engine: a database. SQLite needs no extra, `pip install 'convtree[postgres]'` has what PostgreSQL needs.
            `memory:`: gone with the process.
        durability: what an append survives: "power" a power cut, "process" the death of every process. For folders and
            SQLite; a server has a setting of its own.
        lock_timeout_s: how long a writer waits for the lock of a session, or of an SQLite file.
        allow_network: permits a folder on a network file system, where locks may not exclude other writers.
        create: whether a missing folder, or missing tables, are created. None creates them except on a server, where
            a role with that permission does it once.
        redact: called with everything that the store's sessions write; its result is written instead. It must return
            the same for the same. `convtree.redact` is one. It does not touch directories and owners, by which
            sessions are found, nor lines that were written without it.
        clock: returns the time in nanoseconds since 1970.
        id_source: returns new ids.
        keep_open: how many shared sessions stay open that nobody uses, see `SessionStore.session`.

    Raises:
        SessionNotFound, FileNotFoundError: there is no store, and none was to be created.
        ValueError: the scheme is unknown, or a path is empty or that of a file.
        ImportError: an extra is not installed; the message says which.
    """
    backend: StoreBackend
    if not isinstance(url, str | os.PathLike):
        backend = _database(url, durability, lock_timeout_s, create)
        return SessionStore(backend, redact=redact, clock=clock, id_source=id_source, keep_open=keep_open)
    scheme, path = split_url(url)
    if scheme == "file":
        backend = FolderBackend(
            _folder(path),
            durability=durability,
            lock_timeout_s=lock_timeout_s,
            allow_network=allow_network,
            create=create is not False,
        )
    elif scheme == "memory":
        backend = MemoryBackend()
    elif scheme.partition("+")[0] in ("sqlite", "postgresql", "postgres"):
        backend = _database(path, durability, lock_timeout_s, create)
    else:
        options = {
            "durability": durability,
            "lock_timeout_s": lock_timeout_s,
            "allow_network": allow_network,
            "create": create,
        }
        backend = _make(_plugin(scheme), path, scheme, options)
    return SessionStore(backend, redact=redact, clock=clock, id_source=id_source, keep_open=keep_open)


def _make(factory: Callable[..., StoreBackend], url: str, scheme: str, options: dict[str, Any]) -> StoreBackend:
    """Calls the function of another package with the URL and those options that it takes.

    Raises:
        ValueError: a durability, timeout or network permission was asked for that it does not take.
    """
    taken = signature(factory).parameters
    defaults = {"durability": "power", "lock_timeout_s": 10.0, "allow_network": False, "create": options["create"]}
    refused = [name for name, value in options.items() if name not in taken and value != defaults[name]]
    if refused:
        raise ValueError(f"stores of the scheme {scheme!r} do not take {', '.join(refused)}; say it in the URL")
    return factory(url, **{name: value for name, value in options.items() if name in taken})


def split_url(url: str | os.PathLike[str]) -> tuple[str, str]:
    """Returns (scheme, path) for a folder and (scheme, URL) for anything else. Text that is not a URL is a path.

    Raises:
        ValueError: a `file:` URL names another machine.
    """
    text = os.fspath(url)
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    is_url = scheme in ("file", "memory") or rest.startswith("//")
    if isinstance(url, os.PathLike) or not colon or not is_url or len(scheme) < 2:
        return "file", text
    if scheme != "file":
        return scheme, text
    host, slash, path = rest[2:].partition("/") if rest.startswith("//") else ("", "", rest)
    if host not in ("", "localhost"):
        raise ValueError(f"file://{host}/… is on another machine; expected file:///path, or a path")
    from urllib.parse import unquote

    return "file", unquote(slash + path)


def _folder(text: str) -> str:
    """Returns a path with `~` expanded, unless it is that of another thing than a folder.

    Raises:
        ValueError: it is empty, has the character NUL, or is the name of a database or of a log and no folder.
    """
    check_no_nul("url", text)
    path = os.path.expanduser(text)
    if not text:
        raise ValueError("url: empty; expected a folder, 'memory:' or a URL such as 'sqlite:///chat.db'")
    if not os.path.isdir(path):
        if text == ":memory:":
            raise ValueError("url: ':memory:' would be a folder of that name; a store in memory is 'memory:'")
        if text.endswith(_DATABASES):
            raise ValueError(f"url: {text!r} is the name of a database; expected 'sqlite:///{text}', or a folder")
        if text.endswith(".jsonl"):
            raise ValueError(f"url: {text!r} is the name of a log; Session.open opens it; a store is a folder of logs")
    return path


def _database(where: str | Engine, durability: Durability, lock_timeout_s: float, create: bool | None) -> StoreBackend:
    from convtree.stores._sql import SqlBackend

    return SqlBackend(where, durability=durability, lock_timeout_s=lock_timeout_s, create=create)


def _plugin(scheme: str) -> Callable[..., StoreBackend]:
    """Returns the function that a package registered for a scheme."""
    from importlib.metadata import entry_points

    found = entry_points(group=_PLUGINS, name=scheme)
    if not found:
        raise ValueError(
            f"unknown store URL scheme {scheme!r}; expected a path, sqlite:///…, postgresql://… or memory:"
        )
    make: Callable[..., StoreBackend] = next(iter(found)).load()
    return make
