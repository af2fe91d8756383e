"""The sessions behind ChatKit's threads and attachments: sync calls, in one hop to a thread for each method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import uuid4

from chatkit.store import NotFoundError
from chatkit.types import Page, ThreadMetadata

from convtree import InvalidMessage, Session, SessionChanged, SessionInfoMark, SessionNotFound, StaleLeaf
from convtree.adapters._base import Engine, Recent, StoreLike, session_id
from convtree.adapters._cleaning import Cleaned, clean

T = TypeVar("T")
Name = tuple[str, ...]

THREAD, ATTACHMENT = "chatkit.thread", "chatkit.attachment"  # metadata of a session
_CLEANED = "chatkit.cleaned"  # what was changed in it


class Threads:
    """The calls of one `ConvtreeStore`. `context` is what ChatKit was called with: it says whose the threads are."""

    def __init__(self, store: StoreLike, owner: Callable[[Any], str] | None) -> None:
        self._engine = Engine(store)
        self._owner = owner
        self._is_closed = False
        self._created: Recent[datetime] = Recent()  # when threads were created, by session

    def engine(self, context: Any) -> Engine:
        """Returns the engine of a caller's part of the store.

        Raises:
            RuntimeError: the object is closed.
        """
        if self._is_closed:
            raise RuntimeError("ConvtreeStore is closed")
        return self._engine if self._owner is None else Engine(self._engine.store.scoped(owner=self._owner(context)))

    def close(self) -> None:
        self._is_closed = True
        self._engine.close()

    async def read(self, name: Name, context: Any, work: Callable[[Session], T]) -> T:
        """Runs a function of a session that changes nothing.

        Raises:
            NotFoundError: there is no such session.
        """
        engine = self.engine(context)

        def read() -> T:
            try:
                with engine.session(*name, create=False) as log:
                    return work(log)
            except SessionNotFound:
                raise NotFoundError(f"there is no {name[-1]!r}") from None

        return await engine.read(read)

    async def write(self, name: Name, context: Any, work: Callable[[Session], None]) -> None:
        """Runs a function of a session that says which leaf it expects, again if it was stale. Raises as `read`."""
        engine = self.engine(context)

        def write() -> None:
            while True:
                try:
                    with suppress(StaleLeaf), engine.session(*name, create=False) as log:
                        return work(log)
                except SessionNotFound:
                    raise NotFoundError(f"there is no {name[-1]!r}") from None

        await engine.write(write)

    async def describe(self, named: Name, context: Any, key: str, dumped: Cleaned, **more: Any) -> None:
        """Stores a value as metadata of a session, which begins with it. What was changed in it is metadata as well."""
        engine = self.engine(context)

        def write() -> None:
            described: dict[str, Any] = {"metadata": {"framework": "chatkit"}} if key == THREAD else {}
            with engine.session(*named, **described) as log:
                fields: dict[str, Any] = {"id": uuid4().hex, "timestamp": datetime.now(UTC).isoformat()}
                try:
                    log.extend([SessionInfoMark(**fields, **_described(log, key, dumped, more))])
                except InvalidMessage:
                    (value, changes), (others, more_changes) = clean(dumped.value), clean(more)
                    cleaned = Cleaned(value, [*dumped.changes, *changes, *more_changes])
                    log.extend([SessionInfoMark(**fields, **_described(log, key, cleaned, others))])
                if key == THREAD:
                    self._created.put(log.id, thread_of(log).created_at)

        await engine.write(write)

    async def delete(self, name: Name, context: Any) -> None:
        engine = self.engine(context)

        def write() -> None:
            while True:
                with suppress(SessionChanged):  # it was written to meanwhile: again
                    return engine.delete(*name)

        await engine.write(write)

    async def page(self, limit: int, after: str | None, *, descending: bool, context: Any) -> Page[ThreadMetadata]:
        """Returns a page of threads in the order in which they were created. Opens those whose time is not known."""
        engine = self.engine(context)

        def read() -> Page[ThreadMetadata]:
            created = []
            for info in engine.store.list(metadata={"framework": "chatkit"}, archived=None, limit=None):
                with suppress(SessionNotFound):  # deleted meanwhile
                    created.append((self._created_at(engine, info.id), info.id))
            ids = {id: id for _, id in sorted(created, reverse=descending)}
            found = page_of(ids, limit, None if after is None else session_id(after))
            threads = []
            for id in found.data:
                with suppress(SessionNotFound), engine.store.session(id) as log:
                    threads.append(thread_of(log))
            return Page(data=threads, has_more=found.has_more, after=threads[-1].id if found.has_more else None)

        return await engine.read(read)

    def _created_at(self, engine: Engine, id: str) -> datetime:
        known = self._created.get(id)
        if known is None:
            with engine.store.session(id) as log:
                known = thread_of(log).created_at
            self._created.put(id, known)
        return known


def _described(log: Session, key: str, dumped: Cleaned, more: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of a mark that says what a session is. None removes what was said of an earlier value."""
    metadata = {key: dumped.value}
    if dumped.changes or _CLEANED in log.metadata:
        metadata[_CLEANED] = dumped.changes or None
    return {"metadata": metadata, **more}


def thread_of(log: Session) -> ThreadMetadata:
    """Returns the thread that a session is."""
    found: ThreadMetadata = ThreadMetadata.model_validate(log.metadata[THREAD])
    return found


def page_of(found: Mapping[str, T], limit: int, after: str | None) -> Page[T]:
    """Returns a page of values by id, in their order.

    Raises:
        NotFoundError: there is no value `after`.
    """
    ids = [*found]
    if after is not None and after not in found:
        raise NotFoundError(f"there is no {after!r} to go on behind")
    start = 0 if after is None else ids.index(after) + 1
    shown = ids[start : start + limit]
    more = start + limit < len(ids)
    return Page(data=[found[id] for id in shown], has_more=more, after=shown[-1] if more and shown else None)
