"""convtree, and the floors: the minimal code for the same job, on the same log."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from itertools import islice, repeat
from pathlib import Path
from typing import Any, ClassVar

from conversation import KEPT, SUMMARY, Peer, messages, pieces
from harness import Batch, Figure, timed

# --- convtree -----------------------------------------------------------------------------------------------------


class Indexed(Peer):
    """convtree, opening a log that has an index."""

    name = "convtree"
    file = "convtree.jsonl"
    distribution = "convtree"
    durability: ClassVar[str] = "power"

    def __init__(self) -> None:
        import convtree
        from convtree import open_store  # noqa: F401  # with what convtree imports when a first session is opened

        self.convtree = convtree

    def open(self, path: str) -> Any:
        return self.convtree.Session.open(path, durability=self.durability)

    def make(self, path: str, entries: int) -> None:
        """Writes and closes the log, then opens it again, compacts and closes it, as two requests would."""
        ids: list[str] = []
        with self.convtree.Session.open(path, durability="process") as session:
            for chain in pieces(islice(messages(), entries - 1)):
                ids += [entry.id for entry in session.append_many(chain)]
        Path(f"{path}.middle").write_text(ids[len(ids) // 2])
        with self.convtree.Session.open(path, durability="process") as session:
            session.append(self.convtree.CompactionEntry(summary=SUMMARY, first_kept_entry_id=ids[-KEPT]))

    def resume(self, path: str) -> int:
        self.session = self.open(path)
        return len(self.session.build_context().messages)

    read_all = resume

    def make_short(self, path: str, entries: int) -> None:
        """Appends the messages one by one."""
        with self.convtree.Session.open(path, durability="process") as session:
            for message in islice(messages(), entries):
                session.append(message)

    def appender(self, path: str) -> Batch:
        self.session = self.open(path)
        return timed(self.session.append, messages())

    def many(self, path: str) -> Batch:
        """Opens a log. One call appends 100 messages."""
        self.session = self.open(path)
        return timed(self.session.append_many, pieces(messages(), 100))

    def close(self) -> None:
        self.session.close()


class Cold(Indexed):
    """convtree, opening a log without an index: every line is read."""

    name = "convtree, no index"

    def resumed(self, path: str) -> Figure:
        """Times `resume` of the log under another name, where it has no index."""
        other = Path(f"{path}.cold")
        other.unlink(missing_ok=True)
        Path(f"{other}.index").unlink(missing_ok=True)
        os.link(path, other)
        return super().resumed(str(other))


class Unsynced(Indexed):
    """convtree without sync: appends survive the death of the process, not a power cut."""

    name = 'convtree, durability="process"'
    durability = "process"


class Branching(Unsynced):
    """convtree, where every append first moves the leaf to the middle of the conversation."""

    name = "convtree, branch to the middle + append"
    file = "branching.jsonl"  # its leaf differs from that of the others

    def appender(self, path: str) -> Batch:
        middle = Path(f"{path}.middle").read_text()
        self.session = self.open(path)

        def branch_and_append(message: dict[str, Any]) -> None:
            self.session.branch(middle)
            self.session.append(message)

        return timed(branch_and_append, messages())


class Elsewhere(Branching):
    """convtree, where every append goes below the middle of the conversation, in one call."""

    name = "convtree, append below the middle"
    file = "below.jsonl"

    def appender(self, path: str) -> Batch:
        middle = Path(f"{path}.middle").read_text()
        self.session = self.open(path)
        return timed(lambda message: self.session.append(message, parent_id=middle), messages())


class Stored(Indexed):
    """convtree, one session of a store in SQLite. An append updates the list of sessions and the words as well."""

    name = "convtree, SQLite store"
    file = "store.db"

    def open(self, path: str) -> Any:
        self.store = self.convtree.open_store(f"sqlite:///{path}", durability=self.durability)
        return self.store.open("s")

    def make(self, path: str, entries: int) -> None:
        """Writes the session without a compaction: only its appends are measured."""
        with (
            self.convtree.open_store(f"sqlite:///{path}", durability="process", create=True) as store,
            store.create(id="s") as session,
        ):
            for chain in pieces(islice(messages(), entries)):
                session.append_many(chain)

    def close(self) -> None:
        super().close()
        self.store.close()


class StoredUnsynced(Stored):
    """The same without sync."""

    name = 'convtree, SQLite store, durability="process"'
    durability = "process"


# --- floors -------------------------------------------------------------------------------------------------------


class _Floor(Peer):
    """The minimal code for the job, on convtree's own log."""

    file = "convtree.jsonl"

    def make(self, path: str, entries: int) -> None:
        Indexed().make(path, entries)

    def line(self, path: str) -> bytes:
        """Returns a line of convtree for a message: the second to last line of the log."""
        with open(path, "rb") as file:
            file.seek(-min(os.path.getsize(path), 8192), os.SEEK_END)
            return file.read().splitlines(keepends=True)[-2]


class RawSynced(_Floor):
    name = "os.write + fdatasync"

    def appender(self, path: str) -> Batch:
        self.raw = os.open(f"{path}.{type(self).__name__}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        return timed(self.writer(), repeat(self.line(path)))

    def many(self, path: str) -> Batch:
        """One call writes and syncs 100 lines."""
        self.raw = os.open(f"{path}.many", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        return timed(self.writer(), repeat(self.line(path) * 100))

    def writer(self) -> Callable[[bytes], object]:
        sync = getattr(os, "fdatasync", os.fsync)

        def write_and_sync(lines: bytes) -> None:
            os.write(self.raw, lines)
            sync(self.raw)

        return write_and_sync

    def close(self) -> None:
        os.close(self.raw)


class Raw(RawSynced):
    name = "os.write"

    def writer(self) -> Callable[[bytes], object]:
        return lambda lines: os.write(self.raw, lines)


class ByHand(_Floor):
    """Typical handwritten code, without ids, tree or checks."""

    name = "by hand: open, json.dumps, write"

    def appender(self, path: str) -> Batch:
        plain = f"{path}.hand"

        def open_and_dump(message: dict[str, Any]) -> None:
            with open(plain, "a") as file:
                file.write(json.dumps(message) + "\n")

        return timed(open_and_dump, messages())

    def many(self, path: str) -> Batch:
        """One call writes 100 lines."""
        plain = f"{path}.hands"

        def open_and_dump(chain: list[dict[str, Any]]) -> None:
            with open(plain, "a") as file:
                file.write("\n".join(map(json.dumps, chain)) + "\n")

        return timed(open_and_dump, pieces(messages(), 100))

    def close(self) -> None:
        pass


class ReadFile(_Floor):
    name = "reading the file"

    def resume(self, path: str) -> int:
        with open(path, "rb") as file:
            while file.read(1 << 20):
                pass
        return 0


class OrjsonLines(_Floor):
    name = "orjson.loads of every line"

    def __init__(self) -> None:
        import orjson

        self.loads = orjson.loads

    def resume(self, path: str) -> int:
        """Parses every line and keeps none."""
        with open(path, "rb") as file:
            for line in file:
                self.loads(line)
        return 0


class JsonLines(_Floor):
    """Typical handwritten code: the whole history in a list."""

    name = "json.loads of every line, kept"

    def resume(self, path: str) -> int:
        with open(path, "rb") as file:
            return len([json.loads(line) for line in file][-KEPT:])
