"""What all importers share: ids, order, times, and findings about the source. Pure.

An importer turns a foreign file into records that `Session.extend` takes. Two rules carry this module. Every reference
is settled when it is *read*, in file order, so that the same beginning of a file always gives the same ids and a grown
file adds only what is new. And every node is *planted* below a parent that came before it: what no parent ever comes
for is cut loose and reported, never dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec
import orjson

from convtree import codec
from convtree.context import Context
from convtree.entries import ID, Entry, Finding, Header, Mark, Record
from convtree.errors import InvalidMessage
from convtree.findings import CODES, FINDING_LIMIT

_ROOM = codec.LINE_LIMIT - 2**20  # bytes for the values of a record that was too large
_CUT = "… [cut]"
HELD_LIMIT = 64 * 2**20  # bytes of the source that may wait for a parent
_SHORT = 1024  # characters of a text that is never cut

R = TypeVar("R", bound=Record)


class Source(NamedTuple):
    """A file or a folder of another tool, and how it begins (b"" for a folder); of a compressed file, what is in it."""

    path: Path
    beginning: bytes


class Reading(NamedTuple):
    """One session of a source: its header, its records parents first, and what is wrong with the source.

    `findings` is complete when `records` is exhausted; `position` tells how many bytes of the source were read so far,
    where that can be told.
    """

    header: Header
    records: Iterator[Record]
    findings: list[Finding]
    position: Callable[[], int] | None = None


class Format(Protocol):
    """A foreign format; the modules of this package are such.

    One whose sources hold a single session each may say so with `IS_SINGLE = True`, which saves a look ahead.
    """

    NAME: str

    def recognises(self, source: Source) -> bool:
        """Tells by its content, never by its name, whether a source is of this format."""
        ...

    def read(self, source: Source) -> Iterator[Reading]:
        """Reads a source that was recognised, a session at a time: records are exhausted before the next is asked for.

        The source is opened here, and closed with the iterator.
        """
        ...


class Exported(Protocol):
    """What a writer asks of a session."""

    @property
    def id(self) -> str:
        """Its id."""
        ...

    @property
    def name(self) -> str | None:
        """Its name."""
        ...

    @property
    def leaf_id(self) -> str | None:
        """Where it goes on."""
        ...

    @property
    def labels(self) -> dict[str, str]:
        """Entry ids to labels."""
        ...

    @property
    def header(self) -> Header:
        """Its first line."""
        ...

    def records(self, start: int = 0) -> Iterator[tuple[int, Entry | Mark]]:
        """Yields what it is made of, in the order of the log, with row numbers."""
        ...

    def path(self, entry_id: str | None) -> list[Entry]:
        """Returns the entries from the first to this one."""
        ...

    def build_context(self, *, leaf: str | None) -> Context:
        """Returns what a model would see at an entry."""
        ...


class Place(NamedTuple):
    """Where something stands in the source: the line counted from 1, the rest in bytes."""

    line: int
    offset: int
    length: int


class Findings:
    """A list of findings that a hostile source cannot grow without end."""

    def __init__(self) -> None:
        self.listed: list[Finding] = []
        self._told: set[tuple[str, str]] = set()

    def add_once(self, about: str, code: str, place: Place, entry_id: str | None = None) -> None:
        """Reports what would be wrong with every other record only where it is first seen."""
        if (code, about) not in self._told:
            self._told.add((code, about))
            self.add(code, place, entry_id)

    def count(self, code: str) -> int:
        """Returns how often something was reported."""
        return sum(finding.code == code for finding in self.listed)

    def add(self, code: str, place: Place, entry_id: str | None = None) -> None:
        """Reports one thing that is wrong at a place."""
        if len(self.listed) <= FINDING_LIMIT:
            code = "too_many" if len(self.listed) == FINDING_LIMIT else code
            self.listed.append(Finding(code=code, severity=CODES[code][0], entry_id=entry_id, **place._asdict()))


# --- ids ----------------------------------------------------------------------------------------------------------


def derive_id(*parts: Any) -> str:
    """Returns an id that follows from where something comes from: the same again for the same source."""
    return sha256(orjson.dumps(parts)).hexdigest()[:16]


class Ids:
    """The ids of one source's records: the source's own where they fit the grammar and are new, else derived ones.

    `None` as a source id stands for a record without one. References may come before the record they name.
    """

    def __init__(self, format: str, session_id: str) -> None:
        self._source = (format, session_id)
        self._current: dict[str, str] = {}
        self._awaited: set[str] = set()
        self._derived: set[str] = set()

    def refer(self, source_id: str) -> str:
        """Returns the id of the record that a source id names here; the next record to bring it, if none has yet."""
        if source_id not in self._current:
            self._awaited.add(source_id)
            self._current[source_id] = self._first(source_id)
        return self._current[source_id]

    def known(self, source_id: str) -> str | None:
        """Returns the id of the record that a source id names here; None when no record has brought it yet."""
        return None if source_id in self._awaited else self._current.get(source_id)

    def claim(self, source_id: str | None, ordinal: int) -> str:
        """Returns the id for the record that stands here, the `ordinal`-th of its source."""
        if source_id is None:
            return self.derive(ordinal)
        if self.known(source_id) is not None:
            self._current[source_id] = self.derive(source_id, ordinal)
        id = self.refer(source_id)
        self._awaited.discard(source_id)
        return id

    def derive(self, *parts: str | int) -> str:
        """Returns an id of its own for something that stands in the source without one."""
        id = derive_id(*self._source, *parts)
        while id in self._derived or self._current.get(id) == id:
            id = derive_id(id)
        self._derived.add(id)
        return id

    def _first(self, source_id: str) -> str:
        keeps = ID.fullmatch(source_id) and source_id not in self._derived
        return source_id if keeps else self.derive(source_id)


# --- planting -----------------------------------------------------------------------------------------------------


class Node(NamedTuple):
    """A node of the source's tree: its settled id and parent, and what the importer needs to make an entry of it."""

    id: str
    parent_id: str | None
    source_id: str | None
    place: Place
    fields: dict[str, Any]
    reference: str | None = None


def plant(nodes: Iterable[Node], findings: Findings) -> Iterator[Node]:
    """Yields every node once, parents before children, otherwise in the order they come.

    A node whose parent has not come waits. Whom no parent came for in the end, or until too much was waiting to be
    held in memory, becomes a root, and so does one node of every cycle, the one that stands first. In a file that is
    in order nothing ever waits.
    """
    planted: set[str] = set()
    waiting: dict[str, list[Node]] = {}
    held = 0  # bytes of the source, since nothing waited
    for node in nodes:
        if node.parent_id is None or node.parent_id in planted:
            yield from _grow(node, planted, waiting, findings)
            continue
        held = held + node.place.length if waiting else node.place.length
        waiting.setdefault(node.parent_id, []).append(node)
        if held > HELD_LIMIT:
            yield from _cut_loose(planted, waiting, findings)
    yield from _cut_loose(planted, waiting, findings)


def _cut_loose(planted: set[str], waiting: dict[str, list[Node]], findings: Findings) -> Iterator[Node]:
    """Yields all who wait, those that no parent will come for as roots."""
    above = {node.id: node for group in waiting.values() for node in group}
    for parent_id in [parent_id for parent_id in waiting if parent_id not in above]:
        for node in waiting.pop(parent_id):
            findings.add("source_orphan", node.place, node.id)
            yield from _grow(node._replace(parent_id=None), planted, waiting, findings)
    for parent_id in list(waiting):
        if parent_id in waiting:  # only cycles and what hangs below them are left
            node = _on_a_cycle(waiting[parent_id][0], above)
            findings.add("source_cycle", node.place, node.id)
            waiting[str(node.parent_id)].remove(node)
            yield from _grow(node._replace(parent_id=None), planted, waiting, findings)


def _grow(node: Node, planted: set[str], waiting: dict[str, list[Node]], findings: Findings) -> Iterator[Node]:
    """Yields a node whose parent is planted, and all who waited for it."""
    ready = [node]
    while ready:
        node = ready.pop()
        planted.add(node.id)
        yield node
        followers = waiting.pop(node.id, [])
        for follower in followers:
            if follower.place.offset < node.place.offset:
                findings.add("source_forward", follower.place, follower.id)
        ready.extend(reversed(followers))


def _on_a_cycle(node: Node, above: dict[str, Node]) -> Node:
    """Returns the first node of the cycle that the way up from a node ends in."""
    way: dict[str, int] = {}
    while node.id not in way:
        way[node.id] = len(way)
        node = above[str(node.parent_id)]
    return min((above[id] for id in list(way)[way[node.id] :]), key=lambda each: each.place.offset)


# --- values -------------------------------------------------------------------------------------------------------


def utc(value: Any) -> str | None:
    """Returns an ISO 8601 text or a count of milliseconds since 1970 as we write times; None when it is no time."""
    moment = _moment(value)
    return None if moment is None else moment.isoformat(timespec="microseconds")[:-6] + "Z"


def milliseconds(value: Any) -> int | None:
    """Returns a time as a count of milliseconds since 1970, as JavaScript would."""
    moment = _moment(value)
    if moment is None:
        return None
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400_000) + since.seconds * 1000 + since.microseconds // 1000


def _moment(value: Any) -> datetime | None:
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def key(value: Any) -> str | None:
    """Returns a reference as text; an empty one is none."""
    return None if value in (None, "") else value if isinstance(value, str) else repr(value)


def text(value: Any) -> str | None:
    """Returns a text as it is, and None for anything else."""
    return value if isinstance(value, str) else None


def texts(value: Any) -> list[str] | None:
    """Returns the texts of a list, and None for anything else."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else None


def count(value: Any) -> int | None:
    """Returns a whole number as such, and None for anything else."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and abs(value) < 2**53 and value == int(value) else None


def fit(record: R, place: Place, findings: Findings) -> R:
    """Returns a record that fits on a line: of one that does not, the longest texts are cut, and that is reported.

    Only a line of the source that is large itself can become too large, so the others are not measured.
    """
    if place.length < codec.LINE_LIMIT // 4:
        return record
    try:
        codec.encode(record)
    except InvalidMessage:
        findings.add("value_replaced", place, record.id)
        values = {name: getattr(record, name) for name in record.__struct_fields__}
        fields = orjson.loads(orjson.dumps({k: v for k, v in values.items() if isinstance(v, str | dict | list)}))
        _cut_texts(fields)
        if len(orjson.dumps(fields)) > _ROOM:
            fields = {name: _cut_members(value) for name, value in fields.items()}
        return msgspec.structs.replace(record, **fields)
    return record


def _cut_texts(fields: dict[str, Any]) -> None:
    """Cuts the longest texts inside, in place, until what is left has room on a line."""
    found: list[tuple[int, Any, Any]] = []
    stack: list[Any] = [fields]
    while stack:
        inside = stack.pop()
        for name, value in inside.items() if isinstance(inside, dict) else enumerate(inside):
            if isinstance(value, str) and len(value) > _SHORT:
                found.append((len(value.encode()), inside, name))
            elif isinstance(value, dict | list):
                stack.append(value)
    found.sort(key=lambda each: each[0], reverse=True)
    excess = len(orjson.dumps(fields)) - _ROOM
    for size, inside, name in found:
        if excess <= 0:
            break
        kept = inside[name].encode()[: max(0, size - excess - len(_CUT.encode()))].decode(errors="ignore")
        inside[name] = kept + _CUT
        excess -= size - len(inside[name].encode())


def _cut_members(value: Any) -> Any:
    """Empties what is large not for its texts but for the number of its parts."""
    if isinstance(value, str) or len(orjson.dumps(value)) <= _SHORT:
        return value
    if isinstance(value, list):
        return [_CUT]
    return {key: item if len(orjson.dumps(item)) <= _SHORT else _CUT for key, item in list(value.items())[:64]}
