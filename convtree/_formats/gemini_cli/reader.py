"""Reads sessions of the Gemini CLI: JSONL whose records can be replaced and undone, or an older JSON document.

Mapping:

- `user`: a message of Gemini's shape, its content as parts. What the tool itself says in this role
  (`comparing.is_typed`) is for the model only.
- `gemini`: a message of the model: thoughts, content and calls as parts; model and tokens go to the envelope. The
  results of its calls, which are in the same record, follow as a message of their own; a record of the user that
  repeats them adds nothing. An answer that only has thoughts so far is extension data with its tokens.
- A repeated message (same id): what it adds follows as an entry of its own on the same branch, with the tokens that
  were not counted yet. The same words are nothing new, whatever their clock. Other words are reported: the new version
  becomes a sibling of the old one. Where something follows the message, at most the last `_REACH` messages are repeated
  below the new version, without their tokens; those before them are left out, which is reported.
- `$rewindTo`: extension data below the entry before that message; later messages are appended there. So an undo makes a
  branch, and an unknown id starts a new root, as in the tool.
- `$set`: metadata of the session under `gemini-cli`, in one mark at the end; `summary` is its name. `$set.messages`,
  which has the whole conversation, goes on from the last message that both have in common.
- `info`, `error`, `warning` and any other type: extension data `gemini-cli.<type>`.

`files` finds the files of a session, which are read one after the other; the leaf is that of the one that was written
last. All other fields of a message and of its calls are the `extra` of the entry.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from convtree._engine.codec import BYTE_ORDER_MARK
from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession, SourceSpan
from convtree._formats.common.counts import ReportedUsage
from convtree._formats.common.files import SourceFile
from convtree._formats.common.headers import make_header
from convtree._formats.common.ids import Ids, derive_id, make_ref
from convtree._formats.common.json_arrays import item_keys
from convtree._formats.common.jsonl import read_document, read_objects
from convtree._formats.common.parents_first import Node
from convtree._formats.common.parsing import Object
from convtree._formats.common.session_builder import SessionBuilder, envelope_of, extension_data
from convtree._formats.common.unsaid import name_unsaid
from convtree._formats.common.values import as_object, key, text, without
from convtree._formats.gemini_cli.comparing import (
    Said,
    Seen,
    added_by,
    digest_of,
    is_typed,
    joined,
    result_id,
    said_in,
    seen_in,
)
from convtree._formats.gemini_cli.files import files_beside, is_main, parent_of
from convtree._model.entries import Entry, MessageEntry, Record
from convtree._model.errors import NotALog

NAME = "gemini-cli"
SHAPE = "gemini"

_CLOCKS = frozenset({"timestamp"})  # which a message that is repeated has anew
_REACH = 256  # messages that are repeated when one before them is replaced
_NEAR = 8  # messages in which the results of a call are
_LOOK = 20  # objects in which a session is recognised
_BEGINNING = 2**16  # bytes in which another file of the session names it


def recognises(source: Source) -> bool:
    """Recognises a session by its first record, which names it and its project."""
    start = source.beginning.removeprefix(BYTE_ORDER_MARK).lstrip()
    if not start.startswith(b"{") or b'"sessionId"' not in start:
        return False
    for fields, _ in islice(read_objects(io.BytesIO(start), Findings(), _is_record), _LOOK):
        if _is_about(fields):
            return True
    return b'"projectHash"' in start[:4096] and b'"messages"' in start and b'"startTime"' in start[:4096]


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the only session, which one of the first records names; none for a later file of a session."""
    findings = Findings()
    first = _opened(source.path, source.beginning, findings)
    found = [first if path == source.path else _opened_beside(path) for path in files_beside(source)]
    own = [each for each in found if each is not None and each.session == first.session]
    if is_main(source, [each.path for each in own]):
        yield make_ref(NAME, first.session, findings, own)


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads the session."""
    own: list[_File] = ref.content
    about = own[0].about
    time, project, kind = about.get("startTime"), about.get("projectHash"), about.get("kind")
    parent = parent_of(own[0].path) if kind == "subagent" else None
    header = make_header(NAME, ref.source_id, time=time, project=project, kind=kind, parent=parent, parent_kind="task")
    findings = Findings(ref.findings)
    reader = _Reader(source, own, SessionBuilder(Ids(NAME, ref.source_id), findings))
    position = reader.position if len(own) == 1 and own[0].document is None else None
    return SourceSession(header, reader.records(), findings.listed, position)


class _File(NamedTuple):
    """A file of a session, the record that names the session, and all records if it is a document."""

    path: Path
    about: dict[str, Any]
    document: list[Object] | None = None

    @property
    def session(self) -> str:
        """The id of the session."""
        return str(self.about["sessionId"])


def _opened(path: Path, beginning: bytes, findings: Findings) -> _File:
    with SourceFile(path) as file:
        if _is_document(beginning):
            whole = read_document(file, findings)
            document = [] if whole is None else [whole]
            return _File(path, _named(beginning, document), document)
        return _File(path, _named(beginning, read_objects(file, Findings(), _is_record)))


def _opened_beside(path: Path) -> _File | None:
    try:
        with SourceFile(path) as file:
            beginning = file.read(_BEGINNING)
        return _opened(path, beginning, Findings())
    except (NotALog, OSError, ImportError):
        return None


def _named(beginning: bytes, objects: Iterable[Object]) -> dict[str, Any]:
    """Returns the record that names the session."""
    unnamed = {"sessionId": derive_id(NAME, beginning.hex())}
    return next((fields for fields, _ in objects if _is_about(fields)), unnamed)


def _is_document(beginning: bytes) -> bool:
    """Returns whether the file is one JSON document, as older versions wrote it."""
    first_line = beginning.lstrip().split(b"\n", 1)[0].rstrip()
    is_line = first_line.endswith(b"}") or b'"projectHash"' in first_line
    return not is_line and len(item_keys(beginning)) < 2  # else each record is printed over several lines


class _Message:
    """A message of the conversation: what was seen of it, its entries, and the messages that followed it.

    `before` is the entry before it, `spoken` its last entry without results, `end` the last entry before the next
    message.
    """

    __slots__ = ("before", "end", "fields", "followers", "seen", "source_id", "spoken")

    def __init__(self, source_id: str, before: str | None) -> None:
        self.source_id = source_id
        self.before = self.spoken = self.end = before
        self.seen = Seen()
        self.fields: dict[str, Any] | None = None
        self.followers: dict[str, list[_Message]] = {}

    def known_as(self, source_id: str, said: Said) -> _Message | None:
        """Returns the follower that a record repeats, or continues."""
        versions = self.followers.get(source_id, ())
        return next((each for each in reversed(versions) if added_by(each.seen, said) is not None), None)


class _Reader:
    """Reads the files of one session, in their order, and makes entries."""

    def __init__(self, source: Source, own: list[_File], builder: SessionBuilder) -> None:
        self._source = source
        self._own = own
        self._builder = builder
        self._root = _Message("", None)
        self._path: list[_Message] = []
        self._known: dict[str, int] = {}  # source id to the place in `_path`
        self._usage = ReportedUsage()  # by source id
        self._tip: str | None = None
        self._place = ""  # of the file; ids of its records are derived from it
        self._about: dict[str, Any] = {}
        self._file: SourceFile | None = None

    def position(self) -> int:
        """Returns how many bytes of the file were read so far."""
        return 0 if self._file is None else self._file.position()

    def records(self) -> Iterator[Record]:
        """Yields the session's records."""
        return self._builder.records(self._nodes(), self._make)

    @property
    def _last(self) -> _Message:
        return self._path[-1] if self._path else self._root

    def _nodes(self) -> Iterator[Node]:
        """Yields the nodes of all files. The leaf is the tip of the one that was written last."""
        tips: list[tuple[bool, str, str | None]] = []
        noted: tuple[Node, int] | None = None
        before = 0  # records in the files before
        for each in self._own:
            self._cut(0)
            self._place = str(each.about.get("startTime"))
            self._about |= each.about
            ordinal = 0
            for ordinal, (fields, span) in enumerate(self._objects_of(each), 1):
                if _is_about(fields) or isinstance(fields.get("$set"), dict):
                    time = {"timestamp": as_object(fields.get("$set", fields)).get("lastUpdated")}
                    noted = Node("", None, None, span, time), before + ordinal
                yield from self._record(fields, span, ordinal)
            before += ordinal
            tips.append((len(self._path) > 1, str(self._about.get("lastUpdated")), self._tip))
        if noted is not None:
            self._note(*noted, max(updated for _, updated, _ in tips))
        tip = max(tips, key=lambda tip: tip[:2])[2]
        if self._builder.leaf is not None and tip is not None and tip != self._builder.leaf.id:
            self._builder.leaf = Node(tip, None, None, SourceSpan(1, 0, 0), {})

    def _objects_of(self, each: _File) -> Iterator[Object]:
        if each.document is not None:
            return iter(each.document)
        self._file = self._source.open_file(each.path)
        return read_objects(self._file, self._builder.findings, _is_record)

    def _record(self, fields: dict[str, Any], span: SourceSpan, ordinal: int) -> Iterator[Node]:
        """Yields the nodes of a record."""
        change = fields.get("$set")
        if "$rewindTo" in fields:
            self._cut(self._known.get(key(fields["$rewindTo"]) or "", 0))
            yield self._plain(fields | {"type": "rewind"}, span, ordinal)
        elif isinstance(change, dict) or _is_about(fields):
            about = change if isinstance(change, dict) else fields
            self._about |= about
            for name in without(fields, "$set") if isinstance(change, dict) else ():
                self._builder.findings.add_once(name, "source_field_dropped", span)
            if isinstance(messages := about.get("messages"), list):
                yield from self._checkpoint(messages, span, ordinal)
        elif "type" in fields and not isinstance(fields["type"], str):
            self._builder.findings.add("source_bad_record", span)
            yield self._plain({"data": fields}, span, ordinal)
        elif (source_id := key(fields.get("id"))) is not None and "type" in fields:
            yield from self._message(fields, source_id, span, ordinal)
        else:
            yield self._plain(fields, span, ordinal)

    def _note(self, node: Node, ordinal: int, last_updated: str) -> None:
        """Notes what the session is called, and its metadata: those of all files."""
        about = {name: value for name, value in self._about.items() if name != "messages"}
        about |= {"startTime": self._own[0].about.get("startTime"), "lastUpdated": last_updated}
        self._about = {name: value for name, value in about.items() if name in self._about}
        info: dict[str, Any] = {"metadata": {NAME: self._about}}
        if title := text(self._about.get("summary")):
            info["name"] = title
        self._builder.set_info(node, ordinal, **info)

    def _checkpoint(self, messages: list[Any], span: SourceSpan, ordinal: int) -> Iterator[Node]:
        """Goes on from the last message that the old and the new conversation have in common."""
        noted = [each for each in messages if isinstance(each, dict) and key(each.get("id")) is not None]
        for number, fields in enumerate(each for each in messages if each not in noted):
            yield self._plain({"data": fields}, span, ordinal, number)
        common = 0
        for message, fields in zip(self._path, noted, strict=False):
            added = self._added(message, said_in(fields))
            if message.source_id != key(fields.get("id")) or added is None or not added.is_nothing:
                break
            common += 1
        self._cut(common)
        for number, fields in enumerate(noted[common:], common):
            yield from self._message(fields, str(key(fields.get("id"))), span, ordinal, number)

    def _cut(self, at: int) -> list[_Message]:
        """Moves the tip before a message; returns that and all behind it."""
        gone = self._path[at:]
        del self._path[at:]
        for message in gone:
            del self._known[message.source_id]
        self._tip = self._last.end
        return gone

    def _message(self, fields: dict[str, Any], source_id: str, span: SourceSpan, *ordinals: int) -> Iterator[Node]:
        """Yields the nodes of a record of a message; where something follows it that changes, of that again."""
        said, at = said_in(fields), self._known.get(source_id)
        behind: list[_Message] = []
        if at is None:
            yield from self._say(_Record(fields, said, source_id, span, ordinals))
            return
        added = self._added(self._path[at], said)
        if added is None:
            behind = self._cut(at)[1:]
            yield from self._say(_Record(fields, said, source_id, span, ordinals))
        else:
            if added.spoken or added.results:
                behind = self._cut(at + 1)
            yield from self._grow(self._path[at], added, _Record(fields, said, source_id, span, ordinals))
        if any(message.fields is None for message in behind):
            self._builder.findings.add("source_unsupported", span)
        for number, message in enumerate(behind):
            if (again := message.fields) is not None:
                place: tuple[int | str, ...] = (*ordinals, "again", number)
                yield from self._say(_Record(again, said_in(again), message.source_id, span, place))

    def _added(self, message: _Message, said: Said) -> Said | None:
        """Returns what a record adds to a message and what follows it; None if it contradicts it."""
        added = added_by(message.seen, said)
        if added is None:
            return None
        seen = {name for versions in message.followers.values() for each in versions for name in each.seen.results}
        return added._replace(
            results=[part for part in added.results if result_id(part) not in seen],
            tokens=self._usage.added(message.source_id, said.tokens),
        )

    def _say(self, record: _Record) -> Iterator[Node]:
        """Yields the nodes of a message behind the last one, unless it was seen there before."""
        above, ids, source_id = self._last, self._builder.ids, record.source_id
        if (known := above.known_as(source_id, record.said)) is not None:
            self._tip = known.end
            self._enter(known, record.fields)
            added = self._added(known, record.said)
            assert added is not None
            yield from self._grow(known, added, record)
            return
        is_new = ids.known(source_id) is None
        id = ids.claim(source_id, 0) if is_new else ids.derive(source_id, self._place, *record.ordinals)
        said = record.said._replace(tokens=self._usage.added(source_id, record.said.tokens))
        if record.kind != "gemini" and said.results:
            said = said._replace(results=self._unanswered(said.results, record.span))
            if said.is_nothing:
                id = ""
        message = _Message(source_id, self._tip)
        if source_id in above.followers:
            self._builder.findings.add("source_contradicted", record.span, id or None)
        above.followers.setdefault(source_id, []).append(message)
        self._enter(message, record.fields)
        message.seen = seen_in(record.said)
        if id:
            yield from self._utter(message, said, record, id)
        else:  # it only repeats results, and another copy of the conversation may lack it
            message.followers = above.followers

    def _grow(self, message: _Message, added: Said, record: _Record) -> Iterator[Node]:
        """Yields the nodes of what a record adds to a message, at the tip."""
        if added.is_nothing:
            said, before = record.said.extra or {}, message.fields
            name_unsaid(said, before, record.span, self._builder.findings, _CLOCKS)
            return
        message.seen, message.fields = joined(message.seen, record.said), record.fields
        if added.spoken or added.results:
            message.followers = {}  # they are below what was seen before
        id = self._builder.ids.derive(record.source_id, self._place, *record.ordinals)
        yield from self._utter(message, added, record, id)

    def _utter(self, message: _Message, said: Said, record: _Record, id: str) -> Iterator[Node]:
        """Yields the nodes of words that are new."""
        self._usage.record(record.source_id, record.said.tokens)
        words = _Words(record.kind, said)
        if record.kind != "gemini" or said.spoken or not said.results:
            yield self._node(id, record.fields | {_WORDS: words}, record)
            message.spoken = self._tip
            id, said = self._builder.ids.derive(id, "results"), said._replace(extra=None)
        if record.kind == "gemini" and said.results:
            words = _Words("user", Said([], [], [], said.results, None, said.extra))
            yield self._node(id, record.fields | {_WORDS: words}, record)
        self._last.end = self._tip

    def _unanswered(self, results: list[dict[str, Any]], span: SourceSpan) -> list[dict[str, Any]]:
        """Returns results that were not seen with their calls. Where others were seen, the tip is before them."""
        seen: dict[str, str] = {}
        calls: _Message | None = None
        for message in reversed(self._path[-_NEAR:]):
            seen = {**message.seen.results, **seen}
            if message.seen.calls:
                calls = message
                break
        if calls is not None and any(seen.get(result_id(part), digest_of(part)) != digest_of(part) for part in results):
            self._builder.findings.add("source_contradicted", span)
            self._tip = calls.spoken
            return results
        return [part for part in results if result_id(part) not in seen]

    def _enter(self, message: _Message, fields: dict[str, Any]) -> None:
        """Puts a message at the end of the conversation."""
        self._known[message.source_id] = len(self._path)
        self._path.append(message)
        message.fields = fields
        if len(self._path) > _REACH:
            self._path[-_REACH - 1].fields = None

    def _plain(self, fields: dict[str, Any], span: SourceSpan, *ordinals: int) -> Node:
        """Makes the node of a record that is no message, at the tip."""
        id = self._builder.ids.derive("record", self._place, *ordinals)
        node = self._node(id, fields, _Record(fields, said_in({}), "", span, ()))
        self._last.end = self._tip
        return node

    def _node(self, id: str, fields: dict[str, Any], record: _Record) -> Node:
        """Makes a node below the tip; it becomes the tip."""
        source_id = record.source_id if record.source_id not in ("", id) else None
        node = self._builder.leaf = Node(id, self._tip, source_id, record.span, fields)
        self._tip = id
        return node

    def _make(self, node: Node) -> Entry:
        """Makes the entry of a node whose parent's entry was made."""
        fields, envelope = node.fields, envelope_of(node)
        kind, words = fields.get("type"), fields.get(_WORDS)
        if isinstance(words, _Words) and words.kind == "user" and (words.said.results or words.said.parts):
            said = words.said
            visible: dict[str, Any] = {} if is_typed(said.parts) else {"visible_to": "model"}
            message = {"role": "user", "parts": [*said.results, *said.parts]}
            return MessageEntry(message=message, shape=SHAPE, extra=said.extra, **visible, **envelope)
        paid: dict[str, Any] = {}
        if isinstance(words, _Words) and words.kind == "gemini":
            model = text(fields.get("model")) or None
            paid = {"provider": "google" if model else None, "model": model, "usage": words.said.tokens}
            if words.said.spoken:
                message = {"role": "model", "parts": words.said.spoken}
                return MessageEntry(message=message, shape=SHAPE, extra=words.said.extra, **paid, **envelope)
        placed = ("type", "id", "timestamp", _WORDS, *(("tokens", "model") if paid else ()))
        data = {name: value for name, value in fields.items() if name not in placed}
        if data.get("content") and kind not in _NOTES:
            self._builder.findings.add("source_bad_record", node.span, node.id)
        return msgspec.structs.replace(extension_data(NAME, kind, data, envelope), **paid)


_NOTES = ("info", "error", "warning")  # what the tool says to the person only
_WORDS = "\0"  # a key that no record has


class _Words(NamedTuple):
    """What is new in a record, and who says it: `user`, `gemini`, or the type of a record that is data."""

    kind: str
    said: Said


class _Record(NamedTuple):
    """A record of a message, and its place."""

    fields: dict[str, Any]
    said: Said
    source_id: str
    span: SourceSpan
    ordinals: tuple[int | str, ...]

    @property
    def kind(self) -> str:
        """Who speaks."""
        return str(self.fields.get("type"))


def _is_about(fields: Mapping[str, Any]) -> bool:
    is_named = isinstance(fields.get("sessionId"), str)
    return is_named and ("projectHash" in fields or ("startTime" in fields and "lastUpdated" in fields))


def _is_record(fields: dict[str, Any]) -> bool:
    return (
        (isinstance(fields.get("id"), str) and isinstance(fields.get("timestamp"), str) and "type" in fields)
        or "$set" in fields
        or "$rewindTo" in fields
    )
