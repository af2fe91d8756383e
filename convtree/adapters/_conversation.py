"""A conversation: one session of a store, and the leaf on which an adapter goes on.

The leaf is that of the log, which all objects of all processes share; or it is the object's own, so that objects that
work at the same time make branches. A mutation looks at the leaf and says which one it expects, so nothing is lost
between the look and the write.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from threading import Lock
from typing import Literal, TypeVar

from convtree import Branch, Entry, Session, StaleLeaf
from convtree.adapters._base import Closable, Engine, StoreLike
from convtree.adapters._cleaning import append_clean

T = TypeVar("T")

Parallel = Literal["line", "branch"]


def makes_branches(parallel: Parallel) -> bool:
    """Returns whether objects that are used at the same time make branches.

    Raises:
        ValueError: `parallel` is another text.
    """
    if parallel not in ("line", "branch"):
        raise ValueError(f"parallel is one of 'line', 'branch', not {parallel!r}")
    return parallel == "branch"


class Conversation(Closable):
    """A base for adapters whose object is one conversation.

    Args:
        name: of the session: texts, at least one.
        store: a folder, a URL, or a `convtree.SessionStore`, which stays the caller's.
        parallel: "line": the items of all objects follow each other. "branch": this object goes on where it began.
    """

    def __init__(self, name: tuple[str, ...], store: StoreLike, parallel: Parallel) -> None:
        self._name = name
        self._has_own_leaf = makes_branches(parallel)
        self._leaf: str | None = None  # of this object, if it has one of its own
        self._has_begun = False  # the leaf was read or set
        self._lock = Lock()  # protects the two above
        self._engine = Engine(store, type(self).__name__)

    # --- what a tree adds: the same names in every adapter ---

    def log(self) -> AbstractContextManager[Session]:
        """Gives the convtree session, shared by the process: `with conversation.log() as log: log.path()`."""
        return self._engine.session(*self._name)

    async def branches(self) -> list[Branch]:
        """Returns the ways that the conversation went, see `convtree.Session.branches`."""
        return await self._read(lambda log, _: log.branches())

    async def branch(self, entry: str | None) -> None:
        """Goes on behind an earlier entry. What followed it stays, as another branch.

        Args:
            entry: the id or label of the last entry to keep. None begins anew.

        Raises:
            EntryNotFound: there is no such entry.
        """
        await self._write(lambda log, leaf: (self._move(log, leaf, entry and log.resolve(entry)), None))

    async def checkout(self, entry: str) -> None:
        """Goes to the end of the branch that has an entry, by its id or label."""
        await self._write(lambda log, leaf: (self._move(log, leaf, log.tip(log.resolve(entry))), None))

    def close(self) -> None:
        """Closes the object. Its store is closed when no object of the process uses it any more."""
        self._engine.close()

    # --- for the adapters ---

    async def _read(self, work: Callable[[Session, str | None], T]) -> T:
        """Runs a function of the session and the leaf that changes nothing."""

        def read() -> T:
            with self._engine.known_session(self._name) as log:
                return work(log, self._leaf_of(log))

        return await self._engine.read(read)

    async def _write(self, work: Callable[[Session, str | None], tuple[str | None, T]], *, appends: bool = False) -> T:
        """Runs a function of the session and the leaf that returns the new leaf and a result; again if it was stale.

        One that `appends` in any case, and says which leaf it expects, need not look at the log before.
        """

        def write_to(log: Session) -> T:
            while True:
                leaf = self._leaf_of(log)
                try:
                    moved, result = work(log, leaf)
                except StaleLeaf:
                    log.refresh()
                    continue
                with self._lock:
                    self._leaf, self._has_begun = moved, True
                return result

        def write() -> T:
            if appends and not self._has_own_leaf:
                return self._engine.append(*self._name, work=write_to)
            with self.log() as log:
                return write_to(log)

        return await self._engine.write(write)

    async def _erase(self) -> None:
        await self._engine.write(lambda: self._engine.delete(*self._name))
        with self._lock:
            self._leaf, self._has_begun = None, False

    def _append(self, log: Session, leaf: str | None, entries: Sequence[Entry]) -> str | None:
        """Appends entries behind the leaf that was seen; returns the new leaf.

        The place is always named: otherwise a tool result goes to its call, which may be on another branch.
        """
        expected = {} if self._has_own_leaf else {"expect_leaf": leaf}
        return append_clean(log, entries, parent_id=leaf, **expected)[-1].id

    def _move(self, log: Session, leaf: str | None, target: str | None) -> str | None:
        """Moves the leaf that was seen; returns the new one. One that is this object's own is not recorded."""
        if not self._has_own_leaf and target != leaf:
            log.branch(target, expect_leaf=leaf)
        return target

    def _leaf_of(self, log: Session) -> str | None:
        if not self._has_own_leaf:
            return log.leaf_id
        with self._lock:
            if self._leaf is not None and self._leaf not in log:
                self._has_begun = False  # the conversation was deleted, and begins anew
            if not self._has_begun:
                self._leaf, self._has_begun = log.leaf_id, True
            return self._leaf
