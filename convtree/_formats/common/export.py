"""The base of the writers of trees (pi, kit, Claude Code), and what all writers share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Iterable, Iterator
from itertools import takewhile
from typing import Any, NamedTuple

import msgspec
import orjson

from convtree._formats.common.base import Exported, Findings, origin
from convtree._formats.common.ids import derive_id, session_id, uuid_of
from convtree._messages.left_out import LeftOut
from convtree._model.entries import (
    HIDDEN_FROM_MODEL,
    BranchSummaryEntry,
    CompactionEntry,
    Entry,
    ExtensionDataEntry,
    Header,
    MessageEntry,
    ModelChangeEntry,
    OpaqueEntry,
    VacuumEntry,
)

FOREIGN = "convtree."  # before the type of what the other tool has no word for
LONG_AGO = "1970-01-01T00:00:00.000000Z"  # where a time is not known and the tool wants one


class Model(NamedTuple):
    """The model in effect at an entry, and its thinking level."""

    provider: str | None = None
    model: str | None = None
    level: Any = None

    def after(self, entry: Entry) -> Model:
        """Returns the model in effect after an entry."""
        if isinstance(entry, VacuumEntry) and (change := change_of(entry)) is not None:
            entry = change
        if isinstance(entry, ModelChangeEntry):
            level = self.level if entry.settings is None else entry.settings.get("thinkingLevel")
            return Model(entry.provider, entry.model, level)
        if isinstance(entry, MessageEntry) and entry.model is not None:
            return Model(entry.provider, entry.model, self.level)
        if isinstance(entry, ExtensionDataEntry) and entry.ext_type == "pi.thinking_level_change":
            data = entry.data if isinstance(entry.data, dict) else {}
            return Model(self.provider, self.model, data.get("thinkingLevel"))
        return self


class Models:
    """The model in effect at every entry so far. Parents are added before their children."""

    def __init__(self) -> None:
        self._at: dict[str, Model] = {}

    def above(self, entry: Entry) -> Model:
        """Returns the model at an entry's parent."""
        return self._at.get(entry.parent_id or "", Model())

    def take(self, entry: Entry) -> None:
        """Adds an entry."""
        self._at[entry.id] = self.above(entry).after(entry)


class Notes:
    """Name and labels of the session as the lines written so far give them to the tool."""

    def __init__(self) -> None:
        self.name = ""
        self._labels: dict[str, str] = {}

    def label(self, target: str, label: str | None) -> None:
        """Notes a line that sets the label of an entry, or removes it."""
        self._labels.pop(target, None)
        if label:
            self._labels[target] = label

    def labels_left(self, session: Exported, written: Container[str]) -> Iterator[tuple[str, str | None]]:
        """Yields labels that still have to be written; None for one that has to be removed."""
        yield from ((id, label) for id, label in session.labels.items() if self._labels.get(id) != label)
        yield from ((id, None) for id in self._labels if id not in session.labels and id in written)

    def name_left(self, session: Exported) -> str | None:
        """Returns the name if it still has to be written."""
        name = session.name or ""
        return None if name == self.name else name


class ExportWriter(ABC):
    """Writes a session as a tree of JSON lines. A subclass knows the format of one tool.

    An entry may become several lines: the last has the entry's own id, and the others lead to it.
    """

    NAME: str

    def __init__(self, session: Exported, findings: Findings) -> None:
        self._session = session
        self._findings = findings
        self._is_own = origin(session.header).get("format") == self.NAME  # imported from this tool
        self._first_lines: dict[str, str] = {}  # of entries, by their ids
        self._tools: dict[str, str] = {}  # names, by the ids of calls
        self._notes = Notes()
        self._last: str | None = None  # the last line that the tool goes on from

    def lines(self) -> Iterator[bytes]:
        """Yields the lines of the file."""
        yield from self._beginning()
        for entry in self._ordered():
            rows = chain_lines(entry, self._entry_lines(entry))
            self._first_lines[entry.id] = rows[0][0]
            for id, parent_id, fields in rows:
                yield self._line(fields, id, parent_id, entry.timestamp)
        yield from self._ending()

    @abstractmethod
    def _ordered(self) -> Iterator[Entry]: ...

    @abstractmethod
    def _ending(self) -> Iterator[bytes]:
        """Yields lines so that the tool goes on at the leaf, with the session's labels and name."""

    def _chain_at_leaf(self, bodies: list[dict[str, Any]]) -> Iterator[bytes]:
        """Yields lines below the leaf, one below the other."""
        session = self._session
        parent = session.leaf_id
        for number, fields in enumerate(bodies):
            id = derive_id(session.id, session.leaf_id, self._last, number)
            yield self._line(fields, id, parent, session.header.timestamp)
            parent = id

    def _entry_lines(self, entry: Entry) -> list[dict[str, Any]]:
        """Returns the lines of an entry, without the fields that every line has."""
        match entry:
            case MessageEntry():
                return self._message(entry)
            case CompactionEntry():
                return [self._compaction(entry)]
            case BranchSummaryEntry():
                return [self._branch_summary(entry)]
            case ModelChangeEntry():
                return self._model_change(entry)
            case ExtensionDataEntry():
                return [self._extension_data(entry)]
        change = change_of(entry) if isinstance(entry, VacuumEntry) else None
        return [self._unknown(entry), *([] if change is None else self._model_change(change))]

    @abstractmethod
    def _beginning(self) -> Iterator[bytes]: ...

    @abstractmethod
    def _line(self, fields: dict[str, Any], id: str, parent_id: str | None, time: str | None) -> bytes: ...

    @abstractmethod
    def _message(self, entry: MessageEntry) -> list[dict[str, Any]]: ...

    @abstractmethod
    def _compaction(self, entry: CompactionEntry) -> dict[str, Any]: ...

    @abstractmethod
    def _branch_summary(self, entry: BranchSummaryEntry) -> dict[str, Any]: ...

    @abstractmethod
    def _model_change(self, entry: ModelChangeEntry) -> list[dict[str, Any]]: ...

    @abstractmethod
    def _extension_data(self, entry: ExtensionDataEntry) -> dict[str, Any]: ...

    @abstractmethod
    def _unknown(self, entry: Entry) -> dict[str, Any]: ...


def change_of(entry: VacuumEntry) -> ModelChangeEntry | None:
    """Returns the change of the model that a vacuum entry stands for; None if it names no model."""
    if entry.model is None:
        return None
    return ModelChangeEntry(
        id=entry.id, parent_id=entry.parent_id, provider=entry.provider, model=entry.model, settings=entry.settings
    )


def chain_lines(entry: Entry, bodies: list[dict[str, Any]]) -> list[tuple[str, str | None, dict[str, Any]]]:
    """Returns the lines of an entry with their ids and parents, one below the other; the last has the entry's id."""
    ids = line_ids(entry.id, len(bodies))
    return list(zip(ids, [entry.parent_id, *ids], bodies, strict=False))


def line_ids(entry_id: str, count: int) -> list[str]:
    """Returns the ids of the lines of an entry; the last has the entry's own."""
    return [*(derive_id(entry_id, number) for number in range(count - 1)), entry_id]


def entries_of(session: Exported) -> Iterator[Entry]:
    """Yields the entries of a session in the order of its log."""
    return (record for _, record in session.records() if isinstance(record, Entry))


def own_id(header: Header, format: str) -> str | None:
    """Returns the id of an imported session in its tool; None for a fork, which the tool does not have."""
    facts = origin(header)
    id = str(facts.get("id"))
    return id if facts.get("format") == format and session_id(format, id) == header.id else None


def own_uuid(session: Exported, format: str) -> str:
    """Returns the id of a session for a tool whose ids are UUIDs: the one that it had there, or one made of its own."""
    return uuid_of(own_id(session.header, format) or session.id)


def stamp(time: str | None) -> str:
    """Returns a time with milliseconds, as programs in JavaScript write it."""
    return f"{(time or LONG_AGO)[:23]}Z"


def lose_left_out(left_out: Iterable[LeftOut], findings: Findings) -> None:
    """Reports what a request has no place for."""
    for left in left_out:
        findings.lose(f"{left.what}: {left.why}", left.entry_id)


def as_data(entry: Entry) -> dict[str, Any]:
    """Returns all fields of an entry, to be stored as data of an extension in a tool without such an entry."""
    fields: dict[str, Any] = msgspec.to_builtins(entry)
    if isinstance(entry, OpaqueEntry):
        fields = entry.fields | {name: fields[name] for name in ("id", "timestamp") if name in fields}
    return {name: value for name, value in fields.items() if name not in ("id", "parent_id") and value is not None}


def full_summary(entry: CompactionEntry, shown: Iterable[Entry]) -> str:
    """Returns the text of pinned messages and the summary of a compaction. Other tools cannot pin messages."""
    pinned = takewhile(lambda each: each.id != entry.id, shown)
    return "\n\n".join([*filter(None, (each.text for each in pinned if isinstance(each, MessageEntry))), entry.summary])


def is_hidden(entry: MessageEntry) -> bool:
    """Returns whether a message is hidden from the model."""
    return entry.visible_to in HIDDEN_FROM_MODEL


def line(fields: Any) -> bytes:
    """Encodes a line. msgspec encodes the integers that orjson refuses."""
    try:
        return orjson.dumps(fields) + b"\n"
    except TypeError:
        return msgspec.json.encode(fields) + b"\n"
