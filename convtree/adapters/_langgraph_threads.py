"""The threads of a store, and checkpoints as LangGraph wants them."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from langgraph.checkpoint.base import CheckpointTuple, SerializerProtocol, get_checkpoint_id

from convtree import Session, SessionNotFound
from convtree.adapters._base import Engine
from convtree.adapters._langgraph_codec import Saved, in_effect
from convtree.adapters._langgraph_thread import Thread

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

_MARK = {"framework": "langgraph"}  # metadata by which the sessions are found


class Threads:
    """The threads of a store. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = Lock()  # protects the dictionary
        self._by_session: WeakKeyDictionary[Session, Thread] = WeakKeyDictionary()

    def log(self, thread_id: Any, *, create: bool = False) -> AbstractContextManager[Session]:
        """Gives the session of a thread."""
        described: dict[str, Any] = {"metadata": _MARK} if create else {}
        return self._engine.session(str(thread_id), create=create, **described)

    @contextmanager
    def open(self, thread_id: Any, *, create: bool = False) -> Iterator[Thread]:
        """Gives a thread, refreshed.

        Raises:
            SessionNotFound: there is no such thread, and none is to be created.
        """
        with self.log(thread_id, create=create) as log:
            yield self._of(log)

    def append(self, thread_id: Any, work: Callable[[Thread], None]) -> None:
        """Calls a function that appends to a thread, which may have to begin, and expects the revision it has seen."""
        self._engine.append(str(thread_id), work=lambda log: work(self._of(log)), metadata=_MARK)

    def _of(self, log: Session) -> Thread:
        with self._lock:
            thread = self._by_session.get(log)
            if thread is None:
                thread = self._by_session[log] = Thread(log)
            return thread

    def ids(self) -> list[str]:
        """Returns the ids of all threads."""
        found = self._engine.store.list(metadata=_MARK, limit=None)
        return [each.key[0] if each.key else each.id for each in found]

    def walk(
        self,
        serde: SerializerProtocol,
        config: RunnableConfig | None,
        before: RunnableConfig | None,
        wanted: Mapping[str, Any],
    ) -> Iterator[CheckpointTuple]:
        """Yields the checkpoints that LangGraph's `list` yields, without a limit."""
        self._engine.check_open()
        named: Mapping[str, Any] = config["configurable"] if config else {}
        end = get_checkpoint_id(before) if before else None
        threads: Sequence[Any] = [named["thread_id"]] if config else self.ids()
        walks = [self._walk(serde, each, named, end, wanted) for each in threads]
        return heapq.merge(*walks, key=lambda each: each.checkpoint["id"], reverse=True)

    def _walk(
        self,
        serde: SerializerProtocol,
        thread_id: Any,
        named: Mapping[str, Any],
        end: str | None,
        wanted: Mapping[str, Any],
    ) -> Iterator[CheckpointTuple]:
        id = named.get("checkpoint_id")
        with suppress(SessionNotFound), self.open(thread_id) as thread:
            for saved in thread.descending(named.get("checkpoint_ns"), end):
                self._engine.check_open()
                if not id or saved.key[1] == id:
                    metadata = serde.loads_typed(saved.metadata) if wanted else {}
                    if all(metadata.get(name) == value for name, value in wanted.items()):
                        yield tuple_of(thread, serde, saved, thread_id)


def tuple_of(thread: Thread, serde: SerializerProtocol, saved: Saved, thread_id: Any) -> CheckpointTuple:
    """Returns a checkpoint as LangGraph wants it."""
    load, (namespace, id) = serde.loads_typed, saved.key
    values = {name: thread.value(serde, saved, name) for name in thread.channels(saved)}
    return CheckpointTuple(
        config=config_of(thread_id, namespace, id),
        checkpoint={**load(saved.body), "channel_values": values},
        metadata=load(saved.metadata),
        parent_config=config_of(thread_id, namespace, saved.parent) if saved.parent else None,
        pending_writes=[(each.task, each.channel, load(each.value)) for each in in_effect(saved.writes or [])],
    )


def config_of(thread_id: Any, namespace: str, id: str) -> RunnableConfig:
    """Returns the config that names a checkpoint."""
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": namespace, "checkpoint_id": id}}


def named_by(config: RunnableConfig) -> tuple[str, str | None]:
    """Returns the namespace and the id of the checkpoint that a config names."""
    return config["configurable"].get("checkpoint_ns") or "", get_checkpoint_id(config) or None
