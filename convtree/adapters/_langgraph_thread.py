"""One thread of LangGraph: a session with its checkpoints and messages, as they are read. Thread-safe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from threading import RLock
from typing import Any

from langgraph.checkpoint.base import DeltaChannelHistory, SerializerProtocol

from convtree import CorruptLog, MessageEntry, Session
from convtree.adapters._langgraph_codec import History, Packed, Saved, in_effect, packed
from convtree.adapters._langgraph_index import Index
from convtree.adapters._langgraph_messages import is_own, message_of


class Thread:
    """The checkpoints of a session.

    Args:
        log: the session, refreshed.

    Attributes:
        log: it.
        index: where they are.
        lock: who asks the index holds it.
    """

    def __init__(self, log: Session) -> None:
        self.log = log
        self.lock = RLock()
        self.index = Index(log)

    # --- checkpoints ---

    def find(self, namespace: str, id: str | None) -> Saved | None:
        """Returns a checkpoint, or the newest one of a namespace; None if there is none."""
        with self.lock:
            self.index.refresh()
            if id is None:
                id = self.index.newest(namespace)
            return None if id is None else self.index.find((namespace, id))

    def descending(self, namespace: str | None, before: str | None = None) -> Iterator[Saved]:
        """Yields checkpoints of a namespace, or of all, the greatest id first. The lock is free meanwhile."""
        with self.lock:
            self.index.refresh()
        keys = self.index.descending(namespace, before)
        while True:
            with self.lock:
                key = next(keys, None)
                saved = None if key is None else self.index.find(key)
            if key is None:
                return
            if saved is not None:
                yield saved

    def ancestors(self, saved: Saved | None) -> Iterator[Saved]:
        """Yields the checkpoints that a checkpoint continues, the nearest first; each once, if they are a circle."""
        seen = set[str]()
        while saved is not None and saved.parent and saved.parent not in seen:
            seen.add(saved.parent)
            saved = self.find(saved.key[0], saved.parent)
            if saved is not None:
                yield saved

    # --- their values ---

    @staticmethod
    def channels(saved: Saved) -> Iterator[str]:
        """Yields the channels of a checkpoint that have values."""
        yield from saved.values
        yield from saved.sources
        if saved.messages is not None:
            yield saved.messages.channel

    def value(self, serde: SerializerProtocol, saved: Saved, channel: str) -> Any:
        """Returns the value of a channel of a checkpoint.

        Raises:
            KeyError: it has none.
            EntryNotFound, CorruptLog: it is gone.
        """
        if saved.messages is not None and saved.messages.channel == channel:
            return [message_of(serde, each) for each in self.messages(saved)]
        return serde.loads_typed(self.stored_value(saved, channel))

    def stored_value(self, saved: Saved, channel: str) -> Packed:
        """Returns the value of a channel that is not the conversation, as it is stored. Raises as `value`."""
        source = saved.source_of(channel)
        if source is None:
            raise KeyError(channel)
        if source == saved.entry_id:
            return saved.values[channel]
        with self.lock:
            return self.index.at(source).values[channel]

    def messages(self, saved: Saved) -> list[MessageEntry]:
        """Returns the messages of a checkpoint.

        Raises:
            EntryNotFound, CorruptLog: some of them are gone.
        """
        if saved.messages is None:
            return []
        found = [each for each in self.log.path(saved.messages.end, type=MessageEntry) if is_own(each)]
        if len(found) != saved.messages.size:
            raise CorruptLog(
                f"{self.log.location}: checkpoint {saved.key[1]!r} has {saved.messages.size} messages, but "
                f"{len(found)} are there; go on at another checkpoint",
                findings=tuple(self.log.findings),
            )
        return found

    # --- delta channels ---

    def history(
        self, serde: SerializerProtocol, saved: Saved | None, channels: Sequence[str]
    ) -> dict[str, DeltaChannelHistory]:
        """Returns what the checkpoints above one have written to channels, back to where each has a value."""
        found: dict[str, DeltaChannelHistory] = {}
        for channel, stored in self.stored_history(serde, saved, channels).items():
            found[channel] = {"writes": [(task, channel, serde.loads_typed(each)) for task, each in stored.writes]}
            if stored.seed is not None:
                found[channel]["seed"] = serde.loads_typed(stored.seed)
        return found

    def stored_history(
        self, serde: SerializerProtocol, saved: Saved | None, channels: Sequence[str]
    ) -> dict[str, History]:
        """As `history`, serialized. Of checkpoints that are gone, the one below them keeps what they had."""
        found = {channel: History([], None) for channel in channels}
        waiting = set(channels)
        for at in chain([saved], self.ancestors(saved)):
            if at is None or not waiting:
                break
            if at is not saved:
                for write in reversed(in_effect(at.writes or [])):
                    if write.channel in waiting:
                        found[write.channel].writes.append((write.task, write.value))
                for channel in waiting.intersection(self.channels(at)):
                    found[channel] = History(found[channel].writes, self._serialized(serde, at, channel))
                    waiting.discard(channel)
            for channel in waiting & at.history.keys():
                found[channel].writes.extend(reversed(at.history[channel].writes))
                found[channel] = History(found[channel].writes, at.history[channel].seed)
                waiting.discard(channel)
        for each in found.values():
            each.writes.reverse()
        return found

    def _serialized(self, serde: SerializerProtocol, saved: Saved, channel: str) -> Packed:
        if saved.messages is not None and saved.messages.channel == channel:
            return packed(serde, self.value(serde, saved, channel))
        return self.stored_value(saved, channel)
