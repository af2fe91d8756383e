"""The checkpointer of LangGraph: threads as conversations, with prune, copy_thread and delete_for_runs.

    from convtree.adapters.langgraph import ConvtreeSaver
    graph = builder.compile(checkpointer=ConvtreeSaver("threads"))  # in place of InMemorySaver()

A thread is a session. A checkpoint is extension data, and the messages of its state are messages above it. So a thread
can be inspected, searched and exported, and time travel makes branches.
"""

from __future__ import annotations

import builtins
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from convtree import Branch, Session, SessionChanged, SessionExists, SessionNotFound
from convtree.adapters._base import Closable, Engine, StoreLike, address, session_id

try:
    from langgraph.checkpoint.base import (
        ChannelVersions,
        Checkpoint,
        CheckpointMetadata,
        CheckpointTuple,
        get_checkpoint_metadata,
    )
except ImportError as error:
    raise ImportError("convtree.adapters.langgraph: run pip install 'convtree[langgraph]'") from error

from convtree.adapters._langgraph_async import AsyncSaver
from convtree.adapters._langgraph_branches import branches_of, checkpoint_at, go_on_at, tip_of
from convtree.adapters._langgraph_codec import Key
from convtree.adapters._langgraph_contents import Put
from convtree.adapters._langgraph_prune import keep_only, keys_of_other_runs, newest_keys
from convtree.adapters._langgraph_thread import Thread
from convtree.adapters._langgraph_threads import Threads, config_of, named_by, tuple_of
from convtree.adapters._langgraph_writing import copy_into, put, put_writes

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import DeltaChannelHistory, SerializerProtocol


__all__ = ["ConvtreeSaver"]


class ConvtreeSaver(Closable, AsyncSaver):
    """Checkpoints of LangGraph in a convtree store. Sync and async; thread-safe.

    Args:
        store: a folder, a URL, or a `convtree.SessionStore`, which stays the caller's.
        serde: the serializer of checkpoints. With another one than LangGraph's own, an encrypting one for example,
            messages are stored as it writes them only, and cannot be read in the session.
    """

    def __init__(self, store: StoreLike = "threads", *, serde: SerializerProtocol | None = None) -> None:
        super().__init__(serde=serde)
        self._engine = Engine(store, type(self).__name__)
        self._threads = Threads(self._engine)

    # --- LangGraph's protocol; its async half is in AsyncSaver ---

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Returns the checkpoint that a config names, or the newest one of its thread; None if there is none."""
        thread_id, (namespace, id) = config["configurable"]["thread_id"], named_by(config)
        with suppress(SessionNotFound), self._threads.open(thread_id) as thread:
            saved = thread.find(namespace, id)
            if saved is not None:
                found = tuple_of(thread, self.serde, saved, thread_id)
                return found if id is None else CheckpointTuple(config, *found[1:])
        return None

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Yields checkpoints, the greatest id first.

        Args:
            config: the thread, the namespace (left out: all), and the id if it is about one. None: all threads.
            filter: what their metadata has.
            before: a config; only checkpoints with smaller ids.
            limit: how many at most.
        """
        return islice(self._threads.walk(self.serde, config, before, filter or {}), limit)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Stores a checkpoint below the one that the config names; returns the config of the new one.

        What the serializer refuses, such as half an emoji, is cleaned, so that it ends no run.

        Raises:
            InvalidMessage: it cannot be stored, for example because it is too long. Nothing was written.
        """
        thread_id, (namespace, parent) = config["configurable"]["thread_id"], named_by(config)
        key, stored = (namespace, checkpoint["id"]), get_checkpoint_metadata(config, metadata)
        new = Put(key, parent, checkpoint, stored, new_versions)
        self._threads.append(thread_id, lambda thread: put(thread, self.serde, new))
        return config_of(thread_id, *key)

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Stores writes of a task that ran at the checkpoint that the config names. They may come before it."""
        key = named_by(config)[0], config["configurable"]["checkpoint_id"]
        self._threads.append(
            config["configurable"]["thread_id"],
            lambda thread: put_writes(thread, self.serde, key, writes, task_id, task_path),
        )

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Returns the writes from which the values of delta channels are made, and the values that they begin with."""
        with suppress(SessionNotFound), self._threads.open(config["configurable"]["thread_id"]) as thread:
            return thread.history(self.serde, thread.find(*named_by(config)), channels)
        return {channel: {"writes": []} for channel in channels}

    def delete_thread(self, thread_id: str) -> None:
        """Erases a thread with all its checkpoints and messages.

        Raises:
            SessionHeld: it is on hold.
        """
        while True:
            with suppress(SessionChanged):  # it was written to meanwhile: again
                return self._engine.delete(str(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Deletes the checkpoints of some runs, in all threads. Messages stay, as branches that no checkpoint is on.

        A thread of which nothing is left is erased.

        Raises:
            SessionHeld: a thread with such checkpoints is on hold.
        """
        wanted = frozenset(run_ids)
        for each in self._threads.ids() if wanted else ():
            self._keep_only(each, lambda thread: keys_of_other_runs(thread, wanted))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copies a thread with all its branches. A new thread appears as a whole.

        A thread that exists gets the checkpoints in addition, one after the other.
        """
        source, target = str(source_thread_id), str(target_thread_id)
        with suppress(SessionNotFound):
            try:
                new = {f"new_{name}": each for name, each in address(target).items()}
                self._engine.store.copy(session_id(source), **new).close()
            except SessionExists:
                if source != target:
                    with self._threads.open(source) as thread, self._threads.open(target, create=True) as other:
                        copy_into(other, thread, self.serde)

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Deletes checkpoints of threads, and frees their space.

        Args:
            thread_ids: the threads.
            strategy: "keep_latest": all but those that the thread goes on with, the newest of each namespace and what
                its delta channels are made from. Calls of subgraphs that are done go as well. Messages stay, also
                those of other branches. "delete": the threads are erased.

        Raises:
            SessionHeld: a thread is on hold.
        """
        if strategy not in ("keep_latest", "delete"):
            raise ValueError(f"strategy is one of 'keep_latest', 'delete', not {strategy!r}")
        for each in thread_ids:
            if strategy == "delete":
                self.delete_thread(each)
            else:
                self._keep_only(each, lambda thread: newest_keys(thread, self.serde))

    def get_next_version(self, current: str | None, channel: None) -> str:  # noqa: ARG002
        """Returns the version after another one. Branches never give the same one to different values."""
        number = 0 if current is None else int(str(current).partition(".")[0])
        return f"{number + 1:032}.{random.random():016}"

    # --- what a tree adds: the same names in every adapter ---

    def log(self, thread_id: Any) -> AbstractContextManager[Session]:
        """Gives the convtree session of a thread: `with saver.log("trip") as log: log.path()`.

        Raises:
            SessionNotFound: when the block begins: there is no such thread.
        """
        return self._threads.log(thread_id)

    def branches(self, thread_id: Any) -> builtins.list[Branch]:
        """Returns the ways that the conversation of a thread went, see `convtree.Session.branches`."""
        with self.log(thread_id) as log:
            return branches_of(log)

    def branch(self, thread_id: Any, entry: str | None) -> RunnableConfig:
        """Lets a thread go on at an earlier state. What followed it stays, as another branch.

        As in LangGraph's time travel, a copy of the checkpoint becomes the newest; its config is returned.

        Args:
            thread_id: the thread.
            entry: the id of a checkpoint, or the id or label of the last message to keep. None begins anew.

        Raises:
            SessionNotFound, EntryNotFound: there is no such thread, or no such state of it.
        """
        with self._threads.open(thread_id) as thread:
            saved = None if entry is None else checkpoint_at(thread, entry)
            return config_of(thread_id, "", go_on_at(thread, self.serde, saved))

    def checkout(self, thread_id: Any, entry: str) -> RunnableConfig:
        """Lets a thread go on at the end of the branch that has an entry or a checkpoint. Otherwise as `branch`."""
        with self._threads.open(thread_id) as thread:
            return config_of(thread_id, "", go_on_at(thread, self.serde, tip_of(thread, entry)))

    def close(self) -> None:
        """Closes the object. Its store is closed when no object of the process uses it any more."""
        self._engine.close()

    def _keep_only(self, thread_id: str, choose: Callable[[Thread], Collection[Key]]) -> None:
        keep_only(self._engine.store, lambda: self._threads.open(thread_id), self.serde, choose)
