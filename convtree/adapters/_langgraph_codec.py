"""LangGraph's checkpoints and writes as extension data of a log, and back. Reads no log and writes none.

Values are what the saver's serializer makes of them: a type and bytes, in base64.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple, TypeGuard

from langgraph.checkpoint.base import SerializerProtocol

from convtree import Entry, ExtensionDataEntry, Mark
from convtree.adapters._langgraph_cleaning import clean_value

CHECKPOINT = "langgraph.checkpoint"
WRITES = "langgraph.writes"
NAMESPACE = "langgraph.namespace"

Packed = tuple[str, bytes]
Key = tuple[str, str]
"""A checkpoint: its namespace and id."""

_LETTERS = bytes.maketrans(b"+/", b"Xx")


def derived_id(*parts: str | bytes) -> str:
    """Returns the id of the entry that stands for some texts: 95 bits of a digest, so no two sequences share one.

    It has the form of convtree's own ids, 16 letters and digits, which a scan of a log takes many at a time.
    """
    pieces = list[bytes]()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        pieces += len(data).to_bytes(8, "big"), data
    digest = blake2b(b"".join(pieces), digest_size=12).digest()
    return b2a_base64(digest, newline=False).translate(_LETTERS).decode()


@lru_cache(1024)
def checkpoint_entry_id(key: Key) -> str:
    """Returns the id of the entry of a checkpoint."""
    return derived_id(CHECKPOINT, *key)


def early_entry_id(key: Key) -> str:
    """Returns the id of the first entry with writes that came before their checkpoint."""
    return derived_id(WRITES, *key)


def namespace_id(namespace: str) -> str:
    """Returns the id of the entry below which the checkpoints of a subgraph are."""
    return derived_id(NAMESPACE, namespace)


def is_checkpoint(record: Entry | Mark | None) -> TypeGuard[ExtensionDataEntry]:
    """Returns whether a record is a checkpoint."""
    return isinstance(record, ExtensionDataEntry) and record.ext_type == CHECKPOINT


def are_writes(record: Entry | Mark | None) -> TypeGuard[ExtensionDataEntry]:
    """Returns whether a record has writes of a task."""
    return isinstance(record, ExtensionDataEntry) and record.ext_type == WRITES


def belongs(entry: Entry, key: Key) -> bool:
    """Returns whether an entry has writes for a checkpoint, or a checkpoint in its place."""
    if are_writes(entry):
        return (entry.data["ns"], entry.data["of"]) == key
    return is_checkpoint(entry) and bool(entry.data.get("again")) and (entry.data["ns"], entry.data["id"]) == key


# --- values ---


def packed(serde: SerializerProtocol, value: Any, place: str = "", cleaned: list[str] | None = None) -> Packed:
    """Serializes a value. What the serializer refuses and cleaning can mend is cleaned, so that no run ends by it.

    Args:
        serde: the serializer.
        value: any.
        place: where the value is, for what is cleaned.
        cleaned: takes what was changed, each as "place: what".

    Raises:
        TypeError, ValueError: as the serializer, if the value cannot be cleaned either.
    """
    result: Packed
    try:
        result = serde.dumps_typed(value)
    except (TypeError, ValueError) as error:
        changes: list[str] = []
        try:
            result = serde.dumps_typed(clean_value(value, place, changes))
        except Exception:  # also of the user's own classes
            raise error from None
        if cleaned is not None:
            cleaned += changes
    return result


def text_of(value: Packed) -> list[str]:
    """Returns a serialized value as JSON."""
    return [value[0], b2a_base64(value[1], newline=False).decode()]


def packed_of(text: Sequence[str]) -> Packed:
    """Returns the serialized value of which JSON was made."""
    return text[0], a2b_base64(text[1])


# --- checkpoints and writes ---


class Messages(NamedTuple):
    """The conversation in a checkpoint: the channel, how many messages it has, and the entry of the last one."""

    channel: str
    size: int
    end: str

    def data(self) -> dict[str, Any]:
        """Returns it as JSON."""
        return {"channel": self.channel, "size": self.size, "end": self.end}


class Write(NamedTuple):
    """A write of a task: where it stands among those of its checkpoint, the channel, and the serialized value."""

    path: str
    task: str
    number: int
    channel: str
    value: Packed


class History(NamedTuple):
    """The writes to a delta channel, each with its task, the oldest first, and the value that they begin with."""

    writes: list[tuple[str, Packed]]
    seed: Packed | None

    def data(self) -> dict[str, Any]:
        """Returns it as JSON."""
        return {
            "writes": [[task, *text_of(value)] for task, value in self.writes],
            "seed": None if self.seed is None else text_of(self.seed),
        }

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> History:
        """Returns the history of which JSON was made."""
        seed = data["seed"]
        writes = [(task, packed_of(value)) for task, *value in data["writes"]]
        return cls(writes, None if seed is None else packed_of(seed))


class Saved:
    """A checkpoint as it is stored.

    Attributes:
        key: its namespace and id.
        entry_id: its entry.
        parent: the id of the checkpoint that it continues.
        body, metadata: serialized, the first without the values of its channels.
        values: the serialized values that are stored with it, by channel.
        sources: the entries of the checkpoints with which the others are stored, by channel.
        messages: its conversation; None if no messages are stored as such.
        early: the entries with writes that came before it.
        history: what checkpoints above it that are gone have written to delta channels.
        run_id: the run that made it.
        writes: those of its tasks; None: they were not read yet.
        tail: the last entry with such writes; the checkpoint's own if there is none.
        versions: those of its channels, once somebody needed them.
    """

    __slots__ = (
        *("key", "entry_id", "parent", "body", "metadata", "values", "sources", "messages"),
        *("early", "history", "run_id", "writes", "tail", "versions"),
    )

    def __init__(self, entry_id: str, data: Mapping[str, Any]) -> None:
        self.key: Key = (data["ns"], data["id"])
        self.entry_id = self.tail = entry_id
        self.parent: str | None = data["parent"]
        self.body, self.metadata = packed_of(data["checkpoint"]), packed_of(data["metadata"])
        self.values = {name: packed_of(each) for name, each in data["values"].items()}
        self.sources: dict[str, str] = {name: at for at, names in data.get("from", {}).items() for name in names}
        messages = data.get("messages")
        self.messages = None if messages is None else Messages(**messages)
        self.early: list[str] = data.get("early", [])
        self.history = {name: History.of(each) for name, each in data.get("history", {}).items()}
        self.run_id: Any = data.get("run_id")
        self.writes: list[Write] | None = None
        self.versions: dict[str, Any] | None = None

    def source_of(self, channel: str) -> str | None:
        """Returns the entry with which the value of a channel is stored; None if it has no value of its own."""
        return self.entry_id if channel in self.values else self.sources.get(channel)

    def version_of(self, serde: SerializerProtocol, channel: str) -> Any:
        """Returns the version of a channel; None if it has none."""
        if self.versions is None:
            self.versions = serde.loads_typed(self.body).get("channel_versions", {})
        return self.versions.get(channel)


def writes_in(entry: ExtensionDataEntry) -> Iterator[Write]:
    """Yields the writes of an entry."""
    data = entry.data
    for number, channel, kind, value in data["writes"]:
        yield Write(data["path"], data["task"], number, channel, packed_of((kind, value)))


def in_effect(writes: Sequence[Write]) -> list[Write]:
    """Returns the writes that count, in LangGraph's order. Of regular ones the first does, of special ones the last."""
    found: dict[tuple[str, int], Write] = {}
    for each in writes:
        if each.number < 0 or (each.task, each.number) not in found:
            found[each.task, each.number] = each
    return sorted(found.values(), key=lambda each: each[:3])
