"""Rollouts of the Codex CLI: an event log in JSONL, plain or compressed, in one file or several.

Mapping:

- `response_item`: a message, the item of OpenAI's Responses, shape `openai-responses`. What Codex stores with an item
  and does not send is its `extra`. What Codex says in the role of the user is for the model only. A `ghost_snapshot`,
  which only Codex itself reads: extension data of that type.
- `turn_context`: a model change; its other fields are the settings.
- `compacted`: a compaction that keeps no entry, with all fields but the summary and the history in its details. The
  messages of `replacement_history` follow, without the summary among them. Older files have none: there Codex continues
  with the newest `_RETAINED` bytes of the user's messages, so these follow.
- `thread_rolled_back`: the newest turns become a branch that was left. The event and all later lines continue the entry
  before these turns. A roll back at the end of the file sets the leaf there.
- `session_meta`: the header; all of it is also extension data at the root. A fork names its parent, and the last line
  that is a copy.
- `token_usage_record`, or in older files the total of a `token_count` that has grown: extension data with the usage. It
  comes after the items that it counts.
- `convtree` in a line of an export, or as its type: what the line does not say of its entry, or all of it (`kept`).
- Any other type: extension data `codex.<type>`, in its place. Events repeat the content of items, so they are not
  messages.

`segments` finds the files of a session: a fork begins with a copy of what it continues, and a revert is a branch. A
line has no id, so ids are derived from the file's session and the line's `ordinal`, or its number in an older file. The
oldest rollouts, with a bare first line and unwrapped items, are read, too, as is the even older document of `session`
and `items`.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import Any, NamedTuple

import msgspec

from convtree._formats.codex.lines import (
    INTERNAL,
    about,
    is_document,
    is_rollout,
    is_typed,
    text_of,
    unwrapped,
)
from convtree._formats.codex.segments import Cut, Segment, Segments, is_main, last_copied, name_of, segments_of
from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession, SourceSpan
from convtree._formats.common.files import SourceFile
from convtree._formats.common.headers import make_header, name_mark
from convtree._formats.common.ids import Ids, make_ref
from convtree._formats.common.jsonl import is_record, read_document, read_objects
from convtree._formats.common.kept import OURS, completed, is_whole, restored
from convtree._formats.common.parents_first import Node
from convtree._formats.common.parsing import Object
from convtree._formats.common.session_builder import SessionBuilder, envelope_of, extension_data
from convtree._formats.common.values import as_object, count, key, moment, text
from convtree._model.entries import CompactionEntry, Entry, MessageEntry, ModelChangeEntry, Record

NAME = "codex"
SHAPE = "openai-responses"

_RETAINED = 80_000  # bytes of what the user said; Codex takes 20,000 tokens
_REMEMBERED = 500  # things the user said
#: items that Codex writes and never sends
_UNSENT = ("ghost_snapshot",)
_START = SourceSpan(1, 0, 0)


def recognises(source: Source) -> bool:
    """Recognises a rollout by its lines."""
    return is_rollout(source)


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the only session, which one of the first lines names; none for a later file of a session."""
    findings = Findings()
    with SourceFile(source.path) as file:
        if is_document(source.beginning):
            document = list(_document(file, findings))
            facts = about(document)._replace(document=document)
            segments = Segments((), (Segment(source.path, facts),))
        else:
            facts = about(read_objects(file, Findings(), is_record))
            segments = segments_of(source, facts)
    if is_main(source, segments):
        yield make_ref(NAME, facts.thread, findings, segments)


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads the session."""
    segments: Segments = ref.content
    facts = segments.own[0].about
    meta, time, document = facts
    git = meta.get("git")
    spawned_by = facts.spawned_by
    header = make_header(
        NAME,
        ref.source_id,
        time=meta.get("timestamp") if moment(meta.get("timestamp")) else time,
        cwd=meta.get("cwd"),
        parent=spawned_by or key(meta.get("forked_from_id")),
        parent_kind="fork" if spawned_by is None else "task",
        copied_to=_last_copied(source, segments),
        version=meta.get("cli_version"),
        git=git if isinstance(git, dict) else None,
    )
    findings = Findings(ref.findings)
    reader = _Reader(source, segments, SessionBuilder(Ids(NAME, ref.source_id), findings))
    return SourceSession(header, reader.records(document), findings.listed, reader.position)


def _last_copied(source: Source, segments: Segments) -> str | None:
    """Returns the id of the last line that a fork continues, or that was copied into it."""
    base = segments.own[0].base
    if not segments.above or base is None:
        last = last_copied(source, segments)
        return None if last is None else Ids(NAME, segments.own[0].key).derive(last)
    return Ids(NAME, segments.above[-1].key).derive(base.ordinal - 1)


def _document(file: SourceFile, findings: Findings) -> Iterator[Object]:
    """Yields a document as the lines of a rollout: the metadata of the session, then the items."""
    if (whole := read_document(file, findings)) is not None:
        fields, span = whole
        about = fields["session"] if isinstance(fields.get("session"), dict) else {}
        more = {name: value for name, value in fields.items() if name not in ("session", "items")}
        yield Object({"type": "session_meta", "timestamp": about.get("timestamp"), "payload": about | more}, span)
        items = fields.get("items")
        for item in items if isinstance(items, list) else [items]:
            if not isinstance(item, dict):
                findings.add("source_bad_record", span)
            yield Object(item if isinstance(item, dict) else {"type": "unknown", "payload": {"item": item}}, span)


class _Turn(NamedTuple):
    """A message of the user, and the id of the entry before it."""

    before: str | None
    item: dict[str, Any]


class _Model(NamedTuple):
    """The model at a line, and the usage that the line reports."""

    provider: str | None = None
    name: str | None = None
    usage: dict[str, Any] | None = None


class _State:
    """What a line continues: the entry, the turns above it, the model, and what was counted."""

    def __init__(self) -> None:
        self.tip: str | None = None
        self.turns: list[_Turn] = []
        self.provider: str | None = None
        self.model: str | None = None
        self.totals: dict[str, Any] = {}
        self.has_records = False  # of usage; older files have totals only

    def fork(self) -> _State:
        """Returns a copy that can be changed."""
        other = copy(self)
        other.turns = list(self.turns)
        return other

    def forget(self) -> None:
        """Drops the content of old messages of the user: only recent ones are repeated after a compaction."""
        if len(self.turns) > _REMEMBERED:
            self.turns[-_REMEMBERED - 1] = self.turns[-_REMEMBERED - 1]._replace(item={})

    def roll_back(self, turns: Any) -> None:
        """Moves the tip to before the newest turns, at most to before the first message of the user."""
        number = turns if isinstance(turns, int) else 0
        if number > 0 and self.turns:
            self.tip = self.turns[max(0, len(self.turns) - number)].before
            del self.turns[max(0, len(self.turns) - number) :]

    def paid(self, kind: str, payload: dict[str, Any]) -> dict[str, Any] | None:
        """Returns the usage that a line reports for the first time."""
        if kind == "token_usage_record":
            self.has_records = True
            return as_object(payload.get("usage")) or None
        if kind != "event_msg" or payload.get("type") != "token_count" or self.has_records:
            return None
        info = as_object(payload.get("info"))
        before, self.totals = self.totals, as_object(info.get("total_token_usage")) or self.totals
        grown = {name: (count(value) or 0) - (count(before.get(name)) or 0) for name, value in self.totals.items()}
        if min(grown.values(), default=0) < 0:  # counted from the start again
            return as_object(info.get("last_token_usage")) or None
        return grown if any(grown.values()) else None


class _Reader:
    """Reads the files of one session, in their order, and makes entries."""

    def __init__(self, source: Source, segments: Segments, builder: SessionBuilder) -> None:
        self._source = source
        self._segments = segments
        self._builder = builder
        self._cuts = [each.base for each in (*segments.above, *segments.own) if each.base is not None]
        self._states: dict[Cut, _State] = {}  # at these places, once they were passed
        self._models: dict[str, _Model] = {}  # of lines whose entries were not made yet, by their ids
        self._file: SourceFile | None = None

    def position(self) -> int:
        """Returns how many bytes of the file that is being read were read."""
        return 0 if self._file is None else self._file.position()

    def records(self, document: list[Object] | None) -> Iterator[Record]:
        """Yields the session's records."""
        yield from self._builder.records(self._nodes(document), self._make)
        thread = self._segments.own[0].about.thread
        name = None if document is not None else name_of(self._source, thread)
        yield from name_mark(self._builder.ids, name, _START, self._builder.findings)

    def _nodes(self, document: list[Object] | None) -> Iterator[Node]:
        for segment in (*self._segments.above, *self._segments.own):
            state = self._state_before(segment)
            if document is not None:
                objects = iter(document)
            else:
                self._file = self._source.open_file(segment.path)
                objects = read_objects(self._file, self._builder.findings, is_record)
            yield from self._nodes_of(segment, state, objects)

    def _state_before(self, segment: Segment) -> _State:
        if segment.is_torn_off or (segment.base is not None and segment.base not in self._states):
            self._builder.findings.add("source_torn_off", _START)
        found = None if segment.base is None else self._states.get(segment.base)
        state = _State() if found is None else found.fork()
        state.provider = text(segment.about.meta.get("model_provider")) or state.provider
        return state

    def _nodes_of(self, segment: Segment, state: _State, objects: Iterator[Object]) -> Iterator[Node]:
        """Yields the nodes of a file; one that is continued elsewhere only up to the last such place."""
        ids = Ids(NAME, segment.key)
        cuts = sorted({each for each in self._cuts if each.path == segment.path}, key=lambda cut: cut.ordinal)
        is_own = segment in self._segments.own
        for number, (fields, span) in enumerate(objects, 1):
            ordinal = fields.get("ordinal")
            while cuts and cuts[0].is_before(ordinal, span.offset):
                self._states[cuts.pop(0)] = state.fork()
            if not cuts and not is_own:
                return
            yield from self._line(state, ids, ordinal if type(ordinal) is int else number, fields, span)
        for cut in cuts:
            self._states[cut] = state.fork()

    def _line(self, state: _State, ids: Ids, ordinal: int, fields: dict[str, Any], span: SourceSpan) -> Iterator[Node]:
        """Yields the node of a line, and those of the messages that follow a compaction."""
        wrapped = unwrapped(fields)
        kind, payload = wrapped["type"], wrapped["payload"]
        if kind == "response_item" and is_typed(payload):
            state.turns.append(_Turn(state.tip, payload if span.length < _RETAINED else {}))
            state.forget()
        elif kind == "event_msg" and payload.get("type") == "thread_rolled_back":
            state.roll_back(payload.get("num_turns"))
        elif kind == "turn_context":
            state.model = text(payload.get("model")) or state.model
        id, usage = ids.derive(ordinal), state.paid(kind, payload)
        if usage is not None or kind == "turn_context":
            self._models[id] = _Model(state.provider, state.model, usage)
        yield self._node(state, id, wrapped, span)
        for number, item in enumerate(_replacement(state, kind, payload)):
            follower = {"timestamp": wrapped.get("timestamp"), "type": "response_item", "payload": item}
            yield self._node(state, ids.derive(ordinal, number), follower, span)

    def _node(self, state: _State, id: str, fields: dict[str, Any], span: SourceSpan) -> Node:
        """Makes a node below the tip; it becomes the tip."""
        node = self._builder.leaf = Node(id, state.tip, None, span, fields)
        state.tip = id
        return node

    def _make(self, node: Node) -> Entry:
        """Makes the entry of a node whose parent's entry was made."""
        fields, envelope = node.fields, envelope_of(node)
        kind, payload = fields["type"], fields["payload"]
        more = {name: value for name, value in fields.items() if name not in ("type", "payload", "timestamp")}
        kept = more.pop(OURS, None)
        model = self._models.pop(node.id, _Model())
        if kind == OURS or is_whole(kept):
            return restored(payload if kind == OURS else kept, envelope)
        if kind == "response_item" and payload:
            if payload.get("type") in _UNSENT:
                return extension_data(NAME, payload["type"], payload | more, envelope)
            return completed(_message(payload, more, envelope), kept)
        if (kind == "turn_context" and text(payload.get("model"))) or (
            kind == "compacted" and isinstance(payload.get("message", ""), str)
        ):
            self._report(more, node)
            made = _change(payload, model, envelope) if kind == "turn_context" else _compaction(payload, envelope)
            return completed(made, payload.get(OURS))
        if kind in ("response_item", "turn_context", "compacted"):
            self._builder.findings.add("source_bad_record", node.span, node.id)
        data = extension_data(NAME, kind, payload | more, envelope)
        if model.usage is None:
            return data
        return msgspec.structs.replace(data, usage=model.usage, provider=model.provider, model=model.name)

    def _report(self, more: dict[str, Any], node: Node) -> None:
        for name in more.keys() - {"ordinal"}:
            self._builder.findings.add_once(name, "source_field_dropped", node.span, node.id)


def _change(payload: dict[str, Any], model: _Model, envelope: dict[str, Any]) -> ModelChangeEntry:
    left_out = {"model", OURS} | (payload.keys() if OURS in payload else set())  # an export says what they were
    settings = {name: value for name, value in payload.items() if name not in left_out and value is not None}
    return ModelChangeEntry(provider=model.provider, model=payload["model"], settings=settings or None, **envelope)


def _compaction(payload: dict[str, Any], envelope: dict[str, Any]) -> CompactionEntry:
    details = {name: payload[name] for name in payload.keys() - {"message", "replacement_history", OURS}}
    summary = payload.get("message", "")
    return CompactionEntry(summary=summary, first_kept_entry_id=None, details=details or None, **envelope)


def _message(item: dict[str, Any], more: dict[str, Any], envelope: dict[str, Any]) -> MessageEntry:
    """Makes the message of an item. What Codex does not send is kept beside it."""
    aside = {name: value for name, value in more.items() if name != "ordinal"}
    if stored := {name: item[name] for name in INTERNAL if name in item}:
        aside["item"] = stored
        item = {name: value for name, value in item.items() if name not in INTERNAL}
    is_users = item.get("type", "message") == "message" and item.get("role") == "user"
    visible: dict[str, Any] = {"visible_to": "model"} if is_users and not is_typed(item | stored) else {}
    return MessageEntry(message=item, shape=SHAPE, extra=aside or None, **visible, **envelope)


def _replacement(state: _State, kind: str, payload: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the messages that follow a compaction in the context, without the summary itself."""
    if kind != "compacted":
        return []
    history, summary = payload.get("replacement_history"), payload.get("message")
    if isinstance(history, list):
        return [item for item in history if isinstance(item, dict) and item and not _repeats(item, summary)]
    kept: list[dict[str, Any]] = []
    room = _RETAINED
    for turn in reversed(state.turns):
        room -= len(text_of(turn.item).encode())
        if room < 0 or not turn.item:
            break
        kept.append(turn.item)
    return kept[::-1]


def _repeats(item: dict[str, Any], summary: Any) -> bool:
    """Returns whether an item repeats the summary of a compaction."""
    return isinstance(summary, str) and summary != "" and item.get("role") == "user" and summary in text_of(item)
