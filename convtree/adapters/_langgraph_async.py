"""The async half of LangGraph's protocol: each method is the sync one, in one hop to a thread."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)

from convtree import Branch
from convtree.adapters._base import Engine

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import DeltaChannelHistory

_PAGE = 16  # checkpoints that are read at once


class AsyncSaver(BaseCheckpointSaver[str]):
    """The async methods of a saver that has the sync ones. A caller that is cancelled waits for what it has begun."""

    _engine: Engine

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """As `get_tuple`."""
        return await self._engine.read(lambda: self.get_tuple(config))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """As `list`."""
        found = iter(self.list(config, filter=filter, before=before, limit=limit))
        while page := await self._engine.read(lambda: [*islice(found, _PAGE)]):
            for each in page:
                yield each

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """As `put`."""
        return await self._engine.write(lambda: self.put(config, checkpoint, metadata, new_versions))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """As `put_writes`."""
        await self._engine.write(lambda: self.put_writes(config, writes, task_id, task_path))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """As `get_delta_channel_history`."""
        return await self._engine.read(lambda: self.get_delta_channel_history(config=config, channels=channels))

    async def adelete_thread(self, thread_id: str) -> None:
        """As `delete_thread`."""
        await self._engine.write(lambda: self.delete_thread(thread_id))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """As `delete_for_runs`."""
        await self._engine.write(lambda: self.delete_for_runs(run_ids))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """As `copy_thread`."""
        await self._engine.write(lambda: self.copy_thread(source_thread_id, target_thread_id))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """As `prune`."""
        await self._engine.write(lambda: self.prune(thread_ids, strategy=strategy))

    async def abranches(self, thread_id: Any) -> list[Branch]:
        """As `branches`."""
        return await self._engine.read(lambda: self.branches(thread_id))

    async def abranch(self, thread_id: Any, entry: str | None) -> RunnableConfig:
        """As `branch`."""
        return await self._engine.write(lambda: self.branch(thread_id, entry))

    async def acheckout(self, thread_id: Any, entry: str) -> RunnableConfig:
        """As `checkout`."""
        return await self._engine.write(lambda: self.checkout(thread_id, entry))

    def branches(self, thread_id: Any) -> list[Branch]:
        """Of the saver."""
        raise NotImplementedError

    def branch(self, thread_id: Any, entry: str | None) -> RunnableConfig:
        """Of the saver."""
        raise NotImplementedError

    def checkout(self, thread_id: Any, entry: str) -> RunnableConfig:
        """Of the saver."""
        raise NotImplementedError
