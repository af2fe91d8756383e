"""What objects that own descriptors, connections, locks or threads have in common: no copies, and two registries."""

from __future__ import annotations

import os
from typing import NoReturn, Protocol, SupportsIndex
from weakref import WeakSet


class Uncopyable:
    """Refuses `copy`, `deepcopy` and `pickle`.

    A copy would have the number of the original's descriptor. When the copy is collected, it closes a file that is
    not its own, and what the original writes next goes to whichever file gets the number.
    """

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        name = type(self).__name__
        raise TypeError(f"a {name} cannot be copied or pickled: it owns open files or connections; open another one")


class ForkAware:
    """Can be called in the child after `os.fork()`, where no other thread is left. Registered by `watch_forks`."""

    def _after_fork(self) -> None:
        """Replaces locks that a lost thread may hold; gives up what belongs to the parent process."""
        raise NotImplementedError


_WATCHED: WeakSet[ForkAware] = WeakSet()


def watch_forks(thing: ForkAware) -> None:
    """Has `thing._after_fork()` called in every child process that is forked while `thing` is alive."""
    _WATCHED.add(thing)


class HoldsDatabase(Protocol):
    """Has a file of SQLite open. Registered by `watch_database`.

    A process that opens such a file a second time, and closes it, drops the locks that SQLite has on it (POSIX locks
    belong to the process). Then another process could delete what this one is writing.
    """

    def held_database(self) -> str | os.PathLike[str] | None:
        """Returns the path of the file; None while it is not open."""
        ...


_HOLDERS: WeakSet[HoldsDatabase] = WeakSet()


def watch_database(thing: HoldsDatabase) -> None:
    """Has `is_held` look at the file of `thing` while it is alive."""
    _HOLDERS.add(thing)


def is_held(status: os.stat_result) -> bool:
    """Returns whether a file, of which this is the status, is a database that this process has open for a store."""
    return any(_is_file(path, status) for each in list(_HOLDERS) if (path := each.held_database()) is not None)


def _is_file(path: str | os.PathLike[str], status: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), status)
    except OSError:
        return False


def _after_fork_in_child() -> None:
    for thing in list(_WATCHED):
        thing._after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
